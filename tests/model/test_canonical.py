"""The canonical form of values: equal for what is the same, and for nothing else."""

from __future__ import annotations

import array
import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import ipaddress
import os
import pathlib
import pickle
import re
import struct
import subprocess
import sys
import types
import uuid
import zoneinfo
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mapred
from mapred.model import canonical
from mapred.model.canonical import Unknown, digest


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    RED = 1


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


@dataclasses.dataclass(frozen=True)
class Place:
    x: Any
    y: Any = 0


class Pair(NamedTuple):
    x: Any
    y: Any = 0


class Table(dict[str, Any]):
    pass


class Slots(list[Any]):
    __slots__ = ("note",)


class Loud(str):
    __slots__ = ()

    def encode(self, *_: Any, **__: Any) -> bytes:
        return b"loud"


def table(note: Any, **values: Any) -> Table:
    made = Table(values)
    made.note = note  # type: ignore[attr-defined]
    return made


def slots(note: Any) -> Slots:
    made = Slots([1])
    made.note = note
    return made


ZONE = zoneinfo.ZoneInfo("Europe/Berlin")
NOON = dt.datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as many functions get them
# No two of them are the same.
DIFFERENT: list[Any] = [
    None, True, False, 0, 1, -1, 255, 256, -256, 2**63, 2**64, 10**5000, -(10**5000),
    0.0, -0.0, 1.0, 5e-324, float("inf"), float("nan"), struct.unpack("<d", b"\1\0\0\0\0\0\xf8\x7f")[0],
    1j, complex(1, 0), complex(-0.0, 1), "", "1", "\ud800", "é", "e\u0301", b"", b"1", bytearray(b"1"),
    memoryview(b"1"), ..., NotImplemented, [], (), {}, set(), frozenset(), [1], (1,), {1}, frozenset({1}),
    [[1], 2], [[1, 2]], [1, [2]], ["a", "b"], ["ab"], ["a", "b", ""], {"a": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1},
    {1: "a"}, {True: "a"}, [("a", 1)], {("a", 1)}, {1, 2}, {1, "2"}, range(3), range(0, 3, 2), range(0, 4, 2), slice(3),
    slice(1, 3), decimal.Decimal(1), decimal.Decimal("1.0"), decimal.Decimal("-0"), decimal.Decimal("NaN"),
    decimal.Decimal("sNaN"), fractions.Fraction(1, 2), uuid.UUID(int=1), pathlib.PurePosixPath("a"),
    pathlib.Path("a"), pathlib.PureWindowsPath("a"), re.compile("a"), re.compile(b"a"), re.compile("a", re.I),
    dt.date(2026, 3, 1), NOON, NOON.replace(tzinfo=dt.timezone.utc), NOON.replace(tzinfo=ZONE),
    NOON.replace(fold=1), NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))), NOON.time(),
    dt.time(12, tzinfo=ZONE), dt.timedelta(1), dt.timedelta(seconds=1), ZONE, dt.timezone.utc,
    dt.timezone(dt.timedelta(0), "GMT"), Colour.RED, Colour.BLUE, Level.RED, Mode.READ, Mode.READ | Mode.WRITE,
    Point(1), Point(1, 1), Point(1.0), Place(1), Pair(1), Pair(1, 1), table(1), table(2), table(1, a=1), slots(1),
    slots([1]), Loud("1"), Loud("2"), collections.OrderedDict(a=1), collections.Counter(a=1), collections.deque([1]),
    collections.deque([1], 3), collections.defaultdict(list, a=1), collections.defaultdict(None, a=1),
    types.MappingProxyType({"a": 1}), types.SimpleNamespace(a=1), array.array("b", [1]), array.array("i", [1]),
    ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.1"), mapred.Resources(memory="1Gi"),
    mapred.Resources(memory="2Gi"), mapred.items([1, 2]), mapred.items([2, 1]), mapred.read_csv("a.csv"),
    mapred.read_csv("b.csv"), mapred.write_parquet("out"),
    np.int64(1), np.int32(1), np.float64(1), np.float32(1), np.bool_(True), np.str_("1"), np.bytes_(b"1"),
    np.datetime64("2026-03-01"), np.datetime64("2026-03-01", "s"), np.float64("-0"), np.array(1), np.array([1]),
    np.array([[1]]), np.array([1.0]), np.array(["1"]), np.array([1], object),
    np.array(["1"], object), np.array([True], object), np.zeros(0), np.zeros((0, 1)), np.zeros((1, 0)),
    np.ma.array([1], mask=[True]), np.ma.array([1], mask=[False]), np.array([(1, 2.0)], "i4,f8"),
    np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), np.dtype("f8"), np.dtype("f4"), np.dtype("i4,f8"),
    np.dtype(("f8", 2)), np.longdouble(1),
    pa.array([1, 2]), pa.array([1, None]), pa.array([1, 0]), pa.array([1, 2], pa.int32()), pa.array([1.0, 2.0]),
    pa.array(["a", "b"]), pa.array(["ab", ""]), pa.array(["ab", None]), pa.array([b"a", b"b"]), pa.array([], pa.int64()),
    pa.array(["a", "b"], pa.large_string()), pa.array([None, None]), pa.array([True, False]), pa.array([True, None]),
    pa.array([[1], [2]]), pa.array([[1, 2], []]), pa.array([[1, 2], None]), pa.array([[1], [None]]),
    pa.array([{"a": 1}, {"a": 2}]), pa.array([{"a": 1}, {"a": None}]), pa.array([{"a": 1}, None]), pa.array([{"b": 1}, None]),
    pa.array(["a", "b"]).dictionary_encode(), pa.array([decimal.Decimal(1)]), pa.array([decimal.Decimal("1.0")]),
    pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), pa.array([NOON]), pa.array([NOON], pa.timestamp("ms")),
    pa.chunked_array([[1, 2]]), pa.table({"a": [1, 2]}), pa.table({"b": [1, 2]}), pa.table({"a": [1, 2], "b": [1, 2]}),
    pa.table({"b": [1, 2], "a": [1, 2]}), pa.record_batch({"a": [1, 2]}), pa.scalar(1),
    pa.scalar(1, pa.int8()), pa.scalar(None, pa.int8()), pa.scalar("1"), pa.int64(), pa.int32(), pa.list_(pa.int64()),
    pa.list_(pa.int64(), 2), pa.list_(pa.field("x", pa.int64())), pa.struct([("a", pa.int8())]), pa.timestamp("ms"),
    pa.timestamp("ms", "UTC"), pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int8(), pa.string(), True),
    pa.field("a", pa.int8()), pa.field("a", pa.int8(), False), pa.field("a", pa.int8(), metadata={"k": "v"}),
    pa.schema([("a", pa.int8())]), pa.schema([("a", pa.int8())], {"k": "v"}), pa.decimal128(3, 1), pa.decimal128(3, 2),
]  # fmt: skip


def test_different_values_have_different_digests() -> None:
    seen: dict[str, Any] = {}
    for value in DIFFERENT:
        key = digest(value)
        assert key not in seen, (seen.get(key), value)
        seen[key] = value


def copies(value: Any) -> list[Any]:
    """Copies of a value, as processes and pickles make them."""
    made = [] if isinstance(value, memoryview | types.MappingProxyType) else [copy.deepcopy(value)]
    if not isinstance(value, memoryview | types.MappingProxyType | Slots | pa.Field):
        made += [
            pickle.loads(pickle.dumps(value, 4)),
            pickle.loads(pickle.dumps([value] * 2, 5))[1],
        ]
    return made


def test_copies_have_the_digest_of_the_value() -> None:
    for value in DIFFERENT:
        assert {digest(each) for each in copies(value)} <= {digest(value)}, value


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.datetimes(timezones=st.timezones() | st.none())
    | st.sampled_from(Colour),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.sets(st.text() | st.integers() | st.floats() | st.booleans())
        | st.builds(Point, inner, inner)
        | st.tuples(inner, inner).map(Pair._make)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_a_pickle_and_a_copy_are_the_same_value(value: Any) -> None:
    assert {digest(each) for each in copies(value)} == {digest(value)}


@given(
    st.lists(st.text() | st.integers() | st.tuples(st.integers(), st.text()), unique=True),
    st.randoms(),
)
def test_the_order_in_which_a_set_was_made_does_not_count(values: list[Any], random: Any) -> None:
    other = random.sample(values, len(values))
    assert digest(set(values)) == digest(set(other))
    assert digest(frozenset(values)) == digest(frozenset(other))
    assert (digest(dict.fromkeys(values)) == digest(dict.fromkeys(other))) == (values == other)


def spelled(value: Any) -> Any:
    """A plain value with the types of all that it holds, and the bits of floats."""
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(map(spelled, value))
    if isinstance(value, dict):
        return "dict", tuple((spelled(k), spelled(v)) for k, v in value.items())
    if isinstance(value, set):
        return "set", frozenset(map(spelled, value))
    return type(value).__name__, value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(-1, 1, width=16)
    | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text("ab", max_size=1), inner, max_size=2)
        | st.sets(st.integers(0, 2) | st.booleans(), max_size=2)
    ),
    max_leaves=4,
)


@given(JSON, JSON)
def test_digests_are_equal_for_what_is_the_same(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (spelled(one) == spelled(other))


def test_one_object_or_two_equal_ones_are_the_same() -> None:
    shared = [1, "x"]
    assert digest([shared, shared]) == digest([[1, "x"], [1, "x"]])
    deep: Any = shared
    for _ in range(200):
        deep = [deep, deep]
    assert len(digest(deep)) == 64


def test_depth_has_no_limit() -> None:
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    assert len(digest(deep)) == 64
    mixed: Any = {}
    for _ in range(4_000):
        mixed = {"a": (Point(mixed),)}
    assert len(digest(mixed)) == 64


class Model:
    pass


def circle() -> list[Any]:
    value: list[Any] = [1]
    value.append({"a": value})
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Model(), r"^the value is a \S*test_canonical\.Model, which has no canonical form$"),
        ({"model": Point(Model())}, r"^\['model'\]\.x is a \S*Model, which"),
        ([1, (2, {3: Model()})], r"^\[1\]\[1\]\[3\] is a"),
        ({Model: 1}, r"^\[key <class .*>\] is a type"),
        ({print}, r"^{…} is a builtin_function_or_method"),
        ([len], r"^\[0\] is a builtin_function_or_method"),
        (table(Model()), r"^\.note is a"),
        (np.array([1, Model()], object), r"^\(content\)\[1\] is a"),
        (circle(), r"^\[1\]\['a'\] is a list that holds itself"),
        (functools.partial(int, "1"), r"^the value is a functools\.partial"),
        (iter([1]), r"is a list_iterator"),
    ],
)  # fmt: skip
def test_what_has_no_form_is_named(value: Any, message: str) -> None:
    assert not canonical.is_data(value)
    with pytest.raises(Unknown, match=message):
        digest(value)


def test_another_function_may_know_more() -> None:
    def other(value: Any) -> bytes:
        if value in (len, max, Point):
            return value.__name__.encode()
        raise canonical.describe(value)

    one = {"f": [len], "p": Point(1)}
    assert digest(one, other) == digest(copy.deepcopy(one), other)
    assert digest(one, other) != digest({"f": [max], "p": Point(1)}, other)
    with pytest.raises(Unknown, match=r"^\['f'\]\[0\] is a builtin"):
        digest({"f": [min]}, other)


def with_slack(column: pa.Array) -> pa.Array:
    """The same values, with others below the nulls where Arrow can do that."""
    try:
        filled = column.fill_null(column.drop_null()[0])
        return pa.compute.if_else(column.is_null(), pa.scalar(None, column.type), filled)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, IndexError):
        return column


COLUMNS = [
    pa.array([1, None, 3]),
    pa.array([True, None, False, True, None, True, True, False, True]),
    pa.array(["a", None, "", "ccc"]),
    pa.array([b"a", None, b""], pa.large_binary()),
    pa.array([b"ab", None], pa.binary(2)),
    pa.array([[1, 2], None, [], [None]]),
    pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
    pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}]),
    pa.array(["a", None, "b", "a"]).dictionary_encode(),
    pa.array([NOON, None], pa.timestamp("us", "UTC")),
    pa.array([decimal.Decimal("1.5"), None], pa.decimal128(5, 2)),
    pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    pa.array([None, None]),
    pa.array(["a", None, "x" * 30], pa.string_view()),
    pa.array([[1], None, [2]], pa.list_view(pa.int8())),
    pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
    pa.RunEndEncodedArray.from_arrays([2, 3], ["a", None]),
    pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8())),
    pa.UnionArray.from_sparse(
        pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])]
    ),
    pa.UnionArray.from_dense(
        pa.array([0, 1, 0], pa.int8()),
        pa.array([0, 0, 1], pa.int32()),
        [pa.array([1, 3]), pa.array(["b"])],
    ),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
def test_neither_chunks_nor_offsets_nor_what_nulls_hide_count(column: pa.Array) -> None:
    joined = pa.concat_arrays([column[:2], column[2:]])
    second = pa.concat_arrays([column, column])[len(column) :]
    behind = pa.concat_arrays([column[:1], column])[1:]
    for same in (joined, second, behind, with_slack(column)):
        assert digest(same) == digest(column)
    chunks = pa.chunked_array([column[:1], column[1:1], column[1:]])
    assert digest(chunks) == digest(pa.chunked_array([column]))
    assert digest(pa.table({"a": chunks})) == digest(pa.table({"a": column}))
    assert digest(column[1:]) != digest(column)
    nothing = pa.chunked_array([], column.type)
    assert digest(nothing) == digest(pa.chunked_array([column[:0]]))


def test_bytes_below_a_null_do_not_count() -> None:
    valid = pa.py_buffer(b"\x01")
    one = pa.Array.from_buffers(pa.int32(), 2, [valid, pa.py_buffer(struct.pack("<ii", 7, 8))])
    other = pa.Array.from_buffers(pa.int32(), 2, [valid, pa.py_buffer(struct.pack("<ii", 7, 9))])
    assert digest(one) == digest(other) == digest(pa.array([7, None], pa.int32()))
    offsets = pa.py_buffer(struct.pack("<iii", 0, 1, 3))
    text = pa.Array.from_buffers(pa.string(), 2, [valid, offsets, pa.py_buffer(b"abc")])
    assert digest(text) == digest(pa.array(["a", None]))


def test_the_layout_of_an_array_in_memory_does_not_count() -> None:
    grid = np.arange(12).reshape(3, 4)
    assert (
        digest(np.asfortranarray(grid))
        == digest(grid)
        == digest(np.arange(24)[::2].reshape(3, 4) // 2)
    )
    assert digest(grid[:, ::2]) == digest(grid[:, ::2].copy())
    padded = np.zeros(
        2, np.dtype({"names": ["a", "b"], "formats": ["i1", "f8"], "offsets": [0, 8]})
    )
    noise = np.frombuffer(b"\0" + b"\7" * 7 + b"\0" * 9 + b"\7" * 7 + b"\0" * 8, padded.dtype)
    assert digest(noise) == digest(padded)
    precise = np.frombuffer(np.longdouble(1).tobytes()[:10] + b"\7" * 6, np.longdouble)
    if np.finfo(np.longdouble).nmant == 63:
        assert digest(precise) == digest(np.ones(1, np.longdouble))


SCRIPT = """
import datetime, decimal, enum, pathlib, sys, uuid, zoneinfo
from mapred.model import canonical
class Colour(enum.Enum):
    RED = 1
values = [1, 'a', 2.5, None, True, b'x', (1,), {'k': {1, 2, 'z', frozenset('abcdef')}}, 2**70, 1j, range(3),
    decimal.Decimal('1.50'), pathlib.PurePosixPath('a/b'), pathlib.Path('c'), uuid.UUID(int=5), Colour.RED,
    datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc), datetime.timedelta(1)]
print(canonical.digest(values))
print(*{'numpy', 'pyarrow', 'pandas', 'polars'} & set(sys.modules))
"""


@pytest.mark.parametrize("seed", ["0", "1"])
def test_all_pythons_and_processes_agree_and_load_nothing(seed: str, root: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    # Another form than this makes all digests useless that were recorded before.
    assert done.stdout == "fa2e50a093a7f056def16816156f4e0ee3fb2969226235aa60367b2f8ad0f3aa\n\n"


def frames() -> list[Any]:
    """Different frames, columns, indexes, types and scalars of pandas and Polars."""
    import pandas as pd
    import polars as pl

    times = pd.to_datetime(["2020-01-01", None])
    columns = [
        [1, 2], ["x", None], [1.5, np.nan], times, times.tz_localize("UTC"), pd.to_timedelta([1, 2], "s"),
        pd.Categorical(["u", "v"]), pd.Categorical(["u", "v"], ordered=True), pd.array([1, None], "Int64"),
        pd.array([True, None], "boolean"), pd.array(["a", None], "string[pyarrow]"), pd.interval_range(0, 2),
        pd.array(["a", None], "string[python]"), pd.array([1, None], pd.ArrowDtype(pa.int8())), [[1], {"a": 1}],
        pd.period_range("2020", periods=2, freq="M"), pd.arrays.SparseArray([0, 1]),
    ]  # fmt: skip
    frame = pd.DataFrame({str(number): column for number, column in enumerate(columns)})
    series = [frame[name] for name in frame]
    polars = [
        pl.Series("a", [1, 2]), pl.Series("b", [1, 2]), pl.Series("a", ["u", "v"]), pl.Series("a", [[1], None]),
        pl.Series("a", ["u", "v"], pl.Categorical), pl.Series("a", ["u", "v"], pl.Enum(["u", "v"])),
        pl.Series("a", ["u", "v"], pl.Enum(["u", "v", "w"])), pl.Series("a", [{"x": 1}, None]),
    ]  # fmt: skip
    return [
        frame, frame.iloc[:1], frame[["0"]], frame[["0"]].astype("int32"), frame.set_index("1"), *series,
        *(each.array for each in series), frame.index, pd.Index([0, 1]), pd.Index([0, 1], name="x"),
        frame.set_index(["0", "1"]).index, frame.columns, pd.date_range("2020", periods=2), pd.NaT, pd.NA,
        pd.Timestamp("2020"), pd.Timestamp("2020", tz="UTC"), pd.Timedelta(1), pd.Timestamp("9999-01-01"),
        pd.Period("2020", "M"), pd.Interval(0, 1), pd.offsets.Day(1), pd.offsets.Day(2), pd.Int64Dtype(),
        pd.CategoricalDtype(["a"]), pd.CategoricalDtype(["a"], True), pd.StringDtype("python"), *polars,
        pl.DataFrame(polars[0]), pl.DataFrame([polars[0], polars[1]]), pl.Int64(), pl.Datetime("us"), pl.Datetime("ms"),
    ]  # fmt: skip


def test_frames_have_digests_which_their_copies_share() -> None:
    values = frames()
    digests = [digest(value) for value in values]
    assert len(set(digests)) == len(values)
    assert [digest(copy.deepcopy(value)) for value in values] == digests
    assert [digest(pickle.loads(pickle.dumps(value))) for value in values] == digests


def test_frames_of_what_has_no_form_are_refused() -> None:
    import pandas as pd
    import polars as pl

    with pytest.raises(Unknown, match=r"^\.values\[1\]\.values\(content\)\[0\] is a \S*Model"):
        digest(pd.DataFrame({"a": [1], "b": [Model()]}))
    with pytest.raises(Unknown, match=r"LazyFrame"):
        digest(pl.LazyFrame({"a": [1]}))


def test_expressions_of_arrow_have_a_form() -> None:
    field = pa.compute.field
    made = [
        lambda: field("a") > 1,
        lambda: field("a") > 1.0,
        lambda: field("b") > 1,
        lambda: field("a") >= 1,
        lambda: (field("a") > 1) & field("b").is_valid(),
        lambda: field("a").isin([1, 2]),
        lambda: field("a").isin([1, 3]),
    ]
    digests = [digest(make()) for make in made]
    assert len(set(digests)) == len(made)
    assert [digest(pickle.loads(pickle.dumps(make()))) for make in made] == digests
