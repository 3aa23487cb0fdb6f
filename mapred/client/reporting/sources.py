"""The source of a run's functions as the run stored it; nothing of it is loaded."""

from __future__ import annotations

import ast
import hashlib
import pickle
from collections.abc import Iterator, Mapping

from mapred.display.report.values import Source
from mapred.errors import MapredError
from mapred.functions import origins, transport
from mapred.model.spec import Job
from mapred.process import secrecy
from mapred.runfolder.folder import RunFolder

_LARGEST = 32 * 2**20  # bytes of a stored function that are looked at
_LINES, _WIDTH = 300, 400


def read_sources(folder: RunFolder, job: Job) -> Iterator[Source]:
    """Yield the source of the function and of the reduce."""
    for path in dict.fromkeys((job.function, job.reduce)):
        if path is None or (path == job.reduce and job.write):
            continue  # what publishes tables is a part of mapred
        origin = origins.recorded_origin(job, path) or origins.Origin(job.name)
        where = f"{origin.module}.{origin.qualname}".strip(".") or origin.name
        where += f", {origin.file}" if origin.file else ""
        try:
            text, note = _read(folder, job, path, origin), ""
        except (MapredError, OSError) as error:
            text, note = "", f"its source cannot be read: {error}"
        except (
            pickle.UnpicklingError,
            EOFError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ):
            text, note = "", "its source cannot be read: what is stored is damaged"
        note = note or "no source is stored: it belongs to an installed package, or is a command"
        yield Source(origin.name, where, secrecy.mask(text, code=True), note)


def _read(folder: RunFolder, job: Job, path: str, origin: origins.Origin) -> str:
    data = folder.store.read(path, 0, _LARGEST + 1)
    if len(data) > _LARGEST:
        return ""
    if hashlib.sha256(data).hexdigest() != job.digests.get(path):
        raise ValueError("it is not the file that the job names")
    texts = transport.texts_of(data)
    return _cut("\n\n".join(filter(None, _excerpts(texts, origin))))


def _excerpts(texts: Mapping[str, str], origin: origins.Origin) -> Iterator[str]:
    """Yield the lines that were copied, or the one function of a module that travelled whole."""
    found = texts.get(origin.file)
    named = _definition(found, origin.qualname) if found and origin.module != "__main__" else None
    if named is not None:
        yield named
        return
    for text in texts.values():
        yield "\n".join(_without_gaps(text.split("\n")))


def _definition(text: str, qualname: str) -> str | None:
    """Return the lines that define a function or class; None where they are not found."""
    try:
        body: list[ast.stmt] = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    node: ast.stmt | None = None
    for part in qualname.split("."):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        named = [each for each in body if isinstance(each, kinds) and each.name == part]
        if not named:
            return None
        node, body = named[-1], named[-1].body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return "\n".join(text.split("\n")[first - 1 : node.end_lineno])


def _without_gaps(lines: list[str]) -> Iterator[str]:
    """Leave out the blank lines that stand for the rest of a file."""
    blank = 2
    for line in lines:
        blank = 0 if line.strip() else blank + 1
        if blank < 2:
            yield line


def _cut(text: str) -> str:
    lines = [line if len(line) <= _WIDTH else line[:_WIDTH] + "…" for line in text.split("\n")]
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"… and {len(lines) - _LINES:,} more lines"]
    return "\n".join(lines).strip("\n")
