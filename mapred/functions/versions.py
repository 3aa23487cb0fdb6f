"""Versions of packages where a run was made, against those where its tasks run.

A pickled function names what it needs of a package, and finds there what that version has.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mapred import _version
from mapred._version import __version__
from mapred.errors import FunctionError
from mapred.model.spec import Job
from mapred.process.lazy import metadata


@dataclass(frozen=True)
class Difference:
    """A package whose version is `here` where the run was made; None: it is not `there` at all."""

    package: str
    here: str
    there: str | None

    @property
    def small(self) -> bool:
        """Whether only the patch differs; another release of mapred is never small."""
        return self.package != "mapred" and alike(self.here, self.there)


def alike(one: str, other: str | None) -> bool:
    """Whether two versions agree in major and minor."""
    return other is not None and one.split(".")[:2] == other.split(".")[:2]


def base(version: str) -> str:
    """Return the release that a version belongs to: `0.2.0` of `0.2.0.post1.dev3+g1a2b3c4`."""
    release = re.match(r"\d+(\.\d+)*", version)
    return release[0] if release else version


def same_release(one: str, other: str | None) -> bool:
    """Whether two versions of mapred may work on one run: no commit after a release changes that."""
    return other is not None and base(one) == base(other)


def code_digest() -> str:
    """Return the SHA-256 of mapred's own files, the same for each build of the same code."""
    digest = hashlib.sha256()
    folder = Path(_version.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        name = str(path.relative_to(folder))
        # Each commit makes another version; the release that it belongs to stays.
        content = base(__version__).encode() if name == "_version.py" else path.read_bytes()
        digest.update(f"{name}\0".encode() + content)
    return digest.hexdigest()


def check(job: Job) -> None:
    """Compare what this process has with what the job expects, patches in a warning alone.

    Raises `FunctionError` with a table of all that differ.
    """
    pairs = differences({"mapred": job.mapred, **job.packages}) if job.packages else []
    large = [pair for pair in pairs if not pair.small]
    if large:
        raise FunctionError(_table(large))
    if pairs:
        text = ", ".join(f"{pair.package} {pair.there} for {pair.here}" for pair in pairs)
        logging.getLogger("mapred").warning("the image has other patch releases: %s", text)


def differences(expected: Mapping[str, str]) -> list[Difference]:
    """Return the packages of which this process has another version than expected, or none."""
    pairs = [Difference(name, version, _installed(name)) for name, version in expected.items()]
    return [pair for pair in pairs if not _same(pair)]


def _same(pair: Difference) -> bool:
    if pair.package == "mapred":
        return same_release(pair.here, pair.there)
    return _plain(pair.here) == _plain(pair.there)


def _installed(package: str) -> str | None:
    if package == "mapred":
        return __version__  # it may be there without metadata
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plain(version: str | None) -> str | None:
    """Return a version without the mark of a build, such as `+cu121`."""
    return version and version.partition("+")[0]


def _table(wrong: list[Difference]) -> str:
    rows = [("package", "submitted with", "in the image")]
    rows += [(pair.package, pair.here, pair.there or "none") for pair in wrong]
    sizes = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  " + "  ".join(map(str.ljust, row, sizes)).rstrip() for row in rows]
    wanted = [f"{pair.package}=={_plain(pair.here)}" for pair in wrong if pair.package != "mapred"]
    return "\n".join(
        [
            "the image does not have the packages that the function was made with:",
            *lines,
            f"have pods unpack them: mapred.Argo(packages={wanted}), or build the image with them",
        ]
    )
