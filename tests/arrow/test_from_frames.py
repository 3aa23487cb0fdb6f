"""Frames as Arrow tables: no value changes, or the column is named."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mapred.arrow import from_frames
from mapred.arrow import objects as cells
from mapred.errors import FunctionError
from mapred.shuffle import keys

NANO = pd.Timestamp("2024-01-01 00:00:00.123456789")
NOON = dt.datetime(2024, 1, 1, 12)  # noqa: DTZ001
UTC = dt.timezone.utc


def objects(*values: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(values, dtype=object)})


@pytest.mark.parametrize(
    "values",
    [
        (2, 1.5, True),
        (np.bool_(True), 1),
        ("a", b"b"),
        (b"a", "b"),
        (NOON.date(), NOON),
        (NOON.date(), NANO),
        (pd.Timestamp(NOON, tz="UTC"), NOON),
        (NOON, NOON.replace(tzinfo=UTC)),
        (dt.time(1), dt.time(1, tzinfo=UTC)),
        (NANO, dt.datetime(9999, 1, 1)),  # noqa: DTZ001
        ([NANO],),
        ([NOON.date(), None, NOON],),
        ({"a": [b"a", "b"]},),
        ({"a": pd.Timedelta(1, "ns")}, None),
        (2**60 + 1, 1.5),
        (1, "a"),
        (2**64,),
        (Decimal("1.5"), 1.5),
    ],
)
@pytest.mark.parametrize("index", [False, True])
def test_objects_that_arrow_would_change_are_refused(values: Any, index: bool) -> None:
    frame = objects(*values)
    if index and not isinstance(values[0], list | dict):
        frame = pd.DataFrame({"y": range(len(frame))}, index=pd.Index(frame["x"], name="x"))
    with pytest.raises(from_frames.Unfit, match="x"):
        from_frames.from_pandas(frame)
    with pytest.raises(FunctionError, match="x"):
        list(keys.tables(frame))


@pytest.mark.parametrize(
    "values",
    [
        (NANO, None, pd.NaT),
        (NANO.tz_localize("Asia/Kathmandu"), NANO.tz_localize("UTC")),
        (pd.Timedelta(1, "ns"), dt.timedelta(1)),
        (NOON, None, float("nan")),
        (NOON.date(), None, pd.NaT),
        (dt.time(1), None),
        (2, 1.5, None),
        (Decimal("1.1"), 3),
        ("a", None),
        ([NOON, None], None),
        ({"a": NOON}, {"b": NOON.date()}, {}),
        (True, None),
    ],
)
def test_other_objects_stay_as_they_are(values: Any) -> None:
    table = from_frames.from_pandas(objects(*values))
    for value, found in zip(values, table["x"].to_pylist(), strict=True):
        if value is None or value != value:
            assert found is None
        elif isinstance(value, dict):
            assert {name: each for name, each in found.items() if each is not None} == value
        else:
            assert found == value


def test_objects_of_polars_are_refused() -> None:
    frame = pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(from_frames.Unfit, match="'x' holds Python objects"):
        from_frames.from_polars(frame)
    with pytest.raises(FunctionError, match="'x' holds Python objects"):
        list(keys.tables(frame))


def test_a_type_that_arrow_lacks_is_named() -> None:
    frame = pl.DataFrame({"x": pl.Series([1]).cast(pl.Int128)})
    with pytest.raises(from_frames.Unfit, match="'x': Int128"):
        from_frames.from_polars(frame)


def test_values_of_results_keep_their_nanoseconds() -> None:
    lone = [pd.Timedelta(1, "ns"), dt.timedelta(1)]
    assert cells.convert(lone).to_pylist() == lone
    assert cells.convert([NANO, None, NOON]).to_pylist() == [NANO, None, NOON]
    far = dt.datetime(9999, 1, 1)  # noqa: DTZ001
    assert isinstance(cells.convert([NANO, far]), cells.Unfit)
    assert cells.convert([far]).type == pa.timestamp("us")
