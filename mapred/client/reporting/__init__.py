"""A run's report: a page that is made of its folder, as data alone, and written in one go."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mapred.client.reporting.gathering import gather
from mapred.display.report import GENERATOR, report_page
from mapred.errors import RunError
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.runfolder.folder import RunFolder

_HEAD = 2000  # bytes in which a report says that it is one


def make_page(
    folder: RunFolder, job: Job, status: Callable[[], RunStatus], result: str | None
) -> str:
    """Return the page about a run."""
    return report_page(gather(folder, job, status, result))


def write_page(target: str, page: Callable[[], str]) -> Path:
    """Write a page to a file in one go; only an earlier report is replaced."""
    path = Path(target)
    if "://" in target:
        raise RunError(f"a report is a file of this machine, and {target!r} is a URI")
    _check(path)
    data = page().encode(errors="replace")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.new")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise RunError(
            f"the report cannot be written to {path}: {error.strerror or error}"
        ) from error
    return path


def _check(path: Path) -> None:
    """Refuse what is not the place of a report, before it is made."""
    if path.is_dir():
        raise RunError(f"{path} is a folder: name a file in it, such as {path / 'report.html'}")
    if not path.parent.is_dir():
        raise RunError(f"there is no folder {path.parent}: make it, or name another file")
    if not path.exists():
        return
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}; name another file") from error
    if head and f'content="{GENERATOR}"'.encode() not in head:
        raise RunError(
            f"{path} is there and is not a report of mapred's: name another file, or delete it"
        )
