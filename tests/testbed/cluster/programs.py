"""The programs that are built with Go: into the cache, once for each change of their sources.

A program is put in place by a rename, so that one that runs keeps its file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from testbed.cluster.errors import ClusterError
from testbed.cluster.places import ARGO, BIN, CRDS, HERE, KUBERNETES, STAGES

SOURCES = HERE / "go"
MODULE = "github.com/argoproj/argo-workflows/v4"
ARGO_COMMIT = "0ab1452144d8f4d57c50b37ce50dad218868e950"
SERVERS = "etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl".split()
PROGRAMS = {
    "kubernetes": SERVERS,
    "argo": ["workflow-controller", "argoexec", "argo-lint"],
    "kwok": ["kwok"],
}
KWOK_STAGES = [
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-delete.yaml",
]
LIMIT = 3600.0  # seconds for the largest of them, on two cores that have other work


def missing() -> list[str]:
    """The modules whose programs have to be built."""
    return [name for name in BUILDERS if not _built(name)]


def build(say: Callable[[str], None]) -> None:
    """Builds what is missing; `say` is told of each module and of the seconds that it took."""
    for name in missing():
        say(f"building {name}, which takes minutes")
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mapred-cluster-") as folder:
            place = Path(folder) / name
            shutil.copytree(SOURCES / name, place)
            BUILDERS[name](place)
        _stamp(name).write_text(_digest(name))
        say(f"built {name} in {time.monotonic() - begin:.0f} s")


def _kubernetes(place: Path) -> None:
    # Without these the servers would call themselves v0.0.0-master.
    major, minor, _ = KUBERNETES.split(".")
    version = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    version |= {
        "gitTreeState": "clean",
        "gitCommit": "unknown",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    flags = {f"k8s.io/component-base/version.{key}": value for key, value in version.items()}
    flags["k8s.io/client-go/pkg/version.gitVersion"] = f"v{KUBERNETES}"
    _go_build(place, flags, kubernetes=".")
    for name in SERVERS:
        link = BIN / name
        if not link.is_symlink():
            link.symlink_to("kubernetes")


def _argo(place: Path) -> None:
    _go(place, "mod", "vendor")
    # A file of the executor is a link in Argo's repository, and a module carries no links.
    folder = place / "vendor" / MODULE / "workflow" / "executor" / "osspecific"
    replaced = {str(folder / "signal_linux.go"): str(folder / "signal_darwin.go")}
    (place / "overlay.json").write_text(json.dumps({"Replace": replaced}))
    version = {"version": f"v{ARGO}", "gitTag": f"v{ARGO}", "gitCommit": ARGO_COMMIT}
    flags = {f"{MODULE}.{key}": value for key, value in version.items()}
    flags[f"{MODULE}.gitTreeState"] = "clean"
    packages = {
        "workflow-controller": f"{MODULE}/cmd/workflow-controller",
        "argoexec": f"{MODULE}/cmd/argoexec",
        "argo-lint": "./lint",
    }
    _go_build(place, flags, "-mod=vendor", "-overlay=overlay.json", **packages)
    manifests = _module(place, MODULE) / "manifests" / "base" / "crds" / "full"
    _keep(CRDS, manifests.glob("argoproj.io_*.yaml"))


def _kwok(place: Path) -> None:
    _go_build(place, {}, kwok="sigs.k8s.io/kwok/cmd/kwok")
    stages = _module(place, "sigs.k8s.io/kwok") / "kustomize" / "stage"
    _keep(STAGES, [stages / name for name in KWOK_STAGES])


BUILDERS: dict[str, Callable[[Path], None]] = {
    "kubernetes": _kubernetes,
    "argo": _argo,
    "kwok": _kwok,
}


def _go_build(place: Path, flags: dict[str, str], *options: str, **packages: str) -> None:
    linker = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in flags.items())])
    BIN.mkdir(parents=True, exist_ok=True)
    for name, package in packages.items():
        new = BIN / f"{name}.new"
        _go(place, "build", "-trimpath", *options, f"-ldflags={linker}", "-o", str(new), package)
        os.replace(new, BIN / name)


def _module(place: Path, name: str) -> Path:
    """The folder of a module that the build has downloaded."""
    return Path(_go(place, "list", "-mod=mod", "-m", "-f", "{{.Dir}}", name).strip())


def _keep(folder: Path, files: Iterable[Path]) -> None:
    """Fills a folder of the cache anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)


def _go(place: Path, *words: str) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    done = subprocess.run(
        ["go", *words], cwd=place, env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    if done.returncode:
        raise ClusterError(f"go {words[0]} failed in {place.name}:\n{done.stderr[-4000:]}")
    return done.stdout


def _built(name: str) -> bool:
    stamp = _stamp(name)
    present = all((BIN / program).exists() for program in PROGRAMS[name])
    return present and stamp.exists() and stamp.read_text() == _digest(name)


def _stamp(name: str) -> Path:
    return BIN / f"{name}.built-from"


def _digest(name: str) -> str:
    """Of the sources, the pinned versions, and this file, which says how they are built."""
    found = hashlib.sha256(f"{KUBERNETES} {ARGO}".encode())
    for path in [Path(__file__), *sorted((SOURCES / name).rglob("*"))]:
        if path.is_file():
            found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()
