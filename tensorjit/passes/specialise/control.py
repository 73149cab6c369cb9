"""Control flow: runs of ops, branches, loops, inlined calls.

A run of ops ends in an :class:`Outcome`. Branches whose values join become one `if` op and the run goes on after it. Branches that
do not join keep their paths apart: each is built to the end of the program (`Rest` says what comes after), inside its branch.
Loops are built with carried values of settled types; a first turn whose types differ is peeled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensorjit.errors import Problem
from tensorjit.ir import dims
from tensorjit.ir.graph import NO_ATTRS, Block, Op, Value
from tensorjit.ir.types import PY_INT, ArrayType, ScalarType
from tensorjit.ops.abstract import (
    Abstract,
    Mapped,
    Poison,
    Range,
    Sequence_,
    Static,
    SymInt,
    Unbound,
    is_static,
    of,
    static_value,
)
from tensorjit.ops.indexing import index
from tensorjit.ops.typed import Refusal, TypedBuilder, describe
from tensorjit.passes.specialise.join import (
    Same,
    Template,
    Typed,
    fill,
    join,
    same,
    strengthen,
    template,
    types_of,
    values_of,
    widen,
)
from tensorjit.passes.specialise.loop_else import inside_of, without_else
from tensorjit.passes.specialise.operators import compare, truth
from tensorjit.passes.specialise.state import (
    ENDED,
    Frame,
    Handler,
    LoopState,
    NeedScope,
    Outcome,
    ScopeState,
    Specialiser,
)
from tensorjit.passes.specialise.versions import Alternative, Exits, absorb, ends, jump_values, starts

Rest = Callable[[Outcome, Frame], Outcome]  # what comes after, to the end of the program: its outcome is ENDED

MAX_SPLITS = 64
MAX_UNROLL = 4096
MAX_ROUNDS = 8
MAX_VERSIONS = 6
HANDLERS: dict[str, Handler] = {}


def run(s: Specialiser, ops: Sequence[Op], start: int, frame: Frame, rest: Rest) -> Outcome:
    """Build the ops from `start` on into the current block."""
    for i in range(start, len(ops)):
        op = ops[i]
        s.b.builder.loc = op.loc or s.b.builder.loc
        if s.b.dead is s.b.builder and not s.in_condition:
            return _dead(s)
        if op.name in ("if", "for", "while"):
            outcome = _structured(s, op, frame, _after(s, op, ops, i, rest))
            if outcome.kind != "fell":
                return outcome
            bind(op, frame, outcome.values)
        elif op.name == "call":
            outcome = _call(s, op, frame, _after(s, op, ops, i, rest))
            if outcome.kind != "fell":
                return outcome
            bind(op, frame, outcome.values)
        elif op.name in _TERMINATORS:
            return _terminate(s, op, frame)
        else:
            _simple(s, op, frame)
    raise AssertionError("a block without a terminator")


def _after(s: Specialiser, op: Op, ops: Sequence[Op], i: int, rest: Rest) -> Rest:
    """What comes after op: the rest of its block, then the rest of the program."""

    def after(outcome: Outcome, frame: Frame) -> Outcome:
        if outcome.kind == "fell":
            bind(op, frame, outcome.values)
            outcome = run(s, ops, i + 1, frame, rest)
        return outcome if outcome.kind == "ended" else rest(outcome, frame)

    return after


def bind(op: Op, frame: Frame, values: Sequence[Abstract]) -> None:
    """The results of an op have these values."""
    for result, value in zip(op.results, values, strict=True):
        frame.env[result] = value


def fetch(s: Specialiser, frame: Frame, value: Value) -> Abstract:
    """The abstract value of an operand that is used: an unassigned variable raises when the program gets here."""
    x = frame.env[value]
    if isinstance(x, Unbound):
        s.b.fail(
            "UnboundLocalError",
            f"cannot access local variable '{x.name}' where it is not associated with a value",
        )
        return Poison()
    return x


def _simple(s: Specialiser, op: Op, frame: Frame) -> None:
    if op.name == "unbound":
        frame.env[op.result] = Unbound(op.attrs["name"])
        return
    if op.name == "bound":
        frame.env[op.result] = fetch(s, frame, op.operands[0])
        return
    operands = [fetch(s, frame, v) for v in op.operands]
    if any(isinstance(x, Poison) for x in operands):
        for result in op.results:
            frame.env[result] = Poison()
        return
    try:
        handler = HANDLERS.get(op.name)
        if handler is None:
            s.b.refuse(f"{op.name} is not part of the language yet")
        found = handler(s, frame, op, operands)
    except Refusal as refusal:
        s.problem(refusal)
        found = tuple(Poison() for _ in op.results)
    values = found if isinstance(found, tuple) else (found,)
    if op.results:
        bind(op, frame, values)


# -- terminators -----------------------------------------------------------------------------------------------

_TERMINATORS = frozenset({"yield", "continue", "break", "return", "raise", "unreachable"})


def _terminate(s: Specialiser, op: Op, frame: Frame) -> Outcome:
    if op.name == "raise" and op.attrs.get("unreachable"):
        return _dead(s)
    if op.name == "raise":
        HANDLERS["raise"](s, frame, op, [fetch(s, frame, v) for v in op.operands])
        return ENDED
    if op.name == "unreachable":
        s.b.effect("unreachable")
        return ENDED
    if op.name == "return":
        return Outcome("returned", tuple(fetch(s, frame, v) for v in op.operands) or (Static(None),))
    values = tuple(frame.env[v] for v in op.operands)
    return Outcome({"yield": "fell", "continue": "continued", "break": "broke"}[op.name], values)  # type: ignore[arg-type]


def leave(s: Specialiser, outcome: Outcome, frame: Frame) -> Outcome:
    """End the current block of the typed graph with a jump of the innermost typed loop, the scope, or the graph."""
    b = s.b
    if outcome.kind in ("continued", "broke") and frame.loop is not None:
        loop = frame.loop
        (loop.turns if outcome.kind == "continued" else loop.breaks).append(outcome.values)
        if loop.exits is not None:
            broke = outcome.kind == "broke"
            leaves, values = jump_values(b, loop.carried, loop.exits, outcome.values, broke, loop.index)
            b.effect("break" if broke or leaves else "continue", values)
            return ENDED
        fits = [join(b, t, template(v), loop.mark) for t, v in zip(loop.carried, outcome.values, strict=True)]
        values = []
        for t, f, v in zip(loop.carried, fits, outcome.values, strict=True):
            if f is not None and same(t, f):
                values += list(values_of(b, t, v))
        b.effect("continue" if outcome.kind == "continued" else "break", values)
        return ENDED
    if outcome.kind == "returned":
        return _return(s, outcome.values[0], frame)
    raise AssertionError(f"{outcome.kind} without a loop")


def _return(s: Specialiser, value: Abstract, frame: Frame) -> Outcome:
    if not frame.inline:
        HANDLERS["return"](s, frame, None, [value])
        return ENDED
    if frame.scope is None:
        raise NeedScope
    scope = frame.scope
    scope.returns.append(value)
    values = list(values_of(s.b, scope.result, value)) if scope.result is not None else []
    s.b.effect("leave", values)
    return ENDED


# -- branches --------------------------------------------------------------------------------------------------


def _structured(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    if op.name != "if" and (ops := without_else(op)) is not None:
        return run(s, ops, 0, frame, after)
    return {"if": _if, "for": _for, "while": _while}[op.name](s, op, frame, after)


def _if(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    condition = fetch(s, frame, op.operands[0])
    try:
        condition = truth(s.b, condition)
    except Refusal as refusal:
        s.problem(refusal)
        condition = Poison()
    if isinstance(condition, Poison):
        return Outcome("fell", tuple(Poison() for _ in op.results)) if op.results or _falls(op) else _dead(s)
    if isinstance(condition, Static):
        return run(s, op.blocks[0 if condition.value else 1].ops, 0, frame, after)
    return branch(
        s,
        s.b.value(condition),
        frame,
        [_runner(s, b) for b in op.blocks],
        after,
    )


def _falls(op: Op) -> bool:
    return any(block.terminator.name == "yield" for block in op.blocks)


def _dead(s: Specialiser) -> Outcome:
    s.b.effect("unreachable")
    return ENDED


def _runner(s: Specialiser, block: Block) -> Callable[[Frame, Rest], Outcome]:
    return lambda frame, rest: run(s, block.ops, 0, frame, rest)


Runner = Callable[[Frame, Rest], Outcome]


def _records(frame: Frame) -> list[tuple[list[Any], int]]:
    """What the enclosing loop and scope have noted so far."""
    notes: list[list[Any]] = [] if frame.loop is None else [frame.loop.turns, frame.loop.breaks]
    notes += [] if frame.scope is None else [frame.scope.returns]
    return [(n, len(n)) for n in notes]


def _forget(records: list[tuple[list[Any], int]]) -> None:
    """Forget what was noted since."""
    for notes, count in records:
        del notes[count:]


def branch(
    s: Specialiser,
    condition: Value,
    frame: Frame,
    runners: Sequence[Runner],
    after: Rest,
) -> Outcome:
    """An `if` of the typed graph on two runners; joins them, or keeps the paths apart to the end of the program."""
    b = s.b
    mark = b.now
    records = _records(frame)
    outcomes: list[Outcome] = []
    builders = []
    for runner in runners:
        with b.block() as builder:
            outcomes.append(runner(frame.fork(), after))
            builders.append(builder)
    loc = b.builder.loc
    open_kinds = {o.kind for o in outcomes if o.kind != "ended"}
    if not open_kinds:
        b.builder.add_multi("if", (condition,), (), NO_ATTRS, [x.block() for x in builders], loc=loc)
        b.effect("unreachable")
        return ENDED
    if len(open_kinds) == 1:
        live = [o for o in outcomes if o.kind != "ended"]
        templates = list(map(template, live[0].values))
        joined: list[Template | None] = list(templates)
        for o in live[1:]:
            joined = [None if t is None else join(b, t, template(v), mark) for t, v in zip(joined, o.values, strict=True)]
        if len(live) == 1:
            joined = [join(b, t, t, mark) for t in templates]
        if all(t is not None for t in joined):
            return _join_branches(s, condition, outcomes, builders, [t for t in joined if t is not None])
    # the paths stay apart: undo what was noted, and build each to its end
    _forget(records)
    return split(s, condition, frame, runners, after)


def _join_branches(
    s: Specialiser,
    condition: Value,
    outcomes: Sequence[Outcome],
    builders: Sequence[object],
    joined: Sequence[Template],
) -> Outcome:
    b = s.b
    kind = next(o.kind for o in outcomes if o.kind != "ended")
    blocks = []
    for outcome, builder in zip(outcomes, builders, strict=True):
        outer, b.builder = b.builder, builder  # type: ignore[assignment]
        if outcome.kind != "ended":
            b.effect("yield", [v for t, x in zip(joined, outcome.values, strict=True) for v in values_of(b, t, x)])
        blocks.append(b.builder.block())
        b.builder = outer
    types = [x for t in joined for x in types_of(t)]
    results = iter(b.builder.add_multi("if", (condition,), types, NO_ATTRS, blocks))
    return Outcome(kind, tuple(fill(t, results) for t in joined))


def split(s: Specialiser, condition: Value, frame: Frame, runners: Sequence[Runner], after: Rest) -> Outcome:
    """An `if` whose branches are built to the end of the program, each with its own types."""
    b = s.b
    s.splits += 1
    if s.splits > MAX_SPLITS:
        b.refuse(
            "the types of variables depend on the path in too many ways here",
            "give a variable one type on every path",
        )
    blocks = []
    for runner in runners:
        with b.block() as builder:
            own = frame.fork()
            outcome = runner(own, after)
            if outcome.kind != "ended":
                outcome = after(outcome, own)
            assert outcome.kind == "ended"
            blocks.append(builder.block())
    b.builder.add_multi("if", (condition,), (), NO_ATTRS, blocks)
    b.effect("unreachable")
    return ENDED


# -- loops -----------------------------------------------------------------------------------------------------


def _for(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    iterable = fetch(s, frame, op.operands[0])
    inits = tuple(frame.env[v] for v in op.operands[1:])
    try:
        length, item = iteration(s.b, iterable)
    except Refusal as refusal:
        s.problem(refusal)
        return Outcome("fell", tuple(Poison() for _ in op.results))
    if isinstance(iterable, (Sequence_, Static)) or (isinstance(iterable, Mapped) and isinstance(length, int) and length <= 16):
        return _unrolled(s, op, frame, length, item, 0, inits, after)
    before = (len(s.problems), s.needs_static)
    s.needs_static = False
    mark, splits, records = s.b.mark(), s.splits, _records(frame)
    outcome = _counted(s, op, frame.fork(), iterable, length, item, inits, after)
    short = isinstance(length, int) and length <= 64
    if short and len(s.problems) > before[0]:  # an index that must be known, or types that change: unroll
        del s.problems[before[0] :]
        s.needs_static = before[1]
        s.b.go_back(mark)
        s.splits = splits
        _forget(records)
        return _unrolled(s, op, frame, length, item, 0, inits, after)
    s.needs_static = s.needs_static or before[1]
    return outcome


Item = Callable[[Abstract], Abstract]


def iteration(b: TypedBuilder, x: Abstract) -> tuple[dims.Dim, Item]:
    """How often a loop over x turns, and its item at an index (a Python int)."""
    if isinstance(x, Range):
        return _range(b, x)
    if isinstance(x, Sequence_):
        items = x.items
        return len(items), lambda k: items[static_value(k)]
    if isinstance(x, Value) and isinstance(x.type, ArrayType):
        if not x.type.shape:
            b.fail("TypeError", "iteration over a 0-d array")
            return 0, lambda k: Poison()
        return x.type.shape[0], lambda k: index(b, x, k)
    if isinstance(x, Mapped):
        return _mapped(b, x)
    if isinstance(x, Static) and isinstance(x.value, (str, tuple, range, frozenset)):
        known = tuple(x.value)
        return len(known), lambda k: of(known[static_value(k)])
    b.refuse(f"a loop over {describe(x)}")


def _range(b: TypedBuilder, x: Range) -> tuple[dims.Dim, Item]:
    step = b.static(x.step, "the step of a range")
    start, stop = b.dim(x.start), b.dim(x.stop)
    if step == 0:
        b.fail("ValueError", "range() arg 3 must not be zero")
        return 0, lambda k: Poison()
    length = dims.slice_length(start, stop, step)

    def item(k: Abstract) -> Abstract:
        return b.int_of(b.dim(k) * step + start)

    return length, item


def _mapped(b: TypedBuilder, x: Mapped) -> tuple[dims.Dim, Item]:
    parts = [iteration(b, a) for a in (x.args[:1] if x.kind == "enumerate" else x.args)]
    if x.kind == "reversed":
        length, item = parts[0]
        return length, lambda k: item(b.int_of(length - 1 - b.dim(k)))
    if x.kind == "enumerate":
        length, item = parts[0]
        first = b.dim(x.args[1])
        return length, lambda k: Sequence_((b.int_of(b.dim(k) + first), item(k)))
    shortest = parts[0][0]
    for length, _ in parts[1:]:
        shortest = dims.minimum(shortest, length)
    return shortest, lambda k: Sequence_(tuple(get(k) for _, get in parts))


def _unrolled(
    s: Specialiser,
    op: Op,
    frame: Frame,
    length: dims.Dim,
    item: Item,
    turn: int,
    values: tuple[Abstract, ...],
    after: Rest,
) -> Outcome:
    """Turns of known number, one after the other."""
    if not isinstance(length, int):
        s.b.refuse("a loop over containers whose length is not known")
    if length > MAX_UNROLL:
        s.problem(Refusal(Problem(f"a loop over {length} items that would be unrolled", op.loc, "loop over an array")))
        return Outcome("fell", tuple(Poison() for _ in op.results))
    body = op.blocks[0]

    def later(outcome: Outcome, own: Frame) -> Outcome:  # after turn `turn`, on a path that runs apart
        own = own.fork(loop=frame.loop)
        outcome = _turned(s, op, own, outcome, lambda v: _unrolled(s, op, own, length, item, turn + 1, v, after))
        return outcome if outcome.kind == "ended" else after(outcome, own)

    while turn < length:
        inner = frame.fork(loop=None) if turn == 0 or frame.loop is not None else frame
        inner.env.update(zip(body.params, (item(Static(turn)), *values), strict=True))
        outcome = run(s, body.ops, 0, inner, later)
        if outcome.kind not in ("fell", "continued"):
            return _turned(s, op, frame, outcome, lambda v: Outcome("fell", v))
        values, turn = outcome.values, turn + 1
    return _else(s, op, frame, values, after)


def _turned(s: Specialiser, op: Op, frame: Frame, outcome: Outcome, go_on: Callable[[tuple[Abstract, ...]], Outcome]) -> Outcome:
    """What the end of an unrolled turn means for the loop."""
    if outcome.kind in ("fell", "continued"):
        return go_on(outcome.values)
    return Outcome("fell", outcome.values) if outcome.kind == "broke" else outcome


def _else(s: Specialiser, op: Op, frame: Frame, values: tuple[Abstract, ...], after: Rest) -> Outcome:
    """A loop that ended without break: its `else` block, if any."""
    if len(op.blocks) < (2 if op.name == "for" else 3):
        return Outcome("fell", values)
    block = op.blocks[-1]
    frame.env.update(zip(block.params, values, strict=True))
    return run(s, block.ops, 0, frame, after)


def _counted(
    s: Specialiser,
    op: Op,
    frame: Frame,
    iterable: Abstract,
    length: dims.Dim,
    item: Item,
    inits: tuple[Abstract, ...],
    after: Rest,
) -> Outcome:
    """A loop whose number of turns is known at run time only."""
    body = op.blocks[0]

    def build(carried: Sequence[Abstract], loop: LoopState, first: dims.Dim) -> tuple[Mapping[str, object], Value]:
        b = s.b
        index = b.symbol("i", low=max(0, dims.bounds(first)[0]))
        name = str(index)
        b.upper[name] = length - 1
        param = Value(PY_INT, name)
        b.sizes[param] = index
        loop.index = SymInt(index)
        own = frame.fork(loop=loop, in_loop=True)
        own.env.update(zip(body.params, (item(SymInt(index)), *carried), strict=True))
        outcome = run(s, body.ops, 0, own, leaver(s))
        if outcome.kind != "ended":
            leave(s, outcome, own) if outcome.kind != "fell" else leave(s, Outcome("continued", outcome.values), own)
        return {"symbol": name}, param

    def emit(first: dims.Dim, state: Built) -> tuple[Value, ...]:
        b = s.b
        bounds = [b.value(b.int_of(d)) for d in (first, length, 1)]
        values = [v for t, x in zip(state.carried, state.inits, strict=True) for v in values_of(b, t, x)]
        types = [x for t in state.carried for x in types_of(t)]
        return b.builder.add_multi("for", [*bounds, *values], types, state.attrs, state.blocks, loc=op.loc)

    def turns(first: dims.Dim) -> Abstract:
        return (
            Static(length > first)
            if isinstance(length, int) and isinstance(first, int)
            else compare(s.b, ">", s.b.int_of(length), s.b.int_of(first))
        )

    def first_turn(own: Frame, values: tuple[Abstract, ...], rest: Rest) -> Outcome:
        own.env.update(zip(body.params, (item(Static(0)), *values), strict=True))
        return run(s, body.ops, 0, own, rest)

    return _loop(s, op, frame, inits, build, emit, turns, first_turn, after)


def _while(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    condition_block, body = op.blocks[0], op.blocks[1]
    inits = tuple(frame.env[v] for v in op.operands)

    def condition(own: Frame, values: Sequence[Abstract]) -> Abstract:
        own.env.update(zip(condition_block.params, values[: len(condition_block.params)], strict=True))
        outer, s.in_condition = s.in_condition, True
        outcome = run(s, condition_block.ops, 0, own, _no_rest)
        s.in_condition = outer
        try:
            return truth(s.b, outcome.values[0])
        except Refusal as refusal:
            s.problem(refusal)
            return Static(False)

    def build(carried: Sequence[Abstract], loop: LoopState, first: dims.Dim) -> tuple[Mapping[str, object], Value | None]:
        own = frame.fork(loop=loop, in_loop=True)
        own.env.update(zip(body.params, carried, strict=True))
        outcome = run(s, body.ops, 0, own, leaver(s))
        if outcome.kind != "ended":
            leave(s, outcome if outcome.kind != "fell" else Outcome("continued", outcome.values), own)
        return NO_ATTRS, None

    def emit(first: dims.Dim, state: Built) -> tuple[Value, ...]:
        b = s.b
        types = [x for t in state.carried for x in types_of(t)]
        params = [Value(x) for x in types]
        it = iter(params)
        with b.block(params) as builder:
            found = condition(frame.fork(loop=None, in_loop=True), [fill(t, it) for t in state.carried])
            b.effect("yield", [b.value(found)])
        values = [v for t, x in zip(state.carried, state.inits, strict=True) for v in values_of(b, t, x)]
        return b.builder.add_multi("while", values, types, state.attrs, [builder.block(), *state.blocks], loc=op.loc)

    def turns(first: dims.Dim) -> Abstract:
        return condition(frame.fork(), inits)

    def first_turn(own: Frame, values: tuple[Abstract, ...], rest: Rest) -> Outcome:
        own.env.update(zip(body.params, values, strict=True))
        return run(s, body.ops, 0, own, rest)

    return _loop(s, op, frame, inits, build, emit, turns, first_turn, after)


def _no_rest(outcome: Outcome, frame: Frame) -> Outcome:
    raise Refusal(Problem("a condition whose type depends on the path"))


def leaver(s: Specialiser) -> Rest:
    """What comes after the body of a typed loop: the next turn, or the way out."""

    def rest(outcome: Outcome, frame: Frame) -> Outcome:
        return leave(s, Outcome("continued", outcome.values) if outcome.kind == "fell" else outcome, frame)

    return rest


class Built:
    """A loop's settled state: its carried templates, what starts them, its blocks and attrs."""

    def __init__(
        self,
        carried: tuple[Template, ...],
        inits: tuple[Abstract, ...],
        blocks: list[Block],
        attrs: Mapping[str, object],
    ) -> None:
        self.carried, self.inits, self.blocks, self.attrs = carried, inits, blocks, attrs


BuildBody = Callable[[Sequence[Abstract], LoopState, dims.Dim], "tuple[Mapping[str, object], Value | None]"]
Emit = Callable[[dims.Dim, Built], "tuple[Value, ...]"]
FirstTurn = Callable[[Frame, "tuple[Abstract, ...]", Rest], Outcome]


def _loop(
    s: Specialiser,
    op: Op,
    frame: Frame,
    inits: tuple[Abstract, ...],
    build: BuildBody,
    emit: Emit,
    turns: Callable[[dims.Dim], Abstract],
    first_turn: FirstTurn,
    after: Rest,
    first: dims.Dim = 0,
) -> Outcome:
    """A loop with settled carried types: as it stands, with converted starts, or after a peeled first turn."""
    b = s.b
    body = op.blocks[0] if op.name == "for" else op.blocks[1]
    params = body.params[1:] if op.name == "for" else body.params
    varying = _varying(op, body, params)
    start = tuple(widen(template(x)) if v else template(x) for x, v in zip(inits, varying, strict=True))
    settled, strong, _first_ops = _settle(s, build, start, inits, _reads(op, params), first)
    if settled is None:
        if _some_turns_keep(s, build, start, first):
            return _versioned(s, op, frame, start, inits, build, emit, turns, first_turn, after, first)
        return _peeled(s, op, frame, inits, build, emit, turns, first_turn, after, first)
    if not strong:
        results = iter(emit(first, settled))
        return _else(s, op, frame, tuple(fill(t, results) for t in settled.carried), after)
    # the starts were converted to what the turns make of them: right only where there is a turn
    known = turns(first)
    if isinstance(known, Static):
        if not known.value:
            return _else(s, op, frame, inits, after)
        results = iter(emit(first, settled))
        return _else(s, op, frame, tuple(fill(t, results) for t in settled.carried), after)

    def with_turns(own: Frame, rest: Rest) -> Outcome:
        again, _, _ = _settle(s, build, settled.carried, inits, _reads(op, params), first)
        assert again is not None
        results = iter(emit(first, again))
        return _else(s, op, own, tuple(fill(t, results) for t in again.carried), rest)

    def without(own: Frame, rest: Rest) -> Outcome:
        return _else(s, op, own, inits, rest)

    return branch(s, b.value(known), frame, [with_turns, without], after)


def _some_turns_keep(s: Specialiser, build: BuildBody, start: tuple[Template, ...], first: dims.Dim) -> bool:
    """Whether some turns hand on the types that they got, and others do not."""
    b = s.b
    loop = LoopState(start, b.now)
    params = [Value(t) for c in start for t in types_of(c)]
    it = iter(params)
    problems = len(s.problems)
    with b.block(params):
        build([fill(c, it) for c in start], loop, first)
    del s.problems[problems:]
    kept = [all(join(b, t, template(v), loop.mark) for t, v in zip(start, values, strict=True)) for values in loop.turns]
    return any(kept) and (not all(kept) or bool(loop.breaks))


def _versioned(
    s: Specialiser,
    op: Op,
    frame: Frame,
    start: tuple[Template, ...],
    inits: tuple[Abstract, ...],
    build: BuildBody,
    emit: Emit,
    turns: Callable[[dims.Dim], Abstract],
    first_turn: FirstTurn,
    after: Rest,
    first: dims.Dim,
) -> Outcome:
    """A loop that turns with other types leave into other versions of it."""
    if frame.depth + s.versions >= MAX_VERSIONS:
        return _unsettled(s, op)
    found = _settle_versions(s, build, start, inits, first)
    if found is None:
        return _unsettled(s, op)
    settled, carried, exits = found
    b = s.b
    own, code, at, others = ends(carried, exits, iter(emit(first, settled)))

    def go_on(k: int, frame: Frame, rest: Rest) -> Outcome:
        again = b.bind(at, "k", low=0) + 1 if op.name == "for" else 0
        s.versions += 1
        try:
            return _loop(s, op, frame, tuple(others[k]), build, emit, turns, first_turn, rest, again)
        finally:
            s.versions -= 1

    def dispatch(which: int, frame: Frame, rest: Rest) -> Outcome:
        if which == 0:
            return _else(s, op, frame, tuple(own), rest)
        k, broke = divmod(which - 1, 2)
        is_this = s.b.value(compare(s.b, "==", code, Static(which)))
        values = tuple(others[k])
        here: Runner = (lambda f, r: Outcome("fell", values)) if broke else (lambda f, r: go_on(k, f, r))
        return branch(s, is_this, frame, [here, lambda f, r: dispatch(which - 1, f, r)], rest)

    return dispatch(2 * len(others), frame, after)


def _settle_versions(
    s: Specialiser, build: BuildBody, start: tuple[Template, ...], inits: tuple[Abstract, ...], first: dims.Dim
) -> tuple[Built, tuple[Template, ...], Exits] | None:
    """The body built with exits, until its templates and those of the exits hold."""
    b = s.b
    carried, exits = start, Exits(())
    for _ in range(MAX_ROUNDS):
        own = [Value(t) for c in carried for t in types_of(c)]
        extra = [Value(t) for c in exits.extras() for t in types_of(c)]
        exits = Exits(exits.alternatives, tuple(own))
        loop = LoopState(carried, b.now, exits=exits)
        it = iter(own)
        problems = len(s.problems)
        with b.block([*own, *extra]) as builder:
            attrs, item = build([fill(c, it) for c in carried], loop, first)
            block = Block((*((item,) if item is not None else ()), *own, *extra), tuple(builder.ops))
        merged = absorb(b, carried, exits.alternatives, [*loop.turns, *loop.breaks], loop.mark)
        if merged is None:
            return None
        if len(merged[1]) == len(exits.alternatives) and _same_versions(carried, exits, *merged):
            starting = [_start(b, c, x) for c, x in zip((*carried, *exits.extras()), starts(inits, exits), strict=True)]
            return Built((*carried, *exits.extras()), tuple(starting), [block], attrs), carried, exits
        del s.problems[problems:]
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


def _unsettled(s: Specialiser, op: Op) -> Outcome:
    text = "a variable of this loop changes its type from turn to turn"
    s.problem(Refusal(Problem(text, op.loc, "give it one type before the loop")))
    return Outcome("fell", tuple(Poison() for _ in op.results))


def _varying(op: Op, body: Block, params: Sequence[Value]) -> list[bool]:
    """Which carried values the body may change: those that some turn does not hand on as they came."""
    same_everywhere = [True] * len(params)
    passed = set(params)
    stack = [body]
    while stack:
        block = stack.pop()
        for o in block.ops:
            stack += inside_of(o)  # what a nested loop changes comes out as its results
            if o.name in ("continue", "break") or (o is block.ops[-1] and block is body and o.name == "yield"):
                for k, v in enumerate(o.operands[: len(params)]):
                    same_everywhere[k] = same_everywhere[k] and v is params[k] and v in passed
    return [not x for x in same_everywhere]


def _reads(op: Op, params: Sequence[Value]) -> list[bool]:
    """Which carried values are read before a turn gives them a new value (a fresh one may start undefined)."""
    used: set[Value] = set()
    stack = list(op.blocks)
    while stack:
        block = stack.pop()
        for o in block.ops:
            used.update(o.operands)
            stack += o.blocks
    mirrors = [p for block in op.blocks for p in (block.params[1:] if op.name == "for" and block is op.blocks[0] else block.params)]
    count = len(params)
    return [any(mirrors[j * count + k] in used for j in range(len(mirrors) // max(count, 1))) for k in range(count)]


def _settle(
    s: Specialiser,
    build: BuildBody,
    start: tuple[Template, ...],
    inits: tuple[Abstract, ...],
    reads: Sequence[bool],
    first: dims.Dim,
) -> tuple[Built | None, bool, list[str]]:
    """Build the body until the carried templates hold from turn to turn.

    Returns None where the first turn must be peeled; the flag says that starts were converted, so that the loop must turn.
    """
    b = s.b
    carried, strong = start, False
    first_ops: list[str] | None = None
    for _ in range(MAX_ROUNDS):
        loop = LoopState(carried, b.now)
        params = [Value(t) for c in carried for t in types_of(c)]
        it = iter(params)
        problems = len(s.problems)
        with b.block(params) as builder:
            attrs, item = build([fill(c, it) for c in carried], loop, first)
            block = Block((item, *params) if item is not None else tuple(params), tuple(builder.ops))
        signature = _operations(block)
        first_ops = first_ops if first_ops is not None else signature
        merged, converted = _merge(b, carried, loop, inits, reads)
        if merged is None or (converted and strong is False and len(s.problems) > problems):
            del s.problems[problems:]
            return None, False, first_ops
        if not converted and all(map(same, merged, carried)):
            if strong and signature != first_ops:
                return None, False, first_ops
            starts = tuple(_start(b, c, x) for c, x in zip(carried, inits, strict=True))
            return Built(carried, starts, [block], attrs), strong, first_ops
        del s.problems[problems:]
        strong = strong or converted
        carried = merged
    return None, False, first_ops or []


def _merge(
    b: TypedBuilder,
    carried: tuple[Template, ...],
    loop: LoopState,
    inits: tuple[Abstract, ...],
    reads: Sequence[bool],
) -> tuple[tuple[Template, ...] | None, bool]:
    """The carried templates joined with what the turns hand on; the flag: a start has to be converted."""
    out: list[Template] = []
    converted = False
    for k, t in enumerate(carried):
        joined: Template = t
        for values in (*loop.turns, *loop.breaks):
            new = template(values[k])
            found = join(b, joined, new, loop.mark)
            if found is None:
                found = strengthen(joined, new)
                if found is None and isinstance(t, Same) and isinstance(t.value, Unbound) and not reads[k]:
                    found = widen(new) if all(isinstance(x, ScalarType) for x in types_of(widen(new))) else None
                if found is None:
                    return None, False
                converted = True
            joined = found
        out.append(joined)
    return tuple(out), converted


def _start(b: TypedBuilder, t: Template, x: Abstract) -> Abstract:
    """A start converted to the settled type of its carried value."""
    if isinstance(t, Typed) and isinstance(t.type, ScalarType):
        if isinstance(x, Unbound):
            zero = {"b": False, "i": 0, "u": 0, "f": 0.0, "c": 0j}[t.type.dtype.kind]
            return b.add("const", (), t.type, value=zero)
        value = b.value(x)
        return b.cast_scalar(value, t.type)
    if isinstance(t, (Typed, Same)) or not isinstance(x, Sequence_):
        return x
    return Sequence_(tuple(_start(b, i, y) for i, y in zip(t.items, x.items, strict=True)), x.is_list)


def _operations(block: Block) -> list[str]:
    """What a block computes in, whatever the constants: to see that a converted start changes nothing."""
    out = []
    stack = [block]
    while stack:
        current = stack.pop()
        for op in current.ops:
            if op.name not in ("const", "cast"):
                results = [r.type.dtype if isinstance(r.type, (ArrayType, ScalarType)) else None for r in op.results]
                out.append(f"{op.name} {op.attrs.get('loop')} {results if op.attrs.get('loop') else len(op.results)}")
            stack += op.blocks
    return out


def _peeled(
    s: Specialiser,
    op: Op,
    frame: Frame,
    inits: tuple[Abstract, ...],
    build: BuildBody,
    emit: Emit,
    turns: Callable[[dims.Dim], Abstract],
    first_turn: FirstTurn,
    after: Rest,
    first: dims.Dim,
) -> Outcome:
    """The first turn by itself, then the loop with the types that it left."""
    if first != 0 or frame.depth > 6:
        start = tuple(widen(template(x)) for x in inits)
        return _versioned(s, op, frame, start, inits, build, emit, turns, first_turn, after, first)

    def go_on(own: Frame, values: tuple[Abstract, ...], rest: Rest) -> Outcome:
        return _remaining(s, op, own, values, build, emit, turns, first_turn, rest)

    def with_turn(own: Frame, rest: Rest) -> Outcome:
        inner = own.fork(loop=None)

        def later(outcome: Outcome, path: Frame) -> Outcome:
            path = path.fork(loop=frame.loop)
            outcome = _turned(s, op, path, outcome, lambda v: go_on(path, v, rest))
            return outcome if outcome.kind == "ended" else rest(outcome, path)

        outcome = first_turn(inner, inits, later)
        return _turned(s, op, own, outcome, lambda v: go_on(own, v, rest))

    known = turns(0)
    if isinstance(known, Static):
        return with_turn(frame, after) if known.value else _else(s, op, frame, inits, after)
    return branch(s, s.b.value(known), frame, [with_turn, lambda own, rest: _else(s, op, own, inits, rest)], after)


def _remaining(
    s: Specialiser,
    op: Op,
    frame: Frame,
    values: tuple[Abstract, ...],
    build: BuildBody,
    emit: Emit,
    turns: Callable[[dims.Dim], Abstract],
    first_turn: FirstTurn,
    after: Rest,
) -> Outcome:
    first: dims.Dim = 1 if op.name == "for" else 0
    body = op.blocks[0] if op.name == "for" else op.blocks[1]
    params = body.params[1:] if op.name == "for" else body.params
    varying = _varying(op, body, params)
    start = tuple(widen(template(x)) if v else template(x) for x, v in zip(values, varying, strict=True))
    settled, strong, _ = _settle(s, build, start, values, _reads(op, params), first)
    if settled is None or strong:
        return _versioned(s, op, frame, start, values, build, emit, turns, first_turn, after, first)
    results = iter(emit(first, settled))
    return _else(s, op, frame, tuple(fill(t, results) for t in settled.carried), after)


# -- calls -----------------------------------------------------------------------------------------------------

Call = Callable[[Specialiser, Frame, Op, "list[Abstract]", Rest], Outcome]
CALL: list[Call] = []  # set by calls.py, which this module must not import


def _call(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    operands = [fetch(s, frame, v) for v in op.operands]
    if any(isinstance(x, Poison) for x in operands):
        return Outcome("fell", (Poison(),) * len(op.results))
    try:
        return CALL[0](s, frame, op, operands, after)
    except Refusal as refusal:
        s.problem(refusal)
        return Outcome("fell", (Poison(),) * len(op.results))


def inline(s: Specialiser, frame: Frame, block: Block, inner: Frame, after: Rest) -> Outcome:
    """The body of a called function, in the current block; its value as the call's result."""

    def rest(outcome: Outcome, own: Frame) -> Outcome:  # the callee's path ends, and the caller goes on apart
        return after(Outcome("fell", outcome.values), frame.fork(loop=frame.loop))

    b = s.b
    mark, problems, splits = b.mark(), len(s.problems), s.splits
    try:
        outcome = run(s, block.ops, 0, inner, rest)
        return Outcome("fell", outcome.values) if outcome.kind == "returned" else outcome
    except NeedScope:
        b.go_back(mark)
        s.splits = splits
        del s.problems[problems:]
    return _scoped(s, block, inner)


def _scoped(s: Specialiser, block: Block, inner: Frame) -> Outcome:
    """A called function that returns from inside a loop: a scope op that its returns leave."""
    b = s.b
    result: Template | None = None
    for _ in range(MAX_ROUNDS):
        scope = ScopeState(result, b.now)
        problems = len(s.problems)
        with b.block() as builder:
            own = inner.fork(scope=scope)

            def rest(outcome: Outcome, path: Frame) -> Outcome:
                return _return(s, outcome.values[0], path)

            outcome = run(s, block.ops, 0, own, rest)
            if outcome.kind == "returned":
                _return(s, outcome.values[0], own)
            body = builder.block()
        joined: Template | None = result or (template(scope.returns[0]) if scope.returns else Same(Poison()))
        for value in scope.returns:
            joined = None if joined is None else join(b, joined, template(value), scope.mark)
        if joined is None:
            b.refuse("this call returns values of different types from inside a loop", "return one type")
        if result is not None and same(joined, result):
            results = iter(b.builder.add_multi("scope", (), list(types_of(result)), NO_ATTRS, [body]))
            return Outcome("fell", (fill(result, results),))
        del s.problems[problems:]
        result = joined
    b.refuse("the types of what this call returns do not settle")


__all__ = ["CALL", "HANDLERS", "bind", "fetch", "inline", "is_static", "leave", "run"]
