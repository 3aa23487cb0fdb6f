"""Functions and reducers that cannot be called as a run would: said before it starts."""

from __future__ import annotations

import functools
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mapred
from mapred.errors import FunctionError, MapredError, ReduceError
from mapred.functions import fitting
from mapred.functions.commands import command

_COUNT = itertools.count()


def rate(rate: float = 0.1) -> float:
    return rate


def two(a: int, b: int) -> int:
    return a + b


def point(x: float, y: float = 0, *, scale: float = 1) -> float:
    return x + y * scale


def with_task(x: float, task: mapred.Task) -> float:
    return x


def task_first(task: mapred.Task, x: float) -> float:
    return x


def bare_task(x, task):  # type: ignore[no-untyped-def]
    return x


def anything(*inputs: Any, **keywords: Any) -> Any: ...


def only_by_position(x: float, y: float, /) -> float:
    return x + y


def passing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*inputs: Any, **keywords: Any) -> Any:
        keywords.pop("verbose", None)
        return function(*inputs, **keywords)

    return wrapper


def _name(value: Any) -> str:
    """An id for a case; lambdas have none of their own."""
    return f"{getattr(value, '__name__', type(value).__name__)}-{next(_COUNT)}"


async def late(x: Any) -> Any: ...


def lazily(x: Any) -> Iterator[Any]:
    yield x


@dataclass
class Pair:
    x: float
    y: float = 0


class Model:
    def __init__(self, path: str = "") -> None: ...

    def __call__(self, x: float) -> float:
        return x

    def method(self, x: float) -> float:
        return x

    @staticmethod
    def fixed(x: float) -> float:
        return x


class NeedsPath:
    def __init__(self, path: str) -> None: ...

    def __call__(self, x: float) -> float:
        return x


class Late:
    async def __call__(self, x: float) -> None: ...


def _session(function: Callable[..., Any]) -> Callable[[Any], Any]:
    @functools.wraps(function)
    def inner(x: Any) -> Any:
        return function(x, "session")

    return inner


@_session
def decorated(x: Any, session: str) -> Any: ...


@pytest.mark.parametrize(
    "function",
    [
        rate, point, with_task, anything, Pair, Model, Model(), Model().method, Model.fixed,
        decorated, functools.partial(two, 1), functools.partial(two, b=2), lambda x: x,
        lambda x, *, y=1: x, abs, len, int, float, str, dict, max, print, Path, operator.neg,
        operator.itemgetter(0), functools.lru_cache(rate), np.sqrt, np.sum, np.vectorize(rate),
        "".join, pd.DataFrame, sorted, command(["true"]),
    ],
    ids=_name,
)  # fmt: skip
def test_functions_of_one_input(function: Any) -> None:
    fitting.check_function(function, "items")


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (rate, ["rate"]),
        (point, ["x"]),
        (point, ["x", "y", "scale"]),
        (point, ["x", "repeat"]),
        (lambda x, repeat: 0, ["x", "repeat"]),
        (with_task, ["x"]),
        (task_first, ["x"]),
        (anything, ["x", "y"]),
        (Pair, ["x", "y"]),
        (Model, ["x"]),
        (functools.partial(two, b=1), ["a"]),
        (functools.partial(two, b=1), ["a", "b"]),
        (dict, ["x", "y"]),
        (command(["true"]), ["x"]),
        (lambda: 3, ["repeat"]),
        (passing_on(rate), ["rate", "verbose"]),
        (passing_on(two), ["a"]),
    ],
    ids=_name,
)
def test_functions_of_a_point(function: Any, names: list[str]) -> None:
    fitting.check_function(function, "items", names)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda: 3, r"\(\) is called with one item: give it a parameter"),
        (two, r"two\(a, b\) is called with one item alone, and 'b' has no value: .*two, b=…\)"),
        (lambda a, b, c: 3, "'b' and 'c' have no value"),
        (operator.add, r"add\(a, b\) .*wrap it, as lambda value: add\(value, …\)"),
        (np.add, r"add\(x1, x2\) is called with one item alone, and 'x2' has no value"),
        (divmod, "has no value"),
        (isinstance, "has no value"),
        (Model.method, r"Model.method\(self, x\).* 'x' has no value"),
        (task_first, "gets one item first: put the parameter 'task'"),
        (lambda *, x: 3, "is called with one item: give it a parameter"),
        (bare_task, "write task: mapred.Task"),
        (NeedsPath, r"without arguments: missing a required argument: 'path'.*NeedsPath\(…\)"),
        (late, "late is async"),
        (Late, "Late is async"),
        (Late(), "Late is async"),
        (functools.partial(late), "late is async"),
        (lazily, "lazily is a generator function: collect"),
    ],
    ids=_name,
)
def test_functions_that_do_not_fit_an_item(function: Any, said: str) -> None:
    with pytest.raises(FunctionError, match=said):
        fitting.check_function(function, "array")


def _only_the_task(task: mapred.Task) -> int:
    return 0


def test_a_function_of_the_task_alone_needs_a_parameter_for_the_item() -> None:
    with pytest.raises(FunctionError, match=r"_only_the_task\(task\) is called with one file"):
        fitting.check_function(_only_the_task, "files")


@pytest.mark.parametrize(
    ("function", "names", "said"),
    [
        (rate, ["rte"], r"rate\(rate\) has no parameter 'rte'; did you mean 'rate'\?"),
        (point, ["x", "scala"], "has no parameter 'scala'; did you mean 'scale'"),
        (point, ["x", "zeta"], "'zeta', and a sweep passes its parameters as keywords: add it"),
        (lambda point: 0, ["x", "y"], "no parameter 'x' and 'y'.*add them to the function"),
        (lambda: 3, ["x"], "has no parameter 'x'"),
        (two, ["a"], r"needs 'b', which the sweep does not give.*partial\(two, b=…\)"),
        (abs, ["x"], r"takes its arguments by position.*write lambda x: abs\(x\)"),
        (only_by_position, ["x", "y"], r"write lambda x, y: only_by_position\(x, y\)"),
        (np.hypot, ["a", "b"], r"write lambda a, b: hypot\(a, b\)"),
        (with_task, ["x", "task"], "receives the task as 'task', a parameter of the sweep"),
        (bare_task, ["x"], "write task: mapred.Task"),
        (Pair, ["x", "z"], "has no parameter 'z'"),
        (passing_on(rate), ["rte"], "has no parameter 'rte'; did you mean 'rate'"),
        (passing_on(two), ["a", "bb"], "has no parameter 'bb'; did you mean 'b'"),
    ],
    ids=_name,
)
def test_functions_that_do_not_fit_a_point(function: Any, names: list[str], said: str) -> None:
    with pytest.raises(FunctionError, match=said):
        fitting.check_function(function, "items", names)


@pytest.mark.parametrize(
    "reduce",
    [
        sum, list, max, min, len, set, dict, sorted, Counter, "".join, np.concatenate, pd.concat,
        mapred.reducers.sum, lambda outputs: 0, lambda outputs, start=0: 0, anything, Model(),
        functools.partial(functools.reduce, operator.add), np.sum, any, decorated,
    ],
    ids=_name,
)  # fmt: skip
def test_reducers_of_one_iterable(reduce: Any) -> None:
    fitting.check_reduce(reduce, None)


@pytest.mark.parametrize(
    ("reduce", "said"),
    [
        (operator.add, r"reduce=add\(a, b\) is called with one argument, an iterable"),
        (lambda a, b: a + b, "for a function of two values.*functools.reduce"),
        (lambda: 3, "is called with one argument"),
        (lambda a, b, c: 3, "is called with one argument"),
        (np.add, r"reduce=add\(x1, x2\)"),
        (str.join, "is called with one argument"),
        (late, "is async"),
        (lazily, "is a generator function"),
    ],
    ids=_name,
)
def test_reducers_of_something_else(reduce: Any, said: str) -> None:
    with pytest.raises(ReduceError, match=said):
        fitting.check_reduce(reduce, None)


def test_what_comes_after_a_reduce_takes_one_value() -> None:
    with pytest.raises(ReduceError, match=r"finalize=two\(a, b\) is called with one argument"):
        fitting.check_reduce(sum, two)


@pytest.mark.parametrize(
    "start",
    [
        lambda: mapred.run(rate, mapred.sweep(rte=[1, 2])),
        lambda: mapred.run(lambda: 3, mapred.items([1])),
        lambda: mapred.run(two, mapred.array(3)),
        lambda: mapred.submit(two, mapred.plan(mapred.array(3))),
        lambda: mapred.run(abs, mapred.array(3), reduce=operator.add),
        lambda: mapred.run(abs, mapred.array(3), by="k", reduce=operator.add),
        lambda: mapred.job(two, mapred.array(3)).bind(c=1),
    ],
    ids=_name,
)
def test_nothing_is_written_for_what_cannot_be_called(
    start: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path / "runs"))
    with pytest.raises(MapredError):
        start()
    assert not (tmp_path / "runs").exists()


def test_the_ways_out_that_are_named_lead_out(tmp_path: Path) -> None:
    options: dict[str, Any] = {"backend": "inline", "progress": "none", "root": tmp_path}
    array = mapred.array(3)
    assert mapred.run(functools.partial(two, b=2), array, **options).result() == [2, 3, 4]
    assert mapred.job(two, array).bind(b=2).run(**options).result() == [2, 3, 4]
    assert mapred.run(lambda value: operator.add(value, 1), array, **options).result() == [1, 2, 3]
    swept = mapred.sweep(x=[-1, 2])
    by_name = lambda x: abs(x)  # noqa: E731, PLW0108
    assert mapred.run(by_name, swept, **options).result() == [1, 2]
    add = operator.add
    reduced = mapred.run(
        abs, array, reduce=lambda outputs: functools.reduce(add, outputs), **options
    )
    assert reduced.result() == 3
    with pytest.raises(FunctionError, match="did you mean 'x'"):
        mapred.run(lambda x: x, mapred.sweep(xx=[1]), **options)


def test_a_function_that_a_run_goes_on_with_is_checked(tmp_path: Path) -> None:
    options: dict[str, Any] = {"backend": "inline", "progress": "none", "root": tmp_path}
    with pytest.raises(mapred.RunError) as failed:
        mapred.run(lambda x: x / 0, mapred.sweep(x=[1]), attempts=1, **options)
    run = failed.value.run
    with pytest.raises(FunctionError, match="has no parameter 'x'"):
        run.resume(fn=lambda y: y)


def test_lines_say_that_they_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    for as_ in ("lines", "byte_lines"):
        text = mapred.read_text(tmp_path / "a.txt", as_=as_)
        with pytest.raises(mapred.RunError, match="object of type 'LineIterator' has no len"):
            mapred.run(len, text, backend="inline", progress="none", root=tmp_path, attempts=1)
        run = mapred.run(
            lambda lines: [next(lines), *lines],
            text,
            backend="inline",
            progress="none",
            root=tmp_path,
        )
        assert len(run.result()[0]) == 2
