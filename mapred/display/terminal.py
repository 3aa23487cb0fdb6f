"""Progress as one line of a terminal, drawn by rich."""

from __future__ import annotations

from typing import TextIO, cast

from rich.console import Console
from rich.constrain import Constrain
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.table import Column, Table
from rich.text import Text

from mapred.display.live import Clock, Speed, Stream, describe_work
from mapred.display.text.run import run_text
from mapred.model.status import RunStatus

_NARROWEST = 8  # A terminal without room for a bar of so many characters shows none.
_ERASE = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
_ECHO = len("^C")  # What a terminal shows of Ctrl-C, on the same line.


class _VisibleCursor(Console):
    """A console that never hides the cursor, which a process that is killed cannot bring back."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


class Bar:
    """One line of a terminal, written over at most ten times a second."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._out, self._clock, self._speed = Stream(stream), clock, Speed()
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

    def __call__(self, status: RunStatus) -> None:
        now = self._clock()
        rate, left = self._speed(status, now)
        if now - self._last >= 0.1:
            self._last = now
            width = self._live.console.width - _ECHO
            try:
                self._live.start()
                self._live.update(_draw(status, rate, left, width), refresh=True)
            except KeyboardInterrupt:
                # It left a part of the line, of which rich does not know.
                self._live.console.control(_ERASE)
                raise

    def close(self, status: RunStatus | None = None) -> None:
        self._live.stop()
        if status is not None:
            self._out.write(run_text(status, self._clock()) + "\n")


def _draw(status: RunStatus, rate: float | None, left: float | None, width: int) -> Constrain:
    name, done, facts = describe_work(status, rate, left)
    # Names and messages come from elsewhere: a Text is shown as it is, without markup.
    words = Text("  ".join([name, *facts]), no_wrap=True, overflow="ellipsis")
    if words.cell_len + 2 + _NARROWEST > width:
        return Constrain(words, width)
    line = Table.grid(
        Column(no_wrap=True), Column(max_width=30), Column(no_wrap=True), padding=(0, 2)
    )
    bar = ProgressBar(total=1.0, completed=done, complete_style="cyan")
    line.add_row(Text(name), bar, Text("  ".join(facts)))
    return Constrain(line, width)
