"""What makes two steps one, and what tells them apart."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import mapred
from mapred.client.pipelines import identity
from mapred.errors import RunError
from mapred.runfolder.pipelines import Step


def double(n: int) -> int:
    return 2 * n


def double_frame(n: pa.Table) -> int:
    return 2 * n


def triple(n: int) -> int:
    return 3 * n


def scale(x: int) -> int:
    return x


def of(fn: Any = double, dataset: Any = (1, 2), **options: Any) -> Step:
    return identity.of_job(mapred.job(fn, dataset, **options)).step("0")


# Each with the options that make the run, and others that make another one.
OTHERS: dict[str, dict[str, Any]] = {
    "function": {"fn": triple},
    "annotation": {"fn": double_frame},
    "bound": {"fn": functools.partial(pow, 2)},
    "items": {"dataset": [1, 3]},
    "types of items": {"dataset": [1.0, 2.0]},
    "order of items": {"dataset": [2, 1]},
    "range": {"dataset": range(1, 4)},
    "array": {"dataset": mapred.array(2)},
    "table": {"dataset": pa.table({"a": [1, 2]})},
    "uri": {"dataset": "s3://bucket/a/*.csv"},
    "format": {"dataset": mapred.read_text("s3://bucket/a/*.csv")},
    "option of a format": {"dataset": mapred.read_csv("s3://bucket/a/*.csv", delimiter=";")},
    "sweep": {"fn": scale, "dataset": mapred.sweep(x=[1, 2])},
    "values of a sweep": {"fn": scale, "dataset": mapred.sweep(x=[1, 3])},
    "repeats": {"fn": scale, "dataset": mapred.sweep(x=[1, 2], repeats=2)},
    "seed of a sweep": {"fn": scale, "dataset": mapred.sweep(x=[1, 2], seed=4)},
    "reduce": {"reduce": sum},
    "another reduce": {"reduce": max},
    "tree": {"reduce": sum, "fan_in": 2},
    "finalize": {"reduce": sum, "finalize": double},
    "by": {"by": "a", "reduce": double},
    "aggregate": {"by": "a", "aggregate": {"b": "sum"}},
    "sort": {"sort_by": "a"},
    "write": {"write": mapred.write_parquet("s3://bucket/out")},
    "where it is written": {"write": mapred.write_parquet("s3://bucket/other")},
    "seed": {"seed": 3},
    "max_failed": {"max_failed": 1},
    "per_task": {"per_task": 2},
    "name": {"name": "other"},
}
SAME: dict[str, dict[str, Any]] = {
    "a list": {"dataset": [1, 2]},
    "a range": {"dataset": range(1, 3)},
    "attempts": {"attempts": 5},
    "timeout": {"timeout": "5m"},
    "deadline": {"deadline": "5h"},
    "resources": {"resources": mapred.Resources(memory="1Gi", cpu=2)},
    "retry_on": {"retry_on": [ValueError]},
    "max_tasks_per_worker": {"max_tasks_per_worker": 3},
}


def test_each_option_that_changes_the_answer_makes_another_step() -> None:
    addresses = {name: of(**options).address for name, options in OTHERS.items()}
    addresses["as it is"] = of().address
    assert len(set(addresses.values())) == len(addresses), addresses


@pytest.mark.parametrize("name", SAME)
def test_how_a_run_is_done_does_not(name: str) -> None:
    assert of(**SAME[name]).address == of().address


def test_equal_steps_are_told_apart_by_their_order() -> None:
    found = identity.of_job(mapred.job(double, [1]))
    assert found.step("0").address != found.step("1").address
    assert found.step("0") == found.step("0")


def test_a_plan_is_its_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    uri = f"{tmp_path}/*.txt"
    assert of(len, mapred.plan(uri)).address == of(len, uri).address
    before = of(len, uri).address
    (tmp_path / "b.txt").write_text("c\n")
    assert of(len, uri).address == before, "the listing does not count"


SCRIPT = """
import mapred
from mapred.client.pipelines import identity
scale = 3
def times(n): return n * scale
print(identity.of_job(mapred.job(times, {"a": 1, "b": 2.5}.items() and [{"a", "b", "c"}, 2.5, None],
                                 reduce=lambda values: max(values, default=frozenset("xyz")))).step("0").address)
"""


def test_every_process_finds_the_same_address(root: Path) -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(root), "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(outputs) == 1


def test_what_cannot_be_told_apart_warns_and_stops_a_replay() -> None:

    @mapred.pipeline
    def odd() -> Any:
        values = iter([5])
        return mapred.run(lambda n: n, [1], reduce=functools.partial(_first, values)).result()

    with pytest.warns(UserWarning, match=r"cannot be found again .* reduce: .*list_iterator"):
        run = odd.run(backend="inline")
    run.store.delete("end.json")
    with pytest.raises(RunError, match="whether these are the same cannot be told: reduce"):
        run.resume()


def _first(values: Any, outputs: Any) -> Any:
    return list(outputs)
