"""A block of tasks on a machine of its own: `python -m mapred.supervisor RUN DIGEST STAGE BLOCK SIZE`.

The process that was started imports what a worker needs and then only watches: every attempt
runs in a child forked from it, so that what takes a child down is seen, recorded and repeated.
It never touches the run's store itself; a store's client does not survive a fork.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import logging
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pyarrow

from mapred import failures, layout, losses, records
from mapred.children import die_with_parent, how_it_ended, kill_group
from mapred.errors import FunctionError, MapredError, StorageError
from mapred.model import Commit, Failure, Stage
from mapred.worker import Context, committed, context, run_task

DONE, FAILED, TRY_AGAIN, MISMATCH, KILLED = 0, 1, 75, 78, 137
RESULT = "result"  # in place of a stage's name: what closes a run whose last stage has many tasks
LOG_CAP = 64 * 1024
_TICK = 0.25

Place = tuple[str, int]  # a stage's name, and a task of it


class Over(Exception):
    """The run has its last word, or gets it now: there is nothing left to do for its tasks."""


@dataclass(frozen=True)
class Block:
    """What the command line names."""

    run_uri: str
    digest: str
    stage: str
    number: int
    size: int

    def tasks(self, total: int) -> range:
        return range(self.number * self.size, min((self.number + 1) * self.size, total))


@dataclass(frozen=True)
class Loss:
    """An attempt that took its process down, to be recorded by the next child."""

    place: Place
    attempt: int
    kind: str
    message: str
    log: str
    spent: bool = True  # whether it counts as one of the job's attempts


@dataclass
class Known:
    """What the children told; each child starts with a copy."""

    tries: dict[Place, int] = field(default_factory=dict)
    final: set[Place] = field(default_factory=set)
    lost: list[Loss] = field(default_factory=list)
    attempts: int = 1
    timeout: float | None = None
    killed: bool = False  # an attempt, by the system

    def start_anew(self, places: Iterable[Place]) -> None:
        """Forget the attempts at some tasks."""
        for place in places:
            self.tries.pop(place, None)
            self.final.discard(place)


class Printed:
    """What the child printed since the log was last taken: head and tail where it is long."""

    def __init__(self) -> None:
        self._head, self._tail, self._left_out = b"", b"", 0

    def add(self, data: bytes) -> None:
        room = LOG_CAP - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * LOG_CAP:
            self._left_out += len(self._tail) - LOG_CAP
            self._tail = self._tail[-LOG_CAP:]

    def take(self) -> str:
        gap = f"\n… {self._left_out:,} bytes left out …\n".encode() if self._left_out else b""
        text = self._head + gap + self._tail
        self._head, self._tail, self._left_out = b"", b"", 0
        return text.decode(errors="replace")


def main(arguments: list[str] | None = None) -> int:
    """`python -m mapred.supervisor RUN_URI DIGEST STAGE BLOCK SIZE`.

    Runs the tasks `BLOCK * SIZE` and on, SIZE of them or what is left of the stage. A failed
    attempt is repeated in a fresh process, up to the job's attempts; so is one that ended its
    process or took longer than the job's timeout. A last stage of one task closes the run,
    else STAGE `result` does. `MAPRED_ARTIFACTS` names a folder for copies of the commits.
    Exit status: 0 done, 1 the function failed for good, 75 try again (storage), 78 the
    environment does not match, 137 the system killed an attempt: try again, with more memory.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 5 or not (given[3].isdecimal() and given[4].isdecimal()):
        _say(str(main.__doc__))
        return FAILED
    block = Block(given[0], given[1], given[2], int(given[3]), int(given[4]))
    known = Known()
    while True:
        child = _Child(block, known)
        status = child.watch()
        if status is not None:
            return status


class _Child:
    """A child as its parent sees it."""

    def __init__(self, block: Block, known: Known) -> None:
        self.known, self.printed = known, Printed()
        self.at: Place | None = None
        self.limit: float | None = None
        self.late = False
        self.heard = b""
        told, tell = os.pipe()
        answers, self.answer = os.pipe()
        self.output, output = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        with warnings.catch_warnings():
            # Threads that numpy's libraries keep take care of themselves in a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if not self.pid:
            for ours in (told, self.answer, self.output):
                os.close(ours)
            _be_child(block, known, _Parent(parent, tell, answers), output)
        for theirs in (tell, answers, output):
            os.close(theirs)
        self.told = told
        for ours in (self.told, self.output):
            os.set_blocking(ours, False)
        known.lost = []

    def watch(self) -> int | None:
        """Wait for the child's end: the status to exit with, None to go on with another child."""
        try:
            return self._watch()
        finally:
            kill_group(self.pid)
            for ours in (self.told, self.answer, self.output):
                os.close(ours)

    def _watch(self) -> int | None:
        poller = select.poll()
        for ours in (self.told, self.output):
            poller.register(ours, select.POLLIN)
        while True:
            for descriptor, _ in poller.poll(_TICK * 1000):
                if descriptor == self.output and not self._copy():
                    poller.unregister(descriptor)
            gone, status = os.waitpid(self.pid, os.WNOHANG)
            while (line := self._line()) is not None:
                message = json.loads(line)
                if "end" in message:
                    self._copy()
                    if not gone:
                        os.waitpid(self.pid, 0)
                    end: int | None = message["end"]
                    return end
                self._hear(message)
            if gone:
                self._copy()
                return self._lost(os.waitstatus_to_exitcode(status))
            if self.limit is not None and time.monotonic() > self.limit:
                self.late, self.limit = True, None
                kill_group(self.pid)

    def _copy(self) -> bool:
        """Print what the child printed; False once nobody can print any more.

        All that a pipe holds and some more, not all that there is: a child may never pause.
        """
        for _ in range(32):
            try:
                data = os.read(self.output, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                return False
            self.printed.add(data)
            _write(1, data)
        return True

    def _line(self) -> bytes | None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.told, 1 << 16):
                self.heard += data
        line, end, rest = self.heard.partition(b"\n")
        if not end:
            return None
        self.heard = rest
        return line

    def _hear(self, message: dict[str, Any]) -> None:
        known = self.known
        if "job" in message:
            known.attempts, known.timeout = message["job"]
        elif "at" in message:
            self.at = (message["at"][0], message["at"][1])
            known.tries[self.at] = known.tries.get(self.at, 0) + 1
            if known.timeout is not None:
                self.limit = time.monotonic() + known.timeout
        elif "log" in message:
            self._copy()
            _write(self.answer, json.dumps(self.printed.take()).encode() + b"\n")
        elif "ended" in message:
            if message["ended"] == "failed for good" and self.at is not None:
                known.final.add(self.at)
            self.at = self.limit = None
        elif "anew" in message:
            known.start_anew((stage, index) for stage, index in message["anew"])

    def _lost(self, status: int) -> int | None:
        """The child ended without a word: a loss to record, or the machine's own doing."""
        known, place = self.known, self.at
        message = how_it_ended(status)
        killed = status == -signal.SIGKILL and not self.late
        if place is None:
            _say(message)
            return KILLED if killed else TRY_AGAIN
        tries = known.tries[place]
        kind = "timeout" if self.late else "lost"
        if self.late:
            message = f"the attempt took longer than timeout={known.timeout:g} s"
        _say(f"{place[0]} task {place[1]}: {message}")
        known.lost.append(Loss(place, tries, kind, message, self.printed.take(), not killed))
        if killed:
            known.killed = True
            known.tries[place] -= 1
        elif tries >= known.attempts:
            known.final.add(place)
        return None


class _Parent:
    """The parent as its child sees it."""

    def __init__(self, pid: int, tell: int, answers: int) -> None:
        self.pid, self._tell = pid, tell
        self._answers = os.fdopen(answers, "rb")

    def say(self, **message: Any) -> None:
        _write(self._tell, json.dumps(message).encode() + b"\n")

    def log(self) -> str:
        """What this process printed since it last asked."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        self.say(log=True)
        return str(json.loads(self._answers.readline()))


def _be_child(block: Block, known: Known, parent: _Parent, output: int) -> NoReturn:
    try:
        os.setsid()
        die_with_parent(parent.pid)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.close(output)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)
        faulthandler.enable()
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        end = _ending(block, known, parent)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        parent.say(end=end)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(70)
    os._exit(0)


def _ending(block: Block, known: Known, parent: _Parent) -> int | None:
    """The status to exit with, or None: go on in a fresh process."""
    try:
        run = context(block.run_uri, block.digest)
    except FileNotFoundError:
        _say(f"{block.run_uri} holds no run")
        return FAILED
    except FunctionError as error:
        _say(str(error))
        return MISMATCH
    except StorageError as error:
        _say(str(error))
        return TRY_AGAIN
    parent.say(job=[run.job.attempts, run.job.timeout])
    try:
        for loss in known.lost:
            stage, index = run.job.stage(loss.place[0]), loss.place[1]
            failures.died(
                run.store, stage, index, loss.attempt, loss.kind, loss.message, loss.log, loss.spent
            )
        return KILLED if known.killed else _work(run, block, known, parent)
    except StorageError as error:
        _say(str(error))
        return TRY_AGAIN
    except (Over, MapredError) as error:
        _say(str(error))
        return FAILED


def _work(run: Context, block: Block, known: Known, parent: _Parent) -> int | None:
    """Do what is left of the block, its inputs first; one attempt that fails ends the process."""
    end = records.read_end(run.store)
    if end is not None and end["state"] != "succeeded":
        raise Over(f"the run is over: {end['state']} {end['message']}")
    _stop_if_too_many(run, known)
    last = run.job.stages[-1]
    stage = None if block.stage == RESULT else run.job.stage(block.stage)
    commits: dict[int, Commit] = {}
    failed = False
    if stage is not None:
        tasks = block.tasks(stage.tasks)
        pyarrow.set_cpu_count(max(1, int(stage.resources.cpu)))
        if stage.inputs is not None:
            inputs = {i for index in tasks for i in stage.input_range(index)}
            if not _settle(run, run.job.stage(stage.inputs), inputs, known, parent):
                return None
        commits = committed(run, stage, list(tasks))
        given_up = run.given_up() if stage.kind == "map" else {}
        for index in tasks:
            if index in commits or given_up.get(index, ()) is None:
                continue
            if (stage.name, index) in known.final:
                failed = True
                continue
            commit = _attempt(run, stage, index, known, parent)
            if commit is None:
                return None
            commits[index] = commit
    closes = stage is None or (stage is last and stage.tasks == 1)
    if failed and not closes:
        return FAILED
    if closes:
        if not _settle(run, last, set(range(last.tasks)), known, parent):
            return None
        state = records.finish(run.store, run.job, "succeeded", "")
        if state != "succeeded":
            raise Over(f"the run was {state} meanwhile")
    _leave_artifacts(run, commits.values(), closes)
    return DONE


def _attempt(
    run: Context, stage: Stage, index: int, known: Known, parent: _Parent
) -> Commit | None:
    """The task's commit; None if the attempt failed."""
    number = known.tries.get((stage.name, index), 0) + 1
    parent.say(at=[stage.name, index])
    outcome = run_task(run, stage, index, number, parent.log)
    failure = outcome.failure
    if failure is None:
        parent.say(ended="done")
        return outcome.commit
    _say(f"{stage.name} task {index}: {failure.traceback}")
    parent.say(ended="failed for good" if losses.final(run.job, failure) else "failed")
    return None


def _settle(
    run: Context, source: Stage, wanted: Collection[int], known: Known, parent: _Parent
) -> bool:
    """See to it that tasks of a stage are committed or given up; False: go on in a fresh process.

    What is neither was skipped, whatever an engine says, and is run here. What failed for good
    is given up within max_failed, and ends the run beyond it.
    """
    while missing := _unsettled(run, source, wanted, known, parent):
        for index in missing:
            if _attempt(run, source, index, known, parent) is None:
                return False
    return True


def _unsettled(
    run: Context, source: Stage, wanted: Collection[int], known: Known, parent: _Parent
) -> list[int]:
    job, name = run.job, source.name
    given_up = run.given_up() if source.kind == "map" else {}
    losable = bool(losses.allowed(job, source))
    # What may be given up is decided once, for all tasks of the stage.
    scope = range(source.tasks) if losable and not given_up else sorted(wanted)
    there = set(records.committed(run.store, name))
    missing = [i for i in scope if i not in there and given_up.get(i, ()) is not None]
    failed = [i for i in missing if i not in given_up or (name, i) in known.final]
    lost = losses.failed_for_good(run.store, job, source, failed)
    if losses.count(job, lost.values()) > losses.allowed(job, source) or given_up.keys() & lost:
        raise _over(run, source, lost.values())
    skipped = [i for i in missing if i not in lost]
    if skipped or not losable:
        return skipped
    standing = losses.give_up(run.store, job, lost) if lost or not given_up else given_up
    if lost.keys() - standing.keys():
        raise _over(run, source, lost.values())
    partly = [i for i in lost if i in wanted and standing[i] is not None]
    known.start_anew((name, i) for i in partly)
    parent.say(anew=[[name, i] for i in partly])
    return partly


def _stop_if_too_many(run: Context, known: Known) -> None:
    """End the run where this block alone lost more tasks than the whole run may."""
    for name in {stage for stage, _ in known.final}:
        stage = run.job.stage(name)
        tasks = [index for place, index in known.final if place == name]
        lost = losses.failed_for_good(run.store, run.job, stage, tasks)
        if losses.count(run.job, lost.values()) > losses.allowed(run.job, stage):
            raise _over(run, stage, lost.values())


def _over(run: Context, stage: Stage, lost: Collection[Failure]) -> Over:
    message = losses.describe(run.job, stage, lost)
    records.finish(run.store, run.job, "failed", message)
    return Over(message)


def _leave_artifacts(run: Context, commits: Iterable[Commit], closed: bool) -> None:
    """Copy the winners' commits, and the result's manifest, to where an engine collects them."""
    folder = os.environ.get("MAPRED_ARTIFACTS")
    if not folder:
        return
    texts = [commit.to_bytes() for commit in commits]
    try:
        os.makedirs(folder, exist_ok=True)
        Path(folder, "commits.json").write_bytes(b"[" + b",\n".join(texts) + b"]\n")
        if closed:
            Path(folder, "result.json").write_bytes(run.store.read(layout.MANIFEST))
    except OSError as error:
        raise StorageError(f"MAPRED_ARTIFACTS={folder!r} cannot be written: {error}") from error


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
