"""Records as JSON: what is written is read again, and what is anything else is one clear error."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from mapred.errors import RecordError
from mapred.model.coding import VERSION, decode, encode
from mapred.model.failure import Failure
from mapred.model.records import Commit, Output, Span, StoredFile
from mapred.model.resources import Resources, Volume
from mapred.model.shuffle import Aggregation, Parts, Shuffle
from mapred.model.spec import Format, Job, Stage
from mapred.runfolder.manifests import Manifest, ManifestEntry
from mapred.runfolder.records import End, FailedTasks, Write
from mapred.runfolder.starts import Start

JOB = Job(
    run_id="r",
    name="n",
    created="2026-03-01T12:00:00Z",
    format=Format("csv", "pandas", columns=("a",), null_values=("", "NA"), header=False),
    stages=(
        Stage("map", "map", 3, resources=Resources(2, "4Gi", volumes=(Volume("/d", claim="c"),))),
        Stage("shuffle", "shuffle", 2, "map", 3, last=True),
    ),
    shards=3,
    items=0,
    files=1,
    bytes=10,
    function="function.pkl",
    shuffle=Shuffle(("a",), 2, (Aggregation("s", "b", "sum", {"min_count": 1}),)),
    retry_on=("builtins.OSError", 75),
    max_failed=0.5,
    backend={"name": "local", "arguments": {"workers": 2}},
    digests={"function.pkl": "f" * 64},
    submitted=1764478000.5,
    parameters={"city": "Bern", "day": {"date": "2026-03-01"}},
    code={"function.pkl": {"name": "n", "texts": {}}},
)
COMMIT = Commit(
    "map",
    1,
    "1-0a",
    "f",
    Output("parts", "table", 1, 7, "map/data/x", 9, 3, parts=Parts((0, 4, 9), "c2NoZW1h", 7)),
    (StoredFile("n", "map/files/n", 1, 2),),
    records=7,
    spans=(Span(0, 1, 2),),
    started=1764478000.5,
    counters={"rows": 3, "much": float("inf")},
    heavy={"x": 2},
)
RECORDS: list[Any] = [
    JOB,
    COMMIT,
    Failure("map", 1, "1-0a", "function", "E", "no", items=(3, 4), values={3: "x"}, time=1.5),
    Start("local:h:1:2", "running", 5.5, None, ((1.0, 2.5),)),
    End("failed", "no", 7),
    FailedTasks({3: [1, 2], 5: None}),
    Manifest("map", (ManifestEntry(0, COMMIT.output, COMMIT.files), ManifestEntry(1, None, ()))),
    Write("s3://b/x", "20260301-120000-0123abcd", 3.0),
]
IDS = [type(record).__name__ for record in RECORDS]


def changed(record: Any, **values: Any) -> bytes:
    return json.dumps({**json.loads(encode(record)), **values}).encode()


@pytest.mark.parametrize("record", RECORDS, ids=IDS)
def test_records_are_read_as_they_were_written(record: Any) -> None:
    assert decode(type(record), encode(record), "x") == record
    assert json.loads(encode(record))["version"] == VERSION


@pytest.mark.parametrize("record", RECORDS, ids=IDS)
def test_one_without_a_version_is_of_the_old_format(record: Any) -> None:
    values = json.loads(encode(record))
    del values["version"]
    assert decode(type(record), json.dumps(values).encode(), "x") == record


@pytest.mark.parametrize("record", RECORDS, ids=IDS)
def test_versions(record: Any) -> None:
    more = changed(record, version="1.7", what_comes_later=[1])
    assert decode(type(record), more, "x") == record
    with pytest.raises(RecordError, match=r"^x was made by a newer mapred: its format is 2\.0"):
        decode(type(record), b'{"version": "2.0", "all_else": 1}', "x")
    for odd in (2, None, "two", "1", "1.0.0", [1, 0], "9" * 5000):
        with pytest.raises(RecordError, match=r"^x: version must be a text such as '1\.0'"):
            decode(type(record), changed(record, version=odd), "x")


@pytest.mark.parametrize("record", RECORDS, ids=IDS)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "x is empty, as files are after a power cut"),
        (bytes(4096), "x is empty, as files are after a power cut"),
        (b"[" * 200_000, "x is nested too deeply"),
        (b"{", "x is not a record in JSON: Expecting property name"),
        (b'{"a": "\xff"}', "x is not a record in JSON: 'utf-8' codec"),
        (b"1" * 5000, "x"),
        (b"[]", "x: it must be an object, and is"),
        (b"null", "x: it must be an object, and is None"),
    ],
)
def test_what_is_not_a_record(record: Any, data: bytes, said: str) -> None:
    with pytest.raises(RecordError) as raised:
        decode(type(record), data, "x")
    assert said in str(raised.value)
    assert len(str(raised.value)) < 400
    assert raised.value.blank == (not data.strip(b"\0"))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(RecordError, match=r"^x: state is missing: a record has state$"):
        decode(End, b"{}", "x")
    assert decode(Start, b"{}", "x") == Start()


@pytest.mark.parametrize(
    ("record", "values", "said"),
    [
        (JOB, {"created": 5}, "created must be a time such as '2026-03-01T12:00:00Z', and is 5"),
        (JOB, {"created": "2026-13-01T12:00:00Z"}, "created must be a time"),
        (JOB, {"submitted": "now"}, "submitted must be a number of seconds"),
        (JOB, {"submitted": float("nan")}, "submitted must be a number of seconds"),
        (JOB, {"submitted": 1e300}, "submitted must be a number of seconds"),
        (JOB, {"max_failed": float("nan")}, "max_failed must be a finite number, and is nan"),
        (JOB, {"bytes": 10**400}, "bytes must be a whole number from 0, and is 1000"),
        (JOB, {"items": True}, "items must be a whole number from 0, and is True"),
        (JOB, {"shards": 10**12}, "shards must be a whole number from 0 to 10,000,000"),
        (JOB, {"seed": 0.5}, "seed must be a whole number of 64 bits"),
        (JOB, {"stages": {}}, "stages must be a list, and is {}"),
        (JOB, {"stages": [7]}, "stages[0] must be an object, and is 7"),
        (JOB, {"digests": []}, "digests must be an object, and is []"),
        (JOB, {"digests": {"f": 1}}, "digests.f must be a text, and is 1"),
        (JOB, {"function": "../f"}, "function must be a path below the run's folder"),
        (JOB, {"format": {"name": "x", "as_": 1}}, "format.as_ must be a text"),
        (JOB, {"format": {"name": "x", "as_": "y", "schema": "%"}}, "format.schema must be bytes"),
        (JOB, {"format": {"name": "x", "as_": "y", "schema": "eA=="}}, "an Arrow schema in base64"),
        (COMMIT, {"task": "1"}, "task must be a whole number from 0 to 10,000,000, and is '1'"),
        (COMMIT, {"stage": "../x"}, "stage must be the name of a stage"),
        (COMMIT, {"output": []}, "output must be an object, and is []"),
        (COMMIT, {"output": {"kind": "pickle", "path": "/etc/x"}}, "output.path must be a path"),
        (COMMIT, {"spans": [[1, 2]]}, "spans[0] must be a list of 3, and is [1, 2]"),
        (COMMIT, {"spans": [[1, 2, None]]}, "spans[0][2] must be a whole number"),
        (COMMIT, {"counters": {"a": None}}, "counters.a must be a number, and is None"),
        (RECORDS[2], {"values": {"x": "y"}}, "values must be an object whose names are whole"),
        (RECORDS[3], {"pauses": [[1]]}, "pauses[0] must be a list of 2"),
        (RECORDS[4], {"state": "odd"}, "state must be one of 'succeeded', 'failed', 'cancelled'"),
        (RECORDS[5], {"tasks": {"3": [-1]}}, "tasks.3[0] must be a whole number from 0"),
    ],
)
def test_a_field_of_a_wrong_type_is_named(record: Any, values: Any, said: str) -> None:
    with pytest.raises(RecordError) as raised:
        decode(type(record), changed(record, **values), "x")
    assert str(raised.value).startswith("x: ")
    assert said in str(raised.value)


def test_a_part_that_does_not_hold_together_says_why() -> None:
    stages = json.loads(encode(JOB))["stages"]
    stages[0]["resources"]["memory"] = "much"
    with pytest.raises(RecordError, match=r"^x: stages\[0\]\.resources must be .*memory='much'"):
        decode(Job, changed(JOB, stages=stages), "x")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"shards": 4}, "shards must be 3, the tasks of the first stage, and is 4"),
        ({"stages": []}, "stages must be map and others"),
        ({"shuffle": None}, "shuffle is missing, and a stage needs it"),
    ],
)
def test_a_job_whose_parts_differ(values: Any, said: str) -> None:
    with pytest.raises(RecordError, match=said):
        Job.from_bytes(changed(JOB, **values), "x")


def test_what_may_be_anything_is_not_nested_without_end() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"a": [deep]}
    with pytest.raises(RecordError, match=r"backend\.arguments.* must be nested at most 50 deep"):
        decode(Job, changed(JOB, backend={"name": "x", "arguments": deep}), "x")


def test_an_error_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(RecordError("x", newer=True)))
    assert (str(error), error.newer, error.blank) == ("x", True, False)


def swapped(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """The places of a record, with what lies there."""
    found = [(path, values)]
    if isinstance(values, Mapping):
        found += [place for name, part in values.items() for place in swapped(part, (*path, name))]
    if isinstance(values, list):
        found += [place for n, part in enumerate(values) for place in swapped(part, (*path, n))]
    return found


@pytest.mark.parametrize("record", RECORDS, ids=IDS)
def test_anything_at_any_place_is_read_or_refused(record: Any) -> None:
    values = json.loads(encode(record))
    for path, _ in swapped(values)[1:]:
        for odd in (
            None,
            True,
            -1,
            10**30,
            0.5,
            float("nan"),
            "\0",
            "\ud800",
            [],
            [[]],
            {},
            {"": 1},
        ):
            copy = json.loads(json.dumps(values))
            part = copy
            for step in path[:-1]:
                part = part[step]
            part[path[-1]] = odd
            with suppress(RecordError):
                found = decode(type(record), json.dumps(copy).encode(), "x")
                assert repr(decode(type(record), encode(found), "x")) == repr(found)
