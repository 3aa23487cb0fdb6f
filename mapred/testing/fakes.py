"""The smallest store and the smallest backend: to read before writing one, and to test with."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, ClassVar

from mapred.engine.base import Handle
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.storage import Store


@dataclass(eq=False)
class MemoryStore:
    """A store in the memory of this process: the smallest one that keeps the promises of a `Store`.

    Args:
        uri: Its name.
        files: What it holds, by path.
        lock: What makes `put_if_absent` have one winner.

    Examples:
        >>> store = mapred.testing.MemoryStore()
        >>> store.put_if_absent("commits/1", b"first"), store.put_if_absent("commits/1", b"second")
        (True, False)
        >>> store.read("commits/1")
        b'first'
    """

    uri: str = "memory://store"
    files: dict[str, bytes] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.Lock, repr=False)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(f"{self.uri}/{path}")
        return self.files[path][offset : None if length is None else offset + length]

    def write(self, path: str, data: bytes) -> str:
        self.files[path] = bytes(data)
        return ""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        with self.lock:
            absent = path not in self.files
            if absent:
                self.files[path] = bytes(data)
            return absent

    def list(self, prefix: str) -> list[tuple[str, int]]:
        folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        files = self.files.copy()
        return sorted((path, len(data)) for path, data in files.items() if path.startswith(folder))

    def delete(self, path: str) -> None:
        if self.files.pop(path, None) is None:
            raise FileNotFoundError(f"{self.uri}/{path}")

    def put_file(self, source: Path, path: str) -> str:
        return self.write(path, source.read_bytes())

    def copy(self, source: str, target: str) -> None:
        self.write(target, self.read(source))

    def open(self, path: str, known: tuple[int, str] | None = None) -> BinaryIO:
        return io.BytesIO(self.read(path))

    def local_path(self, path: str) -> str | None:
        return None


@dataclass(frozen=True)
class Idle:
    """A backend that starts nothing: the folder of a run is made, and that is all.

    Args:
        name: How the backend is recorded.
        arguments: What job.json says of it.

    Examples:
        >>> run = mapred.submit(abs, [-1, -2], backend=mapred.testing.Idle())
        >>> run.state, run.status().stages[0].done
        ('interrupted', 0)
    """

    name: str = "inline"
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def prepare(self) -> None:
        return

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        return NotStarted()


class NotStarted:
    """The handle of a run that nothing works on, as `Idle` returns it.

    Examples:
        >>> handle = mapred.testing.NotStarted()
        >>> handle.alive(), handle.wait(1)
        (False, True)
    """

    ref: ClassVar[str] = "idle"
    survives_client: ClassVar[bool] = False

    def alive(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        return True

    def cancel(self) -> None:
        return

    def status(self) -> RunStatus | None:
        return None

    def raise_error(self) -> None:
        return
