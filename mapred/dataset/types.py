"""Types as users write them: Arrow's, their names, Python's, numpy's and pandas'."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from typing import Any

from mapred.errors import DatasetError
from mapred.model.checking import short_repr
from mapred.process.lazy import np, pa

_PYTHON: dict[Any, str] = {
    str: "string",
    int: "int64",
    float: "float64",
    bool: "bool",
    bytes: "binary",
    dt.date: "date32",
    dt.datetime: "timestamp[us]",
    dt.time: "time64[us]",
    dt.timedelta: "duration[us]",
}
# Names that Arrow lacks, or gives to other types: its "float" has 32 bits, Python's has 64.
_NAMES = {
    "float": "float64",
    "int": "int64",
    "str": "string",
    "text": "string",
    "bytes": "binary",
    "boolean": "bool",
    "date": "date32",
    "datetime": "timestamp[us]",
}
_DECIMAL = re.compile(r"decimal(128|256)?\(\s*(\d+)\s*,\s*(-?\d+)\s*\)")
_ZONED = re.compile(r"timestamp\[(s|ms|us|ns),\s*(?:tz=)?([^\]]+)\]")
_HINT = (
    "give an Arrow type such as pa.int64(), a name such as 'int64', 'float64', 'string', 'date32', "
    "'timestamp[us]' or 'decimal128(38, 2)', or str, int, float, bool, date, datetime"
)


def as_type(name: str, type_: Any) -> pa.DataType:
    """Return the Arrow type that a user means for column `name`."""
    if isinstance(type_, pa.DataType):
        return type_
    arrow = None
    try:
        if isinstance(type_, str):
            arrow = _parse_type(type_)
        elif isinstance(type_, type) and type_ in _PYTHON:
            arrow = _parse_type(_PYTHON[type_])
        elif type_ is not None and type_ is not decimal.Decimal:
            arrow = _of_arrays(type_)
    except Exception:  # numpy and pandas raise whatever an odd object makes them raise
        pass
    if arrow is None:
        hint = "a decimal needs its digits, such as 'decimal128(38, 2)'; " * (
            type_ is decimal.Decimal
        )
        raise DatasetError(
            f"schema= gives {short_repr(name)} the unknown type {short_repr(type_)}; {hint}{_HINT}"
        )
    return arrow


def _parse_type(text: str) -> pa.DataType:
    text = _NAMES.get(text.strip().lower(), text.strip())
    if match := _DECIMAL.fullmatch(text):
        width = pa.decimal256 if match[1] == "256" or int(match[2]) > 38 else pa.decimal128
        return width(int(match[2]), int(match[3]))
    if match := _ZONED.fullmatch(text):
        return pa.timestamp(match[1], match[2])
    try:
        return pa.type_for_alias(text)
    except ValueError:
        return pa.type_for_alias(text.lower())


def _of_arrays(type_: Any) -> pa.DataType:
    """Return the type of a numpy or pandas dtype, or of a class of numpy's."""
    arrow = getattr(type_, "pyarrow_dtype", None)  # pandas.ArrowDtype
    if isinstance(arrow, pa.DataType):
        return arrow
    if getattr(type_, "name", "") in ("string", "str"):
        return pa.string()
    if getattr(type_, "tz", None) is not None:
        return pa.timestamp(type_.unit, str(type_.tz))
    if isinstance(type_, type) and not issubclass(type_, np.generic):
        raise TypeError(type_)
    dtype = np.dtype(getattr(type_, "numpy_dtype", type_))
    return pa.string() if dtype.kind == "U" else pa.from_numpy_dtype(dtype)
