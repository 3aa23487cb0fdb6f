"""Rows sorted over all partitions: order, ties, and that none is lost."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapred
from mapred.backends.inline import Inline
from mapred.model.resources import Resources
from mapred.shuffle.sorting import order_rows

EXAMPLES = settings(max_examples=30, deadline=None)
COLUMNS = {
    "i": (pa.int32(), st.integers(-5, 5)),
    "u": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "f": (pa.float64(), st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0])),
    "nan": (pa.float64(), st.sampled_from([1.0, math.nan, -math.inf])),
    "s": (pa.string(), st.text(max_size=12) | st.sampled_from(["", "a", "a\0", "prefix long 1"])),
    "b": (pa.large_binary(), st.binary(max_size=10)),
    "t": (pa.timestamp("us"), st.integers(-(2**60), 2**60)),
    "flag": (pa.bool_(), st.booleans()),
}


@st.composite
def tables(draw: Any, *, nulls: bool = True) -> pa.Table:
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=2, unique=True))
    rows = draw(st.integers(1, 40))
    columns = {}
    for name in names:
        type_, values = COLUMNS[name]
        some = st.none() | values if nulls and draw(st.booleans()) else values
        columns[name] = pa.array(draw(st.lists(some, min_size=rows, max_size=rows)), type_)
    return pa.table(columns)


@EXAMPLES
@given(tables(), st.booleans(), st.booleans())
def test_rows_are_in_the_order_that_arrow_sorts_them(
    table: pa.Table, down: bool, runs: bool
) -> None:
    by = table.column_names
    descending = [down, False][: len(by)]
    keys = [
        (name, "descending" if d else "ascending") for name, d in zip(by, descending, strict=True)
    ]
    expected = pc.sort_indices(table, sort_keys=keys).to_pylist()
    assert order_rows(table, by, descending, runs=runs).tolist() == expected


class Slices:
    """Consecutive rows of one table, some for each item."""

    def __init__(self, table: pa.Table, tasks: int) -> None:
        self.table, self.tasks = table, tasks

    def __call__(self, item: int) -> pa.Table:
        start, stop = (n * self.table.num_rows // self.tasks for n in (item, item + 1))
        return self.table.slice(start, stop - start)


def sort(table: pa.Table, tmp_path: Path, tasks: int = 5, **options: Any) -> Any:
    given_ = {"backend": Inline(), "root": tmp_path / "runs", "progress": "none", **options}
    return mapred.run(Slices(table, tasks), mapred.array(tasks), **given_)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sorted")


@settings(max_examples=10, deadline=None)
@given(table=tables(), partitions=st.integers(1, 6), down=st.booleans())
def test_the_whole_is_sorted_and_stable(
    table: pa.Table, partitions: int, down: bool, folder: Path
) -> None:
    table = table.append_column("row", pa.array(range(table.num_rows)))
    by = [(name, "descending" if down else "ascending") for name in table.column_names[:-1]]
    run = sort(table, folder, sort_by=by, partitions=partitions)
    expected = table.take(pc.sort_indices(table, sort_keys=by))
    assert run.to_arrow()["row"].to_pylist() == expected["row"].to_pylist()


@pytest.mark.filterwarnings("ignore:backend='inline'")
@pytest.mark.parametrize("memory", [None, "1M"])
def test_partitions_are_even_and_cover_all(tmp_path: Path, memory: str | None) -> None:
    keys = np.random.default_rng(1).permutation(100_000)
    table = pa.table({"k": keys, "v": keys * 2})
    run = sort(table, tmp_path, sort_by="k", partitions=8, resources=Resources(memory=memory))
    assert run.to_arrow()["k"].to_pylist() == list(range(100_000))
    rows = [run.debug(part, "shuffle")[0].num_rows for part in range(8)]
    assert max(rows) < 1.3 * 12_500
    assert run.audit().ok


def test_equal_keys_stay_in_plan_order(tmp_path: Path) -> None:
    table = pa.table({"k": ["same"] * 5000 + ["after"] * 3, "row": np.arange(5003)})
    found = sort(table, tmp_path, sort_by="k", partitions=4).to_arrow()
    assert found["row"].to_pylist() == [5000, 5001, 5002, *range(5000)]


def records(item: int) -> pa.Table:
    """A thousand records of 100 bytes, the first ten of which are the key."""
    data = np.random.default_rng(item).integers(32, 127, (1000, 100), np.uint8)
    keys, rest = (np.ascontiguousarray(part) for part in (data[:, :10], data[:, 10:]))
    return pa.table(
        {
            name: pa.Array.from_buffers(pa.binary(width), 1000, [None, pa.py_buffer(part)])
            for name, width, part in (("key", 10, keys), ("rest", 90, rest))
        }
    )


def checksum(tables_: Any) -> tuple[int, int]:
    """How many records, and the sum of their CRC-32s, in any order."""
    count = total = 0
    for table in tables_:
        for key, rest in zip(table["key"].to_pylist(), table["rest"].to_pylist(), strict=True):
            count, total = count + 1, total + zlib.crc32(key + rest)
    return count, total


@pytest.mark.slow
def test_a_terasort_passes_its_check(tmp_path: Path) -> None:
    run = mapred.run(
        records, mapred.array(20), sort_by="key", root=tmp_path, progress="none", partitions=6
    )
    last = b""
    for batch in run.result().to_batches():
        for key in batch["key"].to_pylist():
            assert last <= key
            last = key
    assert checksum([run.to_arrow()]) == checksum(map(records, range(20)))
    assert checksum([run.to_arrow()])[0] == 20_000
    assert run.audit().ok


def test_rows_are_handed_over_as_they_are(tmp_path: Path) -> None:
    odd = np.array([0x7FF8000000000123, 0xFFF8000000000000], np.uint64).view(np.float64)
    keys = np.array([0.0, -0.0, 1.0, -0.0, 0.0, *odd])
    table = pa.table({"k": keys})
    for tasks in (1, 3):
        found = sort(table, tmp_path, tasks, sort_by="k", partitions=2).to_arrow()["k"].to_numpy()
        expected = keys[[0, 1, 3, 4, 2, 5, 6]]
        assert found.view(np.uint64).tolist() == expected.view(np.uint64).tolist()


def test_nothing_to_sort_is_an_empty_table(tmp_path: Path) -> None:
    empty = pa.table({"k": pa.array([], pa.int64())})
    assert sort(empty, tmp_path, sort_by="k").to_arrow().equals(empty)
    some = pa.table({"k": [2, 1]})
    assert sort(some, tmp_path, sort_by="k").to_arrow()["k"].to_pylist() == [1, 2]
