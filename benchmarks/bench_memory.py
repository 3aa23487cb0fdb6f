"""A worker's peak memory while files grow: text as lines, Parquet as batches."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mapred
from benchmarks.report import Row, Section

FULL_BYTES = 4_000_000_000
QUICK_BYTES = FULL_BYTES // 1000
LIMIT = 512 * 2**20
COLUMNS = 8
ROW_GROUP = 2**20
LARGE_ROW_GROUP = 2**24
ONE_SHARD = "8Gi"


def count_lines(lines: Iterable[str]) -> int:
    return sum(1 for _ in lines)


def count_rows(batches: Iterable[pa.RecordBatch]) -> int:
    return sum(batch.num_rows for batch in batches)


@dataclass(frozen=True)
class Made:
    """A file, how to read it, and how many records are in it."""

    dataset: Any
    function: Any
    records: int


def text(path: Path, size: int) -> Made:
    """Lines of 0 to 200 characters, as source text has them."""
    lengths = np.random.default_rng(0).integers(0, 200, 20_000)
    block = b"".join(b"x" * length + b"\n" for length in lengths.tolist())
    blocks = -(-size // len(block))
    with path.open("wb") as file:
        for _ in range(blocks):
            file.write(block)
    return Made(mapred.read_text(str(path)), count_lines, blocks * len(lengths))


def parquet(path: Path, size: int, row_group: int = ROW_GROUP) -> Made:
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
    return Made(mapred.read_parquet(str(path), as_="batches"), count_rows, rows)


def peak(made: Made, root: Path, target_bytes: str | None = None) -> tuple[int, int]:
    """Bytes resident at most in any map task, and how many tasks there were."""
    run = mapred.run(made.function, made.dataset, reduce=sum, target_bytes=target_bytes, root=root)
    assert run.result() == made.records
    peaks = [time.peak_memory for time in run.status().times if time.stage == "map"]
    return max(peaks), len(peaks)


def measure(folder: Path) -> Section:
    root, place = folder / "runs", folder / "memory"
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    kinds = {
        "text, lines": text,
        "Parquet, batches": parquet,
        "Parquet of 1 GiB row groups, batches": lambda p, s: parquet(p, s, LARGE_ROW_GROUP),
    }
    for kind, make in kinds.items():
        for size in (FULL_BYTES // 100, FULL_BYTES):
            path = place / "file"
            made = make(path, size)
            for shown, target in (("default shards", None), ("one shard", ONE_SHARD)):
                found, tasks = peak(made, root, target)
                what = f"{kind}, {size / 1e9:g} GB, {shown} ({tasks})"
                print(f"  {what}: {found / 2**20:.0f} MiB", flush=True)
                rows.append(Row(what, f"{found / 2**20:.0f} MiB", "", "< 512 MiB", found < LIMIT))
            os.unlink(path)
    return Section(
        "Peak memory of a worker",
        "The most that any map task's process held, pages that it shares with others included.",
        tuple(rows),
    )


@pytest.mark.parametrize("target_bytes", [None, ONE_SHARD], ids=["default", "one-shard"])
@pytest.mark.parametrize("make", [text, parquet])
def test_memory(make: Any, target_bytes: str | None, tmp_path: Path) -> None:
    made = make(tmp_path / "file", QUICK_BYTES)
    found, _ = peak(made, tmp_path / "runs", target_bytes)
    assert 0 < found < LIMIT
