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
from servers import oss_gateway
from servers.faults import proxy
from servers.large import check_large_files

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


def test_listings_have_pages_and_no_markers(oss_root: str) -> None:
    store = open_store(oss_root)
    names = [f"many/{number:05d}" for number in range(1203)]
    for name in names:
        store.write(name, b"x")
    opendal = pytest.importorskip("opendal")
    keys = {"access_key_id": oss_gateway.KEY, "access_key_secret": oss_gateway.SECRET}
    endpoint = {"endpoint": os.environ["OSS_ENDPOINT"], "addressing_style": "path"}
    prefix = oss_root.rpartition("/")[2]
    opendal.Operator("oss", bucket="runs", **keys, **endpoint).create_dir(f"{prefix}/many/folder/")
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
        value = {"OSS_ACCESS_KEY_ID": oss_gateway.KEY}.get(own, oss_gateway.SECRET)
        monkeypatch.delenv(own)
        monkeypatch.setenv(other, value)
    probe(open_store(oss_root))


@pytest.mark.parametrize(
    ("settings", "uri", "message"),
    [
        ({"OSS_ACCESS_KEY_SECRET": "wrong"}, "", "SignatureDoesNotMatch.*OSS_ACCESS_KEY_SECRET"),
        ({"OSS_ACCESS_KEY_ID": "nobody"}, "", "InvalidAccessKeyId.*check OSS_ACCESS_KEY_ID"),
        ({}, "oss://nothing/runs", "NoSuchBucket.*make the bucket"),
        ({"OSS_ENDPOINT": "http://127.0.0.1:1"}, "", "http://127.0.0.1:1 is the right endpoint"),
        ({"OSS_ENDPOINT": ""}, "", "no endpoint; set OSS_ENDPOINT"),
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


def test_a_missing_package_is_named(oss_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opendal", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mapred\[oss\]'"):
        open_store(oss_root).read("a")


def test_a_forked_process_is_told(oss_root: str) -> None:
    script = f"""
import os
from mapred.storage import open_store
store = open_store({oss_root!r})
store.write("a", b"1")
if not os.fork():
    try:
        store.read("a")
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)
os.wait()
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30
    )
    assert "get_context('spawn')" in told.stdout


def _square(item: int) -> int:
    return item * item


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


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # oss2's own
@pytest.mark.parametrize("version", ["V1", "V4"])
def test_the_stand_in_checks_both_versions_of_signatures(
    oss_root: str, oss_server: dict[str, Any], version: str
) -> None:
    oss2 = pytest.importorskip("oss2")
    kind = {"V1": oss2.Auth, "V4": oss2.AuthV4}[version]
    for secret in (oss_server["secret"], "wrong"):
        auth = kind(oss_server["key"], secret)
        bucket = oss2.Bucket(
            auth, oss_server["endpoint"], "runs", region="cn-test", is_path_style=True
        )
        key = f"{oss_root.rpartition('/')[2]}/a b/é"
        if secret == "wrong":
            with pytest.raises(oss2.exceptions.ServerError, match="SignatureDoesNotMatch"):
                bucket.put_object(key, b"x")
            continue
        bucket.put_object(key, b"x", headers={"x-oss-forbid-overwrite": "true"})
        assert bucket.get_object(key).read() == b"x"
        assert open_store(oss_root).read("a b/é") == b"x"
