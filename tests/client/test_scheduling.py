"""Jobs that start by the clock: what is stored, what a firing does with it, who is told."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pytest

import mapred
from mapred.backends import argo
from mapred.backends.schedules import Schedule
from mapred.client.scheduling import Template, firing
from mapred.errors import BackendError, PlanError
from mapred.functions import transport
from mapred.model import layout
from mapred.model.retries import FAILED, MISMATCH
from mapred.storage import open_store

FIRST = "2026-03-01T02:00:00Z"
WHEN = datetime(2026, 3, 1, 2, tzinfo=timezone.utc)


def dated(lines: Any, city: str, date: date) -> str:
    return f"{city} {date:%d %H}: {' '.join(lines)}"


def fails(lines: Any) -> None:
    raise ValueError("bad day")


@dataclass(frozen=True)
class Clock:
    """A backend that keeps schedules in this process, and runs inline."""

    name: str = "inline"
    kept: dict[str, Schedule] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        return {}

    def prepare(self) -> None:
        return

    def submit(self, store: Any, job: Any, digest: str) -> Any:
        raise NotImplementedError

    def schedule(self, wanted: Schedule, asked: Any, packages: tuple[str, ...]) -> None:
        self.kept[wanted.name] = wanted

    def schedules(self) -> list[Schedule]:
        return list(self.kept.values())

    def unschedule(self, name: str) -> None:
        del self.kept[name]


@pytest.fixture
def logs(tmp_path: Path) -> str:
    for day in ("2026-03-01", "2026-03-02"):
        (tmp_path / f"{day}.txt").write_text(f"line of {day}\n")
    return f"{tmp_path}/{{date:%Y-%m-%d}}.txt"


def fire(wanted: Schedule, scheduled: str = FIRST) -> int:
    params = json.dumps(dict(wanted.parameters))
    return firing.main(wanted.root, wanted.name, wanted.digest, scheduled, "-", params)


def test_a_firing_reads_the_files_of_its_day(logs: str, tmp_path: Path) -> None:
    clock = Clock()
    root = str(tmp_path / "runs")
    wanted = mapred.schedule(
        mapred.job(dated, logs),
        "0 3 * * *",
        timezone="Europe/Berlin",
        params={"city": "Bern"},
        backend=clock,
        root=root,
    )
    assert mapred.schedules(backend=clock) == [wanted]
    assert fire(wanted) == 0
    assert fire(wanted, "2026-03-02T02:00:00Z") == 0
    found = [
        mapred.open(f"{root}/{firing.run_id('dated', WHEN.replace(day=day))}").result()
        for day in (1, 2)
    ]
    assert found == [["Bern 01 03: line of 2026-03-01"], ["Bern 02 03: line of 2026-03-02"]]
    mapred.unschedule("dated", backend=clock)
    assert mapred.schedules(backend=clock) == []


def counts(table: pa.Table) -> int:
    return int(table.num_rows)


def test_a_scheduled_job_over_a_run_names_it_and_what_its_function_gets(tmp_path: Path) -> None:
    frames = mapred.run(
        lambda n: pd.DataFrame({"n": [n, n]}), [1], backend="inline", progress="none"
    )
    plain = mapred.run(abs, [-1], backend="inline", progress="none")
    for run, function, as_, result in ((frames, counts, "table", [2]), (plain, fails, None, None)):
        root = str(tmp_path / function.__name__)
        job = mapred.job(function, run)
        wanted = mapred.schedule(job, "0 3 * * *", backend=Clock(), root=root)
        stored = firing.load(root, wanted.name, wanted.digest).job.dataset
        assert (stored.as_, stored.runs[0].run_id) == (as_, run.id)
        assert fire(wanted) == (FAILED if result is None else 0)
        if result is not None:
            name = firing.run_id(function.__name__, WHEN)
            assert mapred.open(f"{root}/{name}").result() == result


def test_a_firing_that_is_started_again_takes_up_its_run(logs: str, tmp_path: Path) -> None:
    root = str(tmp_path / "runs")
    job = mapred.job(dated, logs)
    wanted = mapred.schedule(job, "0 3 * * *", params={"city": "Bern"}, backend=Clock(), root=root)
    store = open_store(f"{root}/{firing.run_id('dated', WHEN)}")
    assert fire(wanted) == 0
    before = store.list("")
    assert fire(wanted) == 0
    assert store.list("") == before
    # A pod that was lost before the end: what is missing is done, under the same name.
    store.delete(layout.END)
    store.delete(layout.commit("map", 0))
    assert fire(wanted) == 0
    assert mapred.open(store.uri).result() == ["Bern 01 02: line of 2026-03-01"]


def test_a_run_that_failed_fails_its_firing(logs: str, tmp_path: Path, capsys: Any) -> None:
    job = mapred.job(fails, logs, attempts=1)
    wanted = mapred.schedule(job, "0 3 * * *", backend=Clock(), root=str(tmp_path / "runs"))
    assert fire(wanted) == FAILED
    assert "ValueError: bad day" in capsys.readouterr().err
    assert fire(wanted, "2026-05-01T02:00:00Z") == FAILED  # No files on that day.


def test_a_stored_job_that_someone_changed_is_refused(
    logs: str, tmp_path: Path, capsys: Any
) -> None:
    root = str(tmp_path / "runs")
    job = mapred.job(dated, logs)
    wanted = mapred.schedule(job, "0 3 * * *", params={"city": "Bern"}, backend=Clock(), root=root)
    other = transport.dump(Template(mapred.job(fails, logs), "inline", {}, "UTC"))
    open_store(root).write(layout.schedule(wanted.name, wanted.digest), other)
    assert fire(wanted) == MISMATCH
    assert "its SHA-256 differs" in capsys.readouterr().err
    assert [p for p, _ in open_store(root).list("") if p.endswith(layout.JOB)] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"cron": "0 3 * *"}, "must have five fields"),
        ({"cron": []}, "name at least one time"),
        ({"timezone": "Europe/Bern"}, "is not known here"),
        ({"params": {}}, "has a place for 'city'|must|nothing|city"),
        ({"params": {"city": "x", "town": "y"}}, "nothing takes the parameter 'town'"),
        ({"params": {"city": "x", "date": "2026-01-01"}}, "date is the time for which"),
        ({"params": {"city": date(2026, 1, 1)}}, "must be a text, a number"),
        ({"on_failure": "ftp://x"}, "must be an http:// or https:// URL"),
        ({"on_failure": "https://me:word@x"}, "without a password"),
        ({"on_failure": "word"}, "a URL, 'secret/key', or a list"),
        ({"backend": "local"}, "'local' has no schedules"),
    ],
)
def test_what_cannot_be_scheduled(
    logs: str, tmp_path: Path, arguments: dict[str, Any], said: str
) -> None:
    values = {"cron": "0 3 * * *", "params": {"city": "x"}, "backend": Clock(), **arguments}
    source = logs.replace("date:", "date:").replace(".txt", "{city}.txt")
    job = mapred.job(dated, source)
    with pytest.raises((PlanError, BackendError), match=said):
        mapred.schedule(job, values.pop("cron"), root=str(tmp_path), **values)


class Hook(http.server.BaseHTTPRequestHandler):
    said: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        return


@pytest.fixture
def hook() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret-path"
    server.shutdown()
    thread.join()
    server.server_close()


def notify(url: str) -> subprocess.CompletedProcess[str]:
    text = Path(argo.__file__).with_name("pod_scripts").joinpath("notice.py").read_text()
    env = {"MAPRED_WEBHOOK": url, "MAPRED_SCHEDULE": "nightly", "MAPRED_STATUS": "Failed"}
    return subprocess.run(
        [sys.executable, "-I", "-c", text], env=env, capture_output=True, text=True, timeout=60
    )


def test_a_webhook_is_told(hook: str) -> None:
    done = notify(hook)
    assert done.returncode == 0, done.stderr
    (said,) = Hook.said
    assert said["schedule"] == "nightly"
    assert "nightly" in said["text"]
    assert "Failed" in said["text"]


def test_a_webhook_that_is_not_there_keeps_its_address(hook: str) -> None:
    done = notify("http://127.0.0.1:9/secret-path")
    assert done.returncode == 75
    assert "could not be called" in done.stderr
    assert "secret-path" not in done.stderr
