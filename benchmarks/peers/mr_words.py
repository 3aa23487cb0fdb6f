"""The word count as an mrjob, which wants a module of its own to run as a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from mrjob.job import MRJob


class Words(MRJob):
    """Counts in memory for each mapper, as the functions of the other engines do."""

    def mapper_init(self) -> None:
        self.counts: Counter[str] = Counter()

    def mapper(self, _: None, line: str) -> None:
        self.counts.update(line.split())

    def mapper_final(self) -> Iterator[tuple[str, int]]:
        yield from self.counts.items()

    def reducer(self, word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        yield word, sum(counts)


if __name__ == "__main__":
    Words.run()
