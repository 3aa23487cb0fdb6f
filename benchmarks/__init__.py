"""What mapred costs beside its peers. README.md says how to run it and how to add a workload."""

from __future__ import annotations

import sys
from pathlib import Path

# The servers and the cluster of the tests, which are not installed; pytest adds their folder too.
_TESTS = str(Path(__file__).parents[1] / "tests")
if _TESTS not in sys.path:
    sys.path.append(_TESTS)
