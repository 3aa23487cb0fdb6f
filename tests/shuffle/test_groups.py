"""Rows by group: the same groups as Arrow's, combined at once or in steps."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mapred.shuffle import aggregates
from mapred.shuffle.aggregations import as_aggregates
from mapred.shuffle.groups import grouped_by


def test_rows_combined_at_once_are_the_lifted_ones_merged() -> None:
    rng = np.random.default_rng(5)
    numbers = pa.array(rng.integers(-9, 9, 500), mask=rng.random(500) < 0.2)
    table = pa.table(
        {
            "a": pa.array(rng.choice(["x", "y", None], 500)),
            "b": pa.array(rng.integers(0, 3, 500)),
            "n": numbers,
            "f": numbers.cast(pa.float64()),
            "d": numbers.cast(pa.decimal128(21, 2)),
            "t": pa.array(rng.random(500) < 0.5),
        }
    )
    wanted = {
        "n": ["sum", "mean", "count", "min", "max", "first", "last"],
        "f": ["sum", "mean", "count", "variance"],
        "d": ["sum", "mean"],
        "t": ["any", "all"],
    }
    for some in (wanted, wanted | {"f": ["sum", "mean", "count"]}):
        for by in (["a"], ["a", "b"]):
            pairs = as_aggregates(some, by)
            merged = aggregates.merge(aggregates.lift(table, by, pairs), pairs)
            assert aggregates.lift_and_merge(table, by, pairs).equals(merged)


def test_keys_of_short_strings_are_grouped_as_arrow_does() -> None:
    rng = np.random.default_rng(6)
    table = pa.table(
        {
            "k0": pa.array(rng.choice(["N", "R", "A"], 400)),
            "k1": pa.array(rng.choice(["ab", "cd"], 400), pa.large_string()),
            "k2": pa.array(rng.choice(["x", "longer"], 400)),
            "n": pa.array(rng.integers(0, 9, 400)),
        }
    )
    table = pa.concat_tables([table.slice(start, 150) for start in range(0, 400, 150)])
    keys = ["k0", "k1", "k2"]
    expected = table.group_by(keys, use_threads=False).aggregate([("n", "sum")])
    assert grouped_by(table, keys, [("n", "sum")]).equals(expected)
