"""What the paths of a listing say of a dataset: its format and its partition columns."""

from __future__ import annotations

import re
from urllib.parse import unquote

from mapred.arrow.buffers import scalar
from mapred.arrow.types import NULL_FOLDER
from mapred.dataset.values import COMPRESSED, kind_of_suffix, suffix_of, suffixes
from mapred.errors import DatasetError
from mapred.process.lazy import pa, pc

_WHOLE = r"^(?:0|-?[1-9][0-9]{0,17})$"
# Suffixes of archives, and of compressions and files that no reader of lines understands.
_ARCHIVES = "tar tgz tbz tbz2 txz tzst zip 7z rar jar whl cpio iso".split()
_PACKED = "z lz4 lzo lzma br snappy sz".split()
_BINARY = (
    "xlsx xls xlsb ods docx doc pptx odt pdf png jpg jpeg gif bmp tif tiff webp mp3 mp4 wav avi mov "
    "h5 hdf5 nc npy npz pt pth onnx pkl pickle orc avro sqlite db duckdb so dll exe pyc class bam cram"
).split()
_TEXT = ("text", "csv", "json")


def kind_of(paths: pa.ChunkedArray) -> tuple[str, str]:
    """Format and delimiter of the files, by suffix; a `DatasetError` where they differ."""
    endings = suffixes(paths)
    kinds: dict[tuple[str, str], str | None] = {}
    for suffix in endings.unique().to_pylist():
        kinds.setdefault(kind_of_suffix(suffix or ""), suffix)
    if len(kinds) == 1:
        return next(iter(kinds))
    examples = []
    for (name, delimiter), suffix in kinds.items():
        number = pc.index(endings, suffix).as_py() if suffix else endings.is_null().index(True)
        example = paths[number if isinstance(number, int) else number.as_py()].as_py()
        examples.append(f"{'tsv' if delimiter != ',' else name} ({example})")
    raise DatasetError(
        f"the files are of different kinds: {', '.join(examples)}; choose one: "
        "mapred.read_text, read_csv, read_parquet, read_json, read_arrow or read_files"
    )


def refuse_archives(paths: pa.ChunkedArray, format: str) -> None:
    """Raise `DatasetError` where a reader of text is to read a file whose suffix says otherwise."""
    if format not in _TEXT:
        return

    compressed = "|".join(COMPRESSED)
    endings = "|".join((*_ARCHIVES, *_PACKED, *_BINARY))
    foreign = pc.match_substring_regex(paths, rf"(?i)\.(?:{endings})(?:\.(?:{compressed}))?$")
    number = pc.index(foreign, scalar(True)).as_py()
    if number < 0:
        return
    path = paths[number].as_py()
    suffix = suffix_of(path)
    what = f"is an archive (.{suffix})"
    how = "mapred.read_files hands over whole archives, to be read by tarfile or zipfile"
    if suffix in _PACKED:
        what = f"is compressed in a way that mapred does not read (.{suffix})"
        how = "pack it as .gz, .bz2, .xz or .zst, or use mapred.read_files"
    elif suffix in _BINARY:
        what, how = f"is not text (.{suffix})", "mapred.read_files hands over whole files"
    raise DatasetError(f"{path} {what}, so it cannot be read as {format}; {how}")


def partitions(paths: pa.ChunkedArray, prefix: str = "") -> dict[str, pa.DataType]:
    """Return the `name=value` folders that all files lie in, and their types, outermost first.

    Folders of `prefix`, which every path begins with, do not count. Values that are all whole
    numbers as they are usually written make an int64, others a string: `01` and `1` are two
    folders, and stay two values. Raises `DatasetError` where files differ.
    """
    first = paths[0].as_py()[len(prefix) :]
    names = list(dict.fromkeys(re.findall(r"([^/=]+)=[^/]*(?=/)", first)))
    if not names and not pc.any(pc.match_substring(paths, "=")).as_py():
        return {}
    _same_folders(paths, prefix)
    types: dict[str, pa.DataType] = {}
    for name in names:
        pattern = rf"^(?s:.*)(?:^|/){re.escape(name)}=(?P<value>[^/]*)/"
        values = pc.struct_field(pc.extract_regex(paths, pattern), "value")
        if values.null_count:
            number = values.is_null().index(True).as_py()
            raise DatasetError(
                f"{paths[number]} is not in a folder {name}=…, as {paths[0]} is; read them separately"
            )
        distinct = values.unique().drop_null()
        texts = distinct.filter(pc.not_equal(distinct, scalar(NULL_FOLDER)))
        whole = pc.all(pc.match_substring_regex(texts, _WHOLE), min_count=1).as_py()
        types[unquote(name)] = pa.int64() if whole else pa.string()
    return types


def _same_folders(paths: pa.ChunkedArray, prefix: str) -> None:
    """Raise unless all files lie in equally many `name=value` folders."""
    folders = pc.replace_substring_regex(paths, r"[^/]*$", "")
    if prefix:
        folders = pc.utf8_slice_codeunits(folders, len(prefix))
    counts = pc.count_substring_regex(folders, r"[^/=]+=[^/]*/")
    other = pc.index(pc.not_equal(counts, counts[0]), scalar(True)).as_py()
    if other >= 0:
        raise DatasetError(
            f"{paths[other]} does not lie in the same name=value folders as {paths[0]}; read "
            "them separately"
        )
