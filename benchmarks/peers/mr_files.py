"""Looks at files whose paths are the lines of the input, as an mrjob."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mrjob.job import MRJob

from benchmarks.peers import files


class Files(MRJob):
    def mapper_init(self) -> None:
        self.total = files.total([])

    def mapper(self, _: None, path: str) -> None:
        self.total = files.add(self.total, files.look_at(path))

    def mapper_final(self) -> Iterator[tuple[str, list[int]]]:
        yield "total", self.total

    def reducer(self, key: str, totals: Iterable[list[int]]) -> Iterator[tuple[str, list[int]]]:
        yield key, files.total(totals)


if __name__ == "__main__":
    Files.run()
