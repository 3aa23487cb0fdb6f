"""Readers of datasets, none of them ours."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pytest
from writing.lakes import (
    lake_files,
)

duckdb = pytest.importorskip("duckdb")
pl = pytest.importorskip("polars")


def by_duckdb(uri: str) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        if uri.startswith("s3://"):
            connection.register_filesystem(lake_files(uri))
        query = f"from read_parquet('{uri}/**/*.parquet', hive_partitioning=true, hive_types_autocast=false)"
        return list(connection.sql(query).to_arrow_table().to_pylist())


def by_polars(uri: str) -> list[dict[str, Any]]:
    options = None
    if uri.startswith("s3://"):
        options = {
            "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
    frame = pl.scan_parquet(
        f"{uri}/**/*.parquet",
        hive_partitioning=True,
        try_parse_hive_dates=False,
        storage_options=options,
    )
    return list(frame.collect().to_dicts())


def by_pyarrow(uri: str) -> list[dict[str, Any]]:
    base, filesystem = uri, None
    if uri.startswith("s3://"):
        base, filesystem = uri[5:], pafs.PyFileSystem(pafs.FSSpecHandler(lake_files(uri)))
    found = ds.dataset(base, filesystem=filesystem, partitioning="hive").to_table()
    return list(found.to_pylist())


READERS = pytest.mark.parametrize(
    "read", [by_duckdb, by_polars, by_pyarrow], ids=["duckdb", "polars", "pyarrow"]
)


def delta_rows(lake: str) -> Counter[tuple[Any, ...]]:
    """(n, day) of all rows, as Polars reads the table; deltalake's own reader must agree."""
    deltalake = pytest.importorskip("deltalake")
    options = None
    if lake.startswith("s3://"):
        options = {
            "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
    frame = pl.scan_delta(lake, storage_options=options).collect()
    table = deltalake.DeltaTable(lake, storage_options=options)
    rows = Counter((row["n"], str(row["day"])) for row in frame.to_dicts())
    again = pa.table(deltalake.QueryBuilder().register("t", table).execute("select n, day from t"))
    assert Counter((row["n"], str(row["day"])) for row in again.to_pylist()) == rows
    return rows
