"""What the status of a Workflow says of its pods: pure."""

from __future__ import annotations

import base64
import gzip
import importlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mapred.process.lazy import pa

Pods = tuple[dict[str, Any], ...]

OVER = ("Succeeded", "Failed", "Error")
# What passes when others are done: quotas, Argo's own limits and locks, schedulers with queues.
_TURN = re.compile(
    r"exceeded quota|parallelism|too many workflows|rate.?limit"
    r"|^waiting for .* lock|scheduling ?gate",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"insufficient|too many pods|free ports|queue|quota|pod ?group|gang|minavailable|waiting for",
    re.IGNORECASE,
)
# Kubernetes counts here the nodes that would not take the pod if they were empty.
_NO_NODE = re.compile(r"preemption: 0/(\d+) nodes are available: \1 Preemption is not helpful")
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class Unreadable(Exception):
    """The nodes of a status cannot be read here; the text says why."""


@dataclass(frozen=True)
class Queued:
    """That no pod of a Workflow runs, `since` when (seconds since the epoch), and `why`."""

    since: float
    why: str


def phase(found: Mapping[str, Any]) -> str:
    return str((found.get("status") or {}).get("phase") or "Pending")


def pods(found: Mapping[str, Any]) -> Pods:
    """Return the nodes of a Workflow that are pods; raises `Unreadable`."""
    status = found.get("status") or {}
    nodes = status.get("nodes")
    if not nodes and status.get("compressedNodes"):
        nodes = _unpack_nodes(status["compressedNodes"])
    elif not nodes and status.get("offloadNodeStatusVersion"):
        raise Unreadable("Argo keeps it in its database, which only an Argo server reads: server=")
    if not isinstance(nodes or {}, Mapping):
        raise Unreadable(f"its nodes are a {type(nodes).__name__}")
    known = [node for node in (nodes or {}).values() if isinstance(node, dict)]
    return tuple(node for node in known if node.get("type") == "Pod")


def running(known: Pods) -> bool:
    return any(node.get("phase") == "Running" for node in known)


def waiting(known: Pods) -> Pods:
    return tuple(node for node in known if node.get("phase") == "Pending")


def waits_its_turn(message: str) -> bool:
    """Whether a pod that waits with this message starts once others are done.

    No message is what a pod has that a queue holds back, and one that was made just now.
    """
    if not message or _TURN.search(message):
        return True
    if not message.startswith("Unschedulable") or _NO_NODE.search(message):
        return False
    return _BUSY.search(message) is not None


def detect_queued(found: Mapping[str, Any], known: Pods) -> Queued | None:
    """Since when a Workflow waits for its turn, none of its pods at work; None if it does not."""
    if phase(found) in OVER or running(known):
        return None
    created = parse_timestamp((found.get("metadata") or {}).get("creationTimestamp"))
    held = [node for node in waiting(known) if waits_its_turn(str(node.get("message") or ""))]
    if held:
        begun = [parse_timestamp(node.get("startedAt")) or created or 0.0 for node in held]
        ended = [parse_timestamp(node.get("finishedAt")) or 0.0 for node in known]
        texts = (str(node.get("message") or "") for node in held)
        return Queued(max(min(begun), *ended), next(filter(None, texts), "no node takes its pods"))
    if phase(found) == "Pending" and not known and created is not None:
        why = (found.get("status") or {}).get("message")
        return Queued(created, str(why or "Argo has not started it"))
    return None


def parse_timestamp(text: Any) -> float | None:
    """Seconds since the epoch of a time as Kubernetes writes it."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def has_reached_deadline(found: Mapping[str, Any]) -> bool:
    """Whether a Workflow that is over worked for all of its `activeDeadlineSeconds`."""
    status = found.get("status") or {}
    limit = (found.get("spec") or {}).get("activeDeadlineSeconds")
    start, end = parse_timestamp(status.get("startedAt")), parse_timestamp(status.get("finishedAt"))
    return None not in (limit, start, end) and end - start >= limit  # type: ignore[operator]


def _unpack_nodes(text: Any) -> Any:
    """Return the nodes of a large status: base64 of what gzip made, zstd or brotli in newer
    versions."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise Unreadable(f"it is not base64: {error}") from None
    if data[:1] == b"{":
        codec, plain = "", data
    else:
        codec = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), "brotli")
        plain = _decompress(data, codec)
    try:
        return json.loads(plain)
    except ValueError as error:
        raise Unreadable(f"it is not JSON: {error}") from None


def _decompress(data: bytes, codec: str) -> bytes:
    tried = False
    for decoder in _decoders(codec):
        tried = True
        try:
            return decoder(data)
        except Exception:  # each library has errors of its own
            continue
    if tried:
        raise Unreadable(f"it is not {codec}, or is damaged")
    raise Unreadable(f"it is compressed by {codec}: install {_PACKAGES[codec]}")


_PACKAGES = {"zstd": "zstandard", "brotli": "brotli"}


def _decoders(codec: str) -> Iterator[Callable[[bytes], bytes]]:
    """Yield what is installed that decompresses it."""
    if codec == "gzip":
        yield gzip.decompress
        return

    if pa.Codec.is_available(codec):
        yield lambda data: pa.CompressedInputStream(io.BytesIO(data), codec).read()
    for name in {"zstd": ("compression.zstd", "zstandard"), "brotli": ("brotli",)}[codec]:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if name == "zstandard":
            yield lambda data, m=module: m.ZstdDecompressor().decompressobj().decompress(data)  # type: ignore[misc]
        else:
            yield module.decompress
