"""Sweeps as columns: what each point came to, whatever the function returned."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import mapred
from mapred.errors import FunctionError, RunError
from mapred.functions import pickling

INLINE: dict[str, Any] = {"backend": "inline", "progress": "none"}


@dataclasses.dataclass
class Fit:
    loss: float
    name: str


class Pair(NamedTuple):
    loss: float
    name: str


@pytest.mark.parametrize(
    "make",
    [
        lambda x: {"loss": x, "name": "a"},
        lambda x: Fit(x, "a"),
        lambda x: Pair(x, "a"),
        lambda x: pd.Series({"loss": x, "name": "a"}),
        lambda x: {"loss": np.float32(x), "name": "a", "more": {"deep": [1, 2]}},
    ],
    ids=["mapping", "dataclass", "tuple", "series", "numpy"],
)
def test_whatever_is_returned_becomes_columns(make: Any) -> None:
    run = mapred.run(lambda rate: make(rate / 2), mapred.sweep(rate=[1, 2, 3]), **INLINE)
    plot = run.plot()
    assert plot.points.parameters == {"rate": [1, 2, 3]}
    assert plot.points.results == {"loss": [0.5, 1, 1.5], "name": ["a"] * 3}
    assert (plot.results, repr(plot)) == (("loss",), "loss over rate")
    assert plot.svg.startswith("<svg")


def test_nested_mappings_have_names_with_dots() -> None:
    run = mapred.run(lambda a: {"x": {"y": a, "z": a}}, mapred.sweep(a=[1, 2]), **INLINE)
    assert run.plot("x.z").results == ("x.y", "x.z")


@pytest.mark.parametrize("per_task", [1, 3])
def test_points_that_failed_and_those_not_done_are_told_apart(per_task: int) -> None:
    def work(a: int) -> int:
        if a == 1:
            raise ValueError("one")
        return a

    with pytest.raises(RunError) as caught:
        mapred.run(work, mapred.sweep(a=range(9)), attempts=1, per_task=per_task, **INLINE)
    assert caught.value.run is not None
    states = caught.value.run.plot().points.states
    assert states[1] == "failed"
    assert states[-1] == "missing"
    assert states.count("failed") == 1
    given_up = mapred.run(
        work, mapred.sweep(a=range(9)), attempts=1, per_task=per_task, max_failed=1, **INLINE
    )
    points = given_up.plot().points
    assert points.states == ["done", "failed", *["done"] * 7]
    assert points.results["result"] == [0, None, *range(2, 9)]


def test_a_plot_says_what_it_cannot_draw() -> None:
    run = mapred.run(lambda a: {"loss": a}, mapred.sweep(a=[1, 2]), **INLINE)
    with pytest.raises(RunError, match=r"no result 'lost' .* there are: 'loss'"):
        run.plot("lost")
    with pytest.raises(RunError, match="only a sweep"):
        mapred.run(abs, range(3), **INLINE).plot()
    text = mapred.run(lambda a: "x", mapred.sweep(a=[1, 2]), **INLINE).plot()
    assert repr(text) == "nothing to draw"
    assert "nothing to draw" in text._repr_mimebundle_()["text/html"]


def test_numbers_of_numpy_are_plain_values() -> None:
    kinds = (np.float16, np.float32, np.float64, np.int8, np.uint64, np.bool_)
    values = [kind(1) for kind in kinds] + [np.dtype(">f8").type(1.5), np.int64(-(2**62))]
    for protocol in (3, 5):
        with pickling.plain_alone(True):
            data = pickling.io.BytesIO(pickle.dumps(values, protocol))
            found = pickling.load(data)
        assert [*map(repr, found)] == [*map(repr, values)]


@pytest.mark.parametrize("value", [np.dtype("O"), np.datetime64("2026-01-01"), np.arange(3)])
def test_more_of_numpy_is_not_plain(value: Any) -> None:
    with pickling.plain_alone(True), pytest.raises(FunctionError):
        pickling.load(pickling.io.BytesIO(pickle.dumps(value)))


def test_without_pickles_what_is_plain_is_drawn() -> None:
    run = mapred.run(lambda a: np.float64(a / 2), mapred.sweep(a=[1, 2]), **INLINE)
    assert mapred.open(run.uri, allow_pickle=False).plot().results == ("result",)
    run = mapred.run(lambda a: Fit(a, ""), mapred.sweep(a=[1, 2]), **INLINE)
    plot = mapred.open(run.uri, allow_pickle=False).plot()
    assert (plot.results, plot.points.states) == ((), ["done", "done"])
    assert (
        repr(plot) == "nothing to draw: results that are more than plain values are not loaded here"
    )
