"""Who may share memory with whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tensorjit.ir import dims
from tensorjit.ir.dtypes import F64
from tensorjit.ir.graph import Block, Builder, Graph, Value
from tensorjit.ir.types import PY_BOOL, PY_INT, ArrayType
from tensorjit.ops import OPS
from tensorjit.ops.typed import TypedBuilder
from tensorjit.passes.alias import Aliases, find_aliases

N = dims.symbol("n", 0, True)
T = ArrayType(F64, (N,))
M = ArrayType(F64, (N, N))


def loop(
    carried: int, turn: Callable[[Builder, Sequence[Value]], Sequence[Value]], **attrs: object
) -> tuple[Aliases, Sequence[Value], Sequence[Value], Sequence[Value]]:
    """A loop over `carried` parameters: the relation, the graph's parameters, the loop's, and its results."""
    params = [Value(T, f"x{k}") for k in range(carried)]
    b = Builder(params)
    zero = b.add("const", (), PY_INT, {"value": 0})
    inner = Builder([Value(PY_INT, "i"), *(Value(T, f"p{k}") for k in range(carried))])
    handed = turn(inner, inner.params[1:])
    body = inner.block(("continue", handed))
    results = b.add_multi("for", (zero, zero, zero, *params), (T,) * carried, {"symbol": "i"}, (body,))
    graph = Graph("f", b.block(("return", results)), attrs)
    return find_aliases(graph), params, inner.params[1:], results


def fresh(b: Builder) -> Value:
    return b.add("empty", (), T)


def test_a_double_buffer_stays_apart() -> None:
    a, (x, y), (p, q), (r, s) = loop(2, lambda b, p: (p[1], p[0]), disjoint=[(0, 1)])
    assert not a.may_alias(p, q) and not a.may_alias(r, s)
    assert a.may_alias(p, x) and a.may_alias(p, y) and a.may_alias(r, y)


def test_three_buffers_in_turn_stay_apart() -> None:
    pairs = [(0, 1), (0, 2), (1, 2)]
    a, _, ps, rs = loop(3, lambda b, p: (p[1], p[2], p[0]), disjoint=pairs)
    assert not any(a.may_alias(v[j], v[k]) for v in (ps, rs) for j, k in pairs)


def test_a_fresh_buffer_each_turn() -> None:
    new: list[Value] = []

    def turn(b: Builder, p: Sequence[Value]) -> Sequence[Value]:
        new.append(fresh(b))
        return p[1], new[0]

    a, (x, y), (p, q), _ = loop(2, turn, disjoint=[(0, 1)])
    assert not a.may_alias(p, q) and not a.may_alias(new[0], q) and not a.may_alias(new[0], x)
    assert a.may_alias(p, y)


def test_two_names_of_one_buffer() -> None:
    a, _, (p, q), (r, s) = loop(2, lambda b, p: (p[1], p[1]), disjoint=[(0, 1)])
    assert a.may_alias(p, q) and a.may_alias(r, s)


def test_parameters_may_overlap_unless_they_are_known_not_to() -> None:
    a, (x, y), _, _ = loop(2, lambda b, p: p)
    assert a.may_alias(x, y) and not a.same_elements(x, y)
    a, (x, y), _, _ = loop(2, lambda b, p: p, identical=[(0, 1)])
    assert a.may_alias(x, y) and a.same_elements(x, y)


def branch(first: str, second: str) -> tuple[Aliases, dict[str, Value]]:
    """An `if` that yields one of two values, each named x, y or new."""
    x, y, cond = Value(T, "x"), Value(T, "y"), Value(PY_BOOL, "c")
    b = Builder([x, y, cond])
    found = {"x": x, "y": y, "new": fresh(b)}

    def arm(name: str) -> Block:
        return Builder().block(("yield", (found[name],)))

    (found["r"],) = b.add_multi("if", (cond,), (T,), {}, (arm(first), arm(second)))
    return find_aliases(Graph("f", b.block(("return", ())), {"disjoint": [(0, 1)]})), found


def test_a_branch_shares_with_what_it_may_be() -> None:
    a, v = branch("x", "new")
    assert a.may_alias(v["r"], v["x"]) and a.may_alias(v["r"], v["new"]) and not a.may_alias(v["r"], v["y"])
    a, v = branch("x", "y")
    assert a.may_alias(v["r"], v["x"]) and a.may_alias(v["r"], v["y"]) and not a.may_alias(v["x"], v["y"])


def views(*boxes: tuple[int, int, int]) -> tuple[Aliases, list[Value]]:
    """Views of one array: (first row, number of rows, step)."""
    x = Value(ArrayType(F64, (10, N)), "x")
    b = TypedBuilder(OPS, Builder([x]))
    found = [b.view(x, (rows, N), [(0, step), (1, 1)], (start, 0)) for start, rows, step in boxes]
    b.effect("return", [])
    return find_aliases(Graph("f", b.builder.block())), found


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ((0, 1, 1), (1, 1, 1), True),
        ((0, 5, 1), (5, 5, 1), True),
        ((0, 6, 1), (5, 5, 1), False),
        ((4, 5, -1), (5, 5, 1), True),
        ((5, 5, -1), (5, 5, 1), False),
        ((0, 2, 4), (5, 2, 1), True),
    ],
)
def test_boxes(one: tuple[int, int, int], other: tuple[int, int, int], apart: bool) -> None:
    a, (v, w) = views(one, other)
    assert a.may_alias(v, w) is not apart
    assert not a.same_elements(v, w)


def test_two_views_of_the_same_elements() -> None:
    a, (v, w) = views((2, 3, 1), (2, 3, 1))
    assert a.same_elements(v, w)


def test_a_view_of_a_view() -> None:
    x = Value(M, "x")
    b = TypedBuilder(OPS, Builder([x]))
    n = N
    inner = b.view(x, (n - 2, n - 2), [(0, 1), (1, 1)], (1, 1))
    turned = b.transpose(inner, (1, 0))
    again = b.transpose(turned, (1, 0))
    first = b.view(x, (n,), [(1, 1)], (0, 0))
    edge = b.view(inner, (n - 2,), [(1, 1)], (0, 0))
    b.effect("return", [])
    a = find_aliases(Graph("f", b.builder.block()))
    assert a.same_elements(inner, again) and not a.same_elements(inner, turned)
    assert not a.may_alias(first, edge)


def test_a_reshape_shares_with_all_of_it() -> None:
    x = Value(M, "x")
    b = TypedBuilder(OPS, Builder([x]))
    flat = b.reshape(x, (N * N,))
    b.effect("return", [])
    a = find_aliases(Graph("f", b.builder.block()))
    assert a.may_alias(flat, x) and not a.same_elements(flat, x)


def parts_of_a_square(*make: Callable[[TypedBuilder, Value], Value]) -> tuple[Aliases, Value, list[Value]]:
    """Views of an array of n rows and n columns."""
    x = Value(M, "x")
    b = TypedBuilder(OPS, Builder([x]))
    found = [f(b, x) for f in make]
    b.effect("return", [])
    return find_aliases(Graph("f", b.builder.block())), x, found


def first_row(b: TypedBuilder, x: Value) -> Value:
    """x[:1], of which it is known at run time only whether it has a row."""
    return b.view(x, (dims.minimum(1, N), N), [(0, 1), (1, 1)], (0, 0))


def repeated(b: TypedBuilder, x: Value) -> Value:
    return b.broadcast_to(first_row(b, x), (N, N))


def test_a_row_that_is_broadcast_is_not_the_array_that_it_walks_like() -> None:
    a, x, (one, other) = parts_of_a_square(repeated, repeated)
    assert not a.same_elements(one, x) and not a.is_ahead(one, x) and a.may_alias(one, x)
    assert a.same_elements(one, other)


def test_a_part_of_a_row_that_is_broadcast_is_the_row() -> None:
    """Where it begins is not told by its box: an axis that stands still has one place."""

    def later(b: TypedBuilder, x: Value) -> Value:
        return b.view(repeated(b, x), (N - 1, N), [(0, 1), (1, 1)], (1, 0))

    def one_later(b: TypedBuilder, x: Value) -> Value:
        return b.view(repeated(b, x), (N,), [(1, 1)], (2, 0))

    def columns(b: TypedBuilder, x: Value) -> Value:
        return b.view(repeated(b, x), (N, N - 1), [(0, 1), (1, 1)], (0, 1))

    a, x, (top, below, single, right) = parts_of_a_square(first_row, later, one_later, columns)
    assert a.may_alias(below, top) and a.may_alias(single, top)
    assert not a.same_elements(right, x) and a.may_alias(right, top)


def test_slices_of_slices_do_not_stand_still() -> None:
    def inner(b: TypedBuilder, x: Value) -> Value:
        outer = b.view(x, (dims.maximum(N - 1, 0), N), [(0, 1), (1, 1)], (1, 0))
        size = dims.floordiv(dims.maximum(N - 1, 0) + 1, 2)
        return b.view(b.view(outer, (size, N), [(0, 2), (1, 1)], (0, 0)), (size, N), [(0, 1), (1, 1)])

    a, _, (one, other) = parts_of_a_square(inner, inner)
    assert a.same_elements(one, other)


def test_rows_and_columns_walk_in_different_steps() -> None:
    def line(axis: int, step: int = 1) -> Callable[[TypedBuilder, Value], Value]:
        at = (0, 2) if axis == 0 else (1, 0)
        return lambda b, x: b.view(x, (N if step == 1 else dims.floordiv(N, 2),), [(axis, step)], at)

    a, _, (row, column, back, by_two, one) = parts_of_a_square(
        line(1), line(0), line(1, -1), line(1, 2), lambda b, x: b.broadcast_to(b.view(x, (1,), [(1, 1)], (0, 0)), (N,))
    )
    assert a.walks_alike(row, row) and a.walks_alike(back, row) and a.walks_alike(one, row)
    assert not a.walks_alike(column, row) and not a.walks_alike(by_two, row)
