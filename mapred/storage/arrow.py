"""A store as a file system of Arrow's, so that datasets read from it.

A file that is read whole is checked when it is first opened: one on a disk, which is mapped into
memory, and a small one of an object store. A large one is read range by range as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa
import pyarrow.fs as pafs

if TYPE_CHECKING:
    from mapred.storage.base import Store

# One request for the whole file takes no longer than those for its footer and its batches.
_WHOLE = 32 * 2**20

Check = Callable[[str, Any], None]


class _StoreHandler(pafs.FileSystemHandler):  # type: ignore[misc]
    """Opens files of a store; everything else is refused."""

    def __init__(self, store: Store, sizes: Mapping[str, int], check: Check) -> None:
        self.store, self.sizes, self.check = store, sizes, check
        self.checked: set[str] = set()

    def get_type_name(self) -> str:
        return "mapred"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[Any]:
        # The files are those that commits name: nobody asks the store whether they are there.
        return [pafs.FileInfo(path, pafs.FileType.File) for path in paths]

    def open_input_file(self, path: str) -> Any:
        size = self.sizes[path]
        here = self.store.local_path(path)
        if here is None and size > _WHOLE:
            return pa.PythonFile(self.store.open(path, (size, "")), mode="r")
        if here is None:
            data = pa.py_buffer(self.store.read(path))
        else:
            with pa.memory_map(here) as file:
                data = file.read_buffer()
        if path not in self.checked:
            self.check(path, data)
            self.checked.add(path)
        return pa.BufferReader(data)

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def _refuse(self, *arguments: Any) -> NoReturn:
        raise NotImplementedError("a run's files are read only")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = _refuse
    delete_root_dir_contents = delete_file = move = copy_file = _refuse
    open_output_stream = open_append_stream = _refuse


def filesystem(store: Store, sizes: Mapping[str, int], check: Check) -> Any:
    """Return a `pyarrow.fs.FileSystem` whose paths are the store's, for files of these sizes.

    `check` gets the path and the bytes of a file that is read whole, and raises if they changed.
    """
    return pafs.PyFileSystem(_StoreHandler(store, sizes, check))
