"""An array that a compiled function makes from constants is a new one at each call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS

X = np.arange(1.0, 5.0)

pytestmark = pytest.mark.filterwarnings("ignore::tensorjit.errors.TracerWarning")


def unseen(value: float, count: int) -> Any:
    """An array by a function that a trace does not see."""
    return np.fft.fftfreq(count) * 0 + value


def repeated(x: Any) -> Any:
    return x, np.repeat(2.0, 3), np.tile([1, 2], 2), np.outer([1.0, 2.0], [3.0])


def listed(x: Any) -> Any:
    c = np.array([1.0, 2.0])
    return c, c, c[:1], np.asarray([1, 2]), x


def filled(x: Any) -> Any:
    return np.zeros(3), np.full(3, 7), np.arange(5), np.linspace(0, 1, 3), np.eye(2), x


def joined(x: Any) -> Any:
    return np.concatenate([np.array([1.0]), np.array([2.0])]), np.stack([[1, 2]]), np.hstack([[1], [2]]), x


def written(x: Any) -> Any:
    z = np.array([1.0, 2.0, 3.0, 4.0])
    z += x
    w = np.repeat(0.0, 4)
    w += x
    return z, w, np.repeat(0.0, 4)


def computed(x: Any) -> Any:
    return np.sqrt(np.array([4.0, 9.0])), np.cumsum(np.array([1, 2, 3])), np.array(3.0), x


def hidden(x: Any) -> Any:
    return unseen(2.0, 3), unseen(2.0, 3), x + unseen(1.0, 4)


def hidden_twice(x: Any) -> Any:
    z = unseen(2.0, 4)
    return z, z, x * z


def hidden_and_changed(x: Any) -> Any:
    z = unseen(1.0, 4)
    y = x + z
    z[0] = 5.0
    return y, z, x * z


SEEN = [repeated, listed, filled, joined, written, computed]
HIDDEN = [hidden, hidden_twice, hidden_and_changed]


def agree(compiled: Callable[..., Any], function: Callable[..., Any]) -> None:
    """Three calls, each of whose results the caller spoils."""
    for k in range(3):
        found, expected = compiled(X + k), function(X + k)
        for p, q in zip(found, expected, strict=True):
            assert np.array_equal(p, q) and p.dtype == q.dtype
        for i in range(len(found)):
            for j in range(len(found)):
                assert (found[i] is found[j]) == (expected[i] is expected[j])
                assert np.shares_memory(found[i], found[j]) == np.shares_memory(expected[i], expected[j])
        for p in found:
            p[...] = -1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", SEEN)
def test_a_caller_who_writes_into_what_a_script_made_spoils_nothing(function: Callable[..., Any], backend: str) -> None:
    agree(tj.script(function, backend=backend), function)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", SEEN + HIDDEN)
def test_a_caller_who_writes_into_what_a_trace_made_spoils_nothing(function: Callable[..., Any], backend: str) -> None:
    agree(tj.trace(function, X, backend=backend), function)


@pytest.mark.parametrize("function", SEEN + HIDDEN)
def test_nor_on_a_path_that_is_recorded_later(function: Callable[..., Any]) -> None:
    def either(x: Any, k: int) -> Any:
        return function(x) if k > 0 else (x * 2,)

    traced = tj.trace(either, (X, 0))
    agree(lambda x: traced(x, 1), function)


def test_only_what_the_trace_does_not_see_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", tj.TracerWarning)
        for function in SEEN:
            tj.trace(function, X)
        with pytest.raises(tj.TracerWarning, match="becomes a constant"):
            tj.trace(hidden, X)


def added(z: Any, x: Any) -> Any:
    z += x
    return z


def given(z: Any, x: Any) -> Any:
    return np.add(x, 1, out=z)


def copied(z: Any, x: Any) -> Any:
    np.copyto(z, x)
    return z * 2


def at(z: Any, x: Any) -> Any:
    np.add.at(z, np.array([0]), x[:1])
    return z * 2


def summed(z: Any, x: Any) -> Any:
    x.sum(axis=0, out=z[0, ...])
    return z * 2


@pytest.mark.parametrize("write", [added, given, copied, at, summed])
def test_traced_values_are_not_written_where_plain_numpy_would_read_them(write: Callable[..., Any]) -> None:
    with pytest.raises(tj.UnsupportedError, match="stored in a plain array"):
        tj.trace(lambda x: write(unseen(1.0, 4), x), X)


def test_views_of_a_constant_are_not_returned_apart() -> None:
    def views(x: Any) -> Any:
        z = unseen(1.0, 4)
        return x, (z, z[1:])

    with pytest.raises(tj.UnsupportedError, match="show the same memory"):
        tj.trace(views, X)
