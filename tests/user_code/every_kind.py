"""Runs of every kind of dataset and reduce, in a process of their own: `every_kind.py FOLDER KIND…`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

# Arrow's own `pa.array`, `pa.scalar` and `pyarrow.dataset` import pandas where it is installed, so
# the inputs are written by another process, and tables are looked at by `to_arrow` and `outputs`.


def same(value: Any) -> Any:
    return value


def total(values: Any) -> Any:
    return sum(values)


def size(value: Any) -> int:
    if hasattr(value, "num_rows"):
        return int(value.num_rows)
    data = value.read() if hasattr(value, "read") else value
    return len(data) if hasattr(data, "__len__") else sum(1 for _ in data)


def added(a: float, b: float = 0) -> float:
    return a + b


def row(a: float) -> dict[str, Any]:
    return {"twice": 2 * a, "text": str(a), "odd": None if a == 1 else a % 2 == 1}


def odd_only(a: float) -> dict[str, float]:
    if a == 2:
        raise ValueError("two")
    return {"a": a}


def table_of(a: float) -> Any:
    import pyarrow as pa

    if a == 2:
        raise ValueError("two")
    return pa.Table.from_arrays([pa.nulls(2)], names=["b"]) if a < 3 else None


def first(rows: Any) -> Any:
    return rows.slice(0, 1)


def rows_of(table: Any) -> int:
    return int(table.num_rows)


def datasets(root: str) -> dict[str, tuple[Callable[..., Any], Callable[[], Any]]]:
    import mapred

    texts, parquet = [f"{root}/{n}.txt" for n in (0, 1, 0)], f"{root}/*.parquet"
    return {
        "items": (same, lambda: mapred.items([1, "a", None, {"b": [1.5]}])),
        "range": (same, lambda: range(5)),
        "list": (same, lambda: [1.5, 2.5]),
        "array": (same, lambda: mapred.array(4)),
        "sweep": (added, lambda: mapred.sweep(a=[1, 2], b=[0.5])),
        "random": (added, lambda: mapred.sweep(a=mapred.uniform(0, 1), mode="random", n=3)),
        "files": (size, lambda: mapred.files(texts[:2])),
        "read_files": (size, lambda: mapred.read_files(f"{root}/*.txt")),
        "text": (size, lambda: f"{root}/*.txt"),
        "uris": (size, lambda: texts),
        "strings": (size, lambda: mapred.read_text(texts, as_="arrow")),
        "csv": (size, lambda: f"{root}/*.csv"),
        "json": (size, lambda: f"{root}/*.jsonl"),
        "dicts": (size, lambda: mapred.read_json(f"{root}/*.jsonl", as_="dicts")),
        "parquet": (size, lambda: parquet),
        "filters": (size, lambda: mapred.read_parquet(parquet, filters=[("g", ">", 1)])),
        "hive": (size, lambda: f"{root}/hive"),
        "arrow": (size, lambda: f"{root}/*.arrow"),
        "batches": (size, lambda: mapred.read_arrow(f"{root}/*.arrow", as_="batches")),
    }


def kinds(root: str) -> dict[str, Callable[[], Any]]:
    import mapred

    local, parquet = mapred.Local(workers=2), f"{root}/*.parquet"

    def go(fn: Any, data: Any, **options: Any) -> Any:
        return mapred.run(
            fn, data, root=f"{root}/runs", progress="none", backend=local, max_tasks=2, **options
        )

    def of(fn: Any, data: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: go(fn, data()).result()

    def some(fn: Any) -> None:
        run = go(fn, mapred.sweep(a=[1, 2, 3]), max_failed=1)
        _ = run.to_arrow(), run.to_arrow(details=True, partial=True), list(run.as_completed())
        _ = list(run.outputs(errors="skip")), repr(run.failures), run.logs()

    def shown() -> None:
        run = go(same, range(3))
        _ = repr(run), str(run), run.status(), run._repr_mimebundle_(), run.failures, run.logs()
        again = mapred.open(run.uri)
        assert list(again.outputs()) == [(0, 0), (1, 1), (2, 2)]

    values = ["sum", "mean", "min", "max", "count", "median", "stddev", "nunique", "list"]
    aggregate = {"v": values, "high": ("v", "quantile", {"q": 0.9})}
    asked = {
        "plan": lambda: (str(mapred.plan(parquet)), mapred.plan(parquet)._repr_mimebundle_()),
        "reduce": lambda: go(same, range(5), reduce=total).result(),
        "tree": lambda: go(same, range(5), reduce=total, fan_in=2).result(),
        "ready": lambda: go(same, range(5), reduce=mapred.reducers.sum).result(),
        "aggregate": lambda: go(same, parquet, by="g", aggregate=aggregate).to_arrow(),
        "by text": lambda: go(same, parquet, by=["name", "g"], aggregate={"v": "sum"}).to_arrow(),
        "by function": lambda: go(same, parquet, by="g", reduce=first).to_arrow(),
        "finalize": lambda: go(
            same, parquet, by="g", aggregate={"v": "sum"}, finalize=rows_of
        ).result(),
        "sort": lambda: go(same, parquet, sort_by=[("v", "descending"), "name"]).to_arrow(),
        "tables": lambda: list(go(same, parquet).outputs()),
        "frame of numbers": lambda: go(same, [1, 2]).to_arrow(),
        "frame of a sweep": lambda: go(row, mapred.sweep(a=[1, 2])).to_arrow(),
        "some of a sweep": lambda: some(odd_only),
        "tables of a sweep": lambda: some(table_of),
        "write": lambda: go(
            same, parquet, write=mapred.write_parquet(f"{root}/out", partition_by=["g", "name"])
        ).result(),
        "write here": lambda: go(same, parquet).write_parquet(f"{root}/here"),
        "read back": lambda: go(size, f"{root}/out").result(),
        "audit": lambda: (
            go(same, range(3)).audit(),
            go(same, parquet, by="g", aggregate={"v": "sum"}).audit(),
            go(same, parquet, write=mapred.write_parquet(f"{root}/audited")).audit(),
        ),
        "shown": shown,
    }
    return {name: of(fn, data) for name, (fn, data) in datasets(root).items()} | asked


if __name__ == "__main__":
    folder, *names = sys.argv[1:]
    known = kinds(folder)
    for name in names or known:
        known[name]()
        with open(f"{folder}/done", "a") as done:
            done.write(f"{name}\n")
