"""Writing down a dataset, and listing it, loads no more than it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_importing_it_is_lean(root: Path) -> None:
    code = "import sys, mapred.dataset; print({'pandas', 'polars', 'pyarrow', 'scipy', 'fsspec', 'numpy'} & set(sys.modules))"  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"


def test_listing_and_pinning_text_loads_no_pandas(root: Path) -> None:
    code = """
import sys
from mapred.dataset import as_dataset, listing, pin
made = as_dataset("mapred/**/*.py")
assert len(listing(made)) > 10
assert pin(made, listing(made), None).name == "text"
print({"pandas", "polars", "pyarrow.dataset", "scipy", "fsspec"} & set(sys.modules))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"
