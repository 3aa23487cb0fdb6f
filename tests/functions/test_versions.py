"""Which versions of mapred and of packages may work on one run."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import mapred
from mapred import _version
from mapred.backends.dask import _mismatches
from mapred.engine import hosted
from mapred.errors import BackendError, FunctionError
from mapred.functions import versions

BUILDS = [
    "0.2.0",
    "0.2.0+unknown",
    "0.2.0.post1.dev3+g1a2b3c4",
    "0.2.0.post1.dev12+gffff000.d20260102",
    "0.2.0rc1",
]


@pytest.mark.parametrize("build", BUILDS)
def test_builds_of_one_release_work_together(build: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert versions.base(build) == "0.2.0"
    monkeypatch.setattr(versions, "__version__", build)
    assert versions.differences({"mapred": "0.2.0.post1.dev3+g1a2b3c4"}) == []
    assert list(_mismatches({"mapred": "0.2.0"}, {"mapred": build})) == []


@pytest.mark.parametrize("other", ["0.2.1", "0.2", "0.20.0", "1.2.0+unknown", "0.3.0.post1.dev1"])
def test_another_release_is_a_difference(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "__version__", "0.2.0.post1.dev3+g1a2b3c4")
    (difference,) = versions.differences({"mapred": other})
    assert not difference.small
    assert list(_mismatches({"mapred": "0.2.0"}, {"mapred": other}))


def test_a_worker_of_another_build_takes_a_run_and_one_of_another_release_does_not(
    tmp_path: Path,
) -> None:
    run = mapred.run(str, mapred.array(1), root=tmp_path, backend="inline")
    release = versions.base(mapred.__version__)
    job = dataclasses.replace(run.job, packages={"numpy": np.__version__})
    versions.check(dataclasses.replace(job, mapred=f"{release}.post1.dev9+g1234567.d20260102"))
    with pytest.raises(FunctionError, match=r"mapred +99\.1\.0 +"):
        versions.check(dataclasses.replace(job, mapred="99.1.0"))


@pytest.mark.parametrize(("mapred_there", "refusal"), [("99.1.0", "99.1.0"), ("", "cannot use")])
def test_a_dask_worker_looks_at_the_release_before_the_run(
    mapred_there: str, refusal: str, tmp_path: Path
) -> None:
    other_build = f"{versions.base(mapred.__version__)}.post1.dev9+g1234567"
    settings = hosted.Settings(
        uri=str(tmp_path / "gone"), digest="", mapred=mapred_there or other_build,
        timeout=None, memory=None, max_calls=None, cpu=1, gpu=0, env=(),
    )  # fmt: skip
    with pytest.raises(BackendError, match=refusal):
        hosted._Pool(settings)


def test_a_commit_leaves_the_digest_of_the_code_and_other_code_changes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = versions.code_digest()
    package = tmp_path / "mapred"
    shutil.copytree(Path(mapred.__file__).parent, package)
    monkeypatch.setattr(_version, "__file__", str(package / "_version.py"))
    assert versions.code_digest() == here

    release = versions.base(mapred.__version__)
    monkeypatch.setattr(versions, "__version__", f"{release}.post1.dev9+g1234567.d20260102")
    (package / "_version.py").write_text('__version__ = "as the wheel of another commit has it"')
    assert versions.code_digest() == here

    monkeypatch.setattr(versions, "__version__", "99.1.0")
    assert versions.code_digest() != here

    monkeypatch.setattr(versions, "__version__", mapred.__version__)
    (package / "errors.py").write_text("")
    assert versions.code_digest() != here


def test_a_checkout_is_of_the_release_that_builds_without_git_are(root: Path) -> None:
    settings = (root / "pyproject.toml").read_text()
    (fallback,) = re.findall(r'^fallback-version = "(.*)"$', settings, re.M)
    assert fallback.endswith("+unknown")
    assert (root / "mapred/_version.py").read_text().endswith(f'\n__version__ = "{fallback}"\n')
    released = re.findall(r"^## \[(\d.*?)\]", (root / "CHANGELOG.md").read_text(), re.M)
    assert not released or versions.base(fallback) == released[0]
