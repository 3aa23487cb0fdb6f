"""What holds for files that go to a store in parts, whichever store it is."""

from __future__ import annotations

import io
from pathlib import Path

from mapred.storage import Store


def check_large_files(store: Store, folder: Path) -> None:
    """A file and bytes of 20 MiB are put, and read whole, from a place on and behind the end."""
    data = bytes(range(256)) * 4096 * 20
    (folder / "large").write_bytes(data)
    store.put_file(folder / "large", "file")
    store.write("data", data)
    for path in ("file", "data"):
        with store.open(path) as file:
            file.seek(-300, io.SEEK_END)
            assert file.read() == data[-300:]
            assert file.seek(5) == 5
            assert file.read(10) == data[5:15]
            file.seek(0)
            assert file.read() == data
        assert store.read(path) == data
        assert store.read(path, len(data) - 2, 10) == data[-2:]
        assert store.read(path, len(data)) == b""
        assert store.read(path, 3, 0) == b""
