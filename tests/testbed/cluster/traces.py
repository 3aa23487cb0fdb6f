"""What the cluster leaves on this machine outside its own folders, and how that is undone."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from testbed.cluster import processes
from testbed.cluster.places import BEFORE, SOCKET, STATE

# The kubelet sets the last three; all get their old values back.
KERNEL = ("net.ipv4.ip_forward", "vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops")
# Where containerd, its plugins and the kubelet write whatever their settings say.
FOLDERS = (
    "/run/containerd /run/netns /usr/libexec/kubernetes /var/lib/cni /var/lib/kubelet "
    "/var/log/containers"
).split()


def remember() -> None:
    """Writes down how the machine is, unless a cluster has been started since."""
    if BEFORE.exists():
        return
    values = {name: _setting(name).read_text() for name in KERNEL}
    absent = [folder for folder in FOLDERS if not Path(folder).exists()]
    BEFORE.write_text(json.dumps({"kernel": values, "absent": absent}))


def undo() -> None:
    """Of a cluster whose own processes have ended."""
    for pid in _shims():
        processes.end(pid)
    for place in reversed(_mounts()):
        processes.run("umount", "--lazy", place, check=False)
    for link in Path("/var/log/containers").glob("*.log"):
        if os.readlink(link).startswith(str(STATE)):
            link.unlink()
    if BEFORE.exists():
        before = json.loads(BEFORE.read_text())
        for name, value in before["kernel"].items():
            _setting(name).write_text(value)
        for folder in before["absent"]:
            _prune(Path(folder))
        for top in [*Path("/sys/fs/cgroup").glob("*/kubepods"), Path("/sys/fs/cgroup/kubepods")]:
            _prune(top)
        BEFORE.unlink()


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def _shims() -> list[int]:
    """The children of containerd, which outlive it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and str(SOCKET).encode() in words:
                found.append(int(folder.name))
    return found


def _mounts() -> list[str]:
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [place for place in places if place.startswith(f"{STATE}/")]


def _prune(top: Path) -> None:
    """Removes empty folders and sockets; what holds a file or a process is not ours, and stays."""
    for folder, _, names in os.walk(top, topdown=False):
        for path in (Path(folder, name) for name in names):
            if path.is_socket():
                path.unlink()
        with contextlib.suppress(OSError):
            os.rmdir(folder)
