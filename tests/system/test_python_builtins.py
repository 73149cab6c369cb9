"""Python's own functions over numbers of several types and over arrays, and the texts of exceptions: as Python runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.system.harness import hold

NUMBERS = [1, 2.5, True, np.float64(2.5), np.int8(3), np.float32(-1), 0, -0.0, float("nan"), np.uint8(200)]
VECTOR = np.array([-1.5, 0.25, 3.0])


def largest(x: Any, y: Any) -> Any:
    return max(x, y)


def smallest(x: Any, y: Any) -> Any:
    return min(0, x, y)


@pytest.mark.parametrize("function", [largest, smallest])
@pytest.mark.parametrize("x", NUMBERS, ids=repr)
def test_extremes_of_several_types(function: Any, x: Any) -> None:
    hold(function, *[lambda y=y: (x, y) for y in NUMBERS])


def clipped_sum(x: Any) -> Any:
    total = 0.0
    for v in x:
        total += max(0.0, v)
    return total


def clipped(x: Any) -> Any:
    y = np.empty_like(x)
    for i in range(len(x)):
        y[i] = max(0, x[max(0, i - 1)])
    return y


@pytest.mark.parametrize("function", [clipped_sum, clipped])
def test_extremes_of_elements_and_constants(function: Any) -> None:
    hold(function, lambda: (VECTOR.copy(),), lambda: (np.arange(5) - 2,), lambda: (np.array([np.nan, 1.0]),), lambda: (np.zeros(0),))


def total(x: Any) -> Any:
    return sum(x), sum(x, 1.0)


def total_of_range(n: Any) -> Any:
    return sum(range(n)), sum(x * 2 for x in (n, 1.5))


def any_or_all(x: Any) -> Any:
    return any(x), all(x)


def contains(x: Any) -> Any:
    return 3.0 in x, 3 not in x, np.float32(0.25) in x


ARRAYS = [
    VECTOR,
    VECTOR.astype("f4"),
    np.array([-0.0]),
    np.zeros(0),
    np.arange(4),
    np.ones((2, 3)),
    np.array([True, True]),
    np.array(3.0),
]


@pytest.mark.parametrize("function", [total, any_or_all, contains])
def test_builtins_over_arrays(function: Any) -> None:
    hold(function, *[lambda x=x: (x.copy(),) for x in ARRAYS])


def test_sum_of_a_range() -> None:
    hold(total_of_range, lambda: (5,), lambda: (0,))


def percent(n: Any, x: Any) -> None:
    raise ValueError("a %d %5d %-5d| %05.2f %s %r %+d %% {}" % (n, n, n, x, x, x, n))  # noqa: UP031


def fields(n: Any, x: Any) -> None:
    raise ValueError("{1} {0:>5} {0!r} {k} {{".format(n, x, k=n))  # noqa: UP032


def pieces(n: Any, x: Any) -> None:
    raise IndexError("<" + str(n) + repr(x) + f"{x:.3f} {{}}")


def objects(n: Any, x: Any) -> None:
    raise ValueError(n, 1, "b", x)


def only_a_number(n: Any, x: Any) -> None:
    if n != 0:  # not an assert, which pytest rewrites
        raise AssertionError(x)


@pytest.mark.parametrize("function", [percent, fields, pieces, objects, only_a_number])
def test_texts_of_exceptions(function: Any) -> None:
    hold(function, *[lambda n=n, x=x: (n, x) for n in (3, np.int64(-3), np.int8(4)) for x in (2.5, np.float64(0.5), np.float32(7))])


def of_an_array(x: Any) -> None:
    message = f"{x.shape} {x.dtype} {x} {x[0]!r} {[x[0], 1]} {(x.shape[0],)}"
    x[0] = 5
    raise ValueError(message)


def test_a_text_shows_what_an_array_was() -> None:
    hold(of_an_array, lambda: (VECTOR.copy(),), lambda: (np.ones((2, 2)),))
