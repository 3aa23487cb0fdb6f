"""What an audit finds."""

from __future__ import annotations

from dataclasses import dataclass

from mapred.errors.escaping import visible


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what `kind`, where, and in words."""

    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return visible(f"{self.kind}: {self.where}: {self.text}")
