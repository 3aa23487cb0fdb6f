"""Plans: every byte in one range, in order, within the size bound, and no file opened."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner.nowhere import listing

from mapred import planner
from mapred.errors import PlanError
from mapred.model import layout
from mapred.planner import Plan, plan, plan_items, plan_outputs

SIZES = st.lists(
    st.one_of(st.just(0), st.integers(0, 50), st.integers(0, 5_000), st.integers(0, 10**12)),
    min_size=1,
    max_size=60,
)
TARGETS = st.one_of(st.none(), st.integers(1, 100), st.integers(1, 10**12))
TASKS = st.integers(1, 500)


def rows(made: Plan) -> list[dict[str, object]]:
    return pa.concat_tables(table for _, table in planner.plan_files(made)).to_pylist()


def check(made: Plan, sizes: list[int], splittable: list[bool]) -> None:
    """Every property that a plan of files has."""
    file, offset, length = made.file, made.offset, made.length
    edges = np.flatnonzero(np.diff(file, prepend=-1))
    assert file[edges].tolist() == list(range(len(sizes))), "each file, in order"
    assert offset[edges].tolist() == [0] * len(sizes)
    follows = np.diff(file, prepend=-1) == 0
    assert (offset[1:][follows[1:]] == (offset + length)[:-1][follows[1:]]).all(), "no gap"
    assert np.add.reduceat(length, edges).tolist() == sizes, "to the end of each file"
    ranges = np.diff(np.append(edges, len(file)))
    assert all(ranges[i] == 1 for i, size in enumerate(sizes) if size == 0 or not splittable[i])
    assert ((length > 0) | (np.array(sizes)[file] == 0)).all(), "empty ranges of empty files only"
    near = [np.ptp(part) for part in np.split(length, edges[1:])]
    assert max(near) <= 1, "the ranges of a file are equal but for a byte"

    assert made.starts[0] == 0
    assert made.starts[-1] == len(file)
    assert (np.diff(made.starts) > 0).all(), "no shard is empty"
    assert made.target_bytes is not None
    assert made.shard_bytes().max() <= made.target_bytes + length.max()
    assert (length[np.array(splittable)[file]] <= made.target_bytes).all()
    assert made.bytes == sum(sizes) == made.shard_bytes().sum()
    assert made.files == len(sizes)


@given(sizes=SIZES, target=TARGETS, tasks=TASKS, once=st.booleans(), data=st.data())
@settings(max_examples=83, deadline=None)
def test_every_byte_in_one_range(
    sizes: list[int], target: int | None, tasks: int, once: bool, data: st.DataObject
) -> None:
    splittable = data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    made = plan(
        listing(sizes),
        target_bytes=target,
        max_tasks=tasks,
        splittable=splittable,
        once_per_file=once,
    )
    check(made, sizes, [not once] * len(sizes) if once else splittable)
    assert made.shards <= tasks
    if target is not None and made.limit.startswith("target_bytes"):
        assert made.target_bytes == target
    assert made.items == (len(sizes) if once else 0)


@given(sizes=SIZES, target=TARGETS, tasks=TASKS)
@settings(max_examples=25, deadline=None)
def test_deterministic_and_on_disk_as_in_memory(
    sizes: list[int], target: int | None, tasks: int
) -> None:
    first, second = (plan(listing(sizes), target_bytes=target, max_tasks=tasks) for _ in range(2))
    assert rows(first) == rows(second)
    assert first.limit == second.limit
    assert [row["path"] for row in rows(first)] == [f"/nowhere/{i:05d}" for i in first.file]
    assert [row["size"] for row in rows(first)] == [sizes[i] for i in first.file]
    assert [row["offset"] for row in rows(first)] == first.offset.tolist()
    for name, table in planner.plan_files(first):
        assert planner.read_plan(planner.write_plan(table)).equals(table), name


def test_bytes_before_a_range_choose_its_shard() -> None:
    made = plan(listing([4, 4, 4, 30, 2, 0, 6]), target_bytes=10)
    before = np.cumsum(made.length) - made.length
    shard = before // 10
    assert made.length.tolist() == [4, 4, 4, 10, 10, 10, 2, 0, 6]
    assert np.repeat(np.arange(made.shards), np.diff(made.starts)).tolist() == shard.tolist()
    assert made.shard_bytes().tolist() == [12, 10, 10, 10, 8]


def test_numbers_that_no_range_got_are_left_out() -> None:
    made = plan(listing([1, 100, 1]), target_bytes=10, splittable=False)
    assert made.shard_bytes().tolist() == [101, 1]


def test_more_files_than_tasks_and_empty_files() -> None:
    made = plan(listing([0, 0, 0]))
    assert (made.shards, made.ranges, made.bytes) == (1, 3, 0)
    made = plan(listing([3, 0]), target_bytes=1)
    assert made.shard_bytes().tolist() == [1, 1, 1], "an empty last file joins the last shard"


def test_small_datasets_spread_and_large_ones_stay_within_max_tasks() -> None:
    small = plan(listing([10 * 2**20]))
    assert (small.target_bytes, small.shards) == (2**20, 10)
    assert np.ptp(plan(listing([700 * 10**6 + 1])).shard_bytes()) <= 1
    medium = plan(listing([700 * 10**6]))
    assert medium.shards == 32
    large = plan(listing([10**15]))
    assert large.shards == 10_000
    assert large.limit == "max_tasks=10000 (default)"
    asked = plan(listing([10**12]), target_bytes="32MiB")
    assert asked.shards == 29_803, "a target that is given is kept"
    assert asked.limit == f"target_bytes={2**25}"
    both = plan(listing([10**12]), target_bytes="32MiB", max_tasks=100)
    assert (both.shards, both.limit) == (100, "max_tasks=100")
    just = plan(listing([1000]), target_bytes=10, max_tasks=100)
    assert (just.shards, just.limit) == (100, "target_bytes=10"), "the limit is not in the way"


def test_a_plan_shows_its_numbers_and_not_its_ranges() -> None:
    shown = repr(plan(listing([10] * 100), target_bytes=1))
    assert "target_bytes=1" in shown
    assert not [
        name
        for name in "listing file offset length first count starts".split()
        if f"{name}=" in shown
    ]


def test_many_small_files_read_whole_spread_by_their_number() -> None:
    made = plan(listing([100] * 1000), once_per_file=True)
    assert made.shards == 32
    assert made.items == 1000
    row = made.shard_ranges(3).to_pylist()[0]
    assert (row["first"], row["count"], row["length"]) == (made.starts[3], 1, 100)
    assert made.unsplittable_reason == "each is read whole"


def test_opening_a_file_costs_less_on_a_disk_than_on_a_network() -> None:
    files = listing([10_000] * 100_000)
    assert plan(files, once_per_file=True).shards == 128
    far = files.set_column(0, "path", pa.array([f"s3://bucket/{n}" for n in range(len(files))]))
    assert plan(far, once_per_file=True).shards == 812


def test_what_cannot_be_split_is_counted() -> None:
    made = plan(
        listing([500, 10, 20]),
        target_bytes=100,
        splittable=pa.chunked_array([[False], [True, True]]),
        reason="compressed",
    )
    assert made.length.tolist() == [500, 10, 20]
    assert (made.unsplittable_files, made.unsplittable_bytes) == (1, 500)
    assert made.unsplittable_reason == "compressed"
    made = plan(listing([500]), target_bytes=100, reason="compressed")
    assert (made.unsplittable_files, made.unsplittable_reason) == (0, "")


def test_skew_and_largest_files() -> None:
    made = plan(listing([5, 50, 7, 50, 3, 1]), target_bytes=10, splittable=False)
    assert made.shard_bytes().tolist() == [55, 7, 50, 4]
    assert made.skew == (4, 28, 55)
    assert made.largest_files(3) == (
        ("/nowhere/00001", 50),
        ("/nowhere/00003", 50),
        ("/nowhere/00002", 7),
    )
    assert len(made.largest_files()) == 5
    assert plan_items(9, per_task=4).largest_files() == ()
    assert plan_items(9, per_task=4).skew == (1, 4, 4)


def test_no_file_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    files = listing([10, 10**9])
    for name in ("builtins.open", "os.open", "os.stat", "os.scandir"):
        monkeypatch.setattr(name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    made = plan(files)
    monkeypatch.undo()
    assert made.bytes == 10 + 10**9


@given(
    count=st.integers(1, 3000),
    per_task=st.one_of(st.none(), st.integers(1, 4000)),
    tasks=st.one_of(st.none(), st.integers(1, 4000)),
    pickled=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_every_item_in_one_task(
    count: int, per_task: int | None, tasks: int | None, pickled: bool
) -> None:
    offsets = np.cumsum(np.arange(count + 1) % 7) if pickled else None
    if per_task and tasks and -(-count // per_task) > tasks:
        with pytest.raises(PlanError, match=rf"per_task={per_task} .* max_tasks={tasks}"):
            plan_items(count, per_task=per_task, max_tasks=tasks)
        return
    made = plan_items(count, per_task=per_task, max_tasks=tasks, offsets=offsets)
    assert made.first[0] == 0
    assert made.first[-1] + made.count[-1] == count
    assert made.bytes == (0 if offsets is None else offsets[-1])
    assert (made.first[1:] == (made.first + made.count)[:-1]).all()
    assert made.count.min() >= 1
    if per_task:
        assert made.count.max() <= per_task
    else:
        assert np.ptp(made.count) <= 1
        assert made.shards == min(count, tasks or 1000)
    for row in rows(made)[:5]:
        assert row["path"] == (layout.ITEMS if pickled else "")
        if offsets is not None:
            assert row["offset"] == offsets[row["first"]]
            stop = row["first"] + row["count"]
            assert row["offset"] + row["length"] == offsets[stop]
            assert row["size"] == offsets[-1]


def test_an_array_of_any_size_is_planned_at_once() -> None:
    made = plan_items(10**15)
    assert made.shards == 1000
    assert made.count.sum() == 10**15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_bytes": 0}, "target_bytes=0 must be bytes as a whole number above zero"),
        ({"target_bytes": "many"}, "target_bytes='many' must be bytes"),
        ({"max_tasks": 0}, "max_tasks=0 must be a whole number above zero"),
        ({"max_tasks": 2.5}, "max_tasks=2.5 must be a whole number"),
        ({"max_tasks": True}, "max_tasks=True must be a whole number"),
        ({"max_tasks": 10**7}, "max_tasks=10000000 is above the 1000000"),
        ({"target_bytes": 1}, "target_bytes=1 makes 5000000 shards"),
        ({"splittable": [True, False]}, "splittable has 2 values for 1 files"),
    ],
)
def test_limits_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan(listing([5_000_000]), **options)  # type: ignore[arg-type]


def test_listings_that_make_no_sense() -> None:
    with pytest.raises(PlanError, match="no files"):
        plan(listing([]))
    with pytest.raises(PlanError, match="/nowhere/00001: a size of -2 bytes"):
        plan(listing([1, -2]))
    with pytest.raises(PlanError, match="more than 4 EiB"):
        plan(listing([2**62, 2**62]))
    with pytest.raises(PlanError, match="more than 4 EiB"):
        plan(listing([2**61, 2**61]))
    assert plan(listing([2**61, 2**61 - 2**40])).bytes == 2**62 - 2**40
    unknown = listing([1, 2]).set_column(1, "size", pa.array([1, None], pa.int64()))
    with pytest.raises(PlanError, match="/nowhere/00001: its size is unknown"):
        plan(unknown)
    with pytest.raises(PlanError, match="0 items"):
        plan_items(0)
    with pytest.raises(PlanError, match="per_task=1 makes 2000000 tasks"):
        plan_items(2_000_000, per_task=1)
    with pytest.raises(PlanError, match="offsets must be 4 rising"):
        plan_items(3, offsets=[0, 2, 1, 3])


PARTS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 9), st.integers(1, 9)),
    min_size=1,
    max_size=20,
)


def stored(parts: list[tuple[int, int, int, int]]) -> pa.Table:
    """Outputs of tasks: size, values in all (beyond those of the part), first place, and count."""
    names = ("size", "values", "first", "count")
    whole = [(size, first + count + more, first, count) for size, more, first, count in parts]
    columns = dict(zip(names, zip(*whole, strict=True), strict=True))
    numbers = {name: pa.array(values, pa.int64()) for name, values in columns.items()}
    return pa.table({**listing([0] * len(parts)).drop_columns("size").to_pydict(), **numbers})


@given(
    parts=PARTS,
    limits=st.fixed_dictionaries(
        {},
        optional={"max_tasks": st.integers(1, 60)},
    ),
    own=st.one_of(
        st.just({}),
        st.builds(lambda n: {"per_task": n}, st.integers(1, 40)),
        st.builds(lambda n: {"target_bytes": n}, st.integers(1, 10**6)),
    ),
)
@settings(max_examples=60, deadline=None)
def test_every_output_in_one_task(
    parts: list[tuple[int, int, int, int]], limits: dict[str, int], own: dict[str, int]
) -> None:
    count = sum(part[3] for part in parts)
    if "per_task" in own and -(-count // own["per_task"]) > limits.get("max_tasks", count):
        limits = {}
    made = plan_outputs(stored(parts), **limits, **own)
    found = rows(made)
    items = [
        (row["path"], int(str(row["offset"])) + number)
        for row in found
        for number in range(int(str(row["count"])))
    ]
    assert items == [
        (f"/nowhere/{i:05d}", first + number)
        for i, (_, _, first, some) in enumerate(parts)
        for number in range(some)
    ], "each value of each part, in order"
    assert made.items == len(items)
    assert made.first.tolist() == np.cumsum([0, *made.count[:-1]]).tolist()
    assert (np.diff(made.starts) > 0).all(), "no shard is empty"
    assert made.shards <= limits.get("max_tasks", count)
    for i, (size, more, first, some) in enumerate(parts):
        length = made.length[made.file == i].sum()
        share = size * some / (first + some + more)
        assert abs(length - share) <= some, "about its share of the bytes"
    if "per_task" in own:
        assert made.shard_items()[:-1].tolist() == [own["per_task"]] * (made.shards - 1)
    if "target_bytes" in own and made.limit.startswith("target_bytes"):
        assert made.shard_bytes().max() <= own["target_bytes"] + max(p[0] for p in parts)


def test_limits_of_outputs_that_contradict_each_other() -> None:
    with pytest.raises(PlanError, match="give target_bytes=5 or per_task=2, not both"):
        plan_outputs(stored([(10, 1, 0, 3)]), target_bytes=5, per_task=2)
