"""Canaries: what must not happen to anyone who looks at a folder that an attacker wrote.

A hook of the interpreter sees programs that are started, connections, and files of the
attacked user that are opened or removed; a listener sees what is sent to the attacker.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECRET = "canary-secret-5f3a"
MODULE = "canary_module_5f3a"
VARIABLE = "CANARY_TOKEN"
_STARTED = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"}
_TOUCHED = {"open", "os.remove", "os.rename", "os.rmdir", "os.truncate", "shutil.rmtree", "os.link"}

_armed: list[Canaries] = []


class Canaries:
    """What an attacker is after, in `folder`, and all that happens to it."""

    def __init__(self, folder: Path) -> None:
        self.outside = folder / "outside"
        self.tripwire = folder / "tripwire"
        self.modules = folder / "modules"
        self.seen: list[str] = []
        (self.outside / "thesis").mkdir(parents=True)
        self.modules.mkdir()
        self.secret.write_text(SECRET)
        (self.outside / "thesis" / "a.tex").write_text(SECRET)
        (self.modules / f"{MODULE}.py").write_text(
            f"open({str(self.tripwire)!r}, 'a').write('imported')\n"
            f"def canary(*a, **k):\n    open({str(self.tripwire)!r}, 'a').write('called')\n"
            "class Canary:\n    def __init__(self, *a, **k): canary()\n"
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.2)
        self.port = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def secret(self) -> Path:
        return self.outside / "secret"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()

    def check(self) -> None:
        """Raise `AssertionError` for all that happened since the last look."""
        seen, self.seen = self.seen, []
        assert not seen, seen
        assert not self.tripwire.exists(), self.tripwire.read_text()
        there = sorted(str(each.relative_to(self.outside)) for each in self.outside.rglob("*"))
        assert there == ["secret", "thesis", "thesis/a.tex"]
        assert self.secret.stat().st_size == len(SECRET)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STARTED:
            self.seen.append(f"{event}: {arguments}")
        elif event == "socket.connect":
            self.seen.append(f"connected to {arguments[1:]}")
        elif event == "import" and arguments[0] == MODULE:
            self.seen.append(f"imported {MODULE}")
        elif event in _TOUCHED:
            # A link itself is not what it leads to.
            follows = event == "open" and not (arguments[2] or 0) & os.O_NOFOLLOW
            for path in arguments[: 1 if event == "open" else 2]:
                if isinstance(path, str | bytes | os.PathLike) and self._is_outside(path, follows):
                    self.seen.append(f"{event}: {os.fsdecode(path)}")

    def _is_outside(self, path: Any, follows: bool) -> bool:
        folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
        real = os.path.join(os.path.realpath(folder), name)
        return (os.path.realpath(real) if follows else real).startswith(str(self.outside))

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                found, _ = self._listener.accept()
            except TimeoutError:
                continue
            with found:
                found.settimeout(0.2)
                try:
                    text = found.recv(4096)
                except OSError:
                    text = b""
            self.seen.append(f"sent: {text!r}")


@contextmanager
def armed(canaries: Canaries) -> Iterator[None]:
    """Look at all that this process does inside of this."""
    _armed.append(canaries)
    try:
        yield
    finally:
        _armed.remove(canaries)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _armed and (event in _STARTED or event in _TOUCHED or event in ("socket.connect", "import")):
        known, _armed[:] = list(_armed), []  # What this looks at is not looked at.
        try:
            for canaries in known:
                canaries.note(event, arguments)
        finally:
            _armed[:] = known


sys.addaudithook(_hook)
