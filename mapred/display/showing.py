"""Which progress is shown: a line of a terminal, plain lines, a notebook's display, or none."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Literal, Protocol, TextIO, runtime_checkable

from mapred.errors import PlanError
from mapred.model.status import RunStatus

if TYPE_CHECKING:
    from mapred.display.live import Clock
    from mapred.display.notebook import Views
    from mapred.display.pipelines.rows import Words
    from mapred.model.pipelines import PipelineStatus


class Progress(Protocol):
    """Shows each status it is called with, as often as suits the medium; `close` shows the last.

    Output that breaks (a closed pipe, a lost terminal) ends the showing, never the run.
    """

    def __call__(self, status: RunStatus) -> None: ...

    def close(self, status: RunStatus | None = None) -> None: ...


class PipelineProgress(Protocol):
    """Shows each status of a pipeline that it is called with; `close` shows the last."""

    def __call__(self, status: PipelineStatus) -> None: ...

    def close(self, status: PipelineStatus | None = None) -> None: ...


@runtime_checkable
class Follows(Progress, Protocol):
    """A progress that asks for what it shows by itself, from a thread of its own."""

    def follow(self, views: Views) -> None: ...


def progress(
    kind: str = "auto", stream: TextIO | None = None, *, clock: Clock = time.time
) -> Progress:
    """Return what shows a run's progress: `auto` picks by notebook, terminal or neither.

    `stream` is standard error where None; `clock` gives seconds since the epoch.
    """
    out = sys.stderr if stream is None else stream
    if kind == "auto":
        kind = "jupyter" if stream is None and in_notebook() else _by_stream(out)
    if kind not in ("bar", "plain", "jupyter", "none"):
        raise PlanError(f"progress={kind!r} is not one of auto, bar, plain, jupyter, none")
    if kind == "none" or (out is None and kind != "jupyter"):
        return Silent()
    if kind == "bar":
        # Loaded where a terminal is drawn to alone: rich takes long to import.
        from mapred.display.terminal import Bar

        return Bar(out, clock)
    if kind == "jupyter":
        from mapred.display.notebook import Notebook

        return Notebook(clock)
    from mapred.display.live import Plain

    return Plain(out, clock)


def page(stream: TextIO | None, *, clock: Clock = time.time) -> Progress:
    """Return what shows all of a run in place on a terminal, or lines on standard error.

    Nothing is shown where the stream is None.
    """
    if stream is None:
        return Silent()
    if _by_stream(stream) != "bar":
        return progress("plain", clock=clock)
    from mapred.display.terminal import Page

    return Page(stream, clock)


def pipeline_progress(
    kind: str, word: Words, stream: TextIO | None = None, *, clock: Clock = time.time
) -> PipelineProgress:
    """Return what shows the progress of a pipeline; `jupyter` is that of `display.notebook`.

    `stream` is standard error where None; `word` names a folder on a command line.
    """
    out = sys.stderr if stream is None else stream
    if kind == "auto":
        kind = _by_stream(out)
    if kind == "none" or out is None:
        return Silent()
    if kind == "bar":
        from mapred.display.terminal import PipelineBar

        return PipelineBar(out, clock, word)
    from mapred.display.pipelines.lines import Lines

    return Lines(out, clock, word)


def pipeline_page(
    stream: TextIO | None, word: Words, *, clock: Clock = time.time
) -> PipelineProgress:
    """Return what shows all of a pipeline in place on a terminal, or lines on standard error.

    Nothing is shown where the stream is None; `word` names a folder on a command line.
    """
    if stream is None:
        return Silent()
    if _by_stream(stream) != "bar":
        from mapred.display.pipelines.lines import Lines

        return Lines(sys.stderr, clock, word)
    from mapred.display.terminal import PipelinePage

    return PipelinePage(stream, clock, word)


class Silent:
    def __call__(self, status: object) -> None:
        pass

    def close(self, status: object = None) -> None:
        pass


def _by_stream(stream: TextIO | None) -> Literal["bar", "plain", "none"]:
    if stream is None:
        return "none"
    try:
        terminal = stream.isatty()
    except (ValueError, AttributeError):
        terminal = False
    return "bar" if terminal and os.environ.get("TERM") not in ("dumb", "unknown") else "plain"


def in_notebook() -> bool:
    """Whether a kernel runs this process; IPython is never imported to find out."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if hasattr(module, "get_ipython") else None  # type: ignore[union-attr]
    return getattr(shell, "kernel", None) is not None
