"""Removing runs and what is left of them; never anything of a run that may be alive."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pty
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import mapred
from mapred import writing
from mapred.cli import main
from mapred.client import retention
from mapred.errors import PlanError, RunError
from mapred.model import layout
from mapred.runfolder import liveness
from mapred.runfolder.folder import RunFolder
from mapred.storage import open_store
from mapred.testing import tamper

OLD = 40 * 24 * 3600


@pytest.fixture(params=["local", "s3", pytest.param("oss", marks=pytest.mark.slow)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty root for runs."""
    if request.param == "local":
        return str(tmp_path / "runs")
    return str(request.getfixturevalue(f"{request.param}_root")) + "/runs"


def table_of(item: int) -> pa.Table:
    return pa.table({"n": [item]})


def make(root: str, seconds_ago: float = 0, **options: Any) -> mapred.Run:
    """A run that succeeded so long ago."""
    run = mapred.run(
        table_of, mapred.items(range(2)), root=root, backend="inline", progress="none", **options
    )
    return aged(run, root, seconds_ago)


def aged(run: mapred.Run, root: str, seconds: float) -> mapred.Run:
    """The run under the name, and with the times, that it would have had so long ago."""
    if not seconds:
        return run
    when = time.time() - seconds
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime(when)) + run.id[15:]
    store = open_store(f"{root}/{name}")
    for path, _ in run.store.list(""):
        store.write(path, run.store.read(path))
    handle = json.loads(store.read(layout.HANDLE))
    store.write(layout.HANDLE, json.dumps({**handle, "time": when}).encode())
    job = json.dumps(json.loads(store.read(layout.JOB)) | {"run_id": name}).encode()
    store.write(layout.JOB, job)
    with suppress(FileNotFoundError):
        end = json.loads(store.read(layout.END)) | {"job": hashlib.sha256(job).hexdigest()}
        store.write(layout.END, json.dumps(end).encode())
    retention.rm(run)
    return mapred.open(store.uri)


def driven_by(run: mapred.Run, ref: str | None, seconds_ago: float = 0) -> None:
    """Take away the run's last word and say who drives it."""
    run.store.delete(layout.END)
    value = {"ref": ref, "state": "running", "time": time.time() - seconds_ago}
    run.store.write(layout.HANDLE, json.dumps(value).encode())


def names(root: str) -> set[str]:
    return {path.split("/")[0] for path, _ in open_store(root).list("")}


def test_old_runs_go_and_young_ones_stay(root: str) -> None:
    old, young = make(root, OLD), make(root)
    sizes = [size for _, size in old.store.list("")]
    would = mapred.gc(root, older_than="30d", dry_run=True)
    assert (would.files, would.bytes) == (len(sizes), sum(sizes))
    assert [removal.uri for removal in would.removals] == [old.uri]
    assert "would remove" in str(would)
    assert old.result().count_rows() == 2
    assert mapred.gc(root, older_than=timedelta(days=50)).files == 0
    assert mapred.gc(root).files == 0
    done = mapred.gc(root, older_than="30d")
    assert (done.removals, done.problems) == (would.removals, ())
    assert names(root) == {young.id}
    assert young.audit().ok
    if "://" not in root:
        assert not os.path.exists(old.uri)


def test_a_live_run_is_never_touched(tmp_path: Path) -> None:
    root = str(tmp_path)
    run = make(root, OLD)
    files = run.store.list("")
    me = liveness.own_ref("local")
    stop = "; stop it first: mapred.open"
    for ref, ago, said in (
        (me, OLD, "a thread of this process drives it"),
        ("local:another-machine:17:5.00", 0, stop),
        ("argo:prod/x-17", 0, stop),
    ):
        driven_by(run, ref, ago) if layout.END in dict(run.store.list("")) else run.store.write(
            layout.HANDLE,
            json.dumps({"ref": ref, "state": "running", "time": time.time() - ago}).encode(),
        )
        assert mapred.gc(root, older_than="0s").files == 0
        with pytest.raises(RunError, match=rf"may be running: .*{said}"):
            mapred.rm(run)
    assert {path for path, _ in files} - {path for path, _ in run.store.list("")} == {layout.END}
    run.cancel()
    assert mapred.rm(run).files > 5
    assert names(root) == set()


def test_a_run_elsewhere_is_alive_while_it_commits(tmp_path: Path) -> None:
    run = make(str(tmp_path), OLD)
    driven_by(run, "argo:prod/x-17", OLD)
    # The commits are of this minute.
    assert mapred.gc(tmp_path, older_than="1d").files == 0
    for index in range(2):
        started = {"started": time.time() - OLD}
        tamper(run, layout.commit("map", index), lambda commit, new=started: {**commit, **new})
    assert mapred.gc(tmp_path, older_than="1d").files > 5


@pytest.mark.parametrize("state", ["interrupted", "suspended"])
def test_a_run_whose_driver_is_dead_goes_by_its_age(tmp_path: Path, state: str) -> None:
    run = make(str(tmp_path))
    driven_by(run, f"local:{os.uname().nodename}:{2**22 + 1}:1.00")
    run = mapred.open(run.uri)
    if state == "suspended":
        run.suspend()
    assert run.state == state
    assert mapred.gc(tmp_path, older_than="1d").files == 0
    assert mapred.gc(tmp_path, older_than="0s").files > 5


def test_what_losers_wrote_goes(root: str) -> None:
    run = make(root, OLD)
    store = run.store
    kept = {path for path, _ in store.list("")}
    lost = {
        "map/data/000000-2-0123abcd.arrow",
        "map/files/000001-2-0123abcd/model.bin",
        "map/data/000007-1-0123abcd.arrow",
    }
    for path in lost:
        store.write(path, b"x" * 100)
    done = mapred.gc(root)
    assert (done.files, done.bytes) == (3, 300)
    assert [removal.what for removal in done.removals] == ["losers"]
    assert {path for path, _ in store.list("")} == kept
    assert run.audit().ok


@pytest.mark.parametrize("days", [0, 2])
def test_what_killed_attempts_left_goes(days: int, tmp_path: Path) -> None:
    """Temporary files of the run, and what was staged in a dataset after it was published."""
    root, lake = tmp_path / "runs", tmp_path / "lake"
    run = make(str(root), days * 24 * 3600, write=mapred.write_parquet(lake))
    for path, _ in run.store.list(layout.WRITES):
        run.store.delete(path)  # under the id that it had before it was aged
    RunFolder(run.store).note_write(str(lake), run.store.uri.rpartition("/")[2])
    name = f"_staging/{run.store.uri.rpartition('/')[2]}"
    open_store(str(lake)).write(f"{name}/_000001-2-0123abcd-0000.parquet.part", b"x" * 50)
    Path(run.uri, "map/commits/.tmp-0123456789ab-7-1").write_bytes(b"y" * 30)
    shown = {path: path.read_bytes() for path in lake.glob("*.parquet")}
    told = mapred.gc(root, dry_run=True)
    found = sorted((r.what, r.files, r.bytes) for r in told.removals)
    assert found == ([("losers", 1, 30), ("staged", 1, 50)] if days else [])
    assert mapred.gc(root).bytes == (80 if days else 0)
    assert bool(list(root.rglob(".tmp-*"))) == (not days)
    assert (lake / name).exists() == (not days)
    assert {path: path.read_bytes() for path in lake.glob("*.parquet")} == shown
    assert not days or not mapred.gc(root).files


def test_attempts_that_may_still_win_are_left_alone(tmp_path: Path) -> None:
    run = make(str(tmp_path), 2 * 24 * 3600)
    run.store.write("map/data/000000-2-0123abcd.arrow", b"lost")
    run.store.write("map/data/000001-2-0123abcd.arrow", b"the task is not committed")
    run.store.delete(layout.commit("map", 1))
    assert mapred.gc(tmp_path).files == 1
    assert any(path.startswith("map/data/000001-2-") for path, _ in run.store.list(""))
    young = make(str(tmp_path / "young"))
    young.store.write("map/data/000000-2-0123abcd.arrow", b"lost, but of this minute")
    assert mapred.gc(tmp_path / "young").files == 0


def removed_until(run: mapred.Run, last: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Remove a run, cut off before its deletion number `last`; whether it came to its end."""
    kind, count = type(run.store), itertools.count()
    delete = kind.delete

    def dying(self: Any, path: str) -> None:
        if next(count) == last:
            raise KeyboardInterrupt
        delete(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "delete", dying)
        try:
            mapred.rm(run)
        except KeyboardInterrupt:
            return False
    return True


@pytest.mark.slow
def test_a_removal_that_is_cut_off_leaves_nothing_half_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for last in itertools.count():
        root = str(tmp_path / str(last))
        run = make(root)
        if removed_until(run, last, monkeypatch):
            break
        if last:
            with pytest.raises(RunError, match="holds no run"):
                mapred.open(run.uri)
        else:
            assert mapred.open(run.uri).result().count_rows() == 2
        # It is finished by whoever comes next, however young it is.
        assert [removal.what for removal in mapred.gc(root).removals] == ["rest"]
        assert names(root) == set()
    assert last > 8


def test_a_folder_that_is_being_made_is_left_alone(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    now = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    for path in (f"{now}-0123abcd/function.pkl", "20200101-000000-0123abcd/plan/00000.parquet"):
        store.write(path, b"x")
    for path in ("notes.txt", "20200101-my-data/x", "lake/day=1/x.parquet"):
        store.write(path, b"mine")
    assert [removal.what for removal in mapred.gc(tmp_path).removals] == ["rest"]
    left = {path for path, _ in store.list("")}
    assert left == {
        f"{now}-0123abcd/function.pkl",
        "notes.txt",
        "20200101-my-data/x",
        "lake/day=1/x.parquet",
    }


def test_datasets_stay_and_what_was_never_published_goes(root: str, tmp_path: Path) -> None:
    lake = f"{root}-lake"
    run = make(root, write=mapred.write_parquet(lake))
    target = mapred.write_parquet(lake, mode="append")
    writing.write_values(target, run.id, 5, "1-abc", [table_of(5)])
    store = open_store(lake)
    assert [path for path, _ in store.list("_staging")]
    before = {path for path, _ in store.list("") if path.endswith(".parquet")}
    mapred.rm(run)
    assert not store.list("_staging")
    assert {path for path, _ in store.list("") if path.endswith(".parquet")} == before
    assert len(before) == 2


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    make(str(tmp_path), OLD)
    run = make(str(tmp_path), OLD + 100)
    record = {"uri": "ftp://x/y", "id": run.id}
    run.store.write(layout.write_record("x"), json.dumps(record).encode())
    done = mapred.gc(tmp_path, older_than="30d")
    assert len(done.problems) == 1
    assert "no store for ftp://" in done.problems[0]
    assert names(str(tmp_path)) == {run.id}


@pytest.mark.parametrize(
    "record",
    [
        {"id": "../../victim/thesis"},
        {"id": ".."},
        {"id": ""},
        {"id": "20200101-000000-0123abcd"},
        {"id": 3},
        {},
        [],
    ],
)
def test_a_record_leads_nowhere_else(tmp_path: Path, record: Any) -> None:
    root, victim = tmp_path / "runs", tmp_path / "victim" / "thesis"
    run = make(str(root), OLD)
    victim.mkdir(parents=True)
    (victim / "a.tex").write_text("x")
    (root / "_staging" / "20200101-000000-0123abcd").mkdir(parents=True)
    (root / "_staging" / "20200101-000000-0123abcd" / "_000000-1-a.parquet.part").write_text("x")
    value = {"uri": str(root), **record} if isinstance(record, dict) else record
    run.store.write(layout.write_record("a"), json.dumps(value).encode())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match="delete that file, and remove the run again"):
        mapred.rm(run)
    assert "delete that file" in mapred.gc(root, older_than="1d").problems[0]
    assert sorted(tmp_path.rglob("*")) == before
    Path(run.uri, "writes", "a.json").unlink()
    assert mapred.rm(run).problems == ()


def test_of_a_dataset_only_what_the_run_hid_goes_and_it_is_told(tmp_path: Path) -> None:
    lake, run = tmp_path / "lake", make(str(tmp_path / "runs"))
    hidden = lake / "_staging" / run.id
    for name in ("day=1/_000000-1-0123abcd-0000.parquet.part", "_000001-1-0123abcd-0000.parquet"):
        (hidden / name).parent.mkdir(parents=True, exist_ok=True)
        (hidden / name).write_text("xx")
    (hidden / "thesis.tex").write_text("mine")
    (hidden / "link").symlink_to(tmp_path)
    record = {"uri": str(lake), "id": run.id}
    run.store.write(layout.write_record(run.id), json.dumps(record).encode())
    would = mapred.rm(run, dry_run=True)
    first = would.removals[0]
    assert (first.what, first.files, first.bytes) == ("staged", 2, 4)
    assert str(lake) in str(would)
    assert mapred.rm(run).removals == would.removals
    assert sorted(each.name for each in hidden.rglob("*")) == ["link", "thesis.tex"]
    assert (tmp_path / "runs").exists()


def test_files_that_are_not_mapreds_stay_and_are_told(tmp_path: Path) -> None:
    run = make(str(tmp_path / "runs"))
    folder = Path(run.uri)
    (folder / "thesis.tex").write_text("mine")
    (folder / "map" / "data" / "notes.txt").write_text("mine")
    (folder / "outside").symlink_to(tmp_path)
    (folder / ".tmp-0123456789ab-17-0").write_text("half")
    would = mapred.rm(run, dry_run=True)
    done = mapred.rm(run)
    assert would.removals == done.removals
    assert len(done.problems) == 1
    assert "and 2 other files stay" in done.problems[0]
    left = sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))
    assert left == ["map", "map/data", "map/data/notes.txt", "outside", "thesis.tex"]


@pytest.mark.parametrize(
    "files",
    [
        {"removed.json": "{}"},
        {"removed.json": '{"time": 1}'},
        {"job.json": "{}", "end.json": "{}"},
        {"job.json": "[]", "function.pkl": "x"},
        {"job.json": "", "end.json": "{}", "function.pkl": "x"},
    ],
)
def test_a_stray_file_makes_no_run(tmp_path: Path, files: dict[str, str]) -> None:
    project = tmp_path / "proj"
    project.mkdir()
    for name, text in {**files, "thesis.tex": "mine"}.items():
        (project / name).write_text(text)
    with pytest.raises(
        RunError, match=r"holds no run|is not that of a run|not the folder of a run"
    ):
        mapred.rm(project)
    told = CliRunner().invoke(main, ["rm", str(project), "--yes"])
    assert told.exit_code == 2
    assert sorted(os.listdir(project)) == sorted([*files, "thesis.tex"])


def test_a_run_behind_a_link_is_not_removed(tmp_path: Path) -> None:
    run = make(str(tmp_path / "runs"))
    link = tmp_path / "runs" / "20200101-000000-0123abcd"
    link.symlink_to(run.uri)
    with pytest.raises(RunError, match="is a link to"):
        mapred.rm(link)
    assert mapred.gc(tmp_path / "runs", older_than="1s").files == 0
    assert run.result().count_rows() == 2
    for nothing in ("", Path("")):
        with pytest.raises(RunError):
            mapred.rm(nothing)


@pytest.mark.parametrize("text", ["30x", "d", "-1d", "1 month", ""])
def test_ages_that_are_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(PlanError, match="older_than="):
        mapred.gc(tmp_path, older_than=text)


def test_the_command_line(tmp_path: Path) -> None:
    root = str(tmp_path)
    old, young = make(root, OLD), make(root)

    def call(*words: str) -> Any:
        return CliRunner().invoke(main, [*words, "--root", root])

    told = call("gc", "--older-than", "30d", "--dry-run")
    assert told.exit_code == 0
    assert "would remove" in told.output
    assert old.id in told.output
    assert names(root) == {old.id, young.id}
    for words in (["gc", "--older-than", "30d"], ["rm", young.id], ["rm", "no such run"]):
        told = call(*words)
        assert (told.exit_code, "there is no terminal to ask at" in told.output) == (2, True)
    assert names(root) == {old.id, young.id}
    value = json.loads(call("gc", "--older-than", "30d", "--json", "--yes").stdout)
    assert Counter(removal["what"] for removal in value["removals"]) == {"run": 1}
    assert value["bytes"] > 0
    assert names(root) == {young.id}
    assert call("rm", young.id[:15], "--dry-run").exit_code == 0
    assert call("rm", young.id[:15], "--yes").exit_code == 0
    assert names(root) == set()
    assert "no run 'last'" in call("rm", "last", "--yes").output
    assert call("gc", "--older-than", "soon", "--yes").exit_code == 2


@pytest.mark.parametrize("answer", ["n", "y"])
@pytest.mark.slow
def test_at_a_terminal_it_asks(tmp_path: Path, answer: str) -> None:
    root = str(tmp_path)
    run = make(root)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mapred", "rm", run.id, "--root", root]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    os.close(theirs)
    os.write(ours, answer.encode() + b"\n")
    output, _ = process.communicate()
    os.close(ours)
    assert "Remove them?" in output
    assert names(root) == ({run.id} if answer == "n" else set())
