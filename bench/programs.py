"""Plain NumPy functions that the sections time; none of them knows of tensorjit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorjit.demo.programs import black_scholes

Array = NDArray[Any]

__all__ = [
    "add_one",
    "black_scholes",
    "chain",
    "chain_into",
    "fused_three",
    "jacobi",
    "layer_norm",
    "rms",
    "softmax",
    "standardise",
]


def add_one(x: Array) -> Array:
    """The cheapest call."""
    return x + 1.0


def fused_three(x: Array, y: Array, z: Array) -> Array:
    """Three arguments, two operations."""
    return x * y + z


def chain(a: float, x: Array, y: Array, z: Array, w: Array) -> Array:
    """A chain over four arrays, into a fresh result."""
    return a * x + y * z - w


def chain_into(out: Array, a: float, x: Array, y: Array, z: Array, w: Array) -> None:
    """The same into a given result."""
    out[:] = a * x + y * z - w


def softmax(x: Array) -> Array:
    """Softmax over rows."""
    shifted = np.exp(x - x.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    """Layer normalisation over rows."""
    mean = x.mean(axis=1, keepdims=True)
    centred = x - mean
    variance = (centred * centred).mean(axis=1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * scale + shift


def standardise(x: Array) -> Array:
    """Columns to mean 0 and deviation 1."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def rms(x: Array) -> Any:
    """One number of one array: a reduction with its producers."""
    return np.sqrt((x * x).mean())


def jacobi(grid: Array, steps: int) -> Array:
    """Relaxation steps of Laplace's equation; the rim is fixed."""
    u = grid * 1.0
    for _ in range(steps):
        u[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
    return u
