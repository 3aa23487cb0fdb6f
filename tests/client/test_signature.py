"""What `help()`, Jupyter and mypy know of the options, and the names that are not options."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.client.options import JobOptions, PlanOptions, ResumeOptions, StartOptions

JOB, START = list(JobOptions.__annotations__), list(StartOptions.__annotations__)
TAKEN: dict[Callable[..., Any], list[str]] = {
    mapred.run: [*JOB, *START, "progress"],
    mapred.submit: [*JOB, *START],
    mapred.job: JOB,
    mapred.plan: list(PlanOptions.__annotations__),
    mapred.Plan.run: [*JOB, *START, "progress"],
    mapred.Plan.submit: [*JOB, *START],
    mapred.Job.run: [*START, "progress"],
    mapred.Job.submit: [*START, "run_id"],
    mapred.Run.resume: [*ResumeOptions.__annotations__, "backend", "progress"],
}
every = pytest.mark.parametrize("call", TAKEN, ids=lambda call: call.__qualname__)


@every
def test_help_shows_each_option_with_its_default(call: Callable[..., Any]) -> None:
    shown = inspect.signature(call).parameters
    named = {name for name, each in shown.items() if each.kind is each.KEYWORD_ONLY}
    assert named == set(TAKEN[call])
    text = pydoc.plain(pydoc.render_doc(call))
    for name in named:
        assert f"{name}: " in text
    assert "**" not in text.splitlines()[2]
    defaults = {"attempts": 3, "max_failed": 0, "backend": "local", "progress": "auto"}
    for name in named:
        left_out = None if call is mapred.Run.resume and name != "progress" else defaults.get(name)
        assert shown[name].default == left_out


@every
def test_a_notebook_shows_each_option(call: Callable[..., Any]) -> None:
    oinspect = pytest.importorskip("IPython.core.oinspect")
    theme = (
        {"theme_name": "nocolor"}
        if "theme_name" in str(inspect.signature(oinspect.Inspector))
        else {}
    )
    shown = oinspect.Inspector(**theme).info(call, oname=call.__name__)["definition"]
    for name in TAKEN[call]:
        assert f"{name}: " in shown


@pytest.mark.parametrize("option", [*JOB, *START, "progress", "fn", "dataset"])
def test_the_docstring_says_what_each_option_means(option: str) -> None:
    assert re.search(rf"(^|[ `]){option}[:,`]", inspect.getdoc(mapred.run) or "", re.M)


def test_a_run_writes_with_the_arguments_of_its_target() -> None:
    for method, target in (
        (mapred.Run.write_parquet, mapred.write_parquet),
        (mapred.Run.write_delta, mapred.write_delta),
    ):
        itself, *more = inspect.signature(method).parameters.values()
        assert itself.name == "self"
        assert more == list(inspect.signature(target).parameters.values())
        assert (method.__doc__ or "").startswith("Write the tables of the result")


@pytest.mark.parametrize(
    ("call", "wrong", "says"),
    [
        (mapred.run, "attemps", r"run\(\) got .* 'attemps'; did you mean 'attempts'\?"),
        (mapred.submit, "max_task", "did you mean 'max_tasks'"),
        (mapred.job, "resource", r"job\(\) got .* did you mean 'resources'"),
        (mapred.plan, "per_tasks", "did you mean 'per_task'"),
        (mapred.Plan.run, "progres", r"Plan.run\(\) got .* did you mean 'progress'"),
        (mapred.Plan.submit, "deadlin", "did you mean 'deadline'"),
        (mapred.Job.run, "rot", "did you mean 'root'"),
        (mapred.Job.submit, "runid", "did you mean 'run_id'"),
        (mapred.Run.resume, "atempts", r"Run.resume\(\) got .* did you mean 'attempts'"),
        (mapred.run, "shelf", r"'shelf'$"),
        (mapred.run, "workers", r"write backend=mapred.Local\(workers=…\)"),
    ],
)
def test_a_wrong_name_is_refused_with_the_one_that_was_meant(
    call: Callable[..., Any], wrong: str, says: str
) -> None:
    with pytest.raises(TypeError, match=says):
        call(object(), [1], **{wrong: 3})


CHECKED = """
import mapred

def double(n: int) -> int:
    return 2 * n

done = mapred.run(double, [1, 2], attempts=3, timeout="90s", max_failed="1%", backend="inline")
reveal_type(done)
reveal_type(mapred.submit(double, [1], mode=0o750))
reveal_type(mapred.job(double, [1], seed=1).timeout)
reveal_type(mapred.plan([1], per_task=1).run(double, progress="none"))
reveal_type(done.resume(timeout="10m"))
reveal_type(mapred.job(double, [1]).submit(run_id="a", root="x"))
reveal_type(done.write_parquet("x", partition_by="day"))
mapred.run(double, [1], attemps=3)
mapred.run(double, [1], attempts="3")
mapred.job(double, [1], backend="local")
mapred.plan([1]).submit(double, progress="none")
done.resume(seed=3)
done.write_delta("x", partition=3)
"""


@pytest.mark.slow
def test_mypy_knows_each_option(tmp_path: Path) -> None:
    script = tmp_path / "checked.py"
    script.write_text(f"from mapred import {', '.join(mapred.__all__)}\n{CHECKED}")
    checks = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(script)]
    done = subprocess.run(
        checks, capture_output=True, text=True, cwd=Path(mapred.__file__).parents[1]
    )
    told = [line.split(": ", 1)[1] for line in done.stdout.splitlines()]
    revealed = [line.split('"')[1] for line in told if line.startswith("note: Revealed")]
    names = [each.rpartition(".")[2] for each in revealed]
    assert names == ["Run", "Run", "float | None", "Run", "Run", "Run", "Written"], done.stdout
    errors = [line for line in told if line.startswith("error: ")]
    expected = [
        'Unexpected keyword argument "attemps" for "run"; did you mean "attempts"',
        'Argument "attempts" to "run" has incompatible type "str"; expected "int"',
        'Unexpected keyword argument "backend" for "job"',
        'Unexpected keyword argument "progress" for "submit" of "Plan"',
        'Unexpected keyword argument "seed" for "resume" of "Run"',
        'Unexpected keyword argument "partition" for "write_delta" of "RunResults"',
    ]
    assert len(errors) == len(expected), done.stdout
    for error, says in zip(errors, expected, strict=True):
        assert says in error
