"""A store as a file system of Arrow's, so that datasets read from it, range by range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa
import pyarrow.fs as pafs

if TYPE_CHECKING:
    from mapred.storage import Store


class _StoreHandler(pafs.FileSystemHandler):  # type: ignore[misc]
    """Opens files of a store; everything else is refused."""

    def __init__(self, store: Store, sizes: Mapping[str, int]) -> None:
        self.store, self.sizes = store, sizes

    def get_type_name(self) -> str:
        return "mapred"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[Any]:
        # The files are those that commits name: nobody asks the store whether they are there.
        return [pafs.FileInfo(path, pafs.FileType.File) for path in paths]

    def open_input_file(self, path: str) -> Any:
        return pa.PythonFile(self.store.open(path, (self.sizes[path], "")), mode="r")

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def _refuse(self, *arguments: Any) -> NoReturn:
        raise NotImplementedError("a run's files are read only")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = _refuse
    delete_root_dir_contents = delete_file = move = copy_file = _refuse
    open_output_stream = open_append_stream = _refuse


def filesystem(store: Store, sizes: Mapping[str, int]) -> Any:
    """A `pyarrow.fs.FileSystem` whose paths are the store's, for files of these sizes."""
    return pafs.PyFileSystem(_StoreHandler(store, sizes))
