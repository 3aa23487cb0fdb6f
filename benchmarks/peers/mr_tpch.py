"""A query of TPC-H as an mrjob: each mapper reads one file of Parquet, whole."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from mrjob.job import MRJob

Pair = tuple[Any, list[float]]


class Sums(MRJob):
    """Adds up, by key, the lists of numbers that `--query` names: its function `pairs`."""

    def configure_args(self) -> None:
        super().configure_args()
        self.add_passthru_arg("--query", help="the module beside this one")

    def mapper_raw(self, path: str, _: str) -> Iterator[Pair]:
        yield from importlib.import_module(f"benchmarks.peers.{self.options.query}").pairs(path)

    def reducer(self, key: Any, numbers: Iterable[list[float]]) -> Iterator[Pair]:
        yield key, [sum(column) for column in zip(*numbers, strict=True)]


if __name__ == "__main__":
    Sums.run()
