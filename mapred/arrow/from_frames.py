"""Frames of pandas and polars as Arrow tables: the same values, or an error that names a column.

Arrow takes columns of Python objects for what their first values are, and changes others: it cuts
the time off where dates came first, and nanoseconds off everywhere.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mapred.arrow import indexes
from mapred.model.checking import short_repr
from mapred.process.lazy import pa, pd


class Unfit(ValueError):
    """A frame holds what no Arrow table can, or what no row of a larger table can."""

    remedy = "; give that column one type"


class UnfitIndex(Unfit):
    """The index of a frame cannot be a column of a larger table; the text says what to do."""

    remedy = ""


def as_table(value: Any, *, preserve_index: bool | None = None) -> pa.Table | None:
    """Return a table, batch or frame, of a subclass too, as a table; None for all else."""
    for kind in type(value).__mro__:
        name = f"{kind.__module__.split('.')[0]}.{kind.__name__}"
        if name == "pyarrow.Table":
            return value
        if name == "pyarrow.RecordBatch":
            return pa.Table.from_batches([value])
        if name == "pandas.DataFrame":
            return from_pandas(value, preserve_index=preserve_index)
        if name == "polars.DataFrame":
            return from_polars(value)
    return None


def as_rows(value: Any) -> pa.Table | None:
    """Return the same as rows of a larger table: an index with a name gives columns.

    One of whole numbers without a name is left out, and others without a name are refused.
    """
    table = as_table(value)
    if table is None or not _is_pandas(value):
        return table
    try:
        return indexes.columns_only(table)
    except ValueError as error:
        raise UnfitIndex(str(error)) from None


def _is_pandas(value: Any) -> bool:
    return any(
        kind.__name__ == "DataFrame" and kind.__module__.split(".")[0] == "pandas"
        for kind in type(value).__mro__
    )


def from_pandas(frame: pd.DataFrame, *, preserve_index: bool | None = None) -> pa.Table:
    """Return the rows of a frame, with its index unless that just numbers them."""
    if preserve_index is None and frame.index.name is not None:
        preserve_index = True  # Arrow has no column for a range, not even for one with a name.
    try:
        table = pa.Table.from_pandas(frame, preserve_index=preserve_index)
    except OverflowError as error:  # Arrow does not say where
        columns = (values for _, values in _objects(frame, frame.shape[1] + frame.index.nlevels))
        large = (values.name for values in columns if any(map(_is_large, values)))
        raise Unfit(f"column {next(large, None)!r} holds a number beyond int64") from error
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise Unfit(" ".join(map(str, error.args))) from error
    for place, values in _objects(frame, table.num_columns):
        name, type_ = table.column_names[place], table.schema.field(place).type
        _check(name, values, type_)
        if holds_nanoseconds(values, type_):
            try:
                table = table.set_column(place, name, in_nanoseconds(values, type_))
            except ValueError as error:
                raise Unfit(f"column {name!r} holds nanoseconds, and {error}") from error
    return table


def from_polars(frame: Any) -> pa.Table:
    """Return the rows of a frame; refuse Python objects, which polars hands on as addresses in memory."""
    for name, dtype in frame.schema.items():
        if _holds_objects(dtype):
            raise Unfit(
                f"column {name!r} holds Python objects ({dtype}), which polars cannot hand on"
            )
    try:
        return frame.to_arrow()
    except (ValueError, TypeError, NotImplementedError) as error:
        types = ", ".join(f"{name!r}: {dtype}" for name, dtype in frame.schema.items())
        raise Unfit(
            f"one of the columns ({types}) is of a type that Arrow lacks ({error})"
        ) from error


def _holds_objects(dtype: Any) -> bool:
    inner = [field.dtype for field in getattr(dtype, "fields", ())]
    inner += [dtype.inner] if getattr(dtype, "inner", None) is not None else []
    return str(dtype) == "Object" or any(map(_holds_objects, inner))


def _objects(frame: pd.DataFrame, width: int) -> Iterator[tuple[int, pd.Series]]:
    """Yield the columns and index levels of Python objects, with their places in a table `width` wide."""
    for place, dtype in enumerate(frame.dtypes):
        if str(dtype) == "object":
            yield place, frame.iloc[:, place]
    for level in range(width - frame.shape[1]):
        index = frame.index.get_level_values(level)
        if str(index.dtype) == "object":
            yield frame.shape[1] + level, index.to_series()


def _is_large(value: Any) -> bool:
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _check(name: str, values: pd.Series, type_: pa.DataType) -> None:
    """Raise for a value that Arrow changed on its way to the column's type."""
    changes = _changes(type_)
    if changes is None:
        return
    for value in values.dropna():
        if changes(value):
            raise Unfit(
                f"column {name!r} holds {short_repr(value)}, which would not stay as it is among values "
                f"of type {type_}"
            )


def _changes(type_: pa.DataType) -> Callable[[Any], bool] | None:
    """Return a test for values that Arrow changes on the way to a type; None where it changes none."""
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return lambda value: type(value).__name__ in ("bool", "bool_")
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        return lambda value: isinstance(value, str)
    if pa.types.is_date(type_):
        return lambda value: isinstance(value, dt.datetime) and not _is_missing(value)
    if pa.types.is_time(type_):
        return lambda value: getattr(value, "tzinfo", None) is not None
    if pa.types.is_timestamp(type_):
        return lambda value: not _is_missing(value) and _is_local(value) != (type_.tz is None)
    return _changes_inside(type_) if pa.types.is_nested(type_) else None


def _changes_inside(type_: pa.DataType) -> Callable[[Any], bool] | None:
    if pa.types.is_struct(type_):
        fields = {
            field.name: inner_changes for field in type_ if (inner_changes := _inner(field.type))
        }
        if not fields:
            return None
        return lambda value: any(
            changes(value[name]) for name, changes in fields.items() if name in (value or ())
        )
    inner = None if pa.types.is_map(type_) else _inner(type_.value_type)
    return inner and (lambda value: any(map(inner, () if value is None else value)))


def _inner(type_: pa.DataType) -> Callable[[Any], bool] | None:
    """Return such a test for a part of nested values, in which nanoseconds are lost as well.

    Numbers are not looked at: columns of vectors have too many.
    """
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return None
    changes = _changes(type_)
    if not pa.types.is_timestamp(type_) and not pa.types.is_duration(type_):
        return changes
    return lambda value: _is_finer(value) or (changes is not None and changes(value))


def _is_missing(value: Any) -> bool:
    return value is None or bool(value != value)


def _is_local(value: Any) -> bool:
    return getattr(value, "tzinfo", None) is None


def _is_finer(value: Any) -> bool:
    """Whether a time of pandas has nanoseconds."""
    return bool(getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0))


def holds_nanoseconds(values: Iterable[Any], type_: pa.DataType) -> bool:
    """Whether times or durations of pandas have nanoseconds, which Arrow cuts off."""
    is_time = pa.types.is_timestamp(type_) or pa.types.is_duration(type_)
    return is_time and type_.unit != "ns" and any(map(_is_finer, values))


def in_nanoseconds(values: Iterable[Any], type_: pa.DataType) -> pa.Array:
    """Return times or durations in nanoseconds; raise `ValueError` for one out of their range."""
    if pa.types.is_duration(type_):
        make, finer = pd.Timedelta, pa.duration("ns")
    else:
        make, finer = pd.Timestamp, pa.timestamp("ns", type_.tz)
    counts = [None if pd.isna(value) else make(value).as_unit("ns").value for value in values]
    return pa.array(counts, pa.int64()).cast(finer)
