"""Layers of images, as tar files in the cache, made from what this machine has.

The base is Debian's busybox with the C libraries of this machine, a Python is an interpreter of
this machine at /usr/local, and the rest lies on top of those. Each file is named after a digest of
what it was made from, so that a change makes a new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from testbed.cluster.errors import ClusterError
from testbed.cluster.places import BIN, LAYERS, PROJECT
from testbed.cluster.processes import run

LOADER = "/lib64/ld-linux-x86-64.so.2"
# What wheels and programs expect of any Linux, wherever the machine keeps it.
COMMON = "libc libm libdl libpthread librt libutil libresolv libnss_files libgcc_s libstdc++ libz"
USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
# The certificates that the system trusts, as the Makefile's uv.
UV = [sys.executable, "-m", "uv", "--system-certs"]
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "__pycache__"}
PROBE = """
import json, sys, sysconfig
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2], "full": sys.version,
    "stdlib": sysconfig.get_path("stdlib"), "program": sys.executable,
}))
"""


def base() -> Path:
    """A shell, a user database, certificates, and the C and C++ libraries."""
    busybox = Path(shutil.which("busybox") or "busybox")
    libraries = [path for path in map(_library, COMMON.split()) if path is not None]
    key = [*map(_identity, [busybox, *libraries]), USERS, GROUPS]
    return _layer("base", key, lambda tree: _base(tree, busybox, libraries))


def _base(tree: Path, busybox: Path, libraries: list[Path]) -> None:
    for name in "bin tmp root proc sys dev etc/ssl/certs home usr/local/bin".split():
        (tree / name).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
    shutil.copy(busybox, tree / "bin" / "busybox")
    for name in run(busybox, "--list").stdout.split():
        if name != "busybox":
            (tree / "bin" / name).symlink_to("busybox")
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr" / "bin" / "env").symlink_to("/bin/busybox")
    (tree / "etc" / "passwd").write_text(USERS)
    (tree / "etc" / "group").write_text(GROUPS)
    (tree / "etc" / "nsswitch.conf").write_text("hosts: files dns\n")
    if AUTHORITIES.exists():
        shutil.copy(AUTHORITIES, tree / str(AUTHORITIES)[1:])
    for library in libraries:
        _place(tree, library)
    _place(tree, Path(LOADER))


def program(name: str) -> Path:
    """One program that was built with Go, on the search path."""
    path = BIN / name
    return _layer(name, [_identity(path)], lambda tree: _program(tree, path))


def _program(tree: Path, path: Path) -> None:
    (tree / "usr" / "local" / "bin").mkdir(parents=True)
    shutil.copy(path, tree / "usr" / "local" / "bin")


def this_python() -> str:
    """The interpreter that runs this, below its virtual environment."""
    return str(
        Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    )


def other_python() -> str | None:
    """An interpreter of another minor version, if this machine has one that starts."""
    own = version(this_python())
    for minor in range(13, 9, -1):
        name = f"3.{minor}"
        versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
        for path in [shutil.which(f"python{name}"), *versions.glob(f"{name}.*/bin/python")]:
            if name != own and path and not run(path, "-c", PROBE, check=False).returncode:
                return str(path)
    return None


def version(executable: str) -> str:
    """Its major and minor version."""
    return _probe(executable)["version"]


@cache
def _probe(executable: str) -> dict[str, str]:
    known: dict[str, str] = json.loads(run(executable, "-I", "-c", PROBE).stdout)
    return known


def python(executable: str) -> Path:
    """A stock Python: the interpreter, its standard library and pip, and nothing else."""
    known = _probe(executable)
    key = [known["full"], _identity(Path(known["program"]))]
    return _layer(f"python{known['version']}", key, lambda tree: _python(tree, known))


def _python(tree: Path, known: dict[str, str]) -> None:
    name = f"python{known['version']}"
    library = tree / "usr" / "local" / "lib" / name
    programs = tree / "usr" / "local" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(Path(known["program"]).resolve(), programs / name)
    for link in ("python3", "python"):
        (programs / link).symlink_to(name)
    left_out = shutil.ignore_patterns(
        *LEFT_OUT,
        "site-packages",
        "dist-packages",
        "config-*",
        "_test*.so",
        "_tkinter*",
        "sitecustomize.py",
    )
    shutil.copytree(known["stdlib"], library, ignore=left_out, ignore_dangling_symlinks=True)
    site = library / "site-packages"
    site.mkdir()
    for wheel in (library / "ensurepip" / "_bundled").glob("pip-*.whl"):
        zipfile.ZipFile(wheel).extractall(site)
        _script(programs / "pip", "pip._internal.cli.main")
    for binary in [programs / name, *library.rglob("*.so")]:
        for needed in _needed(binary, Path(known["stdlib"])):
            _place(tree, needed)
    _compile(known["program"], library)


def packages(say: Callable[[str], None]) -> Path:
    """Everything that the Dockerfile installs beside mapred, in the locked versions."""
    lock = PROJECT / "requirements-dev.lock"
    wanted = PROJECT / "pyproject.toml"
    extras = _extras()
    key = [lock.read_text(), *_dependencies(wanted), *extras, _probe(this_python())["full"]]

    def fill(tree: Path) -> None:
        say(f"installing mapred's packages for {', '.join(extras)}")
        options = [word for extra in extras for word in ("--extra", extra)]
        run(*UV, "pip", "install", "--quiet", "--python", sys.executable, "--target", _site(tree),
            "--constraints", lock, "--requirements", wanted, *options, seconds=900)  # fmt: skip
        shutil.rmtree(_site(tree) / "bin", ignore_errors=True)
        _compile(this_python(), _site(tree))

    return _layer(f"packages{version(this_python())}", key, fill)


def mapred() -> Path:
    """This checkout's mapred as its wheel installs it, its command, and a user who may do little."""
    sources = [PROJECT / "pyproject.toml", *sorted((PROJECT / "mapred").rglob("*"))]
    files = [path for path in sources if path.is_file() and path.suffix != ".pyc"]
    key = [f"{path.relative_to(PROJECT)} {path.read_bytes()!r}" for path in files]
    return _layer(f"mapred{version(this_python())}", key, _mapred)


def _mapred(tree: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
        run(*wheel, PROJECT, seconds=300)
        (made,) = Path(folder).glob("*.whl")
        _site(tree).mkdir(parents=True)
        zipfile.ZipFile(made).extractall(_site(tree))
    programs = tree / "usr" / "local" / "bin"
    programs.mkdir()
    _script(programs / "mapred", "mapred.cli")
    home = tree / "home" / "mapred"
    home.mkdir(parents=True)
    os.chown(home, 10001, 10001)
    (tree / "etc").mkdir()
    (tree / "etc" / "passwd").write_text(USERS + "mapred:x:10001:10001::/home/mapred:/bin/sh\n")
    (tree / "etc" / "group").write_text(GROUPS + "mapred:x:10001:\n")
    _compile(this_python(), _site(tree))


def _extras() -> list[str]:
    """Those of mapred that the Dockerfile names."""
    found = re.search(r"\[([a-z0-9,]+)\]", (PROJECT / "Dockerfile").read_text())
    if found is None:
        raise ClusterError("the Dockerfile names no extras of mapred")
    return found[1].split(",")


def _dependencies(pyproject: Path) -> list[str]:
    """The part of pyproject.toml that says what mapred needs: another part changes no layer."""
    text = pyproject.read_text()
    parts = re.findall(
        r"^dependencies = \[.*?^\]|^\[project\.optional.*?(?=^\[)", text, re.M | re.S
    )
    return list(map(str, parts))


def _site(tree: Path) -> Path:
    return tree / "usr" / "local" / "lib" / f"python{version(this_python())}" / "site-packages"


def _script(path: Path, module: str) -> None:
    path.write_text(f"#!/usr/local/bin/python3\nfrom {module} import main\n\nmain()\n")
    path.chmod(0o755)


def _compile(executable: str, folder: Path) -> None:
    """Bytecode, as a pod whose user may not write there could not keep it."""
    words = ["-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder]
    run(executable, *words, seconds=600, check=False)  # templates among the sources do not compile


def _library(name: str) -> Path | None:
    """Where the loader of this machine finds a library, by the cache that `ldconfig` keeps."""
    listed = run("/sbin/ldconfig", "-p").stdout
    found = re.search(rf"^\s+{re.escape(name)}\.so\.\d+ \(.*x86-64.*\) => (\S+)$", listed, re.M)
    return Path(found[1]) if found else None


def _needed(binary: Path, origin: Path) -> Iterable[Path]:
    """The shared libraries that a binary loads; `origin` is where its Python was installed."""
    searched = {**os.environ, "LD_LIBRARY_PATH": str(origin.parent)}
    done = subprocess.run(["ldd", binary], capture_output=True, text=True, env=searched, timeout=60)
    return [Path(path) for path in re.findall(r"=> (/\S+)", done.stdout)]


def _place(tree: Path, library: Path) -> None:
    """Copies a library to where the loader looks without being told."""
    folder = library.parent if library.parent.parts[1] in ("lib", "lib64", "usr") else None
    folder = folder if folder and "local" not in folder.parts else _library_folder()
    target = tree / str(folder)[1:] / library.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(library.resolve(), target)


@cache
def _library_folder() -> Path:
    found = _library("libc")
    if found is None:
        raise ClusterError("ldconfig knows no C library")
    return found.parent


def _identity(path: Path) -> str:
    """Changes whenever the file does."""
    about = path.resolve().stat()
    return f"{path} {about.st_size} {about.st_mtime_ns}"


def _layer(name: str, key: Iterable[str], fill: Callable[[Path], None]) -> Path:
    """The layer that `fill` makes in an empty folder, unless the cache has one of this key."""
    recipe = Path(__file__).read_text()
    digest = hashlib.sha256("\0".join([recipe, *key]).encode()).hexdigest()[:12]
    layer = LAYERS / f"{name}-{digest}.tar"
    if layer.exists():
        return layer
    LAYERS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LAYERS) as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        fill(tree)
        new = Path(folder) / "new.tar"
        with tarfile.open(new, "w") as archive:
            for path in sorted(tree.iterdir()):
                archive.add(path, path.name, filter=_plain)
        for old in LAYERS.glob(f"{name}-*"):
            old.unlink()
        new.rename(layer)
    return layer


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same layer from the same files, whoever made it and when."""
    entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry
