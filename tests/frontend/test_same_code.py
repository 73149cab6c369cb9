# mypy: disable-error-code="no-untyped-def, no-untyped-call, arg-type"
"""A text is a function's source only if it compiles to the code that runs: files are edited while programs run."""

from __future__ import annotations

import ast
import fractions
import importlib.util
import itertools
import json.decoder
import linecache
import os
import statistics
import subprocess
import sys
import textwrap
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import _function_base_impl

import tensorjit as tj
from tensorjit.errors import CompileError, UnsupportedError
from tensorjit.frontend.same_code import compiles_to
from tensorjit.frontend.source import source_of
from tests.frontend.interpret import interpret

CLOCK = itertools.count(1_000_000_000)
EDITED = "is not what it was compiled from"


def imported(path: Path, text: str, name: str = "edited") -> types.ModuleType:
    path.write_text(textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    os.utime(path, (next(CLOCK),) * 2)  # files are told by their times, which two quick edits may share


# what was, what is in the file by now
EDITS = [
    ("return x + 1", "return x + 1000"),
    ("return x + 1", "return x + 1.0"),
    ("return x + 1", "return x + True"),
    ("return x * 0.0", "return x * -0.0"),
    ("return x + 1", "return x - 1"),
    ("return x - K", "return K - x"),
    ("return np.sin(x)", "return np.cos(x)"),
    ("return x.sum()", "return x.max()"),
    ("return x if x > 0 else 1", "return x if x >= 0 else 1"),
    ("return x == (1, 2)", "return x == (1, 2.0)"),
    ("return x in {1, 2}", "return x in {1, 3}"),
    ("y = x\n    return y", "y = 1\n    return y"),
    ("for i in range(3): x = x + i\n    return x", "for i in range(3): x = x + i\n    else: x = 0\n    return x"),
    ("g = lambda y: y + 1\n    return g(x)", "g = lambda y: y + 2\n    return g(x)"),
    ("g = lambda y=1: y\n    return g() + x", "g = lambda y=2: y\n    return g() + x"),
    ("return [v + 1 for v in x]", "return [v + 2 for v in x]"),
    ("return np.sum(x, axis=0)", "return np.sum(x, keepdims=0)"),
    ("K = 1\n    return K + x", "return K + x"),
]


@pytest.mark.parametrize(("before", "after"), EDITS, ids=[after for _, after in EDITS])
def test_an_edited_body_is_refused(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "edited.py"
    module = imported(path, f"import numpy as np\nK = 5\n\ndef f(x):\n    {before}\n")
    edit(path, before, after)
    with pytest.raises(UnsupportedError, match=EDITED) as caught:
        source_of(module.f)
    assert "import it again" in caught.value.problems[0].hint
    edit(path, after, before)
    assert source_of(module.f)


@pytest.mark.parametrize("form", ["lambda", "nested", "method", "lambda of many"])
def test_whatever_was_edited_is_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "edited.py"
    module = imported(
        path,
        """
        plain = lambda x: x + 10
        pair = [lambda x: x + 20, lambda x: x + 30, lambda x: x + 40]

        def make(k):
            def nested(x):
                return x + k + 50
            return nested

        class Box:
            def method(self, x):
                return x + 60
        """,
    )
    function: Any = {"lambda": module.plain, "nested": module.make(1), "method": module.Box.method, "lambda of many": module.pair[1]}[
        form
    ]
    for number in (10, 20, 30, 40, 50, 60):
        edit(path, str(number), str(number + 1))
    with pytest.raises(UnsupportedError, match=EDITED):
        source_of(function)


def test_an_edited_helper_is_refused_where_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    module = imported(path, "def helper(x):\n    return x + 1\n")
    helper = module.helper

    def f(x):
        return helper(x) * 2

    edit(path, "x + 1", "x + 1000")
    with pytest.raises(CompileError, match=EDITED):
        tj.script(f)(1.0)


def test_what_was_read_before_the_edit_is_the_source(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    module = imported(path, "def f(x):\n    return helper(x) + 1\n\ndef helper(x):\n    return x * 3\n")
    f = tj.script(module.f)  # it reads the file
    edit(path, "x * 3", "x * 5")
    edit(path, "+ 1", "+ 2")
    assert f(2.0) == 7.0


def test_a_text_that_was_read_before_the_function_was_made(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    first = imported(path, "def f(x):\n    return x + 1\n")
    assert tj.script(first.f)(1.0) == 2.0
    second = imported(path, "def f(x):\n    return x + 200\n")  # as a reload does
    os.utime(path, (next(CLOCK),) * 2)
    assert tj.script(second.f)(1.0) == 201.0
    assert tj.script(first.f)(1.0) == 2.0


class Private:
    """Names that Python mangles, in every place of a function."""

    __width = 3

    def method(self, __value):
        return self.__width + __value

    def inner(self):
        __local = 2
        return lambda __x: __x + __local

    @classmethod
    def made(cls):
        return super().__new__(cls)


def test_the_surroundings_of_a_function_are_given_to_its_names() -> None:
    made: Any = Private.made
    for function in (Private.method, Private.inner, Private().inner(), made.__func__):
        assert source_of(function)
    assert interpret(Private().inner())(3) == 5
    f = tj.script(Private().inner())
    assert f(3.0) == f(_Private__x=3.0) == 5.0


@pytest.mark.parametrize("module", [fractions, statistics, json.decoder, _function_base_impl])
def test_every_function_of_a_module_compiles_to_itself(module: types.ModuleType) -> None:
    assert module.__file__ is not None
    text = Path(module.__file__).read_text()
    nodes: dict[tuple[int, str], list[Any]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            line = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            nodes.setdefault((line, getattr(node, "name", "<lambda>")), []).append(node)
    codes = list(functions_in(compile(text, module.__file__, "exec", dont_inherit=True)))
    found = [(c, nodes[c.co_firstlineno, c.co_name]) for c in codes if (c.co_firstlineno, c.co_name) in nodes]
    assert len(found) > 8
    assert [code.co_qualname for code, near in found if not any(compiles_to(node, code) for node in near)] == []


def functions_in(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from functions_in(constant)


PROGRAM = '''
from __future__ import annotations
import sys
import numpy as np
import tensorjit as tj

def helper(x: Undefined) -> Undefined:
    """Twice."""
    assert x.ndim == 1, "a vector"
    if __debug__:
        x = x + 0
    return x * 2

@tj.script
def f(x: Undefined, k: Undefined = 3):
    """Doc."""
    assert k
    y: Undefined = helper(x)
    return y + k

if __name__ == "__main__":
    x = np.arange(3.0)
    assert np.array_equal(f(x), f.__wrapped__(x))
    print(f(x).tolist())
'''


@pytest.mark.parametrize("options", [(), ("-O",), ("-OO",), ("-X", "no_debug_ranges"), ("-W", "error")], ids=" ".join)
def test_the_interpreters_options_change_the_code_and_not_the_source(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    done = subprocess.run([sys.executable, *options, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout == "[3.0, 5.0, 7.0]\n", done.stderr


def test_what_traces_and_monitors_leaves_the_source(tmp_path: Path) -> None:
    module = imported(tmp_path / "traced.py", "def f(x):\n    y = 0\n    for v in x:\n        y = y + v\n    return y\n")
    events: list[str] = []
    before = sys.gettrace()
    monitoring: Any = getattr(sys, "monitoring", None)

    def tracer(frame: Any, event: str, arg: Any) -> Any:
        events.append(event)
        return tracer

    sys.settrace(tracer)
    try:
        module.f([1, 2, 3] * 50)
    finally:
        sys.settrace(before)
    if monitoring is not None and monitoring.get_tool(3) is None:
        monitoring.use_tool_id(3, "test")
        monitoring.register_callback(3, monitoring.events.LINE, lambda code, line: events.append("line"))
        monitoring.set_local_events(3, module.f.__code__, monitoring.events.LINE | monitoring.events.BRANCH)
        module.f([1, 2, 3] * 50)
        assert source_of(module.f)
        monitoring.free_tool_id(3)
    assert "line" in events
    assert tj.script(module.f)(np.arange(4.0)) == 6.0


def test_asserts_that_pytest_has_rewritten(tmp_path: Path) -> None:
    def f(x, n=2):
        assert n > 1, f"n is {n}"
        y = x + n
        assert (n < 5 or y is None) and n in (1, 2, 3)
        return y * 2

    assert "@py" in "".join(f.__code__.co_varnames)
    assert tj.script(f)(1.0) == 6.0
    lines = textwrap.dedent("".join(linecache.getlines(__file__)[f.__code__.co_firstlineno - 1 :][:5]))
    for before, after in (("", ""), ("y = x + n", "y = n + x"), ("n > 1,", "n > 7,"), ("n in (1, 2, 3)", "n not in (1, 2, 3)")):
        node = ast.parse(lines.replace(before, after)).body[0]
        assert isinstance(node, ast.FunctionDef)
        assert compiles_to(node, f.__code__) == (before == after)


def test_a_text_is_read_without_the_warnings_that_python_gave(tmp_path: Path) -> None:
    path = tmp_path / "warns.py"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = imported(path, 'def f(x):\n    return x if x is 1 else "\\d"\n')
    assert source_of(module.f)  # warnings are errors here
