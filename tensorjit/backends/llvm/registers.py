"""What a scalar expression's value is in LLVM registers, at any width.

A value of width 1 is a scalar, of width N an `<N x T>`. bool is `i1`, float16 `half`, complex a `Pair` of real registers.
In memory bool is a byte (any non-zero byte is true) and complex is interleaved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from tensorjit.backends.llvm.abi import DOUBLE, FLOAT, HALF, I1, I8, I32
from tensorjit.backends.llvm.quiet import declare, suffix
from tensorjit.backends.llvm.vmath.lanes import Splat
from tensorjit.ir.dtypes import DType

__all__ = [
    "Pair",
    "Register",
    "any_lane",
    "call_intrinsic",
    "constant",
    "element_type",
    "fence",
    "half_of",
    "iota",
    "map_parts",
    "number",
    "scalar_type",
    "select",
    "splat",
    "vector_type",
    "width_of",
]


class Pair(NamedTuple):
    """A complex value: two real registers."""

    re: Any
    im: Any


Register = Any
"""An `ir.Value`, or a `Pair` of them."""

_FLOATS = {2: HALF, 4: FLOAT, 8: DOUBLE}


def scalar_type(dtype: DType) -> ir.Type:
    """The register type of one lane (of one part, for complex)."""
    part = dtype.part
    if part.kind == "b":
        return I1
    return _FLOATS[part.size] if part.kind == "f" else ir.IntType(8 * part.size)


def element_type(dtype: DType) -> ir.Type:
    """The type in memory of one element (of one part, for complex)."""
    return I8 if dtype.kind == "b" else scalar_type(dtype)


def vector_type(scalar: ir.Type, width: int) -> ir.Type:
    return ir.VectorType(scalar, width) if width > 1 else scalar


def width_of(register: Register) -> int:
    typ = (register.re if isinstance(register, Pair) else register).type
    return typ.count if isinstance(typ, ir.VectorType) else 1


def number(typ: ir.Type, value: float | int) -> ir.Constant:
    """A constant of a scalar or, in every lane, of a vector type."""
    if isinstance(typ, ir.VectorType):
        return Splat(number(typ.element, value), typ.count)
    if isinstance(typ, ir.IntType):
        return ir.Constant(typ, int(value) & ((1 << typ.width) - 1))
    return ir.Constant(typ, float(value))


def constant(dtype: DType, value: complex, width: int = 1) -> Register:
    typ = vector_type(scalar_type(dtype), width)
    if dtype.kind == "c":
        return Pair(number(typ, value.real), number(typ, value.imag))
    return number(typ, value.real)


def map_parts(function: Callable[..., ir.Value], *registers: Register) -> Register:
    """The function of real registers, or of both parts of complex ones.

    >>> map_parts(max, Pair(1, 2), Pair(4, 0))
    Pair(re=4, im=2)
    """
    if isinstance(registers[0], Pair):
        return Pair(*(function(*parts) for parts in zip(*registers, strict=True)))
    return function(*registers)


def splat(builder: ir.IRBuilder, register: Register, width: int) -> Register:
    """A scalar in every lane."""
    if width == 1:
        return register
    return map_parts(lambda one: _splat_real(builder, one, width), register)


def _splat_real(builder: ir.IRBuilder, one: ir.Value, width: int) -> ir.Value:
    if isinstance(one, ir.Constant):
        return Splat(one, width)
    typ = ir.VectorType(one.type, width)
    undefined = ir.Constant(typ, ir.Undefined)
    first = builder.insert_element(undefined, one, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, width), [0] * width))


def iota(scalar: ir.Type, width: int, step: int = 1) -> ir.Constant:
    """0, step, 2 * step, ... by lane."""
    typ = vector_type(scalar, width)
    if width == 1:
        return number(typ, 0)
    mask = (1 << scalar.width) - 1
    return ir.Constant(typ, [(step * k) & mask for k in range(width)])


def half_of(builder: ir.IRBuilder, vector: ir.Value, upper: bool) -> ir.Value:
    """The lower or upper half of a vector's lanes; a scalar of a vector of two."""
    count = vector.type.count // 2
    first = count if upper else 0
    if count == 1:
        return builder.extract_element(vector, I32(first))
    lanes = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(vector, vector, lanes)


def select(builder: ir.IRBuilder, mask: ir.Value, a: Register, b: Register) -> Register:
    return map_parts(lambda x, y: builder.select(mask, x, y), a, b)


def fence(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """value as it is, for flags: not computed in fewer lanes because a select follows, which would hide flags; and what is
    computed of a select is not carried into it (`x / select(c, 1, s)` made `select(c, x, x / s)`), which would raise more."""
    if not isinstance(value, ir.Instruction) or value.opname in ("load", "phi"):
        return value
    scalar = value.type.element if isinstance(value.type, ir.VectorType) else value.type
    if scalar not in (FLOAT, DOUBLE):
        return value
    return call_intrinsic(builder, "arithmetic.fence", value)


def any_lane(builder: ir.IRBuilder, mask: ir.Value) -> ir.Value:
    """Is the mask set in any lane? i1."""
    if not isinstance(mask.type, ir.VectorType):
        return mask
    word = ir.IntType(mask.type.count)
    return builder.icmp_unsigned("!=", builder.bitcast(mask, word), ir.Constant(word, 0))


def call_intrinsic(builder: ir.IRBuilder, name: str, *args: ir.Value, flags: tuple[int, ...] = ()) -> ir.Value:
    """`llvm.name` of arguments of one type, which is the result's too; `flags` are its i1 constants."""
    typ = args[0].type
    parameters = [a.type for a in args] + [I1] * len(flags)
    function = declare(builder.module, f"llvm.{name}.{suffix(typ)}", typ, parameters)
    return builder.call(function, [*args, *(I1(flag) for flag in flags)])
