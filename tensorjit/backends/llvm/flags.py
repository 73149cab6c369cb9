"""Which floating-point flags of a graph are NumPy's to warn about.

NumPy's operations warn of what the processor's flags say, Python's float arithmetic never does. Where a graph has both,
the code changes sides: before Python's arithmetic the flags so far are collected, before NumPy's the flags of Python's are
cleared. A graph of one side only needs no changes.
"""

from __future__ import annotations

from typing import final

from tensorjit.backends.llvm.control import walk
from tensorjit.backends.llvm.python_scalars import FLOAT_ROWS
from tensorjit.ir.graph import Block, Graph, Op
from tensorjit.ir.types import ArrayType, ScalarType
from tensorjit.ops.opdef import Loop

__all__ = ["Sides", "side_of"]

# scalar operations on integers that raise no flag
_WHOLE = frozenset(
    {"add", "subtract", "multiply", "negative", "positive", "absolute", "equal", "not_equal", "less", "less_equal",
     "greater", "greater_equal", "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or",
     "bitwise_xor", "invert", "minimum", "maximum", "fmin", "fmax", "select", "left_shift", "right_shift", "sign"}
)  # fmt: skip


def side_of(op: Op) -> str:
    """`"numpy"`, `"python"`, or `""` for what raises no flag."""
    if op.name == "launch":
        return "numpy"
    kinds = {v.type.dtype.kind for v in op.operands if isinstance(v.type, (ArrayType, ScalarType))}
    floats = bool(kinds & {"f", "c"})
    if op.name in FLOAT_ROWS:
        return "python" if floats else ""
    if op.name == "py_abs":
        return "python" if "c" in kinds else ""
    if op.name == "cast":
        return "numpy" if floats and op.operands[0].type != op.result.type else ""
    loop = op.attrs.get("loop")
    if isinstance(loop, Loop):
        floats = loop.output.kind in "fc" or any(d.kind in "fc" for d in loop.inputs)
        return "numpy" if floats or op.name not in _WHOLE else ""
    return ""


@final
class Sides:
    """The sides of a graph's ops, and of the blocks inside it."""

    def __init__(self, graph: Graph) -> None:
        found = self._found(graph.block)
        self.reports = "numpy" in found
        self.mixed = len(found) == 2

    def _found(self, *blocks: Block) -> set[str]:
        return {side_of(o) for block in blocks for o in walk(block)} - {""}

    def inside(self, op: Op) -> str:
        """The side on which the blocks of an op begin and end."""
        return "python" if self.mixed and self._found(*op.blocks) == {"python"} else "numpy"
