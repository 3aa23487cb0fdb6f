"""What the pod of a schedule does: `python -m mapred.client.scheduling.firing ROOT NAME DIGEST …`.

It loads the stored job, fills its parameters, submits a run, and waits until the run ends. The
run's name follows from the time it was planned for, so a pod that is started again continues the
run that the first one made.

Exit codes are a worker's: 0 done, 1 the run failed, 75 try again, 78 what is stored is not what
was scheduled, or the root refuses the credentials.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone

import mapred.client.scheduling as scheduling
from mapred.client import stored
from mapred.client.job import Job
from mapred.client.run_handle import Run
from mapred.errors import MapredError
from mapred.model import layout


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
        return stored.exit_code(error)
    sys.stdout.write("succeeded\n")
    return 0


def load(root: str, name: str, digest: str) -> scheduling.Template:
    """Return the job as it was scheduled; `Mismatch` where something else lies there."""
    path = layout.schedule(name, digest)
    template: scheduling.Template
    template = stored.load(root, path, digest, was="scheduled", again="schedule")
    return template


def run_id(name: str, when: datetime) -> str:
    """Return the id of the run that a schedule planned for a time."""
    return stored.run_id(f"{name} {when.astimezone(timezone.utc).isoformat()}", when)


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

    def bind() -> Job:
        date = when.astimezone(scheduling.zone(template.timezone))
        job = scheduling.bind_date(template.job, date, values)
        stored.admit_storage(job)
        return job

    return stored.start(template, root, run_id, packages, bind)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
