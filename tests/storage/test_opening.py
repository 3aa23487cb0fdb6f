"""Datasets give the same wherever they lie: on disk, on S3 and OSS, through any client."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from storage import clients

import mapred
from mapred import formats
from mapred.dataset import Dataset, listing
from mapred.errors import DatasetError, StaleDatasetError
from mapred.storage import open_source, open_store

FULL = ["s3", "s3fs", "oss", "ossfs", "memory"]
KINDS = [*FULL, "s3fs options", "any fsspec"]


def _parquet(numbers: list[int]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"n": numbers, "s": [f"№{n}" for n in numbers]}), sink, row_group_size=2
    )
    return sink.getvalue()


LINES = b"".join(b"line %d of a text\r\n" % n for n in range(40))
TREE = {
    "t/a.txt": LINES,
    "t/b.txt.gz": gzip.compress(LINES, mtime=0),
    "t/c/empty.txt": b"",
    "t/c/naïve #1 + 50%25.txt": b"a\nb",
    "t/c/[x]!.txt": b"literal\n",
    "t/c-d/e=f.txt": b"z\n",
    "t/.hidden/a.txt": b"hidden\n",
    "t/.hidden.txt": b"hidden\n",
    "c/y=2025/m=01/x.csv": b"n,s\n1,a\n2,b\n3,c\n",
    "c/y=2025/m=02/x.csv": b"n,s\n4,a\n",
    "c/y=2026/m=01/x.csv": b'n,s\n5,"a,b"\n',
    "c/_SUCCESS": b"",
    "c/_temporary/0/x.csv": b"torn",
    "j/a.jsonl": b'{"n": 1, "s": "a"}\n{"n": 2, "s": "\xc3\xa9"}\n',
    "j/b.jsonl": b'{"n": 3, "s": null}\n',
    "p/y=1/a.parquet": _parquet([1, 2, 3, 4, 5]),
    "p/y=2/a.parquet": _parquet([6, 7]),
    "p/_SUCCESS": b"",
}
MARKERS = ["t/", "t/c/", "c/y=2025/", "p/", "nothing/"]


@dataclass
class Place:
    """Somewhere that holds the tree: where, and how a dataset is told of the client."""

    base: str
    client: Mapping[str, Any] = field(default_factory=dict)
    put: Callable[[str, bytes], Any] = lambda name, data: None

    def uri(self, name: str) -> str:
        return f"{self.base}/{name}"

    def names(self, dataset: Dataset) -> list[str]:
        return [path.partition(f"{self.base}/")[2] for path in listing(dataset)["path"].to_pylist()]


_filled: dict[str, str] = {}  # where the tree lies, for each kind of place


@pytest.fixture
def local(tmp_path_factory: pytest.TempPathFactory) -> Place:
    if "local" not in _filled:
        base = tmp_path_factory.mktemp("tree")
        for name, data in TREE.items():
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_bytes(data)
        _filled["local"] = str(base)
    return Place(_filled["local"])


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    return _place(request.param, request, monkeypatch)


def _place(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    if kind in ("memory", "any fsspec"):
        memory = fsspec.filesystem("memory")
        base = _filled.get(kind) or f"memory://{uuid.uuid4().hex}"
        place = Place(base, {"filesystem": memory} if kind == "any fsspec" else {})
        place.put = lambda name, data: memory.pipe_file(place.uri(name), data)
    else:
        service = "oss" if kind.startswith("oss") else "s3"
        root = request.getfixturevalue(f"{service}_root")
        server = request.getfixturevalue(f"{service}_server")
        base = _filled.get(kind) or root
        place = Place(base, _client(kind, server), open_store(base).write)
    if kind not in _filled:
        for name, data in TREE.items():
            place.put(name, data)
        if not base.startswith("memory"):
            _mark(base)
        _filled[kind] = base
    return place


def _client(kind: str, server: dict[str, Any]) -> dict[str, Any]:
    if kind == "s3fs":
        import s3fs

        return {"filesystem": s3fs.S3FileSystem(endpoint_url=server["endpoint"])}
    if kind == "s3fs options":
        return {"storage_options": {"client_kwargs": {"endpoint_url": server["endpoint"]}}}
    if kind == "ossfs":
        return {"filesystem": clients.ossfs().OSSFileSystem(endpoint=server["endpoint"])}
    return {}


def _mark(base: str) -> None:
    """Objects that stand for folders, as consoles and Hadoop leave them."""
    scheme, _, rest = base.partition("://")
    bucket, _, prefix = rest.partition("/")
    store = open_store(base)
    store.write("t/c_$folder$", b"")
    if scheme == "s3":
        import boto3

        client = boto3.client("s3")
        for name in MARKERS:
            client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=b"")
        client.close()
    else:
        for name in MARKERS:
            store.write(name, b"")


SOURCES: dict[str, Callable[[Place], Dataset]] = {
    "text": lambda p: mapred.read_text(p.uri("t/**/*.txt*"), **p.client),
    "folder": lambda p: mapred.read_text(p.uri("t"), **p.client),
    "slash": lambda p: mapred.read_text(p.uri("t/c/"), **p.client),
    "one": lambda p: mapred.read_text(p.uri("t/b.txt.gz"), **p.client),
    "set": lambda p: mapred.read_text(p.uri("t/[ab].txt*"), **p.client),
    "brackets": lambda p: mapred.read_text(p.uri("t/c/[x]!.txt"), **p.client),
    "hidden": lambda p: mapred.read_text(p.uri("t/.hidden/*"), **p.client),
    "list": lambda p: mapred.read_text(
        [p.uri("t/c-d"), p.uri("t/*.txt"), p.uri("t/a.txt"), p.uri("t/c-d/")], **p.client
    ),
    "csv": lambda p: mapred.read_csv(p.uri("c"), **p.client),
    "csv glob": lambda p: mapred.read_csv(p.uri("c/y=*/m=01/*.csv"), **p.client),
    "csv folders": lambda p: mapred.read_csv(p.uri("c/y=2*"), **p.client),
    "json": lambda p: mapred.read_json(p.uri("j/?.jsonl"), **p.client),
    "parquet": lambda p: mapred.read_parquet(p.uri("p"), filters=[("n", ">", 2)], **p.client),
    "files": lambda p: mapred.read_files(p.uri("t/c"), as_="bytes", **p.client),
    "literal": lambda p: mapred.files(
        [p.uri("t/c/[x]!.txt"), p.uri("t/a.txt")], as_="bytes", **p.client
    ),
}


def taken(data: Any) -> Any:
    """What a function was handed, as something that compares."""
    if isinstance(data, pa.Table):
        return data.to_pydict()
    return data if isinstance(data, bytes) else list(data)


def read(plan: mapred.Plan) -> list[Any]:
    """What functions would be handed, shard by shard."""

    def open_(path: str, known: Any = None) -> Any:
        return open_source(path, known, plan.format.storage)

    shards = (plan.ranges.shard_ranges(number) for number in range(plan.shards))
    return [taken(formats.read(plan.format, shard, open_, formats.Reading())) for shard in shards]


def planned(dataset: Dataset) -> mapred.Plan:
    return mapred.plan(dataset, target_bytes=100)


_expected: dict[str, tuple[list[str], list[int], list[Any]]] = {}


@pytest.mark.parametrize(
    ("place", "source"),
    [
        pytest.param(kind, source, marks=() if source in ("csv", "set") else pytest.mark.slow)
        for kind in KINDS
        for source in SOURCES
        if kind in FULL or source == "csv"
    ],
    indirect=["place"],
)
def test_the_same_as_on_disk(place: Place, local: Place, source: str) -> None:
    if source not in _expected:
        here = SOURCES[source](local)
        _expected[source] = (
            local.names(here),
            listing(here)["size"].to_pylist(),
            read(planned(here)),
        )
    names, sizes, data = _expected[source]
    there = SOURCES[source](place)
    assert place.names(there) == names
    assert listing(there)["size"].to_pylist() == sizes
    assert read(planned(there)) == data
    assert data


@pytest.mark.parametrize(
    "kind", ["s3", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("s3fs", "ossfs"))]
)
def test_fresh_processes_open_the_same_files(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = _place(kind, request, monkeypatch)
    text = mapred.read_text(place.uri("t/[ab].txt*"), **place.client)
    run = mapred.run(taken, text, root=tmp_path, target_bytes=200, progress="none")
    lines = [line.decode() for line in LINES.split(b"\r\n")[:-1]]
    assert list(itertools.chain(*run.result())) == lines * 2
    assert run.audit().problems == ()
    job = (Path(run.uri) / "job.json").read_text()
    assert not any(secret in job for secret in ("mapredsecret", "osssecret"))


@pytest.mark.parametrize("change", ["other bytes", "shorter", "gone"])
def test_a_file_that_changed_is_stale(place: Place, change: str) -> None:
    name = f"stale/{change}.txt"
    place.put(name, b"one\n" * 9)
    text = mapred.read_text(place.uri(name), **place.client)
    plan = mapred.plan(text)
    if change == "gone" and place.base.startswith("memory"):
        fsspec.filesystem("memory").rm(place.uri(name))
    elif change == "gone":
        open_store(place.base).delete(name)
    else:
        place.put(name, b"two\n" * 9 if change == "other bytes" else b"one\n")
    if change == "other bytes" and place.client and "oss" in place.base:
        pytest.skip("ossfs knows no etag, and the time of a change in seconds only")
    with pytest.raises(StaleDatasetError, match="plan"):
        read(plan)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"key": "AK", "secret": "hush"}, "AWS_ACCESS_KEY_ID"),
        ({"token": "hush"}, "AWS_PROFILE"),
        ({"client_kwargs": {"aws_secret_access_key": "hush"}}, "'aws_secret_access_key'"),
        ({"client_kwargs": {"endpoint_url": "http://me:hush@host"}}, "'endpoint_url'"),
        ({"client": object()}, "cannot travel"),
    ],
)
def test_no_credential_enters_a_job(options: dict[str, Any], named: str) -> None:
    with pytest.raises(DatasetError, match=named) as caught:
        mapred.read_text("s3://bucket/x", storage_options=options)
    assert "hush" not in str(caught.value)


def test_no_credential_enters_a_job_by_a_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    for fs, named in (
        (s3fs.S3FileSystem(key="AK", secret="hush", skip_instance_cache=True), "AWS_ACCESS_KEY_ID"),
        (clients.ossfs().OSSFileSystem(endpoint="x", key="AK", secret="hush"), "OSS_ACCESS_KEY_ID"),
    ):
        with pytest.raises(DatasetError, match=named) as caught:
            mapred.read_text("bucket/x", filesystem=fs)
        assert "hush" not in str(caught.value)
    with pytest.raises(DatasetError, match="FSSPEC_SFTP_PASSWORD"):
        mapred.read_text("sftp://host/x", storage_options={"password": "hush"})
    for uri in ("s3://AK:hush@bucket/x", "https://host/x?a=1&X-Amz-Signature=hush"):
        with pytest.raises(DatasetError, match="written to the run's folder") as caught:
            mapred.read_text(uri)
        assert "hush" not in str(caught.value)
    # What fsspec is told by its environment is not the user's, and stays behind.
    monkeypatch.setitem(fsspec.config.conf, "s3", {"key": "AK", "secret": "hush"})
    fs = s3fs.S3FileSystem(anon=False, skip_instance_cache=True)
    kept = mapred.read_text("bucket/x", filesystem=fs).options.storage
    assert kept == {
        "class": "s3fs.core:S3FileSystem",
        "scheme": "s3",
        "options": {"anon": False, "skip_instance_cache": True},
    } or "hush" not in json.dumps(kept)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filesystem": object()}, "not a file system of fsspec"),
        ({"storage_options": ["a"]}, "mapping"),
        ({"filesystem": fsspec.filesystem("memory"), "storage_options": {}}, "pass one of them"),
    ],
)
def test_what_is_no_file_system(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        mapred.read_text("s3://bucket/x", **arguments)
    with pytest.raises(DatasetError, match="URIs of one scheme"):
        mapred.read_text("/a/path", storage_options={"anon": True})
