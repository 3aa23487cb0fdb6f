"""Compiling 100,000 shards into an Argo Workflow; hera's own import is not counted."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import mapred
from benchmarks.report import Row, Section, spread
from mapred.backends.argo.backend import Argo
from mapred.model.spec import Format, Job, Resources
from mapred.planner import stages

SHARDS = 100_000
TIMES = 21


def job(shards: int = SHARDS) -> Job:
    """A tree over so many shards, as job.json would hold it."""
    asked = Resources(2, "4Gi")
    return Job(
        run_id="20260102-030405-0a1b2c3d",
        name="word_count",
        created="2026-01-02T03:04:05Z",
        format=Format("text", "lines"),
        stages=stages.stages(shards, mapred.reducers.sum, resources=asked),
        shards=shards,
        items=0,
        files=shards,
        bytes=shards * 2**25,
        function="function.pkl",
        timeout=600,
        python="3.11",
    )


def rendered() -> str:
    """The Workflow as YAML, checked by hera's models on the way."""
    argo = Argo(root_secret="s3", endpoint="http://minio.storage:9000")
    return argo.render(job(), uri="s3://team/runs/1", digest="d1" * 32, packages="9a" * 32)


def measure(folder: Path) -> Section:
    text = rendered()
    seconds = []
    for _ in range(TIMES):
        start = time.perf_counter()
        rendered()
        seconds.append(time.perf_counter() - start)
    size = len(text.encode())
    median = statistics.median(seconds)
    return Section(
        "Rendering",
        f"{SHARDS:,} shards as an Argo Workflow, {TIMES} times in one process.",
        (
            Row("job to YAML", spread(seconds, 1000, "ms", 1), "", "≤ 50 ms", median <= 0.05),
            Row("the YAML", f"{size:,} B", "", "≤ 16,384 B", size <= 16_384),
        ),
    )


def test_render(benchmark: Any) -> None:
    assert 'count: "2000"' in benchmark(rendered)
