"""What a traced function catches: a call in which something is raised goes where it goes in Python."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS, compare, observe

X = np.arange(1.0, 5.0)

pytestmark = [pytest.mark.filterwarnings(f"ignore::tensorjit.errors.{name}") for name in ("TracerWarning", "FallbackWarning")]


def held(traced: Callable[..., Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Results, exceptions and what is left in the arguments."""
    mine, theirs = (tuple(a.copy() if isinstance(a, np.ndarray) else a for a in args) for _ in range(2))
    with np.errstate(all="ignore"):
        text = compare(observe(traced, mine), observe(function, theirs), ulp=4)
    assert not text, (args, text)


def item(x: Any, i: int) -> Any:
    try:
        return x[i]
    except IndexError:
        return -1.0


def item_or_none(x: Any, i: int) -> Any:
    try:
        y = x[i] * 2
    except IndexError:
        y = x.sum()
    else:
        y = y + 1
    finally:
        x = x * 2
    return y + x[0]


def quotient(y: Any, z: Any) -> Any:
    try:
        return 1 / y + z
    except ZeroDivisionError:
        return 57005


def nested(x: Any, i: int) -> Any:
    try:
        try:
            y = x[i]
        except ZeroDivisionError:
            y = x[0]
        return y
    except (IndexError, ValueError) as error:
        return len(str(error)) * x[0]


def suppressed(x: Any, i: int) -> Any:
    with contextlib.suppress(IndexError):
        return x[i]
    return x


def in_a_helper(x: Any, i: int) -> Any:
    return item(x, i) + item(x, -i)


def in_a_loop(x: Any, i: int) -> Any:
    s = x[0]
    for k in (0, 1, 2):
        try:
            s = s + x[k + i]
        except IndexError:
            break
    return s


def raised_again(x: Any, i: int) -> Any:
    try:
        return x[i]
    except IndexError as error:
        raise ValueError("not there") from error


def not_caught(x: Any, i: int) -> Any:
    try:
        return x[i]
    except KeyError:
        return x


def fitting(x: Any, y: Any) -> Any:
    try:
        return x + y
    except ValueError:
        return x.sum() + y.sum()


def whole(x: Any, i: int) -> Any:
    try:
        return int(x[i] / (i - 3)) * x
    except (ValueError, OverflowError):
        return x


def written(x: Any, i: int) -> Any:
    x[0] += 1
    try:
        x[1] += x[i]
    except IndexError:
        x[1] -= 1
    return x


def written_elsewhere(x: Any, i: int) -> Any:
    if i == 0:
        x[1] = 0
        return x[x.shape[0] - 1 + i]
    return item(x, i)


INDICES = [(X, 1), (X, 9), (X, 0), (X[:2], 1), (X, -9), (X[:0], 0)]
PROGRAMS: list[tuple[Callable[..., Any], list[Any]]] = [
    *((f, INDICES) for f in (item, item_or_none, nested, suppressed, in_a_helper, in_a_loop, raised_again, not_caught, whole)),
    *((f, INDICES) for f in (written, written_elsewhere)),
    (quotient, [(2, 1), (0, 1), (3.0, 2), (0.0, 2), (4, 1.5), (np.float64(0), 1)]),
    (fitting, [(X, X), (X, X[:3]), (X, X[:1]), (X[:2], X[:3])]),
]


@pytest.mark.parametrize(("function", "calls"), PROGRAMS)
def test_what_is_caught_is_not_a_path(function: Callable[..., Any], calls: list[Any]) -> None:
    traced = tj.trace(function, calls[0])
    for args in calls * 2:
        held(traced, function, args)


@pytest.mark.parametrize("function", [item, written, quotient])
@pytest.mark.parametrize("backend", BACKENDS)
def test_on_every_backend(function: Callable[..., Any], backend: str) -> None:
    calls: list[Any] = next(c for f, c in PROGRAMS if f is function)
    traced = tj.trace(function, calls[0], backend=backend)
    for args in calls * 2:
        held(traced, function, args)


def test_calls_that_raise_nothing_run_natively() -> None:
    traced = tj.trace(item, (X, 1))
    for k in range(20):
        assert traced(X, k % 4) == X[k % 4]
    assert traced.cache_info().hits >= 19
    assert traced.paths == 1


def test_an_example_in_which_something_is_caught_warns_and_records_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", tj.TracerWarning)
        with pytest.raises(tj.TracerWarning, match="was caught by the traced function: calls that take this way run as plain Python"):
            tj.trace(item, (X, 9))
    traced = tj.trace(item, (X, 9))
    assert traced.paths == 0
    with pytest.warns(tj.FallbackWarning, match="catches an exception"):
        assert traced(X, 9) == -1
    assert (traced(X, 2), traced(X, 9), traced.paths) == (3, -1, 1)
    with pytest.raises(tj.UnsupportedError, match="was caught"):
        tj.trace(item, (X, 9), strict=True)


def test_what_catches_exceptions_is_not_called_from_machine_code() -> None:
    inner = tj.trace(item, (X, 1))
    with pytest.raises(tj.CompileError, match="operations in a `try`"):
        tj.script(lambda x: inner(x, 9) * 2)(X)


def test_an_interrupt_is_no_failed_guard() -> None:
    def interrupted(x: Any, k: Any) -> Any:
        try:
            return x + k
        except ValueError:
            return x

    traced = tj.trace(interrupted, (X, 1.0))

    def raises(kind: str, flag: int) -> None:
        raise KeyboardInterrupt

    old = np.seterrcall(raises)
    try:
        with np.errstate(all="call"), pytest.raises(KeyboardInterrupt):
            traced(np.array([1e308]), 1e308)
    finally:
        np.seterrcall(old)
