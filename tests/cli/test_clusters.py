"""The commands that speak to a cluster, as far as they go without one."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from testbed.servers import argo_server

import mapred
from mapred.cli import jobs, main, references
from mapred.cli.datasets import Words
from mapred.errors import MapredError

JOB = """
import mapred

def dated(lines, city, date):
    return f"{city} {date:%d}: {len(list(lines))}"

job = mapred.job(dated, "logs/{date:%Y-%m-%d}.txt")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/2026-03-01.txt").write_text("one\ntwo\n")
    (tmp_path / "nightly_job.py").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_parameters_are_typed() -> None:
    words = ["n=7", "x=0.5", "zip=01234", 'text="7"', "on=true", "city=Bern", "date=2026-03-01"]
    assert references.parameters_of(words) == {
        "n": 7,
        "x": 0.5,
        "zip": "01234",
        "text": "7",
        "on": True,
        "city": "Bern",
        "date": datetime(2026, 3, 1, tzinfo=timezone.utc),
    }
    for word, said in (("n", "NAME=VALUE"), ("date=today", "write a day or a time")):
        with pytest.raises(MapredError, match=said):
            references.parameters_of([word])


def test_a_job_of_a_module_takes_parameters(folder: Path) -> None:
    params = ["date=2026-03-01", "city=Bern"]
    bound = jobs.job_of(Words("nightly_job:job", [], None, {}, {}, params))
    assert bound.run(backend="inline", progress="none").result() == ["Bern 01: 2"]


def test_a_run_takes_parameters(folder: Path) -> None:
    words = ("--param", "date=2026-03-01", "--param", "city=Bern", "--json")
    done = CliRunner().invoke(main, ["run", "nightly_job.py", "--workers", "1", *words])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["result"] == ["Bern 01: 2"]
    done = call("run", "nightly_job.py", "--param", "town=Bern")
    assert done.exit_code == 2
    assert "nothing takes the parameter 'town'" in done.output


def test_what_is_rendered_takes_parameters(folder: Path) -> None:
    words = ("--root", "s3://team/runs", "--param", "city=Bern")
    done = call("render", "nightly_job.py", *words, "--param", "date=2026-03-01")
    assert done.exit_code == 0, done.output
    assert "kind: Workflow" in done.output
    done = call("render", "nightly_job.py", *words, "--param", "date=2026-03-02")
    assert done.exit_code == 2
    assert "logs/2026-03-02.txt" in done.output


# hera 7 calls pydantic by an old name.
@pytest.mark.filterwarnings("ignore:The `json` method:DeprecationWarning")
def test_a_job_is_scheduled_by_a_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with argo_server.serving() as server:
        monkeypatch.setenv("ARGO_TOKEN", "token")
        Path("mapred.toml").write_text(
            f'[backend.prod]\ntype = "argo"\nserver = "{server.url}"\nnamespace = "jobs"\n'
            f'image = "image:1"\nroot = "{folder}/runs"\nvolumes = [{{path="{folder}", claim="c"}}]\n'
        )
        words = ("--param", "city=Bern", "--on-failure", "hooks/url", "--backend", "prod")
        times = ("0 3 * * *", "0 15 * * *")
        zone = ("--timezone", "Europe/Berlin")
        done = call("schedule", "nightly_job:job", *times, *zone, "--name", "bern", *words)
        assert (done.exit_code, done.output) == (0, "bern\n"), done.output
        (found,) = mapred.schedules(backend="prod")
        assert (found.name, found.job, found.cron) == ("bern", "dated", times)
        assert (found.timezone, found.parameters) == ("Europe/Berlin", {"city": "Bern"})
        assert found.on_failure == "hooks/url"
        assert "bern" in call("schedules", "--backend", "prod").output
        # Without a name it has the job's.
        done = call("schedule", "nightly_job.py", "0 3 * * *", *words)
        assert (done.exit_code, done.output) == (0, "dated\n"), done.output
        done = call("unschedule", "bern", "--backend", "prod")
        assert (done.exit_code, done.output) == (0, "schedule bern is removed\n")
        for wrong, said in {
            ("nightly_job:dated", "0 3 * * *"): "is not a job",
            ("nightly_job:job", "3 * * *"): "must have five fields",
            ("nightly_job:job", "0 3 * * *", "--param", "date=2026-03-01"): "is the time for which",
        }.items():
            done = call("schedule", *wrong, *words)
            assert done.exit_code == 2
            assert said in done.output


def test_nothing_is_submitted_where_it_would_end_with_the_command(folder: Path) -> None:
    done = call("submit", "nightly_job.py", "--backend", "local", "--param", "city=x")
    assert done.exit_code == 2
    assert "use `mapred run`" in done.output


def test_a_run_is_cancelled_once(folder: Path) -> None:
    run = mapred.submit(abs, mapred.array(2), backend="local")
    run.suspend()
    done = call("cancel", run.id)
    assert (done.exit_code, done.output) == (0, f"run {run.id} is cancelled\n")
    assert mapred.open(run.uri).state == "cancelled"
    done = call("cancel", run.id)
    assert (done.exit_code, done.output) == (0, f"run {run.id} has ended: cancelled\n")


def test_doctor_says_what_to_do_without_a_cluster(folder: Path) -> None:
    Path("mapred.toml").write_text('[backend.prod]\ntype = "argo"\nkubeconfig = "/none"\n')
    done = call("doctor", "--backend", "prod")
    assert done.exit_code == 1
    assert "bad root: not set\n      -> mapred.Argo(root=" in done.output
    assert "bad cluster: no cluster can be reached from here" in done.output
    for words in (["--backend", "local"], ["--pod"]):
        assert call("doctor", *words).exit_code == 2
    report = json.loads(call("doctor", "--backend", "prod", "--json").stdout)
    assert report["ok"] is False
    assert {"bad"} < {finding["state"] for finding in report["findings"]} | {"ok"}


@pytest.mark.parametrize(
    "words", [("schedules",), ("unschedule", "x"), ("schedule", "nightly_job.py", "0 3 * * *")]
)
def test_only_a_cluster_has_a_clock(folder: Path, words: Any) -> None:
    done = call(*words, "--backend", "local")
    assert done.exit_code == 2
    assert "'local' has no schedules" in done.output
