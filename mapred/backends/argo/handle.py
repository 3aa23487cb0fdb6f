"""The handle of a run's Workflow: the folder shows what is done, Argo what went wrong."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

from mapred.backends.argo import reasons, statuses
from mapred.backends.argo.client import Client
from mapred.backends.argo.statuses import Pods
from mapred.backends.argo.watch import WorkflowHandle
from mapred.model.events import End, EngineEnded
from mapred.model.losses import Rules
from mapred.model.policy import State, decide
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store

_LISTED, _RARELY = 2.0, 60.0  # seconds between two listings of the commits


class ArgoHandle(WorkflowHandle):
    """The handle of a run on a cluster. It only looks: the run continues without it."""

    def __init__(
        self,
        store: Store,
        job: Job,
        client: Client,
        workflow: str,
        *,
        pending: float,
        digest: str | None = None,
    ) -> None:
        self._folder, self._job = RunFolder(store), job
        super().__init__(self._folder, client, workflow, pending=pending, digest=digest)
        self._listing: RunStatus | None = None
        self._next_listing, self._listing_pause = 0.0, _LISTED

    def suspend(self) -> bool:
        if not self.alive():
            return False
        if self._job.deadline is not None and not self._client.moves_deadlines:
            return False  # Argo would count the pause.
        self._client.suspend(self._workflow)
        return True

    def resume(self) -> None:
        self._client.resume(self._workflow, self._moved_deadline())
        self._suspended = False
        self._next_look = 0.0

    def status(self) -> RunStatus | None:
        if self._seen_over():
            return None
        now = time.monotonic()
        if self._listing is None or now >= self._next_listing:
            before = self._listing
            self._listing = self._folder.progress(self._job)
            moved = before is None or before.stages != self._listing.stages
            self._listing_pause = _LISTED if moved else min(_RARELY, 1.5 * self._listing_pause)
            self._next_listing = now + self._listing_pause
        return dataclasses.replace(self._listing, **self._standing())

    def standing(self) -> RunStatus | None:
        """Return the run's state by one look at the Workflow, without its progress."""
        if self._looked_over(at_once=True):
            return None
        return dataclasses.replace(self._folder.running_status(self._job), **self._standing())

    def _standing(self) -> dict[str, Any]:
        """Return the fields of a `RunStatus` that the last look at the Workflow gave."""
        if self._suspended:
            return {"state": "suspended"}
        if self._unreadable:
            text = f"the status of workflow {self._workflow} cannot be read: {self._unreadable}"
            return {"state": "unknown", "message": text}
        if self._queued is not None:
            since, why = self._queued.since, self._queued.why
            return {"state": "queued", "message": why, "queued_since": since}
        return {"state": "running"}

    def raise_error(self) -> None:
        return  # What went wrong is the run's end record.

    def _overdue(self, held: bool) -> bool:
        """Whether the deadline has passed; pauses count whichever client made them."""
        last, now = self._folder.start(), time.time()
        if last.ref != self.ref:
            return False  # It was created a moment ago.
        if held and last.state != "suspended":
            self._folder.note_stop(self.ref, "suspended")
        elif not held and last.state == "suspended":
            last = self._folder.note_start(self.ref, starts.add_pause(last, last.ended, now).pauses)
        return not held and starts.seconds_left(self._job, last, now) < 0

    def _moved_deadline(self) -> int | None:
        """Return the `activeDeadlineSeconds` of a Workflow that resumes: Argo counts pauses, too."""
        if self._job.deadline is None:
            return None
        now = time.time()
        left = starts.seconds_left(self._job, self._folder.start(), now)
        status = (self._get() or {}).get("status") or {}
        begun = statuses.parse_timestamp(status.get("startedAt"))
        return max(1, math.ceil(left + (0.0 if begun is None else now - begun)))

    def _check(self, pods: Pods, held: bool, now: float) -> None:
        if self._job.deadline is not None and self._overdue(held):
            self._give_up(starts.overdue_message(self._job))
        else:
            super()._check(pods, held, now)

    def _write_end(self, state: Any, text: str) -> None:
        self._folder.finish(self._job, state, text)

    def _conclude(self, workflow: Mapping[str, Any] | None) -> None:
        """Write the end of a run whose Workflow is over, unless it is written."""
        self._over = True
        if self._folder.end() is not None:
            return
        for action in decide(State(Rules()), self._ended(workflow)):
            if isinstance(action, End):
                self._write_end(action.state, self._message(workflow, action))

    def _ended(self, workflow: Mapping[str, Any] | None) -> EngineEnded:
        if workflow is None:
            return EngineEnded("gone" if self._met else "unknown")
        stopped = bool(workflow["spec"].get("shutdown"))
        overdue = self._job.deadline is not None and statuses.has_reached_deadline(workflow)
        succeeded = statuses.phase(workflow) == "Succeeded"
        return EngineEnded("succeeded" if succeeded else "failed", stopped=stopped, overdue=overdue)

    def _message(self, workflow: Mapping[str, Any] | None, end: End) -> str:
        if workflow is None:
            return f"workflow {self._workflow} is gone from {self._client.namespace!r}"
        if end.why == "unclosed":
            return (
                f"Argo says that workflow {self._workflow} succeeded, but the run has no end record"
            )
        if end.why == "overdue":
            return starts.overdue_message(self._job)
        phase = statuses.phase(workflow).lower()
        reason = reasons.reason(self._client, self._workflow, workflow)
        return f"workflow {self._workflow} {phase}: {reason}"
