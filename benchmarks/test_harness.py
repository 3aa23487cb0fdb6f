"""The harness: who runs when, what is compared, and the report that comes of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import child, harness, processes
from benchmarks.harness import ContenderError, Report, Result, Row, Sample, Settings, TooSlowError
from benchmarks.peers import __main__ as peers
from benchmarks.peers import sweep

RESULTS = {
    "mapred": Result((2.0,), 10**8),
    "dask": Result((6.0, 5.0, 7.0), 2 * 10**8),
    "polars": Result((0.8,), 10**7),
    "mrjob": Result((300.0,), failure="took more than 300 s"),
    "daft": Result(failure="not | installed"),
}


def test_answers_are_compared() -> None:
    harness.compare([["a", 1.0, 2]], [["a", 1.0 + 1e-12, 2]])
    for other in ([], [["a", 1.0, 3]], [["b", 1.0, 2]], [["a", 1.0001, 2]], [["a", 1.0]]):
        with pytest.raises(ContenderError, match="instead of"):
            harness.compare([["a", 1.0, 2]], other)


class Script:
    """Calls that note their order, and do what a list for each of them says."""

    def __init__(self, **steps: list[float | Exception]) -> None:
        self.steps, self.order = steps, []

    def call(self, name: str) -> Callable[..., Any]:
        def run(check: bool | None = None) -> Any:
            self.order.append(name)
            step = self.steps[name].pop(0)
            if isinstance(step, Exception):
                raise step
            return step if check is None else Sample(step, peak=7, rows=[[name == "liar"]])

        return run

    def calls(self) -> dict[str, Any]:
        return {name: self.call(name) for name in self.steps}


def test_slow_contenders_run_once_and_failed_ones_are_named() -> None:
    script = Script(mapred=[1.0, 2.0, 3.0], dask=[1.0], ray=[1.0, ContenderError("lost a node")])
    results = harness.in_turn(script.calls(), 3, {"dask"})
    assert script.order == ["mapred", "dask", "ray", "mapred", "ray", "mapred"]
    assert results == {
        "mapred": Result((1.0, 2.0, 3.0)),
        "dask": Result((1.0,)),
        "ray": Result(failure="lost a node"),
    }
    with pytest.raises(ContenderError, match="lost"):
        harness.in_turn(Script(mapred=[ContenderError("lost")]).calls(), 1)


def test_a_race_checks_first_and_times_what_answers_alike() -> None:
    script = Script(
        mapred=[9.0, 1.0, 1.0], liar=[1.0], ray=[TooSlowError(5)], dask=[40.0, 4.0], spark=[1.0]
    )
    chosen = ("liar", "ray", "dask")
    results, rows = harness.race(script.calls(), Settings(rounds=2, contenders=chosen), once=30)
    assert script.order == ["mapred", "liar", "ray", "dask", "mapred", "dask", "mapred"]
    assert rows == [[False]]
    assert results == {
        "mapred": Result((1.0, 1.0), 7),
        "liar": Result(failure="answers [True] instead of [False]"),
        "ray": Result((5,), failure="took more than 5 s"),
        "dask": Result((4.0,), 7),
    }


def test_a_report_and_its_bars(tmp_path: Path) -> None:
    table = [
        *harness.rows(RESULTS, "mapred"),
        *harness.against(harness.medians(RESULTS), "mapred", ["dask", "mrjob"], 1, "Python, "),
        *harness.against(harness.medians(RESULTS), "mapred", ["polars"], 2),
        *harness.against(harness.medians(RESULTS), "mapred", ["daft"], 2),
        harness.at_most(Row("start", (0.04, 0.06, 0.05)), 0.05),
        harness.at_most(Row("text", (16_385,), "B"), 16_384),
    ]
    report = Report("Title", "What was done.", tuple(table))
    assert report.markdown().splitlines() == [
        "## Title",
        "",
        "What was done.",
        "",
        "|  | figure | ratio | memory | ratio | bar | met |",
        "| :-- | --: | --: | --: | --: | :-- | :-- |",
        "| polars | 800 ms | 0.40 | 10 MiB | 0.10 |  |  |",
        "| mapred | 2.00 s | 1.00 | 95 MiB | 1.00 |  |  |",
        "| dask | 6.00 s (5.00–7.00, 3 runs) | 3.00 | 191 MiB | 2.00 |  |  |",
        "| daft | not / installed |  |  |  |  |  |",
        "| mrjob | took more than 300 s | > 150.00 |  |  |  |  |",
        "| Python, mapred : dask |  | 0.33 |  |  | ≤ 1 | yes |",
        "| mapred : polars |  | 2.50 |  |  | ≤ 2 | **no** |",
        "| start | 50.0 ms (40.0–60.0, 3 runs) |  |  |  | ≤ 50.0 ms | yes |",
        "| text | 16,385 B |  |  |  | ≤ 16,384 B | **no** |",
    ]
    file = tmp_path / "report.json"
    file.write_text(json.dumps(asdict(report)))
    assert harness.load(file) == report


@pytest.mark.parametrize(
    ("values", "unit", "text"),
    [
        ((0.000431,), "s", "0.431 ms"),
        ((0.3, 0.2, 0.9, 0.3, 0.3), "s", "300 ms (200–900)"),
        ((27.6, 26.9, 28.4), "s", "27.6 s (26.9–28.4, 3 runs)"),
        ((1234.5,), "s", "1,234 s"),
        ((0.0,), "s", "0.00 ms"),
        ((-0.004,), "s", "-4.00 ms"),
        ((107.4,), "MiB", "107 MiB"),
        ((), "s", ""),
    ],
)
def test_figures_have_three_digits(values: tuple[float, ...], unit: str, text: str) -> None:
    assert harness.spread(values, unit) == text


def page(rounds: int = 2) -> harness.Page:
    def measure(settings: Settings) -> Report:
        return Report(f"Of {settings.rounds} rounds", "Text.", (Row("it", (1.0,)),))

    workloads = {"argo-run": measure, "argo-start": measure, "words": measure}
    return harness.Page("bench", "PAGE.md", "# Page\n", workloads, ("words",), rounds)


def test_the_command_line_names_workloads() -> None:
    assert harness.parse(page(), []) == (Settings(rounds=2), ["words"])
    settings, names = harness.parse(
        page(), ["argo", "--size", "small", "--rounds", "1", "--contenders", "dask ray"]
    )
    assert names == ["argo-run", "argo-start"]
    assert settings == Settings("small", 1, contenders=("dask", "ray"))


def test_a_workload_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        harness.parse(page(), ["word"])
    assert "no workload word; there are argo-run, argo-start, words" in capsys.readouterr().err


def test_a_page_holds_all_workloads_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "HOME", tmp_path)
    harness.main(page(), ["--size", "small"])
    harness.main(page(), ["--size", "small", "--rounds", "3", "argo-run"])
    text = (tmp_path / "results/small/PAGE/PAGE.md").read_text()
    assert text.startswith("# Page\n")
    assert text.index("## Of 3 rounds") < text.index("## Of 2 rounds")


def test_both_pages_have_their_workloads() -> None:
    names = (
        "planning words kernels items tasks memory start render storage listing "
        "argo-run argo-start argo-table"
    )
    assert list(benchmarks.page().workloads) == names.split()
    of_peers = "words tpch_q1 tpch_q6 partkey terasort sweep files"
    assert list(peers.page().workloads) == list(peers.page().chosen) == of_peers.split()


def test_a_generator_has_its_last_call_timed() -> None:
    log = []

    def contender(argument: str) -> Iterator[Callable[[], str]]:
        log.append("set up")
        for number in range(2):
            yield lambda number=number: log.append(number) or f"{argument} {number}"
        log.append("cleaned up")

    def with_answer(argument: str) -> Any:
        yield lambda: None
        return argument

    answer, seconds, ended = child.run(contender, "call")
    assert (answer, log) == ("call 1", ["set up", 0, 1, "cleaned up"])
    assert seconds is not None
    assert ended > 0
    assert child.run(with_answer, "own")[0] == "own"
    assert child.run(str.upper, "plain")[:2] == ("PLAIN", None)


@pytest.mark.slow
def test_a_process_is_timed_and_its_answer_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    call = processes.contender(sweep.__name__, "mapred", "2,2,2", settings)
    sample = call(True)
    assert sample.rows == [[sweep.fit(*point)] for point in sweep.points("2,2,2")]
    assert sample.peak > 0
    assert call(False).rows is None
    missing = processes.contender(sweep.__name__, "none", "2,2,2", settings)
    with pytest.raises(ContenderError, match="ended with status 1: KeyError: 'none'"):
        missing(False)


def test_a_process_is_ended_at_the_limit_with_all_that_it_started(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    settings = Settings(home=tmp_path, limit=1)
    call = processes.contender(sweep.__name__, "mapred", "1000,10,4", settings)
    with pytest.raises(TooSlowError, match="took more than 1 s"):
        call(False)
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not (tmp_path / "runs").exists()


def test_the_memory_of_a_process_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_held", lambda process: 7)
    with processes.watched(os.getpid()) as seen:
        while not seen:
            pass
    when, held = seen[0]
    assert when > 0
    assert held >= 7


def test_a_module_is_enough_for_a_contender(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    module = ModuleType("contenders_of_a_test")
    module.CONTENDERS = {"one": str.upper}
    monkeypatch.setitem(sys.modules, module.__name__, module)
    child.main(module.__name__, "one", "argument")
    assert json.loads(capsys.readouterr().out)["seconds"] is None
