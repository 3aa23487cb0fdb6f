"""The beginning of a result: what it is, how large, and its first rows."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from mapred.display.format import one_line, pluralize, visible
from mapred.display.summary import Preview
from mapred.display.tables import cell_text

_ROWS = 5
_TEXT = 400
_TABULAR = {"pyarrow", "pandas", "polars"}


def preview(value: Any, rows: int = _ROWS) -> Preview:
    """Return the beginning of a value; nothing of it is copied as a whole."""
    kind = _name(value)
    if isinstance(value, str | bytes):
        unit = "character" if isinstance(value, str) else "byte"
        return Preview(f"{kind} of {pluralize(len(value), unit)}", text=_cut(repr(value[:_TEXT])))
    if isinstance(value, Mapping):
        return _of_mapping(value, rows)
    if isinstance(value, list | tuple | set | frozenset) and not hasattr(value, "_fields"):
        return of_list(kind, len(value), list(islice(value, rows)))
    if type(value).__module__.partition(".")[0] in _TABULAR and hasattr(value, "shape"):
        return _of_table(value, rows)
    shape = getattr(value, "shape", None)
    head = kind
    if isinstance(shape, tuple) and shape:
        head += f" of shape {' × '.join(map(str, shape))}"
        head += f", {value.dtype}" if hasattr(value, "dtype") else ""
    return Preview(head, text=_cut(_repr(value)))


def of_list(kind: str, number: int, first: Sequence[Any]) -> Preview:
    """Return the beginning of a list, of which the first items are at hand."""
    more = ["…"] if number > len(first) else []
    lines = [_cut(_repr(item), 160) for item in first]
    return Preview(f"{kind} of {pluralize(number, 'item')}", text="\n".join([*lines, *more]))


def of_rows(head: str, rows: Sequence[Mapping[str, Any]]) -> Preview:
    """Return rows with named cells, as a table."""
    return Preview(head, tuple({k: cell_text(v) for k, v in row.items()} for row in rows))


def _of_mapping(value: Mapping[Any, Any], rows: int) -> Preview:
    counts = isinstance(value, Counter) and len(value) <= 1_000_000
    pairs = value.most_common(rows) if counts else list(islice(value.items(), rows))  # type: ignore[attr-defined]
    head = f"{_name(value)} of {pluralize(len(value), 'key')}"
    if len(value) > len(pairs):
        head += f", the {rows} most common" if counts else f", the first {rows}"
    shown = tuple(
        {"key": one_line(_repr(k), 40), "value": one_line(_repr(v), 60)} for k, v in pairs
    )
    return Preview(head, shown)


def _of_table(value: Any, rows: int) -> Preview:
    """Return the head of a table, frame or series of pyarrow, pandas or polars."""
    name = f"{type(value).__module__.partition('.')[0]} {type(value).__name__}"
    shape = value.shape
    head = f"{name} of {pluralize(shape[0], 'row')}"
    head += f" and {pluralize(shape[1], 'column')}" if len(shape) > 1 else ""
    try:
        first = value.slice(0, rows) if hasattr(value, "slice") else value.head(rows)
        if hasattr(first, "to_pylist"):
            found = first.to_pylist()
        elif hasattr(first, "to_dicts"):
            found = first.to_dicts()
        else:
            found = first.to_dict("records")
        return of_rows(head, [{str(k): v for k, v in row.items()} for row in found])
    except Exception:
        return Preview(head, text=_cut(_repr(value), 2 * _TEXT))


def _name(value: Any) -> str:
    module = type(value).__module__
    name = type(value).__qualname__
    return name if module in ("builtins", "__main__", "collections") else f"{module}.{name}"


def _repr(value: Any) -> str:
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _TEXT
    try:
        return short.repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, which does not show itself: {type(error).__name__}>"


def _cut(text: str, width: int = _TEXT) -> str:
    text = visible(text)
    return text if len(text) <= width else text[: width - 1] + "…"
