"""Text: each line once and in order, however the file is cut, and never a line too few."""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import os
import tracemalloc
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mapred import formats, storage
from mapred.errors import DatasetError, StaleDatasetError
from mapred.formats import Reading, text
from mapred.model.spec import Format

LINES = Format("text", "lines")
# Everything that str.splitlines would split at, and two characters of more than two bytes.
ODD = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r\0 aé😀"
LINE = st.text(
    st.one_of(st.sampled_from(ODD), st.characters(codec="utf-8", exclude_characters="\n")),
    max_size=12,
)
CUTS = st.lists(st.floats(0, 1, exclude_max=True), max_size=8)
MOST = st.one_of(st.just(1 << 40), st.integers(1, 40))
TEXTS = st.tuples(st.lists(LINE, max_size=15), st.sampled_from(["\n", "\r\n"]), st.booleans()).map(
    lambda t: t[1].join(t[0]) + (t[1] if t[2] and t[0] else "")
)


def split(data: bytes) -> list[bytes]:
    """The lines of a file by the rule itself."""
    *lines, rest = data.split(b"\n")
    return [line.removesuffix(b"\r") for line in lines] + ([rest] if rest else [])


@settings(max_examples=40, deadline=None)
@example(texts=["a\r", "0"], cuts=[], most=1 << 40, block=50)
@given(st.lists(TEXTS, min_size=1, max_size=3), CUTS, MOST, st.integers(1, 50))
def test_every_line_is_read_once(
    lab: Any, texts: list[str], cuts: list[float], most: int, block: int
) -> None:
    files = {f"{n} #%?.txt": text.encode() for n, text in enumerate(texts)}
    expected = [line for data in files.values() for line in split(data)]
    ranges = lab.cut(files, cuts)
    with (
        mock.patch.object(text, "LINES_BLOCK", block),
        mock.patch.object(text, "LARGE_BLOCK", block),
    ):
        parts = lab.read_each(LINES, files, ranges, most)
        assert [line.encode() for part in parts for line in part.value] == expected
        assert [part.reading.records for part in parts] == [len(part.value) for part in parts]
        parts = lab.read_each(Format("text", "byte_lines"), files, ranges, most)
        assert [line for part in parts for line in part.value] == expected
        parts = lab.read_each(Format("text", "strings"), files, ranges, most)
        assert [s.encode() for part in parts for s in part.value.to_pylist()] == expected
        assert {part.value.type for part in parts} == {pa.large_string()}
        whole = lab.read(Format("text", "bytes"), files, ranges, most)
        assert split(whole.value) == expected
        assert whole.reading.records == len(expected)
        assert whole.reading.ranges == ranges.num_rows


def test_records_longer_than_the_readahead_are_not_lost(lab: Any) -> None:
    line = b"x" * (300_000 - 1)
    files = {"a": (line + b"\n") * 20}
    size = len(files["a"])
    starts = range(0, size, 500_000)
    ranges = lab.table([("a", s, min(500_000, size - s), size) for s in starts])
    parts = lab.read_each(LINES, files, ranges)
    assert [len(part.value) for part in parts] == [2, 2, 1, 2, 2, 1, 2, 2, 1, 2, 2, 1]
    assert sum(part.value.count(line.decode()) for part in parts) == 20


def test_a_line_over_many_ranges_is_read_by_its_first(lab: Any) -> None:
    files = {"a": b"y" * 1000 + b"\nz\n"}
    parts = lab.read_each(LINES, files, lab.cut(files, [n / 20 for n in range(20)]))
    assert [len(part.value) for part in parts] == [1, *[0] * 18, 1]
    assert [len(part.reading.spans) for part in parts] == [1] * 20


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1", "cp037"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings(lab: Any, encoding: str, end: str) -> None:
    lines = ["één", "", "zwei\x0b", "Ċ\u0a0a" if encoding.startswith("utf") else "d"]
    files = {"a": end.join([*lines, ""]).encode(encoding)}
    ranges = lab.cut(files, [0.3, 0.6])
    for most in (1, 3, 1000):
        format = Format("text", "lines", encoding=encoding)
        parts = lab.read_each(format, files, ranges, most)
        assert [line for part in parts for line in part.value] == lines
        parts = lab.read_each(Format("text", "strings", encoding=encoding), files, ranges, most)
        assert [line for part in parts for line in part.value.to_pylist()] == lines


def test_an_unknown_encoding_is_named(lab: Any) -> None:
    files = {"a": b"a\n"}
    with pytest.raises(DatasetError, match="encoding='klingon' is unknown"):
        lab.read(Format("text", "lines", encoding="klingon"), files, lab.cut(files, []))


BAD = b"fine\n" * 100 + b"b\xffd\n" + b"fine\n"


@pytest.mark.parametrize("as_", ["lines", "strings"])
@pytest.mark.parametrize("cuts", [[], [0.5]])
def test_invalid_text_names_file_and_byte(lab: Any, as_: str, cuts: list[float]) -> None:
    files = {"a b.txt": BAD}
    ranges = lab.cut(files, cuts)
    with pytest.raises(DatasetError, match=r"a b\.txt: byte 501 is not valid utf-8.*errors='rep"):
        lab.read(Format("text", as_), files, ranges)
    replaced = lab.read(Format("text", as_, errors="replace"), files, ranges).value
    assert [str(line) for line in replaced][100] == "b\ufffdd"
    ignored = lab.read(Format("text", as_, errors="ignore"), files, ranges).value
    assert [str(line) for line in ignored][100] == "bd"


def test_what_is_ignored_may_leave_an_empty_last_line(lab: Any) -> None:
    files = {"a": b"a\n\xff"}
    part = lab.read(Format("text", "lines", errors="ignore"), files, lab.cut(files, []))
    assert part.value == ["a", ""]


def test_invalid_wide_text_names_its_byte(lab: Any) -> None:
    files = {"a": "ab".encode("utf-16-le") + b"\x00\xd8" + "c".encode("utf-16-le")}
    for most in (1, 3, 100):
        with pytest.raises(DatasetError, match=r"a: byte 4 is not valid utf-16-le"):
            lab.read(Format("text", "lines", encoding="utf-16-le"), files, lab.cut(files, []), most)


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".ZST": zstd}


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_text_of_several_members(lab: Any, suffix: str) -> None:
    pack = PACKERS[suffix]
    lines = [f"line {n}" for n in range(2000)]
    cut = "\n".join(lines).encode() + b"\n"
    data = pack(cut[:5000]) + pack(b"") + pack(cut[5000:])
    files = {f"a{suffix}": data}
    for most in (7, 1 << 40):
        part = lab.read(LINES, files, lab.cut(files, []), most)
        assert part.value == lines
        assert (part.reading.bytes, part.reading.spans) == (len(data), [])
    named = Format("text", "lines", compression=PACKERS_NAMES[suffix])
    assert lab.read(named, {"b": data}, lab.cut({"b": data}, [])).value == lines


PACKERS_NAMES = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".ZST": "zstd"}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("members", [1, 2])
def test_truncated_files_are_never_silently_short(lab: Any, suffix: str, members: int) -> None:
    pack = PACKERS[suffix]
    one = pack(os.urandom(3000).hex().encode() + b"\n")
    data = one * members
    for stop in {*range(len(data) - 12, len(data)), len(data) - len(one) // 2}:
        files = {f"a{suffix}": data[:stop]}
        with pytest.raises(DatasetError, match=f"cannot read a{suffix}"):
            lab.read(LINES, files, lab.cut(files, []))


@pytest.mark.parametrize("suffix", PACKERS)
def test_corrupt_and_padded_files(lab: Any, suffix: str) -> None:
    data = PACKERS[suffix](os.urandom(3000).hex().encode() + b"\n")
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 255
    for bad in (bytes(flipped), bytes(len(data)), data + b"junk", b"plain text\n"):
        files = {f"a{suffix}": bad}
        if suffix == ".ZST" and bad == flipped:
            continue  # frames without a checksum hide some flips
        with pytest.raises(DatasetError):
            lab.read(LINES, files, lab.cut(files, []))
    if suffix in (".gz", ".xz"):
        files = {f"a{suffix}": data + bytes(8)}
        assert len(lab.read(LINES, files, lab.cut(files, [])).value) == 1


def test_only_a_suffix_makes_a_compressed_file(lab: Any) -> None:
    files = {"gz": b"a\n", "x.gz/b": b"b\n", "c.gz": b"c\n"}
    format = Format("text", "lines", compression=None)
    assert lab.read(format, files, lab.cut(files, [])).value == ["a", "b", "c"]
    del files["c.gz"]
    assert lab.read(LINES, files, lab.cut(files, [])).value == ["a", "b"]
    with pytest.raises(DatasetError, match="compression='rar' is not one of"):
        lab.read(Format("text", "lines", compression="rar"), files, lab.cut(files, []))


def test_files_that_cannot_be_cut_belong_to_their_first_range(lab: Any) -> None:
    files = {"a.gz": gzip.compress(b"a\nb\n" * 50)}
    parts = lab.read_each(LINES, files, lab.cut(files, [0.2, 0.5]))
    assert [len(part.value) for part in parts] == [100, 0, 0]


@pytest.mark.slow
def test_compressed_text_is_read_in_little_memory(lab: Any) -> None:
    files = {"a.gz": gzip.compress(b"0123456789abcde\n" * (2 << 20), 1)}
    ranges = lab.cut(files, [])
    lines = formats.read(LINES, ranges, lab.open(files), Reading())
    tracemalloc.start()
    try:
        count = sum(1 for _ in lines)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 2 << 20
    assert peak < 12 << 20


def test_a_consumer_that_stops_leaves_evidence(lab: Any) -> None:
    files = {"a": b"a\n" * 1000, "b": b"b\n" * 1000}
    ranges = lab.cut(files, [])
    with mock.patch.object(text, "LINES_BLOCK", 100):
        reading = Reading()
        lines = formats.read(LINES, ranges, lab.open(files), reading)
        assert (reading.records, reading.ranges, reading.bytes, reading.spans) == (0, 0, 0, [])
        taken = list(itertools.islice(lines, 1225))
        assert len(taken) == 1225
        assert reading.where() == "b, bytes 400-500"
        assert (reading.ranges, reading.records, reading.bytes) == (1, 1200, 2400)
        assert [(s.range, s.start, s.stop) for s in reading.spans] == [(1, 0, 400)]
        del lines
        assert reading.ranges == 1
        everything = Reading()
        lines = formats.read(LINES, ranges, lab.open(files), everything)
        list(itertools.islice(lines, 2000))
        assert everything.ranges == 1, "whoever does not ask for an end has not seen it"
        assert list(lines) == []
        assert (everything.ranges, everything.bytes, everything.spans) == (2, 4000, [])


def test_a_failure_names_the_place_in_hand(lab: Any) -> None:
    files = {"a": b"a\n" * 10, "b.gz": gzip.compress(b"b\n" * 10)}
    ranges = lab.cut(files, [])
    reading = Reading()
    lines = formats.read(LINES, ranges, lab.open(files), reading)
    next(lines)
    assert reading.where() == "a, bytes 0-20"
    list(itertools.islice(lines, 12))
    assert reading.where() == "b.gz, uncompressed bytes 0-20"
    list(lines)
    assert reading.where() == "a, bytes 0-20 and 1 more ranges"


def test_files_that_changed_are_stale(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "ä 1%#?.txt"
    path.write_bytes(b"a\nb\n")
    size, etag = 4, storage.local_etag(path.stat())
    good = lab.table([(str(path), 0, 4, size, etag)])
    assert list(formats.read(LINES, good, storage.open_source, Reading())) == ["a", "b"]
    for rows, match in [
        ([(str(path), 0, 5, 5, etag)], "has 4 bytes, but had 5"),
        ([(str(path), 0, 4, 4, "other")], "was changed after"),
        ([(str(path) + "!", 0, 4, 4, "")], r"\.txt!: gone since it was planned"),
    ]:
        with pytest.raises(StaleDatasetError, match=match):
            list(formats.read(LINES, lab.table(rows), storage.open_source, Reading()))
    with pytest.raises(StaleDatasetError, match="nowhere was removed after it was planned"):
        lab.read(LINES, {}, lab.table([("nowhere", 0, 4, 4)]))


def test_a_file_that_shrinks_while_it_is_read_is_stale(lab: Any) -> None:
    files = {"a": b"a\n" * 10}
    ranges = lab.table([("a", 0, 50, 100), ("a", 50, 50, 100)])
    for n in range(2):
        with pytest.raises(StaleDatasetError, match=r"a ended at byte (20|49), but had 100"):
            list(
                formats.read(
                    LINES, ranges.slice(n, 1), lab.open(files), Reading(), lambda *_: (100, "")
                )
            )


def test_what_the_system_refuses_is_a_dataset_error(lab: Any) -> None:
    def refuse(path: str, known: object = None) -> Any:
        raise PermissionError(13, "Permission denied", path)

    ranges = lab.table([("secret", 0, 4, 4)])
    with pytest.raises(DatasetError, match="cannot read secret, bytes 0-4: PermissionError: Perm"):
        list(formats.read(LINES, ranges, refuse, Reading()))


def test_empty_shards(lab: Any) -> None:
    none = lab.table([])
    assert lab.read(LINES, {}, none).value == []
    assert lab.read(Format("text", "byte_lines"), {}, none).value == []
    assert lab.read(Format("text", "bytes"), {}, none).value == b""
    assert len(lab.read(Format("text", "strings"), {}, none).value) == 0
    with pytest.raises(DatasetError, match="as_='table'"):
        lab.read(Format("text", "table"), {}, none)
    with pytest.raises(DatasetError, match="no format 'orc'"):
        lab.read(Format("orc", "table"), {}, none)


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (LINES, [True, False, False, True]),
        (Format("text", "lines", compression=None), [True] * 4),
        (Format("text", "lines", compression="gzip"), [False] * 4),
        (Format("text", "lines", encoding="utf-16"), [False] * 4),
        (Format("csv", "table", newlines_in_values=True), [False] * 4),
        (Format("parquet", "table"), [True] * 4),
        (Format("files", "file"), [False] * 4),
    ],
)
def test_what_a_plan_may_cut(format: Format, expected: list[bool]) -> None:
    paths = pa.chunked_array([["a.txt", "b.gz", "c/d.txt.ZST", "x.xz/bz2"]])
    assert np.broadcast_to(formats.is_splittable(format, paths), 4).tolist() == expected
