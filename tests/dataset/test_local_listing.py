"""The files of this machine that a path, a glob, a folder or a list stands for."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
from dataset.folders import found, make
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred import dataset
from mapred.dataset import as_dataset, listing
from mapred.errors import DatasetError


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
@settings(max_examples=50, deadline=None)
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
