"""The images on the cluster, put together without a registry or Docker.

An image is a list of layers, which are tar files in the cache, named after what they were made
of; it streams into containerd as an OCI archive.
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
from typing import IO, Any

from testbed.cluster import layers
from testbed.cluster.errors import ClusterError
from testbed.cluster.places import ARGO, IMPORTED, SOCKET
from testbed.cluster.processes import run

SEARCH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PAUSE = "mapred.test/pause:1"
BUSYBOX = "docker.io/library/busybox:1.35"
CONTROLLER = f"quay.io/argoproj/workflow-controller:v{ARGO}"
EXECUTOR = f"quay.io/argoproj/argoexec:v{ARGO}"
OCI = "application/vnd.oci.image"
CREATED = "2026-01-01T00:00:00Z"
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
    """Hands the image to containerd unless it has it; layers that others share go there once."""
    name = hashlib.sha256(_manifest(image)).hexdigest()
    known = json.loads(IMPORTED.read_text()) if IMPORTED.exists() else {}
    if known.get(image.name) == name:
        return
    present = set(run(*CTR, "content", "ls", "--quiet").stdout.split())
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
            _archive(image, present, stream)
    except BrokenPipeError:
        pass  # it says why below
    error = process.stderr.read().decode(errors="replace")
    if process.wait(timeout=300):
        raise ClusterError(f"containerd does not take the image {image.name}: {error[-2000:]}")
    IMPORTED.write_text(json.dumps(known | {image.name: name}))


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
    about = {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in _digests(image)]},
        "history": [{"created": CREATED, "created_by": "mapred"}] * len(image.layers),
    }
    return json.dumps(about).encode()


def _manifest(image: Image) -> bytes:
    config = _config(image)
    layers = [
        {"mediaType": f"{OCI}.layer.v1.tar", "digest": f"sha256:{digest}", "size": _size(path)}
        for digest, path in zip(_digests(image), image.layers, strict=True)
    ]
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": _described("config", config),
            "layers": layers,
        }
    ).encode()


def _archive(image: Image, present: set[str], stream: IO[bytes]) -> None:
    """An OCI archive without the layers whose digests are among those `present`."""
    config, manifest = _config(image), _manifest(image)
    entry = _described("manifest", manifest)
    entry["annotations"] = {"io.containerd.image.name": image.name}
    small = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        _blob(hashlib.sha256(config).hexdigest()): config,
        _blob(hashlib.sha256(manifest).hexdigest()): manifest,
    }
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for name, content in small.items():
            archive.addfile(_entry(name, len(content)), io.BytesIO(content))
        for digest, layer in zip(_digests(image), image.layers, strict=True):
            if f"sha256:{digest}" not in present:
                with layer.open("rb") as file:
                    archive.addfile(_entry(_blob(digest), _size(layer)), file)


def _described(kind: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": f"{OCI}.{kind}.v1+json", "digest": digest, "size": len(content)}


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest}"


def _size(layer: Path) -> int:
    return layer.stat().st_size


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
