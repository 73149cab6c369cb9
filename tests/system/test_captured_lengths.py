"""Captured arrays that are as long as others in the first call: taken to be so, and noticed when they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.ir.dims import symbol
from tensorjit.passes.specialise.lengths import KnownLengths
from tests.system.harness import BACKENDS, compare, observe

RNG = np.random.default_rng(5)
W: Any = None
B: Any = None
G: Any = None


@pytest.fixture(autouse=True)
def _layer() -> Iterator[None]:
    bind(3, 4)
    yield


def bind(*shape: int, b: int | None = None) -> None:
    global W, B, G
    W, B = batch(*shape), batch(shape[-1] if b is None else b)
    G = B + 1


def layer(x: Any) -> Any:
    h = x @ W
    return np.tanh((h - h.max(axis=-1, keepdims=True)) * G + B)


def affine(x: Any) -> Any:
    return np.maximum(x @ W + B, 0) * G


def bias(x: Any) -> Any:
    return x + B


def product(x: Any) -> Any:
    return x * W + W * 2


def own(x: Any) -> Any:
    return (B * G).sum() + x


def batch(*shape: int) -> Any:
    return RNG.integers(-8, 8, shape) / 8.0  # sums of them are exact


def makers(function: Callable[..., Any], example: Any) -> Iterator[Any]:
    """Scripted on each backend, and traced."""
    for backend in BACKENDS:
        yield tj.script(function, backend=backend)
        yield tj.trace(function, example, backend=backend)


def held(compiled: Any, function: Callable[..., Any], *args: Any) -> None:
    text = compare(observe(compiled, args), observe(function, args), ulp=4)
    assert not text, text


def kernels(compiled: Any, *args: Any) -> str:
    text: str = compiled.explain(*args)
    return next(line.strip() for line in text.splitlines() if "kernel" in line)


def checks(compiled: Any, *args: Any) -> int:
    count: int = compiled.lower(*args).as_text("lowered").count("check(")
    return count


@pytest.mark.parametrize(("function", "shape"), [(affine, (5, 3)), (bias, (5, 4)), (product, (3, 4)), (own, (2,))])
def test_nothing_is_left_to_be_checked_at_run_time(function: Callable[..., Any], shape: tuple[int, ...]) -> None:
    x = batch(*shape)
    for compiled in (tj.script(function), tj.trace(function, x)):
        held(compiled, function, x)
        assert checks(compiled, x) == 0


def test_a_layer_is_one_kernel_after_its_product() -> None:
    x = batch(5, 3)
    assert kernels(tj.trace(layer, x), x) == "1 kernel"


def test_a_bound_array_of_another_length_is_noticed() -> None:
    x = batch(5, 3)
    for compiled in makers(layer, x):
        held(compiled, layer, x)
        for change in ((3, 6), (3, 3), (3, 4)):
            bind(*change)
            held(compiled, layer, x)
            held(compiled, layer, x)
        bind(3, 4, b=5)
        held(compiled, layer, x)  # ValueError, as NumPy's
        held(compiled, layer, x)
        bind(2, 4)
        held(compiled, layer, x)
        bind(3, 4)


def test_lengths_that_were_equal_by_chance() -> None:
    """The batch is as long as the bias: one more version serves all other batches."""
    bind(4, 5)
    compiled = tj.script(layer, cache_size=64)  # its own, not the function's
    for n in (5, 6, 5, 7, 8, 1, 5):
        held(compiled, layer, batch(n, 4))
    assert compiled.cache_info().misses == 3  # one for the length of 1


def test_new_arrays_of_new_equal_lengths_are_served() -> None:
    compiled = tj.script(layer, cache_size=64)
    held(compiled, layer, batch(5, 3))
    for shape in ((7, 9), (2, 6), (11, 3), (6, 4)):
        bind(*shape)
        held(compiled, layer, batch(5, shape[0]))
    assert compiled.cache_info().misses == 1


def test_a_length_of_one_is_not_assumed() -> None:
    bind(4, 1)
    x, one = batch(5, 4), batch(1, 4)
    for compiled in makers(bias, x):
        for y in (x, one, batch(1, 1), batch(1)):
            held(compiled, bias, y)
        bind(4, 4)
        for y in (x, one, batch(1, 1), batch(1)):
            held(compiled, bias, y)
        bind(4, 1)


def test_an_argument_of_another_length_is_noticed() -> None:
    for compiled in makers(bias, batch(5, 4)):
        for shape in ((5, 4), (5, 1), (5, 3), (4,), (3,), (1,), (), (2, 5, 4), (4, 4)):
            held(compiled, bias, batch(*shape))
            held(compiled, bias, batch(*shape))


def test_squares() -> None:
    bind(4, 4)
    for compiled in makers(product, batch(4, 4)):
        for shape in ((4, 4), (4,), (1, 4), (4, 1), (3, 4), (2, 4, 4)):
            held(compiled, product, batch(*shape))
        bind(5, 4)
        for shape in ((5, 4), (4, 4), (4,), (1, 4), (5, 1)):
            held(compiled, product, batch(*shape))
        bind(4, 4)


def test_an_array_that_is_captured_twice_and_passed() -> None:
    global G
    G = B

    def f(x: Any, y: Any) -> Any:
        y[1:] = x[:-1] + G[1:]
        return y * B + G

    def arguments(kind: int) -> tuple[Any, Any]:
        return B if kind & 1 else B.copy(), B if kind & 2 else B.copy()

    for backend in BACKENDS:
        compiled = tj.script(f, backend=backend)
        for _ in range(3):
            for kind in range(4):
                start = B.copy()
                wanted = observe(f, arguments(kind))
                B[:] = start
                found = observe(compiled, arguments(kind))
                text = compare(found, wanted)
                B[:] = start
                assert not text, text


def test_captured_arrays_that_are_written() -> None:
    def f(x: Any) -> Any:
        B[:] = B * G + x
        G[1:] += B[:-1]
        return W @ B

    for backend in BACKENDS:
        bind(3, 4)
        compiled = tj.script(f, backend=backend)
        for shape in ((3, 4), (3, 4), (4, 4), (2, 5), (3, 4)):
            bind(*shape)
            x = batch(shape[1])
            start = B.copy(), G.copy()
            wanted = observe(f, (x,)), B.copy(), G.copy()
            B[:], G[:] = start
            text = compare(observe(compiled, (x,)), wanted[0], ulp=4)
            assert not text, text
            np.testing.assert_array_equal(B, wanted[1])
            np.testing.assert_array_equal(G, wanted[2])


def test_lengths_known_while_compiling() -> None:
    compiled = tj.script(layer, dynamic=False)
    for shape in ((3, 4), (3, 5), (3, 3), (3, 1), (3, 4)):
        bind(*shape)
        for n in (4, 5, 1):
            held(compiled, layer, batch(n, 3))


def test_keywords_and_lists_keep_their_places() -> None:
    def f(x: Any, *, pair: Any, y: Any) -> Any:
        return x * pair[0] + pair[1][0] * y + B

    for backend in BACKENDS:
        compiled = tj.script(f, backend=backend)
        for n in (4, 4, 3, 1):
            args, y = (batch(n),), batch(4)
            for kwargs in ({"y": y, "pair": (2.0, [batch(4)])}, {"pair": (2.0, [batch(4)]), "y": batch(4)}):
                text = compare(observe(compiled, args, kwargs), observe(f, args, kwargs))
                assert not text, text


def test_a_default_that_is_a_tuple_does_not_move_the_arrays_after_it() -> None:
    """It was counted by its items here and as one there: KeyError, or equal lengths of the wrong arrays."""

    def f(x: Any, pair: Any = (1.0, 2.0), y: Any = None, z: Any = None) -> Any:
        return x + y * pair[1] + z

    for backend in BACKENDS:
        compiled = tj.script(f, backend=backend)
        for n in (3, 3, 1):
            args, kwargs = (batch(3),), {"z": batch(3), "y": batch(n)}
            text = compare(observe(compiled, args, kwargs), observe(f, args, kwargs))
            assert not text, text


def test_each_dimension_has_that_of_its_shape_or_the_last_of_its_length() -> None:
    known = KnownLengths()
    n, m = symbol("n"), symbol("m")
    known.add(0, (5, 5), (n, m))
    assert known.assume(1, (5, 5), "a") == (n, m)
    assert known.assume(2, (5, 1), "b") == (m, 1)
    c = known.assume(3, (7, 7), "c")
    assert c[0] == c[1] == known.assume(4, (7,), "d")[0]
    assert known.symbols == {"c3_0": (3, 0)}
    assert known.equal == [((0, 0), (1, 0)), ((0, 1), (1, 1)), ((0, 1), (2, 0)), ((3, 0), (3, 1)), ((3, 0), (4, 0))]
