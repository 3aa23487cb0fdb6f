"""Hash partitions: every row in one, equal keys together whatever their encoding."""

from __future__ import annotations

import decimal
import math
import struct
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred.shuffle.hashing import hash_column, hash_rows, partition_numbers
from mapred.shuffle.keys import hash_keys, one_zero_one_nan

# Written once: a change of any number moves keys between partitions.
GOLDEN: list[tuple[pa.DataType, Any, int]] = [
    (pa.null(), None, 0x7F4A7C15F39CC060),
    (pa.bool_(), True, 0x910A2DEC89025CC1),
    (pa.int8(), -1, 0xE4D971771B652C20),
    (pa.int64(), 0, 0xE220A8397B1DCDAF),
    (pa.int64(), 1, 0x910A2DEC89025CC1),
    (pa.uint64(), 2**64 - 1, 0xE4D971771B652C20),
    (pa.float64(), 1.0, 0x910A2DEC89025CC1),
    (pa.float32(), 0.5, 0xF456984DD1D8CE6D),
    (pa.float64(), math.nan, 0xC72971D82E15BB46),
    (pa.decimal128(10, 2), decimal.Decimal("12.50"), 0x58FD2544A8476D36),
    (pa.date32(), date(2026, 1, 31), 0x4694BA6D07DB6CB4),
    (pa.time64("us"), time(23, 59, 1), 0x7B5778D8FF59CA6B),
    (
        pa.timestamp("ms"),
        datetime(1969, 12, 31, 23, 59, 59, 500_000),  # noqa: DTZ001
        0x9F50425887EAF989,
    ),
    (
        pa.timestamp("s", "UTC"),
        datetime(2026, 1, 1, tzinfo=timezone.utc),
        0x9E7709DB30CD98C7,
    ),
    (pa.duration("ms"), timedelta(milliseconds=-1), 0x49EF35E4FCBD18D0),
    (pa.string(), "", 0xE220A8397B1DCDAF),
    (pa.string(), "a", 0x0DC237079B0E425E),
    (pa.string(), "12345678", 0xBCD2F988A39EF429),
    (pa.string(), "Grüße, nine bytes and more", 0xBE0FEE1C130D30CA),
    (pa.binary(), b"\0\0", 0xE8978B43BC15671A),
    (pa.binary(3), b"abc", 0x2882B1AB579F1D8A),
]


def column(values: Any, type_: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, type_)])


def hashed(values: Any, type_: pa.DataType | None = None) -> list[int]:
    return [int(h) for h in hash_column(column(values, type_))]


@pytest.mark.parametrize(("type_", "value", "expected"), GOLDEN, ids=lambda v: str(v)[:20])
def test_hashes_never_change(type_: pa.DataType, value: Any, expected: int) -> None:
    assert hashed([value, value], type_) == [expected] * 2


def test_hashes_of_composite_keys_never_change() -> None:
    columns = [column([1, None]), column(["a", "b"])]
    assert [int(h) for h in hash_rows(columns)] == [0xE1740D90577DD36B, 0x6E65C2BF777A5521]
    numbers = partition_numbers(hash_rows([column(range(1000))]), 7)
    assert np.bincount(numbers).tolist() == [144, 140, 141, 144, 155, 139, 137]


EXAMPLES = settings(max_examples=25, deadline=None)
YEARS = datetime(1900, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001
TEXT = st.text(max_size=40)
VALUES = {
    "ints": st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)),
    "floats": st.lists(st.none() | st.floats(width=32)),
    "text": st.lists(st.none() | TEXT),
    "decimals": st.lists(st.none() | st.decimals(-(10**9), 10**9, places=2)),
    "days": st.lists(st.none() | st.dates()),
    "instants": st.lists(
        st.none()
        | st.datetimes(*YEARS).map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))
    ),
}
ENCODINGS: dict[str, list[pa.DataType]] = {
    "ints": [pa.int32(), pa.int64(), pa.float64(), pa.dictionary(pa.int8(), pa.int64())],
    "floats": [pa.float32(), pa.float64(), pa.dictionary(pa.int32(), pa.float64())],
    "text": [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int16(), pa.large_string()),
    ],
    "decimals": [pa.decimal128(14, 2), pa.decimal128(38, 9), pa.decimal256(60, 30)],
    "days": [pa.date32(), pa.date64()],
    "instants": [pa.timestamp(unit) for unit in ("ms", "us", "ns")],
}


@pytest.mark.parametrize("kind", VALUES)
@EXAMPLES
@given(data=st.data())
def test_equal_keys_have_equal_hashes_in_every_encoding(kind: str, data: Any) -> None:
    values = data.draw(VALUES[kind])
    plain_, *others = ENCODINGS[kind]
    expected = hashed(values, plain_)
    for type_ in others:
        if pa.types.is_dictionary(type_):
            array = pa.array(values, type_.value_type).dictionary_encode()
        else:
            array = pa.array(values, type_)
        assert hash_column(pa.chunked_array([array])).tolist() == expected, type_
    cut = data.draw(st.integers(0, len(values)))
    chunks = [pa.array(values[:cut], plain_), pa.array(values, plain_)[cut:]]
    assert hash_column(pa.chunked_array(chunks, plain_)).tolist() == expected


@EXAMPLES
@given(st.lists(st.text(max_size=20)))
def test_different_keys_have_different_hashes(values: list[str]) -> None:
    distinct = sorted(set(values))
    assert len(set(hashed(distinct, pa.string()))) == len(distinct)
    longer = [*(v + "\0" for v in distinct), *distinct]
    assert len(set(hashed(longer))) == len(set(longer))  # "" and "\0" give "\0" twice


def test_zeros_and_nans_are_one_key_each() -> None:
    odd = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000123))[0]
    table = pa.table({"k": [0.0, -0.0, math.nan, odd, None], "v": [1, 2, 3, 4, 5]})
    hashes = hash_keys(table, ["k"])
    assert hashes[0] == hashes[1]
    assert hashes[2] == hashes[3] != hashes[4]
    grouped = one_zero_one_nan(table, ["k"]).group_by("k").aggregate([("v", "sum")])
    assert sorted(grouped["v_sum"].to_pylist()) == [3, 5, 7]


def test_instants_agree_at_the_ends_of_time() -> None:
    seconds = [-(2**62), -1, 0, 2**62]
    for type_ in (pa.timestamp, pa.duration):
        assert len(set(hashed(seconds, type_("s")))) == 4
        assert hashed([-1500, 1500], type_("ms")) == hashed([-1_500_000, 1_500_000], type_("us"))
    assert hashed([0], pa.timestamp("s", "UTC")) == hashed([0], pa.timestamp("ns", "Asia/Tokyo"))


@EXAMPLES
@given(st.integers(1, 300), st.integers(0, 3))
def test_every_row_is_in_one_partition(partitions: int, level: int) -> None:
    hashes = hash_column(column(range(5000)))
    numbers = partition_numbers(hashes, partitions, level)
    counts = np.bincount(numbers, minlength=partitions)
    assert (len(counts), counts.sum()) == (partitions, 5000)
    mean = 5000 / partitions
    assert abs(counts - mean).max() < 6 * math.sqrt(mean) + 1


def test_rows_of_a_partition_spread_at_the_next_level() -> None:
    hashes = hash_column(column(range(100_000)))
    mine = hashes[partition_numbers(hashes, 16) == 3]
    counts = np.bincount(partition_numbers(mine, 16, 1), minlength=16)
    assert counts.min() > len(mine) / 32
