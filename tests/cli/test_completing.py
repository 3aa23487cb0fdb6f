"""Tab completion: what is offered, in a real bash, and fast."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli.commands import call

from mapred.model import layout

SETTINGS = """
[backend.prod]
type = "argo"
[backend.big]
type = "local"
workers = 64
"""
# What each shell offers after the words, a line each; `$1` is the script of `mapred completion`.
BASH = """
eval "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mapred_completion mapred
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
eval (string join \\n -- $argv[1]); complete --do-complete (string join ' ' -- $argv[2..])
"""


@pytest.fixture
def mapred_command(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `mapred`, a root with two runs, and a mapred.toml."""
    program = tmp_path / "bin" / "mapred"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mapred "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("20260101-000000-aaaaaaaa", "20260102-000000-bbbbbbbb", "by-name"):
        (runs / name).mkdir(parents=True)
        (runs / name / layout.JOB).write_text(r'{"name": "nightly\njob\u001b[31m"}')
    for name in ("$(touch x)", "2026 01", "20260101\x1b[31m"):
        (runs / name).mkdir()
        (runs / name / layout.JOB).write_text("{}")
    (runs / "notes").mkdir()
    Path("mapred.toml").write_text(SETTINGS)
    return program


def offered(shell: str, *words: str) -> list[str]:
    script = call("completion", shell).stdout
    command = {
        "bash": ["bash", "--norc", "--noprofile", "-c", BASH, "bash"],
        "fish": ["fish", "-c", FISH],
    }
    done = subprocess.run(
        [*command[shell], script, "mapred", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sho"], ["show"]),
        (["show", ""], ["last", "by-name", "20260102-000000-bbbbbbbb", "20260101-000000-aaaaaaaa"]),
        (["show", "20260101"], ["20260101-000000-aaaaaaaa"]),
        (["run", "x.py", "--backend", ""], ["argo", "dask", "inline", "local", "prod", "big"]),
        (["plan", "x", "--format", "par"], ["parquet"]),
        (["ls", "--state", "can"], ["cancelled"]),
    ],
)
def test_bash_completes(mapred_command: Path, words: list[str], expected: list[str]) -> None:
    assert offered("bash", *words) == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(mapred_command: Path) -> None:
    assert "last\tthe newest run" in offered("fish", "show", "")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_the_script(mapred_command: Path) -> None:
    script = f"autoload -U compinit; compinit -D; {call('completion', 'zsh').stdout}"
    script += "\nprint $_comps[mapred]"
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "_mapred_completion\n", done.stderr


def asked(words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What click answers a shell, a type and a value a line, and the modules that it loaded."""
    code = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
    code += "from mapred.cli import main\nmain(prog_name='mapred')"
    number = str(len(words.split(" ")) - 1)
    asks = {"_MAPRED_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": number}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asks, **env},
        capture_output=True,
        text=True,
    )


def test_completion_loads_nothing_heavy(mapred_command: Path) -> None:
    heavy = {"pyarrow", "numpy", "rich", "cloudpickle", "fsspec", "psutil", "asyncio", "pandas"}
    for words in ("mapred show ", "mapred run x.py --backend "):
        done = asked(words)
        assert done.stdout
        assert not heavy & set(done.stderr.split())


def test_names_of_others_command_no_shell(mapred_command: Path) -> None:
    answer = asked("mapred show ", _MAPRED_COMPLETE="zsh_complete").stdout
    lines = answer.splitlines()
    assert lines[1::3] == [
        "last",
        "by-name",
        "20260102-000000-bbbbbbbb",
        "20260101-000000-aaaaaaaa",
    ]
    assert lines[5] == r"nightly job\x1b[31m"
    assert "\x1b" not in answer


def test_nothing_is_said_where_nothing_can_be_offered(mapred_command: Path) -> None:
    Path("mapred.toml").write_text("[backend")
    done = asked("mapred run x.py --backend ")
    assert [line.split(",")[1] for line in done.stdout.split()] == [
        "argo",
        "dask",
        "inline",
        "local",
    ]
    for root in ("s3://bucket/runs", "/nowhere/at/all"):
        assert asked("mapred show ", MAPRED_ROOT=root).stdout.strip() == ""
    assert asked("mapred show ./ru").stdout == "dir,./ru\n"
    assert asked("mapred show --root runs by").stdout == "plain,by-name\n"
