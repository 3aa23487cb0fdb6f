"""What a run wrote comes back equal in values and types: by mapred, DuckDB and deltalake."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import types

import mapred
from mapred import writing

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
    plain(pa.list_(pa.int8(), 2), st.lists(whole(8), min_size=2, max_size=2)),
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
    query = f"from read_parquet({files!r}, hive_partitioning=true, hive_types_autocast=false)"
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
        *[(way, 15) for way in WAYS],
        *[pytest.param(way, 400, marks=pytest.mark.slow) for way in WAYS],
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
