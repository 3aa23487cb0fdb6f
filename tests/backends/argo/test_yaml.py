"""What is written is read as the same values, whoever reads it."""

from __future__ import annotations

import collections
import enum
import types
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred.backends.argo.yaml import from_yaml, to_yaml
from mapred.errors import BackendError

_keys = st.text(min_size=1, max_size=8)
_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=12,
)
_documents = st.dictionaries(_keys, _values, min_size=1, max_size=4)


@settings(deadline=None, max_examples=30)
@given(_documents)
def test_what_is_written_is_read_again(document: dict[str, Any]) -> None:
    assert from_yaml(to_yaml(document)) == [document]


class Word(str):
    """A text of a class of its own, as users' values may be."""


class Size(enum.IntEnum):
    LARGE = 3


class Share(float):
    """A number of a class of its own."""


class Row(list[int]):
    """A list of a class of its own."""


def test_values_of_subclasses_are_written_as_what_they_are() -> None:
    document: dict[str, Any] = {
        "word": Word("a"),
        "size": Size.LARGE,
        "share": Share(0.5),
        "row": Row([1]),
    }
    document["table"] = collections.OrderedDict(a=1)
    document["view"] = types.MappingProxyType({"b": 2})
    plain = {"word": "a", "size": 3, "share": 0.5, "row": [1], "table": {"a": 1}, "view": {"b": 2}}
    assert to_yaml(document) == to_yaml(plain)
    assert from_yaml(to_yaml(document)) == [plain]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.sampled_from(
            ["a", " b", "", "c ", "\td", "- e", "# f", "g: h", "i\x85j", "k\u2028", "l\r"]
        ),
        max_size=5,
    )
)
def test_lines_are_read_again(lines: list[str]) -> None:
    for text in ("\n".join(lines), "\n".join(lines) + "\n"):
        assert from_yaml(to_yaml({"a": text, "b": [text, {"c": text}]})) == [
            {"a": text, "b": [text, {"c": text}]}
        ]
        assert from_yaml(to_yaml({text: 1})) == [{text: 1}]


LOOK_LIKE_MORE = (
    "y n Y N yes no on off On true False null ~ 1 1e3 0x1f 0o17 1_000 12:30:45 .5 -1 +1 = <<",
    "[a *a &a !a %a @a #a a: {{item}}",
)


@pytest.mark.parametrize(
    "text", ["", " a", "a ", "a: b", "a #b", *" ".join(LOOK_LIKE_MORE).split()]
)
def test_texts_that_look_like_something_else_are_quoted(text: str) -> None:
    written = to_yaml({"key": text, "keys": {text or "k": 1}})
    assert f'key: "{text}"\n' in written
    assert yaml.safe_load(written) == {"key": text, "keys": {text or "k": 1}}


def test_plain_texts_stay_plain() -> None:
    values = {
        "a": "map.Succeeded || map.Failed",
        "b": "/mapred/packages.tar",
        "c": "s3://b/runs/{{workflow.name}}",
        "d": {"e": [], "f": {}, "g": [[1, 2], {"h": None}]},
    }
    assert to_yaml(values, {"x": True}) == (
        "a: map.Succeeded || map.Failed\n"
        "b: /mapred/packages.tar\n"
        "c: s3://b/runs/{{workflow.name}}\n"
        "d:\n  e: []\n  f: {}\n  g:\n  - - 1\n    - 2\n  - h: null\n"
        "---\nx: true\n"
    )
    assert from_yaml(to_yaml(values)) == [values]


def test_a_broken_text_is_one_clear_error() -> None:
    with pytest.raises(BackendError, match=r"file\.yaml is not YAML"):
        from_yaml("a: [", "file.yaml")
