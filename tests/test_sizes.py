"""How long a module and a function may be: longer ones hold two thoughts, or have a reason here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 40  # with its signature and docstring

# The modules and functions that are longer, and why.
LONGER = {
    "backends.argo.render.manifest": "one manifest, written as it is submitted",
    "client.api.run": "its docstring, with a line or two for each option",
    "client.audit.audit": "a line for each number of an Audit",
    "client.run_results.RunResults.to_pandas": "its docstring, with a line for each kind of value",
    "client.scheduling.schedule": "its docstring, with a line or two for each option",
    "dataset.readers.read_csv": "its docstring, with a line or two for each option",
    "planner.shards.plan": "its docstring, and a line for each field of a Plan",
    "runfolder.failures.record_process_death": "its signature and a line for each field of a Failure",
    "storage.aws.s3_settings": "each way in which AWS is told of credentials, in AWS' order",
}
PACKAGE = Path(__file__).parent.parent / "mapred"


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix("__init__").removesuffix(".") or "mapred"


def functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    """The name and the lines of each function below a node, without those inside of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            assert child.end_lineno is not None
            yield f"{prefix}.{child.name}", child.end_lineno - child.lineno + 1
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{prefix}.{child.name}")
        else:
            yield from functions(child, prefix)


def too_long(file: Path) -> Iterator[tuple[str, int]]:
    module, text = module_of(file), file.read_text(encoding="utf-8")
    if (lines := text.count("\n")) > MODULE_LINES:
        yield module, lines
    yield from (pair for pair in functions(ast.parse(text), module) if pair[1] > FUNCTION_LINES)


def test_modules_and_functions_are_short() -> None:
    longer = dict(pair for file in PACKAGE.rglob("*.py") for pair in too_long(file))
    new = {name: lines for name, lines in longer.items() if name not in LONGER}
    assert not new, f"divide by thought, or say why not in LONGER: {new}"
    assert sorted(LONGER.keys() - longer) == [], "short by now: take it off the table"
