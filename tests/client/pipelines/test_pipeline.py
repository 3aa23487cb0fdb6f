"""What a pipeline gives, and what its replays find again."""

from __future__ import annotations

import contextvars
import dataclasses
import datetime as dt
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import mapred
from mapred.client import drivers
from mapred.client.pipelines.handle import drive
from mapred.errors import BackendError, FunctionError, RunError
from mapred.runfolder import liveness
from mapred.runfolder.folder import RunFolder

HERE: dict[str, Any] = {"backend": "inline"}
QUIET: dict[str, Any] = {"progress": "none"}


@dataclasses.dataclass(frozen=True)
class Calls:
    """What functions noted, in a file, since they run as copies."""

    path: str

    def append(self, value: object) -> None:
        with open(self.path, "a") as file:
            file.write(f"{value}\n")

    def all(self) -> list[int]:
        with open(self.path, "a+") as file:
            file.seek(0)
            return [int(line) for line in file]

    def clear(self) -> None:
        open(self.path, "w").close()


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(str(tmp_path / "calls"))


@pytest.fixture
def healed(tmp_path: Path) -> Path:
    """A file that makes functions succeed once it is there."""
    return tmp_path / "healed"


def replay(run: mapred.PipelineRun) -> mapred.PipelineRun:
    """Return the pipeline after its end was taken away, and its function called again."""
    run.store.delete("end.json")
    return opened(run).resume()


def opened(run: mapred.PipelineRun) -> mapred.PipelineRun:
    """Return the pipeline by its folder, as another process has it."""
    found: Any = mapred.open(run.uri)
    return found


def test_a_pipeline_returns_what_its_function_returns() -> None:
    @mapred.pipeline
    def spread(numbers: list[float], *, by: float = 1) -> tuple[float, Any]:
        low = mapred.submit(float, numbers, reduce=min)
        high = mapred.run(float, numbers, reduce=max, **QUIET)
        return (high.result() - low.result()) / by, high

    value, high = spread.run([3, 9, 5], by=2, **HERE).result()
    assert value == 3.0
    assert high.result() == 9.0
    assert spread([3, 9, 5])[0] == 6.0, "called as it is, it is a plain function"


def test_the_result_is_the_same_from_its_folder() -> None:
    @mapred.pipeline
    def both() -> dict[str, Any]:
        return {"run": mapred.run(abs, [-1, -2], **QUIET), "day": dt.date(2026, 3, 1)}

    run = both.run(**HERE)
    again = opened(run)
    assert isinstance(again, mapred.PipelineRun)
    assert again.result()["day"] == dt.date(2026, 3, 1)
    assert again.result()["run"].result() == [1, 2]
    assert again.state == "succeeded"
    assert again.record == run.record


def test_a_diamond_of_runs_that_read_each_other() -> None:
    @mapred.pipeline
    def diamond(numbers: list[int]) -> Any:
        top = mapred.run(abs, numbers, name="top", **QUIET)
        left = mapred.submit(float, top, name="left")
        right = mapred.submit(str, top, name="right")
        return mapred.run(repr, mapred.outputs(left, right), name="bottom", **QUIET)

    run = diamond.run([-1, 2], **HERE)
    expected = ["1.0", "2.0", "'1'", "'2'"]
    assert run.result().result() == expected
    assert replay(run).result().result() == expected
    assert len(run.runs) == 4


def test_a_replay_starts_nothing_again(calls: Calls) -> None:
    @mapred.pipeline
    def twice(first: int) -> list[Any]:
        when = mapred.recorded(time.time_ns)
        one = mapred.run(calls.append, [first], name="one", **QUIET)
        same = [mapred.run(calls.append, [7], name="same", **QUIET) for _ in range(3)]
        return [when, one.uri, *(run.uri for run in same)]

    run = twice.run(5, **HERE)
    before = run.result()
    assert calls.all() == [5, 7, 7, 7]
    assert len(set(before)) == 5, "equal steps are runs of their own"
    assert replay(run).result() == before
    assert len(run.runs) == 4


def test_conditions_loops_and_recursion() -> None:
    def halve(values: Any) -> float:
        return float(sum(values)) / 2

    def shrink(value: float, steps: int = 0) -> int:
        if value < 1:
            return steps
        run = mapred.run(float, [value], reduce=halve, **QUIET)
        return shrink(run.result(), steps + 1)

    @mapred.pipeline
    def until_small(value: float) -> int:
        total = 0
        while value > 10:
            value = mapred.run(float, [value], reduce=halve, **QUIET).result()
            total += 1
        return total + shrink(value)

    run = until_small.run(40.0, **HERE)
    assert run.result() == 6
    assert len(run.runs) == 6
    assert replay(run).result() == 6
    assert len(run.runs) == 6


def test_what_failed_fails_in_each_replay_until_the_pipeline_is_resumed(
    calls: Calls, healed: Path
) -> None:
    def fragile(n: int) -> int:
        calls.append(n)
        if n == 2 and not healed.exists():
            raise ValueError("two")
        return n

    texts = Path(calls.path + "-errors")

    @mapred.pipeline
    def sums() -> int:
        good = mapred.run(abs, [-1], **QUIET)
        try:
            run = mapred.run(fragile, [1, 2], attempts=1, **QUIET)
        except RunError as error:
            with texts.open("a") as file:
                file.write(f"{error}\0")
            raise
        return sum(good.result() + run.result())

    with pytest.raises(RunError, match=r"pipeline .* failed: RunError: run .* failed") as caught:
        sums.run(**HERE)
    run = caught.value.run
    assert run.state == "failed"
    assert "ValueError: two" in run.status().message
    assert calls.all() == [1, 2]
    # A driver that died before it wrote the end finds the same error.
    run.store.delete("end.json")
    drive(run, None, None)
    with pytest.raises(RunError, match="ValueError: two"):
        run.check()
    assert calls.all() == [1, 2], "a replay does not start a failed run again"
    errors = texts.read_text().split("\0")[:-1]
    assert len(errors) == 2
    assert errors[0] == errors[1]
    healed.touch()
    assert opened(run).resume().result() == 4
    assert calls.all() == [1, 2, 2], "what was committed is kept"


def test_a_failure_that_the_function_catches_is_no_failure() -> None:
    def fail(n: int) -> int:
        raise ValueError(n)

    @mapred.pipeline
    def careful() -> str:
        try:
            mapred.run(fail, [1], attempts=1, **QUIET)
        except RunError as error:
            return error.failures[0].error
        return "none"

    run = careful.run(**HERE)
    assert run.result() == "ValueError"
    assert replay(run).result() == "ValueError"


def test_runs_that_nobody_waited_for_are_waited_for(calls: Calls) -> None:
    def slow(n: int) -> int:
        time.sleep(0.05)
        return n

    @mapred.pipeline
    def leaves() -> None:
        mapred.submit(slow, [1, 2], name="slow")

    run = leaves.run(backend=mapred.Local(workers=1))
    assert [step.state for step in run.status().steps] == ["succeeded"]


def test_a_failure_among_runs_that_nobody_waited_for_fails_the_pipeline() -> None:
    def fail(n: int) -> int:
        raise ValueError(n)

    @mapred.pipeline
    def leaves() -> int:
        mapred.submit(fail, [1], attempts=1)
        return 3

    with pytest.raises(RunError, match="ValueError"):
        leaves.run(**HERE)


def test_retries_resume_a_pipeline_by_itself(calls: Calls) -> None:
    def third_time(n: int) -> int:
        calls.append(n)
        if len(calls.all()) < 3:
            raise ValueError("not yet")
        return n

    @mapred.pipeline(retries=2)
    def stubborn() -> list[int]:
        return mapred.run(third_time, [1], attempts=1, **QUIET).result()

    assert stubborn.run(**HERE).result() == [1]
    assert calls.all() == [1, 1, 1]
    calls.clear()

    @mapred.pipeline(retries=1)
    def less_stubborn() -> list[int]:
        return mapred.run(third_time, [1], attempts=1, **QUIET).result()

    with pytest.raises(RunError, match="not yet") as caught:
        less_stubborn.run(**HERE)
    assert calls.all() == [1, 1]
    assert caught.value.run.resume().result() == [1]


def test_a_pipeline_in_a_pipeline(calls: Calls, healed: Path) -> None:
    def fragile(n: int) -> int:
        calls.append(n)
        if n > 2 and not healed.exists():
            raise ValueError("three")
        return n

    @mapred.pipeline
    def inner(limit: int) -> int:
        return sum(mapred.run(fragile, range(limit), attempts=1, **QUIET).result())

    @mapred.pipeline
    def outer() -> list[int]:
        first = inner.run(3)
        second = inner.submit(4)
        return [first.result(), second.result()]

    with pytest.raises(RunError, match="three") as caught:
        outer.run(**HERE)
    run = caught.value.run
    assert calls.all().count(0) == 2
    healed.touch()
    assert run.resume().result() == [3, 6]
    assert (calls.all().count(0), calls.all().count(3)) == (2, 2)
    kinds = [(step.kind, step.name, step.state) for step in run.status().steps]
    name = "test_a_pipeline_in_a_pipeline.inner"
    assert kinds == [("pipeline", name, "succeeded")] * 2


def test_a_replay_that_asks_for_another_step_says_both_and_names_recorded(calls: Calls) -> None:
    @mapred.pipeline
    def daily() -> Any:
        calls.append(0)
        day = len(calls.all())
        return mapred.run(abs, [day], name="day", **QUIET).result()

    run = daily.run(**HERE)
    with pytest.raises(RunError) as caught:
        replay(run)
    text = str(caught.value)
    assert "step 1 of the pipeline" in text
    assert "what differs is dataset" in text
    assert "mapred.recorded(…)" in text
    assert "resume(fn=…)" in text


def test_what_a_mismatch_advises_works(calls: Calls) -> None:
    @mapred.pipeline
    def daily() -> Any:
        kept = mapred.run(abs, [0], name="kept", **QUIET)
        calls.append(0)
        return kept.uri, mapred.run(abs, [len(calls.all())], name="day", **QUIET).result()

    run = daily.run(**HERE)
    with pytest.raises(RunError, match="what differs is dataset"):
        replay(run)

    @mapred.pipeline
    def edited() -> Any:
        kept = mapred.run(abs, [0], name="kept", **QUIET)
        calls.append(0)
        day = mapred.recorded(lambda: len(calls.all()), name="day")
        return kept.uri, mapred.run(abs, [day], name="day", **QUIET).result()

    kept = run.runs[0].uri
    resumed = run.resume(fn=edited)
    value = resumed.result()
    assert value[0] == kept, "steps that still match are kept"
    assert replay(resumed).result() == value


def test_a_step_that_cannot_be_told_from_others_says_so_in_the_warning_and_in_the_replay() -> None:
    numbers = iter([1])

    @mapred.pipeline
    def cuts(inside: bool) -> int:
        def cut(table: pa.Table) -> pa.Table:
            return table.slice(0, next(numbers))

        def made_inside(table: pa.Table) -> pa.Table:
            return table.slice(0, next(iter([1])))

        chosen = made_inside if inside else cut
        return mapred.run(chosen, pa.table({"a": [1, 2]}), **QUIET).to_arrow().num_rows

    with pytest.warns(
        UserWarning, match=r"cannot be found again .*; make it inside of the function"
    ):
        run = cuts.run(False, **HERE)
    with pytest.raises(RunError, match=r"whether these are the same cannot be told: .*numbers"):
        replay(run)
    run = cuts.run(True, **HERE)
    assert replay(run).result() == 1, "what the warning advises works"


def test_fewer_steps_than_before_are_told(calls: Calls) -> None:
    @mapred.pipeline
    def threads() -> None:
        with ThreadPoolExecutor(2) as pool:
            for n in [1, 2][len(calls.all()) :]:
                context = contextvars.copy_context()
                pool.submit(context.run, mapred.run, abs, [n], name=f"n{n}", **QUIET).result()
        calls.append(0)

    run = threads.run(**HERE)
    with pytest.raises(
        RunError, match=r"started the run n1\(1 item: \[1\]\) before, and did not ask for it"
    ):
        replay(run)


def test_a_thread_without_the_pipeline_is_refused_and_told_how_to_have_it() -> None:
    caught: list[BaseException] = []

    def work(n: int) -> None:
        try:
            mapred.run(abs, [n], backend="inline", **QUIET)
        except FunctionError as error:
            caught.append(error)

    @mapred.pipeline
    def threads(handed_over: bool) -> None:
        context = contextvars.copy_context()
        target: Callable[..., Any] = context.run if handed_over else (lambda work, n: work(n))
        thread = threading.Thread(target=target, args=(work, 1))
        thread.start()
        thread.join()

    threads.run(False, **HERE)
    assert "contextvars.copy_context().run" in str(caught[0])
    run = threads.run(True, **HERE)
    assert (len(caught), len(run.runs)) == (1, 1)
    work(3)
    assert len(caught) == 1, "a thread that was there before has nothing to do with it"


def test_recorded_keeps_what_json_can_keep(calls: Calls) -> None:
    value = {"a": [1, 2.5, None, True, "ü\ud800"], "b": float("nan")}

    def ask(n: int) -> Any:
        calls.append(n)
        return value if n else value["a"]

    @mapred.pipeline
    def asks() -> Any:
        return [mapred.recorded(ask, 1), mapred.recorded(ask, 0), mapred.recorded(ask, 0)]

    run = asks.run(**HERE)
    assert repr(run.result()) == repr([value, value["a"], value["a"]])
    assert repr(replay(run).result()) == repr([value, value["a"], value["a"]])
    assert calls.all() == [1, 0, 0]
    assert mapred.recorded(ask, 0) == value["a"], "outside of a pipeline it calls"


@pytest.mark.parametrize(
    "value", [(1, 2), {1: 2}, {"a": {1}}, dt.date(2026, 1, 1), b"x", 1j, "x" * 2**20]
)
def test_recorded_refuses_what_would_come_back_as_something_else(value: Any) -> None:
    @mapred.pipeline
    def asks() -> Any:
        return mapred.recorded(lambda: value, name="value")

    with pytest.raises(RunError, match=r"recorded value gave .*(JSON cannot keep|the limit is)"):
        asks.run(**HERE)


def test_a_name_belongs_to_one_pipeline_with_its_arguments(calls: Calls) -> None:
    @mapred.pipeline
    def named(n: int) -> Any:
        return mapred.run(calls.append, [n], **QUIET).uri

    first = named.run(1, run_id="night", **HERE)
    assert named.run(1, run_id="night", **HERE).result() == first.result()
    assert calls.all() == [1]
    with pytest.raises(RunError, match=r"run_id='night' is the name of .* or other arguments"):
        named.run(2, run_id="night", **HERE)

    @mapred.pipeline(name=named.name)
    def other(n: int) -> Any:
        return n

    with pytest.raises(RunError, match="with another function"):
        other.run(1, run_id="night", **HERE)


def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    @mapred.pipeline
    def takes(n: int, *, day: str = "monday") -> None:
        pass

    for wrong in [{}, {"n": 1, "dya": 2}, {"n": 1, "day": iter("ab")}, {"n": 1, "password": "x"}]:
        with pytest.raises(FunctionError):
            takes.run(root=tmp_path, **wrong)
    with pytest.raises(FunctionError, match="looks like a secret"):
        takes.run(n=1, day="postgres://me:hunter2@host/db", root=tmp_path)
    assert not list(tmp_path.iterdir())
    assert takes.run(1, day="friday", root=tmp_path).record.parameters == {
        "n": "1",
        "day": "'friday'",
    }


@pytest.mark.parametrize("name", ["backend", "root", "mode", "run_id"])
def test_parameters_that_run_takes_itself_are_refused(name: str) -> None:
    with pytest.raises(FunctionError, match=f"{name}'.*another name"):
        mapred.pipeline(eval(f"lambda {name}: None"))


def test_only_plain_functions_are_pipelines() -> None:
    async def waits() -> None: ...

    def yields() -> Any:
        yield 1

    for wrong in (waits, yields, len, 3):
        with pytest.raises(FunctionError):
            mapred.pipeline(wrong)  # type: ignore[call-overload]
    with pytest.raises(FunctionError, match="retries=-1 must be"):
        mapred.pipeline(retries=-1)(lambda: None)


def test_run_id_inside_of_a_pipeline_is_refused() -> None:
    @mapred.pipeline
    def names() -> None:
        mapred.job(abs, [1]).submit(run_id="mine")

    with pytest.raises(RunError, match="leave run_id= out"):
        names.run(**HERE)


def test_arguments_that_the_function_changes_come_again_as_they_were() -> None:
    tries: list[list[int]] = []

    @mapred.pipeline(retries=1)
    def consumes(numbers: list[int]) -> list[int]:
        tries.append(list(numbers))
        numbers.pop()
        if len(tries) == 1:
            raise ValueError("again")
        return numbers

    mine = [1, 2]
    assert consumes.run(mine, **HERE).result() == [1]
    assert tries == [[1, 2], [1, 2]]
    assert mine == [1, 2]


def test_cancel_reaches_what_is_at_work() -> None:
    @mapred.pipeline
    def sleeps() -> None:
        mapred.submit(time.sleep, [60], name="one")
        mapred.run(time.sleep, [60], name="two", **QUIET)

    run = sleeps.submit(backend=mapred.Local(workers=1))
    while len(run.runs) < 2:
        time.sleep(0.01)
    run.cancel()
    assert run.state == "cancelled"
    assert [inner.state for inner in run.runs] == ["cancelled", "cancelled"]
    with pytest.raises(RunError, match="cancelled"):
        run.result()


def test_one_that_is_at_work_takes_no_other_function() -> None:
    @mapred.pipeline
    def waits() -> Any:
        return mapred.approve("go")

    run = waits.submit()
    while not run.gates:
        time.sleep(0.01)
    with pytest.raises(RunError, match="takes fn= only when it is not"):
        run.resume(fn=waits)
    run.approve("go")
    assert run.result() is True
    assert run.resume() is run
    with pytest.raises((RunError, BackendError)):
        mapred.open(run.uri, allow_pickle=False).result()


def test_a_mismatch_that_the_function_catches_ends_the_pipeline(calls: Calls) -> None:
    @mapred.pipeline
    def stubborn() -> Any:
        calls.append(0)
        try:
            mapred.run(abs, [len(calls.all())], name="first", **QUIET)
        except Exception:
            calls.append(0)
        return mapred.run(abs, [5], name="second", **QUIET)

    run = stubborn.run(**HERE)
    before = len(run.runs)
    with pytest.raises(RunError, match="what differs is dataset"):
        replay(run)
    assert len(run.runs) == before


def test_a_failed_pipeline_that_the_function_catches_is_no_failure() -> None:
    @mapred.pipeline
    def inner() -> None:
        raise ValueError("inside")

    @mapred.pipeline
    def outer() -> str:
        try:
            inner.run()
        except RunError as error:
            return str(error)
        return ""

    assert "ValueError: inside" in outer.run(**HERE).result()


def test_ctrl_c_leaves_a_pipeline_that_can_be_resumed(calls: Calls) -> None:
    def slow(n: int) -> int:
        calls.append(n)
        time.sleep(0 if len(calls.all()) > 1 else 60)
        return n

    @mapred.pipeline
    def stopped() -> Any:
        run = mapred.submit(slow, [3])
        if not calls.all()[1:]:
            while not calls.all():
                time.sleep(0.01)
            raise KeyboardInterrupt
        return run.result()

    with pytest.raises(KeyboardInterrupt, match=r"stopped; to resume it: .*\.resume\(\)") as caught:
        stopped.run(backend=mapred.Local(workers=1))
    assert len(str(caught.value).splitlines()) == 1
    uri = str(caught.value).split("'")[1]
    run: Any = mapred.open(uri)
    assert (run.state, [inner.state for inner in run.runs]) == ("interrupted", ["interrupted"])
    calls.append(9)
    assert run.resume().result() == [3]


def test_runs_and_folders_have_the_rights_of_the_pipeline(tmp_path: Path) -> None:
    @mapred.pipeline
    def shared() -> Any:
        return mapred.run(abs, [1], **QUIET).uri

    run = shared.run(root=tmp_path / "runs", mode=0o750, **HERE)
    modes = {oct(Path(uri).stat().st_mode & 0o777) for uri in (run.uri, run.result())}
    assert modes == {"0o750"}


def test_an_error_says_how_to_continue_and_that_works(calls: Calls, healed: Path) -> None:
    @mapred.pipeline
    def own() -> Any:
        first = mapred.run(abs, [-4], **QUIET).result()
        if not healed.exists():
            raise KeyError("mine")
        return first

    with pytest.raises(RunError, match=r"edited function: .*resume\(fn=…\)") as caught:
        own.run(**HERE)
    assert caught.value.hint.endswith(".resume(fn=…)")
    with pytest.raises(RunError, match="KeyError: 'mine'"):
        opened(caught.value.run).check()

    @mapred.pipeline
    def edited() -> Any:
        return mapred.run(abs, [-4], **QUIET).result()

    assert caught.value.run.resume(fn=edited).result() == [4]
    assert len(caught.value.run.runs) == 1


def test_the_function_of_a_step_that_failed_can_be_replaced(calls: Calls) -> None:
    def broken(n: int) -> float:
        calls.append(n)
        return 6 / n

    @mapred.pipeline
    def shares() -> Any:
        return mapred.run(broken, [1, 0, 2], attempts=1, **QUIET).result()

    with pytest.raises(RunError, match="with a fixed function for the run that failed") as caught:
        shares.run(**HERE)
    run = caught.value.run
    assert "mapred resume" not in str(caught.value), "one way to continue, and not two"
    uri = caught.value.hint.rpartition("mapred.open('")[2].partition("'")[0]
    mapred.open(uri).resume(lambda n: 6 / n if n else 0.0, **QUIET)
    assert run.resume().result() == [6.0, 0.0, 3.0]
    assert calls.all().count(1) == 1


def test_a_process_that_ends_says_how_its_pipeline_continues(tmp_path: Path, root: Path) -> None:
    script = tmp_path / "leaves.py"
    script.write_text(
        "import mapred\n"
        "@mapred.pipeline\n"
        "def waits(): return mapred.approve('go')\n"
        "if __name__ == '__main__':\n"
        "    run = waits.submit()\n"
        "    while not run.gates: pass\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert re.search(r"pipeline \S+ ends with it; to resume it: .*resume\(\)", done.stderr)
    run: Any = mapred.open("last")
    assert run.state == "interrupted"
    run.approve("go")
    assert run.resume().result() is True


def test_a_run_whose_driver_on_another_machine_was_lost_continues(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(n: int) -> int:
        calls.append(n)
        time.sleep(0 if len(calls.all()) > 1 else 60)
        return n

    @mapred.pipeline
    def stopped() -> Any:
        run = mapred.submit(slow, [3])
        while not calls.all():
            time.sleep(0.01)
        if not calls.all()[1:]:
            raise KeyboardInterrupt
        return run.result()

    with pytest.raises(KeyboardInterrupt):
        stopped.run(backend=mapred.Local(workers=1), run_id="night")
    calls.append(9)
    run: Any = mapred.open("night")
    folder = RunFolder(run.runs[0].store)
    folder.note_start("local:elsewhere:99:1:another-boot:1")
    monkeypatch.setattr(liveness, "FRESH_SECONDS", 1.0)
    assert drivers.alive(folder)
    assert run.resume().result() == [3]


def test_a_root_that_was_moved_keeps_its_pipelines(calls: Calls, tmp_path: Path) -> None:
    @mapred.pipeline
    def chain() -> Any:
        first = mapred.run(calls.append, [1], name="first", **QUIET)
        return mapred.run(calls.append, mapred.outputs(first), name="second", **QUIET).id

    run = chain.run(root=tmp_path / "here", **HERE)
    expected = run.result()
    run.store.delete("end.json")
    (tmp_path / "here").rename(tmp_path / "there")
    moved: Any = mapred.open(tmp_path / "there" / run.id)
    assert moved.resume().result() == expected
    assert Path(calls.path).read_text().split() == ["1", "None"]
