"""Common subexpressions: what merges, and what must not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tensorjit.ir.graph import Graph, Op
from tensorjit.ir.parser import parse_graph
from tensorjit.ir.verifier import verify_graph
from tensorjit.passes.cse import cse
from tests.ir.strategies import graphs

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_pure(op: Op) -> bool:
    return op.name not in ("store", "odd op")


def may_share(op: Op) -> bool:
    return op.is_view


@unhurried
@given(graphs("specialised"))
def test_verifies_and_is_done_in_one_go(graph: Graph) -> None:
    merged = cse(graph, is_pure, may_share)
    verify_graph(merged, "specialised")
    assert cse(merged, is_pure, may_share) is merged


def count(body: str, name: str) -> int:
    """How many ops of that name are left of the body of a graph f(x, y, c, v)."""
    head = "graph f(%x: f64, %y: f64, %c: bool, %v: f64[n]) symbols (n >= 0) { "
    graph = parse_graph(head + body + " }")
    verify_graph(graph, "specialised")
    merged = cse(graph, is_pure, may_share)
    verify_graph(merged, "specialised")
    return sum(op.name == name for op in merged.walk())


BRANCH = " %r: f64 = if(%c) then { %b: f64 = sin(%x) yield(%b) } else { %d: f64 = sin(%x) yield(%d) } return(%r)"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("%a: f64 = sin(%x) %b: f64 = sin(%x) return(%a, %b)", 1),
        ("%a: f64 = sin(%x) %b: f64 = sin(%y) return(%a, %b)", 2),
        ('%a: f64 = sin(%x) {a=1} %b: f64 = sin(%x) {a=1} return(%a, %b)', 1),
        ('%a: f64 = sin(%x) {a=1} %b: f64 = sin(%x) {a=1.0} return(%a, %b)', 2),
        ('%a: f64 = sin(%x) {a=1} %b: f64 = sin(%x) {a=True} return(%a, %b)', 2),
        ('%a: f64 = sin(%x) {a=(0.0,)} %b: f64 = sin(%x) {a=(-0.0,)} return(%a, %b)', 2),
        ('%a: f64 = sin(%x) {a=nan} %b: f64 = sin(%x) {a=nan} return(%a, %b)', 1),
        ('%a: f64 = sin(%x) {a=@f} %b: f64 = sin(%x) {a=@f} return(%a, %b)', 2),  # two of one name
        ("%a: f64 = sin(%x) %b: float = sin(%x) return(%a, %b)", 2),
        ("%a: f64 = sin(%x)" + BRANCH, 1),  # from an enclosing block
        (BRANCH, 2),  # but not from a branch that may not run
    ],
)  # fmt: skip
def test_scalars(body: str, left: int) -> None:
    assert count(body, "sin") == left


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("%a: f64 = sum(%v) %b: f64 = sum(%v) return(%a, %b)", 1),
        ("%a: f64 = sum(%v) store(%v, %x) %b: f64 = sum(%v) return(%a, %b)", 2),
        (
            "%a: f64 = sum(%v) if(%c) then { store(%v, %x) yield() } else { yield() } "
            "%b: f64 = sum(%v) return(%a, %b)",
            2,
        ),
        (
            "%a: f64 = sum(%v) for(%x, %x, %x) do (%i: int) { %b: f64 = sum(%v) store(%v, %b) continue() } "
            "return(%a)",
            2,
        ),
        (
            "%a: f64 = sum(%v) for(%x, %x, %x) do (%i: int) { %b: f64 = sum(%v) store(%v, %x) continue() } "
            "return(%a)",
            2,
        ),
        ("%a: f64 = sum(%v) for(%x, %x, %x) do (%i: int) { %b: f64 = sum(%v) continue() } return(%a)", 1),
    ],
)  # fmt: skip
def test_effects_on_what_is_read(body: str, left: int) -> None:
    assert count(body, "sum") == left


TWO = "%a: f64[n] = neg(%v) %b: f64[n] = neg(%v) "


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("%s: f64 = sum(%a) %t: f64 = sum(%b) return(%s, %t)", 1),
        ("%s: f64[n] = add(%a, %b) return(%s)", 1),
        ("return(%a, %b)", 2),  # the user would get one array twice
        ("store(%b, %x) %s: f64 = sum(%a) return(%s)", 2),
        ("%w: f64[n] = reshape(%b) store(%w, %x) %s: f64 = sum(%a) return(%s)", 2),
        ("%s: f64[n] = if(%c) then { yield(%a) } else { yield(%b) } return(%s)", 2),
    ],
)
def test_arrays_that_are_seen_from_outside_stay_two(body: str, left: int) -> None:
    assert count(TWO + body, "neg") == left
