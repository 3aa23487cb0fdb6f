"""What users and later versions rely on is as it was: records, help, public names.

A change that is meant is written to the golden files, and reviewed as part of its commit:
GOLDENS=write make test TESTS=tests/goldens
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from goldens import folders, interface, pipelines
from goldens.cases import CASES

TEXTS = Path(__file__).parent / "texts"
INTERFACE: Mapping[str, Callable[[], str]] = {
    "cli-help": interface.cli_help,
    "public-names": interface.public_names,
}
UPDATE = "if this change is meant, write it: GOLDENS=write make test TESTS=tests/goldens"


def compare(name: str, text: str) -> None:
    file = TEXTS / f"{name}.txt"
    if os.environ.get("GOLDENS") == "write":
        file.write_text(text)
    assert text == file.read_text(), f"{file.name} differs; {UPDATE}"


@pytest.mark.parametrize("name", INTERFACE)
def test_the_interface_is_as_it_was(name: str) -> None:
    compare(name, INTERFACE[name]())


@pytest.mark.parametrize("name", CASES)
def test_the_records_of_a_run_are_as_they_were(name: str, tmp_path: Path) -> None:
    CASES[name](str(tmp_path))
    compare(f"run-{name}", folders.text_of(tmp_path))


@pytest.mark.parametrize("state", pipelines.TEXTS)
def test_the_text_of_a_pipeline_is_as_it_was(state: str, tmp_path: Path) -> None:
    compare(f"pipeline-{state}", pipelines.TEXTS[state](tmp_path))


def test_no_golden_file_is_left_over() -> None:
    names = {*INTERFACE, *(f"run-{name}" for name in CASES)}
    names |= {f"pipeline-{state}" for state in pipelines.TEXTS}
    assert {file.stem for file in TEXTS.iterdir()} == names
