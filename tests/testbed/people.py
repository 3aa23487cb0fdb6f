"""Users of this machine, invented: each works in processes of their own. Needs to be root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TEAM = 54_300
ALICE, BOB, EVE = 54_301, 54_302, 54_303  # the first two are of the team
PACKAGE = Path(__file__).parents[2]

# Where this Python lies in a folder that is closed to others, such as root's home, a namespace of
# mounts shows it, and nothing else of that folder.
_SHOW = """
mask=$(umask) && umask 022 &&
mount --bind "$1" "$3" && mount -t tmpfs -o mode=755 tmpfs "$2" && mkdir -p "$1" &&
mount --move "$3" "$1" && shift 3 && umask "$mask" && exec "$@"
"""


@contextmanager
def office() -> Iterator[Path]:
    """A folder that all users may enter, with a home for each."""
    folder = Path(tempfile.mkdtemp(prefix="office-"))
    try:
        folder.chmod(0o755)
        (folder / "python").mkdir()
        for user in (ALICE, BOB, EVE):
            home = folder / f"{user}"
            home.mkdir(mode=0o700)
            os.chown(home, user, user)
        yield folder
    finally:
        shutil.rmtree(folder)


def team_root(office: Path, mode: int = 0o2770, owner: int = ALICE) -> Path:
    """A root of the team's group."""
    root = office / "runs"
    root.mkdir()
    os.chown(root, owner, TEAM)
    root.chmod(mode)
    return root


@dataclass(frozen=True)
class User:
    """One of them, with the umask of their shell."""

    office: Path
    number: int
    umask: int = 0o022

    def does(self, script: str, *words: object, fails: bool = False) -> str:
        """What a script prints; its standard error where it is to fail."""
        done = self.starts(["-c", textwrap.dedent(script), *map(str, words)])
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def types(self, *words: object) -> subprocess.CompletedProcess[str]:
        """A command of mapred."""
        return self.starts(["-m", "mapred", *map(str, words)])

    def starts(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """A Python."""
        home = self.office / f"{self.number}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAPRED", "XDG"))}
        return subprocess.run(
            [*self.become(), sys.executable, *words],
            umask=self.umask,
            cwd=home,
            env={**kept, "HOME": str(home), "PYTHONPATH": str(PACKAGE)},
            capture_output=True,
            text=True,
            timeout=100,
        )

    def become(self) -> list[str]:
        """What a command begins with that is this user's."""
        groups = "--clear-groups" if self.number == EVE else f"--groups={TEAM}"
        become = ["setpriv", f"--reuid={self.number}", f"--regid={self.number}", groups, "--"]
        return [*_shown(self.office / "python"), *become]


def _shown(spare: Path) -> list[str]:
    """What a command begins with that another user can start this Python by."""
    python = os.path.realpath(sys.base_prefix)
    way = [os.path.realpath(sys.executable), python]
    closed = [
        str(folder)
        for each in way
        for folder in reversed(Path(each).parents)
        if not os.stat(folder).st_mode & 0o001
    ]
    if not closed:
        return []
    begin = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SHOW, "sh"]
    return [*begin, python, closed[0], str(spare)]


def missing() -> str | None:
    """Why there can be no other users here; None where there can."""
    if os.geteuid():
        return "needs to be root, to try things out as other users"
    if shutil.which("setpriv") is None:
        return "needs setpriv"
    with office() as folder:
        tried = User(folder, BOB).starts(["-c", ""])
    return None if not tried.returncode else f"cannot be another user: {tried.stderr.strip()}"
