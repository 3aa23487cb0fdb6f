"""The manifest of a folder of Parquet files, as a value: every version is one file.

`_manifest/_manifest-000000007.json` lists every live file of the dataset with rows, bytes and
SHA-256, by partition; the highest number holds. While a run is being published its files are
listed where they lie hidden, with the name they are to get in `final`, and `removing` lists
what they replace.
"""

from __future__ import annotations

import itertools
import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mapred.errors import DatasetError, StorageError
from mapred.model.checking import short_repr
from mapred.model.coding import UPGRADE

FOLDER = "_manifest"
FORMAT = "mapred-manifest-1"
_FORMATS = re.compile(r"mapred-manifest-(\d{1,6})")
_NAME = FOLDER + "/_manifest-{:09d}.json"
_NAMED = re.compile(r"_manifest-(\d{9})\.json")
_TRIES = 1000


@dataclass(frozen=True)
class Entry:
    """A live file: `path` says where it can be read now, `final` where it goes if that differs."""

    path: str
    folder: str
    values: tuple[str | None, ...]
    rows: int
    bytes: int
    sha256: str
    run: str
    final: str | None = None

    @property
    def name(self) -> str:
        """Where it lies once it is published."""
        return self.final or self.path


@dataclass(frozen=True)
class Manifest:
    """One version of a dataset: its live files, and what is still to be done.

    `removing` maps the names of replaced files to the run that replaces them, `runs` are all
    that were ever published here, `kept` the earlier versions that exist, with their times.
    """

    version: int = 0
    time: float = 0.0
    partition_by: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    removing: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    kept: tuple[tuple[int, float], ...] = ()

    def find_unfinished_runs(self) -> dict[str, set[str]]:
        """Return the runs that are being published, and the folders that they change."""
        folders: dict[str, set[str]] = {}
        for entry in self.entries:
            if entry.final is not None:
                folders.setdefault(entry.run, set()).add(entry.folder)
        for path, run in self.removing.items():
            folders.setdefault(run, set()).add(path.rpartition("/")[0])
        return folders

    def to_bytes(self) -> bytes:
        partitions: dict[str, dict[str, Any]] = {}
        for entry in sorted(self.entries, key=lambda entry: entry.name):
            partition = partitions.setdefault(
                entry.folder,
                {
                    "folder": entry.folder,
                    "values": dict(zip(self.partition_by, entry.values, strict=True)),
                    "rows": 0,
                    "bytes": 0,
                    "files": [],
                },
            )
            partition["rows"] += entry.rows
            partition["bytes"] += entry.bytes
            file = {name: getattr(entry, name) for name in ("path", "rows", "bytes", "sha256")}
            file["run"] = entry.run
            partition["files"].append(file | ({"final": entry.final} if entry.final else {}))
        value = {
            "format": FORMAT,
            "version": self.version,
            "time": self.time,
            "id": uuid.uuid4().hex,
            "partition_by": self.partition_by,
            "columns": self.columns,
            "rows": sum(entry.rows for entry in self.entries),
            "bytes": sum(entry.bytes for entry in self.entries),
            "partitions": list(partitions.values()),
            "removing": self.removing,
            "runs": self.runs,
            "kept": self.kept,
        }
        return json.dumps(value, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "a manifest") -> Manifest:
        """Return the manifest in a file, whose place is `where`; one of a newer mapred is refused."""
        value = json.loads(data)
        if value["format"] != FORMAT:
            _refuse(value["format"], where)
        entries = tuple(
            Entry(folder=part["folder"], values=tuple(part["values"].values()), **file)
            for part in value["partitions"]
            for file in part["files"]
        )
        return cls(
            value["version"],
            value["time"],
            tuple(value["partition_by"]),
            value["columns"],
            entries,
            value["removing"],
            tuple(value["runs"]),
            tuple((version, when) for version, when in value["kept"]),
        )


def _refuse(format: Any, where: str) -> NoReturn:
    match = _FORMATS.fullmatch(format) if isinstance(format, str) else None
    if match is None:
        raise ValueError(f"its format is {short_repr(format)}")
    raise DatasetError(
        f"{where} was made by a newer mapred: its format is {format}, and this one reads "
        f"{FORMAT}; {UPGRADE}"
    )


def path_of(version: int) -> str:
    """Where a version lies below the dataset's folder."""
    return _NAME.format(version)


def newest(
    place: str, names: Callable[[], Iterable[str]], read: Callable[[str], bytes], least: int = 0
) -> Manifest | None:
    """Return the version that holds now, of the files in the manifest's folder; None where there is
    none.

    `read` is given a name, and raises `FileNotFoundError` for one that is gone. A listing may
    lag behind: what follows its last version, or the version `least`, which exists, is read by name.
    """
    for _ in range(_TRIES):
        listed = [int(match[1]) for match in map(_NAMED.fullmatch, names()) if match]
        first = max([*listed, least, 1])
        # Between the listing and the read it may have been dropped as an old one.
        name, data = "", None
        with suppress(FileNotFoundError):
            for number in itertools.count(first):
                tried = _NAME.format(number).removeprefix(f"{FOLDER}/")
                data = read(tried)
                name = tried
        if data is not None:
            try:
                return Manifest.from_bytes(data, f"{place}/{FOLDER}/{name}")
            except (ValueError, KeyError, TypeError) as error:
                raise DatasetError(
                    f"{place}/{FOLDER}/{name} is not a manifest that mapred wrote "
                    f"({type(error).__name__}: {error}); remove it to use the version before"
                ) from error
        if not listed and not least:
            return None
    raise StorageError(f"{place}/{FOLDER}: files are listed, but cannot be read")
