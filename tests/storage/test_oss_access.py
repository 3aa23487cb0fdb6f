"""How OSS is reached and who is let in, against the tests' own stand-ins for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testbed.servers import oss, oss_platform, oss_signatures, oss_tokens

from mapred.errors import StorageError
from mapred.storage import open_store, oss_access, probe

KEYS = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET")


@pytest.fixture
def without_keys(oss_root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A root to whose keys nothing leads yet."""
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return oss_root


_BY_NAME = """
import os, sys, mapred
from testbed.servers import oss_gateway, oss_signatures

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


@pytest.mark.slow
def test_public_and_internal_endpoints_reach_one_run(
    oss_root: str, oss_server: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSS_ADDRESSING_STYLE")
    monkeypatch.delenv("OSS_REGION")  # the endpoints name it
    # No resolver knows the names: the server stands in as the proxy of every request.
    monkeypatch.setenv("http_proxy", oss_server["endpoint"])
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(root / "tests"), prepend=os.pathsep)
    told = subprocess.run(
        [sys.executable, "-c", _BY_NAME, oss_root], capture_output=True, text=True, timeout=120
    )
    assert told.stdout == "55\n", told.stderr


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        ("https://oss-cn-hangzhou-internal.aliyuncs.com:443", "cn-hangzhou"),
        ("http://oss-us-west-1.aliyuncs.com", "us-west-1"),
        ("https://cn-shanghai.oss.aliyuncs.com", "cn-shanghai"),
        ("https://oss-accelerate.aliyuncs.com", None),
        ("https://oss-accelerate-overseas.aliyuncs.com", None),
        ("https://data.example.com", None),
        ("http://127.0.0.1:9000", None),
    ],
)
def test_an_endpoint_names_its_region(endpoint: str, region: str | None) -> None:
    assert oss_access.region_of(endpoint) == region
    found = oss_access.settings({"OSS_ENDPOINT": endpoint, "OSS_REGION": "oss-cn-beijing"})
    assert found == (endpoint, "cn-beijing", "virtual")


def test_a_region_alone_gives_the_public_endpoint() -> None:
    found = oss_access.settings({"OSS_REGION": "cn-beijing"})
    assert found == ("https://oss-cn-beijing.aliyuncs.com", "cn-beijing", "virtual")


# --- where credentials come from


def _profile(path: Path, given: oss_tokens.Issued, name: str = "default") -> None:
    """What `aliyun configure` writes of temporary keys."""
    profile = {
        "name": name,
        "mode": "StsToken",
        "access_key_id": given.key,
        "access_key_secret": given.secret,
        "sts_token": given.token,
    }
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"current": name, "profiles": [profile]}))
    new.replace(path)


def _by_uri(server: dict[str, Any], folder: Path) -> dict[str, str]:
    return {"ALIBABA_CLOUD_CREDENTIALS_URI": f"{server['platform']}/credentials?lifetime=4"}


def _by_ecs(server: dict[str, Any], folder: Path) -> dict[str, str]:
    return {
        "ALIBABA_CLOUD_ECS_METADATA": oss_platform.ECS_ROLE,
        # The service has an address of its own, 100.100.100.200: the stand-in is its proxy.
        "http_proxy": server["platform"],
        "no_proxy": "127.0.0.1",
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


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_credentials_that_end_are_renewed(
    without_keys: str,
    oss_server: dict[str, Any],
    source: Callable[[dict[str, Any], Path], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in source(oss_server, tmp_path).items():
        monkeypatch.setenv(name, value)
    store = open_store(without_keys)
    probe(store)
    began = time.time()
    while time.time() < began + 6:  # beyond the end of the first ones
        assert store.put_if_absent(f"c/{time.time_ns()}", b"x")
        time.sleep(0.5)
    assert len(store.list("c")) >= 4


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_each_source_gives_keys(
    without_keys: str,
    oss_server: dict[str, Any],
    source: Callable[[dict[str, Any], Path], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in source(oss_server, tmp_path).items():
        monkeypatch.setenv(name, value)
    probe(open_store(without_keys))


def test_a_rewritten_profile_counts_at_once(
    without_keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".aliyun/config.json"
    path.parent.mkdir()
    first = oss_tokens.issue(1)
    _profile(path, first)
    store = open_store(without_keys)
    store.write("a", b"1")
    time.sleep(max(0.0, first.ends - time.time()) + 0.1)
    with pytest.raises(StorageError, match=r"SecurityTokenExpired.*profile of .*, then resume"):
        store.read("a")
    _profile(path, oss_tokens.issue(60))
    assert store.read("a") == b"1"
    monkeypatch.setenv("ALIBABA_CLOUD_PROFILE", "team")
    with pytest.raises(StorageError, match=r"\[team\] of .* gives no credentials: .*'team'"):
        open_store(without_keys).read("a")
    _profile(path, oss_tokens.issue(60), "team")
    assert open_store(without_keys).read("a") == b"1"


def test_a_credentials_file_that_is_named_counts_before_a_profile(
    without_keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aliyun").mkdir()
    _profile(tmp_path / ".aliyun/config.json", oss_tokens.issue(-1))
    file = tmp_path / "credentials.ini"
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_FILE", str(file))
    file.write_text(
        f"[default]\ntype = access_key\naccess_key_id = {oss_signatures.KEY}\n"
        f"access_key_secret = {oss_signatures.SECRET}\n"
    )
    probe(open_store(without_keys))
    file.write_text("[default]\ntype = sts\n")
    with pytest.raises(StorageError, match=r"\[default\] of .*: unsupported credential type sts"):
        probe(open_store(without_keys))
    file.write_text("no section, but hunter2\n")
    with pytest.raises(StorageError, match="gives no credentials") as caught:
        probe(open_store(without_keys))
    assert "hunter2" not in str(caught.value)


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
        (_by_ecs, {"ALIBABA_CLOUD_ECS_METADATA": "none"}, "RAM role none of .* status 40[34]"),
        (_by_uri, {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://127.0.0.1:1"}, "refused"),
        (_by_uri, {"ALIBABA_CLOUD_CREDENTIALS_FILE": "/none"}, "of /none gives no credentials"),
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
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    for name, value in {**source(oss_server, tmp_path), **change}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match=message) as caught:
        probe(open_store(without_keys))
    token = tmp_path / "oidc-token"
    told = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert not token.exists() or token.read_text() not in told


def test_where_there_is_no_source_the_machine_is_asked(
    without_keys: str, oss_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="no credentials found; set OSS_ACCESS_KEY_ID"):
        probe(open_store(without_keys))
    monkeypatch.delenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(StorageError, match="no credentials found; set OSS_ACCESS_KEY_ID"):
        probe(open_store(without_keys))
    monkeypatch.setenv("http_proxy", oss_server["platform"])
    probe(open_store(without_keys))


def test_an_identity_that_ended_is_refused(
    without_keys: str, oss_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _by_role(oss_server, tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "oidc-token").write_text(oss_tokens.identity("pod", time.time() - 1, 60))
    with pytest.raises(StorageError, match=r"AuthenticationFail\.OIDCToken\.Invalid"):
        probe(open_store(without_keys))


@pytest.mark.parametrize("clock", [3600, -5400])
def test_a_clock_that_is_off_is_named(
    oss_root: str, clock: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with oss.started(tmp_path, clock) as known:
        monkeypatch.setenv("OSS_ENDPOINT", known["endpoint"])
        with pytest.raises(StorageError, match="RequestTimeTooSkewed") as caught:
            probe(open_store(oss_root))
    words = str(caught.value).partition("clock, which is ")[2].split()
    assert abs(int(words[0]) - abs(clock)) < 120
    assert words[1:3] == (["s", "behind"] if clock > 0 else ["s", "ahead"])
