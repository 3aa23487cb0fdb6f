"""Whatever is done to a run's folder: the answer is the same, or the audit and `result()` say no.

Some of all tamperings are tried, the same each time; with MAPRED_TAMPERINGS=all in the
environment every one of them.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from testbed.faults.tampering import Tampering, contents, put, tamperings

import mapred
from mapred.errors import MapredError
from mapred.model import layout, policy

RUN: dict[str, Any] = {"backend": "inline", "progress": "none", "attempts": 1}


def rows(item: int) -> pa.Table:
    return pa.table({"n": [item] * 20, "k": [f"k{i % 3}" for i in range(20)]})


def numbered(item: int, task: mapred.Task) -> str:
    task.output("file.txt").write_text(f"file of {item}")
    return f"item {item}"


def large(item: int) -> str:
    return f"{item}" * 20_000


def short(lines: Iterable[str]) -> int:
    found = list(lines)
    if any("bad" in line for line in found):
        raise ValueError("bad")
    return sum(map(len, found))


def fails_once(item: int) -> int:
    if item == 1:
        raise ValueError("one")
    return item


def added(a: int, b: int) -> dict[str, int]:
    return {"sum": a + b}


def count(batch: pa.Table) -> int:
    return batch.num_rows


def total(values: Iterable[int]) -> int:
    return sum(values)


def words(lines: Iterable[str]) -> Counter[str]:
    return Counter(word for line in lines for word in line.split())


def _texts(folder: Path) -> str:
    for number in range(3):
        lines = [f"line {i} {'bad' if number == 1 else 'good'}\n" for i in range(30)]
        (folder / f"{number}.txt").write_text("".join(lines))
    return str(folder / "*.txt")


def _tables(folder: Path, suffix: str) -> str:
    for number in range(2):
        if suffix == "csv":
            lines = "".join(f"{i},{i % 3}\n" for i in range(40))
            (folder / f"{number}.csv").write_text(f"n,k\n{lines}")
        else:
            pq.write_table(rows(number), folder / f"{number}.parquet", row_group_size=5)
    return str(folder / f"*.{suffix}")


def _run(fn: Any, data: Any, folder: Path, **options: Any) -> mapred.Run:
    return mapred.run(fn, data, root=folder / "runs", **{**RUN, **options})


KINDS: dict[str, Callable[[Path], mapred.Run]] = {
    "items": lambda f: _run(str, mapred.items(["a", "b", "c"]), f),
    "files": lambda f: _run(numbered, mapred.items(range(2)), f),
    "large": lambda f: _run(large, mapred.items(range(2)), f),
    "text": lambda f: _run(words, _texts(f), f, target_bytes=200, reduce=mapred.reducers.sum),
    "csv": lambda f: _run(count, _tables(f, "csv"), f, target_bytes=100),
    "parquet": lambda f: _run(count, _tables(f, "parquet"), f, max_tasks=3, reduce=total),
    "keyed": lambda f: _run(
        rows, mapred.items(range(3)), f, by="k", aggregate={"n": "sum"}, partitions=2
    ),
    "sorted": lambda f: _run(rows, mapred.items(range(3)), f, sort_by="n", partitions=2),
    "tree": lambda f: _run(int, mapred.array(5), f, per_task=1, reduce=total, fan_in=2),
    "write": lambda f: _run(
        rows, mapred.items(range(2)), f, write=mapred.write_parquet(f / "lake", partition_by="k")
    ),
    "delta": lambda f: _run(rows, mapred.items(range(2)), f, write=mapred.write_delta(f / "lake")),
    "arrow": lambda f: _run(rows, mapred.items(range(3)), f, per_task=1),
    "sweep": lambda f: _run(added, mapred.sweep(a=[1, 2], b=[3]), f),
    "given up": lambda f: _run(short, _texts(f), f, target_bytes=200, max_failed=9),
    "items given up": lambda f: _run(fails_once, mapred.items(range(3)), f, max_failed=1),
}


def observed(uri: str) -> str:
    """The answer in words that tell every difference."""
    found = mapred.open(uri).result()
    return repr(found.to_table().to_pydict() if isinstance(found, ds.Dataset) else found)


def verdict(uri: str, before: str) -> str:
    """What is wrong with what a tampered run says of itself; nothing if it is as it should be."""
    try:
        answer = observed(uri)
    except MapredError:
        answer = None
    except Exception as error:
        return f"result: {type(error).__name__}: {error}"
    if answer not in (None, before):
        return f"another answer: {answer[:200]}"
    try:
        whole = mapred.open(uri).audit().ok
    except MapredError as error:
        if answer is not None:
            return f"the audit is refused, and the answer is the same: {error}"
        whole = False
    except Exception as error:
        return f"audit: {type(error).__name__}: {error}"
    return "whole, and no answer" if answer is None and whole else ""


def faults(folder: Path, chosen: Iterable[Tampering], wrong: Callable[[], str]) -> dict[str, str]:
    """What `wrong` says after each of some tamperings, all of which are undone again."""
    files, found = contents(folder), {}
    for tampering in chosen:
        after = {**files, tampering.path: tampering.data or b""}
        if tampering.data is None:
            del after[tampering.path]
        put(folder, after)
        said = wrong()
        if said:
            found[str(tampering)] = said
        put(folder, files)
    return found


def some(kind: str, folder: Path, number: int, within: tuple[str, ...]) -> list[Tampering]:
    """A share of all that can be done to the files whose paths have one of these parts."""
    files = contents(folder)
    chosen = {path: files[path] for path in files if any(part in path for part in within)}
    every = list(tamperings(chosen))
    if os.environ.get("MAPRED_TAMPERINGS") == "all":
        return every
    return random.Random(kind).sample(every, number)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind == "items" else pytest.mark.slow) for kind in KINDS],
)
def test_no_tampering_goes_unnoticed(tmp_path: Path, kind: str) -> None:
    if kind == "delta":
        pytest.importorskip("deltalake")
    run = KINDS[kind](tmp_path)
    assert run.audit().ok, run.audit()
    before = observed(run.uri)
    chosen = some(kind, tmp_path, 25 if kind == "items" else 40, ("runs/", "lake/"))
    assert faults(tmp_path, chosen, lambda: verdict(run.uri, before)) == {}


def reduced_again(run: mapred.Run, before: str) -> str:
    """What is wrong with what a tampered run gives once it is resumed."""
    try:
        mapred.open(run.uri).resume(backend="inline", progress="none")
        answer = observed(run.uri)
    except MapredError:
        return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "" if answer == before else f"another answer: {answer[:200]}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "keyed", "sorted", "tree", "parquet"])
def test_a_reduce_takes_nothing_that_was_tampered_with(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "REFUSALS", 1)
    run = KINDS[kind](tmp_path)
    before = observed(run.uri)
    for path, _ in run.store.list(""):
        stage = path.partition("/")[0]
        if path in (layout.END, layout.MANIFEST) or stage in {s.name for s in run.job.stages[1:]}:
            run.store.delete(path)
    naive = [t for t in some(kind, tmp_path, 40, ("/map/",)) if not t.how.endswith("anew")]
    assert faults(tmp_path, naive, lambda: reduced_again(run, before)) == {}
