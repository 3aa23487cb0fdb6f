"""The sum of l_quantity by l_partkey: a group for every few rows, two million at scale factor 10."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.peers import engines, tpch

TITLE = "TPC-H: sum of l_quantity by l_partkey"
COLUMNS = ["l_partkey", "l_quantity"]
SQL = "SELECT l_partkey, sum(l_quantity) AS qty FROM {source} GROUP BY l_partkey"


def make(folder: Path, size: str) -> tuple[str, str]:
    return tpch.lineitem(folder, size)


def same(items: pa.Table) -> pa.Table:
    return items


def with_mapred(folder: str) -> Any:
    import mapred

    items = mapred.read_parquet(f"{folder}/*.parquet", columns=COLUMNS)
    run = mapred.run(same, items, by="l_partkey", aggregate={"l_quantity": "sum"})
    return run.to_arrow()


def with_duckdb(folder: str) -> Any:
    source = f"read_parquet('{folder}/*.parquet')"
    return engines.duckdb().sql(SQL.format(source=source)).to_arrow_table()


def with_polars(folder: str) -> Any:
    import polars as pl

    grouped = pl.scan_parquet(f"{folder}/*.parquet").group_by("l_partkey")
    return grouped.agg(pl.sum("l_quantity")).collect(engine="streaming").to_arrow()


def with_dask(folder: str) -> Any:
    import dask.dataframe as dd

    with engines.dask():
        items = dd.read_parquet(f"{folder}/*.parquet", columns=COLUMNS)
        items = items.astype({"l_quantity": "float64"})
        sums = items.groupby("l_partkey").l_quantity.sum(split_out=4).compute()
    return sums.items()


def with_spark_sql(folder: str) -> Any:
    with engines.spark() as spark:
        spark.read.parquet(folder).createOrReplaceTempView("lineitem")
        return spark.sql(SQL.format(source="lineitem")).toPandas().itertuples(index=False)


def with_daft(folder: str) -> Any:
    import daft

    items = daft.read_parquet(f"{folder}/*.parquet")
    sums = items.groupby("l_partkey").agg(daft.col("l_quantity").sum())
    return sums.to_arrow()


ENGINES: dict[str, Callable[[str], Any]] = {
    "mapred": with_mapred,
    "duckdb": with_duckdb,
    "polars": with_polars,
    "dask": with_dask,
    "spark sql": with_spark_sql,
    "daft": with_daft,
}
rows = tpch.as_rows
