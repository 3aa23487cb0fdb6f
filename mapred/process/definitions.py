"""Loading a file for what it defines: a run that its top level would start ends the loading.

What stands before that run is all that its function could use, so nothing is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_alone = ContextVar("mapred_loading", default=False)
# Modules that were left half-way: to import one elsewhere would start its run.
partial: set[str] = set()


class _WouldStart(BaseException):
    """No `except Exception` of the file that is loaded takes this for a failure."""


@contextmanager
def definitions_alone(module: str) -> Iterator[None]:
    """Load the file of a module inside of this; it is left where a run would start."""
    token = _alone.set(True)
    try:
        yield
    except _WouldStart:
        partial.add(module)
    finally:
        _alone.reset(token)


def may_start() -> None:
    """Leave a file that is loaded for its definitions; called before a run starts."""
    if _alone.get():
        raise _WouldStart
