"""Loops: `for` over what has a known number of items turn by turn, any other `for` and `while` as a loop of the typed graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from tensorjit.errors import Problem
from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.graph import NO_ATTRS, Op, Value
from tensorjit.ir.types import PY_INT
from tensorjit.ops.abstract import Abstract, Mapped, Sequence_, Static, SymInt
from tensorjit.ops.typed import Refusal
from tensorjit.passes.specialise.branches import forget, notes
from tensorjit.passes.specialise.control import fetch, poisoned, run
from tensorjit.passes.specialise.iteration import Item, has_items, iteration
from tensorjit.passes.specialise.join import all_types, all_values, fill_all
from tensorjit.passes.specialise.loop_else import without_else
from tensorjit.passes.specialise.operators import compare, truth
from tensorjit.passes.specialise.peel import build_loop
from tensorjit.passes.specialise.settle import Built, Loop, Values, collects, turned
from tensorjit.passes.specialise.state import Frame, LoopState, Outcome, Rest, Specialiser

MAX_UNROLL = 4096
MAX_MAPPED_UNROLL = 16  # items of enumerate, zip or reversed, some of which may be arrays
MAX_SHORT = 64  # turns of a loop that is unrolled where its body cannot be typed otherwise


def for_(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    """A `for` of the generic graph."""
    if (ops := without_else(op)) is not None:
        return run(s, ops, 0, frame, after)
    iterable = fetch(s, frame, op.operands[0])
    values = tuple(frame.env[v] for v in op.operands[1:])
    try:
        length, item = iteration(s.b, iterable)
    except Refusal as refusal:
        s.problem(refusal)
        return poisoned(op)
    loop = ForLoop(s, op, frame.fork(), length, item)
    few = isinstance(iterable, Mapped) and isinstance(length, int) and length <= MAX_MAPPED_UNROLL
    if few or has_items(iterable) or isinstance(iterable, (Sequence_, Static)):
        return _unrolled(loop, 0, values, frame, after)
    if not isinstance(length, int) or length > MAX_SHORT:
        if (problem := collects(loop)) is not None:
            s.problem(Refusal(problem))
            return poisoned(op)
        return build_loop(loop, values, 0, loop.frame, after)
    return _short(loop, values, frame, after)


def _short(loop: ForLoop, values: Values, frame: Frame, after: Rest) -> Outcome:
    """A loop of few turns: unrolled after all where an index must be known, or types change."""
    s = loop.s
    problems, needs_static = len(s.problems), s.needs_static
    mark, splits, noted = s.b.mark(), s.splits, notes(frame)
    s.needs_static = False
    outcome = build_loop(loop, values, 0, loop.frame, after)
    if len(s.problems) == problems:
        s.needs_static = s.needs_static or needs_static
        return outcome
    del s.problems[problems:]
    s.needs_static = needs_static
    s.b.go_back(mark)
    s.splits = splits
    forget(noted)
    return _unrolled(loop, 0, values, frame, after)


def _unrolled(loop: ForLoop, turn: int, values: Values, frame: Frame, after: Rest) -> Outcome:
    """Turns of known number, one after the other."""
    s, length = loop.s, loop.length
    if not isinstance(length, int):
        s.b.refuse("a loop over a list or a tuple beside something whose length is not known", "make an array of it before the loop")
    if length > MAX_UNROLL:
        s.problem(Refusal(Problem(f"a loop over {length} items that would be unrolled", loop.op.loc, "loop over an array")))
        return poisoned(loop.op)

    def later(outcome: Outcome, own: Frame) -> Outcome:  # after turn `turn`, on a path that runs apart
        own = own.fork(loop=frame.loop)
        outcome = turned(outcome, lambda v: _unrolled(loop, turn + 1, v, own, after))
        return outcome if outcome.kind == "ended" else after(outcome, own)

    while turn < length:
        inner = frame.fork(loop=None) if turn == 0 or frame.loop is not None else frame
        outcome = loop.turn(inner, Static(turn), values, later)
        if outcome.kind not in ("fell", "continued"):
            return turned(outcome, lambda v: Outcome("fell", v))
        values, turn = outcome.values, turn + 1
    return loop.end(values, frame, after)


@final
class ForLoop(Loop):
    """A loop over `length` items."""

    def __init__(self, s: Specialiser, op: Op, frame: Frame, length: Dim, item: Item) -> None:
        super().__init__(s, op, frame, op.blocks[0], op.blocks[0].params[1:])
        self.length, self.item = length, item

    def begin(self, state: LoopState, first: Dim) -> tuple[Mapping[str, object], tuple[Value, ...]]:
        b = self.s.b
        index = b.symbol("i", low=max(0, dims.bounds(first)[0]))
        name = str(index)
        b.upper[name] = self.length - 1
        param = Value(PY_INT, name)
        b.sizes[param] = index
        state.index = SymInt(index)
        return {"symbol": name}, (param,)

    def items(self, index: Abstract) -> Values:
        return (self.item(index),)

    def emit(self, built: Built, first: Dim) -> tuple[Value, ...]:
        b = self.s.b
        bounds = [b.value(b.int_of(d)) for d in (first, self.length, 1)]
        starts = all_values(b, built.carried, built.inits)
        return b.builder.add_multi("for", [*bounds, *starts], all_types(built.carried), built.attrs, [built.body], loc=self.op.loc)

    def turns(self, values: Values, first: Dim) -> Abstract:
        if isinstance(self.length, int) and isinstance(first, int):
            return Static(self.length > first)
        b = self.s.b
        return compare(b, ">", b.int_of(self.length), b.int_of(first))


def while_(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    """A `while` of the generic graph."""
    if (ops := without_else(op)) is not None:
        return run(s, ops, 0, frame, after)
    values = tuple(frame.env[v] for v in op.operands)
    return build_loop(WhileLoop(s, op, frame), values, 0, frame, after)


@final
class WhileLoop(Loop):
    """A loop whose condition is a block of its own."""

    def __init__(self, s: Specialiser, op: Op, frame: Frame) -> None:
        super().__init__(s, op, frame, op.blocks[1], op.blocks[1].params)

    def begin(self, state: LoopState, first: Dim) -> tuple[Mapping[str, object], tuple[Value, ...]]:
        return NO_ATTRS, ()

    def items(self, index: Abstract) -> Values:
        return ()

    def emit(self, built: Built, first: Dim) -> tuple[Value, ...]:
        b = self.s.b
        types = all_types(built.carried)
        params = [Value(t) for t in types]
        with b.block(params) as builder:
            found = self._condition(self.frame.fork(loop=None, in_loop=True), fill_all(b, built.carried, params))
            b.effect("yield", [b.value(found)])
        starts = all_values(b, built.carried, built.inits)
        return b.builder.add_multi("while", starts, types, built.attrs, [builder.block(), built.body], loc=self.op.loc)

    def turns(self, values: Values, first: Dim) -> Abstract:
        return self._condition(self.frame.fork(), values)

    def _condition(self, own: Frame, values: Sequence[Abstract]) -> Abstract:
        s, block = self.s, self.op.blocks[0]
        own.env.update(zip(block.params, values[: len(block.params)], strict=True))
        outer, s.in_condition = s.in_condition, True
        outcome = run(s, block.ops, 0, own, _no_rest)
        s.in_condition = outer
        try:
            return truth(s.b, outcome.values[0])
        except Refusal as refusal:
            s.problem(refusal)
            return Static(False)


def _no_rest(outcome: Outcome, frame: Frame) -> Outcome:
    raise Refusal(Problem("a condition whose type depends on the path"))
