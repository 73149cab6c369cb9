"""The types of values.

`f64[3, n]` an array, `f64` a NumPy scalar, `float` a Python scalar (weak), `f64[]` an array of rank 0: three different things, as in
NumPy. `?` is the type of every value of a generic graph.
"""

from __future__ import annotations

from typing import Literal, final

from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import BOOL, BY_NAME, C128, F64, I64, DType
from tensorjit.records import dataclass

Layout = Literal["C", "F", "A"]  # C-contiguous, Fortran-contiguous, any strides

# What a write to an array does. It is done, or raises; "either": a flag beside the array says which, as that depends on the path;
# "unsure": the array is a copy where NumPy gives a view for some strides, so that no write to it is compiled.
Access = Literal["writable", "either", "readonly", "unsure"]


@final
@dataclass(frozen=True, slots=True)
class ArrayType:
    """An ndarray: dtype, shape of dims, what is known of its strides, and whether it can be written.

    >>> from tensorjit.ir.dims import symbol
    >>> print(ArrayType(F64, (3, symbol("n"))), ArrayType(F64, (2, 2), "F"), ArrayType(F64, (2,), access="readonly"))
    f64[3, n] f64[2, 2]:F f64[2]:readonly
    """

    dtype: DType
    shape: tuple[Dim, ...]
    layout: Layout = "C"
    access: Access = "writable"

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]{self.suffix}"

    @property
    def suffix(self) -> str:
        """What is written behind dtype and shape: the layout and the access, where they are not the usual ones."""
        return ("" if self.layout == "C" else f":{self.layout}") + ("" if self.access == "writable" else f":{self.access}")


@final
@dataclass(frozen=True, slots=True)
class ScalarType:
    """A scalar: Python's own (`python=True`, weak in promotion) or a NumPy scalar."""

    dtype: DType
    python: bool = False

    def __str__(self) -> str:
        return _PYTHON_NAMES[self.dtype.kind] if self.python else self.dtype.name


@final
@dataclass(frozen=True, slots=True)
class UnknownType:
    """The type of a value in a generic graph."""

    def __str__(self) -> str:
        return "?"


@final
@dataclass(frozen=True, slots=True)
class Loop:
    """The dtypes that one elementwise op computes in: operands are cast to `inputs`, the result is of dtype `output`.

    >>> print(Loop((F64, F64), BOOL))
    f64,f64->bool
    """

    inputs: tuple[DType, ...]
    output: DType

    def __str__(self) -> str:
        return f"{','.join(map(str, self.inputs))}->{self.output}"

    @staticmethod
    def parse(text: str) -> Loop | None:
        """The loop of `str(loop)`; None for any other text."""
        inputs, _, output = text.partition("->")
        found = [BY_NAME.get(name) for name in (*inputs.split(","), output)]
        known = tuple(d for d in found if d is not None)
        return Loop(known[:-1], known[-1]) if len(known) == len(found) else None


_PYTHON_NAMES = {"b": "bool", "i": "int", "f": "float", "c": "complex"}

Type = ArrayType | ScalarType | UnknownType

UNKNOWN = UnknownType()
PY_BOOL = ScalarType(BOOL, python=True)
PY_INT = ScalarType(I64, python=True)
PY_FLOAT = ScalarType(F64, python=True)
PY_COMPLEX = ScalarType(C128, python=True)
NP_BOOL = ScalarType(BOOL)
