"""A line of JSON as Python values, with what Python's reader would drop still there."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from mapred.formats.text import BOM

SPACES = b" \t\r\n"
_BLANK = re.compile(rb"[ \t\r\n]*\Z")
_MAY_OVERFLOW = re.compile(rb"[0-9][eE]\+?[0-9]{3}|[0-9]{309}")
_HALF = re.compile("[\ud800-\udfff]")
_GEOJSON = "FeatureCollection"
_WHOLE = "read files whole with mapred.read_files and json.loads(file.read())"


class Refused(ValueError):
    """A line does not hold an object that can be read; the message is for the user."""


class Fraction(str):
    """A number with a decimal point or an exponent, as it stands in the file."""

    __slots__ = ()


class DuplicateNames(dict[str, Any]):
    """An object in which at least one name appears twice; `name` is the first of these."""

    name = ""


def kind_of(value: Any) -> str:
    """Return what a value is, as errors call it; "" for null."""
    return KINDS[type(value)]


KINDS = {
    type(None): "",
    bool: "true or false",
    int: "a number",
    float: "a number",  # NaN and Infinity
    Fraction: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    DuplicateNames: "an object",
}


def show_line(value: Any) -> str:
    """Return a value as a line of JSON has it, cut where it is long."""
    try:
        text = value if isinstance(value, Fraction) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "..."
    return text if len(text) <= 60 else f"{text[:57]}..."


def objects_in(data: bytes) -> int:
    """Count the lines that are not blank; each of them must begin and end as an object does.

    In valid JSON no object then continues over a line's end, since what follows a brace that
    closes an inner one is never a brace that opens.
    """
    ends, between = data.count(b"\n"), data.count(b"}\n{")
    if data.startswith(b"{") and between == ends - data.endswith(b"}\n"):
        return between + 1
    lines = [line.strip(SPACES) for line in lines_of(data)]
    if not all(line.startswith(b"{") and line.endswith(b"}") for line in lines):
        raise Refused("each line must hold one JSON object")
    return len(lines)


def is_blank(data: bytes) -> bool:
    """Whether there is no line but blank ones."""
    return _BLANK.match(data) is not None


def lines_of(data: bytes) -> list[bytes]:
    """Return the lines that are not blank."""
    return [line for line in data.split(b"\n") if line.strip(SPACES)]


def _mark_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    twice = DuplicateNames(value)
    names = [name for name, _ in pairs]
    twice.name = next(name for name in names if names.count(name) > 1)
    return twice


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise Refused("a field appears twice")
    return value


def _parse_finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Refused("a number is too large")
    return value


_exact = json.JSONDecoder(parse_float=Fraction, object_pairs_hook=_mark_duplicates).decode
decode_plain = json.JSONDecoder(
    parse_float=_parse_finite, object_pairs_hook=_refuse_duplicates
).decode


def duplicate_message(name: str) -> str:
    return (
        f"field {name} appears twice in one object; mapred.read_text with json.loads keeps the"
        " last of its values"
    )


def decode_exact(line: bytes) -> dict[str, Any]:
    """Return the object of a line, its fractions as they are written; else `Refused`."""
    value = decode_object(line, _exact)
    if _MAY_OVERFLOW.search(line) and (odd := _find_value(value, _overflows)):
        raise Refused(
            f"field {odd[0]} is {show_line(odd[1])}, which is larger than a float64 can be; read such"
            " numbers with mapred.read_text and json.loads(line, parse_float=decimal.Decimal)"
        )
    if b"\\u" in line and (odd := _find_value(value, _has_lone_surrogate)):
        raise Refused(
            f"field {odd[0]} holds half of a surrogate pair, which is not a character;"
            ' as_="dicts" hands it over as json.loads does'
        )
    return value


def decode_unique(line: bytes) -> dict[str, Any]:
    """Return the object of a line as Python's reader has it; refuse names that stand twice."""
    try:
        return decode_object(line, decode_plain)
    except Refused:
        value = decode_exact(line)  # which knows the field of a number that is too large
        twice = _find_value(value, lambda part: isinstance(part, DuplicateNames))
        if twice:
            raise Refused(
                duplicate_message(f"{twice[0]}.{twice[1].name}".removeprefix("."))
            ) from None
        raise


def decode_object(line: bytes, decode: Callable[[str], Any]) -> dict[str, Any]:
    """Return the object that `decode` finds in a line; `Refused` says what is there instead."""
    try:
        value = decode(line.decode())
    except Refused:
        raise
    except UnicodeDecodeError as error:
        raise Refused(
            f"not valid utf-8 ({error.reason}); pass encoding=, or errors='replace' or"
            " errors='ignore'"
        ) from error
    except json.JSONDecodeError as error:
        raise Refused(_explain_decode_error(error)) from error
    except RecursionError as error:
        raise Refused(
            "nested deeper than Python's json module goes; parse the line with mapred.read_text"
        ) from error
    except ValueError as error:
        raise Refused(
            "a whole number of more than 4,300 digits, which Python refuses to read; parse the line"
            " with mapred.read_text"
        ) from error
    if not isinstance(value, dict):
        raise Refused(
            f"holds {kind_of(value) or 'null'}, not an object; each line must hold one JSON"
            " object, and mapred.read_text with json.loads takes lines of other values"
        )
    return value


def _explain_decode_error(error: json.JSONDecodeError) -> str:
    if error.msg == "Extra data" and error.doc[error.pos] == "{":
        return "more than one object; each line must hold one JSON object"
    if error.msg == "Extra data":
        rest = error.doc[error.pos :].strip()[:20]
        return f"{rest!r} follows the value; each line must hold one JSON object and no more"
    detail = error.msg[:1].lower() + error.msg[1:]
    return (
        f"not valid JSON: {detail} at character {error.pos + 1}; each line must hold one"
        " JSON object"
    )


def _find_value(value: Any, is_such: Callable[[Any], bool]) -> tuple[str, Any] | None:
    """Return the first part of a value for which a test holds, with the path to it."""
    left = [("", value)]
    while left:
        path, part = left.pop()
        if is_such(part):
            return path, part
        if isinstance(part, dict):
            left += [(f"{path}.{name}".removeprefix("."), child) for name, child in part.items()]
        elif isinstance(part, list):
            left += [(f"{path}[{number}]", child) for number, child in enumerate(part)]
    return None


def _overflows(value: Any) -> bool:
    return isinstance(value, Fraction) and math.isinf(float(value))


def _has_lone_surrogate(value: Any) -> bool:
    """Whether a text, or a name of an object, has half of a surrogate pair."""
    texts = value if isinstance(value, dict) else (value,) if type(value) is str else ()
    return any(map(_HALF.search, texts))


def explain_document(head: bytes) -> str | None:
    """Explain a file that does not hold an object per line, by its beginning; None if it seems to."""
    text = head.removeprefix(BOM).decode(errors="replace").lstrip()
    first, _, rest = text.partition("\n")
    goes_on = _spans_lines(first, text)
    if text.startswith("[") and (goes_on or not rest.strip()):
        return (
            "is one JSON array and not lines with one object each; make lines of it"
            f" (jq -c '.[]' in.json > out.jsonl), or {_WHOLE}"
        )
    if not goes_on:
        return None
    if f'"{_GEOJSON}"' in text:
        return geojson_advice("goes over several lines")
    return (
        "holds JSON values that go over several lines; make one line of each"
        f" (jq -c . in.json > out.jsonl), or {_WHOLE}"
    )


def _spans_lines(first: str, text: str) -> bool:
    """Whether the first value of a text is more than its first line."""
    decode = json.JSONDecoder().raw_decode
    try:
        decode(first)
        return False
    except (ValueError, RecursionError):
        if len(first) < len(text) and first.rstrip()[-1:] in tuple("{[,:"):
            return True
    try:
        return decode(text)[1] > len(first)
    except (ValueError, RecursionError):
        return text.startswith("[")


def geojson_advice(how: str) -> str:
    return (
        f"is a GeoJSON collection, one value that {how}; make a line of each feature"
        " (jq -c '.features[]' in.geojson > out.jsonl), or read files whole with"
        ' mapred.read_files and json.loads(file.read())["features"]'
    )


def is_collection(line: bytes) -> bool:
    """Whether a line holds a whole GeoJSON collection."""
    if f'"{_GEOJSON}"'.encode() not in line:
        return False
    try:
        value = decode_object(line, decode_plain)
    except Refused:
        return False
    return value.get("type") == _GEOJSON and isinstance(value.get("features"), list)
