"""Slices whose step is known at run time only: one program for every step, of either sign."""

from __future__ import annotations

from typing import Any

import numpy as np

import tensorjit as tj
from tests.system.harness import hold

STEPS = [1, 2, 3, 7, 8, 100, 2**62, -1, -2, -3, -7, -8, -100, -(2**63), 2**63 - 1, 0]


def read(x: Any, i: Any, j: Any, k: int) -> Any:
    return x[i:j:k], x[::k], x[i::k], x[:j:k]


def written(x: Any, i: Any, j: Any, k: int) -> Any:
    x[i:j:k] = 5
    x[::k] += x[::k]
    x[j::k] -= 1.5
    return x


def rows(x: Any, i: Any, j: Any, k: int) -> Any:
    y = x.reshape(2, 4)
    return y[:, i:j:k].sum(axis=1), y[::k, ::k] * 2, y[0, ::k]


def reversed_onto_itself(x: Any, i: Any, j: Any, k: int) -> Any:
    x[::k] = x[:: -max(k, -(2**62))]
    return x


def test_every_step_gives_the_slice_of_numpy() -> None:
    calls = [(i, j, k) for k in STEPS for i, j in [(0, 8), (1, 5), (-3, 2), (6, -7), (20, -20), (-20, 20), (3, 3)]]
    for function in (read, written, rows, reversed_onto_itself):
        hold(function, *[lambda c=c: (np.arange(8.0), *c) for c in calls], twice=False)


def sieve(n: Any) -> Any:
    x = np.ones(n, bool)
    x[:2] = False
    i = 2
    while i * i < n:
        if x[i]:
            x[i * i :: i] = False
        i += 1
    return x


def strided_sums(x: Any) -> Any:
    total = 0.0
    for k in range(1, len(x)):
        total += x[::k].sum() + x[::-k][0]
    return total


def test_a_sieve_is_compiled_once() -> None:
    function = tj.script(sieve)
    for n in (100, 5000, 30):
        assert np.array_equal(function(n), sieve(n))
    assert function.cache_info().misses == 1
    hold(strided_sums, lambda: (np.arange(80.0),), lambda: (np.ones(3),), lambda: (np.zeros(0),))


def numpy_step(x: Any, k: Any) -> Any:
    return x[::k]


def test_kinds_of_steps() -> None:
    for kinds in ([np.int64(2), np.int64(-1)], [np.uint8(3)], [True, False], [2.0], [None]):
        hold(numpy_step, *[lambda k=k: (np.arange(8.0), k) for k in kinds])


def test_a_view_by_a_step_is_a_view() -> None:
    x = np.arange(8.0)
    found = tj.script(numpy_step)(x, 3)
    assert found.base is x and found.strides == x[::3].strides
