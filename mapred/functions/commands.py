"""A job that is not Python: a shell script or a program in place of the function."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mapred.errors import CommandError, FunctionError
from mapred.functions.task import Task
from mapred.model.checking import checks
from mapred.model.frozen import dataclass
from mapred.model.rules import Location
from mapred.process import secrecy
from mapred.process.children import signal_name
from mapred.process.lazy import pathlib, shutil, tempfile

_FILE_LIMIT = 100 * 2**20
_STORED = (
    "and a command is stored with the job: set it in the environment of the workers, which the "
    "program inherits, or write mapred.public('…') if all may see it"
)
_REMEDIES = {
    errno.E2BIG: "write long items and parameters to files, and pass their names",
    errno.EACCES: "make it executable (chmod +x), or name what runs it: ['bash', 'job.sh']",
    errno.ENOEXEC: "begin it with a line such as #!/bin/sh, or name what runs it: ['sh', 'job.sh']",
    errno.EAGAIN: "let this user have more processes (ulimit -u)",
    errno.ENOMEM: "give its task more memory: Resources(memory=…)",
    errno.EMFILE: "let this user have more open files (ulimit -n)",
}
_MAY_PASS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE)
_NOT_STARTED = 126  # the status that a shell gives then


@dataclass(frozen=True)
class Command:
    """A program that runs once per item or shard; its value is what it printed. Made by `mapred.command`.

    It finds `MAPRED_STAGE`, `MAPRED_SHARD`, `MAPRED_ATTEMPT`, `MAPRED_INDEX` (the item's index,
    else the shard's), `MAPRED_OUTPUT` (a folder whose files are stored and committed) in its
    environment; an item as `MAPRED_ITEM`, a sweep's parameters as `MAPRED_PARAM_NAME` and all of
    them as JSON in `MAPRED_PARAMS`; the bytes of a text shard or of a file as a file at
    `MAPRED_INPUT`. Packed files lie in its working folder, which is made for it.

    Attributes:
        argv: The program and its arguments.
        env: Pairs that are added to its environment.
        files: Name and bytes of each packed file.

    Examples:
        >>> mapred.command(["bash", "-c", "echo item $MAPRED_ITEM"]).argv[0]
        'bash'
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()

    @property
    def name(self) -> str:
        """The program's name, without its folder."""
        return os.path.basename(self.argv[0])

    def __call__(self, *inputs: Any, task: Task, **parameters: Any) -> str:
        with tempfile.TemporaryDirectory(
            prefix="mapred-command-", ignore_cleanup_errors=True
        ) as temporary:
            folder = pathlib.Path(temporary)
            work = folder / "work"
            work.mkdir()
            for name, content in self.files:
                (work / name).write_bytes(content)
                (work / name).chmod(0o755)
            env = self._environment(folder, task, inputs, parameters)
            text = self._run(work, env)
            for path in sorted((folder / "output").iterdir()):
                shutil.move(path, task.output(path.name))
            return text

    def _environment(
        self,
        folder: pathlib.Path,
        task: Task,
        inputs: tuple[Any, ...],
        parameters: Mapping[str, Any],
    ) -> dict[str, str]:
        output = folder / "output"
        output.mkdir()
        env = {
            **os.environ,
            **dict(self.env),
            "MAPRED_STAGE": task.stage,
            "MAPRED_SHARD": str(task.shard),
            "MAPRED_ATTEMPT": str(task.attempt),
            "MAPRED_INDEX": str(task.shard if task.item is None else task.item),
            "MAPRED_OUTPUT": str(output),
        }
        if parameters:
            env["MAPRED_PARAMS"] = json.dumps(parameters, default=str)
            env.update({f"MAPRED_PARAM_{k.upper()}": str(v) for k, v in parameters.items()})
        for value in inputs:
            if isinstance(value, bytes):
                env["MAPRED_INPUT"] = str(folder / "input")
                pathlib.Path(env["MAPRED_INPUT"]).write_bytes(value)
            elif isinstance(value, pathlib.Path):
                env["MAPRED_INPUT"] = str(value)
            else:
                env["MAPRED_ITEM"] = str(value)
        return env

    def _run(self, work: pathlib.Path, env: Mapping[str, str]) -> str:
        import subprocess  # only here, as every worker imports this module

        sys.stderr.flush()
        try:
            process = subprocess.Popen(
                self.argv, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
            )
        except ValueError as error:  # a NUL byte in an item or a parameter
            raise FunctionError(
                f"{self.argv[0]!r} cannot be started: {error}; environment variables cannot hold "
                "such a value"
            ) from error
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "name a program that the worker has")
            text = f"{self.argv[0]!r} cannot be started: {error.strerror}; {remedy}"
            if error.errno in _MAY_PASS:
                raise CommandError(text, _NOT_STARTED) from error
            raise FunctionError(text) from error
        printed, _ = process.communicate()
        if process.returncode:
            code = process.returncode
            ended = f"exit status {code}" if code > 0 else signal_name(-code)
            tail = printed[-2000:].decode(errors="replace")
            text = f"{' '.join(self.argv)} ended with {ended}\n{tail}".rstrip()
            raise CommandError(text, code)
        return printed.decode(errors="replace")


@checks(FunctionError)
def command(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    files: Sequence[Location] = (),
) -> Command:
    r"""Return a program to run in place of a function: `mapred.run(mapred.command([…]), dataset)`.

    The program gets its item, parameters or input by environment variables `MAPRED_…`, as the class
    of the returned value describes. A status other than 0 is a failure.

    Args:
        argv: The program and its arguments. No shell reads them: write `["bash", "-c", "…"]` for one.
        env: Variables that are added to the worker's environment; no secrets.
        files: Paths of files to pack with the job, 100 MiB at most, which lie in the program's
            working folder under their own names.

    Returns:
        The command.

    Raises:
        FunctionError: The program is missing, a file cannot be packed, or something looks like a
            secret.

    Examples:
        >>> greet = mapred.command(["bash", "-c", "echo hello $MAPRED_ITEM"])
        >>> mapred.run(greet, mapred.items(["Oslo", "Rome"])).result()
        ['hello Oslo\n', 'hello Rome\n']
    """
    if not argv or not argv[0] or "\0" in "".join(argv):
        raise FunctionError(
            f"argv={argv!r} must be a list of strings such as ['bash', 'job.sh'], the first a program"
        )
    for name, value in (env or {}).items():
        if not name or set("=\0").intersection(name) or "\0" in value:
            raise FunctionError(f"env: {name!r} cannot be set as an environment variable")
        if secrecy.is_suspect(name, value):
            raise FunctionError(f"env: {name} looks like a secret, {_STORED}")
    if any(map(secrecy.looks_secret, argv)):
        raise FunctionError(f"a word of argv= looks like a secret, {_STORED}")
    return Command(tuple(argv), tuple((env or {}).items()), _pack_files(files))


def _pack_files(files: Sequence[Location]) -> tuple[tuple[str, bytes], ...]:
    packed = []
    for path in map(pathlib.Path, files):
        try:
            packed.append((path.name, path.read_bytes()))
        except OSError as error:
            raise FunctionError(f"{path} cannot be packed: {error.strerror}") from error
    names = [name for name, _ in packed]
    for name in names:
        if names.count(name) > 1:
            raise FunctionError(
                f"files= has {name!r} more than once: they lie in one folder under their own names"
            )
    total = sum(len(content) for _, content in packed)
    if total > _FILE_LIMIT:
        raise FunctionError(f"the files of a command hold {total:,} bytes; limit {_FILE_LIMIT:,}")
    return tuple(packed)
