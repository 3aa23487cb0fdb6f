"""Why a Workflow failed: what Argo says of its pods, and the last lines that one of them printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mapred.backends.argo import statuses
from mapred.backends.argo.client import Client
from mapred.model.retries import MISMATCH


def reason(client: Client, name: str, workflow: Mapping[str, Any]) -> str:
    """Return the messages of failed pods, equal ones once, and the last lines of one pod."""
    try:
        pods = statuses.pods(workflow)
    except statuses.Unreadable:
        pods = ()
    failed = [node for node in pods if node.get("phase") in ("Failed", "Error")]
    counts = Counter(str(node.get("message") or node["phase"]) for node in failed)
    texts = [f"{text} ({number} pods)" if number > 1 else text for text, number in counts.items()]
    if not texts:
        texts = [str((workflow.get("status") or {}).get("message") or "it gives no reason")]
    logs = (client.log(name, node["id"], _count_log_lines(node)) for node in failed[:3])
    tail = next(filter(None, logs), "")
    return "; ".join(texts[:5]) + (f"\n{tail.rstrip()}" if tail else "")


def _count_log_lines(node: Mapping[str, Any]) -> int:
    """Return how many last lines say why a pod failed: packages that differ are a whole table."""
    return 40 if (node.get("outputs") or {}).get("exitCode") == str(MISMATCH) else 8
