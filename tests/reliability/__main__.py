"""`python -m reliability`: carry trials out, record each as a line of JSON, write the report."""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from reliability.attacks import ATTACKS
from reliability.jobs import KINDS
from reliability.report import report
from reliability.servers import server
from reliability.trials import Scene, Verdict, judged


def trial(attack: str, seed: int, kind: str | None = None) -> Verdict:
    """One trial: the seed chooses every moment of the attack, and the kind of job unless it is given."""
    chance = random.Random(f"{attack} {seed}")
    with tempfile.TemporaryDirectory(prefix="reliability-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        scene = Scene(Path(folder), kind or chance.choice(list(KINDS)), chance)
        return judged(attack, ATTACKS[attack], scene, seed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="reliability", description=__doc__)
    parser.add_argument("attacks", nargs="*", default=[], help=" ".join(ATTACKS))
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds")
    parser.add_argument("--seconds", type=float, default=10**6, help="begin none after so long")
    parser.add_argument("--side-by-side", type=int, default=2, help="so many at a time")
    parser.add_argument("--record", type=Path, default=Path("reliability.jsonl"))
    parser.add_argument("--report", type=Path, help="write the report of what is recorded here")
    options = parser.parse_args()
    chosen = options.attacks or list(ATTACKS)
    if unknown := set(chosen) - set(ATTACKS):
        parser.error(f"no attack {', '.join(unknown)}")
    end = time.monotonic() + options.seconds
    wanted = ((a, s) for s in range(options.first, options.first + options.seeds) for a in chosen)
    known = {(v.attack, v.seed) for v in recorded(options.record)}
    todo = (each for each in wanted if each not in known)
    faults = 0
    with (
        tempfile.TemporaryDirectory(prefix="reliability-") as folder,
        server(Path(folder)),
        ThreadPoolExecutor(options.side_by_side) as pool,
        options.record.open("a") as record,
    ):
        while time.monotonic() < end:
            some = list(islice(todo, options.side_by_side))
            if not some:
                break
            for verdict in pool.map(lambda each: trial(*each), some):
                record.write(json.dumps(dataclasses.asdict(verdict)) + "\n")
                record.flush()
                told = verdict.fault or " ".join(verdict.errors)
                print(f"{verdict.attack:14} {verdict.seed:4} {verdict.kind:6} {verdict.result:8} "
                      f"{verdict.seconds:5.1f} s  {told[:200]}", flush=True)  # fmt: skip
                faults += verdict.result == "fault"
    if options.report is not None:
        options.report.write_text(report(recorded(options.record)))
    return min(faults, 1)


def recorded(path: Path) -> list[Verdict]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [Verdict(**{**v, "errors": tuple(v["errors"])}) for v in map(json.loads, lines)]


if __name__ == "__main__":
    sys.exit(main())
