"""The reader of a store's file, beside one of bytes in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapred.errors import StorageError
from mapred.storage import reader

DATA = bytes(range(256)) * 40  # a newline every 256 bytes


def opened(
    monkeypatch: pytest.MonkeyPatch, piece: int, asked: list[str], *, whole: int = 100
) -> BinaryIO:
    """A reader with little buffers, and what it asks the store for."""
    monkeypatch.setattr(reader, "_BUFFER", 300)
    monkeypatch.setattr(reader, "_WHOLE", whole)

    def fetch(offset: int, length: int) -> bytes:
        asked.append(f"{offset}+{length}")
        data = DATA[offset : offset + length]
        assert len(data) == length > 0
        return data

    def stream(offset: int) -> Iterator[bytes]:
        asked.append(f"{offset}…")
        for start in range(offset, min(offset + 10 * piece, len(DATA)), piece):
            yield DATA[start : start + piece]

    return reader.reader(fetch, len(DATA), stream)


SIZES = st.integers(-1, 1200)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), SIZES),
        st.tuples(st.just("readline"), SIZES),
        st.tuples(st.just("seek"), st.integers(0, len(DATA) + 10)),
        st.tuples(st.just("readinto"), SIZES.filter(lambda size: size >= 0)),
    ),
    max_size=12,
)


@given(STEPS, st.integers(1, 700), st.sampled_from([100, len(DATA)]))
def test_it_reads_what_a_file_reads(steps: list[tuple[str, int]], piece: int, whole: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        ours, theirs = opened(patched, piece, [], whole=whole), io.BytesIO(DATA)
        for name, number in steps:
            if name == "readinto":
                buffers = bytearray(number), bytearray(number)
                assert ours.readinto(buffers[0]) == theirs.readinto(buffers[1])  # type: ignore[attr-defined]
                assert buffers[0] == buffers[1]
            else:
                assert getattr(ours, name)(number) == getattr(theirs, name)(number)
            assert ours.tell() == theirs.tell()


def test_a_range_is_one_request_and_what_follows_one_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    file = opened(monkeypatch, 500, asked)
    file.seek(5000)
    file.read(10)
    file.seek(5005)
    file.read(200)
    assert asked == ["5000+300"]
    file.read(1000)
    file.read(1000)
    assert asked == ["5000+300", "5300…"]
    file.seek(0)
    file.read()
    assert asked == ["5000+300", "5300…", f"0+{len(DATA)}"]


def test_bytes_that_came_alone_are_handed_out_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"x" * 1000
    monkeypatch.setattr(reader, "_BUFFER", 300)
    file = reader.reader(lambda offset, length: data, 2 * reader._WHOLE + len(data))
    assert file.read(1000) is data


def test_a_small_file_is_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    file = opened(monkeypatch, 500, asked, whole=len(DATA))
    for at in (4000, 0, 9000):
        file.seek(at)
        assert file.read(700) == DATA[at : at + 700]
    assert asked == [f"0+{len(DATA)}"]


def test_an_answer_that_never_comes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_BUFFER", 300)
    file = reader.reader(lambda offset, length: b"y" * length, 2**22, lambda offset: iter(()))
    file.read(300)
    with pytest.raises(StorageError, match="the answer ended before the file did"):
        file.read(1)
