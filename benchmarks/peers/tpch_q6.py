"""TPC-H Q6, the forecast of revenue: one sum over the few rows that pass three filters."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.peers import engines, tpch

if TYPE_CHECKING:
    import pandas as pd

TITLE = "TPC-H Q6"
FIRST, LAST = datetime.date(1994, 1, 1), datetime.date(1995, 1, 1)
COLUMNS = ["l_shipdate", "l_discount", "l_quantity", "l_extendedprice"]
SQL = """
    SELECT sum(l_extendedprice * l_discount) AS revenue FROM {source}
    WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
      AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24
"""


def revenue(items: pa.Table) -> float:
    shipped, price = items["l_shipdate"], items["l_extendedprice"].cast(pa.float64())
    discount = items["l_discount"].cast(pa.float64())
    chosen = pc.and_(pc.greater_equal(shipped, FIRST), pc.less(shipped, LAST))
    chosen = pc.and_(chosen, pc.greater(discount, 0.049))
    chosen = pc.and_(chosen, pc.less(discount, 0.071))
    chosen = pc.and_(chosen, pc.less(items["l_quantity"].cast(pa.float64()), 24.0))
    return pc.sum(pc.multiply(price, discount).filter(chosen)).as_py() or 0.0


def product(items: pa.Table) -> float:
    """As `revenue`, of rows that are chosen already."""
    price, discount = (items[name].cast(pa.float64()) for name in items.column_names)
    return pc.sum(pc.multiply(price, discount)).as_py() or 0.0


def revenue_of(path: str) -> float:
    return revenue(tpch.read(path, COLUMNS))


def pairs(path: str) -> Iterator[tuple[str, list[float]]]:
    """As `revenue_of`, for mrjob."""
    yield "revenue", [revenue_of(path)]


def with_mapred(folder: str) -> Any:
    import mapred

    chosen = [
        ("l_shipdate", ">=", FIRST), ("l_shipdate", "<", LAST), ("l_discount", ">", 0.049),
        ("l_discount", "<", 0.071), ("l_quantity", "<", 24),
    ]  # fmt: skip
    columns = ["l_extendedprice", "l_discount"]
    items = mapred.read_parquet(f"{folder}/*.parquet", columns=columns, filters=chosen)
    return [[mapred.run(product, items, reduce=sum).result()]]


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


def with_spark_pandas(folder: str) -> Any:
    import pandas as pd
    from pyspark.sql import functions

    def partial(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for items in frames:
            shipped = (items["l_shipdate"] >= FIRST) & (items["l_shipdate"] < LAST)
            discounted = items["l_discount"].between(0.049, 0.071)
            kept = items[shipped & discounted & (items["l_quantity"] < 24)]
            value = (kept["l_extendedprice"] * kept["l_discount"]).sum()
            yield pd.DataFrame({"revenue": [value]})

    with engines.spark() as spark:
        date, *numbers = COLUMNS
        doubles = [functions.col(name).cast("double").alias(name) for name in numbers]
        items = spark.read.parquet(folder).select(date, *doubles)
        parts = items.mapInPandas(partial, "revenue double")
        return parts.agg(functions.sum("revenue")).collect()


def total(results: Iterable[float]) -> list[list[float]]:
    return [[sum(results)]]


def with_mrjob(folder: str) -> Any:
    from benchmarks.peers.mr_jobs import Sums

    found = engines.mrjob(Sums, engines.parts(folder), "--workload", "tpch_q6")
    return [sums for _, sums in found]


def with_daft(folder: str) -> Any:
    import daft
    from daft import col

    items = tpch.read_by_daft(folder)
    date, *numbers = COLUMNS
    items = items.select(date, *(col(name).cast(daft.DataType.float64()) for name in numbers))
    items = items.where((col(date) >= FIRST) & (col(date) < LAST) & (col("l_quantity") < 24))
    items = items.where(col("l_discount").between(0.049, 0.071))
    return items.agg((col("l_extendedprice") * col("l_discount")).sum()).to_arrow()


CONTENDERS: dict[str, Callable[[str], Any]] = {
    "mapred": with_mapred,
    "duckdb": partial(tpch.with_duckdb, SQL),
    "polars": with_polars,
    "dask": with_dask,
    "ray": partial(tpch.with_ray, revenue_of, total),
    "spark sql": partial(tpch.with_spark_sql, SQL),
    "spark pandas": with_spark_pandas,
    "daft": with_daft,
    "lithops": partial(tpch.with_lithops, revenue_of, total),
    "mrjob": with_mrjob,
}
make, rows = tpch.lineitem, tpch.as_rows
