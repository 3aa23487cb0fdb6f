"""The pictures in docs/pictures: `make pictures` made them, each stands alone and names no machine."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pictures import scenes, terminal

ROOT = Path(__file__).parent.parent
PICTURES = sorted((ROOT / "docs/pictures").glob("*.svg"))
RECIPES = {
    f"recipe-{path.stem.replace('_', '-')}"
    for path in (ROOT / "recipes").glob("*.py")
    if path.stem != "sample_data"
}


def test_each_scene_has_its_picture_and_none_is_left_over() -> None:
    ours = re.compile("terminal-|notebook-|recipe-")  # charts of benchmarks are made elsewhere
    made = {*scenes.TERMINALS, *scenes.NOTEBOOKS, *scenes.STORED, *RECIPES}
    assert {path.stem for path in PICTURES if ours.match(path.stem)} == made


def test_the_gallery_has_each_recipe_and_its_picture() -> None:
    gallery = (ROOT / "docs/gallery.md").read_text()
    included = re.findall(r'^--8<-- "recipes/(\w+)\.py"$', gallery, re.M)
    shown = re.findall(r"\(pictures/(recipe-.*)\.svg\)", gallery)
    assert {f"recipe-{name.replace('_', '-')}" for name in included} == {*shown} == RECIPES


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_picture_stands_alone(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert len(text) < 100_000
    loads = re.findall(r'(?:href|src)="(?!#)[^"]*"|url\((?!#)[^)]*\)|@import|<script', text)
    assert not loads, "a picture in a page loads nothing"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_picture_names_no_machine(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    assert re.findall(r"/(?:root|work|opt|srv|var)/|\bvm:\d+|/tmp/(?!ipykernel)", text) == []


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a\nb\n", "a\nb\n"),
        ("1/9\r\x1b[2K2/9\r\x1b[2Kdone\n", "done\n"),
        ("1/9\n\x1b[1A\x1b[2Kdone\n", "done\n"),
        ("\x1b[?25l\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
    ],
)
def test_what_a_terminal_wrote_over_is_gone(written: str, shown: str) -> None:
    assert terminal.settled(written) == shown
