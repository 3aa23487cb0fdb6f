"""What goes wrong: listings that lag, files that change, networks that break."""

from __future__ import annotations
