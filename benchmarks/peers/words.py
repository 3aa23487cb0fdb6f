"""Word count by a Python function over lines: the merged counts."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.corpus import corpus
from benchmarks.functions import count_words, count_words_of
from benchmarks.peers import engines

if TYPE_CHECKING:
    import pandas as pd

TITLE = "Word count by a Python function"
QUERY = "a query engine: runs no Python function over lines; RESULTS.md counts words by kernels"
ABSENT = {"duckdb": QUERY, "polars": QUERY, "daft": QUERY, "spark sql": QUERY}
SIZES = {"small": 20_000_000, "full": 750_000_000}


def make(folder: Path, size: str) -> tuple[str, str]:
    """Where the text lies, and what it is."""
    text = corpus(folder, SIZES[size])
    return str(text.folder), text.describe()


def with_mapred(folder: str) -> Any:
    import mapred

    run = mapred.run(count_words, f"{folder}/files/*.txt", reduce=mapred.reducers.merge_counts)
    return run.result()


def with_pool(folder: str) -> Any:
    return merged(engines.pool(count_words_of, pieces(folder)))


def with_dask(folder: str) -> Any:
    import dask.bag

    with engines.dask():
        lines = dask.bag.read_text(f"{folder}/files/*.txt", blocksize="16MiB")
        return lines.reduction(count_words, merged).compute()


def with_ray(folder: str) -> Any:
    with engines.ray() as ray:
        count = ray.remote(count_words_of)
        return merged(ray.get(part) for part in [count.remote(path) for path in pieces(folder)])


def with_spark_rdd(folder: str) -> Any:
    with engines.spark() as spark:
        lines = spark.sparkContext.textFile(f"{folder}/files")
        pairs = lines.mapPartitions(lambda part: count_words(part).items())
        return dict(pairs.reduceByKey(operator.add).collect())


def with_spark_pandas(folder: str) -> Any:
    import pandas as pd
    from pyspark.sql import functions

    def counted(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        counts = count_words(line for frame in frames for line in frame["value"])
        yield pd.DataFrame({"word": list(counts), "count": list(counts.values())})

    with engines.spark() as spark:
        counts = spark.read.text(f"{folder}/files").mapInPandas(counted, "word string, count long")
        sums = counts.groupBy("word").agg(functions.sum("count").alias("count")).toPandas()
    return dict(zip(sums["word"], sums["count"], strict=True))


def with_lithops(folder: str) -> Any:
    with engines.lithops() as executor:
        executor.map_reduce(count_words_of, pieces(folder), merged)
        return executor.get_result()


def with_mrjob(folder: str) -> Any:
    from benchmarks.peers.mr_jobs import Words

    return dict(engines.mrjob(Words, sorted(map(str, Path(folder, "files").iterdir()))))


def merged(results: Iterable[Mapping[str, int]]) -> Counter[str]:
    """The sums. Lithops looks at the name of the parameter."""
    whole: Counter[str] = Counter()
    for part in results:
        whole.update(part)
    return whole


def pieces(folder: str) -> list[str]:
    return sorted(map(str, Path(folder, "pieces").iterdir()))


CONTENDERS: dict[str, Callable[[str], Any]] = {
    "mapred": with_mapred,
    "pool": with_pool,
    "dask": with_dask,
    "ray": with_ray,
    "spark rdd": with_spark_rdd,
    "spark pandas": with_spark_pandas,
    "lithops": with_lithops,
    "mrjob": with_mrjob,
}


def rows(answer: Mapping[str, int]) -> list[list[Any]]:
    return [[word, answer[word]] for word in sorted(answer)]
