"""Columns of every type that can be aggregated, and their values as plain numbers."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

DECIMALS = decimal.Context(prec=200)


def whole(low: int, high: int) -> Any:
    near = st.sampled_from([v for v in (low, high, 0, 1, 2**53 + 1, 2**62) if low <= v <= high])
    return near | st.integers(max(low, -9), min(high, 9)) | st.integers(low, high)


FLOATS = st.sampled_from([0.0, -0.0, 1.5, 2.25, -3.0, math.nan, math.inf, 0.1]) | st.floats(
    -1e6, 1e6
)
# Types and their values as plain numbers: decimals without their point, instants in their unit.
KINDS: dict[str, tuple[pa.DataType, Any]] = {
    "int8": (pa.int8(), whole(-128, 127)),
    "int64": (pa.int64(), whole(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), whole(0, 2**64 - 1)),
    "price": (pa.decimal128(9, 2), whole(-(10**9) + 1, 10**9 - 1)),
    "decimal128": (pa.decimal128(38, 4), whole(-(10**38) + 1, 10**38 - 1)),
    "decimal256": (pa.decimal256(76, 3), whole(-(10**76) + 1, 10**76 - 1)),
    "float64": (pa.float64(), FLOATS),
    "float32": (pa.float32(), st.floats(width=32, min_value=-1000, max_value=1000)),
    "text": (pa.string(), st.text(max_size=3)),
    "bool": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.integers(-(10**6), 10**6)),
    "seconds": (pa.timestamp("s"), whole(-(2**44), 2**44)),
    "micros": (pa.timestamp("us", "Asia/Tokyo"), st.integers(-(10**6), 10**6)),
    "nanos": (pa.timestamp("ns"), whole(-(2**62), 2**62)),
    "duration": (pa.duration("ms"), st.integers(-(10**6), 10**6)),
}


def column(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(type_):
        scaled = [v if v is None else DECIMALS.scaleb(v, -type_.scale) for v in values]
        return pa.array(scaled, type_)
    if pa.types.is_temporal(type_):
        return pa.array(values, f"int{type_.bit_width}").cast(type_)
    return pa.array(values, type_)


def plain(answers: pa.ChunkedArray) -> list[Any]:
    """Answers as `KINDS` has values, decimals as fractions."""
    type_ = answers.type
    if pa.types.is_temporal(type_):
        return answers.cast(f"int{type_.bit_width}").to_pylist()
    if pa.types.is_large_list(type_):
        lists = (pa.chunked_array([each.values]) for each in answers)
        return [plain(each) for each in lists]
    if pa.types.is_decimal(type_):
        return [None if value is None else Fraction(value) for value in answers.to_pylist()]
    return answers.to_pylist()


def raw(values: pa.ChunkedArray) -> list[Any]:
    """Values as `KINDS` has them."""
    if pa.types.is_decimal(values.type):
        texts = (
            v if v is None else DECIMALS.scaleb(v, values.type.scale) for v in values.to_pylist()
        )
        return [None if each is None else int(each) for each in texts]
    return plain(values)
