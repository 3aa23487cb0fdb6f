"""What the commands find: a root for runs, and a file with jobs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.commands import JOB


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
