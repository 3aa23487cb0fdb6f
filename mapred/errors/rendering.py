"""What a notebook shows of an error that mapred raises on purpose: the user's lines, and the text.

IPython hides frames with `__tracebackhide__`, but never the last one, which is where mapred raises.
The error keeps its traceback as it is, so `%debug` and plain Python have all of it.
"""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def render_traceback(error: BaseException) -> list[str]:
    """Return the lines that IPython shows of an error that ended a cell."""
    shell = _find_shell()
    whole = error.__traceback__
    if shell is None:
        return traceback.format_exception(type(error), error, whole)
    formatter = shell.InteractiveTB
    shown = _own_frames(whole) if getattr(formatter, "skip_hidden", True) else whole
    lines: list[str] = formatter.structured_traceback(type(error), error, shown, tb_offset=0)
    return lines


def _own_frames(whole: TracebackType | None) -> TracebackType | None:
    """Return a copy without the frames of IPython at the start, and of mapred at the end."""
    frames = []
    while whole is not None:
        frames.append(whole)
        whole = whole.tb_next
    first, last = 0, len(frames)
    while first < last and _package_of(frames[first]) == "IPython":
        first += 1
    while last > first and _package_of(frames[last - 1]) == _PACKAGE:
        last -= 1
    shown: TracebackType | None = None
    for frame in reversed(frames[first:last]):
        shown = TracebackType(shown, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return shown


def _package_of(frame: TracebackType) -> str:
    return str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]


def _find_shell() -> Any:
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
