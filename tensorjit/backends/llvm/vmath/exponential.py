"""exp, and the pieces of it that others are made of.

Reduction x = n ln 2 + r after Cody and Waite (Software Manual for the Elementary Functions, 1980), with the rounding
to n by adding a large number, so that n is in the low bits of a float and no conversion to integers is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tensorjit.backends.llvm.vmath import coefficients as table
from tensorjit.backends.llvm.vmath.lanes import F64, LITTLE, Lane, fma, horner, polynomial, rare, select, square

Finish: TypeAlias = Callable[[Lane], Lane]

EXP = {64: table.EXP_64, 32: table.EXP_32}
LN2 = {64: table.LN2_64, 32: table.LN2_32}
LOG2_E = table.LOG2_E_64[0]
ALWAYS_NORMAL = {64: 708.0, 32: 87.0}  # |x| up to here: e^x is a normal number
ALWAYS_NORMAL_2 = {64: 1021.0, 32: 125.0}
PAST_RANGE_2 = {64: 1100.0, 32: 160.0}
PAST_RANGE = {64: 800.0, 32: 120.0}  # e^x is infinite, or zero, and n still fits


def exp(x: Lane) -> Lane:
    """e^x."""
    form = x.format
    magnitude = x.bits() & form.magnitude
    extreme = magnitude.signed(">", form.word(ALWAYS_NORMAL[form.bits]))
    (y,) = rare(extreme, [x], lambda: [clamped(x, magnitude, PAST_RANGE[form.bits])])
    high, low = LN2[form.bits]
    shifted = fma(y, LOG2_E, form.magic)
    n = shifted - form.magic
    first = fma(n, -high, y)  # exact
    second = n * low
    r = first - second
    squared = square(r)
    near = (first + fma(squared, polynomial(r, EXP[form.bits], squared), -second)) + 1.0
    return scaled_rarely(near, shifted, extreme, lambda result: past_infinity(x, magnitude, result))


def exp2(x: Lane) -> Lane:
    """2^x."""
    form = x.format
    magnitude = x.bits() & form.magnitude
    extreme = magnitude.signed(">", form.word(ALWAYS_NORMAL_2[form.bits]))
    (y,) = rare(extreme, [x], lambda: [clamped(x, magnitude, PAST_RANGE_2[form.bits])])
    shifted = y + form.magic
    r = y - (shifted - form.magic)
    near = _power_64(r) if form is F64 else fma(r, horner(r, table.EXP2_SHORT_32), 1.0)
    return scaled_rarely(near, shifted, extreme, lambda result: past_infinity(x, magnitude, result))


def _power_64(r: Lane) -> Lane:
    """2^r for |r| <= 1/2, which takes 1 + r log 2 as a sum."""
    high, low = LN2[64]
    squared = square(r)
    curve = fma(squared, polynomial(r, table.EXP2_64, squared), fma(r, low, LITTLE[64]))
    return fma(r, high, curve) + 1.0


def clamped(x: Lane, magnitude: Lane, limit: float) -> Lane:
    """x brought within +-limit, 0 for what is not finite (an infinite result that is exact overflows nothing)."""
    form = x.format
    edge = (x.bits() & form.sign | form.word(limit)).floats()
    held = select(magnitude.signed(">", form.word(limit)), edge, x)
    return select(magnitude.signed(">=", form.infinity), 0.0, held)


def past_infinity(x: Lane, magnitude: Lane, result: Lane) -> Lane:
    """result, and for infinities and NaN the exponential's limits."""
    form = x.format
    limit = select(x.bits().unsigned("==", form.infinity | form.sign), 0.0, x)
    return select(magnitude.signed(">=", form.infinity), limit, result)


def power_of_two(shifted: Lane, halvings: int = 0) -> Lane:
    """2^(n - halvings) of n + magic, for exponents of normal numbers."""
    form = shifted.format
    return ((shifted.bits() << form.fraction) + form.word(2.0**-halvings)).floats()


def scaled(near: Lane, shifted: Lane) -> Lane:
    """near * 2^n of n + magic where the result is sure to be normal."""
    return (near.bits() + (shifted.bits() << shifted.format.fraction)).floats()


def scaled_in_steps(near: Lane, shifted: Lane) -> Lane:
    """near * 2^n rounded once, with its flags: the first factor keeps the product normal, the second may not."""
    form = shifted.format
    n = shifted.bits()
    half = n >> 1
    first = ((half << form.fraction) + form.word(1.0)).floats()
    second = (((n - half) << form.fraction) + form.word(1.0)).floats()
    return near * first * second


def scaled_rarely(near: Lane, shifted: Lane, extreme: Lane, finish: Finish) -> Lane:
    """near * 2^n; with care, and then finish, where any lane is extreme."""

    quick = scaled(near, shifted)
    (result,) = rare(extreme, [quick], lambda: [finish(scaled_in_steps(near, shifted))])
    return result
