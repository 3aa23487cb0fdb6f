"""Every public name says what it is, describes each of its parameters, and shows an example that runs.

Examples run by doctest in an empty folder that holds `corpus/` and `sales.csv`. So that all of
them take seconds, runs on local processes run in this process; but for those named in `PROCESSES`.
"""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import os
import re
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from testbed.shelf import Shelf

import mapred
import mapred.testing
from mapred import backends
from mapred.backends.inline import Inline
from mapred.cli import main
from mapred.client.audit.pipelines import PipelineAudit
from mapred.client.completing import Outputs
from mapred.client.deploying import Deployments
from mapred.client.history import Entry, Runs
from mapred.display.advice import Advice
from mapred.display.failures import Failures
from mapred.display.sweeps import SweepPlot
from mapred.functions.commands import Command
from mapred.process.describing import parameters_in

CORPUS = {"a.txt": "the road goes ever on\nthe end of the road\n", "b.txt": "the one road\n"}
SALES = "city,price\nOslo,3\nRome,5\nOslo,4\n"
# What a user meets as the value of a public function, under no public name of its own.
MET = {
    "Outputs": Outputs,
    "Deployments": Deployments,
    "Entry": Entry,
    "Runs": Runs,
    "Failures": Failures,
    "Command": Command,
    "Advice": Advice,
    "PipelineAudit": PipelineAudit,
    "SweepPlot": SweepPlot,
}
# Names that mapred calls itself: they say what they are, and need no example.
CALLED_BY_MAPRED = {
    "Argo": "expected in_cluster prepare render reopen schedule schedules submit unschedule deploy deployments undeploy start_deployed start_pipeline reopen_pipeline in_pipeline own_pipeline examine name arguments",
    "Dask": "arguments prepare submit",
    "Local": "arguments check prepare prove submit",
    "Dataset": "frame_file inputs modules offsets",
    "Failure": "from_bytes to_bytes",
    "Job": "reducer shuffle",
    "Resources": "memory_bytes of_stored on_demand",
    "Run": "finish digest",
    "Schedule": "from_json to_json",
    "Deployment": "from_json to_json",
    "Task": "begin folder",
    "Command": "name",
    "Outputs": "load_by",
}
# Users get these and make none.
MADE_BY_MAPRED = {
    "CommandError",
    "MissingDependency",
    "Outputs",
    "PipelineRun",
    "Run",
    "RunError",
    "Task",
    "errors.RecordError",
}
# The smallest store, backend and handle: the methods are those of the protocols.
FAKES = ("testing.MemoryStore", "testing.Idle", "testing.NotStarted")
# These have no example, as there is nothing to call or no place where it would run here.
NO_EXAMPLE = {
    "Backend": "a protocol: docs/extending.md has a backend that runs",
    "Store": "a protocol: docs/extending.md has a store that runs",
    "testing.BackendContract": "a class of tests: pytest runs them",
    "testing.StoreContract": "a class of tests: pytest runs them",
}
# Examples that stop a run while it works need one that works beside them.
PROCESSES = {
    "Advice",
    "Run.cancel",
    "Run.suspend",
    "Run.wait",
    "Run.logs",
    "submit",
    "Local",
    "Dask",
}


def public() -> dict[str, Any]:
    """Every public name without `mapred.`, and below it the members that users call."""
    named = {name: getattr(mapred, name) for name in mapred.__all__ if name != "__version__"}
    modules = {"errors": mapred.errors, "reducers": mapred.reducers, "testing": mapred.testing}
    for module, value in modules.items():
        inside = {f"{module}.{name}": getattr(value, name) for name in value.__all__}
        named |= {name: v for name, v in inside.items() if name.partition(".")[2] not in named}
    return {name: value for name, value in (named | MET).items() if not inspect.ismodule(value)}


def members(name: str, cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class, those of its bases in mapred as well."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("mapred.")]
    found = {key: value for base in reversed(bases) for key, value in vars(base).items()}
    for key, value in found.items():
        kinds = (types.FunctionType, classmethod, staticmethod, property)
        is_cached = type(value).__name__ == "cached_property"
        if not key.startswith("_") and (isinstance(value, kinds) or is_cached):
            yield f"{name}.{key}", value


NAMES = public()
MEMBERS = {
    member: value
    for name, cls in NAMES.items()
    if inspect.isclass(cls)
    and not issubclass(cls, BaseException)
    and "Contract" not in name
    and name not in FAKES
    for member, value in members(name, cls)
}
ALL = {**NAMES, **MEMBERS}


def doc_of(value: Any) -> str:
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    return inspect.cleandoc(value.__doc__ or "")


def called_by_mapred(name: str) -> bool:
    cls, _, member = name.rpartition(".")
    protocol = cls in (
        "Backend",
        "Store",
        "testing.MemoryStore",
        "testing.Idle",
        "testing.NotStarted",
    )
    return protocol or member in CALLED_BY_MAPRED.get(cls, "").split()


def function_of(value: Any) -> Callable[..., Any] | None:
    """What is called when a name is; None for a property or a value."""
    if isinstance(value, classmethod | staticmethod):
        return value.__func__
    return value if callable(value) and not isinstance(value, mapred.Reducer) else None


def parameters(name: str, value: Any) -> list[str]:
    """What a name's signature takes, without `self` and what begins with an underscore."""
    function = function_of(value)
    if (
        function is None
        or called_by_mapred(name)
        or name in MADE_BY_MAPRED
        or getattr(value, "_is_protocol", False)
    ):
        return []
    if (
        inspect.isclass(value)
        and "__init__" not in vars(value)
        and issubclass(value, (tuple, BaseException))
    ):
        return []
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    taken = inspect.signature(function).parameters.values()
    return [
        f"{stars.get(p.kind, '')}{p.name}"
        for p in taken
        if p.name[0] != "_" and p.name not in ("self", "cls")
    ]


def faults(name: str, value: Any) -> list[str]:
    """What the docstring of a name lacks."""
    doc = doc_of(value)
    first, *more = doc.splitlines() or [""]
    found = []
    if not first.endswith((".", ":")) or (more and more[0]):
        found.append(f"{name} begins with: {first!r}")
    attributes = doc.replace("\nArgs:\n", "\n").replace("\nAttributes:\n", "\nArgs:\n")
    described = parameters_in(doc) | parameters_in(attributes)
    taken = parameters(name, value)
    if missing := [each for each in taken if each not in described]:
        found.append(f"{name} does not say what these are: {', '.join(missing)}")
    if not inspect.isclass(value) and (gone := described.keys() - taken):
        found.append(f"{name} describes what it does not take: {', '.join(gone)}")
    is_property = name in MEMBERS and function_of(value) is None
    owner = NAMES.get(name.rpartition(".")[0])
    shared = is_property and owner is not None and ">>> " in doc_of(owner)
    if ">>> " not in doc and not (shared or called_by_mapred(name) or name in NO_EXAMPLE):
        found.append(f"{name} has no example")
    return found


@pytest.mark.parametrize("name", ALL)
def test_a_name_is_described(name: str) -> None:
    assert faults(name, ALL[name]) == []


def test_each_fault_is_found() -> None:
    def silent(a: int) -> None: ...

    def partly(a: int, *, b: int = 0) -> None:
        """Do it.

        Args:
            a: A number.
            c: Another one.

        Examples:
            >>> 1
            1
        """

    def whole(a: int) -> None:
        """Do it.

        Args:
            a: A number.

        Examples:
            >>> 1
            1
        """

    assert len(faults("silent", silent)) == 3
    assert faults("partly", partly) == [
        "partly does not say what these are: b",
        "partly describes what it does not take: c",
    ]
    assert faults("whole", whole) == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder but for a corpus and a table, with a root of its own."""
    (tmp_path / "corpus").mkdir()
    for name, text in CORPUS.items():
        (tmp_path / "corpus" / name).write_text(text)
    (tmp_path / "sales.csv").write_text(SALES)
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path / ".runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_example(name: str, doc: str) -> str:
    """Run the examples of a docstring; the report of those that print something else."""
    session = {"__name__": "__main__", "mapred": mapred}
    test = doctest.DocTestParser().get_doctest(doc, session, name, name, 0)
    assert test.examples
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    runner.run(test, out=report.append)
    return "".join(report)


@dataclass
class Clock:
    """A cluster that only keeps its schedules."""

    root: str
    name: str = "argo"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    kept: dict[str, mapred.Schedule] = field(default_factory=dict)

    def prepare(self) -> None: ...

    def submit(self, store: Any, job: Any, digest: str) -> Any: ...

    def schedule(self, schedule: mapred.Schedule, *_: Any) -> None:
        self.kept[schedule.name] = schedule

    def schedules(self) -> list[mapred.Schedule]:
        return list(self.kept.values())

    def unschedule(self, name: str) -> None:
        del self.kept[name]


@pytest.mark.parametrize("name", [name for name, value in ALL.items() if ">>> " in doc_of(value)])
def test_an_example_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins: dict[Any, Any] = {} if name in PROCESSES else {"local": Inline()}
    if "schedule" in name.lower():
        stand_ins["argo"] = Clock(str(folder / "runs"))
    if "deploy" in name.lower():
        stand_ins["argo"] = Shelf(root=str(folder / "runs"))
    resolve = backends.resolve

    def stand_in(backend: Any) -> Any:
        named = stand_ins.get(backend) if isinstance(backend, str) else None
        return named or resolve(backend)

    monkeypatch.setattr(backends, "resolve", stand_in)
    assert run_example(name, doc_of(ALL[name])) == ""


def test_an_example_that_is_wrong_is_reported(folder: Path) -> None:
    assert "Expected:" in run_example("wrong", ">>> 1 + 1\n3\n")
    assert "ZeroDivisionError" in run_example("raises", ">>> 1 / 0\n")
    assert os.listdir("corpus")


# --- the pages of the reference ---

ROOT = Path(__file__).parent.parent
STARS = {"var_positional": "*", "var_keyword": "**"}
PAGES = sorted((ROOT / "docs/reference").glob("*.md"))


def on_pages() -> list[str]:
    """What the pages of the reference describe, without `mapred.`."""
    found = [
        name for page in PAGES for name in re.findall(r"^::: mapred\.(\S+)", page.read_text(), re.M)
    ]
    return [next((k for k, v in MET.items() if name.endswith(f".{k}")), name) for name in found]


def test_each_public_name_is_on_one_page_of_the_reference() -> None:
    found = Counter(on_pages())
    assert set(found) ^ NAMES.keys() == set()
    assert [name for name, times in found.items() if times > 1] == []


def loaded(name: str) -> Any:
    """A module of docs/site."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/site/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_pages_show_each_option_with_its_type_and_what_it_means() -> None:
    griffe = pytest.importorskip("griffe")
    extensions = griffe.load_extensions(loaded("reference").Reference)
    package = griffe.load("mapred", search_paths=[ROOT], extensions=extensions)
    for name, value in ALL.items():
        owner, _, _ = name.rpartition(".")
        shown, taken = package, parameters(name, value)
        if name in MET or owner in MET or not taken:
            continue
        for part in name.split("."):
            members = shown.all_members if hasattr(shown, "all_members") else shown.members
            shown = members[part]
            shown = shown.final_target if shown.is_alias else shown
        types = {f"{STARS.get(p.kind.name, '')}{p.name}": p.annotation for p in shown.parameters}
        assert all(types.get(each) is not None for each in taken), f"{name}: {types}"
        sections = griffe.parse_google(shown.docstring, warnings=False)
        described = {
            p.name
            for s in sections
            if s.kind.value in ("parameters", "attributes")
            for p in s.value
        }
        assert not set(taken) - described, name
        assert any(s.kind.value == "examples" for s in sections) or name in NO_EXAMPLE, name


def test_the_page_of_the_command_line_has_each_command() -> None:
    commands = loaded("commands")
    text = "\n".join(commands.described(main, "mapred", None))
    for name in [*main.commands, "argo rbac"]:
        assert f"## mapred {name}\n" in text, name
    assert "| `--max-failed N` | " in text
    assert "mapred run recipes/word_count.py --json | jq .result\n" in text
    assert commands.PLACE in (ROOT / "docs" / commands.PAGE).read_text()


def test_help_of_the_package_names_what_there_is() -> None:
    doc = mapred.__doc__ or ""
    words = set(re.findall(r"\w+", doc))
    for name in ("run", "submit", "read_csv", "sweep", "plan", "open", "reducers", "errors"):
        assert name in words
        assert hasattr(mapred, name)
    listed = re.findall(
        r"^    ((?:\w+, )*\w+)(?:  +\S.*)?$", doc.partition("Where to begin")[2], re.M
    )
    assert [n for line in listed for n in line.split(", ") if n not in mapred.__all__] == []
