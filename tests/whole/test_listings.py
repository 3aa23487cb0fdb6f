"""Stores whose listings lag behind: rows are exact, and nothing is dropped for want of a listing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from testbed.faults.lagging import FOREVER, Lag, install
from writing.lakes import by_folder, by_manifest

import mapred
from mapred import writing
from mapred.model import layout
from mapred.storage import open_store, probe
from mapred.storage.local import LocalStore

DAYS = [f"2026-01-0{n}" for n in (1, 2, 3)]
pytestmark = pytest.mark.filterwarnings("ignore:root .* was not listed")


@pytest.fixture(params=["never", 1, 2])
def lag(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lag]:
    chosen = request.param
    # The probe waits for what is never listed, and says so below.
    monkeypatch.setattr("mapred.storage._LATE_WAITS", ())
    lag = Lag(lambda _: FOREVER) if chosen == "never" else Lag.seeded(chosen)
    install(lag, monkeypatch)
    yield lag
    assert lag.hidden or chosen != "never"


def day_of(item: int) -> pa.Table:
    return pa.table({"n": [item, item + 100], "day": [DAYS[item % 3], "2026-01-09"]})


def rows_of(items: int) -> Counter[tuple[int, str]]:
    pairs = ([(item, DAYS[item % 3]), (item + 100, "2026-01-09")] for item in range(items))
    return Counter(pair for each in pairs for pair in each)


def run(fn: Any, items: Any, **options: Any) -> Any:
    given = {"backend": "inline", "progress": "none"} | options
    return mapred.run(fn, mapred.items(items), **given)


@pytest.mark.slow
def test_what_is_written_stays(lag: Lag, tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    for items in (6, 4):
        to = mapred.write_parquet(lake, partition_by="day", mode="overwrite")
        done = run(day_of, range(items), write=to)
        assert done.result().rows == 2 * items
        assert done.audit().ok, done.audit()
    assert by_manifest(lake) == by_folder(lake) == rows_of(4)
    counted = mapred.run(
        lambda table: table.num_rows,
        mapred.read_parquet(lake),
        reduce=sum,
        backend="inline",
        progress="none",
    )
    assert counted.result() == 8


def test_a_run_that_is_removed_keeps_what_it_published(
    lag: Lag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed after its version was put, and before its files had their names."""
    from mapred.writing import publishing

    lake = str(tmp_path / "lake")
    target = mapred.write_parquet(lake, partition_by="day")
    wrote = [
        writing.write_values(target, "run-1", item, "1-a", [day_of(item)]) for item in range(3)
    ]

    def killed(*arguments: Any) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "roll_forward", killed)
        with pytest.raises(InterruptedError):
            writing.publish(target, wrote)
    writing.discard(lake, "run-1")
    assert by_manifest(lake) == by_folder(lake) == rows_of(3)


def test_tables_keep_the_columns_of_all_shards(lag: Lag) -> None:
    def table(item: int) -> pa.Table:
        return pa.table({"n": [item], f"c{item % 3}": [float(item)]})

    done = run(table, range(5))
    assert done.to_arrow().num_columns == 6
    assert sorted(done.to_arrow()["n"].to_pylist()) == list(range(5))
    assert done.audit().ok, done.audit()


@pytest.mark.parametrize("backend", ["inline", "threads"])
def test_results_are_whole(lag: Lag, backend: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        chosen: Any = pool if backend == "threads" else backend
        done = run(lambda i: i, range(7), backend=chosen)
        assert done.result() == list(range(7))
        assert list(done.outputs()) == list(enumerate(range(7)))
        assert done.audit().ok
        assert done.audit(content=False).ok
        total = run(lambda i: i, range(7), reduce=sum, backend=chosen)
        assert (total.result(), total.audit().ok) == (21, True)


def test_rows_by_key_are_whole(lag: Lag) -> None:
    done = run(day_of, range(6), by="day", aggregate={"n": "sum"}, partitions=2)
    table = done.to_arrow()
    totals = dict(zip(*table.to_pydict().values(), strict=True))
    assert totals == {DAYS[0]: 3, DAYS[1]: 5, DAYS[2]: 7, "2026-01-09": 615}
    assert done.audit().ok, done.audit()


def test_files_are_whole(lag: Lag) -> None:
    def writes(item: int, task: mapred.Task) -> None:
        task.output("a.txt").write_text(str(item))

    done = run(writes, range(4))
    assert sorted(done.files["size"]) == [1] * 4
    assert done.audit().ok, done.audit()


def test_another_reduce_drops_the_answer_of_the_one_before(lag: Lag) -> None:
    done = run(lambda i: i, range(5), reduce=sum)
    assert done.result() == 10
    open_store(done.uri).delete(layout.END)
    open_store(done.uri).delete(layout.MANIFEST)
    again = mapred.open(done.uri)
    again.resume(reduce=max, progress="none", backend="inline")
    assert again.result() == 4


def test_items_that_failed_run_again(lag: Lag) -> None:
    tried: Counter[int] = Counter()

    def flaky(item: int) -> int:
        tried[item] += 1
        if tried[item] < 2 and item % 3 == 1:
            raise ValueError(item)
        return item

    with ThreadPoolExecutor(2) as pool:
        done = run(flaky, range(10), per_task=5, backend=pool)
    assert done.result() == list(range(10))
    assert done.audit().ok, done.audit()


@pytest.mark.slow
def test_runs_on_an_object_store_are_exact(lag: Lag, s3_root: str) -> None:
    to = mapred.write_parquet(f"{s3_root}/lake", partition_by="day")
    with ThreadPoolExecutor(4) as pool:
        given: dict[str, Any] = {"backend": pool, "root": f"{s3_root}/runs"}
        wrote = run(day_of, range(6), write=to, **given)
        assert by_manifest(f"{s3_root}/lake") == rows_of(6)
        tables = run(day_of, range(6), **given)
        assert tables.to_arrow()["n"].to_pylist() == [n + m for n in range(6) for m in (0, 100)]
        summed = run(abs, range(40), reduce=sum, fan_in=8, **given)
        assert summed.result() == sum(range(40))
        for done in (wrote, tables, summed):
            assert done.audit().ok, done.audit()
            assert done.audit(content=False).ok, done.audit(content=False)
        mapred.rm(wrote.uri)
    assert by_manifest(f"{s3_root}/lake") == rows_of(6)


class Remote:
    """A store as one behind a network, which tells no local path."""

    def __init__(self, store: Any) -> None:
        self._store, self.uri = store, "s3://bucket/runs"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def local_path(self, path: str) -> None:
        return None


def test_the_probe_says_that_a_listing_lags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = Remote(LocalStore(tmp_path))
    for each in (store, LocalStore(tmp_path)):
        assert probe(each) == "a name that was put is listed at once"
    monkeypatch.setattr("mapred.storage._LATE_WAITS", (0.01, 0.01))
    install(Lag(lambda _: 1), monkeypatch)
    with pytest.warns(UserWarning, match=r"root '.*': a name that was put was not listed until"):
        assert "until 0.0 s later" in probe(store)
    install(Lag(lambda _: FOREVER), monkeypatch)
    with pytest.warns(UserWarning, match=r"not listed after .* results are exact"):
        probe(store)
