"""Word count: by a Python function over lines beside a bare pool, by Arrow beside databases."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import contenders
from benchmarks.corpus import Corpus, corpus
from benchmarks.report import Row, Section, in_turn, spread

FULL_BYTES = 750_000_000
QUICK_BYTES = FULL_BYTES // 1000


def race(names: Sequence[str], text: Corpus, folder: Path) -> tuple[dict[str, list[float]], str]:
    """Seconds from start to answer of whole processes, in turn; answers checked equal first."""
    where, root = str(text.files[0].parent.parent), folder / "runs"
    answers = {name: contenders.run(name, where, root, check=True).answer for name in names}
    if len(set(answers.values())) > 1:
        raise AssertionError(f"answers differ: {answers}")
    words = next(iter(answers.values())).split()
    runs = {name: lambda name=name: contenders.run(name, where, root).whole for name in names}
    return in_turn(runs), f"{int(words[1]):,} words, {int(words[0]):,} of them different"


def measure_python(folder: Path) -> Section:
    text = corpus(folder, FULL_BYTES)
    seconds, words = race(("words_mapred", "words_pool"), text, folder)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = median["words_mapred"] / median["words_pool"]
    return Section(
        "Word count by a Python function over lines",
        f"{text.describe()}: {words}. Two processes; whole programs, from their start to the "
        "merged `Counter`. The pool's tasks read ready-made pieces of 16 MiB.",
        (
            Row(
                "`mapred.run(count_words, …, reduce=merge_counts)`",
                spread(seconds["words_mapred"], digits=1),
                f"{ratio:.2f}",
                "≤ 1.1",
                ratio <= 1.1,
            ),
            Row("`ProcessPoolExecutor(2)`", spread(seconds["words_pool"], digits=1), "1"),
        ),
    )


def measure_kernels(folder: Path) -> Section:
    text = corpus(folder, FULL_BYTES)
    peers = [peer for peer in ("polars", "duckdb") if importlib.util.find_spec(peer)]
    seconds, words = race(["kernels_mapred", *(f"kernels_{p}" for p in peers)], text, folder)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    best = min((median[f"kernels_{peer}"] for peer in peers), default=None)
    ratio = median["kernels_mapred"] / best if best else None
    rows = [
        Row(
            '`as_="arrow"`, `pyarrow.compute`, `merge_counts`',
            spread(seconds["kernels_mapred"], digits=1),
            f"{ratio:.2f}" if ratio else "",
            "≤ 1.5 times the better",
            ratio <= 1.5 if ratio else None,
        )
    ]
    for peer in ("polars", "duckdb"):
        if peer in peers:
            times = seconds[f"kernels_{peer}"]
            rows.append(
                Row(peer, spread(times, digits=1), f"{statistics.median(times) / best:.2f}")
            )
        else:
            rows.append(Row(peer, "not installed"))
    return Section(
        "Word count by Arrow's kernels",
        f"The same files, words between ASCII white space: {words}. Whole programs, from their "
        "start to a table of words and counts; each peer in the fastest of several ways tried.",
        tuple(rows),
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("text")
    return str(corpus(folder, QUICK_BYTES).files[0].parent.parent)


def answer(name: str, folder: str, benchmark: Any = None) -> str:
    with contenders.CONTENDERS[name](folder) as call:
        if benchmark is None:
            return contenders.digest(call())
        return contenders.digest(benchmark.pedantic(call, rounds=5))


def test_python(benchmark: Any, text: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path))
    assert answer("words_mapred", text, benchmark) == answer("words_pool", text)


def test_kernels(benchmark: Any, text: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path))
    ours = answer("kernels_mapred", text, benchmark)
    for peer in ("polars", "duckdb"):
        if importlib.util.find_spec(peer):
            assert answer(f"kernels_{peer}", text) == ours
