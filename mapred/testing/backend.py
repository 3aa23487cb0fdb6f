"""The contract of backends, and functions that fail as scripted to test it."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import mapred
from mapred.process.lazy import pa


class Script:
    """A function whose calls fail as scripted, counted in files so that it works across processes.

    A call that is ok returns the item times ten.

    Args:
        folder: A folder of its own, where calls are counted.
        outcomes: What the attempts at an item do, in order: `"ok"`, `"raise"`, `"exit"`
            (`sys.exit(0)`), `"_exit"`, `"kill"` (a signal), `"hang"`. Attempts beyond the list, and
            items that are not in the mapping, are ok.

    Examples:
        >>> script = mapred.testing.Script("calls", {1: ["raise"]})
        >>> mapred.run(script, mapred.array(3)).result()
        [0, 10, 20]
        >>> script.calls(1), script.calls(2)
        (2, 1)
    """

    def __init__(self, folder: Path, outcomes: dict[int, list[str]]) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.folder, self.outcomes = str(folder), outcomes

    def __call__(self, item: int) -> int:
        calls = self.calls(item)
        Path(self.folder, f"{item}-{uuid.uuid4().hex}-{os.getpid()}").touch()
        script = self.outcomes.get(item, [])
        outcome = script[calls] if calls < len(script) else "ok"
        if outcome == "raise":
            raise ValueError(f"item {item}, call {calls}")
        if outcome == "exit":
            raise SystemExit(0)
        if outcome == "_exit":
            os._exit(0)
        if outcome == "kill":
            os.kill(os.getpid(), 9)
        if outcome == "hang":
            time.sleep(600)
        return item * 10

    def calls(self, item: int) -> int:
        """Return how often an item was tried.

        Args:
            item: The item.

        Returns:
            The number of calls, in all processes.

        Examples:
            >>> script = mapred.testing.Script("calls", {})
            >>> script(4), script.calls(4)
            (40, 1)
        """
        return len(list(Path(self.folder).glob(f"{item}-*")))

    def processes(self, item: int) -> set[str]:
        """Return the processes in which an item was tried.

        Args:
            item: The item.

        Returns:
            Their numbers, as texts.

        Examples:
            >>> script = mapred.testing.Script("calls", {})
            >>> script(4), len(script.processes(4))
            (40, 1)
        """
        return {path.name.rsplit("-", 1)[1] for path in Path(self.folder).glob(f"{item}-*")}


def _lines(lines: Iterator[str]) -> Counter[str]:
    return Counter(lines)


def _merge(outputs: Iterable[Counter[str]]) -> Counter[str]:
    merged: Counter[str] = Counter()
    for output in outputs:
        merged.update(output)
    return merged


def _draw(item: int, task: mapred.Task) -> float:
    task.count("draws")
    return float(task.rng.random())


def _write_file(item: int, task: mapred.Task) -> int:
    task.output("item.txt").write_text(f"item {item}")
    return item


class Orders:
    """A function that returns `orders` of each item, and fails as scripted.

    Args:
        script: What its calls do.

    Examples:
        >>> script = mapred.testing.Script("calls", {})
        >>> run = mapred.run(
        ...     mapred.testing.Orders(script), mapred.array(2), by="item", aggregate={"price": "sum"}
        ... )
        >>> run.to_arrow().num_rows
        3
    """

    def __init__(self, script: Script) -> None:
        self.script = script

    def __call__(self, item: int) -> Any:
        self.script(item)
        return orders(item)


def orders(item: int) -> Any:
    """Return orders of some customers, one of them without a name.

    Args:
        item: What to make them from; orders of neighbouring items have customers in common.

    Returns:
        A `pa.Table` of 20 rows and six more for each item, with the columns `customer` (text, with
        nulls), `item` and `price` (whole numbers).

    Examples:
        >>> mapred.testing.orders(1).num_rows
        26
    """
    rows = range(item, 7 * item + 20)
    keys = [None if row % 11 == 0 else f"customer {row % 17}" for row in rows]
    return pa.table({"customer": keys, "item": [row % 3 for row in rows], "price": list(rows)})


def _range_of_prices(rows: Any) -> Any:
    return rows.group_by("customer").aggregate([("price", "min"), ("price", "max")])


def _rows(table: Any) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=repr)


class BackendContract:
    """What any backend must do, as a class of tests. Subclasses give the fixture `backend`.

        class TestMyBackend(mapred.testing.BackendContract):
            @pytest.fixture
            def backend(self):
                return MyBackend()

    Attributes:
        kills: Whether the backend can end one task without ending the others: processes of its own
            can, threads and a plain `ProcessPoolExecutor` cannot.
    """

    kills = False

    def _run(self, fn: Any, dataset: Any, backend: Any, tmp_path: Path, **options: Any) -> Any:
        job = mapred.job(fn, dataset, **options)
        return job.run(backend=backend, root=tmp_path / "runs", progress="none")

    def _fail(
        self, fn: Any, dataset: Any, backend: Any, tmp_path: Path, **options: Any
    ) -> mapred.RunError:
        try:
            self._run(fn, dataset, backend, tmp_path, **options)
        except mapred.RunError as error:
            return error
        raise AssertionError("a task that always fails must fail the run")

    def test_counts_every_line_once(self, backend: Any, tmp_path: Path) -> None:
        expected: Counter[str] = Counter()
        for number in range(3):
            lines = [f"line {i % 17}" for i in range(1000 + number)]
            (tmp_path / f"{number}.txt").write_text("\n".join(lines))
            expected.update(lines)
        glob = str(tmp_path / "*.txt")
        run = self._run(_lines, glob, backend, tmp_path, reduce=_merge, target_bytes=1000)
        assert run.result() == expected
        assert run.job.shards > 5
        assert run.audit().ok

    def test_keeps_the_order_of_items(self, backend: Any, tmp_path: Path) -> None:
        script = Script(tmp_path / "calls", {})
        run = self._run(script, mapred.items(range(25)), backend, tmp_path, per_task=4)
        assert run.result() == [item * 10 for item in range(25)]
        assert all(script.calls(item) == 1 for item in range(25))

    def test_reduces_in_a_tree(self, backend: Any, tmp_path: Path) -> None:
        script = Script(tmp_path / "calls", {})
        run = self._run(script, mapred.array(20), backend, tmp_path, reduce=sum, fan_in=3)
        assert run.result() == 1900
        assert [stage.tasks for stage in run.job.stages] == [20, 7, 3, 1]

    def test_repeats_what_raises(self, backend: Any, tmp_path: Path) -> None:
        script = Script(tmp_path / "calls", {3: ["raise", "exit"], 5: ["raise"]})
        run = self._run(script, mapred.array(8), backend, tmp_path)
        assert run.result() == [item * 10 for item in range(8)]
        assert [script.calls(item) for item in (3, 5, 6)] == [3, 2, 1]

    def test_names_what_failed_and_resumes(self, backend: Any, tmp_path: Path) -> None:
        script = Script(tmp_path / "calls", {2: ["raise"] * 2})
        error = self._fail(script, mapred.array(4), backend, tmp_path, attempts=2)
        run = error.run
        assert [(f.task, f.error, f.items) for f in error.failures] == [(2, "ValueError", (2,))]
        assert "item 2" in str(error)
        assert run.state == "failed"
        assert self._resume(run, backend).result() == [0, 10, 20, 30]
        assert script.calls(2) == 3

    def test_gives_up_within_max_failed(self, backend: Any, tmp_path: Path) -> None:
        script = Script(tmp_path / "calls", {4: ["raise"] * 9})
        run = self._run(
            script, mapred.array(9), backend, tmp_path, per_task=3, max_failed=1, attempts=2
        )
        assert run.result() == [0, 10, 20, 30, None, 50, 60, 70, 80]
        assert run.state == "succeeded"
        assert [script.calls(item) for item in range(9)] == [1, 1, 1, 1, 2, 1, 1, 1, 1]

    def test_tries_one_item_of_a_pack_again(self, backend: Any, tmp_path: Path) -> None:
        script = Script(tmp_path / "calls", {4: ["raise"], 7: ["exit", "raise"]})
        run = self._run(script, mapred.array(10), backend, tmp_path, per_task=10)
        assert run.result() == [item * 10 for item in range(10)]
        assert [script.calls(item) for item in range(10)] == [1, 1, 1, 1, 2, 1, 1, 3, 1, 1]
        assert run.audit().ok

    def test_draws_do_not_depend_on_packing(self, backend: Any, tmp_path: Path) -> None:
        draws = [
            self._run(_draw, mapred.array(12), backend, tmp_path, per_task=n, seed=7)
            for n in (1, 5)
        ]
        assert draws[0].result() == draws[1].result()
        assert len(set(draws[0].result())) == 12
        assert draws[0].counters == {"draws": 12}

    def test_stores_files(self, backend: Any, tmp_path: Path) -> None:
        run = self._run(_write_file, mapred.array(3), backend, tmp_path)
        texts = [Path(path).read_text() for path in run.files["path"]]
        assert texts == ["item 0", "item 1", "item 2"]

    def test_survives_dying_workers(self, backend: Any, tmp_path: Path) -> None:
        if not self.kills:
            return
        outcomes = {1: ["kill"], 2: ["_exit", "raise"], 3: ["exit"]}
        script = Script(tmp_path / "calls", outcomes)
        run = self._run(script, mapred.array(6), backend, tmp_path)
        assert run.result() == [item * 10 for item in range(6)]
        assert [script.calls(item) for item in range(6)] == [1, 2, 3, 2, 1, 1]
        assert len(script.processes(2)) == 3

    def test_ends_what_hangs(self, backend: Any, tmp_path: Path) -> None:
        if not self.kills:
            return
        script = Script(tmp_path / "calls", {1: ["hang"]})
        run = self._run(script, mapred.array(3), backend, tmp_path, timeout=1)
        assert run.result() == [0, 10, 20]

    def test_aggregates_by_key(self, backend: Any, tmp_path: Path) -> None:
        script = Script(tmp_path / "calls", {3: ["raise"]})
        keys, wanted = ["customer", "item"], {"price": ["sum", "mean", "count"]}
        run = self._run(
            Orders(script), mapred.array(9), backend, tmp_path, by=keys, aggregate=wanted
        )
        whole = pa.concat_tables(map(orders, range(9))).group_by(keys)
        expected = whole.aggregate([("price", name) for name in wanted["price"]])
        assert _rows(run.to_arrow()) == _rows(expected)
        assert [stage.name for stage in run.job.stages] == ["map", "manifest", "shuffle"]
        assert run.audit().ok
        assert script.calls(3) == 2

    def test_reduces_by_key_and_resumes(self, backend: Any, tmp_path: Path) -> None:
        script = Script(tmp_path / "calls", {2: ["raise"] * 2})
        options = {"by": "customer", "reduce": _range_of_prices, "partitions": 3, "attempts": 2}
        error = self._fail(Orders(script), mapred.array(6), backend, tmp_path, **options)
        run = self._resume(error.run, backend)
        expected = _range_of_prices(pa.concat_tables(map(orders, range(6))))
        assert _rows(run.to_arrow()) == _rows(expected)
        assert script.calls(2) == 3

    def _resume(self, run: Any, backend: Any) -> Any:
        return mapred.open(run.uri).resume(backend=backend, progress="none")
