"""Which answers of a store are refusals: the same asked again, by anybody, is refused again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mapred.errors import AccessError, StorageError
from mapred.storage import open_store
from mapred.storage.responses import ErrorResponse, error_from


@pytest.mark.parametrize(
    ("status", "code", "refused"),
    [
        (403, "SignatureDoesNotMatch", True),
        (403, "InvalidAccessKeyId", True),
        (403, "AccessDenied", True),
        (403, "", True),
        (401, "", True),
        # Another machine's clock may be right, and a new pod is given new keys.
        (403, "RequestTimeTooSkewed", False),
        (403, "SecurityTokenExpired", False),
        (403, "InvalidSecurityToken", False),
        (400, "ExpiredToken", False),
        (503, "SlowDown", False),
        (404, "NoSuchBucket", False),
        (None, "", False),
    ],
)
def test_what_an_answer_means(status: int | None, code: str, refused: bool) -> None:
    error = error_from("cannot read s3://b/x", ErrorResponse(status, code, "", ""), "do this")
    assert isinstance(error, StorageError)
    assert isinstance(error, AccessError) == refused


@pytest.mark.parametrize(
    ("number", "refused"),
    [(errno.EACCES, True), (errno.EPERM, True), (errno.EROFS, True), (errno.EIO, False)],
)
def test_what_a_file_system_means(
    number: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path))

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        store.write("file", b"")
    assert isinstance(caught.value, AccessError) == refused
