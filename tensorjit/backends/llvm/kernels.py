"""From a kernel to an internal LLVM function with explicit vectors.

    i32 @tj_k_<name>(ptr context, for each view: ptr data, i64 stride of each axis; each scalar)

Scalars come by value: bool as i8, complex as {T, T}, float16 as half. The function returns 0, `INTERRUPTED` (tj_rt_poll
said so) or `OUT_OF_MEMORY` (for a scratch buffer).

A vector loop becomes a main loop over whole groups of lanes and a loop of at most a few masked turns over the rest. Where
strides are known only at run time there are two versions of it, chosen by one test: all rows contiguous, or any strides.
Of light bodies without accumulators the contiguous version runs its masked turns before the main loop too, over the elements
up to an aligned one; where all that it does is to copy, it is a call of memmove.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llvmlite import ir

from tensorjit.backends.llvm import facts
from tensorjit.backends.llvm.abi import I8, I32, I64, PTR, stack_room
from tensorjit.backends.llvm.casts import cast
from tensorjit.backends.llvm.clib import libc_function
from tensorjit.backends.llvm.expressions import Target, View, Writer
from tensorjit.backends.llvm.frame import OUT_OF_MEMORY, Ramp, Value
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
from tensorjit.backends.llvm.registers import Pair, iota, number, scalar_type, select, splat, vector_type, width_of
from tensorjit.ir.dtypes import I64 as DTYPE_I64
from tensorjit.ir.dtypes import DType
from tensorjit.ir.kernel import (
    Accumulate,
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
from tensorjit.records import dataclass

__all__ = ["Target", "emit_kernel", "kernel_type"]

STRIP = 1 << 16
"""The work of an innermost loop between two looks at the budget."""

WORTH_ALIGNING = 1 << 12
"""The bytes of a row from which on its elements before the first aligned one are handled apart."""

I64_SIZE = 8
"""Values as wide as a position gain nothing from counting turns."""

LOOK = 1 << 12
"""The elements between two looks at whether the answer is found; four times as many where turns must be made positions for it."""

COPIED_AT_ONCE = 1 << 22
"""The elements that are copied between two looks at the budget."""

MOST_MASKED = 128
"""The lanes that one mask may have: they are counted in bytes."""

LARGE_BODY = 256
"""Expression nodes from which on a body is written once, masked, and not twice."""


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
    columnwise: bool  # begun inside the vector loop: each lane is a result of its own
    first: ir.Value | None = None  # in a strip whose turns are counted, not positions: where it begins

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
    if target.vector_bytes >= facts.VECTOR_BYTES and _wants_half_vectors(kernel) and not any(map(_takes_vectors, _calls(function))):
        for attribute in ("prefer-vector-width", "min-legal-vector-width"):
            set.add(function.attributes, f'"{attribute}"="256"')  # llvmlite knows no attributes of targets
    return function


def _wants_half_vectors(kernel: Kernel) -> bool:
    """Loops that wait for memory go through half a vector at a time: 10 to 40 % faster out of the first cache, most where
    arrays are not aligned alike. Not comparisons, whose masks are put together again, nor what divides integers or only stores."""
    loops = [s for s in facts.statements(kernel.body) if isinstance(s, For) and s.kind == "vector"]
    return all(facts.is_light((loop,)) and facts.reads(loop) and not (facts.narrows(loop) or facts.divides(loop)) for loop in loops)


def _calls(function: ir.Function) -> Iterator[ir.CallInstr]:
    return (i for block in function.blocks for i in block.instructions if isinstance(i, ir.CallInstr))


def _takes_vectors(call: ir.CallInstr) -> bool:
    """Whether a call hands over whole vectors: caller and callee must be of one mind about their registers."""
    name = call.callee.name
    if name.startswith("llvm.") and not name.startswith("llvm.x86."):
        return False
    return any(isinstance(t, ir.VectorType) for t in (call.type, *(a.type for a in call.args)))


class _Writer(Writer):
    """The state of writing one kernel."""

    def __init__(self, function: ir.Function, kernel: Kernel, target: Target) -> None:
        super().__init__(function, target)
        self.kernel = kernel
        self.accumulators: dict[str, Accumulator] = {}

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
            memory = self.memory(view.dtype, view.aligned)
            self.views[view.name] = View(view.name, pointer, tuple(strides), memory, view.unit_axis)
        for scalar in self.kernel.scalars:
            register = next(args)
            if scalar.dtype.kind == "b":
                register = self.b.icmp_unsigned("!=", register, I8(0))
            if scalar.dtype.kind == "c":
                register = Pair(*(self.b.extract_value(register, k) for k in range(2)))
            self.env[scalar.name] = Value(register, 1, 0)

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
            self.memory(scratch.dtype, aligned=True),
            unit_axis=0,
            param=False,
        )
        return room

    # -- statements

    def body(self, body: Sequence[Stmt]) -> None:
        outer, self.env = self.env, dict(self.env)
        for stmt in body:
            match stmt:
                case Let(name, expr):
                    self.env[name] = self.evaluate(expr)
                case Store():
                    self.store(stmt)
                case Accumulate():
                    self._accumulate(stmt)
                case If():
                    self._if(stmt)
                case For():
                    self._for(stmt)
        self.env = outer

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
        if accumulator.first is not None:
            position = self._turn(accumulator.first, accumulator.state[1].type)
        else:
            position = None if stmt.position is None else self.lanewise(stmt.position).register
        if self.mask is not None and not accumulator.columnwise:  # else lanes that do not count repeat one that does
            value = select(self.b, self.mask, value, scheme.neutral(self.width)[0])
        if scheme.ordered and width_of(value) > accumulator.width:
            accumulator.state = scheme.step_lanes(self.b, accumulator.state, value, self.mask)
        else:
            accumulator.state = scheme.step(self.b, accumulator.state, value, position)

    def _counted(self, loop: For, fed: Sequence[Accumulator]) -> list[Accumulator]:
        """Of the accumulators that a loop feeds, those for which its turns can be counted."""
        here = {s.name for s in loop.body if isinstance(s, Accumulate) and s.position == Ref(loop.index, DTYPE_I64)}
        return [a for a in fed if self.width > 1 and not a.columnwise and a.scheme.dtype.size < I64_SIZE and a.reduction.name in here]

    def _begin_strip(self, fed: Sequence[Accumulator], counted: Sequence[Accumulator], first: ir.Value) -> None:
        for a in fed:
            if not a.scheme.ordered:  # which goes on
                a.state = a.scheme.neutral(self.width)
        for a in counted:
            a.first, a.state = first, (a.state[0], number(ir.VectorType(a.scheme.turn_type, self.width), 0))

    def _turn(self, first: ir.Value, kind: ir.VectorType) -> ir.Value:
        """The number of the turn in a strip, in every lane."""
        assert self.index is not None
        turn = self.b.lshr(self.b.sub(self.index, first), I64(self.width.bit_length() - 1))
        return splat(self.b, self.b.trunc(turn, kind.element), self.width)

    def _positions(self, accumulator: Accumulator, first: ir.Value) -> State:
        """The state of a strip, its turns made positions."""
        b, scheme, kind = self.b, accumulator.scheme, ir.VectorType(I32, self.width)
        value, turns = accumulator.state
        places = b.add(b.shl(b.zext(turns, kind), number(kind, self.width.bit_length() - 1)), iota(I32, self.width))
        value, places = scheme.shrink(b, (value, places), accumulator.width)
        wide = vector_type(I64, accumulator.width)
        return value, b.add(splat(b, first, accumulator.width), b.zext(places, wide))

    def _start(self, reduction: Reduction, loop: For) -> None:
        scheme = Scheme.of(reduction)
        width = self.width if self.width > 1 else facts.reduction_lanes(loop, reduction)
        if scheme.by_position and self.width == 1 and scheme.dtype.size < I64_SIZE:
            width = 1  # each strip gives one position: fewer registers than one for each lane
        if scheme.ordered:
            width = self.width
        init = None
        if reduction.init is not None:
            first = self.lanewise(reduction.init).register
            init = (cast(self.b, first, reduction.dtype, scheme.dtype),)
        state = scheme.neutral(width)
        if scheme.ordered and init is not None:
            state, init = init, None
        stack: tuple[ir.Value, ...] = ()
        if scheme.cascaded:
            stack = tuple(stack_room(self.setup, part.type, STACK_DEPTH) for part in flatten(state))
        strips = I64(0) if scheme.cascaded else None
        self.accumulators[reduction.name] = Accumulator(
            scheme, reduction, width, state, init, strips, stack, columnwise=self.width > 1
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
        dtype = accumulator.reduction.dtype
        result = state[1] if scheme.by_position else cast(b, state[0], scheme.dtype, dtype)
        self.env[name] = Value(result, width_of(result), self.level)

    def _cascade_end(self, accumulator: Accumulator, strips: ir.Value) -> State:
        b, parts = self.b, flatten(accumulator.state)
        groups = b.lshr(strips, I64(STRIPS_PER_GROUP.bit_length() - 1))
        before = b.block
        with b.if_then(b.icmp_unsigned("!=", groups, I64(0))):
            totals = [cascade_total(b, s, groups, p) for s, p in zip(accumulator.stack, parts, strict=True)]
            after = b.block
        return unflatten(self.join([(before, parts), (after, totals)]), accumulator.state)

    def _put_to(self, accumulator: Accumulator, whole: State) -> None:
        """Merge what was accumulated since `_begin_strip` with the whole."""
        b, scheme = self.b, accumulator.scheme
        if not scheme.ordered:
            accumulator.state = scheme.merge(b, whole, scheme.shrink(b, accumulator.state, accumulator.width))

    def _end_strip(self, accumulator: Accumulator, whole: State) -> None:
        """Put what a strip accumulated to the whole."""
        self._put_to(accumulator, whole)
        b, scheme = self.b, accumulator.scheme
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
            self._begin_strip(fed, counted, first)
            self._take(names, self.repeat(first, end, step, self._registers(names), one_turn, certain=True))
            for a in counted:
                a.first, a.state = None, self._positions(a, first)
            for a, whole in zip(fed, wholes, strict=True):
                self._end_strip(a, whole)
            self.charge(b.mul(b.sub(end, first), I64(weight)))
            return self._registers(names)

        def settled() -> ir.Value:
            tests = [a.scheme.is_settled(self.b, a.state) for a in fed]
            return functools.reduce(self.b.and_, tests)

        looking = bool(fed) and all(a.scheme.may_be_settled and not a.columnwise for a in fed) and facts.decides(loop)
        counted = self._counted(loop, fed)
        in_strips = bool(fed) or facts.is_innermost(loop)
        turns = TURNS_PER_STRIP if any(a.strips is not None for a in fed) else max(STRIP // weight // step, 1)
        turns = max(LOOK * (4 if counted else 1) // step, 1) if looking else turns
        turns = min([turns, *(1 << a.scheme.turn_type.width for a in counted)])
        per_strip = turns * step
        how, by = (one_strip, per_strip) if in_strips else (one_turn, step)
        until = settled if looking else None
        self._take(names, self.repeat(start, stop, by, self._registers(names), how, certain=certain, until=until))

    def _few(self, loop: For, start: ir.Value, stop: ir.Value, step: int, turn: Callable[[ir.Value], None]) -> None:
        """The last turns of a loop: so few that they need no strips and no look at the budget."""
        names, direct = self._live(loop.body), facts.directly_accumulated(loop.body)
        fed = [self.accumulators[n] for n in direct if n in self.accumulators]
        wholes = [a.state for a in fed]

        def one_turn(index: ir.Value, registers: Sequence[ir.Value]) -> list[ir.Value]:
            self._take(names, registers)
            turn(index)
            return self._registers(names)

        counted = self._counted(loop, fed)
        self._begin_strip(fed, counted, start)
        self._take(names, self.repeat(start, stop, step, self._registers(names), one_turn))
        for a in counted:
            a.first, a.state = None, self._positions(a, start)
        for a, whole in zip(fed, wholes, strict=True):
            self._put_to(a, whole)

    def _vector_loop(self, loop: For, extent: ir.Value) -> None:
        """The version for contiguous rows and, if it had to assume any, the test for them and the other version."""
        names = self._live(loop.body)
        b, choice, before = self.b, ir.IRBuilder(self.b.block), self._registers(names)
        fast = b.append_basic_block("contiguous")
        b.position_at_end(fast)
        self.assumed = {}
        times = facts.multiplier(loop, self.target.vector_bytes)
        if any(a.scheme.ordered and not a.columnwise for a in map(self.accumulators.get, names) if a is not None):
            times = 1  # each lane waits for the one before it
        self._vector_version(loop, extent, times)
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
        self._vector_version(loop, extent, times if sums else 1)
        incoming.append((b.block, self._registers(names)))
        b.branch(after)
        b.position_at_end(after)
        self._take(names, self.join(incoming))

    def _vector_version(self, loop: For, extent: ir.Value, times: int) -> None:
        lanes, width = facts.lanes(loop), facts.lanes(loop) * times
        if self._copy_or_fill(loop, extent):
            return
        place = self._place_to_align(loop)
        with self._inside(loop):
            self.vector_level = self.level
            if facts.size(loop.body) >= LARGE_BODY:
                self.width = lanes
                self._strips(loop, I64(0), extent, lanes, lambda index: self._lanes_turn(loop, index, extent))
            elif place is None:
                self._main_and_rest(loop, I64(0), self.b.and_(extent, I64(-width)), extent, width)
            else:
                self._aligned(loop, place, extent, width)
            self.width, self.vector_level, self.index = 1, 0, None

    def _main_and_rest(self, loop: For, start: ir.Value, middle: ir.Value, stop: ir.Value, width: int) -> None:
        """Whole groups of lanes from start to middle, and the few elements from there to stop under a mask."""
        self.width = width
        self._strips(loop, start, middle, width, lambda index: self._lanes_turn(loop, index, None))
        lanes = facts.lanes(loop)
        if self.assumed is not None and lanes < width <= MOST_MASKED and not facts.is_innermost(loop):
            b = self.b  # each turn goes through all rows: one turn for many columns, though some lanes are idle
            many = b.icmp_signed(">", b.sub(stop, middle), I64(2 * lanes))
            until = b.select(many, stop, middle)
            self._few(loop, middle, until, width, lambda index: self._lanes_turn(loop, index, until))
            middle = until
        self.width = lanes
        self._few(loop, middle, stop, lanes, lambda index: self._lanes_turn(loop, index, stop))

    def _aligned(self, loop: For, place: Load | Store, extent: ir.Value, width: int) -> None:
        """Of long rows, first the masked elements up to an aligned one, by another turn of the same code."""
        b, zero = self.b, I64(0)
        entry, long, turn, after = b.block, *(b.append_basic_block(n) for n in ("long", "turn", "after"))
        whole = b.and_(extent, I64(-width))
        enough = b.icmp_signed(">=", extent, I64(WORTH_ALIGNING // self.views[place.view].memory.dtype.size))
        b.cbranch(enough, long, turn)
        b.position_at_end(long)
        head = self._lanes_to_alignment(loop, place)
        middle = b.add(head, b.and_(b.sub(extent, head), I64(-width)))
        long = b.block
        b.branch(turn)
        b.position_at_end(turn)
        # of this turn, and of the next one if there is one
        first = self.join([(entry, [zero, whole, extent, zero, zero]), (long, [zero, zero, head, head, middle])])
        start, main, stop, next_start, next_main = first
        self._main_and_rest(loop, start, main, stop, width)
        for phi, value in zip(first, (next_start, next_main, extent, next_start, next_main), strict=True):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", stop, extent), turn, after)
        b.position_at_end(after)

    def _place_to_align(self, loop: For) -> Load | Store | None:
        """The widest of what a light loop stores (else loads): a store that crosses cache lines takes twice the time. None:
        it does not matter, or order is what decides."""
        if not facts.is_light((loop,)) or self.assumed is None:
            return None
        return max(facts.walked(loop), key=lambda p: self.views[p.view].memory.dtype.size, default=None)

    def _lanes_to_alignment(self, loop: For, place: Load | Store) -> ir.Value:
        """How many elements there are before the first one at a whole vector."""
        b, room = self.b, stack_room(self.setup, PTR)  # through memory: this LLVM miscompiles ptrtoint
        b.store(self._first_address(loop, place), room)
        distance = b.and_(b.neg(b.load(room, typ=I64)), I64(facts.VECTOR_BYTES - 1))
        return b.udiv(distance, I64(self.views[place.view].memory.dtype.size))

    def _first_address(self, loop: For, place: Load | Store) -> ir.Value:
        """The address of a place that a loop walks, at the loop's index 0."""
        outer, self.env = self.env, {**self.env, loop.index: self.constant(0)}
        pointer, _, _ = self._locate(self.views[place.view], [self.evaluate(i) for i in place.indices])
        self.env = outer
        return pointer.register

    def _copy_or_fill(self, loop: For, extent: ir.Value) -> bool:
        """Leave a loop that only copies elements side by side, or repeats a byte, to the C library, which knows the
        processor's best way."""
        places = facts.copied(loop) or facts.filled(loop)
        if not places or self.assumed is None:
            return False
        b, size = self.b, self.views[places[0].view].memory.dtype.size
        starts = [self._first_address(loop, p) for p in places]
        for place in places:
            self._row_step(self.views[place.view], [(facts.walked_axis(loop, place), 1)])
        function, byte = libc_function(b.module, "memmove"), []  # in place is allowed
        if isinstance(places[-1], Store):
            value = self.uniform(places[-1].expr).register
            function, byte = libc_function(b.module, "memset"), [b.zext(value, I32)]

        def chunk(index: ir.Value, _: object) -> tuple[()]:
            left, at = b.sub(extent, index), b.mul(index, I64(size))
            count = b.select(b.icmp_signed("<", left, I64(COPIED_AT_ONCE)), left, I64(COPIED_AT_ONCE))
            b.call(function, [*(b.gep(start, [at], source_etype=I8) for start in starts), *byte, b.mul(count, I64(size))])
            self.charge(count)
            return ()

        self.repeat(I64(0), extent, COPIED_AT_ONCE, (), chunk, certain=True)
        return True

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
