"""Reductions: the kernel's own (`sum`, `min`, `argmax`, ...), and what NumPy composes of them (`mean`, `var`, `ptp`, ...).

The composed ones follow `numpy/_core/_methods.py` operation by operation, dtypes included; built from elementwise and
reduction ops, they fuse with what is around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import BOOL, F16, F32, F64, I64, U8, U64, DType
from tensorjit.ir.graph import Value
from tensorjit.ir.kernel import ReductionOp
from tensorjit.ir.types import ArrayType, ScalarType
from tensorjit.ops.abstract import Abstract, Sequence_, Static, SymInt
from tensorjit.ops.opdef import Loop, OpDef, Rule
from tensorjit.records import dataclass

if TYPE_CHECKING:
    from tensorjit.ops.typed import TypedBuilder

NONE = Static(None)
FALSE = Static(False)
TRUE = Static(True)
NO_VALUE = Static(np._NoValue)
_EMPTY, _NO_FREEDOM = "Mean of empty slice", "Degrees of freedom <= 0 for slice"


@final
@dataclass(frozen=True, slots=True)
class Over:
    """What a reduction goes over: the array, its axes, whether they stay as 1."""

    x: Value
    axes: tuple[int, ...]
    keepdims: bool

    @property
    def shape(self) -> tuple[Dim, ...]:
        assert isinstance(self.x.type, ArrayType)
        return self.x.type.shape

    @property
    def count(self) -> Dim:
        return dims.product(self.shape[a] for a in self.axes)


def over(b: TypedBuilder, a: Abstract, axis: Abstract, keepdims: Abstract) -> Over:
    """The operand of a reduction; an axis of 0 or -1 is allowed for rank 0, as in NumPy."""
    x = b.array(a)
    flag = b.static(keepdims, "keepdims")
    if not b.rank(x) and isinstance(axis, Static) and axis.value in (0, -1):
        axis = NONE
    return Over(x, b.axes_argument(axis, b.rank(x)), bool(flag) and flag is not np._NoValue)


def is_default(x: Abstract) -> bool:
    return isinstance(x, Static) and (x.value is None or x.value is np._NoValue)


def is_true(x: Abstract) -> bool:
    return isinstance(x, Static) and (x.value is True or x.value is np._NoValue)


def finish(b: TypedBuilder, result: Abstract, out: Abstract) -> Abstract:
    """The result itself, or `out` with the result stored in it."""
    if is_default(out):
        return result
    if not isinstance(out, Value) or not isinstance(out.type, ArrayType):
        b.fail("TypeError", "output must be an array")
        return result
    if not np.can_cast(b.strong_dtype(result).numpy, out.type.dtype.numpy, "same_kind"):
        b.refuse(f"a result of dtype {b.strong_dtype(result)} in an `out` of dtype {out.type.dtype}", "use a wider out")
    shape = b.shape_of(result)
    if len(shape) != out.type.rank:
        b.fail("ValueError", "output parameter for reduction operation has the wrong number of dimensions")
        return out
    for have, want in zip(out.type.shape, shape, strict=True):
        b.check("eq", have, want, "ValueError", "output parameter for reduction operation has a wrong shape")
    b.store(out, result)
    return out


# -- the kernel's own ----------------------------------------------------------------------------------------------


def reduce_over(b: TypedBuilder, name: str, o: Over, loop: Loop) -> Abstract:
    """One reduction row; f16 is summed and multiplied in f32, as in NumPy."""
    if b.strong_dtype(o.x).kind == "c" and loop.inputs[0].kind not in "cb":
        b.refuse("complex numbers reduced in a real dtype, which drops their imaginary parts", "take .real first")
    if name in ("sum", "prod") and loop.output is F16:
        wide = reduce_over(b, name, o, Loop((F32,), F32))
        return b.cast(wide, F16)
    if o.axes:
        return b.reduce(name, o.x, o.axes, o.keepdims, loop)
    cast = b.cast(o.x if b.rank(o.x) else b.load(o.x), loop.output)
    return cast if b.is_array(cast) else b.cast_scalar(b.value(cast), ScalarType(loop.output))


def masked(b: TypedBuilder, o: Over, where: Abstract, neutral: Abstract) -> Over:
    """The operand with the neutral element where `where` does not hold."""
    if is_true(where):
        return o
    mask = b.array(where)
    dtype = b.strong_dtype(o.x)
    picked = b.apply("select", (mask, o.x, b.as_dtype(neutral, dtype)), Loop((BOOL, dtype, dtype), dtype))
    return Over(b.as_array(picked), o.axes, o.keepdims)


def accumulator(dtype: DType, given: DType | None) -> DType:
    """The dtype in which sum and prod work: integers shorter than 64 bits in 64."""
    if given is not None:
        return given
    return {"b": I64, "i": I64, "u": U64}.get(dtype.kind, dtype)


def _with_initial(b: TypedBuilder, ufunc: str, result: Abstract, initial: Abstract, dtype: DType) -> Abstract:
    if is_default(initial):
        return result
    return b.apply(ufunc, (b.as_dtype(initial, dtype), result), Loop((dtype, dtype), dtype))


def _sum_rule(name: str, ufunc: str, neutral: int) -> Rule:
    def rule(
        b: TypedBuilder, a: Abstract, axis: Abstract = NONE, dtype: Abstract = NONE, out: Abstract = NONE,
        keepdims: Abstract = FALSE, initial: Abstract = NO_VALUE, where: Abstract = TRUE,
    ) -> Abstract:  # fmt: skip
        o = masked(b, over(b, a, axis, keepdims), where, Static(neutral))
        given = b.dtype_argument(dtype)
        if given is None and isinstance(out, Value) and isinstance(out.type, ArrayType):
            given = _out_dtype(b, o, out.type.dtype)
        to = accumulator(b.strong_dtype(o.x), given)
        if to is BOOL:  # NumPy adds and multiplies bools by logic
            result = reduce_over(b, "any" if name == "sum" else "all", o, Loop((BOOL,), BOOL))
        else:
            result = reduce_over(b, name, o, Loop((to,), to))
        return finish(b, _with_initial(b, ufunc, result, initial, to), out)

    return rule


def _out_dtype(b: TypedBuilder, o: Over, dtype: DType) -> DType | None:
    """NumPy sums in the dtype of `out` where that is the wider one."""
    own = accumulator(b.strong_dtype(o.x), None)
    return dtype if np.can_cast(own.numpy, dtype.numpy, "safe") else None


def _extremum_rule(name: str, ufunc: str) -> Rule:
    def rule(
        b: TypedBuilder, a: Abstract, axis: Abstract = NONE, out: Abstract = NONE, keepdims: Abstract = FALSE,
        initial: Abstract = NO_VALUE, where: Abstract = TRUE,
    ) -> Abstract:  # fmt: skip
        o = over(b, a, axis, keepdims)
        dtype = b.strong_dtype(o.x)
        if not is_true(where):
            if is_default(initial):
                message = f"reduction operation '{ufunc}' does not have an identity, so to use a where mask one has to"
                b.fail("ValueError", f"{message} specify 'initial'")
                initial = Static(0)
            o = masked(b, o, where, initial)
        if is_default(initial):
            _not_empty(b, o, ufunc)
        elif not b.at_least(o.count, 1):  # an empty extent gives `initial`, for which the kernel has no start
            keywords = {"axis": o.axes, "keepdims": o.keepdims, "initial": b.static(initial, "initial")}
            return finish(b, _call(b, f"numpy.{name}", o, dtype, **keywords), out)
        return finish(b, _with_initial(b, ufunc, extremum(b, name, o), initial, dtype), out)

    return rule


def extremum(b: TypedBuilder, name: str, o: Over) -> Abstract:
    """min or max of what is known not to be empty."""
    dtype = b.strong_dtype(o.x)
    if dtype is BOOL:
        return reduce_over(b, "all" if name == "min" else "any", o, Loop((BOOL,), BOOL))
    if dtype.kind == "c":
        return _call(b, f"numpy.{name}", o, dtype, axis=o.axes, keepdims=o.keepdims)
    return reduce_over(b, name, o, Loop((dtype,), dtype))


def _call(b: TypedBuilder, function: str, o: Over, dtype: DType, **keywords: Any) -> Value:
    """NumPy's own reduction."""
    shape = tuple(1 if k in o.axes else d for k, d in enumerate(o.shape) if o.keepdims or k not in o.axes)
    dense = isinstance(o.x.type, ArrayType) and o.x.type.layout == "C"
    result = ArrayType(dtype, shape, "C" if dense or len(shape) < 2 else "A") if shape else ScalarType(dtype)
    return b.library(function, (o.x,), result, **keywords)


def _not_empty(b: TypedBuilder, o: Over, ufunc: str) -> None:
    message = f"zero-size array to reduction operation {ufunc} which has no identity"
    b.check("gt", o.count, 0, "ValueError", message)


def _logic_rule(name: str, ufunc: str) -> Rule:
    def rule(
        b: TypedBuilder, a: Abstract, axis: Abstract = NONE, out: Abstract = NONE, keepdims: Abstract = FALSE, *,
        where: Abstract = TRUE,
    ) -> Abstract:  # fmt: skip
        o = over(b, a, axis, keepdims)
        if not is_true(where):
            truth = b.cast(o.x, BOOL)
            o = masked(b, Over(b.as_array(truth), o.axes, o.keepdims), where, Static(name == "all"))
        return finish(b, reduce_over(b, name, o, Loop((BOOL,), BOOL)), out)

    return rule


def _position_rule(name: str) -> Rule:
    def rule(b: TypedBuilder, a: Abstract, axis: Abstract = NONE, out: Abstract = NONE, *, keepdims: Abstract = FALSE) -> Abstract:
        if isinstance(axis, (Sequence_,)) or (isinstance(axis, Static) and isinstance(axis.value, tuple)):
            b.fail("TypeError", "'tuple' object cannot be interpreted as an integer")
            axis = NONE
        o = over(b, a, axis, keepdims)
        dtype = b.strong_dtype(o.x)
        b.check("gt", o.count, 0, "ValueError", f"attempt to get {name} of an empty sequence")
        if not o.axes:
            return finish(b, Static(np.int64(0)), out)
        if dtype.kind == "c":
            keywords = {"axis": None if len(o.axes) == len(o.shape) else o.axes[0], "keepdims": o.keepdims}
            return finish(b, _call(b, f"numpy.{name}", o, I64, **keywords), out)
        key = {BOOL: U8, F16: F32}.get(dtype, dtype)
        return finish(b, b.reduce(name, o.x, o.axes, o.keepdims, Loop((key,), I64)), out)

    return rule


# -- composed ------------------------------------------------------------------------------------------------------


def _warn_where(b: TypedBuilder, condition: Abstract, message: str) -> None:
    """Warn, at run time, if a condition holds anywhere."""
    array = b.as_array(condition)
    times = reduce_over(b, "sum", Over(array, tuple(range(b.rank(array))), False), Loop((I64,), I64))
    b.warn("eq", b.dim(times), 0, "RuntimeWarning", message)


def _count_nonzero(b: TypedBuilder, a: Abstract, axis: Abstract = NONE, *, keepdims: Abstract = FALSE) -> Abstract:
    o = over(b, a, axis, keepdims)
    truth = b.cast(o.x, BOOL)
    return reduce_over(b, "sum", Over(b.as_array(truth), o.axes, o.keepdims), Loop((I64,), I64))


def _items(b: TypedBuilder, o: Over, where: Abstract, keepdims: bool) -> tuple[Abstract, bool]:
    """How many elements each result is made of, an i64; and whether that is one number."""
    if is_true(where):
        return number(b, o.count, I64), True
    mask = b.broadcast_to(b.as_array(b.cast(b.array(where), BOOL)), o.shape)
    return reduce_over(b, "sum", Over(mask, o.axes, keepdims), Loop((I64,), I64)), False


def number(b: TypedBuilder, dim: Dim, dtype: DType) -> Abstract:
    """A size as a NumPy scalar."""
    if isinstance(dim, int):
        return Static(dtype.numpy.type(dim))
    return b.cast_scalar(b.value(SymInt(dim)), ScalarType(dtype))


def divided(b: TypedBuilder, total: Abstract, count: Abstract) -> Abstract:
    """um.true_divide(total, count, out=total, casting="unsafe"): in the common dtype, then back."""
    dtype = b.strong_dtype(total)
    quotient = b.elementwise("divide", total, count)
    return quotient if b.strong_dtype(quotient) is dtype else b.cast(quotient, dtype)


def _working(b: TypedBuilder, x: Abstract, dtype: Abstract) -> DType | None:
    """The dtype that mean and var sum in; None: that of x."""
    given = b.dtype_argument(dtype)
    return F64 if given is None and b.strong_dtype(x).kind in "biu" else given


def _check_axis(b: TypedBuilder, o: Over, axis: Abstract) -> None:
    """A number has no axis to take a mean over; other reductions take 0 and -1 for one."""
    if not b.rank(o.x) and isinstance(axis, Static) and axis.value in (0, -1) and type(axis.value) is int:
        b.fail("numpy.exceptions.AxisError", f"axis {axis.value} is out of bounds for array of dimension 0")


def _mean(
    b: TypedBuilder, a: Abstract, axis: Abstract = NONE, dtype: Abstract = NONE, out: Abstract = NONE,
    keepdims: Abstract = FALSE, *, where: Abstract = TRUE,
) -> Abstract:  # fmt: skip
    o = over(b, a, axis, keepdims)
    _check_axis(b, o, axis)
    count, plain = _items(b, o, where, o.keepdims)
    if plain:
        b.warn("gt", o.count, 0, "RuntimeWarning", _EMPTY)
    else:
        _warn_where(b, b.elementwise("equal", count, Static(0)), _EMPTY)
    own = b.strong_dtype(o.x)
    work = _working(b, o.x, dtype)
    half = work is None and own is F16
    to = F32 if half else work or own
    total = reduce_over(b, "sum", masked(b, o, where, Static(0)), Loop((to,), to))
    if half and is_default(out) and not b.is_array(total):
        return b.cast(b.elementwise("divide", total, count), F16)
    mean = divided(b, total, count)
    return finish(b, b.cast(mean, F16) if half and is_default(out) else mean, out)


def _var_of(
    b: TypedBuilder, a: Abstract, axis: Abstract, dtype: Abstract, ddof: Abstract, keepdims: Abstract,
    where: Abstract, mean: Abstract,
) -> Abstract:  # fmt: skip
    o = over(b, a, axis, keepdims)
    _check_axis(b, o, axis)
    own = b.strong_dtype(o.x)
    work = _working(b, o.x, dtype)
    count, plain = _items(b, o, where, o.keepdims)
    freedom = _freedom(b, o, count, plain, ddof)
    if is_default(mean):
        wide, _ = _items(b, o, where, True)
        to = work or own
        total = reduce_over(b, "sum", masked(b, Over(o.x, o.axes, True), where, Static(0)), Loop((to,), to))
        mean = divided(b, total, wide)
    deviation = b.elementwise("subtract", o.x, mean)
    real = own.kind in "fiu"
    squares = b.elementwise("square", deviation) if real else _squared_magnitude(b, deviation)
    to = work or b.strong_dtype(squares)
    squares_over = masked(b, Over(b.as_array(squares), o.axes, o.keepdims), where, Static(0))
    return divided(b, reduce_over(b, "sum", squares_over, Loop((to,), to)), freedom)


def _squared_magnitude(b: TypedBuilder, z: Abstract) -> Abstract:
    dtype = b.strong_dtype(z)
    if dtype.kind != "c":
        return b.elementwise("multiply", z, z)
    loop = Loop((dtype,), dtype.part)
    re, im = b.apply("real", (z,), loop), b.apply("imag", (z,), loop)
    return b.elementwise("add", b.elementwise("square", re), b.elementwise("square", im))


def _freedom(b: TypedBuilder, o: Over, count: Abstract, plain: bool, ddof: Abstract) -> Abstract:
    """max(count - ddof, 0), with NumPy's warning where nothing is left."""
    known = ddof.value if isinstance(ddof, Static) else None
    if plain and type(known) is int:
        left = o.count - known
        b.warn("gt", left, 0, "RuntimeWarning", _NO_FREEDOM)
        return number(b, dims.maximum(left, 0), I64)
    _warn_where(b, b.elementwise("greater_equal", ddof, count), _NO_FREEDOM)
    return b.elementwise("maximum", b.elementwise("subtract", count, ddof), Static(0))


def _ddof(b: TypedBuilder, ddof: Abstract, correction: Abstract) -> Abstract:
    if is_default(correction):
        return ddof
    if not (isinstance(ddof, Static) and ddof.value == 0):
        b.fail("ValueError", "ddof and correction can't be provided simultaneously.")
    return correction


def _var(
    b: TypedBuilder, a: Abstract, axis: Abstract = NONE, dtype: Abstract = NONE, out: Abstract = NONE,
    ddof: Abstract = Static(0), keepdims: Abstract = FALSE, *, where: Abstract = TRUE, mean: Abstract = NONE,
    correction: Abstract = NONE,
) -> Abstract:  # fmt: skip
    return finish(b, _var_of(b, a, axis, dtype, _ddof(b, ddof, correction), keepdims, where, mean), out)


def _std(
    b: TypedBuilder, a: Abstract, axis: Abstract = NONE, dtype: Abstract = NONE, out: Abstract = NONE,
    ddof: Abstract = Static(0), keepdims: Abstract = FALSE, *, where: Abstract = TRUE, mean: Abstract = NONE,
    correction: Abstract = NONE,
) -> Abstract:  # fmt: skip
    variance = _var_of(b, a, axis, dtype, _ddof(b, ddof, correction), keepdims, where, mean)
    root, own = b.elementwise("sqrt", variance), b.strong_dtype(variance)
    wide = b.strong_dtype(root)
    if not np.can_cast(wide.numpy, own.numpy, "same_kind"):  # NumPy writes the roots over the variances
        if b.is_array(root):
            name = "numpy._core._exceptions._UFuncOutputCastingError"
            b.fail(name, f"Cannot cast ufunc 'sqrt' output from {wide.numpy!r} to {own.numpy!r} with casting rule 'same_kind'")
            return root
        root = b.cast(root, own)
    return finish(b, root, out)


def _ptp(b: TypedBuilder, a: Abstract, axis: Abstract = NONE, out: Abstract = NONE, keepdims: Abstract = FALSE) -> Abstract:
    o = over(b, a, axis, keepdims)
    _not_empty(b, o, "maximum")
    return finish(b, b.elementwise("subtract", extremum(b, "max", o), extremum(b, "min", o)), out)


# -- NaN left out --------------------------------------------------------------------------------------------------


def _without_nan(rule: Rule, neutral: int) -> Rule:
    """nansum and nanprod: NaN replaced by the neutral element."""

    def nan_rule(b: TypedBuilder, a: Abstract, *args: Abstract, **keywords: Abstract) -> Any:
        x = b.array(a)
        if b.strong_dtype(x).kind not in "fc":
            return rule(b, x, *args, **keywords)
        dtype = b.strong_dtype(x)
        clean = b.apply(
            "select", (b.elementwise("isnan", x), b.as_dtype(Static(neutral), dtype), x), Loop((BOOL, dtype, dtype), dtype)
        )
        return rule(b, clean, *args, **keywords)

    return nan_rule


def _nanmean(
    b: TypedBuilder, a: Abstract, axis: Abstract = NONE, dtype: Abstract = NONE, out: Abstract = NONE,
    keepdims: Abstract = FALSE, *, where: Abstract = TRUE,
) -> Abstract:  # fmt: skip
    x = b.array(a)
    own, given = b.strong_dtype(x), b.dtype_argument(dtype)
    if own.kind not in "fc":
        return _mean(b, x, axis, dtype, out, keepdims, where=where)
    if given is not None and given.kind not in "fc":
        b.fail("TypeError", "If a is inexact, then dtype must be inexact")
    if own.kind == "c" and given is not None and given.kind != "c":
        b.refuse("np.nanmean of complex numbers in a real dtype", "take .real first")
    if isinstance(out, Value) and b.strong_dtype(out) is not (given or own):
        b.refuse("np.nanmean into an `out` of another dtype", "store the result: out[...] = np.nanmean(x)")
    there = b.elementwise("logical_not", b.elementwise("isnan", x))
    there = there if is_true(where) else b.elementwise("logical_and", where, there)
    o, to = over(b, x, axis, keepdims), given or own
    count, _ = _items(b, o, there, o.keepdims)
    total = reduce_over(b, "sum", masked(b, o, there, Static(0)), Loop((to,), to))
    empty = b.elementwise("equal", count, Static(0))
    _warn_where(b, empty, _EMPTY)
    # without 0 / 0: NumPy silences it
    mean = divided(b, total, b.elementwise("maximum", count, Static(1)))
    nan = b.as_dtype(Static(float("nan")), to)
    return finish(b, b.apply("select", (empty, nan, mean), Loop((BOOL, to, to), to)), out)


# -- the rows ------------------------------------------------------------------------------------------------------


def _row(name: str, reduction: ReductionOp, rule: Rule, numpy: Sequence[object]) -> OpDef:
    return OpDef(name, "reduction", tuple(numpy), methods=(name,), reduction=reduction, rule=rule)


def _composed(name: str, rule: Callable[..., Any], numpy: Sequence[object], method: bool = True) -> OpDef:
    return OpDef(name, "function", tuple(numpy), methods=(name,) if method else (), rule=rule)


ROWS: tuple[OpDef, ...] = (
    _row("sum", "sum", _sum_rule("sum", "add", 0), (np.sum,)),
    _row("prod", "prod", _sum_rule("prod", "multiply", 1), (np.prod,)),
    _row("min", "min", _extremum_rule("min", "minimum"), (np.min, np.amin)),
    _row("max", "max", _extremum_rule("max", "maximum"), (np.max, np.amax)),
    _row("any", "or", _logic_rule("any", "logical_or"), (np.any,)),
    _row("all", "and", _logic_rule("all", "logical_and"), (np.all,)),
    _row("argmin", "argmin", _position_rule("argmin"), (np.argmin,)),
    _row("argmax", "argmax", _position_rule("argmax"), (np.argmax,)),
    _composed("count_nonzero", _count_nonzero, (np.count_nonzero,), method=False),
    _composed("mean", _mean, (np.mean,)),
    _composed("var", _var, (np.var,)),
    _composed("std", _std, (np.std,)),
    _composed("ptp", _ptp, (np.ptp,), method=False),
    _composed("nansum", _without_nan(_sum_rule("sum", "add", 0), 0), (np.nansum,), method=False),
    _composed("nanprod", _without_nan(_sum_rule("prod", "multiply", 1), 1), (np.nanprod,), method=False),
    _composed("nanmean", _nanmean, (np.nanmean,), method=False),
)
