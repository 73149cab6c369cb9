"""Where a kernel's code is being written: the builder, the loops around it, and what may move out of them.

LLVM hoists nothing here (there is no LICM outside its default pipeline), so every value knows the level of the loop that
it depends on, and what does not depend on the innermost one is emitted before that loop: integer arithmetic as far out
as it goes; what may raise a flag or touch memory one loop out at most, since that loop is known to turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field

from llvmlite import ir

from tensorjit.backends.llvm.abi import I32, I64, context_field, stack_room
from tensorjit.backends.llvm.clib import libc_function
from tensorjit.backends.llvm.reciprocals import Reciprocal
from tensorjit.backends.llvm.registers import Register, iota, number, splat, vector_type
from tensorjit.backends.llvm.symbols import declare
from tensorjit.records import dataclass

__all__ = ["BUDGET", "INTERRUPTED", "OUT_OF_MEMORY", "Frame", "Ramp", "Value"]

INTERRUPTED = 1
OUT_OF_MEMORY = 2
BUDGET = 1 << 22
"""The work between two polls, in `facts.weight` times turns: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Value:
    """A register, its lanes (1: the same for all lanes), and the level of the loop that it changes with."""

    register: Register
    width: int
    level: int


@dataclass(frozen=True, slots=True)
class Ramp:
    """offset + step * (the vector loop's index + lane), i64; addresses are made of these."""

    offset: Value
    step: int


@dataclass(slots=True)
class Before:
    """The open block before a loop. `kept` has what was put there and may be wanted again."""

    builder: ir.IRBuilder
    kept: dict[tuple[object, ...], tuple[Register, Register]] = field(default_factory=dict)
    reciprocals: dict[int, tuple[Register, Reciprocal]] = field(default_factory=dict)


class Frame:
    """One kernel's function while it is written."""

    def __init__(self, function: ir.Function) -> None:
        self.function = function
        self.context = function.args[0]
        self.rooms: dict[int, ir.Value] = {}
        self.setup = ir.IRBuilder(function.append_basic_block("setup"))  # allocas; ends in a branch at last
        self.b = ir.IRBuilder(function.append_basic_block("start"))
        self.exit = function.append_basic_block("exit")
        self.exits: list[tuple[int, ir.Block]] = []
        self.before: list[Before] = [Before(self.b)]  # before[k]: before the loop of level k; the first is not used
        self.level = 0
        self.conditional = False  # in an If inside the innermost loop
        self.width = 1
        self.vector_level = 0
        self.index: ir.Value | None = None  # of the vector loop
        self.mask: ir.Value | None = None  # of the lanes that count; None: all
        self.active: ir.Value | None = None  # their number

    # -- levels

    def builder_at(self, level: int, movable: bool) -> tuple[ir.IRBuilder, int]:
        """Where to emit what depends on loops up to `level`, and the level that it is then at."""
        if level >= self.level:
            return self.b, self.level
        if not movable:
            if self.conditional:
                return self.b, self.level
            level = max(level, self.level - 1)
        return self.before[level + 1].builder, level

    @contextmanager
    def nest(self) -> Iterator[None]:
        """One loop deeper: what is emitted inside may be put before it."""
        before = self.b.append_basic_block("before")
        start = self.b.append_basic_block("loop")
        self.b.branch(before)
        self.before.append(Before(ir.IRBuilder(before)))
        self.level += 1
        outer, self.conditional = self.conditional, False
        self.b.position_at_end(start)
        yield
        self.conditional = outer
        self.level -= 1
        self.before.pop().builder.branch(start)

    # -- values

    def constant(self, value: int) -> Value:
        return Value(I64(value), 1, 0)

    def arithmetic(self, name: str, x: Value, y: Value) -> Value:
        """An operation on i64 of one width, as far out as it goes."""
        builder, level = self.builder_at(max(x.level, y.level), movable=True)
        return Value(getattr(builder, name)(x.register, y.register), x.width, level)

    def add(self, x: Value, y: Value) -> Value:
        for one, other in ((x, y), (y, x)):
            if _is_number(one, 0):
                return other
        return self.arithmetic("add", x, y)

    def mul(self, x: Value, y: Value) -> Value:
        for one, other in ((x, y), (y, x)):
            if _is_number(one, 1):
                return other
            if _is_number(one, 0):
                return one
        return self.arithmetic("mul", x, y)

    def spread(self, value: Value) -> Value:
        """value in every lane."""
        if value.width == self.width:
            return value
        builder, level = self.builder_at(value.level, movable=True)
        if builder is self.b:
            return Value(splat(builder, value.register, self.width), self.width, level)
        kept, key = self.before[level + 1].kept, (id(value.register), self.width)
        if key not in kept:  # the source is kept too: a constant that is freed would leave its id to another
            kept[key] = (value.register, splat(builder, value.register, self.width))
        return Value(kept[key][1], self.width, level)

    def multiple(self, value: Value, factor: int) -> Value:
        """value * factor, once for each factor."""
        if value.level >= self.level:
            return self.mul(value, self.constant(factor))
        kept, key = self.before[value.level + 1].kept, (id(value.register), "*", factor)
        if key not in kept:
            kept[key] = (value.register, self.mul(value, self.constant(factor)).register)
        return Value(kept[key][1], 1, value.level)

    def lanes_of(self, ramp: Ramp) -> Value:
        """A ramp's value in every lane; in lanes that do not count, that of the first."""
        assert self.index is not None
        builder, level = self.builder_at(max(self.vector_level, ramp.offset.level), movable=True)
        first = builder.add(ramp.offset.register, builder.mul(self.index, I64(ramp.step)))
        steps = iota(I64, self.width, ramp.step)
        if self.mask is not None:
            steps = builder.select(self.mask, steps, number(steps.type, 0))
        return Value(builder.add(splat(builder, first, self.width), steps), self.width, level)

    # -- memory of the function's own

    def room(self, size: int) -> ir.Value:
        """`size` bytes of stack; one place for each size, for use in passing."""
        if size not in self.rooms:
            room = stack_room(self.setup, vector_type(ir.IntType(8), size))
            self.rooms[size] = room
        return self.rooms[size]

    # -- control flow

    def repeat(
        self,
        start: ir.Value,
        stop: ir.Value,
        step: int,
        carried: Sequence[ir.Value],
        body: Callable[[ir.Value, Sequence[ir.Value]], Sequence[ir.Value]],
        *,
        certain: bool = False,
        until: Callable[[], ir.Value] | None = None,
    ) -> list[ir.Value]:
        """A loop over range(start, stop, step) that hands registers from turn to turn; `certain`: it turns at least once;
        `until`: what ends it early, asked after each turn."""
        b = self.b
        entry, turn = b.block, b.append_basic_block("turn")
        after = b.append_basic_block("after")
        if certain:
            b.branch(turn)
        else:
            b.cbranch(b.icmp_signed("<", start, stop), turn, after)
        b.position_at_end(turn)
        index = b.phi(I64)
        phis = [b.phi(value.type) for value in carried]
        results = list(body(index, phis))
        following = b.add(index, I64(step))
        more = b.icmp_signed("<", following, stop)
        if until is not None:
            more = b.and_(more, b.not_(until()))
        latch = b.block
        b.cbranch(more, turn, after)
        index.add_incoming(start, entry)
        index.add_incoming(following, latch)
        for phi, first, later in zip(phis, carried, results, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(later, latch)
        b.position_at_end(after)
        if certain:
            return results
        return self.join([(entry, carried), (latch, results)])

    def join(self, incoming: Sequence[tuple[ir.Block, Sequence[ir.Value]]]) -> list[ir.Value]:
        """The registers that the blocks before this one bring along."""
        merged = []
        for i, value in enumerate(incoming[0][1]):
            phi = self.b.phi(value.type)
            for block, values in incoming:
                phi.add_incoming(values[i], block)
            merged.append(phi)
        return merged

    def charge(self, work: ir.Value) -> None:
        """Take work from the budget, and poll for interrupts when there is none left."""
        b = self.b
        place = context_field(b, self.context, "budget")
        left = b.sub(b.load(place, typ=I64), work)
        b.store(left, place)
        with b.if_then(b.icmp_signed("<", left, I64(0)), likely=False):
            b.store(I64(BUDGET), place)
            stop = b.call(declare(b.module, "tj_rt_poll"), [self.context])
            self.leave_if(b.icmp_signed("!=", stop, I32(0)), INTERRUPTED)

    def leave_if(self, condition: ir.Value, code: int) -> None:
        going_on = self.b.append_basic_block("on")
        self.exits.append((code, self.b.block))
        self.b.cbranch(condition, self.exit, going_on).set_weights([1, 4000])
        self.b.position_at_end(going_on)

    def finish(self, scratch: Sequence[ir.Value]) -> None:
        """End the function: every way out frees the scratch buffers."""
        self.exits.append((0, self.b.block))
        self.b.branch(self.exit)
        self.setup.branch(self.function.blocks[1])
        self.b.position_at_end(self.exit)
        code = self.b.phi(I32)
        for value, block in self.exits:
            code.add_incoming(I32(value), block)
        for room in scratch:
            self.b.call(libc_function(self.b.module, "free"), [self.b.load(room, typ=ir.PointerType())])
        self.b.ret(code)


def _is_number(value: Value, n: int) -> bool:
    register = value.register
    return isinstance(register, ir.Constant) and register.constant == n
