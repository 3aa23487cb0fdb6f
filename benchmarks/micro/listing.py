"""Listing objects on a real S3 server into Arrow, beside the clients that can do it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import harness, processes
from benchmarks.harness import Report, Settings
from benchmarks.micro import s3

OBJECTS = {"small": 1200, "full": 1_000_000}
FOLDERS = 100
BUCKET = "listing"
Calls = Iterator[Callable[[], Any]]


def by_mapred(bucket: str) -> Calls:
    import mapred
    from mapred.dataset import listing

    yield lambda: listing(mapred.read_files(f"s3://{bucket}/data"))


def by_obstore(bucket: str) -> Calls:
    import obstore
    import pyarrow as pa
    from obstore.store import S3Store

    def call() -> Any:
        options: Any = {"allow_http": True}
        store = S3Store(bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options=options)
        pages = obstore.list(store, "data/", chunk_size=1000, return_arrow=True)
        return pa.Table.from_batches([pa.record_batch(page) for page in pages])

    yield call


def by_s3fs(bucket: str) -> Calls:
    import s3fs

    def call() -> Any:
        fs = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        return fs.find(f"{bucket}/data", detail=True)

    yield call


CONTENDERS = {"mapred": by_mapred, "obstore": by_obstore, "s3fs": by_s3fs}


def rows(answer: Any) -> list[list[Any]]:
    """Keys and sizes in order."""
    if isinstance(answer, dict):
        pairs = [(name, info["size"]) for name, info in answer.items()]
    else:
        pairs = zip(answer["path"].to_pylist(), answer["size"].to_pylist(), strict=True)
    return [[name, size] for name, size in sorted((n[n.index("data/") :], s) for n, s in pairs)]


def measure(settings: Settings) -> Report:
    count = OBJECTS[settings.size]
    with s3.server(settings.home) as server:
        server.fill(BUCKET, [f"data/part={n % FOLDERS:05}/f{n:08}.txt" for n in range(count)])
        calls = {
            each: processes.contender(__name__, each, BUCKET, settings, server.environment)
            for each in CONTENDERS
        }
        results, listed = harness.race(calls, settings)
    if len(listed) != count:
        raise AssertionError(f"{len(listed)} objects instead of {count}")
    times = harness.medians(results)
    return Report(
        f"Listing {count:,} objects",
        "Of a SeaweedFS on this machine, in 100 folders, each client in a process of its own.",
        (
            *harness.rows(results, "mapred"),
            *harness.against(times, "mapred", ["obstore"], 1.2),
            *harness.against(times, "mapred", ["s3fs"], 0.33),
        ),
    )
