"""The sweep as an mrjob: a point is a line of the input."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mrjob.job import MRJob

from benchmarks.peers import sweep


class Sweep(MRJob):
    def mapper(self, _: None, line: str) -> Iterator[tuple[int, float]]:
        index, *point = json.loads(line)
        yield index, sweep.fit(*point)


if __name__ == "__main__":
    Sweep.run()
