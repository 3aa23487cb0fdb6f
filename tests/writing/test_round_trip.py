"""What a run wrote comes back equal in values and types: by mapred, DuckDB and deltalake."""

from __future__ import annotations

import datetime
import decimal
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import types

import mapred
from mapred import writing
from mapred.errors import RunError

duckdb = pytest.importorskip("duckdb")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ZONES = [None, "UTC", "Europe/Berlin"]


def whole(bits: int, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, high, 0])


def numbers_of(type_: pa.DataType, numbers: st.SearchStrategy[int]) -> Any:
    """A column whose values are whole numbers to Arrow: times, dates, durations."""
    width = pa.int32() if type_.bit_width == 32 else pa.int64()
    return type_, numbers, lambda values: pa.array(values, width).view(type_)


def plain(type_: pa.DataType, values: st.SearchStrategy[Any]) -> Any:
    return type_, values, lambda column: pa.array(column, type_)


# Before pyarrow 26, nulls among lists of a fixed size cannot be read back from Parquet.
FIXED_LISTS = [plain(pa.list_(pa.int8(), 2), st.lists(whole(8), min_size=2, max_size=2))]
if int(pa.__version__.split(".")[0]) < 26:
    FIXED_LISTS = []
# What all readers know alike.
COMMON = [
    plain(pa.bool_(), st.booleans()),
    *[plain(getattr(pa, f"int{n}")(), whole(n)) for n in (8, 16, 32, 64)],
    plain(pa.float32(), st.floats(width=32)),
    plain(pa.float64(), st.floats()),
    plain(pa.string(), TEXT),
    plain(pa.binary(), st.binary(max_size=8)),
    plain(pa.date32(), st.dates()),
    plain(pa.decimal128(38, 9), st.decimals(-(10**28), 10**28, places=9).map(lambda d: +d)),
    plain(pa.decimal128(5, 2), st.decimals(-999, 999, places=2)),
    plain(pa.timestamp("us"), st.datetimes()),
    plain(pa.list_(pa.int64()), st.lists(st.none() | whole(64), max_size=3)),
    plain(
        pa.struct([("a", pa.string()), ("b", pa.list_(pa.float64()))]),
        st.fixed_dictionaries(
            {"a": st.none() | TEXT, "b": st.none() | st.lists(st.floats(), max_size=2)}
        ),
    ),
]
DUCKDB = [*COMMON, *[plain(getattr(pa, f"uint{n}")(), whole(n, False)) for n in (8, 16, 32, 64)]]
DELTA = [*COMMON, numbers_of(pa.timestamp("us", "UTC"), st.integers(0, 2**50))]
PARQUET = [
    *DUCKDB,
    *[
        numbers_of(pa.timestamp(unit, zone), whole(64))
        for unit in ("ms", "us", "ns")
        for zone in ZONES
    ],
    *[numbers_of(pa.duration(unit), whole(64)) for unit in ("s", "ms", "us", "ns")],
    numbers_of(pa.time32("ms"), st.integers(0, 86_399_999)),
    numbers_of(pa.time64("us"), st.integers(0, 86_399_999_999)),
    numbers_of(pa.time64("ns"), st.integers(0, 86_399_999_999_999)),
    numbers_of(pa.date32(), whole(32)),
    plain(pa.float16(), st.floats(width=16).map(np.float16)),
    plain(pa.decimal256(60, 3), st.decimals(-(10**20), 10**20, places=3)),
    plain(pa.binary(3), st.binary(min_size=3, max_size=3)),
    *FIXED_LISTS,
    plain(
        pa.map_(pa.string(), pa.timestamp("ns")),
        st.dictionaries(TEXT, whole(64), max_size=2).map(lambda d: list(d.items())),
    ),
    plain(
        pa.list_(pa.struct([("x", pa.list_(pa.date32()))])),
        st.lists(
            st.none() | st.fixed_dictionaries({"x": st.none() | st.lists(st.dates(), max_size=2)}),
            max_size=2,
        ),
    ),
]
PARTITIONS = [
    plain(
        pa.string(),
        st.sampled_from(["01234", "1234", "1", "", "true", "2026-01-01", "a/b=c %41"]) | TEXT,
    ),
    plain(pa.bool_(), st.booleans()),
    plain(pa.date32(), st.dates()),
    *[plain(getattr(pa, f"int{n}")(), whole(n)) for n in (8, 16, 32, 64)],
    *[plain(getattr(pa, f"uint{n}")(), whole(n, False)) for n in (8, 16, 32, 64)],
]
DELTA_PARTITIONS = [
    plain(pa.string(), st.sampled_from(["01234", "1234", "a/b=c %41"]) | TEXT.filter(bool)),
    *PARTITIONS[1:7],
]
NAMES = st.text(string.ascii_letters + "_ ü", min_size=1, max_size=5)


@st.composite
def tables(draw: Any, columns: list[Any], folders: list[Any]) -> tuple[list[pa.Table], list[str]]:
    """Tables of one schema with a row number `n`, and the columns to partition by."""
    rows = draw(st.integers(1, 12))
    chosen = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=4))
    by = draw(st.lists(st.sampled_from(folders), max_size=2))
    made = {"n": pa.array(range(rows))}
    for number, (_, values, build) in enumerate([*chosen, *by]):
        few = st.none() | values if number >= len(chosen) or draw(st.booleans()) else values
        found = draw(st.lists(few, min_size=rows, max_size=rows))
        made[f"{'p' if number >= len(chosen) else 'c'} {number}"] = build(found)
    whole_table = pa.table(made)
    cut = draw(st.integers(0, rows))
    names = [name for name in made if name[0] == "p"]
    return [whole_table.slice(0, cut), whole_table.slice(cut)], names


def write(parts: list[Any], target: writing.Target) -> None:
    mapred.run(lambda t: t, mapred.items(parts), write=target, backend="inline", progress="none")


def by_mapred(lake: Any, **options: Any) -> pa.Table:
    source = mapred.read_parquet(lake, **options)
    run = mapred.run(lambda t: [t], source, backend="inline", progress="none")
    return in_order(pa.concat_tables(found for (found,) in run.result()))


def by_duckdb(lake: str) -> pa.Table:
    files = mapred.dataset.listing(mapred.read_parquet(lake))["path"].to_pylist()
    listed = ", ".join("'{}'".format(file.replace("'", "''")) for file in files)
    query = f"from read_parquet([{listed}], hive_partitioning=true, hive_types_autocast=false)"
    with duckdb.connect() as connection:
        return in_order(connection.sql(query).to_arrow_table())


def by_deltalake(lake: str) -> pa.Table:
    deltalake = pytest.importorskip("deltalake")
    return in_order(deltalake.DeltaTable(lake).to_pyarrow_table())


def in_order(found: pa.Table) -> pa.Table:
    return found.take(pc.sort_indices(found["n"])).combine_chunks()


def check(found: pa.Table, wanted: pa.Table) -> None:
    """Equal names, types and values; NaN is NaN and -0.0 is not 0.0."""
    assert sorted(found.column_names) == sorted(wanted.column_names)
    for name in wanted.column_names:
        mine, theirs = found[name].combine_chunks(), wanted[name].combine_chunks()
        assert mine.type == theirs.type, f"{name}: {mine.type}, not {theirs.type}"
        assert same(mine, theirs), f"{name}: {mine}\nnot\n{theirs}"


def same(one: Any, other: Any) -> bool:
    if not one.is_valid().equals(other.is_valid()):
        return False
    if types.is_floating(one.type):
        width = getattr(pa, f"uint{one.type.bit_width}")()
        bits = [
            pa.array(a.drop_null().to_numpy(zero_copy_only=False)).view(width) for a in (one, other)
        ]
        nan = pc.is_nan(one.drop_null().cast(pa.float64()))
        zero = pa.scalar(0, width)
        return bool(
            nan.equals(pc.is_nan(other.drop_null().cast(pa.float64())))
            and pc.if_else(nan, zero, bits[0]).equals(pc.if_else(nan, zero, bits[1]))
        )
    if types.is_list(one.type):
        lengths = pc.list_value_length(one).equals(pc.list_value_length(other))
        return lengths and same(pc.list_flatten(one), pc.list_flatten(other))
    if types.is_struct(one.type):
        fields = range(one.type.num_fields)
        return all(same(pc.struct_field(one, n), pc.struct_field(other, n)) for n in fields)
    return bool(one.equals(other))


# --- values and types, there and back


def there_and_back(folders: pytest.TempPathFactory, made: Any) -> None:
    parts, names = made
    lake = str(folders.mktemp("lake"))
    write(parts, mapred.write_parquet(lake, partition_by=names))
    wanted = pa.concat_tables(parts)
    check(by_mapred(lake), wanted)
    # By the folder alone, without the manifest, with the types said.
    Path(f"{lake}-plain").mkdir()
    for part in Path(lake).iterdir():
        if part.name[0] != "_":
            part.rename(Path(f"{lake}-plain", part.name))
    check(by_mapred(f"{lake}-plain", schema=wanted.schema), wanted)


def with_duckdb(folders: pytest.TempPathFactory, made: Any) -> None:
    parts, names = made
    lake = str(folders.mktemp("lake"))
    write(parts, mapred.write_parquet(lake, partition_by=names))
    wanted = pa.concat_tables(parts)
    found = by_duckdb(lake)
    for name in names:  # DuckDB is told to leave the folders' names alone
        number = found.column_names.index(name)
        texts = found[name].cast(pa.string())
        if types.is_string(wanted[name].type):
            # DuckDB takes an empty folder's name for null.
            texts = pc.if_else(pc.equal(wanted[name], ""), "", texts)
        found = found.set_column(number, name, texts.cast(wanted[name].type))
    check(found, wanted)


def with_delta(folders: pytest.TempPathFactory, made: Any) -> None:
    parts, names = made
    lake = str(folders.mktemp("lake"))
    write(parts, mapred.write_delta(lake, partition_by=names))
    check(by_deltalake(lake), pa.concat_tables(parts))


WAYS = {
    "mapred": (there_and_back, tables(PARQUET, PARTITIONS)),
    "duckdb": (with_duckdb, tables(DUCKDB, PARTITIONS)),
    "delta": (with_delta, tables(DELTA, DELTA_PARTITIONS)),
}


@pytest.mark.parametrize(
    ("way", "examples"),
    [
        *[(way, 3) for way in WAYS],
        *[pytest.param(way, 100, marks=pytest.mark.slow) for way in WAYS],
    ],
)
def test_what_was_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, way: str, examples: int
) -> None:
    run, made = WAYS[way]

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(made=made)
    def check_one(made: Any) -> None:
        run(tmp_path_factory, made)

    check_one()


# --- partition values


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (pa.string(), ["01234", "1234"]),
        (pa.string(), ["1", "2", None]),
        (pa.string(), ["2026-01-01", "true", "", "null", "NULL", "None"]),
        (pa.string(), ["a/b", "50%", "%41", "x=y", "..", ".", " ", "\n", "\0", "zürich 日本", "\u2028"]),
        (pa.string(), ["1234567890123456789", "12345678901234567890"]),
        (pa.int64(), [2**63 - 1, -(2**63), None]),
        (pa.uint64(), [2**64 - 1, 0]),
        (pa.int8(), [-3, 7]),
        (pa.bool_(), [True, False, None]),
        (pa.date32(), [datetime.date(2026, 1, 1), datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]),
        (pa.string(), [None, None]),
    ],
)  # fmt: skip
def test_partitions_keep_their_values_and_types(
    tmp_path: Path, type_: pa.DataType, values: list[Any]
) -> None:
    table = pa.table({"n": range(len(values)), "k": pa.array(values, type_)})
    write([table], mapred.write_parquet(tmp_path / "lake", partition_by="k"))
    check(by_mapred(tmp_path / "lake"), table)
    # A partition by itself has the type of the whole.
    files = mapred.dataset.listing(mapred.read_parquet(tmp_path / "lake"))["path"].to_pylist()
    parts = [by_mapred(Path(file).parent)["k"] for file in files]
    assert {part.type for part in parts} == {type_}
    assert {value for part in parts for value in part.to_pylist()} == set(values)


def test_types_that_a_user_says_win(tmp_path: Path) -> None:
    table = pa.table({"n": [1], "k": ["01"]})
    write([table], mapred.write_parquet(tmp_path / "lake", partition_by="k"))
    found = by_mapred(tmp_path / "lake", schema={"k": "int16"})
    assert found["k"].type == pa.int16()
    assert found["k"].to_pylist() == [1]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array(["a", "__HIVE_DEFAULT_PARTITION__"]), "'__HIVE_DEFAULT_PARTITION__' stands for null"),
        (pa.array(["é" * 130]), "is too long for a folder's name, which has 255 bytes at most"),
        (pa.array(["/" * 85]), "is too long for a folder's name"),
        (pa.array([2**31 - 1], pa.int32()).view(pa.date32()), "before the year 0 or after 9999"),
        (pa.array([-800_000], pa.int32()).view(pa.date32()), "before the year 0 or after 9999"),
        (pa.array([1], pa.timestamp("us")), r"'k' is a column of timestamp\[us\]: a folder's name holds"),
        (pa.array([1.5]), "'k' is a column of double"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("to", [mapred.write_parquet, mapred.write_delta])
def test_partitions_that_no_folder_can_hold(
    tmp_path: Path, column: Any, said: str, to: Callable[..., writing.Target]
) -> None:
    table = pa.table({"n": range(len(column)), "k": column})
    with pytest.raises(RunError, match=said):
        write([table], to(tmp_path / "lake", partition_by="k"))


def test_a_partition_column_that_one_shard_lacks(tmp_path: Path) -> None:
    parts = [pa.table({"n": [1], "k": ["a"]}), pa.table({"n": [1]})]
    with pytest.raises(RunError, match="partition_by='k' is not a column of the returned table"):
        write(parts, mapred.write_parquet(tmp_path / "lake", partition_by="k"))
    assert not (tmp_path / "lake/_manifest").exists()


# --- types


@pytest.mark.parametrize(
    ("column", "stored"),
    [
        (pa.array(["a", None, "a"]).dictionary_encode(), pa.string()),
        (pa.array([["a"], None]).cast(pa.list_(pa.dictionary(pa.int8(), pa.string()))), pa.list_(pa.string())),
        (pa.array(["a"], pa.large_string()), pa.string()),
        (pa.array(["a"], pa.string_view()), pa.string()),
        (pa.array([[1]], pa.large_list(pa.int8())), pa.list_(pa.int8())),
        (pa.array([1], pa.timestamp("s", "UTC")), pa.timestamp("ms", "UTC")),
        (pa.array([1], pa.time32("s")), pa.time32("ms")),
        (pa.array([86_400_000], pa.date64()), pa.date32()),
        (pa.array([decimal.Decimal(1200), None], pa.decimal128(5, -2)), pa.decimal128(7, 0)),
    ],
    ids=lambda each: str(each.type if isinstance(each, pa.Array) else each),
)  # fmt: skip
def test_types_that_change_and_values_that_do_not(
    tmp_path: Path, column: pa.Array, stored: pa.DataType
) -> None:
    table = pa.table({"n": range(len(column)), "c": column})
    write([table], mapred.write_parquet(tmp_path / "lake"))
    found = by_mapred(tmp_path / "lake")
    assert found["c"].type == stored
    assert found["c"].to_pylist() == column.to_pylist()


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([2**62], pa.int64()).view(pa.timestamp("s")), "cannot be cast to what is stored"),
        (pa.array([1], pa.date64()), "cannot be cast to what is stored"),
        (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), "cannot be stored as Parquet"),
        (pa.RunEndEncodedArray.from_arrays([1], ["a"]), "cannot be stored as Parquet|cannot be cast"),
    ],
    ids=lambda each: str(each.type if isinstance(each, pa.Array) else ""),
)  # fmt: skip
def test_what_parquet_cannot_hold(tmp_path: Path, column: pa.Array, said: str) -> None:
    with pytest.raises(RunError, match=f"DatasetError: .*({said})"):
        write([pa.table({"c": column})], mapred.write_parquet(tmp_path / "lake"))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1], pa.time64("us")),
        pa.array([1], pa.duration("us")),
        pa.array([[1]], pa.list_(pa.duration("us"))),
        pa.array([decimal.Decimal(1)], pa.decimal256(50, 2)),
        pa.array([b"a" * 16], pa.binary(16)).cast(pa.uuid()),
    ],
    ids=lambda column: str(column.type),
)
def test_what_delta_cannot_hold(tmp_path: Path, column: pa.Array) -> None:
    pytest.importorskip("deltalake")
    with pytest.raises(RunError, match=r"column 'c' is .*, a type that Delta does not have"):
        write([pa.table({"c": column})], mapred.write_delta(tmp_path / "lake"))


@pytest.mark.parametrize(
    ("column", "stored"),
    [
        (pa.array([255], pa.uint8()), pa.int16()),
        (pa.array([[2**32 - 1]], pa.list_(pa.uint32())), pa.list_(pa.int64())),
        (pa.array([1.5], pa.float16()), pa.float32()),
        (pa.array([1_000], pa.timestamp("ns", "Europe/Berlin")), pa.timestamp("us", "UTC")),
        (pa.array([b"ab"], pa.binary(2)), pa.binary()),
    ],
    ids=str,
)
def test_types_that_delta_has_otherwise(
    tmp_path: Path, column: pa.Array, stored: pa.DataType
) -> None:
    deltalake = pytest.importorskip("deltalake")
    write([pa.table({"c": column})], mapred.write_delta(tmp_path / "lake"))
    found = deltalake.DeltaTable(tmp_path / "lake").to_pyarrow_table()
    check(found, pa.table({"c": column.cast(stored)}))


def test_frames_keep_whole_numbers_with_nulls(tmp_path: Path) -> None:
    big = 2**53 + 1

    def frame(item: int) -> pd.DataFrame:
        dtypes = ["Int64", pd.ArrowDtype(pa.int64()), object, "UInt64"]
        columns = {f"c{n}": pd.Series([big, None], dtype=dtype) for n, dtype in enumerate(dtypes)}
        return pd.DataFrame({"n": [2 * item, 2 * item + 1], **columns})

    target = mapred.write_parquet(tmp_path / "lake")
    mapred.run(frame, mapred.items([0, 1]), write=target, backend="inline", progress="none")
    found = by_mapred(tmp_path / "lake")
    for number, type_ in enumerate([pa.int64(), pa.int64(), pa.int64(), pa.uint64()]):
        assert found[f"c{number}"].type == type_
        assert found[f"c{number}"].to_pylist() == [big, None, big, None]


# --- tables without rows, columns without values


KINDS = pytest.mark.parametrize("kind", ["parquet", "delta"])
BY = pytest.mark.parametrize("by", [pytest.param((), marks=pytest.mark.slow), "k"])


def to(kind: str, lake: Path, **options: Any) -> writing.Target:
    if kind == "delta":
        pytest.importorskip("deltalake")
        return mapred.write_delta(lake, **{"mode": "overwrite_partitions", **options})
    return mapred.write_parquet(lake, **options)


def rows_at(kind: str, lake: Path) -> pa.Table:
    return by_deltalake(str(lake)) if kind == "delta" else by_mapred(lake)


@KINDS
@BY
def test_tables_without_rows_have_no_say(tmp_path: Path, kind: str, by: Any) -> None:
    full = pa.table({"n": [1], "k": ["a"], "x": [1.5]})
    # What pandas makes of an empty frame: other types, or none.
    others = [
        pa.table({"n": pa.array([], pa.float64()), "k": pa.nulls(0), "x": pa.nulls(0)}),
        pa.table(
            {"n": pa.nulls(0), "k": pa.array([], pa.float64()), "x": pa.array([], pa.time64("ns"))}
        ),
        pa.table(
            {"n": pa.array([], pa.string()), "k": pa.array([], pa.string()), "x": pa.nulls(0)}
        ),
    ]
    lake = tmp_path / "lake"
    for parts in ([others[0], full, *others[1:]], [*others, full], [full, *others]):
        write(parts, to(kind, lake, partition_by=by))
        check(rows_at(kind, lake), full)
    # None has rows, and the types are those that are there.
    if by:
        write(others, to(kind, lake, partition_by=by, replace={"k": "a"}))
    elif kind == "parquet":
        write(others, to(kind, lake))
    else:
        return
    if kind == "parquet" and not by:
        assert by_mapred(lake).schema == full.schema
        assert by_mapred(lake).num_rows == 0
    elif kind == "delta":
        assert rows_at(kind, lake).num_rows == 0
    write([full], to(kind, lake, partition_by=by))
    check(rows_at(kind, lake), full)


@KINDS
@BY
def test_columns_of_nulls_take_the_type_of_the_others(tmp_path: Path, kind: str, by: Any) -> None:
    none = pa.table({"n": [1], "k": [None], "x": [None], "y": [[None]], "z": [{"a": None}]})
    some = pa.table({"n": [2], "k": ["a"], "x": [2**60], "y": [["b"]], "z": [{"a": 1.5}]})
    wanted = pa.concat_tables([none.cast(some.schema), some])
    for number, parts in enumerate(([none, some], [some, none])):
        lake = tmp_path / str(number)
        write(parts, to(kind, lake, partition_by=by))
        check(rows_at(kind, lake), wanted)
        # The same in one task, and against what is there.
        target = to(kind, tmp_path / f"{number}-one", partition_by=by)
        mapred.run(
            lambda item, parts=parts: iter(parts),
            mapred.items([0]),
            write=target,
            backend="inline",
            progress="none",
        )
        check(rows_at(kind, tmp_path / f"{number}-one"), wanted)
        write(
            [none.select(["n", "k", "x"])],
            to(kind, tmp_path / f"{number}-3", schema=some.schema.remove(4).remove(3)),
        )
    simple = [table.drop_columns(["y", "z"]) for table in (some, none)]
    lake = tmp_path / "again"
    for table in simple:
        write([table], to(kind, lake, mode="append", partition_by=by))
    check(rows_at(kind, lake), wanted.drop_columns(["y", "z"]))


@KINDS
def test_columns_of_nulls_alone_need_a_type(tmp_path: Path, kind: str) -> None:
    table = pa.table({"n": [1], "x": [None]})
    with pytest.raises(RunError, match="column 'x' holds nothing but nulls and has no type"):
        write([table, table], to(kind, tmp_path / "lake"))
    schema = pa.schema({"n": pa.int64(), "x": pa.string()})
    write([table], to(kind, tmp_path / "lake", schema=schema))
    check(rows_at(kind, tmp_path / "lake"), table.cast(schema))


@KINDS
def test_two_schemas_name_the_shards_that_differ(tmp_path: Path, kind: str) -> None:
    parts = [
        pa.table({"n": [1], "x": [None]}),
        pa.table({"n": pa.array([], pa.string()), "x": pa.array([], pa.date32())}),
        pa.table({"n": [1], "x": [1]}),
        pa.table({"n": [1], "x": ["a"]}),
    ]
    with pytest.raises(RunError, match=r"shards 2 and 3 .* column 'x' is int64 and string"):
        write(parts, to(kind, tmp_path / "lake"))
