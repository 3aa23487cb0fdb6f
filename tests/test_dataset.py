"""Datasets: what a user may hand over, what is listed, what is pinned."""

from __future__ import annotations

import datetime as dt
import glob
import itertools
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred import dataset
from mapred.arrow.samples import Place, Sample
from mapred.dataset import Dataset, as_dataset, item_format, listing, pin
from mapred.dataset.globs import parse
from mapred.dataset.schema import places
from mapred.errors import DatasetError, MissingDependency
from mapred.model import layout
from mapred.model.coding import read
from mapred.model.spec import Format

AB = pa.schema({"a": pa.int64(), "b": pa.string()})


def sniff(format: Format, places: Any, open_: Any) -> Sample:
    """Stands in for `formats.sniff`: every file has the columns a and b."""
    return Sample(AB)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def found(source: Any, root: Path | None = None) -> list[str]:
    """The listed paths, relative to the working folder."""
    table = listing(as_dataset(source))
    assert table.schema.names == ["path", "size", "etag"]
    assert table.schema.types == [pa.large_string(), pa.int64(), pa.string()]
    here = f"{root or Path.cwd()}/"
    return [path.removeprefix(here) for path in table["path"].to_pylist()]


# Globs, folders, lists


def test_globs_and_folders(tree: Path) -> None:
    make(tree, "a.txt", "b.log", "d/a.txt", "d/e/f/a.txt", "d.x/a.txt", "d/e/[1].txt", ".h/a.txt")
    make(tree, "d/.hidden.txt", "d/__init__.txt", "d/.nfs0001")
    assert found("*.txt") == ["a.txt"]
    assert found("**/*.txt") == [
        "a.txt", "d.x/a.txt", "d/__init__.txt", "d/a.txt", "d/e/[1].txt", "d/e/f/a.txt",
    ]  # fmt: skip
    assert found("d/**/a.txt") == ["d/a.txt", "d/e/f/a.txt"]
    assert found("d/**/f/**/*.txt") == ["d/e/f/a.txt"]
    assert found("**/e/**") == ["d/e/[1].txt", "d/e/f/a.txt"]
    assert found("?.???") == ["a.txt", "b.log"]
    assert found("[!a].*") == ["b.log"]
    assert found("d/e/[1].txt") == ["d/e/[1].txt"], "the brackets match nothing, the name exists"
    assert found("d/*/f/a.txt") == ["d/e/f/a.txt"]
    assert found(".h/*.txt") == found(".*/*.txt") == [".h/a.txt"]
    assert found("d") == found("d/") == found(Path("d")) == found(str(tree / "d"))
    assert found("d") == ["d/__init__.txt", "d/a.txt", "d/e/[1].txt", "d/e/f/a.txt"]
    assert found("file://" + str(tree / "*.txt")) == ["a.txt"]


def test_a_glob_of_folders_reads_what_lies_in_them(tree: Path) -> None:
    make(tree, "y=1/a.csv", "y=1/m=2/b.csv", "y=2/c.csv")
    assert found("y=*") == ["y=1/a.csv", "y=1/m=2/b.csv", "y=2/c.csv"]
    make(tree, "y=3.csv")
    assert found("y=*") == ["y=3.csv"], "files are what a glob matches first"


def test_underscores_are_no_data_of_tables(tree: Path) -> None:
    make(tree, "d/_SUCCESS", "d/_temporary/0/a.parquet", "d/a.parquet", "d/_y=1/b.parquet")
    assert found("d") == ["d/_y=1/b.parquet", "d/a.parquet"]
    assert found("d/**/*.parquet") == ["d/_y=1/b.parquet", "d/a.parquet"]
    assert found(dataset.read_parquet("d/_temporary/**")) == ["d/_temporary/0/a.parquet"]
    assert len(found(dataset.read_files("d"))) == 4
    make(tree, "t/__init__.py", "t/a.py")
    assert found("t") == found("t/*.py") == ["t/__init__.py", "t/a.py"]
    make(tree, "u/_a.csv")
    with pytest.raises(DatasetError, match="begin with '_'"):
        found("u/*.csv")
    assert found("u/_*.csv") == ["u/_a.csv"]


def test_lists_keep_their_order_and_count_a_path_once(tree: Path) -> None:
    make(tree, "b.txt", "a.txt", "d/z.txt", "d/y.txt")
    assert found(["b.txt", "a.txt"]) == ["b.txt", "a.txt"]
    assert found([Path("d"), "*.txt", "b.txt", "d/y.txt"]) == [
        "d/y.txt", "d/z.txt", "a.txt", "b.txt",
    ]  # fmt: skip
    assert found({"b.txt", "a.txt"}) == ["a.txt", "b.txt"]
    assert found(dataset.read_text(uri for uri in ["b.txt"])) == ["b.txt"]


NAMES = [
    "a b",
    "#1",
    "50%",
    "100%25",
    "what?",
    "[x]*",
    "naïve",
    "日本語",
    "😀",
    "a\tb",
    "a\nb",
    "'",
]


def test_names_of_every_kind(tree: Path) -> None:
    make(tree, *(f"d/{name}.txt" for name in NAMES))
    expected = sorted(f"d/{name}.txt" for name in NAMES)
    assert found("d/*.txt") == found("d") == expected
    literal = dataset.files([f"d/{name}.txt" for name in NAMES])
    assert found(literal) == [f"d/{name}.txt" for name in NAMES]
    assert found(dataset.read_text(dataset.files(["d/[x]*.txt"]))) == ["d/[x]*.txt"]


def test_wildcards_in_the_names_of_folders(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tree, "[a]*/b/c.txt", "a?/b/[d]/e.txt")
    assert found(f"{tree}/[a]*/b/*.txt") == ["[a]*/b/c.txt"]
    assert found("a?/b/[d]/*") == found("a?/b/[d]") == ["a?/b/[d]/e.txt"]
    monkeypatch.chdir(tree / "[a]*")
    assert found("**/*.txt") == found("b") == found("b/../b/c.txt") == ["b/c.txt"]
    assert found(".") == ["b/c.txt"]
    assert found("../a?/b/*/*", tree) == ["a?/b/[d]/e.txt"]
    with pytest.raises(DatasetError, match=r"\*.nope matches no file; .*\[a\]\*/b$"):
        found("b/*.nope")


def test_a_name_that_is_no_unicode_is_named(tree: Path) -> None:
    make(tree, "d/a.txt")
    try:
        Path(os.fsdecode(b"d/\xff.txt")).write_text("")
    except OSError:
        pytest.skip("the file system allows no such name")
    with pytest.raises(DatasetError, match=r"\\udcff.txt': the name of this file is not valid"):
        found("d/*.txt")


PARTS = st.lists(st.sampled_from(["a", "b", "ab", "*", "?", "a*", "[ab]", "**"]), min_size=1, max_size=4)  # fmt: skip
PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1, max_size=4), max_size=25
)


@given(parts=PARTS, paths=PATHS)
@settings(max_examples=100, deadline=None)
def test_globs_match_as_those_of_python(
    parts: list[str], paths: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for path in paths:
        file = root.joinpath("base", *path).with_suffix("")
        if not any(parent.is_file() for parent in [file, *file.parents]) and not file.is_dir():
            make(root, str(file.relative_to(root)))
    pattern = "/".join(parts)
    python = root.glob(f"base/{pattern}" + ("/*" if parts[-1] == "**" else ""))
    expected = sorted({str(path) for path in python if path.is_file()}, key=os.fsencode)
    if expected:
        assert listing(as_dataset(f"{root}/base/{pattern}"))["path"].to_pylist() == expected

    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    for file in root.rglob("*"):
        if file.is_file():
            memory.pipe(f"/{file.relative_to(root)}", b"x")
    if expected:
        remote = listing(as_dataset(f"memory://base/{pattern}"))["path"].to_pylist()
        assert remote == [f"memory://{Path(p).relative_to(root)}" for p in expected]


def test_sizes_and_etags_come_from_the_folder(tree: Path) -> None:
    make(tree, "abc.txt")
    row = listing(as_dataset("*.txt")).to_pylist()[0]
    stat = os.stat("abc.txt")
    assert row["size"] == 7
    assert row["etag"] == f"{stat.st_mtime_ns:x}-{stat.st_ino:x}"
    assert listing(dataset.files(["abc.txt"])).to_pylist() == [row]


def test_links(tree: Path) -> None:
    make(tree, "d/a.txt", "d/e/b.txt")
    Path("d/loop").symlink_to(tree / "d")
    Path("d/e/up").symlink_to(tree)
    Path("d/gone.txt").symlink_to(tree / "nowhere")
    Path("d/link.txt").symlink_to(tree / "d/e/b.txt")
    make(tree, "other/c.txt")
    Path("d/other").symlink_to(tree / "other")
    Path("other/back").symlink_to(tree / "d")
    os.mkfifo("d/pipe.txt")
    names = ["d/a.txt", "d/e/b.txt", "d/link.txt", "d/other/c.txt"]
    assert [name for name in found("d/**/*.txt") if name in names] == names
    assert len(found("d/**/*.txt")) < 10
    assert found("d/*.txt") == ["d/a.txt", "d/link.txt"]
    Path("d/self.txt").symlink_to(tree / "d/self.txt")
    assert found("d/*.txt") == ["d/a.txt", "d/link.txt"]
    with pytest.raises(DatasetError, match=r"pipe.txt is not a regular file"):
        found("d/pipe.txt")


def test_many_files_are_listed_in_order_each_folder_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in range(20):
        (tmp_path / f"{folder:02d}").mkdir()
        for file in range(500):
            os.close(os.open(tmp_path / f"{folder:02d}" / f"{file:04d}.txt", os.O_CREAT))
    scandir, read = os.scandir, []

    def counted(folder: str) -> Any:
        read.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counted)
    table = listing(as_dataset(f"{tmp_path}/**/*.txt"))
    assert len(table) == 10_000
    paths = table["path"].to_pylist()
    assert paths == sorted(paths)
    below = [folder for folder in map(os.fspath, read) if folder.startswith(f"{tmp_path}/")]
    assert len(below) == len(set(below)) == 20


def test_no_match_names_the_glob_and_the_deepest_folder(tree: Path) -> None:
    make(tree, "d/e/a.txt")
    with pytest.raises(DatasetError, match=rf"d/e/x/\*\*/\*.csv matches no file; .* {tree}/d/e$"):
        found("d/e/x/**/*.csv")
    with pytest.raises(DatasetError, match=rf"d/z.txt does not exist; .* {tree}/d$"):
        found("d/z.txt")
    with pytest.raises(DatasetError, match=r"nope.txt: no such file"):
        found(dataset.files(["d/e/a.txt", "nope.txt"]))
    Path("empty").mkdir()
    with pytest.raises(DatasetError, match="empty matches no file"):
        found("empty")
    with pytest.raises(DatasetError, match="d is a folder"):
        found(dataset.files(["d"]))
    with pytest.raises(DatasetError, match=r"x/\*.csv matches no file"):
        found(["d/e/a.txt", "x/*.csv"])
    with pytest.raises(DatasetError, match=r"a\*\*.txt: '\*\*' must be the whole name"):
        found("d/a**.txt")


def test_an_unreadable_folder_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tree, "d/secret/a.txt", "d/b.txt")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"d/secret cannot be listed: Permission denied"):
        found("d/**/*.txt")
    assert found("d/*.txt") == ["d/b.txt"], "a folder that cannot match is not opened"


# Remote


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()


def test_remote_listings(memory: Any) -> None:
    for name in ("a.txt", "d/b c#1%.txt", "d/e/f.txt", ".h/a.txt", "d/_x.csv", "d/a.csv"):
        memory.pipe(f"/bucket/{name}", b"12345")
    root = "memory://bucket/"
    assert found(f"{root}*.txt") == [f"{root}a.txt"]
    assert found(f"{root}**/*.txt") == [
        f"{root}a.txt", f"{root}d/b c#1%.txt", f"{root}d/e/f.txt",
    ]  # fmt: skip
    assert found(f"{root}d/*.csv") == found([f"{root}d/a.csv"] * 2) == [f"{root}d/a.csv"]
    assert len(found(dataset.read_files(f"{root}d"))) == 4
    assert found(dataset.files([f"{root}d/b c#1%.txt"])) == [f"{root}d/b c#1%.txt"]
    row = listing(as_dataset(f"{root}a.txt")).to_pylist()[0]
    assert (row["size"], bool(row["etag"])) == (5, True)
    for uri in (f"{root}*.nope", f"{root}nope.txt", "memory://nowhere/*"):
        with pytest.raises(DatasetError, match="matches no file"):
            found(uri)
    with pytest.raises(DatasetError, match=r"nope://b/\*: Protocol not known|nope"):
        found("nope://b/*")


def test_whatever_a_file_system_raises_is_mapped(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(memory), "ls", denied)
    with pytest.raises(DatasetError, match=r"memory://b/.* cannot be listed.*Access Denied"):
        found("memory://b/*")


# Formats


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.parquet", "parquet"), ("a.pq", "parquet"), ("a.csv", "csv"), ("a.CSV", "csv"),
        ("a.json", "json"), ("a.jsonl", "json"), ("a.ndjson.zst", "json"), ("a.arrow", "arrow"),
        ("a.feather", "arrow"), ("a.ipc", "arrow"), ("a.txt", "text"), ("a.log.gz", "text"),
        ("a.csv.gz", "csv"), ("a.b.csv", "csv"), ("a.gz", "text"), ("a", "text"), ("csv", "text"),
        ("a.py", "text"), (".csv", "csv"),
    ],
)  # fmt: skip
def test_the_suffix_is_the_format(tree: Path, name: str, format: str) -> None:
    make(tree, f"d/{name}")
    for source in (f"d/{name}", str(tree / "d" / name), [f"d/{name}"], "d"):
        if source == "d" and name.startswith("."):
            continue
        made = as_dataset(source)
        assert pin(made, listing(made), sniff).name == format


def test_mixed_kinds_ask_for_a_reader(tree: Path) -> None:
    make(tree, "d/a.csv", "d/b.csv", "d/c.txt", "d/none", "d/t.tsv")
    made = as_dataset("d/*")
    with pytest.raises(DatasetError, match=r"different kinds: csv \(.*a.csv\), .*read_csv"):
        pinned(made)
    assert len(found(dataset.read_text("d/*"))) == 5
    with pytest.raises(DatasetError, match=r"some files end in .tsv"):
        pinned(dataset.read_csv("d/*.*sv"))
    assert pinned(dataset.read_csv("d/*.tsv")).delimiter == "\t"
    assert pinned(as_dataset("d/*.tsv")).delimiter == "\t"
    assert pinned(dataset.read_csv("d/*.tsv", delimiter=";")).delimiter == ";"
    assert pinned(dataset.files(["d/a.csv"], format="csv")).delimiter == ","


def pinned(made: Dataset) -> Format:
    return pin(made, listing(made), sniff)


@pytest.mark.parametrize(
    ("format", "as_", "internal"),
    [
        ("text", None, "lines"), ("text", "arrow", "strings"), ("text", "bytes", "bytes"),
        ("text", "byte_lines", "byte_lines"), ("files", None, "file"), ("files", "path", "path"),
        ("parquet", None, "table"), ("csv", "pandas", "pandas"), ("json", "polars", "polars"),
        ("arrow", "batches", "batches"), ("arrow", "arrow", "table"), ("items", None, "item"),
    ],
)  # fmt: skip
def test_what_is_handed_over(format: str, as_: str | None, internal: str) -> None:
    assert dataset.handed_over(format, as_) == internal


def test_as_must_fit_the_format(tree: Path) -> None:
    with pytest.raises(DatasetError, match="as_='pandas' is not for text; choose one of 'lines'"):
        dataset.read_text("x", as_="pandas")
    with pytest.raises(DatasetError, match="as_='lines' is not for files"):
        dataset.read_files("x", as_="lines")


# Pinning


# Names and patterns


ODD = ("data[1].csv", "a*.csv", "what?.csv", "[!x].csv", "[a-b]/[c].csv")


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("how", [str, Path])
def test_a_path_that_exists_by_its_very_name_is_that_file(tree: Path, name: str, how: Any) -> None:
    make(tree, name, "data1.csv", "ab.csv", "what1.csv", "x.csv", "a/c.csv")
    assert found(how(name)) == [name]
    assert found([how(name), "x.csv"]) == [name, "x.csv"]
    assert found(dataset.read_csv(how(name))) == [name]
    listed = dataset.read_text([how(name)], filesystem=fsspec.filesystem("file"))
    assert [path.rpartition(f"{tree}/")[2] for path in listing(listed)["path"].to_pylist()] == [
        name
    ]


@given(names=st.lists(st.text("ab[]*?!-1", min_size=1, max_size=5), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_what_glob_returns_is_read_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    make(folder, *{f"{name}.csv" for name in names})
    listed = sorted(glob.glob(f"{folder}/*.csv"))
    assert listing(as_dataset(listed))["path"].to_pylist() == listed
    paths = sorted(folder.glob("*.csv"))
    assert listing(as_dataset(paths))["path"].to_pylist() == list(map(str, paths))


def test_a_path_object_is_never_a_pattern(tree: Path) -> None:
    make(tree, "x5.csv", "d[1]/a.csv", "d1/b.csv")
    for given_ in (Path("x[0-9].csv"), [Path("x?.csv")]):
        with pytest.raises(DatasetError, match=r"a Path is never a pattern: pass str\(path\)"):
            found(given_)
    assert found("x[0-9].csv") == ["x5.csv"]
    assert found(Path("d[1]")) == ["d[1]/a.csv"]
    assert found("d[1]/*.csv") == ["d1/b.csv"]


def test_samples_come_from_the_first_largest_last_and_middle_file_with_bytes(tree: Path) -> None:
    for name, size in {"a": 0, "b": 3, "c": 4, "d": 5, "e": 9, "f": 2, "g": 0}.items():
        Path(f"{name}.csv").write_text("x" * size)
    asked = []

    def look(format: Format, places: Iterable[Place], open_: Any) -> Sample:
        assert (format.name, format.delimiter, format.null_values) == ("csv", ",", ("NA",))
        for place in places:
            with open_(place.path) as file:
                assert len(file.read()) == place.size
            asked.append(f"{Path(place.path).stem}{place.offset}")
        return Sample(AB, {"a": 3, "b": 0})

    made = dataset.read_csv("*.csv", null_values=["NA"], columns=["b"], schema={"a": str})
    format = pin(made, listing(made), look)
    assert asked == ["b0", "e0", "f0", "d0", "c0"]
    assert format.schema == pa.schema({"a": pa.string(), "b": pa.string()})
    assert (format.columns, format.inferred, format.undecided) == (("b",), ("b",), ("b",))
    assert read(Format, format.to_json(), "format") == format


def test_a_large_file_alone_is_sampled_within() -> None:
    files = pa.table({"path": ["a"], "size": [10 * 2**20], "etag": [""]})
    assert [place.offset for place in places(files)] == [0, 9 * 2**20, 5 * 2**20]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("float", pa.float64()),
        (float, pa.float64()),
        ("int", pa.int64()),
        ("str", pa.string()),
        ("Int64", pa.int64()),
        ("double", pa.float64()),
        (np.float32, pa.float32()),
        (np.dtype("uint16"), pa.uint16()),
        (np.dtype("datetime64[ms]"), pa.timestamp("ms")),
        (pd.Int64Dtype(), pa.int64()),
        (pd.StringDtype(), pa.string()),
        (pd.DatetimeTZDtype("us", "UTC"), pa.timestamp("us", "UTC")),
        (pd.ArrowDtype(pa.decimal128(5, 2)), pa.decimal128(5, 2)),
        (dt.date, pa.date32()),
        (dt.datetime, pa.timestamp("us")),
        ("decimal128(38, 2)", pa.decimal128(38, 2)),
        ("decimal(76,0)", pa.decimal256(76, 0)),
        ("timestamp[ns, tz=UTC]", pa.timestamp("ns", "UTC")),
    ],
    ids=repr,
)
def test_types_as_users_write_them(written: Any, meant: pa.DataType) -> None:
    assert dataset.read_csv("x", schema={"a": written}).schema == {"a": meant}


@pytest.mark.parametrize(
    "written",
    [None, Decimal, list, dict, object, Path, 7, "words", "decimal128(99, 2)", [], np.void],
)
def test_types_that_are_unknown(written: Any) -> None:
    with pytest.raises(DatasetError, match=r"schema= gives 'a' the unknown type .*such as"):
        dataset.read_csv("x", schema={"a": written})


def test_a_whole_schema_needs_no_file(tree: Path) -> None:
    make(tree, "a.csv")
    made = dataset.read_csv("*.csv", schema=pa.schema({"zip": pa.string()}))
    format = pin(made, listing(made), lambda *_: pytest.fail("read"))
    assert format.schema == pa.schema({"zip": pa.string()})
    with pytest.raises(DatasetError, match=r"schema= names 'zip', which is not a column; .* a, b"):
        pinned(dataset.read_csv("*.csv", schema={"zip": "string"}))
    with pytest.raises(DatasetError, match="columns= names 'zip', which is not one of a, b"):
        pinned(dataset.read_csv("*.csv", columns=["zip"]))
    with pytest.raises(DatasetError, match="schema= gives 'a' the unknown type 'words'"):
        dataset.read_csv("*.csv", schema={"a": "words"})


def test_hive_folders_are_typed_columns(tree: Path) -> None:
    make(tree, "d/year=2026/city=New%20York/a.parquet", "d/year=2025/city=7/b.parquet")
    format = pinned(as_dataset("d"))
    assert format.partitions == ("year", "city")
    assert format.schema == pa.schema({**AB_TYPES, "year": pa.int64(), "city": pa.string()})
    assert pinned(as_dataset("d/**/*.parquet")).schema == format.schema
    assert (
        pinned(dataset.read_parquet("d", schema={"year": "int32"})).schema.field("year").type
        == pa.int32()
    )
    assert pinned(as_dataset("d/*/city=7/b.parquet")).partitions == ("year", "city")
    assert pinned(dataset.read_text("d")).partitions == ()
    make(tree, "d/year=__HIVE_DEFAULT_PARTITION__/city=7/c.parquet")
    assert pinned(as_dataset("d")).schema.field("year").type == pa.int64()
    make(tree, "d/year=x/city=7/d.parquet")
    assert pinned(as_dataset("d")).schema.field("year").type == pa.string()


def test_folders_with_leading_zeros_stay_texts(tree: Path) -> None:
    for number, (values, type_) in enumerate(
        [
            (["01234", "1234"], pa.string()),
            (["01", "02"], pa.string()),
            (["-0", "1"], pa.string()),
            (["+1", "2"], pa.string()),
            (["0", "-7", "10"], pa.int64()),
            ([str(10**18)], pa.string()),
            (["1e3"], pa.string()),
        ]
    ):
        make(tree, *(f"{number}/zip={value}/a.csv" for value in values))
        assert pinned(as_dataset(f"{number}")).schema.field("zip").type == type_


AB_TYPES = {"a": pa.int64(), "b": pa.string()}


def test_hive_folders_must_be_the_same_for_all(tree: Path) -> None:
    make(tree, "d/y=1/a.csv", "d/b.csv", "e/y=1/a.csv", "e/x=1/b.csv", "f/a=1/b.csv")
    with pytest.raises(DatasetError, match=r"y=1/a.csv does not lie in the same name=value"):
        pinned(as_dataset("d"))
    with pytest.raises(DatasetError, match=r"e/y=1/a.csv lies in no folder x=…"):
        pinned(as_dataset("e"))
    assert pinned(as_dataset("f")).partitions == ("a",)
    assert pinned(dataset.read_csv("f", hive=False)).partitions == ()


def test_folders_that_the_user_did_not_write_are_no_columns(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tree, "run=7/d/y=1/a.parquet", "run=7/d/y=2/k=v.parquet")
    monkeypatch.chdir(tree / "run=7")
    assert pinned(as_dataset("d")).partitions == ("y",)
    assert pinned(as_dataset("d/y=1/*")).partitions == ("y",)
    assert pinned(as_dataset(str(tree / "run=7/d"))).partitions == ("run", "y")


# Frames, items, arrays


def test_frames_are_arrow_files_of_the_run() -> None:
    table = pa.table({"x": range(300_000), "y": ["a"] * 300_000})
    for source in (table, table.to_pandas(), pl.from_arrow(table), table.to_batches()[0]):
        made = as_dataset(source)
        (path, data), *rest = made.inputs()
        assert (path, rest) == (layout.FRAME, [])
        assert listing(made).to_pylist() == [{"path": layout.FRAME, "size": len(data), "etag": ""}]
        file = pa.ipc.open_file(data)
        assert file.num_record_batches > 3
        assert file.read_all().to_pydict() == table.to_pydict()
        format = pin(made, listing(made), sniff)
        assert (format.name, format.as_, format.schema) == ("arrow", "table", file.schema)
    assert str(as_dataset(table)) == "table of 300,000 rows"


def test_frames_that_do_not_fit() -> None:
    with pytest.raises(DatasetError, match=r"pandas frame does not fit into Arrow: .*column x"):
        as_dataset(pd.DataFrame({"x": [1, "a", object()]}))
    with pytest.raises(DatasetError, match="LazyFrame"):
        as_dataset(pl.LazyFrame({"x": [1]}))


def test_items_are_pickled_back_to_back() -> None:
    made = dataset.items([1, "two", {"three": 3}, lambda: 4, [5, None]])
    assert (made.format, made.count) == ("items", 5)
    [(path, data)] = made.inputs()
    assert path == layout.ITEMS
    assert made.offsets[-1] == len(data)
    back = [pickle.loads(data[a:b]) for a, b in zip(made.offsets, made.offsets[1:], strict=False)]
    assert back[:3] == [1, "two", {"three": 3}]
    assert back[3]() == 4
    assert item_format(made) == Format("items", "item")
    with pytest.raises(DatasetError, match=r"item 1 \(generator\) cannot be pickled"):
        _ = dataset.items([1, (i for i in ())]).offsets
    with pytest.raises(DatasetError, match="lies in memory"):
        listing(made)


def test_arrays() -> None:
    made = dataset.array(10**12)
    assert (made.format, made.count, list(made.inputs())) == ("array", 10**12, [])
    assert dataset.array(np.int64(3)).count == 3
    assert item_format(made) == Format("array", "item")


NO_DATASETS: list[tuple[Any, str]] = [
    (lambda: as_dataset([]), "the list is empty"),
    (lambda: dataset.read_csv([]), "the list of files is empty"),
    (lambda: dataset.files([]), "the list of files is empty"),
    (lambda: dataset.items([]), "items\\(\\) got no items"),
    (lambda: dataset.items("abc"), "takes a list .* not str"),
    (lambda: dataset.items(3), "takes a list .* not int"),
    (lambda: dataset.array(0), "n=0 must be .* at least 1"),
    (lambda: dataset.array(1.5), "whole number"),
    (lambda: as_dataset(3), "int is not a dataset; .* mapred.array\\(n\\)"),
    (lambda: dataset.files([1, 2]), "1 in a list of paths is not a path; pass mapred.items"),
    (lambda: as_dataset(""), "'' is not a path"),
    (lambda: as_dataset("a\0b"), "is not a path"),
    (lambda: dataset.read_text(b"x"), "is not a path"),
    (lambda: dataset.read_text("x", encoding="utf-9"), "encoding='utf-9' is unknown"),
    (lambda: dataset.read_text("x", errors="loose"), "errors='loose' is unknown"),
    (lambda: dataset.read_text("x", compression="rar"), "compression='rar' is not one of"),
    (lambda: dataset.read_csv("x", delimiter="||"), "must be one ASCII character"),
    (lambda: dataset.read_csv("x", header="yes"), "must be True, False or 'first'"),
    (lambda: dataset.read_csv("x", skip_rows=-1), "skip_rows=-1 must be a whole number"),
    (
        lambda: dataset.read_csv("x", on_bad_rows="drop"),
        "on_bad_rows='drop' is not one of 'error', 'skip'",
    ),
    (
        lambda: dataset.read_csv("x", delimiter=";", decimal=";"),
        "delimiter= and decimal= are both ';'",
    ),
    (lambda: dataset.read_csv("x", dtype_backend="numba"), "dtype_backend='numba' is not one of"),
    (
        lambda: dataset.read_parquet("x", missing_columns="fill"),
        "missing_columns='fill' is not one of",
    ),
    (lambda: dataset.read_arrow("x", hive=1), "hive=1 must be True or False"),
    (lambda: dataset.read_csv("x", columns="a"), "must be a list in which each is a text"),
    (lambda: dataset.read_csv("x", columns=["a", "a"]), "names one twice"),
    (lambda: dataset.read_csv("x", schema=["a"]), "is not a pa.Schema"),
    (lambda: dataset.read_parquet("x", filters="a > 3"), "conditions such as"),
    (lambda: dataset.files(["x"], format="xls"), "format='xls' is not one of"),
    (lambda: dataset.read_csv(dataset.array(3)), "takes paths"),
]


@pytest.mark.parametrize(("make_it", "message"), NO_DATASETS, ids=range(len(NO_DATASETS)))
def test_what_is_no_dataset(make_it: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        make_it()


def test_options_reach_the_format(tree: Path) -> None:
    make(tree, "a.csv")
    made = dataset.read_csv(
        "a.csv", delimiter=";", quote="", header=False, newlines_in_values=True,
        null_values=[], encoding="latin-1", compression=None, filters=[("a", ">", 1)],
    )  # fmt: skip
    format = pinned(made)
    assert (format.delimiter, format.quote, format.header) == (";", "", False)
    assert (format.newlines_in_values, format.null_values) == (True, ())
    assert (format.encoding, format.compression, format.filter) == (
        "latin-1", None, [("a", ">", 1)],
    )  # fmt: skip
    assert dataset.why_whole(format) == "newlines_in_values=True"
    assert dataset.why_whole(Format("text", "lines", encoding="utf-16")) == "encoding='utf-16'"
    assert dataset.why_whole(Format("text", "lines")) == "compressed"
    assert dataset.why_whole(Format("files", "file")) == "each is read whole"
    made = dataset.read_parquet("a.csv", filters=pa.compute.field("a") > 1, columns=("a",))
    assert pinned(made).columns == ("a",)


def test_datasets_say_what_they_are() -> None:
    assert str(as_dataset("a/*.csv")) == "a/*.csv"
    assert str(as_dataset(["a.csv", "b.csv", "c.csv"])) == "a.csv and 2 more"
    assert repr(dataset.array(3000)) == "<Dataset array of 3,000>"


# Sweeps


def test_grids_and_zips() -> None:
    made = dataset.sweep(rate=[0.1, 0.2], depth=(1, 2), name="x")
    assert made.items == tuple(
        {"rate": rate, "depth": depth, "name": "x"} for rate in (0.1, 0.2) for depth in (1, 2)
    )
    assert item_format(made) == Format("items", "keywords")
    assert str(made) == "sweep of 4 points over rate, depth, name"
    repeated = dataset.sweep(rate=np.array([1.5]), repeats=2, seed=5)
    assert repeated.items == ({"rate": 1.5, "repeat": 0}, {"rate": 1.5, "repeat": 1})
    assert type(repeated.items[0]["rate"]) is float
    assert repeated.seed == 5
    zipped = dataset.sweep(a=[1, 2], b=range(2), c=7, mode="zip")
    assert zipped.items == ({"a": 1, "b": 0, "c": 7}, {"a": 2, "b": 1, "c": 7})
    assert dataset.sweep(repeats=2).items == ({"repeat": 0}, {"repeat": 1})
    assert dataset.sweep({"n": [1, 2], "seed": [3]}).items == (
        {"n": 1, "seed": 3}, {"n": 2, "seed": 3},
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["random", "sobol"])
def test_samples(mode: str) -> None:
    space = {
        "rate": dataset.loguniform(1e-4, 1),
        "scale": dataset.uniform(-1, 3),
        "depth": [2, 4, 8],
        "fixed": 1,
    }
    made = dataset.sweep(space, mode=mode, n=100, seed=3)
    assert made.count == 100
    assert made.items == dataset.sweep(space, mode=mode, n=100, seed=3).items
    assert made.items != dataset.sweep(space, mode=mode, n=100, seed=4).items
    rates = [point["rate"] for point in made.items]
    assert 1e-4 <= min(rates) <= max(rates) <= 1
    assert 30 <= sum(rate < 1e-2 for rate in rates) <= 70, "half of them below the middle"
    assert all(-1 <= point["scale"] <= 3 for point in made.items)
    assert {point["depth"] for point in made.items} == {2, 4, 8}
    assert {point["fixed"] for point in made.items} == {1}
    assert all(type(point["rate"]) is float for point in made.items)
    assert dataset.sweep(space, mode=mode, n=1).count == 1


def test_sobol_needs_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingDependency, match=r"mapred\[sweep\]"):
        dataset.sweep(a=[1], mode="sobol", n=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "got no parameters"),
        ({"a": []}, "a has no values"),
        ({"a": [1], "mode": "all"}, "mode='all' must be one of"),
        ({"a": itertools.count()}, "a has more than 10,000,000 values"),
        ({"a": [1], "seed": [1, 2]}, "goes into a mapping"),
        ({"a": [1], "n": 3}, "takes no n="),
        ({"a": [1], "mode": "random"}, "needs n="),
        ({"a": [1], "repeats": 0}, "at least 1"),
        ({"a": [1, 2], "b": [1, 2, 3], "mode": "zip"}, "a has 2, b has 3"),
        ({"a": dataset.uniform(0, 1)}, "a is an interval"),
        ({"repeat": [1], "repeats": 2}, "may not be called 'repeat'"),
        ({"a": range(10**4), "b": range(10**4)}, "100,000,000 points"),
    ],
)
def test_sweeps_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        dataset.sweep(**options)


def test_intervals_that_make_no_sense() -> None:
    for low, high in ((1, 1), (2, 1)):
        with pytest.raises(DatasetError, match="is empty"):
            dataset.uniform(low, high)
    with pytest.raises(DatasetError, match="must begin above zero"):
        dataset.loguniform(0, 1)
    for low, high in (("a", 1), (0, float("inf"))):
        with pytest.raises(DatasetError, match="needs two numbers"):
            dataset.uniform(low, high)  # type: ignore[arg-type]


def test_importing_it_is_lean(root: Path) -> None:
    code = "import sys, mapred.dataset; print({'pandas', 'polars', 'pyarrow', 'scipy', 'fsspec', 'numpy'} & set(sys.modules))"  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"


def test_listing_and_pinning_text_loads_no_pandas(root: Path) -> None:
    code = """
import sys
from mapred.dataset import as_dataset, listing, pin
made = as_dataset("mapred/**/*.py")
assert len(listing(made)) > 10
assert pin(made, listing(made), None).name == "text"
print({"pandas", "polars", "pyarrow.dataset", "scipy", "fsspec"} & set(sys.modules))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"


def test_a_pattern_knows_its_depth() -> None:
    assert parse("/a/b/*.txt").root == "/a/b"
    assert parse("/a/*/c/*.txt").depth == 3
    assert parse("/a/**/c.txt").depth is None
    assert parse("/*.txt").root == "/"


def test_a_parquet_file_is_read_by_its_footer(tree: Path) -> None:
    formats = pytest.importorskip("mapred.formats")
    pq.write_table(pa.table({"zip": ["01234"]}), "a.parquet")
    made = as_dataset("*.parquet")
    assert pin(made, listing(made), formats.sniff).schema.names == ["zip"]


def test_frames_of_polars_with_python_objects_are_refused() -> None:
    frame = pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(DatasetError, match=r"polars frame .*'x' holds Python objects .*items"):
        as_dataset(frame)
    assert as_dataset(dataset.items(pl.DataFrame({"x": [{"Object": 1}]}).to_dicts())).count == 1
    assert as_dataset(pl.DataFrame({"x": [{"Object": 1}]})).frame is not None


def test_an_index_that_numbers_no_rows_from_0_is_kept() -> None:
    for index, kept in ((range(3), False), (range(5, 8), True), (["p", "q", "r"], True)):
        made = as_dataset(pd.DataFrame({"x": [1, 2, 3]}, index=index)).frame
        assert made is not None
        assert ("__index_level_0__" in made.column_names) == kept


FRAMES = [
    pd.DataFrame({"x": [1, 2]}),
    pl.DataFrame({"x": [1, 2]}),
    pl.LazyFrame({"x": [1, 2]}),
    pa.table({"x": [1, 2]}),
    pa.record_batch({"x": [1, 2]}),
]


@pytest.mark.parametrize("frame", FRAMES, ids=["pandas", "polars", "lazy", "table", "batch"])
def test_a_frame_is_neither_a_list_of_items_nor_of_values(frame: Any) -> None:
    with pytest.raises(DatasetError, match=r"which lists its columns.*items\((.*)\);") as caught:
        dataset.items(frame)
    advice = re.search(r"pass items\((.*?\))\)", str(caught.value))
    assert advice is not None
    rows = eval(advice.group(1), {"frame": frame})
    assert dataset.items(rows).count == 2
    assert dataset.sweep(df=[frame]).count == 1
    with pytest.raises(DatasetError, match=r"df is a .*pass df=\[frame\]"):
        dataset.sweep(df=frame)
