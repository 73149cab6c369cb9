"""Shapes and what is built by views and stores: reshape, transpose, concatenate, flip, where, clip, matrix products, ...

Matrix products, sorting and cumulative sums are calls of NumPy's own functions with a known result type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import BOOL, F16, F64, I32, I64, DType
from tensorjit.ir.graph import Value
from tensorjit.ir.types import ArrayType, ScalarType, Type
from tensorjit.ops.abstract import Abstract, Sequence_, Static
from tensorjit.ops.creation import copying
from tensorjit.ops.opdef import Loop, OpDef, Rule, function_row
from tensorjit.ops.outputs import written
from tensorjit.ops.python_scalars import is_python
from tensorjit.ops.reductions import accumulator, finish, fits_output, has_shape, is_default, is_output
from tensorjit.ops.words import describe

if TYPE_CHECKING:
    from tensorjit.ops.typed import TypedBuilder

NONE = Static(None)
NO_VALUE = Static(np._NoValue)
MINUS_ONE = Static(-1)
SAME_KIND = Static("same_kind")


def _shape(x: Value) -> tuple[Dim, ...]:
    assert isinstance(x.type, ArrayType)
    return x.type.shape


def _text(shape: Sequence[Dim]) -> str:
    return "(" + ",".join("{}" for _ in shape) + ("," if len(shape) == 1 else "") + ")"


def _axis(b: TypedBuilder, axis: Abstract, rank: int, what: str = "", bools: bool = True) -> int:
    """One axis; AxisError where it is out of range, its message beginning with `what`. Some functions take no bool for one."""
    value = b.static(axis, "axis")
    if not isinstance(value, (int, np.integer)):
        b.fail("TypeError", f"'{type(value).__name__}' object cannot be interpreted as an integer")
        return 0
    if isinstance(value, bool) and not bools:
        b.fail("TypeError", "an integer is required for the axis")
        return 0
    if not -rank <= value < rank:
        b.fail("numpy.exceptions.AxisError", f"{what}axis {value} is out of bounds for array of dimension {rank}")
        return 0
    return int(value) % rank


def _at_least_one_axis(b: TypedBuilder, x: Value, axis: Abstract) -> Value:
    """What NumPy's PyArray_CheckAxis makes of rank 0: a vector of one element, where the axis is 0 or -1."""
    return raised(b, x, 1) if axis_of_rank_0(axis) and not b.rank(x) else x


def axis_of_rank_0(axis: Abstract) -> bool:
    """Whether an axis is one that some of NumPy's functions let rank 0 have."""
    return isinstance(axis, Static) and isinstance(axis.value, (int, np.integer)) and axis.value in (0, -1)


def _returned(b: TypedBuilder, a: Abstract, result: Value) -> Abstract:
    """What a method of a NumPy scalar gives: a scalar, where the array that it is made into gives an array of rank 0."""
    scalar = not b.is_array(a) and not isinstance(a, Sequence_) and not is_python(a)
    return b.load(result) if scalar and not b.rank(result) else result


def _axes(b: TypedBuilder, axis: Abstract, rank: int, what: str = "", bools: bool = True) -> tuple[int, ...]:
    """Axes in the order given, an int standing for one."""
    items = axis.items if isinstance(axis, Sequence_) else (axis,)
    if isinstance(axis, Static) and isinstance(axis.value, (tuple, list)):
        items = tuple(Static(v) for v in axis.value)
    return tuple(_axis(b, item, rank, what, bools) for item in items)


def _window(b: TypedBuilder, x: Value, axis: int, start: Dim, length: Dim, step: int = 1) -> Value:
    """x[..., start : start + length * step : step, ...] on one axis."""
    shape = list(_shape(x))
    shape[axis] = length
    axes = [(k, step if k == axis else 1) for k in range(len(shape))]
    return b.view(x, shape, axes, [start if k == axis else 0 for k in range(len(shape))])


# -- reshape -------------------------------------------------------------------------------------------------------


def reshaped(b: TypedBuilder, x: Value, given: Sequence[Abstract], order: str = "C") -> Value:
    """x in a new shape, one size of which may be -1."""
    assert isinstance(x.type, ArrayType)
    total = dims.product(x.type.shape)
    sizes: list[Dim | None] = [None if _unknown(s) else b.dim(s) for s in given]
    known = dims.product(s for s in sizes if s is not None)
    words = "(" + ",".join("newaxis" if s is None else "{}" for s in sizes) + ("," if len(sizes) == 1 else "") + ")"
    message, args = f"cannot reshape array of size {{}} into shape {words}", (total, *(s for s in sizes if s is not None))
    if sizes.count(None) > 1:
        b.fail("ValueError", "can only specify one unknown dimension")
        return x
    for s in sizes:
        if s is not None:
            b.check("ge", s, 0, "tensorjit.errors.TypeInferenceError", _UNTOLD)
    if None in sizes:
        b.check("gt", known, 0, "ValueError", message, args)
        missing = _quotient(b, total, known)
        b.check("eq", total, missing * known, "ValueError", message, args)
        shape = [missing if s is None else s for s in sizes]
    else:
        b.check("eq", total, known, "ValueError", message, args)
        shape = [s for s in sizes if s is not None]
    if order == "A":
        order = "F" if x.type.layout == "F" else "C"
    if order not in ("C", "F"):
        b.fail("ValueError", f"order must be one of 'C', 'F', 'A', or 'K' (got '{order}')")
        return x
    return _without_ones(b, x, shape) or b.reshape(x, shape, order)


_UNTOLD = "a negative size stands for what is left over, and this one is no constant: write -1 there"


def _unknown(size: Abstract) -> bool:
    return isinstance(size, Static) and isinstance(size.value, (int, np.integer)) and int(size.value) < 0


def _quotient(b: TypedBuilder, total: Dim, known: Dim) -> Dim:
    """total // known for a known > 0 that has been checked: exact where one product divides every term."""
    exact = dims.exact_quotient(total, known)
    if exact is not None:
        return exact
    return dims.floordiv(total, known if b.at_least(known, 1) else dims.maximum(known, 1))


def _without_ones(b: TypedBuilder, x: Value, shape: Sequence[Dim]) -> Value | None:
    """A view, whatever the layout, where only axes of size 1 come or go."""
    kept = [k for k, d in enumerate(_shape(x)) if d != 1]
    wanted = [d for d in shape if d != 1]
    if len(kept) != len(wanted) or not all(b.same(_shape(x)[k], d) for k, d in zip(kept, wanted, strict=True)):
        return None
    source = iter(kept)
    return b.view(x, shape, [(None, 0) if d == 1 else (next(source), 1) for d in shape])


def _reshape(b: TypedBuilder, a: Abstract, shape: Abstract, order: Abstract = Static("C"), *, copy: Abstract = NONE) -> Abstract:
    x = b.array(a)
    copied = copying(b, copy)
    if copied is False:
        b.refuse("np.reshape with copy=False", "leave it out")
    items = shape.items if isinstance(shape, Sequence_) else (shape,)
    if isinstance(shape, Static) and isinstance(shape.value, (tuple, list)):
        items = tuple(Static(s) for s in shape.value)
    return _returned(b, a, reshaped(b, b.copy(x) if copied else x, items, b.static(order, "order")))


def _reshape_method(b: TypedBuilder, a: Abstract, *shape: Abstract, order: Abstract = Static("C"), copy: Abstract = NONE) -> Abstract:
    return _reshape(b, a, shape[0] if len(shape) == 1 else Sequence_(shape), order, copy=copy)


def _ravel(b: TypedBuilder, a: Abstract, order: Abstract = Static("C")) -> Abstract:
    x, chosen = b.array(a), b.static(order, "order")
    if chosen == "K":
        assert isinstance(x.type, ArrayType)
        if x.type.layout == "A":
            b.refuse("np.ravel in memory order of an array whose layout is not contiguous", "give the order")
        chosen = x.type.layout
    return reshaped(b, x, (MINUS_ONE,), chosen) if b.rank(x) != 1 or b.value(x).type != x.type else _flat(b, x)


def _flat(b: TypedBuilder, x: Value) -> Value:
    """A vector as ravel gives it: a view where it is dense, else a copy."""
    return b.reshape(x, _shape(x))


def _flatten(b: TypedBuilder, a: Abstract, order: Abstract = Static("C")) -> Abstract:
    x, chosen = b.as_array(a), b.static(order, "order")
    assert isinstance(x.type, ArrayType)
    if chosen in ("A", "K"):
        chosen = "F" if x.type.layout == "F" else "C"
    fresh = b.copy(x, "F" if chosen == "F" and x.type.rank > 1 else "C")
    return reshaped(b, fresh, (MINUS_ONE,), chosen)


# -- axes ----------------------------------------------------------------------------------------------------------


def _transpose(b: TypedBuilder, a: Abstract, axes: Abstract = NONE) -> Abstract:
    if not isinstance(a, Sequence_) and not b.is_array(a) and not is_python(a) and is_default(axes):
        return a  # a NumPy scalar
    x = b.array(a)
    rank = b.rank(x)
    if isinstance(axes, Static) and axes.value is None:
        return _returned(b, a, b.transpose(x, range(rank)[::-1]))
    if isinstance(axes, Static) and (isinstance(axes.value, bool) or not isinstance(axes.value, (int, np.integer))):
        b.fail("TypeError", f"expected a sequence of integers or a single integer, got '{axes.value}'")
        return x
    if (len(axes.items) if isinstance(axes, Sequence_) else 1) != rank:
        b.fail("ValueError", "axes don't match array")
        return x
    order = _axes(b, axes, rank, bools=False)
    if len(set(order)) != rank:
        b.fail("ValueError", "repeated axis in transpose")
        return x
    return _returned(b, a, b.transpose(x, order))


def _transpose_method(b: TypedBuilder, a: Abstract, *axes: Abstract) -> Abstract:
    if not axes:
        return _transpose(b, a)
    return _transpose(b, a, axes[0] if len(axes) == 1 else Sequence_(axes))


def _swapaxes(b: TypedBuilder, a: Abstract, axis1: Abstract, axis2: Abstract) -> Abstract:
    x = b.array(a)
    order = list(range(b.rank(x)))
    i, j = _axis(b, axis1, len(order), "axis1: "), _axis(b, axis2, len(order), "axis2: ")
    order[i], order[j] = order[j], order[i]
    return b.transpose(x, order)


def _moveaxis(b: TypedBuilder, a: Abstract, source: Abstract, destination: Abstract) -> Abstract:
    x = b.array(a)
    rank = b.rank(x)
    sources, targets = _axes(b, source, rank, "source: "), _axes(b, destination, rank, "destination: ")
    if len(sources) != len(targets):
        b.fail("ValueError", "`source` and `destination` arguments must have the same number of elements")
        return x
    if len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        b.fail("ValueError", "repeated axis in `source` or `destination` argument")
        return x
    order = [k for k in range(rank) if k not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return _returned(b, a, b.transpose(x, order))


def _rollaxis(b: TypedBuilder, a: Abstract, axis: Abstract, start: Abstract = Static(0)) -> Abstract:
    if isinstance(a, Sequence_) or is_python(a):
        kind = type(a.value).__name__ if isinstance(a, Static) else describe(a).split()[-1]
        b.fail("AttributeError", f"'{kind}' object has no attribute 'ndim'")
    x = b.array(a)
    rank, first = b.rank(x), b.static(start, "start")
    one = _axis(b, axis, rank)
    first = first + rank if first < 0 else first
    if not 0 <= first <= rank:
        b.fail("numpy.exceptions.AxisError", f"'start' arg requires {-rank} <= start < {rank + 1}, but {first} was passed in")
        return x
    order = [k for k in range(rank) if k != one]
    order.insert(first - 1 if one < first else first, one)
    return b.transpose(x, order)


def _expand_dims(b: TypedBuilder, a: Abstract, axis: Abstract) -> Abstract:
    x = b.array(a)
    count = len(axis.items) if isinstance(axis, Sequence_) else 1
    rank = b.rank(x) + count
    new = _axes(b, axis, rank)
    if len(set(new)) != len(new):
        b.fail("ValueError", "repeated axis")
        return x
    source = iter(range(b.rank(x)))
    axes = [(None, 0) if k in new else (next(source), 1) for k in range(rank)]
    return b.view(x, [1 if s is None else _shape(x)[s] for s, _ in axes], axes)


def _squeeze(b: TypedBuilder, a: Abstract, axis: Abstract = NONE) -> Abstract:
    if not isinstance(a, Sequence_) and not b.is_array(a) and not is_python(a):
        if not (axis_of_rank_0(axis) or (isinstance(axis, Static) and axis.value is None)):
            _axes(b, axis, 0)
        return a  # a NumPy scalar
    x = b.array(a)
    shape = _shape(x)
    if isinstance(axis, Static) and axis.value is None:
        if any(d != 1 and dims.can_be_one(d) for d in shape):
            b.refuse("np.squeeze where the size of an axis may or may not be 1", "give the axis")
        gone = {k for k, d in enumerate(shape) if d == 1}
    else:
        if isinstance(axis, Sequence_) and axis.is_list:
            b.fail("TypeError", "'list' object cannot be interpreted as an integer")
        chosen = () if not shape and axis_of_rank_0(axis) else _axes(b, axis, len(shape), bools=False)
        gone = set(chosen)
        if len(gone) != len(chosen):
            b.fail("ValueError", "duplicate value in 'axis'")
        for k in gone:
            message = "cannot select an axis to squeeze out which has size not equal to one"
            b.check("eq", shape[k], 1, "ValueError", message)
    kept = [k for k in range(len(shape)) if k not in gone]
    if not gone and x is a:
        return x
    return b.view(x, [shape[k] for k in kept], [(k, 1) for k in kept])


def _atleast(rank: int) -> Rule:
    def rule(b: TypedBuilder, *arys: Abstract) -> Any:
        results = tuple(raised(b, b.array(a), rank) for a in arys)
        return results[0] if len(results) == 1 else Sequence_(results)

    return rule


def raised(b: TypedBuilder, x: Value, rank: int) -> Value:
    """x with axes of size 1 put before the others up to a rank; itself where it has it."""
    missing = rank - b.rank(x)
    if missing <= 0:
        return x
    axes = [(None, 0)] * missing + [(k, 1) for k in range(b.rank(x))]
    return b.view(x, (1,) * missing + _shape(x), axes)


def _broadcast_to(b: TypedBuilder, array: Abstract, shape: Abstract, subok: Abstract = Static(False)) -> Abstract:
    x, to = b.array(array), b.shape_argument(shape)
    if b.static(subok, "subok") is not False:
        b.refuse("np.broadcast_to with subok", "leave it out")
    own = _shape(x)
    if len(own) > len(to):
        b.fail("ValueError", "input operand has more dimensions than allowed by the axis remapping")
        return x
    message = "operands could not be broadcast together with remapped shapes [original->remapped]:"
    message = f"{message} {_text(own)} and requested shape {_text(to)}"
    to = b.lengths(to, b.strong_dtype(x), "all elements of broadcast shape must be non-negative")
    for d, t in zip(reversed(own), reversed(to), strict=False):
        if d == 1 or b.same(d, t):
            continue
        if dims.can_be_one(d):
            symbol = str(b.symbol("b"))
            b.effect("broadcast_dim", (), left=t, right=d, symbol=symbol, message=message, args=(*own, *to), store=True)
        else:
            b.check("eq", d, t, "ValueError", message, (*own, *to))
    return b.broadcast_to(x, to)


def _broadcast_arrays(b: TypedBuilder, *args: Abstract) -> Abstract:
    arrays = [b.array(a) for a in args]
    shape = b.broadcast_shapes([_shape(x) for x in arrays])
    fits = [len(_shape(x)) == len(shape) and all(map(b.same, _shape(x), shape)) for x in arrays]
    return Sequence_(tuple(x if as_it_is else b.broadcast_to(x, shape) for x, as_it_is in zip(arrays, fits, strict=True)))


# -- joining -------------------------------------------------------------------------------------------------------


def _arrays(b: TypedBuilder, arrays: Abstract, name: str, verb: str = "concatenate") -> list[Value]:
    """The arrays of a tuple or list; of an empty one, which raises at run time, some array."""
    if not isinstance(arrays, Sequence_):
        b.refuse(f"np.{name} of something that is no tuple or list of arrays", "write a tuple")
    if not arrays.items:
        b.fail("ValueError", f"need at least one array to {verb}")
        return [b.empty((0,), F64)]
    return [b.array(a) for a in arrays.items]


def _joined(
    b: TypedBuilder,
    arrays: Sequence[Value],
    axis: int,
    dtype: Abstract = NONE,
    casting: Abstract = SAME_KIND,
    own: DType | None = None,
    into: Abstract = NONE,
) -> Value:
    """The arrays one after the other along an axis of each; in their common dtype, or `own`, where none is given. They are written
    one by one, also `into` an array that they are part of: the later ones are read when the earlier ones have been written."""
    first = _shape(arrays[0])
    for k, x in enumerate(arrays[1:], 1):
        if len(_shape(x)) != len(first):
            message = (
                f"the array at index 0 has {len(first)} dimension(s) and the array at index {k} has {len(_shape(x))} dimension(s)"
            )
            b.fail("ValueError", f"all the input arrays must have same number of dimensions, but {message}")
            return arrays[0]
        for j, (d, e) in enumerate(zip(first, _shape(x), strict=True)):
            if j != axis:
                message = (
                    "all the input array dimensions except for the concatenation axis must match exactly, but along "
                    f"dimension {j}, the array at index 0 has size {{}} and the array at index {k} has size {{}}"
                )
                b.check("eq", d, e, "ValueError", message, (d, e))
    shape = list(first)
    total: Dim = 0
    for x in arrays:
        total = total + _shape(x)[axis]
    shape[axis] = total
    to = _to(b, arrays, dtype, casting, into) or own or b.common_dtype(arrays)
    if is_default(into):
        layouts = {x.type.layout for x in arrays if isinstance(x.type, ArrayType)}
        out = b.empty(shape, to, "F" if layouts == {"F"} and len(first) > 1 else "C")
    else:
        if not is_output(b, into, "assignment destination"):
            return arrays[0]
        out = b.value(into)
        if not has_shape(b, out, shape, "Output array has wrong dimensionality", "Output array is the wrong shape"):
            return arrays[0]
    start: Dim = 0
    for x in arrays:
        length = _shape(x)[axis]
        b.store(_window(b, out, axis, start, length), x)
        start = start + length
    return out


def _concatenate(
    b: TypedBuilder, arrays: Abstract, axis: Abstract = Static(0), out: Abstract = NONE, *,
    dtype: Abstract = NONE, casting: Abstract = SAME_KIND,
) -> Abstract:  # fmt: skip
    parts = _arrays(b, arrays, "concatenate")
    own = None
    if isinstance(axis, Static) and axis.value is None:
        if isinstance(arrays, Sequence_) and arrays.items:  # Python's numbers give way
            own = b.common_dtype([v if is_python(v) else x for v, x in zip(arrays.items, parts, strict=True)])
        parts, axis = [reshaped(b, x, (MINUS_ONE,)) for x in parts], Static(0)
    if not b.rank(parts[0]):
        b.fail("ValueError", "zero-dimensional arrays cannot be concatenated")
        return parts[0]
    along = _axis(b, axis, b.rank(parts[0]), bools=False)
    _not_both(b, dtype, out)
    return _joined(b, parts, along, dtype, casting, own, out)


def _not_both(b: TypedBuilder, dtype: Abstract, out: Abstract) -> None:
    if not is_default(dtype) and not is_default(out):
        b.fail("TypeError", "concatenate() only takes `out` or `dtype` as an argument, but both were provided.")


def _to(b: TypedBuilder, parts: Sequence[Value], dtype: Abstract, casting: Abstract, into: Abstract) -> DType | None:
    """The dtype that is given for what is joined; TypeError at run time where arrays may not be cast to it, or to the output's."""
    given, rule = b.dtype_argument(dtype), b.static(casting, "casting")
    to = given or (b.strong_dtype(into) if b.is_array(into) else b.common_dtype(parts))
    for own in map(b.strong_dtype, parts):
        if not b.may_cast(own.numpy, to.numpy, rule):
            b.fail("TypeError", f"Cannot cast array data from {own.numpy!r} to {to.numpy!r} according to the rule '{rule}'")
    return given


def _stack(
    b: TypedBuilder, arrays: Abstract, axis: Abstract = Static(0), out: Abstract = NONE, *, dtype: Abstract = NONE,
    casting: Abstract = SAME_KIND,
) -> Abstract:  # fmt: skip
    parts = _arrays(b, arrays, "stack", "stack")
    shape = _shape(parts[0])
    for x in parts[1:]:
        if len(_shape(x)) != len(shape):
            b.fail("ValueError", "all input arrays must have the same shape")
            return parts[0]
        for d, e in zip(shape, _shape(x), strict=True):
            b.check("eq", d, e, "ValueError", "all input arrays must have the same shape")
    along = _axis(b, axis, len(shape) + 1)
    _not_both(b, dtype, out)
    return _joined(b, [b.value(_expand_dims(b, x, Static(along))) for x in parts], along, dtype, casting, into=out)


def _vstack(b: TypedBuilder, tup: Abstract, *, dtype: Abstract = NONE, casting: Abstract = SAME_KIND) -> Abstract:
    parts = [raised(b, x, 2) for x in _arrays(b, tup, "vstack")]
    return _joined(b, parts, 0, dtype, casting)


def _hstack(b: TypedBuilder, tup: Abstract, *, dtype: Abstract = NONE, casting: Abstract = SAME_KIND) -> Abstract:
    parts = [raised(b, x, 1) for x in _arrays(b, tup, "hstack")]
    return _joined(b, parts, 0 if b.rank(parts[0]) == 1 else 1, dtype, casting)


def _column_stack(b: TypedBuilder, tup: Abstract) -> Abstract:
    parts = [b.transpose(raised(b, x, 2), (1, 0)) if b.rank(x) < 2 else x for x in _arrays(b, tup, "column_stack")]
    return _joined(b, parts, 1)


def _flip(b: TypedBuilder, m: Abstract, axis: Abstract = NONE) -> Abstract:
    x = b.array(m)
    chosen = range(b.rank(x)) if isinstance(axis, Static) and axis.value is None else _axes(b, axis, b.rank(x))
    if len(set(chosen)) != len(chosen):
        b.fail("ValueError", "repeated axis")
    return flipped(b, x, chosen) if b.rank(x) else b.load(x)  # NumPy gives m[()]


def flipped(b: TypedBuilder, x: Value, chosen: Sequence[int]) -> Value:
    shape = _shape(x)
    axes = [(k, -1 if k in chosen else 1) for k in range(len(shape))]
    # the last element of an empty axis: the view has no element, so that its start does not matter
    return b.view(x, shape, axes, [dims.maximum(d - 1, 0) if k in chosen else 0 for k, d in enumerate(shape)])


def _flip_axis(axis: int, name: str) -> Rule:
    def rule(b: TypedBuilder, m: Abstract) -> Abstract:
        x = b.array(m)
        if b.rank(x) <= axis:
            b.fail("ValueError", f"Input must be >= {axis + 1}-d.")
            return x
        return flipped(b, x, (axis,))

    return rule


def _roll(b: TypedBuilder, a: Abstract, shift: Abstract, axis: Abstract = NONE) -> Abstract:
    x = b.array(a)
    if isinstance(axis, Static) and axis.value is None:
        flat = _roll(b, reshaped(b, x, (MINUS_ONE,)), shift, Static(0))
        return b.reshape(b.value(flat), _shape(x))
    if isinstance(shift, Sequence_) or isinstance(axis, Sequence_):
        b.refuse("np.roll over several axes at once", "roll one axis after the other")
    along = _axis(b, axis, b.rank(x))
    size = _shape(x)[along]
    by = dims.mod(b.dim(shift), dims.maximum(size, 1))
    out = b.empty(_shape(x), b.strong_dtype(x))
    b.store(_window(b, out, along, by, size - by), _window(b, x, along, 0, size - by))
    b.store(_window(b, out, along, 0, by), _window(b, x, along, size - by, by))
    return out


def _repeat(b: TypedBuilder, a: Abstract, repeats: Abstract, axis: Abstract = NONE) -> Abstract:
    x = b.array(a)
    if isinstance(axis, Static) and axis.value is None:
        x, axis = reshaped(b, x, (MINUS_ONE,)), Static(0)
    x = _at_least_one_axis(b, x, axis)
    if b.rank(repeats) or isinstance(repeats, Sequence_):
        b.refuse("np.repeat with a number of repeats for each element", "give one number")
    along, count = _axis(b, axis, b.rank(x), bools=False), b.dim(repeats)
    b.check("ge", count, 0, "ValueError", "negative dimensions are not allowed")
    shape = _shape(x)
    b.check_size((*shape, count), b.strong_dtype(x))  # NumPy's own loop goes beyond the array, where the product wraps
    if along == len(shape) - 1:  # rows of a few equal elements: NumPy's loop is made for them, a kernel is not
        result = ArrayType(b.strong_dtype(x), (*shape[:-1], shape[-1] * count))
        return b.library("numpy.ndarray.repeat", (x, b.value(repeats)), result, axis=along)
    axes = [(k, 1) for k in range(along + 1)] + [(None, 0)] + [(k, 1) for k in range(along + 1, len(shape))]
    spread = b.view(x, (*shape[: along + 1], count, *shape[along + 1 :]), axes)
    return b.reshape(b.copy(spread), (*shape[:along], shape[along] * count, *shape[along + 1 :]))


def _tile(b: TypedBuilder, A: Abstract, reps: Abstract) -> Abstract:
    counts = b.shape_argument(reps)
    x = raised(b, b.array(A), len(counts))
    counts = (1,) * (b.rank(x) - len(counts)) + counts
    shape: list[Dim] = []
    axes: list[tuple[int | None, int]] = []
    for k, (count, size) in enumerate(zip(counts, _shape(x), strict=True)):
        b.check("ge", count, 0, "ValueError", "negative dimensions are not allowed")
        shape += [count, size]
        axes += [(None, 0), (k, 1)]
    sizes = [c * s for c, s in zip(counts, _shape(x), strict=True)]
    b.check_size(sizes, b.strong_dtype(x))
    return b.reshape(b.copy(b.view(x, shape, axes)), sizes)


def _diff(
    b: TypedBuilder, a: Abstract, n: Abstract = Static(1), axis: Abstract = MINUS_ONE, prepend: Abstract = NO_VALUE,
    append: Abstract = NO_VALUE,
) -> Abstract:  # fmt: skip
    count = b.integer(n, "n") if not (isinstance(n, Static) and n.value == 0) else 0
    if count == 0:  # before NumPy makes an array of it
        return a
    x = b.array(a)
    if count < 0:
        b.fail("ValueError", f"order must be non-negative but got {count!r}")
        return x
    if not b.rank(x):
        b.fail("ValueError", "diff requires input that is at least one dimensional")
        return x
    along = _axis(b, axis, b.rank(x))
    parts = [x if v is a else _edge(b, x, along, v) for v in (prepend, a, append) if not is_default(v)]
    x = b.value(b.call("concatenate", Sequence_(tuple(parts)), axis=Static(along))) if len(parts) > 1 else x
    row = "not_equal" if b.strong_dtype(x) is BOOL else "subtract"
    for _ in range(count):
        size = _shape(x)[along]
        length = dims.maximum(size - 1, 0)
        x = b.value(b.elementwise(row, _window(b, x, along, dims.minimum(size, 1), length), _window(b, x, along, 0, length)))
    return x


def _edge(b: TypedBuilder, x: Value, along: int, given: Abstract) -> Value:
    """What np.diff puts before or after an array: a number is one element of the axis."""
    edge = b.array(given)
    shape = [1 if k == along else size for k, size in enumerate(_shape(x))]
    return edge if b.rank(edge) else b.broadcast_to(edge, shape)


# -- choosing ------------------------------------------------------------------------------------------------------


def _where(b: TypedBuilder, condition: Abstract, x: Abstract = NO_VALUE, y: Abstract = NO_VALUE) -> Abstract:
    if is_default(x) or is_default(y):
        b.refuse("np.where of a condition alone", "np.where(condition, x, y) is compiled")
    values = [b.array(v) if isinstance(v, Sequence_) else v for v in (condition, x, y)]
    return b.as_array(b.where(*values))


def _clip(
    b: TypedBuilder, a: Abstract, a_min: Abstract = NO_VALUE, a_max: Abstract = NO_VALUE, out: Abstract = NONE, *,
    min: Abstract = NO_VALUE, max: Abstract = NO_VALUE,  # noqa: A002
) -> Abstract:  # fmt: skip
    """Both bounds by position, or any by keyword."""
    given = [not (isinstance(v, Static) and v.value is np._NoValue) for v in (a_min, a_max, min, max)]
    if given[0] != given[1]:
        b.fail("TypeError", f"clip() missing 1 required positional argument: '{'a_max' if given[0] else 'a_min'}'")
    elif given[0] and any(given[2:]):
        b.fail("ValueError", "Passing `min` or `max` keyword argument when `a_min` and `a_max` are provided is forbidden.")
    return _clip_method(b, a, a_min if given[0] else min, a_max if given[0] else max, out)


def _clip_method(
    b: TypedBuilder, a: Abstract, min: Abstract = NONE, max: Abstract = NONE, out: Abstract = NONE,  # noqa: A002
) -> Abstract:  # fmt: skip
    """`numpy/_core/_methods.py`: a Python int beyond the dtype's range is no bound."""
    x, low, high = b.array(a) if isinstance(a, Sequence_) else a, min, max
    dtype = b.strong_dtype(x)
    if dtype.kind in "iu":
        info = np.iinfo(dtype.numpy)
        low = NONE if _beyond(low, below=int(info.min)) else low
        high = NONE if _beyond(high, above=int(info.max)) else high
    bounds = [v for v in (low, high) if not is_default(v)]
    common = b.common_dtype((x, *bounds))
    loop = Loop((common, common), common)
    result = x if bounds else b.elementwise("positive", x)
    for ufunc, bound in (("maximum", low), ("minimum", high)):
        if not is_default(bound):
            result = _bounded(b, ufunc, result, bound, loop, _element_last(b, x, bounds, common))
    return written(b, "clip", result, out)


def _element_last(b: TypedBuilder, x: Abstract, bounds: Sequence[Abstract], dtype: DType) -> bool:
    """Whether clip's own loop, for two bounds, decides of an element equal to its bound (0.0 and -0.0) otherwise than maximum and
    minimum: floats stay where both bounds are numbers, complex numbers become the bound."""
    ones = set[Dim]() if set(b.shape_of(x)) <= {1} else {1}
    numbers = all(set(b.shape_of(v)) <= ones for v in bounds)
    return len(bounds) == 2 and (dtype.kind == "c" or (dtype.kind == "f" and dtype is not F16 and numbers))


def _bounded(b: TypedBuilder, ufunc: str, x: Abstract, bound: Abstract, loop: Loop, last: bool) -> Abstract:
    """The larger or smaller of an element and its bound; of equals, that which maximum and minimum of f32 take: the last."""
    if not last:
        return b.apply(ufunc, (x, bound), loop)
    return _clipped(b, ufunc, x, bound, loop) if loop.output.kind == "c" else b.apply(ufunc, (bound, x), loop)


def _clipped(b: TypedBuilder, ufunc: str, x: Abstract, bound: Abstract, loop: Loop) -> Abstract:
    """Of complex numbers: x where it is NaN or strictly beyond, by the real parts and, where they are equal, by the others."""
    dtype = loop.output
    take, test = Loop((dtype,), dtype.part), Loop((dtype.part, dtype.part), BOOL)
    strictly = "greater" if ufunc == "maximum" else "less"
    (re, im), (bound_re, bound_im) = (
        [b.apply(part, (b.cast(v, dtype) if b.is_array(v) else b.as_dtype(v, dtype),), take) for part in ("real", "imag")]
        for v in (x, bound)
    )
    same = b.apply("equal", (re, bound_re), test)
    beyond = b.elementwise("logical_and", same, b.apply(strictly, (im, bound_im), test))
    beyond = b.elementwise("logical_or", beyond, b.apply(strictly, (re, bound_re), test))
    stays = b.elementwise("logical_or", beyond, b.elementwise("isnan", x))
    return b.apply("select", (stays, x, bound), Loop((BOOL, dtype, dtype), dtype))


def _beyond(bound: Abstract, below: int | None = None, above: int | None = None) -> bool:
    if not (isinstance(bound, Static) and type(bound.value) is int):
        return False
    return (below is not None and bound.value <= below) or (above is not None and bound.value >= above)


def _round(b: TypedBuilder, a: Abstract, decimals: Abstract = Static(0), out: Abstract = NONE) -> Abstract:
    """PyArray_Round (`numpy/_core/src/multiarray/calculation.c`)."""
    x = b.array(a) if isinstance(a, Sequence_) else a
    places = b.integer(decimals, "decimals")
    dtype = b.strong_dtype(x)
    if dtype.kind == "c" and places:
        b.refuse("np.round of complex numbers to some decimals", "round the real and the imaginary part")
    if dtype.kind in "iu" and places >= 0:
        return finish(b, b.elementwise("positive", x), out)
    if places == 0:
        return finish(b, b.elementwise("rint", x), out)
    there, back = ("multiply", "divide") if places > 0 else ("divide", "multiply")
    factor = Static(_power_of_ten(abs(places)))
    scaled = b.elementwise(there, x, factor)
    to = b.strong_dtype(out) if b.is_array(out) else b.strong_dtype(scaled) if dtype.kind in "iu" else dtype
    if not fits_output(b, "multiply" if places > 0 else "divide", scaled, to):
        return x
    scaled = scaled if b.strong_dtype(scaled) is to else b.cast(scaled, to)  # NumPy goes on in place
    result = b.elementwise(back, b.elementwise("rint", scaled), factor)
    return finish(b, b.cast(result, dtype) if dtype.kind in "iu" and is_default(out) else result, out)


def _power_of_ten(places: int) -> float:
    """NumPy's: by multiplication, which is rounded from 10^23 on and ends in infinity."""
    power = 1.0
    for _ in range(min(places, 400)):
        power *= 10.0
    return power


def _copyto(
    b: TypedBuilder, dst: Abstract, src: Abstract, casting: Abstract = Static("same_kind"), where: Abstract = Static(True)
) -> Abstract:
    if not b.is_array(dst):
        b.fail("TypeError", f"copyto() argument 1 must be a numpy.ndarray, not {describe(dst)}")
        return NONE
    target = b.value(dst)
    source: Abstract = b.array(src) if isinstance(src, Sequence_) else src
    if not (_castable(b, where, BOOL, "safe") and _castable(b, source, b.strong_dtype(target), b.static(casting, "casting"))):
        return NONE
    masked = not (isinstance(where, Static) and where.value is True)
    b.store(target, b.where(where, source, target) if masked else source, masked=masked)
    return NONE


def _castable(b: TypedBuilder, x: Abstract, to: DType, rule: Any) -> bool:
    """Whether a rule allows the cast of what is copied; it raises at run time where not."""
    # Python's numbers give way, as far as they can be of that kind
    given = b.dtype_of(x)
    own = given.numpy if isinstance(given, DType) else np.result_type(to.numpy, given(0))
    if b.may_cast(own, to.numpy, rule):
        return True
    what = "array data" if b.rank(x) else "scalar"
    b.fail("TypeError", f"Cannot cast {what} from {own!r} to {to.numpy!r} according to the rule '{rule}'")
    return False


# -- two results ---------------------------------------------------------------------------------------------------


def _operands(b: TypedBuilder, *args: Abstract) -> list[Abstract]:
    return [b.array(a) if isinstance(a, Sequence_) else a for a in args]


def _divmod(b: TypedBuilder, x1: Abstract, x2: Abstract) -> Abstract:
    x, y = _operands(b, x1, x2)
    return Sequence_((b.elementwise("floor_divide", x, y), b.elementwise("remainder", x, y)))


def _modf(b: TypedBuilder, x: Abstract) -> Abstract:
    """The fraction has the sign of x, and is 0 for an infinity."""
    (given,) = _operands(b, x)
    loop = b.resolve(np.modf, (given,))
    if loop is None:
        return Sequence_((x, x))
    (dtype,) = loop.inputs
    whole = b.apply("trunc", (given,), loop)
    infinite = b.apply("isinf", (given,), Loop((dtype,), BOOL))
    pick = Loop((BOOL, dtype, dtype), dtype)
    finite = b.apply("select", (infinite, b.as_dtype(Static(0.0), dtype), given), pick)
    pair = Loop((dtype, dtype), dtype)
    rest = b.apply("subtract", (finite, b.apply("trunc", (finite,), loop)), pair)
    return Sequence_((b.apply("copysign", (rest, given), pair), whole))


def _frexp(b: TypedBuilder, x: Abstract) -> Abstract:
    (given,) = _operands(b, x)
    loop = b.resolve(np.frexp, (given,))
    if loop is None:
        return Sequence_((x, x))
    (dtype,) = loop.inputs
    value = b.value(b.load(b.value(given)) if b.is_array(given) and not b.rank(given) else given)
    types: list[Type] = [ScalarType(dtype), ScalarType(I32)]
    if isinstance(value.type, ArrayType):
        types = [ArrayType(d, value.type.shape, value.type.layout) for d in (dtype, I32)]
    attrs = {"function": "numpy.frexp", "keywords": {}}
    return Sequence_(b.builder.add_multi("library", (value,), types, attrs))


# -- products ------------------------------------------------------------------------------------------------------


def _outer(b: TypedBuilder, a: Abstract, b_: Abstract, out: Abstract = NONE) -> Abstract:
    x, y = (reshaped(b, b.array(v), (MINUS_ONE,)) for v in (a, b_))
    column = b.view(x, (_shape(x)[0], 1), ((0, 1), (None, 0)))
    return written(b, "multiply", b.elementwise("multiply", column, y), out)


def _call(b: TypedBuilder, name: str, args: Sequence[Value], dtype: DType, shape: Sequence[Dim], **keywords: Any) -> Value:
    result: Type = ArrayType(dtype, tuple(shape)) if shape else ScalarType(dtype)
    return b.library(f"numpy.{name}", args, result, **keywords)


def _common(b: TypedBuilder, x: Value, y: Value) -> DType:
    return b.common_dtype((x, y))


def _dot(b: TypedBuilder, a: Abstract, b_: Abstract, out: Abstract = NONE) -> Abstract:
    x, y = b.array(a), b.array(b_)  # of Python's numbers too: they do not give way here
    if not b.rank(x) or not b.rank(y):
        return finish(b, b.elementwise("multiply", x, y), out)
    p, q = _shape(x), _shape(y)
    inner = max(len(q) - 2, 0)
    message = f"shapes {_text(p)} and {_text(q)} not aligned: {{}} (dim {len(p) - 1}) != {{}} (dim {inner})"
    b.check("eq", p[-1], q[inner], "ValueError", message, (*p, *q, p[-1], q[inner]))
    shape = (*p[:-1], *q[:inner], *q[inner + 1 :])
    return finish(b, _call(b, "ndarray.dot", (x, y), _common(b, x, y), shape), out)


_MATMUL = "(n?,k),(k,m?)->(n?,m?)"


def _matmul(b: TypedBuilder, x1: Abstract, x2: Abstract, out: Abstract = NONE) -> Abstract:
    x, y = b.array(x1), b.array(x2)
    for k, v in enumerate((x, y)):
        if not b.rank(v):
            message = f"matmul: Input operand {k} does not have enough dimensions (has 0, gufunc core with signature"
            b.fail("ValueError", f"{message} {_MATMUL} requires 1)")
            return x
    p, q = _shape(x), _shape(y)
    inner = q[0] if len(q) == 1 else q[-2]
    message = "matmul: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature"
    b.check("eq", p[-1], inner, "ValueError", f"{message} {_MATMUL} (size {{}} is different from {{}})", (inner, p[-1]))
    batch = b.broadcast_shapes([s for s in (p[:-2], q[:-2]) if s])
    shape = (*batch, *p[-2:-1], *(q[-1:] if len(q) > 1 else ()))
    return finish(b, _call(b, "matmul", (x, y), _common(b, x, y), shape), out)


def _vecdot(b: TypedBuilder, x1: Abstract, x2: Abstract) -> Abstract:
    x, y = b.array(x1), b.array(x2)
    p, q = _shape(x), _shape(y)
    if not p or not q:
        b.fail(
            "ValueError",
            "vecdot: Input operand 0 does not have enough dimensions (has 0, gufunc core with signature (n),(n)->() requires 1)",
        )
        return x
    message = "vecdot: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature (n),(n)->()"
    b.check("eq", p[-1], q[-1], "ValueError", f"{message} (size {{}} is different from {{}})", (q[-1], p[-1]))
    return _call(b, "vecdot", (x, y), _common(b, x, y), b.broadcast_shapes([s for s in (p[:-1], q[:-1]) if s]))


def _inner(b: TypedBuilder, a: Abstract, b_: Abstract) -> Abstract:
    x, y = b.array(a), b.array(b_)
    if not b.rank(x) or not b.rank(y):
        return b.elementwise("multiply", x, y)
    p, q = _shape(x), _shape(y)
    message = f"shapes {_text(p)} and {_text(q)} not aligned: {{}} (dim {len(p) - 1}) != {{}} (dim {len(q) - 1})"
    b.check("eq", p[-1], q[-1], "ValueError", message, (*p, *q, p[-1], q[-1]))
    name = "ndarray.dot" if len(p) == len(q) == 1 else "inner"  # the method is called faster
    return _call(b, name, (x, y), _common(b, x, y), (*p[:-1], *q[:-1]))


# -- NumPy's own ---------------------------------------------------------------------------------------------------


def _cumulative(name: str) -> Rule:
    def rule(b: TypedBuilder, a: Abstract, axis: Abstract = NONE, dtype: Abstract = NONE, out: Abstract = NONE) -> Abstract:
        x = _at_least_one_axis(b, b.array(a), axis)
        given = b.dtype_argument(dtype)
        to = accumulator(b, b.strong_dtype(x), given, out)
        keywords: dict[str, Any] = {"dtype": to.numpy.name} if given is not None or b.is_array(out) else {}
        if isinstance(axis, Static) and axis.value is None:
            flat = ArrayType(to, (dims.product(_shape(x)),))
            return finish(b, b.library(f"numpy.ndarray.{name}", (x,), flat, **keywords), out)
        return finish(b, _like(b, f"ndarray.{name}", x, to, axis=_axis(b, axis, b.rank(x), bools=False), **keywords), out)

    return rule


def _like(b: TypedBuilder, name: str, x: Value, to: DType, **keywords: Any) -> Value:
    """A function of NumPy whose result has the shape of its argument."""
    assert isinstance(x.type, ArrayType)
    dense = x.type.layout == "C" or x.type.rank == 1
    return b.library(f"numpy.{name}", (x,), ArrayType(to, x.type.shape, "C" if dense else "A"), **keywords)


def _sorting(sort: Callable[[TypedBuilder, Value, dict[str, Any]], Value]) -> Rule:
    def rule(
        b: TypedBuilder, a: Abstract, axis: Abstract = MINUS_ONE, kind: Abstract = NONE, order: Abstract = NONE, *,
        stable: Abstract = NONE,
    ) -> Abstract:  # fmt: skip
        x = b.array(a)
        if b.static(order, "order") is not None:
            b.fail("ValueError", "Cannot specify order when the array has no fields.")
        if isinstance(axis, Static) and axis.value is None:
            x, axis = b.value(_flatten(b, x)), MINUS_ONE
        chosen = {"kind": b.static(kind, "kind"), "stable": b.static(stable, "stable")}
        keywords = {k: v for k, v in chosen.items() if v is not None}
        x = _at_least_one_axis(b, x, axis) if sort is _order else x
        keywords["axis"] = _axis(b, axis, b.rank(x), bools=sort is not _order)
        return sort(b, x, keywords)

    return rule


def _sorted(b: TypedBuilder, x: Value, keywords: dict[str, Any]) -> Value:
    assert isinstance(x.type, ArrayType)
    if x.type.layout == "A" and x.type.rank > 1:  # NumPy keeps the order of the strides
        return _like(b, "sort", x, x.type.dtype, **keywords)
    result = b.copy(x, x.type.layout if x.type.rank > 1 else "C")
    b.effect("library", (result,), function="numpy.ndarray.sort", keywords=keywords)
    return result


def _order(b: TypedBuilder, x: Value, keywords: dict[str, Any]) -> Value:
    return _like(b, "ndarray.argsort", x, I64, **keywords)


# -- the rows ------------------------------------------------------------------------------------------------------


ROWS: tuple[OpDef, ...] = (
    function_row("reshape_array", _reshape, np.reshape),
    function_row("reshape_method", _reshape_method, methods=("reshape",)),
    function_row("ravel", _ravel, np.ravel, methods=("ravel",)),
    function_row("flatten", _flatten, methods=("flatten",)),
    function_row("transpose", _transpose, np.transpose),
    function_row("transpose_method", _transpose_method, methods=("transpose",)),
    function_row("swapaxes", _swapaxes, np.swapaxes, methods=("swapaxes",)),
    function_row("moveaxis", _moveaxis, np.moveaxis),
    function_row("rollaxis", _rollaxis, np.rollaxis),
    function_row("expand_dims", _expand_dims, np.expand_dims),
    function_row("squeeze", _squeeze, np.squeeze, methods=("squeeze",)),
    function_row("atleast_1d", _atleast(1), np.atleast_1d),
    function_row("atleast_2d", _atleast(2), np.atleast_2d),
    function_row("broadcast_to", _broadcast_to, np.broadcast_to),
    function_row("broadcast_arrays", _broadcast_arrays, np.broadcast_arrays),
    function_row("concatenate", _concatenate, np.concatenate),
    function_row("stack", _stack, np.stack),
    function_row("vstack", _vstack, np.vstack),
    function_row("hstack", _hstack, np.hstack),
    function_row("column_stack", _column_stack, np.column_stack),
    function_row("flip", _flip, np.flip),
    function_row("flipud", _flip_axis(0, "flipud"), np.flipud),
    function_row("fliplr", _flip_axis(1, "fliplr"), np.fliplr),
    function_row("roll", _roll, np.roll),
    function_row("repeat", _repeat, np.repeat, methods=("repeat",)),
    function_row("tile", _tile, np.tile),
    function_row("diff", _diff, np.diff),
    function_row("where", _where, np.where),
    function_row("clip", _clip, np.clip),
    function_row("clip_method", _clip_method, methods=("clip",)),
    function_row("round", _round, np.round, np.around, methods=("round",)),
    function_row("copyto", _copyto, np.copyto),
    function_row("divmod", _divmod, np.divmod),
    function_row("modf", _modf, np.modf),
    function_row("frexp", _frexp, np.frexp),
    function_row("outer", _outer, np.outer),
    function_row("dot", _dot, np.dot, methods=("dot",)),
    function_row("matmul", _matmul, np.matmul),
    function_row("vecdot", _vecdot, np.vecdot) if hasattr(np, "vecdot") else function_row("vecdot", _vecdot),
    function_row("inner", _inner, np.inner),
    function_row("cumsum", _cumulative("cumsum"), np.cumsum, methods=("cumsum",)),
    function_row("cumprod", _cumulative("cumprod"), np.cumprod, methods=("cumprod",)),
    function_row("sort", _sorting(_sorted), np.sort),
    function_row("argsort", _sorting(_order), np.argsort, methods=("argsort",)),
)
