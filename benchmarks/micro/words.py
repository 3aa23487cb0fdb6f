"""Word count: by a Python function beside a bare pool, by Arrow's kernels beside query engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import harness, processes
from benchmarks.corpus import corpus
from benchmarks.functions import count_by_kernels
from benchmarks.harness import Report, Settings

SIZES = {"small": 500_000, "full": 750_000_000}


def kernels_mapred(folder: str) -> Any:
    import mapred

    lines = mapred.read_text(f"{folder}/files/*.txt", as_="arrow")
    run = mapred.run(count_by_kernels, lines, reduce=mapred.reducers.merge_counts)
    return run.to_arrow()


def kernels_polars(folder: str) -> Any:
    import polars as pl

    return (
        pl.scan_lines(f"{folder}/files/*.txt", name="line")
        .select(pl.col("line").str.extract_all(r"[^ \t\r\x0b\x0c]+").list.explode().alias("word"))
        .drop_nulls()
        .group_by("word")
        .len("count")
        .collect(engine="streaming")
        .to_arrow()
    )


def kernels_duckdb(folder: str) -> Any:
    import duckdb

    connection = duckdb.connect(config={"preserve_insertion_order": "false"})
    # Faster here than `regexp_extract_all`, and than `string_split` after `translate`.
    query = rf"""
        SELECT word, count(*) AS count FROM (
            SELECT unnest(regexp_split_to_array(line, '[ \t\r\x0b\x0c]+')) AS word
            FROM read_csv('{folder}/files/*.txt', columns = {{'line': 'VARCHAR'}},
                          delim = chr(1), quote = '', escape = '', header = false,
                          auto_detect = false, strict_mode = false, max_line_size = 16777216)
        ) WHERE word <> '' GROUP BY word
    """
    return connection.sql(query).to_arrow_table()


CONTENDERS = {"mapred": kernels_mapred, "polars": kernels_polars, "duckdb": kernels_duckdb}


def rows(answer: Any) -> list[list[Any]]:
    words, counts = answer.column("word").to_pylist(), answer.column("count").to_pylist()
    return [list(pair) for pair in sorted(zip(words, counts, strict=True))]


def measure_python(settings: Settings) -> Report:
    text = corpus(settings.home, SIZES[settings.size])
    names = ("mapred", "pool")
    results, counts = _race("benchmarks.peers.words", names, text.folder, settings)
    return Report(
        "Word count by a Python function over lines",
        f"{text.describe()}: {_total(counts)}. Two processes; whole programs, from their start to "
        "the merged `Counter`. The pool's tasks read ready-made pieces of 16 MiB.",
        (
            *harness.rows(results, "mapred"),
            *harness.against(harness.medians(results), "mapred", ["pool"], 1.1),
        ),
    )


def measure_kernels(settings: Settings) -> Report:
    text = corpus(settings.home, SIZES[settings.size])
    results, counts = _race(__name__, tuple(CONTENDERS), text.folder, settings)
    return Report(
        "Word count by Arrow's kernels",
        f"The same files, words between ASCII white space: {_total(counts)}. Whole programs, from "
        "their start to a table of words and counts; mapred by `pyarrow.compute` and "
        "`merge_counts`, each peer in the fastest of several ways tried.",
        (
            *harness.rows(results, "mapred"),
            *harness.against(harness.medians(results), "mapred", ["polars", "duckdb"], 1.5),
        ),
    )


def _race(module: str, names: tuple[str, ...], folder: Path, settings: Settings) -> Any:
    calls = {name: processes.contender(module, name, str(folder), settings) for name in names}
    return harness.race(calls, settings)


def _total(counts: list[list[Any]]) -> str:
    return f"{sum(count for _, count in counts):,} words, {len(counts):,} of them different"
