"""Writes the loops of a fused region: Region -> Kernel.

Every intermediate is a `Let`, so that an expression is written once however often it is used, and stands in the outermost loop
that knows all it needs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from typing import final

import numpy as np

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import BOOL, F16, F32, I64, DType
from tensorjit.ir.graph import Op, Value
from tensorjit.ir.kernel import (
    MATH,
    Accumulate,
    Apply,
    Const,
    Expr,
    For,
    Kernel,
    Let,
    Load,
    LoopKind,
    Reduction,
    Ref,
    ScalarParam,
    Scratch,
    Stmt,
    Store,
    ViewParam,
    i64,
    subexpressions,
)
from tensorjit.ir.types import ScalarType
from tensorjit.ops.opdef import Loop
from tensorjit.passes.nest import Memory, Nest, Region
from tensorjit.passes.regions import Axes, is_array, operand_axes, whole
from tensorjit.records import dataclass

# these may raise a flag, so that a loop of no turns must not have run them; index arithmetic and casts may move out
_STAY = frozenset({"add", "sub", "mul", "div", "floordiv", "mod", "truncrem", "sqrt", "fma", "pow", *MATH})


@final
@dataclass(frozen=True, slots=True)
class Operand:
    """An array as the kernel wants it: with `shape` (None: as it is) after its axes are turned round if `backwards`."""

    memory: Memory
    shape: tuple[Dim, ...] | None = None
    backwards: bool = False


@final
@dataclass(frozen=True, slots=True)
class Written:
    """A kernel, and what it is launched with."""

    kernel: Kernel
    operands: tuple[Operand, ...]
    scalars: tuple[Value, ...]
    sizes: tuple[Dim, ...]


@final
@dataclass(slots=True)
class _Scope:
    """One loop under construction (or the kernel's top): statements, and the names of what they compute."""

    nest: Nest | None = None
    index: str = ""
    kind: LoopKind = "serial"
    reductions: tuple[Reduction, ...] = ()
    body: list[Stmt] = field(default_factory=list)
    known: dict[object, Ref] = field(default_factory=dict)


def write_kernel(region: Region, unaligned: frozenset[Value] = frozenset()) -> Written:
    """The kernel of a region; `unaligned`: the parameters whose elements may not be aligned."""
    return _Writer(region, unaligned).run()


@final
class _Writer:
    def __init__(self, region: Region, unaligned: frozenset[Value]) -> None:
        self.region = region
        self.unaligned = unaligned
        self.scopes: list[_Scope] = [_Scope()]
        self.home: dict[str, int] = {}
        self.count = 0
        self.sizes: dict[Dim, str] = {}
        self.scalars: dict[Value, ScalarParam] = {}
        self.scratch: list[Scratch] = []
        self.rows: dict[Value, Expr] = {}
        self.full: dict[Value, Expr] = {}
        self.uniform: dict[Value, Expr] = {}
        self.operands: dict[Memory, Operand] = {}
        self.index: dict[int, tuple[Nest, str]] = {}
        self.reduction_names: dict[Value, str] = {}
        self.held: dict[Value, str] = {}  # values kept in scratch

    def run(self) -> Written:
        r = self.region
        for memory in r.arrays():
            self.operands[memory] = self._operand_form(memory)
        self._open_all(r.row_loops, row=True)
        for sweep in range(r.sweeps):
            self._row_values(sweep)
            if r.carried and sweep == r.sweeps - 1:
                self._finish_rows()
                self.rows = {}
                self._open_all([*r.sweep_loops, *r.row_loops], row=True)
            self._sweep(sweep)
        if not r.carried:
            self._row_values(r.sweeps)
            self._finish_rows()
        while len(self.scopes) > 1:
            self._close()
        return self._finish()

    def _finish(self) -> Written:
        r = self.region
        views = tuple(self._view(m) for m in self.operands)
        sizes = tuple(ScalarParam(name, I64) for name in self.sizes.values())
        names = tuple(o.name for o in r.members if _is_work(o, r))
        body = _without_idle_loads(self.scopes[0].body)
        kernel = Kernel("", views, (*self.scalars.values(), *sizes), body, tuple(self.scratch), names)
        name = f"k_{zlib.crc32(repr(kernel).encode()):08x}"  # not hashlib: it loads OpenSSL
        return Written(replace(kernel, name=name), tuple(self.operands.values()), tuple(self.scalars), tuple(self.sizes))

    # -- arrays ------------------------------------------------------------------------------------------------

    def _finish_rows(self) -> None:
        """Store the row values and leave the loops over rows."""
        r = self.region
        stores = list(self._row_stores())
        stores += [Store(m.name, self._indices(m, r.axes[v]), self.rows[v]) for v, m in r.carried.items() if m.result is None]
        self.scopes[-1].body += stores
        while len(self.scopes) > 1:
            self._close()

    def _operand_form(self, memory: Memory) -> Operand:
        if not memory.merged:
            return Operand(memory)
        (axes,) = memory.seen
        live = [k for k in range(len(axes)) if axes[k] is not None]
        backwards = memory.layout == "F" and len(live) > 1
        nests = [*self.region.row_loops, *self.region.sweep_loops]
        shape: list[Dim] = []
        last: Nest | None = None
        for k in reversed(live) if backwards else live:
            nest = next(n for n in nests if axes[k] in n.axes)
            if nest is last:
                shape[-1] = shape[-1] * memory.shape[k]
            else:
                shape.append(memory.shape[k])
            last = nest
        return Operand(memory, tuple(shape), backwards)

    def _view(self, memory: Memory) -> ViewParam:
        operand = self.operands[memory]
        rank, unit = len(memory.shape), memory.unit
        if operand.shape is not None:
            rank = len(operand.shape)
            unit = rank - 1 if rank else None
        aligned = memory.source is None or memory.source not in self.unaligned
        return ViewParam(memory.name, memory.dtype, rank, unit, memory.written, aligned)

    def _indices(self, memory: Memory, axes: Axes) -> tuple[Expr, ...]:
        if self.operands[memory].shape is None:
            return tuple(self._axis_index(a) for a in axes)
        names: list[str] = []
        live = [a for a in axes if a is not None]
        for a in reversed(live) if self.operands[memory].backwards else live:
            name = self.index[a][1]
            if not names or names[-1] != name:
                names.append(name)
        return tuple(Ref(n, I64) for n in names)

    def _axis_index(self, axis: int | None) -> Expr:
        return i64(0) if axis is None else Ref(self.index[axis][1], I64)

    def _load(self, memory: Memory, axes: Axes) -> Expr:
        return self._let(Load(memory.name, self._indices(memory, axes), memory.dtype))

    # -- loops -------------------------------------------------------------------------------------------------

    def _open_all(self, nests: Sequence[Nest], row: bool) -> None:
        vector = self.region.vector_axis
        for k, nest in enumerate(nests):
            name = f"i{len(self.scopes) - 1}"
            kind: LoopKind = "parallel" if row and k == 0 else "serial"
            if vector in nest.axes or (not self.region.order and not row):
                kind = "vector"
            for axis in nest.axes:
                self.index[axis] = (nest, name)
            self.scopes.append(_Scope(nest, name, kind))
            self.home[name] = len(self.scopes) - 1

    def _close(self) -> None:
        scope = self.scopes.pop()
        assert scope.nest is not None
        loop = For(scope.index, self._size(scope.nest.extent), tuple(scope.body), scope.kind, scope.reductions)
        self.scopes[-1].body.append(loop)

    def _size(self, dim: Dim) -> Expr:
        if isinstance(dim, int):
            return i64(dim)
        if dim not in self.sizes:
            self.sizes[dim] = f"n{len(self.sizes)}"
        return Ref(self.sizes[dim], I64)

    def _flat_position(self, nests: Sequence[Nest]) -> Expr:
        """The index over several loops as one."""
        position: Expr | None = None
        for nest in nests:
            index = Ref(self.index[nest.axes[0]][1], I64)
            if position is None:
                position = index
            else:
                scaled = self._apply("mul", I64, position, self._size(nest.extent))
                position = self._apply("add", I64, scaled, index)
        return i64(0) if position is None else position

    # -- sweeps ------------------------------------------------------------------------------------------------

    def _sweep(self, sweep: int) -> None:
        r = self.region
        depth = len(self.scopes)
        if not (r.carried and sweep == r.sweeps - 1):
            self._open_all(r.sweep_loops, row=False)
        self.full = {}
        needed = r.needed(sweep)
        for op in r.members:
            if op.result in needed and op.result not in r.floating:
                self.full[op.result] = self._compute(op)
        self._accumulate(r.reductions(sweep), depth)
        # all is read before anything is written: a result may be where an older value is kept
        stores = [*self._kept(sweep), *self._full_stores(sweep)]
        self.scopes[-1].body += stores
        while len(self.scopes) > depth:
            self._close()
        for op in r.reductions(sweep):
            self._reduced(op)

    def _accumulate(self, ops: Sequence[Op], depth: int) -> None:
        """Feed a sweep's reductions; two of one kind over one value are one."""
        started: dict[object, str] = {}
        for op in ops:
            row = self.region.table[op.name]
            assert row.reduction is not None
            loop: Loop = op.attrs["loop"]
            by_position = row.reduction in ("argmin", "argmax")
            dtype = loop.inputs[0] if by_position else self._fed(op)
            value = self._cast(self._operand(op.operands[0], whole(self.region.space)), loop.inputs[0])
            value = self._cast(value, dtype)
            key = (row.reduction, dtype, value.name if isinstance(value, Ref) else op.result)
            name = self.reduction_names[op.result] = started.get(key) or f"s{len(self.reduction_names)}"
            if key in started:
                continue
            started[key] = name
            position = None
            if by_position:
                position = self._flat_position(sorted(self.region.sweep_loops, key=lambda n: min(n.axes)))
            self.scopes[-1].body.append(Accumulate(name, value, position))
            ordered = dtype.kind in "fc" and self.region.is_ordered(op)
            self.scopes[depth].reductions += (Reduction(name, row.reduction, dtype, ordered=ordered),)

    def _reduced(self, op: Op) -> None:
        """A finished reduction as a row value."""
        loop: Loop = op.attrs["loop"]
        name = self.reduction_names[op.result]
        by_position = self.region.table[op.name].reduction in ("argmin", "argmax")
        self.home[name] = len(self.scopes) - 1
        self.rows[op.result] = self._cast(Ref(name, I64 if by_position else self._fed(op)), loop.output)

    def _fed(self, op: Op) -> DType:
        """The dtype that a reduction accumulates in: NumPy adds and multiplies the halves of a row in f32."""
        loop: Loop = op.attrs["loop"]
        in_row = op.name in ("sum", "prod") and not self.region.adds_rows(op)
        return F32 if loop.output is F16 and in_row else loop.output

    def _kept(self, sweep: int) -> Iterator[Store]:
        """The stores of what later sweeps load."""
        r = self.region
        results = {r.resolved(v): r.results[result] for result, v in r.outputs if r.phase[v] == sweep}
        for value, hold in r.holds.items():
            if hold.first != sweep:
                continue
            expr = self.full[value]
            if hold.memory is None:
                name = self.held[value] = f"b{len(self.held)}"
                extent = dims.product(n.extent for n in r.sweep_loops)
                self.scratch.append(Scratch(name, expr.dtype, self._size(extent)))
                yield Store(name, (self._flat_position(r.sweep_loops),), expr)
            elif results.get(value) is not hold.memory:
                yield Store(hold.memory.name, self._indices(hold.memory, r.axes[value]), expr)

    def _full_stores(self, sweep: int) -> Iterator[Store]:
        r = self.region
        for result, v in r.outputs:
            if r.is_full(v) and r.phase[v] == sweep:
                yield self._store(r.results[result], v)
        for target, v in r.stores:
            if r.is_full(v) and sweep == r.sweeps - 1:
                yield self._store(r.memory[target], v)

    def _row_stores(self) -> Iterator[Store]:
        r = self.region
        for result, v in r.outputs:
            if not r.is_full(v):
                yield self._store(r.results[result], v)
        for target, v in r.stores:
            if not r.is_full(v):
                yield self._store(r.memory[target], v)

    def _store(self, memory: Memory, value: Value) -> Store:
        axes = self.region.axes[value]
        expr = self._cast(self._operand(value, axes), memory.dtype)
        return Store(memory.name, self._indices(memory, axes), expr)

    def _row_values(self, phase: int) -> None:
        r = self.region
        if not r.reduced:
            return
        for op in r.members:
            v = op.result
            inside = v in r.axes and v not in r.alias and v not in r.floating
            if inside and v not in self.rows and r.phase[v] <= phase and not r.is_full(v) and not r.is_reduction(op):
                self.rows[v] = self._compute(op)

    # -- values ------------------------------------------------------------------------------------------------

    def _compute(self, op: Op) -> Expr:
        axes = self.region.axes[op.result]
        args = [self._operand(v, axes) for v in op.operands]
        if op.name == "copy":
            return args[0]
        loop: Loop = op.attrs["loop"]
        if op.name == "cast":
            return self._cast(args[0], loop.output)
        cast = [self._cast(a, d) for a, d in zip(args, loop.inputs, strict=True)]
        expr = self.region.table[op.name].lower(cast, loop.output)
        assert expr is not None
        return self._flatten(expr)

    def _operand(self, value: Value, axes: Axes) -> Expr:
        """One element of an operand of an op whose result has the given axes."""
        r = self.region
        value = r.resolved(value)
        if value in r.uniform:
            return self._uniform(value)
        if value in r.memory:
            return self._load(r.memory[value], operand_axes(r.sizes.shape(value), axes))
        if value in r.floating:
            return self._leaf(value, operand_axes(r.sizes.shape(value), axes))
        if value in self.rows:
            return self.rows[value]
        if value in self.full:
            return self.full[value]
        return self._recalled(value)

    def _recalled(self, value: Value) -> Expr:
        axes = self.region.axes[value]
        if value in self.region.carried:
            return self._load(self.region.carried[value], axes)
        hold = self.region.holds[value]
        if hold.memory is not None:
            found = self._load(hold.memory, axes)
        else:
            position = self._flat_position(self.region.sweep_loops)
            found = self._let(Load(self.held[value], (position,), self.scratch[list(self.held).index(value)].dtype))
        self.full[value] = found
        return found

    def _uniform(self, value: Value) -> Expr:
        """A scalar that is the same for the whole launch."""
        if value not in self.uniform:
            op = self.region.uniform[value]
            assert isinstance(value.type, ScalarType)
            dtype = value.type.dtype
            if op is None:
                param = ScalarParam(f"p{len(self.scalars)}", dtype)
                self.scalars[value] = param
                self.home[param.name] = 0
                self.uniform[value] = Ref(param.name, dtype)
            elif op.name == "const":
                self.uniform[value] = Const(op.attrs["value"], dtype)
            elif op.name == "dim":
                size = self._size(op.attrs["dim"])
                self.uniform[value] = size
            else:
                self.uniform[value] = self._cast(self._uniform(op.operands[0]), dtype)
        return self.uniform[value]

    def _leaf(self, value: Value, axes: Axes) -> Expr:
        """One element of a `full` or `iota`, or of a view of one, computed where it is wanted."""
        op = self.region.floating[value]
        while op.name == "view":
            walked = [a for a, _ in op.attrs["axes"]]
            source = self.region.floating[op.operands[0]]
            rank = len(self.region.sizes.shape(source.result))
            axes = tuple(axes[walked.index(k)] if k in walked else None for k in range(rank))
            op = source
        dtype = _dtype(op.result)
        if op.name == "full":
            return self._cast(self._uniform(op.operands[0]), dtype)
        start, step = (self._cast(self._uniform(v), dtype) for v in op.operands)
        return self._iota(self._axis_index(axes[0]), start, step, dtype)

    def _iota(self, k: Expr, start: Expr, step: Expr, dtype: DType) -> Expr:
        """NumPy's `fill`: the first two elements are given, the others are start + k * (second - first).

        Source: numpy/_core/src/multiarray/arraytypes.c.src, @NAME@_fill and HALF_fill.
        """
        if dtype.kind not in "fc":
            wide = I64 if dtype is BOOL else dtype
            a, b = self._cast(start, wide), self._cast(step, wide)
            scaled = self._apply("mul", wide, self._cast(k, wide), b)
            return self._cast(self._apply("add", wide, a, scaled), dtype)
        if dtype.kind == "c":
            parts = [
                self._iota(k, self._apply(p, dtype.part, start), self._apply(p, dtype.part, step), dtype.part)
                for p in ("real", "imag")
            ]
            return self._apply("complex", dtype, *parts)
        wide = F32 if dtype is F16 else dtype
        second = self._at_top(lambda: self._apply("add", dtype, start, step))
        first = self._cast(start, wide)
        delta = self._at_top(lambda: self._apply("sub", wide, self._cast(second, wide), first))
        scaled = self._apply("mul", wide, self._cast(k, wide), delta)
        line = self._cast(self._apply("add", wide, first, scaled), dtype)
        near = self._apply("select", dtype, self._apply("eq", BOOL, k, i64(0)), start, second)
        return self._apply("select", dtype, self._apply("lt", BOOL, k, i64(2)), near, line)

    # -- expressions -------------------------------------------------------------------------------------------

    def _at_top(self, make: Callable[[], Expr]) -> Expr:
        """Compute outside of all loops, where a flag can be raised no more often than NumPy does."""
        inner, self.scopes = self.scopes, self.scopes[:1]
        try:
            return make()
        finally:
            self.scopes = inner

    def _apply(self, intrinsic: str, dtype: DType, *args: Expr) -> Expr:
        return self._let(Apply(intrinsic, args, dtype))

    def _cast(self, expr: Expr, dtype: DType) -> Expr:
        if expr.dtype is dtype:
            return expr
        folded = _fold_cast(expr, dtype) if isinstance(expr, Const) else None
        return folded or self._let(Apply("cast", (expr,), dtype))

    def _flatten(self, expr: Expr) -> Expr:
        """The expression with every application in a Let of its own; what occurs twice is computed once."""
        done: dict[int, Expr] = {}
        stack = [expr]
        while stack:
            e = stack[-1]
            if id(e) in done:
                stack.pop()
            elif not isinstance(e, Apply):
                done[id(e)] = e
                stack.pop()
            elif waiting := [a for a in e.args if id(a) not in done]:
                stack.extend(waiting)
            else:
                args = tuple(done[id(a)] for a in e.args)
                same = e.intrinsic == "cast" and args[0].dtype is e.dtype
                done[id(e)] = args[0] if same else self._let(Apply(e.intrinsic, args, e.dtype))
                stack.pop()
        return done[id(expr)]

    def _let(self, expr: Apply | Load) -> Ref:
        """Name an expression whose parts have names; in the outermost loop that knows them."""
        parts = expr.args if isinstance(expr, Apply) else expr.indices
        depth = max((self.home.get(p.name, 0) for p in parts if isinstance(p, Ref)), default=0)
        if isinstance(expr, Apply) and expr.intrinsic in _STAY and expr.dtype is not I64:
            depth = len(self.scopes) - 1
        head = (expr.intrinsic if isinstance(expr, Apply) else "[" + expr.view, expr.dtype.name)
        # constants by their text: 0.0 and -0.0 are equal, and so are 1 and True
        key = (head, tuple(p.name if isinstance(p, Ref) else (repr(p), p.dtype.name) for p in parts))
        for scope in self.scopes:
            if key in scope.known:
                return scope.known[key]
        ref = Ref(f"t{self.count}", expr.dtype)
        self.count += 1
        scope = self.scopes[depth]
        scope.body.append(Let(ref.name, expr))
        scope.known[key] = ref
        self.home[ref.name] = depth
        return ref


def _without_idle_loads(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """The statements without loads that nothing makes use of: np.isnan of integers is False whatever they are."""
    used = {part.name for expr in _expressions(body) for part in subexpressions(expr) if isinstance(part, Ref)}

    def kept(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
        live = [s for s in body if not (isinstance(s, Let) and isinstance(s.expr, Load) and s.name not in used)]
        return tuple(replace(s, body=kept(s.body)) if isinstance(s, For) else s for s in live)

    return kept(body)


def _expressions(body: Sequence[Stmt]) -> Iterator[Expr]:
    for stmt in body:
        match stmt:
            case For(extent=extent, body=inner):
                yield extent
                yield from _expressions(inner)
            case Let(expr=expr):
                yield expr
            case Store(indices=indices, expr=expr):
                yield from (expr, *indices)
            case Accumulate(expr=expr, position=position):
                yield from (expr,) if position is None else (expr, position)


def _is_work(op: Op, region: Region) -> bool:
    """Whether an op's name belongs to the kernel's: it computes elements, and the user wrote it."""
    return op.result in region.axes and op.name not in ("view", "full", "copy") and not op.attrs.get("store")


def _fold_cast(const: Const, dtype: DType) -> Const | None:
    """A constant converted, where that raises no flag at run time."""
    source = const.dtype
    if source.kind in "fc" and (dtype.kind in "biu" or dtype.kind < source.kind):
        return None
    with np.errstate(all="ignore"):
        value = np.array(const.value, source.numpy).astype(dtype.numpy)[()]
    if dtype.kind in "fc" and not np.isfinite(value) and np.isfinite(const.value):
        return None
    return Const(value.item(), dtype)


def _dtype(value: Value) -> DType:
    assert not isinstance(value.type, ScalarType) and is_array(value)
    return value.type.dtype  # type: ignore[union-attr]
