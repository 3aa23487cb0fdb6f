"""Patterns of paths match what those of Python match."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from dataset.folders import make
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred.dataset import as_dataset, listing
from mapred.dataset.globs import parse

PARTS = st.lists(st.sampled_from(["a", "b", "ab", "*", "?", "a*", "[ab]", "**"]), min_size=1, max_size=4)  # fmt: skip
PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1, max_size=4), max_size=25
)


@given(parts=PARTS, paths=PATHS)
@settings(max_examples=50, deadline=None)
def test_globs_match_as_those_of_python(
    parts: list[str], paths: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for path in paths:
        file = root.joinpath("base", *path).with_suffix("")
        if not any(parent.is_file() for parent in [file, *file.parents]) and not file.is_dir():
            make(root, str(file.relative_to(root)))
    pattern = "/".join(parts)
    python = root.glob(f"base/{pattern}" + ("/*" if parts[-1] == "**" else ""))
    expected = sorted({str(path) for path in python if path.is_file()}, key=os.fsencode)
    if expected:
        assert listing(as_dataset(f"{root}/base/{pattern}"))["path"].to_pylist() == expected

    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    for file in root.rglob("*"):
        if file.is_file():
            memory.pipe(f"/{file.relative_to(root)}", b"x")
    if expected:
        remote = listing(as_dataset(f"memory://base/{pattern}"))["path"].to_pylist()
        assert remote == [f"memory://{Path(p).relative_to(root)}" for p in expected]


def test_a_pattern_knows_its_depth() -> None:
    assert parse("/a/b/*.txt").root == "/a/b"
    assert parse("/a/*/c/*.txt").depth == 3
    assert parse("/a/**/c.txt").depth is None
    assert parse("/*.txt").root == "/"
