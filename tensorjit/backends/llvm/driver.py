"""From a lowered graph to the body of a native entry: views, scalars, launches, library calls, results.

Values of the graph become registers: an array an `ArrayValue`, a scalar a register as `scalars` has them. A size is computed
where it is used, from the symbols that are known there. Everything that may fail leaves through the host builder's exits, so
that every reference is dropped on the way out. Control flow is in `control`, Python's scalars in `python_scalars`.
"""

from __future__ import annotations

import functools
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, final

import numpy as np
from llvmlite import ir

from tensorjit.backends.llvm import control, python_scalars, sizes
from tensorjit.backends.llvm.abi import (
    ARRAY_ALIGNED,
    ARRAY_C_CONTIGUOUS,
    ARRAY_F_CONTIGUOUS,
    DOUBLE,
    ERROR_ARGS,
    FLOAT,
    HALF,
    I8,
    I32,
    I64,
    LAYOUT,
    PTR,
    ArrayValue,
    ScalarValue,
    memory_type,
)
from tensorjit.backends.llvm.casts import cast
from tensorjit.backends.llvm.control import GIL_WORK, Exit
from tensorjit.backends.llvm.flags import Sides, overflows, side_of
from tensorjit.backends.llvm.frame import OUT_OF_MEMORY
from tensorjit.backends.llvm.kernels import Target, emit_kernel
from tensorjit.backends.llvm.pyapi import NULL, HostBuilder
from tensorjit.backends.llvm.registers import Pair, Register, constant, map_parts, scalar_type
from tensorjit.backends.llvm.scalars import emit_intrinsic, eval_expr
from tensorjit.errors import GuardError, Loc
from tensorjit.ir import dims
from tensorjit.ir.dims import Dim, DimExpr
from tensorjit.ir.dtypes import BOOL, DType
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.kernel import Kernel, Ref
from tensorjit.ir.types import ArrayType, ScalarType, Type
from tensorjit.ops.opdef import Loop, OpDef
from tensorjit.passes.alias import Aliases, find_aliases
from tensorjit.records import dataclass
from tensorjit.runtime.raising import make_exception, resolve, warn

__all__ = ["Driver", "ErrorSite"]

Item = Any
GUARD_ERROR = "tensorjit.errors.GuardError"
"""An ArrayValue, or a register."""

_RELATIONS = {"eq": "==", "ge": ">=", "gt": ">"}


@final
@dataclass(frozen=True, slots=True)
class ErrorSite:
    """An exception that native code may raise: its class or the class's qualified name, a format string over i64
    numbers, and its place."""

    exception: str | type[BaseException]
    message: str
    loc: Loc | None

    def throw(self, numbers: Sequence[int]) -> None:
        """Raise it."""
        raise make_exception(self.exception, self.message.format(*numbers))


class Driver:
    """Emits one lowered graph; `body` is the body of `build_entry`."""

    def __init__(self, graph: Graph, table: Mapping[str, OpDef], target: Target, aligned: bool = True) -> None:
        self.graph = graph
        self.table = table
        self.target = target
        self.aligned = aligned  # every element of every argument
        self.wants_pipeline = _turns_over_scalars(graph)
        self.sides = Sides(graph)
        self.errors: list[ErrorSite] = []
        self.env: dict[Value, Item] = {}
        self.symbols: dict[str, ir.Value] = {}
        self.sizes: ChainMap[DimExpr, ir.Value] = ChainMap()
        self.intervals: dict[str, sizes.Interval] = {}  # where symbols lie
        self.ranges: dict[Value, sizes.Interval] = {}  # and Python ints
        self.loops: list[control.Loop] = []
        self.scopes: list[Exit] = []  # of `yield`
        self.leaves: list[Exit] = []  # of `leave`
        self.conditional = 0  # depth of ifs
        self.released = False  # the GIL may be, in a loop around
        self.side = self.base = "numpy"  # whose flags are raised now, and at the ends of blocks
        self.boxed: dict[Value, ir.Value] = {}  # NumPy scalars that came as objects, which the call owns
        self.nullable: set[int] = set()  # ids of registers: the object of an array that may have none
        self.kernels: dict[str, tuple[Kernel, ir.Function]] = {}
        self.memory = _Memory(graph) if self.wants_pipeline else None
        self.host: HostBuilder
        self.args: list[Any] = []
        self.loc: Loc | None = None

    @property
    def reads_flags(self) -> bool:
        """Whether a call may have to warn: the entry's `fp_status`."""
        return self.sides.reports

    @property
    def emit(self) -> ir.IRBuilder:
        return self.host.emit

    def body(self, host: HostBuilder, args: list[Any]) -> None:
        """The body of an entry whose params are the graph's."""
        self.host, self.args = host, args
        if not self.reads_flags:
            host.fp_status = False
        for param, arg in zip(self.graph.params, args, strict=True):
            self.env[param] = _from_argument(host, param.type, arg)
        for name, (index, axis) in self.graph.attrs.get("symbols", {}).items():
            param = self.graph.params[index]
            item = self.env[param]
            self.symbols[name] = item.dims[axis] if isinstance(param.type, ArrayType) else item
        self.block(self.graph.block)

    # -- ops ---------------------------------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        """Emit the ops of a block; its terminator ends the LLVM block."""
        self.run(block.ops)

    def run(self, ops: Sequence[Op]) -> None:
        """Emit ops."""
        for op in ops:
            self.loc = op.loc or self.loc
            if op.blocks:
                self._run_blocks(op)
            elif op.is_terminator:
                self.switch("numpy" if op.name == "return" else self.base)
                self._dispatch(op)
            else:
                self._run_plain(op)

    def _run_blocks(self, op: Op) -> None:
        outer, self.base = self.base, self.sides.inside(op) if self.base == "numpy" else self.base
        self.switch(self.base)
        if self.base == outer:
            self._dispatch(op)
        else:  # what is pinned around the blocks need not be inside
            inner = [v for block in op.blocks for o in block.walk() for v in o.operands]
            self._pinned(op, [v for v in (*op.operands, *inner) if v in self.env])
        self.side, self.base = self.base, outer
        self.switch(outer)

    def _run_plain(self, op: Op) -> None:
        side = side_of(op)
        if side and self.sides.mixed and self.base == "numpy":
            self.switch(side)
            self._pinned(op, op.operands)
        elif side == "numpy" and self.conditional and self.wants_pipeline and op.name != "launch":
            self._pinned(op, op.operands)  # else LLVM may compute it on the other path too, and raise its flags
        else:
            self._dispatch(op)

    def _dispatch(self, op: Op) -> None:
        handler = OPS.get(op.name)
        if handler is not None:
            handler(self, op)
        elif op.name.startswith(("py_", "math_")):
            self.env[op.result] = python_scalars.emit(self, op)
        else:
            self.scalar_op(op)

    def _pinned(self, op: Op, operands: Sequence[Value]) -> None:
        """Emit an op that computes with operands where it stands: not before what is there already, not after what comes."""
        kept = {v: self.env[v] for v in operands if isinstance(v.type, ScalarType)}
        self.env.update((v, self._pin(item)) for v, item in kept.items())
        self._dispatch(op)
        self.env.update(kept)
        for v in op.results:
            if isinstance(v.type, ScalarType):
                self.env[v] = self._pin(self.env[v])

    def _pin(self, register: Register) -> Register:
        def pin(part: ir.Value) -> ir.Value:
            if isinstance(part, ir.Constant) or part.type not in (HALF, FLOAT, DOUBLE):
                return part
            if part.type != HALF:
                return self.host.fp_pin(part)
            return self.emit.bitcast(self.host.fp_pin(self.emit.bitcast(part, ir.IntType(16))), HALF)

        return map_parts(pin, register)

    def switch(self, side: str) -> None:
        """The flags raised from here on are those of `side`."""
        if not self.sides.mixed or side == self.side:
            return
        self.side = side
        if side == "python":
            self.host.fp_collect()
            self.host.fp_ours = False
        else:
            self.host.fp_start()
            self.host.fp_ours = True

    def scalar_op(self, op: Op) -> None:
        """An elementwise row on scalars, by its lowering."""
        loop: Loop = op.attrs["loop"]
        registers = {
            f"x{k}": self.convert(self.env[v], _dtype(v.type), d)
            for k, (v, d) in enumerate(zip(op.operands, loop.inputs, strict=True))
        }
        refs = [Ref(f"x{k}", d) for k, d in enumerate(loop.inputs)]
        lowered = self.table[op.name].lower(refs, loop.output)
        assert lowered is not None, f"{op.name} has no lowering for {loop}"
        result = self.env[op.result] = eval_expr(self.emit, lowered, registers)
        if op.attrs.get("checked"):
            given = [*registers.values()]
            carried = any(isinstance(r, ir.PhiInstr) for r in given)
            overflow = overflows(self.emit, op.name, loop.output.kind == "i", given, result, carried=carried)
            self.host.note_overflow(overflow, rare=carried)

    def convert(self, register: Register, source: DType, to: DType) -> Register:
        """A scalar cast to another dtype, as astype."""
        return register if source is to else cast(self.emit, register, source, to)

    # -- errors ------------------------------------------------------------------------------------------------

    def error(self, exception: str | type[BaseException], message: str) -> int:
        """The number of an error in this module's table."""
        self.errors.append(ErrorSite(exception, message, self.loc))
        return len(self.errors) - 1

    def raise_unless(self, condition: ir.Value, exception: str, message: str, numbers: Sequence[ir.Value] = ()) -> None:
        """Go on where `condition` holds; raise otherwise."""
        failed = self.host.new_block("raise")
        self.host.branch_unless(condition, failed)
        with self.emit.goto_block(failed):
            if len(numbers) > ERROR_ARGS:  # more sizes than the context has room for
                numbers, message = (), message.replace("{}", "..")
            self.host.raise_error(self.error(exception, message), numbers)

    # -- sizes -------------------------------------------------------------------------------------------------

    def is_known(self, d: Dim) -> bool:
        """Whether a size can be computed here."""
        return isinstance(d, int) or d in self.sizes or all(s.name in self.symbols for s in dims.symbols_of(d))

    def define(self, d: Dim, register: ir.Value) -> None:
        """A size gets its value: so does the symbol that it is."""
        if not isinstance(d, DimExpr):
            return
        self.sizes[d] = register
        symbol = _symbol_of(d)
        if symbol is not None:
            self.symbols[symbol] = register

    def bind(self, param: Value, item: Item) -> None:
        """A param is that item; sizes that only its type names come from it."""
        self.env[param] = item
        if isinstance(param.type, ArrayType):
            for d, register in zip(param.type.shape, item.dims, strict=True):
                if not self.is_known(d):
                    self.define(d, register)

    def dim(self, d: Dim) -> ir.Value:
        """A size as an i64; OverflowError where it is none."""
        if isinstance(d, DimExpr) and d in self.sizes:
            return self.sizes[d]
        size = sizes.compute(self, d)
        if size.fits is not None:
            self.raise_unless(size.fits, "OverflowError", sizes.TOO_LARGE)
        return self.known(d, size)

    def known(self, d: Dim, size: sizes.Size) -> ir.Value:
        """A size whose register is right from here on."""
        if isinstance(d, DimExpr):
            self.sizes[d] = size.register
        return size.register

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around blocks that may not run: what is computed there is not known after them."""
        symbols, self.symbols = self.symbols, dict(self.symbols)
        self.sizes = self.sizes.new_child()
        yield
        self.sizes = self.sizes.parents
        self.symbols = symbols

    # -- objects -----------------------------------------------------------------------------------------------

    def box(self, value: Value) -> ir.Value:
        """A Python object of a value; a borrowed reference that lives as long as the call."""
        item = self.env[value]
        if isinstance(value.type, ArrayType):
            return self.array_object(item)
        if value in self.boxed:
            return self.boxed[value]
        assert isinstance(value.type, ScalarType)
        boxed = self.host.box(_as_scalar(self.host, value.type, item))
        self.host.own(boxed)
        return boxed

    def array_object(self, array: ArrayValue) -> ir.Value:
        """The array object of an array value (borrowed): itself, or a view of its owner."""
        host = self.host
        if array.object is None:
            return host.view(array).object
        if id(array.object) not in self.nullable:
            return array.object
        start = self.emit.block
        made, on = host.new_block("view"), host.new_block("viewed")
        missing = self.emit.icmp_unsigned("==", array.object, NULL)
        self.emit.cbranch(missing, made, on)
        self.emit.position_at_end(made)
        bare = ArrayValue(array.dtype, array.data, array.dims, array.strides, array.owner, None, array.writable)
        fresh = host.view(bare).object
        end = self.emit.block
        self.emit.branch(on)
        self.emit.position_at_end(on)
        phi = self.emit.phi(PTR)
        phi.add_incoming(array.object, start)
        phi.add_incoming(fresh, end)
        return phi


def _turns_over_scalars(graph: Graph) -> bool:
    """Whether there is a loop whose turns compute on scalars alone: LLVM's own passes pay there."""
    loops = [op for op in graph.walk() if op.is_loop and control.is_quiet(op)]
    return any({"launch"}.isdisjoint(o.name for block in op.blocks for o in block.walk()) for op in loops)


@final
class _Memory:
    """What LLVM is told about elements of different arrays: scopes for those that stay the same all through the call."""

    def __init__(self, graph: Graph) -> None:
        self.aliases: Aliases = find_aliases(graph)
        made = [op.result for op in graph.block.ops if op.name == "empty"]
        self.roots = [v for v in (*graph.params, *made) if isinstance(v.type, ArrayType)]
        self.nodes: dict[Value, tuple[Any, Any]] = {}

    def mark(self, module: ir.Module, access: ir.Instruction, array: Value) -> None:
        """Name the scope of a load or store, and the scopes that it is apart from."""
        root = self.aliases.root.get(array, array)
        if root not in self.roots or len(self.roots) == 1:
            return
        if root not in self.nodes:
            apart = [r for r in self.roots if r is not root and not self.aliases.may_alias(r, root)]
            self.nodes[root] = (self._list(module, [root]), self._list(module, apart) if apart else None)
        own, apart_list = self.nodes[root]
        access.set_metadata("alias.scope", own)
        if apart_list is not None:
            access.set_metadata("noalias", apart_list)

    def _list(self, module: ir.Module, roots: Sequence[Value]) -> Any:
        domain = module.add_metadata([ir.MetaDataString(module, "tj_arrays")])
        names = [ir.MetaDataString(module, f"tj_array_{self.roots.index(r)}") for r in roots]
        return module.add_metadata([module.add_metadata([name, domain]) for name in names])


# -- registers -------------------------------------------------------------------------------------------------


def _dtype(t: Type) -> DType:
    assert isinstance(t, (ArrayType, ScalarType))
    return t.dtype


def _symbol_of(d: DimExpr) -> str | None:
    """The name of the symbol that a size is."""
    if len(d.terms) == 1 and d.terms[0][1] == 1 and len(d.terms[0][0]) == 1:
        atom = d.terms[0][0][0]
        return atom.name if isinstance(atom, dims.Symbol) else None
    return None


def _pair(b: ir.IRBuilder, both: ir.Value) -> Pair:
    return Pair(b.extract_value(both, 0), b.extract_value(both, 1))


def _from_argument(host: HostBuilder, t: Type, arg: Any) -> Item:
    if isinstance(t, ArrayType):
        return arg
    return _pair(host.emit, arg.value) if _dtype(t).kind == "c" else arg.value


def _as_scalar(host: HostBuilder, t: ScalarType, register: Register) -> ScalarValue:
    if isinstance(register, Pair):
        pair = ir.Constant(ir.LiteralStructType([register.re.type] * 2), ir.Undefined)
        register = host.emit.insert_value(host.emit.insert_value(pair, register.re, 0), register.im, 1)
    return ScalarValue(t.dtype.numpy, register, t.python)


# -- simple ops ------------------------------------------------------------------------------------------------

Emitter = Callable[[Driver, Op], None]
OPS: dict[str, Emitter] = dict(control.EMITTERS)


def emits(*names: str) -> Callable[[Emitter], Emitter]:
    """Register the emitter of ops."""

    def register(emitter: Emitter) -> Emitter:
        OPS.update(dict.fromkeys(names, emitter))
        return emitter

    return register


@emits("const")
def _const(d: Driver, op: Op) -> None:
    value = op.attrs["value"]
    d.env[op.result] = constant(_dtype(op.result.type), value)
    if type(value) is int:
        d.ranges[op.result] = (value, value)


@emits("dim")
def _dim_op(d: Driver, op: Op) -> None:
    size = op.attrs["dim"]
    d.env[op.result] = d.dim(size)
    d.ranges[op.result] = sizes.interval(d, size)


@emits("bind")
def _bind(d: Driver, op: Op) -> None:
    (value,) = op.operands
    d.symbols[op.attrs["symbol"]] = d.env[value]
    d.intervals[op.attrs["symbol"]] = d.ranges.get(value, sizes.ANY)


@emits("cast")
def _cast(d: Driver, op: Op) -> None:
    (x,) = op.operands
    d.env[op.result] = d.convert(d.env[x], _dtype(x.type), _dtype(op.result.type))


@emits("select")
def _select(d: Driver, op: Op) -> None:
    condition, x, y = (d.env[v] for v in op.operands)
    kinds = [_dtype(v.type) for v in op.operands]
    to = _dtype(op.result.type)
    condition = d.convert(condition, kinds[0], BOOL)
    x, y = d.convert(x, kinds[1], to), d.convert(y, kinds[2], to)
    d.env[op.result] = emit_intrinsic(d.emit, "select", [condition, x, y], [BOOL, to, to], to)


@emits("truth")
def _truth(d: Driver, op: Op) -> None:
    (x,) = op.operands
    d.env[op.result] = d.convert(d.env[x], _dtype(x.type), BOOL)


@emits("same_object")
def _same_object(d: Driver, op: Op) -> None:
    x, y = (d.env[v].object for v in op.operands)
    d.env[op.result] = d.emit.icmp_unsigned("==", x, y)


@emits("check")
def _check(d: Driver, op: Op) -> None:
    left, right = (_tested(d, op, side) for side in ("left", "right"))
    holds = d.emit.icmp_signed(_RELATIONS[op.attrs["relation"]], left.register, right.register)
    for size in (left, right):
        holds = holds if size.fits is None else d.emit.and_(holds, size.fits)
    shown = [sizes.compute(d, a).register for a in op.attrs["args"]]
    d.raise_unless(holds, op.attrs["exception"], op.attrs["message"], shown)
    d.known(op.attrs["left"], left)
    d.known(op.attrs["right"], right)


def _tested(d: Driver, op: Op, side: str) -> sizes.Size:
    """One side of a check. What is too large is not equal to the other, and more than a known bound: the check fails."""
    size = op.attrs[side]
    if op.attrs["relation"] == "eq" or isinstance(op.attrs["left"], int):
        return sizes.compute(d, size)
    return sizes.Size(d.dim(size), None, sizes.ANY)


@emits("warn")
def _warn(d: Driver, op: Op) -> None:
    warner = functools.partial(warn, op.attrs["message"], resolve(op.attrs["category"]))
    left, right = (d.dim(op.attrs[side]) for side in ("left", "right"))
    holds = d.emit.icmp_signed(_RELATIONS[op.attrs["relation"]], left, right)
    with d.emit.if_then(d.emit.not_(holds), likely=False):
        d.host.call_object(d.host.constant(warner), [])


@emits("broadcast_dim")
def _broadcast_dim(d: Driver, op: Op) -> None:
    left, right = d.dim(op.attrs["left"]), d.dim(op.attrs["right"])
    b = d.emit
    one_left, one_right = (b.icmp_signed("==", x, I64(1)) for x in (left, right))
    fits = b.or_(b.icmp_signed("==", left, right), one_right)
    if not op.attrs.get("store"):
        fits = b.or_(fits, one_left)
    d.raise_unless(fits, "ValueError", op.attrs["message"], [d.dim(a) for a in op.attrs["args"]])
    d.symbols[op.attrs["symbol"]] = d.emit.select(one_left, right, left)
    (low, high), (least, most) = (sizes.interval(d, op.attrs[side]) for side in ("left", "right"))
    d.intervals[op.attrs["symbol"]] = (min(low, least), max(high, most))


@emits("index_check")
def _index_check(d: Driver, op: Op) -> None:
    b, index, size = d.emit, d.env[op.operands[0]], d.dim(op.attrs["size"])
    wrapped = b.select(b.icmp_signed("<", index, I64(0)), b.add(index, size), index)
    message = f"index {{}} is out of bounds for axis {op.attrs['axis']} with size {{}}"
    d.raise_unless(b.icmp_unsigned("<", wrapped, size), "IndexError", message, [index, size])
    d.env[op.result] = wrapped
    d.ranges[op.result] = (0, sizes.interval(d, op.attrs["size"])[1] - 1)


@emits("fit_int")
def _fit_int(d: Driver, op: Op) -> None:
    b, x, to = d.emit, d.env[op.operands[0]], _dtype(op.result.type)
    fits = b.icmp_signed(">=", x, I64(op.attrs["low"]))
    if op.attrs["high"] < 2**63:
        fits = b.and_(fits, b.icmp_signed("<=", x, I64(op.attrs["high"])))
    d.raise_unless(fits, "OverflowError", f"Python integer {{}} out of bounds for {to.numpy.name}", [x])
    d.env[op.result] = b.trunc(x, scalar_type(to)) if to.size < 8 else x


# -- arrays ----------------------------------------------------------------------------------------------------


@emits("load")
def _load(d: Driver, op: Op) -> None:
    (value,) = op.operands
    array = d.env[value]
    got = d.emit.load(array.data, typ=memory_type(array.dtype), align=None if d.aligned else 1)
    if d.memory is not None:
        d.memory.mark(d.host.module, got, value)
    if array.dtype.kind == "b":
        got = d.emit.icmp_unsigned("!=", got, I8(0))
    d.env[op.result] = _pair(d.emit, got) if array.dtype.kind == "c" else got


@emits("store")
def _store(d: Driver, op: Op) -> None:
    target, value = op.operands
    assert isinstance(target.type, ArrayType) and not target.type.shape and isinstance(value.type, ScalarType)
    register = d.convert(d.env[value], value.type.dtype, target.type.dtype)
    array = d.env[target]
    stored = _as_scalar(d.host, ScalarType(target.type.dtype), register).value
    if array.dtype.kind == "b":
        stored = d.emit.zext(stored, I8)
    made = d.emit.store(stored, array.data, align=None if d.aligned else 1)
    if d.memory is not None:
        d.memory.mark(d.host.module, made, target)


@emits("view")
def _view(d: Driver, op: Op) -> None:
    source = d.env[op.operands[0]]
    t, s = op.result.type, op.operands[0].type
    assert isinstance(t, ArrayType) and isinstance(s, ArrayType)
    offset: ir.Value | None = None
    for start, stride in zip(op.attrs["offset"], source.strides, strict=True):
        if start != 0:
            flags = () if t.shape else ("nsw",)  # that of an empty slice may wrap
            step = d.emit.mul(d.dim(start), stride, flags=flags)
            offset = step if offset is None else d.emit.add(offset, step, flags=flags)
    data = source.data
    if offset is not None:  # an element's address is inside; that of an empty slice may not be
        data = d.emit.gep(data, [offset], inbounds=not t.shape, source_etype=I8)
    lengths, strides = [], []
    for (axis, step), size in zip(op.attrs["axes"], t.shape, strict=True):
        if not d.is_known(size):
            d.define(size, source.dims[axis])
        lengths.append(d.dim(size))
        strides.append(I64(0) if axis is None else _stride(d, source, s, axis, step, size))
    writable = source.writable if t.access != "readonly" else False
    d.env[op.result] = ArrayValue(source.dtype, data, tuple(lengths), tuple(strides), source.owner, None, writable)


def _stride(d: Driver, source: ArrayValue, s: ArrayType, axis: int, step: Dim, size: Dim) -> ir.Value:
    stride = source.strides[axis] if step == 1 else d.emit.mul(source.strides[axis], d.dim(step))
    if size == s.shape[axis] or step != 1 or not dims.can_be_one(s.shape[axis]):
        return stride
    # a broadcast that is known at run time only
    alone = d.emit.icmp_signed("==", source.dims[axis], I64(1))
    return d.emit.select(alone, I64(0), stride)


@emits("part")
def _part(d: Driver, op: Op) -> None:
    """The real or imaginary parts of a complex array, where they are."""
    source, t = d.env[op.operands[0]], op.result.type
    assert isinstance(t, ArrayType)
    offset = I64(t.dtype.size if op.attrs["which"] == "imag" else 0)
    data = d.emit.gep(source.data, [offset], source_etype=I8)
    d.env[op.result] = ArrayValue(t.dtype.numpy, data, source.dims, source.strides, source.owner, None, source.writable)


@emits("reshape")
def _reshape(d: Driver, op: Op) -> None:
    source, t = d.env[op.operands[0]], op.result.type
    assert isinstance(t, ArrayType)
    lengths = tuple(d.dim(s) for s in t.shape)
    strides = d.host.contiguous_strides(source.dtype, lengths)
    d.env[op.result] = ArrayValue(source.dtype, source.data, lengths, strides, source.owner, None, source.writable)


@emits("empty")
def _empty(d: Driver, op: Op) -> None:
    t = op.result.type
    assert isinstance(t, ArrayType)
    dtype = t.dtype.numpy
    if op.attrs.get("space") == "stack":
        room = d.host.stack_array(memory_type(dtype), 1)
        d.env[op.result] = ArrayValue(dtype, room, (), (), NULL, None)
        return
    lengths = [d.dim(s) for s in t.shape]
    if op.attrs.get("zeros"):
        d.env[op.result] = d.host.new_array(dtype, lengths, "F" if t.layout == "F" else "C", zeros=True)
        return
    make = d.host.buffer if d.host.in_loop else d.host.new_array
    d.env[op.result] = make(dtype, lengths, "F" if t.layout == "F" else "C")


# -- kernels and libraries -------------------------------------------------------------------------------------


def _kernel_function(d: Driver, kernel: Kernel) -> ir.Function:
    """The function of a kernel, one for all that are equal; two of one name are not when their checksums happen to agree."""
    known = d.kernels.get(kernel.name)
    if known is not None and known[0] != kernel:
        return _kernel_function(d, replace(kernel, name=f"{kernel.name}_"))
    if known is None:
        known = d.kernels[kernel.name] = (kernel, emit_kernel(d.host.module, kernel, d.target))
    return known[1]


@emits("launch")
def _launch(d: Driver, op: Op) -> None:
    kernel: Kernel = op.attrs["kernel"]
    function = _kernel_function(d, kernel)
    args: list[ir.Value] = [d.host.context]
    for value in op.operands[: len(kernel.views)]:
        array = d.env[value]
        args += [array.data, *array.strides]
    values = op.operands[len(kernel.views) :]
    for value, param in zip(values, kernel.scalars, strict=False):
        args.append(_kernel_scalar(d, value, param.dtype))
    args += [d.dim(size) for size in op.attrs["sizes"]]
    work = op.attrs.get("work", 0)
    if d.released or (isinstance(work, int) and work <= GIL_WORK):
        status = d.emit.call(function, args)
    else:
        with d.host.without_gil(d.emit.icmp_signed(">", sizes.at_most(d, work), I64(GIL_WORK))):
            status = d.emit.call(function, args)
    if kernel.scratch:
        _check_memory(d, status)
    else:
        d.host.check_kernel(status)


def _check_memory(d: Driver, status: ir.Value) -> None:
    failed = d.host.new_block("failed")
    d.host.branch_unless(d.emit.icmp_unsigned("==", status, I32(0)), failed)
    with d.emit.goto_block(failed):
        memory = d.emit.icmp_unsigned("!=", status, I32(OUT_OF_MEMORY))
        d.raise_unless(memory, "MemoryError", "")
        d.host.check_kernel(status)
        d.emit.unreachable()


def _kernel_scalar(d: Driver, value: Value, dtype: DType) -> ir.Value:
    register = d.convert(d.env[value], _dtype(value.type), dtype)
    if dtype.kind == "b":
        return d.emit.zext(register, I8)
    return _as_scalar(d.host, ScalarType(dtype), register).value if isinstance(register, Pair) else register


@emits("library")
def _library(d: Driver, op: Op) -> None:
    function = d.host.constant(resolve(op.attrs["function"]))
    found = d.host.call_object(function, [d.box(v) for v in op.operands], op.attrs.get("keywords") or {})
    parts = [found] if len(op.results) == 1 else _parts_of(d, found, len(op.results))
    for v, part in zip(op.results, parts, strict=True):
        _unpack(d, op, v, part)


def _parts_of(d: Driver, found: ir.Value, count: int) -> list[ir.Value]:
    """The items of a tuple of several results."""
    if not count:
        return []
    checked = _unless(d, d.host.is_tuple(found, count), functools.partial(_as_tuple, count), found)
    return [d.host.load_field(checked, LAYOUT.tuple_items + 8 * k, PTR) for k in range(count)]


def _as_tuple(count: int, result: Any) -> tuple[Any, ...]:
    parts = tuple(result)
    if len(parts) != count:
        raise RuntimeError(f"a library call gave {len(parts)} results, not {count}")
    return parts


def _unless(d: Driver, expected: ir.Value, convert: Callable[[Any], Any], found: ir.Value) -> ir.Value:
    """The object found where it is what was expected, what `convert` makes of it otherwise: what NumPy gives nearly
    always costs no Python call."""
    start, (other, after) = d.emit.block, (d.host.new_block(name) for name in ("unexpected", "expected"))
    d.emit.cbranch(expected, after, other).set_weights([1000, 1])
    d.emit.position_at_end(other)
    converted = d.host.call_object(d.host.constant(convert), [found])
    end = d.emit.block
    d.emit.branch(after)
    d.emit.position_at_end(after)
    either = d.emit.phi(PTR)
    either.add_incoming(found, start)
    either.add_incoming(converted, end)
    return either


def _as_form(rank: int, dtype: np.dtype[Any], layout: str, result: Any) -> Any:
    """An exact, native, aligned array of the foreseen type (of rank 0 for a scalar), or an error: an object of another
    type is never read as one."""
    array = np.asarray(result)
    if array.dtype != dtype or array.ndim != rank:
        raise RuntimeError(f"a library call gave {array.dtype} of rank {array.ndim}, not {dtype} of rank {rank}")
    if not (array.flags.aligned and array.dtype.isnative):
        array = array.astype(dtype)
    if layout == "A" or (array.flags.c_contiguous if layout == "C" else array.flags.f_contiguous):
        return array
    return np.array(array, order=layout)  # type: ignore[call-overload]


def _as_scalar_of(dtype: np.dtype[Any], result: Any) -> Any:
    """The NumPy scalar of a result that is one in some other form."""
    return _as_form(0, dtype, "A", result)[()]


_CONTIGUOUS = {"A": 0, "C": ARRAY_C_CONTIGUOUS, "F": ARRAY_F_CONTIGUOUS}


def _unpack(d: Driver, op: Op, v: Value, found: ir.Value) -> None:
    t = v.type
    assert isinstance(t, (ArrayType, ScalarType))
    dtype = t.dtype.numpy
    if isinstance(t, ScalarType):
        scalar = _unless(d, d.host.is_scalar(found, dtype), functools.partial(_as_scalar_of, dtype), found)
        got = d.host.load_scalar(scalar, dtype)
        d.env[v] = _pair(d.emit, got) if t.dtype.kind == "c" else got
        if not t.python:
            d.boxed[v] = scalar
        return
    exact = d.host.is_array(found, dtype, t.rank, flags=ARRAY_ALIGNED | _CONTIGUOUS[t.layout])
    checked = _unless(d, exact, functools.partial(_as_form, t.rank, dtype, t.layout), found)
    array = d.host.load_array(checked, dtype, t.rank)
    message = f"{op.attrs['function']} gave something else than {t}"
    for size, got in zip(t.shape, array.dims, strict=True):
        if not d.is_known(size):
            d.define(size, got)
        elif d.dim(size) is not got:
            d.raise_unless(d.emit.icmp_signed("==", d.dim(size), got), "RuntimeError", message.replace("{", "{{"))
    strides = array.strides
    if t.layout in ("C", "F"):
        strides = d.host.contiguous_strides(array.dtype, array.dims, t.layout)
    d.env[v] = ArrayValue(array.dtype, array.data, array.dims, strides, checked, checked)


# -- the way out -----------------------------------------------------------------------------------------------


@emits("unreachable")
def _unreachable(d: Driver, op: Op) -> None:
    d.emit.unreachable()


@emits("return")
def _return(d: Driver, op: Op) -> None:
    d.host.ret_object(_result(d, op.attrs["structure"], iter(op.operands)))


def _result(d: Driver, structure: Any, values: Iterator[Value]) -> ir.Value:
    """A new reference to the result of a structure."""
    if structure == "value":
        value = next(values)
        if isinstance(value.type, ScalarType) and value not in d.boxed:
            return d.host.box(_as_scalar(d.host, value.type, d.env[value]))
        thing = d.box(value)
    elif structure[0] == "param":
        thing = d.args[structure[1]].object
    elif structure[0] == "const":
        thing = d.host.constant(structure[1])
    else:
        return _sequence(d, structure[0], structure[1:], values)
    d.host.incref(thing)
    return thing


def _sequence(d: Driver, kind: str, items: Sequence[Any], values: Iterator[Value]) -> ir.Value:
    slots = [d.host.own(_result(d, s, values)) for s in items]
    box = d.host.box_tuple if kind == "tuple" else d.host.box_list
    return box([d.host.take(slot) for slot in slots])


@emits("raise")
def _raise(d: Driver, op: Op) -> None:
    kind = op.attrs.get("class") or op.attrs["exception"]
    message = op.attrs.get("message", "")
    if kind in (GuardError, GUARD_ERROR):  # nothing has happened yet: the call may be made again, another way
        d.host.fail_guard()
        return
    if not op.operands:
        d.host.raise_error(d.error(kind, message))
        return
    thrower = functools.partial(_throw, kind, message)
    d.host.call_object(d.host.constant(thrower), [d.box(v) for v in op.operands])
    d.host.raise_error(d.error("RuntimeError", "an exception was not raised"))


def _throw(kind: str | type[BaseException], message: str, *values: Any) -> None:
    """Raise an exception whose message has run-time values in it."""
    raise make_exception(kind, message.format(*values))
