"""Holding a compiled function to the Python function that it was made of: `check_trace` and
`check_inputs`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from tensorjit.errors import TracingCheckError

# Relative and absolute tolerance of a dtype's kind and size: fused transcendentals and sums differ in the last bits.
TOLERANCES: Final[Mapping[str, tuple[float, float]]] = {
    "f2": (1e-3, 1e-5),
    "f4": (1e-5, 1e-7),
    "f8": (1e-9, 1e-12),
    "c8": (1e-5, 1e-7),
    "c16": (1e-9, 1e-12),
}


def check(
    function: Callable[..., Any],
    compiled: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
    captured: Sequence[tuple[str, np.ndarray[Any, Any]]] = (),
) -> None:
    """Call both with copies of the arguments and compare what they return, and what they leave in the
    arguments and in captured arrays, which are then as they were.

    `tolerance` is relative and replaces the tolerance of each dtype. Raises TracingCheckError naming the
    first difference.

    >>> check(lambda x: x + 1, lambda x: x + 1.0, [np.arange(3)])
    Traceback (most recent call last):
        ...
    tensorjit.errors.TracingCheckError: the result is float64, and int64 in Python
    """
    mine, theirs = copy.deepcopy((list(args), dict(kwargs or {}))), copy.deepcopy((list(args), dict(kwargs or {})))
    before = [array.copy() for _, array in captured]
    try:
        expected = function(*mine[0], **mine[1])
        left = [array.copy() for _, array in captured]
        _restore(captured, before)
        found = compiled(*theirs[0], **theirs[1])
        for (name, array), expected_array in zip(captured, left, strict=True):
            compare(f"{name} after the call", array, expected_array, tolerance)
    finally:
        _restore(captured, before)
    compare("the result", found, expected, tolerance)
    for k, (a, b) in enumerate(zip(theirs[0], mine[0], strict=True)):
        compare(f"argument {k} after the call", a, b, tolerance)
    for name, b in mine[1].items():
        compare(f"argument {name} after the call", theirs[1][name], b, tolerance)


def _restore(arrays: Sequence[tuple[str, np.ndarray[Any, Any]]], saved: Sequence[np.ndarray[Any, Any]]) -> None:
    for (_, array), values in zip(arrays, saved, strict=True):
        array[...] = values


def compare(what: str, found: Any, expected: Any, tolerance: float | None = None) -> None:
    """Raise TracingCheckError where two results are not the same in structure, dtype, shape and value."""
    if isinstance(expected, (tuple, list)) and type(found) is type(expected):
        if len(found) != len(expected):
            raise TracingCheckError(f"{what} has {len(found)} items, and {len(expected)} in Python")
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            compare(f"{what}[{k}]", a, b, tolerance)
    elif isinstance(expected, (np.ndarray, np.generic)) and isinstance(found, (np.ndarray, np.generic)):
        _compare_arrays(what, found, expected, tolerance)
    elif type(found) is not type(expected):
        raise TracingCheckError(f"{what} is a {type(found).__name__}, and a {type(expected).__name__} in Python")
    elif isinstance(expected, (float, complex)):
        _compare_arrays(what, np.asarray(found), np.asarray(expected), tolerance)
    elif isinstance(expected, (bool, int, str, bytes)) and found != expected:
        raise TracingCheckError(f"{what} is {found!r}, and {expected!r} in Python")


def _compare_arrays(what: str, found: Any, expected: Any, tolerance: float | None) -> None:
    if found.dtype != expected.dtype:
        raise TracingCheckError(f"{what} is {found.dtype}, and {expected.dtype} in Python")
    if found.shape != expected.shape:
        raise TracingCheckError(f"{what} has the shape {found.shape}, and {expected.shape} in Python")
    if type(found) is not type(expected):
        raise TracingCheckError(f"{what} is a {type(found).__name__}, and a {type(expected).__name__} in Python")
    relative, absolute = TOLERANCES.get(expected.dtype.str[1:], (0.0, 0.0))
    with np.errstate(all="ignore"):
        same = np.isclose(found, expected, relative if tolerance is None else tolerance, absolute, equal_nan=True)
    if not same.all():
        first = tuple(int(i) for i in np.argwhere(~np.atleast_1d(same))[0]) if expected.ndim else ()
        place = f"[{', '.join(map(str, first))}]" if first else ""
        count = f" ({np.count_nonzero(~same)} of {same.size} elements differ)" if same.size > 1 else ""
        raise TracingCheckError(f"{what}{place} is {found[first]!r}, and {expected[first]!r} in Python{count}")
