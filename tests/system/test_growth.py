"""What compiling a function takes grows with its length, not with the ways through it; versions are few."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.passes.specialise.state import Specialiser
from tests.system.harness import function_of, hold


def under_its_own_condition(k: int, start: str) -> Callable[..., Any]:
    """Accumulators, each under an `if` of its own in one loop."""
    starts = "".join(f"    a{i} = {start}\n" for i in range(k))
    turns = "".join(f"        if v > {i}:\n            a{i} += v\n" for i in range(k))
    return function_of(f"def program(x):\n{starts}    for v in x:\n{turns}    return {', '.join(f'a{i}' for i in range(k))},\n")


def one_after_the_other(k: int) -> Callable[..., Any]:
    """Loops that each add to one sum."""
    return function_of("def program(x):\n    s = 0.0\n" + "    for v in x:\n        s += v\n" * k + "    return s\n")


def steps(program: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many operations the specialiser builds for one call."""
    count = 0

    def spend(self: Specialiser, steps: int = 1) -> None:
        nonlocal count
        count += steps

    monkeypatch.setattr(Specialiser, "spend", spend)
    tj.script(program).graph_for(np.arange(5.0))
    return count


@pytest.mark.parametrize("k", [1, 3, 12])
def test_numpy_scalars_that_stay_what_they_are_take_no_versions(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    program = under_its_own_condition(k, "np.float64(0.0)")
    hold(program, lambda: (np.arange(5.0),), lambda: (np.ones(0),), lambda: (np.arange(5.0, dtype="f4"),), backends=("reference",))
    assert steps(program, monkeypatch) <= 200 * k


FORKS = pytest.mark.xfail(strict=True, reason="the specialiser forks where types differ", raises=(AssertionError, tj.CompileError))


@FORKS
def test_accumulators_under_their_own_conditions_take_as_many_steps_each(monkeypatch: pytest.MonkeyPatch) -> None:
    three, six = (steps(under_its_own_condition(k, "0.0"), monkeypatch) for k in (3, 6))
    assert six <= 3 * three


@FORKS
def test_loops_one_after_the_other_take_as_many_steps_each(monkeypatch: pytest.MonkeyPatch) -> None:
    five, fifteen = (steps(one_after_the_other(k), monkeypatch) for k in (5, 15))
    assert fifteen <= 4 * five


ALIKE = pytest.mark.xfail(strict=True, reason="each layout, and each set of equal lengths, has a version", raises=AssertionError)


def total(a: Any, b: Any, c: Any, d: Any) -> Any:
    return a.sum() + b.sum() * c.sum() - d.sum()


def versions(makes: Sequence[Callable[[random.Random], Any]]) -> int:
    """How many versions a function of four arrays has after calls with such arrays."""
    draw = random.Random(5)
    compiled = tj.script(total, backend="reference")
    for _ in range(30):
        compiled(*(draw.choice(makes)(draw) for _ in range(4)))
    return compiled.cache_info().misses


@ALIKE
def test_vectors_of_any_lengths_share_a_version() -> None:
    assert versions([lambda draw: np.ones(draw.choice([0, 1, 2, 3]))]) <= 6


@ALIKE
def test_arrays_of_any_layout_share_a_version() -> None:
    layouts = (
        lambda draw: np.ones((3, 4)),
        lambda draw: np.ones((4, 3)).T,
        lambda draw: np.ones((3, 8))[:, ::2],
    )
    assert versions(layouts) <= 6
