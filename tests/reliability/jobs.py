"""The kinds of job that are attacked, and what each must answer."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import mapred
from mapred.storage import open_store

ITEMS = 40
GATE = "RELIABILITY_GATE"  # a file, in the environment: items wait until it is there


@dataclass(frozen=True)
class Kind:
    """`job` of a root, and the `answer` of its run, which must be `exact`."""

    job: Callable[[str], mapred.Job]
    answer: Callable[[mapred.Run], Any]
    exact: Any


def square(i: int) -> int:
    time.sleep(0.015)
    gate = os.environ.get(GATE)
    while gate is not None and not os.path.exists(gate):
        time.sleep(0.01)
    return i * i


def note(i: int, task: mapred.Task) -> dict[str, int]:
    task.output("note.txt").write_text(f"{i}")
    task.count("seen")
    return {f"{i}": square(i)}


def merged(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    return {name: value for part in parts for name, value in part.items()}


def rows(i: int) -> pa.Table:
    square(i)
    return pa.table({"k": [n % 7 for n in range(i, i + 50)], "v": list(range(i, i + 50))})


def _listed(run: mapred.Run) -> Any:
    return list(run.result())


def _tree(run: mapred.Run) -> Any:
    return sorted(run.result().items()), run.counters["seen"]


def _sums(run: mapred.Run) -> Any:
    table = run.to_arrow().sort_by("k")
    return list(zip(table["k"].to_pylist(), table["total"].to_pylist(), strict=True))


def _written(run: mapred.Run) -> Any:
    """The rows of the folder, not of the run: what any reader finds there."""
    store = open_store(run.result().uri)
    found: list[tuple[int, int]] = []
    for path, _ in store.list(""):
        if not path.startswith("_"):
            table = pq.read_table(io.BytesIO(store.read(path)))
            found += zip(table["k"].to_pylist(), table["v"].to_pylist(), strict=True)
    staged = [path for path, _ in store.list("_staging")]
    if staged and sorted(found) == sorted(_all_rows()):
        return f"the rows are exact, and {len(staged)} staged files are left"
    return sorted(found)


def _all_rows() -> list[tuple[int, int]]:
    return [(n % 7, n) for i in range(ITEMS) for n in range(i, i + 50)]


def _of_each_key() -> list[tuple[int, int]]:
    return [(key, sum(v for k, v in _all_rows() if k == key)) for key in range(7)]


_items = mapred.items(range(ITEMS))
KINDS = {
    "items": Kind(
        lambda root: mapred.job(square, _items, per_task=2), _listed, [i * i for i in range(ITEMS)]
    ),
    "tree": Kind(
        lambda root: mapred.job(note, _items, per_task=4, reduce=merged, fan_in=3),
        _tree,
        (sorted((f"{i}", i * i) for i in range(ITEMS)), ITEMS),
    ),
    "keyed": Kind(
        lambda root: mapred.job(
            rows, _items, per_task=4, by="k", aggregate={"total": ("v", "sum")}
        ),
        _sums,
        _of_each_key(),
    ),
    "write": Kind(
        lambda root: mapred.job(
            rows, _items, per_task=4, write=mapred.write_parquet(f"{root}/table")
        ),
        _written,
        sorted(_all_rows()),
    ),
}
