"""What paths say of a dataset: its format, and the columns of its folders."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from dataset.folders import found, make, pinned, sniff

from mapred import dataset
from mapred.dataset import as_dataset, listing, pin
from mapred.errors import DatasetError


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
    with pytest.raises(DatasetError, match=r"e/y=1/a.csv is not in a folder x=…"):
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
