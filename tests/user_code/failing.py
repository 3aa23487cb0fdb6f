"""Functions that fail, in a module that holds no secret: its source travels with a run."""

from __future__ import annotations

import os
from pathlib import Path


def fails(item: int) -> int:
    """Fail for good for one item; tell the names of the passwords at hand."""
    print("asked for", sorted(name for name in os.environ if "PASSWORD" in name))
    if item == 1:
        raise ValueError(f"no table {item}")
    return item


def fails_once(folder: str) -> int:
    """Fail at the first call."""
    marker = Path(folder, "failed")
    if not marker.exists():
        marker.touch()
        raise ValueError("once")
    print("a line of the log")
    return 1
