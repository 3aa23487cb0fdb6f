"""Advice for the next run: never below what was seen, always accepted, and said in a line that runs."""

from __future__ import annotations

import dataclasses
import random
import shlex
from typing import Any

import pytest
from click.testing import CliRunner

import mapred
from mapred.cli import main
from mapred.client.advising import advise
from mapred.client.advising.figures import MARGIN, memory_quantity
from mapred.client.options import Options, validate_options
from mapred.model.failure import Failure, Retry
from mapred.model.resources import Resources, parse_bytes
from mapred.model.spec import Format, Job, Stage
from mapred.model.status import RunStatus, StageStatus, TaskTime

MI, GI = 2**20, 2**30
LOCAL: dict[str, Any] = {"backend": mapred.Local(workers=1), "progress": "none"}


def job(tasks: int = 4, reduce: Resources | None = None, **changes: Any) -> Job:
    resources = changes.pop("resources", Resources())
    stages = [Stage("map", "map", tasks, resources=resources)]
    if reduce is not None:
        stages.append(Stage("reduce-1", "reduce", 1, "map", tasks, last=True, resources=reduce))
    known: dict[str, Any] = {
        "run_id": "r", "name": "f", "created": "2026-01-01T00:00:00Z", "format": Format("text", "lines"),
        "stages": tuple(stages), "shards": tasks, "items": 0, "files": 1, "bytes": 100 * MI * tasks,
        "function": "function.pkl",
    }  # fmt: skip
    return Job(**{**known, **changes})


def status(times: Any, **changes: Any) -> RunStatus:
    stages = tuple(StageStatus(name, 4, 4) for name in dict.fromkeys(t.stage for t in times))
    known: dict[str, Any] = {"run_id": "r", "uri": "/r", "name": "f", "state": "succeeded"}
    known |= {"stages": stages, "started": 0.0, "finished": 100.0, "times": tuple(times)}
    return RunStatus(**{**known, **changes})


def times(*peaks: int, seconds: float = 1.0, stage: str = "map") -> list[TaskTime]:
    return [TaskTime(stage, i, 0.0, seconds, f"w:{i}", 0, peak) for i, peak in enumerate(peaks)]


def failure(kind: str, stage: str = "map") -> Failure:
    return Failure(stage, 0, "1-a", kind, "WorkerLost", "")


def memory_of(advice: Any, option: str = "resources") -> str | None:
    return advice.options[option].memory if option in advice.options else None


def test_memory_is_the_peak_and_a_quarter() -> None:
    asked = Resources(memory="8Gi", cpu=2, env={"API_KEY": mapred.public("demo")})
    advice = advise(job(resources=asked), status(times(700 * MI, 1000 * MI)))
    assert memory_of(advice) == "1280Mi"
    assert advice.options["resources"] == dataclasses.replace(asked, memory="1280Mi")
    assert "asked for 8Gi, used at most 1000Mi (task 1); ask for 1280Mi" in str(advice)
    assert eval(advice.python.removeprefix("resources=")) == advice.options["resources"]
    assert advice.shell == "--memory 1280Mi"
    assert "how many a task used is not recorded" in advice.notes[-1]


@pytest.mark.parametrize(
    ("asked", "peak", "advised"),
    [("1280Mi", 1000, None), ("2Gi", 1000, None), ("1Gi", 1000, "1280Mi"), (None, 1000, "1280Mi")],
)
def test_memory_that_fits_stays(asked: str | None, peak: int, advised: str | None) -> None:
    advice = advise(job(resources=Resources(memory=asked)), status(times(peak * MI)))
    assert memory_of(advice) == advised
    assert ("fits" in str(advice)) == (advised is None)


def test_attempts_killed_for_memory_need_twice_as_much() -> None:
    asked = job(resources=Resources(memory="1Gi"))
    killed = status(times(100 * MI), failures=(failure("memory"),))
    assert memory_of(advise(asked, killed)) == "2Gi"
    assert "1 attempt ran out of memory at 1Gi" in str(advise(asked, killed))
    grown = job(resources=Resources(memory="1Gi", max_memory="4Gi"))
    assert memory_of(advise(grown, killed)) == "8Gi"
    assert advise(grown, killed).options["resources"].max_memory is None
    retried = status(times(3 * GI), retries=(Retry("map", 0, "memory", "WorkerLost"),))
    assert memory_of(advise(grown, retried)) == "3840Mi"


def test_a_reduce_gets_its_own_memory_where_that_of_a_map_task_is_too_little() -> None:
    both = [*times(100 * MI), *times(3 * GI, stage="reduce-1")]
    advice = advise(job(reduce=Resources()), status(both))
    assert (memory_of(advice), memory_of(advice, "reduce_resources")) == ("256Mi", "3840Mi")
    assert advice.shell == "--memory 256Mi"
    fits = advise(job(reduce=Resources()), status([*times(3 * GI), *times(MI, stage="reduce-1")]))
    assert list(fits.options) == ["resources"]
    own = job(resources=Resources(memory="4Gi"), reduce=Resources(memory="64Gi"))
    assert memory_of(advise(own, status(both)), "reduce_resources") == "3840Mi"


def test_times_that_are_too_short_are_made_longer() -> None:
    reached = advise(job(timeout=60), status(times(MI), failures=(failure("timeout"),)))
    assert reached.options["timeout"] == 120
    close = advise(job(timeout=60), status(times(MI, seconds=50)))
    assert close.options["timeout"] == 180
    assert "--timeout 180" in close.shell
    assert "timeout" not in advise(job(timeout=60), status(times(MI, seconds=30))).options
    late = status(times(MI), state="failed", message="the run took longer than deadline=100 s")
    assert advise(job(deadline=100), late).options["deadline"] >= 200


def test_attempts_are_raised_where_the_last_one_was_needed_or_workers_were_lost() -> None:
    retry = Retry("map", 0, "function", "ValueError")
    assert advise(job(), status(times(MI), retries=(retry,) * 2)).options["attempts"] == 4
    assert "attempts" not in advise(job(), status(times(MI), retries=(retry,))).options
    assert advise(job(), status(times(MI), failures=(failure("lost"),))).options["attempts"] == 5
    assert (
        "attempts" not in advise(job(), status(times(MI), failures=(failure("function"),))).options
    )


def test_many_short_tasks_become_fewer_and_their_memory_is_left_open() -> None:
    many = [TaskTime("map", i, i * 0.05, 0.05, "w", 0, 100 * MI) for i in range(1000)]
    advice = advise(job(1000, bytes=1000 * MI), status(many))
    assert list(advice.options) == ["target_bytes"]
    assert parse_bytes(advice.options["target_bytes"]) >= 2 * MI
    assert "larger shards need more" in str(advice)
    items = job(1000, bytes=0, items=5000, format=Format("items", "item"))
    assert advise(items, status(many)).options["per_task"] == 193


def test_few_long_tasks_become_more() -> None:
    long = [TaskTime("map", i, 0.0, 10.0 + 90 * (i == 3), f"w:{i}") for i in range(4)]
    assert (
        parse_bytes(advise(job(), status(long), splittable=True).options["target_bytes"]) < 100 * MI
    )
    assert "target_bytes" not in advise(job(), status(long)).options  # files that cannot be cut
    items = job(4, bytes=0, items=400, format=Format("items", "item"))
    assert advise(items, status(long)).options["per_task"] == 25


def test_nothing_known_and_nothing_to_change_are_said() -> None:
    none = advise(job(), status([]))
    assert str(none).startswith("Advice for run r: nothing to change")
    assert "no task has ended" in str(none)
    unknown = advise(job(), status(times(0, 0)))
    assert not unknown.options
    assert "memory of map tasks: not recorded" in unknown.notes
    half = status(times(MI), stages=(StageStatus("map", 4, 1),))
    assert "known of 1 of 4 tasks alone" in str(advise(job(), half))


def any_resources(chance: random.Random) -> Resources:
    memory = chance.choice([None, "64Mi", "500M", "2Gi", "300Gi", 10**9])
    most = chance.choice([None, "300Gi"]) if memory else None
    return Resources(memory=memory, max_memory=most, cpu=chance.choice([1, 0.5, 8]))


def test_what_is_advised_is_accepted_and_above_what_was_seen() -> None:
    chance = random.Random(5)
    for _ in range(400):
        tasks, reduces = chance.choice([1, 3, 300]), chance.choice([True, False])
        given = any_resources(chance)
        own = chance.choice([given.on_demand(), any_resources(chance)]) if reduces else None
        limits = {name: chance.choice([None, 1, 60, 1e5]) for name in ("timeout", "deadline")}
        format_ = chance.choice([Format("text", "lines"), Format("items", "item")])
        made = job(
            tasks, own, resources=given, items=tasks * 3, format=format_, attempts=2, **limits
        )
        peaks = [chance.choice([0, 10 ** chance.randint(6, 12)]) for _ in range(tasks)]
        seen = times(*peaks, seconds=10 ** chance.uniform(-3, 4))
        seen += times(10 ** chance.randint(6, 12), stage="reduce-1") if reduces else []
        kinds = ("memory", "lost", "timeout", "function")
        lost = tuple(failure(chance.choice(kinds)) for _ in range(chance.randint(0, 2)))
        again = tuple(
            Retry("map", 0, chance.choice(kinds), "E") for _ in range(chance.randint(0, 2))
        )
        message = chance.choice(["", "the run took longer than deadline=1 s"])
        advice = advise(
            made,
            status(seen, failures=lost, retries=again, message=message),
            splittable=chance.random() < 0.5,
        )
        options = validate_options(dict(advice.options))
        Options(**options)
        for option, stage in (("resources", "map"), ("reduce_resources", "reduce-1")):
            asked = given if stage == "map" else own
            if option in options:
                asked = options[option]
            elif stage == "reduce-1" and "resources" in options and own == given.on_demand():
                asked = options["resources"]
            peak = max((time.peak_memory for time in seen if time.stage == stage), default=0)
            if asked is not None and asked.memory is not None:
                assert asked.memory_bytes is not None
                assert asked.memory_bytes >= peak * MARGIN, (str(advice), peak)
        for name in ("timeout", "deadline"):
            assert advice.options.get(name, 1e9) >= (limits[name] or 0)
        words = shlex.split(advice.shell)
        assert len(words) == 2 * sum(name != "reduce_resources" for name in options)
        str(advice), advice._repr_mimebundle_()


def test_quantities_are_above_the_need() -> None:
    chance = random.Random(6)
    for _ in range(500):
        need = 10 ** chance.uniform(0, 13)
        assert need <= parse_bytes(memory_quantity(need)) <= max(need * 1.3, 64 * MI) + 64 * MI


def double(number: int) -> int:
    return 2 * number


def test_the_lines_of_a_real_run_run(tmp_path: Any) -> None:
    asked = Resources(memory="64Gi")
    run = mapred.run(double, range(8), reduce=sum, resources=asked, timeout=3600, **LOCAL)
    advice = run.advise()
    assert memory_of(advice) is not None
    again = eval(f"mapred.run(double, range(8), reduce=sum, **LOCAL, {advice.python})", globals())
    assert again.job.stages[0].resources == advice.options["resources"]
    assert again.advise().options == {}
    words = ["run", "builtins:abs", "8", "--format", "array", "--root", str(tmp_path), "-q"]
    done = CliRunner().invoke(main, [*words, *shlex.split(advice.shell)])
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(main, ["advise", run.uri])
    assert shown.output.rstrip() == str(advice)
    assert "<b>Advice for run" in advice._repr_mimebundle_()["text/html"]
