"""The driver's end of a fork server: starting one, and having it fork workers."""

from __future__ import annotations

import atexit
import os
import pickle
import queue
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from mapred.engine.messages import ENDED, NOTICE, REFUSED, STARTED, bound_sending
from mapred.errors import BackendError
from mapred.model.resources import THREADS
from mapred.process.children import signal_name
from mapred.process.shortages import REMEDY

_HERE = os.path.abspath(f"{__file__}/../../..")  # where this package lies
_START_SECONDS = 60.0  # in which a server that lives imports what is needed, and forks
_CLOSE_SECONDS = 5.0
# Memory from the C library, in pages of 2 MiB where the system has such: Arrow's own allocator and
# small pages make whole queries slower. The pages are glibc's, from 2.35 on.
_MEMORY = {"ARROW_DEFAULT_MEMORY_POOL": "system", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
# Neither the folder that the server starts in nor the user's script is on its import path.
_SERVER = """
import socket, sys
sys.path[:1] = sys.path[:1] if sys.path[0] else []
from mapred.engine import fork_server
fork_server.serve(socket.socket(fileno=int(sys.argv[1])))
"""


class ServerLost(BackendError):
    """A fork server has ended, or does not answer: a new one may work."""


class ForkServer:
    """A process that forks workers. One thread at a time may start them."""

    def __init__(self) -> None:
        # A library that started threads of its own in the server would hang in its forks, which
        # have none of them; a worker sets how many its task may use.
        env = {**dict.fromkeys(THREADS, "1"), **_MEMORY, **os.environ}
        env["PYTHONPATH"] = os.pathsep.join([*_import_path()[1:], _HERE])
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _SERVER, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C in the terminal is the driver's to handle
                    env=env,
                )
        except OSError as error:
            raise _cannot_start(error) from error
        bound_sending(ours, _START_SECONDS)
        self.control = ours
        self.owner = os.getpid()
        self.lock = threading.Lock()
        self.started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.ended: dict[int, int] = {}
        self.condition = threading.Condition()
        self.dead = False
        try:
            threading.Thread(target=self._listen, name="mapred-forkserver", daemon=True).start()
        except RuntimeError as error:  # the system has no room for one more thread
            self.close()
            raise _cannot_start(error) from error

    def start(
        self, descriptors: Sequence[int], env: Mapping[str, str], modules: Sequence[str]
    ) -> int:
        """Return the pid of a new worker; `env` goes on top of this process's variables.

        The descriptors are its connection, its log and where it notes what it is at. The server
        itself imports `modules`, so that all workers share them.
        """
        settings = {
            "env": {**os.environ, **env},
            "cwd": current_folder(),
            "path": _import_path(),
            "modules": list(modules),
        }
        payload = pickle.dumps(settings)
        # Answers do not say which request they are to: there is one at a time.
        with self.lock:
            try:
                if self.dead:
                    raise EOFError
                socket.send_fds(self.control, [struct.pack("!i", len(payload))], descriptors)
                self.control.sendall(payload)
                pid = self.started.get(timeout=_START_SECONDS)
            except (OSError, EOFError, queue.Empty) as error:
                # A server that does not answer helps as little as one that has ended.
                self.process.kill()
                raise ServerLost(self.how_it_ended()) from error
        if pid == _GONE:
            raise ServerLost(self.how_it_ended())
        if pid < 0:
            raise BackendError(
                f"no worker process can be started: {os.strerror(-pid)}; let this user have more "
                "processes (ulimit -u), files (ulimit -n) or memory, or run fewer: "
                "backend=mapred.Local(workers=…)"
            )
        return pid

    def how_it_ended(self) -> str:
        """Return in words how a server ended that is gone."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_CLOSE_SECONDS)
        status = self.process.returncode
        ended = "is gone" if status is None else f"exited with status {status}"
        if status is not None and status < 0:
            ended = f"was killed by {signal_name(-status)}"
        return f"the process that worker processes are forked from {ended}, again and again"

    def exit_status(self, pid: int, timeout: float = 5.0) -> int | None:
        """Return how a worker ended (negative: by that signal); None if that is unknown."""
        with self.condition:
            self.condition.wait_for(lambda: pid in self.ended or self.dead, timeout)
            return self.ended.pop(pid, None)

    def close(self) -> None:
        if os.getpid() != self.owner:
            return
        with suppress(OSError):
            # To close it would leave `_listen` in its `recv`; this wakes it, and ends the server.
            self.control.shutdown(socket.SHUT_RDWR)
        self.control.close()
        try:
            self.process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_CLOSE_SECONDS)

    def _listen(self) -> None:
        while True:
            try:
                notice = self.control.recv(NOTICE.size, socket.MSG_WAITALL)
            except OSError:
                notice = b""
            if len(notice) < NOTICE.size:
                break
            kind, pid, status = NOTICE.unpack(notice)
            if kind == STARTED:
                with self.condition:
                    # The system gives the ids of ended processes to new ones after some time.
                    self.ended.pop(pid, None)
                self.started.put(pid)
            elif kind == REFUSED:
                self.started.put(-status)
            elif kind == ENDED:
                with self.condition:
                    self.ended[pid] = status
                    self.condition.notify_all()
        with self.condition:
            self.dead = True
            self.condition.notify_all()
        self.started.put(_GONE)


def _cannot_start(error: Exception) -> BackendError:
    return BackendError(
        f"the process that starts worker processes cannot be started: {error}; {REMEDY}"
    )


def _import_path() -> list[str]:
    """`sys.path` without what Python itself passes over, such as a `Path`."""
    entries: list[Any] = sys.path
    return [entry for entry in entries if isinstance(entry, str)]


def current_folder() -> str:
    """Return where this process is, as its workers will be; an error where the folder is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        try:
            place = os.readlink("/proc/self/cwd").removesuffix(" (deleted)")
        except OSError:
            place = os.environ.get("PWD", "")
        raise BackendError(
            f"the current folder {place} was removed; change to one that exists "
            "(os.chdir, or cd in a shell) and start again"
        ) from None


_GONE = 0  # in place of a worker's pid, where the server is dead
_server: ForkServer | None = None
_server_lock = threading.Lock()


def fork_server() -> ForkServer:
    """Return this process's fork server: started at first use, kept, and made again if lost."""
    global _server
    with _server_lock:
        if _server is not None and _server.owner != os.getpid():
            _server = None  # a fork of this process shares the connection: its answers would mix
        if _server is not None and (_server.dead or _server.process.poll() is not None):
            _server.close()
            atexit.unregister(_server.close)
            _server = None
        if _server is None:
            _server = ForkServer()
            atexit.register(_server.close)
        return _server
