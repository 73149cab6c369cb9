"""Where a function is exactly zero, the compiled one is too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorjit as tj

ZERO_AT_ONE: tuple[Any, ...] = (np.log, np.log2, np.log10, np.arccosh)
ODD: tuple[Any, ...] = (
    np.log1p, np.expm1, np.sin, np.tan, np.sinh, np.tanh, np.arctan, np.arcsin, np.arcsinh, np.arctanh, np.cbrt
)  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_logarithms_of_one_are_zero(dtype: Any) -> None:
    """A term that keeps squares from underflowing once made log(1) -3e-61."""
    for function in ZERO_AT_ONE:
        assert (tj.trace(function, np.ones(3, dtype))(np.ones(19, dtype)) == 0).all(), function


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_odd_functions_keep_the_sign_of_zero(dtype: Any) -> None:
    zeros = np.array([0.0, -0.0] * 9, dtype)
    for function in ODD:
        found = tj.trace(function, zeros)(zeros)
        assert (found == 0).all() and (np.signbit(found) == np.signbit(zeros)).all(), function
