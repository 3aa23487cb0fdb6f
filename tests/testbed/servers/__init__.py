"""Servers of one process, or a few: each module has a `plan` that says how to start one."""

from __future__ import annotations
