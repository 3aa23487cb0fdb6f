"""Listing buckets: patterns, order, pages, refusals, and what is asked of the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from dataset.folders import walked
from storage import clients
from testbed.faults.proxy import proxy
from testbed.servers import seaweed

import mapred
from mapred.dataset import globs, listing, remote_walk
from mapred.errors import DatasetError
from mapred.storage import open_store

# A server whose keys come in byte order, and one whose keys do not

NASTY = (
    "a a/b a-b a.b a+b a#b a%20b a=b/c _x/y x/_y x/_y=1/z sp ace é/ü 日本 {x} x~ !x (x) &x "
    "z/1/2/3 z/1/2/4 z/1/3 z/2 z-1/2"
).split()
KEYS = [*NASTY, "two words", *(f"d={n % 7}/e={n % 3}/f{n:04}.txt" for n in range(42))]


@pytest.fixture
def moto_root(moto_server: dict[str, Any], s3_root: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server["endpoint"])
    return s3_root


@pytest.mark.parametrize("server", [pytest.param("moto", marks=pytest.mark.slow), "seaweed"])
def test_keys_come_in_byte_order_however_they_are_split(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = request.getfixturevalue("moto_root" if server == "moto" else "s3_root")
    store = open_store(root)
    for key in KEYS:
        store.write(key, b"x" * len(key))
    for page in (remote_walk.PAGE, 5):  # what a folder holds more of is split
        monkeypatch.setattr(remote_walk, "PAGE", page)
        for pattern in ("**", "*", "*/*", "d=[1-3]/**", "d=*/e=1/*", "z/**/[34]"):
            glob = globs.parse(pattern)
            wanted = [key for key in KEYS if walked(glob, key)[0]]
            found = listing(mapred.read_files(f"{root}/{pattern}"))
            paths = [f"{root}/{key}" for key in sorted(wanted, key=str.encode)]
            assert found["path"].to_pylist() == paths, (page, pattern)
            assert found["size"].to_pylist() == [len(path) - len(root) - 1 for path in paths]
        found = listing(mapred.read_files([root, f"{root}/", f"{root}/d=*/**", f"{root}/a"]))
        assert len(found) == len(KEYS)
        found = listing(mapred.read_files(f"{root}/d=*"))
        assert len(found) == 42, "folders that match are read"


def test_nothing_is_asked_of_single_objects(
    s3_root: str, s3_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(s3_root)
    for number in range(40):
        store.write(f"x={number % 4}/{number}", b"1" * (1 + number % 3))
    with proxy(tmp_path, s3_server["endpoint"]) as counted:
        monkeypatch.setenv("AWS_ENDPOINT_URL", counted.endpoint)
        named = [f"{s3_root}/x={number % 4}/{number}" for number in range(40)]
        listing(mapred.read_files(f"{s3_root}/x=*/1*"))
        asked = counted.requests()
        assert len(asked) < 10
        assert all(method == "GET" and "list-type=2" in path for method, path in asked)
        found = listing(mapred.files(named))
        asked = counted.requests()
        assert len(asked) == 4, "one for each folder"
        assert all(method == "GET" and "list-type=2" in path for method, path in asked)
        assert found["path"].to_pylist() == named
        listing(mapred.read_files(f"{s3_root}/x=1/13"))
        assert [method for method, _ in counted.requests()] == ["HEAD"]


# What keeps a bucket from being listed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"AWS_SKIP_SIGNATURE": "true"}, "AccessDenied"),
        ({"AWS_SECRET_ACCESS_KEY": "hush"}, "SignatureDoesNotMatch"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "right endpoint"),
    ],
)
def test_a_refusal_is_no_empty_dataset(
    s3_root: str, changed: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    for uri in (f"{s3_root}/*", s3_root, f"{s3_root}/"):
        with pytest.raises(DatasetError, match=message) as caught:
            listing(mapred.read_text(uri))
        assert "hush" not in str(caught.value)


def test_a_bucket_that_is_not_there(s3_root: str, s3_server: dict[str, Any]) -> None:
    for uri in ("s3://missing/*", "s3://missing/x/"):
        with pytest.raises(DatasetError, match=r"NoSuchBucket.*create the bucket"):
            listing(mapred.read_text(uri))
    open_store(s3_root).write("something", b"")  # a bucket is there from its first object on
    with pytest.raises(DatasetError, match="matches no file"):
        listing(mapred.read_text(f"{s3_root}/nothing/**"))


@pytest.mark.parametrize("client", ["oss", "ossfs", "s3fs"])
def test_other_clients_hide_no_refusal(
    client: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = request.getfixturevalue("s3_root" if client == "s3fs" else "oss_root")
    open_store(root).write("a.txt", b"1")
    for name in ("OSS_ACCESS_KEY_SECRET", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hush")
    options: dict[str, Any] = {}
    if client == "ossfs":
        options = {"filesystem": clients.ossfs().OSSFileSystem(endpoint=os.environ["OSS_ENDPOINT"])}
    elif client == "s3fs":
        url = os.environ["AWS_ENDPOINT_URL"]
        options = {"storage_options": {"endpoint_url": url, "skip_instance_cache": True}}
    for uri in (f"{root}/*.txt", root):
        with pytest.raises(DatasetError, match=r"SignatureDoesNotMatch|Forbidden|signature|403"):
            listing(mapred.read_text(uri, **options))


def test_a_denied_listing_of_ossfs_is_an_error(
    oss_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = os.environ["OSS_ENDPOINT"]
    for name in ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name)
    fs = clients.ossfs().OSSFileSystem(endpoint=endpoint, skip_instance_cache=True)
    assert fs.find(oss_root) == {}, "ossfs says that there is nothing"
    with pytest.raises(DatasetError, match="AccessDenied"):
        listing(mapred.read_text(f"{oss_root}/*.txt", filesystem=fs))


def test_a_key_that_the_client_cannot_name_is_told(s3_root: str) -> None:
    import boto3

    client = boto3.client("s3")
    client.put_object(Bucket="runs", Key=f"{s3_root.rpartition('/')[2]}/a\nb", Body=b"1")
    client.close()
    with pytest.raises(DatasetError, match="storage_options"):
        listing(mapred.read_text(s3_root))
    assert len(listing(mapred.read_text(s3_root, storage_options={}))) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tens_of_thousands_of_objects(
    s3_root: str, s3_server: dict[str, Any], tmp_path: Path
) -> None:
    prefix = s3_root.rpartition("/")[2]
    names = [f"{prefix}/part={n % 20:05}/f{n:08}.txt" for n in range(30_000)]
    seaweed.fill(s3_server, tmp_path, "runs", names)
    found = listing(mapred.read_text(s3_root))
    assert found["path"].to_pylist() == [f"s3://runs/{name}" for name in sorted(names)]
    assert set(found["size"].to_pylist()) == {12}
    some = listing(mapred.read_text(f"{s3_root}/part=0001?/*7.txt"))
    assert len(some) == 1_500


def test_a_public_bucket_needs_no_keys(moto_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(moto_root).write("a.txt", b"1\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    options = {"anon": True, "endpoint_url": os.environ["AWS_ENDPOINT_URL"]}
    assert len(listing(mapred.read_text(moto_root, storage_options=options))) == 1
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert len(listing(mapred.read_text(moto_root))) == 1


def test_the_bucket_may_be_in_the_hosts_name(
    s3_root: str, s3_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(s3_root).write("x/a.txt", b"1\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3_server['domain']}")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    # No resolver knows the name: the server stands in as the proxy of every request.
    monkeypatch.setenv("HTTP_PROXY", s3_server["endpoint"])
    monkeypatch.setenv("http_proxy", s3_server["endpoint"])
    found = listing(mapred.read_text(f"{s3_root}/**/*.txt"))
    assert found["path"].to_pylist() == [f"{s3_root}/x/a.txt"]


@pytest.mark.slow
def test_a_profile_says_how_to_get_there(
    s3_root: str, s3_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(s3_root).write("a.txt", b"1\n")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text(
        f"[profile team]\nregion = eu-west-1\nendpoint_url = {s3_server['endpoint']}\n"
    )
    credentials.write_text(
        f"[team]\naws_access_key_id = {s3_server['key']}\n"
        f"aws_secret_access_key = {s3_server['secret']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    text = mapred.read_text(s3_root, storage_options={"profile": "team"})
    assert mapred.plan(text).format.storage is not None
    assert len(listing(text)) == 1
    monkeypatch.setenv("AWS_PROFILE", "team")
    assert len(listing(mapred.read_text(s3_root))) == 1
