"""The table `lineitem` of TPC-H, made by tpchgen-cli, and what its queries share."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers import engines

SCALES = {"small": 0.1, "full": 10}
PARTS = 16


def lineitem(folder: Path, size: str) -> tuple[str, str]:
    """Where its Parquet files lie, and what they are."""
    scale = SCALES[size]
    home = folder / f"tpch-{scale:g}"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        program = Path(sys.executable).with_name("tpchgen-cli")
        subprocess.run(
            [
                str(program), "parquet", "--scale-factor", f"{scale:g}", "--tables=lineitem",
                f"--parts={PARTS}", f"--output-dir={home}",
            ],
            check=True,
        )  # fmt: skip
        for file in (home / "lineitem").iterdir():
            file.rename(home / file.name)
        (home / "lineitem").rmdir()
        (home / "ready").touch()
    size_ = sum(file.stat().st_size for file in home.glob("*.parquet"))
    return str(home), f"scale factor {scale:g}: {size_ / 1e6:,.0f} MB of Parquet in {PARTS} files"


def read(path: str, columns: list[str]) -> pa.Table:
    """One file, for engines whose functions open files; its texts are views, which Arrow's
    filters refuse."""
    items = pq.read_table(path, columns=columns)
    plain = [
        field.with_type(pa.string()) if field.type == pa.string_view() else field
        for field in items.schema
    ]
    return items.cast(pa.schema(plain))


def read_by_daft(folder: str) -> Any:
    """The table as Daft's frame, or a reason that says more than what Daft raises."""
    import daft

    try:
        return daft.read_parquet(f"{folder}/*.parquet")
    except Exception as error:
        why = f"Daft {daft.__version__} cannot read tpchgen-cli's files, whose texts are views"
        raise RuntimeError(f"{why}: {error}") from error


def with_duckdb(sql: str, folder: str) -> Any:
    source = f"read_parquet('{folder}/*.parquet')"
    return engines.duckdb().sql(sql.format(source=source)).to_arrow_table()


def with_spark_sql(sql: str, folder: str) -> Any:
    with engines.spark() as spark:
        spark.read.parquet(folder).createOrReplaceTempView("lineitem")
        return spark.sql(sql.format(source="lineitem")).collect()


def with_ray(part: Callable[[str], Any], merged: Callable[[Any], Any], folder: str) -> Any:
    """A call for each file, and their results merged by the caller."""
    with engines.ray() as ray:
        remote = ray.remote(part)
        return merged(ray.get([remote.remote(path) for path in engines.parts(folder)]))


def with_lithops(part: Callable[[str], Any], merged: Callable[[Any], Any], folder: str) -> Any:
    """As with Ray; Lithops wants the parameter of `merged` to be called `results`."""
    with engines.lithops() as executor:
        executor.map_reduce(part, engines.parts(folder), merged)
        return executor.get_result()


def as_rows(answer: Any) -> list[list[Any]]:
    """Rows in order of a table, frame or list of tuples: numbers as floats."""
    if hasattr(answer, "to_pylist"):
        values = [list(row.values()) for row in answer.to_pylist()]
    else:
        values = [list(row) for row in answer]
    plain = [[v if isinstance(v, str) else float(v) for v in row] for row in values]
    return sorted(plain, key=lambda row: row[:2])
