"""What a task needs of memory: never less than was seen, with a margin."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mapred.client.advising.figures import (
    LEAST_MARGIN,
    MARGIN,
    Figures,
    memory_quantity,
    memory_text,
)
from mapred.client.advising.steps import Step
from mapred.display.advice import Recommendation
from mapred.display.format import pluralize
from mapred.model.failure import Failure, Retry
from mapred.model.resources import Resources, parse_bytes
from mapred.model.status import TaskTime

_LOOSE = 2  # asked for so many times what is needed, memory lies idle
_ABOVE = f"{MARGIN - 1:.0%} and at least {memory_text(LEAST_MARGIN)} above the peak".replace(
    "%", " %"
)


def advise_memory(figures: Figures, grows: bool) -> list[Step]:
    """Return the memory of map and of reduce tasks; `grows` if map tasks are to be larger."""
    asked = figures.job.stages[0].resources
    killed = figures.tries("memory")
    of_map = [each for each in killed if each.stage == "map"]
    steps = [_advise("map", "resources", asked, figures.map_times, of_map, grows)]
    if len(figures.job.stages) == 1:
        return steps
    # The resources of map tasks hold for a reduce that has none of its own.
    resources = figures.job.stages[-1].resources
    inherits = resources == asked.on_demand()
    changed = steps[0].options.get("resources")
    if inherits and changed is not None:
        resources = dataclasses.replace(
            resources, memory=changed.memory, max_memory=changed.max_memory
        )
    of_reduce = [each for each in killed if each.stage != "map"]
    times = figures.other_times
    step = _advise("reduce", "reduce_resources", resources, times, of_reduce, grows=False)
    if step.options and inherits and not _is_too_little(resources, times, of_reduce):
        return steps  # It has what map tasks have, which is enough.
    return [*steps, step]


def _is_too_little(
    resources: Resources, times: Sequence[TaskTime], killed: Sequence[Failure | Retry]
) -> bool:
    asked = resources.memory_bytes
    return asked is not None and asked < parse_bytes(_needed(resources, times, killed)[0])


def _needed(
    resources: Resources, times: Sequence[TaskTime], killed: Sequence[Failure | Retry]
) -> tuple[str, bool]:
    """Return the memory to ask for, and whether it rests on an attempt that was killed."""
    peak = max((time.peak_memory for time in times), default=0)
    need = max(peak * MARGIN, peak + LEAST_MARGIN)
    asked = resources.max_memory or resources.memory
    limit = parse_bytes(asked) if asked else 0
    lost = [each for each in killed if isinstance(each, Failure)]
    floor = 2 * limit if lost else limit * MARGIN if killed and not resources.max_memory else 0
    if killed and not limit:
        floor = 2 * peak
    return memory_quantity(max(need, floor)), floor > need


def _advise(
    what: str,
    option: str,
    resources: Resources,
    times: Sequence[TaskTime],
    killed: Sequence[Failure | Retry],
    grows: bool,
) -> Step:
    known = [time for time in times if time.peak_memory]
    asked = resources.memory_bytes
    if not known and not (killed and asked):
        return Step(notes=(f"memory of {what} tasks: not recorded",) if times else ())
    needed, by_kill = _needed(resources, known, killed)
    largest = max(known, key=lambda time: time.peak_memory, default=None)
    used = _used(largest, killed)
    if asked is not None and parse_bytes(needed) <= asked <= _LOOSE * parse_bytes(needed):
        return Step(notes=(f"memory of {what} tasks: {resources.memory} fits, {used}",))
    if grows and (asked is None or asked > parse_bytes(needed)):
        note = f"memory of {what} tasks: {used}; larger shards need more, so measure it again"
        return Step(notes=(note,))
    reason = f"{_ABOVE}, rounded up"
    if by_kill:
        reason = f"{pluralize(len(killed), 'attempt')} ran out of memory"
        reason += f" at {resources.max_memory or resources.memory}" if asked else ""
        reason += "; smaller shards need less"
    elif asked is None:
        reason += "; a cluster places pods by it, and a worker above it is stopped"
    most = resources.max_memory
    most = most if most and parse_bytes(most) >= parse_bytes(needed) else None
    return Step(
        Recommendation(
            f"memory of a {what} task",
            "no limit" if asked is None else str(resources.memory),
            used,
            needed,
            reason,
        ),
        {option: dataclasses.replace(resources, memory=needed, max_memory=most)},
    )


def _used(largest: TaskTime | None, killed: Sequence[Failure | Retry]) -> str:
    if largest is None:
        return f"more, in {pluralize(len(killed), 'attempt')} that ran out"
    return f"at most {memory_text(largest.peak_memory)} (task {largest.task})"
