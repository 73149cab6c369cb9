"""Vector math emitted as LLVM IR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llvmlite import ir

from tensorjit.backends.llvm.vmath import exponential, hyperbolic, inverse, logarithm, power, trigonometric
from tensorjit.backends.llvm.vmath.lanes import Lane


@dataclass(frozen=True, slots=True)
class Function:
    """How a function is emitted: a formula over lanes, its number of arguments."""

    formula: Callable[..., Lane]
    arguments: int = 1


VECTOR_MATH: Mapping[str, Function] = {
    "exp": Function(exponential.exp),
    "log": Function(logarithm.log),
    "sin": Function(trigonometric.sin),
    "cos": Function(trigonometric.cos),
    "tanh": Function(hyperbolic.tanh),
    "pow": Function(power.pow_, 2),
    "exp2": Function(exponential.exp2),
    "expm1": Function(hyperbolic.expm1),
    "log2": Function(logarithm.log2),
    "log10": Function(logarithm.log10),
    "log1p": Function(logarithm.log1p),
    "tan": Function(trigonometric.tan),
    "sinh": Function(hyperbolic.sinh),
    "cosh": Function(hyperbolic.cosh),
    "cbrt": Function(inverse.cbrt),
    "arctan": Function(inverse.arctan),
    "arcsin": Function(inverse.arcsin),
    "arccos": Function(inverse.arccos),
    "arcsinh": Function(inverse.arcsinh),
    "arccosh": Function(inverse.arccosh),
    "arctanh": Function(inverse.arctanh),
    "arctan2": Function(inverse.arctan2, 2),
    "hypot": Function(inverse.hypot, 2),
}


def emit(builder: ir.IRBuilder, name: str, args: Sequence[ir.Value]) -> ir.Value:
    return VECTOR_MATH[name].formula(*(Lane(builder, a) for a in args)).value
