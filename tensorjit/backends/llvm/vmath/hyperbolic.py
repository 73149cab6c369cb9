"""expm1, sinh, cosh, tanh: e^r - 1 as the sum of two numbers, and what can be made of it without cancellation."""

from __future__ import annotations

from tensorjit.backends.llvm.vmath import coefficients as table
from tensorjit.backends.llvm.vmath.exponential import LN2, LOG2_E, clamped, power_of_two
from tensorjit.backends.llvm.vmath.lanes import Lane, fma, polynomial, rare, select
from tensorjit.backends.llvm.vmath.sums import fast_sum, quotient
from tensorjit.records import dataclass

EXPM1 = {64: table.EXPM1_64, 32: table.EXPM1_32}
ALL_ONE = {64: 20.0, 32: 10.0}  # tanh is 1 from here on
TOP = {64: 709.0, 32: 88.0}  # nothing has overflowed up to here
OVER_EXP = {64: 710.0, 32: 89.0}  # e^x has
OVER_SINH = {64: 710.6, 32: 89.5}  # and sinh x
MINUS_ONE = {64: -50.0, 32: -25.0}  # e^x - 1 is -1 down from here
LINEAR = {64: 2.0**-30, 32: 2.0**-14}  # tanh x = x below this


@dataclass(frozen=True, slots=True)
class Stretched:
    """scale (1 + high + low)."""

    scale: Lane
    high: Lane
    low: Lane


def stretched(x: Lane, halvings: int = 0) -> Stretched:
    """e^x 2^-halvings for x within the normal exponents; e^r - 1 to more than the format's precision, relative to itself."""
    form = x.format
    long, short = LN2[form.bits]
    shifted = fma(x, LOG2_E, form.magic)
    n = shifted - form.magic
    first = fma(n, -long, x)  # exact
    r = fma(n, -short, first)
    lost = fma(n, -short, first - r)
    curve = fma(r * r, polynomial(r, EXPM1[form.bits]), fma(lost, r, lost))
    high = r + curve
    return Stretched(power_of_two(shifted, halvings), high, curve - (high - r))


def tanh(x: Lane) -> Lane:
    """Hyperbolic tangent, (e^2x - 1) / (e^2x + 1), the quotient corrected by its remainder."""
    form = x.format
    size = (x.bits() & form.magnitude).floats()
    linear = size.bits().signed("<", form.word(LINEAR[form.bits]))
    limit = ALL_ONE[form.bits]
    held = select(linear, 0.0, select(size.compared("ogt", limit), limit, size))
    grown = stretched(held + held)
    product = grown.scale * grown.high
    rest = grown.scale * grown.low
    less, more = grown.scale - 1.0, grown.scale + 1.0
    above, below = less + product, more + product
    # 2^n - 1 and 2^n + 1 are themselves inexact where the quotient is all but one
    above_low = (product - (above - less)) + (rest + ((grown.scale - less) - 1.0))
    below_low = (product - (below - more)) + (rest + ((grown.scale - more) + 1.0))
    ratio = quotient((above, above_low), (below, below_low))
    return _signed(select(linear, size, ratio), x)


def expm1(x: Lane) -> Lane:
    """e^x - 1."""
    form = x.format
    magnitude = x.bits() & form.magnitude
    top = x.bits().signed(">", form.word(TOP[form.bits]))
    (y,) = rare(top, [x], lambda: [clamped(x, magnitude, OVER_EXP[form.bits])])
    y = select(y.compared("olt", MINUS_ONE[form.bits]), MINUS_ONE[form.bits], y)
    linear = magnitude.signed("<", form.word(2.0 ** (-form.fraction - 2)))
    # half of everything: 2^n may be just out of range where the result is not
    grown = stretched(select(linear, 0.0, y), 1)
    less = grown.scale - 0.5
    product = grown.scale * grown.high
    total = less + product
    lost = (product - (total - less)) + ((grown.scale - less) - 0.5)
    half = total + fma(grown.scale, grown.low, lost)
    result = select(linear, x, half + half)
    (result,) = rare(top, [result], lambda: [select(magnitude.signed(">=", form.infinity), x, result)])
    return result


def sinh(x: Lane) -> Lane:
    """Hyperbolic sine."""
    return _signed(_half_sum(x, -1.0), x)


def cosh(x: Lane) -> Lane:
    """Hyperbolic cosine."""
    return _half_sum(x, 1.0)


def _half_sum(x: Lane, sign: float) -> Lane:
    """(e^|x| + sign e^-|x|) / 2."""
    form = x.format
    size = (x.bits() & form.magnitude).floats()
    top = size.bits().signed(">", form.word(TOP[form.bits]))
    (y,) = rare(top, [size], lambda: [clamped(size, size.bits(), OVER_SINH[form.bits])])
    linear = y.bits().signed("<", form.word(LINEAR[form.bits]))
    y = select(linear, 0.0, y)
    grown = stretched(y, 2)  # a quarter of everything, as for expm1
    high, low = fast_sum(y.constant(1.0), grown.high)
    low = low + grown.low
    inverse = 1.0 / high
    inverse_low = -inverse * fma(low, inverse, fma(high, inverse, -1.0))
    shrunk = (grown.scale.bits().constant(2 * form.word(0.25)) - grown.scale.bits()).floats()
    shrunk = select(y.bits().signed(">", form.word(ALL_ONE[form.bits] * 2)), 0.0, shrunk)
    other = shrunk * sign
    total, lost = fast_sum(grown.scale * high, other * inverse)
    quarter = total + fma(grown.scale, low, fma(other, inverse_low, lost))
    result = quarter + quarter
    if sign < 0.0:
        result = select(linear, size, result)
    (result,) = rare(top, [result], lambda: [select(size.bits().signed(">=", form.infinity), size, result)])
    return result


def _signed(magnitude: Lane, x: Lane) -> Lane:
    """magnitude with the sign of x."""
    return (magnitude.bits() | x.bits() & x.format.sign).floats()
