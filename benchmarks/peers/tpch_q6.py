"""TPC-H Q6, the forecast of revenue: one sum over the few rows that pass three filters."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.peers import engines, tpch

TITLE = "TPC-H Q6"
FIRST, LAST = datetime.date(1994, 1, 1), datetime.date(1995, 1, 1)
COLUMNS = ["l_shipdate", "l_discount", "l_quantity", "l_extendedprice"]
SQL = """
    SELECT sum(l_extendedprice * l_discount) AS revenue FROM {source}
    WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
      AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24
"""


def make(folder: Path, size: str) -> tuple[str, str]:
    return tpch.lineitem(folder, size)


def revenue(items: pa.Table) -> float:
    shipped, price = items["l_shipdate"], items["l_extendedprice"].cast(pa.float64())
    discount = items["l_discount"].cast(pa.float64())
    chosen = pc.and_(pc.greater_equal(shipped, FIRST), pc.less(shipped, LAST))
    chosen = pc.and_(chosen, pc.greater(discount, 0.049))
    chosen = pc.and_(chosen, pc.less(discount, 0.071))
    chosen = pc.and_(chosen, pc.less(items["l_quantity"].cast(pa.float64()), 24.0))
    return pc.sum(pc.multiply(price, discount).filter(chosen)).as_py() or 0.0


def with_mapred(folder: str) -> Any:
    import mapred

    items = mapred.read_parquet(f"{folder}/*.parquet", columns=COLUMNS)
    return [[mapred.run(revenue, items, reduce=sum).result()]]


def with_duckdb(folder: str) -> Any:
    source = f"read_parquet('{folder}/*.parquet')"
    return engines.duckdb().sql(SQL.format(source=source)).fetchall()


def with_polars(folder: str) -> Any:
    import polars as pl

    discount = pl.col("l_discount").cast(pl.Float64)
    return (
        pl.scan_parquet(f"{folder}/*.parquet")
        .filter(
            pl.col("l_shipdate").is_between(FIRST, LAST, closed="left"),
            discount.is_between(0.049, 0.071),
            pl.col("l_quantity").cast(pl.Float64) < 24,
        )
        .select((pl.col("l_extendedprice").cast(pl.Float64) * discount).sum())
        .collect(engine="streaming")
        .rows()
    )


def with_dask(folder: str) -> Any:
    import dask.dataframe as dd

    with engines.dask():
        items = dd.read_parquet(f"{folder}/*.parquet", columns=COLUMNS)
        items = items[(items.l_shipdate >= FIRST) & (items.l_shipdate < LAST)]
        items = items.astype(dict.fromkeys(COLUMNS[1:], "float64"))
        items = items[items.l_discount.between(0.049, 0.071) & (items.l_quantity < 24)]
        return [[(items.l_extendedprice * items.l_discount).sum().compute()]]


def with_spark_sql(folder: str) -> Any:
    with engines.spark() as spark:
        spark.read.parquet(folder).createOrReplaceTempView("lineitem")
        return spark.sql(SQL.format(source="lineitem")).collect()


ENGINES: dict[str, Callable[[str], Any]] = {
    "mapred": with_mapred,
    "duckdb": with_duckdb,
    "polars": with_polars,
    "dask": with_dask,
    "spark sql": with_spark_sql,
}
rows = tpch.as_rows
