"""What the language does not have is refused with the line, a caret, why, and what to write instead: all
problems at once."""

from __future__ import annotations

import linecache
import types
from collections.abc import Callable
from typing import Any

import pytest

from tensorjit.errors import CompileError, UnsupportedError
from tensorjit.frontend.script import parse
from tests.frontend.interpret import interpret

REFUSED = {
    "try": """
def f(x):
    try:
        y = {x}
    except ValueError:
        y = 1
    finally:
        pass
    return y
""",
    "several": """
def f(x, **options):
    global total
    total = x
    with open(x) as file:
        y = {1, 2}
    x.size = 3
    del x[0]
    return g(**options)
""",
    "class": """
def f(x):
    class C:
        pass
    return C()
""",
    "generator": """
def f(x):
    yield x
    y = yield
    yield from x
""",
    "generator_dead": """
def f(x):
    return x
    yield
""",
    "async": """
async def f(x):
    return x
""",
    "match": """
def f(x):
    match x:
        case 1:
            return 2
    return 3
""",
    "sets": """
def f(x):
    return {v for v in x}, x in {1, 2}
""",
    "generator_expression": """
def f(x):
    g = (v for v in x)
    return sum(g)
""",
    "nonlocal": """
def f(x):
    def g():
        nonlocal x
        x = 1
    g()
    return x
""",
    "imports": """
def f(x):
    import os.path
    from json import loads
    from . import thing
    return loads(x)
""",
    "raises": """
def f(x):
    if x:
        raise ValueError(x) from x
    raise
""",
    "recursion": """
def f(x):
    def g(n):
        return 1 if n == 0 else n * g(n - 1)
    return g(x)
""",
    "late_binding": """
def f(x):
    k = 1
    g = lambda v: v + k
    k = 2
    fs = [lambda: i for i in range(x)]
    return g(x), fs
""",
    "late_binding_loop": """
def f(xs):
    g = None
    s = 0
    for x in xs:
        if g is not None:
            s += g()
        g = lambda: x
    return s
""",
    "later_definition": """
def f(x):
    def g():
        return h()
    def h():
        return x
    return g()
""",
    "decorated_nested": """
def f(x):
    @cache
    def g():
        return 1
    return g()
""",
    "dicts": """
def f(x):
    return {**x}, {x: 1}
""",
    "walrus_while_else": """
def f(x):
    while (n := x()) > 0:
        pass
    else:
        return 1
    return n
""",
    "too_deep": "def f(x):\n    return " + "-" * 500 + "x\n",
    "unicode": """
def f(größe):
    return "äöü" + {größe}
""",
}


def function_from(name: str, text: str) -> types.FunctionType:
    filename = f"{name}.py"
    text = text.lstrip("\n")
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    space: dict[str, Any] = {}
    exec(compile(text, filename, "exec"), space)
    function = space["f"]
    assert isinstance(function, types.FunctionType)
    return function


@pytest.mark.parametrize("name", REFUSED)
def test_refusal(name: str, golden: Callable[[str, str], None]) -> None:
    with pytest.raises(CompileError) as caught:
        parse(function_from(name, REFUSED[name]))
    text = "\n".join(line if len(line) < 200 else line[:60] + "..." for line in str(caught.value).split("\n"))
    golden(f"refusals/{name}.txt", text)


def test_error_knows_its_place() -> None:
    with pytest.raises(UnsupportedError) as caught:
        parse(function_from("place", "def f(x):\n    y = {x}\n    return y\n"))
    assert (caught.value.filename, caught.value.lineno) == ("place.py", 2)
    assert len(caught.value.problems) == 1


CLOSURES = {
    "taken once": """
def f(x):
    k = 1
    k += x
    g = lambda v: v + k
    return g(x)
""",
    "assigned again, never called after": """
def f(x):
    k = 1
    g = lambda v: v + k
    y = g(x)
    k = 5
    return y + k
""",
    "made anew in each turn": """
def f(x):
    s = 0
    for i in range(x):
        g = lambda v: v + i
        s += g(s)
    return s
""",
    "called on the spot": """
def f(x):
    return [(lambda: i * x)() for i in range(x)]
""",
    "an argument": """
def f(x):
    s = 0
    for i in range(x):
        s += sum(map(lambda v: v * i, [1, x]))
    return s
""",
    "as default": """
def f(x):
    k = 1
    g = lambda v, k=k: v + k
    k = 2
    return g(x)
""",
}


@pytest.mark.parametrize("name", CLOSURES)
def test_closures_that_cannot_tell(name: str) -> None:
    function = function_from("closure", CLOSURES[name])
    assert interpret(function)(4) == function(4)
