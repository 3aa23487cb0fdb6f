"""What the environment says of Alibaba Cloud: credentials, and where OSS is reached.

Credentials are looked for where Alibaba's own tools look, in their order: keys in the
environment, the OIDC token of a pod with a role (RRSA), a credentials file, the RAM role of an
ECS, a credentials URI. Those that end are asked for again before they do.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mapred.errors import StorageError

_OIDC = ("ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN")
_TOKEN_FILE = "ALIBABA_CLOUD_OIDC_TOKEN_FILE"
_METADATA = "/latest/meta-data/ram/security-credentials/"
_SECONDS = 10  # for an answer of a service that gives credentials
_TRIES = 4
NO_CREDENTIALS = (
    "no credentials found; set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or name a source of "
    "temporary ones: ALIBABA_CLOUD_ROLE_ARN with a token file, ALIBABA_CLOUD_CREDENTIALS_FILE, "
    "ALIBABA_CLOUD_ECS_METADATA, ALIBABA_CLOUD_CREDENTIALS_URI"
)


@dataclass(frozen=True)
class Credentials:
    """Keys, where they are from, and the time (Unix) from which on new ones are asked for."""

    key: str
    secret: str = field(repr=False)
    token: str | None = field(repr=False)
    source: str
    renew: float = float("inf")


def credentials(env: Mapping[str, str] = os.environ) -> Credentials:
    """The credentials of now, or a `StorageError` that names the source that fails."""
    if given := _from_environment(env):
        return given
    if all(env.get(name) for name in (*_OIDC, _TOKEN_FILE)):
        return _from_token(env)
    if given := _from_file(env):
        return given
    if role := env.get("ALIBABA_CLOUD_ECS_METADATA"):
        return _from_metadata(env, role)
    if uri := env.get("ALIBABA_CLOUD_CREDENTIALS_URI"):
        source = "ALIBABA_CLOUD_CREDENTIALS_URI"
        return _temporary(_asked(source, urllib.request.Request(uri)), source)
    raise StorageError(NO_CREDENTIALS)


def _from_environment(env: Mapping[str, str]) -> Credentials | None:
    for own in ("OSS", "ALIBABA_CLOUD"):
        key, secret = env.get(f"{own}_ACCESS_KEY_ID"), env.get(f"{own}_ACCESS_KEY_SECRET")
        if key and secret:
            token = env.get(f"{own}_SECURITY_TOKEN") or env.get(f"{own}_SESSION_TOKEN")
            named = f"{own}_ACCESS_KEY_ID, {own}_ACCESS_KEY_SECRET"
            if token:
                named += f", {own}_SECURITY_TOKEN"
            return Credentials(key, secret, token or None, named)
    return None


def _from_token(env: Mapping[str, str]) -> Credentials:
    """A role, for the token that the cluster keeps fresh in a file."""
    try:
        token = Path(env[_TOKEN_FILE]).read_text().strip()
    except (OSError, UnicodeError):
        raise StorageError(f"{_TOKEN_FILE}={env[_TOKEN_FILE]} cannot be read") from None
    endpoint = env.get("ALIBABA_CLOUD_STS_ENDPOINT") or "sts.aliyuncs.com"
    if "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    form = {
        "Action": "AssumeRoleWithOIDC",
        "Version": "2015-04-01",
        "Format": "JSON",
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "RoleArn": env[_OIDC[0]],
        "OIDCProviderArn": env[_OIDC[1]],
        "OIDCToken": token,
        "RoleSessionName": env.get("ALIBABA_CLOUD_ROLE_SESSION_NAME") or "mapred",
        "DurationSeconds": "3600",
    }
    source = f"the role {env[_OIDC[0]]} at {endpoint}"
    request = urllib.request.Request(f"{endpoint}/", urllib.parse.urlencode(form).encode())
    return _temporary(_asked(source, request).get("Credentials"), source)


def _from_file(env: Mapping[str, str]) -> Credentials | None:
    """A profile of a credentials file, which another process may rewrite at any time."""
    named = env.get("ALIBABA_CLOUD_CREDENTIALS_FILE")
    path = Path(named) if named else Path(env.get("HOME", "~"), ".alibabacloud/credentials.ini")
    profile = env.get("ALIBABA_CLOUD_PROFILE") or "default"
    source = f"[{profile}] of {path}"
    parser = configparser.RawConfigParser()
    try:
        text = path.expanduser().read_text(encoding="utf-8")
        parser.read_string(text)
        section = dict(parser[profile])
        key, secret = section["access_key_id"], section["access_key_secret"]
    except FileNotFoundError:
        if named:
            raise StorageError(f"ALIBABA_CLOUD_CREDENTIALS_FILE={named} is not there") from None
        return None
    except (OSError, UnicodeError, configparser.Error, KeyError):
        # No cause: a parser's error repeats the line, which may hold a secret.
        raise StorageError(
            f"{source} gives no credentials: it needs access_key_id, access_key_secret and, for "
            "temporary ones, security_token"
        ) from None
    token = section.get("security_token") or section.get("sts_token")
    # Without a known end, a temporary key is read anew before long.
    renew = time.time() + 30 if token else float("inf")
    return Credentials(key, secret, token, source, renew)


def _from_metadata(env: Mapping[str, str], role: str) -> Credentials:
    """The RAM role of an ECS, by its metadata service."""
    service = env.get("ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT") or "http://100.100.100.200"
    source = f"the RAM role {role} at {service}"
    session = urllib.request.Request(
        f"{service}/latest/api/token",
        headers={"X-aliyun-ecs-metadata-token-ttl-seconds": "21600"},
        method="PUT",
    )
    token = _answer(source, session, proxies=False).decode("ascii", "replace")
    request = urllib.request.Request(
        f"{service}{_METADATA}{role}", headers={"X-aliyun-ecs-metadata-token": token}
    )
    return _temporary(_asked(source, request, proxies=False), source)


def _temporary(record: Any, source: str) -> Credentials:
    """Credentials as Alibaba's services write them, with the time at which they end."""
    try:
        # Python 3.10 knows no Z.
        ends = datetime.fromisoformat(record["Expiration"].replace("Z", "+00:00")).timestamp()
        given = record["AccessKeyId"], record["AccessKeySecret"], record["SecurityToken"]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise StorageError(f"{source} gives no credentials: its answer is none of theirs") from None
    now = time.time()
    return Credentials(*given, source, now + max((ends - now) / 2, ends - now - 300))


def _asked(source: str, request: urllib.request.Request, proxies: bool = True) -> Any:
    try:
        return json.loads(_answer(source, request, proxies))
    except ValueError:
        raise StorageError(f"{source} gives no credentials: its answer is no JSON") from None


def _answer(source: str, request: urllib.request.Request, proxies: bool = True) -> bytes:
    """What a service answers. Of a refusal only its code is told: the rest may repeat a token."""
    handlers = [] if proxies else [urllib.request.ProxyHandler({})]
    opener = urllib.request.build_opener(*handlers)
    for wait in (*(0.2 * 3**n for n in range(_TRIES - 1)), None):
        try:
            with opener.open(request, timeout=_SECONDS) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            code = re.search(r'"Code"\s*:\s*"([\w.]+)"|<Code>([\w.]+)</Code>', said)
            reason = f"status {error.code}" + (f", {code[1] or code[2]}" if code else "")
            again = error.code >= 500 or error.code == 429
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            again = True
        if wait is None or not again:
            break
        time.sleep(wait)
    raise StorageError(f"{source} gives no credentials: {reason}; check that it is the right one")


def endpoint(env: Mapping[str, str] = os.environ) -> str | None:
    """Where OSS is reached from here, with its scheme; None where nothing says so."""
    given = env.get("OSS_ENDPOINT") or env.get("ALIBABA_CLOUD_OSS_ENDPOINT")
    if not given and env.get("OSS_REGION"):
        given = f"oss-{env['OSS_REGION'].removeprefix('oss-')}.aliyuncs.com"
    if given and "://" not in given:
        given = f"https://{given}"
    return given.rstrip("/") if given else None


def region(endpoint: str, env: Mapping[str, str] = os.environ) -> str | None:
    """The region that a V4 signature names: `OSS_REGION`, or as the endpoint says."""
    if env.get("OSS_REGION"):
        return env["OSS_REGION"].removeprefix("oss-")
    host = urllib.parse.urlsplit(endpoint).hostname or ""
    found = re.match(r"oss-([a-z0-9-]+?)(?:-internal)?\.", host)
    return found[1] if found else None
