"""The images on the cluster, put together without a registry or Docker.

An image is a list of layers, which are tar files in the cache, named after what they were made
of; it streams into containerd as a Docker archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster import layers
from cluster.errors import ClusterError
from cluster.places import ARGO, IMPORTED, SOCKET

SEARCH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PAUSE = "mapred.test/pause:1"
BUSYBOX = "docker.io/library/busybox:1.35"
CONTROLLER = f"quay.io/argoproj/workflow-controller:v{ARGO}"
EXECUTOR = f"quay.io/argoproj/argoexec:v{ARGO}"
CTR = ["ctr", "--address", str(SOCKET), "--namespace", "k8s.io"]


@dataclass(frozen=True)
class Image:
    """What `docker build` would make; `layers` lie in the cache, the lowest first."""

    name: str
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    user: str = ""
    folder: str = "/"


@dataclass(frozen=True)
class Names:
    """What tests write into manifests; `other_python` is of another minor version, if any."""

    busybox: str
    python: str
    mapred: str
    other_python: str | None


def build(say: Callable[[str], None]) -> tuple[list[Image], Names]:
    """All images, and the names of those for tests; makes the layers that are missing."""
    base, own = layers.base(), layers.python(layers.this_python())
    packages, mapred = layers.packages(say), layers.mapred()
    tag = mapred.stem.rpartition("-")[2]
    user = f"mapred.test/mapred:{tag}"
    found = [
        Image(PAUSE, (base,), command=("sleep", "2147483647")),
        Image(BUSYBOX, (base,), command=("sh",)),
        _argo(CONTROLLER, "workflow-controller", base),
        _argo(EXECUTOR, "argoexec", base),
        _python(layers.this_python(), base, own),
        Image(
            user,
            (base, own, packages, mapred),
            command=("mapred", "--help"),
            user="10001",
            folder="/home/mapred",
        ),
    ]
    other = layers.other_python()
    if other is not None:
        found.append(_python(other, base, layers.python(other)))
    python = found[4].name
    return found, Names(BUSYBOX, python, user, found[-1].name if other is not None else None)


def load(image: Image) -> None:
    """Hands the image to containerd unless it has it."""
    digests = json.loads(IMPORTED.read_text()) if IMPORTED.exists() else {}
    config = _config(image)
    digest = hashlib.sha256(config).hexdigest()
    if digests.get(image.name) == digest:
        return
    process = subprocess.Popen(
        [*CTR, "images", "import", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        with process.stdin as stream:
            _archive(image, config, stream)
    except BrokenPipeError:
        pass  # it says why below
    error = process.stderr.read().decode(errors="replace")
    if process.wait(timeout=120):
        raise ClusterError(f"containerd does not take the image {image.name}: {error[-2000:]}")
    IMPORTED.write_text(json.dumps(digests | {image.name: digest}))


def _argo(name: str, program: str, base: Path) -> Image:
    return Image(name, (base, layers.program(program)), entrypoint=(program,))


def _python(executable: str, base: Path, layer: Path) -> Image:
    version = layers.version(executable)
    name = f"docker.io/library/python:{version}-slim"
    return Image(name, (base, layer), command=("python3",), environment=("LANG=C.UTF-8",))


def _config(image: Image) -> bytes:
    settings = {
        "Env": [SEARCH, *image.environment],
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.command),
        "User": image.user,
        "WorkingDir": image.folder,
    }
    diffs = [f"sha256:{digest}" for digest in _digests(image)]
    about = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": diffs},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "mapred"}] * len(diffs),
    }
    return json.dumps(about).encode()


def _archive(image: Image, config: bytes, stream: IO[bytes]) -> None:
    name = hashlib.sha256(config).hexdigest() + ".json"
    inside = [f"{digest}/layer.tar" for digest in _digests(image)]
    manifest = [{"Config": name, "RepoTags": [image.name], "Layers": inside}]
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for title, content in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
            archive.addfile(_entry(title, len(content)), io.BytesIO(content))
        for title, layer in zip(inside, image.layers, strict=True):
            with layer.open("rb") as file:
                archive.addfile(_entry(title, layer.stat().st_size), file)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


def _digests(image: Image) -> Iterator[str]:
    """The SHA-256 of each layer, kept beside it."""
    for layer in image.layers:
        known = layer.with_suffix(".sha256")
        if not known.exists():
            digest = hashlib.sha256()
            with layer.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            known.write_text(digest.hexdigest())
        yield known.read_text()
