from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings

from tensorjit.ir.graph import Block, Builder, Graph, Op, Value
from tensorjit.ir.parser import parse_graph
from tensorjit.ir.printer import print_graph
from tensorjit.ir.rewriter import Rebuild, count_uses, rebuild, rebuild_ops, replace_uses, walk_values
from tensorjit.ir.verifier import verify_graph
from tests.ir.strategies import graphs

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(graphs("specialised"))
def test_a_copy_prints_alike_and_shares_no_value(graph: Graph) -> None:
    copy = rebuild(graph, lambda op, copy: None)
    assert print_graph(copy) == print_graph(graph)
    assert not set(walk_values(copy)) & set(walk_values(graph))


@unhurried
@given(graphs("generic"))
def test_nothing_changed_is_the_same_graph(graph: Graph) -> None:
    def visit(op: Op, blocks: Sequence[Block]) -> Sequence[Op]:
        return (op,)

    assert rebuild_ops(graph, visit) is graph
    assert replace_uses(graph, {}) is graph


def test_replace_uses_reaches_into_blocks() -> None:
    graph = parse_graph("""graph f(%a: ?, %b: ?) {
      %c: ? = if(%a) then { yield(%a) } else { yield(%b) } return(%c) }""")
    a, b = graph.params
    new = replace_uses(graph, {a: b})
    assert (count_uses(new)[a], count_uses(new)[b]) == (0, 3)
    assert count_uses(graph)[a] == 2


def test_a_terminator_that_is_added_drops_the_rest() -> None:
    graph = parse_graph("graph f(%a: ?) { %b: ? = truth(%a) %c: ? = truth(%b) return(%c) }")

    def visit(op: Op, copy: Rebuild) -> Sequence[Value] | None:
        if op.name == "truth":
            copy.builder.add_multi("raise", copy.operands(op))
            return []
        return None

    new = rebuild(graph, visit)
    assert [op.name for op in new.walk()] == ["raise"]
    verify_graph(new)


def test_a_block_must_not_lose_its_terminator() -> None:
    graph = parse_graph("graph f() { return() }")
    with pytest.raises(ValueError, match="return was replaced"):
        rebuild(graph, lambda op, copy: [])


def test_depth_is_no_matter() -> None:
    block = Builder().block(("return", []))
    for _ in range(3000):
        b = Builder()
        b.add_multi("scope", blocks=[block])
        block = b.block(("return", []))
    graph = Graph("deep", block)
    assert sum(1 for _ in rebuild(graph, lambda op, copy: None).walk()) == 6001
    assert replace_uses(graph, {Value(): Value()}) is graph
