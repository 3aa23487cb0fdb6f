"""The wheel alone is enough: built here, used from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import mapred, mapred.reducers
from collections import Counter

assert {target!r} in mapred.__file__, mapred.__file__

def count_words(lines):
    return Counter(word for line in lines for word in line.split())

run = mapred.run(count_words, "corpus/*.txt", reduce=mapred.reducers.merge_counts)
print(sorted(run.result().items()))
"""


def call(*command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    call(*build, str(root), cwd=folder)
    (built,) = folder.glob("mapred-*.whl")
    return built


def test_holds_the_package_and_nothing_else(wheel: Path, root: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
    assert {name.split("/")[0] for name in names} == {"mapred", info}
    sources = {str(path.relative_to(root)) for path in (root / "mapred").rglob("*.py")}
    assert sources <= set(names)
    assert "mapred/py.typed" in names
    assert f"{info}/licenses/LICENSE" in names


def test_counts_words_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    call(*pip, "--target", str(target), str(wheel), cwd=tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.txt").write_text("to be or not to be\n")
    (tmp_path / "corpus/b.txt").write_text("let it be\n")
    (tmp_path / "count.py").write_text(SCRIPT.format(target=str(target)))
    env = {**os.environ, "PYTHONPATH": str(target)}
    printed = call(sys.executable, "count.py", cwd=tmp_path, env=env)
    counts = [("be", 3), ("it", 1), ("let", 1), ("not", 1), ("or", 1), ("to", 2)]
    assert printed.splitlines()[-1] == repr(counts)
