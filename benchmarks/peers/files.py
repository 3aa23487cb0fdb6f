"""Very many small files: a Python function is called with each of them, and a total is made."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.corpus import corpus
from benchmarks.peers import engines

TITLE = "Many small files"
FILES = {"small": 500, "full": 100_000}
TEXT = {"small": 20_000_000, "full": 750_000_000}  # as the word count's
FILE_BYTES, FOLDER_FILES = 10_000, 1_000
CHUNK = 500  # paths for one call of the engines that would be slow with one file in each
QUERY = "a query engine: runs its own expressions, no Python function over a file's bytes"
ABSENT = {"duckdb": QUERY, "polars": QUERY, "daft": QUERY, "spark sql": QUERY}


def make(folder: Path, size: str) -> tuple[str, str]:
    """Files of some 10 KB, cut between lines; the text starts over where it is too short."""
    home, count = folder / f"many-{FILES[size]}", FILES[size]
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        texts = _cut(corpus(folder, TEXT[size]).pieces)
        for number in range(count):
            path = home / f"{number // FOLDER_FILES:03d}" / f"{number % FOLDER_FILES:03d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(next(texts))
        paths = all_paths(str(home))
        size_ = sum(os.path.getsize(path) for path in paths)
        (home / "ready").write_text(json.dumps([len(paths), size_]))
    files, size_ = json.loads((home / "ready").read_text())
    return str(home), f"{files:,} files of {size_ / files / 1000:.1f} KB, {size_ / 1e6:,.0f} MB"


def _cut(pieces: Iterable[Path]) -> Iterator[bytes]:
    while True:
        for piece in pieces:
            data, start = piece.read_bytes(), 0
            while start < len(data):
                end = data.find(b"\n", start + FILE_BYTES - 1) + 1 or len(data)
                yield data[start:end]
                start = end


def all_paths(folder: str) -> list[str]:
    return sorted(str(path) for path in Path(folder).glob("*/*.txt"))


def look(data: bytes) -> list[int]:
    """Files, lines, words and a sum of digests."""
    return [1, data.count(b"\n"), len(data.split()), zlib.crc32(data)]


def look_at(path: str) -> list[int]:
    with open(path, "rb") as file:
        return look(file.read())


def look_at_all(paths: Iterable[str]) -> list[int]:
    return total(map(look_at, paths))


def total(results: Iterable[list[int]]) -> list[int]:
    """The sums. Lithops looks at the name of the parameter."""
    sums = [0, 0, 0, 0]
    for each in results:
        for index, value in enumerate(each):
            sums[index] += value
    return sums


def add(left: list[int], right: list[int]) -> list[int]:
    return [a + b for a, b in zip(left, right, strict=True)]


def chunks(folder: str) -> list[list[str]]:
    paths = all_paths(folder)
    return [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]


def with_mapred(folder: str) -> list[int]:
    import mapred

    texts = mapred.read_files(f"{folder}/*/*.txt", as_="bytes")
    return mapred.run(look, texts, reduce=total).result()


def with_pool(folder: str) -> list[int]:
    return total(engines.pool(look_at_all, chunks(folder)))


def with_dask(folder: str) -> list[int]:
    import dask.bag

    paths = all_paths(folder)
    with engines.dask():
        bag = dask.bag.from_sequence(paths, partition_size=CHUNK)
        return bag.map(look_at).reduction(total, total).compute()


def with_ray(folder: str) -> list[int]:
    with engines.ray() as ray:
        remote = ray.remote(look_at_all)
        return total(ray.get([remote.remote(paths) for paths in chunks(folder)]))


def with_spark_rdd(folder: str) -> list[int]:
    with engines.spark() as spark:
        files = spark.sparkContext.binaryFiles(f"{folder}/[0-9]*")
        return files.map(lambda pair: look(pair[1])).reduce(add)


def with_lithops(folder: str) -> list[int]:
    with engines.lithops() as executor:
        # A list of arguments in a tuple: Lithops takes a list apart.
        executor.map_reduce(look_at_all, [(paths,) for paths in chunks(folder)], total)
        return executor.get_result()


def with_mrjob(folder: str) -> list[int]:
    from benchmarks.peers.mr_jobs import Files

    listed = Path(engines.output(), "paths.txt")
    listed.write_text("".join(f"{path}\n" for path in all_paths(folder)))
    return engines.mrjob(Files, [str(listed)], "--workload", "files")[0][1]


CONTENDERS: dict[str, Callable[[str], list[int]]] = {
    "mapred": with_mapred,
    "pool": with_pool,
    "dask": with_dask,
    "ray": with_ray,
    "spark rdd": with_spark_rdd,
    "lithops": with_lithops,
    "mrjob": with_mrjob,
}


def rows(answer: Iterable[int]) -> list[list[Any]]:
    return [list(answer)]
