"""Azurite, Microsoft's own emulator of Azure Blob Storage, by Node.js."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
import urllib.error
import urllib.request
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from testbed.sharing import Plan, free_ports

VERSION = "3.35.0"
CACHE = Path.home() / ".cache/mapred-azurite" / VERSION
ACCOUNT, KEY = "mapred", base64.b64encode(b"mapredsecret0123456789").decode()


def plan(home: Path) -> Plan:
    """How to start one, which keeps everything in memory; the first time it is installed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js and npm, which install Azurite")
    program = CACHE / "node_modules/azurite/dist/src/blob/main.js"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", f"azurite@{VERSION}"]
        done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=400)
        if done.returncode:
            pytest.skip(f"npm cannot install azurite@{VERSION}: {done.stderr[-500:]}")
    (port,) = free_ports(1)
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    command = ["env", f"AZURITE_ACCOUNTS={ACCOUNT}:{KEY}", node, str(program), *options]
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    known = {"endpoint": endpoint, "account": ACCOUNT, "key": KEY}
    return [*command, "--blobPort", str(port)], known, endpoint


def make_container(known: dict[str, Any], name: str) -> None:
    """Make a container unless it is there: our own client cannot."""
    url = f"{known['endpoint']}/{name}?restype=container"
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    lines = ["PUT", *[""] * 11, *(f"{key}:{value}" for key, value in headers.items())]
    lines += [f"/{known['account']}{urlsplit(url).path}", "restype:container"]
    digest = hmac.digest(base64.b64decode(known["key"]), "\n".join(lines).encode(), hashlib.sha256)
    signature = f"SharedKey {known['account']}:{base64.b64encode(digest).decode()}"
    headers |= {"Authorization": signature, "Content-Length": "0"}
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 409:
            raise
