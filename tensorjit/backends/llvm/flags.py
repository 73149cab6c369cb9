"""Which floating-point flags of a graph are NumPy's to warn about.

NumPy's operations warn of what the processor's flags say, Python's float arithmetic never does. Where a graph has both,
the code changes sides: before Python's arithmetic the flags so far are collected, before NumPy's the flags of Python's are
cleared. A graph of one side only needs no changes.

Integers raise no flags. Operators on NumPy's integer scalars warn of an overflow all the same, so what they compute is looked
at (`overflows`); arrays wrap silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from llvmlite import ir

from tensorjit.backends.llvm.python_scalars import FLOAT_ROWS
from tensorjit.ir.graph import Block, Graph, Op
from tensorjit.ir.types import ArrayType, ScalarType
from tensorjit.ops.opdef import Loop

__all__ = ["Sides", "overflows", "side_of"]

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
    if op.name == "store":  # of one element: it converts
        return (
            "numpy" if floats and len({v.type.dtype for v in op.operands if isinstance(v.type, (ArrayType, ScalarType))}) > 1 else ""
        )
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
        return {side_of(o) for block in blocks for o in block.walk()} - {""}

    def inside(self, op: Op) -> str:
        """The side on which the blocks of an op begin and end."""
        return "python" if self.mixed and self._found(*op.blocks) == {"python"} else "numpy"


def overflows(
    b: ir.IRBuilder, name: str, signed: bool, operands: Sequence[ir.Value], result: ir.Value, *, carried: bool = False
) -> ir.Value:
    """Whether an integer `result` is not the true one (i1).

    Made of plain operations, for LLVM turns loops over those into vectors, and not ones over `llvm.*.with.overflow`; but a sum
    that a loop carries from turn to turn (`carried`) is none anyway.
    """
    zero = ir.Constant(result.type, 0)
    x, y = operands[0], operands[-1]
    if carried and name in ("add", "subtract"):
        sign, short = "s" if signed else "u", name[:3]
        return b.extract_value(getattr(b, f"{sign}{short}_with_overflow")(x, y), 1)
    match name:
        case "multiply":
            return _product_overflows(b, signed, x, y, result)
        case "negative" | "absolute" if not signed:
            return b.icmp_unsigned("!=", result, zero) if name == "negative" else ir.Constant(ir.IntType(1), 0)
        case "negative" | "absolute":  # of the lowest number alone both signs are set
            wrong = b.and_(x, result)
        case "add" if signed:
            wrong = b.and_(b.xor(x, result), b.xor(y, result))
        case "subtract" if signed:
            wrong = b.and_(b.xor(x, y), b.xor(x, result))
        case "add":
            return b.icmp_unsigned("<", result, x)
        case "subtract":
            return b.icmp_unsigned("<", x, y)
    return b.icmp_signed("<", wrong, zero)


def _product_overflows(b: ir.IRBuilder, signed: bool, x: ir.Value, y: ir.Value, result: ir.Value) -> ir.Value:
    if result.type.width == 64:
        checked = b.smul_with_overflow(x, y) if signed else b.umul_with_overflow(x, y)
        return b.extract_value(checked, 1)
    wide = ir.IntType(2 * result.type.width)
    widen = b.sext if signed else b.zext
    return b.icmp_signed("!=", b.mul(widen(x, wide), widen(y, wide)), widen(result, wide))
