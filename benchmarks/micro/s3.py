"""A real S3 server on this machine, that of the tests, and how clients reach it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Server:
    """A SeaweedFS: what it tells its users, and their environment."""

    facts: Mapping[str, Any]
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.facts["endpoint"],
            "AWS_ACCESS_KEY_ID": self.facts["key"],
            "AWS_SECRET_ACCESS_KEY": self.facts["secret"],
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def fill(self, bucket: str, names: list[str]) -> None:
        """Make a bucket with many objects at once."""
        from testbed.servers import seaweed

        _client(self.environment).create_bucket(Bucket=bucket)
        seaweed.fill(self.facts, self.folder, bucket, names)


@contextmanager
def server(home: Path) -> Iterator[Server]:
    from testbed import sharing
    from testbed.servers import seaweed

    folder = home / "s3" / uuid.uuid4().hex[:8]
    folder.mkdir(parents=True)
    with sharing.shared(folder, "seaweed", seaweed.plan) as facts:
        yield Server(facts, folder)


@contextmanager
def bucket(environment: Mapping[str, str]) -> Iterator[tuple[Any, str]]:
    """boto3's client and a new bucket, which is deleted afterwards with all that is in it."""
    client, name = _client(environment), f"bench-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=name)
    try:
        yield client, name
    finally:
        client.delete_bucket(Bucket=name)
        client.close()


def _client(environment: Mapping[str, str]) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
