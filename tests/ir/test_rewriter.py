"""Graphs are rebuilt, and share what does not change."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings

from tensorjit.ir.graph import Block, Builder, Graph, Op
from tensorjit.ir.parser import parse_graph
from tensorjit.ir.printer import print_graph
from tensorjit.ir.rewriter import changed, rebuild_ops, walk_values
from tests.ir.strategies import graphs

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(graphs("specialised"))
def test_a_copy_prints_alike(graph: Graph) -> None:
    def copied(op: Op, blocks: Sequence[Block]) -> Sequence[Op]:
        return [Op(op.name, op.operands, op.results, op.attrs, tuple(blocks), op.loc)]

    copy = rebuild_ops(graph, copied)
    assert print_graph(copy) == print_graph(graph)
    assert list(walk_values(copy)) == list(walk_values(graph))


@unhurried
@given(graphs("generic"))
def test_nothing_changed_is_the_same_graph(graph: Graph) -> None:
    assert rebuild_ops(graph, lambda op, blocks: (op,)) is graph
    assert rebuild_ops(graph, lambda op, blocks: (changed(op, op.operands, blocks),)) is graph


def test_operands_change_inside_blocks() -> None:
    graph = parse_graph("""graph f(%a: ?, %b: ?) {
      %c: ? = if(%a) then { yield(%a) } else { yield(%b) } return(%c) }""")
    a, b = graph.params
    new = rebuild_ops(graph, lambda op, blocks: (changed(op, [b if v is a else v for v in op.operands], blocks),))
    operands = [v for op in new.walk() for v in op.operands]
    assert (operands.count(a), operands.count(b)) == (0, 3)
    assert [v for op in graph.walk() for v in op.operands].count(a) == 2


def test_ops_are_dropped_inside_blocks() -> None:
    graph = parse_graph("graph f(%a: ?) { if(%a) then { %b: ? = truth(%a) yield() } else { yield() } return(%a) }")
    new = rebuild_ops(graph, lambda op, blocks: () if op.name == "truth" else (changed(op, op.operands, blocks),))
    assert [op.name for op in new.walk()] == ["if", "yield", "yield", "return"]


def test_depth_is_no_matter() -> None:
    block = Builder().block(("return", []))
    for _ in range(3000):
        b = Builder()
        b.add_multi("scope", blocks=[block])
        block = b.block(("return", []))
    graph = Graph("deep", block)
    deepest = next(op for op in graph.walk() if not op.blocks)
    new = rebuild_ops(graph, lambda op, blocks: (changed(op, op.operands, blocks), *([op] if op is deepest else [])))
    assert sum(1 for _ in new.walk()) == 6002
