"""Jobs that a cluster keeps, by commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from testbed.shelf import Shelf

import mapred
from mapred import backends
from mapred.cli import main

JOB = """
import mapred
from typing import Literal

def told(lines, city: Literal["Bern", "Oslo"], days: int = 7):
    return f"{city} {days}: {len(list(lines))}"

job = mapred.job(told, "logs/*.txt")
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A cluster called `prod`, beside a file that defines a job."""
    made = Shelf(root=str(tmp_path / "runs"))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/a.txt").write_text("one\ntwo\n")
    (tmp_path / "told_job.py").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    resolve = backends.resolve
    monkeypatch.setattr(
        backends, "resolve", lambda backend: made if backend == "prod" else resolve(backend)
    )
    return made


def call(*words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--backend", "prod"])


def test_a_job_is_deployed_listed_started_and_removed(shelf: Shelf) -> None:
    done = call("deployments")
    assert (done.exit_code, done.output) == (0, "no deployments\n")
    words = ("--name", "tell", "--param", "days=3", "--description", "to try")
    for target in ("told_job.py", "told_job.py:job", "told_job:job"):
        done = call("deploy", target, *words)
        assert (done.exit_code, done.output) == (0, "tell\n"), done.output
    table = call("deployments").output
    assert "city [days]" in table
    (listed,) = json.loads(call("deployments", "--json").stdout)
    assert (listed["name"], listed["description"]) == ("tell", "to try")
    assert [each["default"] for each in listed["parameters"]] == [None, "3"]
    assert listed["parameters"][0]["choices"] == ["Bern", "Oslo"]
    done = call("start", "tell", "--param", "city=Bern")
    assert done.exit_code == 0, done.output
    assert mapred.open(done.output.strip()).result() == ["Bern 3: 2"]
    done = call("start", "tell", "--param", "city=Oslo", "--param", "days=5")
    assert mapred.open(done.output.strip()).result() == ["Oslo 5: 2"]
    done = call("undeploy", "tell")
    assert (done.exit_code, done.output) == (0, "deployment tell is removed\n")
    assert shelf.kept == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "tell", "--param", "city=Rom"), "city='Rom' must be one of Bern, Oslo"),
        (("start", "tell"), "parameter city needs a value: one of Bern, Oslo"),
        (("start", "tell", "--param", "city"), "--param city: write NAME=VALUE"),
        (("start", "other"), "no deployment 'other'; there are: tell"),
        (("undeploy", "other"), "no deployment 'other'"),
        (("deploy", "told_job:told"), "is not a job"),
        (("deploy", "told_job.py", "--name", "A"), "has up to 40 letters"),
        (("deploy", "told_job.py", "--param", "town=x"), "nothing takes the parameter 'town'"),
    ],
)
def test_what_does_not_fit_is_wrong_usage(shelf: Shelf, words: tuple[str, ...], said: str) -> None:
    assert call("deploy", "told_job.py", "--name", "tell").exit_code == 0
    done = call(*words)
    assert done.exit_code == 2
    assert said in done.output
    assert shelf.started == []


@pytest.mark.parametrize(
    "words", [("deployments",), ("undeploy", "x"), ("start", "x"), ("deploy", "told_job.py")]
)
def test_only_a_cluster_keeps_jobs(shelf: Shelf, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*words, "--backend", "local"])
    assert done.exit_code == 2
    assert "'local' keeps no jobs; 'argo' does" in done.output
