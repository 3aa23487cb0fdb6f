"""Aggregates by key against plain Python: exact or refused, whatever the cut."""

from __future__ import annotations

import decimal
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_keyed import shuffled

import mapred
from mapred.backends.inline import Inline
from mapred.model import Job, Shuffle
from mapred.shuffle.aggregations import as_aggregates

DECIMALS = decimal.Context(prec=200)


def whole(low: int, high: int) -> Any:
    near = st.sampled_from([v for v in (low, high, 0, 1, 2**53 + 1, 2**62) if low <= v <= high])
    return near | st.integers(max(low, -9), min(high, 9)) | st.integers(low, high)


FLOATS = st.sampled_from([0.0, -0.0, 1.5, 2.25, -3.0, math.nan, math.inf, 0.1]) | st.floats(
    -1e6, 1e6
)
# Types and their values as plain numbers: decimals without their point, instants in their unit.
KINDS: dict[str, tuple[pa.DataType, Any]] = {
    "int8": (pa.int8(), whole(-128, 127)),
    "int64": (pa.int64(), whole(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), whole(0, 2**64 - 1)),
    "price": (pa.decimal128(9, 2), whole(-(10**9) + 1, 10**9 - 1)),
    "decimal128": (pa.decimal128(38, 4), whole(-(10**38) + 1, 10**38 - 1)),
    "decimal256": (pa.decimal256(76, 3), whole(-(10**76) + 1, 10**76 - 1)),
    "float64": (pa.float64(), FLOATS),
    "float32": (pa.float32(), st.floats(width=32, min_value=-1000, max_value=1000)),
    "text": (pa.string(), st.text(max_size=3)),
    "bool": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.integers(-(10**6), 10**6)),
    "seconds": (pa.timestamp("s"), whole(-(2**44), 2**44)),
    "micros": (pa.timestamp("us", "Asia/Tokyo"), st.integers(-(10**6), 10**6)),
    "nanos": (pa.timestamp("ns"), whole(-(2**62), 2**62)),
    "duration": (pa.duration("ms"), st.integers(-(10**6), 10**6)),
}
NUMBERS = ("int8", "int64", "uint64", "price", "decimal128", "float64", "float32")
INSTANTS = ("date", "seconds", "micros", "nanos", "duration")
FINER = {"date": 86_400_000_000, "seconds": 1000, "micros": 1000, "nanos": 1, "duration": 1000}


def column(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(type_):
        scaled = [v if v is None else DECIMALS.scaleb(v, -type_.scale) for v in values]
        return pa.array(scaled, type_)
    if pa.types.is_temporal(type_):
        return pa.array(values, f"int{type_.bit_width}").cast(type_)
    return pa.array(values, type_)


def plain(answers: pa.ChunkedArray) -> list[Any]:
    """Answers as `KINDS` has values, decimals as fractions."""
    type_ = answers.type
    if pa.types.is_temporal(type_):
        return answers.cast(f"int{type_.bit_width}").to_pylist()
    if pa.types.is_large_list(type_):
        lists = (pa.chunked_array([each.values]) for each in answers)
        return [plain(each) for each in lists]
    if pa.types.is_decimal(type_):
        return [None if value is None else Fraction(value) for value in answers.to_pylist()]
    return answers.to_pylist()


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


def raw(values: pa.ChunkedArray) -> list[Any]:
    """Values as `KINDS` has them."""
    if pa.types.is_decimal(values.type):
        texts = (
            v if v is None else DECIMALS.scaleb(v, values.type.scale) for v in values.to_pylist()
        )
        return [None if each is None else int(each) for each in texts]
    return plain(values)


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


@settings(max_examples=120, deadline=None)
@given(cases(25), st.data())
def test_answers_are_those_of_plain_python(case: Any, data: Any) -> None:
    check(case, data)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(cases(300), st.data())
def test_many_answers_are_those_of_plain_python(case: Any, data: Any) -> None:
    check(case, data)


def run(tables: list[Any], tmp_path: Path, **options: Any) -> Any:
    given_ = {"backend": Inline(), "root": tmp_path / "runs", "progress": "none", "attempts": 1}
    return mapred.run(tables.__getitem__, mapred.array(len(tables)), **{**given_, **options})


def one_column(*values: Any, type_: Any = None) -> list[pa.Table]:
    return [pa.table({"k": ["a"] * len(each), "v": pa.array(each, type_)}) for each in values]


NINES = decimal.Decimal("9" * 38)
MANY = decimal.Decimal("9" * 76)
BEYOND = {
    "int64": (pa.int64(), [2**62, 2**62], pa.decimal128(38, 0)),
    "negative": (pa.int64(), [-(2**63), -1], pa.decimal128(38, 0)),
    "uint64": (pa.uint64(), [2**64 - 1, 1], pa.decimal128(38, 0)),
    "decimal128": (pa.decimal128(38, 2), [DECIMALS.scaleb(NINES, -2)] * 2, pa.decimal256(76, 2)),
    "decimal256": (pa.decimal256(76, 0), [MANY] * 9, pa.float64()),
}


@pytest.mark.parametrize("kind", BEYOND)
@pytest.mark.parametrize("apart", [False, True])
def test_a_sum_that_does_not_fit_names_column_key_and_remedy(
    kind: str, apart: bool, tmp_path: Path
) -> None:
    type_, values, remedy = BEYOND[kind]
    tables = one_column(*([each] for each in values) if apart else [values], type_=type_)
    options = {"by": "k", "aggregate": {"v": "sum"}}
    exact = sum(map(Fraction, values))
    with pytest.raises(mapred.RunError) as caught:
        run(tables, tmp_path, **options)
    number = f"{decimal.Context(prec=90).divide(*map(decimal.Decimal, exact.as_integer_ratio())):f}"
    text = f"the sum of column 'v' for key k='a' is {number}, beyond what {type_} holds: cast the "
    assert f"{text}column to {str(remedy).replace('double', 'float64')}" in str(caught.value)
    cast = [each.set_column(1, "v", each["v"].cast(remedy)) for each in tables]
    (answer,) = run(cast, tmp_path, **options).to_arrow()["v_sum"].to_pylist()
    assert Fraction(answer) == exact or math.isclose(answer, exact, rel_tol=1e-15)


def test_partial_sums_may_leave_the_range(tmp_path: Path) -> None:
    tables = one_column([2**62, 2**62], [2**62], [-(2**62)], [-(2**62)] * 2, type_=pa.int64())
    found = run(tables, tmp_path, by="k", aggregate={"v": ["sum", "mean", "count"]}).to_arrow()
    assert found.to_pylist() == [{"k": "a", "v_sum": 0, "v_mean": 0.0, "v_count": 6}]


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("int64", -(2**60), 2**60), ("uint64", 0, 2**61), ("decimal128", -(10**37), 10**37)],
)
def test_sums_by_close_keys_are_exact(kind: str, low: int, high: int) -> None:
    numbers = [(low, high, row, low + row)[row % 4] for row in range(3000)]
    keys = [row * row % 701 for row in range(3000)]
    totals: dict[int, int] = {}
    for key, number in zip(keys, numbers, strict=True):
        totals[key] = totals.get(key, 0) + number
    table = pa.table({"k": keys, "v": column(numbers, KINDS[kind][0])})
    shuffle = Shuffle(("k",), 1, as_aggregates({"v": "sum"}, ["k"]))
    (answer,) = shuffled([table.slice(0, 1500), table.slice(1500)], shuffle)
    assert answer["k"].to_pylist() == sorted(totals)
    assert raw(answer["v_sum"]) == [totals[key] for key in sorted(totals)]


@pytest.mark.parametrize(
    ("type_", "total_type"),
    [
        (pa.int8(), pa.int64()),
        (pa.uint8(), pa.uint64()),
        (pa.bool_(), pa.uint64()),
        (pa.float32(), pa.float64()),
        (pa.decimal128(5, 2), pa.decimal128(38, 2)),
        (pa.decimal256(40, 2), pa.decimal256(76, 2)),
    ],
    ids=str,
)
def test_the_type_of_a_sum_does_not_depend_on_its_values(type_: Any, total_type: Any) -> None:
    shuffle = Shuffle(("k",), 1, as_aggregates({"v": "sum"}, ["k"]))
    some: list[Any] = [True, False] if pa.types.is_boolean(type_) else [1, 0]
    for values in ([], [None], some):
        numbers = column(values, type_)
        table = pa.table({"k": pa.array([1] * len(values), pa.int8()), "v": numbers})
        (answer,) = shuffled([table], shuffle)
        assert answer.schema.field("v_sum").type == total_type


def test_answers_are_those_of_pandas_and_duckdb(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = 5000
    table = pa.table(
        {
            "k": pa.array(rng.integers(0, 40, rows)),
            "ms": pa.array(rng.integers(0, 10**6, rows), mask=rng.random(rows) < 0.1),
            "x": pa.array(rng.normal(size=rows)),
            "at": pa.array(rng.integers(0, 2**40, rows)).cast(pa.timestamp("us")),
        }
    )
    parts = [table.slice(start, 700) for start in range(0, rows, 700)]
    wanted = {
        "ms": ["median", "nunique", "stddev", "first", "last", "mean", "sum"],
        "x": [("variance", {"ddof": 0}), "median"],
        "p95": ("ms", "quantile", {"q": 0.95}),
        "latest": ("at", "max"),
    }
    found_ = run(parts, tmp_path, by="k", aggregate=wanted, partitions=3).to_arrow().sort_by("k")
    frame = table.to_pandas().groupby("k")
    theirs = {
        **{
            f"ms_{name}": frame["ms"].agg("std" if name == "stddev" else name)
            for name in wanted["ms"]
        },
        "x_variance": frame["x"].var(ddof=0),
        "x_median": frame["x"].median(),
        "p95": frame["ms"].quantile(0.95),
    }
    for name, values in theirs.items():
        assert np.allclose(found_[name].to_pylist(), values, rtol=1e-12), name
    query = """select k, median(ms) m, quantile_cont(ms, 0.95) p, count(distinct ms) n,
        stddev_samp(ms) s, var_pop(x) v, sum(ms) t from tables group by k order by k"""
    duck = duckdb.sql(
        query.replace("tables", "table_"), connection=_connected(table)
    ).to_arrow_table()
    names = {"m": "ms_median", "p": "p95", "n": "ms_nunique", "s": "ms_stddev", "v": "x_variance"}
    for theirs_, ours in (names | {"t": "ms_sum"}).items():
        left, right = (np.array(t.to_pylist(), float) for t in (found_[ours], duck[theirs_]))
        assert np.allclose(left, right, rtol=1e-12), ours


def _connected(table: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register("table_", table)
    return connection


EVERYTHING = {
    "n": ["sum", "mean", "median", "nunique", "list", "first", "last", "min", "max", "count"],
    "p95": ("d", "quantile", {"q": 0.95}),
    "days": ("day", "list"),
    "names": ("name", "nunique"),
    "some": ("n", "stddev", {"ddof": 0}),
}


def logged(item: int) -> pa.Table:
    rng = np.random.default_rng(item)
    numbers = rng.integers(-9, 10**9, 50)
    return pa.table(
        {
            "k": rng.choice(["a", "b", None], 50).tolist(),
            "n": pa.array(numbers, mask=rng.random(50) < 0.2),
            "d": pa.array(numbers).cast(pa.decimal128(21, 0)).cast(pa.decimal128(30, 2)),
            "day": pa.array(numbers % 5000).cast(pa.int32()).cast(pa.date32()),
            "name": [f"name {number % 9}" for number in numbers.tolist()],
        }
    )


@pytest.mark.parametrize("backend", ["local", "dask"])
def test_every_backend_and_packing_gives_the_same(backend: str, tmp_path: Path) -> None:
    options = {"by": "k", "aggregate": EVERYTHING, "root": tmp_path, "progress": "none"}
    items = mapred.array(8)
    runs = [
        mapred.run(logged, items, backend=name, per_task=per_task, partitions=parts, **options)
        for name, per_task, parts in (("inline", 1, 1), ("inline", 8, 3), (backend, 3, 2))
    ]
    one, *others = (sorted(each.to_arrow().to_pylist(), key=repr) for each in runs)
    for rows in (one, *others):
        for row in rows:
            row["some"] = pytest.approx(row["some"], rel=1e-12)
    whole_ = pa.concat_tables(map(logged, range(8)))
    rows = [row for row in whole_.to_pylist() if row["k"] == "a"]
    assert one[0]["days"] == [row["day"] for row in rows]
    assert one[0]["n_list"] == [row["n"] for row in rows]
    assert all(other == one for other in others)
    assert runs[-1].audit().ok


def test_ddof_is_one_unless_given(tmp_path: Path) -> None:
    tables = [pa.table({"k": ["a", "a", "b"], "v": [1, 4, 7]})]
    wanted = {"v": ["variance", "stddev"], "all": ("v", "stddev", {"ddof": np.int64(0)})}
    done = run(tables, tmp_path, by="k", aggregate=wanted, partitions=1)
    assert done.to_arrow().to_pylist() == [
        {"k": "a", "v_variance": 4.5, "v_stddev": math.sqrt(4.5), "all": 1.5},
        {"k": "b", "v_variance": None, "v_stddev": None, "all": 0.0},
    ]
    options = [each.options for each in done.job.shuffle.aggregates]
    assert options == [{"ddof": 1}, {"ddof": 1}, {"ddof": 0}]
    assert Job.from_bytes(done.job.to_bytes()) == done.job
    alone = {"v": ("stddev", {"ddof": 0})}
    assert run(tables, tmp_path, by="k", aggregate=alone).to_arrow().column_names == [
        "k",
        "v_stddev",
    ]


def test_large_whole_numbers_are_not_rounded_by_medians_nor_variances(tmp_path: Path) -> None:
    tables = one_column([2**60 + 1, 2**60 + 3, 5], type_=pa.int64())
    with pytest.raises(mapred.RunError, match=r"is 1152921504606846977, which double cannot hold"):
        run(tables, tmp_path, by="k", aggregate={"v": "median"})
    lower = {"v": ("median", {"interpolation": "lower"})}
    assert (
        run(tables, tmp_path, by="k", aggregate=lower).to_arrow()["v_median"][0].as_py()
        == 2**60 + 1
    )
    exact = [each.set_column(1, "v", each["v"].cast(pa.decimal128(38, 0))) for each in tables]
    answers = run(exact, tmp_path, by="k", aggregate={"v": "median"}).to_arrow()
    assert answers["v_median"].to_pylist() == [decimal.Decimal(2**60 + 1)]
    with pytest.raises(mapred.RunError, match=r"'v': Integer value 1152921504606846977 is beyond"):
        run(tables, tmp_path, by="k", aggregate={"v": "variance"})


def test_instants_between_two_units_are_refused(tmp_path: Path) -> None:
    tables = one_column([1, 2], type_=pa.timestamp("ns"))
    with pytest.raises(
        mapred.RunError, match=r"lies between 1970-.*000000001 and .*000000002, which"
    ):
        run(tables, tmp_path, by="k", aggregate={"v": "median"})
    for how, at in (("lower", 1), ("higher", 2)):
        wanted = {"v": ("median", {"interpolation": how})}
        (answer,) = run(tables, tmp_path, by="k", aggregate=wanted).to_arrow()["v_median"]
        assert answer.value == at
    days = run(one_column([0, 1], type_=pa.date32()), tmp_path, by="k", aggregate={"v": "median"})
    assert days.to_arrow()["v_median"].cast(pa.string()).to_pylist() == [
        "1970-01-01 12:00:00.000000"
    ]


@pytest.mark.parametrize(
    ("aggregate", "text"),
    [
        ({"v": "std"}, "there is no 'std'; did you mean 'stddev'?; there are sum, count"),
        ({"v": "Median"}, "did you mean 'median'?"),
        ({"v": len}, "must give a column a function"),
        ({"v": ()}, "must give a column a function"),
        ({"v": []}, "must give a column a function"),
        ({"v": ("a", "sum", 3)}, "must give a column a function"),
        ({"v": ("sum", "max", "min")}, "or a list of them"),
        ({3: "sum"}, "must give a column a function"),
        (
            {"v": ("stddev", {"dof": 0})},
            "stddev has no option 'dof'; did you mean 'ddof'?; it takes",
        ),
        ({"v": ("sum", {"ddof": 0})}, "sum has no option 'ddof'; it takes none"),
        ({"v": ("stddev", {"ddof": -1})}, "ddof=-1 must be a whole number"),
        ({"v": ("stddev", {"ddof": True})}, "ddof=True must be a whole number"),
        ({"v": "quantile"}, "q=None must be a number from 0 to 1"),
        ({"v": ("quantile", {"q": 95})}, "q=95 must be a number from 0 to 1"),
        ({"v": ("median", {"interpolation": "nearest"})}, "must be 'linear', 'lower' or 'higher'"),
        ({"k": ("v", "sum")}, "two columns of the answer 'k': sum of 'v' and a key of by="),
        (
            {"v": "sum", "v_sum": ("v", "max")},
            "'v_sum': max of 'v' and sum of 'v'; give one another",
        ),
        (
            {"v": [("quantile", {"q": 0.1}), ("quantile", {"q": 0.9})]},
            "'another_name': .* {'q': 0.9",
        ),
    ],
)
def test_what_is_asked_for_is_checked_at_once(aggregate: Any, text: str) -> None:
    with pytest.raises(mapred.ReduceError) as caught:
        mapred.job(logged, mapred.array(2), by="k", aggregate=aggregate)
    assert all(part in str(caught.value) for part in text.split(" .* "))


def test_a_name_of_the_key_is_taken() -> None:
    with pytest.raises(
        mapred.ReduceError, match=r"two columns of the answer 'v_sum'.* a key of by="
    ):
        mapred.job(logged, mapred.array(2), by="v_sum", aggregate={"v": "sum"})
