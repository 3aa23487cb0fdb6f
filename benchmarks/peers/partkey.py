"""The sum of l_quantity by l_partkey: a group for every few rows, two million at scale factor 10."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmarks.peers import engines, tpch

if TYPE_CHECKING:
    import pandas as pd

TITLE = "TPC-H: sum of l_quantity by l_partkey"
COLUMNS = ["l_partkey", "l_quantity"]
SQL = "SELECT l_partkey, sum(l_quantity) AS qty FROM {source} GROUP BY l_partkey"


def same(items: pa.Table) -> pa.Table:
    return items


def summed(path: str) -> pa.Table:
    """Keys and sums of one file, for engines without a group-by."""
    items = tpch.read(path, COLUMNS)
    doubles = items["l_quantity"].cast(pa.float64())
    return _sums(pa.table({"l_partkey": items["l_partkey"], "l_quantity": doubles}))


def pairs(path: str) -> Iterator[tuple[int, list[float]]]:
    """As `summed`, for mrjob."""
    items = summed(path)
    for key, value in zip(*(items[name].to_pylist() for name in COLUMNS), strict=True):
        yield key, [value]


def merged(results: Iterable[pa.Table]) -> pa.Table:
    return _sums(pa.concat_tables(results))


def _sums(items: pa.Table) -> pa.Table:
    sums = items.group_by("l_partkey").aggregate([("l_quantity", "sum")])
    return sums.select(["l_partkey", "l_quantity_sum"]).rename_columns(COLUMNS)


def with_mapred(folder: str) -> Any:
    import mapred

    items = mapred.read_parquet(f"{folder}/*.parquet", columns=COLUMNS)
    run = mapred.run(same, items, by="l_partkey", aggregate={"l_quantity": "sum"})
    return run.to_arrow()


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


def with_spark_pandas(folder: str) -> Any:
    from pyspark.sql import functions

    def partial(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for items in frames:
            yield items.groupby("l_partkey", as_index=False).sum()

    with engines.spark() as spark:
        items = spark.read.parquet(folder)
        items = items.select("l_partkey", items.l_quantity.cast("double").alias("l_quantity"))
        parts = items.mapInPandas(partial, "l_partkey long, l_quantity double")
        sums = parts.groupBy("l_partkey").agg(functions.sum("l_quantity"))
        return sums.toPandas().itertuples(index=False)


def with_spark_grouped(folder: str) -> Any:
    """A Python function for each group, which is what `groupBy` with a pandas UDF means."""
    from pyspark.sql.functions import PandasUDFType, pandas_udf

    def add(quantities: pd.Series) -> float:
        return float(quantities.sum())

    with engines.spark() as spark:
        items = spark.read.parquet(folder)
        items = items.select("l_partkey", items.l_quantity.cast("double").alias("l_quantity"))
        summed = pandas_udf(add, "double", PandasUDFType.GROUPED_AGG)
        return (
            items.groupBy("l_partkey").agg(summed("l_quantity")).toPandas().itertuples(index=False)
        )


def with_mrjob(folder: str) -> Any:
    from benchmarks.peers.mr_jobs import Sums

    found = engines.mrjob(Sums, engines.parts(folder), "--workload", "partkey")
    return [(key, sums[0]) for key, sums in found]


def with_daft(folder: str) -> Any:
    import daft

    items = tpch.read_by_daft(folder)
    sums = items.groupby("l_partkey").agg(daft.col("l_quantity").sum())
    return sums.to_arrow()


CONTENDERS: dict[str, Callable[[str], Any]] = {
    "mapred": with_mapred,
    "duckdb": partial(tpch.with_duckdb, SQL),
    "polars": with_polars,
    "dask": with_dask,
    "ray": partial(tpch.with_ray, summed, merged),
    "spark sql": with_spark_sql,
    "spark pandas": with_spark_pandas,
    "spark grouped": with_spark_grouped,
    "daft": with_daft,
    "lithops": partial(tpch.with_lithops, summed, merged),
    "mrjob": with_mrjob,
}
make, rows = tpch.lineitem, tpch.as_rows
