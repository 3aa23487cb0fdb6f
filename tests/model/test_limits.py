"""Limits hold, or are refused before anything is written; what a machine lacks is one clear error."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.engine import fork_client
from mapred.errors import BackendError
from mapred.model.limits import Limits
from mapred.model.resources import Resources

ASKED: list[tuple[dict[str, Any], str]] = [
    ({"timeout": 2}, "timeout=2"),
    ({"max_tasks_per_worker": 3}, "max_tasks_per_worker=3"),
    ({"resources": Resources(memory="1Gi")}, "Resources(memory='1Gi')"),
    ({"resources": Resources(cpu=2)}, "Resources(cpu=2)"),
    ({"resources": Resources(gpu=1)}, "Resources(gpu=1)"),
    ({"resources": Resources(env={"TZ": "UTC"})}, "Resources(env={'TZ': …})"),
    (
        {"reduce": sum, "reduce_resources": Resources(memory="1Gi")},
        "Resources(memory='1Gi')",
    ),
]


class Own(Executor):
    """An executor of the user's own."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise AssertionError("nothing may be sent")


@pytest.mark.parametrize(
    ("options", "says"), ASKED, ids=[says for _, says in ASKED[:-1]] + ["reduce"]
)
def test_an_executor_refuses_what_it_cannot_keep(
    options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    for executor in (Own(), ThreadPoolExecutor(1), ProcessPoolExecutor(1)):
        with pytest.raises(BackendError) as caught:
            mapred.run(abs, mapred.array(1), backend=executor, root=tmp_path / "runs", **options)
        text = str(caught.value)
        assert f"a {type(executor).__name__} cannot keep {says}:" in text
        assert "backend='local'" in text
        executor.shutdown()
    assert not (tmp_path / "runs").exists()


def test_all_limits_are_named_at_once_and_each_once() -> None:
    one = Resources(cpu=2, memory="1Gi")
    assert Limits(5, None, (one, one)).describe() == "timeout=5, Resources(cpu=2, memory='1Gi')"
    assert Limits(None, None, (Resources(), Resources(spot=True, disk="1Gi"))).describe() == ""


def test_inline_warns_once_at_the_line_of_the_call() -> None:
    with pytest.warns(UserWarning, match=r"does not keep timeout=2, Resources\(cpu=2\)") as caught:
        run = mapred.run(
            abs, mapred.array(3), per_task=1, backend="inline", timeout=2,
            resources=Resources(cpu=2), progress="none",
        )  # fmt: skip
    assert run.result() == [0, 1, 2]
    assert [warning.filename for warning in caught] == [__file__]


def test_nothing_asked_is_nothing_said() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapred.run(abs, mapred.array(1), backend="inline", deadline=60, progress="none")
        with ThreadPoolExecutor(1) as pool:
            mapred.run(abs, mapred.array(1), backend=pool, deadline=60, progress="none")


def fails(item: int) -> int:
    raise ValueError(item)


def test_a_run_is_not_resumed_where_its_limits_do_not_hold() -> None:
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(fails, mapred.array(1), timeout=60, attempts=1, progress="none")
    run = caught.value.run
    with ThreadPoolExecutor(1) as pool, pytest.raises(BackendError, match="timeout=60"):
        run.resume(abs, backend=pool, progress="none")
    assert mapred.open(run.uri).state == "failed"
    assert run.resume(abs, progress="none").result() == [0]


@pytest.fixture
def removed(tmp_path: Path) -> Iterator[Path]:
    folder, before = tmp_path / "removed", os.getcwd()
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    yield folder
    os.chdir(before)


def test_a_current_folder_that_was_removed_is_named(removed: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=f"the current folder {removed} was removed; change to"):
        mapred.run(abs, mapred.array(1), root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_path_among_the_folders_of_modules_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path, 3])
    assert all(isinstance(entry, str) for entry in fork_client._import_path())
    assert mapred.run(abs, mapred.array(1), progress="none").result() == [0]


def _in_a_process(script: str, files: int) -> subprocess.CompletedProcess[str]:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=lower)


@pytest.mark.slow
def test_few_open_files_are_one_error_whose_advice_helps() -> None:
    done = _in_a_process(
        """
        import re
        import mapred
        try:
            mapred.run(abs, mapred.array(64), per_task=1, backend=mapred.Local(16), progress="none")
        except mapred.BackendError as error:
            text = str(error)
            print(text)
            workers = int(re.search(r"workers=(\\d+)", text)[1])
            backend = mapred.Local(workers)
            run = mapred.run(abs, mapred.array(64), per_task=1, backend=backend, progress="none")
            print(len(run.result()))
        """,
        40,
    )
    assert done.returncode == 0, done.stderr
    assert "16 worker processes need " in done.stdout
    assert "and this process may have 40: raise the limit (ulimit -n " in done.stdout
    assert done.stdout.splitlines()[-1] == "64"


def writes_a_file(item: int, task: mapred.Task) -> int:
    task.output("x").write_text("x")
    return item


def test_no_folder_for_temporary_files_matters_where_one_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", none)
    run = mapred.run(abs, mapred.array(2), backend="inline", progress="none")
    assert run.result() == [0, 1]
    with pytest.raises(mapred.RunError, match=r"\['/tmp'\]; set TMPDIR to"):
        mapred.run(writes_a_file, mapred.array(1), backend="inline", attempts=1, progress="none")
