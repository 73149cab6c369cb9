"""Every pair of dtypes and Python scalars through every binary ufunc: dtype, values and exceptions as NumPy's."""

from __future__ import annotations

import copy
import itertools
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import difference, public

DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]
PYTHON: list[Any] = [True, 3, -3, 300, 2**40, -(2**40), 0.5, 1e300, 2j]
LOOSE = {"**": 2, "**=": 2, "float_power": 2, "arctan2": 2, "hypot": 2, "logaddexp": 4}
COMPLEX_ULP = 8  # where NumPy's own arrays and scalars differ
MAX_RAISING = 4
# NumPy resolves the loops of them all alike: each pair of dtypes is met by some of them (TENSORJIT_TESTS=full tries all with all)
EVERY = 1 if os.environ.get("TENSORJIT_TESTS") == "full" else 7


def sample(dtype: str) -> Any:
    x = np.array([0, 1, 2, 3, 5, 7, 1])
    return (x % 2 == 1) if dtype == "?" else x.astype(dtype)


def second(dtype: str) -> Any:
    return np.roll(sample(dtype), 2)


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*copy.deepcopy(args))
        except Exception as error:
            return public(type(error)), str(error)


OPERATORS: dict[str, Callable[..., Any]] = {
    "+": lambda pairs: [x + y for x, y in pairs],
    "-": lambda pairs: [x - y for x, y in pairs],
    "*": lambda pairs: [x * y for x, y in pairs],
    "/": lambda pairs: [x / y for x, y in pairs],
    "//": lambda pairs: [x // y for x, y in pairs],
    "%": lambda pairs: [x % y for x, y in pairs],
    "**": lambda pairs: [x**y for x, y in pairs],
    "&": lambda pairs: [x & y for x, y in pairs],
    "|": lambda pairs: [x | y for x, y in pairs],
    "^": lambda pairs: [x ^ y for x, y in pairs],
    "<<": lambda pairs: [x << y for x, y in pairs],
    ">>": lambda pairs: [x >> y for x, y in pairs],
    "==": lambda pairs: [x == y for x, y in pairs],
    "<": lambda pairs: [x < y for x, y in pairs],
    ">=": lambda pairs: [x >= y for x, y in pairs],
}


def inplace_add(pairs: Any) -> Any:
    for x, y in pairs:
        x += y
    return [x for x, y in pairs]


def inplace_multiply(pairs: Any) -> Any:
    for x, y in pairs:
        x *= y
    return [x for x, y in pairs]


def inplace_divide(pairs: Any) -> Any:
    for x, y in pairs:
        x /= y
    return [x for x, y in pairs]


def inplace_power(pairs: Any) -> Any:
    for x, y in pairs:
        x **= y
    return [x for x, y in pairs]


def pairs() -> list[tuple[Any, Any]]:
    arrays = [(sample(x), second(y)) for x, y in itertools.product(DTYPES, DTYPES)]
    left = [(sample(d), p) for d in DTYPES for p in PYTHON]
    right = [(p, sample(d)) for d in DTYPES for p in PYTHON]
    return arrays + left + right


def scalar_pairs() -> list[tuple[Any, Any]]:
    mixed = [(sample(x)[3], second(y)) for x, y in itertools.product(DTYPES[::2], DTYPES[1::2])]
    scalars = [(sample(x)[3], second(y)[4]) for x, y in itertools.product(DTYPES[1::2], DTYPES[::2])]
    left = [(sample(d)[3], p) for d in DTYPES for p in PYTHON]
    return mixed + scalars + left + [(p, sample(d)[3]) for d in DTYPES for p in PYTHON]


def check(name: str, function: Callable[..., Any], cases: list[tuple[Any, Any]], batch_size: int = 50) -> None:
    """Hold a function of pairs to NumPy: what raises one by one, the rest in batches, since each batch is one compile."""
    f = tj.script(function, cache_size=2000)
    wanted = [outcome(function, (pair,)) for pair in cases]
    raising = [k for k, w in enumerate(wanted) if isinstance(w, tuple)]
    batches = [[k] for k in raising[:: max(1, len(raising) // MAX_RAISING)]]
    fine = [k for k, w in enumerate(wanted) if isinstance(w, list)]
    batches += [fine[k : k + batch_size] for k in range(0, len(fine), batch_size)]
    bad = []
    for batch in batches:
        try:
            found = outcome(f, tuple(cases[k] for k in batch))
        except tj.TensorJitError as error:
            bad.append(f"{name}: {error}")
            continue
        expected = [v for k in batch for v in wanted[k]] if isinstance(wanted[batch[0]], list) else wanted[batch[0]]
        if isinstance(found, tuple) or isinstance(expected, tuple):
            if found[:1] != expected[:1] or not alike_messages(found[1], expected[1]):
                bad.append(f"{name} of {[cases[k] for k in batch][:3]}: {found} where NumPy: {expected}")
            continue
        for k, one, other in zip(batch, found, expected, strict=True):
            x, y = cases[k]
            is_complex = any(np.asarray(v).dtype.kind == "c" for v in (x, y))
            ulp = max(LOOSE.get(name, 0), COMPLEX_ULP if is_complex else 0)
            if isinstance(other, complex) and type(x) is complex:
                continue  # complex.__add__ takes an np.float64 for a float, and gives a complex
            if text := difference(one, other, ulp):
                bad.append(f"{describe(x)} {name} {describe(y)}: {text}")
    assert not bad, f"{len(bad)} of {len(cases)}:\n" + "\n".join(bad[:25])


def alike_messages(found: str, wanted: str) -> bool:
    # scalars that have no such operator say so by themselves, arrays through the ufunc
    return found == wanted or ("not supported for the input types" in found and "unsupported operand" in wanted)


def describe(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else repr(x)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "fmod": lambda pairs: [np.fmod(x, y) for x, y in pairs],
    "maximum": lambda pairs: [np.maximum(x, y) for x, y in pairs],
    "minimum": lambda pairs: [np.minimum(x, y) for x, y in pairs],
    "fmax": lambda pairs: [np.fmax(x, y) for x, y in pairs],
    "fmin": lambda pairs: [np.fmin(x, y) for x, y in pairs],
    "logical_and": lambda pairs: [np.logical_and(x, y) for x, y in pairs],
    "logical_xor": lambda pairs: [np.logical_xor(x, y) for x, y in pairs],
    "gcd": lambda pairs: [np.gcd(x, y) for x, y in pairs],
    "arctan2": lambda pairs: [np.arctan2(x, y) for x, y in pairs],
    "hypot": lambda pairs: [np.hypot(x, y) for x, y in pairs],
    "copysign": lambda pairs: [np.copysign(x, y) for x, y in pairs],
    "nextafter": lambda pairs: [np.nextafter(x, y) for x, y in pairs],
    "logaddexp": lambda pairs: [np.logaddexp(x, y) for x, y in pairs],
    "float_power": lambda pairs: [np.float_power(x, y) for x, y in pairs],
    "ldexp": lambda pairs: [np.ldexp(x, y) for x, y in pairs],
    "heaviside": lambda pairs: [np.heaviside(x, y) for x, y in pairs],
    "where": lambda pairs: [np.where(x == y, x, y) for x, y in pairs],
}
INPLACE = {"+=": inplace_add, "*=": inplace_multiply, "/=": inplace_divide, "**=": inplace_power}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str) -> None:
    check(name, OPERATORS[name], pairs()[:: 2 if name == "+" else EVERY])


@pytest.mark.parametrize("name", ["+", "/", "//", "**", "<", "&", "<<"])
def test_operators_of_scalars(name: str) -> None:
    check(name, OPERATORS[name], scalar_pairs()[:: 2 if name == "+" else EVERY])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    check(name, FUNCTIONS[name], pairs()[::EVERY])


@pytest.mark.parametrize("name", INPLACE)
def test_in_place(name: str) -> None:
    cases = [(x, y) for x, y in pairs() if isinstance(x, np.ndarray)]
    check(name, INPLACE[name], cases[:: 2 * EVERY], batch_size=6)  # each pair of arrays of which one is written is checked
