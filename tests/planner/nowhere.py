"""Listings of files that do not exist."""

from __future__ import annotations

import pyarrow as pa


def listing(sizes: list[int]) -> pa.Table:
    """Files that do not exist."""
    return pa.table(
        {
            "path": pa.array([f"/nowhere/{i:05d}" for i in range(len(sizes))], pa.large_string()),
            "size": pa.array(sizes, pa.int64()),
            "etag": pa.array([f"e{i}" for i in range(len(sizes))], pa.string()),
        }
    )
