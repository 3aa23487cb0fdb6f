"""Plans on disk: a worker reads what it needs of one, and no more."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from planner.nowhere import listing

from mapred import planner
from mapred.errors import PlanError
from mapred.model import layout
from mapred.planner import plan


def test_of_a_plan_file_only_the_row_groups_of_the_last_shard_are_held() -> None:
    made = plan(listing([10] * 40_000), target_bytes=10 * 100)
    ((_, table),) = planner.plan_files(made)
    file = planner.PlanFile(planner.write_plan(table))
    for shard in (0, 1, 163, 164, 399, 7, 163):  # shard 163 lies in two row groups
        assert file.shard(shard).equals(made.shard_ranges(shard))
    assert file.shard(0)["path"].num_chunks == 1
    assert file._table.num_rows == 2**12
    with pytest.raises(PlanError, match="shard 400 is not in this plan file"):
        file.shard(400)


def test_plan_files_hold_their_thousand_shards() -> None:
    made = plan(listing([10] * 4500), target_bytes=10 * 2)
    files = list(planner.plan_files(made))
    assert [name for name, _ in files] == [layout.plan_file(n) for n in range(3)]
    assert [table["shard"][-1].as_py() for _, table in files] == [999, 1999, 2249]
    assert files[0][1].schema == planner.plan_schema()
    written = planner.write_plan(files[2][1])
    for data in (written, written.to_pybytes(), io.BytesIO(written)):
        shard = planner.PlanFile(data).shard(2100)
        assert shard.equals(made.shard_ranges(2100))
        assert shard["path"].to_pylist() == ["/nowhere/04200", "/nowhere/04201"]
    with pytest.raises(PlanError, match="shard 10 is not in this plan file"):
        planner.PlanFile(written).shard(10)
    with pytest.raises(PlanError, match="shard 2250 is not in the plan: it has 2250"):
        made.shard_ranges(2250)


def test_a_worker_reads_little_of_a_large_plan() -> None:
    made = plan(listing([1000] * 100_000), target_bytes=1000)
    assert made.shards == made.ranges == 100_000
    _, table = next(planner.plan_files(made))
    assert planner.write_plan(table).size < 50_000


def test_a_shard_in_many_row_groups() -> None:
    made = plan(listing([1] * 40_000), target_bytes=20_000)
    written = planner.write_plan(next(planner.plan_files(made))[1])
    assert planner.PlanFile(written).shard(0).num_rows == 20_000
    assert planner.PlanFile(written).shard(1)["path"][0].as_py() == "/nowhere/20000"


def test_reading_a_plan_is_lean(root: Path, tmp_path: Path) -> None:
    made = plan(listing([1] * 10), target_bytes=1)
    (tmp_path / "plan").write_bytes(planner.write_plan(next(planner.plan_files(made))[1]))
    code = """
import sys
from mapred.planner import PlanFile
assert PlanFile(open(sys.argv[1], "rb").read()).shard(3).num_rows == 1
heavy = {"pandas", "polars", "fsspec", "scipy", "pyarrow.dataset", "pyarrow.compute"}
heavy |= {"pyarrow.parquet", "pyarrow.fs", "ssl"}
print(sorted(heavy & set(sys.modules)))
"""
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "plan"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == "[]\n"
