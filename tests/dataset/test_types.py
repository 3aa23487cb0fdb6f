"""Types as users write them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mapred import dataset
from mapred.errors import DatasetError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("float", pa.float64()),
        (float, pa.float64()),
        ("int", pa.int64()),
        ("str", pa.string()),
        ("Int64", pa.int64()),
        ("double", pa.float64()),
        (np.float32, pa.float32()),
        (np.dtype("uint16"), pa.uint16()),
        (np.dtype("datetime64[ms]"), pa.timestamp("ms")),
        (pd.Int64Dtype(), pa.int64()),
        (pd.StringDtype(), pa.string()),
        (pd.DatetimeTZDtype("us", "UTC"), pa.timestamp("us", "UTC")),
        (pd.ArrowDtype(pa.decimal128(5, 2)), pa.decimal128(5, 2)),
        (dt.date, pa.date32()),
        (dt.datetime, pa.timestamp("us")),
        ("decimal128(38, 2)", pa.decimal128(38, 2)),
        ("decimal(76,0)", pa.decimal256(76, 0)),
        ("timestamp[ns, tz=UTC]", pa.timestamp("ns", "UTC")),
    ],
    ids=repr,
)
def test_types_as_users_write_them(written: Any, meant: pa.DataType) -> None:
    assert dataset.read_csv("x", schema={"a": written}).schema == {"a": meant}


@pytest.mark.parametrize(
    "written",
    [None, Decimal, list, dict, object, Path, 7, "words", "decimal128(99, 2)", [], np.void],
)
def test_types_that_are_unknown(written: Any) -> None:
    with pytest.raises(DatasetError, match=r"schema= gives 'a' the unknown type .*such as"):
        dataset.read_csv("x", schema={"a": written})
