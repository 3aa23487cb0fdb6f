"""Checksums: those of records, and those of outputs that are read whole."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapred
from mapred.errors import RecordError, StorageError
from mapred.model import checksums, layout, policy
from mapred.model.coding import decode, encode
from mapred.model.records import Commit, Output
from mapred.testing import tamper

RUN: dict[str, Any] = {"backend": "inline", "progress": "none"}
PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@settings(max_examples=20)
@given(st.dictionaries(st.text(max_size=3), PLAIN | st.lists(PLAIN, max_size=2), min_size=1))
def test_a_sealed_record_is_what_was_sealed(values: dict[str, Any]) -> None:
    record = checksums.add_seal(json.dumps(values).encode())
    assert checksums.is_whole(record)
    assert json.loads(record).keys() == {*values, "seal"}


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=1), st.data())
def test_a_flipped_bit_breaks_a_seal(values: dict[str, int], data: st.DataObject) -> None:
    values.pop("seal", None)
    record = bytearray(checksums.add_seal(json.dumps({"a": 1, **values}).encode()))
    place = data.draw(st.integers(0, len(record) - 1))
    record[place] ^= 1 << data.draw(st.integers(0, 7))
    assert not checksums.is_whole(bytes(record))


def test_a_record_without_a_seal_is_one_of_an_earlier_version() -> None:
    values = json.loads(encode(Output("none")))
    assert decode(Output, json.dumps(values).encode(), "x") == Output("none")
    with pytest.raises(RecordError, match="x is not what was written: its checksum differs"):
        decode(Output, json.dumps({**values, "seal": "00000000"}).encode(), "x")


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)))
def test_running_checksums_are_those_of_what_lies_before(data: bytes, some: list[int]) -> None:
    offsets = sorted(min(offset, len(data)) for offset in some)
    sums, whole = checksums.running_crc32(data, offsets)
    assert whole == zlib.crc32(data)
    assert sums == tuple(zlib.crc32(data[:offset]) for offset in offsets)


def flip(path: Path) -> None:
    """Change one bit of what a file holds, past its head."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def rows(item: int) -> pa.Table:
    return pa.table({"k": ["a", "b"] * 500, "n": [item] * 1000})


def numbers(item: int) -> list[int]:
    return [item] * 30_000


def total(values: Iterable[list[int]]) -> int:
    return sum(map(sum, values))


KINDS: dict[str, Callable[[Path], mapred.Run]] = {
    "reduce": lambda root: mapred.run(
        numbers, mapred.items([1, 2]), root=root, reduce=total, **RUN
    ),
    "keyed": lambda root: mapred.run(
        rows, mapred.items([1, 2]), root=root, by="k", aggregate={"n": "sum"}, partitions=2, **RUN
    ),
    "sorted": lambda root: mapred.run(
        rows, mapred.items([1, 2]), root=root, sort_by="n", partitions=2, **RUN
    ),
}


def answer(run: mapred.Run) -> Any:
    return run.to_arrow() if run.job.shuffle else run.result()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_reduce_refuses_a_map_whose_rows_changed(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "REFUSALS", 1)
    run = KINDS[kind](tmp_path)
    before = answer(run)
    later = {stage.name for stage in run.job.stages[1:]}
    for path, _ in run.store.list(""):
        if path in (layout.END, layout.MANIFEST) or path.partition("/")[0] in later:
            run.store.delete(path)
    victim = next(path for path, _ in run.store.list(layout.all_data("map")))
    flip(Path(run.uri, victim))
    with pytest.raises(mapred.RunError) as caught:
        mapred.open(run.uri).resume(**RUN)
    advice = re.search(r"to have its task run again, delete (.*) in \S+ and", str(caught.value))
    assert victim in str(caught.value)
    assert advice is not None
    for path in advice[1].split(" and "):
        run.store.delete(path)
    assert answer(mapred.open(run.uri).resume(**RUN)) == before


READS: dict[str, Callable[[mapred.Run], Any]] = {
    "result": lambda run: run.result(),
    "to_arrow": lambda run: run.to_arrow(),
    "to_pandas": lambda run: run.to_pandas(),
    "outputs": lambda run: list(run.outputs()),
    "write_parquet": lambda run: run.write_parquet(f"{run.uri}-written"),
}


@pytest.mark.parametrize("read", [name for name in READS if name != "write_parquet"])
@pytest.mark.parametrize("function", [numbers, str])
def test_a_value_that_changed_is_refused(tmp_path: Path, function: Any, read: str) -> None:
    run = mapred.run(function, mapred.items(range(2)), root=tmp_path, **RUN)
    for path, _ in run.store.list(layout.all_data("map")):
        flip(Path(run.uri, path))
    for path in (layout.commit("map", 0), layout.MANIFEST):
        run.store.write(path, run.store.read(path).replace(b'"inline":"gA', b'"inline":"gB'))
    with pytest.raises(mapred.MapredError, match="is not what "):
        READS[read](mapred.open(run.uri))


@pytest.mark.parametrize("read", [name for name in READS if name != "result"])
def test_rows_that_changed_are_refused(tmp_path: Path, read: str) -> None:
    table = pa.table({"k": ["a", "b"] * 500})
    run = mapred.run(lambda t: t, table, root=tmp_path, max_tasks=2, **RUN)
    flip(Path(run.uri, run.store.list(layout.all_data("map"))[0][0]))
    with pytest.raises(StorageError, match="is not what was written"):
        READS[read](run)


def test_a_dataset_checks_each_file_when_it_is_opened(tmp_path: Path) -> None:
    table = pa.table({"k": ["a", "b"] * 500})
    run = mapred.run(lambda t: t, table, root=tmp_path, per_task=None, max_tasks=2, **RUN)
    dataset = run.result()
    assert dataset.to_table().num_rows == 1000
    assert pickle.loads(pickle.dumps(dataset)).to_table() == dataset.to_table()
    first, *_ = run.store.list(layout.all_data("map"))
    flip(Path(run.uri, first[0]))
    with pytest.raises(StorageError, match=re.escape(first[0])):
        run.result().to_table()


@pytest.mark.slow
def test_rows_in_a_bucket_are_checked_as_well(s3_root: str) -> None:
    table = pa.table({"k": ["a", "b"] * 500})
    run = mapred.run(lambda t: t, table, root=s3_root, max_tasks=2, **RUN)
    assert run.result().to_table().num_rows == 1000
    path, _ = run.store.list(layout.all_data("map"))[0]
    data = bytearray(run.store.read(path))
    data[len(data) // 2] ^= 1
    run.store.write(path, bytes(data))
    for read in (lambda: run.result().to_table(), run.to_arrow, lambda: list(run.outputs())):
        with pytest.raises(StorageError, match="is not what was written"):
            read()


def test_commits_and_outputs_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    run = KINDS["keyed"](tmp_path)
    before = answer(run)
    for path, _ in run.store.list(""):
        if path in (layout.END, layout.MANIFEST) or path.startswith(("shuffle/", "manifest/")):
            run.store.delete(path)
        elif path.startswith(layout.commits("map")):
            values = json.loads(run.store.read(path))
            del values["seal"], values["output"]["parts"]["checksums"]
            values["output"] |= {"crc32": 0}
            run.store.write(path, json.dumps(values).encode())
    assert answer(mapred.open(run.uri).resume(**RUN)) == before
    assert run.audit(content=False).ok


def test_a_sealed_commit_may_say_what_the_plan_does_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("line\n" * 100)
    lines = mapred.read_text(str(tmp_path / "a.txt"))
    run = mapred.run(lambda found: len(list(found)), lines, root=tmp_path / "runs", **RUN)
    path = layout.commit("map", 0)
    sound = run.store.read(path)
    for change, said in [
        ({"bytes": 499}, "499 bytes were read, and its ranges have 500"),
        ({"records": 501}, "501 records were read from 500 bytes"),
    ]:
        tamper(run, path, lambda commit, change=change: {**commit, **change})
        assert said in str(run.audit())
        run.store.write(path, sound)
    assert Commit.from_bytes(sound).records == 100


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1])
def test_files_are_summed_in_blocks(size: int) -> None:
    data = bytes(size)
    assert checksums.of_file(io.BytesIO(data)) == (size, zlib.crc32(data))
    found = checksums.sha256_of_file(io.BytesIO(data))
    assert found == (size, hashlib.sha256(data).hexdigest())
