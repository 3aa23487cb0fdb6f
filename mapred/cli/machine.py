"""What `mapred doctor` looks at on this machine: Python, memory, disk, storage, settings, backends."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import mapred
from mapred import backends
from mapred.backends import config
from mapred.backends.findings import ABSENT, BAD, OK, UNSEEN, Examines, Finding
from mapred.backends.local import available_cpus
from mapred.client.naming import default_root
from mapred.display.format import format_bytes, pluralize
from mapred.errors import MapredError
from mapred.process.lazy import psutil
from mapred.storage import is_local, open_store, probe

_NEEDED = ("pyarrow", "numpy", "cloudpickle", "fsspec", "psutil", "click", "rich")
# Packages that a run may do without, and the extra that installs them.
_EXTRAS = {
    "pandas": "pandas", "polars": "polars", "scipy": "sweep", "deltalake": "delta",
    "obstore": "s3", "s3fs": "s3", "alibabacloud-oss-v2": "oss", "distributed": "dask",
    "hera": "argo", "kubernetes": "argo", "jupyterlab": "notebook",
}  # fmt: skip
_NEEDED_BY = {"argo": ("hera", "kubernetes"), "dask": ("distributed",)}
_GROUP, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_LITTLE_DISK, _LITTLE_MEMORY = 2**30, 2**28
_FEW_FILES = 256
_SECONDS = 3.0  # until a scheduler of Dask counts as unreachable
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


def examine(root: str | None) -> Iterator[Finding]:
    """Yield what was found, in the order in which a person would look."""
    yield from _versions()
    yield from _memory()
    yield from _processors()
    yield from _root(root or default_root())
    yield from _settings()


def _versions() -> Iterator[Finding]:
    yield Finding(OK, f"python: {platform.python_version()}, {sys.executable}")
    yield Finding(OK, f"mapred: {mapred.__version__}, {os.path.dirname(mapred.__file__)}")
    found = {name: _version(name) for name in (*_NEEDED, *_EXTRAS)}
    missing = [name for name in _NEEDED if found[name] is None]
    shown = ", ".join(f"{name} {found[name]}" for name in _NEEDED if found[name])
    if missing:
        yield Finding(BAD, f"packages: {', '.join(missing)} missing", "install mapred again")
    yield Finding(OK, f"packages: {shown}")
    extras = [f"{name} {found[name]}" for name in _EXTRAS if found[name]]
    if extras:
        yield Finding(OK, f"optional packages: {', '.join(extras)}")
    absent = [name for name in _EXTRAS if found[name] is None]
    if absent:
        names = ", ".join(sorted({_EXTRAS[name] for name in absent}))
        text = f"optional packages not installed: {', '.join(absent)}"
        yield Finding(ABSENT, text, f"where you need them, the extras {names} of mapred")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    text = f"memory: {format_bytes(memory.available)} of {format_bytes(memory.total)} available"
    limit = _memory_limit()
    if limit is not None and limit < memory.total:
        text += f"; this container may use {format_bytes(limit)}"
    little = min(memory.available, limit or memory.total) < _LITTLE_MEMORY
    remedy = f"close other programs: workers need {format_bytes(_LITTLE_MEMORY)} and more"
    yield Finding(BAD, text, remedy) if little else Finding(OK, text)


def _memory_limit() -> int | None:
    """Return the bytes that the control group of this process may use; None without a limit."""
    with suppress(OSError, ValueError):
        for line in _GROUP.read_text(encoding="ascii").splitlines():
            number, kinds, path = line.split(":", 2)
            folder = _GROUPS / ("" if number == "0" else "memory")
            name = "memory.max" if number == "0" else "memory.limit_in_bytes"
            if number == "0" or "memory" in kinds.split(","):
                for place in (folder / path.lstrip("/"), folder):
                    with suppress(OSError, ValueError):
                        return int((place / name).read_text(encoding="ascii"))
    return None


def _processors() -> Iterator[Finding]:
    import resource

    workers = available_cpus()
    text = f"processors: {workers} usable, so {pluralize(workers, 'worker')} by default"
    yield Finding(OK, text)
    given = [f"{name}={os.environ[name]}" for name in _THREADS if os.environ.get(name)]
    each = ", ".join(given) or "one for each core of a task"
    yield Finding(OK, f"threads of numeric libraries in a worker: {each}")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    text = f"open files: {'no limit' if files == resource.RLIM_INFINITY else f'at most {files:,}'}"
    few = 0 < files < _FEW_FILES
    yield Finding(BAD, text, f"ulimit -n {_FEW_FILES}") if few else Finding(OK, text)


def _root(root: str) -> Iterator[Finding]:
    folder = None
    if is_local(root):
        folder = open_store(root).local_path("")
        assert folder is not None
        folder = folder.rstrip("/") or "/"
        yield from _disk(folder)
        if not os.path.lexists(folder):
            yield Finding(OK, f"root: {folder}, which the first run will create")
            return
    try:
        listed = probe(open_store(root))
    except (MapredError, OSError) as error:
        remedy = "choose another one: --root, or the variable MAPRED_ROOT"
        yield Finding(BAD, f"root: {folder or root}: {error}", remedy)
    else:
        text = f"root: {folder or root} can be written, and refuses a second put of one name"
        yield Finding(OK, f"{text}; {listed}")


def _disk(folder: str) -> Iterator[Finding]:
    place = folder
    while not os.path.exists(place):
        place = os.path.dirname(place)
    if not os.access(place, os.W_OK):
        yield Finding(
            BAD, f"root: {place} cannot be written", "--root, or the variable MAPRED_ROOT"
        )
    disk = shutil.disk_usage(place)
    text = f"disk of the root: {format_bytes(disk.free)} of {format_bytes(disk.total)} free"
    little = disk.free < _LITTLE_DISK
    remedy = "mapred gc --older-than 30d removes old runs"
    yield Finding(BAD, text, remedy) if little else Finding(OK, text)


def _settings() -> Iterator[Finding]:
    try:
        file, tables = config.tables()
    except MapredError as error:
        yield Finding(BAD, f"settings: {error}")
        file, tables = None, {}
    else:
        if file is None:
            yield Finding(ABSENT, "settings: no mapred.toml here or above; backends have defaults")
        else:
            names = ", ".join(tables) or "no backend"
            yield Finding(OK, f"settings: {file} names {names}")
    yield Finding(OK, "backends local and inline: here")
    for kind in _NEEDED_BY:
        if not any(config.kind_of(name, table) == kind for name, table in tables.items()):
            yield _installed(kind)
    for name in tables:
        yield from _backend(name)


def _installed(kind: str) -> Finding:
    missing = [name for name in _NEEDED_BY[kind] if _version(name) is None]
    if missing:
        text = f"backend {kind}: not usable, {', '.join(missing)} not installed"
        return Finding(ABSENT, text, f"to use it, install the extra {kind} of mapred")
    return Finding(OK, f"backend {kind}: installed; `mapred doctor --backend {kind}` looks further")


def _backend(name: str) -> Iterator[Finding]:
    """Look at a backend of mapred.toml, and whether it can be reached from here."""
    try:
        backend: Any = backends.resolve(name)
    except MapredError as error:
        yield Finding(BAD, f"backend {name}: {error}")
        return
    if isinstance(backend, Examines):
        found = list(backend.examine(None, pod=False))
        yield from (
            Finding(each.state, f"backend {name}: {each.what}", each.remedy) for each in found
        )
    elif isinstance(address := backend.arguments.get("address"), str):
        yield _reach(name, address)
    else:
        yield Finding(OK, f"backend {name}: {backend.name}")


def _reach(name: str, address: str) -> Finding:
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except ValueError:
        return Finding(UNSEEN, f"backend {name}: {address} has no host and port to try")
    except OSError as error:
        reason = error.strerror or str(error) or "no answer"
        text = f"backend {name}: {address} cannot be reached: {reason}"
        return Finding(BAD, text, "start its scheduler, or correct the address in mapred.toml")
    return Finding(OK, f"backend {name}: {address} answers")
