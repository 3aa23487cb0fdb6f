"""What the pod of a pipeline does: `python -m mapred.client.pipelines.pod ROOT ID DIGEST …`.

It calls the pipeline's function, with the backend that it is in as the default one. Where the
function waits for long, the process ends at once, without `finally` and `with` of the function, and
the cluster starts another one later, which calls the function from its first line.

Exit codes are a worker's: 0 done, or another pod drives the pipeline; 1 it failed; 75 try again; 78 what
is stored is not what was submitted, or the root refuses the credentials; 79 it waits.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mapred import backends
from mapred.client import stored
from mapred.client.pipelines import stored as own_files
from mapred.client.pipelines import waiting
from mapred.client.pipelines.driver import Driver
from mapred.client.pipelines.waiting import Wait
from mapred.client.stored import Mismatch
from mapred.engine.base import DrivesPipelines, DrivesPipelinesInCluster, PipelineHandle
from mapred.errors import FunctionError, MapredError
from mapred.model.retries import DONE, FAILED, TRY_AGAIN, WAITING
from mapred.runfolder.pipelines import PipelineFolder
from mapred.runfolder.records import End
from mapred.storage import Store, open_store

# A Workflow holds a node for each of its pods, of up to 2 KB: another one continues before they are so
# many that Argo has to compress them.
MOST_PODS = 500
# The next look comes after a part of what was waited so far.
_PART, _SHORTEST, _LONGEST = 4, 15.0, 300.0


@dataclass(frozen=True)
class Pod:
    """Where a pod is: the backend and packages that it was given, its Workflow, and its number there."""

    backend: Mapping[str, Any]
    packages: str | None
    workflow: str
    number: int


def main(
    root: str, pipeline: str, digest: str, packages: str, backend: str, workflow: str, number: str
) -> int:
    try:
        store = open_store(f"{root}/{pipeline}")
        if not PipelineFolder(store).has_record():
            raise Mismatch(f"{store.uri} is gone: submit the pipeline again")
        if PipelineFolder(store).record_digest() != digest:
            raise Mismatch(f"{store.uri}: pipeline.json is not what was submitted")
        given = None if packages == "-" else packages
        return drive(store, Pod(json.loads(backend), given, workflow, int(number)))
    except MapredError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return stored.exit_code(error)


def drive(store: Store, pod: Pod) -> int:
    """Drive the pipeline of a folder in this process; return the exit code."""
    folder = PipelineFolder(store)
    end = folder.end()
    if end is not None:
        return _code_of_end(end)
    record, digest = folder.record(), folder.record_digest()
    made = backends.restore(pod.backend["name"], pod.backend["arguments"])
    if not isinstance(made, DrivesPipelinesInCluster):
        raise Mismatch(f"backend {made.name!r} drives no pipelines")
    backend, own = (
        made.in_pipeline(pod.packages, record.run_id),
        made.own_pipeline(store, digest, pod.workflow),
    )
    if _is_driven_elsewhere(folder, digest, own.ref):
        sys.stdout.write(f"{folder.start().ref} drives {store.uri}\n")
        return DONE
    if pod.number >= MOST_PODS and isinstance(backend, DrivesPipelines):
        sys.stdout.write(f"continued by {backend.start_pipeline(store, digest).ref}\n")
        return DONE
    if not own.begin():
        text = "its pod was lost again and again: see whether it needs more memory"
        return _code_of_end(folder.put_end(End("failed", text, time.time())))
    defaults: dict[str, Any] = {"root": store.uri.rpartition("/")[0], "backend": backend}
    if record.mode is not None:
        defaults["mode"] = record.mode
    waiting.leave_by(own.ref, functools.partial(leave, own))
    try:
        function = own_files.load_function(folder, record)
        arguments = functools.partial(own_files.load_arguments, folder, record)
        driver = Driver(folder, record, function, arguments, defaults)
        driver.run()
    except FunctionError as error:  # It cannot be loaded here, by any pod.
        folder.put_end(End("failed", f"{type(error).__name__}: {error}", time.time()))
    finally:
        waiting.stay()
    end = folder.end()
    if end is None:
        return TRY_AGAIN
    sys.stdout.write(f"{end.state}{': ' * bool(end.message)}{end.message}\n")
    return _code_of_end(end)


def leave(own: PipelineHandle, wait: Wait) -> None:
    """End this process while a pipeline waits, unless what it waits for comes just then."""
    now = time.time()
    pause = min(_LONGEST, max(_SHORTEST, (now - wait.since()) / _PART))
    if wait.due is not None:
        pause = min(pause, max(1.0, wait.due - now))
    own.leave(pause)
    # A client that answers from here on makes the pause short again.
    if wait.over(0):
        return
    sys.stdout.write(f"waiting; the next look is in {pause:.0f} s\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(WAITING)


def _code_of_end(end: End) -> int:
    return DONE if end.state == "succeeded" else FAILED


def _is_driven_elsewhere(folder: PipelineFolder, digest: str, own: str) -> bool:
    """Whether another Workflow than this pod's is noted as the one that drives, and is at work."""
    ref = folder.start().ref
    if ref is None or ref == own:
        return False
    other = backends.reopen_pipeline(folder.store, digest, ref)
    return other is not None and other.alive()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
