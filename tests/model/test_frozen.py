"""Dataclasses with shared methods behave as those of the standard library do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from mapred.model import frozen, shuffle

CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, [3]), {}),
    ((), {"a": 1}),
    ((1,), {"b": 5, "c": [1]}),
    ((1,), {"d": "hidden"}),
    ((), {}),
    ((1, 2, [3], "d", 4), {}),
    ((1,), {"a": 1}),
    ((1,), {"z": 1}),
]


def made_by(dataclass: Callable[..., Callable[[type], type]], **options: Any) -> Any:
    @dataclass(frozen=True, **options)
    class Point:
        """A point."""

        a: int
        b: int = 2
        c: list[int] = field(default_factory=list)
        d: str = field(default="d", repr=False, compare=False)

    return Point


def outcome(kind: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    try:
        return dataclasses.asdict(kind(*args, **keywords))
    except TypeError:
        return TypeError


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("options", [{}, {"kw_only": True}])
def test_calls_give_what_the_standard_library_gives(call: Any, options: dict[str, Any]) -> None:
    ours, theirs = made_by(frozen.dataclass, **options), made_by(dataclasses.dataclass, **options)
    assert outcome(ours, *call) == outcome(theirs, *call)


def test_values_compare_hash_and_show_themselves_alike() -> None:
    ours, theirs = made_by(frozen.dataclass), made_by(dataclasses.dataclass)
    for kind in (ours, theirs):
        value = kind(1, 2, ())
        assert value == kind(1, d="else", c=()) != kind(2, c=())
        assert value != (1, 2, ())
        assert hash(value) == hash(kind(1, d="else", c=()))
        assert kind(1).c is not kind(1).c
    assert repr(ours(1)) == repr(theirs(1))
    assert hash(ours(1, c=())) == hash(theirs(1, c=()))
    assert ours.__match_args__ == theirs.__match_args__
    other = made_by(frozen.dataclass, eq=False, repr=False)
    assert other(1) != other(1)
    assert repr(other(1)).endswith(">")


def test_values_are_frozen() -> None:
    point = made_by(frozen.dataclass)(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="'a'"):
        point.a = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="'a'"):
        del point.a
    assert point.a == 1


def test_values_are_copied_replaced_and_pickled() -> None:
    part = shuffle.Aggregation("s", "b", "sum")
    assert pickle.loads(pickle.dumps(part)) == copy.copy(part) == copy.deepcopy(part) == part
    assert dataclasses.replace(part, column="c") == shuffle.Aggregation("s", "c", "sum")
    with pytest.raises(TypeError, match="nothing"):
        dataclasses.replace(part, nothing=1)


@pytest.mark.parametrize("options", [{}, {"kw_only": True}])
def test_signatures_name_parameters_and_defaults(options: dict[str, Any]) -> None:
    ours, theirs = made_by(frozen.dataclass, **options), made_by(dataclasses.dataclass, **options)
    given = [inspect.signature(kind).parameters.values() for kind in (ours, theirs)]
    shown, expected = ([(p.name, p.kind, p.annotation) for p in each] for each in given)
    assert shown == expected
    assert str(inspect.signature(ours)).startswith("(*, a" if options else "(a: int, b: ")


def test_errors_name_the_class_and_the_argument() -> None:
    with pytest.raises(TypeError, match=r"Aggregation\(\) lacks the argument 'function'"):
        shuffle.Aggregation("s", "b")  # type: ignore[call-arg]
    with pytest.raises(
        TypeError, match=r"Aggregation\(\) got an unexpected keyword argument 'end'"
    ):
        shuffle.Aggregation("s", "b", "sum", end=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="not frozen"):
        frozen.dataclass(frozen=False)


def test_subclasses_have_the_fields_of_both() -> None:
    class Base(made_by(frozen.dataclass)):  # type: ignore[misc]
        """Adds a check."""

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError("a below 0")

    @frozen.dataclass(frozen=True)
    class Longer(Base):
        """Adds a field."""

        e: int = 5

    assert Longer(1).e == 5
    assert Longer(1, e=6) != Longer(1)
    with pytest.raises(ValueError, match="below"):
        Longer(-1)
