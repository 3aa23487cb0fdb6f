"""Pieces of an answer to one piece of memory."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mapred.storage import filling


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("advised", [True, False])
def test_threads_fill_their_parts(advised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not advised:
        monkeypatch.setattr(filling, "_advice", lambda: lambda start, stop: None)
    data = os.urandom(7_654_321)
    sink = filling.allocate(len(data))
    whole = sink.getbuffer()

    def fill(start: int) -> int:
        some = data[start : start + 1_111_111]
        return filling.copy_into(whole[start : start + len(some)], pieces(some, 70_001))

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(fill, range(0, len(data), 1_111_111))) == len(data)
    whole.release()
    assert sink.getvalue() == data


def test_nothing_is_copied_at_the_end() -> None:
    sink = filling.allocate(2**20)
    place = np.frombuffer(sink.getbuffer(), np.uint8).ctypes.data
    filling.copy_into(sink.getbuffer(), [b"x" * 2**20])
    assert np.frombuffer(sink.getvalue(), np.uint8).ctypes.data == place


def test_what_is_too_long_is_counted_and_harms_nobody() -> None:
    sink = filling.allocate(30)
    whole = sink.getbuffer()
    assert filling.copy_into(whole[:10], [b"a" * 8, b"b" * 8, b"c" * 4]) == 20
    whole.release()
    assert sink.getvalue() == b"a" * 8 + bytes(22)


def test_nothing() -> None:
    assert filling.copy_into(filling.allocate(0).getbuffer(), []) == 0
