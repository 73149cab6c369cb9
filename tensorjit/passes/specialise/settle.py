"""A loop of the typed graph, and its types: the body is built again until what the turns carry has types that hold.

`Loop` is what the rest works on: one `for` or `while` of the program. Templates (`join.py`) say what it carries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import final

from tensorjit.errors import Loc, Problem
from tensorjit.ir.dims import Dim
from tensorjit.ir.graph import Block, Op, Value
from tensorjit.ir.types import ArrayType, ScalarType, Type
from tensorjit.ops.abstract import Abstract, Sequence_, Unbound
from tensorjit.ops.typed import TypedBuilder
from tensorjit.ops.words import describe
from tensorjit.passes.specialise.control import leave, next_turn, run
from tensorjit.passes.specialise.join import (
    Items,
    Same,
    Template,
    Typed,
    all_types,
    fill_all,
    join,
    same,
    strengthen,
    template,
    types_of,
    widen,
    zero,
)
from tensorjit.passes.specialise.loop_else import inside_of
from tensorjit.passes.specialise.state import Frame, LoopState, Outcome, Rest, Specialiser
from tensorjit.passes.specialise.versions import Alternative, Exits, absorb, starts
from tensorjit.records import dataclass

MAX_ROUNDS = 8  # in which types must settle

Values = tuple[Abstract, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A loop whose types are settled: what it carries, what that starts with, its body.

    `converted` says that starts were made what the turns make of them, which is right only where the loop turns.
    """

    carried: tuple[Template, ...]
    inits: Values
    body: Block
    attrs: Mapping[str, object]
    converted: bool = False


class Loop(ABC):
    """A `for` or `while` of the program: its body, with `params` for what it carries, in the frame that it stands in."""

    def __init__(self, s: Specialiser, op: Op, frame: Frame, body: Block, params: Sequence[Value]) -> None:
        self.s, self.op, self.frame, self.body, self.params = s, op, frame, body, params

    @abstractmethod
    def begin(self, state: LoopState, first: Dim) -> tuple[Mapping[str, object], tuple[Value, ...]]:
        """Before the body of the typed loop: its attrs, and the params that stand before the carried ones."""

    @abstractmethod
    def items(self, index: Abstract) -> Values:
        """What the body gets beside the carried values in the turn of this index."""

    @abstractmethod
    def emit(self, built: Built, first: Dim) -> tuple[Value, ...]:
        """The op of the typed loop, from turn `first` on; its results."""

    @abstractmethod
    def turns(self, values: Values, first: Dim) -> Abstract:
        """Whether turn `first` takes place, where the loop carries these values."""

    def turn(self, frame: Frame, index: Abstract, values: Sequence[Abstract], rest: Rest) -> Outcome:
        """One turn, in the current block."""
        frame.env.update(zip(self.body.params, (*self.items(index), *values), strict=True))
        return run(self.s, self.body.ops, 0, frame, rest)

    def build(
        self, state: LoopState, first: Dim, params: Sequence[Value], extra: Sequence[Value] = ()
    ) -> tuple[Block, Mapping[str, object]]:
        """The body of the typed loop with these params; the ends of its turns are noted in `state`."""
        s = self.s

        def rest(outcome: Outcome, path: Frame) -> Outcome:
            return leave(s, next_turn(outcome), path)

        with s.b.block([*params, *extra]) as builder:
            attrs, before = self.begin(state, first)
            own = self.frame.fork(loop=state, in_loop=True)
            outcome = self.turn(own, state.index, fill_all(s.b, state.carried, params), rest)
            if outcome.kind != "ended":
                leave(s, next_turn(outcome), own)
            return Block((*before, *params, *extra), tuple(builder.ops)), attrs

    def finish(self, built: Built, first: Dim, frame: Frame, after: Rest) -> Outcome:
        """The typed loop, and what follows it."""
        results = self.emit(built, first)
        return self.end(fill_all(self.s.b, built.carried, results), frame, after)

    def end(self, values: Values, frame: Frame, after: Rest) -> Outcome:
        """The loop ended without `break`: its `else` block, if any."""
        block = self.op.orelse
        if block is None:
            return Outcome("fell", values)
        frame.env.update(zip(block.params, values, strict=True))
        return run(self.s, block.ops, 0, frame, after)

    def start(self, values: Values) -> tuple[Template, ...]:
        """The templates to begin with: numbers that the body may change are values of the graph."""
        return tuple(widen(template(x)) if v else template(x) for x, v in zip(values, self.varying, strict=True))

    @cached_property
    def varying(self) -> list[bool]:
        return _varying(self.body, self.params)

    @cached_property
    def reads(self) -> list[bool]:
        """Which carried values are read before a turn gives them a new value (a fresh one may start undefined)."""
        return _reads(self.op, len(self.params))


def turned(outcome: Outcome, go_on: Callable[[Values], Outcome]) -> Outcome:
    """What the end of a turn that stands by itself means for the loop."""
    if outcome.kind in ("fell", "continued"):
        return go_on(outcome.values)
    return Outcome("fell", outcome.values) if outcome.kind == "broke" else outcome


def _varying(body: Block, params: Sequence[Value]) -> list[bool]:
    """Which carried values the body may change: those that some turn does not hand on as they came."""
    handed_on = [True] * len(params)
    stack = [body]
    while stack:
        block = stack.pop()
        for op in block.ops:
            stack += inside_of(op)  # what a nested loop changes comes out as its results
            if op.name in ("continue", "break") or (op is block.ops[-1] and block is body and op.name == "yield"):
                for k, v in enumerate(op.operands[: len(params)]):
                    handed_on[k] = handed_on[k] and v is params[k]
    return [not x for x in handed_on]


def _reads(op: Op, count: int) -> list[bool]:
    used = {v for block in op.blocks for inner in block.walk() for v in inner.operands}
    carried = [block.params[len(block.params) - len(op.results) :] for block in op.blocks]
    return [any(k < len(params) and params[k] in used for params in carried) for k in range(count)]


# -- until the types hold --------------------------------------------------------------------------------------


def settle(loop: Loop, start: tuple[Template, ...], inits: Values, first: Dim, choices: bool = False) -> Built | None:
    """The body built until the carried templates hold from turn to turn; None where they do not. With `choices`, a number may have
    one type in this turn and another one in that."""
    b = loop.s.b
    outer, b.choices = b.choices, choices
    try:
        return _settle(loop, start, inits, first)
    finally:
        b.choices = outer


def _settle(loop: Loop, start: tuple[Template, ...], inits: Values, first: Dim) -> Built | None:
    s = loop.s
    carried, converted = start, False
    first_ops: list[str] | None = None
    for _ in range(MAX_ROUNDS):
        state = LoopState(carried, s.b.now)
        problems, splits = len(s.problems), s.splits
        body, attrs = loop.build(state, first, _params(carried))
        computes = _computes(body)
        first_ops = computes if first_ops is None else first_ops
        merged, converts = _merge(s.b, carried, state, loop.reads)
        late = carried is not start  # a type that the second turn makes is none that the first one makes
        if merged is None or (converts and (late or len(s.problems) > problems)):
            s.forget(problems, splits)
            return None
        if not converts and all(map(same, merged, carried)):
            if converted and computes != first_ops:
                return None
            return Built(carried, _starts(s.b, carried, inits), body, attrs, converted)
        s.forget(problems, splits)
        converted = converted or converts
        carried = merged
    return None


def _params(carried: Sequence[Template]) -> list[Value]:
    return [Value(t) for t in all_types(carried)]


def _merge(
    b: TypedBuilder, carried: tuple[Template, ...], state: LoopState, reads: Sequence[bool]
) -> tuple[tuple[Template, ...] | None, bool]:
    """The carried templates joined with what the turns hand on; the flag: a start has to be converted."""
    out: list[Template] = []
    converted = False
    for k, t in enumerate(carried):
        news = [template(values[k]) for values in (*state.turns, *state.breaks)]
        joined = _joined(b, t, news, state.mark)
        if joined is None and news:
            # each end of a turn must hand on the new type: `continue` before `s += v` leaves the number that s was
            made = _made(t, news[0], reads[k])
            joined = None if made is None else _joined(b, made, news, state.mark)
            converted = True
        if joined is None:
            return None, False
        out.append(joined)
    return tuple(out), converted


def _joined(b: TypedBuilder, t: Template, news: Sequence[Template], mark: int) -> Template | None:
    for new in news:
        found = join(b, t, new, mark)
        if found is None:
            return None
        t = found
    return t


def _made(t: Template, new: Template, read: bool) -> Template | None:
    """What a turn made of a start, where a loop that turns may as well start with that."""
    found = strengthen(t, new)
    if found is None and isinstance(t, Same) and isinstance(t.value, Unbound) and not read:
        found = widen(new) if all(isinstance(x, ScalarType) for x in types_of(widen(new))) else None
    return found


def _starts(b: TypedBuilder, carried: Sequence[Template], inits: Sequence[Abstract]) -> Values:
    return tuple(_start(b, t, x) for t, x in zip(carried, inits, strict=True))


def _start(b: TypedBuilder, t: Template, x: Abstract) -> Abstract:
    """A start converted to the settled type of its carried value."""
    if isinstance(t, Typed) and isinstance(t.type, ScalarType):
        return zero(b, t.type) if isinstance(x, Unbound) else b.cast_scalar(b.value(x), t.type)
    if not (isinstance(t, Items) and isinstance(x, Sequence_)):
        return x
    return Sequence_(_starts(b, t.items, x.items), x.is_list)


def _computes(block: Block) -> list[str]:
    """What a block computes in, whatever the types of constants: to see that a converted start changes nothing."""
    out = []
    for op in block.walk():
        if op.name == "const":  # which of them it is may hang on a type: 1 if isinstance(s, int) else 2
            out.append(f"const {complex(op.attrs['value'])}")
        elif (found := op.attrs.get("loop")) is not None:
            results = [r.type.dtype if isinstance(r.type, (ArrayType, ScalarType)) else None for r in op.results]
            out.append(f"{op.name} {found} {results}")
        elif op.name != "cast":
            # what is returned, stored or handed to NumPy is so with its type; what jumps carry is the templates' business
            carries = op.row is not None and op.row.aims in ("owner", "loop")
            taken = [] if op.blocks or carries else [_kind(v.type) for v in op.operands]
            out.append(f"{op.name} {taken} {len(op.results)}")
    return out


def _kind(t: Type) -> str:
    return f"array {t.dtype}" if isinstance(t, ArrayType) else str(t)


def some_turns_keep(loop: Loop, start: tuple[Template, ...], first: Dim) -> bool:
    """Whether some turns hand on the types that they got, and others do not."""
    s = loop.s
    state = LoopState(start, s.b.now)
    problems, splits = len(s.problems), s.splits
    loop.build(state, first, _params(start))
    s.forget(problems, splits)
    kept = [all(join(s.b, t, template(v), state.mark) for t, v in zip(start, values, strict=True)) for values in state.turns]
    return any(kept) and (not all(kept) or bool(state.breaks))


def collects(loop: Loop) -> Problem | None:
    """What to say of the loop of a list comprehension, whose list grows in every turn: found out by building the body, again and
    again in those around it, it would take minutes."""
    grown = next((op for op in loop.body.ops if op.name == "list_append"), None)
    return None if grown is None else Problem(*_grows("", "a list", loop.op.loc))


def unsettled(loop: Loop, start: tuple[Template, ...], first: Dim) -> Problem | None:
    """What to say of a loop whose types do not settle: which variable differs after a turn. None where the body itself was refused,
    which its problems say."""
    s = loop.s
    state = LoopState(start, s.b.now)
    problems = len(s.problems)
    loop.build(state, first, _params(start))
    if len(s.problems) > problems:
        return None
    for values in (*state.turns, *state.breaks):
        for param, t, x in zip(loop.params, start, values, strict=True):
            if join(s.b, t, template(x), state.mark) is None:
                return Problem(*_changes(param.name, fill_all(s.b, [t], _params([t]))[0], x, loop.op.loc))
    for param, varies, t in zip(loop.params, loop.varying, start, strict=True):
        if varies and isinstance(t, Typed) and isinstance(t.type, ArrayType):
            kept = fill_all(s.b, [t], _params([t]))[0]
            return Problem(*_changes(param.name, kept, kept, loop.op.loc))
    return Problem("a variable of this loop changes its type from turn to turn", loop.op.loc, "give it one type before the loop")


def _changes(name: str, before: Abstract, after: Abstract, loc: Loc | None) -> tuple[str, Loc | None, str]:
    variable = _variable(name)
    one, other = describe(before), describe(after)
    if one == other and isinstance(before, Value) and isinstance(before.type, ArrayType):
        text = f"{variable} of this loop is {one} whose lengths may change from turn to turn"
        return text, loc, f"where they stay, write {name or 'x'}[:] = ...; to collect values, make the array before the loop"
    if one == other and isinstance(before, Sequence_):
        return _grows(name, one, loc)
    return f"{variable} of this loop changes its type from turn to turn: {one}, then {other}", loc, "give it one type before the loop"


def _grows(name: str, what: str, loc: Loc | None) -> tuple[str, Loc | None, str]:
    return f"{_variable(name)} of this loop is {what} that grows from turn to turn", loc, "make an array before the loop, and fill it"


def _variable(name: str) -> str:
    return f"`{name}`" if name else "a variable"


# -- with exits into other versions ----------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A settled loop with exits: what is its own of what it carries, and the exits."""

    built: Built
    own: tuple[Template, ...]
    exits: Exits


def settle_versions(loop: Loop, start: tuple[Template, ...], inits: Values, first: Dim) -> Version | None:
    """The body built with exits, until its templates and those of the exits hold; None where there are too many."""
    s = loop.s
    carried, exits = start, Exits(())
    for _ in range(MAX_ROUNDS):
        own = _params(carried)
        exits = Exits(exits.alternatives, tuple(own))
        state = LoopState(carried, s.b.now, exits=exits)
        problems, splits = len(s.problems), s.splits
        body, attrs = loop.build(state, first, own, _params(exits.extras()))
        merged = absorb(s.b, carried, exits.alternatives, [*state.turns, *state.breaks], state.mark)
        if merged is None:
            s.forget(problems, splits)
            return None
        if len(merged[1]) == len(exits.alternatives) and _same_versions(carried, exits, *merged):
            every = (*carried, *exits.extras())
            return Version(Built(every, _starts(s.b, every, starts(inits, exits)), body, attrs), carried, exits)
        s.forget(problems, splits)
        carried, exits = merged[0], Exits(merged[1])
    return None


def _same_versions(
    carried: tuple[Template, ...], exits: Exits, new: tuple[Template, ...], alternatives: tuple[Alternative, ...]
) -> bool:
    pairs = [*zip(carried, new, strict=True)]
    for one, other in zip(exits.alternatives, alternatives, strict=True):
        for x, y in zip(one.templates, other.templates, strict=True):
            if x is not None and y is not None:
                pairs.append((x, y))
    return all(same(x, y) for x, y in pairs)
