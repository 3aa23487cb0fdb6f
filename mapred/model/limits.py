"""The limits of a run, and who cannot keep them: what is not kept is refused, not passed over."""

from __future__ import annotations

import sys
import warnings

from mapred.model.frozen import dataclass
from mapred.model.resources import Resources

_DEFAULT = Resources()


@dataclass(frozen=True)
class Limits:
    """What a run asks of the processes that its tasks run in; `resources` are its stages'."""

    timeout: float | None = None
    max_tasks_per_worker: int | None = None
    resources: tuple[Resources, ...] = ()

    def describe(self) -> str:
        """Those that need processes of mapred's own, as they are written; empty if there are none."""
        parts = []
        if self.timeout is not None:
            parts.append(f"timeout={self.timeout:g}")
        if self.max_tasks_per_worker is not None:
            parts.append(f"max_tasks_per_worker={self.max_tasks_per_worker}")
        for resources in self.resources:
            values = [
                f"{name}={getattr(resources, name)!r}"
                for name in ("cpu", "memory", "gpu")
                if getattr(resources, name) != getattr(_DEFAULT, name)
            ]
            values += [f"env={{{name!r}: …}}" for name in resources.env]
            if values:
                parts.append(f"Resources({', '.join(values)})")
        return ", ".join(dict.fromkeys(parts))


def warn(text: str) -> None:
    """Warn at the line that called this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("mapred."):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)
