"""Write the version into each wheel. A checkout keeps the file that it has."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "mapred/_version.py"


class VersionFile(BuildHookInterface):
    """The wheel's `_version.py` has the version of its metadata in place of the checkout's."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        lines = Path(self.root, FILE).read_text().splitlines()
        *rest, last = lines
        assert last.startswith("__version__ = "), f"{FILE} ends with {last!r}"
        self.folder = tempfile.TemporaryDirectory(prefix="mapred-build-")
        written = Path(self.folder.name, "_version.py")
        written.write_text("\n".join([*rest, f'__version__ = "{self.metadata.version}"', ""]))
        build_data["force_include"][str(written)] = FILE
