"""Roots on Azure: Azurite is the server, installed by npm and started by the tests."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from storage.large_files import check_large_files
from testbed.faults.proxy import proxy
from testbed.servers import azurite
from testbed.sharing import shared

import mapred
from mapred.errors import StorageError
from mapred.storage import Store, open_store
from mapred.testing import StoreContract

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="session")
def azure_server(shared_folder: Path) -> Iterator[dict[str, Any]]:
    """An Azurite of this session: its `endpoint`, `account` and `key`."""
    with shared(shared_folder, "azurite", azurite.plan) as known:
        azurite.make_container(known, "runs")
        yield known


@pytest.fixture
def azure_root(azure_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix of the container `runs`; the environment says how to reach it."""
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_ENDPOINT", azure_server["endpoint"])
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", azure_server["account"])
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", azure_server["key"])
    return f"az://runs/{uuid.uuid4().hex[:12]}"


class TestAzureStore(StoreContract):
    races = 3

    @pytest.fixture
    def store(self, azure_root: str, tmp_path: Path) -> Store:
        self.folder = tmp_path
        return open_store(azure_root)

    @contextlib.contextmanager
    def losing(self, store: Store) -> Iterator[Store]:
        endpoint, _, account = os.environ["AZURE_ENDPOINT"].rpartition("/")
        with proxy(self.folder, endpoint) as faults, pytest.MonkeyPatch.context() as patch:
            patch.setenv("AZURE_ENDPOINT", f"{faults.endpoint}/{account}")
            faults.spoil(0.5, ("lost",), "PUT")
            yield open_store(store.uri)


def test_files_are_read_and_written_there(azure_root: str) -> None:
    store = open_store(f"{azure_root}/in")
    for number in range(3):
        store.write(f"{number}.txt", b"a line\n" * (1000 + number))
    store.write("empty.txt", b"")
    run = mapred.run(
        lambda lines: sum(1 for _ in lines),
        f"{azure_root}/in/*.txt",
        reduce=sum,
        target_bytes=3000,
        root=f"{azure_root}/runs",
        progress="none",
    )
    assert run.result() == 3003
    assert mapred.open(run.uri).audit().ok
    assert run.job.shards > 5


def test_large_files_go_in_parts(azure_root: str, tmp_path: Path) -> None:
    check_large_files(open_store(azure_root), tmp_path)


def test_datasets_are_written_there(azure_root: str) -> None:
    import pyarrow as pa

    lake = f"{azure_root}/lake"
    for _ in range(2):
        run = mapred.run(
            lambda item: pa.table({"n": [item], "city": ["zürich" if item else "a/b"]}),
            mapred.items(range(4)),
            write=mapred.write_parquet(lake, partition_by="city"),
            root=f"{azure_root}/runs",
            backend="inline",
            progress="none",
        )
        assert run.result().partitions == ("city=a%2Fb", "city=zürich")
        names = [path for path, _ in open_store(lake).list("") if path.endswith(".parquet")]
        assert len(names) == 4


@pytest.mark.parametrize(
    ("variables", "uri", "message"),
    [
        ({}, "az://nowhere/x", "ContainerNotFound.*create the bucket, or name another one"),
        ({"AZURE_ENDPOINT": "http://127.0.0.1:1/mapred"}, "az://runs/x", r"AZURE_ENDPOINT"),
        ({"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}, "az://runs/x", "check the credentials"),
    ],
    ids=["container", "endpoint", "key"],
)
def test_errors_say_what_to_do(
    azure_root: str,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    uri: str,
    message: str,
) -> None:
    monkeypatch.setenv("MAPRED_STORAGE_TIMEOUT", "2")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = open_store(uri)
    for act in (lambda: store.put_if_absent("a", b"x"), lambda: store.read("a")):
        with pytest.raises(StorageError, match=message) as caught:
            act()
        assert "\n" not in str(caught.value)
        assert os.environ["AZURE_STORAGE_ACCOUNT_KEY"] not in str(caught.value)
