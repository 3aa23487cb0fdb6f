"""The command line, in this process and as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli.commands import call, run, start

import mapred
from mapred import testing
from mapred.cli import main

COMMANDS = {
    "run": [
        "--reduce",
        "--fan-in",
        "--target-bytes",
        "--max-failed",
        "--memory",
        "--param",
        "--json",
    ],
    "plan": ["--target-bytes", "--max-tasks", "--per-task", "--json"],
    "ls": ["--root", "--limit", "--state", "--job", "--since", "--all", "--json"],
    "show": ["--follow", "--root", "--json"],
    "logs": ["--stage", "--follow"],
    "resume": ["--backend", "--workers", "--fn", "--json"],
    "approve": ["--value", "--note", "--root", "--json"],
    "audit": ["--json"],
    "report": ["--root"],
    "advise": ["--root"],
    "submit": ["--param", "--backend", "--root", "--job"],
    "cancel": ["--root"],
    "schedule": ["--timezone", "--param", "--on-failure", "--name", "--backend", "--root", "--job"],
    "schedules": ["--backend", "--json"],
    "unschedule": ["--backend"],
    "deploy": ["--name", "--param", "--description", "--replace", "--backend", "--root", "--job"],
    "deployments": ["--backend", "--json"],
    "start": ["--param", "--backend"],
    "undeploy": ["--backend"],
    "render": ["--backend", "--root", "--job", "--reduce", "--max-tasks", "--param"],
    "lint": [],
    "argo": [],
    "doctor": ["--backend", "--root", "--pod", "--json"],
    "metrics": ["--root", "--limit"],
    "gc": ["--root", "--older-than", "--dry-run", "--yes", "--json"],
    "rm": ["--root", "--dry-run", "--yes", "--json"],
    "completion": [],
}


def test_every_command_has_help() -> None:
    listed = call("--help").stdout
    assert list(main.commands) == list(COMMANDS)
    for name, options in COMMANDS.items():
        assert f"  {name} " in listed
        text = call(name, "--help").stdout
        assert f"mapred {name}" in text, "an example"
        fails = not isinstance(main.commands[name], click.Group) and name != "completion"
        for option in [*options, *(["--traceback"] if fails else [])]:
            assert option in text
        for parameter in main.commands[name].params:
            if isinstance(parameter, click.Option):
                assert parameter.help, parameter.name


def test_version() -> None:
    assert call("--version").stdout == f"mapred {mapred.__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom mapred.cli import main\nmain(['run', '--help'], standalone_mode=False)\n"
        "heavy = {'numpy', 'pyarrow', 'cloudpickle', 'fsspec', 'psutil', 'mapred.client.api'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == "set()\n"


def test_runs_the_job_of_a_file_in_worker_processes(job_file: str) -> None:
    with start("run", job_file, "--workers", "2", "--json") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    document = json.loads(out)
    assert document["result"] == 150
    assert document["result_type"] == "int"
    assert document["state"] == "succeeded"
    assert document["counters"] == {"items": 6}
    assert document["failures"] == []
    assert "loading the file" in err, "what the file prints is kept out of the document"
    assert "6 map tasks" in err, "progress is told on stderr"
    assert mapred.open(document["uri"]).id == document["id"]


def test_prints_the_folder_and_the_result(job_file: str, runs: Path) -> None:
    done = run(job_file, "--max-tasks", "2", "--name", "tens")
    _, folder, result = done.stdout.splitlines()[-3:]
    assert Path(folder).parent == runs
    assert result == "150"
    found = mapred.open(folder)
    assert (found.job.name, found.job.shards) == ("tens", 2)
    assert run(job_file, "--quiet").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing.py"], "nothing.py: no such file"),
        (["word"], "package.module:function"),
        (["no_such_module:f", "x"], "no module 'no_such_module'"),
        (["math:squrt", "x"], "did you mean 'sqrt'?"),
        (["math:pi", "x"], "float, which cannot be called"),
        (["math:sqrt"], "name the DATASET"),
        (["math:sqrt", "nothing/*.txt"], "matches no file"),
        (["math:sqrt", "3", "--format", "array", "--reduce", "summ"], "no reducer 'summ'"),
        (["math:sqrt", "3", "--format", "array", "--fan-in", "2"], "need a reduce="),
        (["math:sqrt", "3", "--job", "x"], "--job goes with a file"),
    ],
)
def test_wrong_words_are_one_clear_error(words: list[str], says: str, runs: Path) -> None:
    stderr = run(*words, code=2).stderr
    assert says in stderr
    assert "Traceback" not in stderr
    assert "Error: " in stderr


def test_logs(job_file: str) -> None:
    call("run", job_file, "--max-tasks", "2")
    everything = call("logs", "last").stdout
    assert [line for line in everything.splitlines() if line.startswith("item")] == [
        f"item {i}" for i in range(6)
    ]
    one = call("logs", "last", "1").stdout
    assert "item 3" in one
    assert "item 2" not in one
    assert "tasks 0 to 1, and no 2" in call("logs", "last", "2", code=2).stderr
    assert "no stage 'shuffle'" in call("logs", "last", "--stage", "shuffle", code=2).stderr
    assert "nothing was printed" in call("logs", "last", "--stage", "reduce-1").stderr


def test_audit(job_file: str) -> None:
    run(job_file)
    assert "whole" in call("audit", "last").stdout
    document = json.loads(call("audit", "last", "--json").stdout)
    assert (document["ok"], document["problems"]) == (True, [])
    folder = json.loads(call("ls", "--json").stdout)[0]["uri"]
    testing.drop_commit(mapred.open(folder), 2)
    assert "map task 2" in call("audit", "last", code=1).stdout
    document = json.loads(call("audit", "last", "--json", code=1).stdout)
    assert document["ok"] is False
    assert document["problems"][0]["where"] == "map task 2"
