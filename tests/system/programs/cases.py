"""The list that programs are added to, and the arrays that they are called with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Make = Callable[[], tuple[Any, ...]]
CASES: list[tuple[Callable[..., Any], tuple[Make, ...], dict[str, Any]]] = []


def case(*makes: Make, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a program, with the calls to make of it and the options of `harness.hold`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((function, makes, options))
        return function

    return add


def r(*shape: int, dtype: Any = np.float64, low: float = -2.0, step: float = 0.5) -> Any:
    """Numbers in order."""
    return (np.arange(math.prod(shape)).reshape(shape) * step + low).astype(dtype)


def i(*shape: int, dtype: Any = np.int64, low: int = -3) -> Any:
    """Numbers in order."""
    return (np.arange(math.prod(shape)).reshape(shape) + low).astype(dtype)
