"""Where NumPy gives a number and where an array; which numbers give way; what it takes that is neither."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS, hold
from tests.system.test_like_numpy import module

X = np.arange(6.0).reshape(2, 3)


def function(expression: str, names: str = "a") -> Any:
    return module(f"def f({names}):\n    return {expression}\n")["f"]


@pytest.mark.parametrize("dtype", "bHiLl")
def test_an_index_of_rank_0_selects_as_a_number(dtype: str) -> None:
    """x[np.array(0)] was an array; NumPy copies what is no element."""
    i = np.array(1, dtype)
    hold(function("a[i]", "a, i"), lambda: (X[0].copy(), i), lambda: (X.copy(), i), lambda: (X.T, i), lambda: (X.copy(), (i, i)))
    hold(function("a[i, :2], a[..., i], a[i, None], a[:, i], a[i][1:]", "a, i"), lambda: (X.copy(), i))
    hold(function("a[i]", "a, i"), lambda: (X.copy(), np.array(7, dtype)))


def test_bounds_and_sizes_of_rank_0() -> None:
    """A slice up to np.array(2) was a TypeError, which it is in none of these."""
    n, k = np.array(2), np.array(-1, np.int8)
    hold(function("a[n:], a[:n], a[k:], a[::k], a[:, n:0:k], a[n - 1 : n]", "a, n, k"), lambda: (X, n, k))
    hold(
        function("np.zeros(n), np.ones((n, 3)), np.reshape(a, (n, 3)), np.tile(a, n), np.repeat(a, n), np.eye(n)", "a, n"),
        lambda: (X, n),
    )
    hold(module("def f(a, n, k):\n    a[:n, ::k] += a[n - 2 :, ::k]\n    return a\n")["f"], lambda: (X.copy(), n, k))
    for bad in (np.array(1.0), np.array([1])):
        hold(function("a[n:]", "a, n"), lambda: (X, bad), message=False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_keys_of_several_parts_with_an_array_are_refused(backend: Any) -> None:
    f = tj.script(function("a[i]", "a, i"), backend=backend)
    for key in ((slice(None), np.array([0, 1])), (..., [0]), (np.array([0]), 1), (slice(0, 1), slice(0, 1), True)):
        with pytest.raises(tj.CompileError, match="an index of several parts with an array among them"):
            f(X, key)


def test_stores_by_an_index_of_rank_0() -> None:
    text = "def f(a, i, v):\n    a[i] = v\n    a[i] += v\n    a[i, 1] -= v\n    return a\n"
    hold(module(text)["f"], lambda: (X.copy(), np.array(1), 3), lambda: (X.copy(), np.array(-1, np.int8), 2.5))
    loop = "def f(a, k):\n    for i in range(k):\n        a[np.array(i)] *= i\n    return a[np.array(k - 1)]\n"
    hold(module(loop)["f"], lambda: (X.copy(), 2), lambda: (X[0].copy(), 3))


def test_flip_of_rank_0_is_a_number() -> None:
    hold(function("np.flip(a), np.flip(a, ())"), *(lambda a=a: (a,) for a in (np.array(3), 2.5, np.float32(1), True)))
    hold(function("np.flip(a, 0)"), lambda: (np.array(3),))


def test_diff_of_order_0_is_what_is_given() -> None:
    hold(function("np.diff(a, n=0)"), *(lambda a=a: (a,) for a in (2, np.array(2), X, (X, X))))
    hold(module("def f():\n    return np.diff([1, 2, 4], n=0)\n")["f"], lambda: ())
    hold(function("np.diff(a, n=-1)"), lambda: (X,), lambda: (2,))


@pytest.mark.parametrize("axis", ["()", "(0, 1)", "(1,)", "(0, -2)", "0", "-1", "2", "None"])
def test_size_along_axes(axis: str) -> None:
    hold(function(f"np.size(a, {axis})"), lambda: (X,), lambda: ([[1, 2]],), message=False)


@pytest.mark.parametrize("call", ["np.dot(x, a)", "np.dot(a, x)", "np.inner(x, a)", "x.dot(a)"])
def test_numbers_do_not_give_way_in_products(call: str) -> None:
    """np.dot of float32 and 2 is float64: the number is an array of int64 there."""
    f = function(call, "x, a")
    hold(
        f,
        *(
            lambda x=x, a=a: (x, a)
            for x in (np.array([1, 2], np.float32), np.array([1, 2], np.int8))
            for a in (2, 2.5, True, 1j, np.float32(2))
        ),
    )
    hold(function("np.dot(a, 3), np.inner(a, 3.5)"), lambda: (2,), lambda: (True,))


@pytest.mark.parametrize("make", ["np.array", "np.asarray"])
@pytest.mark.parametrize("copy", ["True", "False", "None", "0", "2", "'always'", "''"])
def test_the_copy_keyword(make: str, copy: str) -> None:
    """Words were taken as True, and copy=False copied lists and numbers."""
    f = function(f"{make}(a, copy={copy})")
    hold(f, *(lambda a=a: (a,) for a in (X, [1, 2], 3, [X, X], np.float32(1))))
    if copy not in ("False", "0"):
        hold(function(f"np.reshape(a, (3, 2), copy={copy})"), lambda: (X,))


def test_integers_of_more_than_63_bits_in_arrays() -> None:
    text = "np.array(2**63), np.array([2**63, 2**64 - 1]), np.arange(2**63, 2**63 + 3, dtype='u8')"
    hold(module(f"def f():\n    return {text}\n")["f"], lambda: ())


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_refused_and_was_an_error_of_the_compiler(backend: Any) -> None:
    for text in ("np.arange(2**64)", "np.arange(0, 2**64, 2**63)", "np.array(2**64)", "np.arange(-(2**63) - 1, 0)"):
        with pytest.raises(tj.CompileError, match="does not fit 64 bits"):
            tj.script(module(f"def f():\n    return {text}\n")["f"], backend=backend)()
    record = np.zeros(1, [("a", "f8")])[0]
    for value in (record, np.zeros(1, [("a", "f8")]).view(np.recarray)[0]):
        with pytest.raises(tj.CompileError, match="a record"):
            tj.script(function("a['a'] + 1"), backend=backend)(value)
        for text in ("R['a'] + 1", "R.a + 1", "R"):
            captured = module(f"def f():\n    return {text}\n")
            captured["R"] = value
            with pytest.raises(tj.CompileError):
                tj.script(captured["f"], backend=backend)()


@pytest.mark.parametrize("shape", ["(3037000500, 3037000500)", "2**64", "(2**40, 2**40, 0)", "(0, 2**62, 2**62)", "(2, -1)", "-1"])
def test_shapes_that_no_array_has(shape: str) -> None:
    """They were errors of the compiler's verifier."""
    for make in ("np.zeros({})", "np.full({}, 2)", "np.broadcast_to(1.5, {})"):
        hold(module(f"def f():\n    return {make.format(shape)}.size\n")["f"], lambda: (), message=False, twice=False)


def test_eye_of_a_negative_size() -> None:
    for text in ("np.eye(-1)", "np.eye(2, -1)", "np.identity(-2)"):
        hold(module(f"def f():\n    return {text}\n")["f"], lambda: ())
    hold(function("np.eye(a)"), lambda: (-1,), lambda: (2,))


def test_broadcast_to_a_negative_size() -> None:
    for shape in ("-1", "(-1,)", "(2, -1)", "(-2, 3)"):
        hold(function(f"np.broadcast_to(a, {shape})"), lambda: (X[0],), lambda: (1.0,))
    hold(function("np.broadcast_to(a, n)", "a, n"), lambda: (1.0, -2), lambda: (1.0, 2))
