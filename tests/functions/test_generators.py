"""Generators that a function carries along are told of; the hidden ones travel by name."""

from __future__ import annotations

import functools
import pickle
import random
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from random import gauss
from random import random as drawn
from typing import Any

import numpy as np
import pytest
from numpy.random import normal

import mapred
from mapred.functions import generators, transport

RNG = np.random.default_rng(0)
STATE = np.random.RandomState(0)
OWN = random.Random(0)
own_random = OWN.random
SYSTEM = random.SystemRandom()
TABLE = {"rng": [RNG]}


class Clean:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __call__(self, x: int) -> float:
        return 0.0

    def method(self, x: int) -> float:
        return 0.0


class Simulation(Clean):
    shared = RNG


def uses_rng(x: int) -> float:
    return float(RNG.normal())


def uses_another(x: int) -> float:
    return uses_rng(x)


def nested(x: int) -> list[float]:
    return [OWN.random() for _ in range(x)]


def _closure(rng: Any) -> Callable[[int], float]:
    return lambda x: rng.normal()


def _default(x: int, rng: Any = STATE) -> float:
    return float(rng.normal())


@functools.wraps(uses_rng)
def wrapped(x: int) -> float:
    return uses_rng(x)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (uses_rng, r"RNG \(Generator\)"),
        (uses_another, "uses_rng.RNG"),
        (nested, r"OWN \(Random\)"),
        (lambda x: STATE.normal(), r"STATE \(RandomState\)"),
        (lambda x: own_random(), "own_random"),
        (lambda x: TABLE, "TABLE"),
        (_closure(np.random.default_rng()), "rng"),
        (_default, "default"),
        (wrapped, "RNG"),
        (functools.partial(_default, rng=RNG), "rng"),
        (functools.partial(lambda rng, x: 0, RNG), "args"),
        (Simulation, "shared"),
        (Clean(rng=RNG), "rng"),
        (Clean(env=Clean(rng=RNG)), "env.rng"),
        (Clean(rng=OWN).method, "rng"),
        (RNG.normal, "Generator"),
        (OWN.random, "Random"),
        (OWN.gauss, "Random"),
    ],
    ids=map(str, range(18)),
)
def test_a_generator_that_is_carried_along_is_named(function: Any, named: str) -> None:
    with pytest.warns(UserWarning, match=rf"{named}.*task\.rng"):
        generators.warn_if_carried(function, transport.name_of(function))


def _at_module(x: int) -> float:
    return random.random() + float(np.random.normal()) + drawn() + gauss(0, 1) + float(normal())


def _makes_it(x: int) -> float:
    return float(np.random.default_rng(x).normal())


@pytest.mark.parametrize(
    "function",
    [
        _at_module, _makes_it, lambda x: SYSTEM.random(), Clean(a=1), Clean, abs, np.sqrt, drawn, normal,
        mapred.command(["true"]), functools.partial(_makes_it), lambda x: x,
    ],
    ids=map(str, range(12)),
)  # fmt: skip
def test_nothing_is_said_of_other_functions(function: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generators.warn_if_carried(function, "function")


def test_a_generator_of_a_module_of_ones_own_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("model_of_mine")
    module.__file__ = "/nowhere/model_of_mine.py"
    exec(
        "import numpy as np\nrng = np.random.default_rng(0)\ndef draw(x):\n    return rng.normal()",
        vars(module),
    )
    monkeypatch.setitem(sys.modules, "model_of_mine", module)
    namespace: dict[str, Any] = {"model": module, "__name__": "__main__"}
    exec(
        "def by_module(x):\n    return model.rng.normal()\ndef by_call(x):\n    return model.draw(x)",
        namespace,
    )
    for name in ("by_module", "by_call"):
        with pytest.warns(UserWarning, match=r"rng \(Generator\)"):
            generators.warn_if_carried(namespace[name], name)


def test_a_run_warns(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="uses_rng carries a generator"):
        mapred.run(uses_rng, mapred.array(2), backend="inline", root=tmp_path, progress="none")


def test_hidden_generators_travel_by_name() -> None:
    mine, theirs = OWN, RNG

    def draw(x: int) -> tuple[Any, ...]:
        return drawn, gauss, normal, mine, theirs

    data = transport.dump(draw)
    loaded = transport.load(data)(1)
    assert loaded[0].__self__ is drawn.__self__  # type: ignore[attr-defined]
    assert loaded[1].__self__ is gauss.__self__  # type: ignore[attr-defined]
    assert loaded[2].__self__ is normal.__self__
    assert loaded[3] is not OWN
    assert loaded[3].getstate() == pickle.loads(pickle.dumps(OWN)).getstate()
    assert loaded[4] is not RNG
