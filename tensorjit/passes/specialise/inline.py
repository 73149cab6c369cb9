"""Inlined calls: the body of a called function in the current block, its `return` the value of the call."""

from __future__ import annotations

from tensorjit.ir.graph import NO_ATTRS, Block
from tensorjit.ops.abstract import Poison
from tensorjit.passes.specialise.control import leave, run
from tensorjit.passes.specialise.join import Same, Template, all_types, fill_all, join, same, template
from tensorjit.passes.specialise.settle import MAX_ROUNDS
from tensorjit.passes.specialise.state import Frame, NeedScope, Outcome, Rest, ScopeState, Specialiser


def inline(s: Specialiser, frame: Frame, block: Block, inner: Frame, after: Rest) -> Outcome:
    """The body of a called function, in the current block; its value as the call's result."""

    def rest(outcome: Outcome, own: Frame) -> Outcome:  # the callee's path ends, and the caller goes on apart
        return after(Outcome("fell", outcome.values), frame.fork())

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

            outcome = run(s, block.ops, 0, own, lambda o, path: leave(s, o, path))
            if outcome.kind == "returned":
                leave(s, outcome, own)
            body = builder.block()
        joined: Template | None = result or (template(scope.returns[0]) if scope.returns else Same(Poison()))
        for value in scope.returns:
            joined = None if joined is None else join(b, joined, template(value), scope.mark)
        if joined is None:
            b.refuse("this call returns values of different types from inside a loop", "return one type")
        if result is not None and same(joined, result):
            results = b.builder.add_multi("scope", (), all_types([result]), NO_ATTRS, [body])
            return Outcome("fell", fill_all(b, [result], results))
        del s.problems[problems:]
        result = joined
    b.refuse("the types of what this call returns do not settle")
