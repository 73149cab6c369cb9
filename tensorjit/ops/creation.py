"""Fresh arrays: zeros, full, arange, linspace, eye, array, and their like."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import F16, F32, F64, I64, U64, DType
from tensorjit.ir.graph import Value
from tensorjit.ir.types import ArrayType, Layout, ScalarType
from tensorjit.ops.abstract import Abstract, Sequence_, Static, SymInt
from tensorjit.ops.opdef import OpDef, Rule, function_row
from tensorjit.ops.python_scalars import is_python

if TYPE_CHECKING:
    from tensorjit.ops.typed import TypedBuilder

NONE = Static(None)
FLOAT = Static(float)


def _only(b: TypedBuilder, name: str, value: Abstract, *allowed: Any) -> None:
    """Refuse a keyword that is not at one of the values which mean what is built here."""
    given = b.static(value, name)
    if not any(given is one or (isinstance(given, (str, int)) and given == one) for one in allowed):
        b.refuse(f"the keyword {name}={given!r}", f"leave {name} out")


def _layout(b: TypedBuilder, order: Abstract, like: Value | None = None) -> Layout:
    """The layout that an `order=` asks for; "K" and "A" keep a Fortran layout."""
    chosen = b.static(order, "order")
    if chosen in ("K", "A") and like is not None:
        assert isinstance(like.type, ArrayType)
        if like.type.layout == "A" and like.type.rank > 1 and chosen == "K":
            return "C"  # NumPy would keep the order of the strides; the values are the same
        return "F" if like.type.layout == "F" else "C"
    if chosen not in ("C", "F", None, "K", "A"):
        b.fail("ValueError", f"order must be one of 'C', 'F', 'A', or 'K' (got '{chosen}')")
    return "F" if chosen == "F" else "C"


def _filled(value: float | None) -> Rule:
    def rule(
        b: TypedBuilder, shape: Abstract, dtype: Abstract = FLOAT, order: Abstract = Static("C"), *,
        device: Abstract = NONE, like: Abstract = NONE,
    ) -> Abstract:  # fmt: skip
        _only(b, "device", device, None, "cpu")
        _only(b, "like", like, None)
        to = b.dtype_argument(dtype) or F64
        return _make(b, b.shape_argument(shape), value, to, _layout(b, order))

    return rule


def _make(b: TypedBuilder, shape: tuple[Dim, ...], value: float | None, dtype: DType, layout: Layout) -> Value:
    if value is None:
        return b.empty(shape, dtype, layout)
    return b.full(shape, Static(dtype.numpy.type(value)), dtype, layout)


def _filled_like(value: float | None) -> Rule:
    def rule(
        b: TypedBuilder, a: Abstract, dtype: Abstract = NONE, order: Abstract = Static("K"),
        subok: Abstract = Static(True), shape: Abstract = NONE, *, device: Abstract = NONE,
    ) -> Abstract:  # fmt: skip
        _only(b, "device", device, None, "cpu")
        _only(b, "subok", subok, True, False)
        size, to, layout = _like(b, a, dtype, order, shape)
        return _make(b, size, value, to, layout)

    return rule


def _like(b: TypedBuilder, a: Abstract, dtype: Abstract, order: Abstract, shape: Abstract) -> tuple[tuple[Dim, ...], DType, Layout]:
    """The shape, dtype and layout of a new array like a, where the arguments do not say otherwise."""
    like = b.array(a)
    same = isinstance(shape, Static) and shape.value is None
    size = b.shape_of(like) if same else b.shape_argument(shape)
    to = b.dtype_argument(dtype) or b.strong_dtype(like)
    return size, to, _layout(b, order, like if len(size) == b.rank(like) else None)


def _full(
    b: TypedBuilder, shape: Abstract, fill_value: Abstract, dtype: Abstract = NONE, order: Abstract = Static("C"), *,
    device: Abstract = NONE, like: Abstract = NONE,
) -> Abstract:  # fmt: skip
    _only(b, "device", device, None, "cpu")
    _only(b, "like", like, None)
    return _full_of(b, b.shape_argument(shape), fill_value, b.dtype_argument(dtype), _layout(b, order))


def _full_like(
    b: TypedBuilder, a: Abstract, fill_value: Abstract, dtype: Abstract = NONE, order: Abstract = Static("K"),
    subok: Abstract = Static(True), shape: Abstract = NONE, *, device: Abstract = NONE,
) -> Abstract:  # fmt: skip
    _only(b, "device", device, None, "cpu")
    _only(b, "subok", subok, True, False)
    size, to, layout = _like(b, a, dtype, order, shape)
    return _full_of(b, size, fill_value, to, layout)


def _full_of(b: TypedBuilder, shape: tuple[Dim, ...], fill: Abstract, dtype: DType | None, layout: Layout) -> Value:
    """np.full copies with casting="unsafe": a number is converted without a check."""
    fill = array_like(b, fill)
    to = dtype or b.strong_dtype(fill)
    if b.rank(fill):
        out = b.empty(shape, to, layout)
        b.store(out, fill)
        return out
    scalar = b.load(b.value(fill)) if b.is_array(fill) else fill
    if b.dtype_of(scalar) is int and to.kind in "iu":
        return b.full(shape, scalar, to, layout)  # a Python int is checked to fit
    return b.full(shape, b.as_dtype(scalar, to), to, layout)


# -- ranges --------------------------------------------------------------------------------------------------------


def _arange(
    b: TypedBuilder, start: Abstract, stop: Abstract = NONE, step: Abstract = NONE, dtype: Abstract = NONE, *,
    device: Abstract = NONE, like: Abstract = NONE,
) -> Abstract:  # fmt: skip
    _only(b, "device", device, None, "cpu")
    _only(b, "like", like, None)
    if isinstance(stop, Static) and stop.value is None:
        start, stop = Static(0), start
    if isinstance(step, Static) and step.value is None:
        step = Static(1)
    given = b.dtype_argument(dtype)
    ends = [b.load(b.value(v)) if b.is_array(v) and not b.rank(v) else v for v in (start, stop, step)]
    if any(b.rank(v) for v in ends):
        b.refuse("np.arange of an array", "pass numbers")
    own = b.strong_common_dtype((Static(0), *ends))
    to = given or own
    for v in ends:
        if b.dtype_of(v) is int and b.strong_dtype(v) is not I64 and to is not U64:
            b.refuse("np.arange of an integer that does not fit 64 bits", "give dtype=np.uint64")
    if own.kind in "iu" and to.kind in "iuf" and isinstance(step, Static):
        return _whole_range(b, ends[0], ends[1], int(step.value), to)
    if all(isinstance(v, Static) for v in ends) and to.kind in "iuf":
        first, last, by = (v.value for v in ends if isinstance(v, Static))
        return _known_range(b, first, last, by, to)
    return _measured_range(b, ends, to, given)


def _whole_range(b: TypedBuilder, start: Abstract, stop: Abstract, step: int, dtype: DType) -> Abstract:
    if step == 0:
        b.fail("ZeroDivisionError", "division by zero")
        return b.empty((0,), dtype)
    length = dims.slice_length(b.dim(start), b.dim(stop), step)
    if dtype.kind in "iu":
        _check_two(b, start, step, length, dtype)
    work = {F16: F32}.get(dtype, dtype)
    first = b.as_dtype(start, work)
    if isinstance(first, SymInt):
        first = b.cast_scalar(b.value(first), ScalarType(work))
    pace = b.as_dtype(Static(step), work)  # wraps: NumPy takes it as a difference in the dtype
    result = b.iota(length, first, pace, work)
    return result if work is dtype else b.cast(result, dtype)


def _check_two(b: TypedBuilder, start: Abstract, step: int, length: Dim, dtype: DType) -> None:
    """NumPy stores the first two numbers, as far as there are any, and these must fit; the others wrap."""
    if b.dtype_of(start) is not int:
        return
    info = np.iinfo(dtype.numpy)
    message = f"Python integer {{}} out of bounds for {dtype.numpy.name}"
    first = b.dim(start) * dims.minimum(length, 1)
    for number in (first, first + step * dims.minimum(dims.maximum(length - 1, 0), 1)):
        b.check("ge", number, int(info.min), "OverflowError", message, (number,))
        if dtype not in (I64, U64):
            b.check("ge", int(info.max), number, "OverflowError", message, (number,))


def _known_range(b: TypedBuilder, start: Any, stop: Any, step: Any, dtype: DType) -> Abstract:
    """NumPy fills first + k * (second - first), the difference taken in the dtype."""
    if step == 0:
        b.fail("ZeroDivisionError", "division by zero")
        return b.empty((0,), dtype)
    length = _count(b, start, stop, step)
    real = {F16: F32}.get(dtype, dtype)
    first, second = real.numpy.type(dtype.numpy.type(start)), real.numpy.type(dtype.numpy.type(start + step))
    result = b.iota(length, Static(first), Static(second - first), real)
    return result if real is dtype else b.cast(result, dtype)


def _count(b: TypedBuilder, start: Any, stop: Any, step: Any) -> int:
    """How many numbers a range of known ends has."""
    if any(isinstance(v, (complex, np.complexfloating)) for v in (start, stop, step)):
        b.refuse("np.arange of complex numbers", "use a range of floats")
    with np.errstate(all="ignore"):
        quotient = (stop - start) / step
    if quotient != quotient:
        b.fail("ValueError", "arange: cannot compute length")
    elif abs(quotient) > 2.0**63:
        b.fail("ValueError", "Maximum allowed size exceeded")
    else:
        return max(math.ceil(quotient), 0) if abs(quotient) < 2.0**63 else 0
    return 0


def _measured_range(b: TypedBuilder, ends: list[Abstract], to: DType, given: DType | None) -> Abstract:
    """A float range whose length is known at run time only: NumPy makes it."""
    length = b.symbol("n")
    keywords: dict[str, Any] = {} if given is None else {"dtype": given.numpy.name}
    return b.library("numpy.arange", [b.value(v) for v in ends], ArrayType(to, (length,)), **keywords)


def _linspace(
    b: TypedBuilder, start: Abstract, stop: Abstract, num: Abstract = Static(50), endpoint: Abstract = Static(True),
    retstep: Abstract = Static(False), dtype: Abstract = NONE, axis: Abstract = Static(0), *,
    device: Abstract = NONE,
) -> Any:  # fmt: skip
    """`numpy/_core/function_base.py`, for numbers."""
    _only(b, "device", device, None, "cpu")
    _only(b, "axis", axis, 0)
    ends = [b.load(b.value(v)) if b.is_array(v) and not b.rank(v) else v for v in (start, stop)]
    if any(b.rank(v) for v in ends):
        b.refuse("np.linspace between arrays", "use numbers")
    count = b.dim(num)
    b.check("ge", count, 0, "ValueError", "Number of samples, {}, must be non-negative.", (count,))
    count = max(count, 0) if isinstance(count, int) else count
    closed = bool(b.static(endpoint, "endpoint"))
    given, step_too = b.dtype_argument(dtype), bool(b.static(retstep, "retstep"))
    work = b.common_dtype((*ends, Static(0.0)))
    if b.common_dtype(ends).kind in "biu" or all(b.dtype_of(v) in (int, float) for v in ends):
        work = F64 if work.kind != "c" else work
    return _samples(b, ends, count, closed, work, given, step_too)


def _samples(
    b: TypedBuilder, ends: list[Abstract], count: Dim, closed: bool, work: DType, given: DType | None, step_too: bool
) -> Any:
    if not isinstance(count, int) or count <= 1 or work.kind == "c":
        keywords: dict[str, Any] = {"endpoint": closed, "retstep": step_too}
        if given is not None:
            keywords["dtype"] = given.numpy.name
        if step_too:
            b.refuse("np.linspace with retstep and a number of samples that is not known", "compute the step")
        number = [b.value(b.int_of(count))]
        return b.library("numpy.linspace", [*map(b.value, ends), *number], ArrayType(given or work, (count,)), **keywords)
    division = count - 1 if closed else count
    start, stop = (b.as_dtype(v, work) if not b.is_array(v) else v for v in ends)
    delta = b.elementwise("subtract", stop, start)
    step = b.elementwise("divide", delta, Static(division))
    steps = b.iota(count, Static(work.numpy.type(0)), Static(work.numpy.type(1)), work)
    # NumPy multiplies by the step, unless it underflows to 0: then it divides last
    null = b.elementwise("equal", step, Static(0))
    scaled = b.where(
        null,
        b.elementwise("multiply", b.elementwise("divide", steps, Static(division)), delta),
        b.elementwise("multiply", steps, step),
    )
    result = b.elementwise("add", scaled, start)
    if closed:
        b.store(b.view(b.value(result), (), (), (count - 1,)), stop)
    to = given or work
    if to.kind in "iu":
        result = b.elementwise("floor", result)
    result = result if to is work else b.cast(result, to)
    return Sequence_((result, step)) if step_too else result


def _eye(
    b: TypedBuilder, N: Abstract, M: Abstract = NONE, k: Abstract = Static(0), dtype: Abstract = FLOAT,
    order: Abstract = Static("C"), *, device: Abstract = NONE, like: Abstract = NONE,
) -> Abstract:  # fmt: skip
    _only(b, "device", device, None, "cpu")
    _only(b, "like", like, None)
    rows = b.dim(N)
    columns = rows if isinstance(M, Static) and M.value is None else b.dim(M)
    to = b.dtype_argument(dtype) or F64
    rows, columns = b.lengths((rows, columns), to)
    column = b.iota(columns, Static(np.int64(0)), Static(np.int64(1)), I64)
    row = b.iota(rows, Static(np.int64(0)), Static(np.int64(1)), I64)
    shift = Static(b.integer(k, "k")) if isinstance(k, Static) else b.int_of(b.dim(k))
    diagonal = b.elementwise("add", row, shift)
    on = b.elementwise("equal", b.view(b.value(diagonal), (rows, 1), ((0, 1), (None, 0))), column)
    result = b.cast(on, to)
    return b.copy(b.value(result), "F") if _layout(b, order) == "F" else result


def _identity(b: TypedBuilder, n: Abstract, dtype: Abstract = FLOAT, *, like: Abstract = NONE) -> Abstract:
    return _eye(b, n, dtype=dtype, like=like)


# -- from values ---------------------------------------------------------------------------------------------------


def array_like(b: TypedBuilder, x: Abstract, dtype: DType | None = None) -> Abstract:
    """x itself, or the fresh array that a (nested) sequence of numbers or arrays makes."""
    if not isinstance(x, Sequence_):
        return x
    shape = _nested_shape(b, x)
    leaves = list(_leaves(b, x))
    if dtype is None:
        dtype = b.strong_common_dtype(leaves) if leaves else F64
    out = b.empty(shape, dtype)
    for index, leaf in _positions(b, x):
        rest = shape[len(index) :]
        axes = tuple((len(index) + j, 1) for j in range(len(rest)))
        b.store(b.view(out, rest, axes, (*index, *(0 for _ in rest))), leaf)
    return out


def _nested_shape(b: TypedBuilder, x: Abstract) -> tuple[Dim, ...]:
    if not isinstance(x, Sequence_):
        return b.shape_of(x)
    if not x.items:
        return (0,)
    inner = [_nested_shape(b, item) for item in x.items]
    for other in inner[1:]:
        message = "setting an array element with a sequence. The requested array has an inhomogeneous shape"
        if len(other) != len(inner[0]):
            b.refuse("an array of sequences of different depths", message)
        for p, q in zip(inner[0], other, strict=True):
            b.check("eq", p, q, "ValueError", message)
    return (len(x.items), *inner[0])


def _leaves(b: TypedBuilder, x: Abstract) -> Any:
    if isinstance(x, Sequence_):
        for item in x.items:
            yield from _leaves(b, item)
    else:
        yield x


def _positions(b: TypedBuilder, x: Abstract, at: tuple[int, ...] = ()) -> Any:
    if isinstance(x, Sequence_):
        for k, item in enumerate(x.items):
            yield from _positions(b, item, (*at, k))
    else:
        yield at, x


def _array(
    b: TypedBuilder, object: Abstract, dtype: Abstract = NONE, *, copy: Abstract = Static(True),  # noqa: A002
    order: Abstract = Static("K"), subok: Abstract = Static(False), ndmin: Abstract = Static(0), ndmax: Abstract = Static(0),
    like: Abstract = NONE,
) -> Abstract:  # fmt: skip
    _only(b, "like", like, None)
    _only(b, "subok", subok, False, True)
    _only(b, "ndmax", ndmax, 0)
    result = _converted(b, object, dtype, order, copy)
    missing = b.integer(ndmin, "ndmin") - b.rank(result)
    if missing > 0:
        shape = b.shape_of(result)
        axes = [(None, 0)] * missing + [(k, 1) for k in range(len(shape))]
        return b.view(b.value(result), (1,) * missing + shape, axes)
    return result


def copying(b: TypedBuilder, copy: Abstract) -> bool | None:
    """A `copy=` argument: always, never, or (None) where it has to be."""
    given = b.static(copy, "copy")
    if isinstance(given, str):
        b.fail("ValueError", "strings are not allowed for 'copy' keyword. Use True/False/None instead.")
        return None
    if isinstance(given, Enum):
        return {"ALWAYS": True, "NEVER": False, "IF_NEEDED": None}[given.name]
    return None if given is None else bool(given)


def _never_message() -> str:
    try:
        np.array(1, copy=False)
    except ValueError as error:
        return str(error)
    return ""


_NEVER = _never_message()  # NumPy's own: it has addresses of pages that change


def _converted(b: TypedBuilder, x: Abstract, dtype: Abstract, order: Abstract, copied: Abstract) -> Abstract:
    to, copy = b.dtype_argument(dtype), copying(b, copied)
    if copy is False and not b.is_array(x):
        b.fail("ValueError", _NEVER)
    if isinstance(x, Sequence_):
        fresh = array_like(b, x, to)
        return b.copy(b.value(fresh), "F") if _layout(b, order) == "F" else fresh
    if not b.is_array(x):
        own = to or b.strong_dtype(x)
        if b.dtype_of(x) is int and own.kind in "iu":
            return b.full((), x, own)
        return b.full((), b.as_dtype(x, own), own)
    value = b.value(x)
    assert isinstance(value.type, ArrayType)
    layout = _layout(b, order, value)
    wants = b.static(order, "order") in ("C", "F") and not _has_layout(value.type, layout)
    changed = to is not None and to is not value.type.dtype
    if copy is False and (changed or wants):
        b.fail("ValueError", _NEVER)
        return value
    if changed:
        assert to is not None
        result = b.value(b.cast(value, to))
        return b.copy(result, layout) if isinstance(result.type, ArrayType) and result.type.layout != layout else result
    if wants and copy is not True and value.type.layout == "A":  # only a look at the strides tells: NumPy's
        named: dict[str, Any] = {"function": "numpy.asarray", "keywords": {"order": layout}}
        return b.share("library", value, value.type.dtype, value.type.shape, layout, **named)
    return b.copy(value, layout) if copy is True or wants else value


def _has_layout(t: ArrayType, layout: Layout) -> bool:
    """Whether an array is known to be contiguous in that order."""
    return t.layout == layout or (t.layout != "A" and sum(d != 1 for d in t.shape) < 2)


def _asarray(
    b: TypedBuilder, a: Abstract, dtype: Abstract = NONE, order: Abstract = Static("K"), *, device: Abstract = NONE,
    copy: Abstract = NONE, like: Abstract = NONE,
) -> Abstract:  # fmt: skip
    _only(b, "device", device, None, "cpu")
    _only(b, "like", like, None)
    return _converted(b, a, dtype, order, copy)


def _contiguous(order: Layout) -> Rule:
    def rule(b: TypedBuilder, a: Abstract, dtype: Abstract = NONE, *, like: Abstract = NONE) -> Abstract:
        _only(b, "like", like, None)
        result = b.value(_converted(b, a, dtype, Static(order), NONE))
        return result if b.rank(result) else b.view(result, (1,), ((None, 0),))

    return rule


def _copy(b: TypedBuilder, a: Abstract, order: Abstract = Static("K"), subok: Abstract = Static(False)) -> Abstract:
    _only(b, "subok", subok, False)
    return _converted(b, a, NONE, order, Static(True))


def _copy_method(b: TypedBuilder, a: Abstract, order: Abstract = Static("C")) -> Abstract:
    if not b.is_array(a):
        return a
    return _converted(b, a, NONE, order, Static(True))


def _astype_of_numbers() -> tuple[str, str]:
    try:
        np.astype(0, np.float32)  # type: ignore[call-overload]
    except (AttributeError, TypeError) as error:
        return type(error).__name__, str(error)
    return "TypeError", "Input should be a NumPy array."


_ASTYPE_OF_NUMBERS = _astype_of_numbers()  # another class, and another text, from version to version


def _astype(
    b: TypedBuilder, x: Abstract, dtype: Abstract, order: Abstract = Static("K"), casting: Abstract = Static("unsafe"),
    subok: Abstract = Static(True), copy: Abstract = Static(True), *, device: Abstract = NONE,
) -> Abstract:  # fmt: skip
    _only(b, "device", device, None, "cpu")
    _only(b, "subok", subok, True, False)
    to = b.dtype_argument(dtype) or F64
    if isinstance(x, Sequence_) or is_python(x):
        b.fail(*_ASTYPE_OF_NUMBERS)
        return Static(np.float64(0))
    own, rule = b.strong_dtype(x), b.static(casting, "casting")
    if rule == "same_value":
        b.refuse("a cast with casting='same_value'", "compare, then cast with 'unsafe'")
    if not b.may_cast(own.numpy, to.numpy, rule):
        message = f"Cannot cast array data from {own.numpy!r} to {to.numpy!r} according to the rule '{rule}'"
        b.fail("TypeError", message)
    if own.kind == "c" and to.kind not in "cb":
        b.refuse("a complex array cast to a real dtype, which drops its imaginary part", "take .real first")
    if not b.is_array(x):
        return b.cast_scalar(b.value(x), ScalarType(to))
    if own is to and not b.static(copy, "copy"):
        return _converted(b, x, NONE, order, NONE)
    result = b.value(b.cast(x, to))
    layout = _layout(b, order, b.value(x))
    return b.copy(result, layout) if isinstance(result.type, ArrayType) and result.type.layout != layout else result


def _fill(b: TypedBuilder, x: Abstract, value: Abstract) -> Abstract:
    if b.is_array(x):  # of a NumPy scalar, NumPy fills the array that it makes of it
        b.store(b.value(x), value)
    return NONE


# -- the rows ------------------------------------------------------------------------------------------------------


def _since(name: str) -> tuple[object, ...]:
    """A function that not every supported NumPy has."""
    return (getattr(np, name),) if hasattr(np, name) else ()


ROWS: tuple[OpDef, ...] = (
    function_row("zeros", _filled(0.0), np.zeros),
    function_row("ones", _filled(1.0), np.ones),
    function_row("empty_array", _filled(None), np.empty),
    function_row("zeros_like", _filled_like(0.0), np.zeros_like),
    function_row("ones_like", _filled_like(1.0), np.ones_like),
    function_row("empty_like", _filled_like(None), np.empty_like),
    function_row("full_array", _full, np.full),
    function_row("full_like", _full_like, np.full_like),
    function_row("arange", _arange, np.arange),
    function_row("linspace", _linspace, np.linspace),
    function_row("eye", _eye, np.eye),
    function_row("identity", _identity, np.identity),
    function_row("array", _array, np.array),
    function_row("asarray", _asarray, np.asarray, np.asanyarray),
    function_row("ascontiguousarray", _contiguous("C"), np.ascontiguousarray),
    function_row("asfortranarray", _contiguous("F"), np.asfortranarray),
    function_row("copy_array", _copy, np.copy),
    function_row("copy_method", _copy_method, methods=("copy",)),
    function_row("astype", _astype, *_since("astype"), methods=("astype",)),
    function_row("fill", _fill, methods=("fill",)),
)
