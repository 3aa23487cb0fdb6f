"""Every block of code in the documentation runs; a page is one session, top to bottom.

python    executed, in one namespace for the page
pycon     a doctest in that namespace
console   lines that start with `$`: run by bash, and what follows must be printed; `$ make X`
          is only checked to be a target, by make --dry-run
text      the listing of a run's folder: the first run of the page has these files and no others;
          where the remark speaks of an `if`, the file may be absent
yaml      a piece of the manifest that the page has in `workflow`
sh        lines for a cluster or a service that is not here: bash reads them, and the command line
          takes the arguments of each `mapred`

A title after the language says more: ```python title="count.py"

a file's name    the block is that file: it is written into the folder, and a later block uses it;
                 of a toml the backends are made
mapred           code of ours beside a peer's, as without a title
a peer's name    code of another library (`PEERS`), which runs where that is installed, in a
                 namespace of its own; elsewhere only its syntax is checked

A block that only includes a recipe is left to tests/test_recipes.py.

No other language, and no block without one. Pages in `EMPTY` run in an empty folder, as a
reader's, and the others in one with corpus/, numbers/ and counting.py.
"""

from __future__ import annotations

import doctest
import fnmatch
import glob
import importlib.util
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import mapred
from mapred import backends
from mapred.backends import config
from mapred.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EMPTY = {"README.md", "docs/index.md", "docs/tutorial.md"}
SLOW = {"docs/tutorial.md"}
PEERS: dict[str, str | None] = {  # the names in titles, and the module that their code needs
    "Dask": "dask",
    "Ray": "ray",
    "Spark": "pyspark",
    "joblib": "joblib",
    "AWS Batch": None,  # these need an account, or end the process
    "Lithops": None,
    "Metaflow": None,
}
BLOCK = re.compile(r"^( *)```([\w-]*)(?: +title=\"([^\"]*)\")?(.*?)\n(.*?)^\1```$", re.M | re.S)
CORPUS = "the road goes ever on\nthe end of the road\nthe one road\nthe other\n"
COUNTING = """
from collections import Counter
def count_words(lines): return Counter(word for line in lines for word in line.split())
def add_counts(counts): return sum(counts, Counter())
"""


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def folder(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page speaks of: empty, or with corpus/, numbers/, sales/, inbox/, counting.py."""
    monkeypatch.chdir(tmp_path)
    if page_name(page) in EMPTY:
        return tmp_path
    for name, text in {"a.txt": CORPUS, "more/b c.txt": CORPUS}.items():
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers/1.txt").write_text("1\n2\n3\n")
    (tmp_path / "numbers/2.txt").write_text("4\n\n11\n")
    (tmp_path / "counting.py").write_text(COUNTING)
    for day in (1, 2, 3):
        path = tmp_path / f"sales/day=2026-11-0{day}/part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"shop": ["a", "b", "a"], "amount": [10.0 * day, 20, 5]}), path)
    (tmp_path / "inbox").mkdir()
    for name, text in {"north": "1\n2\n", "south": "3\n"}.items():
        with zipfile.ZipFile(tmp_path / f"inbox/{name}.zip", "w") as archive:
            archive.writestr(f"{name}/readings.csv", text)
    return tmp_path


def check_pycon(block: str, session: dict[str, Any], where: str) -> None:
    test = doctest.DocTestParser().get_doctest(block, session, where, where, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    runner.run(test, out=report.append, clear_globs=False)
    assert not report, "".join(report)


def pattern_of(expected: str) -> str:
    """`...` stands for anything; all else is meant, brackets too."""
    return "*".join(glob.escape(part) for part in expected.rstrip().split("..."))


def check_console(block: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for entry in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, expected = entry.partition("\n")
        cwd = folder
        if command.startswith("make "):
            command, cwd = command.replace("make", "make --dry-run", 1), ROOT
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=cwd,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        printed = done.stdout
        if done.returncode:  # a page that shows a failure shows its message
            assert "Error" in expected, f"$ {command}\n{done.stdout}{done.stderr}"
            printed += done.stderr
        if expected.strip():
            printed = re.sub(r" +$", "", printed, flags=re.M)
            assert fnmatch.fnmatch(printed.rstrip(), pattern_of(expected)), printed


def check_piece(block: str, manifest: str) -> None:
    """Each document of the block is a part of what stands somewhere in the manifest."""
    nodes = [node for document in yaml.safe_load_all(manifest) for node in nodes_of(document)]
    for piece in yaml.safe_load_all(block):
        assert any(is_part(piece, node) for node in nodes), f"not in the manifest:\n{block}"


def nodes_of(value: Any) -> Iterator[Any]:
    yield value
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from nodes_of(part)


def is_part(piece: Any, whole: Any) -> bool:
    if isinstance(piece, dict) and isinstance(whole, dict):
        return all(key in whole and is_part(piece[key], whole[key]) for key in piece)
    if isinstance(piece, list) and isinstance(whole, list):
        return all(any(is_part(part, other) for other in whole) for part in piece)
    return bool(piece == whole)


def check_shell_lines(block: str) -> None:
    """Nothing here can run them: bash and the parser of the command line have to take them."""
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for line in block.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        for at, word in enumerate(words):
            if word == "mapred" and (at == 0 or words[at - 1] in ("|", "&&", "$(")):
                rest = words[at + 1 :]
                ends = [n for n, other in enumerate(rest) if other in ("|", "&&", ">", ")", "<")]
                parse(main, "mapred", rest[: ends[0]] if ends else rest)


def parse(
    command: click.Command, name: str, words: list[str], parent: click.Context | None = None
) -> None:
    """Raise a usage error unless the command takes these words; nothing is run."""
    if not isinstance(command, click.Group):
        command.make_context(name, words, parent=parent)
        return
    # A command keeps the option for help that it first makes, by the settings of its context.
    context = click.Context(command, parent, name, **command.context_settings)
    found, inner, rest = command.resolve_command(context, words)
    assert inner is not None
    parse(inner, str(found), rest, context)


def write_block(language: str, title: str, code: str, folder: Path) -> None:
    check_syntax(language, code, title)
    path = folder / title
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    if language == "toml":
        for name in config.tables()[1]:
            backends.resolve(name)


def check_listing(block: str, run_folder: Path) -> None:
    files = [str(p.relative_to(run_folder)) for p in run_folder.rglob("*") if p.is_file()]
    known = []
    for line in block.splitlines()[1:]:  # the first names the folder itself
        name, remark = re.split(r"\s{2,}", line.strip(), maxsplit=1)
        pattern = re.sub(r"<.*?>", "*", name)
        if not re.search(r"\bif\b", remark):
            assert fnmatch.filter(files, pattern), f"{name} is not among {sorted(files)}"
        known.append(re.sub(r"\d{5,}", "[0-9]*", pattern))
    for file in files:
        assert any(fnmatch.fnmatch(file, pattern) for pattern in known), f"{file} is not listed"


def check_syntax(language: str, code: str, where: str) -> None:
    if language == "python":
        compile(code, where, "exec")
    elif language == "sh":
        subprocess.run(["bash", "-n", "-c", code], check=True)
    elif language == "json":
        json.loads(code)
    elif language == "yaml":
        list(yaml.safe_load_all(code))
    else:
        assert language in {"csv", "text", "toml"}, f"{where}: a block of {language!r}"


def check_peer(language: str, code: str, session: dict[str, Any], peer: str, where: str) -> None:
    module = PEERS[peer]
    installed = module is not None and importlib.util.find_spec(module) is not None
    if language == "pycon":
        assert doctest.DocTestParser().get_examples(code), where
        if installed:
            check_pycon(code, session, where)
        return
    check_syntax(language, code, where)
    if language == "python" and installed:
        exec(compile(code, where, "exec"), session)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page_name(page), marks=[pytest.mark.slow] * (page_name(page) in SLOW))
        for page in PAGES
    ],
)
def test_every_block_runs(page: Path, folder: Path) -> None:
    session: dict[str, Any] = {"__name__": "__main__"}
    peers: dict[str, dict[str, Any]] = {}
    first_run: Any = None
    text = page.read_text()
    for block in BLOCK.finditer(text):
        indent, language, title, more, code = block.groups()
        code = textwrap.dedent(code) if indent else code
        line = text[: block.start()].count("\n") + 2
        where = f"{page.name}:{line}"
        assert not more, f"{where}: {more!r} after the language"
        if included := re.fullmatch(r'--8<-- "(recipes/.+)"\n', code):
            assert (ROOT / included[1]).is_file(), where
        elif title in PEERS:
            namespace = peers.setdefault(title, {"__name__": "__main__"})
            check_peer(language, code, namespace, title, where)
        elif title and title != "mapred":
            write_block(language, title, code, folder)
        elif language == "python":
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), session)
            first_run = first_run or session.get("run")
        elif language == "pycon":
            check_pycon(code, session, where)
        elif language == "console":
            check_console(code, folder)
        elif language == "sh":
            check_shell_lines(code)
        elif language == "yaml":
            check_piece(code, session["workflow"])
        elif language == "text":
            check_listing(code, Path(first_run.uri))
        else:
            pytest.fail(f"{where}: a block of {language!r} that nothing checks")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_no_block_escapes(page: Path) -> None:
    """A fence that `BLOCK` does not see would never run."""
    fences = re.findall(r"^ *```", page.read_text(), re.M)
    assert len(fences) == 2 * len(BLOCK.findall(page.read_text()))


MAPPING = (ROOT / "docs/mapping.md").read_text()


def spans_of_the_mapping(column: int, of: str = r"\| batch concept") -> list[str]:
    """The pieces of code in a column of the tables that begin like `of`, without rows that are open."""
    tables = re.findall(rf"^{of}.*\n\|[-|]+\n((?:\|.*\n)+)", MAPPING, re.M)
    rows = [row for table in tables for row in table.splitlines() if "**open**" not in row]
    cells = [re.split(r" \| ", row.strip("| "))[column:][:1] for row in rows]
    return [span for cell in cells for span in re.findall(r"`([^`]+)`", "".join(cell))]


def test_the_mapping_has_what_argo_gets() -> None:
    goldens = (ROOT / "tests/backends/argo/goldens").glob("*.yaml")
    source = (ROOT / "mapred/backends/argo").glob("*.py")
    known = "".join(path.read_text() for path in [*goldens, *source])
    spans = spans_of_the_mapping(2)
    assert len(spans) > 25
    assert [span for span in spans if span.partition(":")[0] not in known] == []


def test_what_the_mapping_says_to_write_exists(tmp_path: Path) -> None:
    spans = spans_of_the_mapping(1) + spans_of_the_mapping(1, r"\| you had")
    options = {
        *inspect.signature(mapred.run).parameters,
        *inspect.signature(mapred.Argo).parameters,
    }
    options |= {*inspect.signature(mapred.Resources).parameters, "files", "on_failure", "fn"}
    for span in spans:
        if span == "mapred.toml":
            continue
        if span.startswith("mapred "):
            check_shell_lines(span)
        elif span.startswith(("mapred.", "run.", "job.", "task.")):
            names = re.match(r"(\w+)\.(\w+)", span)
            assert names is not None
            owner = {"mapred": mapred, "run": mapred.Run, "job": mapred.Job, "task": mapred.Task}
            assert hasattr(owner[names[1]], names[2]), span
        elif match := re.match(r"(\w+) ?=(?! mapred\.job)", span):
            assert match[1] in options, span
