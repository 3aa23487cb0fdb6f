"""Timing in turn, and the tables that come of it."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

ROUNDS = int(os.environ.get("MAPRED_BENCH_ROUNDS", "5"))
PACKAGES = (
    "mapred",
    "numpy",
    "pyarrow",
    "boto3",
    "dask",
    "distributed",
    "duckdb",
    "lithops",
    "obstore",
    "polars",
    "ray",
    "s3fs",
)


@dataclass(frozen=True)
class Row:
    """One line of a table; `met` is None where no bar is set."""

    what: str
    figure: str
    ratio: str = ""
    bar: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Section:
    """One workload: what was done, and what it gave."""

    title: str
    text: str
    rows: tuple[Row, ...]

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.text, ""]
        lines += ["| | figure | ratio | bar | met |", "|---|---:|---:|---|---|"]
        for row in self.rows:
            met = "" if row.met is None else "yes" if row.met else "**no**"
            lines.append(f"| {row.what} | {row.figure} | {row.ratio} | {row.bar} | {met} |")
        return "\n".join(lines) + "\n"


def in_turn(
    contenders: Mapping[str, Callable[[], float]], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Seconds of each contender, A B … A B …, so that a busy spell falls on all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, call in contenders.items():
            seconds[name].append(call())
            print(f"  {number + 1}/{rounds} {name}: {seconds[name][-1]:.4f} s", flush=True)
    return seconds


def spread(seconds: Sequence[float], scale: float = 1, unit: str = "s", digits: int = 2) -> str:
    """Median, least and greatest; how many runs where these are fewer than five."""
    values = [statistics.median(seconds), min(seconds), max(seconds)]
    median, least, greatest = (f"{value * scale:,.{digits}f}" for value in values)
    few = "" if len(seconds) >= 5 else f", {len(seconds)} runs"
    return f"{median} {unit} ({least}–{greatest}{few})"


def machine(more: Sequence[str] = ()) -> str:
    """Cores, processor and versions, of `more` packages too; no name of a host or a folder."""
    model = platform.processor() or platform.machine()
    known = Path("/proc/cpuinfo")
    if known.exists():
        names = [line for line in known.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = []
    for package in (*PACKAGES, *more):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return (
        f"{cores} cores of {model}, {platform.system()}, "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


def save(folder: Path, name: str, section: Section) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(asdict(section)))


def load(folder: Path, name: str) -> Section | None:
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    value = json.loads(path.read_text())
    return Section(value["title"], value["text"], tuple(Row(**row) for row in value["rows"]))
