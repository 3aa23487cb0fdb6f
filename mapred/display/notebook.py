"""A run in a notebook: one display that keeps itself up to date without holding the kernel."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from mapred.display.html import status_html
from mapred.display.summary import Scene
from mapred.display.text.run import status_text
from mapred.model.status import Look, RunStatus, TaskTime

Clock = Callable[[], float]

_SHARE = 0.01  # of a processor's time, which drawing may take at most
_DRAWN = 300  # tasks on the timeline of a run at work: the latest
_LINES = 12  # that tasks printed
_LEAVE_SECONDS = 5.0  # in which a drawing that has begun ends


class Views(Protocol):
    """What a display asks of a run, every so many `seconds`."""

    seconds: float

    def look(self, seen: int) -> Look:
        """Return what is new since a look that had seen so many tasks end."""

    def scene(self, look: Look) -> Scene:
        """Return what to show beside the status, while the run is at work."""

    def end(self) -> tuple[RunStatus, Scene]:
        """Return all there is to show of a run that is over."""


class Updates:
    """One place in a notebook, drawn anew by a thread until there is nothing new to come.

    An update goes to that place whichever cell runs meanwhile. What breaks (a kernel that ends, a
    cleared cell) ends the showing, never the run.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self.stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def show(self, bundle: dict[str, str]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def follow(self, draw: Callable[[], bool], seconds: float) -> None:
        """Draw at once, and then every so many seconds until `draw` says that it is over."""
        with contextlib.suppress(Exception):
            draw()
        # Messages name the cell that they belong to by a context variable.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run,
            args=(self._refresh, draw, seconds),
            name="mapred-display",
            daemon=True,
        )
        with contextlib.suppress(RuntimeError):  # no room for a thread: it is drawn at the end
            self._thread.start()

    def stop(self) -> None:
        """End the drawing; what has begun ends soon."""
        self.stopped.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(_LEAVE_SECONDS)

    def _refresh(self, draw: Callable[[], bool], seconds: float) -> None:
        pause = seconds
        while not self.stopped.wait(pause):
            began = time.thread_time()
            try:
                if not draw():
                    return
            except Exception:
                if sys.is_finalizing():
                    return
                pause = min(2 * pause, 30.0)  # a store or a kernel that does not answer now
                continue
            pause = max(seconds, (time.thread_time() - began) / _SHARE)


class Notebook:
    """One display of a run, drawn anew by a thread until the run is over."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock, self._updates = clock, Updates()
        self._views: Views | None = None
        self._seen, self._recent = 0, deque[TaskTime](maxlen=_DRAWN)
        self._printed: deque[str] = deque(maxlen=_LINES)
        self._before: frozenset[str] = frozenset()  # the lines of the look before
        self._ended = False  # The last picture is drawn.

    def __call__(self, status: RunStatus) -> None:
        """Draw a status that someone else has requested."""
        self._show(status, Scene(), timeline=False)

    def follow(self, views: Views) -> None:
        """Show the run in this cell at once, and keep on until it is over."""
        self._views = views
        self._updates.follow(functools.partial(self._draw, views), views.seconds)

    def close(self, status: RunStatus | None = None) -> None:
        """Draw the last picture; `status` says that there is one."""
        self._updates.stop()
        if status is None or self._ended:
            return
        scene = Scene()
        if self._views is not None:
            with contextlib.suppress(Exception):
                status, scene = self._views.end()
        self._show(status, self._with_lines(scene), timeline=True)

    def _draw(self, views: Views) -> bool:
        """Draw the run as it is; False once it is over."""
        look = views.look(self._seen)
        self._seen = look.seen
        self._recent.extend(look.news)
        if not look.status.live:
            status, scene = views.end()
            if not self._updates.stopped.is_set():
                self._show(status, self._with_lines(scene), timeline=True)
                self._ended = True
            return False
        scene = views.scene(look)
        self._printed.extend(line for line in scene.printed if line not in self._before)
        self._before = frozenset(scene.printed)
        scene = replace(scene, printed=tuple(self._printed), drawn=tuple(self._recent))
        self._show(look.status, scene, timeline=True)
        return True

    def _with_lines(self, scene: Scene) -> Scene:
        """Add the lines that were seen while the run was at work."""
        known = [line for line in self._printed if line not in scene.printed]
        return replace(scene, printed=tuple([*known, *scene.printed][-_LINES:]))

    def _show(self, status: RunStatus, scene: Scene, *, timeline: bool) -> None:
        now = self._clock()
        text = status if scene.drawn is None else replace(status, times=scene.drawn)
        self._updates.show(
            {
                "text/html": status_html(status, now, timeline, scene),
                "text/plain": status_text(text, now, timeline and not status.live),
            }
        )


def cell() -> Any:
    """Return what tells the execution of the current cell from all others; None outside of one."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    if getattr(shell, "kernel", None) is None:
        return None
    with contextlib.suppress(Exception):
        return shell.kernel.get_parent()["header"]["msg_id"]  # type: ignore[union-attr]
    return shell.execution_count  # type: ignore[union-attr]
