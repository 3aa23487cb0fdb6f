"""Loading a file for what it defines: a run that its top level would start ends the loading.

What stands before that run is all that its function could use, so nothing is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_alone = ContextVar("mapred_loading", default=False)


class _WouldStart(BaseException):
    """No `except Exception` of the file that is loaded takes this for a failure."""


@contextmanager
def definitions_alone() -> Iterator[None]:
    """Load a file inside of this; it is left where a run would start."""
    token = _alone.set(True)
    try:
        yield
    except _WouldStart:
        pass
    finally:
        _alone.reset(token)


def may_start() -> None:
    """Leave a file that is loaded for its definitions; called before a run starts."""
    if _alone.get():
        raise _WouldStart
