"""Numbers of numpy in a pickle, read from their bytes: nothing of numpy is called with a stranger's words."""

from __future__ import annotations

import re
from typing import Any

from mapred.errors import FunctionError
from mapred.process import private
from mapred.process.lazy import np

_CODES = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


class _Type:
    """What a pickle says of the type of a number: the code, and the order of its bytes."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        if not isinstance(code, str) or not _CODES.fullmatch(code):
            raise FunctionError("a pickle holds what is not a plain number of numpy")
        self.code, self.order = code[-2:], "="

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]


def _number(kind: Any, data: Any) -> Any:
    """Return the number of a type that these bytes are."""
    if isinstance(kind, _Type) and isinstance(data, bytes) and len(data) == int(kind.code[1]):
        return np.frombuffer(data, f"{kind.order}{kind.code}".replace("|", ""))[0]
    raise FunctionError("a pickle holds what is not a plain number of numpy")


# What stands in for the names that a pickle of a number of numpy has.
STAND_INS = {
    ("numpy", "dtype"): _Type,
    **{(module, "scalar"): _number for module in private.NUMPY_SCALARS},
}
