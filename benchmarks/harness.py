"""The harness of all benchmarks: contenders race in turn, and their times become a report."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import machine

HOME = Path(tempfile.gettempdir(), "mapred-benchmarks")
TOLERANCE = 1e-9


class ContenderError(Exception):
    """A contender that is not installed, fails, or answers differently."""


class TooSlowError(ContenderError):
    """A contender that was ended after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"took more than {seconds:g} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Settings:
    """What the command line says, and the folder for inputs, runs and results."""

    size: str = "full"  # or "small", which tries everything out
    rounds: int = 5
    limit: float = 300  # seconds after which a contender is ended
    contenders: tuple[str, ...] = ()  # all, if empty
    home: Path = HOME


@dataclass(frozen=True)
class Sample:
    """One run: its seconds, and if the run was a check, the peak of its memory and its answer."""

    seconds: float
    peak: int = 0
    rows: list[list[Any]] | None = None


Call = Callable[[bool], Sample]  # the argument says whether the run is a check


@dataclass(frozen=True)
class Result:
    """The runs of one contender. With `failure`, what ended it, and `seconds` is the limit if any."""

    seconds: tuple[float, ...] = ()
    peak: int = 0
    failure: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def race(
    calls: Mapping[str, Call], settings: Settings, once: float = math.inf
) -> tuple[dict[str, Result], list[list[Any]]]:
    """The results of the contenders that the settings choose, and the rows of their answer.

    Each contender runs once to compare its answer with that of the first, which has to succeed;
    only this run looks at memory. Those that take more than `once` seconds in it are timed once.
    """
    first, *others = calls
    if settings.contenders:
        others = [name for name in others if name.split()[0] in settings.contenders]
    checks, failures = {first: calls[first](True)}, {}
    for name in others:
        print(f"  checking {name}", flush=True)
        try:
            sample = calls[name](True)
            compare(checks[first].rows or [], sample.rows or [])
        except ContenderError as error:
            failures[name] = _failed(error)
        else:
            checks[name] = sample
    slow = {name for name in checks if checks[name].seconds > once} - {first}
    timed = {name: lambda name=name: calls[name](False).seconds for name in checks}
    results = in_turn(timed, settings.rounds, slow)
    for name, result in results.items():
        results[name] = replace(result, peak=checks[name].peak)
    return {**results, **failures}, checks[first].rows or []


def in_turn(
    calls: Mapping[str, Callable[[], float]], rounds: int, slow: Collection[str] = ()
) -> dict[str, Result]:
    """Seconds of each call, A B … A B …, so that a busy spell affects all of them.

    Calls of `slow` run once. The first call has to succeed; another one may raise `ContenderError`.
    """
    results = {name: Result() for name in calls}
    for number in range(rounds):
        for name, call in calls.items():
            if results[name].failure or (number and name in slow):
                continue
            try:
                seconds = call()
            except ContenderError as error:
                if name == next(iter(calls)):
                    raise
                results[name] = _failed(error)
            else:
                results[name] = Result((*results[name].seconds, seconds))
                print(f"  {number + 1}/{rounds} {name}: {seconds:.4f} s", flush=True)
    return results


def _failed(error: ContenderError) -> Result:
    limit = (error.seconds,) if isinstance(error, TooSlowError) else ()
    return Result(limit, failure=str(error))


def stopwatch(call: Callable[[], object]) -> float:
    """Seconds that a call takes in this process."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(rows: Sequence[Sequence[Any]], other: Sequence[Sequence[Any]]) -> None:
    """Raise `ContenderError` unless both are the same rows, floats within a relative 1e-9."""
    if len(rows) != len(other):
        raise ContenderError(f"answers {len(other):,} rows instead of {len(rows):,}")
    for left, right in zip(rows, other, strict=True):
        if len(left) != len(right) or not all(map(_same, left, right)):
            raise ContenderError(f"answers {right} instead of {left}")


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=TOLERANCE)
    return bool(left == right)


# --- reports ---


@dataclass(frozen=True)
class Row:
    """A line of a report: the figure of each run in `unit`, or a note instead of figures."""

    what: str
    values: tuple[float, ...] = ()
    unit: str = "s"
    note: str = ""
    ratio: float | None = None
    memory: int = 0
    memory_ratio: float | None = None
    bar: str = ""
    met: bool | None = None  # whether the bar is reached

    def cells(self) -> tuple[str, ...]:
        """The texts of the columns `COLUMNS`."""
        more = "> " if self.note and self.values else ""  # a contender that was ended
        figure = self.note.replace("|", "/") or spread(self.values, self.unit)
        memory = f"{self.memory / 2**20:,.0f} MiB" if self.memory else ""
        met = "" if self.met is None else "yes" if self.met else "**no**"
        ratio, memory_ratio = map(_ratio, (self.ratio, self.memory_ratio))
        return self.what, figure, more + ratio, memory, memory_ratio, self.bar, met


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


COLUMNS = ("", "figure", "ratio", "memory", "ratio", "bar", "met")


@dataclass(frozen=True)
class Report:
    """One workload: what was done, and the figures."""

    title: str
    text: str
    rows: tuple[Row, ...]

    def markdown(self) -> str:
        """A section with a table, which leaves out columns without content."""
        cells = [row.cells() for row in self.rows]
        shown = [i for i in range(len(COLUMNS)) if i < 2 or any(line[i] for line in cells)]
        rules = [":--" if COLUMNS[i] in ("", "bar", "met") else "--:" for i in shown]
        table = [[line[i] for i in shown] for line in (COLUMNS, *cells)]
        table.insert(1, rules)
        lines = ["| " + " | ".join(line) + " |" for line in table]
        return "\n".join([f"## {self.title}", "", self.text, "", *lines, ""])


def rows(results: Mapping[str, Result], base: str, *, per: int = 1) -> list[Row]:
    """A row for each contender, the fastest first. Ratios are to `base`, seconds are for one of `per`."""
    ours = results[base]
    made = []
    for name, result in results.items():
        times = tuple(seconds / per for seconds in result.seconds)
        memory_ratio = result.peak / ours.peak if result.peak and ours.peak else None
        ratio = result.median / ours.median if times else None
        made.append(
            Row(
                name, times, note=result.failure, ratio=ratio,
                memory=result.peak, memory_ratio=memory_ratio,
            )
        )  # fmt: skip
    return sorted(made, key=lambda row: (bool(row.note), row.ratio or 0.0))


def at_most(row: Row, most: float) -> Row:
    """The row with a bar for its ratio, or for its median where it has no ratio."""
    value = statistics.median(row.values) if row.ratio is None else row.ratio
    bar = f"{most:g}" if row.ratio is not None else spread((most,), row.unit)
    return replace(row, bar=f"≤ {bar}", met=value <= most)


def medians(results: Mapping[str, Result]) -> dict[str, float]:
    """Seconds of the contenders that have an answer."""
    return {name: result.median for name, result in results.items() if not result.failure}


def against(
    figures: Mapping[str, float], name: str, rivals: Collection[str], most: float, what: str = ""
) -> list[Row]:
    """A row with a bar for the ratio of a contender to the best of its rivals; none without rivals."""
    best = min((rival for rival in rivals if rival in figures), key=figures.__getitem__, default="")
    if not best:
        return []
    return [at_most(Row(f"{what}{name} : {best}", ratio=figures[name] / figures[best]), most)]


def spread(values: Sequence[float], unit: str = "s") -> str:
    """The median, the least and the greatest of the values, in three digits of the median."""
    if not values:
        return ""
    scale, unit = (1000, "ms") if unit == "s" and max(values) < 1 else (1, unit)
    numbers = [statistics.median(values) * scale, min(values) * scale, max(values) * scale]
    magnitude = math.floor(math.log10(abs(numbers[0]) or 1))
    digits = max(0, 2 - magnitude) if unit in ("s", "ms") else 0
    median, least, greatest = (f"{number:,.{digits}f}" for number in numbers)
    if len(values) == 1:
        return f"{median} {unit}".rstrip()
    runs = "" if len(values) >= 5 else f", {len(values)} runs"
    return f"{median} {unit} ({least}–{greatest}{runs})"


# --- the command line ---

Measure = Callable[[Settings], Report]


@dataclass(frozen=True)
class Page:
    """A page of reports, which a command line measures one by one."""

    command: str
    file: str
    head: str
    workloads: Mapping[str, Measure]
    chosen: tuple[str, ...]  # the workloads of a command line that names none
    rounds: int


def main(page: Page, arguments: Sequence[str]) -> None:
    """Measure workloads; keep each as JSON, and write a page of all that are kept."""
    settings, names = parse(page, arguments)
    kept = settings.home / "results" / settings.size / Path(page.file).stem
    kept.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(name, flush=True)
        shutil.rmtree(settings.home / "runs", ignore_errors=True)
        report = page.workloads[name](settings)
        (kept / f"{name}.json").write_text(json.dumps(asdict(report), indent=1))
        print(report.markdown(), flush=True)
        reports = [
            load(kept / f"{n}.json") for n in page.workloads if (kept / f"{n}.json").exists()
        ]
        text = "\n".join([page.head, machine.describe() + "\n", *(r.markdown() for r in reports)])
        # Figures of a small size say nothing: they stay out of the repository.
        folder = Path(__file__).parent if settings.size == "full" else kept
        (folder / page.file).write_text(text)
        print(f"written to {folder / page.file}", flush=True)


def parse(page: Page, arguments: Sequence[str]) -> tuple[Settings, list[str]]:
    parser = argparse.ArgumentParser(
        page.command, description=f"Measure workloads into {page.file}."
    )
    add = parser.add_argument
    add("workload", nargs="*", help=f"of {', '.join(page.workloads)}; or the part before a hyphen")
    add("--size", choices=("small", "full"), default="full")
    add("--rounds", type=int, default=page.rounds, help="how often each contender is timed")
    add("--limit", type=float, default=300, help="seconds after which a contender is ended")
    add("--contenders", default="", help='such as "duckdb polars": mapred beside these alone')
    given = parser.parse_args(arguments)
    names = []
    for word in given.workload:
        some = [name for name in page.workloads if word in (name, name.partition("-")[0])]
        if not some:
            parser.error(f"no workload {word}; there are {', '.join(page.workloads)}")
        names += some
    only = tuple(given.contenders.split())
    settings = Settings(given.size, given.rounds, given.limit, only, HOME)
    return settings, names or [*page.chosen]


def load(path: Path) -> Report:
    value = json.loads(path.read_text())
    rows = (Row(**{**row, "values": tuple(row["values"])}) for row in value["rows"])
    return Report(value["title"], value["text"], tuple(rows))
