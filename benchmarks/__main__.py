"""`python -m benchmarks [WORKLOAD …]`: full size, five runs of each contender in turn.

Each workload's figures are kept in a folder below $TMPDIR, so that RESULTS.md, which is
written at the end, can be made piece by piece. `MAPRED_BENCH_ROUNDS` runs fewer,
`MAPRED_BENCH_LARGE_MB` makes the large object of `storage` smaller,
`MAPRED_BENCH_OBJECTS` lists fewer than a million.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    bench_items,
    bench_listing,
    bench_memory,
    bench_render,
    bench_start,
    bench_storage,
    bench_words,
    planning,
    report,
)

WORKLOADS: dict[str, Callable[[Path], report.Section]] = {
    "planning": planning.measure,
    "words": bench_words.measure_python,
    "kernels": bench_words.measure_kernels,
    "items": bench_items.measure_items,
    "tasks": bench_items.measure_tasks,
    "memory": bench_memory.measure,
    "start": bench_start.measure,
    "render": bench_render.measure,
    "storage": bench_storage.measure,
    "listing": bench_listing.measure,
}
HEAD = """# Results

Written by `make bench`. Medians of five runs in turn, with the least and the greatest; answers
were checked equal first.
"""


def main(names: list[str]) -> None:
    unknown = set(names) - set(WORKLOADS)
    if unknown:
        sys.exit(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    folder = Path(tempfile.gettempdir(), "mapred-benchmarks")
    kept = folder / "results"
    for name in names or WORKLOADS:
        print(name, flush=True)
        section = WORKLOADS[name](folder)
        report.save(kept, name, section)
        shutil.rmtree(folder / "runs", ignore_errors=True)
        print(section.markdown(), flush=True)
    sections = [section for name in WORKLOADS if (section := report.load(kept, name))]
    text = "\n".join([HEAD, report.machine() + "\n", *(s.markdown() for s in sections)])
    (Path(__file__).parent / "RESULTS.md").write_text(text)


if __name__ == "__main__":
    # Bytecode is what a user's second start finds.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    main(sys.argv[1:])
