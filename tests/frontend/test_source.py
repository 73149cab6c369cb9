# mypy: disable-error-code="no-untyped-def, no-untyped-call, arg-type"
"""Finding the source of the function that was passed, and of no other."""

from __future__ import annotations

import functools
import linecache
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tensorjit.errors import CompileError, UnsupportedError
from tensorjit.frontend.script import parse
from tensorjit.frontend.source import source_of
from tests.frontend.interpret import interpret


def keep(function: Any) -> Any:
    """A decorator that hands the function on as it is."""
    return function


def doubled(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def wrapper(x):
        return function(x) * 2

    return wrapper


def from_text(text: str, filename: str, known: bool = True) -> Any:
    if known:
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    space: dict[str, Any] = {}
    exec(compile(text, filename, "exec"), space)
    return space["f"]


def test_decorators_above_the_function_are_not_part_of_it() -> None:
    @keep
    @keep
    def f(x):
        return x + 1

    assert interpret(f)(1) == 2
    assert source_of(f).loc(source_of(f).node).line.strip() == "def f(x):"


def test_a_wrapper_is_not_looked_through() -> None:
    @doubled
    def f(x):
        return x + 1

    parsed = parse(f)
    assert parsed.name == "wrapper"
    assert parsed.freevars == ("function",)
    assert interpret(f)(1) == 4


def test_odd_layouts() -> None:
    if True:

        def f(
            x,  # a comment
            y=(
                1,
                2,
            ),
        ):
            """Text
            that stands at the margin
            """
            z = [
                1,
                2,
            ]

            # a comment at the end
            return x + y[0] + z[1]

    assert interpret(f)(1) == 4


def test_one_line() -> None:
    def f(x):
        return x + 1

    assert interpret(f)(1) == 2


def test_tail_that_leaves_no_code() -> None:
    text = "def f(x):\n    return x\n    if 0:\n        pass\n# comment\nz = 1\n"
    f = from_text(text, "<tail>")
    assert source_of(f).lines[-1] in ("        pass", "# comment")


def test_lambdas_are_told_apart() -> None:
    pair = (lambda x: x + 1, lambda x: x + 2)
    nested = lambda x: lambda y: x * y  # noqa: E731
    split = [
        lambda x: x * 3,
        lambda x: x if x else 4,
    ]
    assert [interpret(f)(5) for f in (*pair, *split)] == [6, 7, 15, 5]
    inner = nested(3)
    assert interpret(inner)(5) == 15
    assert interpret(nested)(3)(5) == 15
    names = lambda a, b: a - b, lambda b, a: a - b  # noqa: E731
    assert [interpret(f)(5, 3) for f in names] == [2, -2]


def test_lambdas_without_positions() -> None:
    pair = (lambda x: x + abs(1), lambda x: x + len("ab"))
    functions = [types.FunctionType(without_positions(f.__code__), f.__globals__) for f in pair]
    assert [interpret(f)(5) for f in functions] == [6, 7]
    same = (lambda x: x + 1, lambda x: x + 2, lambda x: x + 2)
    functions = [types.FunctionType(without_positions(f.__code__), {}) for f in same]
    assert [interpret(f)(5) for f in functions] == [6, 7, 7]


def without_positions(code: types.CodeType) -> types.CodeType:
    """The code with only its first line known, as under `python -X no_debug_ranges`."""
    return code.replace(co_linetable=b"")


def test_text_that_linecache_knows() -> None:
    f = from_text("x = 1\n\ndef f(x):\n    return x + 1\n", "<ipython-input-1>")
    assert interpret(f)(1) == 2
    source = source_of(f)
    assert source.loc(source.node.args.args[0]).lineno == 3


def test_source_attribute() -> None:
    text = "def g(x):\n    return x\n\ndef f(x):\n    return x + 1\n"
    f = from_text(text, "<nowhere>", known=False)
    with pytest.raises(UnsupportedError, match="Python keeps no text for <nowhere>"):
        parse(f)
    f.__source__ = text
    assert interpret(f)(1) == 2
    f.__source__ = "def f(x):\n    return x + 1\n"
    assert interpret(f)(1) == 2
    f.__source__ = "def f(x):\n    return x + 2\n"
    with pytest.raises(UnsupportedError, match="is the text of another function"):
        parse(f)
    f.__source__ = "def g(x): return x\n"
    with pytest.raises(UnsupportedError, match="does not hold it"):
        parse(f)


def test_a_file_that_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("def f(x):\n    return x\n")
    space: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    path.write_text("\n\n\ndef g(a, b, c):\n    return a\n")
    with pytest.raises(UnsupportedError, match="is not what it was compiled from"):
        parse(space["f"])


@pytest.mark.parametrize("thing", [len, functools.partial(len), 3, str.upper, [].append])
def test_not_a_function(thing: object) -> None:
    with pytest.raises(UnsupportedError, match="not a Python function") as caught:
        parse(thing)
    assert "tensorjit.trace" in caught.value.problems[0].hint


def test_a_text_that_does_not_parse() -> None:
    f = from_text("def f(x):\n    return x\n", "<broken>")
    linecache.cache["<broken>"] = (1, None, ["def f(x:\n", "    return x\n"], "<broken>")
    with pytest.raises(CompileError, match="does not parse"):
        parse(f)
