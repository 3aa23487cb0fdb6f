"""A stand-in for IPython in a kernel, which keeps what is shown."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Kernel:
    """Stands in for IPython in a kernel: keeps what is shown, and what updates it."""

    shown: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    parent: str = "cell 1"
    broken: bool = False

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> Kernel:
        assert raw
        assert display_id is True
        self.shown.append(("display", bundle))
        return self

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        if self.broken:
            raise RuntimeError("the kernel's socket is closed")
        self.shown.append(("update", bundle))

    def get_parent(self) -> dict[str, Any]:
        return {"header": {"msg_id": self.parent}}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    shell = types.SimpleNamespace(kernel=made, execution_count=1)
    package, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    package.get_ipython = lambda: shell  # type: ignore[attr-defined]
    module.display = made.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return made
