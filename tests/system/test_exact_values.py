"""Where a function's value is a number of the dtype, or a limit, the compiled one gives it to the bit: in a vector and in
what is left over, in NumPy's scalars, on every target."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import tensorjit as tj

INF, NAN, PI = math.inf, math.nan, math.pi
POWERS = range(-1074, 1024)

# the last of a row is the result; of rows of numbers that a dtype lacks nothing is asked of it
Row = tuple[float, ...]


def _odd(rows: Sequence[Row]) -> list[Row]:
    """Rows for x and for -x."""
    return [*rows, *(tuple(-v for v in row) for row in rows)]


def _whole(low: int, high: int) -> Iterator[tuple[int, int]]:
    return itertools.product(range(low, high), range(13))


TRIPLES = [(3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25), (20, 21, 29), (0, 7, 7), (1, 0, 1)]
EXACT: dict[Any, list[Row]] = {
    np.exp: [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (2000, INF), (-2000, 0), (NAN, NAN)],
    np.exp2: [*((k, 2.0**k) for k in POWERS), (-0.0, 1), (INF, INF), (-INF, 0), (2000, INF), (-2000, 0), (NAN, NAN)],
    np.expm1: [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (2000, INF), (-2000, -1), (-50, -1), (NAN, NAN)],
    np.log: [(1, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    np.log2: [*((2.0**k, k) for k in POWERS), (0.0, -INF), (-0.0, -INF), (INF, INF), (-2, NAN), (-INF, NAN)],
    np.log10: [*((10.0**k, k) for k in range(23)), (0.0, -INF), (-0.0, -INF), (INF, INF), (-2, NAN), (-INF, NAN)],
    np.log1p: [(0.0, 0.0), (-0.0, -0.0), (-1, -INF), (INF, INF), (-2, NAN), (-INF, NAN), (NAN, NAN)],
    np.sin: [*_odd([(0.0, 0.0), (INF, NAN)]), (NAN, NAN)],
    np.cos: [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    np.tan: [*_odd([(0.0, 0.0), (INF, NAN)]), (NAN, NAN)],
    np.arcsin: [*_odd([(0.0, 0.0), (1, PI / 2), (1.5, NAN), (INF, NAN)]), (NAN, NAN)],
    np.arccos: [(1, 0.0), (-1, PI), (0.0, PI / 2), (-0.0, PI / 2), (1.5, NAN), (-INF, NAN), (NAN, NAN)],
    np.arctan: [*_odd([(0.0, 0.0), (1, PI / 4), (INF, PI / 2), (2.0**60, PI / 2)]), (NAN, NAN)],
    np.sinh: [*_odd([(0.0, 0.0), (INF, INF), (2000, INF)]), (NAN, NAN)],
    np.cosh: [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, INF), (2000, INF), (-2000, INF), (NAN, NAN)],
    np.tanh: [*_odd([(0.0, 0.0), *((k, 1) for k in (20, 21, 22.5, 25, 31, 32, 90, 100, 1000, 2.0**127, INF))]), (NAN, NAN)],
    np.arcsinh: [*_odd([(0.0, 0.0), (INF, INF)]), (NAN, NAN)],
    np.arccosh: [(1, 0.0), (INF, INF), (0.5, NAN), (0.0, NAN), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    np.arctanh: [*_odd([(0.0, 0.0), (1, INF), (1.5, NAN), (INF, NAN)]), (NAN, NAN)],
    np.cbrt: [
        *_odd([(k**3 / 8, k / 2) for k in range(1, 80)]), *_odd([(2.0 ** (3 * k), 2.0**k) for k in range(-358, 342)]),
        *_odd([(0.0, 0.0), (INF, INF)]), (NAN, NAN),
    ],
    np.hypot: [
        *((a * 2.0**k, -b * 2.0**k, c * 2.0**k) for a, b, c in TRIPLES for k in (-1070, -140, -20, 0, 5, 100, 1000)),
        (0.0, -0.0, 0.0), (INF, NAN, INF), (NAN, -INF, INF), (1, INF, INF), (NAN, 1, NAN),
    ],
    np.arctan2: [
        (0.0, 1, 0.0), (-0.0, 1, -0.0), (0.0, -1, PI), (-0.0, -1, -PI), (0.0, 0.0, 0.0), (-0.0, 0.0, -0.0), (0.0, -0.0, PI),
        (1, 0.0, PI / 2), (-1, -0.0, -PI / 2), (INF, 1, PI / 2), (-INF, -1, -PI / 2), (1, INF, 0.0), (-1, INF, -0.0),
        (1, -INF, PI), (-1, -INF, -PI), (INF, INF, PI / 4), (-INF, INF, -PI / 4), (INF, -INF, 3 * PI / 4), (NAN, 1, NAN),
        (1, NAN, NAN), *((v, v, PI / 4) for v in (1, 2.0**-100, 3.0, 2.0**100)), (-2, 2, -PI / 4),
    ],
    np.power: [
        *((b, p, float(b**p)) for b, p in _whole(-15, 17)), *((2, k, 2.0**k) for k in POWERS), (NAN, 0.0, 1), (1, NAN, 1),
        *((k / 4, 2, k * k / 16) for k in range(40)), *((k * k / 4, 0.5, k / 2) for k in range(90)), (-1, INF, 1), (-1, -INF, 1),
        (0.0, -1, INF), (-0.0, -1, -INF), (-0.0, -2, INF), (0.0, 3, 0.0), (-0.0, 3, -0.0), (-0.0, 2, 0.0), (0.0, 0.0, 1),
        (0.0, INF, 0.0), (0.0, -INF, INF), (2, INF, INF), (0.5, INF, 0.0), (0.5, -INF, INF), (INF, 0.5, INF), (INF, -3, 0.0),
        (-INF, 3, -INF), (-INF, 2, INF), (-INF, -3, -0.0), (-2, 0.5, NAN), (-2, 3, -8), (NAN, 2, NAN), (2, NAN, NAN),
    ],
    np.logaddexp: [
        (-INF, 3, 3), (2, -INF, 2), (-INF, -INF, -INF), (INF, 1, INF), (INF, -INF, INF), (INF, INF, INF), (2000, 7, 2000),
        (NAN, 1, NAN), (1, NAN, NAN), (NAN, INF, NAN), (NAN, NAN, NAN),
    ],
    np.logaddexp2: [
        *((k, k, k + 1) for k in range(-150, 150)), (-INF, 3, 3), (2, -INF, 2), (-INF, -INF, -INF), (INF, 1, INF),
        (INF, -INF, INF), (INF, INF, INF), (2000, 7, 2000), (NAN, 1, NAN), (1, NAN, NAN), (NAN, INF, NAN), (NAN, NAN, NAN),
    ],
}  # fmt: skip
CONSTANTS = {PI, -PI, PI / 2, -PI / 2, PI / 4, -PI / 4, 3 * PI / 4}  # not numbers of any dtype: what is nearest


def _fits(value: float, dtype: Any) -> bool:
    with np.errstate(all="ignore"):
        return value in CONSTANTS or value != value or float(dtype(value)) == value


def points(function: Any, dtype: Any) -> tuple[list[Any], Any]:
    """Arrays of the arguments, and the results."""
    rows = [row for row in EXACT[function] if all(_fits(v, dtype) for v in row)]
    *arguments, wanted = (np.array(column, dtype) for column in zip(*rows, strict=True))
    return arguments, wanted


def unequal(found: Any, wanted: Any) -> Any:
    """Where two arrays differ in a bit, NaNs apart."""
    return ~((found == wanted) & (np.signbit(found) == np.signbit(wanted)) | np.isnan(found) & np.isnan(wanted))


def applied(function: Any) -> Any:
    """A program of one call of a function, of which a script knows nothing before."""
    return (lambda x: function(x)) if function.nin == 1 else (lambda x, y: function(x, y))


@pytest.mark.parametrize("target", ["host", "x86-64-v3"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("function", EXACT)
def test_exact_values_of_arrays(function: Any, dtype: Any, target: str) -> None:
    if dtype is np.float16 and (target != "host" or function is not np.tanh):
        pytest.skip("the code is that of float32")
    if dtype is np.float64 and target != "host" and function not in (np.tanh, np.cbrt, np.power):
        pytest.skip("test_vector_math.py holds every target to the same bits")
    arguments, wanted = points(function, dtype)
    with np.errstate(all="ignore"):
        compiled = tj.trace(applied(function), tuple(np.ones(3, dtype) for _ in arguments), target=target)
        for shift in (0, 1, 6, 11):  # to other lanes, and into the tail
            n = len(wanted) - shift % 5
            x = [np.roll(a, shift)[:n] for a in arguments]
            bad = np.flatnonzero(unequal(compiled(*x), np.roll(wanted, shift)[:n]))
            assert not bad.size, [tuple(v[k] for v in (*x, compiled(*x))) for k in bad[:5]]
        for n in range(2, 12):
            x = [np.resize(a[-9:], n) for a in arguments]
            assert not unequal(compiled(*x), np.resize(wanted[-9:], n)).any(), (n, x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("function", EXACT)
def test_exact_values_of_scalars(function: Any, dtype: Any) -> None:
    arguments, wanted = points(function, dtype)
    with np.errstate(all="ignore"):
        compiled = tj.trace(applied(function), tuple(dtype(1) for _ in arguments))
        found = np.array([compiled(*values) for values in zip(*arguments, strict=True)], dtype)
    bad = np.flatnonzero(unequal(found, wanted))
    assert not bad.size, [tuple(v[k] for v in (*arguments, found)) for k in bad[:5]]


def test_the_table_is_true() -> None:
    """NumPy's values in the widest format, where its own are exact too."""
    for function in EXACT:
        arguments, wanted = points(function, np.float64)
        with np.errstate(all="ignore"):
            true = function(*(a.astype(np.longdouble) for a in arguments)).astype(np.float64)
        assert not unequal(true, wanted).any(), function


# where a function comes to its limit
APPROACHES: dict[Any, dict[Any, tuple[float, float]]] = {
    np.tanh: {np.float32: (8, 11), np.float64: (18, 21)},
    np.expm1: {np.float32: (-30, -14), np.float64: (-51, -34)},
    np.exp: {np.float32: (87, 90), np.float64: (708, 711)},
    np.arctan: {np.float32: (1e6, 1e9), np.float64: (1e15, 1e17)},
    np.arcsin: {np.float32: (0.999, 1), np.float64: (0.99999, 1)},
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("function", APPROACHES)
def test_limits_are_reached_step_by_step(function: Any, dtype: Any) -> None:
    low, high = APPROACHES[function][dtype]
    x = np.linspace(low, high, 20011).astype(dtype)
    with np.errstate(all="ignore"):
        steps = tj.trace(applied(function), (x,))(x)
    assert (steps[1:] >= steps[:-1]).all()
    assert len(set(steps[:-1000].tolist())) > 3
