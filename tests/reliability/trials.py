"""One trial: a root, the processes that work there, and the verdict on what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

BOUND = 60.0  # seconds that any process of a trial may take
TRIES = 4  # resumes until a run that can succeed must have succeeded
GRACE = 10.0  # seconds in which what belongs to a run that ended must have ended too
MARK = "RELIABILITY_TRIAL"
TESTS = Path(__file__).parent.parent

# Words of an error that only the author of mapred understands.
_UNCLEAR = re.compile(
    r"the pool (failed|broke)|Expecting value|Traceback|\[Errno|object at 0x|NoneType|^\s*$"
)


@dataclass(frozen=True)
class Outcome:
    """How a process ended: with an answer, with an error, or without a word (`killed`)."""

    kind: str  # exact, wrong, error, foreign, stopped, killed, hang
    text: str = ""

    @property
    def fault(self) -> str:
        """What is wrong with it; nothing where it is one of the ways to end."""
        if self.kind in ("wrong", "foreign", "hang"):
            return f"{self.kind}: {self.text}"
        if self.kind == "error" and _UNCLEAR.search(self.text.partition(": ")[2]):
            return f"unclear: {self.text}"
        return ""


@dataclass(frozen=True)
class Verdict:
    """What came of a trial.

    `result` is `exact` (at once), `resumed`, `anew` (there was no run yet, and another one was
    exact), or `fault`. `errors` are those that were told on the way, `done` is what the attack did.
    """

    attack: str
    kind: str
    seed: int
    result: str
    done: Mapping[str, int]
    errors: tuple[str, ...] = ()
    fault: str = ""
    seconds: float = 0.0


class Subject:
    """A process of a trial, whose words go to a file."""

    def __init__(self, process: subprocess.Popen[bytes], told: Path) -> None:
        self.process, self._told = process, told
        self._end = time.monotonic() + BOUND

    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self._told.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    @property
    def uri(self) -> str | None:
        return next((line["uri"] for line in self.lines() if "uri" in line), None)

    def begun(self, seconds: float = 20.0) -> bool:
        """Wait until there is a run, or the process has ended."""
        end = time.monotonic() + seconds
        while self.uri is None and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        return self.uri is not None

    def outcome(self) -> Outcome:
        """Wait for its end."""
        try:
            code = self.process.wait(max(0.1, self._end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return Outcome("hang", f"no end after {BOUND:.0f} s")
        last = next((line for line in reversed(self.lines()) if "uri" not in line), None)
        if last is None:
            said = self._told.with_suffix(".err").read_text(errors="replace")
            stopped = code < 0 or "KeyboardInterrupt" in said
            last_line = (said.strip().splitlines() or [""])[-1]
            return Outcome("killed") if stopped else Outcome("foreign", last_line[:300])
        if last.get("stopped"):
            return Outcome("stopped")
        if "error" in last:
            text = f"{last['error']}: {last['text']}"
            return Outcome("error" if last["ours"] else "foreign", text)
        if not last["exact"] or not last["whole"]:
            what = "not whole" if last["exact"] else "not the answer"
            return Outcome("wrong", f"{what}: {last['text']}")
        return Outcome("exact")


@dataclass
class Scene:
    """What an attack has to do with: it begins subjects, finds their processes, counts its deeds."""

    folder: Path
    kind: str
    chance: random.Random
    root: str = ""
    env: dict[str, str] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    subjects: list[Subject] = field(default_factory=list)
    over: bool = False  # the attack resumed the run itself, and its root is gone

    def __post_init__(self) -> None:
        self.root = self.root or str(self.folder / "runs")

    def note(self, deed: str, count: int = 1) -> None:
        self.done[deed] = self.done.get(deed, 0) + count

    def begin(self, *more: str, **how: Any) -> Subject:
        return self._start("begin", self.root, more, **how)

    def resume(self, uri: str, **how: Any) -> Subject:
        return self._start("resume", uri, (), **how)

    def _start(
        self,
        action: str,
        where: str,
        more: Sequence[str],
        prefix: Sequence[str] = (),
        **how: Any,
    ) -> Subject:
        words = [sys.executable, "-m", "reliability.subject", action, self.kind, where, *more]
        return self.spawn([*prefix, *words], **how)

    def spawn(self, command: Sequence[str], **how: Any) -> Subject:
        told = self.folder / f"{len(self.subjects)}.out"
        with told.open("wb") as out, told.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.environment(),
                cwd=self.folder,
                start_new_session=True,
                **how,
            )
        subject = Subject(process, told)
        self.subjects.append(subject)
        return subject

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
        return {**os.environ, "PYTHONPATH": path, MARK: self.mark, **self.env}

    def family(self, subject: Subject) -> dict[str, list[psutil.Process]]:
        """The driver, what forks workers for it, and the workers."""
        found: dict[str, list[psutil.Process]] = {"driver": [], "server": [], "worker": []}
        with contextlib.suppress(psutil.Error):
            driver = psutil.Process(subject.process.pid)
            found["driver"] = [driver]
            found["server"] = driver.children()
            below = [child for server in found["server"] for child in server.children(True)]
            found["worker"] = below
        return found

    def left(self) -> list[psutil.Process]:
        """All processes of this trial that live."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                marked = process.environ().get(MARK) == self.mark
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def sleep(self, longest: float) -> None:
        time.sleep(self.chance.uniform(0, longest))

    def uri(self) -> str | None:
        """The run, once a subject has told of one or its folder is there."""
        told = next((s.uri for s in self.subjects if s.uri is not None), None)
        if told is not None or "://" in self.root:
            return told
        jobs = sorted(Path(self.root).glob("*/job.json"))
        return str(jobs[-1].parent) if jobs else None


Attack = Callable[[Scene], list[Outcome]]


def judged(name: str, attack: Attack, scene: Scene, seed: int) -> Verdict:
    """Carry a trial out, and resume what did not succeed."""
    start = time.monotonic()
    told: list[Outcome] = []
    result, fault = "fault", ""
    try:
        told = attack(scene)
        if told[-1].kind == "exact":
            result = "exact" if all(each.kind == "exact" for each in told) else "resumed"
        elif not scene.over:
            result = _finished(scene, told)
    except Exception as error:
        fault = f"the trial itself failed: {type(error).__name__}: {error}"
    finally:
        fault = fault or _orphans(scene)
    wrong = list(dict.fromkeys(each.fault for each in told if each.fault))
    fault = fault or "; ".join(wrong)
    if result == "fault" and not fault:
        fault = f"not exact in the end: {told[-1].kind} {told[-1].text}"
    errors = tuple(_plain(each.text) for each in told if each.kind == "error")
    return Verdict(
        name, scene.kind, seed, "fault" if fault else result,
        dict(scene.done), errors, _plain(fault), round(time.monotonic() - start, 1),
    )  # fmt: skip


def _finished(scene: Scene, told: list[Outcome]) -> str:
    """Have the run succeed now that nothing is in its way; or another, if there was none."""
    uri = scene.uri()
    for _ in range(TRIES):
        subject = scene.begin() if uri is None else scene.resume(uri)
        outcome = subject.outcome()
        told.append(outcome)
        if outcome.kind == "exact":
            return "anew" if uri is None else "resumed"
        uri = uri or scene.uri()
    return "fault"


def _orphans(scene: Scene) -> str:
    """End what still lives; after a while of grace that is a fault."""
    for subject in scene.subjects:
        if subject.process.poll() is None:
            subject.process.kill()
            subject.process.wait()
    end = time.monotonic() + GRACE
    while (left := scene.left()) and time.monotonic() < end:
        time.sleep(0.1)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    return "" if not left else f"{len(left)} process{'es are' if left[1:] else ' is'} left"


def _plain(text: str) -> str:
    """A text without what differs between two trials: paths of folders, ids, numbers of processes."""
    text = " ".join(text.split())
    text = re.sub(r"\d{8}-\d{6}-[0-9a-f]{8}", "RUN", text)
    text = re.sub(r"(/[\w.+-]+)*/(runs|tmp|disk)\b(?=/|:| |'|$)", r"ROOT", text)
    text = re.sub(r"s3://runs/[0-9a-f]+", "ROOT", text)
    text = re.sub(r"\b[0-9a-f]{8,64}\b", "…", text)
    text = re.sub(r"(process|pid|user) \d+", r"\1 N", text)
    return re.sub(r"127\.0\.0\.1:\d+", "SERVER", text)[:400]


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
