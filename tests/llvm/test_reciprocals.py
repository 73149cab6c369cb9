"""Integers divided by one number for all lanes: NumPy's quotients and remainders, and its warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"]


@tj.script
def divided(x: Any, y: Any) -> Any:
    return x // y, x % y


def numbers(dtype: str, count: int = 200) -> Any:
    """Extremes, powers of two and their neighbours, and numbers of all sizes."""
    info = np.iinfo(dtype)
    near = {s * ((1 << k) + d) for k in range(info.bits) for d in (-2, -1, 0, 1, 2) for s in (1, -1)}
    near |= {info.min, info.min + 1, info.max, info.max - 1, 0, 3, 5, 6, 7, 10, 11, 13, 25, 100, 125, 641, 1000, 10**9, 10**18}
    generator = np.random.default_rng(info.bits)
    near |= {int(n) >> int(k) for n, k in zip(generator.integers(info.min, info.max, count, dtype), range(count), strict=True)}
    return np.array(sorted(n for n in near if info.min <= n <= info.max), dtype)


def with_warnings(f: Callable[..., Any], *args: Any) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = f(*args)
    return [r.tolist() for r in result], sorted({str(w.message).split(" in ")[0] for w in caught})


def by_numpy(x: Any, y: Any) -> Any:
    return x // y, x % y


@pytest.mark.parametrize("dtype", DTYPES)
def test_by_an_argument(dtype: str) -> None:
    x = numbers(dtype)
    for y in numbers(dtype, 0) if dtype[1] != "1" else np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype):
        assert with_warnings(divided, x, y) == with_warnings(by_numpy, x, y), y


@pytest.mark.parametrize("dtype", ["u1", "i1"])
def test_bytes(dtype: str) -> None:
    """All pairs: what is above by one value of each row."""
    every = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype)
    x, y = np.broadcast_to(every, (256, 256)).copy(), every[:, None].copy()
    assert with_warnings(divided, x, y) == with_warnings(by_numpy, x, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_by_a_constant(dtype: str) -> None:
    x = numbers(dtype)
    known = [int(n) for n in numbers(dtype, 0)]
    known = sorted({*known[:3], *known[-3:], *known[len(known) // 2 - 14 : len(known) // 2 + 14 :], *known[::9], 0, 1, 7, 10, 100})
    for group in range(0, len(known), 12):
        divisors = tuple(known[group : group + 12])

        def f(x: Any, divisors: tuple[int, ...] = divisors) -> Any:
            return (*(x // d for d in divisors), *(x % d for d in divisors))

        traced = tj.trace(f, (x[:0],))  # which warns of nothing
        assert with_warnings(traced, x) == with_warnings(f, x), divisors


@pytest.mark.parametrize("dtype", DTYPES)
def test_lengths_and_strides(dtype: str) -> None:
    seven = np.dtype(dtype).type(7)
    for n in (1, 2, 15, 16, 17, 63, 64, 65, 127, 129, 1000):
        x = np.arange(2 * n).astype(dtype)
        for view in (x, x[::2], x[::-1], x[1:]):
            assert with_warnings(divided, view, seven) == with_warnings(by_numpy, view, seven)
    assert with_warnings(divided, x[:0], seven * 0) == with_warnings(by_numpy, x[:0], seven * 0)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8"])
def test_warnings_only_where_numpy_has_them(dtype: str) -> None:
    least = np.iinfo(dtype).min
    for x in (np.full(70, 5, dtype), np.full(70, least, dtype)):
        for y in (0, -1, 1, 7):
            value = np.dtype(dtype).type(y)
            assert with_warnings(divided, x, value) == with_warnings(by_numpy, x, value)
