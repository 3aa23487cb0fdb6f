"""A worker's peak memory while files grow: text as lines, Parquet as batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import mapred
from benchmarks.harness import Report, Row, Settings, at_most

SIZES = {"small": 4_000_000, "full": 4_000_000_000}
LIMIT = 512.0  # MiB
COLUMNS = 8
ROW_GROUP = 2**20
LARGE_ROW_GROUP = 2**24
ONE_SHARD = "8Gi"


def count_lines(lines: Iterable[str]) -> int:
    return sum(1 for _ in lines)


def count_rows(batches: Iterable[pa.RecordBatch]) -> int:
    return sum(batch.num_rows for batch in batches)


@dataclass(frozen=True)
class Input:
    """A file, how to read it, and how many records are in it."""

    dataset: Any
    function: Any
    records: int


def text(path: Path, size: int) -> Input:
    """Lines of 0 to 200 characters, as source text has them."""
    lengths = np.random.default_rng(0).integers(0, 200, 20_000)
    block = b"".join(b"x" * length + b"\n" for length in lengths.tolist())
    blocks = -(-size // len(block))
    with path.open("wb") as file:
        for _ in range(blocks):
            file.write(block)
    return Input(mapred.read_text(str(path)), count_lines, blocks * len(lengths))


def parquet(path: Path, size: int, row_group: int = ROW_GROUP) -> Input:
    """Random doubles, which neither a dictionary nor a codec makes smaller."""
    rows = size // (8 * COLUMNS)
    generator = np.random.default_rng(0)
    names = [f"x{number}" for number in range(COLUMNS)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with pq.ParquetWriter(path, schema, use_dictionary=False, compression="none") as writer:
        for start in range(0, rows, row_group):
            count = min(row_group, rows - start)
            table = pa.table({name: generator.random(count) for name in names})
            writer.write_table(table, row_group_size=row_group)
    return Input(mapred.read_parquet(str(path), as_="batches"), count_rows, rows)


def peak(given: Input, root: Path, target_bytes: str | None = None) -> tuple[float, int]:
    """MiB resident at most in any map task, and how many tasks there were."""
    run = mapred.run(
        given.function,
        given.dataset,
        reduce=sum,
        target_bytes=target_bytes,
        root=root,
        progress="none",
    )
    if run.result() != given.records:
        raise AssertionError(f"{run.result()} records instead of {given.records}")
    peaks = [time.peak_memory for time in run.status().times if time.stage == "map"]
    return max(peaks) / 2**20, len(peaks)


def measure(settings: Settings) -> Report:
    size, folder = SIZES[settings.size], settings.home / "memory"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    kinds = {
        "text, lines": text,
        "Parquet, batches": parquet,
        "Parquet of 1 GiB row groups, batches": lambda p, s: parquet(p, s, LARGE_ROW_GROUP),
    }
    for kind, make in kinds.items():
        for bytes_ in (size // 100, size):
            path = folder / "file"
            given = make(path, bytes_)
            for shards, target in (("default shards", None), ("one shard", ONE_SHARD)):
                mib, tasks = peak(given, settings.home / "runs", target)
                what = f"{kind}, {bytes_ / 1e9:g} GB, {shards} ({tasks})"
                print(f"  {what}: {mib:.0f} MiB", flush=True)
                rows.append(at_most(Row(what, (mib,), "MiB"), LIMIT))
            path.unlink()
    return Report(
        "Peak memory of a worker",
        "The most that any map task's process held, pages that it shares with others included.",
        tuple(rows),
    )
