"""Whether the process that drives a run lives, independent of clocks and host names.

A process is identified by the boot of its machine, its PID namespace, its id there, and its start
in ticks since the boot. Within one namespace that is certain; everybody else goes by a heartbeat
in the run's folder. Without `/proc`, as on macOS, a process is identified by its host and the time
of its start.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mapred.errors import MapredError
from mapred.model import layout
from mapred.model.coding import encode
from mapred.model.fields import Seconds
from mapred.model.frozen import dataclass
from mapred.runfolder import records
from mapred.runfolder.starts import Start
from mapred.storage import Store

BEAT_SECONDS = 20.0
FRESH_SECONDS = 90.0  # a driver elsewhere is at work if its heartbeat is no older
QUIET_SECONDS = 24 * 3600.0  # one without a heartbeat for so long was not just paused: it has ended
_DIGITS = 10  # of a process id, at most
_SAME_START = 60.0  # seconds by which times of one start differ, as clocks are set
_PROC = "/proc"


@dataclass(frozen=True)
class Process:
    """A process that drives a run: `start` is in ticks, or in seconds where there is no `boot`."""

    host: str
    pid: int
    start: str
    boot: str = ""
    namespace: str = ""


def own_ref(name: str) -> str:
    """Return this process as handle.json names it, after the name of its backend."""
    pid = os.getpid()
    boot, namespace = _place()
    start = _ticks("self") if boot else None
    ref = f"{name}:{os.uname().nodename}:{pid}"
    if start is None:
        return f"{ref}:{_creation_time(pid) or 0:.2f}"
    return f"{ref}:{start}:{boot}:{namespace}"


def process_of(ref: str) -> Process | None:
    """Parse a ref; None for that of a cluster."""
    parts = ref.split(":")
    if len(parts) not in (4, 6) or not parts[2].isdecimal() or len(parts[2]) > _DIGITS:
        return None
    return Process(parts[1], int(parts[2]), *parts[3:])


def lives(process: Process) -> bool | None:
    """Whether a process lives; None if that cannot be seen from here."""
    if not process.boot:
        if process.host != os.uname().nodename:
            return None
        created = _creation_time(process.pid)
        try:
            return created is not None and abs(created - float(process.start)) < _SAME_START
        except ValueError:
            return False
    if (process.boot, process.namespace) != _place():
        return None
    try:
        return _ticks(str(process.pid)) == process.start
    except OSError:
        pass
    try:
        os.kill(process.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return None  # `/proc` may hide the processes of other users
    return None


def _place() -> tuple[str, str]:
    """Return the boot and the PID namespace of this process; empty if unknown.

    A time namespace counts as a boot of its own, since its clocks have an offset.
    """
    try:
        if os.readlink(f"{_PROC}/self") != str(os.getpid()):
            return "", ""  # `/proc` shows another namespace
        with open(f"{_PROC}/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        with suppress(FileNotFoundError):  # before Linux 5.6
            boot += f".{os.stat(f'{_PROC}/self/ns/time').st_ino}"
        return boot, str(os.stat(f"{_PROC}/self/ns/pid").st_ino)
    except OSError:
        return "", ""


def _ticks(pid: str) -> str | None:
    """Return the start of a process in ticks since the boot; None if it has ended."""
    with open(f"{_PROC}/{pid}/stat", "rb") as stat:
        # The program's name in brackets may itself hold blanks and brackets.
        fields = stat.read().rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _creation_time(pid: int) -> float | None:
    import psutil  # only needed where there is no `/proc`

    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, OverflowError):
        return None


@contextmanager
def send_heartbeats(store: Store, ref: str, first: str = layout.JOB) -> Iterator[None]:
    """Write a heartbeat into the folder at intervals while `first` is in it; short runs write none."""
    ended = threading.Event()
    beats = threading.Thread(
        target=_beat, args=(store, ref, first, ended), name="mapred-heartbeat", daemon=True
    )
    try:
        beats.start()
    except RuntimeError:  # the system has no room for one more thread
        yield
        return
    try:
        yield
    finally:
        ended.set()
        beats.join(BEAT_SECONDS)


@dataclass(frozen=True)
class _Beat:
    """A heartbeat of the driver `ref`: in seconds since the epoch, and since the boot."""

    ref: str
    time: Seconds = 0.0
    boot: str = ""
    uptime: Seconds = 0.0


def _beat(store: Store, ref: str, first: str, ended: threading.Event) -> None:
    written = False
    while not ended.wait(BEAT_SECONDS):
        with suppress(MapredError, OSError):  # the next one may succeed
            store.read(first, 0, 1)  # a folder that is gone must not be made again
            beat = _Beat(ref, time.time(), _place()[0], _uptime())
            store.write(layout.HEARTBEAT, encode(beat))
            written = True
    if written:
        with suppress(MapredError, OSError):
            store.delete(layout.HEARTBEAT)


@dataclass(frozen=True)
class Driver:
    """The process that drives a run, or did last.

    `lives` is None if it cannot be seen from here; then `quiet` says for how many seconds there
    has been no sign of life.
    """

    process: Process
    lives: bool | None
    quiet: float = 0.0

    @property
    def is_here(self) -> bool:
        return bool(self.lives) and self.process.pid == os.getpid()

    @property
    def is_known(self) -> bool:
        """Whether it can be seen, or gives signs of life."""
        return self.lives is not None or bool(self.process.boot)

    @property
    def alive(self) -> bool:
        """Whether it lives, or did so lately."""
        if self.lives is None:
            return self.is_known and self.quiet < FRESH_SECONDS
        return self.lives

    @property
    def may_live(self) -> bool:
        """Whether it is not certain to have ended."""
        if self.lives is None:
            return self.is_known and self.quiet <= QUIET_SECONDS
        return self.lives


def driver(store: Store, start: Start) -> Driver | None:
    """Return the process that started a run; None if there is none, or a cluster did."""
    process = None if start.ref is None else process_of(start.ref)
    if start.ref is None or process is None:
        return None
    alive = lives(process)
    quiet = seconds_quiet(store, start.ref, start.time) if alive is None else 0.0
    return Driver(process, alive, quiet)


def seconds_quiet(store: Store, ref: str, started: float) -> float:
    """Return the seconds since the start or the last heartbeat of the process of a ref.

    On one machine they are counted by the clock since the boot, which nobody sets.
    """
    beat = records.read_if_sound(store, layout.HEARTBEAT, _Beat)
    if beat is not None and beat.ref == ref:
        if beat.boot and beat.boot == _place()[0]:
            return max(0.0, _uptime() - beat.uptime)
        started = max(started, beat.time)
    return max(0.0, time.time() - started)


def _uptime() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
