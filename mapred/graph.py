"""The stages of a run and the shape of its reduce tree: pure."""

from __future__ import annotations

from mapred.model import Resources, Stage
from mapred.reducers import Reducer


def stages(
    shards: int,
    reducer: Reducer | None,
    *,
    resources: Resources,
    reduce_resources: Resources | None = None,
) -> tuple[Stage, ...]:
    """One map stage, then the levels of the reduce.

    Without `fan_in` one task reduces everything; with it each level takes consecutive
    groups of `fan_in` outputs until one is left. No stage depends on what a task returns.
    """
    map_stage = Stage("map", "map", shards, last=reducer is None, resources=resources)
    if reducer is None:
        return (map_stage,)
    levels: list[Stage] = []
    inputs, width = map_stage, shards
    while not levels or width > 1:
        tasks = 1 if reducer.fan_in is None else max(1, -(-width // reducer.fan_in))
        levels.append(
            Stage(
                f"reduce-{len(levels) + 1}",
                "reduce",
                tasks,
                inputs=inputs.name,
                input_tasks=width,
                fan_in=reducer.fan_in,
                last=tasks == 1,
                check=reducer.check and not levels,
                resources=reduce_resources or resources.on_demand(),
            )
        )
        inputs, width = levels[-1], tasks
    return (map_stage, *levels)
