"""What files begin with that are not text: their magic numbers."""

from __future__ import annotations

from mapred.errors import DatasetError

_TAR_AT, _TAR = 257, b"ustar"
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_OTHERS = {
    b"PK\x03\x04": "a zip archive (or a document or package made of one)",
    b"PK\x05\x06": "an empty zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x04\x22\x4d\x18": "compressed by lz4",
    b"\xff\x06\x00\x00sNaPpY": "compressed by snappy",
    b"PAR1": "a Parquet file: use mapred.read_parquet",
    b"ARROW1": "an Arrow file: use mapred.read_arrow",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"\x89PNG\r\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF-": "a PDF document",
    b"\x89HDF\r\n": "an HDF5 file",
    b"CDF\x01": "a netCDF file",
    b"\x93NUMPY": "a numpy array",
    b"SQLite format 3\x00": "an SQLite database",
    b"\xd0\xcf\x11\xe0\xa1\xb1": "an old Office document",
    b"\x7fELF": "a program",
}
# Letters with which a text may begin as well: these need more than the number itself.
_TEXTUAL = (b"BZh", b"PAR1", b"ARROW1", b"ORC", b"GIF8", b"Rar!", b"%PDF-")
_NUMBERS = (*_COMPRESSED, *_OTHERS)
LOOK = _TAR_AT + len(_TAR)


def refuse_binary(head: bytes, path: str, compression: str | None) -> None:
    """Raise `DatasetError` where the plain beginning of a file, `head`, is not that of a text.

    `compression` is the one that was undone to get at `head`.
    """
    if head[_TAR_AT:LOOK] == _TAR and b"\x00" in head[:_TAR_AT]:
        raise DatasetError(
            f"{path} is a tar archive; mapred.read_files hands over whole archives, to be read by "
            "tarfile"
        )
    if not head.startswith(_NUMBERS):
        return
    number = next(number for number in _NUMBERS if head.startswith(number))
    if number in _TEXTUAL and not _binary(head[:LOOK]):
        return
    if number in _COMPRESSED:
        name = _COMPRESSED[number]
        twice = f"once more than the {compression} of its suffix says" if compression else ""
        how = "unpack it once" if compression else f"pass compression={name!r}, or rename it"
        raise DatasetError(f"{path} is compressed by {name} {twice}".rstrip() + f"; {how}")
    raise DatasetError(
        f"{path} is not text: it begins like {_OTHERS[number]}; mapred.read_files hands over whole "
        "files"
    )


def _binary(head: bytes) -> bool:
    """Whether bytes hold what no text does: control characters, or what is not UTF-8."""
    if any(byte < 9 or 14 <= byte < 27 for byte in head):
        return True
    try:
        head[: LOOK - 4].decode()
    except UnicodeDecodeError as error:
        return error.reason != "unexpected end of data"
    return False
