"""Python values as columns: exactly, or not at all."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapred.arrow import objects as cells
from mapred.errors import FunctionError

NAIVE = dt.datetime(2026, 1, 2, 3)  # noqa: DTZ001
UTC = NAIVE.replace(tzinfo=dt.timezone.utc)


def item(place: int) -> str:
    return f"item {place}"


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, None], pa.int64()),
        ([-(2**63), 2**63 - 1], pa.int64()),
        ([0, 2**64 - 1], pa.uint64()),
        ([-1, 2**63], pa.decimal128(19, 0)),
        ([2**200], pa.decimal256(61, 0)),
        ([1, 0.5], pa.float64()),
        ([0, Decimal("1.25")], pa.decimal128(3, 2)),
        ([np.int8(1), 2], pa.int64()),
        ([np.float32(0.1), 0.5], pa.float64()),
        ([np.bool_(True), False], pa.bool_()),
        ([pd.NA, 1, pd.NaT], pa.int64()),
        (["a", np.str_("b")], pa.string()),
        ([UTC, UTC], pa.timestamp("us", "UTC")),
        ([pd.Timestamp("2026-01-01 00:00:00.000000001")], pa.timestamp("ns")),
        ([pd.Timedelta(1, "ns"), None], pa.duration("ns")),
        ([np.datetime64("2026-01-01"), np.datetime64("NaT", "D")], pa.date32()),
        ([{"a": 1}, {"b": [2**60 + 1, None]}], None),
        ([np.arange(3), None], pa.list_(pa.int64())),
        ([None, None], pa.null()),
        ([], pa.null()),
    ],
)
def test_values_that_fit(values: list[Any], type_: pa.DataType | None) -> None:
    found = cells.to_array("x", values, item)
    assert type_ is None or found.type == type_
    for value, back in zip(values, found.to_pylist(), strict=True):
        if isinstance(value, np.ndarray):
            assert back == value.tolist()
        elif isinstance(value, dict):
            assert value.items() <= back.items()
        else:
            missing = value is None or value is pd.NA or bool(pd.isna(value))
            assert back is None if missing else back == value


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1, "a"], r"whole numbers \(item 0\) and text \(item 1\)"),
        ([1, True], r"whole numbers \(item 0\) and booleans \(item 1\)"),
        ([2**53 + 1, 0.5], r"whole numbers \(item 0\) and floats \(item 1\)"),
        ([2**1100, 0.5], r"whole numbers \(item 0\) and floats \(item 1\)"),
        ([Decimal("0.1"), 0.5], r"decimals \(item 0\) and floats \(item 1\)"),
        ([NAIVE, UTC], r"naive times \(item 0\) and times of UTC \(item 1\)"),
        ([UTC, UTC.astimezone(ZoneInfo("Asia/Tokyo"))], r"times of UTC .* times of Asia/Tokyo"),
        ([NAIVE.date(), NAIVE], r"dates \(item 0\) and naive times \(item 1\)"),
        (["a", b"a"], r"text \(item 0\) and bytes \(item 1\)"),
        ([10**90], r"whole numbers \(item 0\), which Arrow cannot hold"),
        ([Decimal("NaN")], r"decimals \(item 0\), which Arrow cannot hold"),
        (["\ud800"], r"text \(item 0\), which Arrow cannot hold"),
        ([[NAIVE, UTC]], r"objects \(item 0\)"),
        ([[1, "a"]], r"objects \(item 0\), which Arrow cannot hold"),
        ([np.ones((2, 2))], r"objects \(item 0\), which Arrow cannot hold"),
        ([{1: 2}], r"objects \(item 0\), which Arrow cannot hold"),
        ([pd.Series([1])], r"objects \(item 0\)"),
        ([1j], r"objects \(item 0\)"),
    ],
)
def test_values_that_do_not_fit_are_named(values: list[Any], told: str) -> None:
    with pytest.raises(FunctionError, match=rf"column 'x' holds {told}.*use to_pandas\(\)"):
        cells.to_array("x", values, item)


scalars = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.text(max_size=2),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.dates(),
    st.datetimes(),
    st.none(),
)


@given(st.lists(scalars, max_size=4))
def test_no_value_changes(values: list[Any]) -> None:
    found = cells.convert(values)
    if isinstance(found, cells.Unfit):
        return
    for value, back in zip(values, found.to_pylist(), strict=True):
        if isinstance(value, float) and math.isnan(value):
            assert math.isnan(back)
        else:
            assert back == value
            assert isinstance(value, bool) == isinstance(back, bool)
