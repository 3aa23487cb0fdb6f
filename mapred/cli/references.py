"""What the words of a command line mean: a function, a reducer, a job in a file, a dataset."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from types import ModuleType
from typing import Any

import mapred
from mapred.errors import FunctionError, MapredError
from mapred.functions import declared
from mapred.functions.parameters import DATE
from mapred.process import definitions

# Each file that was loaded: what it was then, and its module.
_loaded: dict[str, tuple[tuple[int, int], ModuleType]] = {}
_REDUCERS = ("concat", "count", "max", "mean", "merge_counts", "min", "sum")


def is_job_file(target: str) -> bool:
    """Whether a word names a Python file rather than `module:function` or a dataset."""
    return target.endswith(".py") and not any(letter in target for letter in "*?[")


def load_job(path: str, name: str | None) -> mapred.Job:
    """Return the job that a Python file defines at its top level: `name`, its only one, or `job`."""
    jobs = _jobs(load_file(path))
    if name is not None:
        if name not in jobs:
            raise MapredError(f"{path} defines no job {name!r}; it defines {_names(jobs)}")
        return jobs[name]
    if not jobs:
        raise MapredError(
            f"{path} defines no job; write job = mapred.job(function, dataset) at its top level, "
            f"or name a function: {path}:function"
        )
    if "job" not in jobs and len(jobs) > 1:
        raise MapredError(f"{path} defines several jobs; choose one by --job: {_names(jobs)}")
    return jobs.get("job") or next(iter(jobs.values()))


def job_named(target: str, name: str | None) -> mapred.Job:
    """Return the job of a Python file, or the one that `module:job` names."""
    if is_job_file(target):
        return load_job(target, name)
    job = load_named(target)
    if not isinstance(job, mapred.Job):
        raise MapredError(
            f"{target} is not a job; write job = mapred.job(function, dataset), and name that"
        )
    return job


def _jobs(module: ModuleType) -> dict[str, mapred.Job]:
    """Every job of a module once, under the first name that it has there."""
    jobs: dict[str, mapred.Job] = {}
    for name, value in vars(module).items():
        if isinstance(value, mapred.Job) and not any(value is job for job in jobs.values()):
            jobs[name] = value
    return jobs


def _names(jobs: Mapping[str, Any]) -> str:
    return ", ".join(jobs) or "none"


def load_file(path: str) -> ModuleType:
    """Run a Python file as a module; its folder leads the import path, as for `python FILE`.

    The module is registered under the file's name, which is what has its functions shipped
    by value. It is loaded once, however many words name it, up to where it starts a run.
    """
    file = os.path.abspath(path)
    if not os.path.isfile(file):
        raise MapredError(f"{path}: no such file")
    loaded = _loaded.get(file)
    stamp = os.stat(file).st_mtime_ns, os.stat(file).st_size
    if loaded is not None and loaded[0] == stamp:
        return loaded[1]
    sys.path.insert(0, os.path.dirname(file))
    name = os.path.basename(file)[: -len(".py")]
    if name in sys.modules or name in sys.stdlib_module_names or name == "mapred":
        name += "_job"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with definitions.definitions_alone(name):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _make_function_error(path, file, error) from error
    _loaded[file] = stamp, module
    return module


def load_function(reference: str) -> Any:
    """Return the function that `package.module:name` or `file.py:name` names."""
    function = load_named(reference)
    if not callable(function):
        raise FunctionError(f"{reference} is a {type(function).__name__}, which cannot be called")
    return function


def load_named(reference: str) -> Any:
    """Return what `package.module:name` or `file.py:name` names; the working folder can be
    imported."""
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name:
        raise MapredError(
            f"{reference!r} does not name a function; write package.module:function or file.py:function"
        )
    value: Any = load_file(place) if is_job_file(place) else _load_module(place)
    for part in name.split("."):
        if not hasattr(value, part):
            raise FunctionError(f"{place} has no {name!r}{_similar(part, value)}")
        value = getattr(value, part)
    return value


def _load_module(name: str) -> ModuleType:
    here = os.getcwd()
    if sys.path[:1] not in ([here], [""]):
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise FunctionError(
                f"no module {missing!r} in {here} or among the installed packages"
            ) from error
        raise _make_function_error(name, "", error) from error


def _make_function_error(what: str, file: str, error: BaseException) -> FunctionError:
    """Return an error of the user's own code, with the line of it that failed last."""
    if isinstance(error, MapredError):
        return FunctionError(f"{what}: {error}")
    message = str(error)
    if isinstance(error, SystemExit):
        message = f"it called sys.exit({error.code!r})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file or (not file and "importlib" not in frame.filename)
    ]
    where = ""
    if frames and frames[-1].filename != __file__:
        where = (
            f", line {frames[-1].lineno}"
            if file
            else f" ({frames[-1].filename}:{frames[-1].lineno})"
        )
    return FunctionError(f"{what}{where}: {type(error).__name__}: {message}")


def _similar(name: str, module: Any) -> str:
    import difflib

    close = difflib.get_close_matches(name, [n for n in dir(module) if not n.startswith("__")], 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def load_reducer(text: str) -> Any:
    """Return a ready reducer by its name (`sum`, `top_k:10`), or the function that a reference
    names."""
    if text in _REDUCERS:
        return getattr(mapred.reducers, text)
    if text.startswith("top_k:") and text[6:].isdigit():
        return mapred.reducers.top_k(int(text[6:]))
    if ":" not in text:
        raise FunctionError(
            f"no reducer {text!r}; there are {', '.join(_REDUCERS)}, top_k:K, or module:function"
        )
    return load_function(text)


def parameters_of(words: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of words such as `city=Bern`: JSON where it is any, a date by name,
    else text."""
    return {
        name: _date(text) if name == DATE else declared.read_any(text)
        for name, text in words_of(words).items()
    }


def words_of(words: Sequence[str]) -> dict[str, str]:
    """Return the texts of words such as `city=Bern`, by name."""
    texts: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise MapredError(f"--param {word}: write NAME=VALUE")
        texts[name] = text
    return texts


def _date(text: str) -> datetime:
    try:
        return declared.read_time(text)
    except ValueError:
        raise MapredError(
            f"--param date={text}: write a day or a time, such as 2026-03-01 or 2026-03-01T03:00"
        ) from None


def with_parameters(job: mapred.Job, words: Sequence[str]) -> mapred.Job:
    """Return the job with the parameters of a command line; its `date` is now unless they say one."""
    parameters = parameters_of(words)
    if DATE in job.parameters:
        parameters.setdefault(DATE, datetime.now(timezone.utc))
    return job.bind(**parameters)


def load_functions(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the functions that some of them name."""
    load = {"fn": load_function, "reduce": load_reducer, "finalize": load_function}
    return {name: load[name](value) if name in load else value for name, value in settings.items()}


def replace_options(
    job: mapred.Job, changes: Mapping[str, Any], resources: Mapping[str, Any] | None = None
) -> mapred.Job:
    """Return a job with some of its options replaced, and some of the `resources` of a map task."""
    replaced = dataclasses.replace(job.resources, **resources or {})
    return dataclasses.replace(job, resources=replaced, **changes)
