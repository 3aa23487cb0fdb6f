"""A submitted Workflow as a handle: the run's folder tells what is done, Argo what went wrong."""

from __future__ import annotations

import base64
import calendar
import dataclasses
import gzip
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mapred import losses, records
from mapred.backends.argo.clients import Client, Unreachable
from mapred.blocks import MISMATCH
from mapred.errors import BackendError
from mapred.model import Job, RunStatus
from mapred.storage import Store
from mapred.tally import Tally

OVER = ("Succeeded", "Failed", "Error")
_SHORTEST, _LONGEST = 1.0, 15.0  # seconds between two looks at the Workflow
_LISTED, _RARELY = 2.0, 60.0  # seconds between two listings of the commits
_CLEARED = 60.0
_PATIENCE = 600.0  # seconds without an answer of the cluster
# Reasons for which a pod that waits will wait for ever, and the seconds that they may last.
_HOPELESS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
)
_HOPELESS_SECONDS = 90.0


class Following:
    """The handle of a run on a cluster. It only looks: the run goes on without it.

    `pending` is the number of seconds that pods may wait for a node, none of them running.
    """

    detaches = True

    def __init__(
        self, store: Store, job: Job, client: Client, workflow: str, *, pending: float
    ) -> None:
        self.ref = f"argo:{client.namespace}:{workflow}"
        self._store, self._job, self._client, self._workflow = store, job, client, workflow
        self._pending = pending
        self._over = self._suspended = False
        self._seen: tuple[str, str] | None = None
        self._next_look, self._pause = 0.0, _SHORTEST
        self._stuck_since: dict[str, float] = {}
        self._next_clearing = time.monotonic() + _CLEARED
        self._unnoticed: frozenset[str] = frozenset()
        self._troubled_since: float | None = None
        self._listing: RunStatus | None = None
        self._next_listing, self._listing_pause = 0.0, _LISTED
        self._began = calendar.timegm(time.strptime(job.created, "%Y-%m-%dT%H:%M:%SZ"))

    def alive(self) -> bool:
        return not self._looked_over(at_once=True)

    def wait(self, timeout: float) -> bool:
        limit = time.monotonic() + timeout
        while not self._seen_over() and not self._suspended:
            left = limit - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _SHORTEST / 2))
        return True

    def cancel(self) -> None:
        """Terminate the Workflow, and wait until its pods are told."""
        found = self._client.get(self._workflow)
        if found is not None and _phase(found) not in OVER:
            self._client.terminate(self._workflow)
            limit = time.monotonic() + 120
            while found is not None and _phase(found) not in OVER:
                if time.monotonic() > limit:
                    raise BackendError(
                        f"workflow {self._workflow} was told to stop 120 s ago and has not: "
                        "does its controller run?"
                    )
                time.sleep(0.5)
                found = self._client.get(self._workflow)
        self._over = True

    def suspend(self) -> bool:
        if not self.alive():
            return False
        self._client.suspend(self._workflow)
        return True

    def proceed(self) -> None:
        self._client.proceed(self._workflow)
        self._suspended = False

    def status(self) -> RunStatus | None:
        if self._seen_over():
            return None
        now = time.monotonic()
        if self._listing is None or now >= self._next_listing:
            before = self._listing
            self._listing = self._listed()
            moved = before is None or before.stages != self._listing.stages
            self._listing_pause = _LISTED if moved else min(_RARELY, 1.5 * self._listing_pause)
            self._next_listing = now + self._listing_pause
        return self._listing

    def raise_error(self) -> None:
        return  # What went wrong is the run's last word.

    def _listed(self) -> RunStatus:
        """Progress by the names of the commits."""
        job = self._job
        tally = Tally(job, self._store.uri, losses.given_up(self._store, job))
        for stage in job.stages:
            tally.done[stage.name].update(records.committed(self._store, stage.name))
        status = tally.status(
            "suspended" if self._suspended else "running",
            message="",
            started=self._began,
            finished=None,
            running={},
            failures=(),
        )
        first = status.stages[0]
        done = first.done / first.total if first.total else 1.0
        return dataclasses.replace(status, bytes_done=int(done * job.bytes))

    def _seen_over(self) -> bool:
        """Like `_looked_over`; a cluster that gives no answer for a while is asked again."""
        try:
            over = self._looked_over(at_once=False)
        except Unreachable:
            now = time.monotonic()
            self._troubled_since = self._troubled_since or now
            self._next_look = now + self._pause
            if now - self._troubled_since > _PATIENCE:
                raise
            return False
        self._troubled_since = None
        return over

    def _looked_over(self, *, at_once: bool) -> bool:
        """Whether the run has its last word, or the Workflow none to wait for.

        Not `at_once`, what the last look gave counts until the next one is due.
        """
        if self._over:
            return True
        now = time.monotonic()
        if not at_once and now < self._next_look:
            return False
        end = records.read_end(self._store)
        if end is not None:
            self._over = True
            if end["state"] != "succeeded":
                self._stop_what_is_left()
            return True
        found = self._client.get(self._workflow)
        seen = None if found is None else _progress(found)
        moved, self._seen = seen != self._seen, seen
        self._pause = _SHORTEST if moved else min(_LONGEST, 1.2 * self._pause)
        self._next_look = now + self._pause
        if found is None or _phase(found) in OVER:
            self._conclude(found)
        else:
            self._suspended = bool(found["spec"].get("suspend")) and not _running(found)
            self._see_to(found, now)
        return self._over

    def _stop_what_is_left(self) -> None:
        """A run that failed needs no more of its pods."""
        found = self._client.get(self._workflow)
        if found is not None and _phase(found) not in OVER:
            self._client.terminate(self._workflow)

    def _conclude(self, found: Mapping[str, Any] | None) -> None:
        """Write the last word of a run whose Workflow is over without one."""
        self._over = True
        if records.read_end(self._store) is not None:
            return
        if found is None:
            message = f"workflow {self._workflow} is gone from {self._client.namespace!r}"
        elif _phase(found) == "Succeeded":
            message = (
                f"Argo says that workflow {self._workflow} succeeded, and the run was never closed"
            )
        else:
            message = f"workflow {self._workflow} {_phase(found).lower()}: {self._reason(found)}"
        stopped = found is not None and bool(found["spec"].get("shutdown"))
        records.finish(self._store, self._job, "cancelled" if stopped else "failed", message)

    def _reason(self, found: Mapping[str, Any]) -> str:
        """Why a Workflow failed: its pods' messages, equal ones once, and one pod's last lines."""
        failed = [node for node in _pods(found) if node.get("phase") in ("Failed", "Error")]
        counts: dict[str, int] = {}
        for node in failed:
            text = str(node.get("message") or node["phase"])
            counts[text] = counts.get(text, 0) + 1
        texts = [
            f"{text} ({number} pods)" if number > 1 else text for text, number in counts.items()
        ]
        if not texts:
            texts = [str(found.get("status", {}).get("message") or "it gives no reason")]
        logs = (self._client.log(self._workflow, node["id"], _lines(node)) for node in failed[:3])
        tail = next(filter(None, logs), "")
        return "; ".join(texts[:5]) + (f"\n{tail.rstrip()}" if tail else "")

    def _see_to(self, found: Mapping[str, Any], now: float) -> None:
        """End a Workflow that waits for what will never come; wake one that lost a pod."""
        if now >= self._next_clearing:
            self._next_clearing = now + _CLEARED
            # A node that died leaves its pod failed while Argo waits for a word of its executor;
            # of one that failed just now Argo has yet to hear.
            before, self._unnoticed = self._unnoticed, self._client.unnoticed(self._workflow)
            for pod in before & self._unnoticed:
                self._client.delete_pod(pod)
        waiting = {n["id"]: str(n.get("message") or "") for n in _pods(found) if _waits(n)}
        running = _running(found)
        self._stuck_since = {node: self._stuck_since.get(node, now) for node in waiting}
        for node, message in waiting.items():
            seconds = now - self._stuck_since[node]
            hopeless = any(reason in message for reason in _HOPELESS)
            if (hopeless and seconds > min(_HOPELESS_SECONDS, self._pending)) or (
                not running and seconds > self._pending
            ):
                text = (
                    f"a pod of workflow {self._workflow} has waited {seconds:.0f} s and cannot "
                    f"start: {message or 'no node takes it'}"
                )
                self.cancel()
                records.finish(self._store, self._job, "failed", text)
                return


def _lines(node: Mapping[str, Any]) -> int:
    """How much of a pod's log says why it failed; what does not match is a table."""
    return 40 if (node.get("outputs") or {}).get("exitCode") == str(MISMATCH) else 8


def _phase(found: Mapping[str, Any]) -> str:
    return str(found.get("status", {}).get("phase") or "Pending")


def _progress(found: Mapping[str, Any]) -> tuple[str, str]:
    return _phase(found), str(found.get("status", {}).get("progress") or "")


def _running(found: Mapping[str, Any]) -> bool:
    return any(node.get("phase") == "Running" for node in _pods(found))


def _waits(node: Mapping[str, Any]) -> bool:
    return node.get("phase") == "Pending"


def _pods(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a Workflow that are pods; a large status is compressed."""
    status = found.get("status", {})
    nodes = status.get("nodes")
    if nodes is None and status.get("compressedNodes"):
        nodes = json.loads(gzip.decompress(base64.b64decode(status["compressedNodes"])))
    yield from (node for node in (nodes or {}).values() if node.get("type") == "Pod")
