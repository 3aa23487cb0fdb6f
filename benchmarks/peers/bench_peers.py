"""What the race rests on, at a small size: equal answers, and a page of what was measured."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers import plot, race, sweep


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


def test_a_process_is_timed_and_its_answer_kept(tmp_path: Path) -> None:
    known = race.checked("sweep", "mapred", "2,2,2", tmp_path)
    assert known.rows == [[sweep.fit(*point)] for point in sweep.points("2,2,2")]
    assert known.peak > 0
    assert race.timed("sweep", "mapred", "2,2,2", tmp_path) > 0
    with pytest.raises(race.EngineError, match="ended with status 1: KeyError: 'none'"):
        race.timed("sweep", "none", "2,2,2", tmp_path)


def test_the_page_and_the_plot() -> None:
    found = {
        "title": "A & B", "text": "text", "size": "small", "absent": {"ray": "not | installed"},
        "seconds": {"mapred": [2.0], "dask": [6.0, 5.0, 7.0]},
        "peaks": {"mapred": 10**8, "dask": 2 * 10**8},
    }  # fmt: skip
    text = peers.markdown(found)
    assert "| dask | 6.00 s (5.00–7.00, 3 runs) | 3.00 | 200 MB | 2.00 |" in text
    assert "| ray | not / installed | | | |" in text
    bars = ElementTree.fromstring(plot.svg([found])).findall("{*}rect")
    assert len(bars) == 3  # the ground, and one for each engine
