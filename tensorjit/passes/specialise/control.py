"""Runs of ops: a block of the generic graph, op by op, into the current block of the typed graph.

A run ends in an :class:`Outcome`. Ops whose paths may go on apart (`Specialiser.flow`: branches, loops, calls) are given what comes
after them (`Rest`), and may build that themselves, to the end of the program, once for each path.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorjit.ir.graph import NO_ATTRS, Op, Value
from tensorjit.ops.abstract import Abstract, OneOf, Poison, Sequence_, Static, Unbound
from tensorjit.ops.typed import Refusal
from tensorjit.passes.specialise.iterators import check_once
from tensorjit.passes.specialise.join import all_values, join, same, template, values_of
from tensorjit.passes.specialise.state import ENDED, Frame, LoopState, NeedScope, Outcome, Rest, Specialiser
from tensorjit.passes.specialise.versions import jump_values

_JUMPS = {"yield": "fell", "continue": "continued", "break": "broke"}
_HAND_ON = frozenset({"tuple", "list", "bound", "function", "for", "while", "return", *_JUMPS})  # what they take, as it is
STUMBLES = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)  # of a rule, over its stand-ins


def run(s: Specialiser, ops: Sequence[Op], start: int, frame: Frame, rest: Rest) -> Outcome:
    """Build the ops from `start` on into the current block."""
    for i in range(start, len(ops)):
        op = ops[i]
        s.spend()
        s.b.builder.loc = op.loc or s.b.builder.loc
        if s.b.is_dead and not s.in_condition:
            return end_dead(s)
        if op.name not in _HAND_ON and any(find_choice(frame.env[v]) for v in op.operands):
            outcome = s.flow["narrow"](s, op, frame, _after(s, op, ops, i, rest))
            if outcome.kind != "fell":
                return outcome
            bind(s, op, frame, outcome.values)
        elif op.name in s.flow:
            outcome = s.flow[op.name](s, op, frame, _after(s, op, ops, i, rest))
            if outcome.kind != "fell":
                return outcome
            bind(s, op, frame, outcome.values)
        elif op.is_terminator:
            return _terminate(s, op, frame)
        else:
            _simple(s, op, frame)
    raise AssertionError("a block without a terminator")


def find_choice(x: Abstract) -> OneOf | None:
    """A number in x whose type depends on the path."""
    if isinstance(x, Sequence_):
        return next((found for i in x.items if (found := find_choice(i)) is not None), None)
    return x if isinstance(x, OneOf) else None


def narrowed(x: Abstract, choice: OneOf, value: Abstract) -> Abstract:
    """x where a choice in it is known to be `value`."""
    if isinstance(x, Sequence_):
        return Sequence_(tuple(narrowed(i, choice, value) for i in x.items), x.is_list) if find_choice(x) else x
    return value if x is choice else x


def ways(choice: OneOf) -> tuple[Value, Abstract]:
    """What a choice is where its first bool holds, and where not."""
    value, *left = choice.values
    return value, left[0] if len(left) == 1 else OneOf(choice.which[1:], tuple(left))


def _after(s: Specialiser, op: Op, ops: Sequence[Op], i: int, rest: Rest) -> Rest:
    """What comes after op: the rest of its block, then the rest of the program."""

    def after(outcome: Outcome, frame: Frame) -> Outcome:
        if outcome.kind == "fell":
            bind(s, op, frame, outcome.values)
            outcome = run(s, ops, i + 1, frame, rest)
        return outcome if outcome.kind == "ended" else rest(outcome, frame)

    return after


def bind(s: Specialiser, op: Op, frame: Frame, values: Sequence[Abstract]) -> None:
    """The results of an op have these values."""
    for result, value in zip(op.results, values, strict=True):
        frame.env[result] = value
        try:
            check_once(s, result, value)
        except Refusal as refusal:
            s.problem(refusal)
            frame.env[result] = Poison()


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


def poisoned(op: Op) -> Outcome:
    """What follows from an op that was refused: using its results says nothing again."""
    return Outcome("fell", tuple(Poison() for _ in op.results))


def _simple(s: Specialiser, op: Op, frame: Frame) -> None:
    if op.name == "unbound":
        frame.env[op.result] = Unbound(op.attrs["name"])
        return
    if op.name == "bound":
        bind(s, op, frame, (fetch(s, frame, op.operands[0]),))
        return
    operands = [fetch(s, frame, v) for v in op.operands]
    if any(isinstance(x, Poison) for x in operands):
        bind(s, op, frame, poisoned(op).values)
        return
    try:
        handler = s.handlers.get(op.name)
        if handler is None:
            s.b.refuse(f"{op.name} is not part of the language yet")
        found = handler(s, frame, op, operands)
    except Refusal as refusal:
        s.problem(refusal)
        found = poisoned(op).values
    except STUMBLES:
        if not s.b.is_dead:
            raise
        found = poisoned(op).values
    if op.results:
        bind(s, op, frame, found if isinstance(found, tuple) else (found,))


# -- how a block ends ------------------------------------------------------------------------------------------


def _terminate(s: Specialiser, op: Op, frame: Frame) -> Outcome:
    if op.name == "unreachable" or (op.name == "raise" and op.attrs.get("unreachable")):
        return end_dead(s)
    if op.name == "raise":
        s.handlers["raise"](s, frame, op, [fetch(s, frame, v) for v in op.operands])
        return ENDED
    if op.name == "return":
        return Outcome("returned", tuple(fetch(s, frame, v) for v in op.operands) or (Static(None),))
    return Outcome(_JUMPS[op.name], tuple(frame.env[v] for v in op.operands))  # type: ignore[arg-type]


def end_dead(s: Specialiser) -> Outcome:
    """The end of a block that the program never gets to the end of."""
    s.b.bury()
    s.b.effect("unreachable")
    return ENDED


def next_turn(outcome: Outcome) -> Outcome:
    """The body of a loop that runs to its end goes on as with `continue`."""
    return Outcome("continued", outcome.values) if outcome.kind == "fell" else outcome


def leave(s: Specialiser, outcome: Outcome, frame: Frame) -> Outcome:
    """End the current block of the typed graph with a jump of the innermost typed loop, the scope, or the graph."""
    if outcome.kind == "returned":
        return _return(s, outcome.values[0], frame)
    if frame.loop is None or outcome.kind not in ("continued", "broke"):
        raise AssertionError(f"{outcome.kind} without a loop")
    return _jump(s, frame.loop, outcome.values, outcome.kind == "broke")


def _jump(s: Specialiser, loop: LoopState, ends: tuple[Abstract, ...], broke: bool) -> Outcome:
    """`break` or `continue` of a typed loop; what it carries is noted, and left out where its type is not settled yet."""
    b = s.b
    (loop.breaks if broke else loop.turns).append(ends)
    if loop.exits is not None:
        leaves, values = jump_values(b, loop.carried, loop.exits, ends, broke, loop.index)
        b.effect("break" if broke or leaves else "continue", values)
        return ENDED
    fits = [join(b, t, template(v), loop.mark) for t, v in zip(loop.carried, ends, strict=True)]
    values = []
    for t, f, v in zip(loop.carried, fits, ends, strict=True):
        if f is not None and same(t, f):
            values += values_of(b, t, v)
    b.effect("break" if broke else "continue", values)
    return ENDED


def _return_one_of(s: Specialiser, value: Abstract, frame: Frame) -> Outcome:
    """A return of the function: one op for each type that a number may have."""
    choice = find_choice(value)
    if choice is None:
        s.handlers["return"](s, frame, None, [value])
        return ENDED
    blocks = []
    for way in ways(choice):
        with s.b.block() as builder:
            _return_one_of(s, narrowed(value, choice, way), frame)
            blocks.append(builder.block())
    s.b.builder.add_multi("if", (choice.which[0],), (), NO_ATTRS, blocks)
    return end_dead(s)


def _return(s: Specialiser, value: Abstract, frame: Frame) -> Outcome:
    if not frame.inline:
        return _return_one_of(s, value, frame)
    if frame.scope is None:
        raise NeedScope
    scope = frame.scope
    scope.returns.append(value)
    s.b.effect("leave", all_values(s.b, [scope.result], [value]) if scope.result is not None else [])
    return ENDED
