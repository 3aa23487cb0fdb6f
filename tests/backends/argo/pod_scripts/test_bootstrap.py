"""What a pod runs first: packages are checked, then unpacked, then the worker starts."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mapred.backends.argo.pods import bootstrap_text

HERE = ".".join(map(str, sys.version_info[:2]))
WORKER = b"import sys, other\nprint('worker', other.name, *sys.argv[1:])\nsys.exit(75)\n"


@pytest.fixture(params=["w", "w:gz"])
def archive(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A stand-in for the packages: a worker, and what it imports."""
    file = tmp_path / "packages.tar"
    with tarfile.open(file, request.param) as tar:
        for name, data in {
            "mapred/__init__.py": b"",
            "mapred/worker/supervisor.py": WORKER,
            "other.py": b"name = 'found'\n",
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file


def start(archive: Path, digest: str, python: str = HERE) -> subprocess.CompletedProcess[str]:
    """As in a pod: nothing but the standard library can be imported."""
    words = [str(archive), digest, python, str(archive.parent / "packages"), "s3://r/1", "map"]
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", bootstrap_text(), *words],
        capture_output=True,
        text=True,
        cwd=archive.parent,
        env={"PATH": "/usr/bin:/bin"},
        timeout=60,
    )


def digest_of(archive: Path) -> str:
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def test_the_worker_starts_with_its_packages_and_its_exit_status_counts(archive: Path) -> None:
    done = start(archive, digest_of(archive))
    assert (done.returncode, done.stdout, done.stderr) == (75, "worker found s3://r/1 map\n", "")


def test_packages_that_someone_changed_are_not_unpacked(archive: Path) -> None:
    digest = digest_of(archive)
    archive.write_bytes(archive.read_bytes() + b"x")
    done = start(archive, digest)
    assert done.returncode == 78
    assert "its SHA-256 differs" in done.stderr
    assert not (archive.parent / "packages").exists()


def test_another_python_is_refused(archive: Path) -> None:
    done = start(archive, digest_of(archive), "3.9")
    assert done.returncode == 78
    assert f"made for Python 3.9, and this image has {HERE}" in done.stderr
