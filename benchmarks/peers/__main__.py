"""`python -m benchmarks.peers [WORKLOAD …]`: mapred beside its peers, into RESULTS-PEERS.md.

`MAPRED_PEERS_SIZE=full` takes the sizes that are reported (`small` tries everything out),
`MAPRED_BENCH_ROUNDS` sets how often each engine runs, `MAPRED_PEERS_ENGINES="mapred duckdb"`
leaves the others out. Results are kept below $TMPDIR, so that the page can be made piece by piece.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.peers import plot, race

WORKLOADS = ("words", "tpch_q1", "tpch_q6", "partkey", "sweep")
PEERS = ("daft", "lithops", "mrjob", "pyspark", "tpchgen-cli")
HERE = Path(__file__).parents[1]
HEAD = """# mapred beside its peers

Written by `make bench-peers`: whole programs, from their start to the answer, on one machine with
two cores for each engine; its cluster's start is part of it. Answers were checked equal first;
medians of runs in turn, with the least and the greatest. Memory is the most that all processes of
an engine held at once, shared pages counted once. Ratios are to mapred: above 1 is slower.

![Seconds relative to mapred](results-peers.svg)
"""


def measure(workload: str, size: str, folder: Path, rounds: int) -> dict[str, Any]:
    """All engines at one workload."""
    module = importlib.import_module(f"benchmarks.peers.{workload}")
    argument, what = module.make(folder, size)
    chosen = os.environ.get("MAPRED_PEERS_ENGINES", "").split()
    engines = [name for name in module.ENGINES if not chosen or name.split()[0] in chosen]
    ours = race.checked(workload, "mapred", argument, folder)
    peaks, absent = {"mapred": ours.peak}, {}
    for engine in engines:
        print(f"  checking {engine}", flush=True)
        if engine == "mapred":
            continue
        try:
            theirs = race.checked(workload, engine, argument, folder)
            race.compare(ours.rows, theirs.rows)
        except race.EngineError as error:
            absent[engine] = str(error)
        else:
            peaks[engine] = theirs.peak
    calls = {name: lambda name=name: race.timed(workload, name, argument, folder) for name in peaks}
    seconds = report.in_turn(calls, rounds)
    text = f"{what}; {len(ours.rows):,} rows in the answer."
    return {
        "title": module.TITLE, "text": text, "size": size,
        "seconds": seconds, "peaks": peaks, "absent": absent,
    }  # fmt: skip


def markdown(found: dict[str, Any]) -> str:
    ours = statistics.median(found["seconds"]["mapred"])
    peak = found["peaks"]["mapred"]
    lines = [f"## {found['title']}", "", f"Size `{found['size']}`: {found['text']}", ""]
    lines += ["| engine | seconds | ratio | peak memory | ratio |", "|---|---:|---:|---:|---:|"]
    order = sorted(found["seconds"].items(), key=lambda pair: statistics.median(pair[1]))
    for name, seconds in order:
        ratio = statistics.median(seconds) / ours
        memory = found["peaks"][name]
        lines.append(
            f"| {name} | {report.spread(seconds)} | {ratio:.2f} | {memory / 1e6:,.0f} MB "
            f"| {memory / max(peak, 1):.2f} |"
        )
    lines += [
        f"| {name} | {why.replace('|', '/')} | | | |" for name, why in found["absent"].items()
    ]
    return "\n".join(lines) + "\n"


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
        found = measure(name, size, folder, report.ROUNDS)
        (kept / f"{name}.json").write_text(json.dumps(found))
        shutil.rmtree(folder / "runs", ignore_errors=True)
        print(markdown(found), flush=True)
    known = [kept / f"{name}.json" for name in WORKLOADS]
    sections = [json.loads(file.read_text()) for file in known if file.exists()]
    pages = [HEAD, report.machine(PEERS) + "\n", *map(markdown, sections)]
    (HERE / "RESULTS-PEERS.md").write_text("\n".join(pages))
    (HERE / "results-peers.svg").write_text(plot.svg(sections))


if __name__ == "__main__":
    main(sys.argv[1:])
