"""Packages that pods unpack: resolved and locked here, kept once beside the runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mapred.backends.argo import packages
from mapred.backends.argo.backend import Argo
from mapred.errors import BackendError
from mapred.model import layout
from mapred.storage import open_store

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PLACE = {"python": HERE, "platform": "x86_64-manylinux_2_28", "scheme": "s3"}


def test_what_is_no_requirement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="'two words' is not a requirement"):
        packages.store_packages(open_store(str(tmp_path)), ("two words",), **PLACE)


def test_a_pod_that_submits_has_what_that_needs() -> None:
    plain, more = (
        set(map(packages._plain_name, packages._own_requirements(extras)))
        for extras in ((), ("argo", "s3"))
    )
    assert {"obstore", "kubernetes", "hera"} <= more - plain
    assert "pyarrow" in plain


def test_a_version_that_a_requirement_rules_out_is_meant() -> None:
    here = {"pandas": "3.1.1", "PyYAML": "6.0", "numpy": "2.4.6", "torch": "2.3.0+cu121"}
    wanted = ("pandas>=2", "pyyaml<6", "numpy @ https://host/numpy.whl", "torch==2.3.0", "other")
    assert packages.ruled_out(wanted, here) == {"PyYAML", "numpy"}
    assert Argo(packages=wanted).expected(here) == {"pandas": "3.1.1", "torch": "2.3.0+cu121"}
    assert Argo(image="image:1").expected(here) == here


def test_an_archive_depends_on_nothing_but_its_files(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        tree = tmp_path / name
        (tree / "deep").mkdir(parents=True)
        (tree / "deep" / "module.py").write_text("answer = 42\n")
        packages._pack(tree, tmp_path / f"{name}.tar")
        digests.add((tmp_path / f"{name}.tar").read_bytes())
    assert len(digests) == 1


@pytest.mark.slow
def test_packages_are_locked_stored_once_and_importable(tmp_path: Path) -> None:
    root = open_store(str(tmp_path / "root"))
    digest = packages.store_packages(root, ("tabulate",), **PLACE)
    stored = root.list(".packages")
    assert packages.store_packages(root, ("tabulate",), **PLACE) == digest
    assert root.list(".packages") == stored

    (lock,) = [path for path, _ in stored if path.endswith(".json")]
    locked = json.loads(root.read(lock))["lock"]
    assert "tabulate==" in locked
    assert "obstore==" in locked
    with tarfile.open(tmp_path / "root" / layout.packages(digest)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    code = "import tabulate, mapred.worker.tasks; print(mapred.worker.tasks.__file__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(tmp_path / "unpacked")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(tmp_path / "unpacked/mapred/worker/tasks.py"), done.stderr


@pytest.mark.slow
def test_packages_that_do_not_exist_are_one_clear_error(tmp_path: Path) -> None:
    wanted = ("no-such-package-of-anybody==1.2.3",)
    with pytest.raises(BackendError, match=r"no-such-package.*cannot be resolved for Python"):
        packages.store_packages(open_store(str(tmp_path)), wanted, **PLACE)
