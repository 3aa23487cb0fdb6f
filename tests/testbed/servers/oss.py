"""How the stand-in for OSS is started."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.servers import oss_signatures
from testbed.sharing import Plan, free_ports, running


def plan(home: Path, clock: float = 0, certificate: Path | None = None) -> Plan:
    """How to start one, whose clock may be ahead; it keeps everything in memory.

    With a certificate, and its key in the same file, it serves by TLS too.
    """
    port, platform, tls = free_ports(3)
    endpoint = f"http://127.0.0.1:{port}"
    known = {"endpoint": endpoint, "key": oss_signatures.KEY, "secret": oss_signatures.SECRET}
    known["region"] = oss_signatures.REGION
    known["platform"] = f"http://127.0.0.1:{platform}"
    # Started by its name, it would not find its neighbours.
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from testbed.servers import oss_gateway; "
    )
    command = [sys.executable, "-c", f"{code}oss_gateway.main(*sys.argv[1:])"]
    folder = str(Path(__file__).parents[2])
    command += [folder, str(port), str(platform), str(clock)]
    if certificate is not None:
        command += [str(tls), str(certificate)]
        known["tls"] = str(tls)
    return command, known, endpoint


@contextlib.contextmanager
def started(
    home: Path, clock: float = 0, certificate: Path | None = None
) -> Iterator[dict[str, Any]]:
    """One of the test's own."""
    command, known, url = plan(home, clock, certificate)
    with running(home, (command, known, url)):
        yield known


# As OSS has them; a pod finds them by its list of hosts.
DOMAIN = f"oss-{oss_signatures.REGION}.aliyuncs.com"
HOSTS = (f"runs.{DOMAIN}", f"s3.{DOMAIN}", f"runs.s3.{DOMAIN}")


def certificate(folder: Path) -> Path:
    """A certificate of those hosts, its own authority, and its key in one file."""
    file, key = folder / "oss.pem", folder / "oss.key"
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
    made += ["-subj", "/CN=oss", "-addext", f"subjectAltName={names}"]
    subprocess.run([*made, "-keyout", key, "-out", file], check=True, capture_output=True)
    (folder / "ca.crt").write_text(file.read_text())
    file.write_text(key.read_text() + file.read_text())
    return file
