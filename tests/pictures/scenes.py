"""What is pictured: the commands and the cells, each with the name of its picture."""

from __future__ import annotations

from dataclasses import dataclass

from pictures.terminal import WIDTH, Command


@dataclass(frozen=True)
class Terminal:
    """One picture of a terminal; files are written before its commands run."""

    title: str
    commands: tuple[Command | str, ...]
    files: tuple[tuple[str, str], ...] = ()
    width: int = WIDTH


@dataclass(frozen=True)
class Notebook:
    """One picture of the last of some cells: what it showed at the end, or `part` of the way."""

    title: str
    cells: tuple[str, ...]
    part: float | None = None
    unfolded: bool = False


_TRAFFIC = """\
def bytes_sent(lines):
    return sum(int(line.split()[9]) for line in lines)
"""
_FIXED = """\
def bytes_sent(lines):
    fields = (line.split() for line in lines)
    return sum(int(each[9]) for each in fields if len(each) > 9)
"""
_COUNT = """\
import re, sysconfig, time
from collections import Counter
import mapred

def count_words(lines):
    return Counter(word for line in lines for word in re.findall(r"\\w+", line))

sources = mapred.read_text(sysconfig.get_path("stdlib") + "/[a-rt]*/**/*.py", errors="replace")
"""
_PIECES = """\
import sysconfig
from collections import Counter
import mapred

def count_pieces(lines, task: mapred.Task):
    counts = Counter()
    for line in map(str.strip, lines):
        counts.update(line[start : start + 3] for start in range(len(line) - 2))
    task.count("different pieces", len(counts))
    print(f"{len(counts):,} different pieces, most often {counts.most_common(1)[0][0]!r}")
    return counts

sources = mapred.read_text(sysconfig.get_path("stdlib") + "/[a-rt]*/**/*.py", errors="replace")
"""
_TRAIN = """\
import math, time
import mapred

def train(rate: float, depth: int, repeat: int, task: mapred.Task) -> dict:
    time.sleep(0.1 * depth)
    loss = 0.2 + (math.log10(rate) + 2) ** 2 / 5 + 0.5**depth + task.rng.normal(scale=0.01)
    return {"loss": loss, "steps": 100 * depth}
"""

TERMINALS = {
    "terminal-plan": Terminal("mapred plan", ("mapred plan 'logs/*.log' --target-bytes 1Mi",)),
    "terminal-run": Terminal("mapred run", ("mapred run recipes/word_count.py",)),
    "terminal-failed": Terminal(
        "a failed run",
        (
            Command(
                "mapred run traffic.py:bytes_sent 'logs/*.log' --target-bytes 1Mi --reduce sum", 1
            ),
        ),
        (("traffic.py", _TRAFFIC),),
    ),
    "terminal-resume": Terminal(
        "mapred resume",
        ("mapred resume last --fn traffic.py:bytes_sent",),
        (("traffic.py", _FIXED),),
    ),
    "terminal-ls": Terminal("mapred ls", ("mapred ls",), width=120),
    "terminal-show": Terminal("mapred show", ("mapred show last",)),
    "terminal-live": Terminal(
        "mapred run, midway",
        (Command("mapred run recipes/word_count.py", until=r"map .* [5-9]/\d\d"),),
    ),
}

NOTEBOOKS = {
    "notebook-plan": Notebook(
        "A plan in a notebook", (_COUNT, 'plan = mapred.plan(sources, target_bytes="1Mi")\nplan')
    ),
    "notebook-live": Notebook(
        "A run in a notebook, midway",
        (_PIECES, "run = mapred.run(count_pieces, sources, reduce=mapred.reducers.merge_counts)"),
        0.6,
    ),
    "notebook-succeeded": Notebook(
        "A run in a notebook that succeeded",
        (_COUNT, "run = mapred.run(count_words, sources, reduce=mapred.reducers.merge_counts)"),
    ),
    "notebook-failed": Notebook(
        "A run in a notebook that failed",
        (
            f"import mapred\n{_TRAFFIC}",
            'run = mapred.run(bytes_sent, "logs/*.log", reduce=sum, target_bytes="1Mi")',
        ),
        unfolded=True,
    ),
    "notebook-sweep": Notebook(
        "A sweep in a notebook",
        (
            _TRAIN,
            "grid = mapred.sweep(rate=[0.1, 0.01, 0.001], depth=[1, 2, 4], repeats=3, seed=0)\n"
            "run = mapred.run(train, grid)\n"
            "run.to_pandas().head()",
        ),
    ),
    "notebook-plot": Notebook(
        "The results of a sweep over two parameters",
        (
            _TRAIN,
            "grid = mapred.sweep(rate=[0.1, 0.01, 0.001], depth=[1, 2, 4], repeats=3, seed=0)\n"
            'run = mapred.run(train, grid, progress="none")',
            'run.plot("loss")',
        ),
    ),
}

# Of a run on a cluster the stored outputs of a notebook are pictured: its title, notebook and code.
STORED = {
    "notebook-cluster": ("A run on a cluster, in a notebook", "02-on-argo", 'backend="argo",\n'),
}
