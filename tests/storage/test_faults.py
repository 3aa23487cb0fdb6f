"""Roots behind a proxy that spoils answers: the run is exact, or ends with one clear error."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from testbed.faults.proxy import KINDS, LENGTHS, Proxy, proxy
from testbed.servers import oss_tokens, seaweed
from user_code.failing import fails_once

import mapred
from mapred.backends.local import Local
from mapred.errors import StorageError
from mapred.storage import open_store, probe

QUICK = tuple(kind for kind in (*KINDS, *LENGTHS) if kind != "stall")
EVERYTHING = "GET HEAD PUT POST DELETE"


@pytest.fixture
def faults(
    s3_root: str, s3_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    with proxy(tmp_path, s3_server["endpoint"]) as known:
        monkeypatch.setenv("AWS_ENDPOINT_URL", known.endpoint)
        yield known


@pytest.fixture
def oss_faults(
    oss_root: str, oss_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    with proxy(tmp_path, oss_server["endpoint"]) as known:
        monkeypatch.setenv("OSS_ENDPOINT", known.endpoint)
        yield known


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lost", pytest.param("failed", marks=pytest.mark.slow)])
def test_an_answer_lost_after_the_write_is_found_out(
    faults: Proxy, s3_root: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "4")
    store = open_store(s3_root)
    assert store.put_if_absent("c/0", b"another's")
    faults.spoil(0.6, (kind,), "PUT")
    for number in range(4):
        assert store.put_if_absent(f"c/{number + 1}", b"mine")
        assert not store.put_if_absent("c/0", b"mine")
    faults.spoil(1, (kind,), "PUT")
    assert store.put_if_absent("c/last", b"mine")
    assert not store.put_if_absent("c/0", b"mine")
    assert store.read("c/0") == b"another's"


def _survives(faults: Proxy, root: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "60" if kind != "stall" else "9")
    store = open_store(root)
    data = bytes(range(256)) * 3000
    store.write("warm", b"")
    rate, count = (0.2, 2) if kind == "stall" else (0.3, 6)
    faults.spoil(rate, (kind,))
    for number in range(count):
        store.write(f"f/{number}", data)
        assert store.read(f"f/{number}") == data
        assert store.read(f"f/{number}", 5, 1000) == data[5:1005]
        with store.open(f"f/{number}") as file:
            assert file.read(7) == data[:7]
            assert file.read() == data[7:]
    assert len(store.list("f/")) == count


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in ("busy", "reset", "short") else pytest.mark.slow)
        for kind in (*KINDS, *LENGTHS)
    ],
)
def test_each_fault_is_survived(
    faults: Proxy, s3_root: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _survives(faults, s3_root, kind, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["truncated", *LENGTHS, *(pytest.param(k, marks=pytest.mark.slow) for k in ("busy", "stall"))],
)
def test_each_fault_is_survived_on_oss(
    oss_faults: Proxy, oss_root: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _survives(oss_faults, oss_root, kind, monkeypatch)


@pytest.mark.slow
def test_large_objects_survive_answers_of_a_wrong_length(faults: Proxy, s3_root: str) -> None:
    store = open_store(s3_root)
    data = bytes(range(256)) * 140_000
    store.write("large", data)
    for kind in (*LENGTHS, "truncated"):
        faults.spoil(0.3, (kind,))
        store.write(f"large-{kind}", data)
        assert store.read(f"large-{kind}") == data
        with store.open("large") as file:
            assert b"".join(iter(lambda: file.read(1 << 20), b"")) == data


@pytest.mark.parametrize(
    "kind", ["busy", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]
)
def test_a_store_that_never_answers_is_one_error(
    faults: Proxy, s3_root: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "1")
    faults.spoil(1, (kind,), "GET HEAD PUT POST DELETE")
    started = time.monotonic()
    with pytest.raises(StorageError, match="cannot write s3://"):
        probe(open_store(s3_root))
    assert time.monotonic() - started < 12


def _square(item: int) -> int:
    return item * item


@pytest.mark.slow
def test_a_short_answer_is_never_taken_for_the_whole(
    faults: Proxy,
    oss_faults: Proxy,
    s3_root: str,
    oss_root: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "1")
    for root, spoiler in ((s3_root, faults), (oss_root, oss_faults)):
        store = open_store(root)
        store.write("f", b"0123456789")
        for kind in LENGTHS:
            spoiler.spoil(1, (kind,))
            for act in (lambda: store.read("f"), lambda: store.read("f", 2, 6)):  # noqa: B023
                with pytest.raises(StorageError, match="cannot read"):
                    act()
            with pytest.raises(StorageError, match="cannot read"), store.open("f") as file:
                file.read()
            with pytest.raises(StorageError, match="cannot list"):
                store.list("")
            spoiler.spoil(0)
        assert store.read("f") == b"0123456789"


@pytest.mark.slow
def test_a_run_is_exact_though_every_tenth_answer_is_spoiled(faults: Proxy, s3_root: str) -> None:
    _runs_exactly(faults, s3_root)


@pytest.mark.slow
def test_a_run_on_oss_is_exact_too(oss_faults: Proxy, oss_root: str) -> None:
    _runs_exactly(oss_faults, oss_root)


def _runs_exactly(faults: Proxy, root: str) -> None:
    faults.spoil(0.1, QUICK)
    run = mapred.run(
        _square,
        mapred.array(60),
        reduce=sum,
        root=root,
        backend=Local(workers=2),
        progress="none",
        per_task=3,
    )
    assert run.result() == sum(item * item for item in range(60))
    assert run.audit().ok


@pytest.mark.slow
@pytest.mark.parametrize("kind", QUICK)
@pytest.mark.parametrize("scheme", ["s3", "oss"])
def test_a_store_that_goes_away_ends_the_run_resumable(
    request: pytest.FixtureRequest, scheme: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = request.getfixturevalue(f"{scheme}_root")
    faults = request.getfixturevalue({"s3": "faults", "oss": "oss_faults"}[scheme])
    monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "1")
    run = mapred.submit(
        _slow_square, mapred.array(8), root=root, backend=Local(workers=2), per_task=1
    )
    faults.spoil(1, (kind,), EVERYTHING)
    _ends_in_one_error(run, scheme)
    faults.spoil(0)
    assert mapred.open(run.uri).resume(progress="none").result() == [i * i for i in range(8)]


def _ends_in_one_error(run: mapred.Run, words: str) -> None:
    started = time.monotonic()
    with pytest.raises((mapred.RunError, StorageError), match=words):
        run.finish("none")
    assert time.monotonic() - started < 60


def test_the_probe_refuses_a_store_that_pretends(
    moto_server: dict[str, Any], s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy drops what makes a put conditional. (A server that checks what was signed would
    # refuse the rest; moto, as some gateways do, does not.)
    with proxy(tmp_path, moto_server["endpoint"]) as faults:
        monkeypatch.setenv("AWS_ENDPOINT_URL", faults.endpoint)
        probe(open_store(s3_root))
        faults.spoil(without=("If-None-Match",))
        with pytest.raises(StorageError, match="does not refuse a second put"):
            probe(open_store(s3_root))
        with pytest.raises(StorageError, match="does not refuse a second put"):
            mapred.run(_square, mapred.array(2), root=s3_root, progress="none")


def test_the_probe_does_not_get_past_a_proxy_that_drops_a_signed_header(
    oss_faults: Proxy, oss_root: str
) -> None:
    oss_faults.spoil(without=("x-oss-forbid-overwrite",))
    with pytest.raises(StorageError, match="SignatureDoesNotMatch"):
        probe(open_store(oss_root))


PLANTED = "planted-9c1f-secret"


@pytest.mark.parametrize("scheme", ["s3", "oss"])
@pytest.mark.parametrize(
    "kind",
    [
        "",
        "ended",
        "skewed",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("busy", "truncated")),
    ],
)
def test_no_credential_is_told(
    request: pytest.FixtureRequest, scheme: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = request.getfixturevalue(f"{scheme}_root")
    faults = request.getfixturevalue({"s3": "faults", "oss": "oss_faults"}[scheme])
    monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "1")
    names = {
        "s3": ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        "oss": ("OSS_ACCESS_KEY_SECRET", "OSS_SECURITY_TOKEN"),
    }[scheme]
    for name in names:
        monkeypatch.setenv(name, f"{PLANTED}-{name}")
    ended = (seaweed.KEY,) if kind == "ended" else ()
    faults.spoil(0 if ended or not kind else 1, (kind,), EVERYTHING, ended)
    store = open_store(root)
    for act in (
        lambda: probe(store),
        lambda: store.read("a"),
        lambda: store.list("a"),
        lambda: mapred.run(_square, mapred.array(1), root=root, progress="none"),
    ):
        with pytest.raises(StorageError) as caught:
            act()
        told = "".join(traceback.format_exception(caught.value)) + repr(store) + repr(vars(store))
        assert PLANTED not in told


def test_a_run_writes_no_credential(
    s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    run = mapred.run(fails_once, mapred.items([str(tmp_path)]), root=s3_root, progress="none")
    store = open_store(s3_root)
    files = [path for path, _ in store.list("")]
    assert any("/errors/" in path for path in files)
    assert not [path for path in files if secret.encode() in store.read(path)]
    assert run.audit().ok


def test_a_clock_that_is_off_is_named(faults: Proxy, s3_root: str) -> None:
    faults.spoil(1, ("skewed",), EVERYTHING)
    store = open_store(s3_root)
    for act in (lambda: probe(store), lambda: store.read("a"), lambda: store.list("a")):
        with pytest.raises(StorageError, match=r"clock, which is 3[56]\d\d s behind the store's"):
            act()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["s3", "oss"])
def test_a_bucket_deleted_in_the_middle_ends_the_run(
    request: pytest.FixtureRequest, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = request.getfixturevalue(f"{scheme}_root").replace("//runs/", "//doomed/")
    # Not on SeaweedFS, where a put makes the bucket anew.
    server = request.getfixturevalue({"s3": "moto_server", "oss": "oss_server"}[scheme])
    if scheme == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", server["endpoint"])
    make, delete = _doomed(scheme, server)
    make()
    run = mapred.submit(
        _slow_square, mapred.array(40), root=root, backend=Local(workers=2), per_task=1
    )
    time.sleep(1)
    delete()
    _ends_in_one_error(run, "NoSuchBucket.*create the bucket")


def _doomed(scheme: str, server: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], None]]:
    """How to make and how to delete the bucket `doomed`, whatever lies in it."""
    if scheme == "s3":
        boto3 = pytest.importorskip("boto3")
        client = boto3.client("s3", endpoint_url=server["endpoint"])
        gone = client.exceptions.ClientError

        def delete_all() -> None:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket="doomed"):
                for known in page.get("Contents", ()):
                    client.delete_object(Bucket="doomed", Key=known["Key"])
            client.delete_bucket(Bucket="doomed")

        make = partial(client.create_bucket, Bucket="doomed")
    else:
        oss = pytest.importorskip("alibabacloud_oss_v2")
        config = oss.config.load_default()
        config.region, config.endpoint = server["region"], server["endpoint"]
        config.credentials_provider = oss.credentials.StaticCredentialsProvider(
            server["key"], server["secret"]
        )
        bucket = oss.Client(config)
        gone = oss.exceptions.OperationError

        def delete_all() -> None:
            store = open_store("oss://doomed")
            for path, _ in store.list(""):
                with contextlib.suppress(FileNotFoundError):
                    store.delete(path)
            bucket.delete_bucket(oss.DeleteBucketRequest("doomed"))

        make = partial(bucket.put_bucket, oss.PutBucketRequest("doomed"))

    def delete() -> None:
        for _ in range(200):  # the run writes on meanwhile
            with contextlib.suppress(gone):
                return delete_all()
        raise AssertionError("the bucket cannot be deleted")

    return make, delete


# --- credentials that end while a run goes on


def _issue(folder: Path, lifetime: float) -> None:
    """Write temporary keys of OSS as a profile of Alibaba's tools."""
    given = oss_tokens.issue(lifetime)
    keys = {"access_key_id": given.key, "access_key_secret": given.secret}
    profile = {"name": "default", "mode": "StsToken", "sts_token": given.token, **keys}
    (folder / "new").write_text(json.dumps({"current": "default", "profiles": [profile]}))
    (folder / ".aliyun").mkdir(exist_ok=True)
    (folder / "new").replace(folder / ".aliyun/config.json")


@pytest.mark.slow
@pytest.mark.parametrize("renewed", [True, False])
def test_credentials_of_oss_end_in_the_middle(
    oss_root: str, renewed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSS_ACCESS_KEY_ID")
    monkeypatch.setenv("HOME", str(tmp_path))
    _issue(tmp_path, 6)
    started = time.monotonic()
    run = mapred.submit(
        _slow_square, mapred.array(50), root=oss_root, backend=Local(workers=2), per_task=1
    )
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(2):
            _issue(tmp_path, 6)

    if renewed:
        side = threading.Thread(target=renew)
        side.start()
        try:
            assert run.finish("none").result() == [i * i for i in range(50)]
        finally:
            stop.set()
            side.join()
        assert time.monotonic() - started > 7
        return
    _ends_in_one_error(run, "SecurityTokenExpired.*renew the current profile of .*config.json")
    _issue(tmp_path, 600)
    again = mapred.open(run.uri).resume(progress="none")
    assert again.result() == [i * i for i in range(50)]


@pytest.mark.slow
@pytest.mark.parametrize("renewed", [True, False])
def test_credentials_of_s3_end_in_the_middle(
    faults: Proxy,
    s3_root: str,
    s3_server: dict[str, Any],
    renewed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("botocore")
    program = tmp_path / "login.json"

    def give(key: str, secret: str) -> None:
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 120))
        keys = {"AccessKeyId": key, "SecretAccessKey": secret, "Version": 1, "Expiration": ends}
        (tmp_path / "new").write_text(json.dumps(keys))
        (tmp_path / "new").replace(program)

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    give(s3_server["key"], s3_server["secret"])
    run = mapred.submit(
        _slow_square, mapred.array(120), root=s3_root, backend=Local(workers=2), per_task=1
    )
    second = s3_server["second"]
    if renewed:
        give(*second)
        time.sleep(12)  # longer than any process goes on with the keys that it has
        faults.spoil(ended=(s3_server["key"],))
        assert run.finish("none").result() == [i * i for i in range(120)]
        return
    faults.spoil(ended=(s3_server["key"],))
    _ends_in_one_error(run, "ExpiredToken.*renew them, then resume")
    give(*second)
    assert mapred.open(run.uri).resume(progress="none").result() == [i * i for i in range(120)]


def _slow_square(item: int) -> int:
    time.sleep(0.3)
    return item * item


@pytest.mark.slow
def test_large_files_are_whole_though_answers_are_cut(faults: Proxy, s3_root: str) -> None:
    store = open_store(s3_root)
    data = bytes(range(256)) * 4096 * 40
    store.write("large", data)
    faults.spoil(0.3, ("truncated", "reset", "busy"), "GET")
    assert store.read("large") == data
    assert store.read("large", 5, 20_000_000) == data[5:20_000_005]
    with store.open("large") as file:
        assert b"".join(iter(lambda: file.read(1 << 20), b"")) == data
