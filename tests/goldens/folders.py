"""A run's folder as one text: its files by name, its records as they are stored.

What differs from run to run, from machine to machine or with the version of a package is
replaced by a word that says what stood there.
"""

from __future__ import annotations

import base64
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import mapred

_NUMBER, _TEXT = "<number>", "<text>"
_FIELDS = {
    **dict.fromkeys(
        ("created", "etag", "mapred", "python", "ref", "seal", "signature", "worker"), _TEXT
    ),
    **dict.fromkeys(
        (
            "asked", "checksums", "crc32", "deadline_since", "due", "ended", "kept", "mtime", "offsets", "peak_memory", "seconds", "size", "sizes",
            "started", "submitted", "time",
        ),
        _NUMBER,
    ),
}  # fmt: skip
_MAPRED = str(Path(mapred.__file__).parent)
_OBJECTS = ("packages", "texts")
_PATTERNS = (
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}"), "<run>"),
    (re.compile(r"\b1-[0-9a-f]{8}\b"), "<attempt>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<sha256>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"\bbytes=\d+"), "bytes=<number>"),
    (re.compile(r"\bschema=b'.*?'"), "schema=<bytes>"),
)


def text_of(folder: Path) -> str:
    """All that a run left below a folder."""
    places = {str(folder): "<root>", str(Path(__file__).parent): "<tests>"}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = sorted(shown(path.relative_to(folder).as_posix(), {}) for path in files)
    parts = ["\n".join(names)]
    for path in files:
        content = _content(path, places)
        if content is not None:
            name = shown(path.relative_to(folder).as_posix(), {})
            parts.append(f"==== {name}\n{content}")
    return "\n\n".join(parts) + "\n"


def _content(path: Path, places: dict[str, str]) -> str | None:
    if path.suffix == ".json":
        values = _settled(json.loads(path.read_bytes()), "")
        return shown(json.dumps(values, indent=1, ensure_ascii=False), places)
    if path.parent.name == "plan":
        plan = pq.read_table(path)
        rows = [json.dumps(_settled(row, "")) for row in plan.to_pylist()]
        return shown("\n".join([_schema(plan.schema), *rows]), places)
    return None


def _settled(value: Any, name: str) -> Any:
    """A value without what no two runs share; the order of its fields is that of the file."""
    if name == "traceback":
        return [line for line in value.splitlines() if line and not line.startswith(" ")]
    if name == "schema" and value is not None:
        return _schema(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value)))).splitlines()
    if name == "record" and value:
        return _settled(json.loads(value), "")
    if name == "inline" and value is not None:
        return repr(pickle.loads(base64.b64decode(value)))
    if name == "heavy" and isinstance(value, str):
        return _TEXT
    if name in ("file", "module") and str(value).startswith((_MAPRED, "mapred.")):
        return "<mapred>"
    if name in _OBJECTS:
        return {_TEXT: _TEXT} if value else {}
    if name in _FIELDS and value:
        return _FIELDS[name]
    if isinstance(value, dict):
        return {key: _settled(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_settled(each, "") for each in value]
    return value


def _schema(schema: pa.Schema) -> str:
    return "\n".join(f"{field.name}: {field.type}" for field in schema)


def shown(text: str, places: dict[str, str]) -> str:
    for place, word in places.items():
        text = text.replace(place, word)
    for pattern, word in _PATTERNS:
        text = pattern.sub(word, text)
    return text
