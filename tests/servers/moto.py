"""moto as an S3 server whose keys come in byte order, as those of S3 do."""

from __future__ import annotations

import sys
from pathlib import Path

from servers.sharing import Plan, free_ports


def plan(home: Path) -> Plan:
    """How to start one; it keeps everything in memory and checks no signature."""
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return (
        command,
        {"endpoint": endpoint, "key": "key", "secret": "secret"},
        f"{endpoint}/moto-api/",
    )
