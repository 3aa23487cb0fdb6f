"""Clients of an S3 store, each in a process of its own: `python -m benchmarks.clients …`.

The environment says where the store is and who asks. A client reads and writes many small
objects with as many threads as serve it best, and a large one in the fastest way it has.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THREADS = 32
PIECE = 2**20
FIRST = "first"


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


CLIENTS = {each.__name__: each for each in (mapred, datasets, obstore, s3fs, boto3, pyarrow)}


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


def write_small(client: Client, count: int, size: int) -> Callable[[], Any]:
    data = [payload(number, size) for number in range(count)]

    def call() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(client.put, names(count), data))

    return call


def read_small(client: Client, count: int, size: int) -> Callable[[], Any]:
    def call() -> list[Any]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(client.get, names(count)))

    return call


def write_large(client: Client, source: str, size: int) -> Callable[[], Any]:
    return lambda: client.upload(Path(source), "large")


def read_large(client: Client, source: str, size: int) -> Callable[[], Any]:
    return lambda: [client.get("large")]


def stream_large(client: Client, source: str, size: int) -> Callable[[], Any]:
    return lambda: client.stream("large")


OPERATIONS: Mapping[str, Callable[[Client, Any, int], Callable[[], Any]]] = {
    each.__name__: each for each in (write_small, read_small, write_large, read_large, stream_large)
}


@dataclass(frozen=True)
class Timed:
    """Seconds of the operation, the process's most resident bytes, and what was read."""

    seconds: float
    peak: int
    digest: str


def run(
    client: str,
    operation: str,
    bucket: str,
    what: Any,
    size: int,
    environment: Mapping[str, str],
    *,
    check: bool = False,
) -> Timed:
    """One operation in a fresh process; `check` also takes the digest of what was read."""
    arguments = json.dumps([client, operation, bucket, what, size, check])
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.clients", arguments],
        env={**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise RuntimeError(f"{client} {operation} failed:\n{process.stderr[-4000:]}")
    return Timed(**json.loads(process.stdout.splitlines()[-1]))


def main(arguments: str) -> None:
    """Time one operation, after a small object to open the connection with."""
    name, operation, bucket, what, size, check = json.loads(arguments)
    client = CLIENTS[name](bucket, size)
    bytes(client.get(FIRST))
    call = OPERATIONS[operation](client, what, size)
    digest = hashlib.sha256()
    start = time.perf_counter()
    for part in call() or ():
        if check:
            digest.update(part)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "digest": digest.hexdigest()}))


if __name__ == "__main__":
    main(sys.argv[1])
