"""What drivers have workers do, by name: a driver itself loads nothing of what runs tasks."""

from __future__ import annotations

from collections.abc import Iterable

from mapred.model.packs import Pack
from mapred.model.records import Outcome


def run_block(
    run_uri: str,
    digest: str,
    stage: str,
    tasks: Iterable[int],
    attempt: int,
    follow: bool = False,
    fresh: bool = False,
    pack: Pack | None = None,
) -> list[Outcome]:
    """`worker.tasks.run_block`, in a process of any pool."""
    from mapred.worker import tasks as worker

    return worker.run_block(run_uri, digest, stage, tasks, attempt, None, follow, fresh, pack)


def run_logged(
    run_uri: str,
    digest: str,
    stage: str,
    tasks: Iterable[int],
    attempt: int,
    follow: bool = False,
    fresh: bool = False,
    pack: Pack | None = None,
) -> list[Outcome]:
    """`fork_server.run_logged`, in a worker that the fork server started."""
    from mapred.engine import fork_server

    return fork_server.run_logged(run_uri, digest, stage, tasks, attempt, follow, fresh, pack)


def prove(cpu: float, *code: bytes) -> None:
    """`fork_server.prove`, in a worker that the fork server started."""
    from mapred.engine import fork_server

    fork_server.prove(cpu, *code)
