"""`python -m benchmarks.peers [WORKLOAD …]`: mapred beside its peers, into RESULTS-PEERS.md.

`MAPRED_PEERS_SIZE=full` takes the sizes that are reported (`small` tries everything out),
`MAPRED_BENCH_ROUNDS` sets how often each engine runs (default 3; once if it took more than half
a minute), `MAPRED_PEERS_LIMIT` after how many seconds one is cut (default 300), and
`MAPRED_PEERS_ENGINES="mapred duckdb"` leaves the others out. Each workload's figures are kept
below $TMPDIR as soon as it is through, so that the page can be made piece by piece.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.peers import plot, race

WORKLOADS = ("words", "tpch_q1", "tpch_q6", "partkey", "terasort", "sweep", "files")
GROUP_BYS = ("tpch_q1", "tpch_q6", "partkey")
PEERS = ("daft", "lithops", "mrjob", "pandas", "pyspark", "tpchgen-cli")
ROUNDS = int(os.environ.get("MAPRED_BENCH_ROUNDS", "3"))
ONCE_SECONDS = 30
HERE = Path(__file__).parents[1]
HEAD = f"""# mapred beside its peers

Written by `make bench-peers`: whole programs, from their start to the answer, on one machine with
two cores for each engine; its cluster's start is part of it. Answers were checked equal first;
medians of runs in turn, with the least and the greatest, and one run alone of what took more than
{ONCE_SECONDS} s. Memory is the most that all processes of an engine held at once, shared pages
counted once. Ratios are to mapred: above 1 is slower, or more memory. `pool` is the base line, a
`multiprocessing.Pool` with ready-made pieces; `spark pandas` is `mapInPandas` before Spark's own
group-by, `spark grouped` a pandas UDF for each group.

![Seconds relative to mapred](results-peers.svg)
"""


def measure(workload: str, size: str, folder: Path, rounds: int) -> dict[str, Any]:
    """All engines at one workload."""
    module = importlib.import_module(f"benchmarks.peers.{workload}")
    argument, what = module.make(folder, size)
    chosen = os.environ.get("MAPRED_PEERS_ENGINES", "").split()
    engines = [name for name in module.ENGINES if not chosen or name.split()[0] in chosen]
    ours = race.checked(workload, "mapred", argument, folder)
    checked, absent, cut = {"mapred": ours}, {}, {}
    for engine in engines:
        print(f"  checking {engine}", flush=True)
        if engine == "mapred":
            continue
        try:
            theirs = race.checked(workload, engine, argument, folder)
            race.compare(ours.rows, theirs.rows)
        except race.TooSlowError:
            cut[engine] = race.LIMIT_SECONDS
        except race.EngineError as error:
            absent[engine] = str(error)
        else:
            checked[engine] = theirs
    calls = {
        name: lambda name=name: race.timed(workload, name, argument, folder) for name in checked
    }
    once = {name for name, run in checked.items() if run.seconds > ONCE_SECONDS} - {"mapred"}
    seconds, failed = in_turn(calls, rounds, once)
    absent.update(failed)
    for engine, why in getattr(module, "ABSENT", {}).items():
        if not chosen or engine.split()[0] in chosen:
            absent.setdefault(engine, why)
    return {
        "workload": workload, "title": module.TITLE, "size": size,
        "text": f"{what}; {len(ours.rows):,} rows in the answer.",
        "seconds": seconds, "peaks": {name: checked[name].peak for name in seconds},
        "cut": cut, "absent": absent,
    }  # fmt: skip


def in_turn(
    calls: Mapping[str, Callable[[], float]], rounds: int, once: Collection[str]
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of each engine, A B … A B …, and why some have none; those of `once` run once."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for name, call in calls.items():
            if name in failed or (number and name in once):
                continue
            try:
                seconds[name].append(call())
            except race.EngineError as error:
                if name == "mapred":
                    raise
                failed[name] = str(error)
                del seconds[name]
            else:
                print(f"  {number + 1}/{rounds} {name}: {seconds[name][-1]:.2f} s", flush=True)
    return seconds, failed


def markdown(found: dict[str, Any]) -> str:
    ours = statistics.median(found["seconds"]["mapred"])
    peak = found["peaks"]["mapred"]
    lines = [f"## {found['title']}", "", f"Size `{found['size']}`: {found['text']}", ""]
    lines += ["| engine | seconds | ratio | peak memory | ratio |", "|---|---:|---:|---:|---:|"]
    order = sorted(found["seconds"].items(), key=lambda pair: statistics.median(pair[1]))
    for name, seconds in order:
        ratio = statistics.median(seconds) / ours
        memory = found["peaks"][name]
        figure = f"{seconds[0]:.2f} s (one run)" if len(seconds) == 1 else report.spread(seconds)
        lines.append(
            f"| {name} | {figure} | {ratio:.2f} | {memory / 1e6:,.0f} MB "
            f"| {memory / max(peak, 1):.2f} |"
        )
    for name, limit in found["cut"].items():
        lines.append(f"| {name} | more than {limit:g} s, cut | > {limit / ours:.2f} | | |")
    reasons: dict[str, list[str]] = {}
    for name, why in found["absent"].items():
        reasons.setdefault(why.replace("|", "/"), []).append(name)
    lines += [f"| {', '.join(names)} | {why} | | | |" for why, names in reasons.items()]
    return "\n".join(lines) + "\n"


def bars(sections: Sequence[dict[str, Any]]) -> str:
    """What was to be reached in each workload, against the nearest peer, and whether it was."""
    lines = ["## Bars", "", "| workload | bar | nearest | ratio | met |", "|---|---|---|---:|---|"]
    for found in sections:
        medians = {name: statistics.median(times) for name, times in found["seconds"].items()}
        by_python = {name: medians[name] for name in medians if name.startswith(plot.PYTHON)}
        lines += _bar(found, "faster than every engine of Python functions", by_python, medians, 1)
        if found["workload"] in GROUP_BYS:
            best = {name: medians[name] for name in ("duckdb", "polars") if name in medians}
            what = "within 2 times of the better of DuckDB and Polars"
            lines += _bar(found, what, best, medians, 2)
        held = found["peaks"]
        clusters = {name: held[name] for name in held if name.startswith(plot.CLUSTERS)}
        lines += _bar(found, "less memory than Dask, Ray and Spark", clusters, held, 1)
    return "\n".join(lines) + "\n"


def _bar(
    found: dict[str, Any], what: str, peers: dict[str, float], all_: dict[str, float], most: float
) -> list[str]:
    """No row if no peer was measured; the ratio is mapred's to the least of the peers'."""
    if not peers:
        return []
    nearest = min(peers, key=lambda name: peers[name])
    ratio = all_["mapred"] / peers[nearest]
    met = ratio < most if most == 1 else ratio <= most
    return [
        f"| {found['title']} | {what} | {nearest} | {ratio:.2f} | {'yes' if met else '**no**'} |"
    ]


def main(names: list[str]) -> None:
    unknown = set(names) - set(WORKLOADS)
    if unknown:
        sys.exit(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    size = os.environ.get("MAPRED_PEERS_SIZE", "small")
    folder = Path(tempfile.gettempdir(), "mapred-benchmarks")
    kept = folder / f"peers-{size}"
    kept.mkdir(parents=True, exist_ok=True)
    for name in names or WORKLOADS:
        print(name, flush=True)
        found = measure(name, size, folder, ROUNDS)
        (kept / f"{name}.json").write_text(json.dumps(found))
        print(markdown(found), flush=True)
        write_page(kept)
    shutil.rmtree(folder / "runs", ignore_errors=True)


def write_page(kept: Path) -> None:
    """All workloads whose figures are there."""
    known = [kept / f"{name}.json" for name in WORKLOADS]
    sections = [json.loads(file.read_text()) for file in known if file.exists()]
    pages = [HEAD, report.machine(PEERS) + "\n", bars(sections), *map(markdown, sections)]
    (HERE / "RESULTS-PEERS.md").write_text("\n".join(pages))
    (HERE / "results-peers.svg").write_text(plot.svg(sections))


if __name__ == "__main__":
    main(sys.argv[1:])
