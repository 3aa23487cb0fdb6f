"""Lists of runs that show some of them: by state, job and time, without reading the others."""

from __future__ import annotations

import json
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.client.filtering import read_moment
from mapred.model import layout
from mapred.model.rules import Unfit
from mapred.runfolder.run_records import RunRecords
from mapred.storage import open_store
from mapred.storage.object_store import ObjectStore

QUIET: dict[str, Any] = {"progress": "none", "backend": "inline"}


def made(root: Path | str, name: str, run_id: str, created: str = "") -> None:
    """A run that was made at a time, by its id: one that has just succeeded, with another date."""
    job = mapred.job(abs, mapred.items([1]), name=name)
    run = job.submit(root=root, run_id=run_id, backend="inline").wait()
    moment = time.strptime((created or run_id)[:15], "%Y%m%d-%H%M%S")
    record = json.loads(run.store.read(layout.JOB))
    record["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    run.store.write(layout.JOB, json.dumps(record).encode())
    run.store.write(layout.END, b'{"state": "succeeded", "message": ""}')


def invert(x: int) -> float:
    return 1 / x


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, created in (
        ("nightly-de", "20260301-000000-a"),
        ("nightly-ch", "20260302-000000-a"),
        ("train", "20260303-000000-a"),
    ):
        made(tmp_path, name, created)
    with pytest.raises(mapred.RunError):
        mapred.run(invert, mapred.items([0]), root=tmp_path, attempts=1, **QUIET)
    return tmp_path


def names(runs: Any) -> list[str]:
    return [entry.name for entry in runs]


def test_runs_by_state_job_and_time(root: Path) -> None:
    assert names(mapred.runs(root)) == ["invert", "train", "nightly-ch", "nightly-de"]
    assert names(mapred.runs(root, state="failed")) == ["invert"]
    assert len(mapred.runs(root, state=["failed", "succeeded"])) == 4
    assert names(mapred.runs(root, job="nightly*")) == ["nightly-ch", "nightly-de"]
    assert names(mapred.runs(root, job="train")) == ["train"]
    utc = timezone.utc
    for since in (
        "2026-03-02T00:00:00Z",
        datetime(2026, 3, 2, tzinfo=utc),
        "2026-03-02T00:00+00:00",
    ):
        assert names(mapred.runs(root, state="succeeded", since=since)) == ["train", "nightly-ch"]
    assert names(mapred.runs(root, since="1h")) == names(
        mapred.runs(root, since=timedelta(hours=1))
    )
    assert names(mapred.runs(root, since="1h")) == ["invert"]
    assert names(mapred.runs(root, 1, job="nightly*")) == ["nightly-ch"]


def test_older_runs_are_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    before = RunRecords.job_data
    monkeypatch.setattr(RunRecords, "job_data", lambda self: read.append(self.uri) or before(self))
    assert names(mapred.runs(root, since="2026-03-03T00:00:00Z")) == ["invert", "train"]
    assert len(read) == 2
    read.clear()
    assert len(mapred.runs(root, limit=1)) == len(read) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"state": "done"}, "state='done' must be one or several of running, queued"),
        ({"state": ()}, r"state=\(\) must be"),
        ({"job": ""}, "job=''"),
        ({"since": "yesterday"}, "since='yesterday' must be a date or time such as"),
        ({"since": "2026-13-01"}, "since='2026-13-01' must be .*; month must be in 1..12"),
        ({"since": 5}, "since=5 must be"),
    ],
)
def test_a_filter_that_fits_nothing_is_one_clear_error(
    wrong: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(mapred.BackendError, match=message):
        mapred.runs(tmp_path, **wrong)


def test_moments() -> None:
    now = time.time()
    assert abs(read_moment("90m") - (now - 5400)) < 5
    assert read_moment(date(2026, 3, 1)) == read_moment("2026-03-01")
    assert read_moment("2026-03-01") == datetime(2026, 3, 1).astimezone().timestamp()
    with pytest.raises(Unfit):
        read_moment("")


def test_nothing_that_matches_says_what_was_looked_for(root: Path) -> None:
    found = mapred.runs(root, state=("queued", "running"), job="x*")
    assert repr(found) == f"no runs in {root} with state=queued|running, job=x*"
    assert "job=x*" in found._repr_html_()


def test_an_entry_opens_its_run(root: Path) -> None:
    assert mapred.runs(root)[1].open().result() == [1]
    assert mapred.runs(root, state="succeeded")[1:][0].open().job.name == "nightly-ch"


def test_a_long_table_shows_the_newest(tmp_path: Path) -> None:
    for number in range(43):
        made(tmp_path, f"job-{number}", f"20260301-0000{number:02}")
    runs = mapred.runs(tmp_path)
    assert repr(runs).splitlines()[-1] == "… and 3 older, which the slice [40:] shows"
    assert "and 3 older" in runs._repr_html_()
    assert "job-2 " not in repr(runs)
    assert names(runs[40:]) == ["job-2", "job-1", "job-0"]
    assert "older" not in repr(runs[40:])
    assert len(runs.to_pandas()) == 43


@pytest.mark.slow
def test_runs_in_a_bucket_are_found_by_their_folders(
    s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(s3_root, "old", "20260301-000000-a")
    made(s3_root, "named", "nightly", "20260302-000000")
    made(s3_root, "new", "20260303-000000-a")
    open_store(s3_root).write("other/table.parquet", b"")
    listed: list[str] = []
    before = ObjectStore.list
    monkeypatch.setattr(
        ObjectStore, "list", lambda self, prefix: listed.append(prefix) or before(self, prefix)
    )
    assert names(mapred.runs(s3_root)) == ["new", "named", "old"]
    assert names(mapred.runs(s3_root, 2)) == ["new", "named"]
    assert names(mapred.runs(s3_root, since="2026-03-02T00:00:00Z")) == ["new", "named"]
    assert listed == [], "the files of runs were listed"
    assert mapred.open("20260301", s3_root).job.name == "old"
    assert mapred.open("nightly", s3_root).job.name == "named"
    for wrong in ("oth", "2026"):
        with pytest.raises(mapred.RunError, match=r"no run 'oth'|2 runs begin with '2026'"):
            mapred.open(wrong, s3_root)
