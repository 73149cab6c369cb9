"""What is known of a kernel's loops before any code is emitted: lanes, weight, what is accumulated and stored where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tensorjit.ir.kernel import (
    COMPARISONS,
    MATH,
    TESTS,
    Accumulate,
    Apply,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    Reduction,
    Ref,
    Stmt,
    Store,
)

__all__ = [
    "accumulated",
    "copied",
    "decides",
    "divides",
    "expressions",
    "filled",
    "is_innermost",
    "is_light",
    "lanes",
    "multiplier",
    "narrows",
    "reads",
    "reduction_lanes",
    "statements",
    "stored",
    "walked",
    "walked_axis",
    "weight",
]

VECTOR_BYTES = 64
"""The logical vector: the same on every target, so that sums are added up in the same order everywhere."""

ORDERED_LANES = 8
"""At most, where each lane of a reduction waits for the one before it."""


def statements(body: Iterable[Stmt]) -> Iterator[Stmt]:
    """All statements of a body, those of inner bodies included."""
    stack = [iter(body)]
    while stack:
        for stmt in stack[-1]:
            yield stmt
            if isinstance(stmt, For):
                stack.append(iter(stmt.body))
                break
            if isinstance(stmt, If):
                stack.append(iter((*stmt.then, *stmt.orelse)))
                break
        else:
            stack.pop()


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions of one statement, those of inner statements excluded; positions and indices last."""
    match stmt:
        case For(extent=extent):
            return (extent,)
        case If(cond=cond):
            return (cond,)
        case Let(expr=expr):
            return (expr,)
        case Store(indices=indices, expr=expr):
            return (expr, *indices)
        case Accumulate(expr=expr, position=position):
            return (expr,) if position is None else (expr, position)


def _value_nodes(stmt: Stmt) -> Iterator[Expr]:
    """The nodes that compute elements: not extents, indices and positions."""
    if isinstance(stmt, For | If):
        return
    stack = [expressions(stmt)[0]]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Apply):
            stack.extend(node.args)


def lanes(loop: For) -> int:
    """The lanes of a vector loop: as many of the widest elements it computes with as the logical vector holds."""
    widest = 1
    for stmt in statements(loop.body):
        for node in _value_nodes(stmt):
            if isinstance(node, Const) or (isinstance(node, Ref) and node.name != loop.index):
                continue
            size = node.dtype.part.size
            widest = max(widest, 4 if node.dtype.name == "f16" else size)
        if isinstance(stmt, For):
            widest = max([widest, *(r.dtype.part.size for r in stmt.reductions)])
    # lanes that wait for each other gain nothing from their number, and those beyond the end cost as much as any
    return min(ORDERED_LANES, VECTOR_BYTES // widest) if any(r.ordered for r in loop.reductions) else VECTOR_BYTES // widest


def multiplier(loop: For, vector_bytes: int) -> int:
    """How many logical vectors a turn of the main loop takes: several where accumulators have latency to hide or rows
    are read a piece at a time, fewer where registers would not suffice.

    One for other loops: two were no faster in cache and 8 to 13 % slower in memory (f64 and f32, 10^7 elements); as many
    as give a full vector of what is stored (64 comparisons) were no faster either.
    """
    nodes = loads = accumulators = 0
    for stmt in statements(loop.body):
        accumulators += isinstance(stmt, Accumulate)
        for node in _value_nodes(stmt):
            if isinstance(node, Apply):
                nodes += 1
                if node.intrinsic in MATH or node.intrinsic in ("floordiv", "mod", "truncrem"):
                    return 1
            if isinstance(node, Load):
                loads += 1
                if any(isinstance(n, Load) for i in node.indices for n in _nodes(i)):
                    return 1
    if not accumulators:
        return 1
    pressure = nodes + 2 * loads + 2 * accumulators
    if pressure <= 4 and vector_bytes >= VECTOR_BYTES and not is_innermost(loop):
        return 8  # columns: 15 % over 4 where rows are pages apart; lanes do not meet, so no sum changes
    return 4 if pressure <= 8 else 2 if pressure <= 24 else 1


def _nodes(expr: Expr) -> Iterator[Expr]:
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Apply):
            stack.extend(node.args)
        elif isinstance(node, Load):
            stack.extend(node.indices)


def weight(body: Iterable[Stmt]) -> int:
    """The work of a turn, in units of about a nanosecond a lane."""
    count = 0
    for stmt in statements(body):
        for node in _value_nodes(stmt):
            if isinstance(node, Apply):
                count += 16 if node.intrinsic in MATH else 1
    return 1 + count // 16


def is_light(body: Iterable[Stmt]) -> bool:
    """Whether memory is what a body waits for: little arithmetic, and no accumulator that sums in some order."""
    body = tuple(body)
    return weight(body) == 1 and not accumulated(body) and not any(isinstance(s, For) and s.reductions for s in statements(body))


def reads(loop: For) -> bool:
    """Whether a loop loads elements at all."""
    return any(isinstance(node, Load) for stmt in statements(loop.body) for node in _value_nodes(stmt))


def narrows(loop: For) -> bool:
    """Whether a loop stores narrower elements than it computes with, as comparisons do."""
    return any(isinstance(s, Store) and s.expr.dtype.part.size * lanes(loop) < VECTOR_BYTES for s in statements(loop.body))


def divides(loop: For) -> bool:
    """Whether a loop has quotients of integers, which take ten instructions and more."""
    nodes = (node for stmt in statements(loop.body) for node in _value_nodes(stmt))
    return any(isinstance(node, Apply) and node.intrinsic in ("floordiv", "mod") for node in nodes)


def size(body: Iterable[Stmt]) -> int:
    """The number of operations in a body."""
    return sum(isinstance(node, Apply) for stmt in statements(body) for node in _value_nodes(stmt))


def accumulated(body: Iterable[Stmt]) -> tuple[str, ...]:
    """The names of the reductions that a body feeds, in order."""
    return tuple(dict.fromkeys(s.name for s in statements(body) if isinstance(s, Accumulate)))


def directly_accumulated(body: Iterable[Stmt]) -> tuple[str, ...]:
    """Those that it feeds outside inner loops."""
    names: dict[str, None] = {}
    stack = list(body)
    while stack:
        stmt = stack.pop()
        if isinstance(stmt, Accumulate):
            names[stmt.name] = None
        elif isinstance(stmt, If):
            stack.extend((*stmt.then, *stmt.orelse))
    return tuple(sorted(names))


_SILENT = {*COMPARISONS, *TESTS, "and", "or", "xor", "not", "select", "bits", "abs", "neg", "real", "imag"}


def decides(loop: For) -> bool:
    """Whether a loop does nothing but look for an answer: elements that it does not come to would not be missed, nor a flag
    that they might raise."""

    def is_silent(node: Expr) -> bool:
        if not isinstance(node, Apply):
            return not isinstance(node, Load) or all(isinstance(i, Const | Ref) for i in node.indices)
        if node.intrinsic == "cast":
            return node.dtype.kind == "b" or (node.dtype.kind in "iu" and node.args[0].dtype.kind in "biu")
        return node.intrinsic in _SILENT

    return all(isinstance(s, Let | Accumulate) and all(map(is_silent, _value_nodes(s))) for s in loop.body)


def stored(body: Iterable[Stmt]) -> frozenset[str]:
    return frozenset(s.view for s in statements(body) if isinstance(s, Store))


def walked(loop: For) -> tuple[Load | Store, ...]:
    """The loads and stores of a loop's body that one axis of is walked by the loop's index, the other indices being known
    before the loop; stores first."""
    found: list[Load | Store] = [s for s in loop.body if isinstance(s, Store)]
    found += [s.expr for s in loop.body if isinstance(s, Let) and isinstance(s.expr, Load)]
    inside = {s.name for s in loop.body if isinstance(s, Let)}

    def is_walked(place: Load | Store) -> bool:
        names = [i.name for i in place.indices if isinstance(i, Ref)]
        plain = all(isinstance(i, (Const, Ref)) for i in place.indices)
        return plain and names.count(loop.index) == 1 and inside.isdisjoint(names)

    return tuple(filter(is_walked, found))


def walked_axis(loop: For, place: Load | Store) -> int:
    """The axis that a loop's index walks."""
    return next(k for k, i in enumerate(place.indices) if isinstance(i, Ref) and i.name == loop.index)


def copied(loop: For) -> tuple[Load | Store, ...]:
    """Where to and where from a loop copies elements, if it does nothing else."""
    match loop.body:
        case (Let(name, Load() as source), Store(expr=Ref(stored)) as target) if stored == name:
            return (target, source) if len(walked(loop)) == 2 else ()
    return ()


def filled(loop: For) -> tuple[Store, ...]:
    """Where a loop stores the same byte everywhere, if it does nothing else."""
    match loop.body:
        case (Store(expr=Const() | Ref() as value) as target,) if value.dtype.size == 1 and value != Ref(loop.index, value.dtype):
            return (target,) if walked(loop) else ()
    return ()


def is_innermost(loop: For) -> bool:
    return not any(isinstance(s, For) for s in statements(loop.body))


def reduction_lanes(loop: For, reduction: Reduction) -> int:
    """The lanes that a reduction of `loop` is spread over by vector loops in it; 1 if it is fed by scalar loops alone."""
    counts = {
        lanes(s)
        for s in (loop, *statements(loop.body))
        if isinstance(s, For) and s.kind == "vector" and reduction.name in accumulated(s.body)
    }
    return min(counts, default=1)
