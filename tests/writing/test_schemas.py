"""One schema for all tables of a run."""

from __future__ import annotations

import pyarrow as pa
import pytest
from writing.days import write
from writing.programs import by_duckdb

import mapred
from mapred.errors import RunError
from mapred.storage import open_store


def test_schemas_that_differ_are_an_error_and_nothing_is_published(lake: str) -> None:
    def rows(item: int) -> pa.Table:
        return pa.table({"n": [item], "x": [1.5 if item else "text"]})

    with pytest.raises(RunError, match=r"shards 0 and 1.*column 'x' is string and double"):
        write(rows, [0, 1], mapred.write_parquet(lake))
    assert not [p for p, _ in open_store(lake).list("") if not p.startswith("_staging")]
    schema = pa.schema({"n": pa.int64(), "x": pa.string()})
    write(rows, [0, 1], mapred.write_parquet(lake, schema=schema))
    assert sorted(row["x"] for row in by_duckdb(lake)) == ["1.5", "text"]
    with pytest.raises(RunError, match=r"column 'x' is double, and .* holds it as string"):
        write(lambda n: pa.table({"x": [1.5]}), [1], mapred.write_parquet(lake, mode="append"))
