"""Parameter sweeps: points of grids, of zipped lists, and samples."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import pytest

from mapred import dataset
from mapred.dataset import item_format
from mapred.errors import DatasetError, MissingDependency
from mapred.model.spec import Format


def test_grids_and_zips() -> None:
    made = dataset.sweep(rate=[0.1, 0.2], depth=(1, 2), name="x")
    assert made.items == tuple(
        {"rate": rate, "depth": depth, "name": "x"} for rate in (0.1, 0.2) for depth in (1, 2)
    )
    assert item_format(made) == Format("items", "keywords")
    assert str(made) == "sweep of 4 points over rate, depth, name"
    repeated = dataset.sweep(rate=np.array([1.5]), repeats=2, seed=5)
    assert repeated.items == ({"rate": 1.5, "repeat": 0}, {"rate": 1.5, "repeat": 1})
    assert type(repeated.items[0]["rate"]) is float
    assert repeated.seed == 5
    zipped = dataset.sweep(a=[1, 2], b=range(2), c=7, mode="zip")
    assert zipped.items == ({"a": 1, "b": 0, "c": 7}, {"a": 2, "b": 1, "c": 7})
    assert dataset.sweep(repeats=2).items == ({"repeat": 0}, {"repeat": 1})
    assert dataset.sweep({"n": [1, 2], "seed": [3]}).items == (
        {"n": 1, "seed": 3}, {"n": 2, "seed": 3},
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["random", "sobol"])
def test_samples(mode: str) -> None:
    space = {
        "rate": dataset.loguniform(1e-4, 1),
        "scale": dataset.uniform(-1, 3),
        "depth": [2, 4, 8],
        "fixed": 1,
    }
    made = dataset.sweep(space, mode=mode, n=100, seed=3)
    assert made.count == 100
    assert made.items == dataset.sweep(space, mode=mode, n=100, seed=3).items
    assert made.items != dataset.sweep(space, mode=mode, n=100, seed=4).items
    rates = [point["rate"] for point in made.items]
    assert 1e-4 <= min(rates) <= max(rates) <= 1
    assert 30 <= sum(rate < 1e-2 for rate in rates) <= 70, "half of them below the middle"
    assert all(-1 <= point["scale"] <= 3 for point in made.items)
    assert {point["depth"] for point in made.items} == {2, 4, 8}
    assert {point["fixed"] for point in made.items} == {1}
    assert all(type(point["rate"]) is float for point in made.items)
    assert dataset.sweep(space, mode=mode, n=1).count == 1


def test_sobol_needs_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingDependency, match=r"mapred\[sweep\]"):
        dataset.sweep(a=[1], mode="sobol", n=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "got no parameters"),
        ({"a": []}, "a has no values"),
        ({"a": [1], "mode": "all"}, "mode='all' must be one of"),
        ({"a": itertools.count()}, "a has more than 10,000,000 values"),
        ({"a": [1], "seed": [1, 2]}, "goes into a mapping"),
        ({"a": [1], "n": 3}, "takes no n="),
        ({"a": [1], "mode": "random"}, "needs n="),
        ({"a": [1], "repeats": 0}, "at least 1"),
        ({"a": [1, 2], "b": [1, 2, 3], "mode": "zip"}, "a has 2, b has 3"),
        ({"a": dataset.uniform(0, 1)}, "a is an interval"),
        ({"repeat": [1], "repeats": 2}, "may not be called 'repeat'"),
        ({"a": range(10**4), "b": range(10**4)}, "100,000,000 points"),
    ],
)
def test_sweeps_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        dataset.sweep(**options)


def test_intervals_that_make_no_sense() -> None:
    for low, high in ((1, 1), (2, 1)):
        with pytest.raises(DatasetError, match="is empty"):
            dataset.uniform(low, high)
    with pytest.raises(DatasetError, match="must begin above zero"):
        dataset.loguniform(0, 1)
    for low, high in (("a", 1), (0, float("inf"))):
        with pytest.raises(DatasetError, match="needs two numbers"):
            dataset.uniform(low, high)  # type: ignore[arg-type]
