"""The figures of a run that its advice rests on."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from mapred.model.failure import Failure, Retry
from mapred.model.spec import Job
from mapred.model.status import RunStatus, TaskTime

_MI, _GI = 2**20, 2**30
# Memory above the peak: input differs, and in a pod a second process watches the worker.
MARGIN, LEAST_MARGIN = 1.25, 128 * _MI


@dataclass(frozen=True)
class Figures:
    """A run as its advice sees it."""

    job: Job
    status: RunStatus
    splittable: bool

    @functools.cached_property
    def map_times(self) -> tuple[TaskTime, ...]:
        return tuple(time for time in self.status.times if time.stage == "map")

    @functools.cached_property
    def other_times(self) -> tuple[TaskTime, ...]:
        return tuple(time for time in self.status.times if time.stage != "map")

    def tries(self, kind: str) -> list[Failure | Retry]:
        """Return the failed attempts of a kind, whether their tasks succeeded later or not."""
        tried: list[Failure | Retry] = [*self.status.failures, *self.status.retries]
        return [each for each in tried if each.kind == kind]

    @property
    def at_once(self) -> int:
        """Return how many map tasks ran at the same time, at most."""
        starts = np.sort([time.started for time in self.map_times])
        stops = np.sort([time.started + time.seconds for time in self.map_times])
        before = np.searchsorted(stops, starts, side="right")
        return int(np.max(np.arange(1, len(starts) + 1) - before)) if len(starts) else 0

    @property
    def span(self) -> float:
        """Return the seconds from the first start of a map task to the last end."""
        if not self.map_times:
            return 0.0
        first = min(time.started for time in self.map_times)
        return max(time.started + time.seconds for time in self.map_times) - first


def memory_text(size: int) -> str:
    """Return bytes as they are asked for: `612Mi`, `1.5Gi`; rounded to what a person reads."""
    return f"{size / _MI:.0f}Mi" if size < 10 * _GI else f"{size / _GI:.1f}Gi"


def memory_quantity(need: float) -> str:
    """Return the next round quantity above bytes that are needed."""
    step = 64 * _MI if need <= _GI else 256 * _MI if need <= 8 * _GI else _GI
    size = max(1, math.ceil(need / step)) * step
    return f"{size // _GI}Gi" if size % _GI == 0 else f"{size // _MI}Mi"
