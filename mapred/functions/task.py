"""The task as a user's function sees it."""

from __future__ import annotations

import functools
import logging
import math
import os

from mapred.errors import FunctionError
from mapred.model import seeds
from mapred.model.checking import check, short_repr
from mapred.model.rules import Unfit, plain, real
from mapred.process.lazy import np, pathlib, tempfile


def _check_count(name: object, n: object) -> float:
    n = plain(n)
    try:
        return int(n) if isinstance(n, bool) else real(n)
    except Unfit:
        raise FunctionError(
            f"task.count({short_repr(name)}, {short_repr(n)}): the second must be a finite number"
        ) from None


def written_files(folder: str) -> list[pathlib.Path]:
    """Return the files that a task left in the folder of its outputs; a link or a pipe is refused."""
    files = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.is_file(follow_symlinks=False):
            kind = "a link" if entry.is_symlink() else "a folder" if entry.is_dir() else "no file"
            raise FunctionError(
                f"task.output({entry.name!r}) is {kind}, and what is stored must be a regular file: "
                "copy to it what it is to hold"
            )
        files.append(pathlib.Path(entry.path))
    return files


class Task:
    """One attempt at one task. A parameter that is annotated `mapred.Task` receives it.

    Attributes:
        stage: The stage: `"map"`, `"reduce-1"`, …
        shard: The number of the task in its stage.
        attempt: The number of the attempt, from 1.
        item: The index of the item at hand where the function runs once per item, else None.
        counters: What `count` has added up so far, by name.
        wrote_files: Whether `output` was called.

    Examples:
        >>> def draw(n, task: mapred.Task):
        ...     task.count("draws")
        ...     return task.item, task.attempt, round(task.rng.normal(n), 3)
        >>> run = mapred.run(draw, [10, 20], seed=1)
        >>> run.result()
        [(0, 1, ...), (1, 1, ...)]
        >>> run.counters
        {'draws': 2}
    """

    def __init__(self, *, stage: str, shard: int, attempt: int, seed: int, folder: str) -> None:
        self.stage = stage
        self.shard = shard
        self.attempt = attempt
        self.item: int | None = None
        self.counters: dict[str, float] = {}
        self.wrote_files = False
        self._seed = seed
        self._name = folder
        self._entropy = b""
        self._rng: np.random.Generator | None = None

    def __repr__(self) -> str:
        return f"Task({self.stage!r}, shard={self.shard}, attempt={self.attempt})"

    @property
    def log(self) -> logging.Logger:
        """A standard logger, whose lines end up in the attempt's log; see `Run.logs`."""
        return logging.getLogger(f"mapred.{self.stage}")

    @property
    def rng(self) -> np.random.Generator:
        """A `numpy.random.Generator` of this item's own (of this shard's where there are no items).

        It is seeded by the run's seed and by the item's value (the point and its repeat, the shard's
        ranges), so its numbers depend neither on how items were packed nor on what else is in the
        dataset. `random` and `numpy.random` are seeded alike.
        """
        if self._rng is None:
            self._rng = seeds.rng_of(self._entropy)
        return self._rng

    def begin(self, item: int | None, spelling: str) -> None:
        """Continue to an item (None: to the shard as a whole), and seed what draws random numbers."""
        self.item = item
        self._entropy, self._rng = seeds.entropy(self._seed, spelling), None
        seeds.seed_globals(self._entropy)

    def count(self, name: str, n: float = 1) -> None:
        """Add to a counter; the counters of all committed attempts are summed in `Run.counters`.

        Args:
            name: The counter.
            n: A finite number of Python, numpy or decimal; of booleans the true ones are counted.

        Raises:
            FunctionError: `n` is not a finite number.

        Examples:
            >>> def parse(lines, task: mapred.Task):
            ...     for line in lines:
            ...         task.count("words", len(line.split()))
            >>> mapred.run(parse, "corpus/*.txt").counters
            {'words': 13}
        """
        exact = type(n) is int or (type(n) is float and math.isfinite(n))
        if not exact or type(name) is not str:
            name, n = check("name", name, str, FunctionError), _check_count(name, n)
        self.counters[name] = self.counters.get(name, 0) + n

    @functools.cached_property
    def folder(self) -> str:
        """The temporary folder of `output`, which only this user may read."""
        try:
            return tempfile.mkdtemp(prefix=f"{self._name}-")
        except FileNotFoundError as error:
            raise FunctionError(
                f"task.output() needs a folder for temporary files, and none can be written to: "
                f"{error.strerror or error}; set TMPDIR to one that can, such as by "
                "Resources(env={'TMPDIR': …})"
            ) from None

    def output(self, name: str) -> pathlib.Path:
        """Return a path to write a file to, which is stored and committed with the attempt.

        Where the function runs once per item the file's stored name starts with the item's index, so
        items of one shard may use one name. `Run.files` lists them.

        Args:
            name: A plain file name, without a folder.

        Returns:
            A `pathlib.Path` in a temporary folder.

        Raises:
            FunctionError: The name has a `/` or begins with a dot, or no folder can be written to.

        Examples:
            >>> def export(n, task: mapred.Task):
            ...     task.output("square.txt").write_text(str(n * n))
            >>> run = mapred.run(export, [2, 3])
            >>> run.files["name"].tolist()
            ['000000-square.txt', '000001-square.txt']
        """
        name = check("name", name, str, FunctionError)
        if not name or name.startswith((".", "/")) or "/" in name or "\0" in name:
            raise FunctionError(f"output name {name!r} must be a plain file name, without '/'")
        folder = pathlib.Path(self.folder)
        self.wrote_files = True
        return folder / (name if self.item is None else f"{self.item:06d}-{name}")
