"""The versions of a folder's manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from writing.days import rows_of, wrote
from writing.lakes import (
    by_manifest,
)

import mapred
from mapred import writing
from mapred.writing import manifest


def test_old_versions_of_the_manifest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_KEPT", 3)
    target = mapred.write_parquet(tmp_path / "lake", partition_by="day")
    for number in range(4):
        writing.publish(target, wrote(target, f"run-{number}", 0, [0]))
    names = Path(tmp_path / "lake/_manifest")
    assert len(list(names.iterdir())) == 8, "young ones stay, for somebody may build on them"
    monkeypatch.setattr(manifest, "_KEPT_SECONDS", -1.0)
    writing.publish(target, wrote(target, "run-9", 0, [0]))
    assert [path.name[-7:] for path in sorted(names.iterdir())] == [
        f"{n:02d}.json" for n in (7, 8, 9, 10)
    ]
    assert by_manifest(str(tmp_path / "lake")) == rows_of([0])
