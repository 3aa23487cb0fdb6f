"""`python -m mutation PART...`: put a sample of faults into parts of mapred, and list those that no test notices."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from mutation.points import faults
from mutation.trials import ROOT, Mutant, Verdict, judge

PARTS = ["planner", "formats", "model/policy.py"]
_SECONDS = 600.0  # that the tests of a file as it is may take
_TIMES = 3  # that they may take with a fault in it, of what they took without


def mutants(parts: list[str]) -> Iterator[Mutant]:
    """All faults of files and folders of mapred."""
    for part in parts:
        path = ROOT / "mapred" / part
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            name = str(file.relative_to(ROOT / "mapred"))
            yield from (Mutant(name, fault) for fault in faults(file.read_bytes()))


def sample(parts: list[str], count: int, seed: int) -> list[Mutant]:
    """As many faults of each part, in an order that puts those of one file apart."""
    chosen: list[Mutant] = []
    for number, part in enumerate(parts):
        found = list(mutants([part]))
        share = (count - len(chosen)) // (len(parts) - number)
        chosen += random.Random(f"{seed} {part}").sample(found, min(share, len(found)))
    random.Random(seed).shuffle(chosen)
    return chosen


class Record:
    """The verdicts so far, a line of JSON each: what is there already is not done again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        verdicts = [Verdict(**json.loads(line)) for line in lines]
        self.verdicts = {verdict.mutant: verdict for verdict in verdicts}

    def judged(self, mutant: Mutant, limit: float) -> Verdict:
        if mutant.name not in self.verdicts:
            verdict = judge(mutant, limit)
            self.verdicts[mutant.name] = verdict
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(verdict)) + "\n")
        return self.verdicts[mutant.name]


def try_out(record: Record, mutant: Mutant, until: float) -> None:
    """Judge a mutant, and its file as it is before; nothing when time is up."""
    if time.monotonic() > until:
        return
    plain = record.judged(Mutant(mutant.file, None), _SECONDS)
    if plain.killed_by:
        raise SystemExit(f"{plain.mutant}, without a fault: {plain.killed_by} fails")
    record.judged(mutant, 10 + _TIMES * plain.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, help="files and folders of mapred")
    parser.add_argument("--sample", type=int, default=300, help="how many faults")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin none after so long")
    parser.add_argument("--side-by-side", type=int, default=1, help="so many at a time")
    parser.add_argument("--record", type=Path, default=Path("mutants.jsonl"))
    options = parser.parse_args()
    for part in options.parts:
        if not (ROOT / "mapred" / part).exists():
            parser.error(f"mapred/{part} is not there")
    chosen = sample(options.parts, options.sample, options.seed)
    record = Record(options.record)
    one = partial(try_out, record, until=time.monotonic() + options.seconds)
    with ThreadPoolExecutor(options.side_by_side) as pool:
        list(pool.map(one, chosen))
    tried = [record.verdicts[m.name] for m in chosen if m.name in record.verdicts]
    survivors = sorted(verdict.mutant for verdict in tried if not verdict.killed_by)
    print(*survivors, sep="\n")
    print(f"{len(tried)} of {len(chosen)} faults tried, {len(survivors)} survived")


if __name__ == "__main__":
    main()
