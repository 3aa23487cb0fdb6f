"""What goes wrong gives one clear error, and nothing committed is lost."""

from __future__ import annotations

import gzip
import os
import pickle
import re
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mapred
from mapred.errors import (
    DatasetError,
    FunctionError,
    MissingDependency,
    PlanError,
    RunError,
    StorageError,
)
from mapred.model import layout
from mapred.runfolder.folder import RunFolder

Fails = Callable[..., RunError]


@pytest.fixture
def fails(tmp_path: Path) -> Fails:
    """Run something that must fail, and check what every failed run has in common."""

    def run(fn: Any, dataset: Any, **options: Any) -> RunError:
        options = {"attempts": 1, **options}
        with pytest.raises(RunError) as caught:
            mapred.run(fn, dataset, root=tmp_path / "runs", progress="none", **options)
        error = caught.value
        assert error.run.uri in str(error)
        assert "resume(" in str(error)
        assert len(str(error)) < 20_000
        return error

    return run


def _lines(lines: Iterator[str]) -> int:
    return sum(1 for _ in lines)


def test_errors_are_pickled_whole() -> None:
    error = pickle.loads(pickle.dumps(MissingDependency("hera", "argo")))
    assert isinstance(error, ImportError)
    assert "pip install 'mapred[argo]'" in str(error)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attempts": 0}, "attempts=0"),
        ({"timeout": -1}, "timeout=-1"),
        ({"deadline": 0}, "deadline=0"),
        ({"max_failed": -1}, "max_failed=-1"),
        ({"max_failed": 1.5}, "max_failed=1.5"),
        ({"target_bytes": "lots"}, "target_bytes='lots'"),
        ({"max_tasks": 0}, "max_tasks=0"),
        ({"per_task": 2}, "per_task="),
    ],
)
def test_bad_limits_are_named(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    with pytest.raises(PlanError, match=words):
        mapred.run(_lines, str(tmp_path / "a.txt"), root=tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("2*"))


def test_no_match_names_glob_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nothing\*\.txt"):
        mapred.run(_lines, str(tmp_path / "nothing*.txt"), root=tmp_path / "runs")


@pytest.mark.parametrize(
    "nothing",
    [list, lambda: mapred.items([]), lambda: mapred.files([])],
    ids=["list", "items", "files"],
)
def test_an_empty_dataset_is_named(nothing: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        mapred.run(_lines, nothing(), root=tmp_path / "runs")


def test_a_truncated_gzip_is_never_short(tmp_path: Path, fails: Fails) -> None:
    data = gzip.compress(os.urandom(50_000).hex().encode())
    (tmp_path / "good.txt.gz").write_bytes(data)
    (tmp_path / "bad.txt.gz").write_bytes(data[:-100])
    error = fails(_lines, str(tmp_path / "*.gz"), target_bytes=1000, attempts=3)
    assert "bad.txt.gz" in str(error)
    (failure,) = error.failures
    assert (failure.kind, failure.attempts) == ("dataset", 1), "no use in trying that again"


def test_a_corrupt_parquet_footer(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": range(100)}), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[:-20] + b"\0" * 20)
    with pytest.raises(DatasetError, match=r"a\.parquet"):
        mapred.run(len, str(tmp_path / "a.parquet"), root=tmp_path / "runs")


def test_a_corrupt_parquet_page(tmp_path: Path, fails: Fails) -> None:
    pq.write_table(
        pa.table({"x": pa.array(range(10_000))}),
        tmp_path / "a.parquet",
        use_dictionary=False,
        row_group_size=5000,
        compression="zstd",
    )
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[60:160] = b"\xff" * 100
    (tmp_path / "a.parquet").write_bytes(data)
    error = fails(lambda table: table.num_rows, str(tmp_path / "a.parquet"))
    assert "a.parquet" in error.failures[0].where
    assert error.failures[0].error == "DatasetError"


def test_bytes_that_are_not_utf8(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "a.txt").write_bytes(b"fine\n\xff\xfe broken\n")
    error = fails(_lines, str(tmp_path / "a.txt"))
    assert "a.txt" in str(error)
    assert "errors=" in str(error)


def test_a_ragged_csv(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n")
    schema = pa.schema({"a": pa.int64(), "b": pa.int64()})
    error = fails(len, mapred.read_csv(str(tmp_path / "a.csv"), schema=schema))
    assert "a.csv" in str(error)


def test_json_that_is_not(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": \n')
    schema = pa.schema({"a": pa.int64()})
    error = fails(len, mapred.read_json(str(tmp_path / "a.jsonl"), schema=schema))
    assert "a.jsonl" in str(error)


def test_a_filter_that_does_not_fit_is_refused_by_the_plan(tmp_path: Path) -> None:
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "a.parquet")
    for bad in ([("nome", "=", "a")], [("name", ">", 1)], [("name", "like", "a")]):
        with pytest.raises(DatasetError, match=r"filter.* (does not fit the columns|is not a)"):
            mapred.plan(mapred.read_parquet(f"{tmp_path}/*.parquet", filters=bad))


def test_a_schema_that_differs(tmp_path: Path, fails: Fails) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": ["one"]}), tmp_path / "b.parquet")
    error = fails(len, str(tmp_path / "*.parquet"))
    assert "b.parquet" in str(error)


@pytest.mark.parametrize("change", ["rewritten", "deleted"])
def test_a_file_that_changed_after_the_plan(change: str, tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n")
    plan = mapred.plan(str(path))
    path.unlink()
    if change == "rewritten":
        path.write_text("two\n")
    error = fails(_lines, plan)
    assert error.failures[0].error == "StaleDatasetError"
    assert "a.txt" in str(error)


def test_a_function_that_cannot_be_pickled(tmp_path: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(FunctionError, match="'lock'"):
        mapred.run(lambda item: (lock, item), mapred.array(2), root=tmp_path / "runs")


def _recurses(item: int) -> int:
    return _recurses(item + 1)


def _shouts(item: int) -> int:
    for _ in range(1000):
        sys.stdout.write("x" * 2**20)
    raise ValueError("after a gigabyte")


def _exits(item: int) -> int:
    sys.exit(0)


def _exits_hard(item: int) -> int:
    os._exit(0)


def _crashes(item: int) -> int:
    import ctypes

    return ctypes.string_at(0)[0]


def _forks(item: int) -> int:
    if os.fork() == 0:
        return item + 1000
    time.sleep(0.2)
    return item


def _yields(item: int) -> Any:
    return (number for number in range(item))


def _leaves_threads(item: int) -> int:
    threading.Thread(target=time.sleep, args=(600,)).start()
    return os.getpid()


def _mixed_frame(item: int) -> pd.DataFrame:
    return pd.DataFrame({"fine": [1, 2], "mixed_column": [1, "one"]})


def _eats_memory(item: int) -> int:
    held = []
    for _ in range(60):
        held.append(bytearray(20 * 2**20))
        time.sleep(0.05)
    return len(held)


def _sleeps(item: int) -> None:
    time.sleep(600)


@pytest.mark.parametrize(
    ("function", "kind", "words", "attempts"),
    [
        (_recurses, "function", "RecursionError", 2),
        (_exits, "function", "called sys.exit(0)", 2),
        (_exits_hard, "lost", "exited with status 0 before its task was committed", 2),
        (_crashes, "lost", "SIGSEGV", 2),
        (_yields, "function", "generator cannot be stored", 1),
        (_mixed_frame, "function", "mixed_column", 1),
    ],
)
def test_functions_that_misbehave(
    function: Any, kind: str, words: str, attempts: int, fails: Fails
) -> None:
    error = fails(function, mapred.array(1), attempts=2)
    assert words in str(error)
    (failure,) = error.failures
    assert failure.kind == kind
    assert "item" in failure.where
    assert failure.attempts == attempts


@pytest.mark.slow
def test_a_gigabyte_of_output_is_capped(fails: Fails) -> None:
    error = fails(_shouts, mapred.array(1))
    assert "after a gigabyte" in str(error)
    log = error.run.logs(0)
    assert "bytes left out" in log
    assert len(log) < 2**20


def test_a_task_over_its_time(fails: Fails) -> None:
    started = time.monotonic()
    error = fails(_sleeps, mapred.array(1), timeout=0.5)
    assert "timeout=0.5 s" in str(error)
    assert error.failures[0].kind == "timeout"
    assert time.monotonic() - started < 60


def test_a_task_over_its_memory(fails: Fails) -> None:
    error = fails(_eats_memory, mapred.array(1), resources=mapred.Resources(memory="400Mi"))
    assert error.failures[0].kind == "memory"
    assert "the limit is memory=419,430,400" in str(error)


def test_a_run_over_its_deadline(fails: Fails) -> None:
    error = fails(_sleeps, mapred.array(1), deadline=0.5)
    assert "deadline=0.5 s" in str(error)


def test_a_fork_commits_once(tmp_path: Path) -> None:
    run = mapred.run(_forks, mapred.array(3), root=tmp_path, progress="none")
    assert run.result() == [0, 1, 2]


def test_a_process_with_leftover_threads_is_not_used_again(tmp_path: Path) -> None:
    backend = mapred.Local(workers=1)
    run = mapred.run(
        _leaves_threads, mapred.array(3), root=tmp_path, progress="none", backend=backend
    )
    assert len(set(run.result())) == 3


def _raises_everywhere(item: int) -> int:
    raise ValueError(f"bad item {item}")


@pytest.mark.slow
def test_equal_failures_are_one_line(fails: Fails, tmp_path: Path) -> None:
    error = fails(_raises_everywhere, mapred.array(200), max_failed=100)
    assert len(error.failures) > 100
    assert str(error).count("Traceback") <= 1


def test_a_failure_names_file_range_and_line(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "a.txt").write_text("x" * 99 + "\n" + "y" * 99 + "\n")
    error = fails(lambda lines: [int(line) for line in lines], str(tmp_path), target_bytes=100)
    (failure, *_) = error.failures
    assert "a.txt" in failure.where
    assert "test_errors.py" in failure.traceback
    assert "invalid literal" in failure.traceback
    assert "mapred/worker" not in failure.traceback


def test_a_read_only_root(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write /proc/"):
        mapred.run(len, mapred.array(1), root="/proc/runs")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(DatasetError):
        mapred.run(_lines, mapred.files([str(tmp_path / "folder.txt")]), root=tmp_path / "runs")


def test_a_full_disk_keeps_what_is_committed(small_disk: Path) -> None:
    def large(item: int) -> bytes:
        return os.urandom(150_000)

    with pytest.raises(RunError, match="the disk is full") as caught:
        mapred.run(large, mapred.array(12), root=small_disk, progress="none")
    run = caught.value.run
    before = RunFolder(run.store).list_committed("map")
    assert 0 < len(before) < 12
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    kept = {task: run.store.read(layout.commit("map", task)) for task in before}
    assert len(run.resume(progress="none").result()) == 12
    assert kept == {task: run.store.read(layout.commit("map", task)) for task in before}
    assert run.audit().ok


CELL = """
def halve(x):
    return x / 0

def mine():
    return mapred.run(halve, [1], attempts=1, progress="none", root=root)
"""


@pytest.fixture
def shell() -> Iterator[Any]:
    InteractiveShell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_a_notebook_shows_the_lines_of_the_user_and_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: Any
) -> None:
    shown: list[str] = []

    def show(kind: type, value: BaseException, lines: list[str]) -> None:
        shown[:] = [re.sub(r"\x1b\[[\d;]*m", "", "\n".join(lines))]

    monkeypatch.setattr(shell, "_showtraceback", show)
    shell.push({"mapred": mapred, "root": str(tmp_path)})
    shell.run_cell(CELL)
    shell.run_cell("run = mine()")
    (text,) = shown
    assert text.count("\nCell ") == 2
    assert "File " not in text.partition("RunError: run")[0]
    assert "----> 1 run = mine()" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "resume(fn=halve)" in text
    last = [frame.filename for frame in traceback.extract_tb(sys.last_traceback)]
    assert "mapred/client/run_handle.py" in last[-1]  # what `%debug` opens

    shell.run_cell(
        "try:\n    1 / 0\nexcept Exception as error:\n    raise mapred.RunError('x') from error"
    )
    assert "direct cause" in shown[0]
    assert "----> 2     1 / 0" in shown[0]
    assert "----> 4     raise mapred.RunError" in shown[0]
    shell.run_cell("mapred.plan('no/such/*.txt')")
    assert "DatasetError: no/such/*.txt matches no file" in shown[0]
    assert shown[0].count("---->") == 1
    shell.InteractiveTB.skip_hidden = False  # as `%xmode` and `%debug skip_hidden` may have it
    shell.run_cell("mine()")
    assert "run_handle.py" in shown[0]


def test_without_a_notebook_an_error_has_all_of_its_frames(fails: Fails) -> None:
    error = fails(lambda x: x / 0, [1])
    for lines in (traceback.format_exception(error), error._render_traceback_()):
        assert "run_handle.py" in "".join(lines)
        assert "resume(" in "".join(lines)


@pytest.mark.slow
def test_a_kernel_sends_the_lines_of_the_user_and_the_message(tmp_path: Path) -> None:
    client = pytest.importorskip("jupyter_client.manager")
    manager, kernel = client.start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:
        kernel.execute_interactive(f"import mapred; root = {str(tmp_path)!r}\n{CELL}", timeout=60)
        reply = kernel.execute_interactive("mine()", timeout=60, output_hook=lambda message: None)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["ename"] == "RunError"
    text = "\n".join(reply["content"]["traceback"])
    assert "run_handle.py" not in text
    assert "ZeroDivisionError: division by zero" in text
