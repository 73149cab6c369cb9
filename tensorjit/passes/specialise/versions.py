"""Loops whose carried types depend on the path: a turn that ends in other types leaves into another version of the loop.

before, where x[i] is a NumPy scalar::

    m = 0.0
    for i in range(n):
        if x[i] > m:
            m = x[i]

after::

    m, code, at, m1 = for(0, n, 1, 0.0, 0, 0, 0) { ... break(m, 1, i, x[i]) ... continue(m, 0, 0, 0) }
    if(code == 1) { the loop again, from at + 1, starting with m1 }

Code 0: the loop ended with the types that it began with; 2j + 1: go on with those of alternative j; 2j + 2: a `break` with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

from tensorjit.ir.graph import Value
from tensorjit.ir.types import PY_INT, ScalarType
from tensorjit.ops.abstract import Abstract, Static, Unbound
from tensorjit.ops.typed import TypedBuilder
from tensorjit.passes.specialise.join import (
    Template,
    Typed,
    all_types,
    all_values,
    fill,
    fill_all,
    join,
    same,
    template,
    types_of,
    widen,
    zero,
)
from tensorjit.records import dataclass

MAX_ALTERNATIVES = 4


@final
@dataclass(frozen=True, slots=True)
class Alternative:
    """The templates that a turn may end with; None where they are those of the loop itself."""

    templates: tuple[Template | None, ...]


@final
@dataclass(frozen=True, slots=True)
class Exits:
    """How a loop is left into other versions: its alternatives, its own carried params, and its index (a `for`'s)."""

    alternatives: tuple[Alternative, ...]
    params: tuple[Value, ...] = ()

    def extras(self) -> tuple[Template, ...]:
        """The templates carried beside the loop's own: the code, the index, and every alternative's own values."""
        slots = [t for a in self.alternatives for t in a.templates if t is not None]
        return (Typed(PY_INT), Typed(PY_INT), *map(Typed, all_types(slots)))


def absorb(
    b: TypedBuilder,
    carried: tuple[Template, ...],
    alternatives: tuple[Alternative, ...],
    ends: Sequence[tuple[Abstract, ...]],
    mark: int,
) -> tuple[tuple[Template, ...], tuple[Alternative, ...]] | None:
    """The templates of a loop and its alternatives once every end of a turn has its place; None where there are too many."""
    for values in ends:
        news = [template(v) for v in values]
        joined = [join(b, t, n, mark) for t, n in zip(carried, news, strict=True)]
        carried = tuple(t if j is None else j for t, j in zip(carried, joined, strict=True))
        if all(j is not None for j in joined):
            continue
        own = tuple(widen(n) if j is None else None for n, j in zip(news, joined, strict=True))
        if not all(isinstance(x, ScalarType) for t in own if t is not None for x in types_of(t)):
            return None  # an array has no value to start its slot with
        for k, a in enumerate(alternatives):
            merged = _merged(b, a.templates, own, mark)
            if merged is not None:
                alternatives = (*alternatives[:k], Alternative(merged), *alternatives[k + 1 :])
                break
        else:
            if len(alternatives) == MAX_ALTERNATIVES:
                return None
            alternatives = (*alternatives, Alternative(own))
    return carried, alternatives


def _merged(
    b: TypedBuilder, one: Sequence[Template | None], other: Sequence[Template | None], mark: int
) -> tuple[Template | None, ...] | None:
    if any((s is None) != (t is None) for s, t in zip(one, other, strict=True)):
        return None
    out = [None if s is None or t is None else join(b, s, t, mark) for s, t in zip(one, other, strict=True)]
    return None if any(o is None and s is not None for o, s in zip(out, one, strict=True)) else tuple(out)


def jump_values(
    b: TypedBuilder, carried: tuple[Template, ...], exits: Exits, values: Sequence[Abstract], broke: bool, index: Abstract
) -> tuple[bool, list[Value]]:
    """Whether the loop is left into another version, and the values that the jump carries."""
    fits = [_fits(b, t, v) for t, v in zip(carried, values, strict=True)]
    if all(fits):
        return False, [*all_values(b, carried, values), *_zeros(b, exits.extras())]
    for k, alternative in enumerate(exits.alternatives):  # noqa: B007 (k is read after the break)
        parts = list(zip(carried, alternative.templates, values, strict=True))
        if all(_fits(b, t if a is None else a, v) for t, a, v in parts):
            break
    else:
        return False, []  # not settled yet
    params = iter(exits.params)
    flat: list[Value] = []
    for t, a, x in parts:
        old = [next(params) for _ in types_of(t)]
        flat += old if a is not None else all_values(b, [t], [x])
    flat += [b.constant(2 * k + (2 if broke else 1)), b.value(index)]
    for j, other in enumerate(exits.alternatives):
        for slot, x in zip(other.templates, values, strict=True):
            if slot is not None:
                flat += all_values(b, [slot], [x]) if j == k else _zeros(b, [slot])
    return True, flat


def _fits(b: TypedBuilder, t: Template, x: Abstract) -> bool:
    joined = join(b, t, template(x), b.now)
    return joined is not None and same(joined, t)


def _zeros(b: TypedBuilder, templates: Sequence[Template]) -> list[Value]:
    return [zero(b, x) for x in all_types(templates) if isinstance(x, ScalarType)]


def starts(inits: Sequence[Abstract], exits: Exits) -> tuple[Abstract, ...]:
    """What the carried values of a loop with exits start with."""
    return (*inits, Static(0), Static(0), *(Unbound("") for _ in exits.extras()[2:]))


def ends(
    b: TypedBuilder, carried: tuple[Template, ...], exits: Exits, results: Iterator[Value]
) -> tuple[tuple[Abstract, ...], Value, Value, list[tuple[Abstract, ...]]]:
    """A loop's results apart: its own values, the code, the index, and each alternative's values."""
    own = fill_all(b, carried, results)
    code, at = next(results), next(results)
    others = [
        tuple(x if t is None else fill(b, t, results) for t, x in zip(a.templates, own, strict=True)) for a in exits.alternatives
    ]
    return own, code, at, others
