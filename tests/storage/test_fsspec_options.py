"""A file system of a record leads to no server, and to no class that fsspec does not know."""

from __future__ import annotations

from typing import Any

import pytest

from mapred.errors import MapredError
from mapred.storage import fsspec_options, looking

S3 = {"class": "", "scheme": "s3", "options": {}}


@pytest.mark.parametrize(
    ("path", "storage", "says"),
    [
        ("s3://bucket/key", None, None),
        ("s3://bucket/key", {**S3, "options": {"anon": True}}, None),
        ("s3://bucket/key", {**S3, "options": {"endpoint_url": "http://mine"}}, None),
        ("s3://bucket/key", {**S3, "options": {"endpoint_url": "http://theirs"}}, "endpoint_url"),
        (
            "s3://bucket/key",
            {**S3, "options": {"client_kwargs": {"endpoint_url": "x"}}},
            "endpoint",
        ),
        ("s3://bucket/key", {**S3, "options": {"profile": "x"}}, "profile"),
        ("s3://bucket/key", {**S3, "scheme": "reference"}, "reference"),
        ("s3://me@host/key", None, "names a server"),
        ("http://host/x", None, "names a server"),
        ("sftp://host/x", {**S3, "scheme": "sftp"}, "names a server"),
        ("simplecache::http://host/x", None, "names a server"),
        ("git://host/x", None, "names a server"),
        ("gcs://bucket/key", None, "was not given here"),
        ("/dev/zero", None, "not a regular file"),
        (__file__, None, None),
    ],
)
def test_a_record_leads_to_no_server(
    path: str, storage: Any, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://mine")
    found = looking.refusal(path, storage)
    assert found is None if says is None else says in str(found)


@pytest.mark.slow
def test_what_was_handed_over_here_is_used() -> None:
    pytest.importorskip("s3fs")
    options = {"endpoint_url": "http://handed-over"}
    made = fsspec_options.record(None, options, "s3")
    assert looking.refusal("s3://bucket/key", made) is None
    # What was meant for one server is not for each that a record names.
    headers = fsspec_options.record(None, {"timeout": 3}, "https")
    assert "names a server" in str(looking.refusal("https://theirs/key", headers))
    assert "names a server" in str(looking.refusal("simplecache::https://theirs/key", made))


@pytest.mark.parametrize(
    "where", ["subprocess:Popen", "os:system", "mapred.client.run_handle:Run", "no:X"]
)
def test_a_class_is_one_that_fsspec_knows(where: str) -> None:
    storage = {"class": where, "scheme": "memory", "options": {}}
    with pytest.raises(MapredError, match="not one that fsspec knows"):
        fsspec_options.filesystem_of(storage, "memory://x")
    with pytest.raises((MapredError, ImportError)):
        fsspec_options.admit(storage)
    known = {**storage, "class": "fsspec.implementations.memory:MemoryFileSystem"}
    assert fsspec_options.filesystem_of(known, "memory://x")[1] == "/x"
