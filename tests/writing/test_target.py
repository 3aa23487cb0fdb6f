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


@pytest.mark.parametrize(
    ("lake", "uri"), [("s3://team/lake", "s3://team/lake/days"), ("/lake", "/lake/days")]
)
def test_a_parameter_may_be_the_place_itself(lake: str, uri: str) -> None:
    job = mapred.job(day_of, [1], write=mapred.write_parquet("{lake}/days"))
    assert job.bind(lake=lake).write.uri == uri  # type: ignore[union-attr]


def test_a_path_in_a_parameter_is_that_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = mapred.job(day_of, [1], write=mapred.write_parquet("{lake}/days"))
    monkeypatch.chdir(tmp_path)
    bound = job.bind(lake="lake")
    monkeypatch.chdir("/")
    assert bound.write.uri == str(tmp_path / "lake/days")  # type: ignore[union-attr]
