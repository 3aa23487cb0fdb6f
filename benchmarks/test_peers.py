"""What the peers rest on, at a small size: inputs that are alike, and engines of every kind."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.harness import Result
from benchmarks.peers import __main__ as peers
from benchmarks.peers import engines, files, picture, terasort


def test_every_workload_names_its_engines() -> None:
    for name in peers.WORKLOADS:
        module = importlib.import_module(f"benchmarks.peers.{name}")
        assert next(iter(module.CONTENDERS)) == "mapred"
        assert "dask" in module.CONTENDERS
        assert module.TITLE
        named = {name.split()[0] for name in {**module.CONTENDERS, **getattr(module, "ABSENT", {})}}
        assert named >= {"duckdb", "polars", "dask", "ray", "spark", "daft", "lithops", "mrjob"}


def test_the_bars() -> None:
    results = {
        "mapred": Result((2.0,), 10**8),
        "dask": Result((6.0,), 2 * 10**8),
        "polars": Result((0.8,), 10**7),
    }
    bars = peers.bars(results, group_by=True)
    assert [(row.what, row.ratio, row.met) for row in bars] == [
        ("an engine of Python functions, mapred : dask", 2 / 6, True),
        ("a query engine, mapred : polars", 2.5, False),
        ("memory, mapred : dask", 0.5, True),
    ]
    assert len(peers.bars(results, group_by=False)) == 2
    assert peers.bars({"mapred": Result((2.0,))}, group_by=True) == []


def test_sorted_files_are_compared_by_what_is_in_them(tmp_path: Path) -> None:
    made = np.random.default_rng(1).integers(33, 127, (1000, 98), dtype=np.uint8)
    for kind in ("parquet", "text"):
        (tmp_path / kind).mkdir()
    terasort._write(tmp_path, "0", made)
    parquet, text = str(tmp_path / "parquet/0.parquet"), str(tmp_path / "text/0.txt")
    ((count, checksum, ordered, first, last),) = terasort.rows([parquet])
    assert (count, ordered) == (1000, False)
    table = pq.read_table(parquet)
    assert (first, last) == (table["key"][0].as_py(), table["key"][-1].as_py())
    assert terasort.rows([text]) == terasort.rows([parquet])
    in_order = table.sort_by("key")
    large = pa.schema([(name, pa.large_string()) for name in table.column_names])
    halves = [str(tmp_path / f"{half}.parquet") for half in range(2)]
    for half, path in enumerate(halves):
        pq.write_table(in_order.slice(500 * half, 500).cast(large), path)
    assert terasort.rows(halves)[0][:3] == [1000, checksum, True]
    assert terasort.rows(halves[::-1])[0][:3] == [1000, checksum, False]
    payload = table["payload"].to_pylist()
    payload[:2] = payload[1::-1]
    swapped = str(tmp_path / "swapped.parquet")
    pq.write_table(pa.table({"key": table["key"], "payload": payload}), swapped)
    assert terasort.rows([swapped])[0][1] != checksum


def test_small_files_are_cut_between_lines(tmp_path: Path) -> None:
    piece = tmp_path / "piece"
    piece.write_bytes(b"some words in a line\n" * 2000)
    cut = files._cut([piece])
    texts = [next(cut) for _ in range(7)]
    assert b"".join(texts[:5]) == piece.read_bytes()
    assert texts[5:] == texts[:2]  # the text starts over
    assert {len(text) for text in texts[:4]} == {477 * 21}
    for number, text in enumerate(texts):
        path = tmp_path / "many" / f"{number % 2}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    total = files.look_at_all(
        path for paths in files.chunks(str(tmp_path / "many")) for path in paths
    )
    assert total == files.total(map(files.look, texts))
    assert total[:3] == [7, 2000 + 2 * 477, 5 * (2000 + 2 * 477)]


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ('openjdk version "1.8.0_402"', r'the one found is openjdk version "1\.8\.0_402"'),
        ('openjdk version "17.0.15" 2025-04-15', ""),
        (None, "none on the path"),
    ],
)
def test_spark_says_which_java_it_lacks(
    printed: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if printed is not None:
        java = tmp_path / "java"
        java.write_text(f"#!/bin/sh\necho '{printed}' >&2\n")
        java.chmod(0o755)
    if not why:
        engines.check_java()
    else:
        with pytest.raises(RuntimeError, match=f"Spark needs Java 17 or newer.*{why}"):
            engines.check_java()


def test_parts_of_an_output_are_in_order(tmp_path: Path) -> None:
    for number in (10, 9, 0):
        (tmp_path / f"part.{number}.parquet").touch()
    assert [Path(part).stem for part in engines.parts(str(tmp_path))] == [
        "part.0",
        "part.9",
        "part.10",
    ]


def test_the_picture_shows_the_page() -> None:
    results = picture.read_results(picture.RESULTS.read_text())
    assert picture.PICTURE.read_text() == picture.draw(results)
    for workload in picture.SHOWN:
        assert [result.ratio for result in results[workload] if result.name == "mapred"] == [1.0]
        assert len(results[workload]) >= 5


def test_a_picture_leaves_out_what_has_no_figure() -> None:
    page = (
        "## Sort\n\n| | figure | ratio |\n| :-- | --: | --: |\n"
        "| mapred | 2.00 s (one run) | 1.00 |\n| ray data | 1.50 s (1–2, 3 runs) | 0.75 |\n"
        "| slow | more than 200 s, cut | > 9 |\n| daft | ended with status 1 |\n"
    )
    assert picture.read_results(page) == {"Sort": [("ray data", 1.5, 0.75), ("mapred", 2.0, 1.0)]}
