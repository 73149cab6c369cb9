"""What an array or a number has as attributes, and the methods that are no function of NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tensorjit.ir import dims
from tensorjit.ir.graph import Value
from tensorjit.ir.types import PY_BOOL, PY_COMPLEX, PY_FLOAT, PY_INT, ArrayType, Layout, ScalarType
from tensorjit.ops.abstract import Abstract, Sequence_, Static
from tensorjit.ops.opdef import Loop, OpDef, Rule
from tensorjit.ops.python_scalars import is_python

if TYPE_CHECKING:
    from tensorjit.ops.typed import TypedBuilder


Attribute = Callable[["TypedBuilder", Abstract], Abstract]
_PYTHON = {"b": PY_BOOL, "i": PY_INT, "f": PY_FLOAT, "c": PY_COMPLEX}


def _shape(b: TypedBuilder, x: Abstract) -> Abstract:
    return Sequence_(tuple(b.int_of(d) for d in b.shape_of(x)))


def _ndim(b: TypedBuilder, x: Abstract) -> Abstract:
    return Static(b.rank(x))


def _size(b: TypedBuilder, x: Abstract) -> Abstract:
    return b.int_of(dims.product(b.shape_of(x)))


def _dtype(b: TypedBuilder, x: Abstract) -> Abstract:
    return Static(b.strong_dtype(x).numpy)


def _itemsize(b: TypedBuilder, x: Abstract) -> Abstract:
    return Static(b.strong_dtype(x).size)


def _nbytes(b: TypedBuilder, x: Abstract) -> Abstract:
    return b.int_of(dims.product(b.shape_of(x)) * b.strong_dtype(x).size)


def _transposed(b: TypedBuilder, x: Abstract) -> Abstract:
    return b.transpose(b.value(x), range(b.rank(x))[::-1]) if b.is_array(x) else x


def _matrix_transposed(b: TypedBuilder, x: Abstract) -> Abstract:
    rank = b.rank(x)
    if not b.is_array(x):
        b.fail("AttributeError", f"'numpy.{b.strong_dtype(x).numpy.name}' object has no attribute 'mT'")
        return x
    if rank < 2:
        b.fail("ValueError", "matrix transpose with ndim < 2 is undefined")
        return x
    return b.transpose(b.value(x), [*range(rank - 2), rank - 1, rank - 2])


def part(b: TypedBuilder, x: Abstract, name: str) -> Abstract:
    """x.real or x.imag: of a real array itself, or zeros that cannot be written."""
    if is_python(x):
        return _python_part(b, x, name)
    dtype = b.strong_dtype(x)
    if dtype.kind != "c":
        if name == "real":
            return x
        if not (isinstance(x, Value) and isinstance(x.type, ArrayType)):
            return Static(dtype.numpy.type(0))
        layout: Layout = "F" if x.type.layout == "F" else "C"
        return b.library("numpy.imag", (x,), ArrayType(dtype, x.type.shape, layout, "readonly"))
    if isinstance(x, Value) and isinstance(x.type, ArrayType):
        return b.share("part", x, dtype.part, x.type.shape, "A", which=name)
    return b.apply(name, (x,), Loop((dtype,), dtype.part))


def _python_part(b: TypedBuilder, x: Abstract, name: str) -> Abstract:
    if isinstance(x, Static):
        return Static(getattr(x.value, name))
    value = b.value(x)
    assert isinstance(value.type, ScalarType)
    if value.type.dtype.kind != "c":
        if value.type.dtype.kind == "b":
            return b.cast_scalar(value, PY_INT) if name == "real" else Static(0)
        return value if name == "real" else Static(0.0 if value.type.dtype.kind == "f" else 0)
    number = b.cast_scalar(value, ScalarType(value.type.dtype))
    found = b.value(b.apply(name, (number,), Loop((value.type.dtype,), value.type.dtype.part)))
    return b.cast_scalar(found, ScalarType(value.type.dtype.part, python=True))


def _of_numpy(name: str, attribute: Attribute) -> Attribute:
    """An attribute that Python's numbers do not have."""

    def found(b: TypedBuilder, x: Abstract) -> Abstract:
        if is_python(x):
            value = b.value(x)
            b.fail("AttributeError", f"'{value.type}' object has no attribute '{name}'")
            return Static(0)
        return attribute(b, x)

    return found


_OF_NUMPY: Mapping[str, Attribute] = {
    "shape": _shape,
    "ndim": _ndim,
    "size": _size,
    "dtype": _dtype,
    "itemsize": _itemsize,
    "nbytes": _nbytes,
    "T": _transposed,
    "mT": _matrix_transposed,
}
ATTRIBUTES: dict[str, Attribute] = {
    **{name: _of_numpy(name, attribute) for name, attribute in _OF_NUMPY.items()},
    "real": lambda b, x: part(b, x, "real"),
    "imag": lambda b, x: part(b, x, "imag"),
}


def _item(b: TypedBuilder, x: Abstract, *args: Abstract) -> Abstract:
    """x.item(): a Python number."""
    if not b.is_array(x):
        value = b.value(x)
    elif args:
        key = args[0] if len(args) == 1 else Sequence_(args)
        items = key.items if isinstance(key, Sequence_) else (key,)
        if len(items) != b.rank(x):
            b.refuse("x.item of a flat index", "index with one integer for each axis")
        value = b.value(b.call("getitem", x, Sequence_(items)))
    else:
        message = "can only convert an array of size 1 to a Python scalar"
        b.check("eq", dims.product(b.shape_of(x)), 1, "ValueError", message)
        value = b.load(b.view(b.value(x), (), (), (0,) * b.rank(x)) if b.rank(x) else b.value(x))
    assert isinstance(value.type, ScalarType)
    kind = value.type.dtype.kind
    return b.call("py_int", value) if kind == "u" else b.cast_scalar(value, _PYTHON[kind])


def _takes_axes() -> bool:
    try:
        np.size(np.zeros(1), (0,))
    except TypeError:
        return False
    return True


_SIZE_OF_AXES = _takes_axes()  # since NumPy 2.4


def _size_of(b: TypedBuilder, a: Abstract, axis: Abstract = Static(None)) -> Abstract:
    x = b.array(a)
    if isinstance(axis, Static) and axis.value is None:
        return _size(b, x)
    if isinstance(b.static(axis, "axis"), tuple) and not _SIZE_OF_AXES:
        b.fail("TypeError", "tuple indices must be integers or slices, not tuple")
    if isinstance(axis, Sequence_) and axis.is_list and _SIZE_OF_AXES:
        axis = Sequence_(axis.items)
    return b.int_of(dims.product(b.shape_of(x)[k] for k in b.axes_argument(axis, b.rank(x))))


def _shape_of(b: TypedBuilder, a: Abstract) -> Abstract:
    return _shape(b, b.array(a))


def _ndim_of(b: TypedBuilder, a: Abstract) -> Abstract:
    return _ndim(b, b.array(a))


def _part_of(name: str) -> Rule:
    return lambda b, val: part(b, b.array(val) if isinstance(val, Sequence_) else val, name)


def _angle(b: TypedBuilder, z: Abstract, deg: Abstract = Static(False)) -> Abstract:
    z = b.array(z) if isinstance(z, Sequence_) else z
    if b.strong_dtype(z).kind == "c":
        result = b.elementwise("arctan2", part(b, z, "imag"), part(b, z, "real"))
    else:
        result = b.elementwise("arctan2", Static(0), z)
    return b.elementwise("multiply", result, Static(180 / math.pi)) if b.static(deg, "deg") else result


def _conjugate_method(b: TypedBuilder, x: Abstract) -> Abstract:
    """x.conj(): what is real itself; the ufunc makes a new array of it."""
    if is_python(x):
        re, im = part(b, x, "real"), part(b, x, "imag")
        return b.call("py_complex", re, b.call("py_neg", im)) if b.dtype_of(x) is complex else re
    return b.elementwise("conjugate", x) if b.strong_dtype(x).kind == "c" else x


def _sort_method(b: TypedBuilder, x: Abstract, axis: Abstract = Static(-1), kind: Abstract = Static(None)) -> Abstract:
    found = b.call("sort", x, axis=axis, kind=kind)
    if b.is_array(x):
        b.store(b.value(x), found, "sort array")
    return Static(None)


ROWS: tuple[OpDef, ...] = (
    OpDef("item", "function", methods=("item",), rule=_item),
    OpDef("shape_of", "function", (np.shape,), rule=_shape_of),
    OpDef("ndim_of", "function", (np.ndim,), rule=_ndim_of),
    OpDef("size_of", "function", (np.size,), rule=_size_of),
    OpDef("real_part", "function", (np.real,), rule=_part_of("real")),
    OpDef("imag_part", "function", (np.imag,), rule=_part_of("imag")),
    OpDef("angle", "function", (np.angle,), rule=_angle),
    OpDef("conjugate_method", "function", methods=("conj", "conjugate"), rule=_conjugate_method),
    OpDef("sort_method", "function", methods=("sort",), rule=_sort_method),
)
