"""The texts of pipelines in each state, without what differs from run to run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from goldens.folders import shown
from testbed import pipelines


def succeeded(root: Path) -> str:
    return _settled(str(pipelines.succeeded(root)), root)


def failed(root: Path) -> str:
    return _settled(str(pipelines.failed(root)), root)


def waits(root: Path) -> str:
    run = pipelines.waiting(root, nested=True)
    text = str(run)
    run.cancel()
    return _settled(text, root)


TEXTS: Mapping[str, Callable[[Path], str]] = {
    "succeeded": succeeded,
    "failed": failed,
    "waits": waits,
}


def _settled(text: str, root: Path) -> str:
    text = re.sub(r"\b[\d.]+ (?:ms|min|s)\b", "<time>", shown(text, {str(root): "<root>"}))
    text = re.sub(r"│[█▒░ ]+│", "│<lane>│", text)
    return re.sub(r"(?<=\S) {2,}", "  ", text) + "\n"
