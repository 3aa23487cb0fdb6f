"""The source of copied code for tracebacks: its own lines, and none of the file around it.

A script or a cell may hold what a function never uses, a password among it, so all other lines
are empty; the lines that stay keep their numbers.
"""

from __future__ import annotations

import ast
import hashlib
import io
import itertools
import linecache
import re
import sys
import types
from collections.abc import Iterable, Sequence

from mapred.functions.modules import imports

_placed: dict[str, list[str]] = {}


def excerpt(text: str, codes: Iterable[types.CodeType]) -> str:
    """Return the text with the lines that these codes were compiled from; all others are empty."""
    lines = io.StringIO(text).readlines()
    kept: dict[int, str] = {}
    lambdas = []
    for code in codes:
        first, last = _extent(code)
        if code.co_name.startswith("<"):
            lambdas.append(code)
        # A file that was edited since may have other lines there.
        elif re.search(rf"\bdef\s+{re.escape(code.co_name)}\b", "".join(lines[first - 1 : last])):
            kept.update(enumerate(lines[first - 1 : last], first - 1))
    left = [code for code in lambdas if code.co_firstlineno - 1 not in kept]
    for number, line in _expressions(text, left) if left else ():
        kept.setdefault(number, line)
    last = max(kept, default=-1)
    return "".join(kept.get(number, "\n") for number in range(last + 1))


def digest(text: str) -> str:
    """Return the SHA-256 of a text, whatever ends its last line."""
    return hashlib.sha256(text.rstrip("\n").encode(errors="replace")).hexdigest()


def place(name: str, text: str) -> None:
    """Have tracebacks show these lines of a file, where it has others here or is not here."""
    lines = io.StringIO(text).readlines()
    here = linecache.getlines(name)
    pairs = list(itertools.zip_longest(lines, here, fillvalue=""))
    if all(_shows(shown, line) for line, shown in pairs):
        return
    if name in _placed:  # what another function brought of the same file
        pairs = list(itertools.zip_longest(lines, _placed[name], fillvalue=""))
        lines = [line if line.strip() else shown or line for line, shown in pairs]
    _placed[name] = lines
    linecache.cache[name] = (sum(map(len, lines)), None, lines, name)


def _extent(code: types.CodeType) -> tuple[int, int]:
    """Return the first and the last line of a code, decorators and inner functions with it."""
    last = code.co_firstlineno
    for inner in imports.walk_code(code):
        if sys.version_info >= (3, 11):
            ends = [end for _, end, _, _ in inner.co_positions() if end is not None]
        else:
            ends = [line for _, _, line in inner.co_lines() if line is not None]
        last = max(last, *ends, inner.co_firstlineno)
    return code.co_firstlineno, last


def _expressions(text: str, codes: Sequence[types.CodeType]) -> list[tuple[int, str]]:
    """Return the lines of lambdas, blank where something else stands beside them."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    wanted = {(code.co_firstlineno, code.co_varnames[: code.co_argcount]) for code in codes}
    kept: dict[int, str] = {}
    lines = io.StringIO(text).readlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Lambda):
            continue
        names = tuple(argument.arg for argument in (*node.args.posonlyargs, *node.args.args))
        if (node.lineno, names) not in wanted:
            continue
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            line = lines[number]
            start = _column(line, node.col_offset) if number == node.lineno - 1 else 0
            ends = number + 1 == node.end_lineno
            stop = _column(line, node.end_col_offset or 0) if ends else len(line.rstrip("\n"))
            before = kept.get(number, "").rstrip("\n")
            kept[number] = f"{before:{start}}"[:start] + line[start:stop] + before[stop:] + "\n"
    return list(kept.items())


def _column(line: str, offset: int) -> int:
    """Return the place in a line that lies so many bytes behind its start."""
    return len(line.encode(errors="surrogatepass")[:offset].decode(errors="surrogatepass"))


def _shows(shown: str, line: str) -> bool:
    """Whether a line is what is shown already, or has blanks in its stead."""
    text = line.rstrip()
    return len(text) <= len(shown) and all(
        mine in (" ", other) for mine, other in zip(text, shown, strict=False)
    )
