"""How a loop is built whose types do not hold from the start.

As it stands, where they do. With converted starts, where a turn only makes NumPy scalars of Python numbers. With exits into other
versions of itself (`versions.py`), where the types depend on the path. With its first turn before it, where they settle after one.
With room for each type of a number (`OneOf`), where several variables change theirs, each in a turn of its own: there would be a
version for each set of them. What is done with such a number is then built once for each type it may have (`branches.narrow`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tensorjit.ir.dims import Dim
from tensorjit.ops.abstract import Static
from tensorjit.ops.typed import Refusal
from tensorjit.passes.specialise.branches import TooManyPaths, branch, forget, notes
from tensorjit.passes.specialise.control import poisoned
from tensorjit.passes.specialise.join import Template, template, widen
from tensorjit.passes.specialise.operators import compare
from tensorjit.passes.specialise.settle import Loop, Values, Version, settle, settle_versions, some_turns_keep, turned, unsettled
from tensorjit.passes.specialise.state import Frame, Outcome, Rest, Runner
from tensorjit.passes.specialise.versions import ends

T = TypeVar("T")
MAX_VERSIONS = 6
MAX_PEEL_DEPTH = 6  # of inlined calls: each may double the code


def build_loop(loop: Loop, values: Values, first: Dim, frame: Frame, after: Rest) -> Outcome:
    """The loop from turn `first` on, starting with these values, and what follows it on the path of `frame`."""
    start = loop.start(values)
    try:
        built = _try(loop, lambda: settle(loop, start, values, first))
    except TooManyPaths:
        built = settle(loop, start, values, first, choices=True)
        if built is None or built.converted:
            raise
    if built is None and loop.s.b.choices:  # within a loop of such variables: it does not matter any more
        built = settle(loop, start, values, first, choices=True)
        built = None if built is None or built.converted else built
    if built is None:
        if some_turns_keep(loop, start, first):
            return _versioned(loop, start, values, first, frame, after)
        return _peeled(loop, values, first, frame, after)
    if not built.converted:
        return loop.finish(built, first, frame, after)
    known = loop.turns(values, first)
    if isinstance(known, Static):
        return loop.finish(built, first, frame, after) if known.value else loop.end(values, frame, after)
    carried = built.carried

    def with_turns(own: Frame, rest: Rest) -> Outcome:
        again = settle(loop, carried, values, first)  # its blocks belong inside the branch
        if again is None:  # a body that was refused has no types to trust
            return _unsettled(loop, carried, first)
        return loop.finish(again, first, own, rest)

    def without(own: Frame, rest: Rest) -> Outcome:
        return loop.end(values, own, rest)

    return branch(loop.s, loop.s.b.value(known), frame, [with_turns, without], after)


def _try(loop: Loop, build: Callable[[], T]) -> T:
    """What `build` gives; nothing is left of it where it comes to too many paths."""
    s = loop.s
    problems, splits, in_condition, noted = len(s.problems), s.splits, s.in_condition, notes(loop.frame)
    try:
        return build()
    except TooManyPaths:
        del s.problems[problems:]
        s.splits, s.in_condition = splits, in_condition
        forget(noted)
        raise


def _versioned(loop: Loop, start: tuple[Template, ...], values: Values, first: Dim, frame: Frame, after: Rest) -> Outcome:
    """A loop that turns with other types leave into other versions of it."""
    s = loop.s
    splits = s.splits
    version = _version(loop, start, values, first) if frame.depth + s.versions < MAX_VERSIONS else None
    if version is None or len(version.exits.alternatives) > 1:  # several variables, each on its own
        s.splits = splits
        built = settle(loop, start, values, first, choices=True)
        if built is not None and not built.converted:
            return loop.finish(built, first, frame, after)
    if version is None:
        return _unsettled(loop, start, first)
    own, code, at, others = ends(s.b, version.own, version.exits, iter(loop.emit(version.built, first)))

    def go_on(k: int, path: Frame, rest: Rest) -> Outcome:
        again = s.b.bind(at, "k", low=0) + 1 if loop.op.name == "for" else 0
        s.versions += 1
        try:
            return build_loop(loop, others[k], again, path, rest)
        finally:
            s.versions -= 1

    def dispatch(which: int, path: Frame, rest: Rest) -> Outcome:
        if which == 0:
            return loop.end(own, path, rest)
        k, broke = divmod(which - 1, 2)
        is_this = s.b.value(compare(s.b, "==", code, Static(which)))
        here: Runner = (lambda f, r: Outcome("fell", others[k])) if broke else (lambda f, r: go_on(k, f, r))
        return branch(s, is_this, path, [here, lambda f, r: dispatch(which - 1, f, r)], rest)

    return dispatch(2 * len(others), frame, after)


def _unsettled(loop: Loop, start: tuple[Template, ...], first: Dim) -> Outcome:
    if (problem := unsettled(loop, start, first)) is not None:  # else what its body says is why
        loop.s.problem(Refusal(problem))
    return poisoned(loop.op)


def _version(loop: Loop, start: tuple[Template, ...], values: Values, first: Dim) -> Version | None:
    try:
        return _try(loop, lambda: settle_versions(loop, start, values, first))
    except TooManyPaths:
        return None


def _peeled(loop: Loop, values: Values, first: Dim, frame: Frame, after: Rest) -> Outcome:
    """The first turn by itself, then the loop with the types that it left."""
    if first != 0 or frame.depth > MAX_PEEL_DEPTH:
        return _versioned(loop, tuple(widen(template(x)) for x in values), values, first, frame, after)

    def with_turn(own: Frame, rest: Rest) -> Outcome:
        def later(outcome: Outcome, path: Frame) -> Outcome:  # on a path that runs apart
            path = path.fork(loop=frame.loop)
            outcome = turned(outcome, lambda v: _remaining(loop, v, path, rest))
            return outcome if outcome.kind == "ended" else rest(outcome, path)

        outcome = loop.turn(own.fork(loop=None), Static(0), values, later)
        return turned(outcome, lambda v: _remaining(loop, v, own, rest))

    def without(own: Frame, rest: Rest) -> Outcome:
        return loop.end(values, own, rest)

    known = loop.turns(values, 0)
    if isinstance(known, Static):
        return with_turn(frame, after) if known.value else without(frame, after)
    return branch(loop.s, loop.s.b.value(known), frame, [with_turn, without], after)


def _remaining(loop: Loop, values: Values, frame: Frame, after: Rest) -> Outcome:
    """The turns after a peeled first one."""
    first = 1 if loop.op.name == "for" else 0
    start = loop.start(values)
    built = settle(loop, start, values, first)
    if built is None or built.converted:
        return _versioned(loop, start, values, first, frame, after)
    return loop.finish(built, first, frame, after)
