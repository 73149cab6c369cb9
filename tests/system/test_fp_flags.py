"""Every ufunc of floats raises the flags that NumPy's raises, wherever in an array the special value is.

A few calls of each in the suite; `TENSORJIT_CAMPAIGN=1 pytest tests/system/test_fp_flags.py` makes 300 of each, for every dtype
and target.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.ops import OPS

CAMPAIGN = "TENSORJIT_CAMPAIGN" in os.environ
CALLS = 300 if CAMPAIGN else 25
DTYPES = ["f2", "f4", "f8", "c8", "c16"]
TARGETS = ["host", "x86-64-v3"] if CAMPAIGN else ["host"]
UFUNCS = [row.ufunc for row in OPS.values() if row.ufunc is not None]
# every second ufunc in f4, the others in f8
CASES = [(u, d) for k, u in enumerate(UFUNCS) for d in (DTYPES if CAMPAIGN else DTYPES[1 + k % 2 : 2 + k % 2])]


def specials(dtype: np.dtype[Any]) -> Any:
    info = np.finfo(dtype)
    largest, root = float(info.max), float(info.max) ** 0.5
    values = [
        0.0, np.inf, np.nan, largest, largest / 2, root, root * 1.1, float(info.tiny), float(info.smallest_subnormal), 0.5, 1.0,
        1 + float(info.eps), 1 - float(info.eps), 1.5, 2, 3, 11.08, 11.1, 15.9, 16, 17, 20, 88.8, 89, 104, 127.9, 128, 150, 709.7,
        710.5, 746, 1024, 1075, 1e-10, 1e-5, 1e5, 65504, 1e10,
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        return np.array([*values, *(-v for v in values)]).astype(dtype)


def flags(function: Callable[..., Any], *args: Any) -> set[str]:
    """The kinds that a call reports, underflow left out: NumPy's loops differ among themselves in it."""
    seen: set[str] = set()
    with np.errstate(all="call", under="ignore", call=lambda kind, flag: seen.add(kind)):
        function(*args)
    return seen


def operand(ufunc: np.ufunc, dtype: np.dtype[Any], count: int, rng: np.random.Generator) -> Any:
    """Ordinary numbers, with up to three special ones in random places; now and then an array of one."""
    real = np.dtype(dtype.type(0).real.dtype)
    special = specials(real)
    low, high = (1.5, 3.0) if ufunc is np.arccosh else (0.6, 0.9)

    def part() -> Any:
        x = rng.uniform(low, high, count).astype(real)
        places = rng.choice(count, rng.integers(0, min(count, 3) + 1), replace=False)
        x[places] = rng.choice(special, len(places))
        return x

    x = part()
    if dtype.kind == "c":
        z = np.empty(count, dtype)
        z.real, z.imag = x, part()
        x = z
    return x[:1] if ufunc.nin == 2 and rng.random() < 0.2 else x


def is_known(ufunc: np.ufunc, args: tuple[Any, ...]) -> bool:
    """What NumPy's own builds differ in: overflow of an infinite power (docs/semantics.md)."""
    return ufunc in (np.power, np.float_power) and bool(np.isinf(args[1]).any())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("ufunc", "code"), CASES, ids=lambda p: p if isinstance(p, str) else p.__name__)
def test_flags(ufunc: np.ufunc, code: str, target: str) -> None:
    dtype = np.dtype(code)
    try:
        ufunc.resolve_dtypes((dtype,) * ufunc.nin + (None,) * ufunc.nout)
    except TypeError:
        pytest.skip("not of this dtype")
    rng = np.random.default_rng(11)
    ones = tuple(np.ones(3, dtype) for _ in range(ufunc.nin))
    with np.errstate(all="ignore"):
        program = (lambda x: ufunc(x)) if ufunc.nin == 1 else (lambda x, y: ufunc(x, y))
        compiled = tj.trace(program, ones, target=target)
    for _ in range(CALLS):
        count = int(rng.integers(1, 41))
        args = tuple(operand(ufunc, dtype, count, rng) for _ in range(ufunc.nin))
        if not is_known(ufunc, args):
            assert flags(compiled, *args) == flags(ufunc, *args), args
