"""Listing objects on a real S3 server into Arrow, beside the clients that can do it.

`MAPRED_BENCH_OBJECTS` makes it smaller than a million; as a test it is small.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench_planning import peak_memory
from benchmarks.report import ROUNDS, Row, Section, in_turn, spread

OBJECTS = int(os.environ.get("MAPRED_BENCH_OBJECTS", "1000000"))
FOLDERS = 100
CLIENTS = ("mapred", "obstore", "s3fs")
SHOWN = {
    "mapred": "`mapred.dataset.listing`",
    "obstore": "obstore alone, into Arrow",
    "s3fs": "`s3fs.find`",
}


@contextmanager
def filled(folder: Path, objects: int) -> Iterator[dict[str, str]]:
    """The server of the tests with so many objects; the environment of its clients."""
    tests = str(Path(__file__).parent.parent / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    import boto3
    from testbed import sharing
    from testbed.servers import seaweed

    folder.mkdir(parents=True, exist_ok=True)
    with sharing.shared(folder, "seaweed", seaweed.plan) as known:
        keys = {"aws_access_key_id": known["key"], "aws_secret_access_key": known["secret"]}
        client = boto3.client("s3", endpoint_url=known["endpoint"], **keys)
        client.create_bucket(Bucket="listing")
        client.close()
        names = [f"data/part={n % FOLDERS:05}/f{n:08}.txt" for n in range(objects)]
        seaweed.fill(known, folder, "listing", names)
        yield {
            "AWS_ENDPOINT_URL": known["endpoint"],
            "AWS_ACCESS_KEY_ID": known["key"],
            "AWS_SECRET_ACCESS_KEY": known["secret"],
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


def run(client: str, place: dict[str, str]) -> tuple[float, int, int, str]:
    """Seconds, bytes held at most beyond the imports, objects, and a digest of what was listed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_listing", client],
        env={**os.environ, **place},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{client} failed:\n{done.stderr[-3000:]}")
    seconds, peak, count, digest = done.stdout.split()
    return float(seconds), int(peak), int(count), digest


def race(
    place: dict[str, str], objects: int, rounds: int = ROUNDS
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds and memory of each client, in turn; every listing is checked, none runs untimed."""
    peaks = dict.fromkeys(CLIENTS, 0)
    found: set[tuple[int, str]] = set()

    def timed(client: str) -> float:
        seconds, peak, count, digest = run(client, place)
        found.add((count, digest))
        if len(found) > 1 or count != objects:
            raise AssertionError(f"the listing of {client} differs: {found}")
        peaks[client] = max(peaks[client], peak)
        return seconds

    return in_turn({name: lambda name=name: timed(name) for name in CLIENTS}, rounds), peaks


def measure(folder: Path) -> Section:
    with filled(folder / "listing" / uuid.uuid4().hex[:8], OBJECTS) as place:
        seconds, peaks = race(place, OBJECTS)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    bars: dict[str, tuple[str, Callable[[float], bool]]] = {
        "obstore": ("mapred ≤ 1.2 times it", lambda ratio: 1 / ratio <= 1.2),
        "s3fs": ("≥ 3 times mapred", lambda ratio: ratio >= 3),
    }
    rows = []
    for name, times in seconds.items():
        ratio = median[name] / median["mapred"]
        bar, holds = bars.get(name, ("", None))
        held = f"{peaks[name] / 2**20:,.0f} MiB"
        figure = f"{spread(times)}, {held}"
        rows.append(Row(SHOWN[name], figure, f"{ratio:.2f}", bar, holds(ratio) if holds else None))
    return Section(
        f"Listing {OBJECTS:,} objects",
        "Of a SeaweedFS on this machine, in 100 folders, each client in a process of its own; "
        "seconds, and what the process held beyond its imports.",
        tuple(rows),
    )


@pytest.mark.slow
def test_listing(tmp_path: Path) -> None:
    with filled(tmp_path, 1200) as place:
        seconds, _ = race(place, 1200, rounds=1)
    assert min(map(min, seconds.values())) > 0


def _mapred() -> Any:
    import mapred
    from mapred.dataset import listing

    return lambda: listing(mapred.read_files("s3://listing/data"))


def _obstore() -> Any:
    import obstore
    import pyarrow as pa
    from obstore.store import S3Store

    def listed() -> Any:
        options: Any = {"allow_http": True}
        store = S3Store("listing", endpoint=os.environ["AWS_ENDPOINT_URL"], client_options=options)
        pages = obstore.list(store, "data/", chunk_size=1000, return_arrow=True)
        return pa.Table.from_batches([pa.record_batch(page) for page in pages])

    return listed


def _s3fs() -> Any:
    import s3fs

    def listed() -> Any:
        fs = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        return fs.find("listing/data", detail=True)

    return listed


def _digest(found: Any) -> tuple[int, str]:
    """How many objects, and a digest of their keys and sizes in order."""
    if isinstance(found, dict):
        rows = [(name, info["size"]) for name, info in found.items()]
    else:
        rows = list(zip(found["path"].to_pylist(), found["size"].to_pylist(), strict=True))
    digest = hashlib.sha256()
    for name, size in sorted((name[name.index("data/") :], size) for name, size in rows):
        digest.update(f"{name} {size}\n".encode())
    return len(rows), digest.hexdigest()


def main(client: str) -> None:
    listed = {"mapred": _mapred, "obstore": _obstore, "s3fs": _s3fs}[client]()
    before = peak_memory()
    start = time.perf_counter()
    found = listed()
    seconds, peak = time.perf_counter() - start, peak_memory() - before
    print(seconds, peak, *_digest(found))


if __name__ == "__main__":
    main(sys.argv[1])
