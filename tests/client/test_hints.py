"""Every hint is a line that works when it is pasted, into Python or into a shell."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import mapred
from mapred.cli import main
from mapred.functions import origins

BROKEN = "def f(x):\n    return 10 / (x - 3)\n"
FIXED = "def f(x):\n    return 10 / (x - 3) if x != 3 else 0.0\n"


def fails(fn: Callable[..., Any], dataset: Any = None, **options: Any) -> mapred.RunError:
    items = mapred.items(range(6)) if dataset is None else dataset
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(fn, items, progress="none", **{"attempts": 1, **options})
    return caught.value


def pasted(text: str, **names: Any) -> mapred.Run:
    """The run that the last line of a message gives in a namespace that knows little else."""
    line = str(text).splitlines()[-1]
    namespace = dict(names)
    exec(line, namespace)
    found = namespace["run"]
    assert isinstance(found, mapred.Run)
    return found


def outdated(run: mapred.Run) -> dict[str, tuple[str, ...]]:
    return origins.find_outdated(run.store, run.job)


def in_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    assert line.startswith("mapred ")
    command = f"{sys.executable} -m {line}"
    path = {"PYTHONPATH": str(Path(mapred.__file__).parents[1])}
    return subprocess.run(
        command, shell=True, cwd=folder, text=True, capture_output=True, env=os.environ | path
    )


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `shop` of the user's own, with a function that fails."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    file = tmp_path / "shop.py"
    file.write_text(BROKEN)
    return file


def edit(file: Path, text: str) -> None:
    file.write_text(text)
    # Python takes bytecode for that of this source where second and size are equal.
    os.utime(file, (time.time() + 10, time.time() + 10))


def test_a_function_of_a_module_is_loaded_anew(module: Path) -> None:
    import shop  # type: ignore[import-not-found]

    error = fails(shop.f)
    assert "to resume, once f is fixed:" in str(error)
    edit(module, FIXED)
    assert pasted(str(error)).result()[3] == 0.0
    assert error.hint == "\n".join(str(error).splitlines()[-2:])


def test_a_file_of_any_name_is_loaded_anew(module: Path) -> None:
    file = module.with_name("01-shop class.py")
    module.rename(file)
    error = fails(importlib.import_module("01-shop class").f)
    edit(file, FIXED)
    assert pasted(str(error)).result()[3] == 0.0


def test_a_file_that_changed_since_is_noticed(module: Path) -> None:
    import shop

    error = fails(shop.f)
    edit(module, FIXED)
    with (
        pytest.warns(UserWarning, match=r"shop\.py changed since.*\n.*fn=") as noticed,
        pytest.raises(mapred.RunError) as caught,
    ):
        mapred.open(error.run.uri).resume(progress="none")
    text = str(caught.value)
    assert "return 10 / (x - 3)\n" in text, "the traceback shows what ran"
    assert "if x != 3" not in text
    assert "shop.py changed since; to resume with the new f:" in text
    assert pasted(str(noticed[0].message)).result()[3] == 0.0


def test_a_helper_that_changed_since_is_noticed(module: Path) -> None:
    module.with_name("helper.py").write_text(BROKEN)
    module.write_text("import helper\ndef g(x):\n    return helper.f(x)\n")
    import shop

    error = fails(shop.g)
    assert outdated(error.run) == {}
    edit(module.with_name("helper.py"), FIXED)
    (name,) = outdated(error.run)["fn"]
    assert name.endswith("helper.py")
    sys.modules.pop("helper")


def test_a_function_of_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    main_module = sys.modules["__main__"]

    def defined(text: str) -> Any:
        import linecache

        name = f"/nowhere/cell-{len(text)}.py"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        exec(compile(text, name, "exec"), vars(main_module))
        return vars(main_module)["f"]

    try:
        error = fails(defined(BROKEN))
        assert str(error).endswith(".resume(fn=f)")
        f = defined(FIXED)
        assert outdated(mapred.open(error.run.uri)) == {"fn": ("f",)}
        assert pasted(str(error), f=f).result()[3] == 0.0
    finally:
        del vars(main_module)["f"]


def test_functions_without_a_name(tmp_path: Path) -> None:
    def local(x: int) -> float:
        return 10 / (x - 3)

    for fn in (local, lambda x: 10 / (x - 3)):
        error = fails(fn)
        assert "call run.resume(fn=…) with the fixed function:" in str(error)
        run = pasted(str(error))
        assert run.resume(fn=lambda x: x, progress="none").result()[3] == 3


def test_more_than_a_name_leads_to(module: Path) -> None:
    """A name alone would lose what an object or a partial carries; parameters are bound again."""
    module.write_text(
        "class Call:\n"
        "    def __init__(self, n=0): self.n = n\n"
        "    def __call__(self, x): return 1 / (x - self.n)\n"
        "def f(x, n): return 1 / (x - n)\n"
    )
    import shop

    for fn in (shop.Call(3), functools.partial(shop.f, n=3), shop.Call(3).__call__):
        assert "call run.resume(fn=…) with the fixed function" in str(fails(fn))
    assert "importlib.reload(shop).Call)" in str(fails(shop.Call))
    job = mapred.job(shop.f, mapred.items(range(6)), attempts=1).bind(n=3)
    with pytest.raises(mapred.RunError) as caught:
        job.run(progress="none")
    edit(module, "def f(x, n): return n")
    assert pasted(str(caught.value)).result()[3] == 3


def test_an_executor_is_not_there_any_more() -> None:
    with ThreadPoolExecutor(2) as pool:
        error = fails(lambda x: 10 / (x - 3), backend=pool)
        assert "backend='local') with the fixed function:" in str(error)
        run = fails(sleeps, mapred.items([1]), deadline=0.3, backend=pool)
    assert str(run).endswith(".resume(deadline=0.6, backend='local')")
    line = repr(mapred.runs(limit=1)).splitlines()[-1].removeprefix("failed: ")
    assert line.endswith(".resume(backend='local')")
    assert pasted(line.replace("backend", "deadline=60, backend")).result() == [1]


def sleeps(x: int) -> int:
    time.sleep(0.7)
    return x


@pytest.mark.slow
def test_limits_that_were_too_low(tmp_path: Path) -> None:
    def sleeps_once(x: int) -> int:
        if not (tmp_path / "called").exists():
            (tmp_path / "called").touch()
            time.sleep(600)
        return x

    error = fails(sleeps_once, mapred.items([1]), timeout=3)
    assert str(error).endswith(".resume(timeout=6)")
    assert pasted(str(error)).result() == [1]
    error = fails(sleeps, mapred.items([1]), deadline=0.3)
    assert str(error).endswith(".resume(deadline=0.6)")


def eats(x: int) -> int:
    held = b"x" * 300 * 2**20
    time.sleep(1)
    return len(held)


@pytest.mark.slow
def test_memory_that_was_too_low() -> None:
    asked = mapred.Resources(
        memory="250Mi", env={"MODE": "it's"}, volumes=[mapred.Volume("/d", memory="1Mi")]
    )
    error = fails(eats, mapred.items([1]), resources=asked)
    assert "memory='500Mi', env={'MODE': \"it's\"}, volumes=(mapred.Volume(" in str(error)
    assert pasted(str(error)).result() == [300 * 2**20]


def test_a_reduce_that_raises(module: Path) -> None:
    module.write_text("def total(xs):\n    return sum(xs) / 0\n")
    import shop

    error = fails(lambda x: x, reduce=shop.total)
    assert "to resume, once total is fixed:" in str(error)
    edit(module, "def total(xs):\n    return sum(xs)\n")
    assert pasted(str(error)).result() == 15


SCRIPT = """
import mapred
def f(x):
    return 10 / (x - 3)
print("loaded", __name__)
print(mapred.run(f, mapred.items(range(6)), attempts=1, progress="none").result()[3])
"""


@pytest.mark.slow
def test_a_script_is_resumed_by_the_command_line(tmp_path: Path) -> None:
    script = tmp_path / "it's.py"
    script.write_text(SCRIPT)
    path = os.environ | {"PYTHONPATH": str(Path(mapred.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, text=True, capture_output=True, env=path
    )
    line = done.stderr.splitlines()[-1]
    script.write_text(SCRIPT.replace("10 / (x - 3)", "10 / (x - 3) if x != 3 else 0.0"))
    resumed = in_shell(line, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.startswith("loaded it's\n") or "loaded" in resumed.stderr
    assert "0.0" in resumed.stdout
    assert len(mapred.runs()) == 1, "the script's own run was not started"


def test_the_command_line_advises_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = tmp_path / "nightly.py"
    text = textwrap.dedent("""
        import mapred
        def f(x, city):
            return 10 / (x - 3)
        job = mapred.job(f, mapred.items(range(6)), attempts=1)
    """)
    job.write_text(text)
    words = ["run", str(job), "--progress", "none", "--param", "city=Bern"]
    failed = CliRunner().invoke(main, words)
    assert failed.exit_code == 1
    line = failed.stderr.splitlines()[-1]
    assert line.endswith("--fn nightly.py:f")
    job.write_text(text.replace("(x - 3)", "(x - 3) if x != 3 else 0.0"))
    os.utime(job, (0, 0))
    shown = CliRunner().invoke(main, ["show", "last"])
    assert "nightly.py changed since; to resume with the new f:" in shown.output
    assert shown.output.splitlines()[-1] == line
    again = CliRunner().invoke(main, ["resume", "last", "--progress", "none"])
    assert (
        f"code that it stored; nightly.py changed since; to resume with the new f:\n{line}"
        in again.stderr
    )
    resumed = CliRunner().invoke(main, [*line.split()[1:], "--progress", "none"])
    assert resumed.exit_code == 0, resumed.output
    assert mapred.open("last").result()[3] == 0.0


def test_a_stop_shows_one_line(tmp_path: Path) -> None:
    """As a notebook shows it: IPython asks the exception for what to print."""
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    cell = f"""
import os, signal, time, mapred
driver = os.getpid()
stop = lambda x: (os.kill(driver, signal.SIGINT), time.sleep(30))
run = mapred.run(stop, mapred.items([1]), progress="none", root={str(tmp_path)!r})
"""
    shown: list[str] = []
    shell._showtraceback = lambda kind, value, lines: shown.extend(lines)  # type: ignore[method-assign]
    shell.run_cell(cell)
    (line,) = shown
    assert line.startswith("stopped; to resume: import mapred; run = mapred.open(")
    assert "\n" not in line
    assert mapred.open("last", tmp_path).state == "interrupted"


STOP = """
import os, signal, time, mapred
def stop(*args, **given):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(9)
"""
PLANNING = "from mapred import planner\nplanner.plan_items = stop\n"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("mapred.run(stop, mapred.items([1]), backend='inline')", "stopped; to resume: "),
        (PLANNING + "mapred.run(abs, mapred.items([1]))", "stopped; no run was started"),
    ],
    ids=["inline", "planning"],
)
def test_ctrl_c_in_a_script_shows_one_line(body: str, says: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOP + body],
        env={**os.environ, "MAPRED_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    (line,) = done.stderr.splitlines()
    assert line.startswith(says)
    if "inline" in body:
        namespace: dict[str, Any] = {}
        line = line.removeprefix(says).replace(".resume()", "")
        exec(line, namespace)
        assert namespace["run"].state == "interrupted"
        assert namespace["run"].resume(abs, progress="none").result() == [1]
    else:
        assert list(tmp_path.glob("2*")) == []
