"""expm1, sinh, cosh, tanh: e^r - 1 as the sum of two numbers, and what can be made of it without cancellation."""

from __future__ import annotations

from tensorjit.backends.llvm.vmath import coefficients as table
from tensorjit.backends.llvm.vmath.exponential import LN2, LOG2_E, clamped, power_of_two
from tensorjit.backends.llvm.vmath.lanes import F32, F64, Lane, clamped_index, fma, lookup, polynomial, rare, select, square
from tensorjit.backends.llvm.vmath.sums import fast_sum, quotient

EXPM1 = {64: table.EXPM1_64, 32: table.EXPM1_32}
ALL_ONE = {64: 20.0, 32: 10.0}  # tanh is 1 from here on
TANH_START = 0.125  # of the second piece
TOP = {64: 709.0, 32: 88.0}  # nothing has overflowed up to here
OVER_EXP = {64: 710.0, 32: 89.0}  # e^x has
OVER_SINH = {64: 710.6, 32: 89.5}  # and sinh x
EXACT_LESS_ONE = {64: 36.0, 32: 16.0}  # 2^n - 1 is a number for n up to that of this e^x
MINUS_ONE = {64: -50.0, 32: -25.0}  # e^x - 1 is -1 down from here
LEAST = {64: 2.0**-300, 32: 2.0**-100}  # lost beside anything
SINH = {64: table.SINH_64, 32: table.SINH_32}
COSH = {64: table.COSH_64, 32: table.COSH_32}
LINEAR = {64: 2.0**-30, 32: 2.0**-14}  # tanh x = x below this


def tanh(x: Lane) -> Lane:
    """Hyperbolic tangent, (e^r - 2^-n) / (e^r + 2^-n) for 2 |x| = n log 2 + r, the quotient corrected by its remainder."""
    form = x.format
    if form is F32:
        return _tanh_by_pieces(x)
    size = (x.bits() & form.magnitude).floats()
    limit = ALL_ONE[form.bits]
    held = select(size.compared("ogt", limit), limit, size)
    long, short = (part / 2 for part in LN2[form.bits])
    shifted = fma(held, LOG2_E * 2, form.magic)
    n = shifted - form.magic
    first = fma(n, -long, held)  # exact; r / 2
    second = n * (-2.0 * short)
    squared = square(first)
    scaled = [c * 2.0 ** (i + 2) for i, c in enumerate(EXPM1[form.bits])]
    # of e^r = e^first (1 + second) what matters for n = 1; then 1 hides more and more
    tail = fma(squared, polynomial(first, scaled, squared), fma(first * 2.0, second, second))
    high = fma(first, 2.0, tail)
    low = fma(first, 2.0, -high) + tail
    t = (shifted.bits().constant(form.word(1.0)) - (shifted.bits() << form.fraction)).floats()
    more = t + 1.0
    less = fma(t, -2.0, more)  # 1 - t, and no larger than the quotient where 1 + t is rounded
    above, below = less + high, more + high
    ratio = quotient((above, (high - (above - less)) + low), (below, (high - (below - more)) + low))
    linear = size.bits().signed("<", form.word(LINEAR[form.bits]))
    return _signed(select(linear, size, ratio), x)


def _tanh_by_pieces(x: Lane) -> Lane:
    """tanh of an f32: a polynomial for each quarter binade, its coefficients from tables."""
    form = x.format
    size = (x.bits() & form.magnitude).floats()
    held = select(size.compared("ogt", ALL_ONE[32]), ALL_ONE[32], size)
    first = (form.word(TANH_START) >> (form.fraction - 2)) - 1
    index = clamped_index((held.bits() >> (form.fraction - 2)) - first, 31)
    d = held - lookup(index, "TANH_PLACE_32")
    total = lookup(index, "TANH_5_32")
    for i in range(4, 0, -1):
        total = fma(d, total, lookup(index, f"TANH_{i}_32"))
    small = held.bits().signed("<", form.word(TANH_START))
    return _signed(fma(d, total, select(small, held, lookup(index, "TANH_0_32"))), x)


def expm1(x: Lane) -> Lane:
    """e^x - 1, as 2^n (1 + r + curve) - 1."""
    form = x.format
    magnitude = x.bits() & form.magnitude
    least, most = form.word(2.0 ** (-form.fraction - 2)), form.word(EXACT_LESS_ONE[form.bits])
    unusual = (magnitude - least).unsigned(">", most - least)
    shifted, r, curve = _exponential(select(unusual, 0.0, x))
    scale = power_of_two(shifted)
    less = scale - 1.0
    total = fma(scale, r, less)
    result = total + fma(scale, curve, fma(scale, r, less - total))
    return rare(unusual, [result], lambda: [_expm1_anywhere(x, magnitude, magnitude.signed("<", least))])[0]


def _exponential(y: Lane) -> tuple[Lane, Lane, Lane]:
    """n, with the format's magic number, and a sum: e^y = 2^n (1 + r + curve)."""
    long, short = LN2[y.format.bits]
    shifted = fma(y, LOG2_E, y.format.magic)
    n = shifted - y.format.magic
    first = fma(n, -long, y)  # exact
    r = fma(n, -short, first)
    lost = fma(n, -short, first - r)
    squared = r * r
    return shifted, r, fma(squared, polynomial(r, EXPM1[y.format.bits], squared), fma(lost, r, lost))


def _expm1_anywhere(x: Lane, magnitude: Lane, small: Lane) -> Lane:
    """e^x - 1 whatever n is, and the limits; x itself where it is small."""
    form, low = x.format, MINUS_ONE[x.format.bits]
    y = select(x.compared("olt", low), low, clamped(x, magnitude, OVER_EXP[form.bits]))
    shifted, r, curve = _exponential(select(small, 0.0, y))
    # half of everything: 2^n may be just out of range where the result is not
    scale = power_of_two(shifted, 1)
    less = scale - 0.5
    high, rest = fast_sum(r, curve)
    total = fma(scale, high, less)
    lost = fma(scale, high, less - total) + ((scale - less) - 0.5)
    half = total + fma(scale, rest, lost)
    endless = magnitude.signed(">=", form.infinity) & x.bits().unsigned("!=", form.infinity | form.sign)
    return select(small | endless, x, half + half)


def sinh(x: Lane) -> Lane:
    """Hyperbolic sine."""
    return _signed(_half_sum(x, -1.0), x)


def cosh(x: Lane) -> Lane:
    """Hyperbolic cosine."""
    return _half_sum(x, 1.0)


def _half_sum(x: Lane, sign: float) -> Lane:
    """(e^|x| + sign e^-|x|) / 2: with |x| = n log 2 + r, sums of 2^n, 2^-n, cosh r and sinh r, without a division."""
    form = x.format
    size = (x.bits() & form.magnitude).floats()
    top = size.bits().signed(">", form.word(TOP[form.bits]))
    (y,) = rare(top, [size], lambda: [clamped(size, size.bits(), OVER_SINH[form.bits])])
    long, short = LN2[form.bits]
    shifted = fma(y, LOG2_E, form.magic)
    n = shifted - form.magic
    first = fma(n, -long, y)  # exact
    second = fma(n, short, LEAST[form.bits])
    r = first - second
    squared = square(r)
    sine = fma(r, squared * polynomial(squared, SINH[form.bits]), -second)  # sinh r - first
    cosine = squared * polynomial(squared, COSH[form.bits])  # cosh r - 1
    # a quarter of everything: 2^n may be just out of range where the result is not
    power = shifted.bits() << form.fraction
    grown = (power + form.word(0.125)).floats()
    shrunk = (power.constant(form.word(0.125)) - power).floats()
    shrunk = select(y.bits().signed(">", form.word(ALL_ONE[form.bits] * 2)), 0.0, shrunk)
    even, odd = (grown + shrunk, grown - shrunk) if sign > 0 else (grown - shrunk, grown + shrunk)
    lost = shrunk * sign - (even - grown)
    if form is F64:  # where the sum has lost 2^-n, so has the difference: 2^-n e^-r is missing
        lost = fma(lost, -first, lost)
    elif sign < 0:  # 2^n + 2^-n is half a unit off for n = 12
        lost = fma(shrunk - (odd - grown), first, lost)
    quarter = even + fma(odd, first, fma(odd, sine, fma(even, cosine, lost)))
    result = quarter * 4.0
    if sign < 0.0:
        linear = size.bits().signed("<", form.word(LINEAR[form.bits]))
        result = select(linear, size, result)
    (result,) = rare(top, [result], lambda: [select(size.bits().signed(">=", form.infinity), size, result)])
    return result


def _signed(magnitude: Lane, x: Lane) -> Lane:
    """magnitude with the sign of x."""
    return (magnitude.bits() | x.bits() & x.format.sign).floats()
