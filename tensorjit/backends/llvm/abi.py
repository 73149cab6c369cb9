"""What native host code and its surroundings agree on: the context, CPython's and NumPy's layouts, and the
values passed about.

The offsets are CPython's and NumPy 2's public struct layouts (`Include/cpython/*.h`, `numpy/ndarraytypes.h`).
They are derived where they can be and compared once, at import, with live objects: on an interpreter laid out
otherwise the import fails instead of the first call.

Values in registers: bool is `i1`, integers of either sign `iN`, float16 `half`, complex `{T, T}`. In memory
bool is `i8`.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from typing import Any, final

import numpy as np
from llvmlite import ir

from tensorjit.records import dataclass

__all__ = [
    "CONTEXT",
    "INLINE_REFCOUNT",
    "LAYOUT",
    "STATUS_ERROR",
    "STATUS_EXCEPTION",
    "STATUS_GUARD",
    "STATUS_OK",
    "SWAPPED",
    "ArrayValue",
    "Layout",
    "LayoutError",
    "ObjectValue",
    "ScalarValue",
    "Value",
    "context_field",
    "global_variable",
    "memory_type",
    "numpy_api_address",
    "python_api_address",
    "register_type",
    "stack_room",
    "type_numbers",
]

DType = np.dtype[Any]

I1 = ir.IntType(1)
I8 = ir.IntType(8)
I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
HALF = ir.HalfType()
FLOAT = ir.FloatType()
DOUBLE = ir.DoubleType()
PTR = ir.PointerType()
VOID = ir.VoidType()

FREE_THREADED = "t" in getattr(sys, "abiflags", "")
"""Built without a GIL: reference counts and counters are shared between running threads."""

INLINE_REFCOUNT = (
    not FREE_THREADED
    and sys.byteorder == "little"
    and object.__basicsize__ == 16
    and not hasattr(sys, "gettotalrefcount")  # a debug build counts all references once more
)
"""The reference count is the first word of an object, and may be counted up in line."""

# -- the context -----------------------------------------------------------------------------------

STATUS_OK = 0
STATUS_EXCEPTION = 1  # a Python exception is set
STATUS_ERROR = 2  # error_code and error_args say which
STATUS_GUARD = 3  # an assumption failed before any effect: try the next entry

ERROR_ARGS = 8
_CONTEXT_FIELDS = {
    "status": I32,
    "error_code": I32,
    "error_args": ir.ArrayType(I64, ERROR_ARGS),
    "budget": I64,
    "fp_status": I32,
    "saved_thread": PTR,
    "turns": I64,  # left of host code until it lets signals and other threads in; `budget` is the kernels'
}
CONTEXT = ir.LiteralStructType(list(_CONTEXT_FIELDS.values()))
"""The record on the entry's stack that every kernel gets a pointer to."""

FP_DIVIDE = 1  # NumPy's NPY_FPE_* bits (numpy/npy_math.h)
FP_OVERFLOW = 2
FP_UNDERFLOW = 4
FP_INVALID = 8


def context_field(builder: ir.IRBuilder, context: ir.Value, name: str) -> ir.Value:
    """The address of a field of the context."""
    index = list(_CONTEXT_FIELDS).index(name)
    return builder.gep(context, [I32(0), I32(index)], inbounds=True, source_etype=CONTEXT)


def stack_room(builder: ir.IRBuilder, kind: ir.Type, count: int = 1, name: str = "") -> ir.Value:
    """Room for `count` values in the frame; the builder stands in the function's first block."""
    room = builder.alloca(kind, I64(count), name=name)
    room.type = PTR  # llvmlite still types what alloca gives, and then refuses stores of fields
    return room


def global_variable(module: ir.Module, kind: ir.Type, name: str) -> ir.GlobalVariable:
    """A global, seen as a plain pointer."""
    variable = ir.GlobalVariable(module, kind, name)
    variable.type = PTR
    return variable


# -- dtypes ----------------------------------------------------------------------------------------

_REAL: dict[str, ir.Type] = {
    "b1": I1,
    "i1": I8,
    "i2": I16,
    "i4": I32,
    "i8": I64,
    "u1": I8,
    "u2": I16,
    "u4": I32,
    "u8": I64,
    "f2": HALF,
    "f4": FLOAT,
    "f8": DOUBLE,
}
_REGISTER: dict[str, ir.Type] = {
    **_REAL,
    "c8": ir.LiteralStructType([FLOAT, FLOAT]),
    "c16": ir.LiteralStructType([DOUBLE, DOUBLE]),
}
DTYPES = tuple(np.dtype(code) for code in _REGISTER)


def register_type(dtype: DType) -> ir.Type:
    """The LLVM type of one element in a register."""
    return _REGISTER[f"{dtype.kind}{dtype.itemsize}"]


def memory_type(dtype: DType) -> ir.Type:
    """The LLVM type of one element in memory."""
    return I8 if dtype.kind == "b" else register_type(dtype)


def type_numbers(dtype: DType) -> tuple[int, ...]:
    """NumPy's type numbers that mean this dtype here: `long` and `long long` are two numbers for one
    int64."""
    return tuple(sorted({np.dtype(c).num for c in "?bBhHiIlLqQefdFD" if np.dtype(c) == dtype}))


SWAPPED = ">" if sys.byteorder == "little" else "<"
"""What a descriptor holds for its byte order where that is not the machine's."""


# -- layouts ---------------------------------------------------------------------------------------

ARRAY_C_CONTIGUOUS = 0x1
ARRAY_F_CONTIGUOUS = 0x2
ARRAY_ALIGNED = 0x100
ARRAY_WRITEABLE = 0x400


class LayoutError(ImportError):
    """This interpreter or this NumPy lays out its objects in a way that native code was not written for."""


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """Byte offsets of the fields that native code reads."""

    header: int  # sizeof(PyObject)
    type: int  # Py_TYPE
    float_value: int
    complex_value: int
    size: int  # Py_SIZE of a variable-sized object
    tuple_items: int
    list_items: int  # the address of the items
    cell_content: int
    function_code: int
    function_defaults: int
    function_kwdefaults: int
    scalar_value: int  # of a NumPy scalar object
    array_data: int
    array_rank: int
    array_dims: int
    array_strides: int
    array_base: int
    array_descr: int
    array_flags: int
    descr_byte_order: int
    descr_type_number: int


def _expected_layout() -> Layout:
    header = object.__basicsize__
    return Layout(
        header=header,
        type=header - 8,
        float_value=header,
        complex_value=header,
        size=header,
        tuple_items=tuple.__basicsize__,
        list_items=header + 8,
        cell_content=header,
        function_code=header + 32,
        function_defaults=header + 40,
        function_kwdefaults=header + 48,
        scalar_value=header,
        array_data=header,
        array_rank=header + 8,
        array_dims=header + 16,
        array_strides=header + 24,
        array_base=header + 32,
        array_descr=header + 40,
        array_flags=header + 48,
        descr_byte_order=header + 10,
        descr_type_number=header + 12,
    )


def _check(name: str, got: object, expected: object) -> None:
    if got != expected:
        raise LayoutError(
            f"native code can not run on Python {platform.python_version()} with NumPy {np.__version__}: "
            f"unexpected {name} ({got!r}, not {expected!r})"
        )


def _pointer(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _check_python(layout: Layout) -> None:
    _check("pointer size", ctypes.sizeof(ctypes.c_void_p), 8)
    number, pair, point = 1234.5, (object(), object()), complex(3.0, 4.0)
    _check("type of an object", _pointer(id(number) + layout.type), id(float))
    _check("float value", ctypes.c_double.from_address(id(number) + layout.float_value).value, number)
    _check("complex value", ctypes.c_double.from_address(id(point) + layout.complex_value + 8).value, 4.0)
    _check("tuple size", _pointer(id(pair) + layout.size), 2)
    _check("tuple items", _pointer(id(pair) + layout.tuple_items + 8), id(pair[1]))
    items = [number, pair]
    _check("list items", _pointer(_pointer(id(items) + layout.list_items) + 8), id(pair))
    cell = (lambda: number).__closure__
    assert cell is not None
    _check("cell content", _pointer(id(cell[0]) + layout.cell_content), id(number))

    def function(first: object = pair, *, second: object = point) -> None:
        pass

    _check("code of a function", _pointer(id(function) + layout.function_code), id(function.__code__))
    _check("defaults of a function", _pointer(id(function) + layout.function_defaults), id(function.__defaults__))
    _check("keyword defaults", _pointer(id(function) + layout.function_kwdefaults), id(function.__kwdefaults__))


def _check_scalars(layout: Layout) -> None:
    for dtype in DTYPES:
        scalar = dtype.type(1)
        _check(
            "NumPy scalar",
            ctypes.string_at(id(scalar) + layout.scalar_value, dtype.itemsize),
            scalar.tobytes(),
        )


def _check_arrays(layout: Layout) -> None:
    whole = np.zeros((4, 6), "f4")
    view = whole[::2, ::-1]
    at = id(view)
    _check("array data", _pointer(at + layout.array_data), view.__array_interface__["data"][0])
    _check("array rank", ctypes.c_int.from_address(at + layout.array_rank).value, 2)
    dims = (ctypes.c_int64 * 2).from_address(_pointer(at + layout.array_dims))
    strides = (ctypes.c_int64 * 2).from_address(_pointer(at + layout.array_strides))
    _check("array dimensions", tuple(dims), view.shape)
    _check("array strides", tuple(strides), view.strides)
    _check("array base", _pointer(at + layout.array_base), id(whole))
    _check("array descriptor", _pointer(at + layout.array_descr), id(view.dtype))
    _check("array flags", ctypes.c_int.from_address(at + layout.array_flags).value, view.flags.num)
    swapped = np.dtype("i4").newbyteorder()
    order = ctypes.c_char.from_address(id(swapped) + layout.descr_byte_order).value.decode()
    _check("byte order", order, swapped.byteorder)
    number = ctypes.c_int.from_address(id(swapped) + layout.descr_type_number).value
    _check("type number", number, swapped.num)


def _checked_layout() -> Layout:
    layout = _expected_layout()
    _check("implementation", sys.implementation.name, "cpython")
    _check_python(layout)
    _check_scalars(layout)
    _check_arrays(layout)
    return layout


LAYOUT = _checked_layout()

# -- addresses -------------------------------------------------------------------------------------

# NumPy's C API is a table whose order is its ABI (numpy/_core/code_generators/numpy_api.py).
_NUMPY_API = {
    "PyArray_Type": 2,
    "PyArray_Scalar": 60,
    "PyArray_NewFromDescr": 94,
    "PyArray_Zeros": 183,
    "PyArray_SetBaseObject": 282,
}


def _numpy_table() -> int:
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return int(get_pointer(np._core._multiarray_umath._ARRAY_API, None))  # type: ignore[attr-defined]


def numpy_api_address(name: str) -> int:
    """The address of a function or type of NumPy's C API."""
    return _pointer(_numpy_table() + 8 * _NUMPY_API[name])


def python_api_address(name: str) -> int:
    """The address of a function or object of CPython's C API."""
    address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert address is not None
    return address


_check("NumPy C API", numpy_api_address("PyArray_Type"), id(np.ndarray))

# -- values ----------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class ArrayValue:
    """An array in native code: strides in bytes; `owner` keeps the memory alive; `object` *is* the array,
    where there is one.

    A view that never leaves the function has no object of its own and costs nothing. `writable` says whether it can be written
    if its owner can, as an i1 where that depends on the path.
    """

    dtype: DType
    data: ir.Value
    dims: tuple[ir.Value, ...]
    strides: tuple[ir.Value, ...]
    owner: ir.Value | None = None
    object: ir.Value | None = None
    writable: bool | ir.Value = True

    @property
    def rank(self) -> int:
        return len(self.dims)


@final
@dataclass(frozen=True, slots=True)
class ScalarValue:
    """A scalar in a register; `python` says that it is Python's bool, int, float or complex, otherwise
    NumPy's of that dtype.

    `object` is the object it was read from, so that returning it gives the very object.
    """

    dtype: DType
    value: ir.Value
    python: bool = False
    object: ir.Value | None = None


@final
@dataclass(frozen=True, slots=True)
class ObjectValue:
    """A Python object that native code only hands on (a borrowed reference)."""

    object: ir.Value


Value = ArrayValue | ScalarValue | ObjectValue | tuple["Value", ...] | None
"""What goes in and out of native code; None is Python's None."""
