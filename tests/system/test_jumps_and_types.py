"""Loops that jump over what changes a type, and shifts through variables: in each turn the types are Python's."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.ir.dtypes import F64
from tensorjit.ir.graph import Value
from tensorjit.ir.types import PY_BOOL, PY_INT, ScalarType
from tensorjit.ops.abstract import OneOf
from tensorjit.ops.words import describe
from tests.system.harness import BACKENDS, Make, function_of, hold

# each combination is compiled for two dtypes on two backends (TENSORJIT_TESTS=full tries all of them)
EVERY = 1 if os.environ.get("TENSORJIT_TESTS") == "full" else 251

STARTS = ("0", "0.0", "True", "np.float32(0)", "np.int64(0)")
UPDATES = ("s += v", "s = v", "s = max(s, v)", "s = s * 2 + v", "s, t = t, v", "s, t, u = t, u, v", "t, s = s, t + v")
JUMPS = ("continue", "break", "return s, t, u", "return 1.0 / s", "pass")
LOOPS = (
    "for v in x:\n{body}",
    "for i in range(len(x)):\n        v = x[i]\n{body}",
    "i = 0\n    while i < len(x):\n        v = x[i]\n        i += 1\n{body}",
    "for row in (x, x[:1]):\n        for v in row:\n{nested}",
    "for j in range(2):\n        for v in x:\n{nested}\n        t = s",
)
BODIES = ("if v < 0:\n    {jump}\n{update}", "{update}\nif v < 0:\n    {jump}", "if v < 0:\n    {jump}\nelse:\n    {update}")
ENDS = ("", "    else:\n        u = v if len(x) else 1\n")

PROGRAM = """\
def program(x):
    s = {start}
    t = 0
    u = 0
    {loop}
{end}    return s, t, u, x.dtype.type(2) * s
"""
CASES = list(itertools.product(STARTS, UPDATES, JUMPS, LOOPS, BODIES, ENDS))
TURNS: tuple[list[int], ...] = ([], [-1], [2], [-1, -2], [3, -1], [-1, 3], [1, 2, 3], [-1, -1, 2, 5, -3, 4])


def indented(text: str, depth: int) -> str:
    return "\n".join("    " * depth + line for line in text.split("\n"))


def written(start: str, update: str, jump: str, loop: str, body: str, end: str) -> str:
    inside = body.format(jump=jump, update=update)
    return PROGRAM.format(start=start, loop=loop.format(body=indented(inside, 2), nested=indented(inside, 3)), end=end)


def calls(dtype: str) -> list[Make]:
    def of(values: list[int]) -> Make:
        return lambda: (np.array(values, dtype),)

    return [of(values) for values in TURNS]


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8"])
def test_what_a_jump_skips_does_not_change_a_type(dtype: str) -> None:
    cases = CASES[{"f8": 0, "f4": EVERY // 3, "i8": EVERY // 2}[dtype] :: EVERY]
    refused = 0
    for k, case in enumerate(cases):
        source = written(*case)
        try:
            hold(function_of(source), *calls(dtype), backends=BACKENDS if k % 4 == 0 else ("reference",), message=False, twice=False)
        except tj.CompileError:  # too many types: not wrong
            refused += 1
        except AssertionError as error:
            raise AssertionError(f"{source}{error}") from None
    assert refused <= len(cases) / 5


def a_sum_that_every_turn_skips(x: Any) -> Any:
    s: Any = 0
    for v in x:
        if v < 0:
            continue
        s += v
    return s, x.dtype.type(2) * s


def a_reciprocal_of_nothing(x: Any) -> Any:
    s: Any = 0
    for v in x:
        if v < 0:
            continue
        s += v
    return 1.0 / s


def a_maximum_that_every_turn_skips(x: Any) -> Any:
    most: Any = 0
    i = 0
    while i < len(x):
        i += 1
        if x[i - 1] < 0:
            continue
        most = max(most, x[i - 1])
    return most


def shifted(x: Any) -> Any:
    s: Any = 0
    t: Any = 0
    u = x.sum()
    for _ in x:
        s, t = t, u
    return s, t


def shifted_through_three(x: Any) -> Any:
    s: Any = 0
    t: Any = 0
    u: Any = 0
    for v in x:
        s, t, u = t, u, v
    return s, t, u


def returned_before_it_changes(x: Any) -> Any:
    s: Any = 0
    for v in x:
        if v < 0:
            return s
        s += v
    return s, 1


def stored_before_it_changes(x: Any) -> Any:
    s: Any = 300
    y = np.zeros(1, np.uint8)
    for v in x:
        y[0] = s
        s = v * 100
    return s, y


def nested_in_a_loop_that_skips(x: Any) -> Any:
    s: Any = 0
    for i in range(3):
        for v in x:
            if v < i:
                continue
            s += v
        if i == 1:
            continue
        s = s * 1
    return s


def found_by_none(x: Any) -> Any:
    for v in x:
        if v < 0:
            continue
        found = v
    return found


NAMED: tuple[Callable[..., Any], ...] = (
    a_sum_that_every_turn_skips, a_reciprocal_of_nothing, a_maximum_that_every_turn_skips, shifted, shifted_through_three,
    returned_before_it_changes, stored_before_it_changes, nested_in_a_loop_that_skips, found_by_none,
)  # fmt: skip


@pytest.mark.parametrize("program", NAMED, ids=lambda p: p.__name__)
def test_where_every_turn_skips_it_or_there_is_but_one(program: Callable[..., Any]) -> None:
    hold(program, *calls("f8"), *calls("f4"), *calls("i8"), message=False)


def test_a_number_of_several_types_is_described_in_a_refusal() -> None:
    a, b = Value(ScalarType(F64)), Value(PY_INT)
    which = Value(PY_BOOL), Value(PY_BOOL)
    assert describe(OneOf(which, (a, b))) == "a NumPy float64 or an int"
