"""Quotients and remainders: Python's and C's, of integers and floats, with NumPy's results and flags for every input."""

from __future__ import annotations

from llvmlite import ir

from tensorjit.backends.llvm.abi import DOUBLE, FLOAT, I32, I64
from tensorjit.backends.llvm.libm import call_libm
from tensorjit.backends.llvm.registers import any_lane, fence, number, vector_type, width_of
from tensorjit.backends.llvm.vmath.lanes import Lane, fma, rare
from tensorjit.backends.llvm.vmath.lanes import select as select_lane
from tensorjit.ir.dtypes import DType

__all__ = ["float_floordiv", "float_mod", "float_truncrem", "int_floordiv", "int_mod", "int_truncrem", "raise_flag"]

# operands whose quotient raises the flag, and no other but `inexact`
_RAISING = {"divide": (1.0, 0.0), "invalid": (0.0, 0.0), "over": (1e308, 1e-308), "under": (1e-308, 1e308)}


def raise_flag(builder: ir.IRBuilder, flag: str, mask: ir.Value) -> None:
    """Raise the processor's flag if any lane of the mask is set."""
    with builder.if_then(any_lane(builder, mask), likely=False):
        builder.call(_divider(builder.module), [ir.Constant(DOUBLE, x) for x in _RAISING[flag]])


def _divider(module: ir.Module) -> ir.Function:
    """A division that no optimiser sees through: it would fold 1.0 / 0.0, and no flag would be raised."""
    name = "tj_divide"
    known = module.globals.get(name)
    if known is not None:
        return known
    function = ir.Function(module, ir.FunctionType(DOUBLE, [DOUBLE, DOUBLE]), name)
    function.linkage = "internal"
    for attribute in ("noinline", "optnone"):
        function.attributes.add(attribute)
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(builder.fdiv(*function.args))
    return function


# -- integers ------------------------------------------------------------------------------------------


def int_floordiv(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
    quotient, rest, null, wraps = _int_divide(b, dtype, x, y)
    if dtype.kind == "i":
        raise_flag(b, "over", wraps)
        quotient = b.add(quotient, b.sext(_other_sign(b, rest, y), quotient.type))
        quotient = b.select(wraps, x, quotient)
    return b.select(null, number(x.type, 0), quotient)


def int_mod(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
    _, rest, null, wraps = _int_divide(b, dtype, x, y)
    if dtype.kind == "i":
        rest = b.add(rest, b.select(_other_sign(b, rest, y), y, number(y.type, 0)))
        rest = b.select(wraps, number(x.type, 0), rest)
    return b.select(null, number(x.type, 0), rest)


def int_truncrem(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
    _, rest, null, wraps = _int_divide(b, dtype, x, y)
    return b.select(b.or_(null, wraps), number(x.type, 0), rest)


def _other_sign(b: ir.IRBuilder, rest: ir.Value, y: ir.Value) -> ir.Value:
    zero = number(rest.type, 0)
    return b.and_(b.icmp_signed("!=", rest, zero), b.icmp_signed("<", b.xor(rest, y), zero))


def _int_divide(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
    """C's quotient and remainder, and where they are not defined: division by zero, the least number by -1."""
    typ = x.type
    null = b.icmp_signed("==", y, number(typ, 0))
    wraps = number(null.type, 0)
    if dtype.kind == "i":
        least = b.icmp_signed("==", x, number(typ, 1 << (8 * dtype.size - 1)))
        wraps = b.and_(least, b.icmp_signed("==", y, number(typ, -1)))
    raise_flag(b, "divide", null)
    divisor = b.select(b.or_(null, wraps), number(typ, 1), y)
    quotient = _quotient(b, dtype, x, divisor)
    return quotient, b.sub(x, b.mul(quotient, divisor)), null, wraps


def _quotient(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
    """Vectors of up to 32 bits through floats: the quotient of numbers below 2^k, rounded to more than k bits, does not
    reach the next integer, which is at least 2^-k of it away."""
    width, signed = width_of(x), dtype.kind == "i"
    if width == 1 or dtype.size == 8:
        return b.sdiv(x, y) if signed else b.udiv(x, y)
    wide = vector_type(DOUBLE if dtype.size == 4 else FLOAT, width)
    to_float = b.sitofp if signed else b.uitofp
    quotient = b.fdiv(to_float(x, wide), to_float(y, wide))
    whole = b.fptosi(quotient, vector_type(I64 if dtype.name == "u32" else I32, width))
    return whole if whole.type == x.type else b.trunc(whole, x.type)


# -- floats: NumPy's npy_divmod (numpy/_core/src/npymath/npy_math_internal.h.src) ----


def float_truncrem(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """C's fmod, exactly: where the quotient is below 2^p its remainder is one fma, otherwise libm's."""
    a, d = Lane(b, x), Lane(b, y)
    form = a.format
    size_a, size_d = a.intrinsic("fabs"), d.intrinsic("fabs")
    word_a, word_d = size_a.bits(), size_d.bits()
    least_normal = 1 << form.fraction
    odd_divisor = (word_d - least_normal).unsigned(">=", form.infinity - least_normal)
    far = (word_a - word_d).signed(">=", (form.fraction - 1) << form.fraction)
    hard = odd_divisor.of(b.or_(odd_divisor.value, far.value))
    hard = hard.of(b.or_(hard.value, word_a.signed(">=", form.infinity).value))
    easy_a = select_lane(hard, 1.0, size_a)
    easy_d = select_lane(hard, 1.0, size_d)
    below = word_a.signed("<", word_d)
    # no quotient below 1: it might raise `under`
    dividend = select_lane(below, easy_d, easy_a)
    quotient = (dividend / easy_d).intrinsic("trunc")
    rest = fma(-quotient, easy_d, dividend)
    # the quotient was rounded up to an integer
    rest = select_lane(rest.compared("olt", 0.0), rest + easy_d, rest)
    rest = _copysign(select_lane(below, size_a, rest), a)

    def by_libm() -> list[Lane]:
        exact = call_libm(b, "fmod", [select_lane(hard, a, 1.0).value, select_lane(hard, d, 1.0).value])
        return [select_lane(hard, rest.of(exact), rest)]

    return rare(hard, [rest], by_libm)[0].value


def _copysign(size: Lane, sign: Lane) -> Lane:
    form = size.format
    return ((size.bits() & form.magnitude) | (sign.bits() & form.sign)).floats()


def _across_zero(b: ir.IRBuilder, rest: Lane, d: Lane) -> Lane:
    """Where C's remainder is not zero and has not the divisor's sign."""
    differ = (rest.bits() ^ d.bits()).signed("<", 0)
    return rest.of(b.and_(differ.value, b.and_(rest.compared("one", 0.0).value, d.compared("ord", d).value)))


def float_mod(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    d, rest = Lane(b, y), Lane(b, float_truncrem(b, x, y))
    fixed = select_lane(_across_zero(b, rest, d), rest + d, rest)
    mod = select_lane(rest.compared("oeq", 0.0), _copysign(rest, d), fixed)
    return select_lane(d.compared("oeq", 0.0), rest, mod).value


def float_floordiv(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    a, d = Lane(b, x), Lane(b, y)
    null = d.compared("oeq", 0.0)
    safe_a, safe_d = select_lane(null, 1.0, a), select_lane(null, 1.0, d)
    rest = a.of(float_truncrem(b, safe_a.value, safe_d.value))
    div = (safe_a - rest) / safe_d
    div = select_lane(_across_zero(b, rest, safe_d), div - 1.0, div)
    floor = div.intrinsic("floor")
    floor = select_lane((div - floor).compared("ogt", 0.5), floor + 1.0, floor)
    # a zero has the quotient's sign
    sign = (a.bits() ^ d.bits()) & a.format.sign
    result = select_lane(div.compared("une", 0.0), floor, sign.floats())

    def as_quotient() -> list[Lane]:
        quotient = a.of(fence(b, (select_lane(unusual, a, 1.0) / select_lane(unusual, d, 1.0)).value))
        return [select_lane(null, quotient, result)]

    tiny = b.and_(_tiny_quotient(a, d).value, div.compared("oeq", 0.0).value)
    unusual = null.of(b.or_(null.value, tiny))
    return rare(unusual, [result], as_quotient)[0].value


def _tiny_quotient(a: Lane, d: Lane) -> Lane:
    """Where a / d might raise `under`: NumPy divides for the sign of a zero."""
    form = a.format
    margin = (form.bias - form.fraction - 3) << form.fraction
    word_a, word_d = a.intrinsic("fabs").bits(), d.intrinsic("fabs").bits()
    far = word_d.signed(">", margin).value, (word_a - 1).unsigned("<", word_d - margin).value
    return a.of(a.builder.and_(*far))
