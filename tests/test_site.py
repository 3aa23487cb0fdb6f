"""The site has each page in its navigation, and each link and anchor of the pages leads somewhere.

`make docs` builds the site strictly; these tests find the same faults in a second.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import pytest
from reliability.report import report

from mapred.backends.argo import placement

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def loaded_hooks() -> Any:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/site/hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = loaded_hooks()


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """The anchors that both a repository's browser and the site make of the headings, and those set by hand."""
    text = hooks.FENCE.sub("", page.read_text())
    found: set[str] = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"|\{ *#([\w-]+)", text))
    made = {anchor for pair in found for anchor in pair if anchor}
    for heading in re.findall(r"^#{1,6} +(.+?)(?: *\{.*\})? *#*$", text, re.M):
        plain = re.sub(r"!?\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        while slug in made:
            slug = re.sub(r"(?:_(\d+))?$", lambda m: f"_{int(m[1] or 0) + 1}", slug, count=1)
        made.add(slug)
    return made


def flat(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    values = nav.values() if isinstance(nav, dict) else nav
    return [page for value in values for page in flat(value)]


def test_each_page_has_one_place_in_the_navigation() -> None:
    texts = hooks.pages_of(ROOT / "docs")
    assert sorted(flat(hooks.navigation(texts))) == sorted(texts)


def test_a_new_page_follows_its_folder_and_the_order_of_its_index() -> None:
    texts = dict.fromkeys(["how-to/a.md", "how-to/b.md", "how-to/c.md", "new.md"], "")
    texts["how-to/index.md"] = "See [b](b.md#part).\n```text\n[c](c.md)\n```\n- [a](a.md)"
    assert hooks.navigation(texts) == [
        {"How-to": ["how-to/index.md", "how-to/b.md", "how-to/a.md", "how-to/c.md", "new.md"]}
    ]


def test_the_headings_of_an_index_are_groups() -> None:
    texts = dict.fromkeys(["reference/a.md", "reference/b.md", "reference/c.md"], "")
    texts["reference/index.md"] = (
        "[c](c.md)\n\n**Read**\n\n- [b](b.md), [c](c.md)\n\n## Run\n[a](a.md#x)"
    )
    assert hooks.navigation(texts) == [
        {
            "Reference": [
                "reference/index.md",
                "reference/c.md",
                {"Read": ["reference/b.md"]},
                {"Run": ["reference/a.md"]},
            ]
        }
    ]


def test_a_title_does_not_repeat_its_section() -> None:
    texts = {
        "coming-from/index.md": "# Coming from another tool",
        "coming-from/dask.md": "# Coming from Dask",
        "coming-from/when-not.md": "# When not to use mapred",
    }
    assert hooks.navigation(texts) == [
        {
            "Coming from": [
                "coming-from/index.md",
                {"Dask": "coming-from/dask.md"},
                "coming-from/when-not.md",
            ]
        }
    ]


@pytest.mark.parametrize("folder", sorted(hooks.FOLDERS.values()))
def test_the_index_of_a_folder_links_to_each_of_its_pages(folder: str) -> None:
    index = ROOT / "docs" / folder / "index.md"
    pages = {path.name for path in index.parent.glob("*.md")} - {"index.md"}
    assert pages <= {target.partition("#")[0] for target in hooks.linked(index.read_text())}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("docs/how-to/a.md", "b.md#c", "b.md#c"),
        ("docs/how-to/a.md", "../../SECURITY.md#x", "../project/security.md#x"),
        ("docs/how-to/a.md", "../../README.md", "../index.md"),
        ("docs/how-to/a.md", "../../tests/test_site.py", None),
        ("docs/how-to/a.md", "../../tests/no_such.py", "../../tests/no_such.py"),
        ("benchmarks/RESULTS.md", "../docs/limits.md", "../limits.md"),
        ("benchmarks/RESULTS.md", "RESULTS-PEERS.md", "results-peers.md"),
        ("docs/index.md", "https://example.com/a", "https://example.com/a"),
        ("docs/index.md", "#here", "#here"),
    ],
)
def test_links_fit_the_site(source: str, target: str, expected: str | None) -> None:
    assert hooks.resolved(target, source) == expected


def test_blocks_of_code_keep_their_text() -> None:
    text = "[a](../README.md)\n```text\n[a](../README.md)\n```\n[s](../setup.cfg)"
    assert hooks.relinked(text, "docs/a.md") == text.replace(
        "[a](../README.md)", "[a](index.md)", 1
    )


@pytest.mark.parametrize(
    ("html", "refused"),
    [
        ('<script src="https://cdn.example/x.js">', True),
        ('<link href="//fonts.example/f.css" rel="stylesheet">', True),
        ('<img alt="" src=https://example.com/p.svg>', True),
        ('<a href="https://example.com">', False),
        ('<link rel="canonical" href="https://example.com">', False),
        ('<script src="assets/x.js"></script><link rel="icon" href="../logo.svg">', False),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(html: str, refused: bool) -> None:
    assert bool(hooks.LOADS.search(html)) == refused


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    for target in hooks.linked(page.read_text()):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", path):
            continue
        there = Path(os.path.normpath(page.parent / path)) if path else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lists_begin_after_a_blank_line(page: Path) -> None:
    """Else the site shows them as part of the paragraph, which a repository's browser does not."""
    text = hooks.FENCE.sub("", page.read_text())
    glued = re.findall(r"^(?![ |#>]|[-*] |\d+\. |$)(.+)\n(?:[-*]|\d+\.) .*$", text, re.M)
    assert glued == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_have_one_title(page: Path) -> None:
    text = hooks.FENCE.sub("", page.read_text())
    assert len(re.findall(r"^# \S", text, re.M)) == 1


def test_the_glossary_names_states_kinds_and_providers_as_the_code_does() -> None:
    text = (ROOT / "docs/glossary.md").read_text()
    tables = re.findall(r"^\| `([^`]+)` \|", text, re.M)
    code = "\n".join(path.read_text() for path in (ROOT / "mapred").rglob("*.py"))
    assert len(tables) == 5 + 8 + 4
    assert [word for word in tables if f'"{word}"' not in code] == []
    assert [word for word in placement.PROVIDERS if f"`{word}`" not in text] == []


def test_the_page_of_reliability_says_what_its_program_writes() -> None:
    page = (ROOT / "docs/reliability.md").read_text()
    empty = report([])
    assert page.startswith(empty[: empty.index("mapred ")])
    assert page.endswith(empty[empty.index("## Repeat one trial") :])
