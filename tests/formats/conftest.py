"""Files in memory, cut anywhere, read range by range: what every reader is tested with."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
from hypothesis import strategies as st

from mapred import formats
from mapred.formats import Reading
from mapred.model.spec import Format


class Slow(io.BytesIO):
    """A file that gives few bytes at a time, as sockets do."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self.most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self.most if size is None or size < 0 else min(size, self.most))

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(memoryview(buffer)[: self.most])


@dataclass
class Part:
    """What one range gave, and the evidence."""

    value: Any
    reading: Reading


class Lab:
    """Reads files that are bytes in a dict."""

    def table(self, rows: Iterable[Sequence[Any]]) -> pa.Table:
        """Plan rows of (path, offset, length, size), with items numbered from 0."""
        rows = [list(row) + ["", n, 1][len(row) - 4 :] for n, row in enumerate(rows)]
        names = ["path", "offset", "length", "size", "etag", "first", "count"]
        types = [pa.large_string(), *[pa.int64()] * 3, pa.string(), *[pa.int64()] * 2]
        columns = [pa.array([row[n] for row in rows], t) for n, t in enumerate(types)]
        return pa.table(dict(zip(names, columns, strict=True)))

    def cut(self, files: dict[str, bytes], cuts: Iterable[float]) -> pa.Table:
        """The ranges of files that are cut at fractions of their sizes."""
        cuts = list(cuts)
        rows = []
        for path, data in files.items():
            size = len(data)
            edges = sorted({0, size, *(int(size * cut) for cut in cuts)})
            stops = edges[1:] or [size]
            rows += [
                (path, start, stop - start, size) for start, stop in zip(edges, stops, strict=False)
            ]
        return self.table(rows)

    def open(self, files: dict[str, bytes], most: int = 1 << 40) -> Any:
        def open_(path: str, known: Any = None) -> BinaryIO:
            if path not in files:
                raise FileNotFoundError(2, "No such file or directory", path)
            return Slow(files[path], most)

        return open_

    def read(
        self, format: Format, files: dict[str, bytes], ranges: pa.Table, most: int = 1 << 40
    ) -> Part:
        """One shard of all the ranges, read to its end."""
        reading = Reading()
        value = formats.read(format, ranges, self.open(files, most), reading)
        if hasattr(value, "__next__"):
            value = list(value)
        return Part(value, reading)

    def read_each(
        self, format: Format, files: dict[str, bytes], ranges: pa.Table, most: int = 1 << 40
    ) -> list[Part]:
        """A shard for each range; the evidence together must cover each file just once."""
        parts = [self.read(format, files, ranges.slice(n, 1), most) for n in range(ranges.num_rows)]
        self.check(files, ranges, parts)
        return parts

    def check(self, files: dict[str, bytes], ranges: pa.Table, parts: list[Part]) -> None:
        """The bytes that were read, range after range, are those of each file."""
        at = dict.fromkeys(files, 0)
        for part, row in zip(parts, ranges.to_pylist(), strict=True):
            assert part.reading.ranges == 1
            start, stop = row["offset"], row["offset"] + row["length"]
            for span in part.reading.spans:
                assert span.range == 0
                start, stop = span.start, span.stop
            assert part.reading.bytes == stop - start
            if start < stop:
                assert start == at[row["path"]]
                at[row["path"]] = stop
        assert at == {path: len(data) for path, data in files.items()}

    def sniff(self, format: Format, data: bytes, path: str = "a") -> pa.Schema:
        places = [formats.Place(path, len(data))]
        return formats.sniff(format, places, self.open({path: data})).schema


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


CUTS = st.lists(st.floats(0, 1, exclude_max=True), max_size=8)
MOST = st.one_of(st.just(1 << 40), st.integers(1, 40))


@pytest.fixture(scope="session")
def places() -> tuple[Any, Any]:
    """Strategies: where files are cut, and how many bytes a read gives at most."""
    return CUTS, MOST
