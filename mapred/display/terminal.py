"""What a terminal shows of a run while it runs, drawn by rich: a line, or a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO, cast

from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from mapred.display.colours import highlight, paint
from mapred.display.format import fold, format_seconds, one_line
from mapred.display.live import Clock, Speed, Stream, describe_work
from mapred.display.pipelines.lines import describe_pipeline
from mapred.display.pipelines.rows import Words
from mapred.display.pipelines.text import pipeline_line, pipeline_text
from mapred.display.summary import pause_seconds
from mapred.display.text.run import lane_width, run_text, status_text
from mapred.model.pipelines import PipelineStatus
from mapred.model.status import RunStatus

_NARROWEST = 8  # A terminal without room for a bar of so many characters shows none.
_ERASE = "\r\x1b[2K"
_ECHO = len("^C")  # What a terminal shows of Ctrl-C, on the same line.
_SHOWN = (
    "name", "stage", "state", "count", "bytes", "rate", "elapsed", "left", "failed", "given_up",
    "message",
)  # fmt: skip
# What a line leaves out where the terminal is narrow, first to last; the rest is cut.
_DROPPED = ("rate", "bytes", "elapsed", "name", "given_up", "left")
_STYLES = {"failed": "bold red", "given_up": "yellow", "state": "yellow"}


class _VisibleCursor(Console):
    """A console that never hides the cursor, which a process that is killed cannot bring back."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


class _Updated:
    """What is written over in place, at most every `pause` seconds."""

    def __init__(self, stream: TextIO, clock: Clock, pause: float) -> None:
        self._stream, self._out = stream, Stream(stream)
        self._clock, self._pause = clock, pause
        # No thread, which a fork would not copy, and no other `sys.stdout` below the user's code.
        self._live = Live(
            console=_VisibleCursor(
                file=cast(TextIO, self._out), force_terminal=True, force_jupyter=False
            ),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._last = float("-inf")

    def _is_due(self, now: float) -> bool:
        if now - self._last < self._pause:
            return False
        self._last = now
        return True

    def _update(self, drawn: RenderableType) -> None:
        try:
            self._live.start()
            self._live.update(drawn, refresh=True)
        except KeyboardInterrupt:
            # It left a part of the line of which rich does not know, and which rich may hold still.
            self._out.write(_ERASE)
            raise


class Bar(_Updated):
    """One line of a terminal, written over at most ten times a second."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream, clock, 0.1)
        self._speed = Speed()

    def __call__(self, status: RunStatus) -> None:
        now = self._clock()
        rate, left = self._speed(status, now)
        if self._is_due(now):
            self._update(_draw(status, rate, left, now, self._live.console.width - _ECHO))

    def close(self, status: RunStatus | None = None) -> None:
        self._live.stop()
        if status is not None:
            text = fold(run_text(status, self._clock()), self._live.console.width)
            self._out.write(paint(text, "run", self._stream) + "\n")


class Page(_Updated):
    """All that is known of a run, written over at most twice a second."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream, clock, 0.5)

    def __call__(self, status: RunStatus) -> None:
        now = self._clock()
        if self._is_due(now):
            width = self._live.console.width
            text = fold(status_text(status, now, width=lane_width(width)), width - _ECHO)
            self._update(highlight(text, "run"))

    def close(self, status: RunStatus | None = None) -> None:
        self._live.stop()


class PipelineBar(_Updated):
    """One line of a terminal on what a pipeline is at, written over at most ten times a second."""

    def __init__(self, stream: TextIO, clock: Clock, word: Words) -> None:
        super().__init__(stream, clock, 0.1)
        self._word = word

    def __call__(self, status: PipelineStatus) -> None:
        now = self._clock()
        if self._is_due(now):
            name, done, facts = describe_pipeline(status, self._word)
            known = {"name": one_line(status.name, 24), "stage": name, **facts}
            if seconds := int(max(0.0, now - status.started)):
                known["elapsed"] = f"{format_seconds(seconds)} elapsed"
            self._update(_lay_out(known, done, self._live.console.width - _ECHO))

    def close(self, status: PipelineStatus | None = None) -> None:
        self._live.stop()
        if status is not None:
            text = fold(pipeline_line(status, self._clock()), self._live.console.width)
            self._out.write(paint(text, "run", self._stream) + "\n")


class PipelinePage(_Updated):
    """All steps of a pipeline, written over at most twice a second."""

    def __init__(self, stream: TextIO, clock: Clock, word: Words) -> None:
        super().__init__(stream, clock, 0.5)
        self._word = word

    def __call__(self, status: PipelineStatus) -> None:
        now = self._clock()
        if self._is_due(now):
            width = self._live.console.width - _ECHO
            text = pipeline_text(status, now, width, word=self._word, python=False)
            self._update(highlight(fold(text, width), "run"))

    def close(self, status: PipelineStatus | None = None) -> None:
        self._live.stop()


def _draw(
    status: RunStatus, rate: float | None, left: float | None, now: float, width: int
) -> Constrain:
    stage, done, facts = describe_work(status, rate, left)
    seconds = int(max(0.0, now - status.started - pause_seconds(status)))
    known = {"name": one_line(status.name, 24), "stage": stage, **facts}
    if seconds:
        known["elapsed"] = f"{format_seconds(seconds)} elapsed"
    return _lay_out(known, done, width)


def _lay_out(known: dict[str, str], done: float, width: int) -> Constrain:
    """Return facts by their kinds as a line of at most `width` columns, with a bar where there is room."""
    parts = {kind: known[kind] for kind in _SHOWN if known.get(kind)}
    for kind in _DROPPED:
        if _measure(parts) + 2 + _NARROWEST <= width:
            break
        parts.pop(kind, None)
    head = [kind for kind in ("name", "stage") if kind in parts]
    rest = [kind for kind in parts if kind not in head]
    if _measure(parts) + 2 + _NARROWEST > width:
        return Constrain(_join(parts, [*head, *rest]), width)
    line = Table.grid(
        Column(no_wrap=True), Column(max_width=30), Column(no_wrap=True), padding=(0, 2)
    )
    bar = ProgressBar(total=1.0, completed=done, complete_style="cyan")
    line.add_row(_join(parts, head), bar, _join(parts, rest))
    return Constrain(line, width)


def _measure(parts: dict[str, str]) -> int:
    return _join(parts, list(parts)).cell_len


def _join(parts: dict[str, str], kinds: Sequence[str]) -> Text:
    # Names and messages come from elsewhere: a Text is shown as it is, without markup.
    texts = [Text(parts[kind], _STYLES.get(kind, "")) for kind in kinds]
    line = Text("  ", no_wrap=True, overflow="ellipsis").join(texts)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
