"""A glob as a regular expression of Arrow's, so that a whole listing is matched at once.

Wildcards match no hidden name, one that begins with a dot. Python's expressions say so by a
look-ahead, which Arrow's do not have: here such names get a mark in front of them that no
wildcard matches. What a pattern means is said by `globs`, which walks folders name by name.
"""

from __future__ import annotations

import re

from mapred.arrow.buffers import scalar
from mapred.dataset.globs import Glob, Part
from mapred.process.lazy import pa, pc

_MARK = "\0"  # in no path
_ANY = rf"[^/{_MARK}]"
_NEVER = r"[^\s\S]"
_DOTTED, _UNDERSCORED = r"\.[^/]*", "_[^/=]*"
_TOKEN = re.compile(r"\[(?:(?P<negated>!)|(?!!))(?P<set>.[^]]*)\]|.", re.DOTALL)


def match(paths: pa.ChunkedArray, glob: Glob) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Return which paths match, and in which of these a wildcard matched a name such as `_a`.

    Names with a `=`, as folders of partitions have them, do not count as underscored.
    """
    root = f"{glob.root}/" if glob.root else ""
    below = pc.utf8_slice_codeunits(paths, len(root))
    pattern = rf"\A{''.join(map(_translate, glob.parts)).removesuffix('/')}\z"
    special = pc.any(pc.match_substring_regex(below, r"(?:\A|/)[._]")).as_py()
    if special:
        below = _mark(below, _DOTTED)
    fits = pc.and_(pc.starts_with(paths, root), pc.match_substring_regex(below, pattern))
    if not special:
        return fits, pc.and_(fits, scalar(False))
    unaided = pc.match_substring_regex(_mark(below, _UNDERSCORED), pattern)
    return fits, pc.and_not(fits, unaided)


def _mark(paths: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Put the mark in front of each name in the paths that an expression matches."""
    for _ in range(2):  # of two neighbours, the first one takes the slash between them
        paths = pc.replace_substring_regex(paths, rf"(\A|/)({name})(/|\z)", rf"\1{_MARK}\2\3")
    return paths


def _translate(part: Part) -> str:
    """Return a name of a pattern, and the slash behind it, as a regular expression."""
    if part.match is None:
        return f"(?:{_ANY}[^/]*/)*"
    mark = f"{_MARK}?" if part.text[0] in "._" else ""
    return f"{mark}{_TOKEN.sub(_translate_token, part.text)}/"


def _translate_token(token: re.Match[str]) -> str:
    if token["set"] is None:
        return {"*": f"{_ANY}*", "?": _ANY}.get(token[0]) or re.escape(token[0])
    ranges = ""
    for first, last, single in re.findall("(.)-(.)|(.)", token["set"], re.DOTALL):
        low, high = first or single, last or single
        # A slash is in no name, so a range that has one is two.
        for start, stop in ((low, min(high, ".")), (max(low, "0"), high)):
            if start <= stop:
                ranges += f"{re.escape(start)}-{re.escape(stop)}"
    if token["negated"]:
        return f"[^/{_MARK}{ranges}]"
    return f"[{ranges}]" if ranges else _NEVER
