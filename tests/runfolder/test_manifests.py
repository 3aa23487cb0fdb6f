"""The end of a run: the list of results is what the commits say, and is made again where it is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.model import layout
from mapred.runfolder import manifests
from mapred.runfolder.folder import RunFolder
from mapred.storage.local import LocalStore

RUN: dict[str, Any] = {"backend": "inline", "progress": "none"}


@pytest.fixture
def run(tmp_path: Path) -> mapred.Run:
    return mapred.run(str, mapred.items(range(3)), root=tmp_path, **RUN)


SPOILT = pytest.mark.parametrize("data", [None, b"", b"\0" * 300, b'{"stage":"map","ta', b"[]"])


def spoil(run: mapred.Run, path: str, data: bytes | None) -> None:
    if data is None:
        run.store.delete(path)
    else:
        run.store.write(path, data)


@SPOILT
def test_a_lost_list_is_made_again_from_the_commits(run: mapred.Run, data: bytes | None) -> None:
    before = run.store.read(layout.MANIFEST)
    spoil(run, layout.MANIFEST, data)
    (problem,) = run.audit().problems
    assert problem.kind == "missing"
    assert mapred.open(run.uri).result() == ["0", "1", "2"]
    assert run.store.read(layout.MANIFEST) == before
    assert run.audit().ok
    spoil(run, layout.MANIFEST, data)
    assert mapred.open(run.uri).resume(**RUN).result() == ["0", "1", "2"]
    assert run.store.read(layout.MANIFEST) == before


def test_a_changed_list_is_refused_and_resume_makes_it_again(run: mapred.Run) -> None:
    before = run.store.read(layout.MANIFEST)
    manifest = json.loads(before)
    manifest["tasks"].reverse()
    run.store.write(layout.MANIFEST, json.dumps(manifest).encode())
    with pytest.raises(mapred.RunError, match="is not what it was when the run ended") as caught:
        run.result()
    assert not run.audit().ok
    exec(str(caught.value).splitlines()[-1], {})
    assert run.store.read(layout.MANIFEST) == before
    assert run.result() == ["0", "1", "2"]
    assert run.audit().ok


def test_a_lost_list_and_a_lost_commit_are_a_task_to_run_again(run: mapred.Run) -> None:
    run.store.delete(layout.MANIFEST)
    run.store.delete(layout.commit("map", 1))
    with pytest.raises(mapred.RunError, match="task 1 of map was never committed"):
        run.result()
    assert mapred.open(run.uri).resume(**RUN).result() == ["0", "1", "2"]
    assert run.audit().ok


def test_a_commit_that_says_otherwise_makes_no_list(run: mapred.Run) -> None:
    other = mapred.run(str, mapred.items([7, 8, 9]), root=Path(run.uri).parent, **RUN)
    run.store.write(layout.commit("map", 1), other.store.read(layout.commit("map", 1)))
    run.store.delete(layout.MANIFEST)
    with pytest.raises(mapred.RunError, match="the commits no longer match it"):
        run.result()
    assert not run.audit().ok


@SPOILT
def test_a_last_word_that_is_lost_is_said_again(run: mapred.Run, data: bytes | None) -> None:
    spoil(run, layout.END, data)
    assert [problem.kind for problem in run.audit().problems] == ["unfinished"]
    with pytest.raises(mapred.RunError, match="interrupted"):
        mapred.open(run.uri).result()
    assert mapred.open(run.uri).resume(**RUN).result() == ["0", "1", "2"]
    assert run.audit().ok


def test_a_changed_job_is_named_and_not_run(run: mapred.Run) -> None:
    job = json.loads(run.store.read(layout.JOB))
    run.store.write(layout.JOB, json.dumps({**job, "seed": 2}).encode())
    opened = mapred.open(run.uri)
    for call in (opened.result, opened.resume, opened.to_pandas):
        with pytest.raises(mapred.RunError, match=r"job\.json is not what it was when the run"):
            call()
    assert "changed: job.json" in str(opened.audit())


class Refusing(LocalStore):
    """A store that says once that a name is taken, and put nothing."""

    def __init__(self, root: str, path: str) -> None:
        super().__init__(root)
        self.refused = path

    def put_if_absent(self, path: str, data: bytes) -> bool:
        if path == self.refused:
            self.refused = ""
            return False
        return super().put_if_absent(path, data)


def test_a_list_that_was_falsely_refused_is_put_again(run: mapred.Run) -> None:
    before = run.store.read(layout.MANIFEST)
    for path in (layout.END, layout.MANIFEST):
        run.store.delete(path)
    store = Refusing(run.uri, layout.MANIFEST)
    assert RunFolder(store).finish(run.job, "succeeded", "") == "succeeded"
    assert store.read(layout.MANIFEST) == before
    assert run.result() == ["0", "1", "2"]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"stage":"map","tasks":[]}'])
def test_what_lies_in_the_place_of_a_list_is_replaced(run: mapred.Run, data: bytes) -> None:
    before = run.store.read(layout.MANIFEST)
    run.store.delete(layout.END)
    run.store.write(layout.MANIFEST, data)
    RunFolder(run.store).finish(run.job, "succeeded", "")
    assert run.store.read(layout.MANIFEST) == before
    assert run.audit().ok


def test_a_job_that_vanished_ends_no_run_as_succeeded(run: mapred.Run) -> None:
    for path in (layout.END, layout.JOB):
        run.store.delete(path)
    with pytest.raises(mapred.BackendError, match=r"job\.json is gone"):
        RunFolder(run.store).finish(run.job, "succeeded", "")
    assert RunFolder(run.store).end() is None


def test_values_too_large_for_the_list_are_those_of_the_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "_INLINE_TOTAL", 30)
    run = mapred.run(str, mapred.items(range(3)), root=tmp_path, **RUN)
    assert run.result() == ["0", "1", "2"]
    other = mapred.run(str, mapred.items([7, 8, 9]), root=tmp_path, **RUN)
    run.store.write(layout.commit("map", 2), other.store.read(layout.commit("map", 2)))
    with pytest.raises(mapred.RunError, match="is not the one that the run ended with"):
        run.result()


def test_a_run_of_an_earlier_version_has_no_digests(run: mapred.Run) -> None:
    word = json.loads(run.store.read(layout.END))
    word = {key: value for key, value in word.items() if key not in ("job", "manifest")}
    run.store.write(layout.END, json.dumps(word).encode())
    assert run.result() == ["0", "1", "2"]
    assert run.audit().ok
