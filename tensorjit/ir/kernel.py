"""The loop-level IR, whole on one page: a kernel is a loop nest over views with scalar expressions.

    Kernel   views, scalars, scratch buffers, statements
    Stmt     For | If | Let | Store | Accumulate
    Expr     Const | Ref | Load | Apply

Every expression has a dtype; indices and extents are i64. `Apply` names an intrinsic of `INTRINSICS`; each is a total function
with a defined result for every input (a backend guards what its hardware leaves undefined) and raises exactly the floating-point
flags that NumPy's loop raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, final

from tensorjit.ir.dtypes import I64, DType
from tensorjit.records import dataclass

LoopKind = Literal["serial", "vector", "parallel"]
ReductionOp = Literal["sum", "prod", "min", "max", "fmin", "fmax", "and", "or", "xor", "argmin", "argmax"]

# name -> number of arguments. Arguments and result have the Apply's dtype, but for the groups named below.
ARITHMETIC = {
    "add": 2, "sub": 2, "mul": 2, "neg": 1, "abs": 1,
    "div": 2,  # float and complex only
    "floordiv": 2, "mod": 2,  # Python's sign; integers: x // 0 == 0 raising `divide`, INT_MIN // -1 wraps
    "truncrem": 2,  # C's fmod / remainder with the dividend's sign
    "min": 2, "max": 2,  # NaN goes through, as np.minimum
    "fmin": 2, "fmax": 2,  # NaN loses, as np.fmin
    "and": 2, "or": 2, "xor": 2, "not": 1,  # bits; on bool: logic
    "shl": 2, "shr": 2,  # a count outside [0, bits) gives 0, or the sign for a signed shr
    "gcd": 2, "lcm": 2,  # integers only; of the magnitudes, wrapping around
    "sqrt": 1, "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "copysign": 2, "fma": 3,
}  # fmt: skip
MATH = {
    "exp": 1, "exp2": 1, "expm1": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1,
    "sin": 1, "cos": 1, "tan": 1, "arcsin": 1, "arccos": 1, "arctan": 1, "arctan2": 2,
    "sinh": 1, "cosh": 1, "tanh": 1, "arcsinh": 1, "arccosh": 1, "arctanh": 1,
    "pow": 2, "cbrt": 1, "hypot": 2, "nextafter": 2, "spacing": 1, "ldexp": 2,  # ldexp: (float, i32)
}  # fmt: skip
COMPARISONS = {
    "eq": 2,
    "ne": 2,
    "lt": 2,
    "le": 2,
    "gt": 2,
    "ge": 2,
}  # arguments of one dtype; result bool; quiet on NaN
TESTS = {"isnan": 1, "isinf": 1, "isfinite": 1, "signbit": 1}  # result bool
OTHER = {
    "select": 3,  # (bool, x, y)
    "cast": 1,  # any dtype to the Apply's dtype, as ndarray.astype
    "bits": 1,  # same-size reinterpretation
    "complex": 2, "real": 1, "imag": 1,  # parts <-> complex
    "popcount": 1,
}  # fmt: skip
INTRINSICS: dict[str, int] = {**ARITHMETIC, **MATH, **COMPARISONS, **TESTS, **OTHER}


@final
@dataclass(frozen=True, slots=True)
class Const:
    value: bool | int | float | complex
    dtype: DType


@final
@dataclass(frozen=True, slots=True)
class Ref:
    """A scalar parameter, a Let, a loop index or a finished reduction, by name."""

    name: str
    dtype: DType


@final
@dataclass(frozen=True, slots=True)
class Load:
    """An element of a view or a scratch buffer."""

    view: str
    indices: tuple[Expr, ...]
    dtype: DType


@final
@dataclass(frozen=True, slots=True)
class Apply:
    intrinsic: str
    args: tuple[Expr, ...]
    dtype: DType


Expr = Const | Ref | Load | Apply


@final
@dataclass(frozen=True, slots=True)
class Let:
    """Names a scalar, so that it is computed once."""

    name: str
    expr: Expr


@final
@dataclass(frozen=True, slots=True)
class Store:
    view: str
    indices: tuple[Expr, ...]
    expr: Expr


@final
@dataclass(frozen=True, slots=True)
class Accumulate:
    """Feeds a reduction of an enclosing loop; `position` (i64) goes along for argmin and argmax, whose result it is."""

    name: str
    expr: Expr
    position: Expr | None = None


@final
@dataclass(frozen=True, slots=True)
class Reduction:
    """An accumulator of a loop nest, started by the outermost For that lists it and readable (a Ref) after that For.

    `sum` of floats has an error bound no worse than pairwise summation; min and max let NaN through; argmin and argmax
    give the first of equals, a NaN before all. `init` starts it (None: the neutral element; min/max/argmin/argmax then
    start from the first element, and the loop is known not to be empty). `ordered`: a sum or product that takes the
    values one by one, in the order of the turns, each step rounded to `dtype`.
    """

    name: str
    op: ReductionOp
    dtype: DType
    init: Expr | None = None
    ordered: bool = False


@final
@dataclass(frozen=True, slots=True)
class For:
    """for index in range(extent): body. `vector`: lanes over this index; nothing in the body depends on the order of turns
    but through reductions, and inner loops' extents do not depend on it. `parallel`: turns may run on several threads."""

    index: str
    extent: Expr
    body: tuple[Stmt, ...]
    kind: LoopKind = "serial"
    reductions: tuple[Reduction, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class If:
    cond: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...] = ()


Stmt = For | If | Let | Store | Accumulate


@final
@dataclass(frozen=True, slots=True)
class ViewParam:
    """An array parameter: data pointer and one stride in bytes per axis. `unit_axis` is the axis known to have
    stride == itemsize (None: none is known); `written` says whether the kernel stores to it; `aligned` whether its elements
    are aligned to their size. A written view never overlaps another view of the kernel unless both are the same memory
    element by element (in place), or the other is ahead of it (`is_ahead` in passes/alias.py): loops go up."""

    name: str
    dtype: DType
    rank: int
    unit_axis: int | None = None
    written: bool = False
    aligned: bool = True


@final
@dataclass(frozen=True, slots=True)
class ScalarParam:
    name: str
    dtype: DType


@final
@dataclass(frozen=True, slots=True)
class Scratch:
    """A buffer of `extent` elements that lives for one launch (one per thread in a parallel loop), dense, rank 1."""

    name: str
    dtype: DType
    extent: Expr


@final
@dataclass(frozen=True, slots=True)
class Kernel:
    name: str
    views: tuple[ViewParam, ...]
    scalars: tuple[ScalarParam, ...]
    body: tuple[Stmt, ...]
    scratch: tuple[Scratch, ...] = ()
    ops: tuple[str, ...] = ()  # the fused ops' names, for warnings and explain


def i64(value: int) -> Const:
    return Const(value, I64)


def dtype_of(expr: Expr) -> DType:
    return expr.dtype


def subexpressions(expr: Expr) -> Iterator[Expr]:
    """The expression and all below it, without recursion (fused chains are deep)."""
    stack: list[Expr] = [expr]
    while stack:
        e = stack.pop()
        yield e
        if isinstance(e, Apply):
            stack.extend(e.args)
        elif isinstance(e, Load):
            stack.extend(e.indices)
