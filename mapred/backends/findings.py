"""The findings of `mapred doctor` about a backend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

OK, BAD, UNSEEN, ABSENT = "ok", "bad", "?", "-"


@dataclass(frozen=True)
class Finding:
    """The state of one thing: `ok`, `bad`, `?` where it could not be seen, `-` if it is optional and
    not there."""

    state: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.state:<4}{self.what}" + (f"\n      -> {self.remedy}" if self.remedy else "")


@runtime_checkable
class Examines(Protocol):
    """A backend that can look for problems that keep runs from working."""

    def examine(self, root: str | None, *, pod: bool) -> Iterator[Finding]:
        """Yield findings as they come; with `pod`, start a pod to look from there as well."""
