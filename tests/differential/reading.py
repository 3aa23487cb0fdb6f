"""Reads files through mapred as a run does: a plan on the client, then each of its shards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa

import mapred
from differential.agreement import rows_of
from mapred import formats
from mapred.dataset import Dataset
from mapred.formats import Reading
from mapred.storage import source_opener


def read(
    dataset: Dataset, target_bytes: int | None, types: dict[str, pa.DataType] | None = None
) -> list[dict[str, Any]]:
    """The rows of all shards in plan order; `types` receives the pinned types."""
    plan = mapred.plan(dataset, target_bytes=target_bytes)
    if types is not None and plan.format.schema is not None:
        types.update(zip(plan.format.schema.names, plan.format.schema.types, strict=True))
    found: list[dict[str, Any]] = []
    records = 0
    for shard in range(plan.shards):
        reading = Reading()
        handed = formats.read(
            plan.format, plan.ranges.shard_ranges(shard), source_opener(None), reading
        )
        rows = rows_of(handed)
        assert reading.records == len(rows)
        records += reading.records
        found += rows
    assert records == len(found)
    return found


def as_given(dataset: Dataset, as_: str) -> Dataset:
    """The dataset, handed over in another way; `pandas:numpy` names the backend as well."""
    kind, _, backend = as_.partition(":")
    options = replace(dataset.options, dtype_backend=backend or dataset.options.dtype_backend)
    return replace(dataset, as_=kind, options=options)


EVERY_AS = ("table", "batches", "polars", "pandas", "pandas:pyarrow")
