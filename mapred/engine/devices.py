"""The NVIDIA devices of this machine, and which worker process has which.

Devices are named as `CUDA_VISIBLE_DEVICES` names them: by number, or by UUID.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence

from mapred.errors import BackendError
from mapred.model.resources import Resources
from mapred.process.lazy import glob

VARIABLE = "CUDA_VISIBLE_DEVICES"
_ASK_SECONDS = 30
_NAME = re.compile(r"[0-9]+|(GPU|MIG)-\S+")
_lock = threading.Lock()
_taken: set[str] = set()


def visible(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the devices that a process with these variables may use."""
    listed = env.get(VARIABLE)
    if listed is None:
        return _list_devices(env.get("PATH", ""))
    # CUDA ends the list at the first other name too; "" and "-1" mean none.
    named = itertools.takewhile(_NAME.fullmatch, map(str.strip, listed.split(",")))
    return tuple(dict.fromkeys(named))


def check(resources: Resources) -> tuple[str, ...]:
    """Return the devices for tasks with these resources; raise `BackendError` if there are too few."""
    if not resources.gpu:
        return ()
    env = {**os.environ, **resources.env}
    devices = visible(env)
    if len(devices) >= resources.gpu:
        return devices
    there = f"{len(devices)} NVIDIA device{'' if len(devices) == 1 else 's'}"
    limited = f" ({VARIABLE}={env[VARIABLE]!r})" if VARIABLE in env else ""
    fewer = f"ask for at most {len(devices)}" if devices else "leave gpu= out"
    raise BackendError(
        f"Resources(gpu={resources.gpu}): a task needs {resources.gpu}, and {os.uname().nodename} "
        f"has {there}{limited}; {fewer}, or run on a backend that has more, such as backend='argo'"
    )


def take(names: Sequence[str], count: int) -> tuple[str, ...] | None:
    """Take `count` of the devices that no other worker of this process has; None if too few are left."""
    with _lock:
        free = [name for name in names if name not in _taken][:count]
        if len(free) < count:
            return None
        _taken.update(free)
        return tuple(free)


def give_back(names: Sequence[str]) -> None:
    """Let other workers have devices whose worker has ended."""
    with _lock:
        _taken.difference_update(names)


def free(names: Sequence[str]) -> int:
    """How many of the devices nobody has."""
    with _lock:
        return sum(name not in _taken for name in names)


@functools.lru_cache(maxsize=8)
def _list_devices(path: str) -> tuple[str, ...]:
    try:
        answer = subprocess.run(
            ["nvidia-smi", "-L"],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_SECONDS,
            env={**os.environ, "PATH": path},
        )
    except (OSError, subprocess.TimeoutExpired):
        return _list_device_files()
    return _parse(answer.stdout) if answer.returncode == 0 else _list_device_files()


def _parse(listing: str) -> tuple[str, ...]:
    """Return the names in what `nvidia-smi -L` prints: a device a line, its MIG slices below it."""
    devices: list[tuple[str, str, list[str]]] = []
    for line in listing.splitlines():
        if match := re.match(r"GPU (\d+):.*\(UUID: (GPU-[^)]+)\)", line):
            devices.append((match[1], match[2], []))
        elif devices and (match := re.match(r"\s+MIG .*\(UUID:\s*(MIG-[^)]+)\)", line)):
            devices[-1][2].append(match[1])
    if not any(slices for _, _, slices in devices):
        return tuple(number for number, _, _ in devices)
    return tuple(name for _, uuid, slices in devices for name in slices or [uuid])


def _list_device_files() -> tuple[str, ...]:
    """Return a number for each file of the driver's, where `nvidia-smi` is missing.

    CUDA counts from 0 in any case.
    """
    files = glob.glob("/proc/driver/nvidia/gpus/*") or glob.glob("/dev/nvidia[0-9]*")
    return tuple(map(str, range(len(files))))
