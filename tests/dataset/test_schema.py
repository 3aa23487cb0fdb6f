"""What the client fixes before a run: the format, the schema, and the files that say so."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset.folders import AB, make, pinned

from mapred import dataset
from mapred.arrow.samples import Place, Sample
from mapred.dataset import as_dataset, listing, pin
from mapred.dataset.schema import places
from mapred.errors import DatasetError
from mapred.model.coding import read
from mapred.model.spec import Format


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
    assert dataset.function_input(format, as_) == internal


def test_as_must_fit_the_format(tree: Path) -> None:
    with pytest.raises(DatasetError, match="as_='pandas' is not for text; choose one of 'lines'"):
        dataset.read_text("x", as_="pandas")
    with pytest.raises(DatasetError, match="as_='lines' is not for files"):
        dataset.read_files("x", as_="lines")


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


def test_a_parquet_file_is_read_by_its_footer(tree: Path) -> None:
    formats = pytest.importorskip("mapred.formats")
    pq.write_table(pa.table({"zip": ["01234"]}), "a.parquet")
    made = as_dataset("*.parquet")
    assert pin(made, listing(made), formats.sniff).schema.names == ["zip"]
