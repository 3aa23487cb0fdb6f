"""What runs is what was written: classes and functions of modules are one everywhere."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mapred
from mapred.errors import FunctionError
from mapred.functions import transport
from mapred.functions.modules import imports

SHOP = '''
"""A module of the user's own."""
import collections, contextvars, dataclasses, enum, functools, pickle, sqlite3, threading, typing
import weakref

class Kind(enum.Enum):
    A = 1
    B = 2

class Mark(enum.Flag):
    X = 1
    Y = 2

@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    kind: Kind = Kind.A

class Pair(typing.NamedTuple):
    one: int
    two: int

class Shape:
    def area(self):
        return 0

class Square(Shape):
    def __init__(self, side):
        self.side = side
    @functools.cached_property
    def squared(self):
        return self.side**2
    def area(self):
        return self.squared

class Refused(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code

SINGLE = type("Single", (), {"__reduce__": lambda self: "SINGLE"})()
lock, database = threading.Lock(), sqlite3.connect(":memory:", check_same_thread=False)
variable, cache = contextvars.ContextVar("variable", default=7), weakref.WeakValueDictionary()
PRICES = {Kind.A: 10, Kind.B: 20}
MODEL = pickle.dumps([Point(1), Kind.B])
calls = []

def price(kind):
    return PRICES.get(kind)

def refuse(code):
    raise Refused(code)

@functools.singledispatch
def tell(value):
    return "something"

@tell.register
def _(value: Kind):
    return "a kind"

@functools.lru_cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def _wrapped(function):
    def inner(*args):
        with lock:
            calls.append(args)
            return function(*args)
    return inner

@_wrapped
def counted(value):
    return len(calls) > 0

locked = lambda value: lock.acquire() and (lock.release() or variable.get())
'''


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "shop_of_mine.py").write_text(SHOP)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("shop_of_mine")
    sys.path.remove(str(folder))
    del sys.modules["shop_of_mine"]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("processes", "spawned", "dask")]
BACKENDS = ["local", "inline", "threads", *SLOW]


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest, shop: ModuleType) -> Iterator[Any]:
    """A name, or a pool of two workers."""
    makers: dict[str, Any] = {
        "threads": lambda: ThreadPoolExecutor(2),
        "processes": lambda: ProcessPoolExecutor(2, mp_context=get_context("fork")),
        "spawned": lambda: ProcessPoolExecutor(1, mp_context=get_context("spawn")),
    }
    found: Any = makers[request.param]() if request.param in makers else request.param
    yield found
    if isinstance(found, Executor):
        found.shutdown()


def test_one_identity_on_every_backend(shop: Any, backend: Any) -> None:
    """One run for all kinds: each value is a question that a copy would answer otherwise."""

    def asked(name: str, value: Any) -> Any:
        import pickle

        import shop_of_mine as late  # type: ignore[import-not-found]

        def caught(value: Any) -> Any:
            try:
                late.refuse(3)
            except shop.Refused as error:
                return type(error) is type(value) and value.code == error.code
            return False

        questions: dict[str, Any] = {
            "enum": lambda: (value is shop.Kind.A, value == late.Kind.A, shop.price(value)),
            "flag": lambda: (value | late.Mark.Y) is shop.Mark(3),
            "dataclass": lambda: (value == late.Point(1), value.kind is shop.Kind.A),
            "tuple": lambda: isinstance(value, late.Pair) and type(value) is shop.Pair,
            "shape": lambda: value.area() if isinstance(value, shop.Square) else 0,
            "exception": lambda: caught(value),
            "key": lambda: {shop.Kind.B: "here"}.get(value),
            "single": lambda: value is late.SINGLE and value is shop.SINGLE,
            "class": lambda: value is shop.Point and value is late.Point,
            "function": lambda: value is late.price,
            "module": lambda: value is late,
            "pickled": lambda: pickle.loads(late.MODEL) == [late.Point(1), shop.Kind.B],
            "dispatch": lambda: shop.tell(value),
            "cached": lambda: (shop.fib(30), shop.fib is late.fib),
            "decorated": lambda: value(1),
            "lambda": lambda: shop.locked(value),
            "state": lambda: (late.calls.append(name), shop.calls[-1])[1],
            "nested": lambda: value["deep"][0][1].kind is late.Kind.B,
        }
        return questions[name]()

    points = [
        ("enum", shop.Kind.A, (True, True, 10)),
        ("flag", shop.Mark.X, True),
        ("dataclass", shop.Point(1), (True, True)),
        ("tuple", shop.Pair(1, 2), True),
        ("shape", shop.Square(3), 9),
        ("exception", shop.Refused(3), True),
        ("key", shop.Kind.B, "here"),
        ("single", shop.SINGLE, True),
        ("class", shop.Point, True),
        ("function", shop.price, True),
        ("module", shop, True),
        ("pickled", None, True),
        ("dispatch", shop.Kind.A, "a kind"),
        ("cached", None, (832040, True)),
        ("decorated", shop.counted, True),
        ("lambda", None, 7),
        ("state", None, "state"),
        ("nested", {"deep": [(1, shop.Point(2, shop.Kind.B))]}, True),
    ]
    names, values = [name for name, _, _ in points], [value for _, value, _ in points]
    sweep = mapred.sweep(name=names, value=values, mode="zip")
    found = mapred.run(asked, sweep, backend=backend, progress="none").result()
    assert dict(zip([point[0] for point in points], found, strict=True)) == {
        name: answer for name, _, answer in points
    }


def test_what_comes_back_is_of_the_module(shop: Any, backend: Any) -> None:
    def made(x: int) -> Any:
        return [shop.Point(x), shop.Kind.B, {shop.Kind.A: shop.price}, shop.Square]

    def together(values: Any) -> Any:
        return [each for value in values for each in value if each != shop.Kind.A]

    points = mapred.items([1, 2])
    run = mapred.run(made, points, backend=backend, progress="none")
    for found in (run.result(), mapred.open(run.uri).result()):
        assert found[0][0] == shop.Point(1)
        assert found[1][1] is shop.Kind.B
        assert found[1][2] == {shop.Kind.A: shop.price}
        assert found[1][3] is shop.Square
    reduced = mapred.run(made, points, reduce=together, backend=backend, progress="none").result()
    assert reduced[0] == shop.Point(1)
    assert len(reduced) == 8


def _python(script: str, folder: Path, *path: Path, check: bool = True) -> str:
    """What a script prints that runs in a process of its own."""
    root = Path(mapred.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=folder,
        env={
            "PYTHONPATH": ":".join(map(str, (*path, root))),
            "MAPRED_ROOT": str(folder / "runs"),
            "TMPDIR": str(folder),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout if check else done.stdout + done.stderr


LAYOUTS = {
    "a module beside": ({"beside.py": "def f(x):\n    return x + 1\n"}, "beside", 3),
    "relative imports": (
        {
            "pkg/__init__.py": "from .deep import base\nfrom .deep.more import f\n",
            "pkg/deep/__init__.py": "base = 1\n",
            "pkg/deep/more.py": "from .. import deep\ndef f(x):\n    from . import late\n"
            "    return x + deep.base + late.zero\n",
            "pkg/deep/late.py": "zero = 0\n",
        },
        "pkg",
        3,
    ),
    "a folder without __init__": (
        {"space/inner.py": "from space.other import one\ndef f(x):\n    return x + one\n",
         "space/other.py": "one = 1\n"},
        "space.inner",
        3,
    ),
    "folders in folders": ({"far/away/now.py": "def f(x):\n    return x + 1\n"}, "far.away.now", 3),
    "packages in packages": (
        {"top/__init__.py": "one = 1\n", "top/mid/__init__.py": "", "top/mid/low/__init__.py": "",
         "top/mid/low/end.py": "import sys\ndef f(x):\n    return x + sys.modules['top'].one\n"},
        "top.mid.low.end",
        3,
    ),
    "a package in a folder": (
        {"box/kit/__init__.py": "", "box/kit/tool.py": "def f(x):\n    return x + 1\n"},
        "box.kit.tool",
        3,
    ),
    "data beside": (
        {
            "withdata/__init__.py": "import pathlib\nfrom importlib import resources\n"
            "here = pathlib.Path(__file__).parent\n"
            "def f(x):\n    text = resources.files('withdata').joinpath('more/n.txt').read_text()\n"
            "    return x + int((here / 'one.txt').read_text()) + int(text)\n",
            "withdata/one.txt": "1",
            "withdata/more/n.txt": "0",
        },
        "withdata",
        3,
    ),
    "a name of the standard library": (
        {"statistics.py": "def f(x):\n    return x + 1\n"}, "statistics", 3
    ),
    "imports by a text": (
        {
            "main.py": "import importlib\nfrom kit import *\ndef f(x):\n"
            "    return x + importlib.import_module('plugin').zero + late.one\n",
            "plugin.py": "import importlib, pkgutil\nimport kit\n"
            "names = [each.name for each in pkgutil.iter_modules(kit.__path__)]\n"
            "zero = sum(importlib.import_module('.' + n, 'kit').one for n in names) - len(names)\n",
            "kit/__init__.py": "__all__ = ['late']\n",
            "kit/late.py": "one = 1\n",
            "kit/deep/__init__.py": "one = 1\n",
        },
        "main",
        3,
    ),
    "files that a module names": (
        {
            "space/reader.py": "import pathlib\nfrom importlib import resources\n"
            "here = pathlib.Path(__file__).parent\n"
            "def f(x):\n    text = resources.files('space').joinpath('zero.txt').read_text()\n"
            "    return x + int((here / 'data' / 'one.txt').read_text()) + int(text)\n",
            "space/data/one.txt": "1",
            "space/zero.txt": "0",
        },
        "space.reader",
        3,
    ),
    "source in hand": (
        {"sourced.py": "import inspect\ndef f(x):\n    return inspect.getsource(f)[:5]\n"},
        "sourced",
        "def f",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "module", "answer"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.slow
def test_modules_are_imported_where_their_files_are_not(
    files: dict[str, str], module: str, answer: Any, tmp_path: Path
) -> None:
    """As in a pod, which has nothing but the run's folder."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    made = f"""
        import importlib, pathlib
        from mapred.functions import transport as functions
        f = importlib.import_module({module!r}).f
        pathlib.Path("function.pkl").write_bytes(functions.dump(f))
    """
    called = f"""
        import random, statistics, sys
        from mapred.functions import transport as functions
        f = functions.load(open("function.pkl", "rb").read())
        assert __import__({module!r}, fromlist=['f']).f is f
        print(f(2), sys.modules[{module!r}].__file__)
    """
    _python(made, elsewhere, project)
    here = _python(called, elsewhere, project).split()
    assert here[-1].startswith(str(project))
    project.rename(tmp_path / "gone")
    there = _python(called, elsewhere)
    assert there.startswith(f"{answer} ")
    assert there.split()[-1].startswith(str(elsewhere))


def test_what_a_module_imports_is_read_off_its_source() -> None:
    many = "".join(f"v{i} = 'text {i}'\n" for i in range(300))
    text = many + "from . import near\nfrom ..far import away\nimport third.deep as d\n"
    found = imports.of_module("top.mid.end", "", text.encode(), "top.mid")
    assert found == ("top.mid", "top.mid.near", "top.far", "top.far.away", "third.deep")
    for flag in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        text = f"def f():\n    if {flag}:\n        import absent\n    else:\n        import real\n"
        assert imports.of_module("end", "", text.encode(), "") == ("real",)
    text = (
        "import importlib\ndef f(n):\n    return importlib.import_module(n)\nf('.near'); f('a b')\n"
    )
    found = imports.of_module("top.end", "", text.encode(), "top")
    assert {"importlib", "top.near"} <= {*found} <= {"importlib", "top.near", "f"}


@pytest.mark.slow
def test_objects_of_modules_that_cannot_be_copied_are_named(tmp_path: Path) -> None:
    (tmp_path / "stock.py").write_text(
        "import threading\nlock = threading.Lock()\n"
        "class Shelf:\n    def __init__(self):\n        self.lock = threading.Lock()\n"
        "    def put(self, x):\n        with self.lock:\n            return self is shelf and x\n"
        "shelf = Shelf()\nrates = [1]\n"
    )
    script = """
        import mapred, stock
        from stock import lock, rates, shelf
        rates.append(2)
        def f(x):
            with lock:
                return shelf.put(x), lock is stock.lock, rates
        items = mapred.items([3])
        print(mapred.run(shelf.put, items, progress="none").result())
        print(mapred.run(f, items, progress="none").result())
        own = stock.Shelf()
        try:
            mapred.run(own.put, items, progress="none")
        except mapred.errors.FunctionError as error:
            print("refused")
    """
    assert _python(script, tmp_path).splitlines() == ["[3]", "[(3, True, [1, 2])]", "refused"]


def test_modules_of_an_archive_are_sent_before_they_are_imported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("zipped.py", "def f(x):\n    import later\n    return x + later.one\n")
        archive.writestr("later.py", "one = 1\n")
    made = """
        import pathlib
        from mapred.functions import transport as functions
        from zipped import f
        pathlib.Path("function.pkl").write_bytes(functions.dump(f))
    """
    called = """
        from mapred.functions import transport as functions
        print(functions.load(open("function.pkl", "rb").read())(1))
    """
    _python(made, tmp_path, tmp_path / "lib.zip")
    (tmp_path / "lib.zip").unlink()
    assert _python(called, tmp_path) == "2\n"


def test_a_file_that_changed_since_its_import_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text("RATE = 2\n")
    (tmp_path / "edited.py").write_text("import inner\ndef f(x):\n    return x * inner.RATE\n")
    script = """
        import importlib, os, pathlib
        import mapred, edited, inner
        from mapred.functions import transport as functions

        def edit(name, old, new):
            file = pathlib.Path(name)
            file.write_text(file.read_text().replace(old, new))
            seconds[name] = seconds.get(name, 0) + 2
            os.utime(file, (0, 1e9 + seconds[name]))

        def told(call):
            try:
                return call() or "sent"
            except mapred.errors.FunctionError as error:
                return str(error).split(":")[0].rpartition("/")[2]

        seconds = {}
        edit("inner.py", "RATE = 2", "RATE = 5")
        print(told(lambda: functions.dump(edited.f) and None))
        importlib.reload(inner)
        print(told(lambda: functions.dump(edited.f) and None))
        edit("edited.py", "x * inner", "x *  inner")
        print(told(lambda: functions.dump(edited.f) and None))
        print(told(lambda: functions.dump(lambda x: edited.f(x)) and None))
        print(told(lambda: mapred.items([edited.f]).offsets is None))
        importlib.reload(edited)
        print(functions.load(functions.dump(edited.f))(2) == 10)
    """
    inner, edited = (
        f"{name}.py is no longer what was imported as {name}" for name in ("inner", "edited")
    )
    expected = [inner, "sent", edited, edited, edited, "True"]
    assert _python(script, tmp_path).splitlines() == expected


@pytest.mark.slow
def test_a_module_that_starts_a_run_when_imported_names_the_guard(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import mapred\nopen('imports', 'a').write('x')\n"
        "def f(x):\n    return x\n"
        "print(mapred.run(f, mapred.items([1]), progress='none').result())\n"
    )
    told = _python("import job", tmp_path, check=False)
    assert "the module job starts a run when it is imported" in told
    assert 'if __name__ == "__main__":' in told
    assert not list((tmp_path / "runs").glob("2*"))
    assert (tmp_path / "imports").read_text() == "xx"
    guarded = (
        (tmp_path / "job.py")
        .read_text()
        .replace("print(", 'if __name__ == "__main__":\n    print(')
    )
    (tmp_path / "job.py").write_text(guarded)
    assert (
        _python("import runpy; runpy.run_module('job', run_name='__main__')", tmp_path) == "[1]\n"
    )
    assert (tmp_path / "imports").read_text() == "xxx"


@pytest.mark.slow
def test_storing_a_result_runs_no_code_again(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "open('imports', 'a').write('x')\n"
        "class P:\n    def __eq__(self, other):\n        return type(self) is type(other)\n"
        "def f(x):\n    return P()\n"
    )
    script = """
        import mapred, made
        run = mapred.run(made.f, mapred.items([1, 2]), backend=mapred.Local(workers=1), progress="none")
        print(run.result() == [made.P()] * 2, run.uri)
    """
    right, uri = _python(script, tmp_path).split()
    assert right == "True"
    assert (tmp_path / "imports").read_text() == "xx"  # the driver and one worker
    opened = f"import mapred; print(type(mapred.open({uri!r}).result()[0]))"
    assert _python(opened, tmp_path, tmp_path).strip() == "<class 'made.P'>"
    (tmp_path / "made.py").unlink()
    assert _python(opened, tmp_path).strip() == "<class 'made.P'>"


@pytest.mark.slow
def test_what_main_defines_is_copied(tmp_path: Path) -> None:
    pytest.importorskip("pydantic")
    (tmp_path / "script.py").write_text("""
from __future__ import annotations
import functools, sys, types
import mapred
from mapred.functions import transport as functions
from pydantic import BaseModel

class Part(BaseModel):
    x: int

class Whole(BaseModel):
    part: Part
    parts: list[Part] = []
    parent: Whole | None = None

@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

class Lazy:
    @functools.cached_property
    def five(self):
        return 5

@functools.singledispatch
def tell(value):
    return "any"

@tell.register
def _(value: int):
    return "int, not " + tell("x")

dynamic = types.ModuleType("dynamic")
exec("class D: pass\\ndef g(x): return D()", dynamic.__dict__)
sys.modules["dynamic"] = dynamic

def f(x):
    if x["whole"] != Whole(part={"x": 1}, parent={"part": {"x": 2}}):
        return "another class"
    return [fib(20), Lazy().five, tell(1), Whole(part=Part(x=1)), type(dynamic.g(1)).__name__]

item = {"whole": Whole(part={"x": 1}, parent={"part": {"x": 2}})}
found = mapred.run(f, mapred.items([item]), backend=sys.argv[1], progress="none").result()[0]
assert found == [6765, 5, "int, not any", Whole(part={"x": 1}), "D"], found
""")
    for backend in ("local", "inline"):
        script = f"import runpy, sys; sys.argv = ['', {backend!r}]; runpy.run_path('script.py', run_name='__main__')"
        _python(script, tmp_path)


def test_a_pickle_that_does_not_load_is_refused_before_the_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path))
    carried = _Unloadable()
    for backend in ("local", "inline"):
        with pytest.raises(FunctionError, match=r"cannot be loaded in the worker.*no such luck"):
            mapred.run(lambda x: carried, mapred.items([1]), backend=backend, progress="none")
    assert not list(tmp_path.glob("2*"))


def _fail() -> None:
    raise ValueError("no such luck")


class _Unloadable:
    def __reduce__(self) -> Any:
        return _fail, ()


def test_under_autoreload_what_changed_is_copied_with_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    (tmp_path / "live.py").write_text("def f(x):\n    return x + 1\n")
    script = """
        import os, pathlib, subprocess, sys
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        shell.run_line_magic("load_ext", "autoreload")
        shell.run_line_magic("autoreload", "2")
        import live, warnings
        from mapred.functions import transport as functions
        pathlib.Path("live.py").write_text("def f(x):\\n    return x + 100\\n")
        os.utime("live.py", (0, 1e9))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            pathlib.Path("f.pkl").write_bytes(functions.dump(live.f))
        assert ["changed since live was imported" in str(each.message) for each in told] == [True]
        load = "from mapred.functions import transport as functions; print(functions.load(open('f.pkl', 'rb').read())(1))"
        print(subprocess.run([sys.executable, "-c", load], capture_output=True, text=True).stdout)
    """
    assert _python(script, tmp_path).split() == ["2"]


def test_a_compiled_module_is_loaded_from_where_it_is_or_named(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "source.py").write_text("def f(x):\n    return x + 1\n")
    made = """
        import importlib.util, pathlib, py_compile, sys
        file = py_compile.compile("project/source.py", "project/fast.pyc")
        spec = importlib.util.spec_from_file_location("fast", file)
        fast = sys.modules["fast"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fast)
        from mapred.functions import transport as functions
        pathlib.Path("function.pkl").write_bytes(functions.dump(fast.f))
    """
    called = """
        from mapred.functions import transport as functions
        print(functions.load(open("function.pkl", "rb").read())(1))
    """
    _python(made, tmp_path)
    assert _python(called, tmp_path) == "2\n"
    (project / "fast.pyc").unlink()
    told = _python(called, tmp_path, check=False)
    assert "fast is a compiled module" in told
    assert "mapred.Argo(packages=[…])" in told


def test_functions_of_runs_made_before_can_be_loaded() -> None:
    """Their pickles begin with the sources of what they copied."""
    import cloudpickle

    data = pickle.dumps({}, protocol=5) + cloudpickle.dumps(lambda x: x + 1)
    assert transport.load(data)(1) == 2
    assert transport.packages_of(data) == {}
