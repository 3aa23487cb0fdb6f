"""What is done to runs. Each attack begins subjects, and gives how those under attack ended."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from testbed import people
from testbed.people import ALICE, BOB, User

from reliability.jobs import GATE, ITEMS
from reliability.trials import Outcome, Scene, Subject, mounted

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
VICTIMS = ("driver", "server", "worker", "both", "all")
SPOILED = ("busy", "reset", "lost", "failed", "truncated", "short", "long")


def kills(scene: Scene) -> list[Outcome]:
    """A process, or several, gets a signal at a random moment; once more while the run is resumed."""
    told = []
    for _ in range(scene.chance.choice((1, 1, 2))):
        uri = scene.uri()
        subject = scene.begin() if uri is None else scene.resume(uri)
        if scene.chance.random() < 0.85:
            subject.begun()
        scene.sleep(0.8)
        _kill(scene, subject)
        told.append(subject.outcome())
    return told


def _kill(scene: Scene, subject: Subject) -> None:
    family = scene.family(subject)
    victim = scene.chance.choice(VICTIMS)
    roles = {"both": ("driver", "server"), "all": tuple(family)}.get(victim, (victim,))
    number = scene.chance.choice(SIGNALS)
    for role in roles:
        chosen = family[role]
        if role == "worker" and victim == "worker" and chosen:
            chosen = [scene.chance.choice(chosen)]
        for process in chosen:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
                scene.note("signals")


def stops(scene: Scene) -> list[Outcome]:
    """Processes are stopped for up to half a second, one after another."""
    subject = scene.begin()
    subject.begun()
    while subject.process.poll() is None:
        family = scene.family(subject)
        everybody = [process for role in family.values() for process in role]
        if not everybody:
            break
        process = scene.chance.choice(everybody)
        with contextlib.suppress(psutil.Error):
            process.suspend()
            scene.note("stops")
            scene.sleep(0.5)
            process.resume()
        scene.sleep(0.1)
    return [subject.outcome()]


def twins(scene: Scene) -> list[Outcome]:
    """Two more processes do all tasks of the map beside the driver; one of them is killed."""
    subject = scene.begin()
    if not subject.begun():
        return [subject.outcome()]
    uri = str(subject.uri)
    digest = hashlib.sha256(Path(uri, "job.json").read_bytes()).hexdigest()
    block = [sys.executable, "-m", "mapred.worker.supervisor", uri, digest, "map", "0", f"{ITEMS}"]
    beside = [scene.spawn(block) for _ in range(2)]
    scene.note("twins", 2)
    scene.sleep(1.0)
    beside[0].process.kill()
    scene.note("signals")
    outcome = subject.outcome()
    for each in beside:
        with contextlib.suppress(subprocess.TimeoutExpired):
            each.process.wait(30)
    return [outcome]


def drivers(scene: Scene) -> list[Outcome]:
    """A run is killed, and two or three processes resume it at the same moment."""
    subject = scene.begin()
    subject.begun()
    scene.sleep(0.5)
    subject.process.kill()
    told = [subject.outcome()]
    uri = scene.uri()
    if uri is None:
        return told
    resumed = [scene.resume(uri) for _ in range(scene.chance.choice((2, 3)))]
    scene.note("resumes", len(resumed))
    return told + [each.outcome() for each in resumed]


def colleagues(scene: Scene) -> list[Outcome]:
    """As `drivers`, in a team's root, by two users of different umasks."""
    with people.office() as office:
        scene.root = str(people.team_root(office))
        umasks = scene.chance.sample((0o022, 0o077, 0o002), 2)
        users = [User(office, ALICE, umasks[0]), User(office, BOB, umasks[1])]
        scene.env["HOME"] = str(office)
        os.chown(scene.folder, ALICE, people.TEAM)
        scene.folder.chmod(0o755)
        subject = scene.begin(prefix=users[0].become(), umask=users[0].umask)
        subject.begun()
        scene.sleep(0.5)
        subject.process.kill()
        told = [subject.outcome()]
        uri = scene.uri()
        if uri is not None:
            resumed = [scene.resume(uri, prefix=u.become(), umask=u.umask) for u in users]
            scene.note("users", len(users))
            told += [each.outcome() for each in resumed]
            told.append(scene.resume(uri, prefix=users[1].become()).outcome())
            scene.over = True
        scene.root = str(scene.folder / "runs")
        return told


def liveness(scene: Scene) -> list[Outcome]:
    """Beside a run `rm` and `gc` are tried, also from other namespaces; the run must continue."""
    gate = scene.folder / "gate"
    scene.env[GATE] = str(gate)
    subject = scene.begin()
    subject.begun()
    places = {
        "pid": ["unshare", "--pid", "--fork", "--mount-proc"],
        "time": ["unshare", "--time", "--boottime", "100000", "--fork"],
        "uts": ["unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"],
        "same": [],
    }
    mapred = [sys.executable, "-m", "mapred"]
    name = scene.chance.choice(list(places))
    told = []
    for words in (["rm", str(subject.uri)], ["gc", "--older-than", "0s", "--root", scene.root]):
        done = scene.spawn([*places[name], *mapred, *words, "--yes"])
        done.process.wait(30)
        scene.note(f"{words[0]} tried in {name}")
        if not Path(str(subject.uri), "job.json").exists():
            told.append(Outcome("wrong", f"{words[0]} in {name} removed a live run"))
            break
    gate.touch()
    return [*told, subject.outcome()]


def clock(scene: Scene) -> list[Outcome]:
    """The driver's clock is set back or forth in the middle."""
    step = scene.chance.choice((-86400, -3600, -1, 1, 3600, 86400))
    scene.note("steps")
    return [scene.begin(f"{step}").outcome()]


def full_disk(scene: Scene) -> list[Outcome]:
    """The root's disk is filled at a random moment."""
    with _disk(scene, f"size={scene.chance.choice((4, 6, 8))}m") as disk:
        return _obstructed(scene, lambda: _fill(disk), (disk / "filler").unlink)


def no_inodes(scene: Scene) -> list[Outcome]:
    """The root's disk runs out of inodes."""
    with _disk(scene, "size=32m,nr_inodes=600") as disk:
        held = disk / "held"
        return _obstructed(scene, lambda: _fill_names(held), lambda: _remove(held))


def read_only(scene: Scene) -> list[Outcome]:
    """The root's disk becomes read-only at a random moment."""
    with _disk(scene, "size=32m") as disk:
        return _obstructed(scene, lambda: _remount(disk, "ro"), lambda: _remount(disk, "rw"))


def few_files(scene: Scene) -> list[Outcome]:
    """No process may open more than so many files."""
    number = scene.chance.choice((64, 64, 32, 20, 12))
    scene.note(f"at {number}")
    return [scene.begin(prefix=["prlimit", f"--nofile={number}"]).outcome()]


def few_processes(scene: Scene) -> list[Outcome]:
    """The user may have no more than so many processes and threads."""
    number = scene.chance.choice((64, 64, 32, 8, 3))
    scene.note(f"at {number}")
    with people.office() as office:
        scene.root = f"{office}/{ALICE}/runs"
        scene.env["HOME"] = f"{office}/{ALICE}"
        user = User(office, ALICE)
        limited = [*user.become(), "prlimit", f"--nproc={number}"]
        told = [scene.begin(prefix=limited).outcome()]
        uri = scene.uri()
        if told[0].kind != "exact" and uri is not None:
            told.append(scene.resume(uri, prefix=user.become()).outcome())
            scene.over = True
        scene.root = str(scene.folder / "runs")
        return told


def no_tmp(scene: Scene) -> list[Outcome]:
    """The folder for temporary files is full, read-only, not for programs, or not there."""
    how = scene.chance.choice(("full", "ro", "noexec", "gone"))
    scene.note(how)
    options = {"full": "size=64k", "ro": "size=1m,ro", "noexec": "size=32m,noexec", "gone": ""}[how]
    folder = scene.folder / "tmp"
    scene.env["TMPDIR"] = str(folder)
    try:
        if how == "gone":
            return [scene.begin().outcome()]
        with mounted(folder, options):
            if how == "full":
                _fill(folder)
            return [scene.begin().outcome()]
    finally:
        del scene.env["TMPDIR"]


def faults(scene: Scene) -> list[Outcome]:
    """Answers of an S3 server are spoiled by a proxy, and at times a process is killed."""
    from reliability.servers import behind_proxy

    with behind_proxy(scene) as proxy:
        kinds = tuple(scene.chance.sample(SPOILED, scene.chance.randint(1, 4)))
        subject = scene.begin()
        if scene.chance.random() < 0.5:
            proxy.spoil(scene.chance.uniform(0.02, 0.2), kinds, "GET HEAD PUT POST DELETE")
        subject.begun()
        proxy.spoil(scene.chance.uniform(0.02, 0.3), kinds, "GET HEAD PUT POST DELETE")
        if scene.chance.random() < 0.3:
            scene.sleep(1.0)
            _kill(scene, subject)
        told = [subject.outcome()]
        proxy.spoil(0)
        scene.note("requests", len(proxy.requests()))
        return _resumed_here(scene, told)


def outages(scene: Scene) -> list[Outcome]:
    """For some seconds an S3 server answers nothing, or nothing but errors."""
    from reliability.servers import behind_proxy

    scene.env["MAPRED_STORAGE_TIMEOUT"] = scene.chance.choice(("1", "3", "20"))
    with behind_proxy(scene) as proxy:
        subject = scene.begin()
        subject.begun()
        scene.sleep(0.5)
        kind = scene.chance.choice((*SPOILED, "stall"))
        proxy.spoil(1, (kind,), "GET HEAD PUT POST DELETE")
        time.sleep(scene.chance.uniform(0.5, 6))
        proxy.spoil(0)
        scene.note("outages")
        return _resumed_here(scene, [subject.outcome()])


def _resumed_here(scene: Scene, told: list[Outcome]) -> list[Outcome]:
    """Resume while the server is there; a run that was not begun is begun anew later."""
    uri = scene.uri()
    if uri is not None and told[-1].kind != "exact":
        told.append(scene.resume(uri).outcome())
    return told


@contextlib.contextmanager
def _disk(scene: Scene, options: str) -> Iterator[Path]:
    """A small disk for the root. What is left undone is done before it goes."""
    with mounted(scene.folder / "disk", options) as disk:
        scene.root = str(disk / "runs")
        yield disk


def _obstructed(scene: Scene, close: Any, open_again: Any) -> list[Outcome]:
    subject = scene.begin()
    if scene.chance.random() < 0.85:
        subject.begun()
    scene.sleep(0.8)
    close()
    scene.note("obstacles")
    told = [subject.outcome()]
    open_again()
    while told[-1].kind != "exact" and len(told) < 4:
        uri = scene.uri()
        told.append((scene.begin() if uri is None else scene.resume(uri)).outcome())
    scene.over = True
    return told


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def _fill_names(folder: Path) -> None:
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in range(10_000):
            (folder / f"{number}").touch()


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _remount(disk: Path, how: str) -> None:
    # Busy as long as somebody writes to a file at this very moment.
    for _ in range(200):
        done = subprocess.run(
            ["mount", "-o", f"remount,{how}", str(disk)], capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        time.sleep(0.01)
    raise RuntimeError(f"the disk could not be made {how}")


ATTACKS = {
    "kills": kills,
    "stops": stops,
    "twins": twins,
    "drivers": drivers,
    "colleagues": colleagues,
    "liveness": liveness,
    "clock": clock,
    "full-disk": full_disk,
    "no-inodes": no_inodes,
    "read-only": read_only,
    "few-files": few_files,
    "few-processes": few_processes,
    "no-tmp": no_tmp,
    "faults": faults,
    "outages": outages,
}
