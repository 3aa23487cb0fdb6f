"""Compiling many shards into an Argo Workflow."""

from __future__ import annotations

import mapred
from benchmarks.harness import Report, Row, Settings, at_most, in_turn, stopwatch
from mapred.backends.argo.backend import Argo
from mapred.model.resources import Resources
from mapred.model.spec import Format, Job
from mapred.planner.stages import stages

SHARDS = 100_000
ROUNDS = {"small": 3, "full": 21}


def job(shards: int = SHARDS) -> Job:
    """A tree over so many shards, as job.json would hold it."""
    asked = Resources(2, "4Gi")
    return Job(
        run_id="20260102-030405-0a1b2c3d",
        name="word_count",
        created="2026-01-02T03:04:05Z",
        format=Format("text", "lines"),
        stages=stages(shards, mapred.reducers.sum, resources=asked),
        shards=shards,
        items=0,
        files=shards,
        bytes=shards * 2**25,
        function="function.pkl",
        timeout=600,
        python="3.11",
    )


def rendered() -> str:
    """The Workflow as YAML."""
    argo = Argo(root_secret="s3", endpoint="http://minio.storage:9000")
    return argo.render(job(), uri="s3://team/runs/1", digest="d1" * 32, packages="9a" * 32)


def measure(settings: Settings) -> Report:
    size = float(len(rendered().encode()))
    result = in_turn({"render": lambda: stopwatch(rendered)}, ROUNDS[settings.size])["render"]
    return Report(
        "Rendering",
        f"{SHARDS:,} shards as an Argo Workflow, {len(result.seconds)} times in one process.",
        (
            at_most(Row("job to YAML", result.seconds), 0.05),
            at_most(Row("the YAML", (size,), "B"), 16_384),
        ),
    )
