"""Loops whose variables change their types give in every turn what Python gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import difference


def a_string_of_the_first_turn(x: Any) -> Any:
    mode, total = "a", 0.0
    for _ in range(x.shape[0]):
        total += 1.0 if mode == "a" else 2.0
        mode = "b"
    return total, mode


def none_in_the_first_turn(x: Any) -> Any:
    last: Any = None
    total = 0.0
    for i in range(x.shape[0]):
        total += 1.0 if last is None else 2.0
        last = x[i]
    return total


def an_item_of_the_first_turn(x: Any) -> Any:
    pair: Any = (0, "a")
    total = 0.0
    for i in range(x.shape[0]):
        total += 1.0 if pair[1] == "a" else 2.0
        pair = (pair[0] + x[i], "b")
    return total, pair


def the_class_of_the_first_turn(x: Any) -> Any:
    total: Any = 0
    count = 0.0
    for i in range(x.shape[0]):
        count += 1.0 if isinstance(total, int) else 2.0
        total += x[i]
    return count, total


def three_sums(x: Any) -> Any:
    a: Any = 0
    b: Any = 0
    c: Any = 0
    for i in range(x.shape[0]):
        if x[i] > 0.3:
            a += x[i]
        if x[i] > 0.6:
            b += x[i]
        if x[i] < 0.2:
            c = x[i] * 2
    return a, b, c


def otsu(x: Any) -> Any:
    best: Any = 0
    at = 0
    below: Any = 0
    weight: Any = 0
    for i in range(x.shape[0]):
        weight += x[i]
        if weight == 0:
            continue
        rest = 2.5 - weight
        if rest < 0.1:
            break
        below += i * x[i]
        between = weight * rest * (below / weight - 1.5 / rest) ** 2
        if between > best:
            best = between
            at = i
    return at, best, below


def best_two(x: Any) -> Any:
    best: Any = 0
    second: Any = 0
    at = 0
    for i in range(x.shape[0]):
        if x[i] > best:
            second = best
            best = x[i]
            at = i
        elif x[i] * 2 > second:
            second = x[i]
    return best, at, second, best - second, best / 2


def _larger(x: Any, y: Any) -> Any:
    return x if x > y else y


def through_a_helper(x: Any) -> Any:
    most: Any = 0
    last: Any = 0
    n = 0
    while n < x.shape[0]:
        if n % 2:
            most = _larger(x[n], most)
        else:
            last = x[n]
        n += 1
    return [most, (last, n)], -most


def divided(x: Any) -> Any:
    a: Any = 0
    b: Any = 0
    for i in range(x.shape[0]):
        if x[i] > 0.3:
            a += x[i]
        if x[i] > 0.8:
            b = 1.5
    return a / b


CHOICES: tuple[Callable[..., Any], ...] = (three_sums, otsu, best_two, through_a_helper)
PROGRAMS: tuple[Callable[..., Any], ...] = (
    a_string_of_the_first_turn, none_in_the_first_turn, an_item_of_the_first_turn, the_class_of_the_first_turn,
)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_what_holds_in_the_first_turn_alone_is_not_taken_for_all(program: Callable[..., Any], backend: str) -> None:
    compiled = tj.script(program, backend=backend)
    for n in (0, 1, 2, 5):
        x = np.linspace(0.1, 0.9, n)
        assert not difference(compiled(x), program(x)), n


@pytest.mark.parametrize("program", CHOICES, ids=lambda p: p.__name__)
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_variables_that_become_numpy_scalars_each_in_its_own_turn(program: Callable[..., Any], backend: str) -> None:
    compiled = tj.script(program, backend=backend)
    for n in (0, 1, 2, 3, 9, 40):
        for x in (np.linspace(0.1, 0.9, n), np.linspace(0.9, 0.1, n), np.full(n, 0.25), np.zeros(n)):
            assert not difference(compiled(x), program(x)), (n, x)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_what_may_be_an_int_divides_as_an_int(backend: str) -> None:
    compiled = tj.script(divided, backend=backend)
    assert compiled(np.array([0.5, 0.9])) == divided(np.array([0.5, 0.9]))
    with pytest.raises(ZeroDivisionError):
        compiled(np.array([0.1]))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert compiled(np.array([0.5])) == np.inf
