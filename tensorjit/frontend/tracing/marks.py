"""Telling arrays that were made during a trace from those that were there before.

NumPy keeps its memory functions ("data memory handler", NEP 49) in a context variable, and each array
remembers the name of those that allocated it. A trace runs under a copy of the handler that has a name of its
own. So an array that turns up in a trace and bears that name was made in it, by code that the trace did not
see: its values would be constants of this one run.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# Indices in NumPy's C API table: numpy/_core/code_generators/numpy_api.py, since NumPy 1.22.
_SET_HANDLER, _GET_HANDLER = 304, 305
_CAPSULE = b"mem_handler"


class _Handler(ctypes.Structure):
    """PyDataMem_Handler of numpy/_core/include/numpy/ndarraytypes.h: a name, a version, and the allocator's
    context and functions."""

    _fields_ = (("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", ctypes.c_void_p * 5))


_numbers = itertools.count()
_alive: list[_Handler] = []  # arrays made in a trace may outlive it, and free their memory through its handler


@contextmanager
def marked() -> Iterator[str]:
    """Within it, arrays that NumPy makes in this thread bear the name that it gives."""
    get, put = _functions()
    old = get()
    copy = _Handler.from_buffer_copy(_Handler.from_address(_pointer(old, _CAPSULE)))
    name = f"tensorjit trace {next(_numbers)}"
    copy.name = name.encode()
    _alive.append(copy)
    put(_capsule(ctypes.addressof(copy), _CAPSULE, None))
    try:
        yield name
    finally:
        put(old)


def random_states() -> list[int]:
    """What tells whether random numbers were drawn from the generators that everybody shares.

    >>> before = random_states()
    >>> _ = np.random.rand()
    >>> before == random_states()
    False
    """
    found = []
    if "random" in sys.modules:
        found.append(hash(sys.modules["random"].getstate()))
    if "numpy.random" in sys.modules:
        state: Any = np.random.get_state(legacy=True)
        found.append(hash((state[1].tobytes(), *state[2:])))
    return found


def has_mark(array: np.ndarray[Any, Any], name: str) -> bool:
    """Whether an array, or the one that it is a view of, was made under that name."""
    return bool(_name_of(owner(array)) == name)


def owner(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array whose memory a view shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


_core: Any = np._core  # type: ignore[attr-defined]
_name_of = _core.multiarray.get_handler_name
_pointer: Any = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
_capsule: Any = ctypes.pythonapi.PyCapsule_New
_capsule.restype = ctypes.py_object
_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


def _functions() -> tuple[Any, Any]:
    table = ctypes.cast(_pointer(_core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    get = ctypes.PYFUNCTYPE(ctypes.py_object)(table[_GET_HANDLER] or 0)
    put = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER] or 0)
    return get, put
