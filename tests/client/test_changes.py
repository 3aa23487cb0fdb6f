"""Resuming with something else than what was stored: functions, reduces, limits."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import mapred
from mapred.cli import main
from mapred.model import layout
from mapred.runfolder.folder import RunFolder

QUIET: dict[str, Any] = {"progress": "none"}


def failed(fn: Any, dataset: Any = None, **options: Any) -> mapred.Run:
    items = mapred.items(range(6)) if dataset is None else dataset
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(fn, items, **{"attempts": 1, "per_task": 1, **QUIET, **options})
    assert isinstance(caught.value.run, mapred.Run)
    return mapred.open(caught.value.run.uri)


def counted(folder: Path) -> Any:
    """A function that leaves a file for each call."""

    def call(x: int) -> int:
        Path(folder, f"{x}-{time.time_ns()}").touch()
        return x

    return call


def broken(xs: Any) -> Any:
    values = list(xs)  # fails when all maps are done
    return undefined(values)  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("options", [{}, {"fan_in": 2}, {"finalize": lambda total: total * 100}])
def test_a_fixed_reduce_keeps_the_maps(tmp_path: Path, options: dict[str, Any]) -> None:
    run = failed(counted(tmp_path), reduce=broken, **options)
    resumed = run.resume(reduce=sum, **QUIET)
    assert resumed.result() == (1500 if "finalize" in options else 15)
    assert len(list(tmp_path.iterdir())) == 6, "each map once"
    audit = resumed.audit()
    assert audit.ok, audit
    assert {made.name for made in audit.functions} == {"counted.call", "sum"}


def test_a_ready_reducer_in_place_of_a_broken_one() -> None:
    run = failed(lambda x: {"a": x}, reduce=broken)
    assert run.resume(reduce=mapred.reducers.merge_counts, **QUIET).result() == {"a": 15}


def test_one_answer_comes_from_one_reduce() -> None:
    """Groups that the old reduce has made are made again: sums of maxima are no answer."""

    def largest(xs: Any) -> int:
        found = list(xs)
        assert len(found) < 2 or 5 not in found
        return max(found)

    run = failed(lambda x: x, reduce=largest, fan_in=2, attempts=1)
    assert RunFolder(run.store).list_committed("reduce-1")
    assert run.resume(reduce=sum, **QUIET).result() == 15
    assert run.audit().ok


def test_a_fixed_reduce_of_keys() -> None:
    def tables(x: int) -> pa.Table:
        return pa.table({"k": [x % 2, x % 2], "v": [x, 1]})

    run = failed(tables, by="k", reduce=broken)
    resumed = run.resume(reduce=lambda rows: rows.group_by("k").aggregate([("v", "sum")]), **QUIET)
    found = resumed.to_arrow().sort_by("k").to_pydict()
    assert found == {"k": [0, 1], "v_sum": [9, 12]}
    assert resumed.audit().ok


def test_what_cannot_take_a_reduce_says_so() -> None:
    run = failed(lambda x: 1 / x)
    with pytest.raises(mapred.FunctionError, match=r"no reduce= .* run\.outputs\(\)"):
        run.resume(reduce=sum, **QUIET)
    table = lambda x: pa.table({"k": [1 // x]})  # noqa: E731
    run = failed(table, by="k", aggregate={"k": "count"})
    with pytest.raises(mapred.FunctionError):
        run.resume(reduce=sum, **QUIET)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": "soon"}, "timeout='soon'"),
        ({"attempts": 0}, "attempts=0"),
        ({"attempts": 1.5}, "attempts=1.5"),
        ({"max_failed": 1.5}, "max_failed=1.5"),
        ({"max_failed": -1}, "max_failed=-1"),
        ({"deadline": float("nan")}, "deadline=nan"),
        ({"resources": "2Gi"}, "resources='2Gi'"),
        ({"fn": 3}, "fn=3"),
        ({"reduce": 3}, "reduce=3"),
    ],
)
def test_wrong_changes_change_nothing(given: dict[str, Any], says: str) -> None:
    run = failed(lambda x: 1 / x, reduce=sum)
    before = {path: run.store.read(path) for path, _ in run.store.list("")}
    with pytest.raises(mapred.MapredError, match=says):
        run.resume(**given, **QUIET)
    assert {path: run.store.read(path) for path, _ in run.store.list("")} == before


REFUSED: list[dict[str, Any]] = [
    {"timeout": 5, "backend": "threads"},
    {"fn": lambda x: x, "resources": mapred.Resources(memory="1Gi"), "backend": "threads"},
    {"resources": mapred.Resources(gpu=99)},
    {
        "fn": lambda x: x,
        "reduce": max,
        "max_failed": 2,
        "backend": mapred.Dask("tcp://127.0.0.1:9"),
    },
]


@pytest.mark.parametrize("given", REFUSED, ids="-".join)
@pytest.mark.slow
def test_a_refused_resume_leaves_the_folder_as_it_was(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mapred.backends.dask._CONNECT_SECONDS", 0.2)
    run = failed(lambda x: {"a": [1][x]}, reduce=broken, max_failed=5)
    before = {path: run.store.read(path) for path, _ in run.store.list("")}
    job = run.job
    with ThreadPoolExecutor(1) as pool:
        backend = given.get("backend")
        given = {**given, "backend": pool if backend == "threads" else backend}
        with pytest.raises(mapred.BackendError):
            run.resume(**given, **QUIET)
    assert {path: run.store.read(path) for path, _ in run.store.list("")} == before
    assert run.job == job


@pytest.mark.slow
def test_other_limits() -> None:
    def sleeps(x: int, task: mapred.Task) -> int:
        time.sleep(0.5)
        return task.attempt

    run = failed(sleeps, mapred.items([1]), timeout=0.2)
    assert run.resume(timeout=20, **QUIET).result() == [1]
    assert mapred.open(run.uri).job.timeout == 20

    def second(x: int, task: mapred.Task) -> int:
        assert task.attempt > 1
        return x

    assert failed(second).resume(attempts=2, **QUIET).result() == list(range(6))

    def odd(x: int) -> float:
        return 1 / (x % 2)

    run = failed(odd)
    resumed = run.resume(max_failed=3, **QUIET)
    assert resumed.status().given_up.indices == (0, 2, 4)
    run = failed(odd, max_failed=1)
    assert run.resume(max_failed=0.5, **QUIET).status().given_up.indices == (0, 2, 4)


def test_resources_reach_the_workers() -> None:
    def asked(x: int) -> str:
        import os

        return os.environ["COLOUR"]

    run = failed(asked, mapred.items([1]), reduce=list)
    more = mapred.Resources(env={"COLOUR": "red"})
    assert run.resume(resources=more, **QUIET).result() == ["red"]
    assert [stage.resources.env for stage in run.job.stages] == [{"COLOUR": "red"}] * 2
    given = mapred.Resources(memory="2Gi")
    run = failed(asked, mapred.items([1]), reduce=list, reduce_resources=given)
    assert run.resume(resources=more, **QUIET).job.stages[1].resources == given


def test_parameters_stay_bound() -> None:
    def point(x: int, scale: int) -> float:
        return scale / (x - 3)

    with pytest.raises(mapred.RunError) as caught:
        mapred.job(point, mapred.items(range(4)), attempts=1).bind(scale=6).run(**QUIET)
    run = mapred.open(caught.value.run.uri)
    assert run.resume(lambda x, scale: scale, **QUIET).result()[3] == 6


def test_another_function_gets_the_task_where_it_says_so() -> None:
    def shards(x: int, job: mapred.Task) -> str:
        return job.stage

    run = failed(broken)
    assert run.resume(shards, **QUIET).result() == ["map"] * 6


def test_a_reduce_that_does_not_fit_is_refused() -> None:
    run = failed(lambda x: x, reduce=broken)
    with pytest.raises(mapred.ReduceError, match="for a function of two values"):
        run.resume(reduce=lambda total, value: total + value, **QUIET)
    assert run.resume(reduce=sum, **QUIET).result() == 15


def test_the_audit_names_the_functions() -> None:
    def first(x: int) -> float:
        return 6 / (x - 3)

    def second(x: int) -> float:
        return 0.0

    run = failed(first, max_failed=0, backend=mapred.Local(workers=1))
    audit = run.resume(second, **QUIET).audit()
    assert audit.ok
    made = {each.name.split(".")[-1]: each for each in audit.functions}
    assert set(made) == {"first", "second"}
    assert made["first"].commits + made["second"].commits == 6
    last = str(audit).splitlines()[-1]
    assert last.startswith("map: ")
    assert f"by test_the_audit_names_the_functions.second of {__file__} (" in last
    told = json.loads(CliRunner().invoke(main, ["audit", "last", "--json"]).stdout)
    assert sum(each["commits"] for each in told["functions"]) == 6


def as_of(run: mapred.Run, python: str) -> mapred.Run:
    """The run as another version of Python would have made it."""
    job = json.loads(run.store.read(layout.JOB))
    job["python"] = python
    for origin in job["code"].values():
        origin["python"] = python
    run.store.write(layout.JOB, json.dumps(job).encode())
    return mapred.open(run.uri)


def test_another_python(tmp_path: Path) -> None:
    run = as_of(failed(lambda x: x / 0), "3.9")
    with pytest.raises(
        mapred.FunctionError,
        match=r"made by Python 3\.9 .* resume, and pass the function again by fn=",
    ):
        run.resume(**QUIET)
    assert run.resume(lambda x: x, **QUIET).result() == list(range(6))


def test_another_python_and_a_reduce() -> None:
    run = as_of(failed(lambda x: x / 0, reduce=lambda xs: sum(xs, 0)), "3.9")
    with pytest.raises(mapred.FunctionError, match=r"reduce of run .* by Python 3\.9.* reduce="):
        run.resume(lambda x: x, **QUIET)
    assert run.resume(lambda x: x, reduce=sum, **QUIET).result() == 15
    ready = as_of(failed(lambda x: x / 0, reduce=mapred.reducers.sum), "3.9")
    assert ready.resume(lambda x: x, **QUIET).result() == 15
    maps_done = as_of(failed(lambda x: x, reduce=broken), "3.9")
    assert maps_done.job.python != ".".join(map(str, sys.version_info[:2]))
    assert maps_done.resume(reduce=sum, **QUIET).result() == 15


def test_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text(
        "print('loaded')\nimport mapred\n"
        "def f(x): return 6 / (x - 3)\ndef total(xs): return nonsense\n"
        "def g(x): return 0\ndef fixed(xs): return sum(xs)\n"
        "job = mapred.job(f, mapred.items(range(4)), reduce=total, attempts=1)\n"
    )
    assert CliRunner().invoke(main, ["run", "job.py", "--progress", "none"]).exit_code == 1
    words = ["--attempts", "2", "--timeout", "90s", "--deadline", "1h", "--cpu", "0.5"]
    words += ["--memory", "1Gi", "--max-failed", "0"]
    done = CliRunner().invoke(
        main, ["resume", "last", "--fn", "job.py:g", "--reduce", "job.py:fixed", "-q", *words]
    )
    assert done.exit_code == 0, done.output
    job = mapred.open("last").job
    assert (job.attempts, job.timeout, job.deadline) == (2, 90, 3600)
    assert (job.stages[0].resources.cpu, job.stages[0].resources.memory) == (0.5, "1Gi")


def test_a_file_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dbl.py").write_text(
        "import mapred, pathlib\n"
        "with open('loads', 'a') as file: file.write(__name__ + '\\n')\n"
        "def f(x): return len(x)\ndef total(xs): return sum(xs)\ndef last(x): return x\n"
        "mapred.run(f, mapred.items(['its own run']))\n"
        "raise AssertionError('what follows the run is not loaded')\n"
    )
    words = ["--format", "items", "--reduce", "dbl.py:total", "--finalize", "dbl.py:last", "--json"]
    done = CliRunner().invoke(main, ["run", "dbl.py:f", "red", "blue", *words])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["result"] == 7
    assert (tmp_path / "loads").read_text() == "dbl\n"
    assert len(mapred.runs()) == 1
