"""Which options of a file system a job may hold: those that are known to be harmless.

All others come by reference, `"$VARIABLE"`, which every process looks up in its environment, or
are said to be `mapred.public`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mapred.errors import DatasetError
from mapred.process.secrecy import Public, looks_secret

_REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
# Of every file system of fsspec, and of those that cache or unpack others.
_ALL = frozenset(
    "use_listings_cache listings_expiry_time max_paths skip_instance_cache asynchronous batch_size "
    "block_size blocksize default_block_size cache_type default_cache_type fill_cache "
    "default_fill_cache cache_storage cache_check check_files expiry_time same_names maxblocks "
    "target_protocol compression compresslevel mode allowZip64 timeout connect_timeout "
    "read_timeout retries max_concurrency version_aware encoding trim".split()
)
_S3 = frozenset(
    "anon endpoint_url region region_name profile requester_pays cache_regions use_ssl verify "
    "fixed_upload_size signature_version addressing_style max_attempts total_max_attempts "
    "max_pool_connections tcp_keepalive payload_signing_enabled use_accelerate_endpoint "
    "use_dualstack_endpoint us_east_1_regional_endpoint parameter_validation user_agent "
    "user_agent_extra request_checksum_calculation response_checksum_validation api_version "
    "RequestPayer ServerSideEncryption SSEKMSKeyId ACL StorageClass ContentType CacheControl "
    "ContentEncoding ContentLanguage ContentDisposition".split()
)
_OSS = frozenset(("endpoint", "region"))
_GCS = frozenset(
    "project access consistency requester_pays cache_timeout endpoint_url check_connection location "
    "default_location trust_env".split()
)
_AZURE = frozenset(
    "account_name account_host anon location_mode assume_container_exists connection_timeout "
    "tenant_id client_id use_emulator socket_timeout".split()
)
_HTTP = frozenset("same_scheme size_policy encoded simple_links ssl trust_env verify_ssl".split())
_SSH = frozenset(
    "host username port look_for_keys allow_agent compress key_filename banner_timeout "
    "auth_timeout temppath".split()
)
_HDFS = frozenset("host port user replication kerberos use_https use_ssl".split())
_HEADERS = frozenset(
    "accept accept-encoding accept-language cache-control range user-agent if-none-match "
    "if-modified-since".split()
)
_NAMES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("s3", "s3a"), _S3),
    "oss": _OSS,
    **dict.fromkeys(("gs", "gcs"), _GCS),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), _AZURE),
    **dict.fromkeys(("http", "https"), _HTTP),
    **dict.fromkeys(("sftp", "ssh"), _SSH),
    **dict.fromkeys(("hdfs", "webhdfs"), _HDFS),
    "ftp": frozenset("host port username tempdir tls".split()),
    "smb": frozenset("host port username share_access register_session_retries".split()),
    "github": frozenset("org repo sha".split()),
    **dict.fromkeys(("file", "local"), frozenset(("auto_mkdir",))),
}
# Mappings within the options, whose own names are checked.
_GROUPS = frozenset(
    "client_kwargs config_kwargs s3_additional_kwargs session_kwargs cache_options target_options s3 "
    "retries".split()
)
# What gcsfs accepts as a token, though it names a way to log in.
_METHODS = ("anon", "google_default", "cloud", "browser", "cache")
_KEYS = {
    "s3": {
        "key": "AWS_ACCESS_KEY_ID",
        "secret": "AWS_SECRET_ACCESS_KEY",
        "token": "AWS_SESSION_TOKEN",
    },
    "oss": {
        "key": "OSS_ACCESS_KEY_ID",
        "secret": "OSS_ACCESS_KEY_SECRET",
        "token": "OSS_SECURITY_TOKEN",
    },
    "gs": {"token": "GOOGLE_APPLICATION_CREDENTIALS"},
    "az": {
        "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
        "sas_token": "AZURE_STORAGE_SAS_TOKEN",
        "connection_string": "AZURE_STORAGE_CONNECTION_STRING",
        "client_secret": "AZURE_CLIENT_SECRET",
    },
}
_LIKE = {"s3a": "s3", "gcs": "gs", **dict.fromkeys(("abfs", "abfss", "adl"), "az")}


def find_refused(options: Mapping[str, Any], scheme: str) -> tuple[str, ...] | None:
    """Return the path of names to the first value that a job may not hold, if there is one."""
    for path, value in _leaves(options):
        if not _is_allowed(path, value, scheme.lower()):
            return path
    return None


def suggest_reference(path: tuple[str, ...], scheme: str) -> str:
    """Return `storage_options=` with the value at a path given by reference."""
    protocol = scheme.lower()
    name = _KEYS.get(_LIKE.get(protocol, protocol), {}).get(path[-1])
    if name is None:
        name = re.sub("[^A-Za-z0-9]+", "_", f"FSSPEC_{protocol}_{path[-1]}").upper().strip("_")
    line = repr(f"${name}")
    for name_above in reversed(path):
        line = f"{{{name_above!r}: {line}}}"
    return f"storage_options={line}"


def resolve_references(options: Any) -> Any:
    """Return the options with this process's values of the variables that they name."""
    if isinstance(options, Mapping):
        return {name: resolve_references(value) for name, value in options.items()}
    if isinstance(options, list):
        return [resolve_references(value) for value in options]
    if not isinstance(options, str) or not (match := _REFERENCE.fullmatch(options)):
        return options
    value = os.environ.get(match[1])
    if value is None:
        raise DatasetError(
            f"storage_options= names {options}, and there is no variable {match[1]} in this "
            "process: set it for the run and for its workers (on a cluster by "
            f"Resources(secrets={{{match[1]!r}: 'name-of-the-secret/key'}}))"
        )
    return value


def hide_values(text: str, options: Any) -> str:
    """Return a text without the values of the variables that the options name."""
    names = (
        match[1]
        for _, value in _leaves(options)
        if isinstance(value, str) and (match := _REFERENCE.fullmatch(value))
    )
    for value in filter(None, map(os.environ.get, names)):
        text = text.replace(value, "…")
    return text


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value


def _is_allowed(path: tuple[str, ...], value: Any, scheme: str) -> bool:
    # What JSON cannot hold is refused later, for that reason.
    if isinstance(value, bool | Public) or not isinstance(value, str | int | float):
        return True
    if isinstance(value, str):
        if not value or _REFERENCE.fullmatch(value):
            return True
        if looks_secret(value):
            return False
        if path == ("token",) and scheme in ("gs", "gcs"):
            return value in _METHODS
    *groups, name = path
    if groups and groups[-1] == "headers":
        return name.lower() in _HEADERS
    # In a chain such as simplecache::s3://…, the options of each protocol stand under its name.
    nested = [group for group in groups if group in _NAMES]
    names = _ALL | _NAMES.get(nested[-1] if nested else scheme, frozenset())
    chained = "::" in scheme or bool(nested)
    inside = all(group in _GROUPS or group in _NAMES or chained for group in groups)
    return inside and name in names
