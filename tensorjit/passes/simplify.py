"""simplify: common subexpressions are computed once, what is not used not at all.

before::

    %a = square(%x)
    %b = square(%x)
    %c = add(%a, %b)
    %d = exp(%x)        # not used

after::

    %a = square(%x)
    %c = add(%a, %a)
"""

from __future__ import annotations

from tensorjit.ir.graph import Graph, Op
from tensorjit.ops import OPS
from tensorjit.passes.cse import cse
from tensorjit.passes.dce import dce


def is_pure(op: Op) -> bool:
    """Whether an op may be left out where its results are not used: it raises nothing, writes nothing, defines no size."""
    row = op.row
    return row.is_pure if row is not None else op.name not in OPS or not OPS[op.name].raises


def may_share(op: Op) -> bool:
    """Whether an op's result may be storage of an operand's."""
    return op.is_view or bool(op.blocks)


def simplify(graph: Graph) -> Graph:
    """A graph that computes the same with fewer ops; see the module's docstring."""
    return dce(cse(graph, is_pure, may_share), is_pure)
