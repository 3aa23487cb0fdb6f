"""What drivers have workers do, by name: a driver itself loads nothing of what runs tasks.

The worker's modules are imported inside functions: a pool pickles these by name, so that a driver
needs none of what a worker loads.
"""

from __future__ import annotations

from mapred.model.records import Block, Outcome


def run_block(block: Block) -> list[Outcome]:
    """`worker.tasks.run_block`, in a process of any pool."""
    from mapred.worker import tasks

    return tasks.run_block(block)


def run_logged(block: Block) -> list[Outcome]:
    """`fork_server.run_logged`, in a worker that the fork server started."""
    from mapred.engine import fork_server

    return fork_server.run_logged(block)


def prove(cpu: float, *code: bytes) -> None:
    """`fork_server.prove`, in a worker that the fork server started."""
    from mapred.engine import fork_server

    fork_server.prove(cpu, *code)
