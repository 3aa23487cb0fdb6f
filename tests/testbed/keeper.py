"""Runs a command for as long as somebody holds a lock, then ends it.

`python keeper.py LOCK STATE COMMAND…`: whoever needs the server holds a shared lock on the
file LOCK, which the kernel gives back however its holder ends. When the last one is gone,
the command's process group is killed and the file STATE removed, so that the next one who
asks starts a new server. The keeper itself goes into the background and prints its id.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(lock: str, state: str, *command: str) -> int:
    pid = os.fork()
    if pid:
        print(pid)
        return 0
    os.setsid()
    os.dup2(2, 1)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    with open(lock) as file:
        while process.poll() is None:
            time.sleep(0.3)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        Path(state).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
