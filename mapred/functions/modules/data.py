"""Files of data that go with local modules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from mapred.functions.modules import imports
from mapred.functions.modules.local import LocalModule

_DATA_FILE, _DATA_ALL, _DATA_COUNT = 256 * 1024, 4 * 2**20, 1000
_NOT_DATA = (".py", ".pyc", ".pyo", ".so", ".pyd")
# By one of these a module finds the files beside it.
_OPENS = (b"__file__", b"resources", b"get_data")


def beside(module: LocalModule) -> Iterator[tuple[str, str, bytes]]:
    """Yield small files, each with its package and its path below that.

    Of a package they are all; of another module those beside it that its source names.
    """
    package = module.name if module.kind == "package" else module.name.rpartition(".")[0]
    left = _DATA_ALL
    for folder, file in islice(_data_files(module), _DATA_COUNT):
        with suppress(OSError):
            if os.path.getsize(file) <= min(_DATA_FILE, left):
                with open(file, "rb") as stream:
                    content = stream.read()
                left -= len(content)
                yield package, os.path.relpath(file, folder), content


def _data_files(module: LocalModule) -> Iterator[tuple[str, str]]:
    """Yield the folder that a module lies in, with each file of data."""
    if module.kind == "package":
        for folder in module.folders:
            yield from ((folder, file) for file in _files(folder))
    elif module.kind == "source" and any(word in module.text for word in _OPENS):
        folder = os.path.dirname(module.file)
        if os.path.exists(os.path.join(folder, "__init__.py")):
            return  # they come with the package
        texts = imports.text_constants(imports.code_of(module.name, module.file, module.text))
        for name in sorted(filter(_can_name, texts)):
            place = os.path.normpath(os.path.join(folder, name.lstrip("/")))
            if place.startswith(folder + os.sep):
                files = [place] if os.path.isfile(place) else _files(place)
                yield from ((folder, file) for file in files if _is_data(file))


def _can_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _files(folder: str) -> Iterator[str]:
    """Yield the files of data below a folder, without those of the packages in it."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", "__pycache__"))
            and not os.path.exists(f"{place}/{name}/__init__.py")
        )
        yield from filter(_is_data, (os.path.join(place, name) for name in sorted(names)))


def _is_data(file: str) -> bool:
    return not (os.path.basename(file).startswith(".") or file.endswith(_NOT_DATA))
