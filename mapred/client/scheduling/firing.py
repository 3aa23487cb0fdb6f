"""What the pod of a schedule does: `python -m mapred.client.scheduling.firing ROOT NAME DIGEST …`.

It loads the stored job, fills its parameters, submits a run, and waits until the run ends. The
run's name follows from the time it was planned for, so a pod that is started again continues the
run that the first one made.

Exit codes are a worker's: 0 done, 1 the run failed, 75 try again, 78 what is stored is not what
was scheduled, or the root refuses the credentials.
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import datetime, timezone

import mapred.client.scheduling as scheduling
from mapred import backends
from mapred.client.job import Plan
from mapred.client.run_handle import Run, open_run
from mapred.engine.base import RunsInCluster
from mapred.errors import (
    AccessError,
    BackendError,
    FullError,
    MapredError,
    RecordError,
    RunError,
    StorageError,
)
from mapred.functions import transport
from mapred.model import layout
from mapred.model.retries import FAILED, MISMATCH, TRY_AGAIN
from mapred.runfolder.folder import RunFolder
from mapred.storage import fsspec_options, open_store


class Mismatch(MapredError):
    """What is stored is not what was scheduled."""


def main(root: str, name: str, digest: str, scheduled: str, packages: str, params: str) -> int:
    try:
        template = load(root, name, digest)
        when = datetime.fromisoformat(scheduled.replace("Z", "+00:00"))
        run = start(
            template,
            root=root,
            run_id=run_id(name, when),
            when=when,
            values=json.loads(params),
            packages=None if packages == "-" else packages,
        )
        sys.stdout.write(f"run {run.uri}\n")
        sys.stdout.flush()
        run.wait().check()
    except MapredError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return _code(error)
    sys.stdout.write("succeeded\n")
    return 0


def load(root: str, name: str, digest: str) -> scheduling.Template:
    """Return the job as it was scheduled; `Mismatch` where something else lies there."""
    path = layout.schedule(name, digest)
    try:
        data = open_store(root).read(path)
    except FileNotFoundError:
        raise Mismatch(f"{root}/{path} is gone: schedule the job again") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise Mismatch(f"{root}/{path} is not what was scheduled; its SHA-256 differs")
    template: scheduling.Template = transport.load(data, f"{root}/{path}")
    return template


def run_id(name: str, when: datetime) -> str:
    """Return the id of the run that a schedule planned for a time."""
    moment = when.astimezone(timezone.utc)
    unique = hashlib.sha256(f"{name} {moment.isoformat()}".encode()).hexdigest()[:8]
    return f"{moment:%Y%m%d-%H%M%S}-{unique}"


def start(
    template: scheduling.Template,
    *,
    root: str,
    run_id: str,
    when: datetime,
    values: dict[str, str | int | float | bool],
    packages: str | None,
) -> Run:
    """Return the run of a firing: the one that was made before, else a new one."""
    backend = backends.restore(template.backend, template.arguments)
    if isinstance(backend, RunsInCluster):
        backend = backend.in_cluster(packages)
    run = _find_run(f"{root}/{run_id}")
    if run is not None:
        over = run.state in ("succeeded", "failed", "cancelled")
        return run if over else run.resume(backend=backend, progress="none")
    # What a pod left that was ended before it wrote job.json: the dataset may have changed since.
    RunFolder(open_store(f"{root}/{run_id}")).discard()
    date = when.astimezone(scheduling.zone(template.timezone))
    job = scheduling.bind_date(template.job, date, values)
    source = job.dataset.dataset if isinstance(job.dataset, Plan) else job.dataset
    if source.options.storage is not None:
        fsspec_options.admit(source.options.storage)
    return job.submit(backend=backend, root=root, run_id=run_id)


def _find_run(uri: str) -> Run | None:
    """Return the run that was made before; None without a job.json, which is written last.

    That of a newer mapred raises `RecordError`, and its folder is left as it is.
    """
    try:
        return open_run(uri)
    except RunError as error:
        if isinstance(error, RecordError) and error.newer:
            raise
        return None


def _code(error: MapredError) -> int:
    if isinstance(error, Mismatch | AccessError | FullError):
        return MISMATCH
    return TRY_AGAIN if isinstance(error, StorageError | BackendError) else FAILED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
