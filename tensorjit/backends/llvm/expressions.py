"""Expressions of a kernel in registers: as far out of the loops as they go, indices as ramps, elements from and to views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from llvmlite import ir

from tensorjit.backends.llvm.abi import I8, I32, I64, PTR, VOID, stack_room
from tensorjit.backends.llvm.frame import Frame, Ramp, Value
from tensorjit.backends.llvm.memory import Memory
from tensorjit.backends.llvm.quiet import declare
from tensorjit.backends.llvm.reciprocals import Reciprocal, floordiv_by, known_reciprocal, mod_by, reciprocal
from tensorjit.backends.llvm.registers import Register, constant
from tensorjit.backends.llvm.scalars import emit_intrinsic, fold
from tensorjit.backends.llvm.vmath.lanes import allow_permutes
from tensorjit.ir.dtypes import I64 as INT64
from tensorjit.ir.dtypes import DType
from tensorjit.ir.kernel import Apply, Const, Expr, Load, Ref, Store
from tensorjit.records import dataclass

__all__ = ["Target", "View", "Writer"]

PREFETCHED = 8
"""How many rows ahead columns are fetched."""

CACHE_LINE = 64

MOST_UNROLLED = 16
"""Lanes up to which strided elements are moved one by one; more are moved in a loop."""


@final
@dataclass(frozen=True, slots=True)
class Target:
    """What the emitted code has to know of the processor: its vector registers. 64 stands for AVX-512 with BW and VL, 32 for AVX2."""

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


class Writer(Frame):
    """What is known while expressions are written: views, names, and the stores of the loops around."""

    def __init__(self, function: ir.Function, target: Target) -> None:
        super().__init__(function)
        allow_permutes(function.module, target.vector_bytes)
        self.target = target
        self.views: dict[str, View] = {}
        self.env: dict[str, Value | Ramp] = {}
        self.stores: list[frozenset[str]] = [frozenset()]  # by level: the views stored to in that loop
        self.assumed: dict[tuple[str, int], None] | None = None  # axes taken as contiguous, None: do not

    def memory(self, dtype: DType, aligned: bool) -> Memory:
        return Memory(self, dtype, dtype.part.size if aligned else 1, self.target.vector_bytes >= 64)

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
        if width > 1 and node.intrinsic in _BY_ONE and values[1].width == 1 and node.dtype.kind in "iu":
            by = self._reciprocal(node.args[1], values[1])
            if by is not None:
                builder, level = self.builder_at(values[0].level, movable=False)
                return Value(_BY_ONE[node.intrinsic](builder, node.dtype, values[0].register, by), width, level)
        if width > 1:
            values = [self.spread(v) for v in values]
        dtypes = [a.dtype for a in node.args]
        movable = node.intrinsic not in _MAY_RAISE and all(d.kind in "biu" for d in (*dtypes, node.dtype))
        builder, level = self.builder_at(max(v.level for v in values), movable)
        registers = [v.register for v in values]
        return Value(emit_intrinsic(builder, node.intrinsic, registers, dtypes, node.dtype), width, level)

    def _reciprocal(self, divisor: Expr, value: Value) -> Reciprocal | None:
        """A divisor of all lanes, prepared before the loop; None where it changes from turn to turn."""
        if isinstance(divisor, Const):
            return known_reciprocal(divisor.dtype, int(divisor.value.real))
        builder, level = self.builder_at(value.level, movable=True)
        if builder is self.b:
            return None
        kept, key = self.before[level + 1].reciprocals, id(value.register)
        if key not in kept:
            kept[key] = (value.register, reciprocal(builder, divisor.dtype, value.register))
        return kept[key][1]

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

    def _locate(self, view: View, indices: Sequence[Value | Ramp]) -> tuple[Value, list[tuple[int, int]], list[tuple[int, Value]]]:
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
            pointer = Value(builder.gep(pointer.register, [offset.register], source_etype=I8), 1, level)
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
            pointers.append(b.gep(base, [self.multiple(step, near).register], source_etype=I8) if near else base)
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
            if level > self.vector_level and self.mask is None:
                self._prefetch(view, row, [k for k, i in enumerate(indices) if isinstance(i, Value) and i.level == level])
            return Value(view.memory.load_row(b, row), self.width, level)
        if self._moves_in_loop():
            # a loop over the lanes, which must be where we stand
            register = view.memory.load_active(self.b, self._strided_place(self.b, pointer, step))
            return Value(register, self.width, self.level)
        pointers = self._strided_pointers(b, pointer, step)
        return Value(view.memory.load_lanes(b, pointers), self.width, level)

    def _prefetch(self, view: View, row: ir.Value, axes: list[int]) -> None:
        """Fetch what a loop down a few columns reads some turns later: in steps that large the processor foresees little."""
        if len(axes) == 1:
            ahead = self.b.gep(row, [self.multiple(view.strides[axes[0]], PREFETCHED).register], source_etype=I8)
            prefetch = declare(self.b.module, "llvm.prefetch.p0", VOID, [PTR, I32, I32, I32])
            for offset in range(0, self.width * view.memory.dtype.size, CACHE_LINE):
                place = self.b.gep(ahead, [I64(offset)], source_etype=I8)
                self.b.call(prefetch, [place, I32(0), I32(3), I32(1)])  # to read, into all caches, data

    def _moves_in_loop(self) -> bool:
        return self.mask is not None or self.width > MOST_UNROLLED

    def _is_changing(self, view: View) -> bool:
        """May the loop store to what it loads here?"""
        return any(self.views[name].alias_key == view.alias_key for name in self.stores[self.level])

    def store(self, stmt: Store) -> None:
        view = self.views[stmt.view]
        value = self.evaluate(stmt.expr)
        pointer, ramps, gathers = self._locate(view, [self.evaluate(i) for i in stmt.indices])
        if not ramps and not gathers:
            if isinstance(value, Ramp) or value.width > 1:
                raise NotImplementedError("all lanes store to one element")
            view.memory.store_one(self.b, pointer.register, value.register)
            return
        b, memory = self.b, view.memory
        if not gathers and not isinstance(value, Ramp) and value.width == 1 and self._moves_in_loop():
            step = self._row_step(view, ramps)
            if step is not None:
                memory.store_same(self._strided_place(b, pointer, step), value.register)
                return
        register = self.spread(self.lanes_of(value) if isinstance(value, Ramp) else value).register
        if gathers:
            self._scatter(memory, pointer, self._lane_offsets(view, ramps, gathers), register)
            return
        step = self._row_step(view, ramps)
        if step is None:
            row = b.gep(pointer.register, [self.index], source_etype=memory.whole)
            memory.store_row(b, row, register)
        elif self._moves_in_loop():
            memory.store_active(b, self._strided_place(b, pointer, step), register)
        else:
            memory.store_lanes(b, self._strided_pointers(b, pointer, step), register)

    def _scatter(self, memory: Memory, pointer: Value, offsets: Value, register: Register) -> None:
        b = self.b
        if not self._moves_in_loop():
            memory.store_lanes(b, self._gathered_pointers(b, pointer, offsets), register)
            return
        room = stack_room(self.setup, offsets.register.type)
        b.store(offsets.register, room)

        def place(lane: ir.Value) -> ir.Value:
            offset = b.load(b.gep(room, [lane], source_etype=I64), typ=I64)
            return b.gep(pointer.register, [offset], source_etype=I8)

        memory.store_active(b, place, register)


_BY_ONE = {"floordiv": floordiv_by, "mod": mod_by}
_MAY_RAISE = frozenset({"floordiv", "mod", "truncrem", "pow"})  # flags, of integers


def _ramp(offset: Value, step: int) -> Value | Ramp:
    return Ramp(offset, step) if step else offset
