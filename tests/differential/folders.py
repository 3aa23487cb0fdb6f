"""Folders that examples write their files into: one each, gone behind it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that hypothesis need not share between examples."""
    path = Path(tempfile.mkdtemp(prefix="mapred-differential-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)
