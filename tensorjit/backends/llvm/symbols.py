"""What generated host code may call, and where it is.

Every symbol has a prefix that says who provides it: `tj_py_` CPython's C API, `tj_np_` NumPy's, `tj_type_`,
`tj_alloc_` and `tj_descr_` NumPy's scalar types, their allocators and descriptors by type character, `tj_rt_`
the support library, `tj_const_` the module's own table of Python objects. Without prefixes a kernel could
replace a library's function by its own name, or itself be replaced.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable

import numpy as np
from llvmlite import ir

from tensorjit.backends.llvm.abi import (
    DOUBLE,
    I8,
    I32,
    I64,
    PTR,
    VOID,
    global_variable,
    numpy_api_address,
    python_api_address,
)

__all__ = ["declare", "host_symbols", "object_symbol"]

_Signature = tuple[ir.Type, tuple[ir.Type, ...]]

FUNCTIONS: dict[str, _Signature] = {
    "tj_py_Py_IncRef": (VOID, (PTR,)),
    "tj_py_Py_DecRef": (VOID, (PTR,)),
    "tj_py_PyFloat_FromDouble": (PTR, (DOUBLE,)),
    "tj_py_PyLong_FromLongLong": (PTR, (I64,)),
    "tj_py_PyLong_FromUnsignedLongLong": (PTR, (I64,)),
    "tj_py_PyLong_AsLongLongAndOverflow": (I64, (PTR, PTR)),
    "tj_py_PyComplex_FromDoubles": (PTR, (DOUBLE, DOUBLE)),
    "tj_py_PyTuple_New": (PTR, (I64,)),
    "tj_py_PyList_New": (PTR, (I64,)),
    "tj_py_PyDict_GetItemWithError": (PTR, (PTR, PTR)),
    "tj_py_PyDict_Next": (I32, (PTR, PTR, PTR, PTR)),
    "tj_py_PyObject_GetAttr": (PTR, (PTR, PTR)),
    "tj_py_PyObject_CallFunction": (PTR, (PTR, PTR)),  # and a format's worth of arguments
    "tj_py_PyObject_Vectorcall": (PTR, (PTR, PTR, I64, PTR)),
    "tj_py_PyObject_RichCompareBool": (I32, (PTR, PTR, I32)),
    "tj_py_PyErr_BadInternalCall": (VOID, ()),
    "tj_py_PyErr_Clear": (VOID, ()),
    "tj_py_PyErr_ExceptionMatches": (I32, (PTR,)),
    "tj_py_PyErr_Occurred": (PTR, ()),
    "tj_py_PyErr_CheckSignals": (I32, ()),
    "tj_py_PyEval_SaveThread": (PTR, ()),
    "tj_py_PyEval_RestoreThread": (VOID, (PTR,)),
    "tj_np_PyArray_NewFromDescr": (PTR, (PTR, PTR, I32, PTR, PTR, PTR, I32, PTR)),
    "tj_np_PyArray_Zeros": (PTR, (I32, PTR, PTR, I32)),
    "tj_np_PyArray_SetBaseObject": (I32, (PTR, PTR)),
    "tj_rt_miss": (PTR, (PTR, PTR, I64, PTR)),
    "tj_rt_release": (VOID, (PTR, I64)),
    "tj_rt_fail": (VOID, (PTR, PTR)),
    "tj_rt_report": (VOID, (PTR, I32, PTR)),
    "tj_rt_poll": (I32, (PTR,)),
    "tj_rt_is_array": (I32, (PTR, I32, I32, I32, I32, I32)),
    "tj_rt_self_overlaps": (I32, (I64, PTR, PTR, I64)),
    "tj_rt_are_disjoint": (I32, (PTR, PTR, I64)),
}
"""The C functions: result and parameter types (npy_intp and Py_ssize_t are i64: native code runs on 64-bit
platforms only)."""

_VARIADIC = frozenset({"tj_py_PyObject_CallFunction"})
_ALLOC: _Signature = (PTR, (PTR, I64))  # allocfunc


def declare(module: ir.Module, name: str) -> ir.Function:
    """The function of that name in `module`, declared at its first use."""
    known = module.globals.get(name)
    if known is not None:
        return known
    if name.startswith("tj_alloc_"):
        result, params = _ALLOC
    else:
        result, params = FUNCTIONS[name]
    kind = ir.FunctionType(result, params, var_arg=name in _VARIADIC)
    return ir.Function(module, kind, name)


def object_symbol(module: ir.Module, name: str) -> ir.GlobalVariable:
    """The global whose address is an object: a type (`tj_py_PyFloat_Type`), a descriptor, a constant."""
    known = module.globals.get(name)
    if known is None:
        known = global_variable(module, I8, name)
    return known


def host_symbols(names: Iterable[str]) -> dict[str, int]:
    """The addresses, in this process, of those `names` that CPython or NumPy provides (the others are left
    out)."""
    found = ((name, _host_address(name)) for name in names)
    return {name: address for name, address in found if address is not None}


@functools.cache
def _host_address(name: str) -> int | None:
    _, _, rest = name.partition("_")
    source, _, what = rest.partition("_")
    match source:
        case "py":
            return python_api_address(what)
        case "np":
            return numpy_api_address(what)
        case "type":
            return id(np.dtype(what).type)
        case "descr":
            return id(np.dtype(what))
        case "alloc":
            return _alloc_function(np.dtype(what).type)
    return None


_PY_TP_ALLOC = 47  # CPython's Include/typeslots.h


def _alloc_function(kind: type) -> int:
    get_slot = ctypes.pythonapi.PyType_GetSlot
    get_slot.restype = ctypes.c_void_p
    get_slot.argtypes = [ctypes.py_object, ctypes.c_int]
    return int(get_slot(kind, _PY_TP_ALLOC))
