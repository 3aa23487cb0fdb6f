"""Patterns of whole listings match what a walk of the folders finds."""

from __future__ import annotations

import pyarrow as pa
from dataset.folders import walked
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred.dataset import globs, patterns

NAMES = st.text("ab._=-[]!", min_size=1, max_size=4)
KNOWN = "* ? a* [ab]* ** _* *=* ?a [!a]b [.-0]a [_a]* *.a".split()
PART = st.one_of(
    st.sampled_from(KNOWN),
    st.text("ab._*?[]!-=", min_size=1, max_size=5).filter(lambda text: "**" not in text),
)


@settings(max_examples=50, deadline=None)
@given(
    parts=st.lists(PART, min_size=1, max_size=3),
    paths=st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=20),
)
def test_patterns_match_as_a_walk_does(parts: list[str], paths: list[list[str]]) -> None:
    glob = globs.parse("/".join(parts))
    root = f"{glob.root}/" if glob.root else ""
    below = ["/".join(names) for names in paths]
    known = pa.chunked_array([pa.array([root + path for path in below], pa.large_string())])
    expected = [walked(glob, path) for path in below]
    matches, aside = patterns.match(known, glob)
    assert matches.to_pylist() == [whole for whole, _ in expected]
    assert aside.to_pylist() == [whole and underscored for whole, underscored in expected]
