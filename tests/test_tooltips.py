"""Tab and Shift-Tab in a real kernel: names with kinds and signatures, options, docstrings."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mapred

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SECONDS = 60
# What a cell has run before Tab is pressed.
CELL = (
    "import mapred\nrun = mapred.run(abs, [-1, -2], backend='inline', root='runs', progress='none')"
)
KINDS = {
    "Run": "class",
    "run": "function",
    "sweep": "function",
    "errors": "module",
    "gc": "function",
}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A kernel that has imported nothing, without what another session has parsed."""
    manager = pytest.importorskip("jupyter_client.manager")
    folder = tmp_path_factory.mktemp("kernel")
    homes = {name: str(folder) for name in ("IPYTHONDIR", "XDG_CACHE_HOME", "JUPYTER_RUNTIME_DIR")}
    env = {**os.environ, **homes, "PYTHONPATH": str(ROOT)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    started, client = manager.start_new_kernel(cwd=str(folder), env=env, startup_timeout=SECONDS)
    yield client
    client.stop_channels()
    started.shutdown_kernel(now=True)


def completions(kernel: Any, code: str) -> dict[str, tuple[str, str]]:
    """The names that Tab offers after some code, with their kinds and signatures."""
    content = kernel.complete(code, reply=True, timeout=SECONDS)["content"]
    types = content["metadata"]["_jupyter_types_experimental"]
    return {item["text"].rpartition(".")[2]: (item["type"], item["signature"]) for item in types}


def tooltip(kernel: Any, code: str) -> str:
    """What Shift-Tab shows behind some code, without colours."""
    content = kernel.inspect(code, len(code), reply=True, timeout=SECONDS)["content"]
    return re.sub(r"\x1b\[[0-9;]*m", "", content["data"]["text/plain"])


def run(kernel: Any, code: str) -> str:
    """Run a cell, and return what it printed."""
    printed: list[str] = []

    def keep(message: Any) -> None:
        printed.append(message["content"].get("text", ""))

    kernel.execute_interactive(code, output_hook=keep, timeout=SECONDS)
    return "".join(printed)


def test_names_are_loaded_once_the_kernel_is_idle(kernel: Any) -> None:
    assert run(kernel, "import mapred, sys; print('numpy' in sys.modules)") == "False\n"
    ask = "print(set(mapred.__all__) - set(vars(mapred)))"
    assert any(run(kernel, ask) == "set()\n" or time.sleep(0.5) for _ in range(2 * SECONDS))


def test_tab_gives_every_name_its_kind(kernel: Any) -> None:
    run(kernel, CELL)
    run(kernel, "get_ipython().Completer.jedi_compute_type_timeout = 5000")  # of a busy machine
    found = completions(kernel, "mapred.")
    assert found.keys() == set(mapred.__all__) - {"__version__"}
    assert {name for name, (kind, _) in found.items() if kind == "<unknown>"} == set()
    assert {name: found[name][0] for name in KINDS} == KINDS
    for name in ("run", "submit", "sweep", "read_csv", "open"):
        assert found[name][1].startswith("("), name
    assert "attempts: int=3" in found["run"][1].replace(" = ", "=")


def test_tab_gives_no_name_that_is_not_public(kernel: Any) -> None:
    run(kernel, CELL)
    for module in (mapred.reducers, mapred.errors):
        assert completions(kernel, f"{module.__name__}.").keys() == set(module.__all__)


def test_shift_tab_shows_options_and_what_they_mean(kernel: Any) -> None:
    run(kernel, CELL)
    for code, options, text in (
        (
            "mapred.run",
            ["attempts: int = 3", "timeout: Duration | None = None"],
            "How often a task",
        ),
        ("mapred.submit", ["backend: str | Backend | Executor = 'local'"], "How often a task"),
        ("mapred.sweep", ["mode: str = 'grid'", "repeats: int = 1"], "takes every combination"),
        ("mapred.read_parquet", ["columns: Sequence[str] | None = None"], "The columns to read"),
        ("run.resume", ["attempts: int = None"], "Committed map tasks are kept"),
        ("run.write_parquet", ["target_file_bytes: Size = '128Mi'"], "at which a file ends"),
        ("run.to_pandas", ["dtype_backend: str = 'numpy_nullable'"], "How types become pandas'"),
        ("mapred.Local", ["workers: FromOne | None = None"], "Worker processes of this machine"),
        ("mapred.reducers.sum", [], "Add up outputs"),
    ):
        shown = tooltip(kernel, code)
        for option in options:
            assert option in " ".join(shown.split()), f"{code}: {shown[:600]}"
        missing = [part for part in (text, ">>> ") if part not in shown]
        assert not missing, f"{code}: {shown[-600:]}"
        signature = shown.partition("Docstring")[0]
        assert not re.search(r"(:|->) '", signature), code
