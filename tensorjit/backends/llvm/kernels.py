"""From a kernel to an internal LLVM function with explicit vectors.

    i32 @tj_k_<name>(ptr context, for each view: ptr data, i64 stride of each axis; each scalar)

Scalars come by value: bool as i8, complex as {T, T}, float16 as half. The function returns 0, `INTERRUPTED` (tj_rt_poll
said so) or `OUT_OF_MEMORY` (for a scratch buffer).

A vector loop becomes a main loop over whole groups of lanes and a loop of at most a few masked turns over the rest. Where
strides are known only at run time there are two versions of it, chosen by one test: all rows contiguous, or any strides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

from llvmlite import ir

from tensorjit.backends.llvm import facts
from tensorjit.backends.llvm.abi import I8, I32, I64, PTR, stack_room
from tensorjit.backends.llvm.casts import cast
from tensorjit.backends.llvm.clib import libc_function
from tensorjit.backends.llvm.frame import OUT_OF_MEMORY, Frame, Ramp, Value
from tensorjit.backends.llvm.memory import Memory
from tensorjit.backends.llvm.reductions import (
    STACK_DEPTH,
    STRIPS_PER_GROUP,
    TURNS_PER_STRIP,
    Scheme,
    State,
    cascade_push,
    cascade_total,
    flatten,
    unflatten,
)
from tensorjit.backends.llvm.registers import Pair, constant, iota, scalar_type, select, splat, width_of
from tensorjit.backends.llvm.scalars import emit_intrinsic, fold
from tensorjit.ir.dtypes import I64 as INT64
from tensorjit.ir.dtypes import DType
from tensorjit.ir.kernel import (
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
    Scratch,
    Stmt,
    Store,
)

__all__ = ["Target", "emit_kernel", "kernel_type"]

STRIP = 1 << 16
"""The work of an innermost loop between two looks at the budget."""

LARGE_BODY = 256
"""Expression nodes from which on a body is written once, masked, and not twice."""


@final
@dataclass(frozen=True, slots=True)
class Target:
    """What the emitted code has to know of the processor: its vector registers. 64 stands for AVX-512 with BW and VL."""

    vector_bytes: int


@final
@dataclass(frozen=True, slots=True)
class View:
    """A view or a scratch buffer in the code: one stride in bytes for each axis."""

    name: str
    pointer: Value
    strides: tuple[Value, ...]
    memory: Memory
    unit_axis: int | None
    param: bool = True

    @property
    def alias_key(self) -> tuple[object, ...]:
        """Views of one key may be the same memory, element by element."""
        return (self.memory.dtype, len(self.strides)) if self.param else (self.name,)


@dataclass(slots=True)
class Accumulator:
    """A reduction under way. In a strip `state` is the strip's; between strips it is the whole, `width` lanes wide."""

    scheme: Scheme
    reduction: Reduction
    width: int
    state: State
    init: State | None
    strips: ir.Value | None  # counted for cascades
    stack: tuple[ir.Value, ...]

    def registers(self) -> list[ir.Value]:
        return flatten(self.state) + ([] if self.strips is None else [self.strips])

    def take(self, registers: Sequence[ir.Value]) -> None:
        self.state = unflatten(registers, self.state)
        if self.strips is not None:
            self.strips = registers[-1]


def kernel_type(kernel: Kernel) -> ir.FunctionType:
    """The type of the kernel's function."""
    parameters = [PTR]
    for view in kernel.views:
        parameters += [PTR] + [I64] * view.rank
    return ir.FunctionType(I32, [*parameters, *(_parameter_type(s.dtype) for s in kernel.scalars)])


def _parameter_type(dtype: DType) -> ir.Type:
    if dtype.kind == "b":
        return I8
    return ir.LiteralStructType([scalar_type(dtype)] * 2) if dtype.kind == "c" else scalar_type(dtype)


def emit_kernel(module: ir.Module, kernel: Kernel, target: Target) -> ir.Function:
    """Write the kernel into the module; its function is internal."""
    name = "tj_k_" + re.sub(r"\W", "_", kernel.name, flags=re.ASCII)
    function = ir.Function(module, kernel_type(kernel), name)
    function.linkage = "internal"
    _Writer(function, kernel, target).write()
    return function


class _Writer(Frame):
    """The state of writing one kernel."""

    def __init__(self, function: ir.Function, kernel: Kernel, target: Target) -> None:
        super().__init__(function)
        self.kernel = kernel
        self.target = target
        self.views: dict[str, View] = {}
        self.env: dict[str, Value | Ramp] = {}
        self.accumulators: dict[str, Accumulator] = {}
        self.stores: list[frozenset[str]] = [frozenset()]  # by level: the views stored to in that loop
        self.assumed: dict[tuple[str, int], None] | None = None  # axes taken as contiguous, None: do not

    def write(self) -> None:
        self._take_parameters()
        rooms = [self._allocate(s) for s in self.kernel.scratch]
        self.body(self.kernel.body)
        self.finish(rooms)

    # -- parameters

    def _take_parameters(self) -> None:
        args = iter(self.function.args[1:])
        for view in self.kernel.views:
            pointer = Value(next(args), 1, 0)
            strides = [Value(next(args), 1, 0) for _ in range(view.rank)]
            if view.unit_axis is not None:
                strides[view.unit_axis] = self.constant(view.dtype.size)
            memory = self._memory(view.dtype, view.aligned)
            self.views[view.name] = View(view.name, pointer, tuple(strides), memory, view.unit_axis)
        for scalar in self.kernel.scalars:
            register = next(args)
            if scalar.dtype.kind == "b":
                register = self.b.icmp_unsigned("!=", register, I8(0))
            if scalar.dtype.kind == "c":
                register = Pair(*(self.b.extract_value(register, k) for k in range(2)))
            self.env[scalar.name] = Value(register, 1, 0)

    def _memory(self, dtype: DType, aligned: bool) -> Memory:
        return Memory(self, dtype, dtype.part.size if aligned else 1, self.target.vector_bytes >= 64)

    def _allocate(self, scratch: Scratch) -> ir.Value:
        """A scratch buffer; the place that its pointer is kept in for the way out."""
        room = stack_room(self.setup, PTR)
        self.setup.store(PTR(None), room)
        size = self.b.mul(self.uniform(scratch.extent).register, I64(scratch.dtype.size))
        least = self.b.select(self.b.icmp_signed(">", size, I64(0)), size, I64(1))
        pointer = self.b.call(libc_function(self.b.module, "malloc"), [least])
        self.b.store(pointer, room)
        self.leave_if(self.b.icmp_unsigned("==", pointer, PTR(None)), OUT_OF_MEMORY)
        self.views[scratch.name] = View(
            scratch.name,
            Value(pointer, 1, 0),
            (self.constant(scratch.dtype.size),),
            self._memory(scratch.dtype, aligned=True),
            unit_axis=0,
            param=False,
        )
        return room

    # -- expressions

    def evaluate(self, expr: Expr) -> Value | Ramp:
        return fold(expr, self._visit)

    def uniform(self, expr: Expr) -> Value:
        value = self.evaluate(expr)
        if isinstance(value, Ramp) or value.width != 1:
            raise NotImplementedError("an extent or a condition that differs by lane")
        return value

    def lanewise(self, expr: Expr) -> Value:
        """The value in every lane of the vector loop, or the scalar where there is none."""
        value = self.evaluate(expr)
        return self.spread(self.lanes_of(value) if isinstance(value, Ramp) else value)

    def _visit(self, node: Expr, operands: list[Value | Ramp]) -> Value | Ramp:
        match node:
            case Const(value, dtype):
                return Value(constant(dtype, value), 1, 0)
            case Ref(name, _):
                return self.env[name]
            case Load():
                return self._load(node, operands)
            case Apply():
                return self._apply(node, operands)

    def _apply(self, node: Apply, operands: list[Value | Ramp]) -> Value | Ramp:
        if any(isinstance(o, Ramp) for o in operands):
            ramp = self._apply_to_ramps(node, operands)
            if ramp is not None:
                return ramp
        values = [self.lanes_of(o) if isinstance(o, Ramp) else o for o in operands]
        width = max(v.width for v in values)
        if width > 1:
            values = [self.spread(v) for v in values]
        dtypes = [a.dtype for a in node.args]
        movable = node.intrinsic not in _MAY_RAISE and all(d.kind in "biu" for d in (*dtypes, node.dtype))
        builder, level = self.builder_at(max(v.level for v in values), movable)
        registers = [v.register for v in values]
        return Value(emit_intrinsic(builder, node.intrinsic, registers, dtypes, node.dtype), width, level)

    def _apply_to_ramps(self, node: Apply, operands: list[Value | Ramp]) -> Value | Ramp | None:
        """Index arithmetic that a ramp comes out of."""
        if node.dtype != INT64 or len(operands) != 2:
            return None
        x, y = operands
        if node.intrinsic == "mul":
            ramp, factor = (x, node.args[1]) if isinstance(x, Ramp) else (y, node.args[0])
            if not isinstance(factor, Const) or not isinstance(ramp, Ramp):
                return None
            times = int(factor.value.real)
            return _ramp(self.mul(ramp.offset, self.constant(times)), ramp.step * times)
        if node.intrinsic not in ("add", "sub"):
            return None
        (a, s), (b, t) = ((o.offset, o.step) if isinstance(o, Ramp) else (o, 0) for o in (x, y))
        if a.width != 1 or b.width != 1:
            return None
        if node.intrinsic == "add":
            return _ramp(self.add(a, b), s + t)
        return _ramp(self.arithmetic("sub", a, b), s - t)

    # -- places in memory

    def _locate(
        self, view: View, indices: Sequence[Value | Ramp]
    ) -> tuple[Value, list[tuple[int, int]], list[tuple[int, Value]]]:
        """The address of lane 0's element at the vector loop's index 0; (axis, step) of ramps; (axis, index) of gathers."""
        offsets, ramps, gathers = [], [], []
        for axis, index in enumerate(indices):
            if isinstance(index, Ramp):
                ramps.append((axis, index.step))
                index = index.offset
            if index.width > 1:
                gathers.append((axis, index))
            else:
                offsets.append(self.mul(index, view.strides[axis]))
        pointer = view.pointer
        for offset in sorted(offsets, key=lambda o: o.level):
            if isinstance(offset.register, ir.Constant) and offset.register.constant == 0:
                continue
            builder, level = self.builder_at(max(pointer.level, offset.level), movable=True)
            pointer = Value(
                builder.gep(pointer.register, [offset.register], source_etype=I8), 1, level
            )
        return pointer, ramps, gathers

    def _row_step(self, view: View, ramps: list[tuple[int, int]]) -> Value | None:
        """The distance in bytes from lane to lane; None where elements are side by side."""
        if len(ramps) == 1 and ramps[0][1] == 1:
            axis = ramps[0][0]
            if view.unit_axis == axis:
                return None
            if self.assumed is not None:
                self.assumed[view.name, axis] = None
                return None
        step = self.constant(0)
        for axis, times in ramps:
            step = self.add(step, self.multiple(view.strides[axis], times))
        return step

    def _lane_offsets(self, view: View, ramps: list[tuple[int, int]], gathers: list[tuple[int, Value]]) -> Value:
        """The distance in bytes of each lane's element."""
        offsets = self.spread(self.constant(0))
        indices = gathers + [(axis, self.lanes_of(Ramp(self.constant(0), step))) for axis, step in ramps]
        for axis, index in indices:
            scaled = self.arithmetic("mul", index, self.spread(view.strides[axis]))
            offsets = self.arithmetic("add", offsets, scaled)
        return offsets

    def _strided_place(self, b: ir.IRBuilder, pointer: Value, step: Value) -> Callable[[ir.Value], ir.Value]:
        assert self.index is not None
        base = b.gep(pointer.register, [b.mul(self.index, step.register)], source_etype=I8)
        return lambda lane: b.gep(base, [b.mul(lane, step.register)], source_etype=I8)

    def _strided_pointers(self, b: ir.IRBuilder, pointer: Value, step: Value) -> list[ir.Value]:
        assert self.index is not None
        base = b.gep(pointer.register, [b.mul(self.index, step.register)], source_etype=I8)
        pointers = []
        for lane in range(self.width):
            if lane and lane % 8 == 0:
                base = b.gep(base, [self.multiple(step, 8).register], source_etype=I8)
            near = lane % 8
            pointers.append(
                b.gep(base, [self.multiple(step, near).register], source_etype=I8) if near else base
            )
        return pointers

    def _gathered_pointers(self, b: ir.IRBuilder, pointer: Value, offsets: Value) -> list[ir.Value]:
        lanes = (b.extract_element(offsets.register, I32(lane)) for lane in range(self.width))
        return [b.gep(pointer.register, [lane], source_etype=I8) for lane in lanes]

    def _load(self, node: Load, indices: list[Value | Ramp]) -> Value:
        view = self.views[node.view]
        pointer, ramps, gathers = self._locate(view, indices)
        vector = bool(ramps or gathers)
        needs = [pointer.level, *(v.level for _, v in gathers)] + ([self.vector_level] if vector else [])
        if self._is_changing(view):
            b, level = self.b, self.level
        else:
            b, level = self.builder_at(max(needs), movable=False)
        if not vector:
            return Value(view.memory.load_one(b, pointer.register), 1, level)
        if gathers:
            offsets = self._lane_offsets(view, ramps, gathers)
            pointers = self._gathered_pointers(b, pointer, offsets)
            return Value(view.memory.load_lanes(b, pointers), self.width, level)
        step = self._row_step(view, ramps)
        if step is None:
            row = b.gep(pointer.register, [self.index], source_etype=view.memory.whole)
            return Value(view.memory.load_row(b, row), self.width, level)
        if self.mask is not None:
            # a loop over the lanes, which must be where we stand
            register = view.memory.load_active(self.b, self._strided_place(self.b, pointer, step))
            return Value(register, self.width, self.level)
        pointers = self._strided_pointers(b, pointer, step)
        return Value(view.memory.load_lanes(b, pointers), self.width, level)

    def _is_changing(self, view: View) -> bool:
        """May the loop store to what it loads here?"""
        return any(self.views[name].alias_key == view.alias_key for name in self.stores[self.level])

    # -- statements

    def body(self, body: Sequence[Stmt]) -> None:
        outer, self.env = self.env, dict(self.env)
        for stmt in body:
            match stmt:
                case Let(name, expr):
                    self.env[name] = self.evaluate(expr)
                case Store():
                    self._store(stmt)
                case Accumulate():
                    self._accumulate(stmt)
                case If():
                    self._if(stmt)
                case For():
                    self._for(stmt)
        self.env = outer

    def _store(self, stmt: Store) -> None:
        view = self.views[stmt.view]
        value = self.evaluate(stmt.expr)
        pointer, ramps, gathers = self._locate(view, [self.evaluate(i) for i in stmt.indices])
        if not ramps and not gathers:
            if isinstance(value, Ramp) or value.width > 1:
                raise NotImplementedError("all lanes store to one element")
            view.memory.store_one(self.b, pointer.register, value.register)
            return
        register = self.spread(self.lanes_of(value) if isinstance(value, Ramp) else value).register
        b, memory = self.b, view.memory
        if gathers:
            self._scatter(memory, pointer, self._lane_offsets(view, ramps, gathers), register)
            return
        step = self._row_step(view, ramps)
        if step is None:
            row = b.gep(pointer.register, [self.index], source_etype=memory.whole)
            memory.store_row(b, row, register)
        elif self.mask is not None:
            memory.store_active(b, self._strided_place(b, pointer, step), register)
        else:
            memory.store_lanes(b, self._strided_pointers(b, pointer, step), register)

    def _scatter(self, memory: Memory, pointer: Value, offsets: Value, register: Any) -> None:
        b = self.b
        if self.mask is None:
            memory.store_lanes(b, self._gathered_pointers(b, pointer, offsets), register)
            return
        room = stack_room(self.setup, offsets.register.type)
        b.store(offsets.register, room)

        def place(lane: ir.Value) -> ir.Value:
            offset = b.load(b.gep(room, [lane], source_etype=I64), typ=I64)
            return b.gep(pointer.register, [offset], source_etype=I8)

        memory.store_active(b, place, register)

    def _if(self, stmt: If) -> None:
        condition = self.uniform(stmt.cond).register
        names = self._live((*stmt.then, *stmt.orelse))
        b, before = self.b, self._registers(names)
        yes, no, after = (b.append_basic_block(n) for n in ("then", "else", "endif"))
        b.cbranch(condition, yes, no)
        outer, self.conditional = self.conditional, True
        incoming = []
        for block, body in ((yes, stmt.then), (no, stmt.orelse)):
            b.position_at_end(block)
            self._take(names, before)
            self.body(body)
            incoming.append((b.block, self._registers(names)))
            b.branch(after)
        b.position_at_end(after)
        self._take(names, self.join(incoming))
        self.conditional = outer

    # -- reductions

    def _live(self, body: Sequence[Stmt]) -> tuple[str, ...]:
        """The reductions under way that a body feeds."""
        return tuple(n for n in facts.accumulated(body) if n in self.accumulators)

    def _registers(self, names: Sequence[str]) -> list[ir.Value]:
        return [r for n in names for r in self.accumulators[n].registers()]

    def _take(self, names: Sequence[str], registers: Sequence[ir.Value]) -> None:
        rest = list(registers)
        for name in names:
            accumulator = self.accumulators[name]
            count = len(accumulator.registers())
            accumulator.take(rest[:count])
            del rest[:count]

    def _accumulate(self, stmt: Accumulate) -> None:
        accumulator = self.accumulators[stmt.name]
        scheme = accumulator.scheme
        if self.width == 1 and accumulator.width > 1:
            raise NotImplementedError("a reduction fed by vector and by scalar loops")
        value = self.lanewise(stmt.expr).register
        value = cast(self.b, value, stmt.expr.dtype, scheme.dtype)
        position = None if stmt.position is None else self.lanewise(stmt.position).register
        if self.mask is not None:
            value = select(self.b, self.mask, value, scheme.neutral(self.width)[0])
        accumulator.state = scheme.step(self.b, accumulator.state, value, position)

    def _start(self, reduction: Reduction, loop: For) -> None:
        scheme = Scheme.of(reduction)
        width = self.width if self.width > 1 else facts.reduction_lanes(loop, reduction)
        init = None
        if reduction.init is not None:
            first = self.lanewise(reduction.init).register
            init = (cast(self.b, first, reduction.dtype, scheme.dtype),)
        state = scheme.neutral(width)
        stack: tuple[ir.Value, ...] = ()
        if scheme.cascaded:
            stack = tuple(stack_room(self.setup, part.type, STACK_DEPTH) for part in flatten(state))
        strips = I64(0) if scheme.cascaded else None
        self.accumulators[reduction.name] = Accumulator(
            scheme, reduction, width, state, init, strips, stack
        )

    def _end(self, name: str) -> None:
        """The finished reduction becomes a name."""
        accumulator = self.accumulators.pop(name)
        scheme, state, b = accumulator.scheme, accumulator.state, self.b
        if accumulator.strips is not None:
            state = self._cascade_end(accumulator, accumulator.strips)
        if self.width == 1:
            state = scheme.shrink(b, state, 1)
        if accumulator.init is not None:
            state = scheme.merge(b, accumulator.init, state)
        if scheme.by_position:
            result = state[1]
        else:
            result = cast(b, state[0], scheme.dtype, accumulator.reduction.dtype)
        self.env[name] = Value(result, width_of(result), self.level)

    def _cascade_end(self, accumulator: Accumulator, strips: ir.Value) -> State:
        b, parts = self.b, flatten(accumulator.state)
        groups = b.lshr(strips, I64(STRIPS_PER_GROUP.bit_length() - 1))
        before = b.block
        with b.if_then(b.icmp_unsigned("!=", groups, I64(0))):
            totals = [cascade_total(b, s, groups, p) for s, p in zip(accumulator.stack, parts, strict=True)]
            after = b.block
        return unflatten(self.join([(before, parts), (after, totals)]), accumulator.state)

    def _end_strip(self, accumulator: Accumulator, whole: State) -> None:
        """Put what a strip accumulated to the whole."""
        b, scheme = self.b, accumulator.scheme
        accumulator.state = scheme.merge(b, whole, scheme.shrink(b, accumulator.state, accumulator.width))
        if accumulator.strips is None:
            return
        strips = b.add(accumulator.strips, I64(1))
        full = b.icmp_unsigned("==", b.and_(strips, I64(STRIPS_PER_GROUP - 1)), I64(0))
        parts, before = flatten(accumulator.state), b.block
        with b.if_then(full, likely=False):
            groups = b.sub(b.lshr(strips, I64(STRIPS_PER_GROUP.bit_length() - 1)), I64(1))
            for place, part in zip(accumulator.stack, parts, strict=True):
                cascade_push(b, place, groups, part)
            after = b.block
        cleared = flatten(scheme.neutral(accumulator.width))
        accumulator.take([*self.join([(before, parts), (after, cleared)]), strips])

    # -- loops

    def _for(self, loop: For) -> None:
        extent = self.uniform(loop.extent)
        for reduction in loop.reductions:
            self._start(reduction, loop)
        names = self._live(loop.body)
        b, entry, registers = self.b, self.b.block, self._registers(names)
        some, after = b.append_basic_block("some"), b.append_basic_block("none")
        b.cbranch(b.icmp_signed(">", extent.register, I64(0)), some, after)
        b.position_at_end(some)
        if loop.kind == "vector" and self.width == 1:
            self._vector_loop(loop, extent.register)
        else:
            self._serial_loop(loop, extent.register)
        last, results = b.block, self._registers(names)
        b.branch(after)
        b.position_at_end(after)
        self._take(names, self.join([(entry, registers), (last, results)]))
        for reduction in loop.reductions:
            self._end(reduction.name)

    @contextmanager
    def _inside(self, loop: For) -> Iterator[None]:
        with self.nest():
            self.stores.append(facts.stored(loop.body))
            yield
            self.stores.pop()

    def _serial_loop(self, loop: For, extent: ir.Value) -> None:
        def turn(index: ir.Value) -> None:
            outer = self.env.get(loop.index)
            self.env[loop.index] = Value(index, 1, self.level)
            self.body(loop.body)
            if outer is not None:
                self.env[loop.index] = outer

        with self._inside(loop):
            self._strips(loop, I64(0), extent, 1, turn, certain=True)

    def _strips(
        self,
        loop: For,
        start: ir.Value,
        stop: ir.Value,
        step: int,
        turn: Callable[[ir.Value], None],
        *,
        certain: bool = False,
    ) -> None:
        """The turns of a loop, `step` indices each, in strips; accumulators of a strip are merged after it."""
        names, direct = self._live(loop.body), facts.directly_accumulated(loop.body)
        fed = [self.accumulators[n] for n in direct if n in self.accumulators]
        weight = facts.weight(loop.body)

        def one_turn(index: ir.Value, registers: Sequence[ir.Value]) -> list[ir.Value]:
            self._take(names, registers)
            turn(index)
            if not in_strips:
                self.charge(I64(step))
            return self._registers(names)

        def one_strip(first: ir.Value, registers: Sequence[ir.Value]) -> list[ir.Value]:
            self._take(names, registers)
            b = self.b
            end = b.add(first, I64(per_strip))
            end = b.select(b.icmp_signed("<", end, stop), end, stop)
            wholes = [a.state for a in fed]
            for a in fed:
                a.state = a.scheme.neutral(self.width)
            self._take(names, self.repeat(first, end, step, self._registers(names), one_turn, certain=True))
            for a, whole in zip(fed, wholes, strict=True):
                self._end_strip(a, whole)
            self.charge(b.mul(b.sub(end, first), I64(weight)))
            return self._registers(names)

        in_strips = bool(fed) or facts.is_innermost(loop)
        turns = TURNS_PER_STRIP if any(a.strips is not None for a in fed) else max(STRIP // weight // step, 1)
        per_strip = turns * step
        how, by = (one_strip, per_strip) if in_strips else (one_turn, step)
        self._take(names, self.repeat(start, stop, by, self._registers(names), how, certain=certain))

    def _few(
        self, loop: For, start: ir.Value, stop: ir.Value, step: int, turn: Callable[[ir.Value], None]
    ) -> None:
        """The last turns of a loop: so few that they need no strips and no look at the budget."""
        names, direct = self._live(loop.body), facts.directly_accumulated(loop.body)
        fed = [self.accumulators[n] for n in direct if n in self.accumulators]
        wholes = [a.state for a in fed]

        def one_turn(index: ir.Value, registers: Sequence[ir.Value]) -> list[ir.Value]:
            self._take(names, registers)
            turn(index)
            return self._registers(names)

        for a in fed:
            a.state = a.scheme.neutral(self.width)
        self._take(names, self.repeat(start, stop, step, self._registers(names), one_turn))
        for a, whole in zip(fed, wholes, strict=True):
            a.state = a.scheme.merge(self.b, whole, a.scheme.shrink(self.b, a.state, a.width))

    def _vector_loop(self, loop: For, extent: ir.Value) -> None:
        """The version for contiguous rows and, if it had to assume any, the test for them and the other version."""
        names = self._live(loop.body)
        b, choice, before = self.b, ir.IRBuilder(self.b.block), self._registers(names)
        fast = b.append_basic_block("contiguous")
        b.position_at_end(fast)
        self.assumed = {}
        self._vector_version(loop, extent, facts.multiplier(loop))
        assumed, self.assumed = self.assumed, None
        if not assumed:
            choice.branch(fast)
            return
        incoming = [(b.block, self._registers(names))]
        fast_end = b.block
        general, after = b.append_basic_block("strided"), b.append_basic_block("chosen")
        ir.IRBuilder(fast_end).branch(after)
        tests = [
            choice.icmp_signed("==", self.views[v].strides[axis].register, I64(self.views[v].memory.dtype.size))
            for v, axis in assumed
        ]
        every = tests[0]
        for test in tests[1:]:
            every = choice.and_(every, test)
        choice.cbranch(every, fast, general)
        b.position_at_end(general)
        self._take(names, before)
        # as many lanes again where they decide how a sum is rounded
        sums = any(self.accumulators[n].scheme.cascaded for n in names)
        self._vector_version(loop, extent, facts.multiplier(loop) if sums else 1)
        incoming.append((b.block, self._registers(names)))
        b.branch(after)
        b.position_at_end(after)
        self._take(names, self.join(incoming))

    def _vector_version(self, loop: For, extent: ir.Value, times: int) -> None:
        lanes = facts.lanes(loop)
        with self._inside(loop):
            self.vector_level = self.level
            start, bounded = I64(0), False
            if facts.size(loop.body) < LARGE_BODY:
                start = self.b.and_(extent, I64(-lanes * times))
                self.width = lanes * times
                self._strips(loop, I64(0), start, self.width, lambda index: self._lanes_turn(loop, index, None))
                bounded = True
            self.width = lanes
            how = self._few if bounded else self._strips
            how(loop, start, extent, lanes, lambda index: self._lanes_turn(loop, index, extent))
            self.width, self.vector_level, self.index = 1, 0, None

    def _lanes_turn(self, loop: For, index: ir.Value, stop: ir.Value | None) -> None:
        """One turn of a vector loop; with `stop`, only the lanes before it count."""
        self.index = index
        if stop is not None:
            b, width = self.b, self.width
            left = b.sub(stop, index)
            self.active = b.select(b.icmp_signed("<", left, I64(width)), left, I64(width))
            few = splat(b, b.trunc(self.active, I8), width)
            self.mask = b.icmp_unsigned("<", iota(I8, width), few)
        outer, self.env = self.env, {**self.env, loop.index: Ramp(self.constant(0), 1)}
        self.body(loop.body)
        self.env = outer
        self.mask = self.active = None


_MAY_RAISE = frozenset({"floordiv", "mod", "truncrem", "pow"})  # flags, of integers


def _ramp(offset: Value, step: int) -> Value | Ramp:
    return Ramp(offset, step) if step else offset


