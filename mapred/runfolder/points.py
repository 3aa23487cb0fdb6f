"""The points that failures name: items with their values, a sweep's parameters, lines of text."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mapred import formats
from mapred.formats.base import Open, range_opener
from mapred.formats.text import line_number
from mapred.model.checking import safe_text
from mapred.model.spec import Format, Job, Stage
from mapred.runfolder import pieces, plans
from mapred.storage import Store

if TYPE_CHECKING:
    import pyarrow as pa

_WIDTH = 200
# A failed attempt tells the values of so many items, and reads so much again to know them.
_MOST_VALUES, _MOST_BYTES = 200, 32 * 2**20
_LINES_BYTES = 64 * 2**20


class _Brief(reprlib.Repr):
    """`repr` that looks at the first entries alone of what is long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 50
        self.maxdeque = self.maxarray = 50
        self.maxstring = self.maxother = self.maxlong = 4 * _WIDTH

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """Entries in the dict's own order."""
        if level <= 0 and x:
            return "{...}"
        pairs = zip(x.items(), range(self.maxdict), strict=False)
        shown = [
            f"{self.repr1(name, level - 1)}: {self.repr1(value, level - 1)}"
            for (name, value), _ in pairs
        ]
        return "{" + ", ".join([*shown, *["..."] * (len(x) > self.maxdict)]) + "}"


_brief = _Brief().repr


def value_text(format: Format, value: Any) -> str:
    """Return what the function was called with, on one line: `'abc'`, or `beta=0.5, repeat=3`."""
    if format.as_ == "keywords" and isinstance(value, dict):
        return _cut(", ".join(f"{name}={_text(each)}" for name, each in value.items()))
    return _cut(_text(value))


def _text(value: Any) -> str:
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        plain = value.item()
        value = plain if isinstance(plain, bool | int | float | complex) else value
    return safe_text(_brief, value)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def item_text(item: int, values: Mapping[int, str]) -> str:
    """`item 4: 'abc'`, as far as the value is known."""
    return f"item {item}: {values[item]}" if item in values else f"item {item}"


def values_of(job: Job, ranges: pa.Table, open_: Open, items: Collection[int]) -> dict[int, str]:
    """Return the items of a shard as text, by their numbers, as far as they can be told.

    They are read again, after the failure: nothing is kept of an item that succeeds, and a
    function may have changed the one that it got.
    """
    wanted = set(sorted(items)[:_MOST_VALUES])
    if job.format.name == "files":
        first = ranges["first"][0].as_py()
        return {item: _cut(ranges["path"][item - first].as_py()) for item in sorted(wanted)}
    too_large = sum(ranges["length"].to_pylist()) > _MOST_BYTES
    if job.format.name != "items" or too_large:
        return {}
    found: dict[int, str] = {}
    given = formats.read(job.format, ranges, open_, formats.Reading())
    while wanted - found.keys():
        try:
            item, value = next(given, (None, None))
        except (Exception, SystemExit):
            # An item that does not load; those behind it may.
            continue
        if item is None:
            break
        if item in wanted:
            found[item] = value_text(job.format, value)
    return found


def stored_values(store: Store, job: Job, shard: int, items: Collection[int]) -> dict[int, str]:
    """`values_of` for a process that knows the run's folder alone."""

    def open_(path: str, known: tuple[int, str] | None = None) -> Any:
        return pieces.open_input(store, job.digests, path)

    if not items:
        return {}
    return values_of(job, plans.shard_ranges(store, shard), open_, items)


def lone_item(store: Store, job: Job, stage: Stage, index: int) -> tuple[int, ...]:
    """Return the item of a task that has one alone; of any other nothing."""
    if stage.kind != "map" or not job.format.once_per_item:
        return ()
    items = plans.items_of(plans.shard_ranges(store, index))
    return tuple(items) if len(items) == 1 else ()


def line_text(format: Format, reading: formats.Reading, open_: Open) -> str:
    """`line 1,234 of FILE (bytes 0-65536): 'a,b'` for the line handed out last; else nothing.

    Of JSON it is the row: blank lines are none.
    """
    found = reading.line
    if found is None:
        return ""
    number, line, range_, start = found
    what = "row" if format.name == "json" else "line"
    behind = f" after byte {start:,}" if start else ""
    if what == "line" and 0 < start <= _LINES_BYTES:
        with suppress(Exception):  # to count lines is not worth another failure
            number += line_number(format, range_, start, range_opener(open_)) - 1
            behind = ""
    held = reading.where().rpartition(", ")[2]
    return f"{what} {number:,}{behind} of {range_.path} ({held}): {_cut(_text(line))}"
