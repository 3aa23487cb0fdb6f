"""Pictures of sweeps: what is drawn, what is told apart, and that nothing of a value gets through."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

from mapred.display.sweeps import SweepPoints, choose, drawable, sweep_html, sweep_picture, varying
from mapred.display.sweeps.axes import Scale, axis, result_scale, ticks, without_overlaps
from mapred.display.sweeps.grids import shade


def grid(results: Any, states: Any = None, **parameters: Any) -> SweepPoints:
    """The points of a grid of parameters, with a column of results."""
    product = list(itertools.product(*parameters.values()))
    columns = {name: [row[i] for row in product] for i, name in enumerate(parameters)}
    return SweepPoints(columns, {"loss": results}, states or ["done"] * len(product))


def test_one_parameter_is_a_line_with_a_mark_for_each_value(sample: Any) -> None:
    drawn = sample.parse(sweep_picture(grid([3, 2, 1, 4], rate=[1, 2, 3, 4])))
    assert len(drawn.named("circle")) == 4
    assert "loss over rate" in drawn.named("svg")[0]["aria-label"]
    assert "lowest 1 at rate=3; highest 4 at rate=4" in drawn.text


def test_repeats_are_a_mean_and_a_bar(sample: Any) -> None:
    points = grid([1, 3, 5, 5], rate=[0.1, 0.2], repeat=[0, 1])
    assert varying(points) == ("rate",)
    drawn = sample.parse(sweep_picture(points))
    assert "rate=0.1: mean 2 (mean of 2, 1 to 3)" in drawn.text
    assert "bars from the lowest to the highest" in sweep_html(points)


def test_a_seed_that_varies_alone_is_the_axis() -> None:
    assert varying(grid([1, 2, 3], seed=[1, 2, 3])) == ("seed",)


@pytest.mark.parametrize("second", [{}, {"depth": [1]}, {"depth": [1, 2]}])
def test_failed_missing_and_blank_are_told_apart(second: Any, sample: Any) -> None:
    times = len(second.get("depth", [1]))
    states = [state for state in ("done", "failed", "missing", "done") for _ in range(times)]
    results = [{"done": 1.0}.get(state) for state in states[: 3 * times]] + [None] * times
    drawn = sample.parse(sweep_picture(grid(results, states, rate=[1, 2, 3, 4], **second)))
    for words in ("failed", "not done", "without a number", "no number"):
        assert words in drawn.text, words
    assert f"{times} point{'s' * (times > 1)} failed" in drawn.text


def test_two_parameters_are_a_heat_map_with_values(sample: Any) -> None:
    points = grid([1, 2, 3, 4, 5, 6], rate=[0.1, 0.01], depth=[3, None, 5])
    drawn = sample.parse(sweep_picture(points))
    assert "rate=0.01, depth=None: loss 5" in drawn.text
    cells = [fill for fill in drawn.named("rect") if fill["fill"] in (shade(0), shade(1))]
    assert len(cells) >= 2


def test_samples_are_dots(sample: Any) -> None:
    chance = random.Random(1)
    xs, ys = ([chance.random() for _ in range(50)] for _ in range(2))
    points = SweepPoints({"x": xs, "y": ys}, {"loss": xs}, ["done"] * 50)
    assert len(sample.parse(sweep_picture(points)).named("circle")) == 50


def test_the_first_result_that_varies_is_drawn_and_others_are_named() -> None:
    results = {"name": ["a", "b"], "same": [1, 1], "loss": [1, 2], "time": [3, 4]}
    points = SweepPoints({"rate": [1, 2]}, results, ["done"] * 2)
    assert (drawable(points), choose(points)) == (("same", "loss", "time"), "loss")
    shown = sweep_html(points, how="run.plot({})")
    assert "other results: same, time; to draw one: run.plot(&#x27;same&#x27;)" in shown
    assert "time over rate" in sweep_picture(points, "time")


@pytest.mark.parametrize(
    ("levels", "log"),
    [
        ([0.001, 0.01, 0.1, 1], True),
        ([1, 2, 4, 8, 16, 32], True),
        ([0.001, 0.1], True),
        ([1, 2, 3, 4], False),
        ([0, 1, 100, 10_000], False),
        ([1, 50, 100], False),
        ([0.1, 1], False),
    ],
)
def test_numbers_spaced_by_their_logarithm_are_seen(levels: list[float], log: bool) -> None:
    found = axis("x", levels).scale
    assert found is not None
    assert found.log is log


def test_a_value_that_is_not_a_number_makes_categories() -> None:
    found = axis("x", [3, None, 5, None])
    assert (found.scale, found.texts, found.level) == (None, ("3", "None", "5"), (0, 1, 2, 1))
    assert axis("x", [True, False]).scale is None
    assert axis("x", [np.int64(3), np.float32(1)]).levels == (1.0, 3.0)


def test_ticks_lie_on_the_scale() -> None:
    chance = random.Random(2)
    for _ in range(300):
        low = chance.uniform(-1, 1) * 10 ** chance.uniform(-12, 12)
        high = low + 10 ** chance.uniform(-12, 12)
        plain = ticks(Scale(low, high, log=False))
        assert len(plain) <= 8
        assert all(-1e-6 <= Scale(low, high, log=False).at(tick) <= 1 + 1e-6 for tick in plain)
        low = 10 ** chance.uniform(-12, 0)
        logs = Scale(low, low * 10 ** chance.uniform(0.1, 20), log=True)
        assert 1 <= len(ticks(logs)) <= 9
        assert all(-1e-6 <= logs.at(tick) <= 1 + 1e-6 for tick in ticks(logs))


def test_labels_do_not_touch() -> None:
    chance = random.Random(3)
    for _ in range(100):
        marks = sorted((chance.random(), "x" * chance.randint(1, 20)) for _ in range(30))
        kept = without_overlaps(marks, 600)
        ends = [(place * 600, len(text) * 7.1 / 2) for place, text in kept]
        assert kept
        assert all(b[0] - a[0] >= a[1] + b[1] for a, b in itertools.pairwise(ends))


def test_results_far_apart_are_drawn_by_their_logarithm() -> None:
    assert result_scale([1, 2, 3, 1e6]).log
    assert not result_scale([0, 2, 3, 1e6]).log
    assert not result_scale([9e5, 1, 1e6]).log


ODD = (0, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), None, "x", True, 10**400)


def test_any_values_give_a_sound_picture(sample: Any) -> None:
    chance = random.Random(4)
    for _ in range(100):
        count = chance.randint(1, 30)

        def column(count: int = count) -> list[Any]:
            values = chance.choice((ODD, ODD[:5], [0.1, 1, 10, 100], ["a", sample.evil], [1]))
            return [chance.choice(values) for _ in range(count)]

        names = ["a", sample.evil, "repeat"][: chance.randint(1, 3)]
        states = [chance.choice(("done", "failed", "missing")) for _ in range(count)]
        results = {name: column() for name in ("loss", sample.evil)}
        points = SweepPoints({name: column() for name in names}, results, states)
        shown = sweep_html(points, how="run.plot({})")
        assert "nan" not in "".join(str(svg) for svg in sample.parse(shown).named("rect"))
        assert "<script" not in shown
        for tag, attributes in sample.parse(shown).tags:
            assert tag not in ("script", "style", "link")
            assert not any(name.startswith("on") for name in attributes)


def test_many_points_are_a_small_picture() -> None:
    count = 20_000
    xs = np.random.default_rng(0).random(count).tolist()
    states = ["done"] * count
    one = sweep_picture(SweepPoints({"x": xs}, {"loss": xs}, states))
    two = sweep_picture(SweepPoints({"x": xs, "y": xs[::-1]}, {"loss": xs}, states))
    assert 10_000 < len(one) < 200_000
    assert 10_000 < len(two) < 600_000


def test_nothing_to_draw_draws_nothing() -> None:
    assert sweep_html(SweepPoints({}, {}, [])) == ""
    assert sweep_html(grid([1], rate=[1])) == ""
    assert sweep_html(grid(["a", "b"], rate=[1, 2])) == ""
    assert sweep_html(grid([None, None], ["failed", "missing"], rate=[1, 2])) == ""


def test_long_categories_are_cut_so_that_each_has_its_label() -> None:
    names = [f"a category with a long name, number {number}" for number in range(6)]
    marks = axis("x", names).ticks(640)
    assert len(marks) == len(names)
    assert all("…" in shown for _, shown in marks)
