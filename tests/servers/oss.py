"""How the stand-in for OSS is started."""

from __future__ import annotations

import sys
from pathlib import Path

from servers import oss_gateway
from servers.sharing import Plan, free_ports


def plan(home: Path) -> Plan:
    """How to start one; it keeps everything in memory."""
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    known = {"endpoint": endpoint, "key": oss_gateway.KEY, "secret": oss_gateway.SECRET}
    return [sys.executable, oss_gateway.__file__, str(port)], known, endpoint
