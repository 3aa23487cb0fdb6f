"""Which errors are tried again, when, and how the options say so."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapred
from mapred.model import retries
from mapred.model.spec import Format, Job, Stage
from mapred.testing import Script

QUIET: dict[str, Any] = {"progress": "none"}


def job(**more: Any) -> Job:
    return Job(
        run_id="r", name="n", created="2026-03-01T12:00:00Z", format=Format("items", "item"),
        stages=(Stage("map", "map", 3),), shards=3, items=3, files=0, bytes=0,
        function="function.pkl", **more,
    )  # fmt: skip


class Flaky(ConnectionError):
    """An error of the user's own."""


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_pauses_double_from_half_a_second_to_half_a_minute() -> None:
    assert retries.pause(1) == 0
    means = [statistics.mean(retries.pause(n) for _ in range(400)) for n in range(2, 12)]
    expected = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert means == pytest.approx(expected, rel=0.1)
    assert len({retries.pause(3) for _ in range(10)}) > 1
    assert retries.pause(10**6) <= 36
    assert retries.longest_pauses(2) == 0
    assert retries.longest_pauses(4) == pytest.approx(1.5 * 1.2)


@pytest.mark.parametrize(
    ("options", "error", "again"),
    [
        ({}, ValueError(), True),
        ({}, mapred.FunctionError("x"), False),
        ({}, mapred.ReduceError("x"), False),
        ({}, mapred.DatasetError("x"), False),
        ({}, mapred.CommandError("x", 3), True),
        ({}, asyncio.CancelledError(), True),
        ({"retry_on": ConnectionError}, Flaky(), True),
        ({"retry_on": [Flaky]}, ConnectionError(), False),
        ({"retry_on": (OSError, KeyError)}, ValueError(), False),
        ({"retry_on": []}, ValueError(), False),
        ({"no_retry_on": OSError}, Flaky(), False),
        ({"no_retry_on": {OSError}}, ValueError(), True),
        ({"retry_on": OSError, "no_retry_on": FileNotFoundError}, FileNotFoundError(), False),
        ({"retry_on": OSError, "no_retry_on": FileNotFoundError}, PermissionError(), True),
        ({"retry_on": [75]}, mapred.CommandError("x", 75), True),
        ({"retry_on": [75]}, mapred.CommandError("x", 1), False),
        ({"no_retry_on": [2, ValueError]}, mapred.CommandError("x", 2), False),
        ({"no_retry_on": [2, ValueError]}, mapred.CommandError("x", 1), True),
        ({"no_retry_on": 3}, SystemExit(3), False),
        ({"no_retry_on": 3}, SystemExit(4), True),
        ({"no_retry_on": mapred.CommandError}, mapred.CommandError("x", 1), False),
    ],
)  # fmt: skip
def test_what_is_tried_again(options: dict[str, Any], error: BaseException, again: bool) -> None:
    known = {name: retries.rules(retries.option_values(value)) for name, value in options.items()}
    made = Job.from_bytes(job(**known).to_bytes())
    assert retries.is_final(made, raised(error), reached=True) != again


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups")
def test_a_group_is_what_its_exceptions_are() -> None:
    made = job(retry_on=("builtins.OSError",))
    group = ExceptionGroup("several", [OSError(), ExceptionGroup("inner", [Flaky()])])  # noqa: F821
    assert not retries.is_final(made, group, reached=True)
    group = ExceptionGroup("several", [OSError(), ValueError()])  # noqa: F821
    assert retries.is_final(made, group, reached=True)


def test_limits_count_as_what_python_calls_them() -> None:
    for kind, error in (("timeout", TimeoutError), ("memory", MemoryError)):
        name = f"builtins.{error.__name__}"
        assert not retries.ends_for_good(job(), kind)
        assert retries.ends_for_good(job(no_retry_on=(name,)), kind)
        assert retries.ends_for_good(job(retry_on=("builtins.ValueError",)), kind)
        assert not retries.ends_for_good(job(retry_on=(name,)), kind)
    assert not retries.ends_for_good(job(retry_on=()), "lost")


@pytest.mark.parametrize("option", ["retry_on", "no_retry_on"])
@pytest.mark.parametrize(
    "value",
    [
        "ConnectionError",
        ["OSError"],
        ValueError("x"),
        int,
        [int],
        0,
        True,
        1.5,
        [None],
        (OSError, 0),
    ],
)
def test_what_cannot_be_retried_on_is_refused(option: str, value: Any) -> None:
    with pytest.raises(mapred.PlanError, match=rf"{option}=.* must be .*an exception type"):
        mapred.job(abs, [1], **{option: value})


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(mapred.PlanError, match="FileNotFoundError would never be tried again"):
        mapred.job(abs, [1], retry_on=[FileNotFoundError], no_retry_on=OSError)
    with pytest.raises(mapred.PlanError, match="75 would never be tried again"):
        mapred.job(abs, [1], retry_on=[75], no_retry_on=[75])


def test_what_is_recorded(tmp_path: Path) -> None:
    options = {"retry_on": [Flaky, np.int64(75)], "no_retry_on": KeyError}
    made = mapred.job(abs, mapred.items([1]), **options)
    assert dataclasses.replace(made, attempts=2).retry_on == (Flaky, 75)
    run = made.run(backend="inline", root=tmp_path, **QUIET)
    recorded = mapred.open(run.uri).job
    assert recorded.retry_on == (f"{__name__}.Flaky", 75)
    assert recorded.no_retry_on == ("builtins.KeyError",)


def test_jobs_of_old_runs_have_no_such_options() -> None:
    values = json.loads(job().to_bytes())
    del values["retry_on"], values["no_retry_on"]
    made = Job.from_bytes(json.dumps(values).encode())
    assert (made.retry_on, made.no_retry_on) == (None, ())


def two(first: int, second: int) -> int:
    return first + second


two.__signature__ = inspect.signature(abs)  # type: ignore[attr-defined]  # or no run would start


def unstorable(item: int) -> Any:
    return (x for x in [item])


@pytest.mark.parametrize("function", [two, unstorable])
def test_what_no_attempt_can_help_is_tried_once(function: Any, tmp_path: Path) -> None:
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(function, mapred.items([1]), root=tmp_path, backend="inline", **QUIET)
    assert [failure.attempts for failure in caught.value.failures] == [1]


@pytest.mark.parametrize("backend", ["local", "inline"])
def test_a_command_is_tried_again_by_its_exit_status(backend: str, tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    script = f'echo >> {tmp_path}/calls/$MAPRED_ITEM; exit "$MAPRED_ITEM"'
    options = {"no_retry_on": [7], "attempts": 2, "max_failed": 2, "root": tmp_path / "runs"}
    command = mapred.command(["sh", "-c", script])
    run = mapred.run(command, mapred.items([7, 8, 0]), backend=backend, **options, **QUIET)
    assert [len((tmp_path / "calls" / n).read_text()) for n in ("7", "8", "0")] == [1, 2, 1]
    assert [failure.attempts for failure in run.failures] == [1, 2]


def test_other_tasks_go_on_during_a_pause(tmp_path: Path) -> None:
    """The third attempt waits half a second; what is not about it does not."""
    (tmp_path / "calls").mkdir()
    script = Script(tmp_path / "calls", {0: ["raise", "raise"]})
    begun = time.monotonic()
    run = mapred.submit(script, mapred.array(40), root=tmp_path / "runs", per_task=1)
    while run.status().stages[0].done < 39:
        assert time.monotonic() < begun + 20
        time.sleep(0.01)
    assert script.calls(0) < 3 or time.monotonic() > begun + 0.4
    assert run.result() == [item * 10 for item in range(40)]
    assert script.calls(0) == 3
    assert time.monotonic() - begun > 0.4


def test_a_pause_ends_with_the_run(tmp_path: Path) -> None:
    def fails(item: int) -> int:
        raise ValueError

    run = mapred.submit(fails, mapred.items([1]), root=tmp_path, attempts=20)
    while not run.failures or run.failures[0].attempts < 3:
        time.sleep(0.05)
    begun = time.monotonic()
    run.cancel()
    assert time.monotonic() - begun < 5
    assert not [t for t in threading.enumerate() if t.name == "mapred-driver" and t.is_alive()]
