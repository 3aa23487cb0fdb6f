"""Bars and rows of blocks, of which each is a character."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mapred.display.summary import Floats

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float] | Floats) -> str:
    """One block character for each value, scaled to the largest; `·` stands for zero."""
    numbers = np.asarray(values, dtype=np.float64)
    top = float(numbers.max()) if len(numbers) else 0.0
    if top <= 0:
        return "·" * len(numbers)
    heights = np.clip(np.ceil(numbers / top * len(_BLOCKS)).astype(int) - 1, 0, None)
    return "".join(
        _BLOCKS[height] if number > 0 else "·"
        for number, height in zip(numbers.tolist(), heights.tolist(), strict=True)
    )


def bar(done: float, width: int) -> str:
    """Return a bar of `width` characters, filled for the fraction `done`."""
    filled = int(min(max(done, 0.0), 1.0) * width)
    return "━" * filled + "─" * (width - filled)
