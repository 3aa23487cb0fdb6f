"""PNGs to look at, in build/pictures and never committed: each picture as a page shows it, and JupyterLab."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from testbed import browser

from pictures.home import RECIPES, ROOT, Home
from pictures.scenes import NOTEBOOKS

FOLDER = ROOT / "build/pictures"
_PAGES = {"light": "#fff", "dark": "#0d1117"}


def of_pictures(pictures: Iterable[Path]) -> None:
    """Each picture in a light and in a dark page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with browser.browsing() as chromium:
        for theme, colour in _PAGES.items():
            context = chromium.new_context(
                color_scheme=theme, viewport={"width": 1000, "height": 300}
            )
            page = context.new_page()
            for picture in pictures:
                shown = FOLDER / "page.html"
                shown.write_text(
                    f'<body style="background:{colour}"><img width=960 src="file://{picture}">'
                )
                page.goto(f"file://{shown}")
                page.wait_for_function("document.images[0].complete")
                page.screenshot(path=str(FOLDER / f"{picture.stem}-{theme}.png"), full_page=True)
            context.close()
    (FOLDER / "page.html").unlink(missing_ok=True)


def of_jupyterlab(place: Home) -> None:
    """The cells of each notebook scene in a real JupyterLab, in both of its themes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with browser.lab(place.folder / "lab") as lab:
        subprocess.run([sys.executable, RECIPES / "sample_data.py"], cwd=lab.work, check=True)
        for name, scene in NOTEBOOKS.items():
            with lab.notebook(scene.cells, name) as notebook:
                last = len(scene.cells) - 1
                notebook.run(*range(last))
                notebook.run(last, wait=scene.part is None)
                if scene.part is not None:
                    notebook.await_text(last, "running")
                    time.sleep(1.5)
                for theme in ("light", "dark") if scene.part is None else ("light",):
                    notebook.theme(theme)
                    notebook.picture(last, FOLDER / f"lab-{name}-{theme}.png", whole=True)
                notebook.theme("light")
