"""Clients that take some care to be imported."""

from __future__ import annotations

import warnings
from typing import Any

import pytest


def ossfs() -> Any:
    """The package ossfs, whose own source warns when it is compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("ossfs")
