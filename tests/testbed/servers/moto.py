"""moto as a second S3 server, in memory: its keys come in the order of their bytes, as on S3."""

from __future__ import annotations

import sys
import threading
import urllib.request
from pathlib import Path

from testbed.sharing import Plan, free_ports

KEY, SECRET = "mapredkey", "mapredsecret0123456789"
BUCKET = "runs"


def plan(home: Path) -> Plan:
    """How to start one; its bucket is there once it answers."""
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    known = {"endpoint": endpoint, "key": KEY, "secret": SECRET}
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from testbed.servers import moto; "
    command = [sys.executable, "-c", f"{code}moto.main(*sys.argv[1:])"]
    return [*command, str(Path(__file__).parents[2]), str(port)], known, endpoint


def main(port: str) -> None:
    from moto.server import ThreadedMotoServer

    ThreadedMotoServer("127.0.0.1", int(port)).start()
    put = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
    put.add_header("Host", f"127.0.0.1:{port}")
    urllib.request.urlopen(put).close()
    threading.Event().wait()
