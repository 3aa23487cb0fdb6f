"""The packages of pods whose image lacks them: resolved here, locked, kept beside the runs.

An archive is unpacked in each pod before its worker starts, so no pod needs a registry. It holds
mapred as it is here, what mapred needs in the versions that are here, and the packages that were
asked for, all resolved for the image's Python and platform.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mapred.backends.argo import locations
from mapred.backends.argo.settings import ArgoSettings
from mapred.errors import BackendError, MissingDependency, RecordError
from mapred.functions.versions import code_digest
from mapred.model import checksums, layout
from mapred.model.coding import encode
from mapred.process import secrecy
from mapred.runfolder import records
from mapred.storage import Store, open_store

_SECONDS = 900  # that the packages may take to arrive
# The extra of mapred that reads and writes a root of this scheme.
_EXTRAS = {"s3": "s3", "gs": "s3", "az": "s3", "oss": "oss"}
# Megabytes that only compilers and tests read.
_LEFT_OUT = (("pyarrow", "include"), ("pyarrow", "tests"), ("numpy", "tests"))


def packages_for(
    settings: ArgoSettings,
    uri: str,
    python: str,
    more: tuple[str, ...] = (),
    extras: tuple[str, ...] = (),
) -> str | None:
    """Return the digest of the archive that pods unpack; None where their image has everything.

    `more` are requirements beside `packages`, `extras` those of mapred.
    """
    if settings.image is not None and settings.packages is None:
        return None
    if locations.scheme_of(uri):
        locations.location(settings, uri, "packages")  # refused before they are resolved
    root = open_store(uri.rstrip("/").rpartition("/")[0])
    return store_packages(
        root,
        (*(settings.packages or ()), *more),
        extras=extras,
        python=python,
        platform=settings.platform,
        scheme=locations.scheme_of(uri),
    )


def store_packages(
    root: Store,
    wanted: tuple[str, ...],
    *,
    python: str,
    platform: str,
    scheme: str,
    extras: tuple[str, ...] = (),
) -> str:
    """Return the SHA-256 of the archive with these requirements, put into `root` unless it is
    there.

    `python` is a minor version such as `3.11`, `platform` as uv names it, `extras` those of mapred
    beside the one that reaches a root of `scheme`. Raises `BackendError`
    where the requirements cannot be met.
    """
    chosen = (*extras, *filter(None, [_EXTRAS.get(scheme)]))
    lock = _compile_lock(wanted, python, platform, chosen)
    key = hashlib.sha256(f"{lock}\n{python}\n{platform}\n{code_digest()}".encode()).hexdigest()
    known = _find_archive(root, key)
    if known is not None:
        return known
    with tempfile.TemporaryDirectory(prefix="mapred-packages-") as folder:
        tree, archive = Path(folder, "tree"), Path(folder, "packages.tar")
        _install(lock, tree, python, platform)
        _pack(tree, archive)
        with archive.open("rb") as file:
            _, digest = checksums.sha256_of_file(file)
        root.put_file(archive, layout.packages(digest))
    root.write(layout.lock(key), encode(_Lock(digest, lock)))
    return digest


@dataclass(frozen=True)
class _Lock:
    """The SHA-256 of an archive, and the requirements that it was made of."""

    packages: str
    lock: str = ""


def _find_archive(root: Store, key: str) -> str | None:
    """Return the archive that was made of this lock before, if it is still there."""
    try:
        digest = records.read(root, layout.lock(key), _Lock).packages
        if not re.fullmatch("[0-9a-f]{64}", digest):
            return None
        root.read(layout.packages(digest), 0, 1)
    except (FileNotFoundError, RecordError):
        return None
    return digest


def _compile_lock(
    wanted: tuple[str, ...], python: str, platform: str, extras: tuple[str, ...]
) -> str:
    """Exact versions of everything, as a requirements file."""
    own = list(_own_requirements(extras))
    known = {name: _public(version) for name, version in _iter_installed([*own, *wanted])}
    out = ruled_out(wanted, known)
    here = "\n".join(f"{n}=={version}" for n, version in known.items() if n not in out and version)
    with tempfile.TemporaryDirectory(prefix="mapred-lock-") as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text(here)
        return _uv(
            "pip", "compile", "-", "--no-header", "--no-annotate", "--quiet",
            "--constraints", str(constraints), *_target(python, platform),
            stdin="\n".join([*own, *wanted]),
            what=f"packages {', '.join(wanted) or 'of mapred'} cannot be resolved for Python "
            f"{python} on {platform}",
        )  # fmt: skip


def _install(lock: str, tree: Path, python: str, platform: str) -> None:
    with tempfile.TemporaryDirectory(prefix="mapred-lock-") as folder:
        file = Path(folder, "requirements.txt")
        file.write_text(lock)
        _uv(
            "pip", "install", "--quiet", "--no-deps", "--target", str(tree),
            "--requirements", str(file), *_target(python, platform),
            what=f"packages cannot be fetched for Python {python} on {platform}",
        )  # fmt: skip
    for parts in _LEFT_OUT:
        shutil.rmtree(tree.joinpath(*parts), ignore_errors=True)
    shutil.rmtree(tree / "bin", ignore_errors=True)
    own = Path(layout.__file__).parents[1]
    shutil.copytree(own, tree / "mapred", ignore=shutil.ignore_patterns("__pycache__"))
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        # A pod is new each time: without this each would compile all that it imports.
        compiling = [sys.executable, "-m", "compileall", "-qq", "-j", "0", "-s", str(tree)]
        # Files of other Pythons may lie among those of a package: they stay uncompiled.
        compiling += ["--invalidation-mode", "unchecked-hash", str(tree)]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(compiling, check=False, timeout=_SECONDS)


def _pack(tree: Path, archive: Path) -> None:
    """Write a tar whose bytes depend on nothing but its files."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(tree.rglob("*")):
            tar.add(path, str(path.relative_to(tree)), recursive=False, filter=plain)


def _target(python: str, platform: str) -> tuple[str, ...]:
    return (
        "--python-version", python, "--python-platform", platform, "--only-binary", ":all:",
    )  # fmt: skip


def _uv(*words: str, what: str, stdin: str | None = None) -> str:
    """Return what uv prints; its last lines as the error where it fails."""
    program = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if program is None:
        raise MissingDependency("uv", "argo")
    # Certificates that the system trusts count too, as with pip.
    environment = {"UV_SYSTEM_CERTS": "true", **os.environ, "UV_NO_PROGRESS": "1"}
    try:
        done = subprocess.run(
            [program, *words], check=False, input=stdin, capture_output=True, text=True,
            timeout=_SECONDS, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BackendError(f"{what}: uv took more than {_SECONDS} s") from None
    if done.returncode:
        raise BackendError(f"{what}: {secrecy.redact_urls(done.stderr.strip()[-2000:])}")
    return done.stdout


def _own_requirements(extras: tuple[str, ...]) -> Iterator[str]:
    """Yield what mapred needs in a worker, by its own metadata."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires("mapred") or ():
        needed = Requirement(text)
        marker = needed.marker
        if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
            needed.marker = None
            yield str(needed)


def _iter_installed(requirements: list[str]) -> Iterator[tuple[str, str]]:
    """Names and versions, as they are here, of requirements."""
    for text in requirements:
        name = _plain_name(text)
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def ruled_out(wanted: tuple[str, ...], known: Mapping[str, str | None]) -> set[str]:
    """Return the packages of which requirements do not allow the version that is known."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    versions = {str(canonicalize_name(name)): (name, known[name]) for name in known}
    found = set()
    for text in wanted:
        name, version = versions.get(_plain_name(text), (None, None))
        if not name or not version:
            continue
        asked = Requirement(text)
        if asked.url or not asked.specifier.contains(version, prereleases=True):
            found.add(name)
    return found


def _public(version: str) -> str | None:
    """Return a version as an index has it; None for one that was made on this machine."""
    from packaging.version import Version

    parsed = Version(version)
    return None if parsed.is_devrelease else parsed.public


def _plain_name(requirement: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        return str(canonicalize_name(Requirement(requirement).name))
    except InvalidRequirement as error:
        raise BackendError(f"packages: {requirement!r} is not a requirement: {error}") from None
