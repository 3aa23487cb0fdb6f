"""A run's own input is held against its digests, whole or in ranges, on every store."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import mapred
from mapred.errors import FunctionError
from mapred.model import layout
from mapred.runfolder import pieces
from mapred.storage import open_store

PATH = layout.ITEMS


def stored(root: str, size: int, *, earlier: bool = False) -> tuple[Any, dict[str, str], bytes]:
    """A store with an input file, the digests of its run, and the bytes."""
    data, store = random.Random(size).randbytes(size), open_store(root)
    digests = {}
    for path, content in [(PATH, data), *(() if earlier else pieces.hash_pieces(PATH, data))]:
        store.write(path, content)
        digests[path] = hashlib.sha256(content).hexdigest()
    return store, digests, data


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("size", [0, 5, pieces.PIECE, pieces.PIECE + 1, 3 * pieces.PIECE - 7])
def test_what_is_read_is_what_was_stored(tmp_path: Path, size: int, earlier: bool) -> None:
    store, digests, data = stored(str(tmp_path), size, earlier=earlier)
    assert (layout.sums(PATH) in digests) == (size > pieces.PIECE and not earlier)
    with pieces.open_input(store, digests, PATH) as file:
        assert file.read() == data
        chance = random.Random(1)
        for _ in range(50):
            start, length = chance.randrange(size + 1), chance.randrange(2 * pieces.PIECE)
            file.seek(start)
            assert file.read(length) == data[start : start + length]
        assert file.seek(0, io.SEEK_END) == size
        assert file.read(1) == b""


@pytest.mark.parametrize("size", [5, 3 * pieces.PIECE])
def test_a_changed_byte_is_not_handed_out(tmp_path: Path, size: int) -> None:
    store, digests, data = stored(str(tmp_path), size)
    for place in (0, size // 2, size - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        store.write(PATH, bytes(changed))
        with pytest.raises(FunctionError, match="is not the file that the job names"):
            pieces.open_input(store, digests, PATH).read()
    store.write(PATH, data[:-1])
    with pytest.raises(FunctionError, match="is not the file that the job names"):
        pieces.open_input(store, digests, PATH).read()
    store.write(PATH, data + b"x")
    if size > pieces.PIECE:
        assert pieces.open_input(store, digests, PATH).read() == data
    else:
        with pytest.raises(FunctionError):
            pieces.open_input(store, digests, PATH)


def test_a_changed_piece_of_a_large_file_spoils_no_other(tmp_path: Path) -> None:
    store, digests, data = stored(str(tmp_path), 4 * pieces.PIECE)
    changed = bytearray(data)
    changed[pieces.PIECE] ^= 1
    store.write(PATH, bytes(changed))
    with pieces.open_input(store, digests, PATH) as file:
        file.seek(2 * pieces.PIECE)
        assert file.read() == data[2 * pieces.PIECE :]
        file.seek(pieces.PIECE)
        with pytest.raises(FunctionError, match="of piece 1"):
            file.read(1)


def test_changed_digests_and_files_without_one_are_refused(tmp_path: Path) -> None:
    store, digests, _ = stored(str(tmp_path), 2 * pieces.PIECE)
    with pytest.raises(FunctionError, match="does not name"):
        pieces.open_input(store, {}, PATH)
    store.write(layout.sums(PATH), b"x" * 64)
    with pytest.raises(FunctionError, match=r"sums/items.pkl is not the file"):
        pieces.open_input(store, digests, PATH)


def size_of(value: Any) -> int:
    return value.num_rows if isinstance(value, pa.Table) else len(value)


@pytest.mark.parametrize("kind", ["items", pytest.param("frame", marks=pytest.mark.slow)])
def test_workers_read_no_changed_input(tmp_path: Path, kind: str) -> None:
    if kind == "items":
        data: Any = [bytes(700_000) for _ in range(4)]
    else:
        data = pa.table({"n": pa.array(range(400_000))})
    options: dict[str, Any] = {"backend": "inline", "progress": "none", "attempts": 1}
    run = mapred.run(size_of, data, root=tmp_path, **options)
    assert run.audit().ok
    path = max(Path(run.uri, "input").iterdir(), key=lambda path: path.stat().st_size)
    assert Path(run.uri, "sums", path.name).exists()
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 255
    path.write_bytes(changed)
    for name in ("end.json", "result/manifest.json"):
        Path(run.uri, name).unlink()
    for commit in Path(run.uri, "map/commits").iterdir():
        commit.unlink()
    with pytest.raises(mapred.RunError, match="is not the file that the job names"):
        mapred.open(run.uri).resume(progress="none", backend="inline")
