"""Every public option × what does not fit: one error of the tree that names option and value.

The options are those of the signatures and records themselves, so a new one is tested without a
line here.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import typing
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mapred
from mapred.backends.inline import Inline
from mapred.cli.options import max_failed
from mapred.client import options
from mapred.dataset import as_dataset
from mapred.errors import DatasetError, FunctionError, MapredError, PlanError
from mapred.functions.task import Task
from mapred.model import rules

# Five of no unit, which new versions of numpy refuse to make.
GENERIC = np.array([5], "i8").view("m8")[0]


class Odd:
    """Nothing that any option takes; its repr fails, which a message must survive."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


ODD: list[Any] = [
    Odd(), True, -1, 0, 1.5, math.nan, math.inf, "", " ", "?!", "3", b"x", [], [3], [Odd()], {}, {3: 3},
    {"a": Odd()}, (1, 2), 3j, np.arange(2), np.array("x"), np.timedelta64("NaT", "s"), pd.NaT, pd.NA,
    10**400, timedelta(-1), range(2), object, iter("x"), Decimal("NaN"), np.float32("inf"),
]  # fmt: skip

ITEMS = mapred.items([1, 2, 3])
RECORDS = [mapred.Resources, mapred.Volume, mapred.Local, mapred.Dask, mapred.Argo, Inline]
BASE: dict[Any, dict[str, Any]] = {
    mapred.Volume: {"path": "/data", "claim": "x"},
    mapred.job: {"fn": len, "dataset": ITEMS},
    mapred.plan: {"source": ITEMS},
    mapred.read_csv: {"uris": "x"}, mapred.read_json: {"uris": "x"},
    mapred.read_parquet: {"uris": "x"}, mapred.read_arrow: {"uris": "x"},
    mapred.read_text: {"uris": "x"}, mapred.read_files: {"uris": "x"},
    mapred.files: {"paths": ["x"]}, mapred.items: {"iterable": [1]}, mapred.array: {"n": 3},
    mapred.sweep: {"a": [1]}, mapred.uniform: {"low": 0, "high": 1},
    mapred.loguniform: {"low": 1, "high": 2}, mapred.command: {"argv": ["true"]},
    mapred.write_parquet: {"uri": "x"}, mapred.write_delta: {"uri": "x"},
    mapred.reducers.top_k: {"k": 3}, mapred.open: {"run": "x"}, mapred.runs: {}, mapred.rm: {"run": "x"},
    mapred.gc: {"root": "nowhere", "dry_run": True},
}  # fmt: skip
# What takes any value by its nature.
ANYTHING = {("items", "iterable"), ("sweep", "named"), ("sweep", "parameters")}


@pytest.mark.parametrize("call", [*RECORDS, *(each for each in BASE if each not in RECORDS)])
def test_what_does_not_fit_is_refused_by_name(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path / "runs"))
    for name, parameter in inspect.signature(call).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        says = f"{name}=" if parameter.kind is parameter.KEYWORD_ONLY or call in RECORDS else ""
        for value in ODD:
            arguments = {**BASE.get(call, {}), name: value}
            first = [arguments.pop(name)] if parameter.kind is parameter.POSITIONAL_ONLY else []
            if isinstance(value, Odd) and (call.__name__, name) not in ANYTHING:
                with pytest.raises(MapredError, match=says or "."):
                    call(*first, **arguments)
            else:
                with suppress(MapredError):
                    call(*first, **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(options.Options)])
def test_a_job_names_option_and_value(name: str) -> None:
    with pytest.raises(MapredError, match=rf"{name}=.*Odd"):
        mapred.job(len, ITEMS, **{name: Odd()})  # type: ignore[arg-type]


def _methods(owner: Any) -> list[Callable[..., Any]]:
    names = [name for name in vars(type(owner)) if not name.startswith("_")]
    return [getattr(owner, n) for n in names if inspect.isfunction(vars(type(owner))[n])]


def test_methods_refuse_what_does_not_fit(tmp_path: Path) -> None:
    job = mapred.job(abs, ITEMS)
    run = job.run(backend="inline", root=tmp_path / "runs", progress="none")
    schedule = {"job": job, "cron": "0 3 * * *"}
    calls = [(call, {}) for owner in (job, job.plan(), run) for call in _methods(owner)]
    calls += [
        (mapred.schedule, schedule),
        (mapred.unschedule, {"name": "x"}),
        (mapred.schedules, {}),
        (mapred.deployed, {"name": "x"}),
        (mapred.undeploy, {"name": "x"}),
        (mapred.deployments, {}),
    ]
    needed = {"debug": {"shard": 0}, "write_parquet": {"uri": "x"}, "write_delta": {"uri": "x"}}
    before = sorted(tmp_path.rglob("*"))
    for call, given in calls:
        given = {**given, **needed.get(call.__name__, {})}
        if call.__qualname__ in ("Plan.run", "Plan.submit"):
            given = {"fn": abs}
        for name, parameter in inspect.signature(call).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD:
                with pytest.raises(MapredError):
                    call(**{**given, name: Odd()})
    with pytest.raises(PlanError, match="parameter city="):
        job.bind(city=Odd())  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before


def test_the_records_and_what_users_write_have_the_same_options() -> None:
    for written, record in (
        (options.JobOptions, options.Options),
        (options.StartOptions, options.Destination),
    ):
        names = {field.name for field in dataclasses.fields(record)}  # type: ignore[arg-type]
        assert set(typing.get_type_hints(written)) == names


@pytest.mark.parametrize(
    ("name", "value"),
    [("root", ""), ("root", 3), ("root", " "), ("root", b"x"), ("progress", "loud"), ("progress", True),
     ("backend", 3), ("backend", "lokal"), ("backend", mapred.Local), ("backend", None)],
)  # fmt: skip
def test_where_a_run_goes_is_checked_before_anything_is_written(
    name: str, value: Any, tmp_path: Path
) -> None:
    arguments = {"root": tmp_path / "runs", name: value}
    for start in (mapred.run, mapred.submit):
        if name in inspect.signature(start).parameters:
            with pytest.raises(MapredError, match=name):
                start(len, ITEMS, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelled_option_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(TypeError, match=r"run\(\) got .* 'attemps'; did you mean 'attempts'"):
        mapred.run(len, ITEMS, attemps=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"mapred.Local\(workers=…\)"):
        mapred.run(len, ITEMS, workers=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90), (0.5, 0.5), (np.int64(3), 3), (np.float32(2.5), 2.5), (Decimal("1.5"), 1.5),
     (Fraction(1, 2), 0.5), (timedelta(minutes=2), 120), (pd.Timedelta("1h"), 3600),
     (np.timedelta64(90, "s"), 90), (np.timedelta64(1_500_000_000, "ns"), 1.5), ("90s", 90),
     ("90", 90), ("12h", 43_200), ("1h30m", 5400), ("1 h 30 min", 5400), ("2d", 172_800),
     ("1w", 604_800), ("500ms", 0.5), ("1.5h", 5400)],
    ids=repr,
)  # fmt: skip
def test_durations(written: Any, seconds: float) -> None:
    job = mapred.job(len, ITEMS, timeout=written, deadline=written)
    assert (job.timeout, job.deadline) == (seconds, seconds)
    assert type(job.timeout) in (int, float)
    assert rules.seconds(mapred.Argo(ttl=written).ttl) == seconds


@pytest.mark.parametrize(
    "written", ["", "h", "1h30", "30m1h", "1m1m", "1x", "-5s", "1e3", "٣s", "1 month"]
)
def test_texts_that_are_no_duration(written: str) -> None:
    with pytest.raises(PlanError, match=r"timeout=.* seconds .* timedelta .* '90s'"):
        mapred.job(len, ITEMS, timeout=written)


@pytest.mark.parametrize("written", [GENERIC, np.timedelta64(1, "M"), np.timedelta64("NaT", "s")])
def test_times_of_numpy_need_a_unit_of_fixed_length(written: Any) -> None:
    with pytest.raises(PlanError, match="timeout="):
        mapred.job(len, ITEMS, timeout=written)


@pytest.mark.parametrize(
    "written",
    [GENERIC, np.array(5, "m8[M]"), np.timedelta64(1, "M"), np.datetime64(3, "s")],
)
def test_times_of_numpy_are_not_numbers(written: Any) -> None:
    for name in (
        "attempts",
        "max_tasks_per_worker",
        "max_failed",
        "seed",
        "target_bytes",
        "per_task",
    ):
        with pytest.raises(MapredError, match=f"{name}="):
            mapred.job(len, ITEMS, **{name: written})
    with pytest.raises(MapredError, match="cpu="):
        mapred.Resources(cpu=written)
    with pytest.raises(FunctionError, match="finite number"):
        Task(stage="map", shard=0, attempt=1, seed=0, folder="").count("n", written)


@pytest.mark.parametrize("written", [b"2", {}, {ValueError: 1}, "ValueError", True])
def test_texts_and_mappings_say_no_errors_to_try_again(written: Any) -> None:
    for name in ("retry_on", "no_retry_on"):
        with pytest.raises(PlanError, match=f"{name}="):
            mapred.job(len, ITEMS, **{name: written})


@pytest.mark.parametrize(
    "run_id",
    [
        "..",
        ".",
        ".hidden",
        "-x",
        "a/b",
        "a/../../b",
        "/tmp/x",
        "a\\b",
        "a b",
        "",
        "x\0",
        "é",
        "a\n",
        "x" * 129,
    ],
)
def test_a_run_id_cannot_lead_out_of_the_root(run_id: str, tmp_path: Path) -> None:
    with pytest.raises(MapredError, match="run_id="):
        mapred.job(len, ITEMS).submit(run_id=run_id, root=tmp_path / "runs", backend="inline")
    assert list(tmp_path.iterdir()) == []


def test_commands_that_could_never_start_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sh").touch()
    calls: list[tuple[list[str], dict[str, Any], str]] = [
        ([""], {}, "argv="), (["echo", "\0"], {}, "argv="), (["true"], {"env": {"A=B": "x"}}, "env: 'A=B'"),
        (["true"], {"env": {"A": "\0"}}, "env: 'A'"),
        (["true"], {"files": [tmp_path / "x.sh", tmp_path / "." / "x.sh"]}, "'x.sh' more than once"),
    ]  # fmt: skip
    for argv, options_, said in calls:
        with pytest.raises(FunctionError, match=said):
            mapred.command(argv, **options_)
    with pytest.raises(FunctionError, match="a parameter called 'task'"):
        mapred.run(mapred.command(["true"]), mapred.sweep(task=[1]), root=tmp_path / "runs")
    with pytest.raises(PlanError, match="NUL"):
        mapred.Resources(env={"A": "\0"})


def test_commands_say_why_they_did_not_start_or_ended(tmp_path: Path) -> None:
    def told(argv: list[str], item: str) -> str:
        with pytest.raises(mapred.RunError) as failed:
            mapred.run(
                mapred.command(argv), mapred.items([item]), attempts=1, root=tmp_path, backend="inline",
                progress="none",
            )  # fmt: skip
        return str(failed.value)

    assert "FunctionError: 'true' cannot be started: embedded null byte" in told(["true"], "\0")
    assert "write long items and parameters to files" in told(["true"], "x" * 2_000_000)
    script = tmp_path / "script"
    script.write_text("echo no first line")
    assert "make it executable (chmod +x), or name what runs it" in told([str(script)], "x")
    script.chmod(0o755)
    assert "begin it with a line such as #!/bin/sh" in told([str(script)], "x")
    assert "name a program that the worker has" in told(["no-such-program"], "x")
    assert "ended with signal 35" in told(["bash", "-c", "kill -35 $$"], "x")


@pytest.mark.slow
def test_intervals_and_samples_beyond_what_can_be_drawn() -> None:
    with pytest.raises(DatasetError, match="too wide"):
        mapred.uniform(-1e308, 1e308)
    pytest.importorskip("scipy")
    many = {f"p{i}": mapred.uniform(0, 1) for i in range(21_202)}
    with pytest.raises(DatasetError, match=r"21,202 parameters.*mode='random'"):
        mapred.sweep(many, mode="sobol", n=1)


def test_how_many_may_fail() -> None:
    def kept(value: Any) -> float:
        return mapred.job(len, ITEMS, max_failed=value).max_failed

    assert [kept(v) for v in (1, 0.5, "1%", "50 %", np.int64(3), 10.0)] == [
        1,
        0.5,
        0.01,
        0.5,
        3,
        10,
    ]
    for value in (1.0, np.float64(1.0)):
        with pytest.raises(PlanError, match=r"1\.0 could mean one or all: write 1 for one"):
            kept(value)
    for value in ("100%", "1", 1.5, -1, True):
        with pytest.raises(PlanError, match="max_failed="):
            kept(value)


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("0.5", 0.5), ("1%", "1%"), ("x", "x")])
def test_how_many_may_fail_on_a_command_line(text: str, value: Any) -> None:
    found = max_failed(text)
    assert (found, type(found)) == (value, type(value))


def test_numbers_of_numpy_are_numbers() -> None:
    resources = mapred.Resources(cpu=np.float32(0.5), memory=np.int64(2**30), spot=np.bool_(True))
    assert dataclasses.asdict(resources)["memory"] == 2**30
    assert (resources.cpu, resources.spot) == (0.5, True)
    assert {type(resources.cpu), type(resources.memory), type(resources.spot)} == {float, int, bool}
    job = mapred.job(
        len, ITEMS, attempts=np.int8(2), seed=np.uint64(7), reduce=sum, fan_in=np.int32(4)
    )
    assert [type(v) for v in (job.attempts, job.seed, job.fan_in)] == [int, int, int]
    assert mapred.array(np.int16(3)).count == 3
    assert mapred.job(len, "x/{n}.txt").bind(n=np.int64(3)).dataset.uris == ("x/3.txt",)


@pytest.mark.parametrize(("memory", "meant"), [(1.5, "'1.5Gi'"), (4, "'4Gi'"), ("10", "10 bytes")])
def test_memory_without_its_unit_is_refused(memory: Any, meant: str) -> None:
    with pytest.raises(PlanError, match=rf"memory={memory!r} must be .*{meant}"):
        mapred.Resources(memory=memory)


def test_counters_take_numbers_of_every_library() -> None:
    task = Task(stage="map", shard=0, attempt=1, seed=0, folder="")
    for n in (
        1,
        np.int64(3),
        np.float32(0.5),
        Decimal("1.5"),
        True,
        np.bool_(True),
        Fraction(1, 2),
    ):
        task.count("rows", n)  # type: ignore[arg-type]
    assert task.counters == {"rows": 8.5}
    assert type(task.counters["rows"]) is float
    for bad in ("3", None, math.nan, np.float64("inf"), Odd(), np.arange(2)):
        with pytest.raises(FunctionError, match=r"task.count\('rows'"):
            task.count("rows", bad)  # type: ignore[arg-type]
    with pytest.raises(FunctionError, match="name=3 must be a text"):
        task.count(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "items"),
    [(range(3), [0, 1, 2]), ([1.5, None], [1.5, None]), ((1, 2), [1, 2]), (np.arange(2), [0, 1]),
     (pd.Series([1, 2], index=[5, 6]), [1, 2]), (pl.Series([1, 2]), [1, 2]), (pa.array([1, 2]), [1, 2]),
     ({3, 1}, [1, 3]), ([[1], [2]], [[1], [2]]), ([b"a"], [b"a"]), ({"a": 1}.items(), [("a", 1)])],
)  # fmt: skip
def test_collections_of_what_is_not_text_are_items(source: Any, items: list[Any]) -> None:
    made = as_dataset(source)
    assert (made.format, list(made.items)) == ("items", items)


def test_a_list_of_numbers_is_run() -> None:
    job = mapred.job(abs, [-1, 2])
    assert job.dataset.count == 2


@pytest.mark.parametrize(
    "source", [["a.txt", "b.txt"], np.array(["a.txt", "b.txt"]), pd.Series(["a.txt", "b.txt"])]
)
def test_collections_of_texts_are_paths(source: Any, tmp_path: Path) -> None:
    assert as_dataset(source).uris == ("a.txt", "b.txt")
    with pytest.raises(DatasetError, match=r"texts are paths: .* mapred.items\(\[\.\.\.\]\)"):
        mapred.plan(source)


@pytest.mark.parametrize(
    ("source", "says"),
    [((i for i in [1]), r"a generator can be read only once .* list\("), (map(abs, [1]), "a map can"),
     ({"a": [1]}, r"mapred.sweep\(mapping\)"), (np.zeros((2, 2)), r"mapred.items\(array\) for its rows"),
     (["a", 1], "paths such as 'a' and other things such as 1"), ([], "the list is empty"),
     (range(0), "the list is empty"), (None, "dataset=None"), (True, "bool is not a dataset"),
     (pl.LazyFrame({"a": [1]}), "collect")],
)  # fmt: skip
def test_what_is_not_a_dataset_says_what_to_pass(source: Any, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        mapred.job(len, source)


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]}), pa.table({"a": [1]})]
)
def test_frames_do_not_list_their_columns(frame: Any) -> None:
    rows = {"a": 1}
    for make in (
        lambda: mapred.items(frame),
        lambda: mapred.sweep(df=frame),
        lambda: mapred.sweep(frame),
    ):
        with pytest.raises(DatasetError, match=r"lists its columns.*items\(frame\.") as caught:
            make()
        call = re.search(r"items\(frame\..*?\)\)", str(caught.value))
        assert call is not None
        assert eval(f"mapred.{call[0]}", {"mapred": mapred, "frame": frame}).items == (rows,)
