"""Parquet: each row group once by its midpoint; pruned, cast, or refused by name."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mapred import formats
from mapred.errors import DatasetError
from mapred.formats import Reading, parquet
from mapred.formats.base import Range
from mapred.model.spec import Format

NEW_YEAR = datetime.fromisoformat("2026-01-02")
SCHEMA = pa.schema([("i", pa.int64()), ("s", pa.string())])
CUTS = st.lists(st.floats(0, 1, exclude_max=True), max_size=8)
MOST = st.one_of(st.just(1 << 40), st.integers(50, 500))


def table(start: int, count: int) -> pa.Table:
    numbers = range(start, start + count)
    return pa.table([list(numbers), [f"s{n}" for n in numbers]], schema=SCHEMA)


def write(*groups: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, groups[0].schema, **options) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=max(len(group), 1))
    return sink.getvalue()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6), min_size=1, max_size=3),
    CUTS,
    MOST,
    st.sampled_from(["table", "batches"]),
    st.sampled_from([{}, {"use_dictionary": False, "compression": "none"}]),
)
@example(
    [[12, 5, 1, 0]], [0.25], 1 << 40, "table", {"use_dictionary": False, "compression": "none"}
)
def test_every_row_group_is_read_once(
    lab: Any,
    contents: list[list[int]],
    cuts: list[float],
    most: int,
    as_: str,
    options: dict[str, Any],
) -> None:
    files, expected, groups = {}, 0, 0
    for n, sizes in enumerate(contents):
        tables = []
        for size in sizes:
            tables.append(table(expected, size))
            expected += size
        files[f"{n} #%?.parquet"] = write(*tables, **options)
        groups += pq.ParquetFile(io.BytesIO(files[f"{n} #%?.parquet"])).metadata.num_row_groups
    parts = lab.read_each(Format("parquet", as_, SCHEMA), files, lab.cut(files, cuts), most)
    values = [b for part in parts for b in (part.value if as_ == "batches" else [part.value])]
    assert [i for value in values for i in value.column("i").to_pylist()] == [*range(expected)]
    assert all(value.schema == SCHEMA for value in values)
    assert sum(part.reading.units for part in parts) == groups
    assert sum(part.reading.records for part in parts) == expected


def test_one_huge_row_group_belongs_to_the_middle_range(lab: Any) -> None:
    files = {"a": write(table(0, 1000))}
    parts = lab.read_each(
        Format("parquet", "table", SCHEMA), files, lab.cut(files, [0.2, 0.4, 0.6, 0.8])
    )
    assert [part.value.num_rows for part in parts] == [0, 0, 1000, 0, 0]


class Footer:
    """What a footer says: where the first page of each row group is."""

    num_columns = 1
    serialized_size = 100

    def __init__(self, starts: list[int]) -> None:
        self.starts = starts
        self.num_row_groups = len(starts)

    def row_group(self, number: int) -> Any:
        place = self.starts[number]
        chunk = SimpleNamespace(dictionary_page_offset=None, data_page_offset=place)
        return SimpleNamespace(column=lambda column: chunk)


@given(st.lists(st.integers(-10, 2000), max_size=10), st.lists(st.integers(0, 1000), max_size=5))
def test_whatever_a_footer_says_each_group_has_one_range_in_order(
    starts: list[int], cuts: list[int]
) -> None:
    edges = sorted({0, 1000, *cuts})
    found = [
        parquet.row_groups(Footer(starts), Range(0, "f", start, stop - start, 1000, "", 0, 0))
        for start, stop in itertools.pairwise(edges)
    ]
    assert [number for numbers in found for number in numbers] == [*range(len(starts))]


FILES = {"a": write(table(0, 100), table(100, 100), table(200, 100))}


@pytest.mark.parametrize(
    "filter",
    [[("i", ">=", 250)], [[("i", ">=", 250)], [("s", "=", "none")]], pc.field("i") >= 250],
)
@pytest.mark.parametrize("as_", ["table", "batches"])
def test_filters_prune_row_groups(lab: Any, filter: Any, as_: str) -> None:
    format = Format("parquet", as_, SCHEMA, columns=("s",), filter=filter)
    corrupt = bytearray(FILES["a"])
    corrupt[10:60] = bytes(50)  # inside the first row group, which is never read
    files = {"a": bytes(corrupt)}
    part = lab.read(format, files, lab.cut(files, []))
    values = part.value if as_ == "batches" else [part.value]
    assert [s for v in values for s in v.column("s").to_pylist()] == [
        f"s{n}" for n in range(250, 300)
    ]
    assert values[0].schema.names == ["s"]
    assert (part.reading.units, part.reading.records) == (3, 50)


def test_filters_prune_by_types_that_python_does_not_compare(lab: Any) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
    days = [
        pa.table({"t": pa.array([noon.replace(day=d)], pa.timestamp("us", "UTC"))}) for d in (1, 2)
    ]
    files = {"a": write(*days)}
    corrupt = bytearray(files["a"])
    corrupt[10:30] = bytes(20)  # inside the first row group, which is never read
    files = {"a": bytes(corrupt)}
    format = Format("parquet", "table", days[0].schema, filter=[("t", ">", noon)])
    part = lab.read(format, files, lab.cut(files, []))
    assert part.value["t"].to_pylist() == [noon.replace(day=2)]


def test_columns_of_views_are_filtered(lab: Any) -> None:
    columns = {
        "i": [1, 2, 3],
        "s": pa.array(["a", None, "c"], pa.string_view()),
        "b": pa.array([b"1", b"2", b"3"], pa.binary_view()),
    }
    files = {"a": write(pa.table(columns))}
    schema = formats.sniff(
        Format("parquet", "table"), [formats.Place("a", 1)], lambda path: io.BytesIO(files[path])
    ).schema
    assert schema.types == [pa.int64(), pa.string(), pa.binary()]
    format = Format("parquet", "table", schema, filter=[("i", ">", 1)])
    value = lab.read(format, files, lab.cut(files, [])).value
    assert value.to_pydict() == {"i": [2, 3], "s": [None, "c"], "b": [b"2", b"3"]}


def test_filters_on_folders_prune_too(lab: Any) -> None:
    schema = SCHEMA.append(pa.field("year", pa.int32()))
    files = {f"year={year}/a": FILES["a"] for year in (2025, 2026)}
    files["year=2025/a"] = files["year=2025/a"][:4] + bytes(300) + files["year=2025/a"][304:]
    format = Format(
        "parquet",
        "table",
        schema,
        partitions=("year",),
        filter=[("year", "=", 2026), ("i", "<", 2)],
    )
    value = lab.read(format, files, lab.cut(files, [])).value
    assert value.to_pylist() == [{"i": i, "s": f"s{i}", "year": 2026} for i in (0, 1)]


def other(**columns: Any) -> bytes:
    return write(pa.table(columns))


def test_types_that_fit_are_cast(lab: Any) -> None:
    small = other(i=pa.array([1, 2], pa.int8()), s=pa.array(["x", "y"]).dictionary_encode())
    large = other(s=pa.array(["z", None], pa.large_string()), i=pa.array([3.0, None]))
    files = {"a": small, "b": large}
    for filter in (None, [("i", ">", 1)]):
        format = Format("parquet", "table", SCHEMA, filter=filter)
        value = lab.read(format, files, lab.cut(files, [])).value
        assert value.schema == SCHEMA
        assert value.column("i").to_pylist() == ([1, 2, 3, None] if not filter else [2, 3])


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (
            {"i": [1.5], "s": ["x"]},
            "f, row group 0: column 'i' holds 1.5, which does not fit int64",
        ),
        ({"i": ["1"], "s": ["x"]}, "column 'i' is string, which does not fit int64; read such"),
        ({"i": [1], "s": [1]}, "column 's' is int64, which does not fit string"),
        ({"i": [1]}, r"f has no column 's' \(it has i\); pass missing_columns='null'"),
        ({"i": [1], "s": ["x"], "t": [1]}, "f has a column 't'.*extra_columns='ignore' or col"),
    ],
)
def test_schemas_that_differ_are_named(lab: Any, columns: Any, match: str) -> None:
    files = {"a": FILES["a"], "f": other(**columns)}
    with pytest.raises(DatasetError, match=match):
        lab.read(Format("parquet", "table", SCHEMA), files, lab.cut(files, []))


DAY = pa.array([datetime.fromisoformat("2026-01-02").date()])
END = pa.array([datetime.fromisoformat("9999-12-31")], pa.timestamp("us"))


@pytest.mark.parametrize(
    ("pinned", "found", "match"),
    [
        (pa.array([0.5], pa.float32()), pa.array([0.1]), "holds 0.1, which does not fit float32"),
        (pa.array([1], pa.int8()), pa.array([300]), "holds 300, which does not fit int8"),
        (pa.array([1]), pa.array([1.5]), "holds 1.5, which does not fit int64"),
        (pa.array([1.0]), pa.array([2**53 + 1]), "holds 9007199254740993, .* fit float64"),
        (pa.array([1]), pa.array([2**63], pa.uint64()), "holds 9223372036854775808, "),
        (pa.array([Decimal("1.5")]), pa.array([Decimal("1.25")]), r"holds Decimal\('1.25'\), "),
        (pa.array([Decimal("1.5")]), pa.array([0.25]), "holds 0.25, "),
        (pa.array([7], pa.timestamp("s")), pa.array([7], pa.timestamp("us")), r"holds .* 7\)"),
        (pa.array([7], pa.timestamp("us")), pa.array([7], pa.timestamp("ns")), "holds .*007"),
        (pa.array([7000], pa.timestamp("ns")), END, r"holds datetime.datetime\(9999"),
        (DAY, pa.array([7], pa.timestamp("s")), "holds datetime"),
        (pa.array([None]), pa.array(["a"]), "is string, which does not fit null"),
        (pa.array([[0.5]], pa.list_(pa.float32())), pa.array([[0.1]]), r"'x' holds \[0.1\]"),
        (
            pa.array([{"a": 1}], pa.struct([("a", pa.int8())])),
            pa.array([{"a": 300}]),
            "'x', field 'a' holds",
        ),
        (pa.array([{"a": 1}]), pa.array([{"a": 1, "b": [{"c": 2}]}]), "field 'b' is not in"),
        (pa.array([[{"a": 1}]]), pa.array([[{"b": 1}]]), "field 'b' is not in"),
        (
            pa.array([{"a": 1, "b": 1}]),
            pa.array([{"a": 1}]),
            "field 'b' of the schema is missing",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named_with_an_option_that_helps(
    lab: Any, pinned: pa.Array, found: pa.Array, match: str
) -> None:
    files = {"a": other(x=pinned), "f": other(x=found)}
    format = Format("parquet", "table", pa.schema([("x", pinned.type)]))
    with pytest.raises(DatasetError, match=f"f, row group 0: .*{match}.*pass ") as caught:
        lab.read(format, files, lab.cut(files, []))
    if advice := re.search(r"schema=(\{.*\})", str(caught.value)):
        format = replace(format, schema=pa.schema(eval(advice[1], {"pa": pa})))
    if "missing_columns='null'" in str(caught.value):
        format = replace(format, missing_columns="null")
    value = lab.read(format, files, lab.cut(files, [])).value["x"]
    for row, array in enumerate((pinned, found)):
        [before], [after] = array.to_pylist(), value[row : row + 1].to_pylist()
        assert before == after or "b" in str(after) or array is DAY


def test_kinds_of_values_do_not_mix(lab: Any) -> None:
    files = {"a": other(x=[1]), "f": other(x=["a"])}
    format = Format("parquet", "table", pa.schema([("x", pa.int64())]))
    with pytest.raises(DatasetError, match="is string, which does not fit int64; read such files"):
        lab.read(format, files, lab.cut(files, []))


FAR = [None, *map(datetime.fromisoformat, ("9999-12-31", "1600-01-01", "0001-01-01"))]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.none() | st.datetimes() | st.sampled_from(FAR), min_size=1, max_size=8),
    CUTS,
    st.sampled_from(["table", "batches", "polars", "pandas"]),
    st.booleans(),
)
def test_int96_times_are_those_that_were_written(
    lab: Any, times: list[Any], cuts: list[float], as_: str, store_schema: bool
) -> None:
    written = pa.table(
        {
            "t": pa.array(times, pa.timestamp("us")),
            "l": [times, *[None] * (len(times) - 1)],
            "s": [{"x": [time], "n": float("nan")} for time in times],
            "m": pa.array([[("k", t)] for t in times], pa.map_(pa.string(), pa.timestamp("us"))),
        }
    )
    sink = io.BytesIO()
    pq.write_table(
        written,
        sink,
        row_group_size=2,
        use_deprecated_int96_timestamps=True,
        store_schema=store_schema,
    )
    files = {"f": sink.getvalue()}
    schema = lab.sniff(Format("parquet", "table"), files["f"])
    assert schema.field("t").type == pa.timestamp("us")
    format = Format("parquet", as_, schema, dtype_backend="pyarrow")
    parts = [part.value for part in lab.read_each(format, files, lab.cut(files, cuts))]
    found = []
    for part in itertools.chain(*parts) if as_ == "batches" else parts:
        if as_ == "pandas":
            found += pa.Table.from_pandas(part)["t"].to_pylist()
        else:
            found += part["t"].to_list() if as_ == "polars" else part["t"].to_pylist()
    assert found == times
    if as_ == "table":
        assert str(pa.concat_tables(parts).to_pylist()) == str(written.to_pylist())


def test_nanoseconds_of_int96_are_never_cut(lab: Any) -> None:
    def stored(*nanoseconds: int) -> dict[str, bytes]:
        times = pa.array(nanoseconds, pa.timestamp("ns"))
        table = pa.table(
            {
                "t": times,
                "l": pa.ListArray.from_arrays(
                    [0, len(times)] + [len(times)] * (len(times) - 1), times
                ),
            }
        )
        return {"f": write(table, use_deprecated_int96_timestamps=True)}

    files = stored(1001, -1, 2 * 10**18 + 7)
    fine = pa.schema([("t", pa.timestamp("ns")), ("l", pa.list_(pa.timestamp("ns")))])
    coarse = pa.schema([("t", pa.timestamp("us")), ("l", pa.list_(pa.timestamp("us")))])
    for as_ in ("table", "batches"):
        value = lab.read(Format("parquet", as_, fine), files, lab.cut(files, [])).value
        times = (value if as_ == "table" else pa.Table.from_batches(value))["t"]
        assert times.cast(pa.int64()).to_pylist() == [1001, -1, 2 * 10**18 + 7]
        with pytest.raises(
            DatasetError, match=r"column 't' holds .*pass schema=.*timestamp\('ns'\)"
        ):
            lab.read(Format("parquet", as_, coarse), files, lab.cut(files, []))
    files = {"f": write(pa.table({"t": END}), use_deprecated_int96_timestamps=True)}
    format = Format("parquet", "table", pa.schema([("t", pa.timestamp("ns"))]))
    with pytest.raises(DatasetError, match=r"column 't' holds .*9999.*pa.timestamp\('us'\)"):
        lab.read(format, files, lab.cut(files, []))


def test_columns_are_matched_by_name_in_any_order(lab: Any) -> None:
    files = {"a": other(s=["x"], i=[1]), "b": other(i=[2], t=[3]), "c": other(t=[4])}
    format = Format("parquet", "table", SCHEMA, missing_columns="null", extra_columns="ignore")
    for as_ in ("table", "batches"):
        value = lab.read(replace(format, as_=as_), files, lab.cut(files, [])).value
        table = value if as_ == "table" else pa.Table.from_batches(value)
        assert table.schema == SCHEMA
        assert table.to_pydict() == {"i": [1, 2, None], "s": ["x", None, None]}
    with pytest.raises(DatasetError, match="b has no column 's'"):
        lab.read(replace(format, missing_columns="error"), files, lab.cut(files, []))
    with pytest.raises(DatasetError, match=r"b has a column 't'.*dataset's \(i, s\)"):
        lab.read(replace(format, extra_columns="error"), files, lab.cut(files, []))
    wide = replace(format, schema=SCHEMA.append(pa.field("t", pa.int64())), extra_columns="error")
    value = lab.read(wide, files, lab.cut(files, [])).value
    assert value["t"].to_pylist() == [None, 3, 4]


def test_rows_are_counted_without_columns(lab: Any) -> None:
    folder = pa.field("year", pa.int64())
    files = {f"year={year}/a": write(table(0, 3), table(3, 2)) for year in (1, 2)}
    format = Format("parquet", "table", SCHEMA.append(folder), ("year",), partitions=("year",))
    for as_ in ("table", "batches", "pandas", "polars"):
        part = lab.read(replace(format, as_=as_), files, lab.cut(files, []))
        assert sum(map(len, part.value if as_ == "batches" else [part.value])) == 10
        assert part.reading.records == 10
    kept = replace(format, filter=[("year", "=", 2)])
    assert lab.read(kept, files, lab.cut(files, [])).value["year"].to_pylist() == [2] * 5
    files = {"a": FILES["a"]}
    lacking = Format("parquet", "table", pa.schema([("x", pa.date32())]), missing_columns="null")
    lacking = replace(lacking, extra_columns="ignore")
    assert lab.read(lacking, files, lab.cut(files, [])).value["x"].to_pylist() == [None] * 300
    bare = replace(lacking, schema=pa.schema([]))
    for as_ in ("table", "batches", "pandas", "polars"):
        part = lab.read(replace(bare, as_=as_), files, lab.cut(files, []))
        assert sum(map(len, part.value if as_ == "batches" else [part.value])) == 300
        assert part.reading.records == 300


@pytest.mark.parametrize(
    ("folder", "column", "bad"),
    [
        ("7", pa.array([7, 7]), None),
        ("07", pa.array([7, 7], pa.int8()), None),
        ("a b", pa.array(["a b", "a b"]).dictionary_encode(), None),
        ("2026-01-02", pa.array([NEW_YEAR] * 2, pa.timestamp("us")), None),
        ("1.50", pa.array([1.5, 1.5]), None),
        ("__HIVE_DEFAULT_PARTITION__", pa.array([None, None], pa.int64()), None),
        ("7", pa.array([7, 8]), "folder x=7 .* has 8"),
        ("7", pa.array([7, None]), "has None"),
        ("7", pa.array(["07", "7"]), "has '07'"),
        ("x", pa.array([1, 2]), "folder x=x .* has 1; pass hive=False"),
        ("__HIVE_DEFAULT_PARTITION__", pa.array([None, 1]), "has 1"),
    ],
)
def test_a_folder_column_in_the_file_must_be_equal(
    lab: Any, folder: str, column: Any, bad: str | None
) -> None:
    files = {f"x={folder}/f": other(i=[1, 2], x=column)}
    schema = pa.schema([("i", pa.int64()), ("x", pa.string())])
    for name, data in (("parquet", files), ("arrow", {})):
        if name == "arrow":
            sink = io.BytesIO()
            both = pa.table({"x": column, "i": [1, 2]})
            with pa.ipc.new_file(sink, both.schema) as writer:
                writer.write_table(both)
            data = {f"x={folder}/f": sink.getvalue()}
        format = Format(name, "table", schema, partitions=("x",))
        if bad is None:
            value = lab.read(format, data, lab.cut(data, [])).value
            text = None if folder.startswith("__") else folder
            assert value.to_pydict() == {"i": [1, 2], "x": [text] * 2}
        else:
            with pytest.raises(DatasetError, match=bad):
                lab.read(format, data, lab.cut(data, []))
        alone = replace(format, columns=("i",))
        assert lab.read(alone, data, lab.cut(data, [])).value.to_pydict() == {"i": [1, 2]}


def test_chosen_columns_hide_what_else_differs(lab: Any) -> None:
    files = {"f": other(i=[1], t=[2])}
    format = Format("parquet", "table", SCHEMA, columns=("i",))
    assert lab.read(format, files, lab.cut(files, [])).value.to_pylist() == [{"i": 1}]


def test_names_with_dots_and_nested_columns(lab: Any) -> None:
    data = other(**{"a": [{"b": 1}], "a.b": [2], "a c": [3]})
    schema = lab.sniff(Format("parquet", "table"), data)
    for columns in (None, ("a",), ("a.b",), ("a c", "a")):
        format = Format("parquet", "table", schema, columns=columns)
        value = lab.read(format, {"f": data}, lab.cut({"f": data}, [])).value
        assert value.schema.names == list(columns or ("a", "a.b", "a c"))


def test_corrupt_files_name_their_part(lab: Any) -> None:
    data = FILES["a"]
    format = Format("parquet", "table", SCHEMA)
    for bad, match in [
        (data[:-20] + bytes(20), "cannot read f, footer"),
        (data[:-9] + b"\xff" + data[-8:], None),
        (b"nonsense" * 10, "cannot read f, footer"),
        (data[: len(data) // 2], "cannot read f, footer"),
        (b"", "cannot read f, footer"),
    ]:
        if match:
            with pytest.raises(DatasetError, match=match):
                lab.read(format, {"f": bad}, lab.cut({"f": bad}, []))
            with pytest.raises(DatasetError, match=match):
                lab.sniff(Format("parquet", "table"), bad, "f")
    summed = write(table(0, 100), table(100, 100), write_page_checksum=True)
    second = pq.ParquetFile(io.BytesIO(summed)).metadata.row_group(1).column(0)
    place = second.dictionary_page_offset + second.total_compressed_size // 2
    bad = summed[:place] + bytes([summed[place] ^ 255]) + summed[place + 1 :]
    for as_ in ("table", "batches"):
        with pytest.raises(DatasetError, match="cannot read f, row group 1"):
            lab.read(Format("parquet", as_, SCHEMA), {"f": bad}, lab.cut({"f": bad}, []))


def test_a_consumer_that_stops_leaves_evidence(lab: Any) -> None:
    reading = Reading()
    format = Format("parquet", "batches", SCHEMA)
    ranges = lab.cut(FILES, [])
    batches = formats.read(format, ranges, lab.open(FILES), reading)
    next(batches)
    next(batches)
    assert reading.where() == "a, row group 1"
    assert (reading.units, reading.records, reading.ranges, reading.bytes) == (1, 100, 0, 0)
    assert [(s.range, s.start, s.stop) for s in reading.spans] == [(0, 0, 0)]


def test_pandas_indices_survive(lab: Any) -> None:
    import pandas as pd

    sink = io.BytesIO()
    pd.DataFrame({"i": [1, 2]}, index=pd.Index(["x", "y"], name="key")).to_parquet(sink)
    files = {"f": sink.getvalue()}
    format = Format("parquet", "pandas", lab.sniff(Format("parquet", "table"), files["f"]))
    frame = lab.read(format, files, lab.cut(files, [])).value
    assert frame.loc["y", "i"] == 2
