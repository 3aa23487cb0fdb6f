"""A plan, a run and its failures as plain text."""

from __future__ import annotations
