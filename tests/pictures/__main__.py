"""Make pictures and notebooks: `python -m pictures [NAME…]`, `python -m pictures notebooks [NAME…]`.

A NAME is that of a picture, or `terminals`, `recipes` or `displays` for all of a kind, or `lab` for
screenshots of JupyterLab; or that of a notebook. Without names all are made. build/pictures has PNGs
of what was made, to be looked at.
"""

from __future__ import annotations

import sys
from pathlib import Path

from testbed import browser

from pictures import notebook, notebooks, screens, terminal
from pictures.home import RECIPES, ROOT, Home, home
from pictures.scenes import NOTEBOOKS, STORED, TERMINALS

FOLDER = ROOT / "docs/pictures"
REPLIES = {"pipeline_gate": ("[y/n] ", "y\n")}  # what a person types whom a recipe asks
made: list[Path] = []


def main(words: list[str]) -> None:
    if words[:1] == ["notebooks"]:
        notebooks.write(words[1:])
        return
    FOLDER.mkdir(exist_ok=True)
    with home() as place:
        terminal.typed(place, terminal.Command("python recipes/sample_data.py"), terminal.WIDTH)
        terminals(place, words)
        of_recipes(place, words)
        of_displays(place, words)
        if not words or "lab" in words:
            screens.of_jupyterlab(place)
    screens.of_pictures(made)


def terminals(place: Home, wanted: list[str]) -> None:
    """Each begins where the one before it ended: a run fails, and is resumed."""
    if wanted and not {"terminals", *TERMINALS} & {*wanted}:
        return
    for name, scene in TERMINALS.items():
        for path, content in scene.files:
            (place.work / path).write_text(content)
        shown = terminal.screen(place, scene.commands, scene.width)
        if not wanted or "terminals" in wanted or name in wanted:
            write(name, terminal.svg(shown, name, scene.title, scene.width))


def of_recipes(place: Home, wanted: list[str]) -> None:
    for recipe in sorted(RECIPES.glob("*.py")):
        name = f"recipe-{recipe.stem.replace('_', '-')}"
        if recipe.stem != "sample_data" and (not wanted or "recipes" in wanted or name in wanted):
            line, reply = f"python recipes/{recipe.name}", REPLIES.get(recipe.stem)
            shown = terminal.screen(place, [terminal.Command(line, reply=reply)])
            write(name, terminal.svg(shown, name, recipe.name))


def of_displays(place: Home, wanted: list[str]) -> None:
    chosen = {name: scene for name, scene in NOTEBOOKS.items() if _is_wanted(name, wanted)}
    cells = {name: notebook.run(place, scene.cells)[-1] for name, scene in chosen.items()}
    stored = {name: scene for name, scene in STORED.items() if _is_wanted(name, wanted)}
    if not cells and not stored:
        return
    with browser.browsing() as chromium:
        for name, (title, source, code) in stored.items():
            cell = notebook.stored(ROOT / f"notebooks/{source}.ipynb", code)
            content = notebook.shown_outputs(cell)
            write(name, notebook.svg(chromium, place, cell.source, content, title))
        for name, cell in cells.items():
            part = chosen[name].part
            content = notebook.shown_outputs(cell) if part is None else notebook.midway(cell, part)
            if chosen[name].unfolded:
                content = content.replace("<details", "<details open")
            write(name, notebook.svg(chromium, place, cell.source, content, chosen[name].title))


def _is_wanted(name: str, wanted: list[str]) -> bool:
    return not wanted or "displays" in wanted or name in wanted


def write(name: str, content: str) -> None:
    made.append(FOLDER / f"{name}.svg")
    made[-1].write_text(content, encoding="utf-8")
    print(f"docs/pictures/{name}.svg  {len(content) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
