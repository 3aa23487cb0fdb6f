"""How often a store behind a network is asked: the number cannot grow unnoticed."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from testbed.faults.proxy import Proxy, proxy

import mapred
from mapred.backends.local import Local
from mapred.model.records import Block
from mapred.runfolder import pieces, results
from mapred.runfolder.folder import RunFolder
from mapred.storage import concurrency, map_ahead, open_store

TASKS = 100
AROUND = 45  # requests of the run itself: the probe, the job's files, listings, the last word


@pytest.fixture
def counted(
    s3_root: str, s3_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    with proxy(tmp_path, s3_server["endpoint"]) as known:
        monkeypatch.setenv("AWS_ENDPOINT_URL", known.endpoint)
        yield known


def asked(counted: Proxy) -> Counter[str]:
    """How often each folder of a run was asked for, by method, since the last call."""
    found: Counter[str] = Counter()
    for method, path in counted.requests():
        folder = re.search(r"/(map/\w+|reduce-1/\w+)/", path)
        found[f"{method} {folder.group(1)}" if folder else "around"] += 1
    return found


def small(item: int) -> int:
    return item + 1


def large(item: int) -> bytes:
    return bytes([item]) * 20_000


def talkative(item: int) -> int:
    print(item)
    return item


def filing(item: int, task: mapred.Task) -> int:
    task.output("item.txt").write_text("x")
    return item


def tabular(item: int) -> pa.Table:
    return pa.table({"day": [item % 5] * 10, "n": list(range(10))})


def lines_of(lines: Iterator[str]) -> int:
    return sum(1 for _ in lines)


def test_a_task_puts_its_commit_and_asks_for_nothing(counted: Proxy, s3_root: str) -> None:
    items = mapred.items(range(TASKS))
    backend = Local(workers=2)
    run = mapred.run(small, items, per_task=1, backend=backend, root=s3_root, progress="none")
    found = asked(counted)
    assert found["PUT map/commits"] == TASKS
    assert found.total() <= TASKS + AROUND

    assert run.result() == list(range(1, TASKS + 1))
    assert asked(counted).total() <= 5

    again = mapred.open(run.uri)
    assert again.status().stages[0].done == TASKS
    assert asked(counted).total() <= TASKS + 12
    assert again.audit().ok
    assert asked(counted).total() <= TASKS + 20


@pytest.mark.slow
def test_a_large_result_is_put_once_and_read_once(counted: Proxy, s3_root: str) -> None:
    array = mapred.array(TASKS)
    backend = Local(workers=2)
    run = mapred.run(large, array, per_task=1, backend=backend, root=s3_root, progress="none")
    found = asked(counted)
    assert (found["PUT map/data"], found["PUT map/commits"]) == (TASKS, TASKS)
    assert found.total() <= 2 * TASKS + AROUND

    assert run.result() == [large(item) for item in range(TASKS)]
    found = asked(counted)
    assert (found["GET map/data"], found["HEAD map/data"]) == (TASKS, 0)


@pytest.mark.slow
def test_a_reduce_reads_each_input_once(counted: Proxy, s3_root: str) -> None:
    array = mapred.array(TASKS)
    backend = Local(workers=2)
    run = mapred.run(
        small, array, per_task=1, reduce=sum, backend=backend, root=s3_root, progress="none"
    )
    found = asked(counted)
    assert run.result() == sum(range(TASKS + 1))
    assert found["GET map/commits"] == TASKS
    assert found["PUT map/commits"] == TASKS


def test_a_block_that_was_done_is_found_by_one_listing(counted: Proxy, s3_root: str) -> None:
    from mapred.worker import tasks

    run = mapred.run(small, mapred.array(20), per_task=1, backend="inline", root=s3_root)
    counted.requests()
    outcomes = tasks.run_block(Block(run.uri, run.digest, "map", range(20, 20)))
    assert outcomes == []
    outcomes = tasks.run_block(Block(run.uri, run.digest, "map", range(20)))
    assert [outcome.commit.task for outcome in outcomes if outcome.commit] == list(range(20))
    found = asked(counted)
    assert found["GET map/commits"] == 20
    assert found["PUT map/commits"] == 0


def test_large_items_are_read_by_their_range(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 10)
    items = mapred.items(["a" * 100, "b" * 100, "c" * 100])
    run = mapred.run(str.upper, items, per_task=1, backend="inline", root=s3_root)
    assert run.result() == ["A" * 100, "B" * 100, "C" * 100]


# What each row of the page's table is about: a function, how many tasks call it, options.
PAGE = Path(__file__).parents[2] / "docs/explanation/requests.md"
ROWS: dict[str, tuple[Any, dict[str, Any]]] = {
    "returns a number": (small, {}),
    "returns more": (large, {}),
    "prints": (talkative, {}),
    "stores a file": (filing, {}),
    "is an input of": (small, {"reduce": sum}),
    "writes one file": (tabular, {"write": "lake"}),
    "is a map of a keyed": (
        tabular,
        {"by": "day", "aggregate": {"n": "sum"}, "partitions": 4},
    ),
    "reads a small file": (lines_of, {"target_bytes": 1000}),
}


def told(start: str) -> tuple[int, int]:
    """What the page says that a task asks for: PUTs, and GETs with HEADs."""
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith(f"| {start}")]
    assert len(rows) == 1, start
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")][1:]
    put, get = (int(cell.split()[0]) for cell in cells)
    return (put + 1 if "more" in cells[0] else put), get


def puts_and_gets(requests: list[tuple[str, str]]) -> tuple[int, int]:
    gets = [path for method, path in requests if method in ("GET", "HEAD")]
    puts = [path for method, path in requests if method == "PUT"]
    return len(puts), len([path for path in gets if "list-type" not in path])


@pytest.mark.slow
@pytest.mark.parametrize("start", ROWS)
def test_the_page_says_what_a_task_asks_for(start: str, counted: Proxy, s3_root: str) -> None:
    function, options = ROWS[start][0], dict(ROWS[start][1])
    if "target_bytes" in options:
        store = open_store(f"{s3_root}/data")
        for number in range(30):
            store.write(f"{number}.txt", b"line\n" * 200)
    found = []
    for tasks in (10, 30):
        source: Any = mapred.items(range(tasks))
        if "target_bytes" in options:
            source = [f"{s3_root}/data/{number}.txt" for number in range(tasks)]
        else:
            options["per_task"] = 1
        if "write" in options:
            options["write"] = mapred.write_parquet(f"{s3_root}/lake-{tasks}")
        counted.requests()
        mapred.run(
            function, source, backend=Local(workers=2), root=s3_root, progress="none", **options
        )
        found.append(puts_and_gets(counted.requests()))
    put, get = ((many - few) / 20 for few, many in zip(*found, strict=True))
    assert (round(put), round(get)) == told(start), found


class Far:
    """What `each` has to know of a store behind a network."""

    uri = "s3://far"


def test_each_keeps_the_order_and_works_ahead() -> None:
    together, most, lock = 0, 0, threading.Lock()

    def call(item: int) -> int:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.01)
        with lock:
            together -= 1
        return item * 2

    assert list(map_ahead(Far(), call, range(100))) == list(range(0, 200, 2))
    assert 1 < most <= concurrency.THREADS
    assert list(map_ahead(Far(), call, [])) == []
    assert list(map_ahead(Far(), call, [7])) == [14]


def test_each_takes_no_more_than_it_works_on() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    found = map_ahead(Far(), str, items())
    assert next(found) == "0"
    assert len(taken) < 100
    found.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("mapred-storage")]


def test_each_raises_where_the_item_stands() -> None:
    def call(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        return item

    found = map_ahead(Far(), call, range(100))
    assert [next(found) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="five"):
        next(found)


def test_a_path_is_asked_one_by_one(tmp_path: Path) -> None:
    here = threading.current_thread().name
    names = set(
        map_ahead(open_store(str(tmp_path)), lambda _: threading.current_thread().name, "abc")
    )
    assert names == {here}


def test_tables_of_many_tasks_are_opened_at_once(counted: Proxy, s3_root: str) -> None:
    import pyarrow as pa

    def table(item: int) -> Any:
        return pa.table({"x": [item]})

    run = mapred.run(table, mapred.array(20), per_task=1, backend="inline", root=s3_root)
    counted.requests()
    assert results.result(RunFolder(run.store), run.job).to_table()["x"].to_pylist() == list(
        range(20)
    )
    assert asked(counted).total() <= 3 * 20 + 4
