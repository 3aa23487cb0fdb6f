"""Few files, threads, processes or little memory: one clear error, and no wait for good."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mapred.errors import BackendError, StorageError
from mapred.process import shortages

pytestmark = pytest.mark.timeout(240)
SCRIPT = """
    import os, resource, sys, threading
    from concurrent.futures import ThreadPoolExecutor
    import mapred
    from mapred.errors import MapredError

    root, kinds = sys.argv[1], sys.argv[2].split()
    said = {}

    def attempt(**options):
        try:
            run = mapred.run(abs, mapred.items(range(4)), root=root, progress="none", **options)
            word = "done" if run.result() == [0, 1, 2, 3] else "wrong"
        except MapredError as error:
            word = str(error)
        said[word] = said.get(word, 0) + 1

    def backend(kind):
        return ThreadPoolExecutor(1) if kind == "threads" else kind

    def few_files(kind):
        for room in range(16):
            found = resource.getrlimit(resource.RLIMIT_NOFILE)
            highest = max(int(name) for name in os.listdir("/dev/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + room, found[1]))
            try:
                attempt(backend=backend(kind))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, found)

    def few_threads(kind):
        start = threading.Thread.start
        for room in range(4):
            left = [None] * room
            def refuse(thread):
                if not left:
                    raise RuntimeError("can't start new thread")
                left.pop()
                start(thread)
            pool = backend(kind)
            threading.Thread.start = refuse
            try:
                attempt(backend=pool)
            finally:
                threading.Thread.start = start

    attempt(backend="inline")
    for kind in kinds:
        few_files(kind)
        few_threads(kind)
        attempt(backend=backend(kind))
    for word, number in sorted(said.items()):
        print(number, word.splitlines()[0])
"""


def run_script(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
def test_few_files_and_threads_are_clear_errors(tmp_path: Path) -> None:
    said = run_script(SCRIPT, str(tmp_path), "inline threads local")
    assert "done" in said
    assert "wrong" not in said
    assert "can't start new thread" in said
    assert "ulimit -n" in said


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "ulimit -v"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (ImportError("libarrow.so: failed to map segment from shared object"), "ulimit -v"),
        (MemoryError(), "ulimit -v"),
    ],
)
def test_what_the_system_refuses_is_said(error: Exception, advice: str) -> None:
    with pytest.raises(BackendError, match=advice) as told, shortages.explain_shortages():
        raise error
    assert told.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), OSError(errno.ENOENT, "x"), RuntimeError("x"), StorageError("x")],
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as told, shortages.explain_shortages():
        raise error
    assert told.value is error


@pytest.fixture
def few_processes() -> Iterator[Path]:
    """A group whose members may have some more processes, where this user may make one."""
    for base in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        group = Path(base, f"mapred-test-{os.getpid()}")
        try:
            group.mkdir()
            (group / "pids.max").write_text("max")
        except OSError:
            continue
        yield group
        while True:
            try:
                group.rmdir()
                return
            except OSError:
                time.sleep(0.1)
    pytest.skip("needs the right to make a group of processes with a limit")


LIMITED = """
    import os, sys, time
    import mapred
    from mapred.errors import MapredError

    group, root, room = sys.argv[1:]
    open(group + "/cgroup.procs", "w").write(str(os.getpid()))
    mapred.run(abs, mapred.items(range(2)), root=root, progress="none", backend="inline")
    used = int(open(group + "/pids.current").read())
    open(group + "/pids.max", "w").write(str(used + int(room)))

    def slowly(item):
        time.sleep(0.01)
        return item

    try:
        run = mapred.submit(slowly, mapred.items(range(20)), per_task=1, reduce=sum, root=root)
        run.wait(timeout=60)
        print("state", run.state)
        run.finish("none")
        print("done", run.result())
    except MapredError as error:
        print("error", str(error).splitlines()[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("room", [1, 4, 9])
def test_a_limit_of_processes_hangs_nothing(few_processes: Path, tmp_path: Path, room: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(LIMITED)]
    done = subprocess.run(
        [*command, str(few_processes), str(tmp_path), str(room)],
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    last = done.stdout.splitlines()[-1:]
    assert last == ["done 190"] or last[0].startswith("error "), done.stdout + done.stderr
    assert "state running" not in done.stdout
