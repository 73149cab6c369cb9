"""Typed graphs to test with, and a slow and exact interpreter of kernels: one element at a time, with NumPy's scalars."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tensorjit.backends import reference
from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import DType, from_numpy
from tensorjit.ir.graph import Builder, Graph, Op, Value
from tensorjit.ir.kernel import (
    INTRINSICS,
    Accumulate,
    Apply,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Reduction,
    Ref,
    Stmt,
    Store,
)
from tensorjit.ir.types import ArrayType, Layout, ScalarType
from tensorjit.ops import OPS
from tensorjit.ops.abstract import of
from tensorjit.ops.typed import TypedBuilder

Array = np.ndarray[Any, Any]

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.absolute, "div": np.divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "truncrem": np.fmod, "min": np.minimum, "max": np.maximum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert, "shl": np.left_shift,
    "shr": np.right_shift, "pow": np.power, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "popcount": np.bitwise_count,
    "select": lambda c, x, y: x if c else y, "complex": lambda re, im: re + 1j * im,
}  # fmt: skip
_REDUCERS: Mapping[str, Any] = {
    "sum": np.sum, "prod": np.prod, "min": np.min, "max": np.max, "fmin": np.fmin.reduce, "fmax": np.fmax.reduce,
    "and": np.all, "or": np.any, "xor": np.logical_xor.reduce,
}  # fmt: skip


def run_kernel(kernel: Kernel, arrays: Sequence[Array], scalars: Sequence[Any]) -> None:
    """Run a kernel; written views are changed."""
    assert len(arrays) == len(kernel.views) and len(scalars) == len(kernel.scalars)
    for view, array in zip(kernel.views, arrays, strict=True):
        assert array.dtype == view.dtype.numpy and array.ndim == view.rank, (view, array.dtype, array.shape)
        if view.unit_axis is not None and array.size and array.shape[view.unit_axis] > 1:
            assert array.strides[view.unit_axis] == array.itemsize, f"{view} has no unit stride"
    _Interpreter(kernel, arrays, scalars).run()


class _Interpreter:
    def __init__(self, kernel: Kernel, arrays: Sequence[Array], scalars: Sequence[Any]) -> None:
        self.kernel = kernel
        self.views = {v.name: a for v, a in zip(kernel.views, arrays, strict=True)}
        self.env: dict[str, Any] = {
            p.name: np.array(v).astype(p.dtype.numpy)[()] for p, v in zip(kernel.scalars, scalars, strict=True)
        }
        self.fed: dict[str, list[tuple[Any, int]]] = {}

    def run(self) -> None:
        for scratch in self.kernel.scratch:
            self.views[scratch.name] = np.empty(int(self.value(scratch.extent)), scratch.dtype.numpy)
        self.body(self.kernel.body)

    def body(self, body: Sequence[Stmt]) -> None:
        for stmt in body:
            match stmt:
                case Let(name, expr):
                    assert name not in self.kernel_names(), name
                    self.env[name] = self.value(expr)
                case Store(view, indices, expr):
                    array = self.views[view]
                    assert expr.dtype.numpy == array.dtype
                    array[self.indices(array, indices)] = self.value(expr)
                case Accumulate(name, expr, position):
                    where = 0 if position is None else int(self.value(position))
                    self.fed[name].append((self.value(expr), where))
                case If(cond, then, orelse):
                    self.body(then if self.value(cond) else orelse)
                case For():
                    self.loop(stmt)

    def kernel_names(self) -> set[str]:
        return {v.name for v in self.kernel.views} | {s.name for s in self.kernel.scalars}

    def loop(self, loop: For) -> None:
        for reduction in loop.reductions:
            self.fed[reduction.name] = []
        for k in range(int(self.value(loop.extent))):
            self.env[loop.index] = np.int64(k)
            self.body(loop.body)
        for reduction in loop.reductions:
            self.env[reduction.name] = _reduced(reduction, self.fed.pop(reduction.name))

    def indices(self, array: Array, indices: Sequence[Expr]) -> tuple[int, ...]:
        found = tuple(int(self.value(i)) for i in indices)
        assert len(found) == array.ndim and all(0 <= i < n for i, n in zip(found, array.shape, strict=True))
        return found

    def value(self, expr: Expr) -> Any:
        match expr:
            case Const(value, dtype):
                return np.array(value).astype(dtype.numpy)[()]
            case Ref(name, _):
                return self.env[name]
            case Load(view, indices, dtype):
                array = self.views[view]
                assert array.dtype == dtype.numpy
                return array[self.indices(array, indices)]
            case Apply(intrinsic, args, dtype):
                assert INTRINSICS[intrinsic] == len(args)
                return _applied(intrinsic, [self.value(a) for a in args], dtype)


def _applied(intrinsic: str, args: Sequence[Any], dtype: DType) -> Any:
    with np.errstate(all="ignore"):
        if intrinsic == "cast":
            return np.array(args[0]).astype(dtype.numpy)[()]
        if intrinsic == "bits":
            return np.array(args[0]).view(dtype.numpy)[()]
        function = _FUNCTIONS.get(intrinsic) or getattr(np, intrinsic)
        return np.array(function(*args)).astype(dtype.numpy)[()]


def _reduced(reduction: Reduction, fed: Sequence[tuple[Any, int]]) -> Any:
    values = np.array([v for v, _ in fed], reduction.dtype.numpy)
    if reduction.op in ("argmin", "argmax"):
        best = values.min() if reduction.op == "argmin" else values.max()
        return np.int64(min(p for v, p in fed if v == best or v != v))
    with np.errstate(all="ignore"):
        if reduction.ordered:
            step: np.ufunc = {"sum": np.add, "prod": np.multiply}[reduction.op]
            return functools.reduce(step, values, reduction.dtype.numpy.type(step.identity))
        return np.array(_REDUCERS[reduction.op](values)).astype(reduction.dtype.numpy)[()]


# -- graphs ----------------------------------------------------------------------------------------------------------


def array(dtype: str, *shape: Dim | str, layout: Layout = "C") -> ArrayType:
    """An array type; sizes given as names are symbols that are not 1."""
    sizes = tuple(dims.symbol(s, 0, True) if isinstance(s, str) else s for s in shape)
    found = from_numpy(np.dtype(dtype))
    assert found is not None
    return ArrayType(found, sizes, layout)


def scalar(dtype: str) -> ScalarType:
    found = from_numpy(np.dtype(dtype))
    assert found is not None
    return ScalarType(found)


class Ops:
    """Rows of the op table by name: `ops.add(x, 1.0)`, `ops.sum(x, axis=0)`."""

    def __init__(self, builder: TypedBuilder) -> None:
        self.b = builder

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            row = OPS[name]
            if row.rule is not None:
                return row.rule(self.b, *map(of, args), **{k: of(v) for k, v in keywords.items()})
            return self.b.elementwise(name, *map(of, args), **keywords)

        return call


def build(function: Callable[..., Any], *types: ArrayType | ScalarType, **attrs: Any) -> Graph:
    """The typed graph of `function(b, ops, *values)`; it returns a value, a tuple of values or None."""
    params = [Value(t, f"x{k}") for k, t in enumerate(types)]
    b = TypedBuilder(OPS, Builder(params))
    result = function(b, Ops(b), *params)
    items = result if isinstance(result, tuple) else () if result is None else (result,)
    values = [b.value(of(v)) for v in items]
    structure: Any = "value" if not isinstance(result, tuple) and result is not None else ("tuple",) + ("value",) * len(values)
    if result is None:
        structure = ("const", None)
    b.effect("return", values, structure=structure)
    symbols: dict[str, tuple[int, int]] = {}
    for k, t in enumerate(types):
        for axis, size in enumerate(t.shape if isinstance(t, ArrayType) else ()):
            if not isinstance(size, int):
                symbols.setdefault(str(size), (k, axis))
    return Graph("f", b.builder.block(), {"symbols": symbols, **attrs})


def run_lowered(
    graph: Graph, args: Sequence[Any], launch: Callable[[Kernel, Sequence[Array], Sequence[Any]], None] = run_kernel
) -> Any:
    """Run a lowered graph: the reference backend around the kernels."""
    with _launching(launch):
        return reference.run(graph, args)


@contextmanager
def _launching(launch: Callable[[Kernel, Sequence[Array], Sequence[Any]], None]) -> Iterator[None]:
    def handler(run: Any, op: Op, args: list[Any]) -> None:
        kernel: Kernel = op.attrs["kernel"]
        views, scalars = args[: len(kernel.views)], args[len(kernel.views) :]
        launch(kernel, views, [*scalars, *(run.size(d) for d in op.attrs["sizes"])])

    handlers = reference._HANDLERS
    reference._HANDLERS = {**handlers, "launch": handler}
    try:
        yield
    finally:
        reference._HANDLERS = handlers


def launches(graph: Graph) -> list[Op]:
    return [op for op in graph.walk() if op.name == "launch"]


def temporaries(graph: Graph) -> list[Op]:
    """Allocations in memory that are not returned; rows that one kernel alone keeps for itself do not count."""
    uses = [v for op in graph.walk() for v in op.operands]
    kept = {v for op in graph.walk() if op.name == "return" for v in op.operands}
    for op in launches(graph):
        size = sum(d != 1 for d in op.attrs["space"])
        for v in op.operands[: len(op.attrs["kernel"].views)]:
            if isinstance(v.type, ArrayType) and sum(d != 1 for d in v.type.shape) < size and uses.count(v) == 1:
                kept.add(v)
    return [op for op in graph.walk() if op.name == "empty" and op.attrs["space"] == "heap" and op.result not in kept]
