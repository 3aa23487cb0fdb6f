"""Progress shown while a run runs, as plain lines; and the words that a terminal's line shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from mapred.display.format import format_bytes, format_count, format_seconds, one_line, pluralize
from mapred.display.summary import fraction, pause_seconds, whole_seconds
from mapred.display.text.bars import bar
from mapred.display.text.run import loss_facts, run_text, state_text
from mapred.model.status import RunStatus, StageStatus
from mapred.process.secrecy import mask

Clock = Callable[[], float]

_WIDTH = 160
_ASCII = str.maketrans("━─×…", "#-x~")


def progress_line(status: RunStatus, rate: float | None, left: float | None) -> str:
    """Return the stage at work on one line."""
    name, done, facts = describe_work(status, rate, left)
    room = min(30, _WIDTH - len(name) - sum(len(fact) + 2 for fact in facts.values()) - 2)
    middle = f"{bar(done, room)}  " if room >= 8 else ""
    return f"{name}  {middle}{'  '.join(facts.values())}"[:_WIDTH]


def describe_work(
    status: RunStatus, rate: float | None, left: float | None
) -> tuple[str, float, dict[str, str]]:
    """Return the name of the stage at work, the fraction of it that is done, and facts by kind."""
    stage = _stage_at_work(status)
    facts: dict[str, str] = {}
    if status.state == "queued":
        facts["state"] = state_text(status)
    if stage is not None:
        facts["count"] = f"{format_count(stage.done)}/{format_count(stage.total)}"
    if status.bytes:
        facts["bytes"] = f"{format_bytes(status.bytes_done)} of {format_bytes(status.bytes)}"
    if rate:
        facts["rate"] = f"{format_bytes(rate)}/s"
    if left is not None:
        facts["left"] = f"{format_seconds(whole_seconds(left))} left"
    failed = sum(stage.failed for stage in status.stages)
    if failed:
        facts["failed"] = f"{format_count(failed)} failed"
    if status.given_up.indices:
        number = len(status.given_up.indices)
        facts["given_up"] = f"{pluralize(number, status.given_up.what)} given up"
    if status.state == "queued" and status.message:
        facts["message"] = one_line(mask(status.message))
    if stage is None:
        return one_line(status.state), 0.0, facts
    return one_line(stage.name, 40), (stage.done + stage.given_up) / stage.total, facts


class Speed:
    """Bytes and fraction a second since the first status: a resumed run starts part done."""

    def __init__(self) -> None:
        self._first: tuple[float, int, float] | None = None

    def __call__(self, status: RunStatus, now: float) -> tuple[float | None, float | None]:
        done = fraction(status)
        if self._first is None:
            self._first = (now, status.bytes_done, done)
        began, size, part = self._first
        seconds, gained = now - began, done - part
        if seconds < 0.5 or gained <= 0:
            return None, None
        left = (1 - done) * seconds / gained if done < 1 else None
        return (status.bytes_done - size) / seconds, left


class Stream:
    """A text stream that may break, or lack the characters, at any write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            "━─×…".encode(self.encoding)
        except (UnicodeError, LookupError):
            text = text.translate(_ASCII).encode("ascii", "replace").decode()
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None

    def flush(self) -> None:
        """Do nothing: each write is flushed."""


class Plain:
    """A line every five seconds and one at the end of each stage."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._out, self._clock, self._speed = Stream(stream), clock, Speed()
        self._last: float | None = None
        self._ended: set[str] = set()

    def __call__(self, status: RunStatus) -> None:
        now = self._clock()
        rate, left = self._speed(status, now)
        for stage in status.stages:
            if stage.name not in self._ended and 0 < stage.total <= stage.done + stage.given_up:
                self._ended.add(stage.name)
                spent = format_seconds(max(0.0, now - status.started - pause_seconds(status)))
                self._out.write(f"{stage.name} done: {_counts(stage)} after {spent}\n")
                self._last = now
        if self._last is None:
            self._last = now
        if now - self._last >= 5 and _stage_at_work(status) is not None:
            self._last = now
            self._out.write(progress_line(status, rate, left) + "\n")

    def close(self, status: RunStatus | None = None) -> None:
        if status is not None:
            self._out.write(run_text(status, self._clock()) + "\n")


def _counts(stage: StageStatus) -> str:
    done = f"{format_count(stage.done)} of {pluralize(stage.total, 'task')}"
    return ", ".join([done, *loss_facts(stage)])


def _stage_at_work(status: RunStatus) -> StageStatus | None:
    """Return the first stage with tasks left, or None."""
    left = (stage for stage in status.stages if stage.done + stage.given_up < stage.total)
    return next(left, None)
