"""The client of an object store: settings, limits of time, and what to do about its errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from mapred.errors import MissingDependency, StorageError
from mapred.process import secrecy
from mapred.storage import aws
from mapred.storage.responses import ErrorResponse, error_from, general_hint, parse_error
from mapred.storage.retries import RetryPolicy, retry_policy
from mapred.storage.uris import StoreUri

NO_BUCKET = ("NoSuchBucket", "BucketNotFound", "ContainerNotFound")
_used = False
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = _forked or _used


os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class Clients:
    """The clients of one process: `once`, for puts, never repeats a request by itself."""

    process: int
    obstore: Any
    make: Callable[[int], Any]  # a client, with so many retries
    reading: Any
    policy: RetryPolicy
    endpoint: str
    secrets: tuple[str | None, ...] = field(repr=False)

    @cached_property
    def once(self) -> Any:
        """Created at the first put, since each client reads all certificates of the machine."""
        return self.make(0)


def connect(place: StoreUri) -> Clients:
    """Return the clients of this process for a place."""
    global _used
    try:
        import obstore
    except ImportError:
        raise MissingDependency("obstore", "s3") from None
    if _forked:
        raise StorageError(
            f"{place.uri}: this process was forked from one that had used an object store, and "
            "the client does not survive a fork: use backend='local', or a pool whose "
            "mp_context is multiprocessing.get_context('spawn')"
        )
    _used = True
    policy = retry_policy()
    try:
        make, endpoint, secrets = _maker(place.scheme, place.bucket, policy)
        reading = make(policy.tries - 1)
        return Clients(os.getpid(), obstore, make, reading, policy, endpoint, secrets)
    except StorageError:
        raise
    except Exception as error:
        answer = parse_error(str(error))
        raise error_from(f"{place.uri} cannot be set up", answer, "check the settings") from None


def _maker(
    scheme: str, bucket: str, policy: RetryPolicy
) -> tuple[Callable[[int], Any], str, tuple[str | None, ...]]:
    """Return how to make a client with so many retries, its endpoint, and the secrets to redact."""
    from obstore.store import AzureStore, GCSStore, S3Store

    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=min(5.0, policy.stall)),
        "read_timeout": timedelta(seconds=policy.stall),
        # For a whole answer, however large; the read timeout finds one that stalls.
        "timeout": timedelta(hours=6),
    }
    settings: dict[str, Any] = {}
    secrets = [os.environ.get(name) for name in _SECRETS]
    kind = {"gs": GCSStore, "az": AzureStore}.get(scheme)
    endpoint = os.environ.get(_SETTINGS[scheme][0]) or "the store's own endpoint"
    secrecy.refuse_endpoint(endpoint, _SETTINGS[scheme][0], StorageError)
    if scheme == "az" and endpoint.startswith("http://"):
        options["allow_http"] = True
    if kind is None:
        kind, s3 = S3Store, aws.s3_settings(bucket)
        endpoint = s3.endpoint
        settings["config"] = s3.config
        secrets += map(s3.config.get, ("secret_access_key", "session_token"))
        if s3.credentials is not None:
            settings["credential_provider"] = s3.credentials
        if s3.allow_http:
            options["allow_http"] = True

    def make(retries: int) -> Any:
        backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=4)}
        retry = {
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=policy.seconds),
            "backoff": {**backoff, "base": 2},
        }
        return kind(bucket, client_options=options, retry_config=retry, **settings)

    return make, endpoint, tuple(secrets)


def is_about_credentials(answer: ErrorResponse) -> bool:
    return "169.254.169.254" in answer.text or "/latest/api/token" in answer.text


# The variables of each service that name its endpoint, and what gives credentials.
_SETTINGS = {
    "s3": ("AWS_ENDPOINT_URL", aws.NO_CREDENTIALS),
    "gs": ("GOOGLE_BASE_URL", "set GOOGLE_APPLICATION_CREDENTIALS"),
    "az": (
        "AZURE_ENDPOINT",
        "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
    ),
}
_SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
)
_HINTS = {
    **dict.fromkeys(NO_BUCKET, "create the bucket, or name another one"),
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY or the profile",
    "ExpiredToken": "the session's credentials ended; renew them, then resume",
    "RequestTimeTooSkewed": "set this machine's clock{ahead}, then resume the run",
    "SlowDown": "the store is overloaded; resume the run later",
    "AuthorizationHeaderMalformed": "set AWS_REGION to the bucket's region",
    "PermanentRedirect": "set AWS_REGION to the bucket's region",
    "PreconditionFailed": "the object was replaced while it was read",
}


def hint_for(answer: ErrorResponse, scheme: str, endpoint: str) -> str:
    variable, credentials = _SETTINGS[scheme]
    if answer.code in _HINTS:
        return _HINTS[answer.code].format(ahead=answer.clock)
    if is_about_credentials(answer):
        return f"no credentials found; {credentials}"
    if answer.status is None:
        return (
            f"check that {endpoint} is the right endpoint ({variable}) and can be reached "
            "from here, then resume the run"
        )
    if answer.status in (301, 307):
        return _HINTS["PermanentRedirect"]
    return general_hint(answer)
