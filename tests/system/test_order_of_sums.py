"""Where NumPy takes floats one by one, so do we: what overflows on the way is the same."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import difference, hold

SHAPES = [(2, 3), (9, 5), (17, 20), (3, 40), (40, 1), (1, 9), (70, 33)]
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "F": np.asfortranarray,
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "strided": lambda x: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
}


def whole(x: Any) -> Any:
    return x.prod(), np.nanprod(x), np.prod(x * x)


def columns(x: Any) -> Any:
    return x.prod(axis=0), x.prod(axis=0, where=x > 0.5), x.prod(axis=0, keepdims=True)


def rows(x: Any) -> Any:
    return x.prod(axis=1), np.nanprod(x, axis=1), x.prod(axis=1, initial=3.5)


def scaled_by_rows(x: Any) -> Any:
    return x / x.prod(axis=1, keepdims=True)


def transposed(x: Any) -> Any:
    return x.T.prod(axis=0), x[::-1].prod(), x[:, ::-1].prod(axis=1), x.T.prod()


PRODUCTS = [whole, columns, rows, scaled_by_rows, transposed]


def summed_columns(x: Any) -> Any:
    return x.sum(axis=0), np.nansum(x, axis=0), x.sum(axis=0, where=x > 0), x.sum(axis=0, initial=2.0)


def summed_differences(x: Any) -> Any:
    return (x + x).sum(axis=0), x - x.sum(axis=0)


def summed_everywhere(x: Any) -> Any:
    return x.sum(), x.sum(axis=1), x.sum(where=x > 0), x.sum(axis=1, where=x < 2), x.mean(axis=0), x.var(axis=0)


def numbers(dtype: str, shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> Any:
    """Such that the order decides: near the largest number, or with factors that cancel."""
    real = np.dtype(dtype).type(0).real.dtype
    largest = float(np.finfo(real).max)

    def part() -> Any:
        if kind == "sums overflow":
            return rng.choice([0.7 * largest, -0.7 * largest, 0.4 * largest, 1, -1], shape)
        if kind == "products overflow":
            return rng.choice([largest**0.4, largest**-0.4, largest**0.3, largest**-0.45, -1, 2], shape)
        return rng.normal(1, 0.2, shape)

    found = part()
    return (found + 1j * part() if np.dtype(dtype).kind == "c" else found).astype(dtype)


KINDS = ["sums overflow", "products overflow", "ordinary"]


def made(dtype: str, layout: str, least: int = 1) -> list[Callable[[], tuple[Any, ...]]]:
    rng = np.random.default_rng(7)
    shapes = [s for s in SHAPES if min(s) >= least]
    arrays = [LAYOUTS[layout](numbers(dtype, shape, kind, rng)) for shape in shapes for kind in KINDS]
    return [functools.partial(tuple, [x]) for x in arrays]


@pytest.mark.parametrize(("dtype", "layout"), [("f2", "F"), ("f2", "strided"), ("f4", "F"), ("f8", "backwards")])
@pytest.mark.parametrize("function", PRODUCTS, ids=lambda f: f.__name__)
def test_products_are_numpys_to_the_bit(function: Callable[..., Any], dtype: str, layout: str) -> None:
    """np.prod of [1e200, 1e200, 1e-200, 1e-200] is infinite, of the same backwards 0."""
    with np.errstate(all="ignore"):
        hold(function, *made(dtype, layout), backends=["llvm"], twice=False)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
@pytest.mark.parametrize("function", [summed_columns, summed_differences], ids=lambda f: f.__name__)
def test_rows_are_summed_one_by_one(function: Callable[..., Any], dtype: str) -> None:
    with np.errstate(all="ignore"):
        hold(function, *made(dtype, "C", 2), backends=["llvm"], twice=False)


@pytest.mark.parametrize("layout", ["F", "strided"])
def test_halves_are_rounded_where_numpy_rounds_them(layout: str) -> None:
    """Rows one by one, what lies in a row once: 4096 ones side by side are 4096, one below the other 2048."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        hold(summed_everywhere, *made("f2", layout), backends=["llvm"], twice=False)
        hold(summed_columns, *made("f2", layout), backends=["llvm"], twice=False)
        ones = np.ones((4096, 3), np.float16)
        assert tj.script(summed_columns)(ones)[0].tolist() == [2048] * 3


def inner_and_outer(x: Any) -> Any:
    return x.sum(axis=(0, 2)), x.prod(axis=(0, 2)), x.sum(axis=(1, 2)), x.prod(axis=1), x.sum(axis=0), x.prod(axis=(0, 1))


@pytest.mark.parametrize("layout", ["C", "F"])
def test_halves_over_several_axes(layout: str) -> None:
    rng = np.random.default_rng(7)
    arrays = [numbers("f2", shape, kind, rng) for shape in ((3, 4, 5), (9, 2, 17), (4, 1, 9)) for kind in KINDS]
    with np.errstate(all="ignore"):
        hold(inner_and_outer, *(functools.partial(tuple, [LAYOUTS[layout](x)]) for x in arrays), twice=False)


def product_of_all(z: Any) -> Any:
    return z.prod(), z.prod(axis=1)


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_products_of_complex_numbers_overflow_where_numpys_do(dtype: str) -> None:
    with np.errstate(all="ignore"):
        hold(product_of_all, *made(dtype, "C"), backends=["llvm"], twice=False)


def from_start(x: Any, start: Any, mask: Any) -> Any:
    return x.sum(axis=0, initial=start), x.prod(initial=start), x.sum(initial=start), x.prod(axis=1, initial=start, where=mask)


@pytest.mark.parametrize("dtype", ["f2", "f4", "c8"])
def test_what_a_reduction_starts_from_comes_first(dtype: str) -> None:
    """Also where it is known at run time only."""
    x, mask = np.arange(12.0).reshape(3, 4).astype(dtype), np.arange(12).reshape(3, 4) % 3 > 0
    compiled = tj.script(from_start, cache_size=4)
    with np.errstate(all="ignore"):
        for start in (1.0, 0.0, 3e4, -1e-3):
            assert not difference(compiled(x, start, mask), from_start(x, start, mask))
