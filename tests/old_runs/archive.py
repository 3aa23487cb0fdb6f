"""Run folders in one file of text: packed once by the mapred of their time, unpacked by tests.

Later code cannot make them again, so they are stored: a tar for each folder, compressed and in
base64, which keeps the history free of binaries.
"""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
import zlib
from pathlib import Path
from typing import Any

ABOUT = (
    "Folders of runs as the mapred named here left them. Later code cannot make them again, and "
    "has to open, audit and resume them. Made by tests/old_runs/make.py; never changed: a new "
    "form gets a file of its own beside this one."
)
_LINE = 96


def packed(folders: dict[str, Path]) -> dict[str, list[str]]:
    """The content of each folder, the same for the same files."""
    return {name: _packed(folder) for name, folder in folders.items()}


def _packed(folder: Path) -> list[str]:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(member, file)
    text = base64.b64encode(zlib.compress(sink.getvalue(), 9)).decode()
    return [text[start : start + _LINE] for start in range(0, len(text), _LINE)]


def write(target: Path, values: dict[str, Any]) -> None:
    target.write_text(json.dumps({"about": ABOUT, **values}, indent=1) + "\n")


def read(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text())
    return values


def unpack(lines: list[str], folder: Path) -> Path:
    """Make a folder that was packed, at a place where there is none."""
    data = zlib.decompress(base64.b64decode("".join(lines)))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            path = folder / os.path.normpath(member.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
    return folder
