"""What `aggregate=` takes and gives: names, options, types, errors; the same everywhere."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from shuffle.both_sides import shuffled
from shuffle.columns import DECIMALS, KINDS, column, raw

import mapred
from mapred.backends.inline import Inline
from mapred.model.shuffle import Shuffle
from mapred.model.spec import Job
from mapred.shuffle.aggregations import as_aggregates


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


def test_different_values_are_counted_over_many_merges() -> None:
    rng = np.random.default_rng(8)
    keys, values = rng.integers(0, 9, 30_000) * 1000, rng.integers(0, 2000, 30_000)
    table = pa.table({"k": keys, "v": values})
    shuffle = Shuffle(("k",), 2, as_aggregates({"v": "nunique"}, ["k"]))
    parts = [table.slice(start, 1000) for start in range(0, 30_000, 1000)]
    answers = pa.concat_tables(shuffled(parts, shuffle, None, 20_000)).to_pylist()
    expected = {key: len(np.unique(values[keys == key])) for key in np.unique(keys).tolist()}
    assert {row["k"]: row["v_nunique"] for row in answers} == expected


def _connected(table: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register("table_", table)
    return connection


EVERYTHING = {
    "n": ["sum", "mean", "median", "nunique", "list", "first", "last", "min", "max", "count"],
    "p95": ("d", "quantile", {"q": 0.95}),
    "days": ("day", "list"),
    "names": ("name", "nunique"),
    "nothing": ("null", "list"),
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
            "null": pa.nulls(50),
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
