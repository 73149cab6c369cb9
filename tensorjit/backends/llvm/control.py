"""Structured control flow as LLVM blocks: `if`, `scope`, `for`, `while`, and the jumps out of them.

Values that meet at a block become phis, as few as their types leave open: a contiguous array is its data, its owner and
the sizes that nothing else tells. A loop owns a reference to every array that it carries and that changes from turn to turn.

An innermost loop over elements turns in strips, with the look at the interrupt budget between two strips, so that LLVM
finds a loop that it can vectorise.

    head:   k0 < count?  -> strip, else done
    strip:  end = min(k0 + STRIP, count)
    turn:   the body, k from k0 to end
    rest:   charge the budget; k0 = end; -> head
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from llvmlite import ir

from tensorjit.backends.llvm.abi import I1, I64, ArrayValue
from tensorjit.backends.llvm.pyapi import NULL
from tensorjit.backends.llvm.registers import Pair, scalar_type
from tensorjit.backends.llvm.sizes import ANY, Interval, at_most
from tensorjit.ir.graph import Block, Op, Value
from tensorjit.ir.types import ArrayType, ScalarType, Type
from tensorjit.records import dataclass

if TYPE_CHECKING:
    from tensorjit.backends.llvm.driver import Driver

__all__ = ["EMITTERS", "Exit", "Loop", "is_quiet"]

GIL_WORK = 20_000  # turns of simple work that take about 10 us
LIBRARY_TURNS = 1 << 13  # simple turns that a call of a library takes, more or less
STRIP = 1 << 12  # turns of an innermost loop between two looks at the budget


# -- flat registers --------------------------------------------------------------------------------------------


@final
class Form:
    """A value of one type as registers, as far as they are not known where its block stands."""

    def __init__(self, d: Driver, t: Type) -> None:
        assert isinstance(t, (ArrayType, ScalarType))
        self.type = t
        shape = t.shape if isinstance(t, ArrayType) else ()
        self.open = [k for k, s in enumerate(shape) if not d.is_known(s)]
        self.strided = isinstance(t, ArrayType) and t.layout == "A"
        self.flagged = isinstance(t, ArrayType) and t.access == "either"

    def flatten(self, item: Any) -> list[ir.Value]:
        if isinstance(self.type, ScalarType):
            return list(item) if isinstance(item, Pair) else [item]
        sizes = [item.dims[k] for k in self.open]
        strides = list(item.strides) if self.strided else []
        thing = NULL if item.object is None else item.object
        writable = [I1(item.writable) if isinstance(item.writable, bool) else item.writable] if self.flagged else []
        return [item.data, *sizes, *strides, *writable, item.owner, thing]

    def gather(self, d: Driver, registers: Iterator[ir.Value]) -> Any:
        t = self.type
        if isinstance(t, ScalarType):
            return Pair(next(registers), next(registers)) if t.dtype.kind == "c" else next(registers)
        data = next(registers)
        for k in self.open:
            d.define(t.shape[k], next(registers))
        sizes = tuple(d.dim(s) for s in t.shape)
        given = tuple(next(registers) for _ in sizes) if self.strided else None
        writable = next(registers) if self.flagged else t.access != "readonly"
        owner, thing = next(registers), next(registers)
        strides = given if given is not None else d.host.contiguous_strides(t.dtype.numpy, sizes, t.layout)
        if thing is not owner and not isinstance(thing, ir.Constant):
            d.nullable.add(id(thing))
        thing = None if isinstance(thing, ir.Constant) else thing
        return ArrayValue(t.dtype.numpy, data, sizes, strides, owner, thing, writable)

    def undefined(self, d: Driver) -> Any:
        t = self.type
        if isinstance(t, ArrayType):
            zero = (I64(0),) * t.rank
            for k in self.open:
                d.define(t.shape[k], I64(0))
            return ArrayValue(t.dtype.numpy, NULL, zero, zero, NULL, None)
        part = ir.Constant(scalar_type(t.dtype), ir.Undefined)
        return Pair(part, part) if t.dtype.kind == "c" else part


def _merge(b: ir.IRBuilder, incoming: Sequence[tuple[ir.Block, Sequence[ir.Value]]]) -> list[ir.Value]:
    """The registers that blocks bring along; those that agree stay as they are."""
    merged = []
    for k in range(len(incoming[0][1])):
        values = [registers[k] for _, registers in incoming]
        if all(v is values[0] for v in values):
            merged.append(values[0])
            continue
        phi = b.phi(values[0].type)
        for (block, _), value in zip(incoming, values, strict=True):
            phi.add_incoming(value, block)
        merged.append(phi)
    return merged


@final
class Exit:
    """Where the results of an op meet."""

    def __init__(self, d: Driver, results: Sequence[Value], name: str) -> None:
        self.d = d
        self.results = results
        self.forms = [Form(d, v.type) for v in results]
        self.block = d.host.new_block(name)
        self.incoming: list[tuple[ir.Block, list[ir.Value]]] = []
        self.known: list[dict[str, ir.Value]] = []

    def jump(self, values: Sequence[Value]) -> None:
        """Go there with these values of the graph."""
        d = self.d
        registers = [r for f, v in zip(self.forms, values, strict=True) for r in f.flatten(d.env[v])]
        self.incoming.append((d.emit.block, registers))
        self.known.append(dict(d.symbols))
        d.emit.branch(self.block)

    def land(self) -> None:
        """Go on there; the results are known from here on, and the symbols that are known on every way."""
        d = self.d
        d.emit.position_at_end(self.block)
        if not self.incoming:
            d.emit.unreachable()
            d.emit.position_at_end(d.host.new_block("dead"))
            d.env.update((v, f.undefined(d)) for v, f in zip(self.results, self.forms, strict=True))
            return
        first, *others = self.known
        for name, register in first.items():
            if all(symbols.get(name) is register for symbols in others):
                d.symbols.setdefault(name, register)
        merged = iter(_merge(d.emit, self.incoming))
        for v, form in zip(self.results, self.forms, strict=True):
            d.env[v] = form.gather(d, merged)


# -- if and scope ----------------------------------------------------------------------------------------------


def _if(d: Driver, op: Op) -> None:
    out = Exit(d, op.results, "endif")
    then, orelse = d.host.new_block("then"), d.host.new_block("else")
    d.emit.cbranch(d.env[op.operands[0]], then, orelse)
    d.scopes.append(out)
    d.conditional += 1
    for block, start in zip(op.blocks, (then, orelse), strict=True):
        d.emit.position_at_end(start)
        with d.inside():
            d.block(block)
    d.conditional -= 1
    d.scopes.pop()
    out.land()


def _scope(d: Driver, op: Op) -> None:
    out = Exit(d, op.results, "endscope")
    d.scopes.append(out)
    d.leaves.append(out)
    with d.inside():
        d.block(op.blocks[0])
    d.leaves.pop()
    d.scopes.pop()
    out.land()


def _yield(d: Driver, op: Op) -> None:
    d.scopes[-1].jump(op.operands)


def _leave(d: Driver, op: Op) -> None:
    d.leaves[-1].jump(op.operands)


def _continue(d: Driver, op: Op) -> None:
    d.loops[-1].again(op.operands)


def _break(d: Driver, op: Op) -> None:
    d.loops[-1].out.jump(op.operands)


# -- loops -----------------------------------------------------------------------------------------------------


@final
@dataclass(slots=True)
class Loop:
    """A loop being emitted: where its turns and its way out go."""

    again: Callable[[Sequence[Value]], None]
    out: Exit


def _continues(block: Block) -> Iterator[Op]:
    """The `continue` ops of the loop whose body this is."""
    for op in block.ops:
        if op.name == "continue":
            yield op
        for inner in op.blocks[len(op.own_blocks) :]:  # a loop's own blocks are its own; its else belongs to us
            yield from _continues(inner)


@final
class _Carried:
    """The values that change from turn to turn, and the references to arrays among them."""

    def __init__(self, d: Driver, body: Block, params: Sequence[Value], inits: Sequence[Value]) -> None:
        self.d = d
        turns = list(_continues(body))
        constant = [all(t.operands[k] is p for t in turns) for k, p in enumerate(params)]
        self.params = params
        self.moving = [k for k, fixed in enumerate(constant) if not fixed]
        for k, (p, v) in enumerate(zip(params, inits, strict=True)):
            if constant[k]:
                d.bind(p, d.env[v])
        self.forms = {k: Form(d, params[k].type) for k in self.moving}
        self.slots = {k: d.host.empty_slot() for k in self.moving if isinstance(params[k].type, ArrayType)}
        self.first = self.flatten(inits)
        self.own(self.first)
        self.rest: list[tuple[ir.Block, list[ir.Value]]] = []

    def flatten(self, values: Sequence[Value]) -> list[list[ir.Value]]:
        return [self.forms[k].flatten(self.d.env[values[k]]) for k in self.moving]

    def phis(self, before: ir.Block, registers: Sequence[Sequence[ir.Value]]) -> list[list[ir.PhiInstr]]:
        """Phis at the start of the current block, their first incoming set."""
        made = []
        for group in registers:
            made.append([self.d.emit.phi(r.type) for r in group])
            for phi, register in zip(made[-1], group, strict=True):
                phi.add_incoming(register, before)
        return made

    def bind(self, phis: Sequence[Sequence[ir.Value]]) -> None:
        """The params are these registers from here on."""
        for k, group in zip(self.moving, phis, strict=True):
            self.d.env[self.params[k]] = self.forms[k].gather(self.d, iter(group))

    def own(self, registers: Sequence[Sequence[ir.Value]]) -> None:
        host = self.d.host
        owners = [(self.slots[k], group[-2]) for k, group in zip(self.moving, registers, strict=True) if k in self.slots]
        for _, owner in owners:  # all before any is dropped: two may have changed places
            host.call("tj_py_Py_IncRef", owner)
        for slot, owner in owners:
            host.replace(slot, owner)

    def again(self, latch: ir.Block, values: Sequence[Value]) -> None:
        """From here to the end of the turn."""
        self.rest.append((self.d.emit.block, [r for group in self.flatten(values) for r in group]))
        self.d.emit.branch(latch)

    def latch(self) -> list[list[ir.Value]]:
        """At the end of the turn: what the next one starts with."""
        merged = iter(_merge(self.d.emit, self.rest))
        groups = [[next(merged) for _ in group] for group in self.first]
        self.own(groups)
        return groups


def _close(phis: Sequence[Sequence[ir.PhiInstr]], registers: Sequence[Sequence[ir.Value]], block: ir.Block) -> None:
    for group, values in zip(phis, registers, strict=True):
        for phi, value in zip(group, values, strict=True):
            phi.add_incoming(value, block)


def _done(d: Driver, op: Op, own: int, params: Sequence[Value], out: Exit) -> None:
    """The way out of a loop that no `break` left."""
    orelse = op.blocks[own:]
    if not orelse:
        out.jump(params)
        return
    for p, q in zip(orelse[0].params, params, strict=True):
        d.bind(p, d.env[q])
    d.scopes.append(out)
    d.block(orelse[0])
    d.scopes.pop()


def _for(d: Driver, op: Op) -> None:
    b, body = d.emit, op.blocks[0]
    start, stop, step = (d.env[v] for v in op.operands[:3])
    count = _count(d, start, stop, step)
    released = _let_go(d, op, count)
    out = Exit(d, op.results, "endfor")
    strip = not any(o.is_loop for o in body.walk()) and is_quiet(op) and not _is_short(count)
    with d.host.turns(), d.inside():
        carried = _Carried(d, body, body.params[1:], op.operands[3:])
        before, head = b.block, d.host.new_block("loop")
        b.branch(head)
        b.position_at_end(head)
        first = b.phi(I64)
        first.add_incoming(I64(0), before)
        heads = carried.phis(before, carried.first)
        with d.inside():
            carried.bind(heads)
            turn, done = d.host.new_block("turn"), d.host.new_block("done")
            b.cbranch(b.icmp_signed("<", first, count), turn, done)
            b.position_at_end(done)
            _done(d, op, 1, body.params[1:], out)
        b.position_at_end(turn)
        index, end, inner = first, None, heads
        if strip:
            index, end, inner, turn = _enter_strip(d, carried, first, heads, count)
        carried.bind(inner)
        item = _item(d, start, step, index)
        d.symbols[op.attrs["symbol"]] = d.env[body.params[0]] = item
        d.intervals[op.attrs["symbol"]] = d.ranges[body.params[0]] = _interval(d, op)
        latch = d.host.new_block("next")
        d.loops.append(Loop(lambda values: carried.again(latch, values), out))
        d.block(body)
        d.loops.pop()
        b.position_at_end(latch)
        if not carried.rest:
            b.unreachable()
        else:
            registers = carried.latch()
            following = b.add(index, I64(1), flags=("nuw", "nsw"))
            if end is None:
                _charge_turn(d, op)
            else:
                rest = d.host.new_block("rest")
                index.add_incoming(following, b.block)
                _close(inner, registers, b.block)
                b.cbranch(b.icmp_signed("<", following, end), turn, rest)
                b.position_at_end(rest)
                with b.if_then(b.icmp_signed("<", end, count), likely=False):
                    d.host.charge(I64(STRIP))  # what is left over, a loop around charges
                following = end
            first.add_incoming(following, b.block)
            _close(heads, registers, b.block)
            b.branch(head)
    out.land()
    if released:
        d.released = False
        d.host.acquire_gil()


def _enter_strip(
    d: Driver, carried: _Carried, first: ir.Value, heads: Sequence[Sequence[ir.Value]], count: ir.Value
) -> tuple[ir.PhiInstr, ir.Value, list[list[ir.PhiInstr]], ir.Block]:
    b, before = d.emit, d.emit.block
    far = b.icmp_signed(">", b.sub(count, first), I64(STRIP))
    end = b.select(far, b.add(first, I64(STRIP)), count)
    turn = d.host.new_block("strip")
    b.branch(turn)
    b.position_at_end(turn)
    index = b.phi(I64)
    index.add_incoming(first, before)
    return index, end, carried.phis(before, heads), turn


def _number(value: ir.Value) -> int | None:
    if not isinstance(value, ir.Constant):
        return None
    word: int = value.constant
    return word - 2**64 if word >= 2**63 else word


def _count(d: Driver, start: ir.Value, stop: ir.Value, step: ir.Value) -> ir.Value:
    """How often range(start, stop, step) turns."""
    b, size = d.emit, _number(step)
    if size == 1 and _is_natural(start):
        return stop if _number(start) == 0 else b.select(b.icmp_signed("<", start, stop), b.sub(stop, start), I64(0))
    if size is None:
        d.raise_unless(b.icmp_signed("!=", step, I64(0)), "ValueError", "range() arg 3 must not be zero")
        up = b.icmp_signed(">", step, I64(0))
        width = b.select(up, step, b.sub(I64(0), step))
        low, high = b.select(up, start, stop), b.select(up, stop, start)
    else:
        width = I64(abs(size))
        low, high = (start, stop) if size > 0 else (stop, start)
    turns = b.add(b.udiv(b.sub(b.sub(high, low), I64(1)), width), I64(1))
    turns = b.select(b.icmp_signed("<", turns, I64(0)), I64(2**63 - 1), turns)  # it does not end anyhow
    return b.select(b.icmp_signed("<", low, high), turns, I64(0))


def _is_natural(value: ir.Value) -> bool:
    known = _number(value)
    return known is not None and known >= 0


def _item(d: Driver, start: ir.Value, step: ir.Value, index: ir.Value) -> ir.Value:
    moved = index if _number(step) == 1 else d.emit.mul(index, step)
    return moved if _number(start) == 0 else d.emit.add(start, moved)


def _interval(d: Driver, op: Op) -> Interval:
    """Where the index of a loop lies."""
    (first, last), (least, most) = (d.ranges.get(v, ANY) for v in op.operands[:2])
    return min(first, least + 1), max(last, most - 1)


def _is_short(count: ir.Value) -> bool:
    known = _number(count)
    return known is not None and known <= STRIP


def _charge_turn(d: Driver, op: Op) -> None:
    """After a turn of a loop without strips: a library may have taken long, an inner loop up to a strip."""
    inside = [o for block in op.blocks for o in block.walk()]
    names = {o.name for o in inside}
    if "library" in names:
        d.host.signals()
        d.host.charge(I64(LIBRARY_TURNS))
    elif any(o.is_loop for o in inside):
        d.host.charge(I64(STRIP // 4))
    elif "launch" in names:
        d.host.charge(functools.reduce(d.emit.add, [_launch_turns(d, o) for o in inside if o.name == "launch"]))
    elif op.name == "while" or not is_quiet(op):
        d.host.charge(I64(64))


def _launch_turns(d: Driver, launch: Op) -> ir.Value:
    """The turns that a launch counts for; one of more work lets the GIL go itself."""
    work = launch.attrs.get("work", 0)
    if isinstance(work, int):
        return I64(64 + min(work, GIL_WORK))
    if not d.is_known(work):
        return I64(512)
    turns = at_most(d, work)
    b = d.emit
    return b.add(b.select(b.icmp_signed("<", turns, I64(GIL_WORK)), turns, I64(GIL_WORK)), I64(64))


def _while(d: Driver, op: Op) -> None:
    b, (condition, body) = d.emit, op.blocks[:2]
    out = Exit(d, op.results, "endwhile")
    with d.host.turns(), d.inside():
        carried = _Carried(d, body, body.params, op.operands)
        before, head = b.block, d.host.new_block("loop")
        b.branch(head)
        b.position_at_end(head)
        count = b.phi(I64)
        count.add_incoming(I64(0), before)
        heads = carried.phis(before, carried.first)
        carried.bind(heads)
        for p, q in zip(condition.params, body.params, strict=True):
            d.bind(p, d.env[q])
        holds = _condition(d, condition)
        turn, done = d.host.new_block("turn"), d.host.new_block("done")
        b.cbranch(holds, turn, done)
        b.position_at_end(done)
        with d.inside():
            _done(d, op, 2, body.params, out)
        b.position_at_end(turn)
        latch = d.host.new_block("next")
        d.loops.append(Loop(lambda values: carried.again(latch, values), out))
        d.block(body)
        d.loops.pop()
        b.position_at_end(latch)
        if carried.rest:
            registers = carried.latch()
            following = b.add(count, I64(1))
            if is_quiet(op) and not any(o.is_loop or o.name == "launch" for o in body.walk()):
                with b.if_then(b.icmp_unsigned("==", b.and_(following, I64(STRIP - 1)), I64(0)), likely=False):
                    d.host.charge(I64(STRIP))
            else:
                _charge_turn(d, op)
            count.add_incoming(following, b.block)
            _close(heads, registers, b.block)
            b.branch(head)
        else:
            b.unreachable()
    out.land()


def _condition(d: Driver, block: Block) -> ir.Value:
    """The condition's value; a block that raises has none."""
    last = block.terminator
    if last.name != "yield":
        d.block(block)
        d.emit.position_at_end(d.host.new_block("dead"))
        return I1(0)
    d.run(block.ops[:-1])
    return d.env[last.operands[0]]


# -- without the GIL -------------------------------------------------------------------------------------------


def is_quiet(op: Op) -> bool:
    """Whether a loop touches no Python object on its usual path."""
    for block in op.blocks:
        for o in block.walk():
            if (o.is_loop and _moves_arrays(o)) or not _is_quiet(o):
                return False
    return not _moves_arrays(op)


def _is_quiet(o: Op) -> bool:
    row = o.row
    if row is None:  # a row of the op table, on numbers
        return o.name.startswith(("py_", "math_")) or "loop" in o.attrs
    return not row.python and row.aims != "scope"  # a `leave` may go beyond the loop, to where the GIL is held


def _moves_arrays(op: Op) -> bool:
    body = op.body
    params = body.params[len(body.params) - len(op.results) :]
    turns = list(_continues(body))
    return any(isinstance(p.type, ArrayType) and any(t.operands[k] is not p for t in turns) for k, p in enumerate(params))


def _let_go(d: Driver, op: Op, count: ir.Value) -> bool:
    """Release the GIL around a long loop over elements; whether the code to take it back is wanted."""
    if d.released or not is_quiet(op):
        return False
    work = _work(d, op, count)
    known = _number(work)
    if known is not None and known <= GIL_WORK:
        return False
    with d.emit.if_then(d.emit.icmp_signed(">", work, I64(GIL_WORK)), likely=False):
        d.host.release_gil()
    d.released = True
    return True


def _work(d: Driver, op: Op, count: ir.Value) -> ir.Value:
    """Turns of the innermost loops, about."""
    return _times(d, _clamped(d, count), _body_work(d, op.blocks[0]))


def _body_work(d: Driver, body: Block) -> ir.Value:
    bounds = {o.result: o for o in body.walk() if o.name in ("const", "dim")}
    total: ir.Value = I64(1)
    for o in body.walk():
        if o.name == "launch":
            more: ir.Value = I64(64)
        elif o.is_loop:
            more = _times(d, _turns(d, o, bounds), I64(1 if o.name == "while" else 2))
        else:
            continue
        total = _times(d, total, more)
    return total


def _turns(d: Driver, op: Op, bounds: Mapping[Value, Op]) -> ir.Value:
    """The turns of an inner loop, as far as they are known before the outer one."""
    ends = [_bound(d, v, bounds) for v in op.operands[:2]] if op.name == "for" else [None]
    if None in ends:
        return I64(16)
    start, stop = ends
    return _clamped(d, stop if _number(start) == 0 else d.emit.sub(stop, start))


def _bound(d: Driver, v: Value, bounds: Mapping[Value, Op]) -> ir.Value | None:
    if v in d.env:
        return d.env[v]
    o = bounds.get(v)
    if o is None:
        return None
    if o.name == "const":
        return I64(int(o.attrs["value"]))
    return d.dim(o.attrs["dim"]) if d.is_known(o.attrs["dim"]) else None


def _times(d: Driver, x: ir.Value, y: ir.Value) -> ir.Value:
    p, q = _number(x), _number(y)
    if p is not None and q is not None:
        return _clamped(d, I64(p * q))
    return _clamped(d, d.emit.mul(x, y))


def _clamped(d: Driver, count: ir.Value) -> ir.Value:
    known = _number(count)
    if known is not None:
        return I64(max(0, min(known, 1 << 28)))
    b = d.emit
    small = b.select(b.icmp_signed("<", count, I64(1 << 28)), count, I64(1 << 28))
    return b.select(b.icmp_signed(">", small, I64(0)), small, I64(0))


EMITTERS: Mapping[str, Callable[[Driver, Op], None]] = {
    "if": _if, "scope": _scope, "for": _for, "while": _while, "yield": _yield, "leave": _leave, "continue": _continue,
    "break": _break,
}  # fmt: skip
