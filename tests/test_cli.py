"""The command line, in this process and as a user starts it."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import psutil
import pytest
from click.testing import CliRunner, Result

import mapred
from mapred import testing
from mapred.cli import main, references
from mapred.cli import output as shown
from mapred.display import table_text
from mapred.model import layout

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
    "ls": ["--root", "--limit", "--json"],
    "show": ["--root", "--json"],
    "logs": ["--stage"],
    "resume": ["--backend", "--workers", "--fn", "--json"],
    "audit": ["--json"],
    "submit": ["--param", "--backend", "--root", "--job"],
    "cancel": ["--root"],
    "schedule": ["--timezone", "--param", "--on-failure", "--name", "--backend", "--root", "--job"],
    "schedules": ["--backend", "--json"],
    "unschedule": ["--backend"],
    "render": ["--backend", "--root", "--job", "--reduce", "--max-tasks", "--param"],
    "lint": [],
    "argo": [],
    "doctor": ["--backend", "--root", "--pod"],
    "metrics": ["--root", "--limit"],
    "gc": ["--root", "--older-than", "--dry-run", "--yes", "--json"],
    "rm": ["--root", "--dry-run", "--yes", "--json"],
}
LAUNCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[0] = "mapred"
from mapred.cli import main
main()
"""
JOB = """
from __future__ import annotations

import time
from collections import Counter

import mapred
import scale

print("loading the file")

def count(lines):
    return Counter(word for line in lines for word in line.split())

def times(i: int, task: mapred.Task) -> int:
    print("item", i)
    task.count("items")
    return scale.FACTOR * i

def fails(i):
    if i == 1:
        raise ValueError("one is wrong")
    return i

def mended(i):
    return -i

def waits(i):
    time.sleep(0.2)
    return i

job = mapred.job(times, mapred.array(6), reduce=mapred.reducers.sum)
alias = job
failing = mapred.job(fails, mapred.array(3), attempts=1)
waiting = mapred.job(waits, mapred.array(100))
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default root of a test, and its folder as the working one."""
    root = tmp_path / "runs"
    monkeypatch.setenv("MAPRED_ROOT", str(root))
    monkeypatch.chdir(tmp_path)
    return root


@pytest.fixture
def job_file(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A file of jobs in another folder, beside a module that it imports."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "else where"
    folder.mkdir()
    (folder / "scale.py").write_text("FACTOR = 10\n")
    file = folder / "jobs.py"
    file.write_text(JOB)
    yield str(file)
    for name in ("scale", "jobs"):
        sys.modules.pop(name, None)


def call(*words: str | Path, code: int = 0) -> Result:
    """Run a command in this process, tasks included, and look at its exit code."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code, done.output + repr(done.exception)
    return done


def run(*words: str | Path, code: int = 0) -> Result:
    return call("run", *words, "--backend", "inline", code=code)


def start(*words: str, **options: Any) -> subprocess.Popen[str]:
    """Start a command as a shell does; Ctrl-C reaches it even where the tests ignore it."""
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(mapred.__file__).parent.parent)},
        **options,
    )


def test_every_command_has_help() -> None:
    listed = call("--help").stdout
    assert list(main.commands) == list(COMMANDS)
    for name, options in COMMANDS.items():
        assert f"  {name} " in listed
        text = call(name, "--help").stdout
        assert f"mapred {name}" in text, "an example"
        group = isinstance(main.commands[name], click.Group)
        for option in [*options, *([] if group else ["--traceback"])]:
            assert option in text
        for parameter in main.commands[name].params:
            if isinstance(parameter, click.Option):
                assert parameter.help, parameter.name


def test_every_command_of_argo_has_help() -> None:
    group = main.commands["argo"]
    assert isinstance(group, click.Group)
    for name in group.commands:
        text = call("argo", name, "--help").stdout
        assert f"mapred argo {name}" in text
        assert "--traceback" in text


def test_render_prints_what_lint_passes(job_file: str, tmp_path: Path) -> None:
    place = ("--root", "s3://team/runs", "--max-tasks", "3")
    rendered = call("render", job_file, "--job", "job", *place)
    assert rendered.stdout.startswith("apiVersion: argoproj.io/v1alpha1\n")
    assert "loading the file" not in rendered.stdout
    assert 'count: "3"' in rendered.stdout
    (tmp_path / "w.yaml").write_text(rendered.stdout)
    assert "1 object in 1 file: 0 problems" in call("lint", "w.yaml").output


def test_lint_names_every_problem(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "a.yaml").write_text("kind: Workflow\nmetadata: {name: no}\n")
    (folder / "b.yml").write_text("a: [")
    (folder / "c.yaml").write_text("# nothing\n")
    checked = call("lint", "flows", code=1)
    assert "flows/a.yaml: spec.templates: there is none" in checked.stdout
    assert "flows/b.yml: flows/b.yml is no YAML" in checked.stdout
    assert "flows/c.yaml: it holds no object" in checked.stdout
    assert "were not checked" in checked.stderr


def test_lint_asks_argo_where_it_is(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "argo"
    program.write_text('#!/bin/sh\necho "$5: in n (Workflow): no template"; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    template = "{name: a, container: {image: a, command: [a]}}"
    (tmp_path / "w.yaml").write_text(
        f"kind: Workflow\nmetadata: {{name: a}}\nspec: {{templates: [{template}]}}\n"
    )
    checked = call("lint", "w.yaml", code=1)
    assert checked.stdout == "w.yaml: in n (Workflow): no template\n"
    assert "argo lint saw them too" in checked.stderr
    program.write_text("#!/bin/sh\nexit 0\n")
    assert "0 problems; argo lint saw them too" in call("lint", "w.yaml").stdout


def test_rights_and_claims_are_printed_for_kubectl(runs: Path, tmp_path: Path) -> None:
    printed = call("argo", "rbac", "-n", "team")
    assert printed.stdout.count("namespace: team") >= 8
    assert "workflowtaskresults" in printed.stdout
    (tmp_path / "mapred.toml").write_text("[backend.two]\ntype = 'local'\n")
    assert "runs no pods" in call("argo", "rbac", "--backend", "two", code=2).stderr
    claim = call("argo", "claim", "nas", "nas://server/share", "-n", "team")
    assert "nasplugin.csi.alibabacloud.com" in claim.stdout
    assert "oss://bucket/path" in call("argo", "claim", "nas", "s3://b", code=2).stderr


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


def test_a_result_that_cannot_be_shown_is_told_in_a_line(job_file: str, runs: Path) -> None:
    folder = run(job_file, "--quiet").stdout.strip()
    store = mapred.open(folder).store
    output = json.loads(store.read("result/manifest.json"))
    broken = base64.b64encode(b"not a pickle").decode()
    without = {"size": 0, "crc32": 0}  # as an earlier version wrote it
    output["tasks"][0][1] |= {"kind": "inline", "inline": broken, "count": 1, **without}
    store.write("result/manifest.json", json.dumps(output).encode())
    store.write("end.json", json.dumps({"state": "succeeded", "message": "", "time": 1}).encode())
    shown = call("resume", folder)
    assert "The run succeeded, but its result cannot be shown: " in shown.stderr
    assert "Traceback" not in shown.stderr
    assert "Traceback" not in call("resume", folder, "--quiet").stderr


def test_options_of_a_file_are_checked(job_file: str) -> None:
    assert "attempts=0" in run(job_file, "--attempts", "0", code=2).stderr
    assert "memory='lots'" in run(job_file, "--memory", "lots", code=2).stderr
    assert "own reduce" in run(job_file, "--reduce", "sum", code=2).stderr
    assert "is not a duration" in run(job_file, "--timeout", "soon", code=2).stderr
    assert (
        "--workers" in call("run", job_file, "--backend", "inline", "--workers", "2", code=2).stderr
    )
    assert "no backend 'moon'" in call("run", job_file, "--backend", "moon", code=2).stderr


def test_another_dataset_for_the_job_of_a_file(job_file: str) -> None:
    assert run(job_file, "3", "--format", "array").stdout.endswith("\n30\n")


def test_chooses_a_job_of_several(job_file: str, tmp_path: Path) -> None:
    assert "one is wrong" in run(job_file, "--job", "failing", code=1).stderr
    assert "it defines job, failing, waiting" in run(job_file, "--job", "other", code=2).stderr
    Path(job_file).write_text(JOB.replace("\njob = ", "\nfirst = ").replace("= job", "= first"))
    sys.modules.pop("jobs")
    assert "choose one by --job: first, failing" in run(job_file, code=2).stderr


def test_runs_a_function_over_files(job_file: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("red blue\nred\n")
    (tmp_path / "b.txt").write_text("red green\n")
    words = [f"{job_file}:count", "*.txt", "--reduce", "merge_counts"]
    document = json.loads(run(*words, "--json").stdout)
    assert document["result"] == {"red": 3, "blue": 1, "green": 1}
    shows = run(*words, "--target-bytes", "5").stdout
    assert "Counter of 3 keys\n  red    3\n" in shows
    document = json.loads(run(*words, "--finalize", "builtins:len", "--json").stdout)
    assert document["result"] == 3
    assert "--format" in run(job_file, "--format", "text", code=2).stderr


def test_runs_a_function_of_the_working_folder(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "package_here").mkdir()
    (tmp_path / "package_here" / "inner.py").write_text(
        "def double(i):\n    return 2 * i\n\ndef add(outputs):\n    return sum(outputs)\n"
    )
    words = ["package_here.inner:double", "5", "--format", "array", "--fan-in", "2", "--json"]
    with start("run", *words, "--reduce", "package_here.inner:add") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    document = json.loads(out)
    assert document["result"] == 20
    assert [stage["total"] for stage in document["stages"]] == [5, 3, 2, 1]


def test_formats_and_what_the_function_receives(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    assert json.loads(run("builtins:len", "t.csv", "--json").stdout)["result"] == [2]
    read = json.loads(
        run("builtins:len", "t.csv", "--as", "bytes", "--format", "text", "--json").stdout
    )
    assert read["result"] == [12]
    items = json.loads(run("builtins:len", "red", "blue", "--format", "items", "--json").stdout)
    assert items["result"] == [3, 4]
    files = json.loads(
        run("builtins:len", "*.csv", "--format", "files", "--as", "bytes", "--json").stdout
    )
    assert files["result"] == [12]
    assert "--format array" in run("builtins:len", "x", "--format", "array", code=2).stderr
    assert "as_='path'" in run("builtins:len", "t.csv", "--as", "path", code=2).stderr


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


def test_an_error_of_the_users_file_names_its_line(tmp_path: Path, runs: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import json\n\njson.loads('{')\n")
    short = run(file, code=2).stderr
    assert f"{file}, line 3: JSONDecodeError: " in short
    assert "Traceback" not in short
    long = run(file, "--traceback", code=2).stderr
    assert "Traceback" in long
    assert "JSONDecodeError" in long
    file.write_text("import sys\nsys.exit(0)\n")
    assert "line 2: SystemExit: it called sys.exit(0)" in run(file, code=2).stderr
    file.write_text("x = 1\n")
    assert "defines no job" in run(file, code=2).stderr


def test_a_failed_run_exits_with_1_and_can_be_mended(job_file: str) -> None:
    failed = run(job_file, "--job", "failing", code=1)
    assert "ValueError: one is wrong" in failed.stderr
    assert "to resume, once fails is fixed:\nmapred resume 2" in failed.stderr
    reference = shlex.quote(f"{os.path.relpath(job_file)}:fails")
    assert failed.stderr.rstrip().endswith(f"--fn {reference}")
    document = json.loads(run(job_file, "--job", "failing", "--json", code=1).stdout)
    assert document["state"] == "failed"
    assert document["result"] is None
    assert [failure["task"] for failure in document["failures"]] == [1]
    assert "one is wrong" in call("show", "last").stdout
    assert "one is wrong" in call("resume", "last", code=1).stderr
    resumed = call("resume", "last", "--fn", f"{job_file}:mended", "--json")
    assert json.loads(resumed.stdout)["result"][1] == -1
    assert call("resume", "last").stdout.splitlines()[0] == document["uri"], "left alone"


def test_lists_finds_and_shows_runs(job_file: str, runs: Path, tmp_path: Path) -> None:
    assert "no runs in" in call("ls").stderr
    run(job_file)
    run(job_file, "--job", "failing", code=1)
    newest, oldest = json.loads(call("ls", "--json").stdout)
    assert (newest["name"], newest["state"]) == ("fails", "failed")
    assert (oldest["name"], oldest["state"]) == ("times", "succeeded")
    assert (oldest["done"], oldest["tasks"]) == (7, 7)
    table = call("ls", "--root", runs).stdout.splitlines()
    assert table[0].split() == ["id", "state", "name", "tasks", "duration", "when", "dataset"]
    assert [line.split()[0] for line in table[1:]] == [newest["id"], oldest["id"]]
    assert len(json.loads(call("ls", "-n", "1", "--json").stdout)) == 1
    for reference in (oldest["id"], oldest["id"][:-2], oldest["uri"]):
        assert json.loads(call("show", reference, "--json").stdout)["id"] == oldest["id"]
    assert json.loads(call("show", "last", "--json").stdout)["id"] == newest["id"]
    text = call("show", oldest["id"]).stdout
    assert f"Run {oldest['id']} succeeded" in text
    assert oldest["uri"] in text
    assert "2 runs begin with '2'" in call("show", "2", code=2).stderr
    assert "no run 'x'" in call("show", "x", code=2).stderr
    assert "holds no run" in call("show", tmp_path / "gone", code=2).stderr
    assert "to resume, once fails is fixed:\nmapred resume" in call("show", "last").stdout
    assert f"failed: mapred show {newest['id']}" in call("ls").stderr


def test_a_root_holds_other_things_too(job_file: str, runs: Path) -> None:
    run(job_file, "--root", runs / "deep")
    (runs / "deep" / "notes").mkdir()
    (runs / "deep" / "file").touch()
    broken = runs / "deep" / "broken"
    broken.mkdir()
    (broken / layout.JOB).write_text("{")
    found = json.loads(call("ls", "--root", runs / "deep", "--json").stdout)
    assert [(entry["state"], entry["name"]) for entry in found] == [
        ("unreadable", ""),
        ("succeeded", "times"),
    ]


def test_metrics_of_a_root(job_file: str, runs: Path) -> None:
    run(job_file, "--name", 'say "a\\b"')
    run(job_file)
    run(job_file, "--job", "failing", code=1)
    broken, older = runs / "29990101-000000-broken", runs / "20200101-000000-00000000"
    broken.mkdir()
    (broken / layout.JOB).write_text("{")
    _, failed, *_ = found = json.loads(call("ls", "--json").stdout)
    older.mkdir()
    job = (runs / failed["id"] / layout.JOB).read_text()
    (older / layout.JOB).write_text(job.replace(failed["created"], "2020-01-01T00:00:00Z"))
    when = datetime.strptime(failed["created"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
    said = call("metrics").stdout
    for line in (
        r'mapred_runs{job="say \"a\\b\"",state="succeeded"} 1',
        'mapred_runs{job="times",state="succeeded"} 1',
        'mapred_runs{job="fails",state="failed"} 1',
        'mapred_runs{job="fails",state="interrupted"} 1',
        'mapred_last_run_tasks{job="fails"} 3',
        f'mapred_last_run_tasks_done{{job="fails"}} {failed["done"]}',
        'mapred_last_run_tasks_done{job="times"} 7',
        "mapred_runs_unreadable 1",
        f'mapred_last_run_created_timestamp_seconds{{job="fails"}} {when:.0f}',
    ):
        assert line in said.splitlines(), said
    assert 'mapred_last_success_created_timestamp_seconds{job="times"}' in said
    assert 'mapred_last_success_created_timestamp_seconds{job="fails"}' not in said
    assert len(found) == 4, "the broken one is listed, and counted alone"
    assert "29990101" not in said
    text = re.compile(
        r'(# (HELP|TYPE) mapred_\w+ .+|mapred_\w+(\{(\w+="([^"\\]|\\.)*",?)+\})? \d+)'
    )
    assert all(text.fullmatch(line) for line in said.splitlines()), said
    assert 'job="times"' not in call("metrics", "-n", "2").stdout


def test_lists_hundreds_of_runs_fast(job_file: str, runs: Path) -> None:
    run(job_file)
    (first,) = runs.glob("2*")
    for number in range(300):
        copy = runs / f"20200101-{number:06d}-00000000"
        copy.mkdir()
        shutil.copy(first / layout.JOB, copy)
        shutil.copy(first / layout.END, copy)
    began = time.perf_counter()
    found = json.loads(call("ls", "--json").stdout)
    assert time.perf_counter() - began < 20
    assert len(found) == 301


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


def test_plan(job_file: str, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("line\n" * 100)
    text = call("plan", "*.txt").stdout
    assert "3 files, 1.5 kB" in text
    document = json.loads(call("plan", "*.txt", "--target-bytes", "500", "--json").stdout)
    assert document["shard_bytes"] == [500, 500, 500]
    assert document["largest_files"][0] == {"path": str(tmp_path / "a.txt"), "bytes": 500}
    planned = call("plan", job_file, "--per-task", "3").stdout
    assert "6 items" in planned
    assert "2 shards" in planned
    assert json.loads(call("plan", job_file, "--job", "failing", "--json").stdout)["items"] == 3
    as_text = json.loads(call("plan", job_file, "--format", "text", "--json").stdout)
    assert as_text["bytes"] == len(JOB)
    assert "DATASET" in call("plan", code=2).stderr
    assert "matches no file" in call("plan", "*.parquet", code=2).stderr


@pytest.mark.slow
def test_an_interrupt_leaves_no_process_and_a_run_to_go_on_with(job_file: str, runs: Path) -> None:
    with start("run", job_file, "--job", "waiting", start_new_session=True) as process:
        driver = psutil.Process(process.pid)
        _until(lambda: len(list(runs.glob("*/map/commits/*"))) > 2)
        workers = driver.children(recursive=True)
        assert workers
        assert json.loads(call("ls", "--json").stdout)[0]["state"] == "running"
        # As a terminal does: the signal goes to every process of the group.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    run_id = next(iter(runs.glob("2*"))).name
    assert f"Interrupted; to resume:\nmapred resume {run_id}" in err
    assert "Traceback" not in err
    (entry,) = json.loads(call("ls", "--json").stdout)
    assert entry["state"] in ("interrupted", "suspended")
    assert 2 < entry["done"] < 100
    document = json.loads(call("resume", "last", "--workers", "8", "--json").stdout)
    assert document["result"] == list(range(100))


@pytest.mark.slow
def test_resume_follows_a_run_that_is_driven_elsewhere(job_file: str, runs: Path) -> None:
    with start("run", job_file, "--job", "waiting", "--workers", "16") as process:
        _until(lambda: list(runs.glob("*/map/commits/*")))
        assert "is running" in call("resume", "last", "--fn", "math:sqrt", code=2).stderr
        document = json.loads(call("resume", "last", "--json").stdout)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert document["result"] == list(range(100))
    assert not list(runs.glob("*/map/errors/*"))


def _until(condition: Any, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_what_json_can_hold() -> None:
    import numpy as np
    import pyarrow as pa

    table = pa.table({"a": [1, 2], "b": ["x", None]})
    value = {1: (2.5, float("nan")), "t": table, "n": np.arange(2), "f": np.float64(0.5)}
    assert shown.jsonable(value) == {
        "1": [2.5, None],
        "t": [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
        "n": [0, 1],
        "f": 0.5,
    }
    for other in (object(), {(1, 2): 3}, b"bytes", pa.table({"a": range(10_001)})):
        with pytest.raises(TypeError):
            shown.jsonable(other)


def test_a_result_without_a_place_in_json(runs: Path) -> None:
    document = json.loads(run("os:fsencode", "red", "--format", "items", "--json").stdout)
    assert document["result"] is None
    assert "bytes has no place" in document["result_omitted"]


def test_results_as_text() -> None:
    import pandas as pd
    import pyarrow as pa

    many = shown.result_text(list(range(25)))
    assert many.startswith("list of 25 items, the first 10\n  0\n")
    assert many.count("\n") == 10
    table = shown.result_text(pa.table({"city": ["Lima", "Oslo"], "fare": [1.5, 20.25]}))
    assert table.split("\n") == ["2 rows", "city   fare", "Lima    1.5", "Oslo  20.25"]
    assert shown.result_text(pd.DataFrame({"a": range(12)})).startswith(
        "12 rows, the first 10\na\n0"
    )
    assert shown.result_text({"k": "\x1b[31m"}) == "dict of 1 key\n  k  \\x1b[31m"
    assert len(shown.result_text("x" * 9999)) == 2001
    wide = table_text([{f"column {i}": "x" * 30 for i in range(9)}], 70)
    assert max(map(len, wide.split("\n"))) <= 70
    assert "and the columns column 2, column 3" in wide


def test_a_file_may_bear_the_name_of_a_module(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "random.py").write_text("def f(i):\n    return i\n")
    assert references.load_file(str(tmp_path / "random.py")).__name__ == "random_job"
    sys.modules.pop("random_job")
    sys.path.remove(str(tmp_path))


# How a DATASET is read


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prices as a spreadsheet in another language exports them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.csv").write_text(
        "exported by hand\nitem;price;on\n# a comment\n07;1.234,5;31.12.2024\n08;-;01.01.2025\n"
    )
    (tmp_path / "rows.py").write_text("def rows(table):\n    return table.to_pylist()\n")
    return tmp_path


GERMAN = (
    "--skip-rows 1 --delimiter ; --decimal , --thousands . --comment # --null-value - "
    "--date-format %d.%m.%Y --schema item=string"
).split()


def test_options_say_how_a_dataset_is_read(prices: Path) -> None:
    planned = json.loads(call("plan", "prices.csv", *GERMAN, "--json").stdout)
    assert [(column["name"], column["type"]) for column in planned["columns"]][:2] == [
        ("item", "string"),
        ("price", "double"),
    ]
    done = call("run", "rows.py:rows", "prices.csv", *GERMAN, "--json", "--root", str(prices / "r"))
    assert "07" in done.stdout
    assert "1234.5" in done.stdout


def test_columns_are_chosen_on_the_command_line(prices: Path) -> None:
    words = ["plan", "prices.csv", *GERMAN, "--columns", "price,item", "--json"]
    assert [c["name"] for c in json.loads(call(*words).stdout)["columns"]] == ["price", "item"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prices.csv", "--schema", "item"], "write NAME=TYPE"),
        (["prices.csv", "--delimiter", ";;"], "delimiter=';;' must be one ASCII character"),
        (
            ["prices.csv", "--format", "text", "--delimiter", ";"],
            "--delimiter is not for --format text",
        ),
        (["rows.py", "--format", "text", "--null-value", "-"], "--null-value is not for"),
        (["10", "--format", "array", "--columns", "a"], "--columns is not for --format array"),
    ],
)
def test_options_that_do_not_fit(prices: Path, words: list[str], said: str) -> None:
    done = call("plan", *words, code=2)
    assert said in done.stderr
