"""Archives and other binary files are refused by name and by content, whatever is asked of them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mapred
from mapred.errors import DatasetError
from mapred.model.spec import Format

LINES = b"one\ntwo\nthree\n"


def tar(mode: str = "w") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:
        for name in ("a.log", "b.log"):
            info = tarfile.TarInfo(name)
            info.size = len(LINES)
            archive.addfile(info, io.BytesIO(LINES))
    return sink.getvalue()


def zipped() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a.log", LINES)
    return sink.getvalue()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), sink)
    return sink.getvalue()


CONTENTS = {
    "tar": tar(),
    "tar.gz": tar("w:gz"),
    "tgz": tar("w:gz"),
    "tar.bz2": tar("w:bz2"),
    "tar.xz": tar("w:xz"),
    "zip": zipped(),
    "XLSX": zipped(),
    "7z": b"7z\xbc\xaf\x27\x1c",
    "lz4": b"\x04\x22\x4d\x18",
    "csv.snappy": b"\xff\x06\x00\x00sNaPpY",
    "csv.br": b"\x0b\x05",
    "png": b"\x89PNG\r\n\x1a\n",
}
READERS = [
    mapred.read_text,
    lambda path: mapred.read_text(path, as_="bytes"),
    lambda path: mapred.read_text(path, as_="byte_lines", errors="replace"),
    mapred.read_csv,
    mapred.read_json,
    lambda path: mapred.files([path], format="text"),
]


@pytest.mark.parametrize("suffix", CONTENTS)
def test_suffixes_of_archives_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"logs.{suffix}"
    path.write_bytes(CONTENTS[suffix])
    for read in READERS:
        with pytest.raises(DatasetError, match=r"logs.*(archive|compressed|text).*read_files"):
            mapred.plan(read(str(path)))
    with pytest.raises(DatasetError, match="read_files"):
        mapred.plan(str(path))
    assert mapred.plan(mapred.read_files(path)).shards == 1


@pytest.mark.parametrize("as_", ["lines", "byte_lines", "strings", "bytes"])
@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("a.log", tar(), "tar archive; mapred.read_files"),
        ("a.gz", tar("w:gz"), "tar archive; mapred.read_files"),
        ("a.bz2", bz2.compress(tar()), "tar archive"),
        ("a.log", zipped(), "zip archive.*mapred.read_files"),
        ("a.log", parquet(), "use mapred.read_parquet"),
        ("a.log", gzip.compress(LINES), "compressed by gzip; pass compression='gzip'"),
        ("a.log", bz2.compress(LINES), "compressed by bz2; pass compression='bz2'"),
        ("a.log", lzma.compress(LINES), "compressed by xz; pass compression='xz'"),
        ("a.gz", gzip.compress(gzip.compress(LINES)), "once more than the gzip"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_magic_numbers_are_refused(
    lab: Any, as_: str, path: str, data: bytes, message: str
) -> None:
    for errors in ("strict", "replace"):
        format = Format("text", as_, errors=errors)
        for most in (7, 1 << 30):
            with pytest.raises(DatasetError, match=message):
                lab.read(format, {path: data}, lab.cut({path: data}, []), most)


@pytest.mark.parametrize(
    "text", ["PK\n", "BZh is a text\n", "ORC\n", "%PDF- is what they begin with\n", "\x1fA\n", ""]
)
def test_texts_that_begin_alike_are_read(lab: Any, text: str) -> None:
    for files in ({"a": text.encode()}, {"a.gz": gzip.compress(text.encode())}):
        part = lab.read(Format("text", "lines"), files, lab.cut(files, []))
        assert part.value == text.splitlines()


def test_advice_about_compression_helps(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(gzip.compress(LINES))
    run = mapred.run(
        list, mapred.read_text(path, compression="gzip"), root=tmp_path / "runs", progress="none"
    )
    assert run.result() == [["one", "two", "three"]]
