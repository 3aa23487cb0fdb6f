"""The arguments of `write_parquet` and `write_delta`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from writing.days import day_of

import mapred
from mapred.errors import DatasetError, FunctionError


def test_arguments_are_checked_at_once(tmp_path: Path) -> None:
    for wrong in (
        lambda: mapred.write_parquet(tmp_path, mode="replace"),
        lambda: mapred.write_parquet(tmp_path, compression="zip"),
        lambda: mapred.write_parquet(tmp_path, partition_by=["a", "a"]),
        lambda: mapred.write_parquet(tmp_path, partition_by="a=b"),
        lambda: mapred.write_parquet(tmp_path, target_file_bytes="2Gi"),
        lambda: mapred.write_parquet(tmp_path, partition_by="b", schema=pa.schema({"a": "int8"})),
        lambda: mapred.write_delta("oss://bucket/x"),
    ):
        with pytest.raises(DatasetError):
            wrong()
    with pytest.raises(FunctionError, match="leave reduce= out"):
        mapred.job(day_of, [1], reduce=list, write=mapred.write_parquet(tmp_path))
    with pytest.raises(FunctionError, match="must be write_parquet"):
        mapred.job(day_of, [1], write=str(tmp_path))  # type: ignore[arg-type]
