"""What failures point at, as text: items with their values, parameters of a sweep, lines."""

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
from mapred.runfolder import pieces, places, plans
from mapred.storage import Store

if TYPE_CHECKING:
    import pyarrow as pa

_WIDTH = 200
# A failed attempt names the values of so many items, and reads so much again for them.
_MOST_VALUES, _MOST_BYTES = 200, 32 * 2**20
_LINES_BYTES = 64 * 2**20


class _Brief(reprlib.Repr):
    """A `repr` that looks at the first entries alone of long values."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 50
        self.maxdeque = self.maxarray = 50
        self.maxstring = self.maxother = self.maxlong = 4 * _WIDTH

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        # In the dict's own order: the base class sorts the keys.
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
    """Show what the function was called with, on one line: `'abc'`, or `beta=0.5, repeat=3`."""
    if format.as_ == "keywords" and isinstance(value, dict):
        return _cut(", ".join(f"{name}={_text(argument)}" for name, argument in value.items()))
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
    """Return the values of a shard's items as text, by their numbers, as far as they load.

    They are read again, since nothing is kept of items that succeed, and a function may have
    changed the one that it got.
    """
    wanted = set(sorted(items)[:_MOST_VALUES])
    if job.format.name == "files":
        first = ranges["first"][0].as_py()
        return {item: _cut(ranges["path"][item - first].as_py()) for item in sorted(wanted)}
    if job.format.name == "outputs":
        come = places.describe(job.format, ranges)
        return {item: come[item] for item in sorted(wanted) if item in come}
    too_large = sum(ranges["length"].to_pylist()) > _MOST_BYTES
    if job.format.name != "items" or too_large:
        return {}
    texts: dict[int, str] = {}
    numbered = formats.read(job.format, ranges, open_, formats.Reading())
    while wanted - texts.keys():
        try:
            item, value = next(numbered, (None, None))
        except (Exception, SystemExit):
            continue  # the items behind one that does not load may load
        if item is None:
            break
        if item in wanted:
            texts[item] = value_text(job.format, value)
    return texts


def stored_values(store: Store, job: Job, shard: int, items: Collection[int]) -> dict[int, str]:
    """Return `values_of` by the run's folder alone."""

    def open_(path: str, known: tuple[int, str] | None = None) -> Any:
        return pieces.open_input(store, job.digests, path)

    if not items:
        return {}
    return values_of(job, plans.shard_ranges(store, shard), open_, items)


def lone_item(store: Store, job: Job, stage: Stage, index: int) -> tuple[int, ...]:
    """Return the item of a task that has a single one, else nothing."""
    if stage.kind != "map" or not job.format.once_per_item:
        return ()
    items = plans.items_of(plans.shard_ranges(store, index))
    return tuple(items) if len(items) == 1 else ()


def line_text(format: Format, reading: formats.Reading, open_: Open) -> str:
    """Name the line read last: `line 1,234 of FILE (bytes 0-65536): 'a,b'`, or nothing.

    JSON counts rows, since blank lines are none.
    """
    if reading.line is None:
        return ""
    number, line, range_, start = reading.line
    what = "row" if format.name == "json" else "line"
    behind = f" after byte {start:,}" if start else ""
    if what == "line" and 0 < start <= _LINES_BYTES:
        with suppress(Exception):  # to count lines is not worth another failure
            number += line_number(format, range_, start, range_opener(open_)) - 1
            behind = ""
    span = reading.where().rpartition(", ")[2]
    return f"{what} {number:,}{behind} of {range_.path} ({span}): {_cut(_text(line))}"
