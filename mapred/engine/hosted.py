"""Tasks on a worker of someone else's pool, each in a process of its own beside that worker.

A thread of such a worker cannot end what hangs, and a function that dies there takes its
neighbours along. Here the thread only waits: limits, logs and fresh processes are those of
`mapred.engine.process_pool`, and a worker that dies takes its processes with it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mapred._version import __version__
from mapred.engine import devices
from mapred.engine.fork_server import run_logged
from mapred.engine.process_pool import ProcessExecutor
from mapred.errors import BackendError, MapredError
from mapred.functions import versions
from mapred.model.records import Block, Outcome
from mapred.runfolder.folder import RunFolder
from mapred.storage import open_store

_IDLE_SECONDS = 30.0


@dataclass(frozen=True)
class Settings:
    """What the processes of one stage share: the run they work for, and their limits.

    `uri` and `digest` are those of the run; `memory` is in bytes and `timeout` in seconds. A
    process takes at most `max_calls`, and a task takes `cpu` of the worker's threads and `gpu` of
    its machine's devices.
    """

    uri: str
    digest: str
    mapred: str
    timeout: float | None
    memory: int | None
    max_calls: int | None
    cpu: float
    gpu: int
    env: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answer:
    """What a call returned, or the error that it raised: a value for the pool in between."""

    value: Any = None
    error: BaseException | None = None


def run_in_subprocess(
    settings: Settings, fn: Callable[..., Any], args: tuple[Any, ...], fresh: bool
) -> Answer:
    """Call `fn` in a process of its own, one that has run nothing before if `fresh`."""
    try:
        pool = _Pool.of(settings)
        try:
            submit = pool.executor.submit_fresh if fresh else pool.executor.submit
            return Answer(submit(fn, *args).result())
        finally:
            pool.leave()
    except BaseException as error:
        # Dask loses a task that ends in anything but an `Exception`, and waits for it for good.
        return Answer(error=error)


def run_repeatable(block: Block) -> list[Outcome]:
    """Run a block in a pool that repeats calls by itself: look for commits of fresh tasks too."""
    return run_logged(block._replace(fresh=False))


def check_visible(uri: str, digest: str) -> str | None:
    """Say why this process cannot work on a run: job.json is not there, or is another one."""
    try:
        here = RunFolder(open_store(uri)).job_digest()
    except FileNotFoundError:
        return "there is no such folder here"
    except MapredError as error:
        return str(error)
    except Exception as error:
        return type(error).__name__
    return None if here == digest else "the folder here is another run's"


def devices_for(env: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the name of this worker's machine, and the devices that its tasks may use."""
    return os.uname().nodename, devices.visible({**os.environ, **env})


async def end(uri: str) -> None:
    """End all processes that work for a run; idle ones close what they hold before."""
    with _lock:
        pools = [_pools.pop(settings) for settings in list(_pools) if settings.uri == uri]
    # Not in this thread, which is the event loop of the worker.
    await asyncio.gather(*(asyncio.to_thread(pool.executor.kill) for pool in pools))


class _Pool:
    """The processes of one stage on this worker; they end when nothing has come for a while."""

    def __init__(self, settings: Settings) -> None:
        if not versions.same_release(settings.mapred, __version__):
            raise BackendError(
                f"a worker has mapred {__version__}, and the run was started by {settings.mapred}"
            )
        reason = check_visible(settings.uri, settings.digest)
        if reason is not None:
            raise BackendError(f"a worker cannot use {settings.uri}: {reason}")
        threads, memory = _host_limits()
        self.settings, self.calls, self.number = settings, 0, 0
        env = dict(settings.env)
        gpus = devices.visible({**os.environ, **env}) if settings.gpu else ()
        if len(gpus) < settings.gpu:
            raise BackendError(f"a Dask worker sees {len(gpus)} devices, and gpu={settings.gpu}")
        places = max(1, int(threads / settings.cpu))
        self.executor = ProcessExecutor(
            min(places, len(gpus) // settings.gpu) if settings.gpu else places,
            timeout=settings.timeout,
            memory=settings.memory or memory,
            max_calls=settings.max_calls,
            env=env,
            gpus=gpus,
            gpu=settings.gpu,
        )

    @classmethod
    def of(cls, settings: Settings) -> _Pool:
        """Return the pool for these settings, which the caller has to leave."""
        with _lock:
            pool = _pools.get(settings)
            if pool is None:
                if settings.gpu:
                    _free_devices()
                pool = _pools[settings] = cls(settings)
            pool.calls, pool.number = pool.calls + 1, pool.number + 1
            return pool

    def leave(self) -> None:
        with _lock:
            self.calls -= 1
            if self.calls:
                return
            timer = threading.Timer(_IDLE_SECONDS, self._expire, (self.number,))
        timer.daemon = True
        timer.start()

    def _expire(self, number: int) -> None:
        with _lock:
            if self.number != number or _pools.get(self.settings) is not self:
                return
            del _pools[self.settings]
        self.executor.kill()


_lock = threading.Lock()
_pools: dict[Settings, _Pool] = {}


def _free_devices() -> None:
    """End idle processes, which keep their devices from a stage that begins; `_lock` is held."""
    for settings, pool in list(_pools.items()):
        if settings.gpu and not pool.calls:
            del _pools[settings]
            threading.Thread(target=pool.executor.kill, name="mapred-end", daemon=True).start()


def _host_limits() -> tuple[int, int | None]:
    """Return how many calls this worker takes at once, and its own limit of memory in bytes."""
    from distributed import get_worker  # an optional package, which is there on its worker

    worker = get_worker()
    return worker.state.nthreads, worker.memory_manager.memory_limit
