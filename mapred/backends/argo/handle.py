"""The handle of a submitted Workflow: the folder shows what is done, Argo what went wrong."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

from mapred.backends.argo import reasons, statuses
from mapred.backends.argo.client import Client, Unreachable
from mapred.backends.argo.statuses import OVER, Pods, Queued
from mapred.errors import BackendError
from mapred.model.events import End, EngineEnded
from mapred.model.losses import Rules
from mapred.model.policy import State, decide
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store

_SHORTEST, _LONGEST = 1.0, 15.0  # seconds between two looks at the Workflow
_LISTED, _RARELY = 2.0, 60.0  # seconds between two listings of the commits
_CLEARED = 60.0  # seconds between two looks for pods that Argo has not noticed
_PATIENCE = 600.0  # seconds that the cluster may give no answer
# Reasons for which a pod waits for ever, and the seconds that one of them may last.
_HOPELESS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
)
_HOPELESS_SECONDS = 90.0


class ArgoHandle:
    """The handle of a run on a cluster. It only looks: the run continues without it.

    `pending` is the number of seconds that pods may wait to start, none of them running; those
    that wait for their turn (a quota, a queue, busy nodes) wait as long as it takes. With `digest`,
    that of job.json, the Workflow was named by the run's folder: one of another run is left alone,
    and one that was never seen here says nothing of the run.
    """

    survives_client = True

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
        self.ref = f"argo:{client.namespace}:{workflow}"
        self._folder, self._job = RunFolder(store), job
        self._client, self._workflow = client, workflow
        self._pending, self._digest = pending, digest
        self._met = digest is None  # It was created a moment ago.
        self._over = self._suspended = False
        self._queued: Queued | None = None
        self._unreadable = ""
        self._progress: tuple[str, str] | None = None
        self._next_look, self._pause = 0.0, _SHORTEST
        self._stuck_since: dict[str, float] = {}
        self._next_clearing = time.monotonic() + _CLEARED
        self._unnoticed: frozenset[str] = frozenset()
        self._troubled_since: float | None = None
        self._listing: RunStatus | None = None
        self._next_listing, self._listing_pause = 0.0, _LISTED

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
        """Terminate the Workflow, and wait until its controller has done so."""
        if self._terminate():
            limit = time.monotonic() + 120
            while _is_at_work(self._get()):
                if time.monotonic() > limit:
                    raise BackendError(
                        f"workflow {self._workflow} was told to stop 120 s ago and has not "
                        "stopped: is its controller running?"
                    )
                time.sleep(0.5)
        self._over = True

    def _terminate(self) -> bool:
        """Tell the Workflow to stop, if it is at work."""
        at_work = _is_at_work(self._get())
        if at_work:
            self._client.terminate(self._workflow)
        return at_work

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

    def _seen_over(self) -> bool:
        """Like `_check_over`, for as long as a cluster may give no answer."""
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
        """Whether the run has ended, or has nothing left that works on it.

        Unless it is asked `at_once`, the last answer holds until the next look is due.
        """
        if self._over:
            return True
        now = time.monotonic()
        if not at_once and now < self._next_look:
            return False
        end = self._folder.end()
        if end is not None:
            self._over = True
            if end.state != "succeeded":
                self._terminate()
            return True
        workflow = self._get()
        progress = None if workflow is None else statuses.progress(workflow)
        moved, self._progress = progress != self._progress, progress
        self._pause = _SHORTEST if moved else min(_LONGEST, 1.2 * self._pause)
        self._next_look = now + self._pause
        if workflow is None or statuses.phase(workflow) in OVER:
            self._conclude(workflow)
        else:
            self._note(workflow, now)
        return self._over

    def _get(self) -> dict[str, Any] | None:
        """Return the Workflow; None where there is none of its name that works on this run."""
        workflow = self._client.get(self._workflow)
        if workflow is None or (self._digest is not None and not self._is_of_run(workflow)):
            return None
        self._met = True
        return workflow

    def _is_of_run(self, workflow: Mapping[str, Any]) -> bool:
        arguments = (workflow.get("spec") or {}).get("arguments") or {}
        values = {item.get("name"): item.get("value") for item in arguments.get("parameters") or ()}
        return (values.get("run"), values.get("digest")) == (self._folder.uri, self._digest)

    def _note(self, workflow: Mapping[str, Any], now: float) -> None:
        """Keep the state of a Workflow that is not over, and end it where it is time."""
        try:
            pods, self._unreadable = statuses.pods(workflow), ""
        except statuses.Unreadable as error:
            pods, self._unreadable = (), str(error)
        held = bool(workflow["spec"].get("suspend"))
        self._suspended = held and not statuses.running(pods)
        self._queued = None if held or self._unreadable else statuses.detect_queued(workflow, pods)
        if self._job.deadline is not None and self._overdue(held):
            self._give_up(starts.overdue_message(self._job))
        else:
            self._check_pods(pods, now)

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

    def _give_up(self, text: str) -> None:
        self.cancel()
        self._folder.finish(self._job, "failed", text)

    def _conclude(self, workflow: Mapping[str, Any] | None) -> None:
        """Write the end of a run whose Workflow is over, unless it is written."""
        self._over = True
        if self._folder.end() is not None:
            return
        for action in decide(State(Rules()), self._ended(workflow)):
            if isinstance(action, End):
                message = self._message(workflow, action)
                self._folder.finish(self._job, action.state, message)

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

    def _check_pods(self, pods: Pods, now: float) -> None:
        """End a Workflow whose pods cannot start; wake one that lost a pod."""
        if now >= self._next_clearing:
            self._next_clearing = now + _CLEARED
            # A node that died leaves its pod failed, and Argo waits for a report of its executor
            # for ever: without the pod it starts another. A pod is deleted when it is unnoticed
            # in two looks, since Argo may not have seen one yet that failed a moment ago.
            before = self._unnoticed
            self._unnoticed = self._client.list_unnoticed_pods(self._workflow)
            for pod in before & self._unnoticed:
                self._client.delete_pod(pod)
        texts = {node["id"]: str(node.get("message") or "") for node in statuses.waiting(pods)}
        waiting = {node: text for node, text in texts.items() if not statuses.waits_its_turn(text)}
        running = statuses.running(pods)
        self._stuck_since = {node: self._stuck_since.get(node, now) for node in waiting}
        for node, message in waiting.items():
            seconds = now - self._stuck_since[node]
            hopeless = any(reason in message for reason in _HOPELESS)
            if (hopeless and seconds > min(_HOPELESS_SECONDS, self._pending)) or (
                not running and seconds > self._pending
            ):
                self._give_up(
                    f"a pod of workflow {self._workflow} has waited {seconds:.0f} s and cannot "
                    f"start: {message or 'no node takes it'}"
                )
                return


def _is_at_work(workflow: Mapping[str, Any] | None) -> bool:
    return workflow is not None and statuses.phase(workflow) not in OVER
