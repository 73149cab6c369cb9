"""Floating-point comparisons that raise no flag for a quiet NaN, and conversions of float16 that raise none for other lanes.

LLVM assumes that nobody reads the status flags, so it selects for an ordinary `fcmp olt` the signalling compare of
AVX and AVX-512 (`vcmpltpd`, predicate LT_OS), which raises `invalid` for every NaN; NumPy's comparisons raise nothing.
The constrained compare (LLVM language reference, "Constrained Floating-Point Intrinsics") selects the quiet one, also
in a function without `strictfp`. The same holds for `llvm.minnum` and `llvm.maxnum`: `vminpd` signals.

`vcvtps2ph` and `vcvtph2ps` convert four numbers and raise the flags of all of them; for one number LLVM leaves in the other
lanes what was there. So one is converted as four, the others zero (`from_half`, `to_half`).
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

QUIET_ANYWAY = frozenset({"oeq", "one", "ueq", "une", "ord", "uno"})


def suffix(typ: ir.Type) -> str:
    """The type's part of an intrinsic's name.

    >>> suffix(ir.VectorType(ir.DoubleType(), 4))
    'v4f64'
    """
    if isinstance(typ, ir.VectorType):
        return f"v{typ.count}{suffix(typ.element)}"
    if isinstance(typ, ir.IntType):
        return f"i{typ.width}"
    return str(typ.intrinsic_name)


def declare(module: ir.Module, name: str, result: ir.Type, parameters: list[ir.Type]) -> Any:
    """The function of this name in module, declared if it is not there yet."""
    known = module.globals.get(name)
    return known if known is not None else ir.Function(module, ir.FunctionType(result, parameters), name)


def from_half(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """half, or a vector of it, as float."""
    if isinstance(value.type, ir.VectorType):
        return builder.fpext(value, ir.VectorType(ir.FloatType(), value.type.count))
    if isinstance(value, ir.Constant):
        return builder.fpext(value, ir.FloatType())
    wide = builder.fpext(_alone(builder, value), ir.VectorType(ir.FloatType(), 4))
    return builder.extract_element(_fence(builder, wide), ir.IntType(32)(0))


def to_half(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """float, or a vector of it, as half."""
    if isinstance(value.type, ir.VectorType):
        return builder.fptrunc(value, ir.VectorType(ir.HalfType(), value.type.count))
    if isinstance(value, ir.Constant):
        return builder.fptrunc(value, ir.HalfType())
    # the first fence: else LLVM divides all four, zero by zero
    four = _fence(builder, _alone(builder, _fence(builder, value)))
    narrow = builder.fptrunc(four, ir.VectorType(ir.HalfType(), 4))
    return builder.extract_element(narrow, ir.IntType(32)(0))


def _alone(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.insert_element(ir.Constant(ir.VectorType(value.type, 4), None), value, ir.IntType(32)(0))


def _fence(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    # else LLVM makes the conversion of four, of which one is used, one of one again
    return builder.call(declare(builder.module, f"llvm.arithmetic.fence.{suffix(value.type)}", value.type, [value.type]), [value])


def quiet_fcmp(builder: ir.IRBuilder, predicate: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """`fcmp predicate a, b` that raises nothing for quiet NaNs; predicate as in LLVM (`olt`, `uge`, `une`, ...).

    a and b are of one type: half, float, double or a vector of them; the result is i1 or a vector of i1. Half is
    compared as float.

    >>> module = ir.Module()
    >>> f = ir.Function(module, ir.FunctionType(ir.IntType(1), [ir.DoubleType()] * 2), "less")
    >>> b = ir.IRBuilder(f.append_basic_block())
    >>> _ = b.ret(quiet_fcmp(b, "olt", *f.args))
    >>> '@"llvm.experimental.constrained.fcmp.f64"' in str(f)
    True
    """
    scalar = a.type.element if isinstance(a.type, ir.VectorType) else a.type
    if isinstance(scalar, ir.HalfType):
        return quiet_fcmp(builder, predicate, from_half(builder, a), from_half(builder, b))
    mask = ir.VectorType(ir.IntType(1), a.type.count) if a.type is not scalar else ir.IntType(1)
    if predicate in QUIET_ANYWAY and not any(map(_is_infinite, (a, b))):  # LLVM makes `ult inf` of `une inf`, which signals
        compare = builder.fcmp_ordered if predicate[0] == "o" else builder.fcmp_unordered
        return compare(_OPERATORS[predicate[1:]], a, b)
    return _constrained_fcmp(builder, predicate, a, b, mask, "ignore")


def _is_infinite(value: ir.Value) -> bool:
    if isinstance(value, ir.CastInstr):
        value = value.operands[0]
    return isinstance(value, ir.Constant) and isinstance(value.constant, float) and math.isinf(value.constant)


def strict_fcmp(builder: ir.IRBuilder, predicate: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """The same of two scalars, and it is computed where it stands, used or not."""
    return _constrained_fcmp(builder, predicate, a, b, ir.IntType(1), "strict")


def _constrained_fcmp(builder: ir.IRBuilder, predicate: str, a: ir.Value, b: ir.Value, mask: ir.Type, how: str) -> ir.Value:
    module, metadata = builder.module, ir.MetaDataType()
    name = f"llvm.experimental.constrained.fcmp.{suffix(a.type)}"
    function = declare(module, name, mask, [a.type, a.type, metadata, metadata])
    return builder.call(function, [a, b, ir.MetaDataString(module, predicate), ir.MetaDataString(module, f"fpexcept.{how}")])


_OPERATORS = {"eq": "==", "ne": "!=", "rd": "ord", "no": "uno"}
