"""TPC-H Q1, the pricing summary: eight aggregates by two flags, over nearly all rows."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.peers import engines, tpch

TITLE = "TPC-H Q1"
LAST = datetime.date(1998, 9, 2)
KEYS = ["l_returnflag", "l_linestatus"]
NUMBERS = ["l_quantity", "l_extendedprice", "l_discount", "l_tax"]
COLUMNS = [*KEYS, *NUMBERS, "l_shipdate"]
SQL = """
    SELECT l_returnflag, l_linestatus,
           sum(l_quantity) AS qty, sum(l_extendedprice) AS base,
           sum(l_extendedprice * (1 - l_discount)) AS disc,
           sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS charge,
           avg(l_quantity) AS mean_qty, avg(l_extendedprice) AS mean_price,
           avg(l_discount) AS mean_disc, count(*) AS rows
    FROM {source} WHERE l_shipdate <= DATE '1998-09-02' GROUP BY l_returnflag, l_linestatus
"""


def make(folder: Path, size: str) -> tuple[str, str]:
    return tpch.lineitem(folder, size)


def priced(items: pa.Table) -> pa.Table:
    """What is summed up, in doubles."""
    qty, price, discount, tax = (items[name].cast(pa.float64()) for name in NUMBERS)
    disc = pc.multiply(price, pc.subtract(1.0, discount))
    charge = pc.multiply(disc, pc.add(1.0, tax))
    values = {"qty": qty, "base": price, "disc": disc, "charge": charge, "discount": discount}
    return pa.table({**{key: items[key] for key in KEYS}, **values})


def with_mapred(folder: str) -> Any:
    import mapred

    items = mapred.read_parquet(
        f"{folder}/*.parquet", columns=COLUMNS, filters=[("l_shipdate", "<=", LAST)]
    )
    wanted = {
        "qty": ["sum", "mean", "count"], "base": ["sum", "mean"], "disc": "sum",
        "charge": "sum", "discount": "mean",
    }  # fmt: skip
    run = mapred.run(priced, items, by=KEYS, aggregate=wanted, partitions=1)
    order = "qty_sum base_sum disc_sum charge_sum qty_mean base_mean discount_mean qty_count"
    return run.to_arrow().select([*KEYS, *order.split()])


def with_duckdb(folder: str) -> Any:
    source = f"read_parquet('{folder}/*.parquet')"
    return engines.duckdb().sql(SQL.format(source=source)).to_arrow_table()


def with_polars(folder: str) -> Any:
    import polars as pl

    price, tax = pl.col("l_extendedprice"), pl.col("l_tax")
    disc = price * (1 - pl.col("l_discount"))
    return (
        pl.scan_parquet(f"{folder}/*.parquet")
        .filter(pl.col("l_shipdate") <= LAST)
        .with_columns(pl.col(NUMBERS).cast(pl.Float64))
        .group_by(KEYS)
        .agg(
            pl.sum("l_quantity").alias("qty"),
            price.sum().alias("base"),
            disc.sum().alias("disc"),
            (disc * (1 + tax)).sum().alias("charge"),
            pl.mean("l_quantity").alias("mean_qty"),
            price.mean().alias("mean_price"),
            pl.mean("l_discount").alias("mean_disc"),
            pl.len().alias("rows"),
        )
        .collect(engine="streaming")
        .to_arrow()
    )


def with_dask(folder: str) -> Any:
    import dask.dataframe as dd

    with engines.dask():
        items = dd.read_parquet(f"{folder}/*.parquet", columns=COLUMNS)
        items = items[items.l_shipdate <= LAST].astype(dict.fromkeys(NUMBERS, "float64"))
        items = items.assign(disc=items.l_extendedprice * (1 - items.l_discount))
        items = items.assign(charge=items.disc * (1 + items.l_tax))
        sums = items.groupby(KEYS).agg(
            {
                "l_quantity": ["sum", "mean", "count"], "l_extendedprice": ["sum", "mean"],
                "disc": ["sum"], "charge": ["sum"], "l_discount": ["mean"],
            }
        ).compute()  # fmt: skip
    order = [
        ("l_quantity", "sum"), ("l_extendedprice", "sum"), ("disc", "sum"), ("charge", "sum"),
        ("l_quantity", "mean"), ("l_extendedprice", "mean"), ("l_discount", "mean"),
        ("l_quantity", "count"),
    ]  # fmt: skip
    return sums[order].reset_index().itertuples(index=False)


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
