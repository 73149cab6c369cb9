"""Logarithms.

x = 2^e m with m in [sqrt(1/2), sqrt(2)), f = m - 1, s = f / (2 + f): log m = 2 atanh s = f - f^2/2 + s (f^2/2 + R(s^2)), the
arrangement of FreeBSD's msun (e_log.c, a published algorithm), here with the rounding errors of f - f^2/2 and of the
sum with e log 2 carried along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from tensorjit.backends.llvm.vmath import coefficients as table
from tensorjit.backends.llvm.vmath.lanes import Lane, fma, polynomial, rare, select, strictly
from tensorjit.records import dataclass

LOG = {64: table.LOG_64, 32: table.LOG_32}
LN2_SHORT = {64: table.LN2_SHORT_64, 32: table.LN2_SHORT_32}  # e times the first part is exact
LOG2_E = {64: table.LOG2_E_64, 32: table.LOG2_E_32}
LOG10_E = {64: table.LOG10_E_64, 32: table.LOG10_E_32}
LOG10_2 = {64: table.LOG10_2_64, 32: table.LOG10_2_32}
Parts: TypeAlias = Mapping[int, tuple[float, ...]]
ROOT_HALF = 0.70710678118654752


@dataclass(frozen=True, slots=True)
class Split:
    """A positive number as 2^exponent (1 + fraction)."""

    exponent: Lane
    fraction: Lane


def split(x: Lane, bias: Lane | float) -> Split:
    """The exponent and fraction of positive normal x; bias as `exponent_bias`."""
    form = x.format
    low = (1 << form.fraction) - 1
    root = form.word(ROOT_HALF)
    lifted = x.bits() + (form.word(1.0) - root)
    # an integer below 2^fraction becomes a float under the exponent of 2^fraction: AVX2 converts no 64-bit integers
    exponent = (lifted >> form.fraction | form.word(2.0**form.fraction)).floats() - bias
    return Split(exponent, ((lifted & low) + root).floats() - 1.0)


def exponent_bias(x: Lane, shift: int = 0) -> float:
    """What `split` subtracts, for arguments that were multiplied by 2^shift."""
    return 2.0**x.format.fraction + x.format.bias + shift


def not_positive_normal(x: Lane) -> Lane:
    """Lanes that are zero, negative, subnormal, infinite or NaN."""
    form = x.format
    least = form.word(form.least)
    return (x.bits() - least).unsigned(">=", form.infinity - least)


def normalised(x: Lane, odd: Lane) -> list[Lane]:
    """Where odd: positive subnormals times 2^(fraction + 2), and 1 for the rest; with the bias of each lane."""
    form = x.format
    shift = form.fraction + 2
    tiny = (x.bits() - 1).unsigned("<", form.word(form.least) - 1)
    lifted = strictly("fmul", select(tiny, x, 0.0), x.constant(2.0**shift))
    return [
        select(tiny, lifted, select(odd, 1.0, x)),
        select(tiny, x.constant(exponent_bias(x, shift)), exponent_bias(x)),
    ]


def at_the_edge(x: Lane, result: Lane) -> Lane:
    """result, but minus infinity at zero and NaN below, both by a division that raises the flag they deserve."""
    form = x.format
    word = x.bits()
    zero = (word & form.magnitude).unsigned("==", 0)
    nan_or_infinite = (word & form.magnitude).signed(">", form.infinity) | word.unsigned("==", form.infinity)
    outside = (word.signed("<", 0) | zero) & ~nan_or_infinite
    top, bottom = select(zero, x.constant(-1.0), 0.0), select(outside, x.constant(0.0), 1.0)
    edge = strictly("fdiv", top, bottom)
    return select(nan_or_infinite, x, select(outside, edge, result))


def log(x: Lane) -> Lane:
    """Natural logarithm."""
    return _of_split(x, _natural)


def log2(x: Lane) -> Lane:
    """Logarithm to base 2."""
    return _of_split(x, lambda number: _in_base(number, LOG2_E, None))


def log10(x: Lane) -> Lane:
    """Logarithm to base 10."""
    return _of_split(x, lambda number: _in_base(number, LOG10_E, LOG10_2))


def log1p(x: Lane) -> Lane:
    """log(1 + x); 1 + x is a sum of two numbers."""
    form = x.format
    steep = x.bits().signed(">", form.word(2.0 ** (form.fraction + 2)))
    a = select(steep, 0.0, x)  # infinity would raise invalid
    high = a + 1.0
    # Knuth's error of a sum, without the half that is zero
    low = select(a.bits().signed("<", form.word(1.0)), a - (high - 1.0), 1.0 - (high - a))
    result = log_of_sum(select(steep, x, high), low)
    linear = (x.bits() & form.magnitude).signed("<", form.word(2.0 ** (-form.fraction - 2)))
    return select(linear, x, result)


def log_of_sum(high: Lane, low: Lane, doubled: Lane | None = None) -> Lane:
    """log(high + low), with log's limits and flags for high; of twice that in the lanes of doubled.

    The error is relative to high + low - 1, where that is the smaller.
    """
    form = high.format
    odd = not_positive_normal(high)
    y, rest = rare(odd, [high, low], lambda: [select(odd, 1.0, high), select(odd, 0.0, low)])
    bias: Lane | float = exponent_bias(high)
    if doubled is not None:
        bias = select(doubled, high.constant(exponent_bias(high, -1)), exponent_bias(high))
    number = split(y, bias)
    f = number.fraction
    # 4 (1 + fraction) / y, a power of two, from the bits; the 4 keeps it a normal number
    shrink = ((f + 1.0).bits() - y.bits() + form.word(4.0)).floats()
    inverse = fma(fma(fma(f, -0.25, 0.25), f, -0.25), f, 0.25)  # 1/4 / (1 + fraction), for the last bits
    first, second = log_parts(number)
    result = first + fma(rest * shrink, inverse, second)
    (result,) = rare(odd, [result], lambda: [at_the_edge(high, result)])
    return result


def _of_split(x: Lane, formula: Callable[[Split], Lane]) -> Lane:
    """formula of x's parts, and log's limits and flags where x is not a positive number."""
    odd = not_positive_normal(x)
    y, bias = rare(odd, [x, x.constant(exponent_bias(x))], lambda: normalised(x, odd))
    result = formula(split(y, bias))
    (result,) = rare(odd, [result], lambda: [at_the_edge(x, result)])
    return result


def _natural(number: Split) -> Lane:
    high, low = log_parts(number)
    return high + low


def _in_base(number: Split, factor: Parts, of_two: Parts | None) -> Lane:
    """The logarithm to a base of which factor is log e and of_two is log 2 (None: 1)."""
    bits = number.fraction.format.bits
    head, tail = fraction_parts(number.fraction)
    high = head + tail
    low = tail - (high - head)
    long, short = factor[bits]
    part = high * long
    rest = fma(high, long, -part) + fma(high, short, low * long)
    e = number.exponent
    if of_two is not None:
        rest = fma(e, of_two[bits][1], rest)
        e = e * of_two[bits][0]
    total = e + part
    return total + ((part - (total - e)) + rest)


def log_parts(number: Split) -> tuple[Lane, Lane]:
    """log(2^exponent (1 + fraction)) as a sum; the second is some 2^-4 of the first at most."""
    e = number.exponent
    long, short = LN2_SHORT[e.format.bits]
    head, tail = fraction_parts(number.fraction)
    whole = e * long
    high = whole + head
    return high, fma(e, short, (whole - high) + head) + tail


def fraction_parts(f: Lane) -> tuple[Lane, Lane]:
    """log(1 + f) as a sum."""
    s = f / (f + 2.0)
    minus_half = f * -0.5
    head = fma(minus_half, f, f)
    lost = fma(minus_half, f, f - head)
    z = s * s
    return head, fma(s, fma(z, polynomial(z, LOG[f.format.bits]), -(minus_half * f)), lost)
