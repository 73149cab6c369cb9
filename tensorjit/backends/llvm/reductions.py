"""Reductions on registers: how an accumulator starts, takes a value, merges with another, and ends.

A state is a tuple of registers: the value, and for argmin and argmax its position (i64). Sums of floats are cascaded, so
that their error grows with the logarithm of the length, as that of pairwise summation (Higham, "Accuracy and Stability
of Numerical Algorithms", 4.2): 8 turns are added in the lanes of a strip, 8 strips to a group, and groups are summed like
the digits of a binary counter, in a stack whose entry k holds 2^k groups. Lane counts do not depend on the target, so
neither do the bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir

from tensorjit.backends.llvm import complexes
from tensorjit.backends.llvm.abi import I64, PTR, VOID
from tensorjit.backends.llvm.quiet import declare, quiet_fcmp, suffix
from tensorjit.backends.llvm.registers import (
    Pair,
    Register,
    constant,
    half_of,
    map_parts,
    number,
    select,
    splat,
    vector_type,
    width_of,
)
from tensorjit.backends.llvm.scalars import emit_intrinsic
from tensorjit.ir.dtypes import BOOL, F32, U8, DType
from tensorjit.ir.kernel import Reduction
from tensorjit.records import dataclass

__all__ = [
    "STACK_DEPTH",
    "STRIPS_PER_GROUP",
    "TURNS_PER_STRIP",
    "Scheme",
    "State",
    "cascade_push",
    "cascade_total",
    "flatten",
    "unflatten",
]

State = tuple[Register, ...]

TURNS_PER_STRIP = 8
STRIPS_PER_GROUP = 8
STACK_DEPTH = 48  # 2^48 groups are more than memory holds

_INTRINSICS = {"sum": "add", "prod": "mul"}
_ON_BOOL = {"sum": "or", "prod": "and", "min": "and", "max": "or", "fmin": "and", "fmax": "or", "xor": "xor"}


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one reduction is computed: `dtype` is the accumulator's."""

    op: str
    dtype: DType
    of_bools: bool = False
    ordered: bool = False

    @staticmethod
    def of(reduction: Reduction) -> Scheme:
        op, dtype = reduction.op, reduction.dtype
        if dtype.kind == "b":
            return Scheme(op, U8, of_bools=True) if op.startswith("arg") else Scheme(_ON_BOOL.get(op, op), dtype, of_bools=True)
        # NumPy sums halves in float, too, where it rounds the total alone
        return Scheme(op, F32 if dtype.name == "f16" and not reduction.ordered else dtype, ordered=reduction.ordered)

    @property
    def by_position(self) -> bool:
        return self.op in ("argmin", "argmax")

    @property
    def cascaded(self) -> bool:
        return self.op == "sum" and self.dtype.kind in "fc" and not self.ordered

    def neutral(self, width: int) -> State:
        value = constant(self.dtype, self._neutral_number(), width)
        return (value, number(vector_type(I64, width), 0)) if self.by_position else (value,)

    def _neutral_number(self) -> complex:
        bits, kind = 8 * self.dtype.size, self.dtype.kind
        if self.op in ("sum", "or", "xor"):
            return 0
        if self.op == "prod":
            return 1
        if self.op == "and":
            return 1 if kind == "b" else -1
        largest = self.op in ("min", "fmin", "argmin")
        if kind == "f":
            return math.inf if largest else -math.inf
        if kind == "c":
            return complex(math.inf, math.inf) if largest else complex(-math.inf, -math.inf)
        if kind == "u":
            return (1 << bits) - 1 if largest else 0
        return (1 << (bits - 1)) - 1 if largest else -(1 << (bits - 1))

    # -- taking values in

    def step(self, b: ir.IRBuilder, state: State, value: Register, position: ir.Value | None) -> State:
        """state with one more value in each lane, whose position is larger than those before."""
        if not self.by_position:
            return self.merge(b, state, (value,))
        assert position is not None
        better = self._better(b, value, state[0])
        return select(b, better, value, state[0]), b.select(better, position, state[1])

    def step_lanes(self, b: ir.IRBuilder, state: State, value: Register, mask: ir.Value | None) -> State:
        """state, one lane wide, with the lanes of value, one after the other; those out of the mask are neutral."""
        if self.dtype.kind == "f" and self.dtype.size > 2:
            kind, name = value.type, {"sum": "fadd", "prod": "fmul"}[self.op]
            parameters = [kind.element, kind]
            function = declare(b.module, f"llvm.vector.reduce.{name}.{suffix(kind)}", kind.element, parameters)
            return (b.call(function, [state[0], value]),)
        for k in range(width_of(value)):
            lane = ir.IntType(32)(k)
            (new,) = self.step(b, state, map_parts(lambda part, lane=lane: b.extract_element(part, lane), value), None)
            # an infinite complex number times 1 has a part that is NaN
            keeps = mask is not None and self.dtype.kind == "c"
            state = (select(b, b.extract_element(mask, lane), new, state[0]) if keeps else new,)
        return state

    def merge(self, b: ir.IRBuilder, first: State, second: State) -> State:
        if not self.by_position:
            name = _INTRINSICS.get(self.op, self.op)
            return (emit_intrinsic(b, name, [first[0], second[0]], [self.dtype] * 2, self.dtype),)
        better = self._better(b, second[0], first[0])
        worse = self._better(b, first[0], second[0])
        earlier = b.and_(b.not_(worse), b.icmp_signed("<", second[1], first[1]))
        takes = b.or_(better, earlier)
        return select(b, takes, second[0], first[0]), b.select(takes, second[1], first[1])

    def _better(self, b: ir.IRBuilder, value: Register, held: Register) -> ir.Value:
        """Does value come strictly before held? A NaN comes before everything but a NaN."""
        relation = "lt" if self.op == "argmin" else "gt"
        kind = self.dtype.kind
        if kind == "f":
            # unordered or before: value is NaN, or before held, or held is NaN, which the second test takes out
            before = quiet_fcmp(b, "u" + relation, value, held)
            return b.and_(before, quiet_fcmp(b, "ord", held, held))
        if kind == "c":
            before = complexes.compare(b, relation, value, held)
            nan, held_nan = complexes.is_nan(b, value), complexes.is_nan(b, held)
            return b.and_(b.or_(before, nan), b.not_(held_nan))
        compare = b.icmp_signed if kind == "i" else b.icmp_unsigned
        return compare("<" if relation == "lt" else ">", value, held)

    @property
    def turn_type(self) -> ir.IntType:
        """What the turns of a strip are counted in beside a value: as wide as the value, so that both take as many registers."""
        return ir.IntType(8 * self.dtype.size)

    @property
    def may_be_settled(self) -> bool:
        """Whether there is a value that no other changes: any, all, and the place of the first."""
        return self.of_bools and self.op in ("and", "or", "argmin", "argmax")

    def is_settled(self, b: ir.IRBuilder, state: State) -> ir.Value:
        """Whether the values to come make no difference."""
        if self.by_position:
            value = state[0]
            found = b.icmp_unsigned("==", value, number(value.type, self.op == "argmax"))
            return Scheme("or", BOOL, of_bools=True).is_settled(b, (found,))
        (answer,) = self.shrink(b, state, 1)
        return answer if self.op == "or" else b.not_(answer)

    # -- lanes

    def shrink(self, b: ir.IRBuilder, state: State, width: int) -> State:
        """state with its lanes merged until `width` are left: by halves, or where positions are to become one, all at once."""
        if self.by_position and width == 1 and self.dtype.kind != "c" and width_of(state[0]) > 1:
            return self._first_of_best(b, *state)
        while width_of(state[0]) > width:
            lower, upper = (
                tuple(map_parts(lambda r, up=up: half_of(b, r, up), register) for register in state) for up in (False, True)
            )
            state = self.merge(b, lower, upper)
        return state

    def _first_of_best(self, b: ir.IRBuilder, value: ir.Value, position: ir.Value) -> State:
        """The value that comes before the others, and the first position where it is: a NaN, if there is one."""
        kind, most = self.dtype.kind, "max" if self.op == "argmax" else "min"
        if kind == "f":
            nan = b.fcmp_unordered("uno", value, value)
            some = _over_lanes(b, "or", nan)
            numbers = b.select(nan, number(value.type, self._neutral_number().real), value)
            best = _over_lanes(b, "f" + most, numbers, ("nnan",))
            there = b.select(some, nan, b.fcmp_ordered("==", value, splat(b, best, value.type.count)))
            best = b.select(some, number(best.type, math.nan), best)
        else:
            best = _over_lanes(b, ("s" if kind == "i" else "u") + most, value)
            there = b.icmp_unsigned("==", value, splat(b, best, value.type.count))
        beyond = number(position.type, (1 << (position.type.element.width - 1)) - 1)
        return best, _over_lanes(b, "smin", b.select(there, position, beyond))


def _over_lanes(b: ir.IRBuilder, name: str, register: ir.Value, fastmath: Sequence[str] = ()) -> ir.Value:
    """One of LLVM's reductions of a vector."""
    kind = register.type
    function = declare(b.module, f"llvm.vector.reduce.{name}.{suffix(kind)}", kind.element, [kind])
    return b.call(function, [register], fastmath=fastmath)


def flatten(state: State) -> list[ir.Value]:
    """The real registers of a state, for phi nodes."""
    return [part for r in state for part in (r if isinstance(r, Pair) else (r,))]


def unflatten(values: Sequence[ir.Value], like: State) -> State:
    rest = iter(values)
    return tuple(Pair(next(rest), next(rest)) if isinstance(r, Pair) else next(rest) for r in like)


# -- the stack of partial sums ----------------------------------------------------------------------------


def cascade_push(b: ir.IRBuilder, stack: ir.Value, groups: ir.Value, value: ir.Value) -> None:
    """Add the sum of one more group; `groups` were pushed before."""
    b.call(_push_function(b.module, value.type), [stack, groups, value])


def cascade_total(b: ir.IRBuilder, stack: ir.Value, groups: ir.Value, value: ir.Value) -> ir.Value:
    """The sum of all groups pushed, and of value."""
    return b.call(_total_function(b.module, value.type), [stack, groups, value])


def _function(module: ir.Module, name: str, result: ir.Type, typ: ir.Type) -> tuple[ir.Function, ir.IRBuilder]:
    function = ir.Function(module, ir.FunctionType(result, [PTR, I64, typ]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def _push_function(module: ir.Module, typ: ir.Type) -> ir.Function:
    name = f"tj_cascade_push_{suffix(typ)}"
    known = module.globals.get(name)
    if known is not None:
        return known
    function, b = _function(module, name, VOID, typ)
    stack, groups, value = function.args
    before, test, add, done = b.block, *(b.append_basic_block(n) for n in ("test", "add", "done"))
    b.branch(test)
    b.position_at_end(test)
    level, bits, total = b.phi(I64), b.phi(I64), b.phi(typ)
    place = b.gep(stack, [level], source_etype=typ)
    b.cbranch(b.trunc(bits, ir.IntType(1)), add, done)
    b.position_at_end(add)
    larger = b.fadd(b.load(place, typ=typ), total)
    above, left = b.add(level, I64(1)), b.lshr(bits, I64(1))
    b.branch(test)
    for phi, first, later in ((level, I64(0), above), (bits, groups, left), (total, value, larger)):
        phi.add_incoming(first, before)
        phi.add_incoming(later, add)
    b.position_at_end(done)
    b.store(total, place)
    b.ret_void()
    return function


def _total_function(module: ir.Module, typ: ir.Type) -> ir.Function:
    name = f"tj_cascade_total_{suffix(typ)}"
    known = module.globals.get(name)
    if known is not None:
        return known
    function, b = _function(module, name, typ, typ)
    stack, groups, value = function.args
    before, test, more = b.block, b.append_basic_block("test"), b.append_basic_block("more")
    add, after, done = (b.append_basic_block(n) for n in ("add", "after", "done"))
    b.branch(test)
    b.position_at_end(test)
    level, bits, total = b.phi(I64), b.phi(I64), b.phi(typ)
    b.cbranch(b.icmp_unsigned("==", bits, I64(0)), done, more)
    b.position_at_end(more)
    b.cbranch(b.trunc(bits, ir.IntType(1)), add, after)
    b.position_at_end(add)
    larger = b.fadd(b.load(b.gep(stack, [level], source_etype=typ), typ=typ), total)
    b.branch(after)
    b.position_at_end(after)
    summed = b.phi(typ)
    summed.add_incoming(total, more)
    summed.add_incoming(larger, add)
    above, left = b.add(level, I64(1)), b.lshr(bits, I64(1))
    b.branch(test)
    for phi, first, later in ((level, I64(0), above), (bits, groups, left), (total, value, summed)):
        phi.add_incoming(first, before)
        phi.add_incoming(later, after)
    b.position_at_end(done)
    b.ret(total)
    return function
