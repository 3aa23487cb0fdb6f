"""How long a module and a function may be: longer ones hold two thoughts, or have a reason here.

Docstrings do not count: a parameter may need as many lines as it takes to say what it does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 40  # with its signature

# The modules and functions that are longer, and why.
LONGER = {
    "client.audit.audit": "a line for each number of an Audit",
    "dataset.readers.read_csv": "a line or two for each option",
    "reducers": "what help() says of each ready reducer, a value without a docstring of its own",
    "storage.aws.s3_settings": "each way in which AWS is told of credentials, in AWS' order",
}
PACKAGE = Path(__file__).parent.parent / "mapred"


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix("__init__").removesuffix(".") or "mapred"


def docstring_lines(node: ast.AST) -> int:
    """The lines of all docstrings in a module, class or function, those inside of it as well."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    holders = [child for child in ast.walk(node) if isinstance(child, kinds)]
    docs = [holder.body[0] for holder in holders if ast.get_docstring(holder, clean=False)]
    return sum((doc.end_lineno or doc.lineno) - doc.lineno + 1 for doc in docs)


def functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    """The name and the lines of each function below a node, without those inside of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            assert child.end_lineno is not None
            lines = child.end_lineno - child.lineno + 1 - docstring_lines(child)
            yield f"{prefix}.{child.name}", lines
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{prefix}.{child.name}")
        else:
            yield from functions(child, prefix)


def too_long(file: Path) -> Iterator[tuple[str, int]]:
    module, text = module_of(file), file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if (lines := text.count("\n") - docstring_lines(tree)) > MODULE_LINES:
        yield module, lines
    yield from (pair for pair in functions(tree, module) if pair[1] > FUNCTION_LINES)


def test_modules_and_functions_are_short() -> None:
    longer = dict(pair for file in PACKAGE.rglob("*.py") for pair in too_long(file))
    new = {name: lines for name, lines in longer.items() if name not in LONGER}
    assert not new, f"divide by thought, or say why not in LONGER: {new}"
    assert sorted(LONGER.keys() - longer) == [], "short by now: take it off the table"
