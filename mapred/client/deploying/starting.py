"""What the pod of a deployment does: `python -m mapred.client.deploying.starting ROOT NAME DIGEST …`.

It loads the stored job, reads the texts that it was started with as its parameters, submits a run,
and waits until the run ends. The run's name follows from what was started, so a pod that is started
again continues the run that the first one made.

Exit codes are a worker's: 0 done, 1 the run failed, 75 try again, 78 a text does not fit its
parameter, what is stored is not what was deployed, or the root refuses the credentials.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

import mapred.client.deploying as deploying
from mapred.client import stored
from mapred.client.run_handle import Run
from mapred.errors import MapredError, PlanError
from mapred.model import layout


def main(
    root: str,
    name: str,
    digest: str,
    wanted: str,
    uid: str,
    created: str,
    packages: str,
    *words: str,
) -> int:
    try:
        if wanted != digest:
            raise stored.Mismatch(
                f"{name} was deployed anew: version {wanted[:12]} was to start, and the cluster "
                f"has version {digest[:12]}; mapred.deployed({name!r}) is what it has now"
            )
        when = datetime.fromisoformat(created.replace("Z", "+00:00")).astimezone(timezone.utc)
        template = load(root, name, digest)
        texts = dict(word.partition("=")[::2] for word in words)
        run = start(template, root, uid, when, texts, None if packages == "-" else packages)
        sys.stdout.write(f"run {run.uri}\n")
        sys.stdout.flush()
        run.wait().check()
    except MapredError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return stored.exit_code(error)
    sys.stdout.write("succeeded\n")
    return 0


def load(root: str, name: str, digest: str) -> deploying.Template:
    """Return the job as it was deployed; `Mismatch` where something else lies there."""
    path = layout.deployment(name, digest)
    template: deploying.Template
    template = stored.load(root, path, digest, was="deployed", again="deploy")
    return template


def start(
    template: deploying.Template,
    root: str,
    uid: str,
    when: datetime,
    texts: dict[str, str],
    packages: str | None,
) -> Run:
    """Return the run of a start: the one that was made before, else a new one."""

    def bind() -> Any:
        try:
            job = template.job.bind(**template.declared.read(texts, when))
        except PlanError as error:
            raise stored.Mismatch(str(error)) from None
        stored.admit_storage(job)
        return job

    return stored.start(template, root, deploying.run_id(uid, when), packages, bind)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
