"""The C library's functions that kernels call, under the prefix `tj_c_`, and those that LLVM may call behind our back."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable

from llvmlite import ir

from tensorjit.backends.llvm.abi import I32, I64, PTR, VOID
from tensorjit.backends.llvm.quiet import declare

__all__ = ["IMPLICIT", "c_symbols", "libc_function", "libm_function"]

_PREFIX = "tj_c_"
_LIBC = {
    "malloc": (PTR, (I64,)),
    "free": (VOID, (PTR,)),
    "memcpy": (PTR, (PTR, PTR, I64)),
    "memmove": (PTR, (PTR, PTR, I64)),
    "memset": (PTR, (PTR, I32, I64)),
}

# what LLVM's code generator calls where the processor has no instruction (no FMA, no SSE4.1)
_ROUNDING = ("fma", "fmod", "floor", "ceil", "trunc", "rint", "roundeven", "nearbyint")
IMPLICIT = (*_ROUNDING, *(f"{name}f" for name in _ROUNDING), "memcpy", "memset", "memmove")


def libc_function(module: ir.Module, name: str) -> ir.Function:
    """One of the functions above, declared."""
    result, parameters = _LIBC[name]
    return declare(module, _PREFIX + name, result, list(parameters))


def libm_function(module: ir.Module, name: str, result: ir.Type, parameters: list[ir.Type]) -> ir.Function:
    """A function of the C library's mathematics, by its C name, declared."""
    return declare(module, _PREFIX + name, result, parameters)


def c_symbols(names: Iterable[str]) -> dict[str, int]:
    """The addresses, in this process, of those `names` that the C library provides (the others are left out).

    >>> sorted(c_symbols(["tj_c_malloc", "tj_py_Py_IncRef", "memcpy"]))
    ['memcpy', 'tj_c_malloc']
    """
    wanted = {n: n.removeprefix(_PREFIX) for n in names if n.startswith(_PREFIX) or n in IMPLICIT}
    found = ((name, _address(function)) for name, function in wanted.items())
    return {name: address for name, address in found if address is not None}


@functools.cache
def _address(name: str) -> int | None:
    function = getattr(_PROCESS, name, None)
    return None if function is None else ctypes.cast(function, ctypes.c_void_p).value


# CPython links the C library's mathematics; looking for it by name would start ldconfig and gcc
_PROCESS = ctypes.CDLL(None)
