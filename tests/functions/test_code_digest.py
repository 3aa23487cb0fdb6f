"""The digest of what a callable does: what changes it, and what does not."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.functions import code_digest, parameters, transport
from mapred.model import canonical

PROGRAM = """
import collections
import dataclasses
import enum
import functools
import json
import math
import typing

RATE = 2
LIMITS = {"low": 1, "high": 2}
ALLOWED = {"red", "green", "blue"}
ORDER = (1, 2, 3)
TITLE = "total"

def deco(times):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args) * times
        return wrapper
    return decorate

class Base:
    unit = "kg"
    def scale(self, value):
        return value * 3

class Other:
    pass

class Model(Base):
    kind = "linear"
    def __init__(self, slope=1.5):
        self.slope = slope
    def predict(self, value):
        return self.scale(value) + self.slope
    @property
    def name(self):
        return "model"
    @staticmethod
    def clip(value):
        return min(value, 10)
    @classmethod
    def make(cls):
        return cls(4.5)

@dataclasses.dataclass
class Point:
    x: int = 5
    tags: list = dataclasses.field(default_factory=list)
    def norm(self):
        return math.hypot(self.x, 0)

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

class Row(typing.NamedTuple):
    a: int = 7

Pair = collections.namedtuple("Pair", "left right")

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

def counter(start):
    def step(n):
        return start + n
    return step

step = counter(10)

@functools.lru_cache(maxsize=32)
def cached(value):
    return value + 100

@functools.singledispatch
def show(value):
    return "object"

@show.register
def _(value: int):
    return "int"

HANDLERS = {"even": even, "group": {odd, even}, "partial": functools.partial(pow, 2)}
model = Model()

def helper(value, power=2, *, offset=0):
    "Raise a value."
    # a comment
    return value ** power + offset

@deco(3)
def work(value, factor=1.0):
    total = 0
    for item in range(5):
        if item > 2:
            total += helper(item) * RATE
    words = [word.upper() for word in ("a", "b") if word in {"x", "y", "z"}]
    try:
        text = f"{total:>8}"
    except ValueError:
        text = b"none"
    def inner(x):
        return x - 1
    lost = -0.0
    return (text, words, inner(total), lost, LIMITS["low"], ALLOWED, ORDER, TITLE, step(1),
            cached(2), show(3), HANDLERS, model.predict(4), Point(), Colour.RED, Row(), Pair,
            even(4), json.dumps([1]), True, 12, lambda y: y + 7, Model.clip(3))
"""

# Single changes: what is replaced, and by what.
CHANGES = [
    ("range(5)", "range(6)"),
    ("item > 2", "item >= 2"),
    ("item > 2", "item < 2"),
    ("total += helper", "total -= helper"),
    ("* RATE", "+ RATE"),
    ("* RATE", "* 2"),
    ("RATE = 2", "RATE = 3"),
    ("RATE = 2", "RATE = 2.0"),
    ("RATE = 2", 'RATE = "2"'),
    ("True, 12", "1, 12"),
    ("True, 12", "1.0, 12"),
    ("True, 12", "False, 12"),
    ("True, 12", "True, 13"),
    ("lost = -0.0", "lost = 0.0"),
    ("lost = -0.0", "lost = 0"),
    ('b"none"', '"none"'),
    ('"low": 1', '"low": True'),
    ('"low": 1, "high": 2', '"high": 2, "low": 1'),
    ('"red", "green", "blue"', '"red", "green"'),
    ('ALLOWED = {"red", "green", "blue"}', 'ALLOWED = ["red", "green", "blue"]'),
    ("(1, 2, 3)", "(1, 3, 2)"),
    ("(1, 2, 3)", "[1, 2, 3]"),
    ('TITLE = "total"', 'TITLE = b"total"'),
    ("@deco(3)", "@deco(4)"),
    ("@deco(3)\n", ""),
    ("(*args) * times", "(*args) + times"),
    ('unit = "kg"', 'unit = "g"'),
    ("value * 3", "value * 4"),
    ("class Model(Base):", "class Model(Base, Other):"),
    ("class Model(Base):", "class Model(Other):"),
    ('kind = "linear"', 'kind = "cubic"'),
    ("slope=1.5", "slope=2.5"),
    ("self.scale(value) + self.slope", "self.scale(value) - self.slope"),
    ('return "model"', 'return "other"'),
    ("    @property\n", ""),
    ("min(value, 10)", "max(value, 10)"),
    ("cls(4.5)", "cls(5.5)"),
    ("    @staticmethod\n", "    @classmethod\n"),
    ("x: int = 5", "x: int = 6"),
    ("default_factory=list", "default_factory=dict"),
    ("@dataclasses.dataclass\n", "@dataclasses.dataclass(order=True)\n"),
    ("math.hypot", "math.dist"),
    ("RED = 1", "RED = 3"),
    ("RED = 1\n    BLUE = 2", "BLUE = 2\n    RED = 1"),
    ("a: int = 7", "a: int = 8"),
    ('"left right"', '"left middle"'),
    ("n == 0 or odd", "n == 1 or odd"),
    ("even(n - 1)", "even(n - 2)"),
    ("counter(10)", "counter(11)"),
    ("start + n", "start - n"),
    ("value + 100", "value + 101"),
    ("maxsize=32", "maxsize=33"),
    ('return "int"', 'return "integer"'),
    ("(value: int)", "(value: str)"),
    ("partial(pow, 2)", "partial(pow, 3)"),
    ("partial(pow, 2)", "partial(max, 2)"),
    ("{odd, even}", "{odd}"),
    ("model = Model()", "model = Model(9.5)"),
    ("power=2", "power=3"),
    ("offset=0", "offset=1"),
    ("value ** power", "value * power"),
    ("factor=1.0", "factor=1"),
    ("word.upper()", "word.lower()"),
    ('in ("a", "b")', 'in ("b", "a")'),
    ('in {"x", "y", "z"}', 'in {"x", "y"}'),
    ('if word in {"x", "y", "z"}', 'if word not in {"x", "y", "z"}'),
    ("{total:>8}", "{total:>9}"),
    ("{total:>8}", "{total!r:>8}"),
    ("except ValueError", "except KeyError"),
    ("return x - 1", "return x - 2"),
    ("y + 7", "y + 8"),
    ("json.dumps([1])", "json.loads([1])"),
    ("import json", "import pickle as json"),
    ('"Raise a value."', '"Raise it."'),
    ('LIMITS["low"]', 'LIMITS["high"]'),
    ("Model.clip(3)", "Model.make(3)"),
]
# What changes the text alone.
LAYOUTS: dict[str, Callable[[str], str]] = {
    "a comment": lambda text: text.replace("# a comment", "# another\n    # one"),
    "lines before it": lambda text: "\n" * 300 + text,
    "lines in it": lambda text: text.replace("    total = 0\n", "\n\n    total = 0  # none\n\n"),
    "an unused name": lambda text: text + "\nUNUSED = object()\n",
    "an annotation": lambda text: text.replace("(value, power=2", "(value: float, power: int=2"),
    "the order of a set": lambda text: text.replace('"x", "y", "z"', '"z", "x", "y"'),
    "the order of definitions": lambda text: text.replace("RATE = 2\n", "").replace(
        "ORDER =", "RATE = 2\nORDER ="
    ),
}


def define(text: str, name: str = "work", file: str = "<cell 1>", module: str = "__main__") -> Any:
    """What a cell of a notebook defines."""
    values: dict[str, Any] = {"__name__": module}
    exec(compile(text, file, "exec", dont_inherit=True), values)
    return values[name]


@pytest.fixture(scope="module")
def first() -> str:
    return code_digest.digest(define(PROGRAM))


def test_each_single_change_has_a_digest_of_its_own(first: str) -> None:
    changed = {pair: PROGRAM.replace(*pair, 1) for pair in CHANGES}
    assert [pair for pair, text in changed.items() if text == PROGRAM] == []
    digests = {pair: code_digest.digest(define(text)) for pair, text in changed.items()}
    assert [pair for pair, digest in digests.items() if digest == first] == []
    assert len(set(digests.values())) == len(CHANGES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_the_text_does_not_count(layout: str, first: str) -> None:
    text = LAYOUTS[layout](PROGRAM)
    assert text != PROGRAM
    assert code_digest.digest(define(text)) == first


def test_neither_the_file_nor_a_second_definition_counts(first: str) -> None:
    assert code_digest.digest(define(PROGRAM, file="/somewhere/else.py")) == first
    values: dict[str, Any] = {"__name__": "__main__"}
    for _ in range(2):  # a cell that is run again; the second time all but `even` is new
        kept = values.get("even")
        exec(compile(PROGRAM, "<cell>", "exec", dont_inherit=True), values)
        values["even"] = kept or values["even"]
    assert code_digest.digest(values["work"]) == first


def test_a_call_does_not_count(first: str) -> None:
    work = define(PROGRAM)
    work(1)
    assert code_digest.digest(work) == first
    assert code_digest.digest(work) == first


def test_neither_a_tracer_nor_a_profiler_counts(first: str) -> None:
    work = define(PROGRAM)
    before, seen = sys.gettrace(), list[str]()
    sys.settrace(lambda frame, event, argument: seen.append(event))  # type: ignore[func-returns-value]
    try:
        for _ in range(100):
            work(1)
    finally:
        sys.settrace(before)
    assert seen
    assert code_digest.digest(work) == first


SCRIPT = """
import sys
from mapred.functions import code_digest, parameters, transport
if __name__ == "__main__":
    print(code_digest.digest(work), *(code_digest.digest(each) for each in
        (model.predict, Model, Point, Colour, Row, Pair, show, cached, HANDLERS["partial"])))
    if len(sys.argv) > 1:
        with open(sys.argv[1], "wb") as file:
            file.write(transport.dump(work))
"""
LOADER = """
import sys
from mapred.functions import code_digest, parameters, transport
with open(sys.argv[1], "rb") as file:
    print(code_digest.digest(transport.load(file.read())))
"""


def run_script(file: Path, root: Path, *arguments: str, seed: int = 0) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(file), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": str(seed)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def check_processes(folder: Path, root: Path, first: str, seeds: range) -> None:
    script, loader = folder / "script.py", folder / "loader.py"
    script.write_text(PROGRAM + SCRIPT)
    loader.write_text(LOADER)
    told = [run_script(script, root, str(folder / "work.pkl"), seed=seed) for seed in seeds]
    assert told[0][0] == first
    assert told == [told[0]] * len(seeds)
    loaded = {run_script(loader, root, str(folder / "work.pkl"), seed=s)[0] for s in seeds[:2]}
    assert loaded == {first}


def test_each_process_has_the_same_digests_and_so_has_a_pickle(
    tmp_path: Path, root: Path, first: str
) -> None:
    check_processes(tmp_path, root, first, range(1, 3))


@pytest.mark.slow
def test_fifty_processes_have_the_same_digests(tmp_path: Path, root: Path, first: str) -> None:
    check_processes(tmp_path, root, first, range(100, 150))


HELPERS = """
import math
RATE = 3
def scale(value):
    return value * RATE + math.pi
def unused(value):
    return value
"""


@pytest.fixture
def local_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """What imports a local module of a text."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    count = iter(range(100))

    def make(text: str) -> types.ModuleType:
        # Python looks at the time of a file, in seconds, before it compiles it again.
        folder = tmp_path / str(next(count))
        folder.mkdir()
        (folder / "helpers_of_mine.py").write_text(text)
        monkeypatch.syspath_prepend(folder)
        sys.modules.pop("helpers_of_mine", None)
        return __import__("helpers_of_mine")

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


BY_ATTRIBUTE = "import helpers_of_mine\ndef work(x): return helpers_of_mine.scale(x)"
BY_NAME = "from helpers_of_mine import scale\ndef work(x): return scale(x)"
INSIDE = "def work(x):\n    import helpers_of_mine as h\n    return h.scale(x)"
WHOLE = "import helpers_of_mine\ndef work(x): return vars(helpers_of_mine)[x]"


@pytest.mark.parametrize("program", [BY_ATTRIBUTE, BY_NAME, INSIDE, WHOLE])
def test_the_code_of_a_local_module_counts(
    program: str, local_module: Callable[[str], Any]
) -> None:
    def digest_with(text: str) -> str:
        local_module(text)
        return code_digest.digest(define(program))

    before = digest_with(HELPERS)
    assert digest_with(HELPERS.replace("\n", "\n# a comment\n")) == before
    assert digest_with(HELPERS.replace("* RATE", "/ RATE")) != before
    assert digest_with(HELPERS.replace("RATE = 3", "RATE = 4")) != before
    unused = digest_with(HELPERS + "\nOTHER = 1\n")
    assert (unused == before) == (program in (BY_ATTRIBUTE, BY_NAME))


def test_a_variable_that_was_set_in_a_local_module_counts(
    local_module: Callable[[str], Any],
) -> None:
    module = local_module(HELPERS)
    before = code_digest.digest(define(BY_ATTRIBUTE))
    module.RATE = 5
    assert code_digest.digest(define(BY_ATTRIBUTE)) != before


UNKNOWN = {
    "import threading\nLOCK = threading.Lock()\ndef work(x):\n    with LOCK: return x": (
        r"work: global 'LOCK' is a _thread.lock, which"
    ),
    "import sqlite3\nDB = {'main': sqlite3.connect(':memory:')}\ndef work(x): return DB": (
        r"work: global 'DB'\['main'\] is a sqlite3.Connection, which"
    ),
    "f = iter([1])\ndef help(): return f\ndef work(x): return help()": (
        r"work: global 'help': global 'f' is a list_iterator, which"
    ),
    "def make(file):\n    return lambda: file\nwork = make(iter([1]))": (
        r"<lambda>: closure variable 'file' is a list_iterator"
    ),
    "import threading\ndef work(x, lock=threading.Lock()): return x": r"work: default of 'lock' is a",
}


@pytest.mark.parametrize("program", UNKNOWN)
def test_what_has_no_form_is_named(program: str) -> None:
    with pytest.raises(canonical.Unknown, match=UNKNOWN[program]):
        code_digest.digest(define(program))


def test_callables_of_packages_have_digests_of_their_own() -> None:
    import numpy as np

    callables = [
        len, str.upper, [].append, [1].append, {}.get, np.add, np.mean, np.zeros(2).mean, int, dict.fromkeys,
        functools.partial(pow, 2), mapred.command(["true"]), mapred.command(["false"]), np.float64,
        mapred.reducers.sum, mapred.reducers.top_k(3), mapred.reducers.top_k(4),
        mapred.reducers.top_k(3, key=len), mapred.Reducer("a", sum, sum), mapred.Reducer("a", sum, max),
        textwrap.dedent,
    ]  # fmt: skip
    digests = [code_digest.digest(each) for each in callables]
    assert len(set(digests)) == len(callables)
    assert digests == [code_digest.digest(transport.unpickle(transport.dump(c))) for c in callables]


def test_circles_of_any_shape_end() -> None:
    text = """
class Node:
    def __init__(self): self.next = self
    def me(self): return Node, node, table
node = Node()
table = {"node": node, "all": {Node}}
def work(x): return work, node
"""
    assert code_digest.digest(define(text)) == code_digest.digest(define(text))
    changed = text.replace("self.next = self", "self.next = None")
    assert code_digest.digest(define(text)) != code_digest.digest(define(changed))


MODELS = {
    "dataclasses": (
        "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass M:\n    x: int = 1\n    y: int = 2\n"
        "    z: int = dataclasses.field(default=3, repr=True)\n"
    ),
    "attrs": (
        "import attrs\n@attrs.define\nclass M:\n    x: int = 1\n    y: int = 2\n"
        "    z: int = attrs.field(default=3, repr=True)\n"
    ),
    "pydantic": (
        "import pydantic\nclass M(pydantic.BaseModel):\n    x: int = 1\n    y: int = 2\n"
        "    z: int = pydantic.Field(default=3, repr=True)\n"
        "    @pydantic.field_validator('x', mode='after')\n    @classmethod\n    def check(cls, v): return v + 1\n"
    ),
}


@pytest.mark.parametrize("package", MODELS)
def test_the_fields_of_a_class_count(package: str) -> None:
    pytest.importorskip(package)
    text = MODELS[package] + "def work(x):\n    return M(x=x)\n"
    changes = [
        ("x: int = 1", "x: int = 4"), ("x: int = 1", "x: float = 1"), ("y: int", "w: int"),
        ("default=3", "default=4"), ("repr=True", "repr=False"), ("M(x=x)", "M(y=x)"),
    ]  # fmt: skip
    if package == "pydantic":
        changes += [("v + 1", "v + 2"), ("'after'", "'before'"), ("('x',", "('y',")]
    digests = [code_digest.digest(define(text.replace(*change, 1))) for change in changes]
    digests += [code_digest.digest(define(text))]
    assert len(set(digests)) == len(changes) + 1
    assert code_digest.digest(define(text)) == digests[-1]


def test_an_instance_counts_by_its_class_and_its_state() -> None:
    text = """
import threading
class Model:
    size = 3
    def __init__(self, rate):
        self.rate = rate
        self.lock = threading.Lock()
    def __getstate__(self):
        return {"rate": self.rate}
    def __call__(self, x):
        return x * self.rate
work = Model(2)
"""
    digests = [
        code_digest.digest(define(text.replace(*change)))
        for change in [
            ("", ""),
            ("Model(2)", "Model(3)"),
            ("x * ", "x + "),
            ("size = 3", "size = 4"),
        ]
    ]
    assert len(set(digests)) == 4
    assert code_digest.digest(define(text)) == digests[0]
    with pytest.raises(canonical.Unknown, match=r"^Model\.lock is a _thread\.lock, which"):
        code_digest.digest(define(text.replace("__getstate__", "state")))


def test_a_class_with_bound_parameters_counts_by_both() -> None:
    text = "class Work:\n    def __call__(self, item, rate=1): return item * rate"
    plain = define(text, "Work")
    changed = define(text.replace("*", "+"), "Work")
    bound = [
        parameters.bind_values(each, {"rate": rate}) for each in (plain, changed) for rate in (2, 3)
    ]
    digests = [code_digest.digest(each) for each in (plain, changed, *bound)]
    assert len(set(digests)) == len(digests)
    again = parameters.bind_values(define(text, "Work"), {"rate": 2})
    assert code_digest.digest(again) == digests[2]


def test_a_module_without_a_file_counts_by_what_it_holds() -> None:
    def work_with(rate: int) -> Any:
        module = types.ModuleType("made_here")
        module.__dict__.update(rate=rate)
        return types.FunctionType(
            define("def work(x): return made_here").__code__, {"made_here": module}
        )

    assert code_digest.digest(work_with(1)) == code_digest.digest(work_with(1))
    assert code_digest.digest(work_with(1)) != code_digest.digest(work_with(2))


def test_all_of_main_has_no_form() -> None:
    with pytest.raises(canonical.Unknown, match=r"global '__main__' is all of __main__"):
        code_digest.digest(define("import __main__\ndef work(x): return vars(__main__)"))


def test_a_class_inside_a_function_has_neither_lines_nor_an_order_of_attributes() -> None:
    text = """
def work(x):
    class Inner:
        unit = 5
        def set(self):
            self.a = self.b = self.c = self.d = x
    return Inner
"""
    digests = {code_digest.digest(define("\n" * lines + text)) for lines in (0, 3, 5, 300, 70_000)}
    assert len(digests) == 1
    assert digests != {code_digest.digest(define(text.replace("unit = 5", "unit = 6")))}


def test_a_cached_property_that_was_asked_for_does_not_count() -> None:
    text = """
import functools
class Model:
    @functools.cached_property
    def size(self): return object()
model = Model()
def work(x): return model.size
"""
    work = define(text)
    before = code_digest.digest(work)
    work(1)
    assert code_digest.digest(work) == before


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("raise KeyError('no')", r"^work: global 'model' is a Model that cannot be read: KeyError"),
        ("return {'x': Model()}", r" leads to more than [\d,]+ objects that are not data$"),
    ],
)
def test_an_object_whose_methods_fail_is_named(
    state: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_digest, "_MOST", 100)
    text = f"class Model:\n    def __getstate__(self): {state}\nmodel = Model()\ndef work(x): return model\n"
    with pytest.raises(canonical.Unknown, match=message):
        code_digest.digest(define(text))


AT_HOME = """
import sys
import helpers_of_mine
from helpers_of_mine import scale
from mapred.functions import code_digest, transport
def by_attribute(x): return helpers_of_mine.scale(x)
def by_name(x): return scale(x)
def inside(x):
    import helpers_of_mine as h
    return h.scale(x)
def whole(x): return vars(helpers_of_mine)[x]
for number, each in enumerate((by_attribute, by_name, inside, whole, scale)):
    with open(f"{sys.argv[1]}.{number}", "wb") as file:
        file.write(transport.dump(each))
    print(code_digest.digest(each))
"""
ELSEWHERE = """
import sys
from mapred.functions import code_digest, transport
for number in range(5):
    with open(f"{sys.argv[1]}.{number}", "rb") as file:
        print(code_digest.digest(transport.load(file.read())))
"""


@pytest.mark.slow
def test_a_worker_without_the_local_modules_has_the_same_digests(
    tmp_path: Path, root: Path
) -> None:
    for folder, text in (("home", AT_HOME), ("elsewhere", ELSEWHERE)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "script.py").write_text(text)
    (tmp_path / "home/helpers_of_mine.py").write_text(HELPERS)
    told = run_script(tmp_path / "home/script.py", root, str(tmp_path / "pickle"))
    (tmp_path / "home").rename(tmp_path / "gone")
    assert len(set(told)) == 5
    assert run_script(tmp_path / "elsewhere/script.py", root, str(tmp_path / "pickle")) == told
