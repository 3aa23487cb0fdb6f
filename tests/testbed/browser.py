"""Headless Chromium, and notebooks in a real JupyterLab as a person sees them in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from testbed import sharing
from testbed.servers import jupyter

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --no-first-run"
).split()
SECONDS = 120.0  # in which the lab does what it is told
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_CELL = ".jp-Notebook .jp-Cell >> nth={}"
_READY = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"


def chromium() -> str:
    """The path of Chromium, from the distribution's own package where this user may install it."""
    for _ in range(2):
        found = next((path for name in _NAMES if (path := shutil.which(name))), None)
        if found is not None:
            return found
        _install("chromium")
    pytest.skip("needs Chromium, which apt-get installed in no known place")


def _install(package: str) -> None:
    if os.geteuid() or shutil.which("apt-get") is None:
        pytest.skip(f"needs {package}, and root to install it by apt-get")
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "-y", "-qq"]
    install += ["--no-install-recommends", "install", package]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for commands in ([install], [["apt-get", "-qq", "update"], install]):
        done = [
            subprocess.run(c, capture_output=True, text=True, timeout=300, env=environment)
            for c in commands
        ]
        if not done[-1].returncode:
            return
    pytest.skip(f"apt-get cannot install {package}: {done[-1].stderr[-500:]}")


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    """A headless Chromium, as playwright's `Browser`; skips the test where it cannot be had."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = chromium()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=ARGUMENTS, timeout=1000 * SECONDS
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True)
class Lab:
    """A JupyterLab that runs, and a browser to look at it with."""

    browser: Any
    url: str
    token: str
    work: Path

    @contextlib.contextmanager
    def notebook(
        self, cells: Sequence[str], name: str = "test", width: int = 1000, height: int = 900
    ) -> Iterator[Notebook]:
        """A notebook of these cells, opened in a window of this size, with its kernel idle."""
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": {"name": jupyter.KERNEL, "display_name": "Python 3"}},
        )
        with self.opened(made, name, width, height) as notebook:
            yield notebook

    @contextlib.contextmanager
    def opened(
        self, made: Any, name: str, width: int = 1000, height: int = 900
    ) -> Iterator[Notebook]:
        """A notebook of nbformat's, opened as `notebook` does."""
        nbformat.write(made, self.work / f"{name}.ipynb")
        page = self.browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(1000 * SECONDS)
        try:
            page.goto(f"{self.url}/doc/tree/{name}.ipynb?reset&token={self.token}")
            page.wait_for_function(f"{_READY} === 'idle'")
            page.locator(_CELL.format(0)).wait_for()
            yield Notebook(page, self.work / f"{name}.ipynb")
        finally:
            page.close()


@dataclass(frozen=True)
class Notebook:
    """A notebook in a window: its cells are run, read and drawn by their numbers."""

    page: Any
    file: Path

    def run(self, *cells: int, wait: bool = True, seconds: float = SECONDS) -> None:
        """Run cells as Ctrl-Enter does; if `wait`, until the last one is done."""
        for number in cells:
            self.page.evaluate(
                "number => { const panel = jupyterapp.shell.currentWidget;"
                " panel.content.activeCellIndex = number; panel.content.deselectAll();"
                " jupyterapp.commands.execute('notebook:run-cell'); }",
                number,
            )
            if wait:
                self.await_done(number, seconds)

    def run_all(self, seconds: float = SECONDS) -> None:
        """Run all cells, from the first to the last, until they are done."""
        cells = self.page.locator(".jp-Notebook .jp-CodeCell").count()
        for number in range(self.page.locator(".jp-Notebook .jp-Cell").count()):
            self.run(number, wait=cells > 0 and self._is_code(number), seconds=seconds)

    def await_done(self, number: int, seconds: float = SECONDS) -> None:
        """Wait until the kernel has run a cell: its prompt has a number."""
        self.page.wait_for_function(
            "number => { const cell = jupyterapp.shell.currentWidget.content.widgets[number];"
            " return /\\[\\d+\\]/.test(cell.inputArea?.promptNode?.textContent ?? ''); }",
            arg=number,
            timeout=1000 * seconds,
        )

    def await_text(self, number: int, text: str, seconds: float = SECONDS) -> None:
        """Wait until the outputs of a cell have this text."""
        outputs = self.page.locator(_CELL.format(number)).locator(".jp-OutputArea")
        outputs.get_by_text(text).first.wait_for(timeout=1000 * seconds, state="attached")

    def busy(self) -> bool:
        """Whether the kernel runs a cell."""
        return bool(self.page.evaluate(_READY) == "busy")

    def interrupt(self) -> None:
        """Press the Stop button."""
        self.page.evaluate("jupyterapp.commands.execute('notebook:interrupt-kernel')")

    def clear(self, number: int) -> None:
        """Clear the outputs of a cell, as its menu does."""
        self.page.evaluate(
            "number => { jupyterapp.shell.currentWidget.content.activeCellIndex = number;"
            " jupyterapp.commands.execute('notebook:clear-cell-output'); }",
            number,
        )

    def outputs(self, number: int) -> list[str]:
        """The text of each output of a cell, as it is drawn."""
        found = self.page.locator(_CELL.format(number)).locator(".jp-OutputArea-output")
        return [str(each.inner_text()) for each in found.all()]

    def html(self, number: int) -> list[str]:
        """The HTML that the page has of each output of a cell."""
        found = self.page.locator(_CELL.format(number)).locator(".jp-OutputArea-output")
        return [str(each.inner_html()) for each in found.all()]

    def complete(self, number: int, code: str) -> list[str]:
        """What Tab offers after this code, typed at the end of a cell."""
        self.page.locator(_CELL.format(number)).locator(".cm-content").click()
        self.page.keyboard.press("Control+End")
        self.page.keyboard.type(code)
        self.page.keyboard.press("Tab")
        items = self.page.locator(".jp-Completer-item")
        items.first.wait_for()
        return [str(item.inner_text()) for item in items.all()]

    def picture(self, number: int, file: Path, *, whole: bool = False) -> Path:
        """A PNG of the outputs of a cell, or of the cell with its code if `whole`."""
        cell = self.page.locator(_CELL.format(number))
        what = cell if whole else cell.locator(".jp-Cell-outputArea")
        self.page.mouse.move(0, 0)
        what.screenshot(path=str(file), animations="disabled")
        return file

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window another size."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.wait_for_timeout(300)

    def theme(self, name: str) -> None:
        """Change to the `light` or the `dark` theme."""
        title = f"JupyterLab {name.title()}"
        self.page.evaluate(
            "title => jupyterapp.commands.execute('apputils:change-theme', {theme: title})", title
        )
        light = str(name == "light").lower()
        self.page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")
        self.page.wait_for_timeout(300)

    def save(self) -> Any:
        """Save the notebook, and return it as nbformat reads it."""
        self.page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save'); }")
        return nbformat.read(self.file, as_version=4)

    def _is_code(self, number: int) -> bool:
        cell = self.page.locator(_CELL.format(number))
        return "jp-CodeCell" in (cell.get_attribute("class") or "")


@contextlib.contextmanager
def lab(
    home: Path, theme: str = "light", variables: Mapping[str, str] | None = None
) -> Iterator[Lab]:
    """A JupyterLab and a browser, ended with the block; `home` is an empty folder of their own.

    Kernels have `variables` in their environment, and their runs go to `home/runs`.
    """
    with browsing() as browser, _serving(home, theme, variables) as known:
        yield Lab(browser, known["url"], known["token"], Path(known["work"]))


@contextlib.contextmanager
def _serving(
    home: Path, theme: str, variables: Mapping[str, str] | None
) -> Iterator[dict[str, Any]]:
    plan = jupyter.plan(home, theme, variables)
    with sharing.running(home, plan) as pid:
        try:
            yield plan[1]
        finally:
            _end(pid)


def _end(pid: int) -> None:
    """End a server and the kernels that it started, each in a session of its own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        family = server.children(recursive=True)
        os.kill(pid, signal.SIGTERM)
        limit = time.monotonic() + 5
        while server.is_running() and time.monotonic() < limit:
            if server.status() == psutil.STATUS_ZOMBIE:
                break
            time.sleep(0.05)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
