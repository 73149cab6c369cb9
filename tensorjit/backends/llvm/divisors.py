"""The greatest common divisor and the least common multiple of integers, at any width.

J. Stein's binary algorithm (Computational problems associated with Racah algebra, 1967), every step of which halves a number:
no divisions, and the lanes of a vector take it together. NumPy's conventions: of the magnitudes, gcd(0, x) = |x|, the magnitude
of the least number wraps around, and so does the multiple.
"""

from __future__ import annotations

from llvmlite import ir

from tensorjit.backends.llvm.abi import I32
from tensorjit.backends.llvm.quiet import declare, suffix
from tensorjit.backends.llvm.registers import any_lane, call_intrinsic, number, vector_type, width_of
from tensorjit.ir.dtypes import DType

__all__ = ["int_gcd", "int_lcm"]


def int_gcd(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
    x_size, y_size = _magnitude(b, dtype, x), _magnitude(b, dtype, y)
    null, odd, twos = _common(b, x_size, y_size)
    return _narrow(b, dtype, b.select(null, b.or_(x_size, y_size), b.shl(odd, twos)))


def int_lcm(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
    x_size, y_size = _magnitude(b, dtype, x), _magnitude(b, dtype, y)
    null, odd, twos = _common(b, x_size, y_size)
    # division by an odd divisor is multiplication by its inverse modulo 2^bits
    quotient = b.mul(b.lshr(x_size, twos), _inverse(b, odd))
    return _narrow(b, dtype, b.select(null, number(odd.type, 0), b.mul(quotient, y_size)))


def _magnitude(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    """|x| as an unsigned number of 32 bits or more: processors shift no narrower lanes apart."""
    size = call_intrinsic(b, "abs", x, flags=(0,)) if dtype.kind == "i" else x
    return size if dtype.size >= 4 else b.zext(size, vector_type(I32, width_of(x)))


def _narrow(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    return x if dtype.size >= 4 else b.trunc(x, vector_type(ir.IntType(8 * dtype.size), width_of(x)))


def _trailing_zeros(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Of numbers that are not 0; anything elsewhere."""
    flag = ir.IntType(1)
    return b.call(declare(b.module, f"llvm.cttz.{suffix(x.type)}", x.type, [x.type, flag]), [x, flag(1)])


def _common(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Where one number is 0; elsewhere the odd part of the divisor and its number of twos."""
    zero = number(x.type, 0)
    null = b.or_(b.icmp_unsigned("==", x, zero), b.icmp_unsigned("==", y, zero))
    first, second = (b.select(null, number(x.type, 1), v) for v in (x, y))
    twos = _trailing_zeros(b, b.or_(first, second))
    first, second = (b.lshr(v, _trailing_zeros(b, v)) for v in (first, second))

    before, body, after = b.block, b.append_basic_block("gcd"), b.append_basic_block("gcd.end")
    b.branch(body)
    b.position_at_end(body)
    p, q = b.phi(x.type), b.phi(x.type)
    least = call_intrinsic(b, "umin", p, q)
    apart = b.sub(call_intrinsic(b, "umax", p, q), least)
    more = b.icmp_unsigned("!=", apart, zero)
    # the zeros of p - q are those of the distance, and known sooner
    halved = b.select(more, b.lshr(apart, _trailing_zeros(b, b.sub(p, q))), least)
    for phi, start, turn in ((p, first, least), (q, second, halved)):
        phi.add_incoming(start, before)
        phi.add_incoming(turn, body)
    b.cbranch(any_lane(b, more), body, after)
    b.position_at_end(after)
    return null, least, twos


def _inverse(b: ir.IRBuilder, odd: ir.Value) -> ir.Value:
    """Modulo 2^bits: 3 x xor 2 is right to 5 bits, and Newton's step doubles them (P. L. Montgomery)."""
    scalar = odd.type.element if isinstance(odd.type, ir.VectorType) else odd.type
    inverse, right = b.xor(b.mul(odd, number(odd.type, 3)), number(odd.type, 2)), 5
    while right < scalar.width:
        inverse = b.mul(inverse, b.sub(number(odd.type, 2), b.mul(odd, inverse)))
        right *= 2
    return inverse
