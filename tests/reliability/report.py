"""docs/reliability.md, of recorded trials."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import mapred
from reliability.attacks import ATTACKS
from reliability.trials import BOUND, TRIES, Verdict

_HEAD = """\
# Reliability under attack

What happens to a run when processes, disks, clocks and servers fail. A program breaks them on
purpose, and writes this page from what it saw. To repeat it, run `make reliability` as root on
Linux; `SEEDS=100` runs more trials.

## How a trial works

A **trial** starts a job in a process of its own, attacks it at moments that a seed chooses, removes
the obstacle, and resumes the run until it succeeds. The jobs are a map over items, a tree of reduces
with counters and files, a keyed reduce, and a `write_parquet`. The right answer of each is known
before the trial starts. A trial counts as

- **exact at once** if the attacked run gave the right answer and its audit was whole;
- **exact when resumed** if the run was killed or ended with a clear error, and `resume` gave the
  right answer;
- **exact in a new run** if it ended before a run existed, and a second run gave the right answer.

Everything else is a **fault**: a wrong answer, an audit that is not whole, leftover files, an
exception that is not mapred's own, an error that does not say what happened, a process that did not
end within {bound:.0f} seconds or outlived its run, or a run that does not succeed after {tries} resumes.
"""

_TAIL = """\
## Repeat one trial

Name the attack and the number of its seed:

```console
$ make reliability ATTACKS=kills FIRST=17 SEEDS=1
```

A seed chooses the job, the victims, and the seconds before each attack. What a process is doing at that
moment depends on the machine, so it may take several tries to see a fault again.

## Other attacks

These are in the test suite:

| attack | tests |
|---|---|
| workers killed at each operation on a store, with twins, on S3 | `tests/whole/test_chaos.py` |
| answers that are short, long, lost or late; stores that go away | `tests/storage/test_faults.py` |
| two users of different umasks in one root | `tests/storage/test_modes.py` |
| records, outputs and published files that were changed | `tests/client/test_audit.py` |
| names, tables and texts that a page or a terminal shows | `tests/display` |
"""


def report(verdicts: Sequence[Verdict]) -> str:
    """The whole page."""
    head = _HEAD.format(bound=BOUND, tries=TRIES)
    parts = [head, *_results(verdicts), *_errors(verdicts), *_faults(verdicts), _TAIL]
    return "\n".join(parts)


def _results(verdicts: Sequence[Verdict]) -> Iterator[str]:
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    yield f"## Figures\n\nmapred {mapred.__version__}, {machine}.\n"
    yield "| attack | trials | exact at once | exact when resumed | exact in a new run | faults |"
    yield "|---|---|---|---|---|---|"
    for name, attack in ATTACKS.items():
        own = [v for v in verdicts if v.attack == name]
        does = (attack.__doc__ or "").strip().rstrip(".")
        yield f"| **{name}**: {does[0].lower()}{does[1:]}{_deeds(own)} | {_row(own)} |"
    yield f"| all | {_row(verdicts)} |\n"
    most = max((len(v.errors) for v in verdicts), default=0)
    told = sum(len(v.errors) for v in verdicts)
    yield f"Users saw {told} errors, at most {most} in one trial.\n"


def _row(verdicts: Sequence[Verdict]) -> str:
    found = Counter(v.result for v in verdicts)
    counts = [len(verdicts), *(found[name] for name in ("exact", "resumed", "anew", "fault"))]
    return " | ".join(map(str, counts))


def _deeds(verdicts: Sequence[Verdict]) -> str:
    done: Counter[str] = Counter()
    for verdict in verdicts:
        done.update(verdict.done)
    return (
        f" ({', '.join(f'{count} {name}' for name, count in sorted(done.items()))})" if done else ""
    )


def _errors(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield "## Errors that users saw\n"
    yield "Ids and paths are left out.\n"
    yield "| attack | error | times |\n|---|---|---|"
    told = Counter((v.attack, _short(text)) for v in verdicts for text in v.errors)
    order = {name: number for number, name in enumerate(ATTACKS)}
    for (attack, text), count in sorted(told.items(), key=lambda e: (order[e[0][0]], -e[1], e[0])):
        yield f"| {attack} | {text} | {count} |"
    yield ""


def _faults(verdicts: Sequence[Verdict]) -> Iterator[str]:
    faults = [v for v in verdicts if v.result == "fault"]
    yield "## Faults\n"
    if not faults:
        yield "None in these trials.\n"
        return
    yield "| attack | seed | job | what |\n|---|---|---|---|"
    for verdict in faults:
        yield f"| {verdict.attack} | {verdict.seed} | {verdict.kind} | {_cell(verdict.fault)} |"
    yield ""


def _short(text: str) -> str:
    """An error as a cell: without its advice, and the names of single files."""
    text = re.sub(r"to resume: .*", "", text).strip()
    text = re.sub(r"ROOT/(RUN/)?[\w./…-]*", "PATH", text)
    text = re.sub(r"\d+", "N", text)
    return _cell(text[:200])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
