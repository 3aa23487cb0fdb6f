"""Roots on OSS, against the tests' own stand-in for it."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from storage.large_files import check_large_files
from testbed.faults.proxy import proxy
from testbed.servers import oss_signatures
from testbed.servers.oss_gateway import DOMAINS

import mapred
from mapred.errors import MissingDependency, StorageError
from mapred.storage import Store, open_store, probe
from mapred.testing import StoreContract


class TestOSSStore(StoreContract):
    @pytest.fixture
    def store(self, oss_root: str, tmp_path: Path) -> Store:
        self.folder = tmp_path
        return open_store(oss_root)

    @contextlib.contextmanager
    def losing(self, store: Store) -> Iterator[Store]:
        with (
            proxy(self.folder, os.environ["OSS_ENDPOINT"]) as faults,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("OSS_ENDPOINT", faults.endpoint)
            faults.spoil(0.5, ("lost",), "PUT")
            yield open_store(store.uri)


def test_a_bucket_with_versions_is_refused(oss_root: str) -> None:
    with pytest.raises(StorageError, match="does not refuse a second put"):
        probe(open_store("oss://versioned/runs"))


def test_large_files_go_in_parts(oss_root: str, tmp_path: Path) -> None:
    check_large_files(open_store(oss_root), tmp_path)


@pytest.mark.slow
def test_listings_have_pages_and_no_markers(oss_root: str) -> None:
    store = open_store(oss_root)
    names = [f"many/{number:05d}" for number in range(1203)]
    for name in names:
        store.write(name, b"x")
    store.write("many/folder/", b"")  # as a console makes a folder
    assert store.list("many/") == [(name, 1) for name in names]


def test_a_store_pickles_by_its_uri(oss_root: str) -> None:
    store = open_store(oss_root)
    store.write("a", b"1")
    assert pickle.loads(pickle.dumps(store)).read("a") == b"1"


def test_the_clouds_own_names_of_variables_count(
    oss_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for own, other in (
        ("OSS_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID"),
        ("OSS_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
    ):
        value = {"OSS_ACCESS_KEY_ID": oss_signatures.KEY}.get(own, oss_signatures.SECRET)
        monkeypatch.delenv(own)
        monkeypatch.setenv(other, value)
    probe(open_store(oss_root))


@pytest.mark.parametrize(
    ("settings", "uri", "message"),
    [
        ({"OSS_ACCESS_KEY_SECRET": "wrong"}, "", "SignatureDoesNotMatch.*OSS_ACCESS_KEY_SECRET"),
        ({"OSS_ACCESS_KEY_ID": "nobody"}, "", "InvalidAccessKeyId.*check OSS_ACCESS_KEY_ID"),
        ({}, "oss://nothing/runs", "NoSuchBucket.*create the bucket"),
        ({"OSS_ENDPOINT": "http://127.0.0.1:1"}, "", "http://127.0.0.1:1 is the right endpoint"),
        ({"OSS_ENDPOINT": "", "OSS_REGION": ""}, "", "no endpoint; set OSS_ENDPOINT"),
        ({"OSS_REGION": ""}, "", "which http://127.0.0.1:.* does not: set OSS_REGION"),
        ({"OSS_REGION": "cn-elsewhere"}, "", "InvalidArgument.*region"),
        ({"OSS_ADDRESSING_STYLE": "odd"}, "", "there are virtual, path, cname"),
        ({}, "oss://No-Name/runs", "cannot .*: InvalidName: Bucket name is invalid"),
    ],
)
def test_what_keeps_a_root_from_working_is_named(
    oss_root: str,
    settings: dict[str, str],
    uri: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    store = open_store(uri or oss_root)
    for act in (
        lambda: probe(store),
        lambda: store.write("a", b""),
        lambda: store.read("a"),
        lambda: store.list("a"),
        lambda: store.open("a"),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StorageError, match=message):
            act()


@pytest.mark.parametrize("package", ["alibabacloud_oss_v2", "alibabacloud_credentials"])
def test_a_missing_package_is_named(
    oss_root: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSS_ACCESS_KEY_ID")
    monkeypatch.delitem(sys.modules, "mapred.storage.oss_client", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r"^alibabacloud-.* 'mapred\[oss\]'"):
        open_store(oss_root).read("a")


@pytest.mark.slow
def test_a_forked_process_makes_a_client_of_its_own(oss_root: str) -> None:
    script = f"""
import os
from mapred.storage import open_store
store = open_store({oss_root!r})
store.write("a", b"1")
if not os.fork():
    store.write("a", store.read("a") + b"2")
    os._exit(0)
os.wait()
print(store.read("a"))
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30
    )
    assert told.stdout == "b'12'\n", told.stderr


def test_only_an_oss_store_that_is_used_imports_the_sdk(oss_root: str) -> None:
    script = f"""
import sys, mapred
from mapred.storage import open_store
store = open_store({oss_root!r})
print([name for name in sys.modules if name.startswith(("alibabacloud", "requests"))])
store.write("a", b"1")
# Asking a service for keys takes a package, and an event loop, of its own.
print(sorted(name for name in sys.modules if name in ("alibabacloud_credentials", "aiohttp")))
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30
    )
    assert told.stdout == "[]\n[]\n", told.stderr


def _square(item: int) -> int:
    return item * item


@pytest.mark.slow
def test_a_run_on_oss(oss_root: str) -> None:
    run = mapred.run(_square, mapred.array(20), reduce=sum, root=oss_root, progress="none")
    assert run.result() == 2470
    assert run.audit().ok


@pytest.mark.parametrize(
    "kind",
    ["lost", *(pytest.param(k, marks=pytest.mark.slow) for k in ("busy", "reset", "failed"))],
)
def test_faults_are_survived(
    oss_root: str,
    oss_server: dict[str, Any],
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with proxy(tmp_path, oss_server["endpoint"]) as faults:
        monkeypatch.setenv("OSS_ENDPOINT", faults.endpoint)
        store = open_store(oss_root)
        assert store.put_if_absent("c/0", b"another's")
        faults.spoil(0.4, (kind,))
        for number in range(5):
            assert store.put_if_absent(f"c/{number + 1}", b"mine")
            assert not store.put_if_absent("c/0", b"mine")
            assert store.read(f"c/{number + 1}") == b"mine"
        assert len(store.list("c/")) == 6
        monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "1")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        faults.spoil(1, (kind,), "GET HEAD PUT POST DELETE")
        started = time.monotonic()
        with pytest.raises(StorageError, match="cannot write oss://"):
            probe(open_store(oss_root))
        assert time.monotonic() - started < 10


# --- the stand-in is worth something only where it refuses what the service refuses


def _bucket(server: dict[str, Any], kind: str, secret: str) -> Any:
    oss2 = pytest.importorskip("oss2")
    auth = getattr(oss2, kind)(server["key"], secret)
    return oss2.Bucket(auth, server["endpoint"], "runs", region="cn-test", is_path_style=True)


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # oss2's own
def test_the_stand_in_takes_version_4_alone(oss_root: str, oss_server: dict[str, Any]) -> None:
    key = f"{oss_root.rpartition('/')[2]}/a b/é"
    for kind, secret, refusal in (
        ("Auth", oss_server["secret"], "AccessDenied"),
        ("AuthV4", "wrong", "SignatureDoesNotMatch"),
    ):
        bucket = _bucket(oss_server, kind, secret)
        with pytest.raises(Exception, match=refusal):
            bucket.put_object(key, b"x")
    _bucket(oss_server, "AuthV4", oss_server["secret"]).put_object(key, b"x")
    assert open_store(oss_root).read("a b/é") == b"x"


def _s3(server: dict[str, Any], **more: Any) -> Any:
    """A client of the S3-compatible address, whose names the stand-in serves as a proxy."""
    boto3 = pytest.importorskip("boto3")
    config = pytest.importorskip("botocore.config")
    settings = {
        "signature_version": "s3v4",
        "proxies": {"http": server["endpoint"]},
        "request_checksum_calculation": "when_required",
        "s3": {"addressing_style": "virtual"},
        "retries": {"total_max_attempts": 1},
        **more,
    }
    return boto3.client(
        "s3",
        endpoint_url=f"http://s3.{DOMAINS[0]}",
        region_name="oss-cn-test",
        aws_access_key_id=server["key"],
        aws_secret_access_key=server["secret"],
        config=config.Config(**settings),
    )


def test_the_s3_compatible_address_sees_the_same_objects(
    oss_root: str, oss_server: dict[str, Any]
) -> None:
    prefix = oss_root.rpartition("/")[2]
    client = _s3(oss_server)
    client.put_object(Bucket="runs", Key=f"{prefix}/by s3/é", Body=b"one")
    store = open_store(oss_root)
    assert store.read("by s3/é") == b"one"
    store.write("by oss", b"twelve bytes")
    found = client.get_object(Bucket="runs", Key=f"{prefix}/by oss", Range="bytes=7-100")
    assert found["Body"].read() == b"bytes"
    listed = client.list_objects_v2(Bucket="runs", Prefix=f"{prefix}/")
    assert [entry["Size"] for entry in listed["Contents"]] == [12, 3]


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"s3": {"addressing_style": "path"}}, "SecondLevelDomainForbidden"),
        ({"signature_version": "s3"}, "AccessDenied"),  # version 2
        ({"request_checksum_calculation": "when_supported"}, "aws-chunked"),
    ],
)
def test_the_s3_compatible_address_refuses_what_the_services_does(
    oss_root: str, oss_server: dict[str, Any], more: dict[str, Any], refusal: str
) -> None:
    chunked = "checksum" in str(more)
    client = _s3(oss_server, **more)
    if chunked:

        def chunk(request: Any, **_: Any) -> None:
            request.headers["Content-Encoding"] = "aws-chunked"

        client.meta.events.register("before-sign.s3.PutObject", chunk)
    with pytest.raises(Exception, match=refusal):
        client.put_object(Bucket="runs", Key="a", Body=b"1")
