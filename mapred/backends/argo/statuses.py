"""Pure functions that read the status of a Workflow and of its pods."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Mapping
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


def phase(workflow: Mapping[str, Any]) -> str:
    return str((workflow.get("status") or {}).get("phase") or "Pending")


def progress(workflow: Mapping[str, Any]) -> tuple[str, str]:
    return phase(workflow), str((workflow.get("status") or {}).get("progress") or "")


def pods(workflow: Mapping[str, Any]) -> Pods:
    """Return the nodes of a Workflow that are pods; raises `Unreadable`."""
    status = workflow.get("status") or {}
    nodes = status.get("nodes")
    if not nodes and status.get("compressedNodes"):
        nodes = _unpack_nodes(status["compressedNodes"])
    elif not nodes and status.get("offloadNodeStatusVersion"):
        raise Unreadable("Argo keeps it in its database, which only an Argo server reads: server=")
    if not isinstance(nodes or {}, Mapping):
        raise Unreadable(f"its nodes are a {type(nodes).__name__}")
    return tuple(
        node
        for node in (nodes or {}).values()
        if isinstance(node, dict) and node.get("type") == "Pod"
    )


def running(pods: Pods) -> bool:
    return any(node.get("phase") == "Running" for node in pods)


def waiting(pods: Pods) -> Pods:
    return tuple(node for node in pods if node.get("phase") == "Pending")


def waits_its_turn(message: str) -> bool:
    """Whether a pod that waits with this message starts once others are done.

    A pod that a queue holds back has no message, nor has one that was made just now.
    """
    if not message or _TURN.search(message):
        return True
    if not message.startswith("Unschedulable") or _NO_NODE.search(message):
        return False
    return _BUSY.search(message) is not None


def detect_queued(workflow: Mapping[str, Any], pods: Pods) -> Queued | None:
    """Return since when a Workflow waits for its turn with no pod at work; None if it does not."""
    if phase(workflow) in OVER or running(pods):
        return None
    created = parse_timestamp((workflow.get("metadata") or {}).get("creationTimestamp"))
    held = [node for node in waiting(pods) if waits_its_turn(str(node.get("message") or ""))]
    if held:
        begun = [parse_timestamp(node.get("startedAt")) or created or 0.0 for node in held]
        ended = [parse_timestamp(node.get("finishedAt")) or 0.0 for node in pods]
        texts = (str(node.get("message") or "") for node in held)
        return Queued(max(min(begun), *ended), next(filter(None, texts), "no node takes its pods"))
    if phase(workflow) == "Pending" and not pods and created is not None:
        why = (workflow.get("status") or {}).get("message")
        return Queued(created, str(why or "Argo has not started it"))
    return None


def parse_timestamp(text: Any) -> float | None:
    """Return the seconds since the epoch of a time as Kubernetes writes it."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def has_reached_deadline(workflow: Mapping[str, Any]) -> bool:
    """Whether a Workflow that is over worked for all of its `activeDeadlineSeconds`."""
    status = workflow.get("status") or {}
    limit = (workflow.get("spec") or {}).get("activeDeadlineSeconds")
    start, end = parse_timestamp(status.get("startedAt")), parse_timestamp(status.get("finishedAt"))
    return None not in (limit, start, end) and end - start >= limit  # type: ignore[operator]


def _unpack_nodes(text: Any) -> Any:
    """Return the nodes of a large status: base64 of gzip, or in newer versions of zstd or brotli."""
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
    try:
        if codec == "gzip":
            return gzip.decompress(data)
        return bytes(pa.CompressedInputStream(io.BytesIO(data), codec).read())
    except Exception as error:  # each codec has errors of its own
        raise Unreadable(f"it is not {codec}, or is damaged: {error}") from None
