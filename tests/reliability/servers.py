"""An S3 server of the reliability trials, and a proxy in front of it."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.faults.proxy import Proxy, proxy
from testbed.servers import seaweed
from testbed.sharing import shared

from reliability.trials import Scene

_known: dict[str, Any] = {}


@contextlib.contextmanager
def server(folder: Path) -> Iterator[None]:
    """A SeaweedFS for all trials of a process."""
    with shared(folder, "seaweed", seaweed.plan) as known:
        _known.update(known)
        try:
            yield
        finally:
            _known.clear()


@contextlib.contextmanager
def behind_proxy(scene: Scene) -> Iterator[Proxy]:
    """Have the trial's root be on the server, reached by a proxy while the attack lasts."""
    with proxy(scene.folder, _known["endpoint"]) as found:
        scene.env |= {
            "AWS_ACCESS_KEY_ID": _known["key"],
            "AWS_SECRET_ACCESS_KEY": _known["secret"],
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_ENDPOINT_URL": found.endpoint,
        }
        scene.root = f"s3://runs/{uuid.uuid4().hex[:12]}"
        yield found
    scene.env["AWS_ENDPOINT_URL"] = _known["endpoint"]
