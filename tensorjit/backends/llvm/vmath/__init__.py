"""Transcendental functions as LLVM IR, for f32 and f64 and every vector width.

`emit(builder, name, args)` writes the function where the builder stands and returns the result, of its arguments' type:
`float`, `double` or `<N x float>`, `<N x double>`. What holds for every row of `VECTOR_MATH`:

* At most 1 ULP from the true value over the whole range, subnormal results included (largest seen: f64 arctan2 1.00,
  tan 0.95, arctan 0.93, the others below 0.91; f32 arctan2 0.98, sinh, cosh, exp2 and tan 0.97, the others below 0.95).
  Results that are numbers of the format are exact: powers, roots, logarithms of powers, limits.
* One value per argument: the same bits at every width, in every lane and on every target with FMA. Nothing depends on
  the optimiser: `llvm.fma` where an operation is fused, no fast-math flags.
* NumPy's values for NaN, infinities, signed zeros and subnormals, and its status flags: divide, invalid and overflow are
  raised where NumPy raises them and nowhere else. Underflow is raised where the result is subnormal and inexact; arctan2
  alone may raise it for a small quotient that is a normal number. Exact subnormal results raise nothing, where some of
  NumPy's loops raise underflow. This holds with no LLVM pass, with instcombine and with the default pipeline: what a
  select made safe, or made to raise, is written with constrained intrinsics (`lanes.strictly`).
* Rare arguments go through a branch that a vector takes when any lane needs it. So **emit appends blocks**: the builder
  must stand at the end of a block without terminator, and stands afterwards at the end of another; whoever adds phis
  takes `builder.block` after the call.
* Tables of 16 or 32 values (`lanes.lookup`) are read by permutes of AVX-512, those of f32 by AVX2's, in modules of which
  `lanes.allow_permutes` says that they may, from memory in others; the values are the same.
* No symbol of libm is needed. sin, cos and tan put the internal function `tj.vmath.large` and its table into the module.

exp, log, sin, cos, tanh and pow are the first tier, tuned for throughput; the others share their pieces.
The algorithms' sources are named in the modules; the coefficients are made by tools/minimax.py.

>>> module = ir.Module()
>>> vector = ir.VectorType(ir.DoubleType(), 4)
>>> function = ir.Function(module, ir.FunctionType(vector, [vector]), "f")
>>> builder = ir.IRBuilder(function.append_basic_block())
>>> _ = builder.ret(emit(builder, "exp", function.args))
>>> [block.name for block in function.blocks][1:]
['rare', 'after', 'rare.1', 'after.1']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType

from llvmlite import ir

from tensorjit.backends.llvm.vmath.lanes import Lane
from tensorjit.records import dataclass

__all__ = ["VECTOR_MATH", "Function", "emit"]


@dataclass(frozen=True, slots=True)
class Function:
    """How a function is emitted: a formula over lanes, by module and name, and how many arguments it takes."""

    module: str
    name: str
    arguments: int = 1

    @property
    def formula(self) -> Callable[..., Lane]:
        """The formula; its module loads when a program first needs it, most need none."""
        found: Callable[..., Lane] = getattr(import_module(f"{__name__}.{self.module}"), self.name)
        return found


VECTOR_MATH: Mapping[str, Function] = MappingProxyType(
    {
        "exp": Function("exponential", "exp"),
        "log": Function("logarithm", "log"),
        "sin": Function("trigonometric", "sin"),
        "cos": Function("trigonometric", "cos"),
        "tanh": Function("hyperbolic", "tanh"),
        "pow": Function("power", "pow_", 2),
        "exp2": Function("exponential", "exp2"),
        "expm1": Function("hyperbolic", "expm1"),
        "log2": Function("logarithm", "log2"),
        "log10": Function("logarithm", "log10"),
        "log1p": Function("logarithm", "log1p"),
        "tan": Function("trigonometric", "tan"),
        "sinh": Function("hyperbolic", "sinh"),
        "cosh": Function("hyperbolic", "cosh"),
        "cbrt": Function("inverse", "cbrt"),
        "arctan": Function("inverse", "arctan"),
        "arcsin": Function("inverse", "arcsin"),
        "arccos": Function("inverse", "arccos"),
        "arcsinh": Function("inverse", "arcsinh"),
        "arccosh": Function("inverse", "arccosh"),
        "arctanh": Function("inverse", "arctanh"),
        "arctan2": Function("inverse", "arctan2", 2),
        "hypot": Function("inverse", "hypot", 2),
    }
)


def emit(builder: ir.IRBuilder, name: str, args: Sequence[ir.Value]) -> ir.Value:
    """The function `name` of args, all of one type, at the builder's position (which moves to a later block)."""
    row = VECTOR_MATH[name]
    if len(args) != row.arguments:
        raise ValueError(f"{name} takes {row.arguments} arguments, not {len(args)}")
    return row.formula(*(Lane(builder, value) for value in args)).value
