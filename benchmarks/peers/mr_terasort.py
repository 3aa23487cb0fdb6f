"""The sort as an mrjob: the sort between its steps is all that is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mrjob.job import MRJob
from mrjob.protocol import RawProtocol


class Sort(MRJob):
    INPUT_PROTOCOL = INTERNAL_PROTOCOL = OUTPUT_PROTOCOL = RawProtocol

    def mapper(self, key: str, payload: str) -> Iterator[tuple[str, str]]:
        yield key, payload

    def reducer(self, key: str, payloads: Iterable[str]) -> Iterator[tuple[str, str]]:
        for payload in payloads:
            yield key, payload


if __name__ == "__main__":
    Sort.run()
