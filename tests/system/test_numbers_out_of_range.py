"""Numbers in the program that the dtype beside them cannot hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import hold


def array(dtype: str) -> Any:
    kind = np.dtype(dtype).kind
    ends = [np.iinfo(dtype).min, np.iinfo(dtype).max] if kind in "iu" else [0, 1] if kind == "b" else [-2.5, np.nan, np.inf]
    return np.array([*ends, 1, 0], dtype)


def below(x: Any) -> Any:
    return x < 2**63, x <= 2**63, x > 2**63 - 1, x >= -1, x < -(2**63), x <= -(2**63) - 1, x < 300, x > -300


def equal(x: Any) -> Any:
    return x == 2**63, x != 2**64, x == -(2**70), x != -1, x == 2**64 - 1, x == 300


def on_the_left(x: Any) -> Any:
    return 2**63 < x, 2**64 > x, 2**64 - 1 <= x, -1 < x, -(2**70) <= x, 10**400 > x if x.dtype.kind in "iu" else 0


def as_functions(x: Any) -> Any:
    return np.less(x, 2**64), np.greater_equal(2**65, x), np.equal(x, 2**63), np.not_equal(-(2**64), x)


@pytest.mark.parametrize("dtype", ["?", "i1", "i8", "u4", "u8", "f2", "f4", "c8"])
@pytest.mark.parametrize("function", [below, equal, on_the_left, as_functions], ids=lambda f: f.__name__)
def test_comparisons_with_integers_beyond_the_dtype(function: Callable[..., Any], dtype: str) -> None:
    """By value, as far as 64 bits do not go, of arrays and of scalars."""
    with np.errstate(all="ignore"):
        hold(function, lambda: (array(dtype),), lambda: (array(dtype)[1],))


def compared_with(x: Any, n: Any) -> Any:
    return x < n, x == n, n <= x


@pytest.mark.parametrize("dtype", ["i1", "i8", "u4", "u8"])
def test_comparisons_with_integers_known_at_run_time(dtype: str) -> None:
    numbers = (-1, 300, -300, 2**31, 2**62, -(2**63), 2**63 - 1)
    hold(compared_with, *(lambda n=n: (array(dtype), n) for n in numbers))


def scaled(x: Any) -> Any:
    return x * 1e300


def large(x: Any) -> Any:
    return x < 1e300, np.maximum(x, -1e39)


def of_integers(x: Any) -> Any:
    return x + 2**70, x * 2**130


@pytest.mark.parametrize("dtype", ["f2", "f4", "c8", "f8"])
@pytest.mark.parametrize("function", [scaled, large, of_integers], ids=lambda f: f.__name__)
def test_literals_that_overflow_warn(function: Callable[..., Any], dtype: str) -> None:
    for x in (np.ones(5, dtype), np.dtype(dtype).type(1)):
        told: dict[bool, set[str]] = {}
        for compiled in (False, True):
            seen = told[compiled] = set()
            f = tj.script(function) if compiled else function
            with np.errstate(all="call", under="ignore", call=lambda kind, flag, seen=seen: seen.add(kind)):
                f(x)
        assert told[True] == told[False], x
    with np.errstate(all="ignore"):
        hold(function, lambda: (np.ones(5, dtype),))


def rounded(x: Any, places: int) -> Any:
    return np.round(x, places)


@pytest.mark.parametrize("dtype", ["f2", "f8", "i8"])
def test_rounding_to_any_number_of_places(dtype: str) -> None:
    """Ten to the power of them as NumPy multiplies it, infinity included."""
    values = np.array([1.5, 123.456, 2.5, 77, 0, 1e30 if dtype == "f8" else 100]).astype(dtype)
    places = (400, -400, 308, 309, -309, 300, 39, 3, -3, 23)
    with np.errstate(all="ignore"):
        hold(rounded, *(lambda n=n: (values, n) for n in places), cache_size=64, twice=False)
