"""Tables of a few days, and runs that write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

import mapred
from mapred import writing


def day_of(item: int) -> pa.Table:
    days = [f"2026-01-0{1 + item % 3}", "2026-01-09"]
    return pa.table({"n": [item, item + 100], "day": days})


def rows_of(items: Iterable[int], change: int = 0) -> Counter[tuple[Any, ...]]:
    return Counter(
        (n + change, day)
        for item in items
        for n, day in zip(*day_of(item).to_pydict().values(), strict=True)
    )


def write(fn: Callable[..., Any], items: Any, target: writing.Target, **options: Any) -> Any:
    return mapred.run(
        fn, mapred.items(items), write=target, backend="inline", progress="none", **options
    ).result()


def wrote(target: writing.Target, name: str, change: int, items: Iterable[int]) -> list[Any]:
    """What the tasks of a run `name` hand to its last one."""
    found = []
    for item in items:
        table = day_of(item)
        table = table.set_column(0, "n", pa.array([n + change for n in table["n"].to_pylist()]))
        found.append(writing.write_values(target, name, item, "1-abc", [table]))
    return found
