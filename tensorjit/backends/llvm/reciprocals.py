"""Integers divided by one number for all lanes: multiplied by its reciprocal, and shifted.

T. Granlund and P. L. Montgomery, Division by invariant integers using multiplication (1994). The reciprocal is computed while
compiling where the divisor is known, else before the loop. What rounds towards minus infinity is made of it by x // d =
~(~x // d) for x < 0, and x // d = ~((x - 1) // -d) for d < 0.
"""

from __future__ import annotations

from typing import final

from llvmlite import ir

from tensorjit.backends.llvm.abi import I1, I8, I32, I64
from tensorjit.backends.llvm.division import raise_flag
from tensorjit.backends.llvm.registers import call_intrinsic, number, splat, vector_type, width_of
from tensorjit.ir.dtypes import DType
from tensorjit.records import dataclass

__all__ = ["Reciprocal", "floordiv_by", "known_reciprocal", "mod_by", "reciprocal"]


@final
@dataclass(frozen=True, slots=True)
class Reciprocal:
    """A divisor, prepared: u // |divisor| = ((t + ((u - t) >> first)) >> last) with t = the upper half of (u + more) * factor, or
    t >> last where `first` is None, or u >> last where `factor` is. All are scalars of one type.

    turn: -1 of a negative divisor, else 0. below: what is below it rounds away from zero. null, unit: whether the divisor is 0, -1
    (None: neither).
    """

    divisor: ir.Value
    factor: ir.Value | None
    first: ir.Value | None
    last: ir.Value
    turn: ir.Value
    below: ir.Value
    null: ir.Value | None = None
    unit: ir.Value | None = None
    more: ir.Value | None = None


def _bits(dtype: DType) -> int:
    """There are no vector instructions for the upper half of products of bytes."""
    return max(16, 8 * dtype.size)


def known_reciprocal(dtype: DType, divisor: int) -> Reciprocal:
    """Of a number that is known while compiling: the cheapest form."""
    bits = _bits(dtype)
    typ = ir.IntType(bits)
    least = 1 << bits - 1
    most = (1 << 8 * dtype.size) - 1 if dtype.kind == "u" else 1 << 8 * dtype.size - 1
    factor, first, last = _known_factor(bits, abs(divisor), most)
    return Reciprocal(
        number(typ, divisor),
        None if factor is None else number(typ, factor),
        None if first is None else number(typ, first),
        number(typ, last),
        number(typ, -(divisor < 0)),
        number(typ, divisor < 0 if divisor else least),
        I1(divisor == 0) if divisor in (0, -1) else None,
        I1(divisor == -1) if divisor in (0, -1) else None,
    )


def _known_factor(bits: int, size: int, most: int) -> tuple[int | None, int | None, int]:
    """`factor`, `first` and `last` for numbers up to `most`."""
    if size == 0:
        return 0, None, 0
    log = (size - 1).bit_length()
    if size == 1 << log:
        return None, None, log
    for last in range(log):
        power = 1 << bits + last
        factor = -(-power // size)
        if factor < 1 << bits and (factor * size - power) * most < power:
            return factor, None, last
    return ((1 << log) - size << bits) // size + 1, 1, log - 1


def reciprocal(b: ir.IRBuilder, dtype: DType, y: ir.Value) -> Reciprocal:
    """Of a number that is known at run time: before the loop."""
    bits, signed = _bits(dtype), dtype.kind == "i"
    typ = ir.IntType(bits)
    divisor = y if y.type == typ else b.sext(y, typ) if signed else b.zext(y, typ)
    zero, one = number(typ, 0), number(typ, 1)
    null = b.icmp_signed("==", divisor, zero)
    turn = b.ashr(divisor, number(typ, bits - 1)) if signed else zero
    size = b.select(null, one, b.sub(b.xor(divisor, turn), turn))
    if bits < 64:
        size = b.zext(size, I64)
    more = None
    if dtype.size == 1:  # rounded up it is exact for bytes, and that of 1 is too large by 1
        more = b.zext(b.icmp_unsigned("==", size, I64(1)), typ)
        factor, first, last = b.udiv(b.add(size, I64(0xFFFF)), size), None, zero
        factor = b.sub(b.trunc(factor, typ), more)
    else:
        factor, first, last = (b.trunc(v, typ) if bits < 64 else v for v in _general(b, bits, size))
        first = b.select(null, one, first)
        last = b.select(null, number(typ, bits - 1), last)
    return Reciprocal(
        divisor,
        b.select(null, zero, factor),
        first,
        last,
        turn,
        b.select(null, number(typ, 1 << bits - 1), b.and_(turn, one)),
        null,
        b.icmp_signed("==", divisor, number(typ, -1)) if signed else I1(0),
        more,
    )


def _general(b: ir.IRBuilder, bits: int, size: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """`factor`, `first` and `last` for all numbers of so many bits."""
    log = b.sub(I64(64), call_intrinsic(b, "ctlz", b.sub(size, I64(1)), flags=(0,)))
    power = b.select(b.icmp_unsigned(">", log, I64(63)), I64(0), b.shl(I64(1), b.and_(log, I64(63))))
    excess = b.sub(power, size)
    factor = _divide_double(b, excess, size) if bits == 64 else b.udiv(b.shl(excess, I64(bits)), size)
    return b.add(factor, I64(1)), call_intrinsic(b, "umin", log, I64(1)), call_intrinsic(b, "usub.sat", log, I64(1))


def _divide_double(b: ir.IRBuilder, high: ir.Value, y: ir.Value) -> ir.Value:
    """high * 2^64 // y for high < y, by D. E. Knuth's algorithm D with two digits (H. S. Warren, Hacker's Delight, divlu)."""
    shift = call_intrinsic(b, "ctlz", y, flags=(0,))
    y = b.shl(y, shift)
    rest = b.shl(high, shift)
    upper, lower = b.lshr(y, I64(32)), b.and_(y, I64((1 << 32) - 1))
    digits = []
    for _ in range(2):
        digit = b.udiv(rest, upper)
        left = b.sub(rest, b.mul(digit, upper))
        for _ in range(2):  # it is at most 2 too large
            wide = b.icmp_unsigned(">", left, I64((1 << 32) - 1))
            large = b.icmp_unsigned(">", b.mul(digit, lower), b.shl(left, I64(32)))
            large = b.and_(b.or_(b.icmp_unsigned(">", digit, I64((1 << 32) - 1)), large), b.not_(wide))
            digit = b.sub(digit, b.zext(large, I64))
            left = b.add(left, b.select(large, upper, I64(0)))
        rest = b.sub(b.shl(rest, I64(32)), b.mul(digit, y))
        digits.append(digit)
    return b.add(b.shl(digits[0], I64(32)), digits[1])


def floordiv_by(b: ir.IRBuilder, dtype: DType, x: ir.Value, by: Reciprocal) -> ir.Value:
    _report(b, dtype, x, by, wraps=True)
    return _narrow(b, x, _floordiv(b, dtype, _wide(b, dtype, x), by))


def mod_by(b: ir.IRBuilder, dtype: DType, x: ir.Value, by: Reciprocal) -> ir.Value:
    _report(b, dtype, x, by, wraps=False)
    wide, width = _wide(b, dtype, x), width_of(x)
    rest = b.sub(wide, b.mul(_floordiv(b, dtype, wide, by), splat(b, by.divisor, width)))
    if by.null is not None:
        rest = b.and_(rest, splat(b, b.sext(b.not_(by.null), by.divisor.type), width))
    return _narrow(b, x, rest)


def _report(b: ir.IRBuilder, dtype: DType, x: ir.Value, by: Reciprocal, wraps: bool) -> None:
    """Raise the flags of a division by zero, and of the least number by -1."""
    if by.null is None or by.unit is None:
        return
    with b.if_then(b.or_(by.null, by.unit), likely=False):
        raise_flag(b, "divide", by.null)
        if wraps and dtype.kind == "i":
            least = b.icmp_signed("==", x, number(x.type, 1 << 8 * dtype.size - 1))
            raise_flag(b, "over", b.and_(least, splat(b, by.unit, width_of(x))))


def _wide(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    typ = vector_type(ir.IntType(_bits(dtype)), width_of(x))
    return x if x.type == typ else b.sext(x, typ) if dtype.kind == "i" else b.zext(x, typ)


def _narrow(b: ir.IRBuilder, like: ir.Value, x: ir.Value) -> ir.Value:
    """The lower bytes, by a shuffle: after a truncation the product would be taken for one of 32 bits."""
    if x.type == like.type:
        return x
    width = width_of(x)
    parts = b.bitcast(x, ir.VectorType(I8, 2 * width))
    return b.shuffle_vector(parts, parts, ir.Constant(ir.VectorType(I32, width), list(range(0, 2 * width, 2))))


def _floordiv(b: ir.IRBuilder, dtype: DType, x: ir.Value, by: Reciprocal) -> ir.Value:
    if dtype.kind == "u":
        return _quotient(b, x, by)
    width = width_of(x)
    turn = splat(b, by.turn, width)
    if by.factor is None and isinstance(by.turn, ir.Constant) and not by.turn.constant:
        return b.ashr(x, splat(b, by.last, width))
    away = b.sext(b.icmp_signed("<", x, splat(b, by.below, width)), x.type)
    quotient = _quotient(b, b.xor(b.add(x, turn), away), by)
    return b.xor(b.xor(quotient, away), turn)


def _quotient(b: ir.IRBuilder, x: ir.Value, by: Reciprocal) -> ir.Value:
    """x // |divisor| of unsigned numbers."""
    width = width_of(x)
    last = splat(b, by.last, width)
    if by.factor is None:
        return b.lshr(x, last)
    if by.more is not None:
        x = b.add(x, splat(b, by.more, width))
    upper = _upper_half(b, x, splat(b, by.factor, width))
    if by.first is not None:
        upper = b.add(upper, b.lshr(b.sub(x, upper), splat(b, by.first, width)))
    return b.lshr(upper, last)


def _upper_half(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Of the products of unsigned numbers."""
    bits, width = x.type.element.width, x.type.count
    if bits < 64:
        wide = vector_type(ir.IntType(2 * bits), width)
        return b.trunc(b.lshr(b.mul(b.zext(x, wide), b.zext(y, wide)), number(wide, bits)), x.type)
    half, low = number(x.type, 32), number(x.type, (1 << 32) - 1)
    x0, x1, y0, y1 = b.and_(x, low), b.lshr(x, half), b.and_(y, low), b.lshr(y, half)
    middle = b.add(b.mul(x1, y0), b.lshr(b.mul(x0, y0), half))
    other = b.add(b.mul(x0, y1), b.and_(middle, low))
    return b.add(b.add(b.mul(x1, y1), b.lshr(middle, half)), b.lshr(other, half))
