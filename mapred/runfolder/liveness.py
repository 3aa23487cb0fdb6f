"""Whether the process that drives a run lives, whatever clocks and host names say.

A process is known by the boot of its machine, its PID namespace, its id there, and when it was
started in ticks since the boot. Processes of one namespace know this of each other for sure.
Others go by a heartbeat in the run's folder. Where there is no `/proc`, as on macOS, a process is
known by its host and the time of its start.
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
FRESH_SECONDS = 90.0  # a driver elsewhere that beat so lately is at work
QUIET_SECONDS = 24 * 3600.0  # one that did not for so long, and was not only paused, has ended
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
    """Return the text in handle.json by which this process is known, under the name of its backend."""
    pid = os.getpid()
    boot, namespace = _place()
    start = _ticks("self") if boot else None
    known = f"{name}:{os.uname().nodename}:{pid}"
    if start is None:
        return f"{known}:{_born(pid) or 0:.2f}"
    return f"{known}:{start}:{boot}:{namespace}"


def process_of(ref: str) -> Process | None:
    """Return the process that a ref names; None for the ref of a cluster."""
    parts = ref.split(":")
    if len(parts) not in (4, 6) or not parts[2].isdecimal() or len(parts[2]) > _DIGITS:
        return None
    return Process(parts[1], int(parts[2]), *parts[3:])


def lives(process: Process) -> bool | None:
    """Whether a process lives; None where that cannot be seen from here."""
    if not process.boot:
        if process.host != os.uname().nodename:
            return None
        born = _born(process.pid)
        return born is not None and abs(born - _number(process.start)) < _SAME_START
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
        return None  # Processes of other users are hidden.
    return None


def _place() -> tuple[str, str]:
    """Return the boot and the PID namespace of this process; empty where nothing tells.

    A time namespace counts as a boot of its own: its clocks since the boot are set apart.
    """
    try:
        if os.readlink(f"{_PROC}/self") != str(os.getpid()):
            return "", ""  # `/proc` shows another namespace.
        with open(f"{_PROC}/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        with suppress(FileNotFoundError):  # Linux before 5.6 has none.
            boot += f".{os.stat(f'{_PROC}/self/ns/time').st_ino}"
        return boot, str(os.stat(f"{_PROC}/self/ns/pid").st_ino)
    except OSError:
        return "", ""


def _ticks(pid: str) -> str | None:
    """When a process was started, in ticks since the boot; None for one that has ended."""
    with open(f"{_PROC}/{pid}/stat", "rb") as stat:
        # What follows the program's name, which may hold blanks and brackets.
        fields = stat.read().rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _born(pid: int) -> float | None:
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, OverflowError):
        return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


@contextmanager
def beating(store: Store, ref: str) -> Iterator[None]:
    """Say in the folder, now and then, that the process lives: short runs say nothing."""
    ended = threading.Event()
    beats = threading.Thread(
        target=_beat, args=(store, ref, ended), name="mapred-heartbeat", daemon=True
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
    """A sign of life of what drives a run: when, in seconds since the epoch and since the boot."""

    ref: str
    time: Seconds = 0.0
    boot: str = ""
    uptime: Seconds = 0.0


def _beat(store: Store, ref: str, ended: threading.Event) -> None:
    written = False
    while not ended.wait(BEAT_SECONDS):
        # What cannot be written now may be the next time: a folder that is gone is not made anew.
        with suppress(MapredError, OSError):
            store.read(layout.JOB, 0, 1)
            beat = _Beat(ref, time.time(), _place()[0], _uptime())
            store.write(layout.HEARTBEAT, encode(beat))
            written = True
    if written:
        with suppress(MapredError, OSError):
            store.delete(layout.HEARTBEAT)


@dataclass(frozen=True)
class Driver:
    """The process that drives a run, or did last, as far as it can be known here.

    `lives` is None where it cannot be seen; `quiet` is then for how many seconds it has given no
    sign of life.
    """

    process: Process
    lives: bool | None
    quiet: float = 0.0

    @property
    def is_here(self) -> bool:
        """Whether it is this very process."""
        return bool(self.lives) and self.process.pid == os.getpid()

    @property
    def is_known(self) -> bool:
        """Whether it lives can be told: it is seen, or gives signs of life."""
        return self.lives is not None or bool(self.process.boot)

    @property
    def alive(self) -> bool:
        """Whether it lives, or gave a sign lately."""
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
    """Return the process that a run was started by; None where there is none, or a cluster."""
    process = None if start.ref is None else process_of(start.ref)
    if start.ref is None or process is None:
        return None
    seen = lives(process)
    return Driver(
        process, seen, 0.0 if seen is not None else seconds_quiet(store, start.ref, start.time)
    )


def seconds_quiet(store: Store, ref: str, started: float) -> float:
    """Seconds since the process of a ref gave a sign of life, its start included.

    On one machine they are counted by a clock that nobody sets.
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
