"""Whatever a user passes as a dataset: frames, lists, and what is not a dataset."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from dataset.folders import sniff

from mapred import dataset
from mapred.dataset import as_dataset, listing, pin
from mapred.errors import DatasetError
from mapred.model import layout


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
