"""Real text to count words in: the source trees that lie on this machine, without doubles."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset(
    ".c .cc .cmake .cpp .go .h .hpp .java .js .md .pl .pm .py .pyi .rb .rs .rst .sh .ts .txt".split()
)
FILE_BYTES = 64 * 2**20
PIECE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Corpus:
    """`files` of some 64 MiB, and the same lines again as `pieces` of some 16 MiB."""

    files: tuple[Path, ...]
    pieces: tuple[Path, ...]
    sources: int
    repeats: int

    @property
    def folder(self) -> Path:
        """The folder of the folders `files` and `pieces`."""
        return self.files[0].parents[1]

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    def describe(self) -> str:
        again = "" if self.repeats == 1 else f", all of it {self.repeats} times"
        return (
            f"{self.bytes / 1e6:,.0f} MB of {self.sources:,} different source and text files"
            f"{again}, in {len(self.files)} files"
        )


def corpus(folder: Path, size: int) -> Corpus:
    """At least `size` bytes of text below `folder`; gathered at the first call, kept after it."""
    folder = folder / f"text-{size}"
    ready = folder / "ready"
    if not ready.exists():
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / "pieces").mkdir(exist_ok=True)
        with _Writer(folder) as writer:
            repeats = sources = 0
            while writer.written < size:
                for text in _texts():
                    sources += not repeats
                    writer.write(text)
                    if writer.written >= size:
                        break
                repeats += 1
                if not sources:
                    raise RuntimeError("no source text was found on this machine")
        ready.write_text(f"{sources} {repeats}")
    sources, repeats = map(int, ready.read_text().split())
    return Corpus(
        tuple(sorted((folder / "files").iterdir())),
        tuple(sorted((folder / "pieces").iterdir())),
        sources,
        repeats,
    )


class _Writer:
    """Writes texts that end with a newline into files and pieces; a text lies in one of each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, 0
        self._files = self._pieces = 0
        self._file = self._piece = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        for file in (self._file, self._piece):
            if file is not None:
                file.close()

    def write(self, text: bytes) -> None:
        if self._file is None or self._file.tell() >= FILE_BYTES:
            self._files += 1
            self._file = self._next(self._file, f"files/{self._files:03d}.txt")
        if self._piece is None or self._piece.tell() >= PIECE_BYTES:
            self._pieces += 1
            self._piece = self._next(self._piece, f"pieces/{self._pieces:03d}.txt")
        self._file.write(text)
        self._piece.write(text)
        self.written += len(text)

    def _next(self, last, name):
        if last is not None:
            last.close()
        return (self.folder / name).open("wb")


def _roots() -> list[Path]:
    """Trees of sources: every Python beside this one, packages, headers, other languages."""
    roots = [Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))]
    beside = Path(sys.base_prefix).parent
    if beside != beside.parent and any(beside.glob("*/bin/python*")):
        roots.append(beside)
    roots += [Path(sys.base_prefix), Path("/usr"), Path("/opt"), Path.home() / ".rustup"]
    return [root for root in roots if root.is_dir()]


def _texts() -> Iterator[bytes]:
    """Different files in UTF-8 without control characters, each ending with a newline."""
    seen = set()
    for path in _walk():
        try:
            text = path.read_bytes()
            if not text or len(text) > PIECE_BYTES // 4 or b"\0" in text or b"\1" in text:
                continue
            text.decode()
        except (OSError, UnicodeDecodeError):
            continue
        digest = hashlib.blake2b(text, digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            yield text if text.endswith(b"\n") else text + b"\n"


def _walk() -> Iterator[Path]:
    for root in _roots():
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix in SUFFIXES and not path.is_symlink():
                    yield path
