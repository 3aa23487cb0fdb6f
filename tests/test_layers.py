"""The import rules: one direction, optional packages in one place, lean workers."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Each module imports only from those before it. A new module gets a place here.
ORDER = (
    "_version escaping errors shortages frozen secrecy deferred forks loading interrupts checking checksums coding arrays frames from_frames unifying resources limits threads keying attempts model sampling seeds layout modules copying generators pickling excerpts storage dataset formats planner task commands reducers "
    "functions signatures fitting regrouping instances closing surroundings parameters shuffle outputs graph pieces records manifests liveness starts retries agreement writing options points failures losses packs turns tally children place versions keyed worker blocks supervisor "
    "backends display audit cells gathering results tabulating drivers folder "
    "origins changes hints handles naming history api remains retention scheduling cli __main__ testing"
).split()
ON_TOP = ("cli", "__main__", "testing")  # these use the package as a user does
VAGUE = {"utils", "util", "common", "core", "manager", "helpers", "misc"}
# Packages that a run can do without, and the one module that may import each at its top.
OPTIONAL = {
    "click": "mapred.cli",
    "alibabacloud_oss_v2": "mapred.storage.oss_client",
} | dict.fromkeys(
    "obstore alibabacloud_credentials requests hera kubernetes dask distributed IPython pandas polars scipy".split()
)
PACKAGE = Path(__file__).parent.parent / "mapred"
FILES = sorted(PACKAGE.rglob("*.py"))


def dotted(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    )


def imports(node: ast.AST, top: bool = True) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether it runs when the file is imported) of every import below `node`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno, top) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import in line {child.lineno}"
            whole = child.module or ""
            names = (
                [f"mapred.{alias.name}" for alias in child.names] if whole == "mapred" else [whole]
            )
            yield from ((name, child.lineno, top) for name in names)
        deeper = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        yield from imports(child, top and not deeper)


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_imports_point_one_way(file: Path) -> None:
    me = dotted(file)
    mine = me.split(".")[1] if "." in me else None  # None: the package itself, above them all
    for name, line, top in imports(ast.parse(file.read_bytes())):
        where = f"{me}, line {line}: import of {name}"
        package, *rest = name.split(".")
        if top and package in OPTIONAL:
            at_home = f"{me}.".startswith(f"{OPTIONAL[package]}.")
            assert at_home, f"{where} belongs inside a function"
        if package != "mapred" or mine is None or rest[:1] == [mine]:
            continue
        if not rest and mine in ON_TOP:
            continue
        assert rest, f"{where}: import the module that defines the name"
        assert rest[0] in ORDER, f"{where}: no such module in ORDER"
        assert ORDER.index(rest[0]) < ORDER.index(mine), f"{where} points upwards"
        if rest[0] == "backends" and mine not in ON_TOP:
            assert rest[1:] in ([], ["base"], ["schedules"]), (
                f"{where}: ask the registry, mapred.backends"
            )


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_names_say_what_is_inside(file: Path) -> None:
    parts = dotted(file).split(".")[1:]
    assert not VAGUE.intersection(part.strip("_") for part in parts)
    assert not parts or parts[0] in ORDER, "give it a place in ORDER"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("mapred", "pyarrow numpy pandas polars fsspec cloudpickle click IPython mapred.api"),
        (
            "mapred.supervisor",
            "pandas polars scipy fsspec pyarrow.dataset pyarrow.parquet hera kubernetes dask "
            "distributed IPython click mapred.display mapred.handles mapred.api mapred.backends "
            "mapred.keyed subprocess email importlib.metadata",
        ),
        (
            "mapred.storage.objects",
            "asyncio ssl email configparser mapred.dataset mapred.formats",
        ),
    ],
)
def test_import_is_lean(module: str, absent: str) -> None:
    # What pyarrow loads by itself, as some Pythons have it do, is its own affair.
    first = "" if "pyarrow" in absent.split() else "import pyarrow"
    script = f"""
{first}
import sys
before = set(sys.modules)
import {module}
print(*sorted(set({absent.split()!r}) & (set(sys.modules) - before)))
"""
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.split() == []
