"""The parts of what pandas and Polars hold: frames, series, indexes, their types and scalars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mapred.model.forms import Form, named, text
from mapred.process.lazy import np, pa, pd, pl

Former = Callable[[Any], Form]


def of_pandas(kind: type) -> Former | None:
    """Return what takes values of a class of pandas apart."""
    for base, former in (
        (pd.DataFrame, _frame),
        (pd.Series, _series),
        (pd.RangeIndex, _range),
        (pd.MultiIndex, _levels),
        (pd.Index, _index),
        (pd.api.extensions.ExtensionArray, _extension),
        (pd.api.extensions.ExtensionDtype, _dtype),
        (pd.Timestamp, _timestamp),
        (pd.Timedelta, _timedelta),
        (pd.Period, lambda value: Form("Period", (), (value.ordinal, value.freqstr))),
        (pd.Interval, lambda value: Form("Interval", (), (value.left, value.right, value.closed))),
        (pd.offsets.BaseOffset, lambda value: Form("Offset", (), (repr(value),))),
        (type(pd.NaT), lambda _: Form("NaT")),
        (type(pd.NA), lambda _: Form("NA")),
    ):
        if issubclass(kind, base):
            return former
    return None


def _frame(frame: Any) -> Form:
    columns = [frame.iloc[:, number].array for number in range(frame.shape[1])]
    parts = {"columns": frame.columns, "index": frame.index, "values": columns}
    return named("DataFrame", parts | {"attrs": frame.attrs})


def _series(series: Any) -> Form:
    parts = {"name": series.name, "index": series.index, "values": series.array}
    return named("Series", parts | {"attrs": series.attrs})


def _range(index: Any) -> Form:
    return Form("RangeIndex", (), (index.start, index.stop, index.step, index.name))


def _levels(index: Any) -> Form:
    levels = [index.get_level_values(number).array for number in range(index.nlevels)]
    return named("MultiIndex", {"names": list(index.names), "levels": levels})


def _index(index: Any) -> Form:
    parts = {"name": index.name, "values": index.array}
    return named(type(index).__name__, parts | {"freq": getattr(index, "freqstr", None)})


def _dtype(dtype: Any) -> Form:
    kind = type(dtype).__name__
    if isinstance(dtype, pd.CategoricalDtype):
        return named(kind, {"categories": dtype.categories, "ordered": dtype.ordered})
    parts: dict[str, Any] = {"text": str(dtype)}
    if isinstance(dtype, pd.StringDtype):
        parts |= {"storage": dtype.storage, "na": dtype.na_value}
    return named(kind, parts)


def _extension(array: Any) -> Form:
    return named("extension array", {"dtype": _plain(array.dtype), "values": _values(array)})


def _plain(dtype: Any) -> Any:
    """Return the type of numpy inside one of pandas' own, which is not one of its types."""
    return getattr(dtype, "numpy_dtype", dtype) if type(dtype).__name__ == "NumpyEADtype" else dtype


def _values(array: Any) -> Any:
    """Return the values of a column in a form that is taken apart fast, where it has one."""
    dtype = array.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return array.codes
    if isinstance(dtype, pd.ArrowDtype) or getattr(dtype, "storage", "") == "pyarrow":
        return pa.array(array)
    if isinstance(dtype, pd.DatetimeTZDtype) or getattr(dtype, "kind", "") in "mM":
        return array.view("i8")
    if isinstance(dtype, np.dtype) or type(dtype).__name__ == "NumpyEADtype":
        return array.to_numpy()
    numbers = getattr(dtype, "numpy_dtype", None)
    if numbers is not None:  # with a mask, below which anything may lie
        missing = np.asarray(pd.isna(array))
        return missing, array.to_numpy(numbers, na_value=numbers.type(0))
    return list(array)


def _timestamp(value: Any) -> Form:
    parts = {"value": value.to_datetime64(), "zone": str(value.tz), "fold": value.fold}
    return named("Timestamp", parts)


def _timedelta(value: Any) -> Form:
    return named("Timedelta", {"value": value.to_timedelta64()})


def of_polars(kind: type) -> Former | None:
    """Return what takes values of a class of Polars apart."""
    if kind is pl.DataFrame:
        return lambda frame: named("pl.DataFrame", {"columns": frame.get_columns()})
    if kind is pl.Series:
        return _polars_series
    if issubclass(kind, pl.DataType):
        return _polars_type
    return None


def _polars_series(series: Any) -> Form:
    dtype = series.dtype
    parts = {"name": series.name, "dtype": dtype, "length": len(series)}
    if dtype == pl.Object:
        return named("pl.Series", parts | {"values": series.to_list()})
    if isinstance(dtype, pl.Categorical | pl.Enum):
        series = series.cast(pl.String)  # whose numbers depend on what was read before
    return named("pl.Series", parts | {"values": series.to_arrow()})


def _polars_type(dtype: Any) -> Form:
    if isinstance(dtype, pl.Enum):
        return named("pl.Enum", {"categories": dtype.categories})
    return Form("pl.DataType", (text(repr(dtype)),))
