"""Changes to what lies in a folder, generated from what lies there: every record, every field."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapred.model.checksums import add_seal


@dataclass(frozen=True)
class Tampering:
    """A file of a folder, what was done to it, and the bytes that are there then (None: gone)."""

    path: str
    how: str
    data: bytes | None

    def __str__(self) -> str:
        return f"{self.path} {self.how}"


Files = dict[str, bytes]


def contents(folder: Path) -> Files:
    """Every file below a folder, hidden ones too."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def put(folder: Path, files: Files) -> None:
    """Make the files of a folder these, and no others."""
    there = contents(folder)
    for path in there.keys() - files.keys():
        (folder / path).unlink()
    for path, data in files.items():
        if there.get(path) != data:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)


def tamperings(files: Files) -> Iterator[Tampering]:
    """Whatever one may do to one file of a folder, and to two records that are alike."""
    seen: set[str] = set()
    for path in sorted(files):
        data = files[path]
        for how, changed in _bytes(data):
            yield Tampering(path, how, changed)
        # Of commits of one stage and the like, the fields of the first are enough.
        kind = path.rpartition("/")[0] if path.count("/") > 1 else path
        if kind not in seen:
            seen.add(kind)
            with suppress(ValueError):
                for how, value in _values(json.loads(data)):
                    yield from _written(path, how, value)
        for other in sorted(files):
            if other != path and other.rpartition("/")[0] == path.rpartition("/")[0]:
                yield Tampering(path, f"is a copy of {other}", files[other])
                break


def _bytes(data: bytes) -> Iterator[tuple[str, bytes | None]]:
    yield "deleted", None
    yield "emptied", b""
    yield "zeroed", bytes(len(data))
    yield "cut in half", data[: len(data) // 2]
    yield "a byte short", data[:-1]
    yield "a byte longer", data + b"\0"
    for place in sorted({0, len(data) // 3, len(data) // 2, 2 * len(data) // 3, len(data) - 1}):
        if data:
            flipped = bytearray(data)
            flipped[place] ^= 1
            yield f"flipped at {place}", bytes(flipped)
    for text in (b"{}", b"[]", b"null", b'"text"', b"\xff\xfe"):
        yield f"replaced by {text!r}", text


def _written(path: str, how: str, value: Any) -> Iterator[Tampering]:
    """A changed record as JSON; a sealed one also as if it had been written so."""
    yield Tampering(path, how, json.dumps(value).encode())
    if isinstance(value, dict) and "seal" in value and not how.startswith(_ODD):
        rest = {key: each for key, each in value.items() if key != "seal"}
        yield Tampering(path, f"{how}, sealed anew", add_seal(json.dumps(rest).encode()))


_ODD = ("of another type", "null", "dropped")


def _values(value: Any) -> Iterator[tuple[str, Any]]:
    """A record with one of its fields changed, dropped, or of another type; a list in disorder."""
    for place in _places(value):
        for how, change in _CHANGES:
            changed = copy.deepcopy(value)
            holder: Any = changed
            for key in place[:-1]:
                holder = holder[key]
            if change(holder, place[-1]):
                yield f"{how} at {'.'.join(map(str, place))}", changed


def _places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys: Any = value if isinstance(value, dict) else range(min(len(value), 2))
    for key in keys:
        yield (*before, key)
        if isinstance(value[key], dict | list):
            yield from _places(value[key], (*before, key))


def _another(holder: Any, key: Any) -> bool:
    value = holder[key]
    if isinstance(value, bool):
        holder[key] = not value
    elif isinstance(value, int | float):
        holder[key] = value + 1
    elif isinstance(value, str):
        holder[key] = value[:-1] + ("A" if value[-1:] != "A" else "B")
    elif value is None:
        holder[key] = 1
    else:
        return False
    return True


def _dropped(holder: Any, key: Any) -> bool:
    del holder[key]
    return True


def _retyped(holder: Any, key: Any) -> bool:
    holder[key] = [holder[key]] if isinstance(holder[key], str | dict) else "x"
    return True


def _nulled(holder: Any, key: Any) -> bool:
    is_null = holder[key] is None
    holder[key] = None
    return not is_null


def _reversed(holder: Any, key: Any) -> bool:
    value = holder[key]
    if not isinstance(value, list) or value == value[::-1]:
        return False
    holder[key] = value[::-1]
    return True


def _doubled(holder: Any, key: Any) -> bool:
    value = holder[key]
    if not isinstance(value, list) or not value:
        return False
    holder[key] = [value[0], *value]
    return True


def _replaced(holder: Any, key: Any) -> bool:
    value = holder[key]
    if not isinstance(value, list) or len(value) < 2:
        return False
    holder[key] = [value[0], value[0], *value[2:]]
    return True


_CHANGES: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = (
    ("another value", _another),
    ("dropped", _dropped),
    ("of another type", _retyped),
    ("null", _nulled),
    ("reversed", _reversed),
    ("the first doubled", _doubled),
    ("the second replaced by the first", _replaced),
)
