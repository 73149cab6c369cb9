"""Small lowered graphs, written by hand, run natively; compared with the reference backend or with Python."""

from __future__ import annotations

import gc
import math
import operator
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tensorjit.backends import reference
from tensorjit.backends.llvm.clib import IMPLICIT, c_symbols
from tensorjit.backends.llvm.driver import Driver
from tensorjit.backends.llvm.entry import (
    ANY_DIM,
    ArrayParam,
    EntrySpec,
    Param,
    ScalarParam,
    build_entry,
    default_engine,
    link_entry,
)
from tensorjit.backends.llvm.kernels import Target
from tensorjit.ir.dims import Dim, DimExpr, symbol
from tensorjit.ir.dtypes import BOOL, F32, F64, I64, U8, DType
from tensorjit.ir.graph import Builder, Graph, Op, Value
from tensorjit.ir.types import PY_BOOL, PY_COMPLEX, PY_FLOAT, PY_INT, ArrayType, ScalarType, Type
from tensorjit.ops import OPS
from tensorjit.ops.opdef import Loop
from tensorjit.ops.python_scalars import PYTHON, ROWS
from tensorjit.runtime.callable import NativeCallable
from tensorjit.runtime.fpstatus import reporter

N, M = symbol("n"), symbol("m")
VECTOR = ArrayType(F64, (N,))
NP_F64 = ScalarType(F64)
_PYTHON = {"b": "bool", "i": "int", "f": "float", "c": "complex"}


class Function(NativeCallable):
    """A graph, compiled."""

    def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise AssertionError(f"the entry refused {args}")


def _param(t: Type) -> Param:
    assert isinstance(t, (ArrayType, ScalarType))
    if isinstance(t, ArrayType):
        layout: Any = {"A": "any"}.get(t.layout, t.layout)
        return ArrayParam(t.dtype.numpy, t.rank, layout, dims=(ANY_DIM,) * t.rank, aligned=None)
    kind: Any = _PYTHON[t.dtype.kind] if t.python else t.dtype.numpy
    return ScalarParam(kind)


def driver_of(graph: Graph, aligned: bool = True) -> tuple[Driver, Any]:
    """The driver of a graph, and the module that it wrote."""
    engine = default_engine()
    driver = Driver(graph, OPS, Target(32), aligned)
    spec = EntrySpec(tuple(_param(p.type) for p in graph.params), fp_status=driver.reads_flags)
    names = [op.name for op in graph.walk()]
    code = build_entry(
        spec,
        driver.body,
        arch=engine.arch,
        raiser=lambda code, *numbers: driver.errors[code].throw(numbers),
        report=reporter([n for n in names if n in ("divide", "multiply", "log")]),
    )
    return driver, code


def compiled(graph: Graph, aligned: bool = True) -> Any:
    """A callable that is nothing but the graph's native entry."""
    engine = default_engine()
    driver, code = driver_of(graph, aligned)
    data = engine.compile_ir(code.module, pipeline=driver.wants_pipeline)
    open_names = [n for n, g in code.module.globals.items() if getattr(g, "is_declaration", False)]
    function = Function()
    function._install(link_entry(engine, data, code, symbols=c_symbols([*open_names, *IMPLICIT])))
    return function


class G:
    """Writes one graph: `g.op(...)` appends, blocks nest by `with`."""

    def __init__(self, *types: Type, symbols: dict[str, tuple[int, int]] | None = None, **attrs: Any) -> None:
        self.params = [Value(t) for t in types]
        self.b = Builder(self.params)
        self.attrs = {"symbols": {"n": (0, 0)} if symbols is None else symbols, **attrs}

    def op(self, name: str, *operands: Value, type: Type, **attrs: Any) -> Value:
        return self.b.add(name, operands, type, attrs)

    def do(self, name: str, *operands: Value, **attrs: Any) -> None:
        self.b.add_multi(name, operands, (), attrs)

    def const(self, value: Any) -> Value:
        kinds: dict[type, ScalarType] = {bool: PY_BOOL, int: PY_INT, float: PY_FLOAT, complex: PY_COMPLEX}
        if type(value) in kinds:
            return self.op("const", type=kinds[type(value)], value=value)
        return self.op("const", type=NP_F64, value=float(value))

    def dim(self, d: Dim) -> Value:
        return self.op("dim", type=PY_INT, dim=d)

    def math(self, name: str, *operands: Value, type: ScalarType = NP_F64) -> Value:
        kinds = tuple(v.type.dtype for v in operands if isinstance(v.type, (ArrayType, ScalarType)))
        return self.op(name, *operands, type=type, loop=Loop(kinds, type.dtype))

    def element(self, x: Value, *index: Dim) -> Value:
        assert isinstance(x.type, ArrayType)
        return self.op("view", x, type=ArrayType(x.type.dtype, ()), axes=(), offset=index)

    def load(self, x: Value, *index: Dim) -> Value:
        assert isinstance(x.type, ArrayType)
        return self.op("load", self.element(x, *index), type=ScalarType(x.type.dtype))

    def set(self, x: Value, value: Value, *index: Dim) -> None:
        self.do("store", self.element(x, *index), value)

    @contextmanager
    def block(self, *params: Value) -> Iterator[Builder]:
        outer, self.b = self.b, Builder(params)
        yield self.b
        self.b = outer

    def structured(
        self, name: str, operands: Sequence[Value], types: Sequence[Type], blocks: Sequence[Builder], **attrs: Any
    ) -> tuple[Value, ...]:
        return self.b.add_multi(name, operands, types, attrs, [b.block() for b in blocks])

    def count(
        self, stop: Value, inits: Sequence[Value], body: Callable[..., None], *, name: str = "i", start: int = 0, step: int = 1
    ) -> tuple[Value, ...]:
        """A `for` over range(start, stop, step); `body(index, *carried)` ends its block."""
        item, carried = Value(PY_INT), [Value(v.type) for v in inits]
        bounds = (self.const(start), stop, self.const(step))
        with self.block(item, *carried) as inner:
            body(symbol(name), *carried)
        return self.structured("for", (*bounds, *inits), [v.type for v in inits], [inner], symbol=name)

    def when(self, condition: Value, types: Sequence[Type], then: Callable[[], None], orelse: Callable[[], None]) -> tuple[Value, ...]:
        blocks = []
        for write in (then, orelse):
            with self.block() as inner:
                write()
            blocks.append(inner)
        return self.structured("if", [condition], types, blocks)

    def ret(self, *values: Value, structure: Any = "value") -> Graph:
        self.do("return", *values, structure=structure)
        return Graph("test", self.b.block(), self.attrs)


def agree(graph: Graph, *args: Any) -> None:
    """Native code and the reference backend give the same, exceptions included."""
    function = compiled(graph)
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    assert outcome(function, args) == outcome(lambda *a: reference.run(graph, a), copies)
    for a, b in zip(args, copies, strict=True):
        np.testing.assert_array_equal(a, b)


def outcome(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    try:
        return shown(function(*args))
    except Exception as error:
        return type(error), str(error)


def shown(value: Any) -> Any:
    """Something that compares equal for equal results of equal types."""
    if isinstance(value, (tuple, list)):
        return type(value), [shown(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, (float, complex, np.generic)):
        return type(value), repr(value)
    return type(value), value


def no_leak(function: Callable[..., Any], *args: Any, calls: int = 3000) -> None:
    """Neither references nor blocks of memory are left behind."""
    for _ in range(20):
        outcome(function, args)
    gc.collect()
    before, blocks = [sys.getrefcount(a) for a in args], sys.getallocatedblocks()
    for _ in range(calls):
        outcome(function, args)
    gc.collect()
    assert [sys.getrefcount(a) for a in args] == before
    assert sys.getallocatedblocks() - blocks < 60


# -- Python's scalars ----------------------------------------------------------------------------------------------

INTS = [0, 1, -1, 2, 3, -7, 63, 64, 100, 2**31, -(2**31), 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)]
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
def test_other_operators(name: str, kinds: str, result: str) -> None:
    if name == "lshift":
        VALUES["i"], kept = [v for v in INTS if v < 101], INTS
        try:
            same_as_python("py_lshift", kinds, result)
        finally:
            VALUES["i"] = kept
        return
    same_as_python(f"py_{name}", kinds, result)


@pytest.mark.parametrize("row", [r for r in ROWS if r.name.startswith("math_")], ids=operator.attrgetter("name"))
def test_the_math_module(row: Any) -> None:
    tests = ("math_isnan", "math_isinf", "math_isfinite")
    result = "b" if row.name in tests else "i" if row.name in ("math_floor", "math_ceil", "math_trunc") else "f"
    binary = row.name in ("math_atan2", "math_pow", "math_copysign", "math_fmod", "math_hypot", "math_remainder", "math_nextafter")
    same_as_python(row.name, "ff" if binary else "f", result)


def test_python_scalars_do_not_leak() -> None:
    for args in ((2.0, 3.0), (1e308, 1e308), (1.0, 0.0), (math.inf, 1.0)):
        no_leak(compiled(scalar_graph("py_mod", "ff", "f")), *args)
        no_leak(compiled(scalar_graph("math_pow", "ff", "f")), *args)


def test_python_arithmetic_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled(scalar_graph("py_mul", "ff", "f"))(1e308, 10.0) == math.inf
