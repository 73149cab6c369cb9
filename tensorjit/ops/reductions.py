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
from tensorjit.ir.dtypes import BOOL, F16, F32, F64, I64, U64, DType, from_numpy
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
    if flag is not np._NoValue:
        flag = b.integer(keepdims, "keepdims")
    if not b.rank(x) and isinstance(axis, Static) and axis.value in (0, -1):
        axis = NONE
    return Over(x, b.axes_argument(axis, b.rank(x)), bool(flag) and flag is not np._NoValue)


def is_default(x: Abstract) -> bool:
    return isinstance(x, Static) and (x.value is None or x.value is np._NoValue)


def is_true(x: Abstract) -> bool:
    return isinstance(x, Static) and (x.value is True or x.value is np._NoValue)


def promoted(b: TypedBuilder, dtype: DType, out: Abstract) -> DType:
    """The dtype of a reduction of elements of `dtype`: with an `out`, NumPy's ufuncs promote them to each other."""
    if not b.is_array(out):
        return dtype
    to = b.strong_dtype(out)
    found = from_numpy(np.result_type(dtype.numpy, to.numpy))
    if found is None:
        b.refuse(f"elements of dtype {dtype} reduced into an `out` of dtype {to}", "give the dtype")
    return found


def stored_as(b: TypedBuilder, result: Abstract, out: Abstract) -> Abstract:
    """A result as it comes back from the `out` that it was stored in, before NumPy goes on with it."""
    if not b.is_array(out) or b.strong_dtype(out) is b.strong_dtype(result):
        return result
    _check_casting(b, result, b.strong_dtype(out))
    return b.cast(result, b.strong_dtype(out))


def _check_casting(b: TypedBuilder, result: Abstract, to: DType) -> None:
    own = b.strong_dtype(result)
    if not np.can_cast(own.numpy, to.numpy, "same_kind"):
        b.refuse(f"a result of dtype {own} in an `out` of dtype {to}", "use a wider out")


def finish(b: TypedBuilder, result: Abstract, out: Abstract, unsafe: bool = False) -> Abstract:
    """The result itself, or `out` with the result stored in it."""
    if is_default(out):
        return result
    if not is_output(b, out):
        return result
    target = b.value(out)
    if not unsafe:
        _check_casting(b, result, b.strong_dtype(target))
    what = "output parameter for reduction operation has"
    if has_shape(b, target, b.shape_of(result), f"{what} the wrong number of dimensions", f"{what} a wrong shape"):
        b.store(target, result)
    return target


def is_output(b: TypedBuilder, out: Abstract, what: str = "output array") -> bool:
    """Whether `out` is an array that can be written; an error at run time where it is not."""
    if not isinstance(out, Value) or not isinstance(out.type, ArrayType):
        b.fail("TypeError", "output must be an array")
        return False
    return b.writable(out, what)


def has_shape(b: TypedBuilder, out: Value, shape: Sequence[Dim], rank_message: str, shape_message: str) -> bool:
    """Whether an output has the rank of what is written to it; ValueError at run time where its rank or shape is another."""
    own = b.shape_of(out)
    if len(own) != len(shape):
        b.fail("ValueError", rank_message)
        return False
    for have, want in zip(own, shape, strict=True):
        b.check("eq", have, want, "ValueError", shape_message)
    return True


# -- the kernel's own ----------------------------------------------------------------------------------------------


def reduce_over(b: TypedBuilder, name: str, o: Over, loop: Loop) -> Abstract:
    """One reduction row."""
    _keeps_imaginary(b, o, loop.inputs[0])
    if not _in_numpys_order(b, name, o, loop.output):
        return _by_numpy(b, name, o, loop.output)
    if o.axes:
        return b.reduce(name, o.x, o.axes, o.keepdims, loop)
    cast = b.cast(o.x if b.rank(o.x) else b.load(o.x), loop.output)
    return cast if b.is_array(cast) else b.cast_scalar(b.value(cast), ScalarType(loop.output))


def _keeps_imaginary(b: TypedBuilder, o: Over, dtype: DType) -> None:
    if b.strong_dtype(o.x).kind == "c" and dtype.kind not in "cb":
        b.refuse("complex numbers reduced in a real dtype, which drops their imaginary parts", "take .real first")


def _in_numpys_order(b: TypedBuilder, name: str, o: Over, dtype: DType) -> bool:
    """Whether a kernel takes the elements as NumPy does, where the order decides what overflows: in products of floats, and in
    what is rounded to f16 on the way. Both are taken as they lie in memory."""
    if dtype.kind not in "fc" or name not in ("sum", "prod"):
        return True
    sized = [k for k, d in enumerate(o.shape) if d != 1]
    axes = [k for k in o.axes if k in sized]
    layout = o.x.type.layout if isinstance(o.x.type, ArrayType) else "C"
    if dtype is not F16:
        return name == "sum" or len(axes) < 2 or layout != "A"
    if b.strong_dtype(o.x) is not F16:  # cast through a buffer, and rounded once for each
        return False
    if len(sized) < 2 or not axes:
        return True
    # rows are rounded one by one: either all are added side by side, or all that is reduced is one row
    inner = sized if layout == "C" else sized[::-1]
    return layout != "A" and (inner[-1] not in axes or sorted(inner[-len(axes) :]) == axes)


def _by_numpy(b: TypedBuilder, name: str, o: Over, dtype: DType, **given: Abstract) -> Value:
    """NumPy's own sum or product; `given` are arguments that may be known at run time only."""
    keywords = {"name": name, "axis": o.axes, "keepdims": o.keepdims, "dtype": dtype.numpy.name}
    names = tuple(k for k, v in given.items() if not is_default(v) and not (k == "where" and is_true(v)))
    values = [b.array(given[k]) if k == "where" else b.value(b.as_dtype(given[k], dtype)) for k in names]
    return b.library("tensorjit.runtime.reducing.reduce", (o.x, *values), _result_of(o, dtype), given=names, **keywords)


def _starts_in_order(b: TypedBuilder, name: str, o: Over, dtype: DType, initial: Abstract, where: Abstract) -> bool:
    """Whether `initial` may come last and what `where` leaves out be neutral, in NumPy's order."""
    if dtype.kind not in "fc":
        return True
    if dtype is F16 and not is_true(where):  # each run of elements that count is rounded
        return False
    neutral = isinstance(initial, Static) and initial.value == (name == "prod")
    whole = len(o.axes) == len(o.shape) and isinstance(o.x.type, ArrayType) and o.x.type.layout != "A"
    return is_default(initial) or neutral or (name == "sum" and whole and is_true(where))


def mask_of(b: TypedBuilder, where: Abstract) -> Value:
    """A `where=`: an array of another dtype than bool is a TypeError, a Python number counts as its truth."""
    mask = b.array(where)
    own = b.strong_dtype(mask)
    if own is not BOOL and b.is_array(where):
        what = "array data" if b.rank(mask) else "scalar"
        b.fail("TypeError", f"Cannot cast {what} from {own.numpy!r} to dtype('bool') according to the rule 'safe'")
    return mask


def masked(b: TypedBuilder, o: Over, where: Abstract, neutral: Abstract) -> Over:
    """The operand with the neutral element where `where` does not hold."""
    if is_true(where):
        return o
    mask, dtype = mask_of(b, where), b.strong_dtype(o.x)
    picked = b.apply("select", (mask, o.x, b.as_dtype(neutral, dtype)), Loop((BOOL, dtype, dtype), dtype))
    return Over(b.as_array(picked), o.axes, o.keepdims)


def accumulator(b: TypedBuilder, dtype: DType, given: DType | None, out: Abstract) -> DType:
    """The dtype in which sum and prod work: without an `out`, integers shorter than 64 bits in 64."""
    if given is not None:
        return given
    if b.is_array(out):
        return promoted(b, dtype, out)
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
        o = over(b, a, axis, keepdims)
        to = accumulator(b, b.strong_dtype(o.x), b.dtype_argument(dtype), out)
        if not _starts_in_order(b, name, o, to, initial, where):
            _keeps_imaginary(b, o, to)
            return finish(b, _by_numpy(b, name, o, to, where=where, initial=initial), out)
        o = masked(b, o, where, Static(neutral))
        if to is BOOL:  # NumPy adds and multiplies bools by logic
            result = reduce_over(b, "any" if name == "sum" else "all", o, Loop((BOOL,), BOOL))
        else:
            result = reduce_over(b, name, o, Loop((to,), to))
        return finish(b, _with_initial(b, ufunc, result, initial, to), out)

    return rule


def _extremum_rule(name: str, ufunc: str) -> Rule:
    def rule(
        b: TypedBuilder, a: Abstract, axis: Abstract = NONE, out: Abstract = NONE, keepdims: Abstract = FALSE,
        initial: Abstract = NO_VALUE, where: Abstract = TRUE,
    ) -> Abstract:  # fmt: skip
        o = over(b, a, axis, keepdims)
        dtype = _extremum_dtype(b, o, out)
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
            own = b.strong_dtype(o.x)
            return finish(b, _call(b, f"numpy.{name}", o, own, **keywords), out)
        return finish(b, _with_initial(b, ufunc, extremum(b, name, o, dtype), initial, dtype), out)

    return rule


def _extremum_dtype(b: TypedBuilder, o: Over, out: Abstract) -> DType:
    """The dtype in which min and max compare."""
    own = b.strong_dtype(o.x)
    to = promoted(b, own, out)
    narrow = to is not own or (b.is_array(out) and b.strong_dtype(out) is not own)
    if narrow and to.kind != "f" and b.strong_dtype(out) is not to:  # what wraps has no order: NumPy's result depends on its buffers
        b.refuse(f"the extremum of elements of dtype {own} in an `out` of dtype {b.strong_dtype(out)}", "use a wider out")
    return to


def extremum(b: TypedBuilder, name: str, o: Over, dtype: DType) -> Abstract:
    """min or max, compared in a dtype, of what is known not to be empty."""
    if dtype is BOOL:
        return reduce_over(b, "all" if name == "min" else "any", o, Loop((BOOL,), BOOL))
    if dtype.kind == "c":
        own = b.strong_dtype(o.x)
        if own.kind != "c":
            return b.cast(extremum(b, name, o, own), dtype)
        return _call(b, f"numpy.{name}", o, own, axis=o.axes, keepdims=o.keepdims)
    return reduce_over(b, name, o, Loop((dtype,), dtype))


def _result_of(o: Over, dtype: DType) -> ArrayType | ScalarType:
    """The type of what NumPy's own reduction gives."""
    shape = tuple(1 if k in o.axes else d for k, d in enumerate(o.shape) if o.keepdims or k not in o.axes)
    dense = isinstance(o.x.type, ArrayType) and o.x.type.layout == "C"
    return ArrayType(dtype, shape, "C" if dense or len(shape) < 2 else "A") if shape else ScalarType(dtype)


def _call(b: TypedBuilder, function: str, o: Over, dtype: DType, **keywords: Any) -> Value:
    """NumPy's own reduction."""
    return b.library(function, (o.x,), _result_of(o, dtype), **keywords)


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
        o = over(b, a, axis, Static(bool(b.static(keepdims, "keepdims"))))
        dtype = b.strong_dtype(o.x)
        b.check("gt", o.count, 0, "ValueError", f"attempt to get {name} of an empty sequence")
        if b.is_array(out) and not np.can_cast(to := b.strong_dtype(out).numpy, np.int64, "safe"):
            b.fail("TypeError", f"Cannot cast array data from {to!r} to dtype('int64') according to the rule 'safe'")
            return out
        if not o.axes:
            return finish(b, Static(np.int64(0)), out, unsafe=True)
        if dtype.kind == "c":
            keywords = {"axis": None if len(o.axes) == len(o.shape) else o.axes[0], "keepdims": o.keepdims}
            return finish(b, _call(b, f"numpy.{name}", o, I64, **keywords), out, unsafe=True)
        key = F32 if dtype is F16 else dtype
        return finish(b, b.reduce(name, o.x, o.axes, o.keepdims, Loop((key,), I64)), out, unsafe=True)

    return rule


# -- composed ------------------------------------------------------------------------------------------------------


def _warn_where(b: TypedBuilder, condition: Abstract, message: str) -> None:
    """Warn, at run time, if a condition holds anywhere."""
    array = b.as_array(condition)
    times = reduce_over(b, "sum", Over(array, tuple(range(b.rank(array))), False), Loop((I64,), I64))
    b.warn("eq", b.dim(times), 0, "RuntimeWarning", message)


def _count_nonzero(b: TypedBuilder, a: Abstract, axis: Abstract = NONE, *, keepdims: Abstract = FALSE) -> Abstract:
    o = over(b, a, axis, FALSE if is_default(keepdims) else keepdims)
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
    to = F32 if half else work or promoted(b, own, out)
    total = stored_as(b, reduce_over(b, "sum", masked(b, o, where, Static(0)), Loop((to,), to)), out)
    if half and is_default(out) and not b.is_array(total):
        return b.cast(b.elementwise("divide", total, count), F16)
    mean = divided(b, total, count)
    return finish(b, b.cast(mean, F16) if half and is_default(out) else mean, out)


def _var_of(
    b: TypedBuilder, a: Abstract, axis: Abstract, dtype: Abstract, ddof: Abstract, keepdims: Abstract,
    where: Abstract, mean: Abstract, out: Abstract,
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
    to = work or promoted(b, b.strong_dtype(squares), out)
    squares_over = masked(b, Over(b.as_array(squares), o.axes, o.keepdims), where, Static(0))
    return divided(b, stored_as(b, reduce_over(b, "sum", squares_over, Loop((to,), to)), out), freedom)


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
    return finish(b, _var_of(b, a, axis, dtype, _ddof(b, ddof, correction), keepdims, where, mean, out), out)


def _std(
    b: TypedBuilder, a: Abstract, axis: Abstract = NONE, dtype: Abstract = NONE, out: Abstract = NONE,
    ddof: Abstract = Static(0), keepdims: Abstract = FALSE, *, where: Abstract = TRUE, mean: Abstract = NONE,
    correction: Abstract = NONE,
) -> Abstract:  # fmt: skip
    variance = _var_of(b, a, axis, dtype, _ddof(b, ddof, correction), keepdims, where, mean, out)
    root, own = b.elementwise("sqrt", variance), b.strong_dtype(variance)
    wide = b.strong_dtype(root)
    if wide is not own:  # NumPy writes the roots over the variances
        if b.is_array(root) and not fits_output(b, "sqrt", root, own):
            return root
        root = b.cast(root, own)
    return finish(b, root, out)


def fits_output(b: TypedBuilder, ufunc: str, result: Abstract, to: DType) -> bool:
    """Whether a ufunc of NumPy's may write its result to an array of a dtype; it raises at run time where not."""
    own = b.strong_dtype(result).numpy
    if np.can_cast(own, to.numpy, "same_kind"):
        return True
    name = "numpy._core._exceptions._UFuncOutputCastingError"
    b.fail(name, f"Cannot cast ufunc '{ufunc}' output from {own!r} to {to.numpy!r} with casting rule 'same_kind'")
    return False


def _ptp(b: TypedBuilder, a: Abstract, axis: Abstract = NONE, out: Abstract = NONE, keepdims: Abstract = FALSE) -> Abstract:
    o = over(b, a, axis, keepdims)
    _not_empty(b, o, "maximum")
    # NumPy keeps the maximum in `out`: where that is a part of `a`, the minimum is that of what then is there
    most = finish(b, stored_as(b, extremum(b, "max", o, _extremum_dtype(b, o, out)), out), out)
    return finish(b, b.elementwise("subtract", most, extremum(b, "min", o, b.strong_dtype(o.x))), out)


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
    if b.is_array(out) and b.strong_dtype(out).kind not in "fc":
        b.fail("TypeError", "If a is inexact, then out must be inexact")
        return out
    there = b.elementwise("logical_not", b.elementwise("isnan", x))
    there = there if is_true(where) else b.elementwise("logical_and", where, there)
    o, to = over(b, x, axis, keepdims), given or promoted(b, own, out)
    count, _ = _items(b, o, there, o.keepdims)
    total = stored_as(b, reduce_over(b, "sum", masked(b, o, there, Static(0)), Loop((to,), to)), out)
    to = b.strong_dtype(total)
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
