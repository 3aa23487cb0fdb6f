"""Programs that outlive their starter: these tests need no cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.cluster import processes
from testbed.cluster.errors import ClusterError

# They are meant to be left running by the process that starts them.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PIDS", tmp_path / "pids")
    monkeypatch.setattr(processes, "LOGS", tmp_path / "logs")


def test_a_program_is_started_once_and_ended() -> None:
    processes.start("one", ["sleep", "600"])
    pid = processes.running("one")
    assert pid is not None
    processes.start("one", ["sleep", "600"])
    assert processes.running("one") == pid
    assert processes.names() == ["one"]
    processes.stop("one")
    assert processes.running("one") is None
    assert processes.names() == []
    processes.stop("one")


def test_one_that_ignores_the_signal_is_killed() -> None:
    processes.start("one", [sys.executable, "-c", STUBBORN])
    processes.stop("one", patience=0.5)
    assert processes.running("one") is None


def test_the_id_of_another_process_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "600"])
    try:
        processes.start("one", ["sleep", "600"])
        processes.end(json.loads((tmp_path / "pids" / "one.json").read_text())["pid"])
        record = tmp_path / "pids" / "one.json"
        born = json.loads(record.read_text())["born"]
        record.write_text(json.dumps({"pid": other.pid, "born": born + 1}))
        assert processes.running("one") is None
        processes.stop("one")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_every_wait_ends() -> None:
    with pytest.raises(ClusterError, match="no pigs that fly within 0 s"):
        processes.wait_until(lambda: False, "pigs that fly", 0.2)
    processes.start("one", ["sh", "-c", "echo I cannot >&2; exit 1"])
    with pytest.raises(ClusterError, match=r"(?s)one ended before it.*I cannot"):
        processes.wait_until(lambda: False, "it", 60, "one")
    with pytest.raises(ClusterError, match=r"sleep 600 did not end within 0 s"):
        processes.run("sleep", "600", seconds=0.2)
    with pytest.raises(ClusterError, match=r"(?s)failed with \d.*nothing here"):
        processes.run("ls", "/nothing here")
