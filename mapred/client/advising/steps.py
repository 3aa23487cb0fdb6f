"""One step of the advice: what to change, if anything, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mapred.display.advice import Recommendation


@dataclass(frozen=True)
class Step:
    """A recommendation with the options that follow it, or notes; `grows` if tasks become larger."""

    recommendation: Recommendation | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    grows: bool = False
