"""A real NFS 4.2 mount, where the kernel at hand has none: a Linux in user mode serves itself.

It boots as an ordinary process with the host's files as its own, read-only, so that this very
Python and its packages run in there. It has one processor and is slow: for the semantics of a
mount, not for its speed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

PACKAGES = {
    "linux.uml": "user-mode-linux",
    "exportfs": "nfs-kernel-server",
    "mount.nfs4": "nfs-common",
    "modprobe": "kmod",
    "mkfs.ext4": "e2fsprogs",
}
MOUNT, SERVED = "/mnt/nas", "/mnt/server"  # in there: the mount, and what the server serves
INIT = Path(__file__).with_name("nfs_init.sh")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    folder: Path, command: list[str], environment: Mapping[str, str], seconds: float
) -> tuple[int, str]:
    """The exit status and the output of a command in there, on a fresh disk.

    Skips the test where this machine cannot boot one; `subprocess.TimeoutExpired` when the
    command took more than so many seconds.
    """
    _install()
    disk, job, output = folder / "disk.img", folder / "job.sh", folder / "output.txt"
    with disk.open("wb") as file:
        file.truncate(512 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True, env={"PATH": _PATH})
    settings = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    job.write_text("\n".join([*settings, f"cd {shlex.quote(os.getcwd())}", shlex.join(command)]))
    kernel = ["linux.uml", "mem=700M", f"uml_dir={folder}", f"ubdb={disk}"]
    kernel += ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"]
    kernel += ["con=null", "con0=null,fd:1", "con1=null,fd:1", "ssl=null"]
    kernel += [f"init={INIT}", f"JOB={job}"]
    with output.open("wb") as file:
        process = subprocess.Popen(
            kernel,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PATH": _PATH, "TMPDIR": str(folder)},
        )
    try:
        process.wait(seconds)
    finally:
        for kill in (os.killpg, os.kill):
            try:
                kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()
        disk.unlink()
    text = output.read_text(errors="replace")
    status = re.search(r"^mapred-nfs: status (\d+)", text, re.MULTILINE)
    if status is None or status[1] == "125":
        pytest.skip(f"needs a user-mode Linux that serves NFS; this one says:\n{text[-2000:]}")
    return int(status[1]), text


def _install() -> None:
    """Have every program, from the distribution's own packages where this user may."""
    missing = [name for name in PACKAGES if shutil.which(name, path=_PATH) is None]
    if not missing:
        return
    packages = [PACKAGES[name] for name in missing]
    if os.geteuid() or shutil.which("apt-get") is None:
        pytest.skip(f"needs {', '.join(packages)}, and root to install them by apt-get")
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "-y", "-qq"]
    install += ["--no-install-recommends", "install", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for commands in ([install], [["apt-get", "-qq", "update"], install]):
        done = [
            subprocess.run(c, capture_output=True, text=True, timeout=300, env=environment)
            for c in commands
        ]
        if not done[-1].returncode:
            return
    pytest.skip(f"apt-get cannot install {', '.join(packages)}: {done[-1].stderr[-500:]}")
