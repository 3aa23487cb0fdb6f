"""What is said where the system refuses this process one more file, thread, process or page."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mapred.errors import BackendError

REMEDY = "close files or end processes of this user, or raise the limits (ulimit -n, ulimit -u)"
_SHORT = {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM}
_NO_MEMORY = ("failed to map segment", "annot allocate memory")


@contextmanager
def explain_shortages() -> Iterator[None]:
    """Have what the system refuses end in a `BackendError` that says which limit to raise."""
    try:
        yield
    except (OSError, RuntimeError, ImportError, MemoryError) as error:
        remedy = remedy_for(error)
        if remedy is None or isinstance(error, BackendError):
            raise
        message = str(error) or type(error).__name__
        raise BackendError(f"the system refuses what a run needs: {message}; {remedy}") from error


def remedy_for(error: BaseException) -> str | None:
    """How to get what the system refused; None of any other error."""
    text = str(error)
    memory = isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY)
    if memory or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "free some memory, or raise the limit (ulimit -v)"
    if isinstance(error, OSError) and error.errno in _SHORT:
        return REMEDY
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        return REMEDY
    return None
