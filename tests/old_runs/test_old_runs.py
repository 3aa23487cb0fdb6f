"""Runs that earlier versions made are opened, shown, audited and resumed by this one."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import pickle
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from old_runs import archive

import mapred
from mapred.client.scheduling import bind_date, firing
from mapred.errors import FunctionError
from mapred.functions import pickling, transport
from mapred.model import layout
from mapred.runfolder import outputs
from mapred.runfolder.folder import RunFolder
from mapred.worker.attempt import begin
from mapred.worker.context import Context
from mapred.worker.turns import Turn

ARCHIVES = {file.stem: archive.read(file) for file in Path(__file__).parent.glob("made-by-*.json")}
PYTHON = ".".join(map(str, sys.version_info[:2]))
SUMS = [("Bern", 4.0, 2), ("Oslo", 1.0, 1), ("Rome", 2.0, 1)]
ROWS = [("Bern", 3.5), ("Rome", 2.0), ("Oslo", 1.0), ("Bern", 0.5)]

# The result of each folder, which it gives as well once its last word and some commits are gone.
RESULTS: dict[str, Any] = {
    "finished": 56,
    "tree": 2,
    "killed": 280,
    "killed_portable": 10,
    "failed": [0, 1, 2, 3],
    "failed_items": [0, None, 2, None, 4, None],
    "keyed_aggregate": SUMS,
    "keyed_reduce": sorted(ROWS),
    "sorted_rows": ROWS,
    "swept": [{"score": 0.5}, {"score": 1.5}, {"score": 2.0}, {"score": 6.0}],
    "named": [0, 0.5, 1, 1.5],
    "command": ["BERN", "OSLO"],
    "class_function": [100, 101, 102],
    "sent_module": [0, 1, 4, 9],
    "on_dask": [1, 2],
}
STATES = {"killed": "interrupted", "killed_portable": "interrupted", "failed": "failed"}
ENDED = [name for name in RESULTS if name not in STATES]
# Those whose functions are names alone, which every Python loads.
PORTABLE = {"tree", "killed_portable", "command", "sent_module", "on_dask"}
PROBLEMS = {
    "killed": ["unfinished"] + ["missing"] * 5,
    "killed_portable": ["unfinished"] + ["missing"] * 2,
    "failed": ["unfinished"] + ["missing"] * 2,
}
INLINE: dict[str, Any] = {"backend": "inline", "progress": "none"}


def runs(names: Any) -> pytest.MarkDecorator:
    pairs = [(made_by, name) for made_by in ARCHIVES for name in names]
    return pytest.mark.parametrize(("made_by", "name"), pairs)


pytestmark = pytest.mark.filterwarnings("ignore:backend='inline' runs tasks:UserWarning")
every_archive = pytest.mark.parametrize("made_by", ARCHIVES)


@pytest.fixture(autouse=True)
def _forget_sent_modules() -> Iterator[None]:
    yield
    sys.modules.pop("parcel", None)


def unpacked(made_by: str, name: str, tmp_path: Path) -> mapred.Run:
    archive.unpack(ARCHIVES[made_by]["folders"][name], tmp_path / name)
    (found,) = (tmp_path / name).rglob(layout.JOB)
    return mapred.open(found.parent)


def loads_here(made_by: str, name: str) -> bool:
    """Whether the functions of a run are of this Python, or names alone."""
    return name in PORTABLE or ARCHIVES[made_by]["python"] == PYTHON


def plain(result: Any, name: str) -> Any:
    """A result as plain values; the parts of a keyed one have no order of their own."""
    if isinstance(result, ds.Dataset):
        rows = [tuple(row.values()) for row in result.to_table().to_pylist()]
        return rows if name == "sorted_rows" else sorted(rows)
    if name == "command":
        return [text.strip() for text in result]
    return result


@runs(RESULTS)
def test_an_old_run_is_opened_shown_listed_and_audited(
    made_by: str, name: str, tmp_path: Path
) -> None:
    run = unpacked(made_by, name, tmp_path)
    state = STATES.get(name, "succeeded")
    status = run.status()
    assert (run.state, status.state) == (state, state)
    assert [stage.total for stage in status.stages] == [stage.tasks for stage in run.job.stages]
    (listed,) = mapred.runs(tmp_path / name)
    assert (listed.id, listed.state) == (run.id, state)
    if state == "succeeded":
        assert plain(run.result(), name) == RESULTS[name]
    audit = run.audit()
    assert [problem.kind for problem in audit.problems] == PROBLEMS.get(name, [])


@runs(ENDED)
def test_a_resume_leaves_an_old_run_that_succeeded_alone(
    made_by: str, name: str, tmp_path: Path
) -> None:
    run = unpacked(made_by, name, tmp_path)
    before = {path: run.store.read(path) for path, _ in run.store.list("")}
    assert plain(run.resume(progress="none").result(), name) == RESULTS[name]
    assert {path: run.store.read(path) for path, _ in run.store.list("")} == before


@runs(RESULTS)
def test_an_old_run_goes_on_where_its_functions_load(
    made_by: str, name: str, tmp_path: Path
) -> None:
    run = unpacked(made_by, name, tmp_path)
    lost = [layout.END, layout.FAILED, layout.MANIFEST, layout.commit("map", 0)]
    lost += [path for path, _ in run.store.list("") if "/commits/" in path and path[:4] != "map/"]
    for path in lost:
        with suppress(FileNotFoundError):
            run.store.delete(path)
    changes: dict[str, Any] = {"fn": abs} if name == "failed" else {}
    if changes or loads_here(made_by, name):
        resumed = mapred.open(run.uri).resume(**changes, **INLINE)
        assert plain(resumed.result(), name) == RESULTS[name]
        assert [problem.kind for problem in resumed.audit().problems] == []
        return
    with pytest.raises(FunctionError, match=r"made by Python 3\.11.* by (fn|reduce)="):
        mapred.open(run.uri).resume(**INLINE)


@runs([*RESULTS, "written"])
def test_the_outputs_of_old_tasks_are_read(made_by: str, name: str, tmp_path: Path) -> None:
    run = unpacked(made_by, name, tmp_path)
    for stage in run.job.stages:
        for _, commit in RunFolder(run.store).sound_commits(stage.name):
            if commit.output.kind != "parts":
                values = list(outputs.load(run.store, commit.output))
                assert len(values) == commit.output.count


@every_archive
def test_an_old_run_goes_on_with_its_functions_given_once_more(
    made_by: str, tmp_path: Path
) -> None:
    run = unpacked(made_by, "killed", tmp_path)
    resumed = run.resume(lambda value: 10 * value, reduce=sum, **INLINE)
    assert resumed.result() == RESULTS["killed"]
    assert resumed.audit().ok


@every_archive
def test_what_failed_attempts_of_an_old_run_kept_is_not_done_again(
    made_by: str, tmp_path: Path
) -> None:
    run = unpacked(made_by, "failed", tmp_path)
    attempt = begin(Context(run.store, run.job), run.job.stage("map"), 0, 1)
    turn = Turn(attempt, None, again=True)
    assert list(turn._kept) == [0]


@every_archive
def test_an_old_dataset_and_what_published_it_are_known(made_by: str, tmp_path: Path) -> None:
    made = ARCHIVES[made_by]
    home = Path(made["base"]) / "written"
    if not home.exists():  # The run knows its dataset by where it was made; nothing changes it.
        home.parent.mkdir(exist_ok=True)
        ours = archive.unpack(made["folders"]["written"], home.parent / uuid.uuid4().hex)
        with suppress(OSError):  # another process was faster
            ours.rename(home)
    run = unpacked(made_by, "written", tmp_path)
    assert run.state == "succeeded"
    written = run.result()
    assert (written.files, written.rows, written.version) == (3, 4, 1)
    rows = mapred.run(len, mapred.read_parquet(written.uri), reduce=sum, **INLINE)
    assert rows.result() == 4
    assert run.audit().ok
    assert transport.load(run.store.read(run.job.reduce)).name
    assert run.resume(progress="none").state == "succeeded"


@every_archive
def test_a_stored_schedule_starts(made_by: str, tmp_path: Path) -> None:
    archive.unpack(ARCHIVES[made_by]["folders"]["scheduled"], tmp_path / "scheduled")
    ((path, data),) = [
        (path, path.read_bytes()) for path in (tmp_path / "scheduled" / ".schedules").rglob("*.pkl")
    ]
    assert path.stem == hashlib.sha256(data).hexdigest()
    if ARCHIVES[made_by]["python"] != PYTHON:
        return  # its function is code, and the pod that loads it has the Python that made it
    template = firing.load(str(tmp_path / "scheduled"), "daily", path.stem)
    assert (template.backend, template.timezone) == ("argo", "UTC")
    (tmp_path / "bern.txt").write_text("rain\nsun\n")
    job = dataclasses.replace(
        template.job, dataset=mapred.read_text(f"{tmp_path}/{{city}}.txt", as_="lines")
    )
    job = bind_date(job, datetime(2026, 3, 1, tzinfo=timezone.utc), {"city": "bern"})
    run = job.run(root=tmp_path / "runs", **INLINE)
    assert run.result() == ["rain bern 2026-03-01", "sun bern 2026-03-01"]


def pickles() -> list[tuple[str, str]]:
    return [(made_by, name) for made_by, made in ARCHIVES.items() for name in made["pickles"]]


@pytest.mark.parametrize(("made_by", "name"), pickles())
def test_values_that_users_hold_are_loaded_from_old_pickles(made_by: str, name: str) -> None:
    value = transport.unpickle(base64.b64decode(ARCHIVES[made_by]["pickles"][name]))
    assert type(value).__module__.startswith("mapred.")
    if isinstance(value, mapred.Reducer):
        assert value.finish or value.merge([value.step([[1], [2]])]) is not None


@every_archive
def test_every_public_name_is_found_by_its_old_module(made_by: str) -> None:
    for name, place in ARCHIVES[made_by]["names"].items():
        module, _, qualified = place.partition(":")
        old = pickle.dumps(abs, protocol=0).replace(
            b"c__builtin__\nabs", f"c{module}\n{qualified}".encode()
        )
        assert pickling.load(io.BytesIO(old)) is getattr(mapred, name), place


def test_what_an_old_pickle_names_and_nothing_has_is_told() -> None:
    with pytest.raises(FunctionError, match=r"cannot be loaded.*mapred\.nowhere"):
        transport.unpickle(pickle.dumps(({}, None, b"")) + b"cmapred.nowhere\nnothing\n.")
