"""What the words of a command line mean: a function, a job in a file, its options."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli.commands import JOB, call, run, start

from mapred.cli import references


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


def test_a_file_may_bear_the_name_of_a_module(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "random.py").write_text("def f(i):\n    return i\n")
    assert references.load_file(str(tmp_path / "random.py")).__name__ == "random_job"
    sys.modules.pop("random_job")
    sys.path.remove(str(tmp_path))
