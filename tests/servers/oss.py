"""How the stand-in for OSS is started."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servers import oss_signatures
from servers.sharing import Plan, answers, free_ports


def plan(home: Path, clock: float = 0) -> Plan:
    """How to start one, whose clock may be ahead; it keeps everything in memory."""
    port, platform = free_ports(2)
    endpoint = f"http://127.0.0.1:{port}"
    known = {"endpoint": endpoint, "key": oss_signatures.KEY, "secret": oss_signatures.SECRET}
    known["region"] = oss_signatures.REGION
    known["platform"] = f"http://127.0.0.1:{platform}"
    # Started by its name, it would not find its neighbours.
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from servers import oss_gateway; "
    command = [sys.executable, "-c", f"{code}oss_gateway.main(*sys.argv[1:])"]
    folder = str(Path(__file__).parent.parent)
    return [*command, folder, str(port), str(platform), str(clock)], known, endpoint


@contextlib.contextmanager
def started(home: Path, clock: float) -> Iterator[dict[str, Any]]:
    """One of the test's own."""
    command, known, url = plan(home, clock)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        assert answers(url, process.pid, seconds=40)
        yield known
    finally:
        process.kill()
        process.wait()
