"""The wheel alone is enough: built here, used from another folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mapred
from mapred.functions import versions

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


def build(tree: Path, target: Path, *kinds: str) -> None:
    command = [sys.executable, "-m", "build", *kinds, "--no-isolation", "--outdir", str(target)]
    call(*command, str(tree), cwd=target)


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build(root, folder, "--wheel")
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


def version_in(wheel: Path) -> str:
    """The version that the wheel's metadata and its `mapred` both have."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
        names: dict[str, str] = {}
        exec(archive.read("mapred/_version.py"), names)
    assert f"\nVersion: {names['__version__']}\n" in text
    return names["__version__"]


@pytest.fixture
def tree(root: Path, tmp_path: Path) -> Path:
    """What a build needs of this checkout, without git."""
    target = tmp_path / "tree"
    (target / "mapred").mkdir(parents=True)
    for name in "pyproject.toml hatch_build.py README.md LICENSE mapred/_version.py".split():
        shutil.copy(root / name, target / name)
    return target


def git(tree: Path, *words: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    call("git", *identity, *words, cwd=tree)


def test_versions_come_from_tags_and_their_release_stays(tree: Path, tmp_path: Path) -> None:
    def made(*kinds: str) -> str:
        target = tmp_path / "dist"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        build(tree, target, *kinds)
        (built,) = target.glob("*.whl")
        return version_in(built)

    kept = (tree / "mapred/_version.py").read_text()
    assert made("--wheel") == mapred.__version__  # no git at all
    git(tree, "init", "--quiet")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "--message", "Begin")
    untagged = made("--wheel")
    assert ".dev1+unknown.g" in untagged
    assert versions.same_release(untagged, mapred.__version__)
    git(tree, "tag", "v7.1.0")
    assert made("--wheel") == "7.1.0"
    assert made() == "7.1.0"  # by way of an sdist
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "Go on")
    after = made()
    assert re.fullmatch(r"7\.1\.0\.post1\.dev1\+g[0-9a-f]+", after)
    (tree / "mapred/errors.py").write_text("# not committed\n")
    git(tree, "add", ".")
    dirty = made("--wheel")
    assert re.fullmatch(re.escape(after) + r"\.d\d{8}", dirty)
    assert {versions.base(version) for version in (after, dirty)} == {"7.1.0"}
    assert (tree / "mapred/_version.py").read_text() == kept
