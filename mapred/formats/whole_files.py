"""Whole files, one at a time: `mapred.File`, their bytes, or a path on this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mapred.errors import DatasetError
from mapred.formats.base import OpenRange, Range, Reading, planned_ranges, read_exactly
from mapred.formats.items import Items, Load
from mapred.model.spec import Format
from mapred.storage.local import NO_ROOM, temporary_failure

if TYPE_CHECKING:
    import pyarrow as pa

_COPY = 1 << 20


@dataclass(frozen=True)
class File:
    r"""A file of a dataset, as the function gets it from `mapred.read_files`.

    Attributes:
        path: The file's path or URI, as it was listed.
        size: Its size in bytes.

    Examples:
        >>> def first_line(file: mapred.File):
        ...     with file.open() as stream:
        ...         return stream.readline()
        >>> mapred.run(first_line, mapred.read_files("corpus/*.txt")).result()
        [b'the road goes ever on\n', b'the one road\n']
    """

    path: str
    size: int
    _range: Range = field(repr=False, compare=False)
    _open: OpenRange = field(repr=False, compare=False)

    def open(self) -> BinaryIO:
        r"""Return a seekable binary stream of the file.

        Returns:
            The stream; close it, or use it in a `with` block.

        Raises:
            StaleDatasetError: The file changed or vanished since the plan.

        Examples:
            >>> def is_png(file):
            ...     with file.open() as stream:
            ...         return stream.read(4) == b"\x89PNG"
            >>> mapred.run(is_png, mapred.read_files("corpus/*.txt")).result()
            [False, False]
        """
        return self._open(self._range)

    def read(self) -> bytes:
        """Return all bytes of the file.

        Returns:
            The bytes.

        Raises:
            StaleDatasetError: The file changed or vanished since the plan.

        Examples:
            >>> mapred.run(lambda file: len(file.read()), mapred.read_files("corpus/*.txt")).result()
            [42, 13]
        """
        with self.open() as stream:
            return read_exactly(stream, 0, self.size)


def read(format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading) -> Items:
    """Return each file with its index in the dataset."""
    loads: dict[str, Load] = {
        "file": lambda range_, number: File(range_.path, range_.size, range_, open_range),
        "bytes": lambda range_, number: _bytes(range_, open_range),
        "path": _Copies(open_range).load,
    }
    if format.as_ not in loads:
        raise DatasetError(f"files cannot be read as_={format.as_!r}")
    return Items(planned_ranges(ranges), lambda range_: None, loads[format.as_], reading)


def _bytes(range_: Range, open_range: OpenRange) -> bytes:
    with open_range(range_) as stream:
        return read_exactly(stream, 0, range_.size)


class _Copies:
    """Paths on this machine: local files themselves, of others a copy that lasts until the next."""

    def __init__(self, open_range: OpenRange) -> None:
        self._open_range = open_range
        self._folder: str | None = None

    def load(self, range_: Range, number: int) -> Path:
        with self._open_range(range_) as stream:
            if os.path.isabs(range_.path):
                return Path(range_.path)
            name = range_.path.rpartition("/")[2] or "file"
            try:
                path = Path(self._empty_folder(), name)
                with path.open("wb") as copy:
                    shutil.copyfileobj(stream, copy, _COPY)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                raise temporary_failure(f"copy {range_.path} to", error) from error
        if path.stat().st_size != range_.size:
            raise EOFError(f"only {path.stat().st_size} of {range_.size} bytes came")
        return path

    def _empty_folder(self) -> str:
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="mapred-")
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        for name in os.listdir(self._folder):
            os.unlink(os.path.join(self._folder, name))
        return self._folder
