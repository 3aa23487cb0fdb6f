"""How a run continues, as lines that work when they are pasted into Python or a shell."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

from mapred import backends
from mapred.functions import origins
from mapred.functions.origins import Origin
from mapred.model.failure import Failure
from mapred.model.resources import Resources
from mapred.model.spec import Job
from mapred.process import secrecy
from mapred.runfolder.folder import RunFolder


@dataclass(frozen=True)
class Hint:
    """What to do in words, and `line`, which does it."""

    words: str
    line: str

    def __str__(self) -> str:
        return f"{self.words}:\n{self.line}"


@dataclass(frozen=True)
class Remedy:
    """What has to change before a run can get further; None where nothing has to.

    `functions` says where the functions to fix came from, by the options that take them, `changed`
    the files or names of their source that changed since; `memory` is what map tasks need,
    `backend` one that is there.
    """

    functions: Mapping[str, Origin] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    timeout: float | None = None
    deadline: float | None = None
    memory: int | None = None
    backend: str | None = None


def remedy(folder: RunFolder, job: Job, failures: Sequence[Failure]) -> Remedy:
    """Return what a run that ended with these failures needs."""
    end = folder.end()
    late = end is not None and "deadline=" in end.message
    raised = {failure.stage for failure in failures if failure.kind == "function"}
    kinds = {failure.kind for failure in failures}
    folds = {stage.name for stage in job.stages if stage.kind in ("reduce", "shuffle")}
    memory = job.stages[0].resources.memory_bytes
    old = origins.find_outdated(folder.store, job) if raised else {}
    stages = {"fn": {"map"}, "reduce": folds}
    broken = [option for option in stages if stages[option] & raised]
    names = [name for option in broken for name in old.get(option, ())]
    return Remedy(
        functions=_origins(job, broken),
        changed=tuple(dict.fromkeys(names)),
        timeout=2 * job.timeout if "timeout" in kinds and job.timeout else None,
        deadline=2 * job.deadline if late and job.deadline else None,
        memory=2 * memory if "memory" in kinds and memory else None,
    )


def renewal(job: Job, old: Mapping[str, tuple[str, ...]]) -> Remedy:
    """Return what makes a run use the source as it is now; `old` is what changed, by option."""
    names = dict.fromkeys(name for names in old.values() for name in names)
    return Remedy(functions=_origins(job, old), changed=tuple(names))


def _origins(job: Job, options: Iterable[str]) -> dict[str, Origin]:
    """Return where the functions of these options came from; the publisher of `write=` is ours."""
    paths = {"fn": job.function, "reduce": None if job.write else job.reduce}
    return {
        option: origins.recorded_origin(job, path) or Origin(job.name)
        for option in options
        if (path := paths[option]) is not None
    }


def in_python(uri: str, job: Job, needed: Remedy) -> Hint:
    """Return how to resume from a prompt or a notebook.

    Where no name leads to a function from here, words say what to pass; one of a script is read
    from its file by the command line, since the process that ran the script has ended.
    """
    modules = ["mapred"]
    opened = f"run = mapred.open({uri!r})"
    arguments: list[str] = []
    nameless: list[str] = []
    for option, origin in needed.functions.items():
        if _is_current(origin):
            arguments.append(f"{option}={origin.qualname}")
        elif origin.local and origin.module != "__main__" and origins.can_import(origin):
            modules += ["importlib", *([origin.module] if _is_name(origin.module) else [])]
            module = _module(origin.module)
            arguments.append(f"{option}=importlib.reload({module}).{origin.qualname}")
        elif origin.local:
            hint = in_shell(shlex.quote(uri), job, needed)
            return Hint(f"{hint.words}, in a shell", hint.line)
        else:
            nameless.append(f"{option}=")
    for option, text in _limits(job, needed).items():
        if option == "memory":
            resources = dataclasses.replace(job.stages[0].resources, memory=text, max_memory=None)
            arguments.append(f"resources={resources_line(resources)}")
        else:
            arguments.append(f"{option}={text!r}" if option == "backend" else f"{option}={text}")
    if nameless:
        more = "".join(f", {text}" for text in arguments)
        words = (
            f"to resume, open it and call run.resume({nameless[0]}…{more}) with the fixed function"
        )
        return Hint(words, f"import mapred; {opened}")
    names = ", ".join(dict.fromkeys(modules))
    return Hint(_once(needed), f"import {names}; {opened}.resume({', '.join(arguments)})")


def in_shell(run: str, job: Job, needed: Remedy) -> Hint:
    """Return how to resume from a shell, where `run` stands for the run."""
    command = ["mapred", "resume", run]
    nameless: list[str] = []
    for option, origin in needed.functions.items():
        named = reference(origin)
        if named is None:
            nameless.append(origin.name)
        else:
            command += [f"--{option}", shlex.quote(named)]
    for option, text in _limits(job, needed).items():
        command += [f"--{option}", text]
    line = " ".join(command)
    if nameless:
        words = (
            f"{nameless[0]} is in no file: fix it where it is defined, and pass it to run.resume(), "
            "or resume with what is stored"
        )
        return Hint(words, line)
    return Hint(_once(needed), line)


def _once(needed: Remedy) -> str:
    broken = [origin.name for origin in needed.functions.values()]
    if broken and needed.changed:
        return f"{', '.join(map(_near, needed.changed))} changed since; to resume with the new {broken[0]}"
    return f"to resume, once {' and '.join(broken)} is fixed" if broken else "to resume"


def _is_name(module: str) -> bool:
    """Whether an `import` statement can name a module: a file may have any name."""
    return all(part.isidentifier() and not iskeyword(part) for part in module.split("."))


def _module(name: str) -> str:
    return name if _is_name(name) else f"importlib.import_module({name!r})"


def _is_current(origin: Origin) -> bool:
    """Whether the prompt of this process knows the function by its name."""
    prompt = origin.module == "__main__" and hasattr(sys, "ps1")
    return prompt and origins.current_of(origin) is not None


def reference(origin: Origin) -> str | None:
    """Return the function as a command line names it: `file.py:function` or `module:function`."""
    if not origin.local:
        return None
    if "." in origin.module:
        return f"{origin.module}:{origin.qualname}"
    return f"{_near(origin.file)}:{origin.qualname}"


def _near(file: str) -> str:
    """Return the path of a file, relative to the working folder where it lies below that."""
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return file if relative.startswith("..") else relative


def _limits(job: Job, needed: Remedy) -> dict[str, str]:
    """Return the limits to change, and the backend to name, as the command line's options."""
    options = {
        "timeout": needed.timeout and f"{needed.timeout:g}",
        "deadline": needed.deadline and f"{needed.deadline:g}",
        "memory": needed.memory and _size(needed.memory),
        "backend": needed.backend or backend_for(job.backend),
    }
    return {option: text for option, text in options.items() if text}


def backend_for(made_on: Mapping[str, Any]) -> str | None:
    """Return the backend to name for a run on someone's executor, which nobody else can reach."""
    return None if made_on.get("name") in backends.NAMES else "local"


def _size(size: int) -> str:
    """Return bytes as a quantity, in the largest unit that has a whole number of them."""
    units = [(2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki"), (1, "")]
    return next(f"{size // unit}{name}" for unit, name in units if size % unit == 0)


def resources_line(resources: Resources) -> str:
    """Return resources as they are written; a variable that only looks like a secret as public."""
    defaults = vars(Resources())
    arguments = []
    for name, value in vars(resources).items():
        if value == defaults[name]:
            continue
        text = repr(value)
        if name == "env":
            pairs = (f"{key!r}: {_public(key, held)}" for key, held in value.items())
            text = f"{{{', '.join(pairs)}}}"
        arguments.append(f"{name}={text}")
    return f"mapred.Resources({', '.join(arguments)})".replace("Volume(", "mapred.Volume(")


def _public(name: str, value: str) -> str:
    plain = str(value)
    return f"mapred.public({plain!r})" if secrecy.is_suspect(name, plain) else repr(plain)
