"""Python's own operators and the math module: results and exceptions are Python's."""

from __future__ import annotations

import math
import operator
from typing import Any

import pytest

from tensorjit.ops import OPS
from tensorjit.ops.abstract import Static, SymInt
from tensorjit.ops.python_scalars import PYTHON

INTEGERS = [0, 1, -1, 2, 3, -7, 62, 2**31, -(2**62)]
FLOATS = [0.0, -0.0, 1.0, -1.0, 2.5, -3.5, 1e308, math.inf, -math.inf, math.nan]
NUMBERS: list[Any] = [True, False, *INTEGERS, *FLOATS, 1 + 2j]
BINARY = [
    "py_add", "py_sub", "py_mul", "py_truediv", "py_floordiv", "py_mod", "py_lshift", "py_rshift", "py_and", "py_or",
    "py_xor", "py_lt", "py_le", "py_gt", "py_ge", "py_eq", "py_ne",
]  # fmt: skip


def fits(x: Any) -> bool:
    return type(x) is not int or -(2**63) <= x < 2**63


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, check: Any) -> None:
    for x in NUMBERS:
        for y in NUMBERS:
            if name == "py_lshift" and type(y) is int and y > 100:
                continue
            check(name, overflowing(PYTHON[name]), x, y, message=False)
            if type(y) is not complex:
                check(lambda b, p, y=y: b.call(name, p, Static(y)), lambda p, y=y: overflowing(PYTHON[name])(p, y), x, message=False)


def overflowing(function: Any) -> Any:
    """Python's function, with OverflowError where an int leaves 64 bits."""

    def run(*args: Any) -> Any:
        result = function(*args)
        if not fits(result):
            raise OverflowError
        return result

    return run


def test_power(check: Any) -> None:
    for x in [*INTEGERS, *FLOATS]:
        for y in (0, 1, 2, 3, 5, 0.5, 2.0, -1.0):
            if x < 0 and y == 0.5:
                continue
            check("py_pow", overflowing(operator.pow), x, y, message=False)
        check(lambda b, p: b.call("py_pow", p, Static(-2)), lambda p: p**-2, x)


@pytest.mark.parametrize("name", ["py_neg", "py_pos", "py_abs", "py_invert", "py_not"])
def test_unary(name: str, check: Any) -> None:
    for x in NUMBERS:
        check(name, PYTHON[name], x)


def test_conversions(check: Any) -> None:
    for x in NUMBERS:
        check("py_int", overflowing(int), x, message=False)
        check("py_float", float, x)
        check("py_bool", bool, x)
        check("py_complex", complex, x)
        check("py_round", overflowing(round), x, message=False)
        if not isinstance(x, bool):
            check(lambda b, p: b.call("py_round", p, Static(1)), lambda p: round(p, 1), x)
    for x in ("float32", "int8", "uint64", "bool", "float16"):
        import numpy as np  # noqa: PLC0415

        for rule, function in (("py_int", int), ("py_float", float), ("py_bool", bool)):
            check(rule, function, np.dtype(x).type(1))


def test_min_max_divmod(check: Any) -> None:
    for name, function in (("py_min", min), ("py_max", max)):
        for values in ((1, 2), (2, 1), (-0.0, 0.0), (math.nan, 1.0), (1.0, math.nan), (3, 1, 2)):
            check(name, function, *values)
    check("py_divmod", divmod, 7, -2)
    check("py_divmod", divmod, 7.5, -2.0)
    check("py_divmod", divmod, 7, 0)


def test_sizes_stay_symbolic(check: Any) -> None:
    """n + 1 - n is 1, and n // 2 is no op."""
    import numpy as np  # noqa: PLC0415

    def rule(b: Any, x: Any) -> Any:
        n = SymInt(x.type.shape[0])
        one = b.call("py_sub", b.call("py_add", n, Static(1)), n)
        assert isinstance(one, Static)
        assert one.value == 1
        assert b.call("py_ge", n, Static(0)).value is True
        return b.call("py_floordiv", n, Static(2))

    check(rule, lambda x: len(x) // 2, np.zeros(7))


MATH = [row for row in OPS.values() if row.name.startswith("math_")]


@pytest.mark.parametrize("row", MATH, ids=lambda r: r.name)
def test_math(row: Any, check: Any) -> None:
    function = getattr(math, row.name[5:])
    numbers = [*FLOATS, 0.5, 0.25, 170.5, 172.0, 3, True]
    two = row.name[5:] in ("atan2", "pow", "copysign", "fmod", "hypot", "remainder", "nextafter")
    for x in numbers:
        for y in numbers if two else [None]:
            args = (x,) if y is None else (x, y)
            check(row.name, overflowing(function), *args, message=False)
            check(
                lambda b, args=args: b.call(row.name, *map(Static, args)),
                lambda args=args: overflowing(function)(*args),
                message=False,
            )
