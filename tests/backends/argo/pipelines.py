"""Pipelines that pods drive. The source of this module travels with them, as that of functions does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from backends.argo.functions import add, dawdles, draws, refuses

import mapred

SMALL = mapred.Resources(cpu=0.01)
LIMITS: dict[str, Any] = {"per_task": 1, "resources": SMALL}
STEP: dict[str, Any] = {**LIMITS, "progress": "none"}


@mapred.pipeline
def guarded(parts: int) -> Any:
    drawn = mapred.submit(draws, mapred.array(parts), **LIMITS)
    total = mapred.run(dawdles, mapred.array(parts), reduce=add, **STEP)
    if not mapred.approve("publish", f"{total.result()}: publish?", timeout="1h", default=False):
        return None
    return [value.hex() for value in drawn.result()], total.result()


@mapred.pipeline
def slow(parts: int) -> Any:
    """Two runs, one after the other, each of which takes longer than the start of a pod."""
    first = mapred.run(draws, mapred.array(parts), **STEP)
    second = mapred.run(dawdles, mapred.array(parts), reduce=add, **STEP)
    return [value.hex() for value in first.result()], second.result()


@mapred.pipeline
def fails() -> Any:
    return mapred.run(refuses, mapred.array(1), attempts=1, resources=SMALL, progress="none")


@mapred.pipeline
def nightly(date: datetime, word: str) -> Any:
    total = mapred.run(dawdles, mapred.array(2), reduce=add, **STEP)
    return f"{word} {date:%Y-%m-%d} {total.result()}"


def fixed() -> Any:
    return mapred.run(dawdles, mapred.array(1), reduce=add, **STEP).result()
