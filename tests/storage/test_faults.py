"""Roots behind a proxy that spoils answers: the run is exact, or ends with one clear error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.faults import KINDS, Proxy, proxy

import mapred
from mapred.backends.local import Local
from mapred.errors import StorageError
from mapred.storage import open_store, probe

QUICK = tuple(kind for kind in KINDS if kind != "stall")


@pytest.fixture
def faults(
    s3_root: str, s3_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    with proxy(tmp_path, s3_server["endpoint"]) as known:
        monkeypatch.setenv("AWS_ENDPOINT_URL", known.endpoint)
        yield known


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


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_survived(
    faults: Proxy, s3_root: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "60" if kind != "stall" else "6")
    store = open_store(s3_root)
    data = bytes(range(256)) * 3000
    store.write("warm", b"")
    rate, count = (0.25, 3) if kind == "stall" else (0.3, 8)
    faults.spoil(rate, (kind,))
    for number in range(count):
        store.write(f"f/{number}", data)
        assert store.read(f"f/{number}") == data
        with store.open(f"f/{number}") as file:
            assert file.read() == data
    assert len(store.list("f/")) == count


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
    assert time.monotonic() - started < 30


def _square(item: int) -> int:
    return item * item


def test_a_run_is_exact_though_every_tenth_answer_is_spoiled(faults: Proxy, s3_root: str) -> None:
    faults.spoil(0.1, QUICK)
    run = mapred.run(
        _square,
        mapred.array(60),
        reduce=sum,
        root=s3_root,
        backend=Local(workers=2),
        progress="none",
        per_task=3,
    )
    assert run.result() == sum(item * item for item in range(60))
    assert run.audit().ok


@pytest.mark.slow
def test_a_store_that_goes_away_ends_the_run_resumable(
    faults: Proxy, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "1")
    run = mapred.submit(
        _slow_square, mapred.array(8), root=s3_root, backend=Local(workers=2), per_task=1
    )
    faults.spoil(1, ("busy",), "GET HEAD PUT POST DELETE")
    started = time.monotonic()
    with pytest.raises((mapred.RunError, StorageError), match="s3://"):
        run.finish("none")
    assert time.monotonic() - started < 60
    faults.spoil(0)
    assert mapred.open(run.uri).resume(progress="none").result() == [i * i for i in range(8)]


def _slow_square(item: int) -> int:
    time.sleep(0.3)
    return item * item


def test_large_files_are_whole_though_answers_are_cut(faults: Proxy, s3_root: str) -> None:
    store = open_store(s3_root)
    data = bytes(range(256)) * 4096 * 40
    store.write("large", data)
    faults.spoil(0.3, ("truncated", "reset", "busy"), "GET")
    assert store.read("large") == data
    assert store.read("large", 5, 20_000_000) == data[5:20_000_005]
    with store.open("large") as file:
        assert b"".join(iter(lambda: file.read(1 << 20), b"")) == data
