"""`.code` runs, and does what the function does."""

from __future__ import annotations

import builtins
import linecache
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tensorjit.frontend.script import parse
from tensorjit.ir.graph import Builder, Graph, Value
from tensorjit.ir.python_code import python_code
from tests.frontend.corpus import CASES
from tests.frontend.test_script import from_text, outcome, same


def code_of(function: types.FunctionType) -> str:
    defaults = dict(function.__kwdefaults__ or {})
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    values = function.__defaults__ or ()
    defaults.update(zip(positional[len(positional) - len(values) :], values, strict=True))
    return python_code(parse(function).graph, defaults)


def rerun(function: types.FunctionType, code: str) -> Callable[..., Any]:
    names = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    free = {name: cell.cell_contents for name, cell in names}
    space = {"np": np, "numpy": np, "math": math, **function.__globals__, **free}
    before = set(space)
    exec(compile(code, "<code>", "exec"), space)
    (name,) = {code.split("(")[0].removeprefix("def ")} - (before - {function.__name__})
    return space[name]  # type: ignore[no-any-return]


CALLS = [pytest.param(f, args, id=f"{f.__name__}-{i}") for f, calls in CASES for i, args in enumerate(calls)]


@pytest.mark.parametrize(("function", "args"), CALLS)
def test_code_does_what_the_function_does(function: types.FunctionType, args: tuple[Any, ...]) -> None:
    code = code_of(function)
    expected, found = outcome(function, args), outcome(rerun(function, code), args)
    assert same(expected, found), (code, expected, found)


@pytest.mark.parametrize(("function", "args"), CALLS)
def test_code_is_stable(function: types.FunctionType, args: tuple[Any, ...]) -> None:
    """The code of the code still does the same."""
    code = code_of(function)
    again = rerun(function, code)
    linecache.cache["<code>"] = (len(code), None, code.splitlines(keepends=True), "<code>")
    assert isinstance(again, types.FunctionType)
    third = rerun(again, code_of(again))
    assert same(outcome(again, args), outcome(third, args)), code


@pytest.mark.parametrize(
    "text",
    [
        "def f(x, y):\n    return 2 * x + y\n",
        "def f(xs):\n    s = 0\n    for x in xs:\n        s = s + x\n    return s\n",
        "def f(n):\n    s = 0\n    while n > 0:\n        s += n\n        n -= 1\n    return s\n",
        "def f(n):\n    a = 0\n    b = 1\n    for i in range(n):\n        a, b = b, a + b\n    return a\n",
        "def f(x):\n    if x > 0:\n        return x\n    y = x * 2\n    return y\n",
        "def f(x):\n    if x > 0:\n        r = 1\n    elif x:\n        r = 2\n    else:\n        r = 3\n    g(r)\n",
        "def f(u, v):\n    u[1:-1, None, ::2] += 0.1 * (v - 2 * u[..., 0])\n    return u.sum(axis=0)\n",
        "def f(a, b):\n    return a and (b or -a ** 2) if not a == b else (a - (b - a)) ** -1\n",
        "def f(xs):\n    for i in range(10):\n        if xs[i] > 0:\n            break\n    return i\n",
        "def f(xs):\n    for x in xs:\n        if x < 0:\n            continue\n        g(x)\n",
        "def f(x):\n    h = lambda v, k=2: v * k + x\n    return h(x, k=3)\n",
        "def f(x, n):\n    def g(v, by=n):\n        w = v * by\n        return w + x\n    return g(x)\n",
        "def f(p, *args, key):\n    a, *b = args\n    return g(p, *b, key=(a, key))\n",
        "def f(n):\n    while True:\n        if n < 2:\n            return n\n        n = n // 2\n",
        "def f(x):\n    return (1).real + [*x, 1][0] + {'a': x}['a'] + (-1) ** x + -(1.5) * float('inf')\n",
        "def f(x):\n    old = x\n    x_2 = x + 1\n    return old, x_2\n",
    ],
)
def test_reads_as_it_was_written(text: str) -> None:
    found = python_code(parse(from_text(text)).graph)
    expected = text.replace("    old = x\n", "").replace("old, ", "x, ").replace("a ** 2", "a ** 2")
    expected = expected.replace("return old, x_2", "return (x, x_2)")
    assert normal(found) == normal(expected), found


def normal(text: str) -> str:
    """Python's own spelling, so that parentheses and quotes do not count."""
    import ast  # noqa: PLC0415

    return ast.unparse(ast.parse(text))


def test_simultaneous_values_get_two_names() -> None:
    f = from_text("def f(x):\n    old = x\n    x = x + 1\n    return old * x\n")
    assert python_code(parse(f).graph) == "def f(x):\n    x_2 = x + 1\n    return x * x_2\n"


def test_effects_keep_their_order() -> None:
    text = "def f(g, h):\n    a = g()\n    b = h()\n    return (b, a)\n"
    assert python_code(parse(from_text(text)).graph) == text
    builder = Builder([Value(name="g"), Value(name="h")])
    first, second = (builder.add("call", [v]) for v in builder.params)
    graph = Graph("f", builder.block(("return", [builder.add("tuple", [second, first])])))
    assert python_code(graph) == "def f(g, h):\n    t1 = g()\n    t2 = h()\n    return (t2, t1)\n"


def test_trace_ops() -> None:
    builder = Builder([Value(name="x")])
    sin = builder.add("numpy", attrs={"name": "numpy.sin"})
    y = builder.add("call", [sin, builder.params[0]])
    table = builder.add("capture", attrs={"index": 0})
    z = builder.add("binary", [y, table], attrs={"op": "+"})
    graph = Graph("f", builder.block(("return", [z])))
    assert python_code(graph) == "def f(x):\n    return np.sin(x) + capture_0\n"


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        True,
        None,
        ...,
        1.5,
        -0.0,
        1e300,
        math.inf,
        -math.inf,
        math.nan,
        2j,
        -2j,
        complex(-0.0, 1),
        complex(1, -math.inf),
    ]
    + ["a'b\"\n{}", b"\x00", 10**5000, (1, -2.0, "x")],
    ids=lambda v: str(type(v).__name__),
)
def test_constants_are_exact(value: Any) -> None:
    builder = Builder()
    constant = builder.add("const", attrs={"value": value})
    code = python_code(Graph("f", builder.block(("return", [constant]))))
    space: dict[str, Any] = {}
    exec(code, space)
    found = space["f"]()
    assert type(found) is type(value)
    if not isinstance(value, int | tuple):
        assert repr(found) == repr(value)
    assert found == value or found != found


def test_long_expressions_are_split() -> None:
    builder = Builder([Value(name="x")])
    value = builder.params[0]
    for _ in range(3000):
        value = builder.add("unary", [value], attrs={"op": "-"})
    code = python_code(Graph("f", builder.block(("return", [value]))))
    space: dict[str, Any] = {}
    exec(code, space)
    assert space["f"](3) == 3


def test_locals_do_not_hide_what_is_used() -> None:
    assert "bool" in vars(builtins)
    f = from_text("def f(n):\n    for i in range(n):\n        pass\n    return i\n")
    builder = Builder()
    graph = parse(f).graph
    assert builder.ops == []
    assert python_code(graph) == "def f(n):\n    for i in range(n):\n        pass\n    return i\n"
