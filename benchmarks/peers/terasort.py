"""TeraSort: records of 100 bytes put in order by a key of 10, files in and files out.

An answer is the sorted files, in order. They are compared by what `rows` finds in them, after the
time was taken: the number of records, a checksum over all, whether they are in order, both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers import engines

TITLE = "TeraSort"
RECORDS = {"small": 50_000, "full": 10_000_000}
FILES = 16
KEY, PAYLOAD = 10, 88  # with a tab and a newline, as a line of text, 100 bytes
ABSENT = {
    "ray": "sorts by Ray Data, below",
    "lithops": "has no shuffle: one reducer gets the results of all calls",
}


def make(folder: Path, size: str) -> tuple[str, str]:
    """The same records as Parquet and, for engines of lines, as text."""
    home, records = folder / f"records-{RECORDS[size]}", RECORDS[size]
    if not (home / "ready").exists():
        for kind in ("parquet", "text"):
            (home / kind).mkdir(parents=True, exist_ok=True)
        for file in range(FILES):
            count = records // FILES + (file < records % FILES)
            written = np.random.default_rng(file).integers(33, 127, (count, 98), dtype=np.uint8)
            _write(home, f"{file:02d}", written)
        (home / "ready").touch()
    what = f"{records:,} records of 100 bytes ({records / 1e7:.3g} GB), {FILES} files of Parquet"
    return str(
        home
    ), f"{what}, as lines of text for Spark's RDD and mrjob; sorted files are written"


def _write(home: Path, name: str, written: np.ndarray[Any, Any]) -> None:
    keys, payloads = (
        pa.array(np.ascontiguousarray(part).view(f"S{part.shape[1]}")[:, 0]).cast(pa.string())
        for part in np.split(written, [KEY], axis=1)
    )
    table = pa.table({"key": keys, "payload": payloads})
    pq.write_table(table, home / "parquet" / f"{name}.parquet", compression="none")
    tab, newline = (np.full((len(written), 1), ord(sign), np.uint8) for sign in "\t\n")
    lines = np.hstack([written[:, :KEY], tab, written[:, KEY:], newline])
    (home / "text" / f"{name}.txt").write_bytes(lines.tobytes())


def same(items: pa.Table) -> pa.Table:
    return items


def with_mapred(folder: str) -> list[str]:
    import mapred

    items = mapred.read_parquet(f"{folder}/parquet/*.parquet")
    return list(mapred.run(same, items, sort_by="key").result().files)


def with_duckdb(folder: str) -> list[str]:
    file = f"{engines.output()}/sorted.parquet"
    source = f"SELECT * FROM read_parquet('{folder}/parquet/*.parquet') ORDER BY key"
    engines.duckdb().sql(f"COPY ({source}) TO '{file}' (COMPRESSION uncompressed)")
    return [file]


def with_polars(folder: str) -> list[str]:
    import polars as pl

    file = f"{engines.output()}/sorted.parquet"
    items = pl.scan_parquet(f"{folder}/parquet/*.parquet").sort("key")
    items.sink_parquet(file, compression="uncompressed")
    return [file]


def with_dask(folder: str) -> list[str]:
    import dask.dataframe as dd

    out = engines.output()
    with engines.dask():
        items = dd.read_parquet(f"{folder}/parquet/*.parquet").sort_values("key")
        items.to_parquet(out, compression=None, write_index=False)
    return engines.parts(out)


def with_ray_data(folder: str) -> list[str]:
    out = engines.output()
    with engines.ray() as ray:
        items = ray.data.read_parquet(f"{folder}/parquet").sort("key")
        items.write_parquet(out, compression="none")
    return engines.parts(out)


def with_spark_sql(folder: str) -> list[str]:
    out = f"{engines.output()}/sorted"
    with engines.spark() as spark:
        items = spark.read.parquet(f"{folder}/parquet").orderBy("key")
        items.write.option("compression", "none").parquet(out)
    return engines.parts(out)


def with_spark_rdd(folder: str) -> list[str]:
    out = f"{engines.output()}/sorted"
    with engines.spark() as spark:
        lines = spark.sparkContext.textFile(f"{folder}/text")
        lines.sortBy(lambda line: line[:KEY]).saveAsTextFile(out)
    return engines.parts(out, "part-*")


def with_daft(folder: str) -> list[str]:
    import daft

    items = daft.read_parquet(f"{folder}/parquet/*.parquet").sort("key")
    written = items.write_parquet(engines.output(), compression="none")
    return list(written.to_pydict()["path"])


def with_mrjob(folder: str) -> list[str]:
    from benchmarks.peers.mr_jobs import Sort

    out = f"{engines.output()}/sorted"
    engines.mrjob(Sort, engines.parts(f"{folder}/text", "*.txt"), "--output-dir", out)
    return engines.parts(out, "part-*")


CONTENDERS: dict[str, Callable[[str], list[str]]] = {
    "mapred": with_mapred,
    "duckdb": with_duckdb,
    "polars": with_polars,
    "dask": with_dask,
    "ray data": with_ray_data,
    "spark sql": with_spark_sql,
    "spark rdd": with_spark_rdd,
    "daft": with_daft,
    "mrjob": with_mrjob,
}


def rows(answer: list[str]) -> list[list[Any]]:
    """One row: records, checksum, whether each key is at least the one before, first, last key."""
    count, checksum, ordered = 0, 0, True
    first = last = b""
    for keys, payloads in _read(answer):
        if not len(keys):
            continue
        names = np.ascontiguousarray(keys).view(f"S{KEY}")[:, 0]
        ordered &= bool(last <= names[0] and np.all(names[:-1] <= names[1:]))
        first, last = first or bytes(names[0]), bytes(names[-1])
        checksum = (checksum + _checksum(keys, payloads)) % 2**64
        count += len(keys)
    return [[count, f"{checksum:016x}", ordered, first.decode(), last.decode()]]


def _checksum(keys: np.ndarray[Any, Any], payloads: np.ndarray[Any, Any]) -> int:
    """The sum of a number made of each whole record: in any order the same."""
    padded = np.zeros((len(keys), 13 * 8), np.uint8)
    padded[:, :KEY], padded[:, KEY : KEY + PAYLOAD] = keys, payloads
    odd = np.random.default_rng(0).integers(0, 2**63, 13, dtype=np.uint64) * np.uint64(
        2
    ) + np.uint64(1)
    mixed = (padded.view(np.uint64) * odd).sum(axis=1)
    mixed = (mixed ^ (mixed >> np.uint64(31))) * odd[0]
    return int((mixed ^ (mixed >> np.uint64(29))).sum())


def _read(files: list[str]) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Keys and payloads of some records at a time, as matrices of bytes."""
    for file in files:
        if file.endswith(".parquet"):
            for batch in pq.ParquetFile(file).iter_batches(100_000):
                yield _matrix(batch["key"], KEY), _matrix(batch["payload"], PAYLOAD)
        elif file.endswith(".arrow"):
            with pa.memory_map(file) as source, pa.ipc.open_file(source) as opened:
                for index in range(opened.num_record_batches):
                    batch = opened.get_batch(index)
                    yield _matrix(batch["key"], KEY), _matrix(batch["payload"], PAYLOAD)
        else:
            lines = np.memmap(file, np.uint8, "r").reshape(-1, 100)
            for start in range(0, len(lines), 100_000):
                some = np.asarray(lines[start : start + 100_000])
                yield some[:, :KEY], some[:, KEY + 1 : -1]


def _matrix(texts: pa.Array, width: int) -> np.ndarray[Any, Any]:
    fixed = texts.cast(pa.large_string()).cast(pa.large_binary()).cast(pa.binary(width))
    start = fixed.offset * width
    data = np.frombuffer(fixed.buffers()[1], np.uint8)
    return data[start : start + len(fixed) * width].reshape(-1, width)
