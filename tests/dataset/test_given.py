"""Datasets of Python objects and of indices."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from mapred import dataset
from mapred.dataset import item_format, listing
from mapred.errors import DatasetError
from mapred.model import layout
from mapred.model.spec import Format


def test_items_are_pickled_back_to_back() -> None:
    made = dataset.items([1, "two", {"three": 3}, lambda: 4, [5, None]])
    assert (made.format, made.count) == ("items", 5)
    [(path, data)] = made.inputs()
    assert path == layout.ITEMS
    assert made.offsets[-1] == len(data)
    back = [pickle.loads(data[a:b]) for a, b in zip(made.offsets, made.offsets[1:], strict=False)]
    assert back[:3] == [1, "two", {"three": 3}]
    assert back[3]() == 4
    assert item_format(made) == Format("items", "item")
    with pytest.raises(DatasetError, match=r"item 1 \(generator\) cannot be pickled"):
        _ = dataset.items([1, (i for i in ())]).offsets
    with pytest.raises(DatasetError, match="is in memory"):
        listing(made)


def test_arrays() -> None:
    made = dataset.array(10**12)
    assert (made.format, made.count, list(made.inputs())) == ("array", 10**12, [])
    assert dataset.array(np.int64(3)).count == 3
    assert item_format(made) == Format("array", "item")
