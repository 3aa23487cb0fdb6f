"""Programs that outlive the command that starts them: started once, known and ended by their id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from testbed.cluster.errors import ClusterError
from testbed.cluster.places import LOGS, PIDS


def run(
    *command: object, stdin: str | None = None, seconds: float = 60, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """A command that ends within `seconds`. Raises ClusterError with what it wrote."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(words)} did not end within {seconds:.0f} s") from None
    except FileNotFoundError:
        raise ClusterError(f"{words[0]} is not installed") from None
    if check and done.returncode:
        output = (done.stderr or done.stdout).strip()[-2000:]
        raise ClusterError(f"{' '.join(words)} failed with {done.returncode}:\n{output}")
    return done


def wait_until(ready: Callable[[], bool], what: str, seconds: float, log: str = "") -> None:
    """Raises ClusterError, with the end of the log of the process `log`, after `seconds`."""
    limit = time.monotonic() + seconds
    while not ready():
        if log and running(log) is None:
            raise ClusterError(f"{log} ended before {what}:\n{_tail(log)}")
        if time.monotonic() > limit:
            raise ClusterError(f"no {what} within {seconds:.0f} s\n{_tail(log)}")
        time.sleep(0.1)


def start(name: str, command: Sequence[object], env: Mapping[str, str] | None = None) -> None:
    """Starts the program unless it runs."""
    if running(name) is not None:
        return
    for folder in (LOGS, PIDS):
        folder.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=PIDS.parent,
            start_new_session=True,
        )
    record = {"pid": process.pid, "born": _born(process.pid)}
    (PIDS / f"{name}.json").write_text(json.dumps(record))


def running(name: str) -> int | None:
    """The id of the program, if it runs: an id that another process has by now does not count."""
    try:
        record = json.loads((PIDS / f"{name}.json").read_text())
    except FileNotFoundError:
        return None
    born = _born(record["pid"])
    return record["pid"] if born is not None and born == record["born"] else None


def stop(name: str, patience: float = 20) -> None:
    """Ends the program: politely at first, by force after `patience` seconds."""
    pid = running(name)
    if pid is not None:
        end(pid, patience)
    (PIDS / f"{name}.json").unlink(missing_ok=True)


def end(pid: int, patience: float = 20) -> None:
    """Ends the process of this id."""
    born = _born(pid)
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if _born(pid) != born:
                return
            time.sleep(0.05)
    raise ClusterError(f"the process {pid} cannot be ended")


def names() -> list[str]:
    """The programs that were started and not stopped."""
    return sorted(path.stem for path in PIDS.glob("*.json"))


def _born(pid: int) -> int | None:
    """When the process began, in the kernel's ticks; None when it is over."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _tail(log: str) -> str:
    path = LOGS / f"{log}.log"
    return path.read_text(errors="replace")[-3000:] if log and path.exists() else ""
