"""What may have happened to a file of a run's folder: each damage takes its path and a generator."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Damage = Callable[[Path, random.Random], None]
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 10**7, 10**30, 10**400, 0.5, -1e300, float("nan"), float("inf"), "", "\0",
    "\ud800", "../../x", "/etc/passwd", "x" * 10_000, [], [[]], [None], {}, {"a": {}}, {"": []},
)  # fmt: skip


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The steps to every value of a JSON document."""
    if path:
        yield path
    if isinstance(values, dict | list):
        steps = values if isinstance(values, dict) else range(len(values))
        for step in steps:
            yield from places(values[step], (*path, step))


def changed(values: Any, change: Callable[[Any, Any], None], place: tuple[Any, ...]) -> Any:
    """A copy of a document in which one place is changed; `change` gets what holds it, and the step."""
    copy = json.loads(json.dumps(values))
    part = copy
    for step in place[:-1]:
        part = part[step]
    change(part, place[-1])
    return copy


def _field(path: Path, rng: random.Random, change: Callable[[Any, Any], None]) -> None:
    try:
        values = json.loads(path.read_bytes())
    except ValueError:
        truncated(path, rng)  # not in JSON: a plan, a function
        return
    known = list(places(values))
    if known:
        path.write_text(json.dumps(changed(values, change, rng.choice(known))))


def odd_value(path: Path, rng: random.Random) -> None:
    def change(part: Any, step: Any) -> None:
        part[step] = rng.choice(ODD)

    _field(path, rng, change)


def dropped_value(path: Path, rng: random.Random) -> None:
    def change(part: Any, step: Any) -> None:
        del part[step]

    _field(path, rng, change)


def truncated(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))] if data else b"")


def flipped(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes() or b"x")
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def newer(path: Path, rng: random.Random) -> None:
    path.write_text('{"version": "7.0", "states": 1}')


def huge(path: Path, rng: random.Random) -> None:
    os.truncate(path, 2**40)


def pipe(path: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()
    if rng.random() < 0.5:
        (path / "Thumbs.db").touch()


def link(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(rng.choice(["nowhere", "/dev/zero", "/dev/full", "/", "/etc/hostname", path]))


def gone(path: Path, rng: random.Random) -> None:
    path.unlink()


def _written(data: bytes) -> Damage:
    return lambda path, rng: void(path.write_bytes(data))


def void(_: Any) -> None:
    return None


DAMAGES: dict[str, Damage] = {
    "odd value": odd_value,
    "dropped value": dropped_value,
    "truncated": truncated,
    "flipped": flipped,
    "newer": newer,
    "huge": huge,
    "pipe": pipe,
    "folder": folder,
    "link": link,
    "gone": gone,
    "empty": _written(b""),
    "blank": _written(bytes(4096)),
    "deep": _written(b"[" * 200_000),
    "deep object": _written(b'{"a":' * 500 + b"1" + b"}" * 500),
    "no utf-8": _written(b'{"name": "\xff\xfe"}'),
    "null": _written(b"null"),
    "list": _written(b"[]"),
    "object": _written(b"{}"),
    "number": _written(b"1" * 5000),
}
FOREIGN = (
    "Thumbs.db", ".DS_Store", "desktop.ini", "notes.txt", "000000.json~", "#000000.json#",
    ".000000.json.swp", "000000 (1).json", "000000.json.bak", "copy/000000.json", "x.json",
    "000000-1-0a.json~", "._000000.json",
)  # fmt: skip


def foreign(run: Path) -> None:
    """Put what desktops and editors leave into every folder of a run."""
    folders = [run, *(path for path in run.rglob("*") if path.is_dir())]
    for place in folders:
        for name in FOREIGN:
            # A record of a dataset is one by its place: any other there is refused by name.
            is_write = place.name == "writes" and name.endswith(".json")
            if not is_write and not (place / name).exists():
                (place / name).parent.mkdir(exist_ok=True)
                (place / name).write_bytes(b"\0\1foreign")


def restored(run: Path, saved: Path) -> None:
    """Put a run's folder back as it was."""
    shutil.rmtree(run)
    shutil.copytree(saved, run, symlinks=True)
