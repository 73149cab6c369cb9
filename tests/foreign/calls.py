"""A call of one of NumPy's functions, compiled: `np.sum(x, axis=1)` becomes `def f(a0): return np.sum(a0, axis=1)`."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import tensorjit as tj
from tests.foreign.records import Function, compare

NUMBERS = "?bhilqBHILQefdFD"
_LEAVES, _BYTES, _TEXT = 300, 5_000_000, 3000  # more would take long to compile, or to copy
_compiled: dict[str, tuple[Function, Function]] = {}


def compared(path: str, function: Function) -> Function:
    """The function itself, but every call of numbers and arrays also runs compiled, and is compared."""

    def stand_in(*args: Any, **keywords: Any) -> Any:
        if is_plain((*args, *keywords.values())):
            source, values = as_source(path, args, keywords)
            if len(source) < _TEXT:
                compare(source.split("return ")[1].strip(), *functions_of(source), values, {})
        return function(*args, **keywords)

    stand_in.__name__ = getattr(function, "__name__", path)
    return stand_in


def is_plain(values: Iterable[Any]) -> bool:
    """Whether values are what a compiled function may take: numbers, arrays of them, texts, dtypes; and not too many."""
    count = 0
    for leaf in leaves(values, 4):
        count += 1
        if count > _LEAVES or not _is_plain_leaf(leaf):
            return False
    return True


def leaves(values: Iterable[Any], depth: int) -> Iterator[Any]:
    """The leaves of nested tuples and lists."""
    for v in values:
        if isinstance(v, list | tuple) and depth:
            yield from leaves(v, depth - 1)
        else:
            yield v


def _is_plain_leaf(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return type(value) is np.ndarray and value.dtype.char in NUMBERS and value.nbytes <= _BYTES
    if isinstance(value, np.generic):
        return value.dtype.char in NUMBERS
    if isinstance(value, np.dtype):
        return value.char in NUMBERS
    return isinstance(value, bool | int | float | complex | str | type) or value is None


def as_source(path: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The text of a function that makes the call, and its arguments: what is no constant of the text."""
    parts: list[str] = []
    values: list[Any] = []
    for prefix, value in [("", a) for a in args] + [(f"{name}=", v) for name, v in keywords.items()]:
        text = _literal(value)
        if text is None:
            text = f"a{len(values)}"
            values.append(value)
        parts.append(prefix + text)
    names = ", ".join(f"a{k}" for k in range(len(values)))
    return f"def f({names}):\n    return {path}({', '.join(parts)})\n", values


def _literal(value: Any) -> str | None:
    """Axes, flags, names and dtypes as Python text; None for what is an argument."""
    if value is None or type(value) in (bool, str, int):
        return repr(value)
    if isinstance(value, tuple | list) and all(v is None or type(v) in (bool, int) for v in value):
        return repr(value)
    if isinstance(value, np.dtype) and value.isnative:
        return f"np.dtype({value.name!r})"
    if isinstance(value, type) and issubclass(value, np.generic) and hasattr(np, value.__name__):
        return f"np.{value.__name__}"
    return value.__name__ if isinstance(value, type) and value in (bool, int, float, complex) else None


def functions_of(source: str) -> tuple[Function, Function]:
    """The function of a text, and the one compiled of it."""
    if source not in _compiled:
        file = f"<call {len(_compiled)}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        names: dict[str, Any] = {"np": np}
        exec(compile(source, file, "exec"), names)
        _compiled[source] = names["f"], tj.script(names["f"])
    return _compiled[source]
