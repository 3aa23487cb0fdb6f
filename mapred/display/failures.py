"""The failures of a run as a value that shows itself."""

from __future__ import annotations

from typing import Any

from mapred.display.html import failures_html, page
from mapred.display.text import failures_text
from mapred.model import Failure


class Failures(tuple[Failure, ...]):
    """A tuple of failures; a prompt and a notebook show them grouped, with their tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return failures_text(self) or "no failures"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {
            "text/plain": repr(self),
            "text/html": page([failures_html(self) or "no failures"]),
        }
