"""Random numbers that follow from the run's seed and from what is worked on, and nothing else.

What is worked on has a spelling: a point's value and repeat, a shard's ranges. Neither an index
nor the packing is part of it, so a sweep that grows keeps its numbers.
"""

from __future__ import annotations

import array
import enum
import functools
import hashlib
import importlib.util
import random
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from typing import Any

from mapred.process.lazy import np

_LONG = 200
_MOST_OBJECTS = 1000
_SPELLED = ("datetime", "decimal", "fractions", "uuid", "pathlib", "zoneinfo", "ipaddress")


def entropy(seed: int, spelling: str) -> bytes:
    """Return what seeds all generators of one item, shard or reduce task."""
    text = f"{seed}\0{spelling}".encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=48, person=b"mapred").digest()


def rng_of(seed: bytes) -> Any:
    """Return the `numpy.random.Generator` of `task.rng`."""
    return np.random.default_rng(int.from_bytes(seed[:16], "little"))


def seed_globals(seed: bytes) -> None:
    """Seed `random`, and `numpy.random` now if it is loaded, else as soon as it is."""
    global _current
    _current = seed
    random.seed(int.from_bytes(seed[16:32], "little"))
    loaded = sys.modules.get("numpy.random")
    if hasattr(loaded, "seed"):
        _seed_numpy(loaded)
    elif _HOOK not in sys.meta_path:
        sys.meta_path.insert(0, _HOOK)


def _seed_numpy(module: Any) -> None:
    if _current is not None:
        words = memoryview(_current[32:48]).cast("I").tolist()
        with suppress(TypeError):  # it has a bit generator that cannot be seeded again
            module.seed(words)


class _NumpySeedFinder:
    """Seeds `numpy.random` as it is imported, perhaps by the function itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        if name != "numpy.random":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(  # type: ignore[method-assign]
                _execute_and_seed, spec.loader.exec_module
            )
        return spec


def _execute_and_seed(
    execute: Callable[[types.ModuleType], None], module: types.ModuleType
) -> None:
    execute(module)
    _seed_numpy(module)


_HOOK = _NumpySeedFinder()
_current: bytes | None = None
_lock = threading.Lock()
_inside = 0
_before: tuple[Any, Any] = (None, None)


@contextmanager
def keep_global_generators() -> Iterator[None]:
    """Leave `random` and `numpy.random` as they were, since the process may be the user's own."""
    global _inside, _before, _current
    with _lock:
        if not _inside:
            loaded: Any = sys.modules.get("numpy.random")
            state = loaded.get_state() if hasattr(loaded, "get_state") else None
            _before = random.getstate(), state
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _current = None
                random.setstate(_before[0])
                loaded = sys.modules.get("numpy.random")
                if _before[1] is not None:
                    loaded.set_state(_before[1])
                elif hasattr(loaded, "seed"):
                    loaded.seed()


def of_item(value: Any, occurrence: int = 0) -> str:
    """Return the spelling of an item; `occurrence` counts those before it that are spelled alike."""
    return f"item {occurrence} {spell(value)}"


def of_point(point: Mapping[str, Any], occurrence: int = 0) -> str:
    """Return the spelling of a sweep's point and its repeat, the first one where none is named."""
    values = {name: value for name, value in point.items() if name != "repeat"}
    return f"point {occurrence} {spell(values)} {spell(point.get('repeat', 0))}"


def of_shard(ranges: Any) -> str:
    """Return the spelling of the ranges of a shard, rows of its plan."""
    columns = [ranges.column(name).to_pylist() for name in ("path", "offset", "length")]
    return f"shard {spell(list(zip(*columns, strict=True)))}"


def occurrences(values: Sequence[Any], spelling: Callable[[Any], str]) -> bytes | None:
    """For each value how many before it are spelled alike, 8 bytes each; None for all zeros.

    Equal items draw numbers of their own, as do those that differ in what has no spelling.
    """
    kinds = set(map(type, values))
    if kinds in ({int}, {str}) and len(set(values)) == len(values):
        return None
    seen: dict[str, int] = {}
    numbers = array.array("q")
    for value in values:
        key = spelling(value)
        numbers.append(seen.get(key, 0))
        seen[key] = numbers[-1] + 1
    return numbers.tobytes() if len(seen) < len(numbers) else None


def spell(value: Any) -> str:
    """Return a text for a value, the same in every process, equal for values that are equal.

    Of an object that has neither a known spelling nor attributes it is the class's name.
    """
    try:
        return _spell(value, [])
    except Exception:
        return _name(type(value))


def _spell(value: Any, above: list[int]) -> str:
    kind = type(value)
    if kind is int or value is None:
        return repr(value)
    if kind is float:
        return repr(int(value)) if value.is_integer() else repr(value)
    if kind is str:
        return repr(value)
    if kind is bool:
        return repr(int(value))
    if kind is bytes:
        return repr(value) if len(value) < _LONG else f"bytes {_hash(value)}"
    if len(above) > _MOST_OBJECTS or id(value) in above:
        return _name(kind)
    above.append(id(value))
    return _spell_object(value, kind, above)


def _spell_object(value: Any, kind: type, above: list[int]) -> str:
    if isinstance(value, enum.Enum):
        return f"{_name(kind)}.{value.name}"
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return _name(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_spell(item, above) for item in value)}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(_spell(item, above) for item in value))}}}"
    if isinstance(value, Mapping):
        pairs = sorted(f"{_spell(k, above)}: {_spell(v, above)}" for k, v in value.items())
        return f"{{{', '.join(pairs)}}}"
    package = kind.__module__.split(".")[0]
    if package == "numpy":
        return _spell_numpy(value, above)
    if package in _SPELLED or kind in (complex, range, slice):
        return f"{kind.__name__} {value}"
    if isinstance(value, functools.partial):
        return f"partial {_spell([value.func, value.args, value.keywords], above)}"
    fields = getattr(value, "__dict__", None)
    return _name(kind) if fields is None else f"{_name(kind)} {_spell(fields, above)}"


def _spell_numpy(value: Any, above: list[int]) -> str:
    if hasattr(value, "item") and not getattr(value, "shape", None) and value.dtype.kind != "O":
        plain = value.item()
        return _spell(plain, above) if type(plain) is not type(value) else str(value)
    if hasattr(value, "tobytes") and value.dtype.kind != "O":
        return f"array {value.dtype.str} {value.shape} {_hash(value.tobytes())}"
    return _spell(value.tolist(), above) if hasattr(value, "tolist") else _name(type(value))


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
