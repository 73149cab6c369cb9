"""`dtype=`, `casting=` and `out=` of ufuncs, and of what NumPy computes by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.system.harness import hold
from tests.system.test_like_numpy import module

X = np.linspace(-3.2, 3.2, 5)


def function(expression: str, names: str) -> Any:
    return module(f"def f({names}):\n    return {expression}\n")["f"]


@pytest.mark.parametrize("dtype", ["np.int64", "np.int8", "np.float32", "np.uint8", "bool"])
@pytest.mark.parametrize("casting", ["unsafe", "safe", "no", "other"])
def test_operands_are_cast_as_the_rule_says(dtype: str, casting: str) -> None:
    """With casting="unsafe" and a dtype, floats were refused that NumPy truncates."""
    f = function(f"np.add(x, y, dtype={dtype}, casting='{casting}')", "x, y")
    hold(
        f,
        *(
            lambda x=x, y=y: (x, y)
            for x, y in ((X, 2.8), (1.5, 2.8), (np.int8(3), 1), (np.array([1.5], np.float32), X), (X > 0, X > 1))
        ),
    )
    hold(function(f"np.power(x, y, dtype={dtype}, casting='{casting}')", "x, y"), lambda: (1.5, 2.8), lambda: (np.arange(5), 2))


def test_a_casting_rule_without_a_dtype() -> None:
    for casting in ("no", "safe", "same_kind", "unsafe"):
        f = function(f"np.add(x, y, casting='{casting}')", "x, y")
        hold(f, lambda: (X, np.float32(1)), lambda: (np.int8(1), 2.5), lambda: (1, 2), lambda: (X, 1))


WIDER = [
    ("np.clip(x, -1, 2, out)", (5,), (2, 5)),
    ("np.clip(x, -1, 2, out)", (1,), (5,)),
    ("np.clip(x, -1, 2, out)", (2, 5), (5,)),
    ("np.clip(x, -1, 2, out)", (5,), (1,)),
    ("np.clip(x, np.zeros((2, 1)), 2, out)", (5,), (3, 2, 5)),
    ("np.clip(x, None, 2, out=out)", (5,), (2, 5)),
    ("x.clip(-1, 2, out)", (5,), (2, 5)),
    ("np.outer(x, x, out)", (5,), (2, 5, 5)),
    ("np.outer(x, x, out)", (5,), (5, 4)),
]


@pytest.mark.parametrize(("call", "shape", "out"), WIDER)
def test_an_output_wider_than_its_operands(call: str, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    """np.clip held its output to the shape of a reduction's."""
    f = function(call, "x, out")
    for dtype in ("d", "f", "i"):
        hold(f, lambda: (np.linspace(-3, 3, int(np.prod(shape))).reshape(shape), np.zeros(out, dtype)), message=False, twice=False)


@pytest.mark.parametrize(
    "bounds", ["a_max=2", "2", "2, 3, max=3", "max=3", "min=1", "2, None", "None, 3", "a_min=1, a_max=2", "1, min=2", ""]
)
def test_which_bounds_of_clip_are_given(bounds: str) -> None:
    """One of two by position was taken."""
    hold(function(f"np.clip(x, {bounds})", "x"), lambda: (np.arange(5),), twice=False)
    if "a_" not in bounds and bounds not in ("2, 3, max=3", "1, min=2"):  # those are refused: given twice
        hold(function(f"x.clip({bounds})", "x"), lambda: (np.arange(5),), message=False, twice=False)


@pytest.mark.parametrize("dtype", "bhiqBHILQ")
def test_ranges_of_integers(dtype: str) -> None:
    """Unsigned ones could not count down, and a start that does not fit wrapped: NumPy converts the first two numbers alone."""
    steps = (-1, -7, 1, 3)
    text = "".join(f"    if s == {s}:\n        return np.arange(a, b, {s}, dtype='{dtype}')\n" for s in steps)
    f = module(f"def f(a, b, s):\n{text}    return 0\n")["f"]
    ends = ((100, 50), (-3, 3), (0, 70000), (50, 100), (255, -300), (127, 130), (3, 3), (-1, 0))
    hold(f, *(lambda a=a, b=b, s=s: (a, b, s) for a, b in ends for s in steps), twice=False)
    for a, b, s in ((100, 50, -7), (-3, 3, 1), (0, 900, 300), (64512, 32767, -1), (-1, -2, 1)):
        hold(module(f"def f():\n    return np.arange({a}, {b}, {s}, dtype='{dtype}')\n")["f"], lambda: (), twice=False)


def test_ranges_of_known_ends_that_have_no_length() -> None:
    for text in ("0, np.inf", "0.0, 1e300", "0, np.nan", "0.0, 3.0, 1e-300", "np.inf, 0.0", "0.0, -1e300"):
        hold(module(f"def f():\n    return np.arange({text})\n")["f"], lambda: ())
