"""Keyed reduces and sorts on a cluster: the very rows that this machine gives, in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from backends.argo.functions import as_it_is, dearest
from backends.argo.remote import QUIET, SMALL, argo
from testbed.cluster.access import Cluster

import mapred
from mapred.storage import open_store

pytestmark = pytest.mark.on_cluster

FILES, ROWS = 3, 4000
SOLD = {"price": ["sum", "mean", "stddev", "max"], "id": ["count", "first"]}


def sample(number: int) -> pa.Table:
    """Sales with nulls and NaN among the keys and the values, and a shop that has most of them."""
    rng = np.random.default_rng(number)
    shop = rng.choice(["alma", "b", "naïve", "東京", ""], ROWS, p=[0.6, 0.1, 0.1, 0.1, 0.1])
    price = rng.gamma(2.0, 8.0, ROWS)
    price[::97] = np.nan
    table = pa.table({
        "id": np.arange(ROWS) + number * ROWS,
        "shop": shop,
        "size": rng.choice([0.5, np.nan, -0.0, 0.0], ROWS),
        "price": pa.array(price),
    })  # fmt: skip
    unknown = pa.array(np.arange(ROWS) % 53 == 0)
    nothing = pa.nulls(ROWS, pa.string())
    return table.set_column(1, "shop", pc.if_else(unknown, nothing, table["shop"]))


@pytest.fixture
def sales(cluster_root: str) -> str:
    store = open_store(cluster_root)
    for number in range(FILES):
        sink = pa.BufferOutputStream()
        pq.write_table(sample(number), sink, row_group_size=1000)
        store.write(f"sales/{number}.parquet", sink.getvalue().to_pybytes())
    return f"{cluster_root}/sales/*.parquet"


CASES: dict[str, dict[str, Any]] = {
    "aggregate": {"by": ["shop", "size"], "aggregate": SOLD, "partitions": 3},
    "reduce": {"by": "shop", "reduce": dearest, "partitions": 3},
    "sort": {"sort_by": [("price", "descending"), "shop"], "partitions": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_the_rows_are_those_of_this_machine(
    case: str, cluster: Cluster, cluster_root: str, sales: str, tmp_path: Path
) -> None:
    def run(**where: Any) -> pa.Table:
        made = mapred.run(
            as_it_is, sales, **CASES[case], target_bytes="32Ki", resources=SMALL, **where, **QUIET
        )
        report = made.audit()
        assert report.ok, report
        assert made.job.shards > 2
        return made.to_arrow()

    here = run(root=tmp_path)
    assert here.num_rows > 15
    for where in ({}, {"backend": argo(cluster, max_pods=2)}):
        found = run(root=f"{cluster_root}/runs", **where)
        assert found.schema == here.schema
        # As text, where NaN is like NaN and each digit of a float counts.
        assert repr(found.to_pylist()) == repr(here.to_pylist())
