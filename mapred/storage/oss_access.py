"""What the environment says of OSS: where it is reached, and where its keys come from.

A source of keys is chosen by what the environment of this moment says. `alibabacloud-credentials`
asks it, keeps what it got, and asks again before that ends.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mapred.errors import MissingDependency, StorageError
from mapred.process import secrecy
from mapred.storage.responses import short_reason

_OIDC = (
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
)
_NONE = (
    "no credentials found; set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or name a source of "
    "temporary ones: ALIBABA_CLOUD_ROLE_ARN with a token file, a profile in ~/.aliyun/config.json, "
    "ALIBABA_CLOUD_CREDENTIALS_FILE, ALIBABA_CLOUD_ECS_METADATA, ALIBABA_CLOUD_CREDENTIALS_URI"
)

FROM_OUTSIDE = (
    "OSS_ENDPOINT (https://oss-REGION.aliyuncs.com; inside the region "
    "https://oss-REGION-internal.aliyuncs.com)"
)
# Where a machine has a metadata service, it accepts connections at once, but a busy one may take
# longer to answer than the second that Alibaba's package gives it.
_MACHINE_ANSWERS_MS = 10_000
_STYLES = ("virtual", "path", "cname")


@dataclass(frozen=True)
class Keys:
    """An access key, and the token that temporary ones have."""

    key: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class CredentialsError(StorageError):
    """A source gives no keys; `passing` where asking again may help."""

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True)
class Source:
    """What gives keys, by the name that errors call it."""

    name: str
    ask: Callable[[], Any]
    otherwise: str = ""  # what is said where it gives nothing, though nobody named it

    def keys(self) -> Keys:
        """Return the keys of now. Raises CredentialsError, which repeats nothing secret."""
        try:
            credentials = self.ask()
            if isinstance(credentials, Keys):
                return credentials
            return Keys(
                credentials.get_access_key_id(),
                credentials.get_access_key_secret(),
                credentials.get_security_token() or None,
            )
        except MissingDependency:
            raise
        except Exception as error:
            reason, passing = _reason(error)
        if self.otherwise:
            raise CredentialsError(self.otherwise)
        raise CredentialsError(
            f"{self.name} gives no credentials: {reason}; check that it is the right one", passing
        )


def source(env: Mapping[str, str] = os.environ) -> Source:
    """Return the first of the sources that is there, in the order of Alibaba's own tools."""
    if keys := _from_environment(env):
        return keys
    if all(env.get(name) for name in _OIDC):
        return _role_source(env)
    home = Path(env.get("HOME") or "~").expanduser()
    profile = env.get("ALIBABA_CLOUD_PROFILE")
    config = home / ".aliyun/config.json"
    named = env.get("ALIBABA_CLOUD_CREDENTIALS_FILE")
    if config.is_file() and not named and not _is_true(env, "ALIBABA_CLOUD_CLI_PROFILE_DISABLED"):
        name = f"[{profile}] of {config}" if profile else f"the current profile of {config}"
        return _provider_source(name, "CLIProfile", profile_file=str(config), profile_name=profile)
    file = Path(named or home / ".alibabacloud/credentials.ini").expanduser()
    if named or file.is_file():
        section = profile or "default"
        name = f"[{section}] of {file}"
        return _provider_source(name, "Profile", profile_file=str(file), profile_name=section)
    role = env.get("ALIBABA_CLOUD_ECS_METADATA")
    uri = env.get("ALIBABA_CLOUD_CREDENTIALS_URI")
    if uri and not role:
        return _provider_source("ALIBABA_CLOUD_CREDENTIALS_URI", "URL", uri=uri)
    if _is_true(env, "ALIBABA_CLOUD_ECS_METADATA_DISABLED"):
        raise CredentialsError(_NONE)
    name = f"the RAM role {role or ''} of this machine"
    # Without its threads, which would renew keys in the background.
    machine = _provider_source(
        name, "EcsRamRole", _MACHINE_ANSWERS_MS, role_name=role, async_update_enabled=False
    )
    return machine if role else replace(machine, otherwise=_NONE)


def _provider_source(name: str, kind: str, read_ms: int | None = None, **options: Any) -> Source:
    """Return a source of keys by a provider of Alibaba's package."""

    @cache
    def provider() -> Any:
        # Only at the first use of keys: the package takes long to import.
        try:
            from alibabacloud_credentials import provider as kinds
            from alibabacloud_credentials.http import HttpOptions
        except ImportError:
            raise MissingDependency("alibabacloud-credentials", "oss") from None
        # It logs what a service answered, tokens included, to the error stream.
        logging.getLogger("credentials").setLevel(logging.CRITICAL + 1)
        if read_ms is not None:
            options["http_options"] = HttpOptions(read_timeout=read_ms)
        return getattr(kinds, f"{kind}CredentialsProvider")(**options)

    return Source(name, lambda: provider().get_credentials())


def _from_environment(env: Mapping[str, str]) -> Source | None:
    for own in ("OSS", "ALIBABA_CLOUD"):
        key, secret = env.get(f"{own}_ACCESS_KEY_ID"), env.get(f"{own}_ACCESS_KEY_SECRET")
        if key and secret:
            token = env.get(f"{own}_SECURITY_TOKEN") or env.get(f"{own}_SESSION_TOKEN") or None
            name = f"{own}_ACCESS_KEY_ID, {own}_ACCESS_KEY_SECRET"
            name += f", {own}_SECURITY_TOKEN" if token else ""
            return Source(name, partial(Keys, key, secret, token))
    return None


def _role_source(env: Mapping[str, str]) -> Source:
    """Return a source of a role's keys, by the token that the cluster keeps fresh in a file."""
    role, provider, file = (env[name] for name in _OIDC)
    role_source = _provider_source(
        f"the role {role}",
        "OIDCRoleArn",
        role_arn=role,
        oidc_provider_arn=provider,
        oidc_token_file_path=file,
        role_session_name=env.get("ALIBABA_CLOUD_ROLE_SESSION_NAME") or "mapred",
        sts_endpoint=env.get("ALIBABA_CLOUD_STS_ENDPOINT"),
        sts_region_id=env.get("ALIBABA_CLOUD_STS_REGION"),
        enable_vpc=_is_true(env, "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED"),
    )

    def ask() -> Any:
        if not os.access(file, os.R_OK):
            raise ValueError(f"{_OIDC[2]}={file} cannot be read")
        return role_source.ask()

    return replace(role_source, ask=ask)


def _is_true(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").lower() == "true"


def _reason(error: Exception) -> tuple[str, bool]:
    """Why a source gave nothing, and whether that may pass. Answers may repeat a token."""
    text = str(error)
    kind = type(error).__name__
    if kind == "RetryError":  # the text has the address that was asked, with the token in it
        return short_reason(error), True
    status = re.search(r"http_?code\s*[:=]\s*(\d{3})", text, re.I)
    if status:
        code = re.search(r'"Code"\s*:\s*"([\w.]+)"|<Code>([\w.]+)</Code>', text)
        named = f", {code[1] or code[2]}" if code else ""
        return f"status {status[1]}{named}", status[1] == "429" or status[1] >= "500"
    if kind == "CredentialException" or type(error) is ValueError:
        return text.partition(" result:")[0][:300], False
    return kind, False


def settings(env: Mapping[str, str] = os.environ) -> tuple[str, str, str]:
    """Endpoint, region, and how the bucket is named in requests."""
    endpoint = env.get("OSS_ENDPOINT") or env.get("ALIBABA_CLOUD_OSS_ENDPOINT")
    region = env.get("OSS_REGION", "").removeprefix("oss-") or None
    if not endpoint and region:
        endpoint = f"oss-{region}.aliyuncs.com"
    if not endpoint:
        raise StorageError(f"no endpoint; set {FROM_OUTSIDE}")
    secrecy.refuse_endpoint(endpoint, "OSS_ENDPOINT", StorageError)
    if "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    endpoint = endpoint.rstrip("/")
    region = region or region_of(endpoint)
    if region is None:
        raise StorageError(
            f"a signature names the region, which {endpoint} does not: set OSS_REGION"
        )
    style = env.get("OSS_ADDRESSING_STYLE") or "virtual"
    if style not in _STYLES:
        raise StorageError(f"OSS_ADDRESSING_STYLE={style!r}: there are {', '.join(_STYLES)}")
    return endpoint, region, style


def region_of(endpoint: str) -> str | None:
    """Return the region that an endpoint of OSS names."""
    host = urlsplit(endpoint).hostname or ""
    match = re.match(r"(?:s3\.)?oss-([a-z0-9-]+?)(?:-internal)?\.|([a-z0-9-]+)\.oss\.", host)
    region = (match[1] or match[2]) if match else None
    return None if region is None or region.startswith("accelerate") else region
