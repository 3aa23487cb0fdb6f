"""Datasets read by programs in an environment of their own, which `make test-readers` builds."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import mapred
from mapred import writing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.timezone.utc)
NASTY = "a/b|50%|x=y|two words|zürich 日本|a+b&c#d?e|%41|NULL|'q\"|*[x]{y}~|01".split("|")
Row = tuple[int, str | None, str | None]


@dataclass(frozen=True)
class Table:
    """A table as a program is asked for it, and its rows: n, day and city."""

    format: str
    path: str
    rows: Counter[Row]
    options: dict[str, int] = field(default_factory=dict)
    where: str | None = None

    def asked(self) -> str:
        asked = {"format": self.format, "path": self.path, "options": self.options}
        return json.dumps({**asked, "where": self.where}) + "\n"


def rows_of(items: Iterable[int], change: int = 0) -> list[Row]:
    cities = [None, *NASTY]
    return [
        (item + change, f"2026-01-0{1 + item % 3}", cities[item % len(cities)]) for item in items
    ]


def put(target: writing.Target, rows: list[Row]) -> None:
    def part(_: int) -> pa.Table:
        n, day, city = zip(*rows, strict=True)
        when = pa.array([WHEN] * len(n), pa.timestamp("us", "UTC"))
        return pa.table({"n": n, "day": day, "city": pa.array(city, pa.string()), "when": when})

    mapred.run(part, mapred.items([0]), write=target, backend="inline", progress="none")


def written(folder: Path, kind: str) -> list[Table]:
    """Tables of that kind, each appended to, and two of its days overwritten twice."""
    make = {"parquet": mapred.write_parquet, "delta": mapred.write_delta}[kind]
    known = []
    for by in (["day"], ["day", "city"]):
        lake = str(folder / f"{kind} by {'-'.join(by)}")
        put(make(lake, partition_by=by, mode="append"), rows_of(range(20)))
        put(make(lake, partition_by=by, mode="append"), rows_of(range(20, 30)))
        held = Counter(rows_of(range(30)))
        versions = [Counter(rows_of(range(20))), held]
        places = {"day": 1, "city": 2}
        for change in (1000, 2000):
            new = rows_of([1, 2, 4], change)
            put(make(lake, partition_by=by, mode="overwrite_partitions"), new)
            gone = {tuple(row[places[name]] for name in by) for row in new}
            kept = [row for row in held if tuple(row[places[name]] for name in by) not in gone]
            held = Counter([*kept, *new])
            versions.append(held)
        assert len(held) < 33
        known.append(Table(kind, lake, held))
        if by == ["day"]:
            large = Counter(row for row in held if row[0] >= 2002 and row[1] == "2026-01-02")
            known.append(Table(kind, lake, large, where="n >= 2002 and day = '2026-01-02'"))
        elif kind == "delta":
            numbered = enumerate(versions)
            known += [Table(kind, lake, rows, {"versionAsOf": n}) for n, rows in numbered]
    return known


def program(module: str) -> list[str]:
    """A Python that has the module, out of the readers' environment."""
    python = Path(
        os.environ.get("MAPRED_TEST_READERS", HERE.parent / ".venv-readers"), "bin/python"
    )
    if not python.exists() or subprocess.run([python, "-c", f"import {module}"]).returncode:
        pytest.skip(f"needs {module} in an environment of its own: make test-readers builds it")
    return [str(python)]


def check(command: list[str], tables: list[Table]) -> None:
    done = subprocess.run(
        command,
        input="".join(table.asked() for table in tables),
        capture_output=True,
        text=True,
        timeout=800,
        env={**os.environ, "LC_ALL": "C.UTF-8"},  # or Java reads names of files as ASCII
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for table, rows in zip(tables, answers, strict=True):
        assert Counter((row["n"], row["day"], row["city"]) for row in rows) == table.rows, table
        assert {row["when"][:26] for row in rows} <= {str(WHEN)[:26]}


def spark() -> list[str]:
    jars = Path(os.environ.get("MAPRED_TEST_READERS", HERE.parent / ".venv-readers"), "jars")
    command = program("pyspark")
    if not shutil.which("java") or not any(jars.glob("delta-spark*.jar")):
        pytest.skip(f"needs Java 17 and Delta's jars in {jars}: make test-readers gets them")
    return [*command, str(HERE / "readers/by_spark.py"), str(jars)]


def test_spark_reads_delta_tables_and_parquet_folders(tmp_path: Path) -> None:
    check(spark(), [*written(tmp_path, "delta"), *written(tmp_path, "parquet")])


def test_duckdb_reads_delta_tables(tmp_path: Path) -> None:
    command = program("duckdb_extension_delta")
    tables: list[Any] = [table for table in written(tmp_path, "delta") if not table.options]
    check([*command, str(HERE / "readers/by_duckdb.py")], tables)
