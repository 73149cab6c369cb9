"""Python's min and max of numbers of several types: the result is one of them, so that paths may go on with types of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tensorjit.ir.types import ArrayType
from tensorjit.ops.abstract import Abstract, Poison, Static
from tensorjit.passes.specialise.branches import branch
from tensorjit.passes.specialise.operators import compare, truth
from tensorjit.passes.specialise.python_builtins import pick
from tensorjit.passes.specialise.state import Frame, Outcome, Rest, Specialiser


def extreme(
    s: Specialiser, function: Callable[..., Any], best: Abstract, left: Sequence[Abstract], frame: Frame, after: Rest
) -> Outcome:
    """min or max of `best` and what is left: the first of those that none is strictly beyond."""
    b, name = s.b, function.__name__
    for k, x in enumerate(left):
        if not _differ(s, best, x):
            best = pick(s, name, best, x)
            continue
        beyond = truth(b, compare(b, "<" if name == "min" else ">", x, best))
        if isinstance(beyond, Poison):
            return Outcome("fell", (beyond,))
        if isinstance(beyond, Static):
            best = x if beyond.value else best
            continue
        others = left[k + 1 :]

        def later(outcome: Outcome, path: Frame, others: Sequence[Abstract] = others) -> Outcome:
            outcome = extreme(s, function, outcome.values[0], others, path, after)
            return outcome if outcome.kind == "ended" else after(outcome, path)

        ways = [lambda f, r, v=v: Outcome("fell", (v,)) for v in (x, best)]
        outcome = branch(s, b.value(beyond), frame, ways, later)
        if outcome.kind != "fell":
            return outcome
        best = outcome.values[0]
    return Outcome("fell", (best,))


def _differ(s: Specialiser, x: Abstract, y: Abstract) -> bool:
    """Whether these are numbers of two types."""
    types = [s.b.value(v).type for v in (x, y)]
    return types[0] != types[1] and not any(isinstance(t, ArrayType) for t in types)
