"""Plain English: no text of the package, the docs or the examples has a word that the list refuses.

The list is the table in CONTRIBUTING.md, so that people and this test read the same one.
"""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "SECURITY.md", "RELEASING.md", "CODE_OF_CONDUCT.md", "mkdocs.yml")
# CHANGELOG.md is history, and CONTRIBUTING.md has the list.
FOLDERS = {
    "mapred": ("py",),
    "docs": ("md",),
    "recipes": ("py", "md"),
    "notebooks": ("ipynb", "md"),
}
# Longer ones, in which a refused word is another one or means something else.
FINE = re.compile(
    r"there is no(?:ne of)?\b|\bis no (?:longer|more|older|less|fewer|later)\b|\bgo on demand\b|\bone does not\b"
    r"|\bgoes on top\b|and those that do so as its last word|^# Words that name a secret.*",
    re.IGNORECASE,
)


def refused() -> list[str]:
    """The words on the left of the list."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = text.split("| not | but |\n|---|---|\n")[1].split("\n\n")[0].splitlines()
    cells = [row.strip("| ").split(" | ")[0] for row in rows]
    return [word.removesuffix(" …") for cell in cells for word in cell.split(", ")]


PATTERN = re.compile(
    "|".join(rf"\b{word.replace(' ', chr(92) + 's+')}\b" for word in refused()), re.IGNORECASE
)


def found(text: str) -> Iterator[tuple[int, str]]:
    """The refused words of a text, and how many line ends stand before each."""
    text = FINE.sub(lambda match: re.sub(r"\S", " ", match[0]), text)
    for match in PATTERN.finditer(text):
        yield text.count("\n", 0, match.start()), " ".join(match[0].split())


def texts_of(file: Path) -> Iterator[tuple[int, str]]:
    """The texts of a file with their lines: of Python its strings and comments."""
    if file.suffix != ".py":
        yield 1, file.read_text(encoding="utf-8")
        return
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    with tokenize.open(file) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type in kinds:
                yield token.start[0], token.string


def files() -> Iterator[Path]:
    yield from (ROOT / name for name in PAGES if (ROOT / name).exists())
    for folder, suffixes in FOLDERS.items():
        for suffix in suffixes:
            found = (ROOT / folder).rglob(f"*.{suffix}")
            yield from sorted(file for file in found if ".ipynb_checkpoints" not in file.parts)


def test_the_list_is_read() -> None:
    assert {"mended", "in vain", "is no", "whoever", "one does", "last word"} <= set(refused())
    assert all(re.fullmatch(r"[a-z]+(?: [a-z]+)*", word) for word in refused()), refused()


@pytest.mark.parametrize(
    "text", ["Mended.", "it is no dataset", "the run goes\non", "is none of a, b"]
)
def test_refused_words_are_found(text: str) -> None:
    assert len(list(found(text))) == 1


@pytest.mark.parametrize(
    "text", ["there is no run", "is no longer here", "amended", "it goes one by one"]
)
def test_other_words_are_left_alone(text: str) -> None:
    assert not list(found(text))


def test_texts_are_plain_english() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{first + below}: {word}"
        for file in files()
        for first, text in texts_of(file)
        for below, word in found(text)
    ]
    assert not wrong, "see the list in CONTRIBUTING.md for the words to use\n" + "\n".join(wrong)
