"""The version, alone so that anything may read it.

A build writes the version that git tells into the wheel; a checkout has the last release and
`+unknown`, as pyproject.toml has for trees without git.
"""

from __future__ import annotations

__version__ = "0.1.0+unknown"
