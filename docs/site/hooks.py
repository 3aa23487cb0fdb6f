"""What the site needs beyond mkdocs.yml: its navigation, and pages from outside of docs/.

Navigation follows the folders. A page is in the section of its folder; the order is that of the
links in the folder's index.md, then the alphabet. So a new page needs no line in any list.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

# Files of the repository that the site has as pages, and where it has them.
OUTSIDE = {
    "benchmarks/RESULTS.md": "project/results.md",
    "benchmarks/RESULTS-PEERS.md": "project/results-peers.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
}
ELSEWHERE = {"README.md": "index.md"}  # the site has a page of its own in its place

FOLDERS = {
    "How-to": "how-to",
    "Reference": "reference",
    "Explanation": "explanation",
    "Coming from": "coming-from",
}
HELP = ["troubleshooting.md", "glossary.md", "mapping.md"]
PROJECT = ["benchmarks.md", "reliability.md", "structure.md", "extending.md", *OUTSIDE.values()]
SINGLE = {"Home": "index.md", "Tutorial": "tutorial.md", "Gallery": "gallery.md"}

FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1[`~]*$", re.M | re.S)
LINK = re.compile(r"(!?)\[((?:[^][]|\[[^][]*\])*)\]\(([^()\s]+)\)")
LOADS = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\ssrc=[\"']?(?:https?:)?//[^>]*"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|icon|preload|preconnect))"
    r"[^>]*?\shref=[\"']?(?:https?:)?//[^>]*"
)


def linked(text: str) -> Iterator[str]:
    """Yield the targets of the links of a page, in order, without those in blocks of code."""
    for match in LINK.finditer(FENCE.sub("", text)):
        yield match[3]


def titled(pages: Iterable[str], section: str, texts: Mapping[str, str]) -> list[Any]:
    """Leave the name of the section out of the titles of its pages, which stand below it."""
    named: list[Any] = []
    for page in pages:
        heading = re.search(rf"^# {section} (.+)$", texts.get(page, ""), re.M)
        short = heading and not page.endswith("index.md")
        named.append({heading[1]: page} if heading and short else page)
    return named


def ordered(pages: Iterable[str], index: str = "") -> list[str]:
    """Put the pages of a folder in the order of the links in its index page, then by name."""
    links = [posixpath.normpath(target.partition("#")[0]) for target in linked(index)]
    place = {name: number for number, name in reversed(list(enumerate(links)))}
    last = len(links)

    def key(page: str) -> tuple[bool, int, str]:
        name = posixpath.basename(page)
        return name != "index.md", place.get(name, last), name

    return sorted(pages, key=key)


def navigation(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Make the navigation of all pages, of which this has the texts."""
    pages = set(texts)
    folders = {
        title: ordered(
            (page for page in pages if page.startswith(f"{folder}/")),
            texts.get(f"{folder}/index.md", ""),
        )
        for title, folder in FOLDERS.items()
    }
    placed = {
        *SINGLE.values(),
        *HELP,
        *PROJECT,
        *(p for listed in folders.values() for p in listed),
    }
    folders["How-to"] += sorted(pages - placed)
    sections: dict[str, Any] = {
        "Home": SINGLE["Home"],
        "Tutorial": SINGLE["Tutorial"],
        **{title: titled(listed, title, texts) for title, listed in folders.items()},
        "Gallery": SINGLE["Gallery"],
        "Help": [page for page in HELP if page in pages],
        "Project": [page for page in PROJECT if page in pages],
    }
    return [
        {title: content}
        for title, content in sections.items()
        if (content in pages if isinstance(content, str) else content)
    ]


def pages_of(docs: Path) -> dict[str, str]:
    """Return the texts of all pages of the site by their paths in it."""
    files = {path.relative_to(docs).as_posix(): path for path in docs.rglob("*.md")}
    files |= {site: ROOT / name for name, site in OUTSIDE.items() if (ROOT / name).exists()}
    return {page: path.read_text(encoding="utf-8") for page, path in files.items()}


def resolved(target: str, source: str) -> str | None:
    """Return what a link in the repository's file `source` becomes in the site; None for plain text.

    A link between pages of docs/ stays as it is, and so does one that leads nowhere, for mkdocs to
    find.
    """
    path, hash_, anchor = target.partition("#")
    if not path or re.match(r"[a-z][a-z0-9+.-]*:|/", path):
        return target
    there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    here = site_path(source)
    if there.startswith("docs/") and source.startswith("docs/"):
        return target
    if there.startswith("docs/") or there in OUTSIDE or there in ELSEWHERE:
        return posixpath.relpath(site_path(there), posixpath.dirname(here) or ".") + hash_ + anchor
    return None if (ROOT / there).exists() else target


def site_path(name: str) -> str:
    """Return where the site has a file of the repository."""
    return OUTSIDE.get(name) or ELSEWHERE.get(name) or name.removeprefix("docs/")


def relinked(text: str, source: str) -> str:
    """Make the links of the repository's file `source` fit the site."""

    def link(match: re.Match[str]) -> str:
        image, label, target = match.groups()
        new = resolved(target, source)
        return label if new is None else f"{image}[{label}]({new})"

    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(link, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(link, text[end:])])


# --- what mkdocs calls ---


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the navigation."""
    config.nav = navigation(pages_of(Path(config.docs_dir)))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of docs/."""
    from mkdocs.structure.files import File

    for name, site in OUTSIDE.items():
        if (ROOT / name).exists():
            files.append(File.generated(config, site, abs_src_path=os.fspath(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to where the site has them."""
    origin = {site: name for name, site in OUTSIDE.items()}
    return relinked(markdown, origin.get(page.file.src_uri, f"docs/{page.file.src_uri}"))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that loads anything from elsewhere."""
    from mkdocs.exceptions import PluginError

    if found := LOADS.search(output):
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {found[0]}")
    return output
