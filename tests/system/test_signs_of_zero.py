"""Of 0.0 and -0.0, of NaN and a bound, the one that NumPy takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import difference

VALUES = np.array([0.0, -0.0, 0.0, -0.0, 1.0, -1.0, 2.0, np.nan, np.inf, -np.inf])


def drawn(count: int, dtype: str, rng: np.random.Generator) -> Any:
    x = rng.choice(VALUES, count)
    if np.dtype(dtype).kind != "c":
        return x.astype(dtype)
    z = np.empty(count, dtype)
    z.real, z.imag = x, rng.choice(VALUES, count)
    return z


def between(x: Any, low: Any, high: Any) -> Any:
    return np.clip(x, low, high)


def above(x: Any, low: Any, high: Any) -> Any:
    return np.clip(x, low, None), x.clip(max=high)


def between_constants(x: Any, low: Any, high: Any) -> Any:
    return np.clip(x, 0, 1), np.clip(x, 0.0, 2), x.clip(-1, 0)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
@pytest.mark.parametrize("function", [between, above, between_constants], ids=lambda f: f.__name__)
def test_clip(function: Callable[..., Any], dtype: str) -> None:
    """np.clip(-0.0, 0, 1) is -0.0, of an array of bounds 0.0; complex bounds with a NaN part count by the other."""
    compiled, rng = tj.script(function), np.random.default_rng(5)
    for count in (1, 2, 9):
        for _ in range(4):
            x, low, high = (drawn(count, dtype, rng) for _ in range(3))
            rows = drawn(3 * count, dtype, rng).reshape(3, count)
            for args in (
                (x, low, high),
                (x, low[0], high[0]),
                (x, low, high[0]),
                (x, low[0], high),
                (rows, low, high),
                (x[0], low[0], high[0]),
            ):
                with np.errstate(all="ignore"):
                    assert not (text := difference(compiled(*args), function(*args))), (args, text)


def larger_and_smaller(x: Any, y: Any) -> Any:
    return np.maximum(x, y), np.minimum(x, y)


def without_nan(x: Any, y: Any) -> Any:
    return np.fmax(x, y), np.fmin(x, y)


@pytest.mark.parametrize(
    ("function", "dtype"),
    [(larger_and_smaller, "f2"), (larger_and_smaller, "f4"), (larger_and_smaller, "f8"), (without_nan, "f2")],
)
def test_larger_and_smaller_of_zeros(function: Callable[..., Any], dtype: str) -> None:
    """float16 keeps the first of equals, float32 and float64 the second; what NumPy's fmax of these does depends on the place."""
    compiled, rng = tj.script(function), np.random.default_rng(6)
    for count in range(2, 41):
        x, y = drawn(count, dtype, rng), drawn(count, dtype, rng)
        for args in ((x, y), (x, y[0]), (x[0], y)):
            assert not (text := difference(compiled(*args), function(*args))), (args, text)
