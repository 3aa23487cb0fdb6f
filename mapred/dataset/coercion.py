"""Anything that a user passes as a dataset: paths, tables and frames, or items."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from mapred.arrow import from_frames
from mapred.dataset.given import items
from mapred.dataset.values import Dataset, GivesDataset, how_to_list_rows
from mapred.errors import DatasetError
from mapred.model.checking import short_repr
from mapred.model.spec import Format
from mapred.process.lazy import pa


def as_dataset(source: Any) -> Dataset:
    """Return anything that a user may pass as a dataset.

    A URI, glob or folder, or a collection of them, in the format of their suffixes (text for any
    that is not known); an Arrow table; a pandas or polars frame; a run; a dataset. Other
    collections, such as a `range`, a list of numbers or a one-dimensional array, are items.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str | os.PathLike):
        return _by_suffix(source)
    if isinstance(source, GivesDataset):
        return source.__mapred_dataset__()
    frame = _frame(source)
    if frame is not None:
        title = f"table of {frame.num_rows:,} rows"
        return Dataset("arrow", frame=frame, title=title, options=Format("arrow", ""))
    collected = _collect_values(source)
    texts = sum(isinstance(value, str | os.PathLike) for value in collected)
    if not collected:
        raise DatasetError("the list is empty: there is nothing to run")
    if texts == len(collected):
        return _by_suffix(collected)
    if all(isinstance(value, GivesDataset) for value in collected):
        raise DatasetError("a list of runs: pass mapred.outputs(*runs) for what they returned")
    if texts:
        raise DatasetError(
            f"the list holds paths such as {_first_example(collected, True)} and other things such as "
            f"{_first_example(collected, False)}: pass mapred.items([...]) if they are items"
        )
    return items(collected)


def _by_suffix(source: Any) -> Dataset:
    from mapred.dataset.readers import by_suffix

    return by_suffix(source)


def _first_example(values: list[Any], text: bool) -> str:
    return next(short_repr(v) for v in values if isinstance(v, str | os.PathLike) == text)


def _collect_values(source: Any) -> list[Any]:
    """Return the values of a collection of one dimension; anything else is an error with a hint."""
    kind = type(source).__name__
    if how_to_list_rows(source) is not None:
        raise DatasetError(
            f"{kind} cannot be read: pass mapred.items(frame{how_to_list_rows(source)})"
        )
    if isinstance(source, Mapping):
        raise DatasetError(
            f"a {kind} is not a dataset: for its values as parameters pass mapred.sweep(mapping), for "
            "its entries mapred.items(mapping.items())"
        )
    if isinstance(source, Iterator):
        raise DatasetError(
            f"a {kind} can be read only once and has no length: pass list(…) or mapred.items(…) of it, "
            "which take its values now"
        )
    shape = getattr(source, "shape", None)
    if shape is not None and len(shape) != 1:
        raise DatasetError(
            f"{kind} of shape {tuple(shape)} has no items: pass one dimension, or mapred.items(array) "
            "for its rows"
        )
    if isinstance(source, bytes | bytearray | memoryview) or not (
        isinstance(source, Iterable) and isinstance(source, Sized)
    ):
        hint = "array(n)" if type(source) is int else "items([...])"
        raise DatasetError(
            f"{kind} is not a dataset; pass a path or glob, a list of them, a table or frame, or "
            f"mapred.{hint}"
        )
    if hasattr(source, "to_pylist"):  # an Arrow array, whose own values are wrapped
        return list(source.to_pylist())
    return _sort_values(source) if kind in ("set", "frozenset") else list(source)


def _sort_values(values: Iterable[Any]) -> list[Any]:
    """Return the values of a set in an order that is the same in every run."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def _frame(source: Any) -> pa.Table | None:
    """Return a table or frame as an Arrow table; None for anything else."""
    package = type(source).__module__.split(".")[0]
    names = {f"{c.__module__.split('.')[0]}.{c.__name__}" for c in type(source).__mro__}
    if "polars.LazyFrame" in names:
        raise DatasetError("a polars LazyFrame is not read yet: pass .collect() of it")

    # An index that just numbers the rows is not kept: its parts would begin at 0 again.
    kept = True if "pandas.DataFrame" in names and not _is_plain(source) else None
    try:
        return from_frames.as_table(source, preserve_index=kept)
    except from_frames.Unfit as error:
        raise DatasetError(
            f"the {package} frame does not fit into Arrow: {error}; give that column one type, or"
            f" pass mapred.items(frame{how_to_list_rows(source)})"
        ) from error


def _is_plain(frame: Any) -> bool:
    """Whether the index of a pandas frame only numbers its rows."""
    index = frame.index
    is_range = type(index).__name__ == "RangeIndex"
    return bool(is_range and index.name is None and index.start == 0 and index.step == 1)
