"""pow.

f64: log2 x to some 66 bits as the sum of two doubles, times y, and 2 to that. log2 m = s (A + z (B + z T(z))) with
s = f / (2 + f), z = s^2, where s, A + z ..., B are sums of two (T. J. Dekker, A floating-point technique for extending the
available precision, 1971) and T, some 2^-12 of the whole, is not. f32 computes in f64, where one double is enough and
where its subnormals are normal numbers: two vectors of f64 are cheaper than one of f32 with sums of two.
C99's special cases, and y = 2 and y = 1/2, which are rounded correctly, are in a rare branch.
"""

from __future__ import annotations

from llvmlite import ir

from tensorjit.backends.llvm.vmath import coefficients as table
from tensorjit.backends.llvm.vmath.exponential import scaled, scaled_in_steps
from tensorjit.backends.llvm.vmath.lanes import F64, Lane, fma, nan_of, polynomial, positive_finite, rare, select, strictly
from tensorjit.backends.llvm.vmath.logarithm import (
    Split,
    exponent_bias,
    normalised,
    not_positive_normal,
    split,
)
from tensorjit.backends.llvm.vmath.sums import fast_sum, full_product
from tensorjit.records import dataclass

HUGE_Y, TINY_Y = 2.0**64, 2.0**-400  # beyond these x^y is settled, and the parts of y log x leave the range
ALWAYS_NORMAL = 1021.0  # 2^e is a normal number for |e| up to here
PAST_RANGE = 1100.0
PAST_RANGE_F32 = 160.0


@dataclass(frozen=True, slots=True)
class Sum:
    """An unevaluated sum; the second is within some units in the last place of the first."""

    high: Lane
    low: Lane


def pow_(x: Lane, y: Lane) -> Lane:
    """x to the power y."""
    if x.format is not F64:
        wide = ir.DoubleType()
        return _in_f64(x.to(wide), y.to(wide), via_f32=True).to(ir.FloatType())
    return _in_f64(x, y, via_f32=False)


def _in_f64(x: Lane, y: Lane, via_f32: bool) -> Lane:
    magnitude = y.bits() & F64.magnitude
    low, high = F64.word(TINY_Y), F64.word(HUGE_Y)
    exact = y.bits().unsigned("==", F64.word(2.0)) | y.bits().unsigned("==", F64.word(0.5))
    special = not_positive_normal(x) | (magnitude - low).unsigned(">", high - low) | exact
    base, bias, power = rare(special, [x, x.constant(exponent_bias(x)), y], lambda: _tame(x, y, exact))
    number = split(base, bias)
    result = _rough(power, number) if via_f32 else _exp2_rarely(_times(power, _log2(number)))
    (result,) = rare(special, [result], lambda: [_special(x, y, result)])
    return result


def _tame(x: Lane, y: Lane, exact: Lane) -> list[Lane]:
    """|x|, its bias, and y, such that nothing is raised on the way: 1^2 where the result is known otherwise."""
    size, magnitude = (x.bits() & F64.magnitude), (y.bits() & F64.magnitude)
    known = exact | size.signed(">=", F64.infinity) | magnitude.signed(">=", F64.infinity)
    whole, _ = _parity(y, magnitude)
    known = known | size.unsigned("==", 0) | (x.bits().signed("<", 0) & ~whole)
    finite = select(known, 1.0, size.floats())
    base, bias = normalised(finite, not_positive_normal(finite))
    sign = y.bits() & F64.sign
    limit = select(magnitude.signed("<", F64.word(1.0)), y.constant(2.0**-100), HUGE_Y)
    outside = (magnitude - F64.word(TINY_Y)).unsigned(">", F64.word(HUGE_Y) - F64.word(TINY_Y))
    power = select(outside, (limit.bits() | sign).floats(), y)
    return [base, bias, select(known, 2.0, power)]


def _special(x: Lane, y: Lane, result: Lane) -> Lane:
    """C99 F.9.4.4 on the result for |x| and the tamed y."""
    size, magnitude = x.bits() & F64.magnitude, y.bits() & F64.magnitude
    zero, endless = size.unsigned("==", 0), magnitude.unsigned("==", F64.infinity)
    negative_x, negative_y = x.bits().signed("<", 0), y.bits().signed("<", 0)
    nan = size.signed(">", F64.infinity) | magnitude.signed(">", F64.infinity)
    unit = size.unsigned("==", F64.word(1.0))
    small = size.signed("<", F64.word(1.0))
    whole, odd = _parity(y, magnitude)

    extreme = zero | size.unsigned("==", F64.infinity) | (endless & ~unit)
    result = select(extreme, select(small ^ negative_y, result.constant(0.0), float("inf")), result)
    result = select(endless & unit, 1.0, result)
    result = _squares_and_roots(x, y, result)
    # one division raises both flags: 1/0 for 0^-y, 0/0 for a negative number to a fraction
    pole = zero & negative_y & ~(nan | magnitude.unsigned("==", 0))
    finite = ~(zero | nan | size.unsigned("==", F64.infinity))
    undefined = negative_x & finite & ~whole
    top = select(undefined, x.constant(0.0), 1.0)
    quotient = strictly("fdiv", top, select(pole | undefined, x.constant(0.0), 1.0))
    result = select(pole | undefined, quotient, result)
    sign = select(negative_x & odd, x.bits() & F64.sign, 0)
    result = (result.bits() | sign).floats()
    result = select(nan, nan_of(x, y, nan), result)
    return select(magnitude.unsigned("==", 0) | x.bits().unsigned("==", F64.word(1.0)), 1.0, result)


def _parity(y: Lane, magnitude: Lane) -> tuple[Lane, Lane]:
    """Lanes where y is an integer, and where it is an odd one."""
    settled = magnitude.signed(">", F64.word(HUGE_Y)) | magnitude.signed("<", F64.word(TINY_Y))
    size = select(settled, 2.0, (y.bits() & F64.magnitude).floats())
    tiny = (magnitude - 1).unsigned("<", F64.word(TINY_Y) - 1)
    half = size * 0.5
    whole = size.intrinsic("floor").compared("oeq", size) & ~tiny
    return whole, whole & half.intrinsic("floor").compared("une", half)


def _squares_and_roots(x: Lane, y: Lane, result: Lane) -> Lane:
    """x^2 and x^0.5, rounded once, with the flags of these operations."""
    word, size = y.bits(), (x.bits() & F64.magnitude)
    finite = positive_finite(size)
    square = word.unsigned("==", F64.word(2.0)) & finite
    base = select(square, x, 1.0)
    result = select(square, strictly("fmul", base, base), result)
    root = word.unsigned("==", F64.word(0.5)) & x.bits().signed(">", 0) & finite
    return select(root, strictly("sqrt", select(root, x, 1.0)), result)


def _log2(number: Split) -> Sum:
    """log2 of a number, to 2^-64 of itself or so."""
    f = number.fraction
    below = f + 2.0
    below_low = f - (below - 2.0)
    inverse = 1.0 / below
    s = f * inverse
    s_low = fma(-s, below_low, fma(-s, below, f)) * inverse
    z = s * s
    z_low = fma(s + s, s_low, fma(s, s, -z))
    (a, a_low), (b, b_low) = table.LOG2_S_64, table.LOG2_S3_64
    tail = z * polynomial(z, table.LOG2_TAIL_64)
    inner = tail + b
    inner_low = (tail - (inner - b)) + b_low
    curve = z * inner
    curve_low = fma(z, inner_low, fma(z_low, inner, fma(z, inner, -curve)))
    slope = curve + a
    slope_low = (curve - (slope - a)) + (curve_low + a_low)
    part = s * slope
    part_low = fma(s, slope_low, fma(s_low, slope, fma(s, slope, -part)))
    high = number.exponent + part
    return Sum(high, (part - (high - number.exponent)) + part_low)


def _times(y: Lane, number: Sum) -> Sum:
    """y times a sum."""
    high = y * number.high
    return Sum(high, fma(y, number.low, fma(y, number.high, -high)))


def _exp2_rarely(e: Sum) -> Lane:
    """2^e, with its flags where it leaves the normal numbers."""
    size = e.high.bits() & F64.magnitude
    extreme = size.signed(">", F64.word(ALWAYS_NORMAL))

    def held() -> list[Lane]:
        edge = (e.high.bits() & F64.sign | F64.word(PAST_RANGE)).floats()
        past = size.signed(">", F64.word(PAST_RANGE))
        return [select(past, edge, e.high), select(past, 0.0, e.low)]

    high, low = rare(extreme, [e.high, e.low], held)
    shifted = high + F64.magic
    rest = high - (shifted - F64.magic)
    r = rest + low
    lost = (rest - r) + low
    ln2, ln2_low = table.LN2_64
    curve = fma(r * r, polynomial(r, table.EXP2_64), fma(r, ln2_low, lost * ln2))
    # the logarithm has used up a third of the last place: here but the last sum may round
    linear, linear_low = full_product(r, r.constant(ln2))
    one, one_low = fast_sum(r.constant(1.0), linear)
    near = one + (one_low + (linear_low + curve))
    quick = scaled(near, shifted)
    (result,) = rare(extreme, [quick], lambda: [scaled_in_steps(near, shifted)])
    return result


def _rough(y: Lane, number: Split) -> Lane:
    """The power of a number to some 36 bits."""
    return _exp2_f32(y * _log2_f32(number))


def _log2_f32(number: Split) -> Lane:
    """log2 to some 40 bits."""
    return fma(number.fraction, polynomial(number.fraction, table.LOG2_MID), number.exponent)


def _exp2_f32(e: Lane) -> Lane:
    """2^e to some 37 bits; what f32 cannot hold is left to the conversion, which raises the flags."""
    limit = F64.word(PAST_RANGE_F32)
    edge = (e.bits() & F64.sign | limit).floats()
    held = select((e.bits() & F64.magnitude).signed(">", limit), edge, e)
    shifted = held + F64.magic
    r = held - (shifted - F64.magic)
    return scaled(fma(r * r, polynomial(r, table.EXP2_MID), fma(r, table.LN2_64[0], 1.0)), shifted)
