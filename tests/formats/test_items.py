"""Items and whole files: one at a time, with their indices, and on after one that fails."""

from __future__ import annotations

import gc
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred import formats, storage
from mapred.errors import DatasetError, StaleDatasetError
from mapred.formats import Reading
from mapred.formats.whole_files import File
from mapred.model.spec import Format

ITEMS = Format("items", "item")
VALUES = st.lists(
    st.one_of(st.none(), st.integers(), st.text(), st.binary(max_size=300)), max_size=20
)


@settings(max_examples=30, deadline=None)
@given(VALUES, st.integers(1, 6), st.integers(0, 5), st.one_of(st.just(1 << 40), st.integers(1, 9)))
def test_every_item_is_read_once(
    lab: Any, values: list[Any], per: int, protocol: int, most: int
) -> None:
    pickles = [pickle.dumps(value, protocol) for value in values]
    files = {"input/items.pkl": b"".join(pickles)}
    offsets = [0]
    for data in pickles:
        offsets.append(offsets[-1] + len(data))
    rows = []
    for first in range(0, len(values), per):
        last = min(first + per, len(values))
        length = offsets[last] - offsets[first]
        rows.append(
            ("input/items.pkl", offsets[first], length, offsets[-1], "", first, last - first)
        )
    ranges = lab.table(rows)
    parts = [lab.read(ITEMS, files, ranges.slice(n, 1), most) for n in range(len(rows))]
    assert [pair for part in parts for pair in part.value] == list(enumerate(values))
    assert sum(part.reading.bytes for part in parts) == offsets[-1]
    assert sum(part.reading.records for part in parts) == len(values)
    whole = lab.read(ITEMS, files, ranges, most)
    assert whole.value == list(enumerate(values))
    assert whole.reading.ranges == len(rows)


class Unloadable:
    def __reduce__(self) -> Any:
        return int, ("not a number",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_an_item_that_does_not_load_is_named_and_the_next_one_follows(
    lab: Any, protocol: int
) -> None:
    pickles = [pickle.dumps(value, protocol) for value in ("a", Unloadable(), "c")]
    files = {"input/items.pkl": b"".join(pickles)}
    size = len(files["input/items.pkl"])
    reading = Reading()
    ranges = lab.table([("input/items.pkl", 0, size, size, "", 7, 3)])
    items = formats.read(ITEMS, ranges, lab.open(files), reading)
    assert next(items) == (7, "a")
    with pytest.raises(DatasetError, match="item 8 cannot be loaded: ValueError"):
        next(items)
    assert (reading.item, reading.where()) == (8, "input/items.pkl, item 8")
    assert next(items) == (9, "c")
    assert list(items) == []
    assert (reading.records, reading.ranges) == (2, 1)


def test_a_range_of_items_must_hold_them_all(lab: Any) -> None:
    data = pickle.dumps(1) + pickle.dumps(2)
    for row, match in [
        (("p", 0, len(data), len(data), "", 0, 1), "more than 1 items"),
        (("p", 0, len(data), len(data), "", 0, 3), "cannot be loaded: EOFError"),
        (("p", 0, len(data) - 1, len(data), "", 0, 2), "item 1 cannot be loaded: "),
    ]:
        with pytest.raises(DatasetError, match=match):
            lab.read(ITEMS, {"p": data}, lab.table([row]))


def test_an_array_is_its_indices(lab: Any) -> None:
    ranges = lab.table([("", 0, 0, 0, "", 5, 2), ("", 0, 0, 0, "", 7, 1), ("", 0, 0, 0, "", 8, 0)])
    part = lab.read(Format("array", "item"), {}, ranges)
    assert part.value == [(5, 5), (6, 6), (7, 7)]
    assert (part.reading.records, part.reading.ranges, part.reading.bytes) == (3, 3, 0)
    reading = Reading()
    items = formats.read(Format("array", "item"), ranges, lab.open({}), reading)
    assert reading.where() == "items 5-6"
    next(items)
    assert (reading.where(), reading.records) == ("item 5", 0)
    next(items)
    assert (reading.where(), reading.records) == ("item 6", 1)


def planned(lab: Any, *paths: Path) -> Any:
    rows = []
    for n, path in enumerate(paths):
        stat = path.stat()
        rows.append((str(path), 0, stat.st_size, stat.st_size, storage.local_etag(stat), 10 + n, 1))
    return lab.table(rows)


def test_whole_files(lab: Any, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a b", "é#%?.bin", "empty")]
    for path, data in zip(paths, (b"one", os.urandom(3_000_000), b""), strict=True):
        path.write_bytes(data)
    ranges = planned(lab, *paths)

    def read(as_: str) -> list[tuple[int, Any]]:
        return list(formats.read(Format("files", as_), ranges, storage.open_source, Reading()))

    files = read("file")
    assert [(n, file.path, file.size) for n, file in files] == [
        (10 + n, str(path), path.stat().st_size) for n, path in enumerate(paths)
    ]
    assert isinstance(files[0][1], File)
    assert [file.read() for _, file in files] == [path.read_bytes() for path in paths]
    with files[1][1].open() as stream:
        assert stream.seek(5) == 5
    assert [data for _, data in read("bytes")] == [path.read_bytes() for path in paths]
    assert [path for _, path in read("path")] == paths
    with pytest.raises(DatasetError, match="as_='table'"):
        read("table")


@pytest.mark.parametrize("as_", ["bytes", "path"])
def test_a_file_that_changed_does_not_stop_the_others(lab: Any, tmp_path: Path, as_: str) -> None:
    paths = [tmp_path / name for name in "abcd"]
    for path in paths:
        path.write_bytes(b"x")
    ranges = planned(lab, *paths)
    paths[1].write_bytes(b"longer")
    paths[2].unlink()
    reading = Reading()
    items = formats.read(Format("files", as_), ranges, storage.open_source, reading)
    assert next(items)[0] == 10
    with pytest.raises(StaleDatasetError, match="has 6 bytes, but had 1"):
        next(items)
    assert reading.where() == f"{paths[1]}, item 11"
    with pytest.raises(StaleDatasetError, match="gone"):
        next(items)
    assert next(items)[0] == 13
    assert next(items, None) is None
    assert (reading.ranges, reading.records) == (4, 2)


def test_a_file_is_checked_when_it_is_opened(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    ranges = planned(lab, path)
    reading = Reading()
    items = formats.read(Format("files", "file"), ranges, storage.open_source, reading)
    _, file = next(items)
    path.unlink()
    with pytest.raises(StaleDatasetError):
        file.open()
    assert (reading.ranges, reading.bytes) == (0, 0)


def test_remote_files_are_copied_for_as_long_as_they_are_used(lab: Any) -> None:
    files = {"bucket/c d": b"one", "other/a b": b"two"}
    items = formats.read(Format("files", "path"), lab.cut(files, []), lab.open(files), Reading())
    first = next(items)[1]
    assert (first.name, first.read_bytes()) == ("c d", b"one")
    second = next(items)[1]
    assert second.read_bytes() == b"two"
    assert list(first.parent.iterdir()) == [second]
    assert list(items) == []
    del items
    gc.collect()
    assert not second.parent.exists()
