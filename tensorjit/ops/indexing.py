"""Indexing: `x[key]` and `x[key] = value` for integers, slices, None and Ellipsis, known or not; NumPy does the rest.

Bounds are checked by `check` and `index_check` ops where they are not known to hold, with NumPy's messages; slices are clipped as
Python clips them, symbolically.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeGuard, final

import numpy as np

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import BOOL, DType, from_numpy
from tensorjit.ir.graph import Value
from tensorjit.ir.types import PY_INT, ArrayType, Layout, ScalarType
from tensorjit.ops.abstract import Abstract, Bound, Sequence_, Slice, Static, SymInt
from tensorjit.ops.opdef import OpDef
from tensorjit.ops.python_scalars import is_python
from tensorjit.ops.words import describe
from tensorjit.records import dataclass

if TYPE_CHECKING:
    from tensorjit.ops.typed import TypedBuilder

_INVALID = "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are valid indices"


@final
@dataclass(frozen=True, slots=True)
class Region:
    """A basic key resolved: the view that it selects, and whether every axis was given an integer."""

    shape: tuple[Dim, ...]
    axes: tuple[tuple[int | None, Dim], ...]
    offset: tuple[Dim, ...]
    element: bool


def index(b: TypedBuilder, x: Abstract, key: Abstract) -> Abstract:
    """x[key]: a NumPy scalar, a view, or, for masks and index arrays, a fresh array."""
    if not b.is_array(x):
        return _scalar_index(b, x, key)
    array = b.value(x)
    items = _numbers(b, _items(key))
    if any(_is_advanced(b, item) for item in items):
        return _advanced(b, array, items)
    region = _region(b, array, items)
    view = b.view(array, region.shape, region.axes, region.offset)
    if region.element:
        return b.load(view)
    assert isinstance(view.type, ArrayType)
    return b.copy(view, "F" if view.type.layout == "F" else "C") if is_copied(b, key) else view


def assign(b: TypedBuilder, x: Abstract, key: Abstract, value: Abstract) -> None:
    """x[key] = value."""
    array = b.value(x)
    if not b.writable(array):  # NumPy looks at that before it looks at the index
        return
    items = _numbers(b, _items(key))
    value = b.array(value) if isinstance(value, Sequence_) else value
    if any(_is_advanced(b, item) for item in items):
        _assign_mask(b, array, items, value)
        return
    region = _region(b, array, items)
    if region.element and b.rank(value):
        b.fail("ValueError", "setting an array element with a sequence.")
        return
    b.store(b.view(array, region.shape, region.axes, region.offset), converted(b, value, array))


def is_copied(b: TypedBuilder, key: Abstract) -> bool:
    """Whether x[key] is a fresh array: there is a mask or an index array in the key."""
    return any(_is_advanced(b, item) for item in _items(key))


def converted(b: TypedBuilder, value: Abstract, target: Value) -> Abstract:
    """A number as assignment converts it: through int() into an integer array, which refuses NaN and what does not fit."""
    assert isinstance(target.type, ArrayType)
    dtype = target.type.dtype
    if dtype.kind not in "iu" or b.is_array(value):
        return value
    own = b.strong_dtype(value)
    if own.kind not in "fiu" or own is dtype or b.dtype_of(value) is int:
        return value
    if dtype.kind == "u" and b.dtype_of(value) is not float:
        return value  # NumPy's scalars are cast into unsigned arrays
    whole: Abstract = b.call("py_int", value)
    return whole


def _items(key: Abstract) -> tuple[Abstract, ...]:
    return key.items if isinstance(key, Sequence_) and not key.is_list else (key,)


def _numbers(b: TypedBuilder, items: Sequence[Abstract]) -> list[Abstract]:
    """The parts of a key, an array of one integer and no axes read: it selects as its integer does, though NumPy copies."""
    return [_number(b, item) for item in items]


def _number(b: TypedBuilder, item: Abstract) -> Abstract:
    if isinstance(item, Slice):
        return Slice(_number(b, item.start), _number(b, item.stop), _number(b, item.step))
    return b.load(item) if _is_number(item) else item


def _is_number(item: Abstract) -> TypeGuard[Value]:
    if not (isinstance(item, Value) and isinstance(item.type, ArrayType)):
        return False
    return not item.type.rank and item.type.dtype.kind in "iu"


def _is_advanced(b: TypedBuilder, item: Abstract) -> bool:
    if isinstance(item, Sequence_) or (isinstance(item, Static) and isinstance(item.value, (bool, np.bool))):
        return True
    if isinstance(item, Value):
        return b.is_array(item) or (isinstance(item.type, ScalarType) and item.type.dtype is BOOL)
    return False


def _scalar_index(b: TypedBuilder, x: Abstract, key: Abstract) -> Abstract:
    if not is_python(x) and not isinstance(x, Value) and not (isinstance(x, Static) and _is_scalar(x.value)):
        b.refuse(f"an item of {describe(x)}", _item_hint(x))
    if is_python(x):
        b.fail("TypeError", f"'{b.constant_type(x) if isinstance(x, Static) else b.value(x).type}' object is not subscriptable")
        return x
    items = _items(key)
    if not items:
        return x
    if all(_is(item, None) or _is(item, Ellipsis) for item in items):  # as of the array that it would be
        return index(b, b.as_array(x), key)
    b.fail("IndexError", "invalid index to scalar variable.")
    return x


def _is_scalar(x: object) -> bool:
    """Whether something is a NumPy scalar of a dtype that is compiled: records have items."""
    return isinstance(x, np.generic) and from_numpy(x.dtype) is not None


def _item_hint(x: Abstract) -> str:
    """What to write instead of an item of something that is neither an array nor a number."""
    if isinstance(x, Bound):
        return "call the method"
    if isinstance(x, Static) and type(x.value).__module__.startswith("numpy."):
        return _INSTEAD.get(type(x.value).__name__, "make it outside")
    return "pass what is needed of it as an argument of its own" if isinstance(x, Static) else ""


_INSTEAD: Final = {  # of np.r_ and its like, by their classes
    "RClass": "use np.concatenate, np.arange or np.linspace",
    "CClass": "use np.column_stack",
    "IndexExpression": "write the slice where it is used",
    "MGridClass": "use np.arange(...)[:, None] and the like, which broadcast, or make it outside",
    "OGridClass": "use np.arange(...)[:, None] and the like",
}


# -- basic keys ----------------------------------------------------------------------------------------------------


def _is(item: Abstract, value: object) -> bool:
    return isinstance(item, Static) and item.value is value


def _region(b: TypedBuilder, x: Value, items: Sequence[Abstract]) -> Region:
    assert isinstance(x.type, ArrayType)
    rank = x.type.rank
    used = sum(not _is(item, None) and not _is(item, Ellipsis) for item in items)
    if used > rank:
        message = f"too many indices for array: array is {rank}-dimensional, but {used} were indexed"
        b.fail("IndexError", message)
        items, used = [], 0
    if sum(_is(item, Ellipsis) for item in items) > 1:
        b.fail("IndexError", "an index can only have a single ellipsis ('...')")
        items, used = [], 0
    whole = [Slice(Static(None), Static(None), Static(None))] * (rank - used)
    dotted = next((k for k, item in enumerate(items) if _is(item, Ellipsis)), None)
    before, after = (items, []) if dotted is None else (items[:dotted], items[dotted + 1 :])
    items = [*before, *whole, *after]
    return _resolve(b, x.type.shape, items, element=rank == used and dotted is None)


def _resolve(b: TypedBuilder, sizes: Sequence[Dim], items: Sequence[Abstract], element: bool) -> Region:
    shape: list[Dim] = []
    axes: list[tuple[int | None, Dim]] = []
    offset: list[Dim] = []
    for item in items:
        axis = len(offset)
        if _is(item, None):
            shape.append(1)
            axes.append((None, 0))
        elif isinstance(item, Slice):
            start, length, step = _slice(b, item, sizes[axis])
            shape.append(length)
            axes.append((axis, step))
            offset.append(start)
        else:
            offset.append(position(b, item, sizes[axis], axis))
    return Region(tuple(shape), tuple(axes), tuple(offset), element and not axes)


def position(b: TypedBuilder, item: Abstract, size: Dim, axis: int) -> Dim:
    """An integer index as an offset in [0, size), checked where it is not known to be one."""
    if not _is_integer(b, item):
        b.fail("IndexError", _INVALID)
        return 0
    if isinstance(item, Value) and item not in b.sizes:
        return _checked(b, item, size, axis)
    given = b.dim(item)
    message = f"index {{}} is out of bounds for axis {axis} with size {{}}"
    if b.at_least(given, 0):
        b.check("gt", size, given, "IndexError", message, (given, size))
        return given
    if b.at_least(-1, given):
        b.check("ge", given + size, 0, "IndexError", message, (given, size))
        return given + size
    return _checked(b, b.value(item), size, axis)


def _is_integer(b: TypedBuilder, item: Abstract) -> bool:
    if isinstance(item, Value):
        return isinstance(item.type, ScalarType) and item.type.dtype.kind in "iu"
    return isinstance(item, SymInt) or (isinstance(item, Static) and isinstance(item.value, (int, np.integer)))


def _checked(b: TypedBuilder, item: Value, size: Dim, axis: int) -> Dim:
    value = item if item.type == PY_INT else b.cast_scalar(b.python_int(item), PY_INT)
    found = b.add("index_check", (value,), PY_INT, size=size, axis=axis)
    return b.bind(found, "k", low=0, upper=size - 1)


# -- slices --------------------------------------------------------------------------------------------------------


def _slice(b: TypedBuilder, item: Slice, size: Dim) -> tuple[Dim, Dim, Dim]:
    """(start, length, step) of a slice over an axis."""
    if not isinstance(item.step, Static):
        return _any_slice(b, item, size)
    step = 1 if item.step.value is None else item.step.value
    if not isinstance(step, (int, np.integer)):
        b.fail("TypeError", "slice indices must be integers or None or have an __index__ method")
        return 0, size, 1
    if step == 0:
        b.fail("ValueError", "slice step cannot be zero")
        return 0, size, 1
    step = int(step)
    start, length = _upward(b, item, size, step) if step > 0 else _downward(b, item, size, -step)
    return start, length, step


def _upward(b: TypedBuilder, item: Slice, size: Dim, step: Dim) -> tuple[Dim, Dim]:
    # a start past the end and a stop before the beginning both leave nothing: no need to clip them
    start = _bound(b, item.start, size, default=0, low=0)
    stop = _bound(b, item.stop, size, default=size, high=size)
    return start, _length(b, stop - start, step)


def _downward(b: TypedBuilder, item: Slice, size: Dim, step: Dim) -> tuple[Dim, Dim]:
    start = _bound(b, item.start, size, default=size - 1, high=size - 1)
    stop = _bound(b, item.stop, size, default=-1, low=-1)
    return start, _length(b, start - stop, step)


def _any_slice(b: TypedBuilder, item: Slice, size: Dim) -> tuple[Dim, Dim, Dim]:
    """The same for a step that is known at run time only, its sign too."""
    given = b.call("py_int", item.step) if b.dtype_of(item.step) is BOOL and is_python(item.step) else item.step
    if not _is_integer(b, given):
        b.fail("TypeError", "slice indices must be integers or None or have an __index__ method")
        return 0, size, 1
    step = b.dim(given)
    near = dims.minimum(dims.maximum(step, -size - 1), size + 1)  # reaches no further element, and cannot overflow
    pace = dims.maximum(dims.maximum(near, -near), 0)
    if not (b.at_least(step, 1) or b.at_least(-1, step)):
        b.check("gt", pace, 0, "ValueError", "slice step cannot be zero")
    pace = dims.maximum(pace, 1)
    if b.at_least(step, 1):
        start, length = _upward(b, item, size, pace)
    elif b.at_least(-1, step):
        start, length = _downward(b, item, size, pace)
    else:
        up = dims.maximum(dims.minimum(step, 1), 0)  # 1 where the step is positive, else 0
        (first, many), (last, more) = _upward(b, item, size, pace), _downward(b, item, size, pace)
        start, length = up * first + (1 - up) * last, up * many + (1 - up) * more
    return _bound_once(b, start, -dims.INF), _bound_once(b, length, 0), step


def _bound_once(b: TypedBuilder, dim: Dim, low: int) -> Dim:
    """A long expression computed where it stands, under a name of its own."""
    return dim if isinstance(dim, int) else b.bind(b.value(b.int_of(dim)), "k", low=low)


def _length(b: TypedBuilder, distance: Dim, step: Dim) -> Dim:
    steps = dims.ceildiv(distance, step) if isinstance(step, int) else dims.floordiv(distance + (step - 1), step)
    return _most(b, steps, 0)


def _bound(b: TypedBuilder, given: Abstract, size: Dim, default: Dim, low: Dim | None = None, high: Dim | None = None) -> Dim:
    """A slice bound, counted from the end where it is negative; then not below `low`, and where it was not, not above `high`."""
    if _is(given, None):
        return default
    if b.dtype_of(given) is BOOL and is_python(given):  # an int, there
        given = b.call("py_int", given)
    if not _is_integer(b, given):
        b.fail("TypeError", "slice indices must be integers or None or have an __index__ method")
        return default
    bound = b.dim(given)
    if b.at_least(bound, 0):
        return bound if high is None else _least(b, bound, high)
    if b.at_least(-1, bound):
        return bound + size if low is None else _most(b, bound + size, low)
    negative = dims.maximum(-dims.maximum(bound, -1), 0)  # 1 where the bound is negative, without overflow
    clipped = dims.minimum(dims.maximum(bound, -1 - size), size)  # so that no sum leaves 64 bits
    wrapped = clipped + size * negative
    wrapped = wrapped if low is None else _most(b, wrapped, low)
    return wrapped if high is None else _least(b, wrapped, high)


def _least(b: TypedBuilder, x: Dim, y: Dim) -> Dim:
    if b.at_least(y, x):
        return x
    return y if b.at_least(x, y) else dims.minimum(x, y)


def _most(b: TypedBuilder, x: Dim, y: Dim) -> Dim:
    if b.at_least(x, y):
        return x
    return y if b.at_least(y, x) else dims.maximum(x, y)


# -- masks and index arrays ----------------------------------------------------------------------------------------


def _advanced(b: TypedBuilder, x: Value, items: Sequence[Abstract]) -> Abstract:
    """One mask or one index array, by NumPy."""
    if len(items) != 1:
        b.refuse("an index of several parts with an array among them", "index in two steps, or write a loop")
    key = b.call("array", items[0], Static(np.intp)) if _is_empty(items[0]) else b.array(items[0])
    assert isinstance(x.type, ArrayType) and isinstance(key.type, ArrayType)
    if key.type.dtype is BOOL:
        rest = x.type.shape[key.type.rank :]
        shape: tuple[Dim, ...] = (b.symbol("n"), *rest)
    elif key.type.dtype.kind in "iu":
        shape = (*key.type.shape, *x.type.shape[1:])
    else:
        listed = isinstance(items[0], Sequence_)
        b.fail("IndexError", _INVALID if listed else "arrays used as indices must be of integer (or boolean) type")
        return x
    if (key.type.rank if key.type.dtype is BOOL else 1) > x.type.rank:
        used = key.type.rank if key.type.dtype is BOOL else 1
        message = f"too many indices for array: array is {x.type.rank}-dimensional, but {used} were indexed"
        b.fail("IndexError", message)
        return x
    layout: Layout = "C" if len(shape) < 2 else "A"
    return b.library("operator.getitem", (x, key), ArrayType(x.type.dtype, shape, layout))


def _is_empty(item: Abstract) -> bool:
    """A list of no numbers: its dtype says nothing."""
    return isinstance(item, Sequence_) and all(map(_is_empty, item.items))


def _assign_mask(b: TypedBuilder, x: Value, items: Sequence[Abstract], value: Abstract) -> None:
    """x[mask] = number, as one elementwise pass."""
    hint = "use np.where, or write a loop"
    if len(items) != 1:
        b.refuse("an assignment to an index of several parts with an array among them", hint)
    if b.rank(value):
        b.refuse("an assignment of an array through a mask or an index array", hint)
    mask = b.array(items[0])
    assert isinstance(x.type, ArrayType) and isinstance(mask.type, ArrayType)
    if mask.type.dtype is not BOOL or mask.type.rank != x.type.rank:
        b.refuse("an assignment through an index array", hint)
    for axis, (have, want) in enumerate(zip(x.type.shape, mask.type.shape, strict=True)):
        message = "boolean index did not match indexed array along axis {0}; size of axis is {{}} but size of"
        text = message.format(axis) + " corresponding boolean axis is {}"
        b.check("eq", have, want, "IndexError", text, (have, want))
    b.store(x, b.where(mask, b.as_dtype(_filling(b, value, x.type.dtype), x.type.dtype), x), masked=True)


def _filling(b: TypedBuilder, value: Abstract, dtype: DType) -> Abstract:
    """A number as np.asarray(value, dtype) takes it: Python's must fit, NumPy's are cast."""
    if b.strong_dtype(value).kind == "c" and dtype.kind not in "bc":
        if not is_python(value):
            b.refuse("a complex value is stored into a real array, which drops its imaginary part", "take .real first")
        refused: Abstract = b.call("py_int" if dtype.kind in "iu" else "py_float", value)
        return refused
    if not is_python(value) or dtype.kind not in "iu":
        return value
    return b.in_range(b.call("py_int", value), dtype)


ROWS: tuple[OpDef, ...] = (
    OpDef("getitem", "function", rule=index, doc="x[key]"),
    OpDef("setitem", "function", rule=assign, doc="x[key] = value"),
)
