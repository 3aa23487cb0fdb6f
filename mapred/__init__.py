"""Map a Python function over a dataset, and reduce: one call from a laptop to a cluster.

    import mapred

    def count_words(lines):
        return sum(len(line.split()) for line in lines)

    run = mapred.run(count_words, "corpus/*.txt", reduce=sum)
    run.result()

Where to begin:

    run, submit            run a function over a dataset; wait for the end, or do not
    read_text, read_csv, read_parquet, read_json, read_arrow, read_files, files
                           what files hold, and what the function gets
    items, array, sweep    run a function once per item, index, or point of a sweep
    outputs                what earlier runs returned or wrote
    plan                   what would run, without running it
    reducers               ready values for reduce=: sum, concat, merge_counts, top_k, ...
    write_parquet, write_delta
                           values for write=: have the workers write datasets
    Task, Resources        what a function may ask for, and what a task needs
    Local, Dask, Argo      where tasks run
    open, runs, rm, gc     find, list and remove runs
    pipeline, recorded, approve
                           functions of several runs, which continue where they stopped
    job, schedule, deployed, command
                           jobs with parameters, by the clock, by name, or of another language
    errors                 what can go wrong, as a tree

A run is a folder: whatever happens to this process, `mapred.open("last").resume()` does what is
missing. `help(mapred.run)` describes all options; `mapred` in a shell does the same work.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

# Names are loaded at first use, so that importing this package costs next to nothing.
from mapred._version import __version__ as __version__

if TYPE_CHECKING:
    from mapred import errors as errors
    from mapred import reducers as reducers
    from mapred.backends.argo.backend import Argo as Argo
    from mapred.backends.dask import Dask as Dask
    from mapred.backends.local import Local as Local
    from mapred.client.api import Job as Job
    from mapred.client.api import Plan as Plan
    from mapred.client.api import job as job
    from mapred.client.api import plan as plan
    from mapred.client.api import run as run
    from mapred.client.api import submit as submit
    from mapred.client.audit import Audit as Audit
    from mapred.client.deploying import Deployment as Deployment
    from mapred.client.deploying import deployed as deployed
    from mapred.client.deploying import deployments as deployments
    from mapred.client.deploying import undeploy as undeploy
    from mapred.client.history import runs as runs
    from mapred.client.lookup import open as open
    from mapred.client.pipelines.asking import approve as approve
    from mapred.client.pipelines.asking import recorded as recorded
    from mapred.client.pipelines.handle import PipelineRun as PipelineRun
    from mapred.client.pipelines.pipeline import Pipeline as Pipeline
    from mapred.client.pipelines.pipeline import pipeline as pipeline
    from mapred.client.retention import Removals as Removals
    from mapred.client.retention import gc as gc
    from mapred.client.retention import rm as rm
    from mapred.client.run_handle import Run as Run
    from mapred.client.scheduling import Schedule as Schedule
    from mapred.client.scheduling import schedule as schedule
    from mapred.client.scheduling import schedules as schedules
    from mapred.client.scheduling import unschedule as unschedule
    from mapred.dataset import Dataset as Dataset
    from mapred.dataset import array as array
    from mapred.dataset import files as files
    from mapred.dataset import items as items
    from mapred.dataset import loguniform as loguniform
    from mapred.dataset import outputs as outputs
    from mapred.dataset import read_arrow as read_arrow
    from mapred.dataset import read_csv as read_csv
    from mapred.dataset import read_files as read_files
    from mapred.dataset import read_json as read_json
    from mapred.dataset import read_parquet as read_parquet
    from mapred.dataset import read_text as read_text
    from mapred.dataset import sweep as sweep
    from mapred.dataset import uniform as uniform
    from mapred.engine.base import Backend as Backend
    from mapred.errors import AccessError as AccessError
    from mapred.errors import BackendError as BackendError
    from mapred.errors import CommandError as CommandError
    from mapred.errors import DatasetError as DatasetError
    from mapred.errors import FunctionError as FunctionError
    from mapred.errors import MapredError as MapredError
    from mapred.errors import MissingDependency as MissingDependency
    from mapred.errors import PlanError as PlanError
    from mapred.errors import ReduceError as ReduceError
    from mapred.errors import RunError as RunError
    from mapred.errors import StaleDatasetError as StaleDatasetError
    from mapred.errors import StorageError as StorageError
    from mapred.formats.whole_files import File as File
    from mapred.functions.commands import command as command
    from mapred.functions.task import Task as Task
    from mapred.model.failure import Failure as Failure
    from mapred.model.pipelines import PipelineStatus as PipelineStatus
    from mapred.model.pipelines import StepStatus as StepStatus
    from mapred.model.resources import Resources as Resources
    from mapred.model.resources import Volume as Volume
    from mapred.model.status import RunStatus as RunStatus
    from mapred.process.secrecy import public as public
    from mapred.reducers import Reducer as Reducer
    from mapred.runfolder.completed import Completed as Completed
    from mapred.runfolder.pipelines import Answer as Answer
    from mapred.runfolder.pipelines import Gate as Gate
    from mapred.storage import Store as Store
    from mapred.writing import Written as Written
    from mapred.writing import write_delta as write_delta
    from mapred.writing import write_parquet as write_parquet

# The names of each module, which is loaded when the first of them is used.
_WHERE = {
    "mapred.backends.argo.backend": "Argo",
    "mapred.backends.dask": "Dask",
    "mapred.backends.local": "Local",
    "mapred.client.api": "Job Plan job plan run submit",
    "mapred.client.audit": "Audit",
    "mapred.client.deploying": "Deployment deployed deployments undeploy",
    "mapred.client.history": "runs",
    "mapred.client.lookup": "open",
    "mapred.client.pipelines.asking": "approve recorded",
    "mapred.client.pipelines.handle": "PipelineRun",
    "mapred.client.pipelines.pipeline": "Pipeline pipeline",
    "mapred.client.retention": "Removals gc rm",
    "mapred.client.run_handle": "Run",
    "mapred.client.scheduling": "Schedule schedule schedules unschedule",
    "mapred.dataset": "Dataset array files items loguniform outputs read_arrow read_csv read_files "
    "read_json read_parquet read_text sweep uniform",
    "mapred.engine.base": "Backend",
    "mapred.errors": "AccessError BackendError CommandError DatasetError FunctionError MapredError "
    "MissingDependency PlanError ReduceError RunError StaleDatasetError StorageError",
    "mapred.formats.whole_files": "File",
    "mapred.functions.commands": "command",
    "mapred.functions.task": "Task",
    "mapred.model.failure": "Failure",
    "mapred.model.pipelines": "PipelineStatus StepStatus",
    "mapred.model.resources": "Resources Volume",
    "mapred.model.status": "RunStatus",
    "mapred.process.secrecy": "public",
    "mapred.reducers": "Reducer",
    "mapred.runfolder.completed": "Completed",
    "mapred.runfolder.pipelines": "Answer Gate",
    "mapred.storage": "Store",
    "mapred.writing": "Written write_delta write_parquet",
}
_MODULES = ("errors", "reducers")
_NAMES = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        importlib.import_module("mapred.process.describing").plain_annotations(value)
    elif name in _MODULES:
        value = importlib.import_module(f"mapred.{name}")
    else:
        raise AttributeError(f"module 'mapred' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    for name in __all__:
        if name not in globals():  # Tab shows kind and signature of names that are loaded
            __getattr__(name)
    return sorted(__all__)


def _load_when_idle() -> None:
    """Load all names once the cell that imports this package is done, so that Tab knows them.

    Loading them takes longer than IPython waits for kinds and signatures.
    """
    try:
        loop = sys.modules["asyncio"].get_running_loop()
    except RuntimeError:
        return
    loop.call_later(0.2, __dir__)


if "ipykernel" in sys.modules:
    _load_when_idle()
