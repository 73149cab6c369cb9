"""Programs and arguments of great size compile, or are refused with a limit: no RecursionError, no compiling for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.frontend.tracing import recorder
from tensorjit.passes.specialise import state
from tests.system.harness import function_of, hold


def doubling(n: int) -> Callable[..., Any]:
    """Helpers that each call the next twice."""
    helpers = [f"def g{k}(x):\n    return g{k - 1}(x) + g{k - 1}(x)\n" for k in range(1, n)]
    return function_of("def g0(x):\n    return x + 1\n" + "".join(helpers) + f"def program(x):\n    return g{n - 1}(x)\n")


def nested(depth: int) -> Any:
    made: Any = 1.0
    for _ in range(depth):
        made = (made,)
    return made


def of(body: str) -> Callable[..., Any]:
    return function_of(f"def program(x):\n    {body}\n")


DEEP = "is nested too deeply"
REFUSED: dict[str, tuple[Callable[..., Any], Any, str]] = {
    "an argument of many numbers": (
        of("return x[0]"),
        tuple(range(3000)),
        "called with 3000 numbers and arrays\n  hint: pass an array",
    ),
    "an argument nested deeply": (of("return x"), nested(5000), f"program, or an argument of it, {DEEP}"),
    "a result of many numbers": (of("return (x,) * 10000"), 1.0, ":2:5: more than 1024 numbers and arrays are returned"),
    "a result that shares its items": (of("x = (x,)" + "\n    x = (x, x)" * 60), 1.0, "a tuple that holds more than 100000 values"),
    "a result nested deeply": (of("x = (x,)\n" + "    x = (x,)\n" * 800 + "    return x"), 1.0, "nested too deeply"),
    "an expression nested deeply": (of("return " + "-" * 900 + "x"), 1.0, DEEP),
    "many alternatives": (of("return " + "".join(f"{i} if x == {i} else " for i in range(400)) + "-1"), 1.0, DEEP),
    "more than 64 dimensions": (of("return x[" + "None, " * 70 + "].sum()"), np.ones(3), ":2:12: an array of 71 dimensions: NumPy"),
    "more than 64 dimensions made": (of("return np.zeros((1,) * 70) + x"), 1.0, ":2:12: an array of 70 dimensions: NumPy has 64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_too_large_is_refused(case: str) -> None:
    program, x, message = REFUSED[case]
    with pytest.raises(tj.CompileError) as caught:
        tj.script(program)(x)
    assert message in str(caught.value)


def test_helpers_that_double_are_refused_at_their_line(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(doubling(6), lambda: (np.ones(2),))
    monkeypatch.setattr(state, "MAX_STEPS", 20_000)
    with pytest.raises(tj.CompileError, match=r":4:\d+: this function is too large to compile") as caught:
        tj.script(doubling(40))(np.ones(2))
    assert len(caught.value.problems) == 1
    with pytest.warns(tj.FallbackWarning, match="too large"):
        assert tj.script(doubling(12), fallback="python")(1.0) == 4096.0


def test_loops_in_loops_that_are_unrolled_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_STEPS", 20_000)
    program = of("for a in T:\n        for b in T:\n            for c in T:\n                x += a * b * c\n    return x")
    program.__globals__["T"] = tuple(range(100))
    with pytest.raises(tj.CompileError, match=":5:17: this function is too large to compile"):
        tj.script(program)(1.0)


def test_a_captured_tuple_of_many_numbers_is_refused() -> None:
    program = of("return x + T[0]")
    program.__globals__["T"] = tuple(range(3000))
    with pytest.raises(tj.CompileError, match=r":2:16: 'T' is a captured tuple of more than 2048 constants"):
        tj.script(program)(1.0)


def test_a_trace_of_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_RECORDED", 1000)
    with pytest.raises(tj.CompileError, match="a function of more than 1000 operations, which cannot be traced"):
        tj.trace(doubling(12), (np.ones(2),))


@pytest.mark.parametrize("case", ["an argument of many numbers", "an argument nested deeply", "a result nested deeply"])
def test_what_is_too_large_is_refused_in_a_trace(case: str) -> None:
    program, x, message = REFUSED[case]
    with pytest.raises(tj.CompileError) as caught:
        tj.trace(program, (x,))(x)
    assert message in str(caught.value)


def alternatives(n: int) -> str:
    tests = "".join(f"{'el' if i else ''}if x == {i}:\n        y = {i}\n    " for i in range(n))
    return tests + "else:\n        y = -1\n    return y"


def loops(n: int) -> str:
    heads = "".join("    " * (i + 1) + f"for i{i} in range(x):\n" for i in range(n))
    return f"s = 0\n{heads}{'    ' * (n + 1)}s = s + 1\n    return s"


LARGE: dict[str, tuple[str, Any]] = {
    "terms": ("return " + " + ".join(["x"] * 500), np.ones(3)),
    "statements": ("x = x + 1\n" + "    x = x + 1\n" * 600 + "    return x", np.ones(3)),
    "stores": ("x[0] = 1\n" + "".join(f"    x[{i % 3}] = {i}\n" for i in range(300)) + "    return x", np.ones(3)),
    "parentheses": ("return " + "(" * 180 + "x" + " + 1)" * 180, np.ones(3)),
    "numbers in a tuple": ("s = 0.0\n    for v in x:\n        s += v\n    return s", tuple(map(float, range(300)))),
    "nested tuples": ("return x", nested(150)),
    "alternatives": (alternatives(80), 7),
    "loops in loops": (loops(12), 1),
}


@pytest.mark.parametrize("case", LARGE)
def test_what_is_large_compiles(case: str) -> None:
    body, x = LARGE[case]
    hold(of(body), lambda: (x.copy() if isinstance(x, np.ndarray) else x,), twice=False)
