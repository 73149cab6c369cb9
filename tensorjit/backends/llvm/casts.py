"""Conversions between dtypes, as `ndarray.astype` does them on x86-64.

Float to integer: what `cvttsd2si` gives (the most negative number of the hardware's result width for NaN and what is out
of range, raising `invalid`); narrower integers are cut from a 32-bit result, u32 from a 64-bit one.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from tensorjit.backends.llvm import division
from tensorjit.backends.llvm.abi import DOUBLE, FLOAT, I32, I64
from tensorjit.backends.llvm.quiet import from_half, quiet_fcmp, to_half
from tensorjit.backends.llvm.registers import Pair, Register, number, scalar_type, vector_type, width_of
from tensorjit.backends.llvm.vmath.lanes import Lane
from tensorjit.backends.llvm.vmath.lanes import select as select_lane
from tensorjit.ir.dtypes import DType

__all__ = ["cast", "narrow_to_half"]


def cast(builder: ir.IRBuilder, value: Register, source: DType, target: DType) -> Register:
    """value of dtype source as target."""
    if source == target:
        return value
    if source.kind == "c":
        return _from_complex(builder, value, source, target)
    if target.kind == "c":
        real = cast(builder, value, source, target.part)
        return Pair(real, number(real.type, 0))
    if target.kind == "b":
        return _to_bool(builder, value, source)
    if source.kind == "f":
        to = _float_to_float if target.kind == "f" else _float_to_int
        return to(builder, value, source, target)
    to = _int_to_float if target.kind == "f" else _int_to_int
    return to(builder, value, source, target)


def _like(value: ir.Value, scalar: ir.Type) -> ir.Type:
    return vector_type(scalar, width_of(value))


def _from_complex(builder: ir.IRBuilder, value: Pair, source: DType, target: DType) -> Register:
    if target.kind == "c":
        return Pair(*(cast(builder, part, source.part, target.part) for part in value))
    if target.kind == "b":
        return builder.or_(*(_to_bool(builder, part, source.part) for part in value))
    return cast(builder, value.re, source.part, target)


def _to_bool(builder: ir.IRBuilder, value: ir.Value, source: DType) -> ir.Value:
    if source.kind == "f":
        return quiet_fcmp(builder, "une", value, number(value.type, 0))
    return builder.icmp_unsigned("!=", value, number(value.type, 0))


def _int_to_int(builder: ir.IRBuilder, value: ir.Value, source: DType, target: DType) -> ir.Value:
    typ = _like(value, scalar_type(target))
    if source.kind != "b" and source.size == target.size:
        return value
    if source.size > target.size:
        return builder.trunc(value, typ)
    return builder.sext(value, typ) if source.kind == "i" else builder.zext(value, typ)


def _int_to_float(builder: ir.IRBuilder, value: ir.Value, source: DType, target: DType) -> ir.Value:
    # to half by way of float, rounding twice, as NumPy
    typ = _like(value, FLOAT if target.size == 2 else scalar_type(target))
    wide = builder.sitofp(value, typ) if source.kind == "i" else builder.uitofp(value, typ)
    return to_half(builder, wide) if target.size == 2 else wide


def _float_to_float(builder: ir.IRBuilder, value: ir.Value, source: DType, target: DType) -> ir.Value:
    if isinstance(value, ir.Constant) and _overflows(value, target):  # LLVM computes it, and no flag would be raised
        division.raise_flag(builder, "over", ir.IntType(1)(1))
    if source.size == 8 and target.size == 2:
        return narrow_to_half(builder, value)
    typ = _like(value, scalar_type(target))
    if target.size == 2:
        return to_half(builder, value)
    if source.size > target.size:
        return builder.fptrunc(value, typ)
    if source.size == 2:  # to double by way of float: exact, and the only way that the hardware has
        value = from_half(builder, value)
    return builder.fpext(value, typ) if target.size == 8 else value


def _overflows(constant: ir.Constant, target: DType) -> bool:
    value = constant.constant
    with np.errstate(over="ignore"):
        return isinstance(value, float) and math.isfinite(value) and not np.isfinite(target.numpy.type(value))


def narrow_to_half(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """double to half, rounded once: through float rounded to odd (Boldo and Melquiond, "Emulation of FMA and correctly
    rounded sums: proved algorithms using rounding to odd", 2008: exact since 24 >= 11 + 2)."""
    x = Lane(builder, value)
    near = x.to(FLOAT)
    back = near.to(DOUBLE)
    inexact = back.compared("one", x)
    past = back.intrinsic("fabs").compared("ogt", x.intrinsic("fabs"))
    word = near.bits()
    toward_zero = select_lane(past, word - 1, word)
    odd = select_lane(inexact, toward_zero | 1, word).floats()
    return to_half(builder, odd.value)


def _float_to_int(builder: ir.IRBuilder, value: ir.Value, source: DType, target: DType) -> ir.Value:
    if source.size == 2:
        value = from_half(builder, value)
    if target.size == 8 and target.kind == "u":
        return _float_to_u64(builder, value)
    wide = I64 if target.size == 8 or target.name == "u32" else I32
    whole = _hardware_convert(builder, value, wide)
    typ = _like(value, scalar_type(target))
    return whole if whole.type == typ else builder.trunc(whole, typ)


def _hardware_convert(builder: ir.IRBuilder, value: ir.Value, wide: ir.Type) -> ir.Value:
    # out of range fptosi is poison: frozen, it is what the instruction gives
    whole = builder.fptosi(value, _like(value, wide))
    frozen = ir.Instruction(builder.block, whole.type, "freeze", [whole])
    builder._insert(frozen)  # llvmlite has no builder method for it
    return frozen


def _float_to_u64(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """From 2^63 on shifted down by 2^63 and up again."""
    x = Lane(builder, value)
    small = x.compared("ult", 2.0**63)
    near = select_lane(small, x, x - 2.0**63)
    whole = Lane(builder, _hardware_convert(builder, near.value, I64))
    return select_lane(small, whole, whole ^ (1 << 63)).value
