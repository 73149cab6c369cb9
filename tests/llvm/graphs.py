"""Typed graphs written by hand, compiled and run beside the reference."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

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
from tensorjit.ir.dtypes import F64
from tensorjit.ir.graph import Builder, Graph, Value
from tensorjit.ir.types import PY_BOOL, PY_COMPLEX, PY_FLOAT, PY_INT, ArrayType, ScalarType, Type
from tensorjit.ops import OPS
from tensorjit.ops.opdef import Loop
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

    def each(self, target: Value, value: Callable[[DimExpr], Value], name: str = "k") -> None:
        """target[k] = value(k), for every k."""

        def body(k: DimExpr) -> None:
            self.set(target, value(k), k)
            self.do("continue")

        self.count(self.dim(N), [], body, name=name)

    def when(
        self, condition: Value, types: Sequence[Type], then: Callable[[], None], orelse: Callable[[], None]
    ) -> tuple[Value, ...]:
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
    assert sys.getallocatedblocks() - blocks < max(50, calls // 4)
