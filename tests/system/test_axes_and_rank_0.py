"""Arrays of rank 0, NumPy scalars and Python numbers in functions of arrays; what is an axis, and what is an integer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import hold
from tests.system.test_like_numpy import module

CALLS = [
    "np.transpose(a)", "np.transpose(a, ())", "np.swapaxes(a, 0, 0)", "np.moveaxis(a, 0, 0)", "np.moveaxis(a, (), ())",
    "np.rollaxis(a, 0)", "np.squeeze(a)", "np.squeeze(a, 0)", "np.squeeze(a, ())", "np.squeeze(a, 1)", "np.reshape(a, ())",
    "np.reshape(a, 2)", "np.flip(a, 0)", "np.roll(a, 1, 0)", "np.repeat(a, 2, 0)", "np.repeat(a, 2, -1)",
    "np.repeat(a, 2, 1)", "np.cumsum(a, 0)", "np.cumprod(a, -1)", "np.cumsum(a, 1)", "np.sort(a)", "np.sort(a, None)",
    "np.argsort(a)", "np.argsort(a, 1)", "np.copyto(a, 1)", "np.diff(a)", "np.expand_dims(a, 2)", "a.transpose()",
    "a.swapaxes(0, 0)", "a.reshape(())", "a.argsort()", "a.sort()", "a.fill(1)", "a.squeeze(0)", "a.cumsum(0)",
    "a.repeat(2, 0)", "np.stack([a, a], 2)", "np.concatenate([a, a])", "np.dot(a, [1, 2], out=[a])", "np.astype(a, 'f4')",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_rank_0(call: str) -> None:
    """Of an axis that is not there, several rules were an IndexError of the compiler."""
    if "np.astype" in call and not hasattr(np, "astype"):
        pytest.skip("not in this NumPy")
    f = module(f"def f(a):\n    return {call}\n")["f"]
    makes: list[Any] = [lambda: (np.array(1.5),), lambda: (np.float32(1.5),), lambda: (1,), lambda: (True,)]
    hold(f, *makes, message=False, twice=False)


def test_squeezing_nothing_gives_the_array_itself() -> None:
    for text in ("np.squeeze(a, ())", "a.squeeze(())", "np.squeeze(a)"):
        hold(module(f"def f(a):\n    return {text}\n")["f"], lambda: (np.array(1.5),))
    hold(module("def f(a):\n    return np.squeeze(a, ()), np.squeeze(a, (0, 0))\n")["f"], lambda: (np.ones((1, 2)),))


def test_what_follows_a_failure_is_not_built() -> None:
    """A branch that always raises held the graph to types that no array has."""
    text = """
def f(a, k):
    if k > 0:
        return np.zeros((-1, 2)).reshape(3, -1).sum(axis=7)
    if k < 0:
        x = np.swapaxes(a, 5, 7)
        return np.stack([x, a, np.eye(-3)]).mean()
    return a.sum()
"""
    hold(module(text)["f"], *(lambda k=k: (np.ones(3), k) for k in (0, 1, -1)))
    loop = """
def f(a, k):
    s = 0.0
    for i in range(k):
        if i > 2:
            s += a[0, 0]
        s += a[i]
    return s
"""
    hold(module(loop)["f"], *(lambda k=k: (np.ones(5), k) for k in (0, 3, 5)))


X = np.arange(6.0).reshape(2, 3)
NO_INTEGERS = [
    "np.sum(a, keepdims={})", "np.max(a, keepdims={})", "np.any(a, 1, keepdims={})", "np.mean(a, keepdims={})",
    "np.argmax(a, 0, keepdims={})", "np.count_nonzero(a, keepdims={})", "np.array(a, ndmin={})", "np.round(a, {})",
    "np.eye(2, k={})", "np.diff(a, n={})",
]  # fmt: skip
NO_AXES = [
    "np.cumsum(a, {})", "np.argsort(a, {})", "np.sort(a, {})", "np.repeat(a, 2, {})", "np.concatenate([a, a], {})",
    "np.squeeze(a, {})", "np.transpose(a, {})", "np.stack([a, a], {})", "np.flip(a, {})", "np.size(a, {})",
    "np.swapaxes(a, 0, {})",
]  # fmt: skip


@pytest.mark.parametrize("call", NO_INTEGERS)
def test_what_is_no_integer_is_not_taken_for_one(call: str) -> None:
    """np.round(x, 1.5) rounded to one and a half decimals, and keepdims="a" kept the axes."""
    for value in ("1.5", "None", "'a'", "True", "np.int8(1)"):
        if value != "None" or "keepdims" in call:
            hold(module(f"def f(a):\n    return {call.format(value)}\n")["f"], lambda: (X,), message=False, twice=False)


@pytest.mark.parametrize("call", NO_AXES)
def test_what_is_taken_for_an_axis(call: str) -> None:
    """Some functions take a bool, some a list, and some neither."""
    for value in ("True", "[0]", "(0,)", "1.5", "-7"):
        if call != "np.size(a, {})" or value not in ("True", "[0]"):
            f = module(f"def f(a):\n    return {call.format(value)}\n")["f"]
            try:
                hold(f, lambda: (X,), message=False, twice=False)
            except tj.CompileError:
                assert value in ("[0]", "(0,)")


def test_masks_that_are_none_and_outputs_that_are_too_many() -> None:
    for text in ("np.sum(a, where=m)", "np.max(a, where=m, initial=0)", "np.mean(a, where=m)"):
        f = module(f"def f(a, m):\n    return {text}\n")["f"]
        hold(f, lambda: (X, np.array([1, 0, 1])), lambda: (X, np.array(1)), lambda: (X, np.array([True, False, True])), twice=False)
    for out in ("()", "(a, a)", "(a,)"):
        hold(module(f"def f(a):\n    return np.add(a, 1, out={out})\n")["f"], lambda: (X.copy(),), message=False, twice=False)


def test_any_negative_size_is_the_unknown_one() -> None:
    for text in ("a.reshape(-7)", "np.reshape(a, (3, -2))", "a.reshape(-7, -2)"):
        hold(module(f"def f(a):\n    return {text}\n")["f"], lambda: (X,))


def test_methods_of_strings_that_raise() -> None:
    for text in (
        "'abc'.index('z')",
        "'abc'.any()",
        "'abc'.upper(1)",
        "'{}'.format()",
        "isinstance(a, 'x')",
        "isinstance(a, (int, 3))",
    ):
        hold(module(f"def f(a):\n    return {text}\n")["f"], lambda: (X,), message=False)
