"""The Argo backend beside Workflows written by hand, on the cluster of the tests.

It must be there already: `make cluster-up` starts one on this machine as root, or
MAPRED_TEST_KUBECONFIG names another. Figures are worth something where nobody else uses it.
"""

from __future__ import annotations

import sys
from pathlib import Path

# The cluster belongs to the tests, which are no package; pytest puts their folder here too.
_TESTS = str(Path(__file__).parents[2] / "tests")
if _TESTS not in sys.path:
    sys.path.append(_TESTS)
