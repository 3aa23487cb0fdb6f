"""Where runs write to."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder to write a dataset to."""
    if request.param == "local":
        return str(tmp_path / "lake")
    return str(request.getfixturevalue("s3_root")) + "/lake"


@pytest.fixture(params=["local", "s3"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Like `lake`, on S3 in the quick tests too."""
    if request.param == "local":
        return str(tmp_path / "lake")
    return str(request.getfixturevalue("s3_root")) + "/lake"
