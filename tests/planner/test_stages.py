"""The stages of a run: their names, what each takes, and the shape of the reduce tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapred.model.shuffle import Shuffle
from mapred.model.spec import Resources, Stage
from mapred.planner import stages as graph
from mapred.reducers import as_reducer

SPOT = Resources(cpu=2, spot=True)
SMALL = Resources(cpu=0.5)


def made(shards: int, fan_in: int | None) -> tuple[Stage, ...]:
    return graph.stages(shards, as_reducer(sum, fan_in=fan_in), resources=SPOT)


def shape(stages: tuple[Stage, ...]) -> list[tuple[str, int, str | None, int, bool]]:
    return [(s.name, s.tasks, s.inputs, s.input_tasks, s.last) for s in stages]


def test_a_map_alone_is_the_last_stage() -> None:
    (only,) = graph.stages(7, None, resources=SPOT)
    assert only == Stage("map", "map", 7, last=True, resources=SPOT)


def test_without_fan_in_one_task_takes_all_outputs() -> None:
    assert shape(made(7, None)) == [
        ("map", 7, None, 0, False),
        ("reduce-1", 1, "map", 7, True),
    ]


def test_levels_take_groups_until_one_is_left() -> None:
    assert shape(made(7, 3)) == [
        ("map", 7, None, 0, False),
        ("reduce-1", 3, "map", 7, False),
        ("reduce-2", 1, "reduce-1", 3, True),
    ]
    assert shape(made(1, 3))[1:] == [("reduce-1", 1, "map", 1, True)]


@given(shards=st.integers(1, 10**6), fan_in=st.integers(2, 1000))
def test_each_level_is_as_narrow_as_its_groups_allow(shards: int, fan_in: int) -> None:
    first, *levels = made(shards, fan_in)
    for before, level in zip([first, *levels], levels, strict=False):
        assert (level.inputs, level.input_tasks) == (before.name, before.tasks)
        assert (level.tasks - 1) * fan_in < before.tasks <= level.tasks * fan_in
    assert [level.last for level in levels] == [level.tasks == 1 for level in levels]


def test_reduces_do_not_run_on_spot_capacity_unless_they_are_told_to() -> None:
    reducer = as_reducer(sum)
    (_, reduce) = graph.stages(2, reducer, resources=SPOT)
    assert reduce.resources == SPOT.on_demand() != SPOT
    (_, reduce) = graph.stages(2, reducer, resources=SPOT, reduce_resources=SMALL)
    assert reduce.resources == SMALL


@pytest.mark.parametrize(
    ("shards", "mebibytes", "count"),
    [
        (1, 0, 1),
        (100, 0, 16),
        (100, 64 * 16, 16),
        (100, 64 * 16 + 1, 17),
        (100, 64 * 99, 99),
        (100, 64 * 101, 100),
        (10**4, 64 * 2000, 2000),
        (10**4, 64 * 2001, 2000),
    ],
)
def test_partitions_have_64_mebibytes_within_limits(
    shards: int, mebibytes: int, count: int
) -> None:
    assert graph.partitions(shards, mebibytes * 2**20) == count


@pytest.mark.parametrize("finalized", [False, True])
def test_keyed_stages_follow_each_other(finalized: bool) -> None:
    shuffle = Shuffle(("k",), 5)
    stages = graph.keyed_stages(9, shuffle, finalized=finalized, resources=SPOT)
    assert (
        shape(stages)
        == [
            ("map", 9, None, 0, False),
            ("manifest", 1, "map", 9, False),
            ("shuffle", 5, "manifest", 1, not finalized),
            ("reduce-1", 1, "shuffle", 5, True),
        ][: 4 if finalized else 3]
    )
    assert [stage.resources for stage in stages[1:]] == [SPOT.on_demand()] * (len(stages) - 1)
