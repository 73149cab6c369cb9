"""Dead code: what goes, and what must stay."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tensorjit.ir.graph import Graph, Op
from tensorjit.ir.parser import parse_graph
from tensorjit.ir.printer import print_graph
from tensorjit.ir.verifier import verify_graph
from tensorjit.passes.dce import dce
from tests.ir.strategies import graphs

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_pure(op: Op) -> bool:
    return op.name not in ("store", "odd op", "while")


@unhurried
@given(graphs("specialised"))
def test_keeps_effects_and_verifies(graph: Graph) -> None:
    small = dce(graph, is_pure)
    verify_graph(small, "specialised")
    assert effects(small) == effects(graph)
    assert print_graph(dce(small, is_pure)) == print_graph(small)


def effects(graph: Graph) -> list[str]:
    return [op.name for op in graph.walk() if op.name in ("return", "odd op", "while")]


def pruned(body: str) -> list[str]:
    """The ops that are left of the body of a graph f(x, y, c)."""
    graph = parse_graph("graph f(%x: f64, %y: f64, %c: bool) { " + body + " }")
    verify_graph(graph, "specialised")
    new = dce(graph, is_pure)
    verify_graph(new, "specialised")
    lines = [line.split("  #")[0].strip() for line in print_graph(new).splitlines()[2:-1]]
    return [line for line in lines if line not in ("then {", "else {", "}", "do {")]


LOOP = "%s: f64, %t: f64 = for(%x, %x, %x, %x, %y) do (%i: int, %s.1: f64, %t.1: f64) { "


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("%a: f64 = sin(%x) %b: f64 = sin(%a) return(%x)", ["return(%x)"]),
        ("%a: f64 = sin(%x) store(%a, %x) return(%x)", ["%a: f64 = sin(%x)", "store(%a, %x)", "return(%x)"]),
        ("%a: f64 = if(%c) then { yield(%x) } else { yield(%y) } return(%x)", ["return(%x)"]),
        # of two results one
        (
            "%a: f64, %b: f64 = if(%c) then { %p: f64 = sin(%x) yield(%p, %x) } else { yield(%x, %y) } "
            "return(%b)",
            ["%b: f64 = if(%c)", "yield(%x)", "yield(%y)", "return(%b)"],
        ),
        # none, but for an effect in a branch
        (
            "%a: f64 = if(%c) then { store(%x, %y) yield(%x) } else { yield(%y) } return(%x)",
            ["if(%c)", "store(%x, %y)", "yield()", "yield()", "return(%x)"],
        ),
        ("%a: f64 = scope() do { leave(%x) } return(%x)", ["return(%x)"]),
        (LOOP + "continue(%t.1, %s.1) } return(%x)", ["return(%x)"]),
        # a branch that leaves the graph
        (
            "%a: f64 = if(%c) then { return(%x) } else { yield(%y) } return(%x)",
            ["if(%c)", "return(%x)", "yield()", "return(%x)"],
        ),
    ],
)  # fmt: skip
def test_what_is_left(body: str, left: list[str]) -> None:
    assert pruned(body) == left


def test_values_carried_in_a_circle_live_together() -> None:
    left = pruned(LOOP + "continue(%t.1, %s.1) } return(%t)")
    assert "continue(%t.1, %s.1)" in left
    left = pruned(LOOP + "%a: f64 = sin(%t.1) continue(%s.1, %a) } return(%s)")
    assert left[-2:] == ["continue(%s.1)", "return(%s)"]
    assert not any("sin" in line for line in left)


def test_a_break_keeps_its_condition() -> None:
    body = LOOP + "%q: bool = lt(%t.1, %x) if(%q) then { break(%x, %y) } else { yield() } continue(%s.1, %t.1) }"
    left = pruned(body + " return(%s)")
    assert "if(%q)" in left
    assert "continue(%s.1, %t.1)" in left
    assert pruned(body + " return(%x)") == ["return(%x)"]


def test_a_while_may_not_end() -> None:
    body = "while() test { yield(%c) } do { %a: f64 = sin(%x) continue() } return(%x)"
    assert pruned(body) == ["while()", "test {", "yield(%c)", "continue()", "return(%x)"]


def test_the_else_of_a_loop() -> None:
    body = LOOP + "break(%s.1, %t.1) } else (%u: f64, %v: f64) { %w: f64 = sin(%v) yield(%u, %w) } return(%s)"
    left = pruned(body)
    assert left == [
        "%s: f64 = for(%x, %x, %x, %x)",
        "do (%i: int, %s.1: f64) {",
        "break(%s.1)",
        "else (%u: f64) {",
        "yield(%u)",
        "return(%s)",
    ]
