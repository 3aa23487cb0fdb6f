"""What the race rests on, at a small size: equal answers, and a page of what was measured."""

from __future__ import annotations

import importlib
import os
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers import engines, files, plot, race, sweep, terasort


def test_answers_are_compared() -> None:
    race.compare([["a", 1.0, 2]], [["a", 1.0 + 1e-12, 2]])
    for other in ([], [["a", 1.0, 3]], [["b", 1.0, 2]], [["a", 1.0001, 2]], [["a", 1.0]]):
        with pytest.raises(race.EngineError, match="in place of"):
            race.compare([["a", 1.0, 2]], other)


def test_every_workload_names_its_engines() -> None:
    for name in peers.WORKLOADS:
        module = importlib.import_module(f"benchmarks.peers.{name}")
        assert next(iter(module.ENGINES)) == "mapred"
        assert "dask" in module.ENGINES
        assert module.TITLE
        named = {name.split()[0] for name in {**module.ENGINES, **getattr(module, "ABSENT", {})}}
        assert named >= {"duckdb", "polars", "dask", "ray", "spark", "daft", "lithops", "mrjob"}


@pytest.mark.slow
def test_a_process_is_timed_and_its_answer_kept(tmp_path: Path) -> None:
    known = race.checked("sweep", "mapred", "2,2,2", tmp_path)
    assert known.rows == [[sweep.fit(*point)] for point in sweep.points("2,2,2")]
    assert known.peak > 0
    assert race.timed("sweep", "mapred", "2,2,2", tmp_path) > 0
    with pytest.raises(race.EngineError, match="ended with status 1: KeyError: 'none'"):
        race.timed("sweep", "none", "2,2,2", tmp_path)


def test_an_engine_is_cut_at_the_limit_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "LIMIT_SECONDS", 1)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(race.TooSlowError, match="mapred took more than 1 s"):
        race.timed("sweep", "mapred", "1000,10,4", tmp_path)
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not (tmp_path / "runs").exists()


def test_slow_engines_run_once_and_failed_ones_are_named() -> None:
    asked = []

    def call(name: str) -> Callable[[], float]:
        def run() -> float:
            asked.append(name)
            if name == "ray" and asked.count("ray") == 2:
                raise race.EngineError("lost a node")
            return 1.0

        return run

    calls = {name: call(name) for name in ("mapred", "dask", "ray")}
    seconds, failed = peers.in_turn(calls, 3, {"dask"})
    assert asked == ["mapred", "dask", "ray", "mapred", "ray", "mapred"]
    assert seconds == {"mapred": [1.0, 1.0, 1.0], "dask": [1.0]}
    assert failed == {"ray": "lost a node"}


def test_the_peak_is_what_was_held_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "_held", lambda process: 7)
    with race._Peak(os.getpid()) as peak:
        while not peak._seen:
            time.sleep(0.01)
    assert peak.until(time.time()) >= 7
    assert peak.until(0.0) == 0


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


def _found(workload: str) -> dict[str, Any]:
    return {
        "workload": workload, "title": "A & B", "text": "text", "size": "small",
        "absent": {"daft": "not | installed", "lithops": "not | installed"}, "cut": {"mrjob": 300},
        "seconds": {"mapred": [2.0], "dask": [6.0, 5.0, 7.0], "polars": [0.8]},
        "peaks": {"mapred": 10**8, "dask": 2 * 10**8, "polars": 10**7},
    }  # fmt: skip


def test_the_page_and_the_plot() -> None:
    found = _found("words")
    text = peers.markdown(found)
    assert "| mapred | 2.00 s (one run) | 1.00 | 100 MB | 1.00 |" in text
    assert "| dask | 6.00 s (5.00–7.00, 3 runs) | 3.00 | 200 MB | 2.00 |" in text
    assert "| mrjob | more than 300 s, cut | > 150.00 | | |" in text
    assert "| daft, lithops | not / installed | | | |" in text
    drawn = ElementTree.fromstring(plot.svg([found]))
    assert len(drawn.findall("{*}rect")) == 1 + 3 + 4  # the ground, the key, one for each engine
    assert "> 150.0, cut" in [each.text for each in drawn.findall("{*}text")]


def test_the_bars() -> None:
    text = peers.bars([_found("words"), _found("partkey")])
    assert (
        text.count("| A & B | faster than every engine of Python functions | dask | 0.33 | yes |")
        == 2
    )
    assert text.count("| A & B | less memory than Dask, Ray and Spark | dask | 0.50 | yes |") == 2
    within = "within 2 times of the better of DuckDB and Polars"
    assert text.count(f"| A & B | {within} | polars | 2.50 | **no** |") == 1
