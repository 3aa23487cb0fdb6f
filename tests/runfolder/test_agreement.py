"""Tables of one result agree on their types while the run works, whatever comes first."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapred
from mapred.errors import DatasetError
from mapred.model import layout
from mapred.runfolder import agreement, gathering, outputs
from mapred.runfolder.agreement import Source
from mapred.runfolder.folder import RunFolder
from mapred.storage.local import LocalStore

RUN: dict[str, Any] = {"progress": "none", "backend": "inline"}
TWO = r"items 0 and 1 returned tables of two schemas: column 'x' is int64 and string; give the column one type"


class Counted(LocalStore):
    """Tells how often it was asked for a schema."""

    asked = 0

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        self.asked += "schemas" in path
        return super().read(path, offset, length)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self.asked += "schemas" in path
        return super().put_if_absent(path, data)


def test_two_types_are_one_error_while_the_run_works(tmp_path: Path) -> None:
    calls = tmp_path / "calls"

    def table(i: int) -> pa.Table:
        with calls.open("a") as file:
            file.write(f"{i}\n")
        return pa.table({"x": [1]}) if i != 1 else pa.table({"x": ["a"]})

    with pytest.raises(mapred.RunError, match=TWO):
        mapred.run(table, mapred.array(50), per_task=1, root=tmp_path / "runs", **RUN)
    # It fails at once, and nothing is tried again.
    assert calls.read_text().split() == ["0", "1"]


@pytest.mark.parametrize("per_task", [1, 2, 3])
def test_packing_decides_nothing(per_task: int, tmp_path: Path) -> None:
    tables = [pa.table({"x": [1]}), pa.table({"x": ["a"]}), pa.table({"x": [2]})]
    options = {"per_task": per_task, "root": tmp_path, **RUN}
    with pytest.raises(mapred.RunError, match=TWO):
        mapred.run(lambda i: tables[i], mapred.array(3), **options)


def test_shards_are_named_where_the_function_takes_shards(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text("a\n")
    count = iter(range(9))

    def frame(lines: Any) -> pd.DataFrame:
        return pd.DataFrame({"n": [1 if next(count) < 3 else 0.5]})

    pattern = r"shards 0 and 3 returned tables of two schemas: column 'n' is int64 and double"
    with pytest.raises(mapred.RunError, match=pattern):
        mapred.run(frame, str(tmp_path / "*.txt"), target_bytes=1, root=tmp_path / "runs", **RUN)


ROWS = pa.table({"x": [1, 2]})
AGREE = {
    "no rows": [pa.table({"x": pa.array([], pa.string())}), ROWS],
    "no rows later": [ROWS, pa.table({"x": pa.array([], pa.string())})],
    "no values": [pa.table({"x": pa.array([None], pa.float64())}), ROWS],
    "nulls": [pa.table({"x": pa.nulls(1)}), ROWS, pa.table({"x": pa.nulls(1)})],
    "wider": [ROWS, pa.table({"x": pa.array([3], pa.int8())})],
    "another column": [pa.table({"y": ["a"]}), ROWS],
}


@pytest.mark.parametrize("tables", AGREE.values(), ids=AGREE.keys())
@pytest.mark.parametrize("per_task", [1, 5])
def test_what_decides_nothing_or_loses_nothing(
    tables: list[pa.Table], per_task: int, tmp_path: Path
) -> None:
    array = mapred.array(len(tables))
    run = mapred.run(lambda i: tables[i], array, per_task=per_task, root=tmp_path, **RUN)
    assert sorted(run.result().to_table()["x"].drop_null().to_pylist())[:2] == [1, 2]
    assert run.result().schema.field("x").type == pa.int64()
    assert run.to_arrow()["x"].type == pa.int64()


def test_what_the_first_left_open_the_second_decides(tmp_path: Path) -> None:
    tables = [pa.table({"x": pa.nulls(1)}), pa.table({"x": [1]}), pa.table({"x": ["a"]})]
    pattern = "items 1 and 2 returned tables of two schemas: column 'x' is int64 and string"
    with pytest.raises(mapred.RunError, match=pattern):
        mapred.run(lambda i: tables[i], mapred.array(3), per_task=1, root=tmp_path, **RUN)


COLUMNS = {
    "int": pa.array([2**60 + 1], pa.int64()),
    "small": pa.array([7], pa.int8()),
    "unsigned": pa.array([2**64 - 1], pa.uint64()),
    "float": pa.array([0.5], pa.float64()),
    "half": pa.array([0.25], pa.float32()),
    "text": pa.array(["a"]),
    "code": pa.array(["b"]).dictionary_encode(),
    "nothing": pa.nulls(1),
    "no float": pa.array([None], pa.float64()),
    "list": pa.array([[1]], pa.list_(pa.int32())),
    "empty list": pa.array([[]], pa.list_(pa.null())),
    "decimal": pa.array([Decimal("1.25")]),
    "long decimal": pa.array([Decimal(10**30)]),
    "second": pa.array([5], pa.timestamp("s")),
    "micro": pa.array([5], pa.timestamp("us")),
    "far": pa.array([253370764800], pa.timestamp("s")),
    "nano": pa.array([5], pa.timestamp("ns")),
    "zoned": pa.array([5], pa.timestamp("us", "UTC")),
    "no rows": pa.array([], pa.string()),
}


def gathered(tables: list[pa.Table], packs: list[int], folder: str) -> Any:
    """What a run makes of tables, so many a task: rows, or the two types that clash."""
    store = LocalStore(folder)
    known, start, entries = None, 0, []
    for task, size in enumerate(packs):
        pack = tables[start : start + size]
        sources = [Source(task, start + place) for place in range(len(pack))]
        start += size
        output, data = outputs.encode(pack)
        try:
            known = agreement.agree_on_tables(
                store, "map", known, list(zip(sources, pack, strict=True))
            )
        except DatasetError as error:
            return re.findall("column '.'", str(error))
        if data is not None:
            store.write(str(task), data)
        entries.append((task, dataclasses.replace(output, path=str(task) if data else None)))
    try:
        whole = gathering.load_table(store, "map", entries)
    except DatasetError as error:
        with pytest.raises(DatasetError, match=r"run\.outputs"):
            gathering.open_dataset(store, "map", entries)
        return re.findall("column '.'", str(error))
    lazy = gathering.open_dataset(store, "map", entries).to_table()
    assert lazy.to_pylist() == whole.to_pylist()
    assert lazy.schema.equals(whole.schema)
    return sorted(whole.to_pylist(), key=repr)


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.sampled_from("xy"), st.sampled_from(list(COLUMNS))), min_size=1, max_size=5
    ),
    st.randoms(),
)
@pytest.mark.slow
def test_packing_and_order_decide_nothing(columns: list[tuple[str, str]], random: Any) -> None:
    tables = [pa.table({name: COLUMNS[kind]}) for name, kind in columns]
    shuffled = random.sample(tables, len(tables))
    found = []
    for some in (tables, shuffled):
        for packs in ([1] * len(some), [len(some)], [2] * len(some)):
            with tempfile.TemporaryDirectory() as folder:
                found.append(gathered(some, packs[: -(-len(some) // packs[0])], folder))
    names = {name for name, kind in columns if kind != "no rows"} or {columns[0][0]}
    rows = [
        dict.fromkeys(names) | {name: value}
        for name, kind in columns
        for value in COLUMNS[kind].to_pylist()
    ]
    if any(each and isinstance(each[0], str) for each in found):
        # Which of two clashing columns comes first is a matter of order alone.
        assert all(each and isinstance(each[0], str) for each in found)
    else:
        assert all(ordered(each) == ordered(rows) for each in found)


def ordered(rows: list[dict[str, Any]]) -> list[Any]:
    return sorted(sorted((name, told(value)) for name, value in row.items()) for row in rows)


def told(value: Any) -> str:
    """A value as text; decimals that are equal are, whatever their scale."""
    return str(Fraction(value) if isinstance(value, Decimal) else value)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"])
    with pytest.raises(mapred.RunError, match="item 0 returned a table with two columns 'x'"):
        mapred.run(lambda i: table, mapred.array(1), root=tmp_path, **RUN)


def test_a_reduce_takes_what_it_likes(tmp_path: Path) -> None:
    tables = [pa.table({"x": [1]}), pa.table({"x": ["a"]})]
    run = mapred.run(lambda i: tables[i], mapred.array(2), reduce=len_of, root=tmp_path, **RUN)
    assert run.result() == 2


def len_of(outputs: Any) -> int:
    return len(list(outputs))


def test_a_process_asks_once(tmp_path: Path) -> None:
    store = Counted(tmp_path)
    known = None
    for task in range(10):
        known = agreement.agree_on_tables(store, "map", known, [(Source(task), ROWS)])
    assert store.asked == 2
    agreement.agree_on_tables(store, "map", None, [(Source(10), ROWS)])
    assert store.asked == 3


def test_a_process_that_is_behind_holds_to_what_was_put_first(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    nulls, texts = pa.table({"x": pa.nulls(1)}), pa.table({"x": ["a"]})
    one = other = agreement.agree_on_tables(store, "map", None, [(Source(0), nulls)])
    agreement.agree_on_tables(store, "map", one, [(Source(1), ROWS)])
    with pytest.raises(DatasetError, match=r"shards 1 and 2 .* 'x' is int64 and string"):
        agreement.agree_on_tables(store, "map", other, [(Source(2), texts)])
    latest = agreement.latest(store, "map")
    assert latest is not None
    assert (latest.number, latest.sources) == (1, (Source(1),))


def test_another_function_may_return_other_types(tmp_path: Path) -> None:
    def table(i: int) -> pa.Table:
        return pa.table({"x": [i]}) if i else pa.table({"x": ["a"]})

    with pytest.raises(mapred.RunError, match="two schemas") as caught:
        mapred.run(table, mapred.array(2), per_task=1, root=tmp_path, **RUN)
    run = mapred.open(caught.value.run.uri)
    # What shard 0 committed stands; what a shard without a commit said does not.
    run.resume(lambda i: pa.table({"x": ["b"]}), progress="none")
    assert run.to_arrow()["x"].to_pylist() == ["a", "b"]
    run.store.delete(layout.commit("map", 0))
    for path in agreement.list_uncommitted(RunFolder(run.store), "map"):
        run.store.delete(path)
    assert agreement.latest(run.store, "map") is None
