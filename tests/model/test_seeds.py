"""Random numbers follow from the run's seed and the point, on any number of workers."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from random import random as drawn
from typing import Any

import numpy as np
import pytest
from numpy.random import normal as normal_of

import mapred
from mapred.model import seeds

QUIET: dict[str, Any] = {"progress": "none"}


def all_three(x: Any, task: mapred.Task) -> tuple[Any, ...]:
    return random.random(), float(np.random.random()), float(task.rng.random()), drawn()


def of_point(x: float, task: mapred.Task) -> tuple[Any, ...]:
    return random.random(), float(normal_of()), float(task.rng.random())


def of_lines(lines: Any) -> tuple[float, float]:
    return random.random(), float(np.random.random())


def _flat(found: list[tuple[Any, ...]]) -> list[Any]:
    return [number for each in found for number in each]


@pytest.mark.parametrize(
    "dataset", [mapred.array(8), mapred.items([*"aabbccdd"]), mapred.items([None] * 8)]
)
@pytest.mark.slow
def test_numbers_do_not_depend_on_where_and_how_items_run(dataset: Any, tmp_path: Path) -> None:
    runs = [
        mapred.run(all_three, dataset, backend=backend, per_task=n, seed=5, root=tmp_path, **QUIET)
        for backend, n in ((mapred.Local(workers=4), 1), ("inline", 3), (ThreadPoolExecutor(1), 8))
    ]
    found = [run.result() for run in runs]
    assert found[0] == found[1] == found[2]
    assert len(set(_flat(found[0]))) == 4 * 8
    other = mapred.run(all_three, dataset, backend="inline", seed=6, root=tmp_path, **QUIET)
    assert not set(_flat(other.result())) & set(_flat(found[0]))


def test_a_sweep_that_grows_keeps_its_numbers(tmp_path: Path) -> None:
    def numbers(**options: Any) -> dict[Any, Any]:
        swept = mapred.sweep(**options)
        run = mapred.run(of_point, swept, backend="inline", seed=1, root=tmp_path, **QUIET)
        keys = [(point["x"], point.get("repeat", 0)) for point in swept.items]
        return dict(zip(keys, run.result(), strict=True))

    few = numbers(x=[1, 2])
    many = numbers(x=np.array([0.5, 2, 1]), repeats=3)
    assert few.items() <= many.items()
    assert len(set(_flat(list(many.values())))) == 3 * 9


def test_points_that_come_twice_have_numbers_of_their_own(tmp_path: Path) -> None:
    swept = mapred.sweep(x=[1, 2, 3], mode="random", n=20)
    found = mapred.run(of_point, swept, backend="inline", root=tmp_path, **QUIET).result()
    assert len(set(_flat(found))) == 60


def test_shards_are_known_by_their_ranges(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text(f"{name}\n" * 3)
    few, many = (
        mapred.run(
            of_lines, [tmp_path / f"{n}.txt" for n in names], target_bytes=6, backend="inline",
            root=tmp_path / "runs", **QUIET,
        ).result()
        for names in ("bd", "abcd")
    )  # fmt: skip
    assert len(few) == 2
    assert few == [many[1], many[3]]
    assert len(set(_flat(many))) == 8


def test_whole_files_are_known_by_their_paths(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.bin").write_text("x")

    def draw(file: mapred.File) -> float:
        return random.random()

    few, many = (
        mapred.run(
            draw, mapred.files([tmp_path / f"{n}.bin" for n in names]), backend="inline",
            root=tmp_path / "runs", **QUIET,
        ).result()
        for names in ("bc", "abc")
    )  # fmt: skip
    assert few == many[1:]


class Weights:
    def __init__(self) -> None:
        self.weight = random.random()

    def __call__(self, x: int) -> float:
        return self.weight


def test_a_class_draws_the_same_in_each_worker(tmp_path: Path) -> None:
    run = mapred.run(
        Weights,
        mapred.array(6),
        per_task=1,
        backend=mapred.Local(workers=3),
        root=tmp_path,
        **QUIET,
    )
    assert len(set(run.result())) == 1


def _sampled(outputs: Any) -> float:
    return random.choice(list(outputs)) + random.random() + float(np.random.random())


def test_a_reduce_draws_the_same_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"reduce": _sampled, "root": tmp_path, **QUIET}
    found = {
        mapred.run(abs, mapred.array(9), backend=b, **options).result() for b in ("inline", "local")
    }
    assert len(found) == 1


def test_a_replay_draws_the_same_again(tmp_path: Path) -> None:
    run = mapred.run(all_three, mapred.array(4), per_task=2, seed=3, root=tmp_path, **QUIET)
    assert run.debug(1) == run.result()[2:]


def test_the_users_own_generators_go_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), float(np.random.random())
    random.seed(1)
    np.random.seed(1)
    mapred.run(all_three, mapred.array(3), backend="inline", root=tmp_path, **QUIET).debug(0)
    assert (random.random(), float(np.random.random())) == expected


def test_an_item_that_is_tried_again_draws_the_same(tmp_path: Path) -> None:
    def fragile(item: int, task: mapred.Task) -> tuple[Any, ...]:
        numbers = all_three(item, task)
        assert item != 1 or task.attempt > 1
        return numbers

    runs = [
        mapred.run(fn, mapred.array(3), per_task=3, backend="inline", root=tmp_path, **QUIET)
        for fn in (fragile, all_three)
    ]
    assert runs[0].result() == runs[1].result()


def test_numpys_generator_is_seeded_when_an_item_loads_it() -> None:
    script = """
        import sys, random
        import numpy as np
        from mapred.model import seeds
        if "loaded" in sys.argv:
            import numpy.random
        with seeds.keep_global_generators():
            seeds.seed_globals(seeds.entropy(1, "x"))
            first = np.random.random()
            seeds.seed_globals(seeds.entropy(1, "y"))
            print(first, np.random.random(), random.random())
        print(np.random.random() in (first,), file=sys.stderr)
    """
    said = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), argument],
            capture_output=True, text=True, check=True, cwd=Path(mapred.__file__).parents[1],
        )
        for argument in ("loaded", "later")
    ]  # fmt: skip
    assert said[0].stdout == said[1].stdout
    assert said[1].stderr == "False\n"


class Colour(Enum):
    RED = 1


@dataclass
class Layer:
    size: int
    rate: float


class Config:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@pytest.mark.parametrize(
    "make",
    [
        lambda: 1, lambda: 0.5, lambda: "a", lambda: b"a", lambda: None, lambda: [1, "b", 2.5],
        lambda: {"a": 1, "b": [2]}, lambda: {"x", "y", "z"}, lambda: Colour.RED, lambda: date(2026, 1, 2),
        lambda: Decimal("1.50"), lambda: Path("a/b"), lambda: Layer(3, 0.5), lambda: Config(a=1, b=[Layer(1, 2)]),
        lambda: np.arange(3.0), lambda: Layer, lambda: len, lambda: 1 + 2j, lambda: range(3), lambda: np.float32(0.1),
        lambda: np.datetime64("2026-01-01"), lambda: np.array([Layer(1, 2)], object),
    ],
    ids=map(str, range(22)),
)  # fmt: skip
def test_a_value_has_one_spelling(make: Callable[[], Any]) -> None:
    import cloudpickle

    text = seeds.spell(make())
    assert text == seeds.spell(make()) == seeds.spell(cloudpickle.loads(cloudpickle.dumps(make())))
    assert " at 0x" not in text


def test_values_that_differ_are_spelled_otherwise() -> None:
    values = [
        1, 2, 0.5, "1", b"1", None, [1], [[1]], [1, 2], {"a": 1}, {"a": 2}, {"b": 1}, Colour.RED,
        Layer(1, 2), Layer(2, 1), Config(a=1), np.arange(3), np.arange(3.0), np.arange(4), Layer, Config,
        date(2026, 1, 2), date(2026, 1, 3), "x" * 300, b"x" * 300, b"y" * 300, 1j, range(3), range(4),
    ]  # fmt: skip
    assert len(set(map(seeds.spell, values))) == len(values)


@pytest.mark.parametrize(
    "pair", [(1, 1.0), (1, True), (0.5, np.float64(0.5)), (2, np.int64(2)), ([1, 2], (1, 2)),
             ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (0.0, -0.0)], ids=str,
)  # fmt: skip
def test_equal_values_are_spelled_alike(pair: tuple[Any, Any]) -> None:
    assert seeds.spell(pair[0]) == seeds.spell(pair[1])


def test_a_value_that_holds_itself_has_a_spelling() -> None:
    knot: list[Any] = [1]
    knot.append(knot)
    node = Config(a=1)
    node.self = node  # type: ignore[attr-defined]
    assert seeds.spell(knot)
    assert seeds.spell(node)


def test_items_without_a_spelling_are_told_apart_by_their_order() -> None:
    things = [object() for _ in range(3)]
    counted = seeds.occurrences(things, seeds.of_item)
    assert counted is not None
    assert memoryview(counted).cast("q").tolist() == [0, 1, 2]
    assert seeds.occurrences([1, 2, 3], seeds.of_item) is None
    assert seeds.occurrences([1, 1.0, "1"], seeds.of_item) is not None
