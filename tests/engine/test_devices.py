"""Devices for tasks that ask for some: each worker has its own, by the names that CUDA knows."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.engine import devices
from mapred.engine.process_pool import ProcessExecutor
from mapred.errors import BackendError
from mapred.model.resources import Resources

TWO = "GPU-8f6d2a11-0000-4c5e-9d6f-000000000001, GPU-8f6d2a11-0000-4c5e-9d6f-000000000002"
PLAIN = """\
GPU 0: NVIDIA H200 (UUID: GPU-aaaa)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb)
"""
SLICED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
  MIG 1g.5gb      Device  0: (UUID: MIG-1111)
  MIG 2g.10gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("0,1", ["0", "1"]),
        ("3", ["3"]),
        (TWO, TWO.split(", ")),
        ("MIG-GPU-aaaa/1/0,MIG-1111", ["MIG-GPU-aaaa/1/0", "MIG-1111"]),
        ("1,1,0", ["1", "0"]),
        ("2,-1,3", ["2"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_what_is_visible_already_stays_so(listed: str, expected: list[str]) -> None:
    assert list(devices.visible({"CUDA_VISIBLE_DEVICES": listed})) == expected


def fake_program(folder: Path, listing: str, status: int = 0) -> dict[str, str]:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{listing}E\nexit {status}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_the_driver_is_asked(tmp_path: Path) -> None:
    assert devices.visible(fake_program(tmp_path, PLAIN)) == ("0", "1")
    (tmp_path / "mig").mkdir()
    sliced = fake_program(tmp_path / "mig", SLICED)
    assert devices.visible(sliced) == ("MIG-1111", "MIG-2222", "GPU-bbbb")
    (tmp_path / "broken").mkdir()
    broken = fake_program(tmp_path / "broken", "Failed to initialize NVML\n", 9)
    assert devices.visible(broken) == devices._list_device_files()


def test_a_device_is_taken_once() -> None:
    names = [f"invented-{n}" for n in range(3)]
    first = devices.take(names, 2)
    assert first == tuple(names[:2])
    assert devices.free(names) == 1
    assert devices.take(names, 2) is None
    second = devices.take(names, 1)
    assert second == ("invented-2",)
    devices.give_back(first)
    assert devices.take(names, 2) == first
    devices.give_back(names)


def holds(item: int) -> tuple[str | None, float, float]:
    started = time.time()
    time.sleep(0.1)
    return os.environ.get("CUDA_VISIBLE_DEVICES"), started, time.time()


def overlaps(found: list[tuple[str, float, float]]) -> int:
    """How often two tasks had one device at one time."""
    return sum(
        bool({*a[0].split(",")} & {*b[0].split(",")}) and a[1] < b[2] and b[1] < a[2]
        for i, a in enumerate(found)
        for b in found[:i]
    )


@pytest.mark.parametrize(
    ("listed", "gpu", "groups"),
    [
        ("0,1", 1, 2),
        (TWO, 1, 2),
        ("4,5,6,7,8", 2, 2),
        ("MIG-1111,MIG-2222,MIG-3333", 3, 1),
    ],
)
def test_each_worker_has_devices_of_its_own(
    listed: str, gpu: int, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    run = mapred.run(
        holds, mapred.array(6), per_task=1, resources=Resources(gpu=gpu, cpu=0.25),
        backend=mapred.Local(workers=8), progress="none",
    )  # fmt: skip
    found = run.result()
    names = {name.strip() for name in listed.split(",")}
    assert all({*each[0].split(",")} <= names for each in found)
    assert all(len(each[0].split(",")) == gpu for each in found)
    assert len({each[0] for each in found}) == groups
    assert overlaps(found) == 0
    assert devices.free(tuple(names)) == len(names)


def test_two_pools_of_one_process_share_no_device() -> None:
    names = ("invented-a", "invented-b")
    pools = [ProcessExecutor(2, gpus=names, gpu=1) for _ in range(2)]
    calls = [pool.submit(holds, n) for n in range(3) for pool in pools]
    try:
        # Who comes second waits until the first one's workers have ended.
        for pool in pools:
            pool.shutdown(wait=False)
        found: list[Any] = [call.result(60) for call in calls]
    finally:
        for pool in pools:
            pool.kill()
    assert {each[0] for each in found} == {*names}
    assert overlaps(found) == 0
    assert devices.free(names) == 2


def visible_now(item: int) -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_a_reduce_has_its_own_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    run = mapred.run(
        visible_now, mapred.array(3), per_task=1, resources=Resources(gpu=1), progress="none",
        reduce=lambda seen: [*seen, os.environ.get("CUDA_VISIBLE_DEVICES")],
    )  # fmt: skip
    assert run.result() == ["7"] * 4


def test_who_asks_for_none_sees_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    assert mapred.run(visible_now, mapred.array(1), progress="none").result() == ["3,4"]


@pytest.mark.parametrize(
    ("listed", "gpu", "says"),
    [
        ("0,1", 3, r"a task needs 3, and .* has 2 NVIDIA devices \(CUDA_VISIBLE_DEVICES='0,1'\)"),
        ("5", 2, "has 1 NVIDIA device .*at most 1"),
        ("", 1, "has 0 NVIDIA devices .*leave gpu= out"),
    ],
)
def test_more_than_there_are_is_refused(
    listed: str, gpu: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    with pytest.raises(BackendError, match=says):
        mapred.run(
            visible_now, mapred.array(1), resources=Resources(gpu=gpu), root=tmp_path / "runs"
        )
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_on_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    run = mapred.run(
        holds, mapred.array(4), per_task=1, resources=Resources(gpu=1, cpu=0.25),
        backend="dask", progress="none", reduce=list,
    )  # fmt: skip
    found = run.result()
    assert {each[0] for each in found} == {"0", "1"}
    assert overlaps(found) == 0
    with pytest.raises(BackendError, match=r"Resources\(gpu=3\): every Dask worker .* has 2"):
        mapred.run(holds, mapred.array(1), resources=Resources(gpu=3), backend="dask")


@pytest.mark.skipif(sys.platform != "linux", reason="counts the driver's own files")
def test_without_the_program_the_system_is_asked(tmp_path: Path) -> None:
    assert devices.visible({"PATH": str(tmp_path)}) == devices._list_device_files()
