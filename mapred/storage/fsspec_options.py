"""A user's own file system of fsspec, as a record that travels in the job and holds no secret.

Workers make the file system again from the record. It holds what `allowed` knows to be harmless;
all else comes from the environment or the profile of each process.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mapred.errors import DatasetError, MissingDependency
from mapred.process import private, secrecy
from mapred.process.lazy import fsspec
from mapred.storage import allowed, ossfs

_EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "oss": ("ossfs", "oss")}
_S3 = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile (AWS_PROFILE)"
_AZURE = "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and …_KEY or …_SAS_TOKEN"
_VARIABLES = {
    **dict.fromkeys(("s3", "s3a"), _S3),
    "oss": "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET (and OSS_SECURITY_TOKEN)",
    **dict.fromkeys(("gs", "gcs"), "GOOGLE_APPLICATION_CREDENTIALS"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), _AZURE),
}
_OSS = {
    "endpoint": "OSS_ENDPOINT",
    "key": "OSS_ACCESS_KEY_ID",
    "secret": "OSS_ACCESS_KEY_SECRET",
    "token": "OSS_SECURITY_TOKEN",
}

# What was handed over in this process: the classes of file systems, and records as JSON.
_handed: dict[str, type] = {}
_made: set[str] = set()


def record(filesystem: Any, storage_options: Any, scheme: str) -> dict[str, Any] | None:
    """Return how workers make the file system that a user chose; None if the user chose none.

    `class` is where it is imported from (empty for the one of the URI's scheme), `options` its
    arguments. Raises `DatasetError` for an option that is a credential or cannot travel.
    """
    if filesystem is None and storage_options is None:
        return None
    if filesystem is not None and storage_options is not None:
        raise DatasetError("filesystem= and storage_options= are alternatives: pass one of them")
    if filesystem is None:
        if not isinstance(storage_options, Mapping):
            raise DatasetError("storage_options= must be a mapping of names to values")
        if not scheme:
            raise DatasetError("storage_options= are for URIs with a scheme, such as s3://")
        options, where, what = dict(storage_options), "", "storage_options="
    else:
        where, options, scheme = _describe(filesystem)
        what = f"the {type(filesystem).__name__}"
    _refuse_secrets(options, what, scheme)
    try:
        made = {"class": where, "scheme": scheme, "options": json.loads(json.dumps(options))}
        _made.add(json.dumps(made, sort_keys=True))
        return made
    except (TypeError, ValueError):
        odd = next((n for n, value in options.items() if not _is_plain(value)), "")
        raise DatasetError(
            f"{what}: {odd!r} is a {type(options.get(odd)).__name__}, which cannot travel to the "
            "workers; use options that JSON can hold"
        ) from None


def was_made_here(storage: Mapping[str, Any]) -> bool:
    """Whether a record is of a file system that was handed over in this process."""
    return json.dumps(storage, sort_keys=True, default=str) in _made


def filesystem_of(storage: Mapping[str, Any] | None, uri: str) -> tuple[Any, str]:
    """Return the file system of a URI, by its record or by the scheme, and the path in it."""
    scheme = uri.partition("://")[0] if "://" in uri else ""
    options = allowed.resolve_references(storage["options"]) if storage else {}
    try:
        if scheme == "oss" or (storage and storage["scheme"] == "oss"):
            options = {**_oss_environment(), **options}
        kind = _class(storage["class"], storage["scheme"]) if storage else None
        if kind is None and scheme == "oss":
            kind = fsspec.get_filesystem_class("oss")
        if kind is not None:
            filesystem = (ossfs.signing(kind) if ossfs.is_kind(kind) else kind)(**options)
            return filesystem, private.strip_protocol(filesystem, uri)
        filesystem, path = fsspec.core.url_to_fs(uri, **options)
        return filesystem, path
    except ImportError as error:
        if scheme in _EXTRAS:
            raise MissingDependency(*_EXTRAS[scheme]) from error
        raise DatasetError(f"{uri}: {error}") from error
    except (TypeError, ValueError) as error:
        reason = allowed.hide_values(str(error), storage["options"] if storage else {})
        raise DatasetError(f"{uri}: the file system cannot be made: {reason}") from None


def _describe(filesystem: Any) -> tuple[str, dict[str, Any], str]:
    if not isinstance(filesystem, fsspec.AbstractFileSystem):
        raise DatasetError(
            f"filesystem={type(filesystem).__name__} is not a file system of fsspec; pass one, or "
            "storage_options="
        )
    kind = type(filesystem)
    where = _where(kind)
    if kind.__module__ == "__main__" or "<" in where:
        raise DatasetError(f"{kind.__qualname__} cannot be imported by workers; put it in a module")
    _hand_over(kind)
    protocols = [kind.protocol] if isinstance(kind.protocol, str) else list(kind.protocol)
    # The class itself has the signature of what caches its instances.
    names = list(inspect.signature(kind.__init__).parameters)[1:]
    options = dict(zip(names, filesystem.storage_args, strict=False))
    # Left out, since workers have fsspec settings of their own.
    configured = {name: v for p in protocols for name, v in fsspec.config.conf.get(p, {}).items()}
    own = {
        name: value
        for name, value in filesystem.storage_options.items()
        if not (name in configured and configured[name] == value)
    }
    return where, {**options, **own}, protocols[0]


def _refuse_secrets(options: Mapping[str, Any], what: str, scheme: str) -> None:
    path = allowed.find_refused(options, scheme)
    if path is not None:
        name = f"FSSPEC_{scheme}_{path[-1]}".upper().replace("-", "_")
        raise DatasetError(
            f"{what}: {path[-1]!r} may be a credential, and a job is written to the run's folder; "
            f"give a variable of the run and its workers, {allowed.suggest_reference(path, scheme)}, or "
            f"leave it out and set {_VARIABLES.get(scheme) or name}; if everyone may see "
            "it, write mapred.public('…')"
        )


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _class(where: str, scheme: str) -> Any:
    """Return the class that a record names, if it is registered or was handed over here.

    Someone else may have written the record, so nothing is imported because it says so.
    """
    if not where:
        return None
    if where in _handed:
        return _handed[where]
    try:
        kind: Any = fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError):
        kind = None
    if kind is None or _where(kind) != where:
        raise DatasetError(
            f"the file system {where} is not one that fsspec knows here as {scheme!r}; if you "
            f"trust it, make it known: fsspec.register_implementation({scheme!r}, …)"
        )
    return kind


def admit(storage: Mapping[str, Any]) -> None:
    """Import the class that a record names, in a process that runs the code of its run anyway."""
    where = storage["class"]
    if not where or where in _handed:
        return
    with suppress(DatasetError):
        _hand_over(_class(where, storage["scheme"]))
        return
    module, _, name = where.partition(":")
    kind: Any = importlib.import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part)
    if not (isinstance(kind, type) and issubclass(kind, fsspec.AbstractFileSystem)):
        raise DatasetError(f"{where} is not a file system of fsspec")
    _hand_over(kind)


def _hand_over(kind: type) -> None:
    _handed[_where(kind)] = kind


def _where(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _oss_environment() -> dict[str, str]:
    """Return the arguments of ossfs, which reads no key from the environment by itself."""
    options = {option: os.environ[name] for option, name in _OSS.items() if os.environ.get(name)}
    secrecy.refuse_endpoint(options.get("endpoint", ""), "OSS_ENDPOINT", DatasetError)
    return options
