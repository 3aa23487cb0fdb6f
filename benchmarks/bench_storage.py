"""Small and large objects on a real S3 server, beside the other clients."""

from __future__ import annotations

import os
import statistics
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import clients
from benchmarks.report import ROUNDS, Row, Section, in_turn, spread

SMALL, COUNT = 16 * 2**10, 2000
FULL_BYTES = int(float(os.environ.get("MAPRED_BENCH_LARGE_MB", "1000")) * 1e6)
OURS = ("mapred", "datasets")
PEERS = ("obstore", "s3fs", "boto3", "pyarrow")
SHOWN = {
    "mapred": "`mapred.storage`, a run's own files",
    "datasets": "`mapred.storage`, a dataset's files",
}
TITLES = {
    "write_small": "write {count:,} of {small}",
    "read_small": "read {count:,} of {small}",
    "write_large": "put a local file of {large}",
    "read_large": "read {large} into memory",
    "stream_large": "stream {large} in pieces of 1 MiB",
}


@dataclass(frozen=True)
class Server:
    """A SeaweedFS and how its clients get there."""

    environment: dict[str, str]

    def client(self) -> Any:
        import boto3

        given = self.environment
        return boto3.client(
            "s3",
            endpoint_url=given["AWS_ENDPOINT_URL"],
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            region_name=given["AWS_REGION"],
        )

    @contextmanager
    def bucket(self) -> Iterator[str]:
        """A bucket whose volumes are there; they go with it."""
        name, client = f"bench-{uuid.uuid4().hex[:8]}", self.client()
        client.create_bucket(Bucket=name)
        client.put_object(Bucket=name, Key=clients.FIRST, Body=b"first")
        try:
            yield name
        finally:
            client.delete_bucket(Bucket=name)


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """The server of the tests, with the same settings."""
    tests = str(Path(__file__).parent.parent / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    from testbed import sharing
    from testbed.servers import seaweed

    folder.mkdir(parents=True, exist_ok=True)
    with sharing.shared(folder, "seaweed", seaweed.plan) as known:
        yield Server(
            {
                "AWS_ENDPOINT_URL": known["endpoint"],
                "AWS_ACCESS_KEY_ID": known["key"],
                "AWS_SECRET_ACCESS_KEY": known["secret"],
                "AWS_REGION": "us-east-1",
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            }
        )


@dataclass(frozen=True)
class Workload:
    """How many small objects, and the file that is the large one."""

    count: int
    small: int
    source: Path
    large: int

    def arguments(self, operation: str) -> tuple[Any, int]:
        if operation.endswith("_small"):
            return self.count, self.small
        return str(self.source), self.large


def workload(folder: Path, count: int, large: int) -> Workload:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "large"
    with source.open("wb") as file:
        for number, start in enumerate(range(0, large, clients.PIECE)):
            file.write(clients.payload(number, min(clients.PIECE, large - start)))
    return Workload(count, SMALL, source, large)


def race(
    operation: str, names: Sequence[str], work: Workload, place: Server, rounds: int = ROUNDS
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds and peak memory of each client, in turn; what was written and read is checked."""
    what, size = work.arguments(operation)
    peaks = dict.fromkeys(names, 0)

    def one(name: str, bucket: str, operation: str = operation, check: bool = False) -> Any:
        return clients.run(name, operation, bucket, what, size, place.environment, check=check)

    def write(name: str) -> float:
        with place.bucket() as bucket:
            timed = one(name, bucket)
        peaks[name] = max(peaks[name], timed.peak)
        return float(timed.seconds)

    def read(name: str) -> float:
        timed = one(name, kept)
        peaks[name] = max(peaks[name], timed.peak)
        return float(timed.seconds)

    reading = operation if not operation.startswith("write") else operation.replace("write", "read")
    writing = f"write_{operation.split('_')[1]}"
    digests = set()
    with place.bucket() as kept:
        one("boto3", kept, writing)
        digests.add(one("boto3", kept, reading, check=True).digest)
        for name in names:
            if operation == writing:
                with place.bucket() as bucket:
                    one(name, bucket)
                    digests.add(one("boto3", bucket, reading, check=True).digest)
            else:
                digests.add(one(name, kept, check=True).digest)
        if len(digests) > 1:
            raise AssertionError(f"{operation}: the bytes differ")
        call = write if operation == writing else read
        seconds = in_turn({name: lambda name=name: call(name) for name in names}, rounds)
    return seconds, peaks


def rows(title: str, seconds: dict[str, list[float]], peaks: dict[str, int]) -> list[Row]:
    median = {name: statistics.median(times) for name, times in seconds.items()}
    best = min(median[name] for name in seconds if name in PEERS)
    found = []
    for name, times in seconds.items():
        ratio = median[name] / best
        figure = f"{spread(times)}, {peaks[name] / 2**20:,.0f} MiB"
        bar = "≤ 1.1 times the best" if name in OURS else ""
        shown = f"{title}: {SHOWN.get(name, name)}"
        found.append(Row(shown, figure, f"{ratio:.2f}", bar, ratio <= 1.1 if bar else None))
    return found


def measure(folder: Path) -> Section:
    place = folder / "storage"
    work = workload(place, COUNT, FULL_BYTES)
    found: list[Row] = []
    sizes = {"count": COUNT, "small": "16 KiB", "large": f"{FULL_BYTES / 1e9:g} GB"}
    with server(place / uuid.uuid4().hex[:8]) as running:
        for operation, title in TITLES.items():
            names = OURS[: 1 if operation.startswith("write") else 2] + PEERS
            print(f"  {operation}", flush=True)
            found += rows(title.format(**sizes), *race(operation, names, work, running))
    return Section(
        "Objects on S3",
        "SeaweedFS on this machine, each client in a process of its own, small objects by "
        f"{clients.THREADS} threads; seconds, and the most that the process held.",
        tuple(found),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["write_small", "stream_large"])
def test_clients(operation: str, place: Server, tmp_path: Path) -> None:
    work = workload(tmp_path, 20, 3_000_000)
    seconds, peaks = race(operation, ("mapred",), work, place, rounds=1)
    assert min(map(min, seconds.values())) > 0
    assert min(peaks.values()) > 0
