"""What goes wrong: functions that fail, listings that lag, files that change, networks that break."""

from __future__ import annotations
