"""Arrow: each record batch once, in files; streams whole."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred.errors import DatasetError
from mapred.formats import Place, sniff
from mapred.model.spec import Format

SCHEMA = pa.schema([("i", pa.int64()), ("s", pa.string())])
PINNED = Format("arrow", "table", SCHEMA)
CUTS = st.lists(st.floats(0, 1, exclude_max=True), max_size=8)
MOST = st.one_of(st.just(1 << 40), st.integers(50, 500))


def write(sizes: list[int], *, stream: bool = False, schema: pa.Schema = SCHEMA) -> bytes:
    sink = io.BytesIO()
    start = 0
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, schema) as writer:
        for size in sizes:
            numbers = range(start, start + size)
            columns = {"i": list(numbers), "s": [str(n) for n in numbers], "t": [None] * size}
            writer.write_batch(
                pa.record_batch([columns[name] for name in schema.names], schema=schema)
            )
            start += size
    return sink.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 20), max_size=8),
    CUTS,
    MOST,
    st.booleans(),
    st.sampled_from([None, ("s", "i"), ("i",)]),
)
def test_every_batch_is_read_once(
    lab: Any, sizes: list[int], cuts: list[float], most: int, stream: bool, columns: Any
) -> None:
    files = {"a #%?.arrow": write(sizes, stream=stream)}
    format = Format("arrow", "table", SCHEMA, columns=columns)
    parts = lab.read_each(format, files, lab.cut(files, cuts), most)
    assert [i for part in parts for i in part.value.column("i").to_pylist()] == [*range(sum(sizes))]
    assert sum(part.reading.units for part in parts) == len(sizes)
    assert sum(part.reading.records for part in parts) == sum(sizes)
    assert all(part.value.schema.names == list(columns or SCHEMA.names) for part in parts)


def test_batches_are_spread_over_the_ranges(lab: Any) -> None:
    files = {"a": write([5] * 10)}
    parts = lab.read_each(PINNED, files, lab.cut(files, [n / 10 for n in range(10)]))
    assert [part.value.num_rows for part in parts] == [5] * 10


def test_what_is_wrong_is_named(lab: Any) -> None:
    for stream in (False, True):
        data = write([3, 3], stream=stream)
        for bad in (data[: len(data) * 2 // 3], data[:50], b"ARROW1", b"nonsense" * 4, b""):
            with pytest.raises(DatasetError, match="cannot read f"):
                lab.read(PINNED, {"f": bad}, lab.cut({"f": bad}, []))
    extra = SCHEMA.append(pa.field("t", pa.null()))
    data = write([3], schema=extra)
    with pytest.raises(DatasetError, match="f has a column 't'"):
        lab.read(PINNED, {"f": data}, lab.cut({"f": data}, []))
    format = Format("arrow", "table", SCHEMA, columns=("i", "s"))
    assert lab.read(format, {"f": data}, lab.cut({"f": data}, [])).value.num_rows == 3
    data = write([3], schema=pa.schema([("s", pa.string())]), stream=True)
    with pytest.raises(DatasetError, match="f has no column 'i'"):
        lab.read(PINNED, {"f": data}, lab.cut({"f": data}, []))


def test_filters_and_sniffing(lab: Any) -> None:
    for stream in (False, True):
        files = {"a": write([3, 3], stream=stream)}
        format = Format("arrow", "batches", SCHEMA, columns=("s",), filter=[("i", ">", 3)])
        part = lab.read(format, files, lab.cut(files, []))
        assert [b.to_pydict() for b in part.value] == [{"s": ["4", "5"]}]
        assert (part.reading.units, part.reading.records) == (2, 2)
        assert lab.sniff(Format("arrow", "table"), files["a"]) == SCHEMA
    with pytest.raises(DatasetError, match="text has no schema"):
        lab.sniff(Format("text", "lines"), b"")
    with pytest.raises(DatasetError, match="cannot read f"):
        lab.sniff(Format("arrow", "table"), b"nonsense", "f")


def saved(table: pa.Table, kind: str) -> bytes:
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, sink)
        return sink.getvalue()
    with (pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_the_schema_is_that_of_several_files(lab: Any, kind: str) -> None:
    tables = {
        "0 empty": pa.table({"n": pa.array([], pa.string()), "z": pa.array([], pa.int8())}),
        "1": pa.table({"n": pa.array([1], pa.int8()), "l": pa.array([[]], pa.list_(pa.null()))}),
        "2": pa.table({"l": pa.array([[0.5]], pa.list_(pa.float32())), "n": [2**40]}),
        "3": pa.table({"n": [None], "l": [[0.1]]}),
    }
    files = {path: saved(table, kind) for path, table in tables.items()}
    format = Format("parquet" if kind == "parquet" else "arrow", "table")
    places = [Place(path, len(data)) for path, data in files.items()]
    schema = sniff(format, places, lab.open(files)).schema
    assert schema == pa.schema([("n", pa.int64()), ("l", pa.list_(pa.float64()))])
    pinned = replace(format, schema=schema)
    for cuts in ([], [0.3, 0.6]):
        value = pa.concat_tables(
            part.value for part in lab.read_each(pinned, files, lab.cut(files, cuts))
        )
        assert value.to_pydict() == {"n": [1, 2**40, None], "l": [[], [0.5], [0.1]]}
    alone = {"0 empty": files["0 empty"]}
    schema = sniff(format, places[:1], lab.open(alone)).schema
    assert schema.names == ["n", "z"]


def test_encodings_are_not_part_of_a_type(lab: Any) -> None:
    texts = ["a", None, "b"]
    encoded = {
        "d": pa.array(texts).dictionary_encode(),
        "v": pa.array(texts, pa.string_view()),
        "l": pa.array([texts, None, []], pa.list_view(pa.string())),
        "r": pc.run_end_encode(pa.array([1, 1, 2])),
    }
    files = {"f": saved(pa.table(encoded), "file")}
    schema = lab.sniff(Format("arrow", "table"), files["f"])
    assert schema.types == [pa.string(), pa.string(), pa.list_(pa.string()), pa.int64()]
    format = Format("arrow", "table", schema, filter=[("r", "=", 1)])
    value = lab.read(format, files, lab.cut(files, [])).value
    assert value.schema == schema
    assert value.to_pydict() == {
        "d": ["a", None], "v": ["a", None], "l": [texts, None], "r": [1, 1]
    }  # fmt: skip
