"""TPC-H Q1, the pricing summary: eight aggregates by two flags, over nearly all rows."""

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

TITLE = "TPC-H Q1"
LAST = datetime.date(1998, 9, 2)
KEYS = ["l_returnflag", "l_linestatus"]
NUMBERS = ["l_quantity", "l_extendedprice", "l_discount", "l_tax"]
COLUMNS = [*KEYS, *NUMBERS, "l_shipdate"]
SUMS = ["qty", "base", "disc", "charge", "discount"]
SQL = """
    SELECT l_returnflag, l_linestatus,
           sum(l_quantity) AS qty, sum(l_extendedprice) AS base,
           sum(l_extendedprice * (1 - l_discount)) AS disc,
           sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS charge,
           avg(CAST(l_quantity AS DOUBLE)) AS mean_qty,
           avg(CAST(l_extendedprice AS DOUBLE)) AS mean_price,
           avg(CAST(l_discount AS DOUBLE)) AS mean_disc, count(*) AS rows
    FROM {source} WHERE l_shipdate <= DATE '1998-09-02' GROUP BY l_returnflag, l_linestatus
"""


def priced(items: pa.Table) -> pa.Table:
    """What is summed up, in doubles.

    Written without the number 1, as Arrow imports pandas where it meets a number of Python's.
    """
    qty, price, discount, tax = (items[name].cast(pa.float64()) for name in NUMBERS)
    disc = pc.subtract(price, pc.multiply(price, discount))
    charge = pc.add(disc, pc.multiply(disc, tax))
    values = {"qty": qty, "base": price, "disc": disc, "charge": charge, "discount": discount}
    return pa.table({**{key: items[key] for key in KEYS}, **values})


def summed(path: str) -> pa.Table:
    """Sums and counts of one file, for engines without a group-by."""
    items = tpch.read(path, COLUMNS)
    items = priced(items.filter(pc.less_equal(items["l_shipdate"], LAST)))
    wanted = [*((name, "sum") for name in SUMS), ("qty", "count")]
    return items.group_by(KEYS).aggregate(wanted)


def pairs(path: str) -> Iterator[tuple[list[str], list[float]]]:
    """As `summed`, for mrjob."""
    for row in summed(path).to_pylist():
        yield [row[key] for key in KEYS], [row[name] for name in row if name not in KEYS]


def merged(results: Iterable[pa.Table]) -> list[list[Any]]:
    whole = pa.concat_tables(results)
    wanted = [(name, "sum") for name in whole.column_names if name not in KEYS]
    return [
        finished([row[key] for key in KEYS], [row[f"{name}_sum"] for name, _ in wanted])
        for row in whole.group_by(KEYS).aggregate(wanted).to_pylist()
    ]


def finished(key: list[str], sums: list[float]) -> list[Any]:
    """A row of the answer, of the sums of `SUMS` and the count."""
    qty, base, disc, charge, discount, count = sums
    return [*key, qty, base, disc, charge, qty / count, base / count, discount / count, count]


def with_mapred(folder: str) -> Any:
    import mapred

    items = mapred.read_parquet(
        f"{folder}/*.parquet", columns=[*KEYS, *NUMBERS], filters=[("l_shipdate", "<=", LAST)]
    )
    wanted = {
        "qty": ["sum", "mean", "count"], "base": ["sum", "mean"], "disc": "sum",
        "charge": "sum", "discount": "mean",
    }  # fmt: skip
    run = mapred.run(priced, items, by=KEYS, aggregate=wanted, partitions=1)
    order = "qty_sum base_sum disc_sum charge_sum qty_mean base_mean discount_mean qty_count"
    return run.to_arrow().select([*KEYS, *order.split()])


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


def with_spark_pandas(folder: str) -> Any:
    from pyspark.sql import functions

    def partial(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            qty, base = frame["l_quantity"], frame["l_extendedprice"]
            disc = base * (1 - frame["l_discount"])
            values = frame[KEYS].assign(
                qty=qty, base=base, disc=disc, charge=disc * (1 + frame["l_tax"]),
                discount=frame["l_discount"], count=1.0,
            )  # fmt: skip
            yield values.groupby(KEYS, as_index=False).sum()

    with engines.spark() as spark:
        items = spark.read.parquet(folder).where(functions.col("l_shipdate") <= LAST)
        doubles = [functions.col(name).cast("double").alias(name) for name in NUMBERS]
        columns = [*SUMS, "count"]
        schema = ", ".join([*(f"{key} string" for key in KEYS), *(f"{c} double" for c in columns)])
        parts = items.select(*KEYS, *doubles).mapInPandas(partial, schema)
        sums = parts.groupBy(*KEYS).agg(*(functions.sum(name) for name in columns)).collect()
    return [finished(list(row[:2]), list(row[2:])) for row in sums]


def with_mrjob(folder: str) -> Any:
    from benchmarks.peers.mr_jobs import Sums

    found = engines.mrjob(Sums, engines.parts(folder), "--workload", "tpch_q1")
    return [finished(key, sums) for key, sums in found]


def with_daft(folder: str) -> Any:
    import daft
    from daft import col

    items = tpch.read_by_daft(folder).where(col("l_shipdate") <= LAST)
    items = items.select(*KEYS, *(col(name).cast(daft.DataType.float64()) for name in NUMBERS))
    disc = col("l_extendedprice") * (1 - col("l_discount"))
    items = items.with_columns({"disc": disc, "charge": disc * (1 + col("l_tax"))})
    return items.groupby(*KEYS).agg(
        col("l_quantity").sum().alias("qty"), col("l_extendedprice").sum().alias("base"),
        col("disc").sum(), col("charge").sum(), col("l_quantity").mean().alias("mean_qty"),
        col("l_extendedprice").mean().alias("mean_price"),
        col("l_discount").mean().alias("mean_disc"), col("l_tax").count().alias("rows"),
    ).to_arrow()  # fmt: skip


CONTENDERS: dict[str, Callable[[str], Any]] = {
    "mapred": with_mapred,
    "duckdb": partial(tpch.with_duckdb, SQL),
    "polars": with_polars,
    "dask": with_dask,
    "ray": partial(tpch.with_ray, summed, merged),
    "spark sql": partial(tpch.with_spark_sql, SQL),
    "spark pandas": with_spark_pandas,
    "daft": with_daft,
    "lithops": partial(tpch.with_lithops, summed, merged),
    "mrjob": with_mrjob,
}
make, rows = tpch.lineitem, tpch.as_rows
