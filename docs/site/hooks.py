"""What the site needs beyond mkdocs.yml: its navigation, and pages from outside of docs/.

Navigation follows the folders. A page is in the section of its folder; the groups and the order are
those of the links in the folder's index.md, then the alphabet. So a new page needs no other list.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


def groups(index: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the headings of an index page, or its bold lines, with the pages linked below each."""
    parts = re.split(r"^(?:##+ (.+)|\*\*(.+)\*\*)$", FENCE.sub("", index), flags=re.M)
    for head, bold, text in zip(
        [None, *parts[1::3]], [None, *parts[2::3]], parts[::3], strict=True
    ):
        yield head or bold or "", [target.partition("#")[0] for target in linked(text)]


def section(title: str, folder: str, texts: Mapping[str, str]) -> list[Any]:
    """Put the pages of a folder in the groups and the order of its index page, the rest by name."""
    left = {page for page in texts if page.startswith(f"{folder}/")}
    index = f"{folder}/index.md"
    listed: list[Any] = [index] if index in left else []
    left -= {index}
    for group, links in groups(texts.get(index, "")):
        named = dict.fromkeys(posixpath.normpath(f"{folder}/{link}") for link in links)
        pages = [_titled(page, title, texts[page]) for page in named if page in left]
        left -= named.keys()
        if pages:
            listed += [{group: pages}] if group else pages
    return listed + [_titled(page, title, texts[page]) for page in sorted(left)]


def _titled(page: str, section: str, text: str) -> str | dict[str, str]:
    """Leave the name of the section out of the title of a page, which stands below it."""
    heading = re.search(rf"^# {section} (.+)$", text, re.M)
    return {heading[1]: page} if heading else page


def navigation(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Make the navigation of all pages, of which this has the texts."""
    pages = set(texts)
    folders = {title: section(title, folder, texts) for title, folder in FOLDERS.items()}
    placed = {*SINGLE.values(), *HELP, *PROJECT}
    inside = {page for page in pages if page.partition("/")[0] in FOLDERS.values()}
    folders["How-to"] += sorted(pages - placed - inside)
    sections: dict[str, Any] = {
        "Home": SINGLE["Home"],
        "Tutorial": SINGLE["Tutorial"],
        **folders,
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
