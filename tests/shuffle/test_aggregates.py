"""Aggregates by key against plain Python: exact or refused, whatever the cut."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shuffle.both_sides import shuffled
from shuffle.columns import KINDS, column, plain, raw

import mapred
from mapred.model.shuffle import Shuffle
from mapred.shuffle.aggregations import as_aggregates

NUMBERS = ("int8", "int64", "uint64", "price", "decimal128", "float64", "float32")
INSTANTS = ("date", "seconds", "micros", "nanos", "duration")
FINER = {"date": 86_400_000_000, "seconds": 1000, "micros": 1000, "nanos": 1, "duration": 1000}


class Refused(Exception):
    """What must be refused."""


def total(values: list[Any], kind: str) -> Any:
    type_ = KINDS[kind][0]
    if not values:
        return None
    if pa.types.is_floating(type_):
        return sum(values)
    number = sum(values)
    ends = {"uint64": (0, 2**64), "bool": (0, 2**64)}.get(kind, (-(2**63), 2**63))
    if pa.types.is_decimal(type_):
        digits = 10 ** (38 if type_.bit_width == 128 else 76)
        ends = (1 - digits, digits)
    if not ends[0] <= number < ends[1]:
        raise Refused
    return as_number(number, kind)


def as_number(value: Any, kind: str) -> Any:
    type_ = KINDS[kind][0]
    return Fraction(value, 10**type_.scale) if pa.types.is_decimal(type_) else value


def mean(values: list[Any], kind: str) -> Any:
    if not values:
        return None
    if kind == "price" or "decimal" in kind:
        exact = Fraction(sum(values), len(values))
        rounded = math.floor(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)
        return as_number(rounded, kind)
    return sum(values) / len(values)


def quantile(values: list[Any], kind: str, q: str, how: str = "linear") -> Any:
    if any(value != value for value in values):
        return math.nan
    if not values:
        return None
    values = sorted(values)
    place = Fraction(q) * (len(values) - 1)
    low, high = values[math.floor(place)], values[math.ceil(place)]
    if how != "linear":
        return as_number(low if how == "lower" else high, kind)
    if low in (math.inf, -math.inf) or high == math.inf:
        return low if place == math.floor(place) else high
    exact = Fraction(low) + (Fraction(high) - Fraction(low)) * (place - math.floor(place))
    if kind in INSTANTS:
        exact *= FINER[kind]
        if exact.denominator > 1 or not -(2**63) <= exact < 2**63:
            raise Refused
        return int(exact)
    if kind == "price" or "decimal" in kind:
        return exact / 10 ** KINDS[kind][0].scale
    if "int" in kind and abs(exact) > 2**53 and Fraction(float(exact)) != exact:
        raise Refused
    return float(exact)


def variance(values: list[Any], ddof: int) -> Any:
    if any(abs(value) > 2**53 for value in values if value == value and abs(value) < math.inf):
        raise Refused
    if len(values) <= ddof:
        return None
    if not all(map(math.isfinite, values)):
        return math.nan
    middle = Fraction(sum(map(Fraction, values)), len(values))
    return float(sum((Fraction(v) - middle) ** 2 for v in values) / (len(values) - ddof))


def distinct(values: list[Any]) -> int:
    return len({"nan" if value != value else value for value in values})


# Every aggregate of a list of values with nulls, by plain Python, and of which kinds there is one.
Answers = dict[str, tuple[Any, tuple[str, ...], Callable[[list[Any], str], Any]]]
ALL = tuple(KINDS)
ORDERED = tuple(kind for kind in KINDS if kind != "duration")


def valid(function: Callable[[list[Any], str], Any]) -> Callable[[list[Any], str], Any]:
    return lambda values, kind: function([v for v in values if v is not None], kind)


def bounds(pick: Callable[[list[Any]], Any]) -> Callable[[list[Any], str], Any]:
    def bound(values: list[Any], kind: str) -> Any:
        some = [v for v in values if v == v] or values
        return as_number(pick(some), kind) if some else None

    return valid(bound)


def end(place: int) -> Callable[[list[Any], str], Any]:
    return valid(lambda values, kind: as_number(values[place], kind) if values else None)


ANSWERS: Answers = {
    "count": ("count", ALL, valid(lambda values, _: len(values))),
    "sum": ("sum", (*NUMBERS, "decimal256", "bool"), valid(total)),
    "mean": ("mean", (*NUMBERS, "decimal256", "bool"), valid(mean)),
    "min": ("min", ORDERED, bounds(min)),
    "max": ("max", ORDERED, bounds(max)),
    "any": ("any", ("bool",), valid(lambda values, _: any(values) if values else None)),
    "all": ("all", ("bool",), valid(lambda values, _: all(values) if values else None)),
    "first": ("first", ALL, end(0)),
    "last": ("last", ALL, end(-1)),
    "nunique": ("nunique", ALL, valid(lambda values, _: distinct(values))),
    "list": (
        "list",
        ALL,
        lambda values, kind: [None if v is None else as_number(v, kind) for v in values],
    ),
    "median": ("median", (*NUMBERS, *INSTANTS), valid(lambda v, kind: quantile(v, kind, "0.5"))),
    "p30": (
        ("quantile", {"q": 0.3}),
        (*NUMBERS, *INSTANTS),
        valid(lambda values, kind: quantile(values, kind, "0.3")),
    ),
    "p95": (
        ("quantile", {"q": 0.95, "interpolation": "lower"}),
        ALL,
        valid(lambda values, kind: quantile(values, kind, "0.95", "lower")),
    ),
    "p05": (
        ("quantile", {"q": 0.05, "interpolation": "higher"}),
        ALL,
        valid(lambda values, kind: quantile(values, kind, "0.05", "higher")),
    ),
    "variance": (
        "variance",
        ("int8", "int64", "uint64", "float64", "float32"),
        valid(lambda values, _: variance(values, 1)),
    ),
    "population": (
        ("variance", {"ddof": 0}),
        ("int8", "int64", "uint64", "float64", "float32"),
        valid(lambda values, _: variance(values, 0)),
    ),
}
KEYS: dict[str, tuple[pa.DataType, Any]] = {
    "int": (pa.int64(), st.none() | st.integers(-2, 2)),
    "float": (pa.float64(), st.none() | st.sampled_from([0.0, -0.0, 1.5, math.nan])),
    "text": (pa.string(), st.none() | st.sampled_from(["", "a", "b"])),
    "decimal": (pa.decimal128(5, 2), st.none() | st.integers(-2, 2)),
}


@st.composite
def cases(draw: Any, rows: int) -> tuple[str, list[str], pa.Table]:
    """A kind of values, names of aggregates that it has, and a table of a key and such values."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    names = [name for name, (_, kinds, _) in ANSWERS.items() if kind in kinds]
    wanted = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    type_, key = KEYS[draw(st.sampled_from(sorted(KEYS)))]
    count = draw(st.integers(0, rows))
    keys = draw(st.lists(key, min_size=count, max_size=count))
    values = draw(st.lists(st.none() | KINDS[kind][1], min_size=count, max_size=count))
    table = pa.table({"k": column(keys, type_), "v": column(values, KINDS[kind][0])})
    return kind, wanted, table


def one_key(key: Any) -> str:
    """Equal for equal keys: -0.0 and 0.0, one NaN."""
    return repr(key + 0.0) if isinstance(key, float) else repr(key)


def expected(kind: str, wanted: list[str], table: pa.Table) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for key, value in zip(table["k"].to_pylist(), raw(table["v"]), strict=True):
        groups.setdefault(one_key(key), []).append(value)
    return {key: [ANSWERS[name][2](each, kind) for name in wanted] for key, each in groups.items()}


def found(
    wanted: list[str], table: pa.Table, cuts: list[int], partitions: int, limit: int
) -> dict[str, list[Any]]:
    asked = {}
    for name in wanted:
        function, options = (
            (ANSWERS[name][0], {}) if isinstance(ANSWERS[name][0], str) else ANSWERS[name][0]
        )
        asked[f"answer_{name}"] = ("v", function, options)
    ends = [0, *sorted(cut % (table.num_rows + 1) for cut in cuts), table.num_rows]
    parts = [table.slice(a, b - a) for a, b in itertools.pairwise(ends)]
    shuffle = Shuffle(("k",), partitions, as_aggregates(asked, ["k"]))
    answers = pa.concat_tables(shuffled(parts, shuffle, None, limit))
    columns = [plain(answers[f"answer_{name}"]) for name in wanted]
    rows = zip(answers["k"].to_pylist(), *columns, strict=True)
    by_key = {one_key(key): list(row) for key, *row in rows}
    assert len(by_key) == answers.num_rows
    return by_key


def assert_same(left: dict[str, list[Any]], right: dict[str, list[Any]], exact: bool) -> None:
    assert left.keys() == right.keys()
    for key, values in right.items():
        for mine, other in zip(left[key], values, strict=True):
            if isinstance(other, float) and isinstance(mine, float):
                near = {"rel_tol": 0 if exact else 1e-9, "abs_tol": 0 if exact else 1e-6}
                assert (
                    mine == other
                    or math.isclose(mine, other, **near)
                    or (mine != mine and other != other)
                ), (mine, other)
            else:
                assert repr(mine) == repr(other), (key, mine, other)


def check(case: Any, data: Any) -> None:
    kind, wanted, table = case
    ways = [
        (
            data.draw(st.lists(st.integers(0, 1000), max_size=4)),
            data.draw(st.integers(1, 4)),
            data.draw(st.sampled_from([200, 2000, 1 << 30])),
        )
        for _ in range(2)
    ]
    try:
        answers = expected(kind, wanted, table)
    except Refused:
        for way in ways:
            with pytest.raises(mapred.DatasetError, match=r"column 'v'"):
                found(wanted, table, *way)
        return
    one, other = (found(wanted, table, *way) for way in ways)
    assert_same(one, answers, exact=False)
    sums = {"sum", "mean", "variance", "population"}
    assert_same(one, other, exact=not sums.intersection(wanted))


@settings(max_examples=15, deadline=None)
@given(cases(25), st.data())
def test_answers_are_those_of_plain_python(case: Any, data: Any) -> None:
    check(case, data)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(cases(120), st.data())
def test_many_answers_are_those_of_plain_python(case: Any, data: Any) -> None:
    check(case, data)


def test_halves_of_long_decimals_are_rounded_away_from_zero() -> None:
    texts = pa.array(["-9999999999999999999999999999999999.9999", "461168601842738.7904"])
    table = pa.table({"k": [1, 1], "v": texts.cast(pa.decimal128(38, 4))})
    (mean,) = found(["mean"], table, [], 1, 1 << 30)["1"]
    assert mean == Fraction(-49999999999999999997694156990786306048, 10000)
