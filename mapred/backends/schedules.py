"""A job that starts by the clock, as its backend keeps it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Schedule:
    """A job that starts by the clock, as its backend keeps it.

    `cron` has five fields and is read in `timezone`; `digest` is the SHA-256 of the stored job
    below `root`; `on_failure` is a URL, `secret/key` that holds one, or a program's words.
    `suspended`, `last` (the last firing, UTC) and `active` (firings at work) are the cluster's.
    """

    name: str
    job: str
    cron: tuple[str, ...]
    timezone: str
    root: str
    digest: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    on_failure: str | tuple[str, ...] | None = None
    suspended: bool = False
    last: str | None = None
    active: int = 0

    def to_json(self) -> str:
        """What was asked for, without what the cluster says."""
        known = dataclasses.asdict(self)
        return json.dumps({k: v for k, v in known.items() if k not in _OF_CLUSTER})

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        known = json.loads(text)
        for name in ("cron", "on_failure"):
            if isinstance(known[name], list):
                known[name] = tuple(known[name])
        return cls(**known)


_OF_CLUSTER = ("suspended", "last", "active")
