"""What the pod of a scheduled pipeline does: `python -m mapred.client.pipelines.firing ROOT NAME …`.

It makes the pipeline's folder, whose name follows from the time for which it was planned, and
drives the pipeline as `mapred.client.pipelines.pod` does, with the same exit codes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mapred import backends
from mapred.client import scheduling, stored
from mapred.client.pipelines import pod
from mapred.client.pipelines.pod import Pod
from mapred.client.pipelines.prepared import Prepared
from mapred.client.scheduling import firing
from mapred.errors import MapredError
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import PipelineFolder
from mapred.storage import Store, open_store


def main(
    root: str,
    name: str,
    digest: str,
    scheduled: str,
    packages: str,
    params: str,
    workflow: str,
    number: str,
) -> int:
    try:
        template = firing.load(root, name, digest)
        when = datetime.fromisoformat(scheduled.replace("Z", "+00:00"))
        store = open_store(f"{root}/{firing.run_id(name, when)}")
        prepare(store, template, when, json.loads(params))
        given = None if packages == "-" else packages
        backend = {"name": template.backend, "arguments": template.arguments}
        return pod.drive(store, Pod(backend, given, workflow, int(number)))
    except MapredError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return stored.exit_code(error)


def prepare(
    store: Store, template: scheduling.Template, when: datetime, values: Mapping[str, Any]
) -> None:
    """Make the folder of a pipeline that is planned for a time, unless an earlier pod did."""
    if PipelineFolder(store).has_record():
        return
    # What a pod left that was lost before it wrote pipeline.json.
    RunFolder(store).discard()
    pipeline = template.job
    date = when.astimezone(scheduling.zone(template.timezone))
    arguments = scheduling.arguments_of(pipeline, date, values)
    backend = backends.restore(template.backend, template.arguments)
    prepared = Prepared(
        pipeline.fn, pipeline.name, pipeline.retries, arguments, backend, None, in_thread=False
    )
    prepared.open(store)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
