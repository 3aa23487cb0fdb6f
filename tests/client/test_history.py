"""Finding runs again: the list of a root, by id, the last one; handles that share a live run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

import mapred
from mapred.cli import main
from mapred.display.summary import pace, timeline
from mapred.functions import parameters
from mapred.model import layout
from mapred.model.status import RunStatus, TaskTime
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder

QUIET: dict[str, Any] = {"progress": "none"}


def test_opened_by_id_its_start_and_last(tmp_path: Path) -> None:
    first = mapred.run(lambda x: x, mapred.items([1]), **QUIET)
    second = mapred.run(lambda x: x, mapred.items([2]), **QUIET)
    other = mapred.run(lambda x: x, mapred.items([3]), root=tmp_path, **QUIET)
    assert mapred.open("last").id == second.id
    assert mapred.open(first.id).result() == [1]
    assert mapred.open(first.id[:-1]).result() == [1]
    assert mapred.open(first.uri).result() == [1]
    assert mapred.open("last", root=tmp_path).id == mapred.open(other.id, tmp_path).id == other.id
    assert mapred.open(Path(other.uri)).id == other.id
    for wrong in ("nope", other.id, "2", tmp_path / "gone", "/nowhere/at/all"):
        with pytest.raises(mapred.RunError, match=r"no run|holds no run|runs begin with"):
            mapred.open(wrong)


def test_what_names_no_run(tmp_path: Path) -> None:
    for wrong in ("", 3, None):
        with pytest.raises(mapred.RunError, match="run="):
            mapred.open(wrong)  # type: ignore[arg-type]
    with pytest.raises(mapred.BackendError, match="limit=0"):
        mapred.runs(limit=0)


def test_what_else_lies_in_a_root(tmp_path: Path) -> None:
    run = mapred.run(abs, mapred.items([1]), root=tmp_path, **QUIET)
    for number, text in enumerate(["{", "[]", '{"stages": [], "backend": "local"}', "\udcff"]):
        folder = tmp_path / f"2026 {number}"
        folder.mkdir()
        (folder / "job.json").write_text(text, errors="surrogateescape")
        os.utime(folder / "job.json", (0, 0))
    (tmp_path / "folder" / "job.json").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    known = mapred.runs(tmp_path)
    assert [entry.state for entry in known] == ["succeeded", *["unreadable"] * 4]
    assert "unreadable" in repr(known)
    assert mapred.open("last", tmp_path).uri == run.uri
    job = mapred.job(abs, mapred.items([2]))
    named = job.submit(root=tmp_path, run_id="a-name-of-its-own").wait()
    assert mapred.open("last", tmp_path).uri == named.uri


def test_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = mapred.run(lambda x: x, mapred.items([1]), root=tmp_path, **QUIET)
    monkeypatch.chdir(tmp_path)
    assert mapred.open(run.id).uri == run.uri
    monkeypatch.chdir("/")
    with pytest.raises(mapred.RunError, match=r"mapred\.runs\(\)"):
        mapred.open(run.id)


def simulate(x: int, city: str, date: datetime | None = None, scale: float = 1.0) -> float:
    return x * scale


def test_runs_are_a_table(tmp_path: Path) -> None:
    assert repr(mapred.runs(tmp_path)) == f"no runs in {tmp_path}"
    assert "no runs" in mapred.runs(tmp_path)._repr_html_()
    job = mapred.job(simulate, mapred.items(range(3)), name="<b>")
    made = job.bind(city="St. Gallen", date=date(2026, 3, 1), scale=2.5).run(root=tmp_path, **QUIET)
    with pytest.raises(mapred.RunError):
        mapred.run(lambda x: 1 / 0, mapred.items([0]), root=tmp_path, attempts=1, **QUIET)
    runs = mapred.runs(tmp_path)
    failed, succeeded = runs
    assert [entry.state for entry in runs] == ["failed", "succeeded"]
    assert (len(runs), runs[1].id, runs[:1].entries) == (2, made.id, (failed,))
    assert dict(succeeded.parameters) == {
        "city": "St. Gallen", "date": date(2026, 3, 1), "scale": 2.5
    }  # fmt: skip
    assert succeeded.dataset == "3 items"
    assert succeeded.seconds is not None
    assert 0 < succeeded.seconds < 60
    text = repr(runs)
    assert "city='St. Gallen' date=2026-03-01 scale=2.5" in text
    assert (
        text.splitlines()[-1]
        == f"failed: import mapred; run = mapred.open({failed.uri!r}).resume()"
    )
    page = runs._repr_mimebundle_()["text/html"]
    assert "&lt;b&gt;" in page
    assert "<b>parameters</b>" in page
    frame = runs.to_pandas()
    assert list(frame["parameters.city"])[1] == "St. Gallen"
    assert frame["created"][0].tzinfo is not None
    assert len(mapred.runs(tmp_path, limit=1)) == 1


def test_parameters_are_recorded_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path / "runs"))
    (tmp_path / "nightly.py").write_text(
        "import mapred\ndef f(x, city, date, n): return x\njob = mapred.job(f, mapred.items([1]))\n"
    )
    words = ["--param", "city=Bern", "--param", "date=2026-03-01T03:00", "--param", "n=3"]
    made = CliRunner().invoke(main, ["run", "nightly.py", "--progress", "none", *words])
    assert made.exit_code == 0, made.output
    run = mapred.open("last")
    when = datetime(2026, 3, 1, 3, tzinfo=timezone.utc)
    assert parameters.from_json(run.job.parameters) == {"city": "Bern", "date": when, "n": 3}
    assert run.status().parameters["date"] == when
    shown = "city=Bern date=2026-03-01T03:00+00:00 n=3"
    for words in (["ls"], ["show", "last"]):
        assert shown in CliRunner().invoke(main, words).output
    assert shown in repr(mapred.runs())
    assert shown in run._repr_mimebundle_()["text/html"]
    for words in (["ls"], ["show", "last"]):
        told = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
        told = told[0] if isinstance(told, list) else told
        assert told["parameters"]["date"] == {"datetime": "2026-03-01T03:00:00+00:00"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "x"),
        ("DB_PASSWORD", 1234),
        ("apiKey", "x"),
        ("aws_secret_access_key", "x"),
        ("token", "abc"),
        ("where", "postgres://me:pw@host/db"),
        ("where", "https://host/x?X-Amz-Signature=abc"),
        ("who", "AKIAIOSFODNN7EXAMPLE"),
        ("who", "ghp_" + "a" * 36),
    ],
)
def test_secrets_are_no_parameters(name: str, value: Any) -> None:
    job = mapred.job(lambda x, **more: x, mapred.items([1]))
    with pytest.raises(mapred.PlanError, match="looks like a secret") as caught:
        job.bind(**{name: value})
    assert str(value) not in str(caught.value)
    job.bind(
        token_count=3, author="x", sort_key="id", secret_name="db", where="s3://b/x", at="1:30@x"
    )


def slow(x: int) -> int:
    time.sleep(0.2)
    return x


def test_a_live_run_opened_twice() -> None:
    run = mapred.submit(slow, mapred.items(range(40)), per_task=1)
    other = mapred.open(run.uri)
    assert other.state == run.state == mapred.runs()[0].state == "running"
    with pytest.raises(
        mapred.RunError, match=r"takes fn= only when it is not; to stop it:\nimport mapred"
    ) as at:
        other.resume(lambda x: x, **QUIET)
    exec(str(at.value).splitlines()[-1], {})
    assert run.state == other.state == mapred.open("last").state == "cancelled"
    before = len(RunFolder(run.store).list_committed("map"))
    time.sleep(0.5)
    assert len(RunFolder(run.store).list_committed("map")) == before < 40
    resumed = other.resume(lambda x: -x, **QUIET)
    assert resumed.state == run.state == "succeeded"
    assert run.result()[39] == -39


def test_a_second_handle_follows_and_waits() -> None:
    run = mapred.submit(slow, mapred.items(range(4)), per_task=1)
    followed: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda: followed.append(mapred.open(run.uri).resume(**QUIET).result())
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert mapred.open("last").result() == [0, 1, 2, 3]
    for thread in threads:
        thread.join()
    assert followed == [[0, 1, 2, 3]] * 2
    assert sum(stage.done for stage in run.status().stages) == 4


class Refuses:
    """A backend that starts nothing."""

    name = "refuses"
    arguments: ClassVar[dict[str, Any]] = {}

    def prepare(self) -> None: ...

    def submit(self, store: Any, job: Any, digest: str) -> Any:
        raise mapred.BackendError("no cluster here")


def test_a_refused_submit_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(mapred.BackendError, match="no cluster here"):
        mapred.submit(slow, mapred.items([1]), backend=Refuses(), root=tmp_path)
    assert list(tmp_path.glob("2*")) == []
    with pytest.raises(mapred.BackendError):
        mapred.submit(
            slow,
            mapred.items([1]),
            root=tmp_path,
            backend=mapred.Argo(kubeconfig="/nowhere", image="x"),
        )
    assert list(tmp_path.glob("2*")) == []


def test_a_refused_resume_changes_no_state() -> None:
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(lambda x: 1 / x, mapred.items([0]), attempts=1, **QUIET)
    run = mapred.open(caught.value.run.uri)
    with pytest.raises(mapred.BackendError, match="no cluster here"):
        run.resume(backend=Refuses(), **QUIET)
    assert run.state == "failed"
    assert caught.value.run.resume(lambda x: x, **QUIET).result() == [0]
    assert run.state == "succeeded"


def test_durations_are_the_same_live_and_reopened() -> None:
    run = mapred.run(slow, mapred.items([1]), **QUIET)
    live, opened = run.status(), mapred.open(run.uri).status()
    assert (live.started, live.finished) == (opened.started, opened.finished)
    assert pace(live).elapsed == mapred.runs()[0].seconds
    assert live.started <= min(task.started for task in live.times)


KILLED = """
import os, mapred
me = os.getpid()
options = {"per_task": 1, "backend": "inline", "progress": "none"}
mapred.run(lambda x: x and os.kill(me, 9), mapred.items([0, 1]), **options)
"""


def test_a_killed_run_worked_until_its_last_sign_of_life(tmp_path: Path) -> None:
    env = {**os.environ, "MAPRED_ROOT": str(tmp_path)}
    subprocess.run([sys.executable, "-c", KILLED], env=env, check=False)
    (entry,) = mapred.runs(tmp_path)
    assert (entry.state, entry.done) == ("interrupted", 1)
    run = mapred.open("last", tmp_path)
    assert entry.seconds == pace(run.status()).elapsed
    assert entry.seconds is not None
    assert entry.seconds > 0
    # Killed again, right after it went on: the pause is no more than that.
    known = RunFolder(run.store).start()
    last = run.status().finished
    assert last is not None
    again = starts.Start(known.ref, "running", last + 100, None, ((last, last + 100),))
    RunFolder(run.store).write_start(again)
    assert mapred.runs(tmp_path)[0].seconds == pytest.approx(entry.seconds)


def test_pauses_are_told_apart() -> None:
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(lambda x: 1 / (x - 1), mapred.items(range(3)), per_task=1, attempts=1, **QUIET)
    run = caught.value.run
    time.sleep(1.2)
    resumed = mapred.open(run.uri).resume(slow, **QUIET)
    ((begin, end),) = resumed.status().pauses
    assert 1.2 <= end - begin < 10
    for status in (resumed.status(), mapred.open(run.uri).status(), run.status()):
        elapsed = pace(status).elapsed
        assert elapsed is not None
        assert status.finished is not None
        assert elapsed == pytest.approx(status.finished - status.started - (end - begin))
        line = timeline(status, 32)
        assert line is not None
        assert line.seconds <= elapsed
    assert " paused)" in str(resumed)
    assert mapred.runs()[0].seconds == pytest.approx(pace(run.status()).elapsed)


def test_a_timeline_without_its_pauses() -> None:
    times = tuple(
        TaskTime("map", n, start, 1.0, "w") for n, start in enumerate((0.0, 1.0, 102.0, 503.5))
    )
    known = RunStatus("r", "u", "n", "succeeded", (), 0.0, 504.5, times=times)
    line = timeline(RunStatus(**{**vars(known), "pauses": ((2.0, 102.0), (103.0, 503.0))}), 32)
    assert line is not None
    assert line.start.tolist() == [0.0, 1.0, 2.0, 3.5]
    assert line.seconds == 4.5


def test_an_old_folder_is_still_read() -> None:
    run = mapred.run(slow, mapred.items([1]), **QUIET)
    new = ("submitted", "dataset", "parameters", "code")
    job = {k: v for k, v in json.loads(run.store.read(layout.JOB)).items() if k not in new}
    run.store.write(layout.JOB, json.dumps(job).encode())
    run.store.write(layout.END, b'{"state": "succeeded", "message": ""}')
    start = vars(RunFolder(run.store).start())
    old = {k: start[k] for k in ("ref", "state", "time")}
    run.store.write(layout.HANDLE, json.dumps(old).encode())
    opened = mapred.open(run.uri)
    assert opened.result() == [1]
    assert opened.status().finished is not None
    assert mapred.runs()[0].seconds is None
    assert opened.audit().functions[0].name == "slow"
