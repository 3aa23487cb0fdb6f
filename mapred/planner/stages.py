"""The stages of a run and the shape of its reduce tree: pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mapred.model.resources import Resources
from mapred.model.spec import Stage
from mapred.reducers import Reducer

if TYPE_CHECKING:
    from mapred.model.shuffle import Shuffle

_PARTITION_BYTES = 64 * 2**20
_FEW, _MANY = 16, 2000


def partitions(shards: int, size: int) -> int:
    """How many partitions a keyed reduce of `size` bytes has by default.

    One for 64 MiB, and enough for some processors, but no more than there are map tasks.
    """
    return max(1, min(shards, max(_FEW, -(-size // _PARTITION_BYTES)), _MANY))


def keyed_stages(
    shards: int,
    shuffle: Shuffle,
    *,
    finalized: bool,
    resources: Resources,
    reduce_resources: Resources | None = None,
) -> tuple[Stage, ...]:
    """Plan maps, their manifest, a task for each partition; one more where there is a `finalize`."""
    after = reduce_resources or resources.on_demand()
    map_stage = Stage("map", "map", shards, resources=resources)
    manifest = Stage("manifest", "manifest", 1, "map", shards, resources=after)
    shuffled = Stage("shuffle", "shuffle", shuffle.partitions, "manifest", 1, resources=after)
    if not finalized:
        return map_stage, manifest, replace(shuffled, last=True)
    final = Stage("reduce-1", "reduce", 1, "shuffle", shuffle.partitions, resources=after)
    return map_stage, manifest, shuffled, replace(final, last=True)


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
                check=reducer.check and (not levels or (len(levels) == 1 and reducer.fan_in == 2)),
                resources=reduce_resources or resources.on_demand(),
            )
        )
        inputs, width = levels[-1], tasks
    return (map_stage, *levels)
