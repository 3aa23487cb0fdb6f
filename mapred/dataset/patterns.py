"""A glob as regular expressions of Arrow's, so that a whole listing is matched at once.

Arrow's expressions have no look-ahead, so that a wildcard matches no name that begins with a
dot has to be spelled out.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from mapred.dataset.globs import Glob
from mapred.process.lazy import pa, pc

Ranges: TypeAlias = "tuple[tuple[int, int], ...]"
Token: TypeAlias = "tuple[str, Ranges]"  # "*", or one character "in" or "out" of ranges
_LAST = 0x10FFFF
_NEVER = rf"[^\x00-\x{{{_LAST:X}}}]"
# Stands in for the underscore of a name such as `_y=1`, which is data.
_MARK = "\x01"


def matches(paths: pa.ChunkedArray, glob: Glob) -> pa.ChunkedArray:
    """Which paths a glob matches, as booleans."""

    root = re.escape(f"{glob.root}/") if glob.root else ""
    return pc.match_substring_regex(paths, rf"\A{root}{_expression(glob, '.')}\z")


def match_underscored(paths: pa.ChunkedArray, glob: Glob) -> pa.ChunkedArray:
    """Of paths that match: in which a wildcard matched a name that begins with an underscore.

    Names with a `=`, as folders of partitions have them, are not meant.
    """

    below = pc.utf8_slice_codeunits(paths, len(glob.root) + 1 if glob.root else 0)
    doubtful = pc.match_substring_regex(below, r"(?:\A|/)_[^/=]*(?:/|\z)")
    if not pc.any(doubtful).as_py():
        return doubtful
    marked = pc.replace_substring_regex(below, r"(\A|/)_([^/=]*=)", rf"\1{_MARK}\2")
    plain = pc.match_substring_regex(marked, rf"\A{_expression(glob, '._')}\z")
    return pc.and_(doubtful, pc.invert(plain))


def _expression(glob: Glob, hidden: str) -> str:
    """Return the names below the root, where no wildcard matches a first character of `hidden`."""
    written = []
    for part in glob.parts:
        if part.match is None:
            written.append(f"(?:[^/{hidden}][^/]*/)*")
        else:
            first = hidden.replace(part.text[0], "")
            written.append(f"{_name(_tokens(part.text), first, '_' in hidden)}/")
    return "".join(written).removesuffix("/")


def _name(tokens: list[Token], hidden: str, marked: bool) -> str:
    """Return a name that does not begin with a character of `hidden`."""
    if not tokens:
        return ""
    (kind, ranges), rest = tokens[0], "".join(map(_token, tokens[1:]))
    if kind == "*":
        first = f"[^/{hidden}][^/]*{rest}"
        return f"(?:{first}|{_name(tokens[1:], hidden, marked)})" if rest else first
    underscore = (ord("_"), ord("_"))
    if marked and kind == "in" and any(low <= underscore[0] <= high for low, high in ranges):
        ranges = (*ranges, (ord(_MARK), ord(_MARK)))
    return _token((kind, _without(ranges, hidden) if kind == "in" else ranges), hidden) + rest


def _token(token: Token, hidden: str = "") -> str:
    kind, ranges = token
    if kind == "*":
        return "[^/]*"
    if kind == "in":
        ranges = _without(ranges, "/")
        return f"[{_format_ranges(ranges)}]" if ranges else _NEVER
    return f"[^{_format_ranges((*ranges, *((ord(c), ord(c)) for c in '/' + hidden)))}]"


def _format_ranges(ranges: Ranges) -> str:
    return "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in ranges)


def _without(ranges: Ranges, characters: str) -> Ranges:
    for code in map(ord, characters):
        cut = []
        for low, high in ranges:
            cut += [(low, min(high, code - 1)), (max(low, code + 1), high)]
        ranges = tuple((low, high) for low, high in cut if low <= high)
    return ranges


def _tokens(text: str) -> list[Token]:
    """Return the wildcards and characters of one name, read as `fnmatch` reads them."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*":
            if not tokens or tokens[-1][0] != "*":
                tokens.append(("*", ()))
        elif char == "?":
            tokens.append(("out", ()))
        elif char == "[" and (end := _end_of_set(text, at)) > 0:
            tokens.append(_set(text[at:end]))
            at = end + 1
        else:
            tokens.append(("in", ((ord(char), ord(char)),)))
    return tokens


def _end_of_set(text: str, at: int) -> int:
    """Where the `]` of a set stands; a first one is one of its characters."""
    start = at + 1 if text[at : at + 1] == "!" else at
    return text.find("]", start + 1)


def _set(body: str) -> Token:
    kind = "out" if body.startswith("!") else "in"
    body = body.removeprefix("!")
    ranges, at = [], 0
    while at < len(body):
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            ranges.append((ord(body[at]), ord(body[at + 2])))
            at += 3
        else:
            ranges.append((ord(body[at]), ord(body[at])))
            at += 1
    return kind, tuple((low, high) for low, high in ranges if low <= high)
