"""What an array or a number has as attributes, and the methods that are no function of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tensorjit.ir import dims
from tensorjit.ir.types import ArrayType, ScalarType
from tensorjit.ops.abstract import Abstract, Sequence_, Static
from tensorjit.ops.opdef import Loop, OpDef
from tensorjit.ops.python_scalars import is_python

if TYPE_CHECKING:
    from tensorjit.ops.typed import TypedBuilder


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
        if not b.is_array(x):
            return Static(dtype.numpy.type(0))
        zeros = b.full(b.shape_of(x), Static(dtype.numpy.type(0)), dtype)
        b.readonly.add(zeros)
        return zeros
    loop = Loop((dtype,), dtype.part)
    if not b.is_array(x) or b.rank(x):
        result = b.apply(name, (x,), loop)
    else:
        result = b.as_array(b.apply(name, (x,), loop))
    if b.is_array(x):
        b.ambiguous.add(b.value(result))  # NumPy's is a view of x
    return result


def _python_part(b: TypedBuilder, x: Abstract, name: str) -> Abstract:
    if isinstance(x, Static):
        return Static(getattr(x.value, name))
    value = b.value(x)
    assert isinstance(value.type, ScalarType)
    if value.type.dtype.kind != "c":
        return x if name == "real" else Static(0.0 if value.type.dtype.kind == "f" else 0)
    number = b.cast_scalar(value, ScalarType(value.type.dtype))
    found = b.value(b.apply(name, (number,), Loop((value.type.dtype,), value.type.dtype.part)))
    return b.cast_scalar(found, ScalarType(value.type.dtype.part, python=True))


ATTRIBUTES: dict[str, Callable[[Any, Abstract], Abstract]] = {
    "shape": _shape,
    "ndim": _ndim,
    "size": _size,
    "dtype": _dtype,
    "itemsize": _itemsize,
    "nbytes": _nbytes,
    "T": _transposed,
    "mT": _matrix_transposed,
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
    dtype = value.type.dtype
    wide = {"b": "?", "i": "q", "f": "d", "c": "D"}
    if dtype.kind == "u":
        return b.call("py_int", value)
    target = next(t for t in _python_types() if t.dtype.numpy == wide[dtype.kind])
    return b.cast_scalar(value, target)


def _python_types() -> tuple[ScalarType, ...]:
    from_rank = ("b", "i", "f", "c")
    return tuple(t for t in _PYTHON if t.dtype.kind in from_rank)


def _size_of(b: TypedBuilder, a: Abstract, axis: Abstract = Static(None)) -> Abstract:
    x = b.array(a)
    if isinstance(axis, Static) and axis.value is None:
        return _size(b, x)
    (chosen,) = b.axes_argument(axis, b.rank(x)) or (0,)
    return b.int_of(b.shape_of(x)[chosen])


ROWS: tuple[OpDef, ...] = ()
