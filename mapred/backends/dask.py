"""Dask as a pool: its scheduler places the tasks, and its workers start processes for them."""

from __future__ import annotations

import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mapred._version import __version__
from mapred.backends.local import available_cpus
from mapred.engine import hosted
from mapred.engine.base import Handle
from mapred.engine.driver import Driver
from mapred.engine.thread import DriverThread
from mapred.engine.worker_process import WorkerLost
from mapred.errors import BackendError, FunctionError, MapredError, MissingDependency
from mapred.functions import transport, versions
from mapred.model.checking import check_fields, short_repr
from mapred.model.resources import Resources
from mapred.model.rules import FromOne, Text
from mapred.model.spec import Job, Stage
from mapred.process import secrecy
from mapred.runfolder import pieces
from mapred.storage import Store

_CONNECT_SECONDS, _JOIN_SECONDS, _CLOSE_SECONDS = 30, 60, 10
_LOOK_SECONDS, _ALONE_SECONDS = 5.0, 300.0
_SHOWN = 5


@dataclass(frozen=True)
class Dask:
    """The workers of a Dask cluster, or of one that is made inside this process.

    Args:
        address: The scheduler's address, such as `"tcp://10.0.0.5:8786"`, or a `distributed.Client`,
            which is left open (default: a cluster inside this process, for the run).
        workers: Without an address, how many tasks to run side by side (default: the processors);
            with one, how many workers must have joined before the run starts (default: one).
        name: How the backend is recorded.

    Raises:
        BackendError: An argument does not fit.

    Examples:
        >>> mapred.run(abs, [-1, -2], backend=mapred.Dask(workers=1)).result()
        [1, 2]
    """

    address: Any = None
    workers: FromOne | None = None
    name: Text = "dask"

    def __post_init__(self) -> None:
        check_fields(self, BackendError)
        if isinstance(self.address, str):
            if not self.address.strip():
                text = "address='' is empty: leave it out for a cluster in this process"
                raise BackendError(text)
            remedy = "Dask's own settings name certificates"
            secrecy.refuse_urls((self.address,), "address=", BackendError, remedy)
        elif self.address is not None:
            if isinstance(self.address, type) or not hasattr(self.address, "get_executor"):
                raise BackendError(
                    f"address={short_repr(self.address)}: pass a scheduler's address such as "
                    "'tcp://10.0.0.5:8786', or a distributed.Client"
                )
            if self.address.asynchronous:
                raise BackendError("address= is an asynchronous Client: pass a plain one")

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What job.json says of the backend."""
        address = self.address
        if address is not None and not isinstance(address, str):
            address = address.scheduler.address if address.scheduler else None
        return {"address": address, "workers": self.workers}

    def prepare(self) -> None:
        """Refuse to run where the package distributed is not installed."""
        _import_distributed()

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        """Start a run on the workers of the cluster, and return its handle."""
        distributed = _import_distributed()
        client, close = self._connect(distributed)
        try:
            _await_workers(client, 1 if self.address is None else self.workers or 1)
            used = transport.packages_of(pieces.read(store, job.digests, job.function))
            _check_versions(client, used)
            _check_root(client, store.uri, digest)
            for stage in job.stages:
                _check_devices(client, stage.resources)
        except BaseException:
            close()
            raise

        def executor(stage: Stage) -> DaskExecutor:
            settings = hosted.Settings(
                uri=store.uri,
                digest=digest,
                mapred=__version__,
                timeout=job.timeout,
                memory=stage.resources.memory_bytes,
                max_calls=job.max_tasks_per_worker,
                cpu=stage.resources.cpu,
                gpu=stage.resources.gpu,
                env=tuple(sorted(stage.resources.env.items())),
            )
            return DaskExecutor(client, settings, f"{job.name}-{stage.name}")

        def closing() -> None:
            _end_processes(client, store.uri)
            close()

        driver = Driver(store, job, digest, executor, hosted.run_repeatable)
        return DriverThread(driver, self.name, closing)

    def _connect(self, distributed: Any) -> tuple[Any, Callable[[], None]]:
        """Return a client, and a function that closes all that was opened for it."""
        if self.address is not None and not isinstance(self.address, str):
            if self.address.status != "running":
                raise BackendError(f"the Client is {self.address.status}: make a new one")
            return self.address, lambda: None
        cluster: Any = None
        try:
            if self.address is None:
                cluster = distributed.LocalCluster(
                    n_workers=1,
                    threads_per_worker=self.workers or available_cpus(),
                    processes=False,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                )
            client = distributed.Client(
                cluster or self.address, set_as_default=False, timeout=_CONNECT_SECONDS
            )
        except (OSError, ValueError, ImportError) as error:
            if cluster is not None:
                cluster.close(timeout=_CLOSE_SECONDS)
            raise BackendError(
                f"no Dask scheduler answers at {self.address}: {error}; start one with "
                "`dask scheduler`, and workers with `dask worker ADDRESS`"
            ) from error

        def close() -> None:
            with suppress(Exception):
                client.close(timeout=_CLOSE_SECONDS)
            if cluster is not None:
                with suppress(Exception):
                    cluster.close(timeout=_CLOSE_SECONDS)

        return client, close


class DaskExecutor(Executor):
    """Calls on the workers of a Dask cluster; whatever Dask loses raises `WorkerLost`.

    A worker that dies is Dask's to replace: it sends its calls to another one, until
    `distributed.scheduler.allowed-failures` workers died under the same call.
    """

    def __init__(self, client: Any, settings: hosted.Settings, label: str) -> None:
        self._client, self._settings = client, settings
        self._label = re.sub(r"[^\w]+", "_", label)
        self._flying: set[Any] = set()
        self._ended, self._alone = threading.Event(), False
        threading.Thread(target=self._watch, name="mapred-dask", daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send a call; `fn` must be importable there and its arguments picklable."""
        if kwargs:
            raise BackendError("calls of Dask workers take positional arguments alone")
        return self._send(fn, args, fresh=False)

    def submit_fresh(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Like `submit`, in a process that has run nothing before."""
        return self._send(fn, args, fresh=True)

    def _send(self, fn: Callable[..., Any], args: tuple[Any, ...], *, fresh: bool) -> Future[Any]:
        answer: Future[Any] = Future()
        # The dashboard groups by what comes before the last hyphen.
        key = f"{self._label}-{uuid.uuid4().hex}"
        arguments = (self._settings, fn, args, fresh)
        try:
            sent = self._client.submit(hosted.run_in_subprocess, *arguments, key=key, pure=False)
            self._flying.add(sent)
            self._client.loop.add_callback(self._pass_on, sent, answer)
        except Exception as error:
            raise _make_gone_error(self._client, error) from error
        return answer

    async def _pass_on(self, sent: Any, answer: Future[Any]) -> None:
        """Give a call's outcome to the future that waits for it, with errors of mapred.

        The futures of `client.get_executor()` would not do: they never end when a result is lost
        with its worker and computing it again fails.
        """
        client = self._client
        try:
            outcome = await client.gather(sent, asynchronous=True)
        except BaseException as error:
            if client.status != "running":
                answer.set_exception(_make_gone_error(client, error))
            elif self._alone:
                text = f"there was no Dask worker for {_ALONE_SECONDS:g} s; start some, and resume"
                answer.set_exception(BackendError(text))
            elif sent.cancelled():
                text = "Dask cancelled the task: the client or the cluster was restarted"
                answer.set_exception(WorkerLost("lost", text))
            else:
                answer.set_exception(_to_mapred_error(error))
        else:
            if outcome.error is not None:
                answer.set_exception(outcome.error)
            else:
                answer.set_result(outcome.value)
        self._flying.discard(sent)

    def _watch(self) -> None:
        """Cancel the calls once there has been no worker for a while."""
        seen = time.monotonic()
        while not self._ended.wait(_LOOK_SECONDS):
            with suppress(Exception):
                if not self._flying or self._client.nthreads():
                    seen = time.monotonic()
                elif time.monotonic() - seen > _ALONE_SECONDS:
                    self._alone = True
                    self._client.cancel(list(self._flying))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let running calls end, or have Dask forget them all."""
        self._ended.set()
        if cancel_futures or not wait:
            self.kill()

    def kill(self) -> None:
        """Have Dask forget all calls, and end the processes that run them."""
        self._ended.set()
        if self._client.status == "running":
            with suppress(Exception):
                self._client.cancel(list(self._flying))
            _end_processes(self._client, self._settings.uri)


def _to_mapred_error(error: BaseException) -> MapredError:
    kind = type(error).__name__
    if kind == "KilledWorker":
        died = f"{getattr(error, 'allowed_failures', 0) + 1} Dask workers"
        return WorkerLost("lost", f"{died} died while running the task, one after the other")
    if isinstance(error, ImportError):
        return BackendError(f"a Dask worker cannot import what a task needs: {error}")
    return BackendError(f"Dask failed to run a task: {kind}: {error}")


def _make_gone_error(client: Any, error: BaseException) -> BackendError:
    return BackendError(
        f"the Dask scheduler is gone, or the connection to it (the client is {client.status}; "
        f"{type(error).__name__}); what is committed is kept: resume the run here, or by "
        "backend=mapred.Dask(address) on a scheduler that is running"
    )


def _end_processes(client: Any, uri: str) -> None:
    if client.status == "running":
        with suppress(Exception):
            client.run(hosted.end, uri, on_error="ignore")


def _await_workers(client: Any, count: int) -> None:
    try:
        client.wait_for_workers(count, timeout=_JOIN_SECONDS)
    except Exception as error:
        there = len(client.nthreads())
        raise BackendError(
            f"{there} of {count} Dask workers have joined {client.scheduler.address} within "
            f"{_JOIN_SECONDS} s; start some with `dask worker {client.scheduler.address}`"
        ) from error


def _check_versions(client: Any, used: Mapping[str, str]) -> None:
    """Compare Python, mapred and the function's packages on every worker with those here.

    Python and packages by major and minor version, mapred by its release.
    """
    workers = client.get_versions(packages=["mapred", *used])["workers"]
    here = {"mapred": __version__, **used, "python": ".".join(map(str, sys.version_info[:3]))}
    wrong: dict[str, list[str]] = {}
    for worker, there in workers.items():
        for text in _mismatches(here, there["packages"]):
            wrong.setdefault(text, []).append(worker)
    if wrong:
        lines = [f"{text} on {_format_workers(names)}" for text, names in wrong.items()]
        raise FunctionError(
            "the Dask workers' packages are not those of this process; install the same there:\n"
            + "\n".join(lines)
        )


def _mismatches(here: Mapping[str, str], there: Mapping[str, str | None]) -> Iterator[str]:
    for package, version in here.items():
        other = there.get(package)
        if package == "mapred":
            # One that is only on the import path has no metadata; each task compares it again.
            same = other is None or versions.same_release(version, other)
        else:
            same = versions.alike(version, other)
        if not same:
            shown = "none" if other is None else ".".join(other.split(".")[:3])
            yield f"{package} is {version} here, {shown}"


def _check_root(client: Any, uri: str, digest: str) -> None:
    """Have every worker read the run's job.json."""
    answers = _run_on_all(client, hosted.check_visible, uri, digest, on_error="return")
    wrong: dict[str, list[str]] = {}
    for worker, answer in answers.items():
        if isinstance(answer, ImportError):
            raise BackendError(
                f"the Dask worker {worker} cannot import mapred ({answer}); install "
                f"'mapred[dask]=={versions.base(__version__)}' there"
            )
        if answer is not None:
            wrong.setdefault(str(answer), []).append(worker)
    if wrong:
        lines = [f"{text}: {_format_workers(workers)}" for text, workers in wrong.items()]
        raise BackendError(
            f"not all Dask workers can use the run's root {uri}; pass a root= that they see, such "
            "as s3:// with credentials in their environment, or a folder that all machines "
            "share:\n" + "\n".join(lines)
        )


def _check_devices(client: Any, resources: Resources) -> None:
    """Refuse workers that have too few devices, or that would share theirs."""
    if not resources.gpu:
        return
    answers = _run_on_all(client, hosted.devices_for, dict(resources.env))
    few = [
        f"{worker} has {len(devices)}"
        for worker, (_, devices) in answers.items()
        if len(devices) < resources.gpu
    ]
    if few:
        raise BackendError(
            f"Resources(gpu={resources.gpu}): every Dask worker needs as many devices, and "
            f"{_format_workers(few)}; ask for fewer, or start workers where there are more"
        )
    taken = [(host, device) for host, devices in answers.values() for device in devices]
    if len(set(taken)) < len(taken):
        raise BackendError(
            f"Resources(gpu={resources.gpu}): several Dask workers of one machine see the same "
            "devices; start one worker for each machine, or each with devices of its own by "
            "CUDA_VISIBLE_DEVICES, as `dask cuda worker` does"
        )


def _run_on_all(client: Any, fn: Callable[..., Any], *args: Any, **options: Any) -> dict[str, Any]:
    """Run a function on each worker of a cluster; return the answers by worker."""
    try:
        return dict(client.run(fn, *args, **options))
    except Exception as error:
        raise _make_gone_error(client, error) from error


def _format_workers(workers: list[str]) -> str:
    more = f" and {len(workers) - _SHOWN} more" if len(workers) > _SHOWN else ""
    return ", ".join(workers[:_SHOWN]) + more


def _import_distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise MissingDependency("distributed", "dask") from error
    return distributed
