"""Datasets of what is given as it is: Python objects, and the indices of an array job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mapred.dataset.values import Dataset, function_input, how_to_list_rows
from mapred.errors import DatasetError
from mapred.model.checking import checks
from mapred.model.rules import FromOne
from mapred.model.spec import Format


def items(iterable: Iterable[Any]) -> Dataset:
    """Make a dataset of Python objects: the function is called for each.

    A list of numbers, a `range` or an array may be passed to `mapred.run` without it; a list of
    texts would be paths there.

    Args:
        iterable: A list or another iterable, whose items are taken now. They must be picklable.

    Returns:
        The dataset.

    Raises:
        DatasetError: It has no items, or is a frame or a mapping, which list their columns and keys.

    Examples:
        >>> mapred.run(str.upper, mapred.items(["oslo", "rome"])).result()
        ['OSLO', 'ROME']
    """
    rows = how_to_list_rows(iterable)
    if rows is not None:
        raise DatasetError(
            f"items() got a {type(iterable).__name__}, which lists its columns: for its rows one by "
            f"one, pass items(frame{rows}); for shards of them, pass the frame itself to run()"
        )
    kind = type(iterable).__name__
    if isinstance(iterable, Mapping):
        raise DatasetError(
            f"items() takes a list or another iterable of items, not {kind}, which lists its keys: "
            "pass items(mapping.items()) for its entries, or sweep(mapping) for parameters"
        )
    if isinstance(iterable, str | bytes | Dataset) or not isinstance(iterable, Iterable):
        raise DatasetError(f"items() takes a list or another iterable of items, not {kind}")
    try:
        taken = tuple(iterable)
    except TypeError as error:  # an array without dimensions
        raise DatasetError(
            f"items() takes a list or another iterable of items, not {kind}: {error}"
        ) from None
    if not taken:
        raise DatasetError("items() got no items: there is nothing to run")
    return Dataset(
        "items",
        items=taken,
        count=len(taken),
        title=f"{len(taken):,} item{'s' * (len(taken) != 1)}",
    )


@checks(DatasetError)
def array(n: FromOne) -> Dataset:
    """Make a dataset of the indices 0 to n - 1, as an array job has them: the function is called for each.

    Args:
        n: How many indices, from 1.

    Returns:
        The dataset.

    Raises:
        DatasetError: `n` is not a whole number from 1 up.

    Examples:
        >>> mapred.run(lambda index: index * 10, mapred.array(3)).result()
        [0, 10, 20]
    """
    return Dataset("array", count=n, title=f"array of {n:,}")


def item_format(dataset: Dataset) -> Format:
    """Return what `pin` gives of files, for items, arrays and outputs, of which nothing has to be read."""
    assert dataset.format is not None
    as_ = function_input(dataset.format, dataset.as_)
    return replace(dataset.options, schema=None, name=dataset.format, as_=as_, runs=dataset.runs)
