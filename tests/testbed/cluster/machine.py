"""What this machine must be and have before it can run a cluster."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from pathlib import Path

from testbed.cluster.errors import CannotHaveCluster, ClusterError
from testbed.cluster.processes import run

GO = (1, 26)
# package -> what it is needed for (a program, or a file)
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "iproute2": "ip",
    "busybox-static": "busybox",
    "openssl": "openssl",
}


def prepare(build: bool) -> None:
    """Installs the packages that are missing; `build` asks for Go as well.

    Raises CannotHaveCluster where this machine can never run one as it is.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise CannotHaveCluster(f"the cluster needs Linux on x86_64, not {platform.platform()}")
    if os.geteuid():
        raise CannotHaveCluster("the cluster needs root: it makes network and mount namespaces")
    if build:
        _check_go()
    missing = [package for package, needed in PACKAGES.items() if not _present(needed)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise CannotHaveCluster(f"install what the cluster needs: {', '.join(missing)}")
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    install = [*environment, "apt-get", "install", "--yes", "--no-install-recommends", *missing]
    try:
        run("apt-get", "update", seconds=300)
        run(*install, seconds=600)
    except ClusterError as error:
        raise CannotHaveCluster(f"packages cannot be installed: {error}") from None


def _present(needed: str) -> bool:
    if needed == "busybox":  # a dynamic one would not start in an image of its own
        path = shutil.which("busybox")
        return path is not None and b"ld-linux" not in Path(path).read_bytes()[:4096]
    return Path(needed).exists() if needed.startswith("/") else shutil.which(needed) is not None


def _check_go() -> None:
    text = run("go", "version").stdout if shutil.which("go") else ""
    found = re.search(r"go(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < GO:
        raise CannotHaveCluster(
            f"to build the cluster takes Go {GO[0]}.{GO[1]} or newer, and here is "
            f"{text.strip() or 'none'}"
        )
