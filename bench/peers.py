"""The compilers that tensorjit is measured against: used where installed, named where not."""

import ctypes
import importlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

POINTER = ctypes.c_void_p

CHAIN_C = """
#include <stddef.h>
void chain(double *restrict out, double a, const double *restrict x, const double *restrict y,
           const double *restrict z, const double *restrict w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a * x[i] + y[i] * z[i] - w[i];
}
"""


@cache
def load(name: str) -> Any | None:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def missing() -> list[str]:
    """What a complete run would also compare with."""
    names = [name for name in ("numba", "numexpr") if load(name) is None]
    return names + ([] if compiler() else ["a C compiler (cc)"])


def compiler() -> str | None:
    """The C compiler."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@cache
def c_chain() -> Callable[..., Callable[[], None]] | None:
    """Binds (out, a, x, y, z, w) to the chain written in C by hand; None without a compiler.

    The arguments are converted beforehand: that is the price of ctypes, not of C.
    Not contracted into fused multiply-adds, so that its result is NumPy's, bit by bit.
    """
    cc = compiler()
    if cc is None:
        return None
    folder = tempfile.TemporaryDirectory(prefix="tensorjit-bench-")
    source, library = Path(folder.name, "chain.c"), Path(folder.name, "chain.so")
    source.write_text(CHAIN_C)
    flags = ["-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run([cc, *flags, str(source), "-o", str(library)], check=True)
    native = ctypes.CDLL(str(library)).chain
    folder.cleanup()  # the loaded library stays mapped
    native.argtypes = [POINTER, ctypes.c_double, POINTER, POINTER, POINTER, POINTER, ctypes.c_size_t]
    native.restype = None

    def bind(out: NDArray[Any], a: float, *arrays: NDArray[Any]) -> Callable[[], None]:
        pointers = [POINTER(array.ctypes.data) for array in (out, *arrays)]
        arguments = (pointers[0], ctypes.c_double(a), *pointers[1:], ctypes.c_size_t(out.size))
        return partial(native, *arguments)

    return bind


def numba_chain_loop() -> Callable[..., None] | None:
    """The chain as an explicit loop for numba."""
    numba = load("numba")
    if numba is None:
        return None

    def chain(out: Any, a: float, x: Any, y: Any, z: Any, w: Any) -> None:
        for i in range(out.size):
            out[i] = a * x[i] + y[i] * z[i] - w[i]

    compiled: Callable[..., None] = numba.njit(chain)
    return compiled


def numba_chain_ufunc() -> Any | None:
    """The chain as a ufunc made by numba."""
    numba = load("numba")
    if numba is None:
        return None

    def chain(a: float, x: float, y: float, z: float, w: float) -> float:
        return a * x + y * z - w

    return numba.vectorize([numba.float64(*[numba.float64] * 5)])(chain)
