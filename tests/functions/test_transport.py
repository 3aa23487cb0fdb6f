from __future__ import annotations

import functools
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import mapred
from mapred.errors import FunctionError
from mapred.functions import transport


def _loaded_elsewhere(data: bytes, argument: Any, folder: Path) -> Any:
    """Call a pickled function in a process that knows nothing of this one."""
    (folder / "function.pkl").write_bytes(data)
    (folder / "argument.pkl").write_bytes(pickle.dumps(argument))
    script = """
        import pickle, sys
        from mapred.functions import transport as functions
        function = functions.load(open("function.pkl", "rb").read())
        print(function(pickle.load(open("argument.pkl", "rb"))))
    """
    root = str(Path(mapred.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=folder,
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Model:
    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.factor = 3

    def __call__(self, item: int) -> int:
        return item * self.factor

    def method(self, item: int) -> int:
        return item * self.factor + 1


def _plus(a: int, b: int) -> int:
    return a + b


def _outer(factor: int) -> Any:
    return lambda item: item * factor


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda item: item + 1, "8"),
        (_outer(5), "35"),
        (Model().method, "22"),
        (functools.partial(_plus, 10), "17"),
        (Model, "21"),
        (Model(), "21"),
        (abs, "7"),
    ],
    ids=["lambda", "closure", "method", "partial", "class", "instance", "builtin"],
)
def test_functions_travel(function: Any, expected: str, tmp_path: Path) -> None:
    assert _loaded_elsewhere(transport.dump(function), 7, tmp_path) == expected


def test_local_modules_travel_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    (source / "pkg_of_mine").mkdir(parents=True)
    (source / "pkg_of_mine/__init__.py").write_text("from pkg_of_mine.deep import twice\n")
    (source / "pkg_of_mine/deep.py").write_text(
        "OFFSET = 1\ndef twice(x):\n    return 2 * x + OFFSET\n"
    )
    monkeypatch.syspath_prepend(source)
    import pkg_of_mine  # type: ignore[import-not-found]

    try:
        data = transport.dump(pkg_of_mine.twice)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        assert _loaded_elsewhere(data, 7, elsewhere) == "15"
    finally:
        for name in [name for name in sys.modules if name.startswith("pkg_of_mine")]:
            del sys.modules[name]


def test_a_function_that_came_by_pickle_is_sent_on_with_packages_in_any_folder(
    tmp_path: Path,
) -> None:
    """As a schedule's pod does, whose packages are unpacked into a folder of their own."""
    packages = tmp_path / "packages"
    shutil.copytree(Path(cloudpickle.__file__).parent, packages / "cloudpickle")
    (tmp_path / "function.pkl").write_bytes(transport.dump(_outer(5)))
    script = """
        import cloudpickle
        from mapred.functions import transport as functions
        function = functions.load(open("function.pkl", "rb").read())
        again = functions.dump(function)
        print(cloudpickle.__file__, functions.load(again)(7))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{packages}:{Path(mapred.__file__).parents[1]}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{packages}/cloudpickle/__init__.py 35"


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()

    def locked(item: int) -> int:
        with lock:
            return item

    with pytest.raises(FunctionError, match="the variable 'lock' \\(lock\\)"):
        transport.dump(locked)


def test_a_large_closure_warns_and_names_it() -> None:
    table = bytes(11 * 2**20)
    with pytest.warns(UserWarning, match=r"table \(11,"):
        transport.dump(lambda item: table[item])


def test_a_huge_closure_is_refused() -> None:
    table = bytes(101 * 2**20)
    with pytest.raises(FunctionError, match="the limit is 104,857,600 bytes"):
        transport.dump(lambda item: table[item])


def test_a_pickle_that_does_not_load_says_so() -> None:
    with pytest.raises(FunctionError, match="cannot be loaded in the worker"):
        transport.load(b"not a pickle")


@pytest.mark.parametrize(
    "body",
    [
        "class Inner:\n        y = RATE * n",
        "class Inner:\n        class Deeper:\n            y = RATE\n        y = Deeper.y * n",
        "class Inner(BASE):\n        RATE = RATE\n        y = RATE * n",
        "class Inner:\n        y = sum(RATE for _ in range(n))",
        "class Inner:\n        def f(self=RATE * n): return self\n        y = f()",
        "class Inner:\n        y: KIND = RATE * n",
        "class Inner:\n        @twice\n        def y(): return RATE * n // 2",
    ],
)
def test_bodies_of_classes_find_their_globals(body: str, tmp_path: Path) -> None:
    source = f"def work(n):\n    {body}\n    return Inner.y\n"
    names: dict[str, Any] = {"__name__": "__main__", "RATE": 3, "BASE": object, "KIND": int}
    exec("def twice(f): return 2 * f()\n" + source, names)
    assert _loaded_elsewhere(transport.dump(names["work"]), 7, tmp_path) == str(names["work"](7))


def test_names_that_a_body_sets_itself_do_not_travel(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__", "lock": threading.Lock()}
    source = (
        "def work(n):\n    class Inner:\n        lock = n\n        y = lock\n    return Inner.y"
    )
    exec(source, names)
    assert _loaded_elsewhere(transport.dump(names["work"]), 7, tmp_path) == "7"
