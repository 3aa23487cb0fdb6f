"""The parts of arrays, tables and frames, for `canonical`; none of their packages is loaded here.

Chunks, offsets, strides, the bytes below a null and those between two fields do not count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from mapred.model import arrow_forms, frame_forms
from mapred.model.forms import Form, named, text
from mapred.process.lazy import np, pa

Former = Callable[[Any], "Form | None"]


def former_of(kind: type) -> Former | None:
    """Return what takes values of a package's class apart, if this is one that is known."""
    if kind is arrow_forms.Joined:
        return arrow_forms.joined
    package = str(kind.__module__).partition(".")[0]
    if package not in _PACKAGES or package not in sys.modules:
        return None
    return _PACKAGES[package](kind)


def _numpy(kind: type) -> Former | None:
    if kind in (np.ndarray, np.memmap, np.matrix, np.recarray):
        return _array
    if kind is np.ma.MaskedArray:
        return _masked
    if issubclass(kind, np.generic):
        return _scalar
    return _dtype if issubclass(kind, np.dtype) else None


def _dtype(dtype: Any) -> Form:
    if dtype.names is not None:
        fields = [(name, *dtype.fields[name]) for name in dtype.names]
        return named(
            "dtype", {"fields": fields, "size": dtype.itemsize, "align": dtype.isalignedstruct}
        )
    if dtype.subdtype is not None:
        return named("dtype", {"base": dtype.subdtype[0], "shape": dtype.shape})
    if dtype.kind == "T":
        parts = {"coerce": dtype.coerce, "missing": hasattr(dtype, "na_object")}
        missing = getattr(dtype, "na_object", None)
        return named("dtype", parts | {"na_object": missing}, (b"T",))
    return Form("dtype", (text(dtype.str),))


def _array(array: Any) -> Form:
    kind, plain = type(array).__name__, np.asarray(array)
    if plain.dtype.kind not in "OT":  # numpy's pickles lose the order of bytes
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
    parts: dict[str, Any] = {"(dtype)": plain.dtype, "(shape)": plain.shape}
    if array.dtype.names is not None:
        fields = {f"[{name!r}]": plain[name] for name in array.dtype.names}
        return named(kind, parts | fields)
    if array.dtype.kind in "OT":
        return named(kind, parts | {"(content)": list(plain.reshape(-1))})
    return named(kind, parts, (_bytes_of(plain),))


def _bytes_of(array: Any) -> Any:
    """Return the bytes of an array in the order of C, without those that hold nothing."""
    if array.size == 0 or array.dtype.itemsize == 0:
        return b""
    array = np.ascontiguousarray(array).reshape(-1)
    if array.dtype.kind == "b":
        array = array.view(np.uint8) != 0
    raw = array.view(np.uint8)
    if array.dtype.char in "gG" and np.finfo(array.dtype).nmant == 63:
        # 80 bits of x86, in 12 or 16 bytes.
        width = array.dtype.itemsize // (2 if array.dtype.char == "G" else 1)
        raw = np.ascontiguousarray(raw.reshape(-1, width)[:, :10]).reshape(-1)
    return memoryview(raw)


def _scalar(scalar: Any) -> Form:
    return named("scalar", {"array": np.asarray(scalar)})


def _masked(array: Any) -> Form:
    mask = np.ma.getmaskarray(array)
    parts = {"data": array.filled(np.zeros((), array.dtype)[()]), "mask": mask}
    return named("MaskedArray", parts | {"fill_value": np.asarray(array.fill_value)})


def _pyarrow(kind: type) -> Former | None:
    if kind.__name__ == "Expression":  # which `pyarrow` itself does not have
        return arrow_forms.expression
    for base, former in arrow_forms.FORMERS:
        if issubclass(kind, getattr(pa, base)):
            return former
    return None


_PACKAGES: dict[str, Callable[[type], Former | None]] = {
    "numpy": _numpy,
    "pyarrow": _pyarrow,
    "pandas": frame_forms.of_pandas,
    "polars": frame_forms.of_polars,
}
