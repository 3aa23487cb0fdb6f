"""Everything that the tests start or break on purpose: see README.md beside this file."""

from __future__ import annotations
