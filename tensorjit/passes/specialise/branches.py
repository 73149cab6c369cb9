"""Branches: an `if` whose condition is known is one of its blocks; any other joins its paths, or keeps them apart.

Paths whose values join become one `if` op, and the run goes on after it. Paths that do not join are each built to the end of the
program, inside their branch, with their own types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorjit.errors import Problem
from tensorjit.ir.graph import NO_ATTRS, Block, Builder, Op, Value
from tensorjit.ops.abstract import Abstract, OneOf, Poison, Sequence_, Static
from tensorjit.ops.typed import Refusal
from tensorjit.passes.specialise.control import end_dead, fetch, find_choice, narrowed, poisoned, run, ways
from tensorjit.passes.specialise.join import Template, all_types, all_values, fill_all, join, template
from tensorjit.passes.specialise.operators import truth
from tensorjit.passes.specialise.state import Frame, Outcome, Rest, Runner, Specialiser

MAX_SPLITS = 64


class TooManyPaths(Refusal):
    """Paths that do not join are built apart too often."""


def if_(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    """An `if` of the generic graph."""
    condition = fetch(s, frame, op.operands[0])
    try:
        condition = truth(s.b, condition)
    except Refusal as refusal:
        s.problem(refusal)
        condition = Poison()
    if isinstance(condition, Poison):
        return poisoned(op) if op.results or _falls(op) else end_dead(s)
    if isinstance(condition, Static):
        return run(s, op.blocks[0 if condition.value else 1].ops, 0, frame, after)
    return branch(s, s.b.value(condition), frame, [_runner(s, b) for b in op.blocks], after)


def narrow(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    """An op on a number whose type depends on the path: the op once for each type."""
    choice = next(c for v in op.operands if (c := find_choice(frame.env[v])) is not None)

    def runner(way: Abstract) -> Runner:
        def go(own: Frame, rest: Rest) -> Outcome:
            own.env.update({k: narrowed(x, choice, way) for k, x in own.env.items() if isinstance(x, (OneOf, Sequence_))})
            return run(s, (op, Op("yield", op.results, loc=op.loc)), 0, own, rest)

        return go

    return branch(s, choice.which[0], frame, [runner(way) for way in ways(choice)], after)


def _falls(op: Op) -> bool:
    return any(block.terminator.name == "yield" for block in op.blocks)


def _runner(s: Specialiser, block: Block) -> Runner:
    return lambda frame, rest: run(s, block.ops, 0, frame, rest)


def branch(s: Specialiser, condition: Value, frame: Frame, runners: Sequence[Runner], after: Rest) -> Outcome:
    """An `if` of the typed graph on two runners; joins them, or keeps the paths apart to the end of the program."""
    b = s.b
    mark = b.now
    noted = notes(frame)
    outcomes: list[Outcome] = []
    builders = []
    for runner in runners:
        with b.block() as builder:
            outcomes.append(runner(frame.fork(), after))
            builders.append(builder)
    live = [o for o in outcomes if o.kind != "ended"]
    if not live:
        b.builder.add_multi("if", (condition,), (), NO_ATTRS, [x.block() for x in builders], loc=b.builder.loc)
        return end_dead(s)
    joined = _joined(s, live, mark)
    if joined is not None:
        return _join_branches(s, condition, outcomes, builders, joined)
    forget(noted)
    return _split(s, condition, frame, runners, after)


def _joined(s: Specialiser, live: Sequence[Outcome], mark: int) -> list[Template] | None:
    """What the paths that go on have in common; None where they must stay apart."""
    if len({o.kind for o in live}) > 1:
        return None
    joined = [template(v) for v in live[0].values]
    for o in live[1:] or live:  # joined with itself, a single path still drops the sizes that are known in it alone
        found = [join(s.b, t, template(v), mark) for t, v in zip(joined, o.values, strict=True)]
        joined = [t for t in found if t is not None]
        if len(joined) < len(found):
            return None
    return joined


def _join_branches(
    s: Specialiser,
    condition: Value,
    outcomes: Sequence[Outcome],
    builders: Sequence[Builder],
    joined: Sequence[Template],
) -> Outcome:
    b = s.b
    kind = next(o.kind for o in outcomes if o.kind != "ended")
    blocks = []
    for outcome, builder in zip(outcomes, builders, strict=True):
        outer, b.builder = b.builder, builder
        if outcome.kind != "ended":
            b.effect("yield", all_values(b, joined, outcome.values))
        blocks.append(b.builder.block())
        b.builder = outer
    results = b.builder.add_multi("if", (condition,), all_types(joined), NO_ATTRS, blocks)
    return Outcome(kind, fill_all(b, joined, results))


def _split(s: Specialiser, condition: Value, frame: Frame, runners: Sequence[Runner], after: Rest) -> Outcome:
    """An `if` whose branches are built to the end of the program, each with its own types."""
    b = s.b
    s.splits += 1
    if s.splits > MAX_SPLITS:
        text = "the types of variables depend on the path in too many ways here"
        raise TooManyPaths(Problem(text, b.loc, "give a variable one type on every path"))
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
    return end_dead(s)


# -- what is built twice ---------------------------------------------------------------------------------------

Notes = list[tuple[list[Any], int]]


def notes(frame: Frame) -> Notes:
    """What the enclosing loop and scope have noted so far."""
    lists: list[list[Any]] = [] if frame.loop is None else [frame.loop.turns, frame.loop.breaks]
    lists += [] if frame.scope is None else [frame.scope.returns]
    return [(x, len(x)) for x in lists]


def forget(noted: Notes) -> None:
    """Forget what was noted since: the paths that noted it are built anew."""
    for items, count in noted:
        del items[count:]
