"""Watching a Workflow: whether it is at work, why it ended, and pods of it that are stuck."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from mapred.backends.argo import statuses
from mapred.backends.argo.client import Client, Unreachable
from mapred.backends.argo.statuses import OVER, Pods, Queued
from mapred.errors import BackendError
from mapred.runfolder.records import End

_SHORTEST, _LONGEST = 1.0, 15.0  # seconds between two looks at the Workflow
# Seconds until the first look for pods that Argo has not noticed, to the next one, and to the one
# after a look that found some.
_FIRST, _CLEARED, _SUSPECTED = 5.0, 60.0, 20.0
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


class Folder(Protocol):
    """The folder of what a Workflow works on: a run, or a pipeline."""

    @property
    def uri(self) -> str: ...

    def end(self) -> End | None: ...


class WorkflowHandle:
    """What works on a folder as a Workflow. It only looks: the Workflow continues without it.

    `pending` is the number of seconds that pods may wait to start, none of them running; those
    that wait for their turn (a quota, a queue, busy nodes) wait as long as it takes. With `digest`,
    that of the record that the folder begins with, the Workflow was named by the folder: one of
    another folder is left alone, and one that was never seen here says nothing of it.
    """

    survives_client = True
    # Ends of its folder after which a Workflow has nothing left to do.
    _ends_workflow: tuple[str, ...] = ("failed", "cancelled")

    def __init__(
        self, folder: Folder, client: Client, workflow: str, *, pending: float, digest: str | None
    ) -> None:
        self.ref = f"argo:{client.namespace}:{workflow}"
        self._of, self._client, self._workflow = folder, client, workflow
        self._pending, self._digest = pending, digest
        self._met = digest is None  # It was created a moment ago.
        self._over = self._suspended = False
        self._queued: Queued | None = None
        self._unreadable = ""
        self._progress: tuple[str, str] | None = None
        self._next_look, self._pause = 0.0, _SHORTEST
        self._stuck_since: dict[str, float] = {}
        self._next_clearing = time.monotonic() + _FIRST
        self._unnoticed: frozenset[str] = frozenset()
        self._troubled_since: float | None = None

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
            while is_at_work(self._get()):
                if time.monotonic() > limit:
                    raise BackendError(
                        f"workflow {self._workflow} was told to stop 120 s ago and has not "
                        "stopped: is its controller running?"
                    )
                time.sleep(0.5)
        self._over = True

    def _terminate(self) -> bool:
        """Tell the Workflow to stop, if it is at work."""
        at_work = is_at_work(self._get())
        if at_work:
            self._client.terminate(self._workflow)
        return at_work

    def _seen_over(self) -> bool:
        """Like `_looked_over`, for as long as a cluster may give no answer."""
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
        """Whether the folder has an end, or nothing is left that works on it.

        Unless it is asked `at_once`, the last answer holds until the next look is due.
        """
        if self._over:
            return True
        now = time.monotonic()
        if not at_once and now < self._next_look:
            return False
        end = self._of.end()
        if end is not None:
            self._over = True
            if end.state in self._ends_workflow:
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
        """Return the Workflow; None where there is none of its name that works on this folder."""
        workflow = self._client.get(self._workflow)
        if workflow is None or (self._digest is not None and not self._is_of_folder(workflow)):
            return None
        self._met = True
        return workflow

    def _is_of_folder(self, workflow: Mapping[str, Any]) -> bool:
        return is_of(workflow, self._of.uri, self._digest)

    def _note(self, workflow: Mapping[str, Any], now: float) -> None:
        """Keep the state of a Workflow that is not over, and end it where it is time."""
        try:
            pods, self._unreadable = statuses.pods(workflow), ""
        except statuses.Unreadable as error:
            pods, self._unreadable = (), str(error)
        held = bool(workflow["spec"].get("suspend"))
        self._suspended = held and not statuses.running(pods)
        self._queued = None if held or self._unreadable else statuses.detect_queued(workflow, pods)
        self._check(pods, held, now)

    def _check(self, pods: Pods, held: bool, now: float) -> None:
        """Look at the pods of a Workflow that is not over; `held`: no more of them are started."""
        self._check_pods(pods, now)

    def _write_end(self, state: Any, text: str) -> None:
        """Write the end of what the Workflow worked on."""
        raise NotImplementedError

    def _conclude(self, workflow: Mapping[str, Any] | None) -> None:
        """Write the end of what a Workflow that is over worked on, unless it is written."""
        raise NotImplementedError

    def _give_up(self, text: str) -> None:
        self.cancel()
        self._write_end("failed", text)

    def _check_pods(self, pods: Pods, now: float) -> None:
        """End a Workflow whose pods cannot start; wake one that lost a pod."""
        if now >= self._next_clearing:
            # A node that died leaves its pod failed, and Argo waits for a report of its executor
            # for ever: without the pod it starts another. A pod is deleted when it is unnoticed
            # in two looks, since Argo may not have seen one yet that failed a moment ago.
            before = self._unnoticed
            self._unnoticed = self._client.list_unnoticed_pods(self._workflow)
            self._next_clearing = now + (_SUSPECTED if self._unnoticed else _CLEARED)
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


def is_at_work(workflow: Mapping[str, Any] | None) -> bool:
    return workflow is not None and statuses.phase(workflow) not in OVER


def is_of(workflow: Mapping[str, Any], uri: str, digest: str | None) -> bool:
    """Whether a Workflow is that of a run, by its folder and the SHA-256 of its job.json."""
    arguments = (workflow.get("spec") or {}).get("arguments") or {}
    values = {item.get("name"): item.get("value") for item in arguments.get("parameters") or ()}
    return (values.get("run"), values.get("digest")) == (uri, digest)
