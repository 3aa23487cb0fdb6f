"""Small and large objects on a real S3 server, beside the other clients.

A client reads and writes many small objects with as many threads as serve it best, and a large
one in the fastest way it has.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness, processes
from benchmarks.harness import Report, Settings
from benchmarks.micro import s3

SMALL = 16 * 2**10
COUNT = {"small": 20, "full": 2000}
LARGE = {"small": 3_000_000, "full": 1_000_000_000}
THREADS = 32
PIECE = 2**20
FIRST = "first"
OURS = ("mapred", "datasets")
PEERS = ("obstore", "s3fs", "boto3", "pyarrow")
TITLES = {
    "write_small": "write {count:,} of 16 KiB",
    "read_small": "read {count:,} of 16 KiB",
    "write_large": "put a local file of {large}",
    "read_large": "read {large} into memory",
    "stream_large": "stream {large} in pieces of 1 MiB",
}
Calls = Generator[Callable[[], Any], None, str]


@dataclass(frozen=True)
class Client:
    """How one library does it, with keys that begin with the bucket."""

    put: Callable[[str, bytes], Any]
    get: Callable[[str], Any]
    upload: Callable[[Path, str], Any]
    stream: Callable[[str], Iterator[Any]]


def mapred(bucket: str, size: int) -> Client:
    from mapred.storage import open_store

    store = open_store(f"s3://{bucket}")
    return Client(store.write, store.read, store.put_file, lambda key: _pieces(store.open(key)))


def datasets(bucket: str, size: int) -> Client:
    """How a worker reads a dataset's files, whose sizes the plan tells; it writes none."""
    from mapred.storage import source_opener

    open_source = source_opener(None)

    def get(key: str) -> Any:
        with open_source(f"s3://{bucket}/{key}", known(key)) as file:
            return file.read()

    def stream(key: str) -> Iterator[Any]:
        return _pieces(open_source(f"s3://{bucket}/{key}", known(key)))

    def known(key: str) -> tuple[int, str] | None:
        return None if key == FIRST else (size, "")

    return Client(_nothing, get, _nothing, stream)


def obstore(bucket: str, size: int) -> Client:
    import obstore as o
    from obstore.store import S3Store

    store = S3Store(bucket, client_options={"allow_http": True})
    return Client(
        lambda key, data: o.put(store, key, data, use_multipart=False),
        lambda key: o.get(store, key).bytes(),
        lambda path, key: o.put(store, key, path),
        lambda key: iter(o.get(store, key).stream(min_chunk_size=PIECE)),
    )


def s3fs(bucket: str, size: int) -> Client:
    from s3fs import S3FileSystem

    system = S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    return Client(
        lambda key, data: system.pipe_file(f"{bucket}/{key}", data),
        lambda key: system.cat_file(f"{bucket}/{key}"),
        lambda path, key: system.put_file(str(path), f"{bucket}/{key}"),
        lambda key: _pieces(system.open(f"{bucket}/{key}")),
    )


def boto3(bucket: str, size: int) -> Client:
    import boto3 as b
    from botocore.config import Config

    client = b.client("s3", config=Config(max_pool_connections=THREADS))

    def body(key: str) -> Any:
        return client.get_object(Bucket=bucket, Key=key)["Body"]

    return Client(
        lambda key, data: client.put_object(Bucket=bucket, Key=key, Body=data),
        lambda key: body(key).read(),
        lambda path, key: client.upload_file(str(path), bucket, key),
        lambda key: _pieces(body(key)),
    )


def pyarrow(bucket: str, size: int) -> Client:
    from pyarrow.fs import S3FileSystem

    scheme, _, host = os.environ["AWS_ENDPOINT_URL"].partition("://")
    system = S3FileSystem(endpoint_override=host, scheme=scheme, region=os.environ["AWS_REGION"])

    def put(key: str, data: bytes) -> None:
        with system.open_output_stream(f"{bucket}/{key}") as sink:
            sink.write(data)

    def get(key: str) -> Any:
        with system.open_input_file(f"{bucket}/{key}") as file:
            return file.read()

    def upload(path: Path, key: str) -> None:
        with path.open("rb") as source, system.open_output_stream(f"{bucket}/{key}") as sink:
            while piece := source.read(8 * PIECE):
                sink.write(piece)

    return Client(
        put, get, upload, lambda key: _pieces(system.open_input_stream(f"{bucket}/{key}"))
    )


def _nothing(first: Any, second: Any) -> None:
    return


def _pieces(file: Any) -> Iterator[Any]:
    try:
        while piece := file.read(PIECE):
            yield piece
    finally:
        file.close()


def names(count: int) -> list[str]:
    return [f"small/{number:06d}" for number in range(count)]


def payload(number: int, size: int) -> bytes:
    """Bytes that no codec makes smaller, the same for the same number."""
    return hashlib.shake_128(str(number).encode()).digest(size)


def large_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for number, start in enumerate(range(0, size, PIECE)):
            file.write(payload(number, min(PIECE, size - start)))


def fill(client: Any, bucket: str, count: int, source: Path) -> None:
    """Everything that contenders read, by boto3."""
    for number, name in enumerate(names(count)):
        client.put_object(Bucket=bucket, Key=name, Body=payload(number, SMALL))
    client.upload_file(str(source), bucket, "large")


def _write_small(client: Client, count: int, _: Path) -> Callable[[], Any]:
    data = [payload(number, SMALL) for number in range(count)]

    def call() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(client.put, names(count), data))

    return call


def _read_small(client: Client, count: int, _: Path) -> Callable[[], Any]:
    def call() -> list[Any]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(client.get, names(count)))

    return call


def _write_large(client: Client, _: int, source: Path) -> Callable[[], Any]:
    return lambda: client.upload(source, "large")


def _read_large(client: Client, count: int, source: Path) -> Callable[[], Any]:
    return lambda: [client.get("large")]


def _stream_large(client: Client, count: int, source: Path) -> Callable[[], Any]:
    def call() -> None:
        for _ in client.stream("large"):
            pass

    return call


OPERATIONS = {
    "write_small": _write_small,
    "read_small": _read_small,
    "write_large": _write_large,
    "read_large": _read_large,
    "stream_large": _stream_large,
}


def contender(open_client: Callable[[str, int], Client], argument: str) -> Calls:
    """Time one operation, after a small object to open the connection with.

    The answer is the digest of what is in the bucket, or of what was read from it.
    """
    operation, kept, count, source = json.loads(argument)
    path = Path(source)
    size = path.stat().st_size if operation.endswith("large") else SMALL
    written = s3.bucket(os.environ) if operation.startswith("write") else nullcontext((None, kept))
    with written as (admin, bucket):
        if admin is not None:
            admin.put_object(Bucket=bucket, Key=FIRST, Body=b"first")
        client = open_client(bucket, size)
        bytes(client.get(FIRST))
        call = OPERATIONS[operation](client, count, path)
        answer: list[Any] = []
        yield lambda: answer.extend(call() or ())
        if admin is not None:
            keys = ["large"] if operation == "write_large" else names(count)
            answer += [admin.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
        elif operation == "stream_large":
            answer += client.stream("large")
        return digest(answer)


def digest(parts: list[Any]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


CONTENDERS = {
    each.__name__: partial(contender, each)
    for each in (mapred, datasets, obstore, s3fs, boto3, pyarrow)
}


def rows(answer: str) -> list[list[Any]]:
    return [[answer]]


def race(
    operation: str, contenders: Sequence[str], server: s3.Server, source: Path, settings: Settings
) -> dict[str, harness.Result]:
    """The results of one operation; what is written and read is compared first."""
    count = COUNT[settings.size]
    with s3.bucket(server.environment) as (client, name):
        client.put_object(Bucket=name, Key=FIRST, Body=b"first")
        if not operation.startswith("write"):
            fill(client, name, count, source)
        argument = json.dumps([operation, name, count, str(source)])
        calls = {
            each: processes.contender(__name__, each, argument, settings, server.environment)
            for each in contenders
        }
        results, _ = harness.race(calls, settings)
    return results


def measure(settings: Settings) -> Report:
    size, count = LARGE[settings.size], COUNT[settings.size]
    table: list[harness.Row] = []
    with s3.server(settings.home) as server:
        source = server.folder / "large"
        large_file(source, size)
        for operation, title in TITLES.items():
            ours = OURS[: 1 if operation.startswith("write") else 2]
            print(f"  {operation}", flush=True)
            results = race(operation, [*ours, *PEERS], server, source, settings)
            what = title.format(count=count, large=f"{size / 1e9:g} GB")
            some = harness.rows(results, "mapred")
            for each in ours:
                some += harness.against(harness.medians(results), each, PEERS, 1.1)
            table += [replace(row, what=f"{what}: {row.what}") for row in some]
    return Report(
        "Objects on S3",
        "SeaweedFS on this machine, each client in a process of its own, small objects by "
        f"{THREADS} threads. `mapred` is how a run's own files are read and written, `datasets` "
        "how the files of a dataset are read.",
        tuple(table),
    )
