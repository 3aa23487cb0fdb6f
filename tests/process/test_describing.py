from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import mapred
from mapred.process.describing import describe_like, parameters_in, plain_annotations


def read(path: str, *, size: int = 0, mode: str | None = None) -> Any:
    """Read a file.

    Args:
        path: Where it lies,
            in one folder.
        size: How much, in bytes.
        mode: How.

    Returns:
        What it holds.
    """


def test_a_docstring_is_taken_apart() -> None:
    assert parameters_in(inspect.cleandoc(read.__doc__ or "")) == {
        "path": "path: Where it lies,\n        in one folder.",
        "size": "size: How much, in bytes.",
        "mode": "mode: How.",
    }
    assert parameters_in("Do it.") == {}


def test_what_a_docstring_leaves_out_is_described_as_elsewhere() -> None:
    @describe_like(read)
    def head(path: str, *, lines: int, size: int = 0) -> Any:
        """Read the beginning.

        Args:
            lines: How many.
            size: At most, in bytes.

        Examples:
            >>> head("a", lines=1)
        """

    assert head.__doc__ == inspect.cleandoc(
        """Read the beginning.

        Args:
            path: Where it lies,
                in one folder.
            lines: How many.
            size: At most, in bytes.

        Examples:
            >>> head("a", lines=1)
        """
    )


def test_a_docstring_without_parameters_gets_them_before_what_it_returns() -> None:
    @describe_like(read)
    def write(size: int, **more: Any) -> None:
        """Write it.

        Returns:
            Nothing.
        """

    expected = "Write it.\n\nArgs:\n    size: How much, in bytes.\n\nReturns:\n    Nothing."
    assert write.__doc__ == expected


def test_a_signature_shows_types_as_they_are_written() -> None:
    @plain_annotations
    class Reader:
        def read(self, size: int | None = None) -> bytes: ...

        @classmethod
        def of(cls, path: str) -> Reader: ...

    assert str(inspect.signature(Reader.read)) == "(self, size: int | None = None) -> bytes"
    assert str(inspect.signature(Reader.of)) == "(path: str) -> Reader"


def functions(value: Any) -> list[Any]:
    if not inspect.isclass(value):
        return [value]
    own = [getattr(value, name) for name in dir(value) if name[0] != "_"]
    return [value, *filter(inspect.isroutine, own)]


@pytest.mark.parametrize("name", [name for name in mapred.__all__ if not name.endswith("Error")])
def test_no_public_signature_has_types_in_quotes(name: str) -> None:
    for function in functions(getattr(mapred, name)):
        if callable(function) and getattr(function, "__module__", "").startswith("mapred"):
            text = str(inspect.signature(function))
            assert not re.search(r"(:|->) '", text), f"{function}: {text}"
