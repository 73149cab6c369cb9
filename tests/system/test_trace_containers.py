"""Lists and dictionaries from outside of a traced function, and arrays that are arguments too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj

X = np.arange(1.0, 5.0)
A: list[Any] = [1, 2]
B: list[Any] = [1, 2]
C: list[Any] = [[1, 2], [3]]
D: dict[str, Any] = {"a": 1, "b": [2]}
E: dict[str, Any] = {"a": 1, "b": [2]}

pytestmark = [pytest.mark.filterwarnings(f"ignore::tensorjit.errors.{name}") for name in ("TracerWarning", "FallbackWarning")]


COMPARISONS: list[Callable[[], Any]] = [
    lambda: A == B,
    lambda: A != B,
    lambda: A <= B,
    lambda: [1, 2] == A,
    lambda: A in C,
    lambda: C.index(A) if A in C else 9,
    lambda: A + B == [1, 2, 1, 2],
    lambda: D == E,
    lambda: D != E,
    lambda: {"a": 1, "b": [2]} == D,
    lambda: (D | E)["a"] == 1,
    lambda: [A, B] == [B, A],
]


@pytest.mark.parametrize("compared", COMPARISONS)
def test_two_containers_are_compared_by_what_they_hold(compared: Callable[[], Any]) -> None:
    def function(x: Any) -> Any:
        return x * 2 if compared() else x

    a, b, d = list(A), list(B), dict(D)
    traced = tj.trace(function, X, check_trace=False)
    try:
        changes: list[Callable[[], Any]] = [lambda: A.append(3), lambda: B.append(3), lambda: D.update(a=5), A.clear, B.clear]
        changes.append(lambda: E.update(a=5))
        for change in changes:
            assert np.array_equal(traced(X), function(X))
            change()
            assert np.array_equal(traced(X), function(X))
    finally:
        A[:], B[:] = a, b
        D.update(d)
        E.update(d)


def test_an_item_that_is_not_there_yet() -> None:
    def function(x: Any, k: Any) -> Any:
        try:
            return x * A[int(k)]
        except IndexError:
            return x * 7

    for first in (1, 2, -3):
        traced = tj.trace(function, (X, first))
        try:
            for more in ([], [5], [5, 6]):
                A[2:] = more
                for k in (0, 1, 2, 3, -1, -3, 2.0, 9):
                    assert np.array_equal(traced(X, k), function(X, k)), (first, more, k)
        finally:
            A[2:] = []


def test_an_argument_that_is_captured_too_is_one_array_in_the_check() -> None:
    held = X.copy()

    def function(x: Any, k: Any) -> Any:
        if k > 0:
            held[0] += 1
            return x.sum()
        return x * 2

    for first in (held, X):
        traced = tj.trace(function, (first, 0))
        held[:] = X
        assert traced(held, 1) == 11 and held[0] == 2
        held[:] = X
        assert traced(X, 1) == 10 and held[0] == 2
        held[:] = X


# -- lists among the arguments ---------------------------------------------------------------------------------


def appended(a: Any, k: Any) -> Any:
    if k > 0:
        a.append(k)
    return a[0] * 2


def assigned(a: Any, k: Any) -> Any:
    if k > 0:
        a[0] = a[0] * 2
    return a[0].sum()


def nested(a: Any, k: Any) -> Any:
    if k > 0:
        a[1].reverse()
    return a[0] * 2


def returned(a: Any, k: Any) -> Any:
    return (a[0], a) if k > 0 else a[0]


def twice(a: Any, k: Any) -> Any:
    both = [a[0], k]
    return (both, both) if k > 0 else both


@pytest.mark.parametrize("function", [appended, assigned, nested, returned, twice])
def test_lists_of_the_caller_are_not_changed_or_returned(function: Callable[..., Any]) -> None:
    given: list[Any] = [X, [X, 2.0]]
    for check in (True, False):
        traced = tj.trace(function, (given, 0), check_trace=check)
        with pytest.raises(tj.UnsupportedError, match=r"a list (among the arguments is changed|is returned that is an argument)"):
            traced(given, 1)
        traced(given, 0)
    assert given[0] is X and given[1][0] is X and len(given) == 2 and traced.paths == 1


def test_an_array_in_a_list_of_the_caller_is_written() -> None:
    def function(a: Any, k: Any) -> Any:
        a[0] += k
        return a[0] * 1

    traced = tj.trace(function, ([X.copy()], 1.0))
    given = [X.copy()]
    assert np.array_equal(traced(given, 2.0), X + 2) and np.array_equal(given[0], X + 2)
