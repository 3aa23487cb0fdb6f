"""How OSS is reached and who is let in, against the tests' own stand-ins for it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import oss, oss_platform, oss_signatures, oss_tokens

from mapred.errors import StorageError
from mapred.storage import Store, open_store, probe
from mapred.testing import StoreContract

# oss2's own
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
KEYS = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET")


@pytest.fixture
def without_keys(oss_root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A root to whose keys nothing leads yet."""
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return oss_root


@pytest.mark.slow
class TestOSSStoreByV4(StoreContract):
    races = 1

    @pytest.fixture
    def store(self, oss_root: str, monkeypatch: pytest.MonkeyPatch) -> Store:
        monkeypatch.setenv("OSS_SIGNATURE_VERSION", "V4")
        monkeypatch.setenv("OSS_REGION", oss_signatures.REGION)
        return open_store(oss_root)


_BY_NAME = """
import os, sys, mapred
from servers import oss_gateway, oss_signatures

def square(item):
    return item * item

public, internal = (f"http://{name}" for name in oss_gateway.DOMAINS)
os.environ["OSS_ENDPOINT"] = public
run = mapred.run(square, mapred.array(6), reduce=sum, root=sys.argv[1], progress="none")
assert "mapred.test" not in run.uri + run.store.read("job.json").decode()
os.environ["OSS_ENDPOINT"] = internal
again = mapred.open(run.uri)
assert again.audit().ok
print(again.result())
"""


@pytest.mark.parametrize("version", ["V1", pytest.param("V4", marks=pytest.mark.slow)])
def test_public_and_internal_endpoints_reach_one_run(
    oss_root: str,
    oss_server: dict[str, Any],
    version: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OSS_SIGNATURE_VERSION", version)
    monkeypatch.delenv("OSS_ADDRESSING_STYLE")
    # No resolver knows the names: the server stands in as the proxy of every request. In a
    # process of its own, since OpenDAL asks for the proxy once.
    monkeypatch.setenv("http_proxy", oss_server["endpoint"])
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(root / "tests"))
    told = subprocess.run(
        [sys.executable, "-c", _BY_NAME, oss_root], capture_output=True, text=True, timeout=120
    )
    assert told.stdout == "55\n", told.stderr


def test_a_v4_signature_needs_a_region(oss_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_SIGNATURE_VERSION", "V4")
    with pytest.raises(StorageError, match="set OSS_REGION"):
        probe(open_store(oss_root))
    monkeypatch.setenv("OSS_REGION", "cn-elsewhere")
    with pytest.raises(StorageError, match=r"InvalidArgument.*region"):
        probe(open_store(oss_root))
    monkeypatch.setenv("OSS_SIGNATURE_VERSION", "V2")
    with pytest.raises(StorageError, match="there are V1 and V4"):
        probe(open_store(oss_root))


# --- where credentials come from


def _file(path: Path, given: oss_tokens.Issued, lines: str = "") -> None:
    new = path.with_suffix(".new")
    new.write_text(
        f"[default]\ntype = sts\naccess_key_id = {given.key}\n"
        f"access_key_secret = {given.secret}\nsecurity_token = {given.token}\n{lines}"
    )
    new.replace(path)


def _by_uri(server: dict[str, Any], folder: Path) -> dict[str, str]:
    return {"ALIBABA_CLOUD_CREDENTIALS_URI": f"{server['platform']}/credentials?lifetime=4"}


def _by_ecs(server: dict[str, Any], folder: Path) -> dict[str, str]:
    return {
        "ALIBABA_CLOUD_ECS_METADATA": oss_platform.ECS_ROLE,
        "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT": server["platform"],
    }


def _by_role(server: dict[str, Any], folder: Path) -> dict[str, str]:
    token = oss_tokens.identity("pod", time.time() + 3600, lifetime=4)
    (folder / "oidc-token").write_text(token)
    return {
        "ALIBABA_CLOUD_ROLE_ARN": oss_platform.ROLE,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": oss_platform.PROVIDER,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(folder / "oidc-token"),
        "ALIBABA_CLOUD_STS_ENDPOINT": f"{server['platform']}/sts",
    }


SOURCES = {"uri": _by_uri, "ecs": _by_ecs, "role": _by_role}


@pytest.mark.parametrize(
    ("source", "version"),
    [
        pytest.param(source, version, id=f"{name}-{version}", marks=marks)
        for name, source in SOURCES.items()
        for version in ("V1", "V4")
        for marks in [() if (name, version) == ("role", "V1") else pytest.mark.slow]
    ],
)
def test_credentials_that_end_are_renewed(
    without_keys: str,
    oss_server: dict[str, Any],
    source: Callable[[dict[str, Any], Path], dict[str, str]],
    version: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in source(oss_server, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OSS_SIGNATURE_VERSION", version)
    monkeypatch.setenv("OSS_REGION", oss_signatures.REGION)
    store = open_store(without_keys)
    probe(store)
    began = time.time()
    while time.time() < began + 6:  # beyond the end of the first ones
        assert store.put_if_absent(f"c/{time.time_ns()}", b"x")
        time.sleep(0.5)
    assert len(store.list("c")) >= 4


def test_a_rewritten_credentials_file_counts_at_once(
    without_keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".alibabacloud/credentials.ini"
    path.parent.mkdir()
    first = oss_tokens.issue(3)
    _file(path, first)
    store = open_store(without_keys)
    store.write("a", b"1")
    time.sleep(max(0.0, first.ends - time.time()) + 0.1)
    with pytest.raises(StorageError, match=r"SecurityTokenExpired.*\[default\] of .*resume"):
        store.read("a")
    _file(path, oss_tokens.issue(60), "[team]\n")
    assert store.read("a") == b"1"
    monkeypatch.setenv("ALIBABA_CLOUD_PROFILE", "team")
    with pytest.raises(StorageError, match=r"\[team\] of .* gives no credentials: it needs"):
        open_store(without_keys).read("a")


def test_temporary_keys_of_the_environment(
    without_keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, other = oss_tokens.issue(60), oss_tokens.issue(60)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", given.key)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", given.secret)
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", given.token)
    probe(open_store(without_keys))
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", other.token)
    with pytest.raises(StorageError, match=r"InvalidSecurityToken.*_SECURITY_TOKEN") as caught:
        probe(open_store(without_keys))
    assert other.token not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        (_by_role, {"ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/none"}, "EntityNotExist.Role"),
        (_by_role, {"ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "none"}, "EntityNotExist.OIDCProvider"),
        (_by_role, {"ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/none"}, "TOKEN_FILE=/none cannot be read"),
        (_by_role, {"ALIBABA_CLOUD_ROLE_SESSION_NAME": "a b"}, "InvalidParameter.RoleSessionName"),
        (_by_ecs, {"ALIBABA_CLOUD_ECS_METADATA": "none"}, "RAM role none at .* status 404"),
        (_by_uri, {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://127.0.0.1:1"}, "refused"),
        (_by_uri, {"ALIBABA_CLOUD_CREDENTIALS_FILE": "/none"}, "FILE=/none is not there"),
        (_by_uri, {"ALIBABA_CLOUD_CREDENTIALS_URI": ""}, "no credentials found; set OSS_ACCESS"),
    ],
)
def test_a_source_that_gives_nothing_is_named(
    without_keys: str,
    oss_server: dict[str, Any],
    source: Callable[[dict[str, Any], Path], dict[str, str]],
    change: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**source(oss_server, tmp_path), **change}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match=message) as caught:
        probe(open_store(without_keys))
    token = tmp_path / "oidc-token"
    assert not token.exists() or token.read_text() not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_identity_that_ended_is_refused(
    without_keys: str, oss_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _by_role(oss_server, tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "oidc-token").write_text(oss_tokens.identity("pod", time.time() - 1, 60))
    with pytest.raises(StorageError, match=r"AuthenticationFail\.OIDCToken\.Invalid"):
        probe(open_store(without_keys))


@pytest.mark.parametrize("version", ["V1", "V4"])
@pytest.mark.parametrize("clock", [3600, -5400])
def test_a_clock_that_is_off_is_named(
    oss_root: str, clock: int, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSS_SIGNATURE_VERSION", version)
    monkeypatch.setenv("OSS_REGION", oss_signatures.REGION)
    with oss.started(tmp_path, clock) as known:
        monkeypatch.setenv("OSS_ENDPOINT", known["endpoint"])
        with pytest.raises(StorageError, match="RequestTimeTooSkewed") as caught:
            probe(open_store(oss_root))
    words = str(caught.value).partition("clock, which is ")[2].split()
    assert abs(int(words[0]) - abs(clock)) < 120
    assert words[1:3] == (["s", "behind"] if clock > 0 else ["s", "ahead"])
