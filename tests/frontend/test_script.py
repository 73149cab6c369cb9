"""The generic graph of a function does what the function does."""

from __future__ import annotations

import copy
import linecache
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tensorjit.errors import CompileError
from tensorjit.frontend.script import parse
from tensorjit.ir.graph import Graph, Op
from tests.frontend.corpus import CASES
from tests.frontend.interpret import interpret
from tests.work import python_calls


def outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """The result and the arguments afterwards, or the exception's class and text."""
    args = copy.deepcopy(args)
    try:
        return "result", function(*args), args
    except Exception as error:
        text = "" if isinstance(error, UnboundLocalError | ValueError) else str(error)
        return "raised", type(error).__name__, text


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and bool(a == b or (a != a and b != b))


CALLS = [pytest.param(f, args, id=f"{f.__name__}-{i}") for f, calls in CASES for i, args in enumerate(calls)]


@pytest.mark.parametrize(("function", "args"), CALLS)
def test_graph_does_what_the_function_does(function: types.FunctionType, args: tuple[Any, ...]) -> None:
    expected, found = outcome(function, args), outcome(interpret(function), args)
    assert same(expected, found), (expected, found)


def ops(graph: Graph, name: str) -> list[Op]:
    return [op for op in graph.walk() if op.name == name]


def test_carries_only_what_is_read_afterwards() -> None:
    def f(xs):  # type: ignore[no-untyped-def]
        s = 0.0
        for x in xs:
            t = x * 2
            s = s + t
        return s

    (loop,) = ops(parse(f).graph, "for")
    assert [v.name for v in loop.results] == ["s"]
    assert [v.name for v in loop.blocks[0].params] == ["x", "s"]
    assert not ops(parse(f).graph, "unbound")


def test_names_hints_and_locations() -> None:
    def f(x):  # type: ignore[no-untyped-def]
        y = np.sin(x) + missing  # type: ignore[name-defined]  # noqa: F821
        return y

    parsed = parse(f)
    (add,) = ops(parsed.graph, "binary")
    assert add.result.name == "y"
    assert add.loc is not None
    assert add.loc.line[add.loc.col : add.loc.end_col] == "np.sin(x) + missing"
    assert add.loc.lineno == f.__code__.co_firstlineno + 1
    assert add.loc.function == "f"
    assert parsed.globals_used == ("np", "missing")
    assert parsed.parameters == (("x", "positional", False),)


def test_columns_count_characters() -> None:
    def f(größe):  # type: ignore[no-untyped-def]
        return "äöü" + größe.ndim

    (attr,) = ops(parse(f).graph, "attr")
    assert attr.loc is not None
    assert attr.loc.line[attr.loc.col : attr.loc.end_col] == "größe.ndim"


def test_bound_only_where_needed() -> None:
    def f(n):  # type: ignore[no-untyped-def]
        if n:
            y = 1
        else:
            y = 2
        for i in range(n):
            y += i
        return y, i

    assert [op.attrs["name"] for op in ops(parse(f).graph, "bound")] == ["i"]


def test_guard_clause_yields_nothing() -> None:
    def f(x):  # type: ignore[no-untyped-def]
        if x > 0:
            y = x + 1
            return y
        return x

    (branch,) = ops(parse(f).graph, "if")
    assert branch.results == ()
    assert [b.terminator.name for b in branch.blocks] == ["return", "yield"]


def test_literal_minus_is_a_constant() -> None:
    def f(x):  # type: ignore[no-untyped-def]
        return -1, -2.5, -x

    graph = parse(f).graph
    assert [op.attrs["value"] for op in ops(graph, "const")] == [-1, -2.5]
    assert len(ops(graph, "unary")) == 1


def test_private_names_are_mangled() -> None:
    class C:
        def __init__(self) -> None:
            self.__x = 3

        def f(self):  # type: ignore[no-untyped-def]
            return self.__x

    (attr,) = ops(parse(C.f).graph, "attr")
    assert attr.attrs["name"] == "_C__x"


def test_any_that_is_not_the_builtin_gets_its_generator_as_a_list() -> None:
    space: dict[str, Any] = {"any": lambda values: len(values)}
    f = from_text("def f(xs):\n    return any(x for x in xs)\n", space)
    assert interpret(f)([0, 0, 1]) == 3


def from_text(text: str, space: dict[str, Any] | None = None) -> types.FunctionType:
    """A function from text that linecache knows, as in a notebook."""
    name = f"<cell {hash(text)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space = {} if space is None else space
    exec(compile(text, name, "exec"), space)
    (function,) = [v for v in space.values() if isinstance(v, types.FunctionType) and v.__name__ == "f"]
    return function


def many_statements(count: int) -> types.FunctionType:
    lines = ["def f(x):", "    a0 = x"]
    lines += [f"    a{i + 1} = a{i} + 1\n    if a{i} > 5:\n        b{i} = a{i}" for i in range(count)]
    return from_text("\n".join([*lines, f"    return a{count}", ""]))


def test_ten_thousand_statements() -> None:
    assert interpret(many_statements(4000))(1) == 4001


def test_parsing_is_linear_in_statements() -> None:
    once, twice = (python_calls(lambda: parse(many_statements(count))) for count in (200, 400))  # noqa: B023
    assert twice < 2.2 * once


@pytest.mark.parametrize(
    "expression",
    [
        "+".join(["x"] * 5000),
        "-" * 500 + "x",
        "x" + ".real" * 500,
        "x" + "[0]" * 500,
        " and ".join(["x"] * 500),
        "f(" * 180 + "x" + ")" * 180,
        "x" + " if x else x" * 500,
        " < ".join(["x"] * 500),
        "[" * 180 + "x" + "]" * 180,
        "not " * 2000 + "x",
    ],
    ids=lambda text: text[:12],
)
def test_nesting_too_deep_is_an_error_of_ours(expression: str) -> None:
    text = f"def f(x):\n    return {expression}\n"
    try:
        f = from_text(text)
    except RecursionError:
        pytest.skip("too deep for Python's own compiler")
    try:
        parse(f)
    except CompileError as error:
        assert "nested too deeply" in str(error)


def test_long_elif_chain() -> None:
    def chain(n: int) -> types.FunctionType:
        links = "".join(f"    elif x == {i}:\n        y = {i * i}\n" for i in range(1, n))
        head, tail = "def f(x):\n    if x == 0:\n        y = 0\n", "    else:\n        y = -1\n    return y\n"
        return from_text(head + links + tail)

    assert interpret(chain(60))(59) == 59 * 59
    with pytest.raises(CompileError, match="nested too deeply"):
        parse(chain(500))


def test_long_sum() -> None:
    f = from_text(f"def f(x):\n    return {'+'.join(['x'] * 800)}\n")
    assert interpret(f)(2) == 1600


def test_a_small_function_is_parsed_in_few_steps() -> None:
    def f(x, y):  # type: ignore[no-untyped-def]
        s = 0.0
        for i in range(len(x)):
            if x[i] > y:
                s += x[i] * 2
        return s

    parse(f)
    assert python_calls(lambda: parse(f)) < 1500  # 800, and as many microseconds
