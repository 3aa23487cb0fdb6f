"""Which files of a dataset are opened for someone who only looks at a run.

Paths and options lie in the run's folder, which others may have written. A name of an object
leads to the store that this side's environment says. Anything else, such as the host of a URL or
an endpoint among the options, could have credentials of this machine sent to its author.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from mapred.process.lazy import fsspec
from mapred.storage.base import is_local
from mapred.storage.opening import OBJECTS

# Schemes whose URIs name a bucket and a key, but no server.
_BUCKETS = {*OBJECTS, "s3a", "gcs"}
# Schemes whose URIs name the server, even where this process made the file system.
_SERVERS = {
    *("http", "https", "ftp", "ftps", "sftp", "ssh", "smb", "hdfs", "webhdfs", "webdav", "dav"),
    *("git", "github", "gitlab", "jupyter", "dbfs", "abfs", "abfss", "adl", "wasb", "wasbs"),
}
# Options that lead nowhere and read no file of this machine.
_HARMLESS = frozenset(
    "anon asynchronous default_block_size default_cache_type default_fill_cache listings_expiry_time "
    "max_paths requester_pays skip_instance_cache use_listings_cache use_ssl version_aware".split()
)
_ENDPOINTS = {
    **dict.fromkeys(("s3", "s3a"), ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
    "oss": ("OSS_ENDPOINT",),
}


def refusal(path: str, storage: Mapping[str, Any] | None) -> str | None:
    """Return why a viewer of a run does not open a file of its dataset; None where it does."""
    if is_local(path):
        return _of_local(path)
    scheme, _, rest = path.partition("://")
    if storage is not None and scheme not in _SERVERS and "::" not in path:
        from mapred.storage.fsspec_options import was_made_here

        if was_made_here(storage):
            return None
    if scheme not in _BUCKETS or "@" in rest.split("/")[0]:
        return "its URL names a server, and the run's record alone says so"
    if storage is None and scheme in OBJECTS:
        return None
    if storage is None:
        return f"it is read by fsspec's {scheme}, which was not given here"
    if storage.get("scheme") not in _BUCKETS:
        return f"the record has it read by fsspec's {storage.get('scheme')!r}"
    for name, value in _flat(storage.get("options") or {}):
        if name not in _HARMLESS and not _is_of_this_side(str(storage["scheme"]), name, value):
            return f"the record gives the option {name!r}, which is not set here"
    return None


def _of_local(path: str) -> str | None:
    try:
        status = os.stat(path)
    except OSError:
        return None  # Opening it gives the error.
    return None if stat.S_ISREG(status.st_mode) else "it is not a regular file"


def _is_of_this_side(scheme: str, name: str, value: Any) -> bool:
    """Whether this side's own settings give an option the same value."""
    if name in ("endpoint_url", "endpoint"):
        endpoints = (os.environ.get(variable) for variable in _ENDPOINTS.get(scheme, ()))
        if value == next(filter(None, endpoints), None):
            return True
    own = dict(_flat(fsspec.config.conf.get(scheme, {})))
    return name in own and own[name] == value


def _flat(options: Any) -> Iterator[tuple[str, Any]]:
    for name, value in options.items() if isinstance(options, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield str(name), value
