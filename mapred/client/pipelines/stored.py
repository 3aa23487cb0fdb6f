"""What the folder of a pipeline holds as pickles: its function, its arguments, and its result."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from mapred.client.run_handle import Run, open_run
from mapred.errors import FunctionError, MapredError
from mapred.functions import pickling, transport
from mapred.functions.modules.importing import install
from mapred.model import layout
from mapred.model.checking import safe_text
from mapred.runfolder.pipelines import PipelineFolder, PipelineRecord


def load_function(folder: PipelineFolder, record: PipelineRecord) -> Callable[..., Any]:
    """Return the function of a pipeline as it was stored, or as the last resumption edited it."""
    _install_modules(folder, record)
    path, digest = folder.code_files(record)[layout.FUNCTION]
    function: Callable[..., Any] = transport.unpickle(folder.read_checked(path, digest), path)
    return function


def load_arguments(folder: PipelineFolder, record: PipelineRecord) -> dict[str, Any]:
    """Return the arguments as they were, whatever a call of the function did to them."""
    data = folder.read_checked(layout.PARAMETERS, record.digests[layout.PARAMETERS])
    values: dict[str, Any] = pickling.load(io.BytesIO(data))
    return values


def load_result(folder: PipelineFolder, record: PipelineRecord) -> Any:
    """Return what the function of a pipeline that succeeded has returned."""
    end = folder.end()
    assert end is not None
    _install_modules(folder, record)
    return _Loader(io.BytesIO(folder.read_checked(layout.RESULT, end.manifest))).load()


def _install_modules(folder: PipelineFolder, record: PipelineRecord) -> None:
    found = folder.code_files(record).get(layout.MODULES)
    if found is not None:
        install(folder.read_checked(*found))


class _Dumper(pickling.Pickler):
    """Pickles what a pipeline returned: runs by their folders."""

    def persistent_id(self, value: Any) -> Any:
        return ("run", value.uri) if isinstance(value, Run) else None


class _Loader(pickle.Unpickler):
    def persistent_load(self, key: Any) -> Any:
        _, uri = key
        return open_run(uri)


def dump_result(value: Any) -> bytes:
    """Return what a pipeline returned as bytes; a `FunctionError` where it cannot be kept."""
    sink = io.BytesIO()
    try:
        _Dumper(sink).dump(value)
    except MapredError:
        raise
    except Exception as error:
        raise FunctionError(
            f"the pipeline returned a {type(value).__name__}, which cannot be pickled: "
            f"{safe_text(str, error)}; return a run, or what can be pickled"
        ) from error
    return sink.getvalue()
