"""A home folder for one session, which looks like a person's in everything that is written down."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
SHOWN = "/home/ana"
MACHINE = "laptop"
_CUSTOMIZE = f"""
import os
_real = os.uname
os.uname = lambda: os.uname_result((_real()[0], {MACHINE!r}, *_real()[2:]))
"""


@dataclass(frozen=True)
class Home:
    """Its `folder` is as long as the name that is shown for it, so that columns stay in line."""

    folder: Path

    @property
    def work(self) -> Path:
        return self.folder / "project"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not _is_private(name)}
        return {
            **kept,
            "HOME": str(self.folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            # A kernel's workers do not see the first of these folders.
            "PYTHONPATH": os.pathsep.join(map(str, (self.work, self.folder / ".site", ROOT))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "IPYTHONDIR": str(self.folder / ".ipython"),
            "TMPDIR": str(self.folder / ".tmp"),
        }

    def shown(self, text: str) -> str:
        """The text without a name of this machine."""
        library = sysconfig.get_path("stdlib")
        names = {
            library: f"/usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}",
            sys.prefix: f"{SHOWN}/.venv",
            sys.base_prefix: "/usr",
            str(ROOT): f"{SHOWN}/mapred",
            str(self.folder / ".tmp"): "/tmp",
            str(self.folder): SHOWN,
        }
        for name, instead in names.items():
            text = text.replace(name, instead)
        return text


def _is_private(name: str) -> bool:
    """Whether a variable may lead a run elsewhere, or change what it shows."""
    return name.startswith(("AWS_", "OSS_", "ALIBABA_", "MAPRED_", "PYTEST_")) or name in (
        "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "VIRTUAL_ENV",
    )  # fmt: skip


@contextlib.contextmanager
def home() -> Iterator[Home]:
    """A new home with the project of a reader, who has the recipes and their sample data."""
    length = len(SHOWN) - len("/tmp/")
    folder = Path("/tmp", secrets.token_hex(length)[:length])
    folder.mkdir()
    try:
        made = Home(folder)
        (folder / ".site").mkdir()
        (folder / ".tmp").mkdir()
        (folder / ".site/sitecustomize.py").write_text(_CUSTOMIZE)
        shutil.copytree(RECIPES, made.work / "recipes")
        yield made
    finally:
        _end_children()
        shutil.rmtree(folder, ignore_errors=True)


def _end_children() -> None:
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
