"""What the environment and the AWS files say of S3: endpoint, region, style, credentials.

Read in the order that AWS's own tools use: the environment, then the profile that
`AWS_PROFILE` names in the credentials and the config file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mapred.errors import StorageError
from mapred.process import secrecy

_LOGINS = ("role_arn", "sso_session", "sso_start_url", "credential_process")
_OWN = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI")


@dataclass(frozen=True)
class S3Settings:
    """The arguments of a client; `credentials` gives fresh ones where they expire."""

    config: dict[str, Any]
    allow_http: bool
    credentials: Callable[[], Mapping[str, Any]] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        return str(self.config.get("endpoint") or "the endpoint of its region")


def s3_settings(bucket: str) -> S3Settings:
    """Return the settings for a client of `bucket`."""
    env = os.environ
    name, profile = _profile(env)
    config: dict[str, Any] = {"disable_bulk_delete": True}
    config["region"] = (
        env.get("AWS_REGION")
        or env.get("AWS_DEFAULT_REGION")
        or profile.get("region")
        or "us-east-1"
    )
    credentials = None
    if _is_true(env.get("AWS_SKIP_SIGNATURE")):
        config["skip_signature"] = True
    elif not any(env.get(variable) for variable in _OWN):
        if profile.get("aws_access_key_id") and not profile.get("role_arn"):
            config["access_key_id"] = profile["aws_access_key_id"]
            config["secret_access_key"] = profile.get("aws_secret_access_key", "")
            if profile.get("aws_session_token"):
                config["session_token"] = profile["aws_session_token"]
        elif any(profile.get(login) for login in _LOGINS):
            credentials = _login(name)
        elif _is_true(env.get("AWS_EC2_METADATA_DISABLED")) and not env.get(
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
        ):
            raise StorageError(f"s3://{bucket}: no credentials found; {NO_CREDENTIALS}")
    endpoint = (
        env.get("AWS_ENDPOINT_URL_S3")
        or env.get("AWS_ENDPOINT_URL")
        or env.get("AWS_ENDPOINT")
        or profile.get("s3.endpoint_url")
        or profile.get("endpoint_url")
    )
    if endpoint:
        what = f"the endpoint of s3://{bucket} (AWS_ENDPOINT_URL, or endpoint_url of the profile)"
        secrecy.refuse_endpoint(endpoint, what, StorageError)
        style = env.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST")
        virtual = _is_true(style) if style else _is_virtual(endpoint, profile)
        if virtual:
            # The client wants the bucket in the endpoint; without it, listings come back empty.
            endpoint = _with_bucket(endpoint, bucket)
        # By both names: the client would prefer the second one's value from the environment.
        config["endpoint"] = config["aws_endpoint_url_s3"] = endpoint
        config["virtual_hosted_style_request"] = virtual
    return S3Settings(config, (endpoint or "").startswith("http://"), credentials)


NO_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
    "AWS_SKIP_SIGNATURE=true reads a public bucket without any"
)


def _is_virtual(endpoint: str, profile: Mapping[str, str]) -> bool:
    host = urlsplit(endpoint).hostname or ""
    # Alibaba's own S3 interface refuses the path style.
    return profile.get("s3.addressing_style") == "virtual" or host.endswith(".aliyuncs.com")


def _with_bucket(endpoint: str, bucket: str) -> str:
    parts = urlsplit(endpoint)
    if parts.netloc.startswith(f"{bucket}."):
        return endpoint
    return urlunsplit(parts._replace(netloc=f"{bucket}.{parts.netloc}"))


def _is_true(text: str | None) -> bool:
    return (text or "").lower() in ("1", "true", "yes", "on")


def _profile(env: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the chosen profile's name and settings; nested sections become `s3.name`."""
    chosen = env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE")
    name = chosen or "default"
    home = Path(env.get("HOME") or "~").expanduser()
    config = _parse_settings(env.get("AWS_CONFIG_FILE") or home / ".aws/config")
    secrets = _parse_settings(env.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials")
    section = name if name == "default" else f"profile {name}"
    settings = {**config.get(section, {}), **secrets.get(name, {})}
    if chosen and not settings:
        raise StorageError(f"AWS_PROFILE={chosen!r}: there is no such profile in the AWS files")
    services = config.get(f"services {settings.get('services')}", {})
    for service in (services.get("s3"), settings.get("s3")):
        for line in (service or "").splitlines():
            key, equals, value = line.partition("=")
            if equals:
                settings[f"s3.{key.strip()}"] = value.strip()
    return name, settings


def _parse_settings(path: str | Path) -> dict[str, dict[str, str]]:
    file = Path(path).expanduser()
    if not os.path.exists(file):
        return {}
    import configparser  # only here: pods have no such files, and each of them starts with this

    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeError):
        raise StorageError(f"{path} cannot be read as an AWS settings file") from None
    return {section: dict(parser[section]) for section in parser.sections()}


def _login(profile: str) -> Callable[[], Mapping[str, Any]]:
    """Return how to get credentials of a profile that logs in (role, single sign-on, program)."""
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError:
        raise StorageError(
            f"the AWS profile {profile!r} logs in, which needs botocore: pip install botocore, or "
            "export temporary keys into the environment (aws configure export-credentials)"
        ) from None
    session = botocore.session.Session(profile=profile)

    def fresh() -> Mapping[str, Any]:
        try:
            credentials = session.get_credentials()
            frozen = credentials.get_frozen_credentials() if credentials else None
        except botocore.exceptions.BotoCoreError as error:
            raise StorageError(f"the AWS profile {profile!r} cannot log in: {error}") from None
        if frozen is None:
            raise StorageError(f"the AWS profile {profile!r} gives no credentials")
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            # The client asks again five minutes before the end, which is in ten seconds: botocore
            # knows the true end, and renews the credentials.
            "expires_at": datetime.now(timezone.utc) + timedelta(minutes=5, seconds=10),
        }

    return fresh
