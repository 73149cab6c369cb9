"""Python's scalars in native code do what Python's do."""

from __future__ import annotations

import math
import operator
import warnings
from typing import Any

import pytest

from tensorjit.ir.graph import Graph
from tensorjit.ir.types import PY_BOOL, PY_COMPLEX, PY_FLOAT, PY_INT
from tensorjit.ops.python_scalars import PYTHON, ROWS
from tests.llvm.graphs import G, compiled, no_leak, outcome

INTS = [0, 1, -1, 2, 3, -7, 63, 64, 100, 2**31, -(2**31), 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)]
SMALL = [v for v in INTS if abs(v) < 101]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, 3.7, -7.25, 1e300, -1e300, 5e-324, 1e-310, 2.0**53, 9.2e18, 2.0**63]
FLOATS += [math.inf, -math.inf, math.nan]
COMPLEX = [0j, 1 + 2j, -1.5j, complex(math.inf, math.nan), complex(-0.0, -0.0), 1e300 + 1e300j]
VALUES: dict[str, list[Any]] = {"b": [False, True], "i": INTS, "f": FLOATS, "c": COMPLEX}
TYPES = {"b": PY_BOOL, "i": PY_INT, "f": PY_FLOAT, "c": PY_COMPLEX}
RANK = "bifc"


def scalar_graph(name: str, kinds: str, result: str) -> Graph:
    g = G(*(TYPES[k] for k in kinds), symbols={})
    return g.ret(g.op(name, *g.params, type=TYPES[result]))


def same_as_python(name: str, kinds: str, result: str) -> None:
    graph = scalar_graph(name, kinds, result)
    function = compiled(graph)
    for args in _all(kinds):
        wanted = outcome(PYTHON[name] if name != "py_bool" else bool, args)
        got = outcome(function, args)
        if wanted[0] is int and not -(2**63) <= wanted[1] < 2**63:
            assert got[0] is OverflowError, args
        elif wanted[0] is complex and result != "c":
            assert got[0].__name__ == "TypeInferenceError", args
        elif wanted[0] is float and result == "i":
            assert got == (int, 0) or got[0] in (int, OverflowError, ValueError), args
        else:
            assert got == wanted, (name, args)


def _all(kinds: str) -> list[tuple[Any, ...]]:
    values = [VALUES[k] for k in kinds]
    return [(x,) for x in values[0]] if len(values) == 1 else [(x, y) for x in values[0] for y in values[1]]


BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "eq", "ne", "lt", "le", "gt", "ge"]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("kinds", ["ii", "ff", "if", "fi", "bi", "bf", "cc", "fc", "ci"])
def test_binary_operators(name: str, kinds: str) -> None:
    if "c" in kinds and name in ("floordiv", "mod", "lt", "le", "gt", "ge"):
        pytest.skip("Python has none")
    strongest = max(kinds, key=RANK.index)
    result = "b" if name in BINARY[6:] else max(strongest, "f" if name == "truediv" else "i", key=RANK.index)
    same_as_python(f"py_{name}", kinds, result)


@pytest.mark.parametrize(
    ("name", "kinds", "result"),
    [
        ("lshift", "ii", "i"), ("rshift", "ii", "i"), ("and", "ii", "i"), ("or", "bi", "i"), ("xor", "bb", "b"),
        ("neg", "i", "i"), ("neg", "b", "i"), ("neg", "f", "f"), ("neg", "c", "c"), ("pos", "b", "i"), ("abs", "i", "i"),
        ("abs", "f", "f"), ("abs", "c", "f"), ("invert", "i", "i"), ("not", "f", "b"), ("not", "i", "b"), ("not", "c", "b"),
        ("int", "f", "i"), ("int", "b", "i"), ("float", "i", "f"), ("complex", "i", "c"), ("complex", "ff", "c"),
        ("round", "f", "i"), ("round", "ii", "i"), ("bool", "f", "b"), ("min", "ff", "f"), ("max", "ff", "f"),
        ("min", "ii", "i"), ("max", "bb", "b"), ("pow", "ff", "f"),
    ],
)  # fmt: skip
def test_other_operators(name: str, kinds: str, result: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VALUES, "i", SMALL if name in ("lshift", "round") else INTS)  # 1 << 2**62 takes a while in Python
    same_as_python(f"py_{name}", kinds, result)


@pytest.mark.parametrize("row", [r for r in ROWS if r.name.startswith("math_")], ids=operator.attrgetter("name"))
def test_the_math_module(row: Any) -> None:
    tests = ("math_isnan", "math_isinf", "math_isfinite")
    result = "b" if row.name in tests else "i" if row.name in ("math_floor", "math_ceil", "math_trunc") else "f"
    binary = row.name[5:] in ("atan2", "pow", "copysign", "fmod", "hypot", "remainder", "nextafter")
    same_as_python(row.name, "ff" if binary else "f", result)


def test_python_scalars_do_not_leak() -> None:
    for args in ((2.0, 3.0), (1e308, 1e308), (1.0, 0.0), (math.inf, 1.0)):
        no_leak(compiled(scalar_graph("py_mod", "ff", "f")), *args)
        no_leak(compiled(scalar_graph("math_pow", "ff", "f")), *args)


def test_python_arithmetic_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled(scalar_graph("py_mul", "ff", "f"))(1e308, 10.0) == math.inf
