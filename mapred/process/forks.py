"""Children that a user's function forks: one that comes back from it decides nothing.

Such a child has the parent's task, attempt and open connections. It must not continue with them:
it would call the function for the next item, write under the parent's names, or answer for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any


def leave_unless(pid: int) -> None:
    """End this process if it is a child of process `pid`, where the user's code began."""
    if os.getpid() != pid:
        os._exit(1)


def in_this_process(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the user's that comes back, by a value or an exception, in this process
    alone."""
    pid = os.getpid()

    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        finally:
            leave_unless(pid)

    return call


def held_values(values: Iterator[Any]) -> Iterator[Any]:
    """Yield the values of an iterator of the user's, which continue in this process alone."""
    pid = os.getpid()
    while True:
        try:
            value = next(values)
        except StopIteration:
            return
        finally:
            leave_unless(pid)
        yield value
