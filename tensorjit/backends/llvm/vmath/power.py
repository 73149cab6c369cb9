"""pow.

log x to some 64 bits (some 34 for f32) as the sum of two numbers, times y, and e to that: the table of `logarithm`, whose
r is exact, with r - r^2/2 as a sum of two (T. J. Dekker, A floating-point technique for extending the available precision,
1971) and the cubic and smaller terms, some 2^-10 of the whole, in one number.
C99's special cases are in a rare branch; y = 2 and y = 1/2, which are rounded correctly, in another.
"""

from __future__ import annotations

from tensorjit.backends.llvm.vmath import coefficients as table
from tensorjit.backends.llvm.vmath.exponential import ALWAYS_NORMAL, LN2, LOG2_E, PAST_RANGE, scaled, scaled_in_steps
from tensorjit.backends.llvm.vmath.lanes import F32, Lane, fma, lookup, nan_of, polynomial, positive_finite, rare, select, strictly
from tensorjit.backends.llvm.vmath.logarithm import (
    LN2_SHORT,
    Piece,
    exponent_bias,
    normalised,
    not_positive_normal,
    piece,
)
from tensorjit.backends.llvm.vmath.sums import fast_sum
from tensorjit.records import dataclass

# beyond these x^y is settled, and the parts of y log x leave the range
HUGE_Y = {64: 2.0**64, 32: 2.0**32}
TINY_Y = {64: 2.0**-400, 32: 2.0**-40}
TAIL = {64: table.LOG_TAIL_64, 32: table.LOG_TAIL_32}
EXPM1 = {64: table.EXPM1_64, 32: table.EXPM1_32}


@dataclass(frozen=True, slots=True)
class Sum:
    """An unevaluated sum; the second is within some units in the last place of the first."""

    high: Lane
    low: Lane


def pow_(x: Lane, y: Lane) -> Lane:
    """x to the power y."""
    form = x.format
    magnitude = y.bits() & form.magnitude
    # 2.0 and 0.5 differ in one bit of 2.0 - 0.5, counted in bits
    exact = ((y.bits() - form.word(0.5)) & ~(form.word(2.0) - form.word(0.5))).unsigned("==", 0)
    low, high = form.word(TINY_Y[form.bits]), form.word(HUGE_Y[form.bits])
    special = not_positive_normal(x) | (magnitude - low).unsigned(">", high - low)
    base, bias, power = rare(special, [x, x.constant(exponent_bias(x)), y], lambda: _tame(x, y, exact))
    number = piece(base, bias)
    result = _exp_rarely(_times(power, _log(number)))
    (result,) = rare(special, [result], lambda: [_special(x, y, result)])
    (result,) = rare(exact, [result], lambda: [_squares_and_roots(x, y, result)])
    return result


def _tame(x: Lane, y: Lane, exact: Lane) -> list[Lane]:
    """|x|, its bias, and y, such that nothing is raised on the way: 1^2 where the result is known otherwise."""
    form = x.format
    size, magnitude = (x.bits() & form.magnitude), (y.bits() & form.magnitude)
    known = exact | size.signed(">=", form.infinity) | magnitude.signed(">=", form.infinity)
    whole, _ = _parity(y, magnitude)
    known = known | size.unsigned("==", 0) | (x.bits().signed("<", 0) & ~whole)
    finite = select(known, 1.0, size.floats())
    base, bias = normalised(finite, not_positive_normal(finite))
    sign, least = y.bits() & form.sign, form.word(TINY_Y[form.bits])
    limit = select(magnitude.signed("<", form.word(1.0)), y.constant(2.0 ** (-form.bits * 5 // 4)), HUGE_Y[form.bits])
    outside = (magnitude - least).unsigned(">", form.word(HUGE_Y[form.bits]) - least)
    power = select(outside, (limit.bits() | sign).floats(), y)
    return [base, bias, select(known, 2.0, power)]


def _special(x: Lane, y: Lane, result: Lane) -> Lane:
    """C99 F.9.4.4 on the result for |x| and the tamed y."""
    form = x.format
    size, magnitude = x.bits() & form.magnitude, y.bits() & form.magnitude
    zero, endless = size.unsigned("==", 0), magnitude.unsigned("==", form.infinity)
    negative_x, negative_y = x.bits().signed("<", 0), y.bits().signed("<", 0)
    nan = size.signed(">", form.infinity) | magnitude.signed(">", form.infinity)
    unit = size.unsigned("==", form.word(1.0))
    small = size.signed("<", form.word(1.0))
    whole, odd = _parity(y, magnitude)

    extreme = zero | size.unsigned("==", form.infinity) | (endless & ~unit)
    result = select(extreme, select(small ^ negative_y, result.constant(0.0), float("inf")), result)
    result = select(endless & unit, 1.0, result)
    # one division raises both flags: 1/0 for 0^-y, 0/0 for a negative number to a fraction
    pole = zero & negative_y & ~(nan | magnitude.unsigned("==", 0))
    finite = ~(zero | nan | size.unsigned("==", form.infinity))
    undefined = negative_x & finite & ~whole
    top = select(undefined, x.constant(0.0), 1.0)
    quotient = strictly("fdiv", top, select(pole | undefined, x.constant(0.0), 1.0))
    result = select(pole | undefined, quotient, result)
    sign = select(negative_x & odd, x.bits() & form.sign, 0)
    result = (result.bits() | sign).floats()
    result = select(nan, nan_of(x, y, nan), result)
    return select(magnitude.unsigned("==", 0) | x.bits().unsigned("==", form.word(1.0)), 1.0, result)


def _parity(y: Lane, magnitude: Lane) -> tuple[Lane, Lane]:
    """Lanes where y is an integer, and where it is an odd one."""
    form = y.format
    settled = magnitude.signed(">", form.word(HUGE_Y[form.bits])) | magnitude.signed("<", form.word(TINY_Y[form.bits]))
    size = select(settled, 2.0, (y.bits() & form.magnitude).floats())
    tiny = (magnitude - 1).unsigned("<", form.word(TINY_Y[form.bits]) - 1)
    half = size * 0.5
    whole = size.intrinsic("floor").compared("oeq", size) & ~tiny
    return whole, whole & half.intrinsic("floor").compared("une", half)


def _squares_and_roots(x: Lane, y: Lane, result: Lane) -> Lane:
    """x^2 and x^0.5, rounded once, with the flags of these operations."""
    form = x.format
    word, size = y.bits(), (x.bits() & form.magnitude)
    finite = positive_finite(size)
    square = word.unsigned("==", form.word(2.0)) & finite
    base = select(square, x, 1.0)
    result = select(square, strictly("fmul", base, base), result)
    root = word.unsigned("==", form.word(0.5)) & x.bits().signed(">", 0) & finite
    return select(root, strictly("sqrt", select(root, x, 1.0)), result)


def _log(number: Piece) -> Sum:
    """The natural logarithm, to 2^-64 of itself or so: all but the cubic and smaller terms are sums of two."""
    e, r = number.exponent, number.r
    suffix, (long, short) = r.format.suffix, LN2_SHORT[r.format.bits]
    whole = fma(e, long, lookup(number.index, f"LOG_HIGH_{suffix}"))  # exact
    rest = fma(e, short, lookup(number.index, f"LOG_LOW_{suffix}"))
    first, first_low = fast_sum(whole, r)
    half = r * -0.5
    square = half * r
    second, second_low = fast_sum(first, square)
    tail = [-2.0 * c for c in TAIL[r.format.bits]]
    curve = (r * square) * polynomial(r, tail, r * r)
    low = ((first_low + second_low) + (rest + fma(half, r, -square))) + curve
    # for f32 low is within 2^-10 of second, which the exponential can do with
    return Sum(second, low) if r.format is F32 else Sum(*fast_sum(second, low))


def _times(y: Lane, number: Sum) -> Sum:
    """y times a sum."""
    high = y * number.high
    return Sum(high, fma(y, number.low, fma(y, number.high, -high)))


def _exp_rarely(e: Sum) -> Lane:
    """The exponential of a sum, with its flags where it leaves the normal numbers."""
    form = e.high.format
    limit = PAST_RANGE[form.bits]
    size = e.high.bits() & form.magnitude
    extreme = size.signed(">", form.word(ALWAYS_NORMAL[form.bits]))

    def held() -> list[Lane]:
        edge = (e.high.bits() & form.sign | form.word(limit)).floats()
        past = size.signed(">", form.word(limit))
        return [select(past, edge, e.high), select(past, 0.0, e.low)]

    high, low = rare(extreme, [e.high, e.low], held)
    shifted = fma(high, LOG2_E, form.magic)
    n = shifted - form.magic
    long, short = LN2[form.bits]
    first = fma(n, -long, high)  # exact
    r, lost = fast_sum(first, fma(n, -short, low))
    squared = r * r
    near = (r + fma(squared, polynomial(r, EXPM1[form.bits], squared), lost)) + 1.0
    quick = scaled(near, shifted)
    (result,) = rare(extreme, [quick], lambda: [scaled_in_steps(near, shifted)])
    return result
