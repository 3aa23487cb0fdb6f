"""Progress shown while a run runs: an updating line, plain lines, or one notebook display."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TextIO

from mapred.display.format import format_bytes, format_count, format_seconds, one_line, pluralize
from mapred.display.html import status_html
from mapred.display.summary import fraction, pause_seconds, whole_seconds
from mapred.display.text.bars import bar
from mapred.display.text.run import loss_facts, run_text, state_text, status_text
from mapred.model.status import RunStatus, StageStatus

Clock = Callable[[], float]

_ASCII = str.maketrans("━─×…", "#-x~")


def progress_line(status: RunStatus, rate: float | None, left: float | None, width: int) -> str:
    """Return the stage at work on one line of at most `width` characters."""
    stage = _at_work(status)
    parts = []
    if status.state == "queued":
        parts.append(state_text(status))
    if stage is not None:
        parts.append(f"{format_count(stage.done)}/{format_count(stage.total)}")
    if status.bytes:
        parts.append(f"{format_bytes(status.bytes_done)} of {format_bytes(status.bytes)}")
    if rate:
        parts.append(f"{format_bytes(rate)}/s")
    if left is not None:
        parts.append(f"{format_seconds(whole_seconds(left))} left")
    failed = sum(stage.failed for stage in status.stages)
    if failed:
        parts.append(f"{format_count(failed)} failed")
    if status.given_up.indices:
        parts.append(f"{pluralize(len(status.given_up.indices), status.given_up.what)} given up")
    if status.state == "queued" and status.message:
        parts.append(one_line(status.message))
    name = stage.name if stage is not None else status.state
    done = (stage.done + stage.given_up) / stage.total if stage and stage.total else 0.0
    room = min(30, width - len(name) - sum(len(part) + 2 for part in parts) - 2)
    middle = f"{bar(done, room)}  " if room >= 8 else ""
    return f"{name}  {middle}{'  '.join(parts)}"[:width]


class _Speed:
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


class _Stream:
    """A text stream that may break, or lack the characters, at any write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            "━─×…".encode(self._encoding)
        except (UnicodeError, LookupError):
            text = text.translate(_ASCII).encode("ascii", "replace").decode()
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None

    def width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns  # type: ignore[union-attr]
        except (OSError, ValueError, AttributeError):
            return 80


class Bar:
    """One line of a terminal, written over at most ten times a second."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._out, self._clock, self._speed = _Stream(stream), clock, _Speed()
        self._last = float("-inf")

    def __call__(self, status: RunStatus) -> None:
        now = self._clock()
        rate, left = self._speed(status, now)
        if now - self._last < 0.1:
            return
        self._last = now
        line = progress_line(status, rate, left, max(self._out.width() - 1, 20))
        self._out.write(f"\r{line}\x1b[K")

    def close(self, status: RunStatus | None = None) -> None:
        text = "" if status is None else run_text(status, self._clock()) + "\n"
        self._out.write(f"\r\x1b[K{text}")


class Plain:
    """A line every five seconds and one at the end of each stage."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._out, self._clock, self._speed = _Stream(stream), clock, _Speed()
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
        if now - self._last >= 5 and _at_work(status) is not None:
            self._last = now
            self._out.write(progress_line(status, rate, left, 160) + "\n")

    def close(self, status: RunStatus | None = None) -> None:
        if status is not None:
            self._out.write(run_text(status, self._clock()) + "\n")


class Notebook:
    """One display that is updated in place, at most twice a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._handle: Any = None
        self._last = float("-inf")

    def __call__(self, status: RunStatus) -> None:
        now = self._clock()
        if now - self._last >= 0.5:
            self._last = now
            self._show(status, now, timeline=False)

    def close(self, status: RunStatus | None = None) -> None:
        if status is not None:
            self._show(status, self._clock(), timeline=True)

    def _show(self, status: RunStatus, now: float, *, timeline: bool) -> None:
        from IPython.display import display

        bundle = {
            "text/html": status_html(status, now, timeline),
            "text/plain": status_text(status, now, timeline),
        }
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def _counts(stage: StageStatus) -> str:
    done = f"{format_count(stage.done)} of {pluralize(stage.total, 'task')}"
    return ", ".join([done, *loss_facts(stage)])


def _at_work(status: RunStatus) -> StageStatus | None:
    """Return the first stage with tasks left, or None."""
    left = (stage for stage in status.stages if stage.done + stage.given_up < stage.total)
    return next(left, None)
