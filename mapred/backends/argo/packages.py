"""The packages of pods whose image lacks them: resolved here, locked, kept beside the runs.

An archive is unpacked in each pod before its worker starts, so no pod needs a registry. It holds
mapred as it is here, its dependencies in the versions that are here, and the packages of the
settings, all resolved for the image's Python and platform.
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

_SECONDS = 900  # that uv, or the compiler, may take
# The extra of mapred that reads and writes a root of this scheme.
_EXTRAS = {"s3": "s3", "gs": "s3", "az": "s3", "oss": "oss"}
# What no worker reads.
_LEFT_OUT = ("pyarrow/include", "pyarrow/tests", "numpy/tests", "bin")


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
    """Store an archive with these requirements in `root`, unless it is there; return its SHA-256.

    `python` is a minor version such as `3.11`, `platform` as uv names it, `extras` those of mapred
    beside the one that reaches a root of `scheme`. Raises `BackendError` where the requirements
    cannot be met.
    """
    if scheme in _EXTRAS:
        extras = (*extras, _EXTRAS[scheme])
    lock = _compile_lock(wanted, python, platform, extras)
    key = hashlib.sha256(f"{lock}\n{python}\n{platform}\n{code_digest()}".encode()).hexdigest()
    stored = _find_archive(root, key)
    if stored is not None:
        return stored
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
    """The SHA-256 of an archive, and the requirements that it was made from."""

    packages: str
    lock: str = ""


def _find_archive(root: Store, key: str) -> str | None:
    """Return the archive that was made from this lock before, if it is still there."""
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
    """Return exact versions of everything, as a requirements file."""
    requirements = [*_own_requirements(extras), *wanted]
    installed = dict(_iter_installed(requirements))
    excluded = ruled_out(wanted, installed)
    pins = [f"{name}=={version}" for name, version in installed.items() if name not in excluded]
    names = ", ".join(wanted) or "of mapred"
    with tempfile.TemporaryDirectory(prefix="mapred-lock-") as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(pins))
        return _uv(
            "pip", "compile", "-", "--no-header", "--no-annotate", "--quiet",
            "--constraints", str(constraints), *_target(python, platform),
            stdin="\n".join(requirements),
            what=f"packages {names} cannot be resolved for Python {python} on {platform}",
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
    for path in _LEFT_OUT:
        shutil.rmtree(tree / path, ignore_errors=True)
    own = Path(layout.__file__).parents[1]
    shutil.copytree(own, tree / "mapred", ignore=shutil.ignore_patterns("__pycache__"))
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        # A pod is new each time, and without this each would compile all that it imports. Files
        # for other Pythons may lie among those of a package: they stay uncompiled.
        command = [sys.executable, "-m", "compileall", "-qq", "-j", "0", "-s", str(tree)]
        command += ["--invalidation-mode", "unchecked-hash", str(tree)]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, check=False, timeout=_SECONDS)


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
    place = ("--python-version", python, "--python-platform", platform)
    return (*place, "--only-binary", ":all:")


def _uv(*words: str, what: str, stdin: str | None = None) -> str:
    """Run uv and return its output; a failure is an error with its last lines."""
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
    """Yield the dependencies of mapred in a worker, from its own metadata."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires("mapred") or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
            requirement.marker = None
            yield str(requirement)


def _iter_installed(requirements: list[str]) -> Iterator[tuple[str, str]]:
    """Yield names and versions of what is installed here, but for versions that no index has."""
    from packaging.version import Version

    for text in requirements:
        name = _plain_name(text)
        try:
            version = Version(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
        if not version.is_devrelease:  # made on this machine
            yield name, version.public


def ruled_out(wanted: tuple[str, ...], installed: Mapping[str, str]) -> set[str]:
    """Return the installed packages whose versions the requirements do not allow."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    names = {str(canonicalize_name(name)): name for name in installed}
    excluded = set()
    for text in wanted:
        name = names.get(_plain_name(text))
        if name is None or not installed[name]:
            continue
        requirement = Requirement(text)
        if requirement.url or not requirement.specifier.contains(installed[name], prereleases=True):
            excluded.add(name)
    return excluded


def _plain_name(requirement: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        return str(canonicalize_name(Requirement(requirement).name))
    except InvalidRequirement as error:
        raise BackendError(f"packages: {requirement!r} is not a requirement: {error}") from None
