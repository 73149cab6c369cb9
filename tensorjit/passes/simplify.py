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
from tensorjit.passes.cse import cse
from tensorjit.passes.dce import dce

_EFFECTS = frozenset(
    {"bind", "check", "warn", "broadcast_dim", "index_check", "fit_int", "store", "library", "raise", "while", "unreachable",
     "return"}
)  # fmt: skip
# Python operators that cannot raise on the numbers they take
_SAFE_PYTHON = frozenset({"py_not", "py_eq", "py_ne", "py_lt", "py_le", "py_gt", "py_ge", "py_and", "py_or", "py_xor", "py_float"})
_VIEWS = frozenset({"view", "reshape", "part"})


def is_pure(op: Op) -> bool:
    """Whether an op may be left out where its results are not used: it raises nothing, writes nothing, defines no size."""
    if op.name.startswith(("py_", "math_")):
        return op.name in _SAFE_PYTHON
    return op.name not in _EFFECTS


def may_share(op: Op) -> bool:
    """Whether an op's result may be storage of an operand's."""
    return op.name in _VIEWS or bool(op.blocks)


def simplify(graph: Graph) -> Graph:
    """A graph that computes the same with fewer ops; see the module's docstring."""
    return dce(cse(graph, is_pure, may_share), is_pure)
