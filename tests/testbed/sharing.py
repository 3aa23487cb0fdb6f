"""How a server is started and ended: for one user, or for all test processes of a session.

A shared one is started by the first of its users and ended with the last.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KEEPER = Path(__file__).with_name("keeper.py")
Plan = tuple[list[str], dict[str, Any], str]  # the command, what its users need, a URL to await


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def shared(folder: Path, name: str, plan: Callable[[Path], Plan]) -> Iterator[dict[str, Any]]:
    """What `plan` says of the server `name`, which runs until the last of its users leaves.

    `folder` is one that all processes of the session share.
    """
    state = folder / f"{name}.json"
    lock = folder / f"{name}.users"
    with (folder / f"{name}.lock").open("w") as start, lock.open("a") as users:
        fcntl.flock(start, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not state.exists():
            _start(folder / name, lock, state, plan)
        known = json.loads(state.read_text())
        fcntl.flock(start, fcntl.LOCK_UN)
        yield known


def _start(folder: Path, lock: Path, state: Path, plan: Callable[[Path], Plan]) -> None:
    for attempt in range(3):
        # Another program may take a port between its choice and its use: choose anew.
        home = folder / str(attempt)
        home.mkdir(parents=True, exist_ok=True)
        command, known, url = plan(home)
        keeper = [sys.executable, str(KEEPER), str(lock), str(state), *command]
        with (home / "output.txt").open("wb") as output:
            told = subprocess.run(keeper, stdout=subprocess.PIPE, stderr=output, check=True)
        if answers(url, int(told.stdout), seconds=40):
            state.write_text(json.dumps(known))
            return
    text = (home / "output.txt").read_text(errors="replace")
    raise RuntimeError(f"{command[0]} does not start:\n{text[-4000:]}")


@contextlib.contextmanager
def running(home: Path, plan: Plan) -> Iterator[int]:
    """The process id of a server of one's own, killed with its process group after the block."""
    command, _, url = plan
    with (home / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        if not answers(url, process.pid, seconds=90):
            text = (home / "output.txt").read_text(errors="replace")
            raise RuntimeError(f"{command[0]} does not start:\n{text[-4000:]}")
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str, keeper: int, seconds: float) -> bool:
    """Whether a server answers before the seconds are over, or its process."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            os.kill(keeper, 0)
            urllib.request.urlopen(url, timeout=2).close()
            return True
        except urllib.error.HTTPError:
            return True
        except ProcessLookupError:
            return False
        except OSError:
            time.sleep(0.1)
    return False
