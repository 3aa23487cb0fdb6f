"""The jobs of mrjob, which starts this file as a script, once for each task of `--job`."""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from types import ModuleType
from typing import Any

from mrjob.job import MRJob
from mrjob.protocol import RawProtocol

Pair = tuple[Any, list[float]]


class Job(MRJob):
    """Each task imports this file: only `workload`, which some jobs need, imports numpy."""

    def configure_args(self) -> None:
        super().configure_args()
        self.add_passthru_arg("--job", help="a class of this file")
        self.add_passthru_arg("--workload", help="a module beside this one")

    @cached_property
    def workload(self) -> ModuleType:
        return importlib.import_module(f"benchmarks.peers.{self.options.workload}")


class Words(Job):
    """Counts in memory for each mapper, as the functions of the other engines do."""

    def mapper_init(self) -> None:
        self.counts: Counter[str] = Counter()

    def mapper(self, _: None, line: str) -> None:
        self.counts.update(line.split())

    def mapper_final(self) -> Iterator[tuple[str, int]]:
        yield from self.counts.items()

    def reducer(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        yield word, sum(counts)


class Files(Job):
    """Reads files whose paths are the lines of the input."""

    def mapper_init(self) -> None:
        self.total = self.workload.total([])

    def mapper(self, _: None, path: str) -> None:
        self.total = self.workload.add(self.total, self.workload.look_at(path))

    def mapper_final(self) -> Iterator[tuple[str, list[int]]]:
        yield "total", self.total

    def reducer(self, key: str, totals: Iterable[list[int]]) -> Iterator[tuple[str, list[int]]]:
        yield key, self.workload.total(totals)


class Sweep(Job):
    """A point is a line of the input."""

    def mapper(self, _: None, line: str) -> Iterator[tuple[int, float]]:
        index, *point = json.loads(line)
        yield index, self.workload.fit(*point)


class Sort(Job):
    """The sort between the steps of a job is all that is needed."""

    INPUT_PROTOCOL = INTERNAL_PROTOCOL = OUTPUT_PROTOCOL = RawProtocol

    def mapper(self, key: str, payload: str) -> Iterator[tuple[str, str]]:
        yield key, payload

    def reducer(self, key: str, payloads: Iterable[str]) -> Iterator[tuple[str, str]]:
        for payload in payloads:
            yield key, payload


class Sums(Job):
    """Adds up, by key, the lists of numbers that the function `pairs` of the workload yields."""

    def mapper_raw(self, path: str, _: str) -> Iterator[Pair]:
        """One file of Parquet, whole."""
        yield from self.workload.pairs(path)

    def reducer(self, key: Any, numbers: Iterable[list[float]]) -> Iterator[Pair]:
        yield key, [sum(column) for column in zip(*numbers, strict=True)]


if __name__ == "__main__":
    globals()[sys.argv[sys.argv.index("--job") + 1]].run()
