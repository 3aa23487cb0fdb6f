"""A block of tasks on a machine of its own: `python -m mapred.worker.supervisor RUN DIGEST STAGE BLOCK SIZE`.

The process that was started imports what a worker needs and then only watches. Every attempt runs
in a child forked from it, so that whatever ends a child is seen, recorded and tried again. It never
touches the run's store itself, since a store's client does not survive a fork.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import json
import logging
import os
import select
import signal
import sys
import time
import warnings
from typing import Any, NoReturn

# What is loaded here stays. Looking for garbage in it would slow down the start, and a child that
# does so copies the pages that it shares with this process.
gc.disable()

from mapred.model.packs import NO_ITEM, Note  # noqa: E402
from mapred.model.retries import FAILED, KILLED, TRY_AGAIN  # noqa: E402
from mapred.process.children import die_with_parent, how_it_ended, kill_group  # noqa: E402
from mapred.process.whereabouts import Place  # noqa: E402
from mapred.worker import blocks  # noqa: E402
from mapred.worker.blocks import Block, BlockState, log_line  # noqa: E402
from mapred.worker.closing import SECONDS, leave  # noqa: E402

gc.freeze()
gc.enable()

LOG_CAP = 64 * 1024
_TICK = 0.25


class CapturedOutput:
    """What the child printed since the log was last taken: its head and tail if it is long."""

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
    """`python -m mapred.worker.supervisor RUN_URI DIGEST STAGE BLOCK SIZE`.

    Runs the tasks `BLOCK * SIZE` and on, SIZE of them or what is left of the stage. A failed
    attempt is repeated in a fresh process, up to the job's attempts; so is one that ended its
    process or took longer than the job's timeout. A last stage of one task closes the run,
    else STAGE `result` does. `MAPRED_ARTIFACTS` names a folder for copies of the commits.
    Exit status: 0 done, 1 the function failed for good, 75 try again (storage), 78 the
    environment does not match or a store refuses its credentials, 137 the system killed an
    attempt: try again, with more memory.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) != 5 or not (words[3].isdecimal() and words[4].isdecimal()):
        log_line(str(main.__doc__))
        return FAILED
    block = Block(words[0], words[1], words[2], int(words[3]), int(words[4]))
    state = BlockState()
    while True:
        status = _Child(block, state).watch()
        if status is not None:
            return status


class _Child:
    """A child as its parent sees it."""

    def __init__(self, block: Block, state: BlockState) -> None:
        self.state, self.printed = state, CapturedOutput()
        self.at: blocks.TaskPlace | None = None
        self.limit: float | None = None
        self.late = False
        self.closing: tuple[int | None] | None = None  # with what status it is about to end
        self.unread = b""
        self.place = Place()
        self.messages, messages = os.pipe()
        answers, self.answers = os.pipe()
        self.output, output = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        with warnings.catch_warnings():
            # Threads that numpy's libraries keep take care of themselves in a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if not self.pid:
            for ours in (self.messages, self.answers, self.output):
                os.close(ours)
            _run_child(block, state, _Parent(parent, messages, answers, self.place), output)
        for theirs in (messages, answers, output):
            os.close(theirs)
        for ours in (self.messages, self.answers, self.output):
            os.set_blocking(ours, False)
        state.lost = []

    def watch(self) -> int | None:
        """Wait for the child's end; return the status to exit with, None to start another child."""
        try:
            return self._watch()
        finally:
            kill_group(self.pid)
            for ours in (self.messages, self.answers, self.output):
                os.close(ours)
            self.place.close()

    def _watch(self) -> int | None:
        poller = select.poll()
        for ours in (self.messages, self.output):
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
                        kill_group(self.pid)  # it is done, and may be suspended
                        os.waitpid(self.pid, 0)
                    end: int | None = message["end"]
                    return end
                self._handle_message(message)
            if gone:
                self._copy()
                if self.closing is not None:
                    log_line("a worker ended before all that it held was closed")
                    return self.closing[0]
                return self._handle_death(os.waitstatus_to_exitcode(status))
            if self.limit is not None and time.monotonic() > self.limit:
                self.late, self.limit = True, None
                kill_group(self.pid)

    def _copy(self) -> bool:
        """Print what the child printed; return False once nobody can print any more."""
        for _ in range(32):  # more than a pipe holds, and not for ever: a child may never pause
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
            while data := os.read(self.messages, 1 << 16):
                self.unread += data
        line, end, rest = self.unread.partition(b"\n")
        if not end:
            return None
        self.unread = rest
        return line

    def _handle_message(self, message: dict[str, Any]) -> None:
        state = self.state
        if "timeout" in message:
            state.timeout = message["timeout"]
        elif "at" in message:
            self.at = (message["at"][0], message["at"][1])
            if state.timeout is not None:
                self.limit = time.monotonic() + state.timeout
        elif "log" in message:
            self._copy()
            self._send(json.dumps(self.printed.take()).encode() + b"\n")
        elif "ended" in message:
            self.at = self.limit = None
        elif "place" in message:
            state.update((message["place"][0], message["place"][1]), message)
        elif "closing" in message:
            self.closing, self.limit = (message["closing"],), time.monotonic() + SECONDS
        elif "anew" in message:
            state.start_anew((stage, index) for stage, index in message["anew"])

    def _send(self, data: bytes) -> None:
        poller = select.poll()
        poller.register(self.answers, select.POLLOUT)
        with contextlib.suppress(OSError):
            # With a limit: processes of a child that ended may hold the pipe open, and never read.
            while data and poller.poll(SECONDS * 1000):
                data = data[os.write(self.answers, data) :]

    def _handle_death(self, status: int) -> int | None:
        """Note the loss of the attempt, if there was one; return as `watch` does."""
        state, place = self.state, self.at
        message = how_it_ended(status)
        killed = status == -signal.SIGKILL and not self.late
        if place is None:
            log_line(message)
            return KILLED if killed else TRY_AGAIN
        kind = "timeout" if self.late else "lost"
        if self.late:
            message = f"the attempt took longer than timeout={state.timeout:g} s"
        log_line(f"{place[0]} task {place[1]}: {message}")
        at = self.place.read()
        item = at[1] if at is not None and at[0] == place[1] and at[1] != NO_ITEM else None
        state.lost.append(blocks.Loss(place, kind, message, self.printed.take(), not killed, item))
        state.killed = killed
        return None


class _Parent:
    """The parent as its child sees it."""

    def __init__(self, pid: int, messages: int, answers: int, place: Place) -> None:
        self.pid, self._messages = pid, messages
        self.note: Note = place.note
        self._answers = os.fdopen(answers, "rb")

    def send(self, **message: Any) -> None:
        _write(self._messages, json.dumps(message).encode() + b"\n")

    def log(self) -> str:
        """Return what this process printed since the last call."""
        _flush()
        self.send(log=True)
        return str(json.loads(self._answers.readline()))


def _run_child(block: Block, state: BlockState, parent: _Parent, output: int) -> NoReturn:
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
        end = blocks.work_on_block(block, state, parent)
        parent.send(closing=end)
        for complaint in leave():
            log_line(f"a worker ended: {complaint}")
        _flush()
        parent.send(end=end)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(70)
    os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    sys.exit(main())
