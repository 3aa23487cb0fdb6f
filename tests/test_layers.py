"""The import rules: one direction, no circle, optional packages in one place, lean workers."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Each package imports only from those before it; `docs/structure.md` says what each is for.
ORDER = (
    "_version errors process model arrow storage reducers functions dataset formats planner shuffle "
    "display runfolder writing worker engine backends client cli __main__ testing"
).split()
ON_TOP = ("cli", "__main__", "testing")  # these use the package as a user does
MOST_NAMES = 20  # at the top of the package, beside its own dunder and private modules
VAGUE = {"utils", "util", "common", "core", "manager", "helpers", "misc"}
# Packages that a run can do without, and the one module that may import each at its top.
OPTIONAL = {
    "click": "mapred.cli",
    "rich": "mapred.display.terminal",
    "alibabacloud_oss_v2": "mapred.storage.oss_client",
} | dict.fromkeys(
    "obstore alibabacloud_credentials requests hera kubernetes dask distributed IPython pandas polars scipy".split()
)
# A private module or name of a package that mapred uses, by that name or the one it goes by here.
PRIVATE = re.compile(
    r"\b(pyarrow|cloudpickle|by_value|fsspec|distributed|dask|numpy|pandas|polars|hera|obstore|click"
    r"|rich|yaml|pa|pc|pq|ds|np|pd|pl|filesystem)(\.\w+)*(\._| import _)[a-z]"
)
PACKAGE = Path(__file__).parent.parent / "mapred"
FILES = sorted(PACKAGE.rglob("*.py"))


def dotted(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    )


MODULES = {dotted(file): file for file in FILES}


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


def imports(node: ast.AST, top: bool = True) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether it runs when the file is imported) of every import below `node`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno, top) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import in line {child.lineno}"
            whole = child.module or ""
            names = [f"{whole}.{alias.name}" for alias in child.names]
            found = {name if name in MODULES or whole == "mapred" else whole for name in names}
            yield from ((name, child.lineno, top) for name in sorted(found))
        deeper = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        yield from imports(child, top and not deeper)


def package_of(module: str) -> str | None:
    return module.split(".")[1] if "." in module else None


def test_imports_point_one_way() -> None:
    for me, name, line, top in (
        (me, *found) for me, file in MODULES.items() for found in imports(parsed(file))
    ):
        mine = package_of(me)  # None: mapred itself, above them all
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
        assert rest[0] in ORDER, f"{where}: no such package in ORDER"
        assert ORDER.index(rest[0]) < ORDER.index(mine), f"{where} points upwards"
        if rest[0] == "backends" and mine not in ON_TOP:
            assert rest[1:] in ([], ["deployments"], ["schedules"]), (
                f"{where}: ask the registry, mapred.backends"
            )


def test_private_names_of_other_packages_are_in_one_module() -> None:
    found = {dotted(file) for file in FILES if PRIVATE.search(file.read_text())}
    assert found == {"mapred.process.private"}


def test_no_module_is_part_of_a_circle() -> None:
    """Imports inside functions and for types count as well."""
    graph = {
        module: {name for name, _, _ in imports(parsed(file)) if name in MODULES}
        - {module, "mapred"}
        for module, file in MODULES.items()
        if module != "mapred"
    }
    graphlib.TopologicalSorter(graph).prepare()  # a CycleError shows the circle


# The modules that declare what a store, a backend, a handle and an executor can do.
SEAMS = (
    *("storage.base", "engine.base"),
    *("backends.deployments", "backends.schedules", "backends.findings"),
)


def members(module: str) -> Iterator[str]:
    """The names of all methods and properties of a module's protocols."""
    for node in parsed(MODULES[f"mapred.{module}"]).body:
        if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
            yield from (each.name for each in node.body if isinstance(each, ast.FunctionDef))


def test_no_interface_is_looked_up_by_name() -> None:
    """`isinstance` asks for the member of a protocol; files and answers of others have these two."""
    declared = {name for module in SEAMS for name in members(module)} - {"name", "status"}
    assert {"local_path", "submit", "suspend", "prove", "schedule", "examine"} <= declared
    calls = [
        (me, node)
        for me, file in MODULES.items()
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    lookups = [(me, node) for me, node in calls if node.func.id in ("getattr", "hasattr")]
    for me, node in lookups:
        name = node.args[1]
        assert not isinstance(name, ast.Constant) or name.value not in declared, (
            f"{me}, line {node.lineno}: ask a protocol by isinstance"
        )


def test_names_say_what_is_inside() -> None:
    for module in MODULES.keys() - {"mapred"}:
        parts = module.split(".")[1:]
        assert not VAGUE.intersection(part.strip("_") for part in parts)
        assert parts[0] in ORDER, f"{module}: give it a place in ORDER"


def test_the_page_on_structure_names_each_package_in_order() -> None:
    rows = (PACKAGE.parent / "docs/structure.md").read_text().split("## The way of a dataset")[0]
    named = re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)
    hidden = [name for name in ORDER if name.startswith("_")]
    assert named == [name for name in ORDER if name not in hidden]


def test_the_page_on_structure_names_modules_that_are_there() -> None:
    text = (PACKAGE.parent / "docs/structure.md").read_text()
    paths = re.findall(r"`(?:mapred/)?([\w/]+\.py)`", text)
    gone = [p for p in paths if not ((PACKAGE / p).exists() or (PACKAGE.parent / p).exists())]
    assert (len(paths) > len(ORDER) / 2, gone) == (True, [])
    for name in re.findall(rf"`((?:{'|'.join(ORDER)})\.[\w.]+)`", text):
        module = f"mapred.{name}"
        assert module in MODULES or module.rpartition(".")[0] in MODULES, name


def test_the_top_of_the_package_is_short() -> None:
    names = {module.split(".")[1] for module in MODULES if module != "mapred"}
    assert len([name for name in names if not name.startswith("_")]) <= MOST_NAMES


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("mapred", "pyarrow numpy pandas polars fsspec cloudpickle click IPython mapred.client"),
        (
            "mapred.worker.supervisor",
            "pandas polars scipy fsspec pyarrow.dataset pyarrow.parquet hera kubernetes dask "
            "distributed IPython click mapred.display mapred.client mapred.backends "
            "mapred.worker.keyed subprocess email importlib.metadata",
        ),
        (
            "mapred.storage.object_store",
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


# Names of records in a run's folder, which `mapred.runfolder` alone reads and writes.
RECORDS = set(
    "JOB HANDLE HEARTBEAT FAILED END MANIFEST REMOVED WRITES commit commits schema schemas error "
    "errors log logs KEPT kept_of kept_value kept_values write_record PIPELINE ORDER CLAIMS RECORDED "
    "GATES ANSWERS RESUMPTIONS order claim recorded gate answer resumption".split()
)
# What touches a file: of a store, and of the system.
TOUCHES = set(
    "read write put_if_absent list delete copy open put_file read_bytes read_text write_bytes "
    "write_text unlink remove rename local_path read_data decode_record".split()
)
# Those that name a record for another reason, such as a listing that shows it.
NAMED = {
    "cli.completing": "what Tab offers, sooner than a store is loaded",
    "client.audit.ending": "what a problem is about",
    "client.audit.pipelines": "what a problem is about",
    "client.changes": "what a resume replaces, or drops",
    "client.lookup": "which folders of a root are runs",
    "client.naming": "what may lie in a folder before there is a run",
    "client.removable": "what a listing shows",
    "client.retention": "what a listing shows",
    "client.run_handle": "what is put back when a resume is refused",
    "testing.changes": "it damages a run on purpose",
    "worker.keyed": "what to delete by hand",
}


def record_names(tree: ast.AST) -> Iterator[tuple[ast.Attribute, list[ast.AST]]]:
    """Each use of a record's name outside the texts for people, with what is around it."""

    def below(
        node: ast.AST, around: list[ast.AST]
    ) -> Iterator[tuple[ast.Attribute, list[ast.AST]]]:
        if isinstance(node, ast.JoinedStr):
            return
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("layout."):
            yield from [(node, around)] if node.attr in RECORDS else []
        for child in ast.iter_child_nodes(node):
            yield from below(child, [*around, node])

    yield from below(tree, [])


def test_the_run_folder_alone_touches_records() -> None:
    others = {
        me.removeprefix("mapred."): file
        for me, file in MODULES.items()
        if not me.startswith(("mapred.runfolder.", "mapred.model.layout", "mapred.testing.changes"))
    }
    for me, name, around in (
        (me, *found) for me, file in others.items() for found in record_names(parsed(file))
    ):
        where = f"{me}, line {name.lineno}: layout.{name.attr}"
        assert me in NAMED, f"{where}: ask RunFolder for the record"
        calls = [node.func for node in around if isinstance(node, ast.Call)]
        touching = {call.attr for call in calls if isinstance(call, ast.Attribute)} & TOUCHES
        assert not touching, f"{where} is handed to {touching}: ask RunFolder for the record"


def test_what_names_a_record_is_listed_for_a_reason() -> None:
    named = {me for me, file in MODULES.items() if any(record_names(parsed(file)))}
    named = {me.removeprefix("mapred.") for me in named if not me.startswith("mapred.runfolder.")}
    assert named - {"model.layout"} == set(NAMED)


@pytest.mark.parametrize(
    "line",
    [
        "store.read(layout.JOB)",
        "store.write(layout.commit(stage, index), data)",
        "Path(folder, layout.END).read_text()",
        "open_store(uri).list(layout.errors(stage))",
    ],
)
def test_a_touched_record_is_found(line: str) -> None:
    ((_, around),) = record_names(ast.parse(line))
    calls = [node.func for node in around if isinstance(node, ast.Call)]
    assert any(isinstance(call, ast.Attribute) and call.attr in TOUCHES for call in calls)
