"""A pipeline on Argo: a Workflow whose one pod calls the function, and leaves while it waits.

A pod that leaves ends with an exit code of its own. Argo starts another one after the pause that an
annotation of the Workflow holds: the pod writes a longer one the longer it waits, and a client that
has what is awaited writes a short one. So no pod is held, and what no client reports is looked for.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mapred.backends.argo import client as clients
from mapred.backends.argo import locations, reasons, render, statuses, submitters
from mapred.backends.argo.admission import admit
from mapred.backends.argo.client import Client
from mapred.backends.argo.objects import MANAGED, build_arguments, build_object, slug
from mapred.backends.argo.schema import validate_manifest
from mapred.backends.argo.settings import ArgoSettings
from mapred.backends.argo.watch import WorkflowHandle
from mapred.errors import BackendError
from mapred.model.resources import Resources
from mapred.model.rules import seconds
from mapred.runfolder.pipelines import PipelineFolder, PipelineRecord
from mapred.runfolder.records import End
from mapred.storage import Store

MODULE = "mapred.client.pipelines.pod"
LABEL = "mapred-pipeline"
PAUSE, LOSSES, URI = "mapred-pause", "mapred-losses", "mapred-uri"
# The pause after a pod that was lost, in seconds; it doubles with each one.
_SHORTEST, _LONGEST = 10, 300
AT_FIRST: Mapping[str, str] = {PAUSE: f"{_SHORTEST}s", LOSSES: "0"}
# Each pod is a node of the Workflow, which Argo keeps below 1 MiB. A pod hands over to another Workflow
# at a number of its own, below this one.
_PODS = 1000
# How a machine reaches the cluster, which pods of it need not know.
_OUTSIDE = ("kubeconfig", "context", "server", "token_env")


def template(
    argo: ArgoSettings, name: str, root: str, module: str, words: list[str], packages: str | None
) -> dict[str, Any]:
    """Return the template of a pod that drives a pipeline, again and again until that has ended."""
    own = ["{{workflow.name}}", "{{retries}}"]
    made = submitters.template(argo, name, root, module, [*words, *own], packages, Resources())
    pause = {"duration": f"{{{{workflow.annotations.{PAUSE}}}}}"}
    retries = {**made["retryStrategy"], "limit": str(_PODS), "backoff": pause}
    return {**made, "retryStrategy": retries}


def manifest(
    argo: ArgoSettings,
    record: PipelineRecord,
    *,
    uri: str,
    digest: str,
    packages: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Return the Workflow that drives a pipeline as plain values.

    `uri` is the pipeline's folder, `digest` the SHA-256 of its pipeline.json.
    """
    root, _, run_id = uri.rpartition("/")
    locations.check_root(argo, uri, argo.volumes)
    parameters = {
        "root": root,
        "pipeline": run_id,
        "digest": digest,
        "packages": packages or "-",
        "backend": json.dumps(_settings(argo)),
    }
    admit(argo, (), **parameters)
    words = [f"{{{{workflow.parameters.{name}}}}}" for name in parameters]
    marks = {**MANAGED, LABEL: slug(run_id, 63)}
    spec = {
        "entrypoint": "drive",
        "arguments": build_arguments(parameters),
        "templates": [template(argo, "drive", root, MODULE, words, packages)],
        **render.build_common_spec(argo, marks),
        "priority": argo.priority,
        **render.build_cleanup_spec(argo),
    }
    return build_object(
        "Workflow",
        argo,
        name or workflow_name(record),
        spec,
        labels={**marks, **argo.labels},
        annotations={**AT_FIRST, URI: uri, **argo.annotations},
    )


def _settings(argo: ArgoSettings) -> dict[str, Any]:
    """Return the backend as its own pods make it."""
    arguments = {k: v for k, v in argo.arguments.items() if k not in _OUTSIDE}
    return {"name": "argo", "arguments": arguments}


def workflow_name(record: PipelineRecord) -> str:
    """Return the pipeline's name and its id, in up to 63 letters."""
    return f"{slug(record.name, 62 - len(record.run_id))}-{slug(record.run_id, 40)}"


def start(argo: ArgoSettings, store: Store, digest: str, packages: str | None) -> PipelineWorkflow:
    """Create a Workflow that drives a pipeline, and note it in the pipeline's folder.

    It is noted first: a pod leaves the pipeline alone if its Workflow is not the one that is noted, and
    that one is at work.
    """
    client, folder = clients.connect(argo), PipelineFolder(store)
    record = folder.record()
    name = render.free_name(client.get, workflow_name(record))[0]
    made = manifest(argo, record, uri=store.uri, digest=digest, packages=packages, name=name)
    handle = PipelineWorkflow(argo, store, client, name, digest=None)
    before = folder.start()
    folder.note_start(handle.ref)
    try:
        client.create(validate_manifest(made))
    except BaseException:
        folder.write_start(before)
        raise
    return handle


class PipelineWorkflow(WorkflowHandle):
    """The handle of a Workflow that drives a pipeline, for a client and for its own pod."""

    # A pipeline that failed has its pod end the Workflow, whose exit handler says so.
    _ends_workflow = ("cancelled",)

    def __init__(
        self, argo: ArgoSettings, store: Store, client: Client, name: str, *, digest: str | None
    ) -> None:
        self._folder, self._retries = PipelineFolder(store), argo.retries
        super().__init__(self._folder, client, name, pending=seconds(argo.pending), digest=digest)

    def wake(self) -> None:
        """Have the next pod start now, if none is there. Clients without the right leave it to Argo."""
        with suppress(BackendError):
            self._client.annotate(self._workflow, {PAUSE: "1s"})

    def begin(self) -> bool:
        """Note that a pod begins; whether settings allow one after those that were lost in a row."""
        with suppress(BackendError):
            workflow = self._client.get(self._workflow) or {}
            noted = (workflow.get("metadata") or {}).get("annotations") or {}
            lost = _whole(noted.get(LOSSES))
            if lost > self._retries:
                return False
            pause = f"{min(_LONGEST, _SHORTEST * 2**lost)}s"
            values = {PAUSE: pause, LOSSES: str(lost + 1), URI: self._of.uri}
            self._client.annotate(self._workflow, values)
        return True

    def leave(self, seconds: float) -> None:
        """Note that the pod leaves, and that the next one starts so much later."""
        with suppress(BackendError):
            pause = f"{max(1, math.ceil(min(_LONGEST, seconds)))}s"
            self._client.annotate(self._workflow, {PAUSE: pause, LOSSES: "0"})

    def _is_of_folder(self, workflow: Mapping[str, Any]) -> bool:
        noted = (workflow.get("metadata") or {}).get("annotations") or {}
        return bool(noted.get(URI) == self._of.uri)

    def _write_end(self, state: Any, text: str) -> None:
        self._folder.put_end(End(state, text, time.time()))

    def _conclude(self, workflow: Mapping[str, Any] | None) -> None:
        """Write the end of a pipeline whose Workflow failed, unless another one drives it now."""
        self._over = True
        left = workflow is None or statuses.phase(workflow) == "Succeeded"
        if left or self._folder.end() is not None or self._folder.start().ref != self.ref:
            return
        assert workflow is not None
        if workflow["spec"].get("shutdown"):
            self._write_end("cancelled", f"workflow {self._workflow} was stopped")
            return
        phase = statuses.phase(workflow).lower()
        reason = reasons.reason(self._client, self._workflow, workflow)
        self._write_end("failed", f"workflow {self._workflow} {phase}: {reason}")


def _whole(text: Any) -> int:
    return int(text) if str(text).isdecimal() else 0
