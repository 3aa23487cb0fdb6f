"""Arrow tables as pandas frames: one dtype for an Arrow type, whatever the rows hold.

Arrow's own conversion looks at the data: whole numbers beside a null become floats, and lose
digits. Here the type alone decides, so that two cuts of the same rows give equal frames.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from mapred.arrow.types import is_list
from mapred.errors import DatasetError, MissingDependency
from mapred.model.checking import short_repr
from mapred.process.lazy import np, pa, pc, pd

BACKENDS = ("numpy_nullable", "pyarrow", "numpy")
_NOT_A_TIME = -(2**63)


def import_pandas() -> Any:
    """Import pandas; a `MissingDependency` says how to install it."""
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise MissingDependency("pandas", "pandas") from error


def register_types(schema: pa.Schema) -> bool:
    """Register the types of pandas with Arrow, such as periods, if `schema` has unregistered ones.

    Arrow reads such a column as the numbers that stand for its values.
    """
    kinds = ((field.metadata or {}).get(b"ARROW:extension:name", b"") for field in schema)
    if not any(kind.startswith(b"pandas.") for kind in kinds):
        return False
    try:
        import_pandas().array([], "period[D]").__arrow_array__()
    except MissingDependency:
        return False
    return True


def check(dtype_backend: object) -> None:
    """Raise a `DatasetError` unless `dtype_backend` is one of `BACKENDS`."""
    if dtype_backend not in BACKENDS:
        raise DatasetError(
            f"dtype_backend={short_repr(dtype_backend)} is not one of {', '.join(map(repr, BACKENDS))}"
        )


def to_pandas(table: pa.Table, dtype_backend: str = "numpy_nullable") -> pd.DataFrame:
    """Return the rows of `table` as a frame with the index 0, 1, 2, …; pandas metadata is ignored.

    Not one value changes: what a dtype cannot hold is a `DatasetError` that names the column.

    | Arrow type | "numpy_nullable" | "pyarrow" | "numpy" |
    |---|---|---|---|
    | whole numbers | `Int8` to `UInt64` | `ArrowDtype` | `int8` to `uint64`; a null is an error |
    | booleans | `boolean` | `ArrowDtype` | `bool`; a null is an error |
    | float32, float64 | `Float32`, `Float64`, NaN apart from null | `ArrowDtype` | null is NaN |
    | text | `string` | `ArrowDtype` | what pandas infers: `str`, `object` before pandas 3 |
    | timestamps, durations | `datetime64`, `timedelta64` of that unit | `ArrowDtype` | as nullable |
    | decimals, dates, times, binary | `ArrowDtype` | `ArrowDtype` | Python objects |
    | lists of numbers | `ArrowDtype` | `ArrowDtype` | numpy arrays; a null is as above |
    | other nested values | `ArrowDtype` | `ArrowDtype` | Python lists and dicts |
    | only nulls | `object` | `ArrowDtype` | `object` |

    Dictionary columns become their values: the codes of a categorical depend on the rows
    that happen to be together. float16 is `Float32` where nullable.
    """
    pd = import_pandas()
    check(dtype_backend)
    convert = {"numpy_nullable": _nullable, "pyarrow": _arrow, "numpy": _numpy}[dtype_backend]
    columns = {
        place: _convert_column(name, table.column(place), convert, dtype_backend)
        for place, name in enumerate(table.column_names)
    }
    # Without a copy, every column would stay a block of its own.
    copy = dtype_backend == "numpy"
    frame = pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=copy)
    frame.columns = table.column_names
    return frame


def _convert_column(
    name: str, column: pa.ChunkedArray, convert: Callable[[pa.ChunkedArray], Any], backend: str
) -> Any:
    try:
        return convert(_decode_column(column))
    except _Unrepresentable as error:
        raise DatasetError(
            f"column {name!r} ({column.type}) holds {error}, for which dtype_backend={backend!r} "
            f"has no place; use dtype_backend={error.instead!r}"
        ) from None
    except (pa.ArrowException, ArithmeticError, LookupError, ValueError, NotImplementedError) as e:
        raise DatasetError(
            f"column {name!r} ({column.type}) holds a value for which dtype_backend={backend!r} "
            f"has no place: {e}; use dtype_backend='pyarrow'"
        ) from e


class _Unrepresentable(Exception):
    """A column holds what its dtype cannot; `instead` is the backend that can."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(what)
        self.instead = instead


def _decode_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without encodings, and views as plain strings or bytes."""
    type_ = column.type
    if pa.types.is_dictionary(type_):
        chunks = [chunk.dictionary_decode() for chunk in column.chunks]
        return _decode_column(pa.chunked_array(chunks, type_.value_type))
    if pa.types.is_run_end_encoded(type_):
        return _decode_column(pc.run_end_decode(column))
    if pa.types.is_string_view(type_) or pa.types.is_binary_view(type_):
        plain = pa.large_string() if pa.types.is_string_view(type_) else pa.large_binary()
        try:
            return column.cast(plain)
        except pa.ArrowNotImplementedError:  # pyarrow 17
            return pa.chunked_array([pa.array(column.to_pylist(), plain)])
    return column


def _arrow(column: pa.ChunkedArray) -> Any:
    own = _to_pandas_extension(column)
    return pd.ArrowDtype(column.type).__from_arrow__(column) if own is None else own


def _nullable(column: pa.ChunkedArray) -> Any:
    type_ = column.type
    if pa.types.is_null(type_):
        return column.to_pandas()
    if pa.types.is_integer(type_):
        sign = "UInt" if pa.types.is_unsigned_integer(type_) else "Int"
        return pd.array([], f"{sign}{type_.bit_width}").dtype.__from_arrow__(column)
    if pa.types.is_boolean(type_):
        return pd.BooleanDtype().__from_arrow__(column)
    if pa.types.is_floating(type_):
        return _floats(column)
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return pd.StringDtype("pyarrow").__from_arrow__(column)
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return _times(column)
    return _arrow(column)


def _floats(column: pa.ChunkedArray) -> Any:
    """Build floats from values and a mask: pandas' own conversion takes NaN for null."""
    type_ = pa.float64() if pa.types.is_float64(column.type) else pa.float32()
    nulls = np.asarray(column.is_null()) if column.null_count else np.zeros(len(column), bool)
    values = column.cast(type_).fill_null(0.0) if column.null_count else column.cast(type_)
    return pd.arrays.FloatingArray(np.asarray(values).copy(), nulls.copy())


def _times(column: pa.ChunkedArray) -> Any:
    if pc.min(column.cast(pa.int64())).as_py() == _NOT_A_TIME:
        raise _Unrepresentable(f"{_NOT_A_TIME}, which pandas takes for a missing time", "pyarrow")
    return column.to_pandas().copy()  # Arrow's own memory is read-only


def _numpy(column: pa.ChunkedArray) -> Any:
    type_ = column.type
    own = _to_pandas_extension(column)
    if own is not None:
        return own
    if _is_exact(type_):
        _refuse_nulls(column)
    elif pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return _times(column)
    elif is_list(type_) and (_is_exact(type_.value_type) or pa.types.is_floating(type_.value_type)):
        column = _numbers(column)
    elif pa.types.is_nested(type_) or isinstance(type_, pa.BaseExtensionType):
        if "time64[ns]" in str(type_):
            # Raises for the nanoseconds that `to_pylist` would cut off.
            column.to_pandas()
        return _to_object_series(column.to_pylist())
    return column.to_pandas()


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists of numbers in a type of which numpy makes arrays of one dtype."""
    type_ = pa.large_list(column.type.value_type)
    column = column.cast(type_)
    if not _is_exact(type_.value_type) or not any(c.values.null_count for c in column.chunks):
        return column
    for chunk in column.chunks:
        _refuse_nulls(chunk.flatten())
    # A null row of fixed size has nulls for values, at which numpy would take floats.
    return pa.chunked_array([pa.array(column.to_pylist(), type_)])


def _to_pandas_extension(column: pa.ChunkedArray) -> Any:
    """Return the array for a type that pandas defines, such as periods; None for any other."""
    if not getattr(column.type, "extension_name", "").startswith("pandas."):
        return None
    return column.type.to_pandas_dtype().__from_arrow__(column)


def _is_exact(type_: pa.DataType) -> bool:
    """Whether numpy has a dtype for these values, but no place in it for a null."""
    return bool(pa.types.is_integer(type_) or pa.types.is_boolean(type_))


def _refuse_nulls(values: pa.Array | pa.ChunkedArray) -> None:
    if values.null_count:
        nulls = "a null" if values.null_count == 1 else f"{values.null_count:,} nulls"
        raise _Unrepresentable(nulls, "numpy_nullable")


def _to_object_series(values: list[Any]) -> Any:
    """Return one object per row: numpy would make a second axis of lists of one length."""
    array = np.empty(len(values), object)
    for place, value in enumerate(values):
        array[place] = value
    return pd.Series(array, dtype=object)
