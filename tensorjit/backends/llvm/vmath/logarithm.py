"""Logarithms.

x = 2^e m with m in [47/64, 47/32), c near 1/m from a table of 16, r = m c - 1 exactly: log x = e log 2 - log c + log(1 + r)
(P. T. P. Tang, Table-driven implementation of the logarithm function, 1990). The first two make one exact sum, and the
rounding error of adding r to it is carried along. f32 does with less: one polynomial for log m, or a table over [1, 2).
"""

from __future__ import annotations

from collections.abc import Callable

from tensorjit.backends.llvm.vmath import coefficients as table
from tensorjit.backends.llvm.vmath.lanes import F64, Lane, fma, horner, lookup, polynomial, rare, select, strictly
from tensorjit.records import dataclass

LN2_SHORT = {64: table.LN2_SHORT_64, 32: table.LN2_SHORT_32}  # e times the first part is exact
ROOT_HALF = 0.70710678118654752
START = 47 / 64  # of the first interval of the tables


@dataclass(frozen=True, slots=True)
class Base:
    """A base: names of tables, log 2 and log e in it as sums (None: 1), and what follows r log e."""

    name: str
    two: tuple[float, ...] | None
    e: tuple[float, ...] | None
    curve: tuple[float, ...]


NATURAL = {
    64: Base("LOG", table.LN2_SHORT_64, None, table.LOG_64),
    32: Base("LOG", table.LN2_SHORT_32, None, table.LOG_32),
}
BINARY = Base("LOG2", None, table.LOG2_E_64, table.LOG2_64)
DECIMAL = Base("LOG10", table.LOG10_2_64, table.LOG10_E_64, table.LOG10_64)


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


@dataclass(frozen=True, slots=True)
class Piece:
    """A positive number as 2^exponent (1 + r) / c, c being the entry `index` of the table."""

    exponent: Lane
    index: Lane
    c: Lane
    r: Lane
    shrink: Lane  # 4 2^-exponent; the 4 keeps it finite


def piece(x: Lane, bias: Lane | float) -> Piece:
    """Of positive normal x; bias as `exponent_bias`."""
    form = x.format
    low, start = (1 << form.fraction) - 1, form.word(START)
    lifted = x.bits() + (form.word(1.0) - start)
    exponent = (lifted >> form.fraction | form.word(2.0**form.fraction)).floats() - bias
    index = lifted >> (form.fraction - 4)
    c = lookup(index, f"INVERSE_{form.suffix}")
    shrink = ((lifted | low).constant(form.word(4.0) + form.word(1.0)) - (lifted & ~low)).floats()
    return Piece(exponent, index, c, fma(((lifted & low) + start).floats(), c, -1.0), shrink)


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
    if x.format is F64:
        return _of_positive(x, lambda y, bias: _sum(log_parts(piece(y, bias), NATURAL[64])))
    return _of_positive(x, lambda y, bias: _wide(split(y, bias)))


def log2(x: Lane) -> Lane:
    """Logarithm to base 2."""
    if x.format is F64:
        return _of_positive(x, lambda y, bias: _sum(log_parts(piece(y, bias), BINARY)))
    return _of_positive(x, lambda y, bias: _by_binade(y, bias, "LOG2", None, table.LOG2_E_32))


def log10(x: Lane) -> Lane:
    """Logarithm to base 10."""
    if x.format is F64:
        return _of_positive(x, lambda y, bias: _sum(log_parts(piece(y, bias), DECIMAL)))
    return _of_positive(x, lambda y, bias: _by_binade(y, bias, "LOG10", table.LOG10_2_32, table.LOG10_E_32))


def log1p(x: Lane) -> Lane:
    """log(1 + x); 1 + x is a sum of two numbers."""
    odd = not_positive_normal(x + 1.0)
    a = select(odd, 0.0, x)  # infinity would raise invalid
    high = a + 1.0
    # Knuth's error of a sum, without the half that is zero
    low = select(a.bits().signed("<", x.format.word(1.0)), a - (high - 1.0), 1.0 - (high - a))
    result = log_of_normal_sum(high, low, exponent_bias(x))
    (result,) = rare(odd, [result], lambda: [at_the_edge(x + 1.0, result)])
    return (result.bits() | x.bits() & x.format.sign).floats()  # where x is -0


def log_of_sum(high: Lane, low: Lane, doubled: Lane | None = None) -> Lane:
    """log(high + low), with log's limits and flags for high; of twice that in the lanes of doubled."""
    odd = not_positive_normal(high)
    y, rest = rare(odd, [high, low], lambda: [select(odd, 1.0, high), select(odd, 0.0, low)])
    bias: Lane | float = exponent_bias(high)
    if doubled is not None:
        bias = select(doubled, high.constant(exponent_bias(high, -1)), exponent_bias(high))
    result = log_of_normal_sum(y, rest, bias)
    (result,) = rare(odd, [result], lambda: [at_the_edge(high, result)])
    return result


def log_of_normal_sum(high: Lane, low: Lane, bias: Lane | float) -> Lane:
    """log(high + low), where high is normal and low some units in its last place; bias as `exponent_bias`.

    The error is relative to high + low - 1, where that is the smaller.
    """
    number = piece(high, bias)
    # low / (1 + fraction) to a few bits
    share = (low * number.shrink) * number.c
    first, second = log_parts(number, NATURAL[high.format.bits])
    return first + fma(share, fma(number.r, -0.25, 0.25), second)


def _of_positive(x: Lane, formula: Callable[[Lane, Lane], Lane]) -> Lane:
    """formula of x, made positive and normal, and its bias; log's limits and flags where x is not a positive number."""
    odd = not_positive_normal(x)

    def fixed() -> list[Lane]:
        return [at_the_edge(x, formula(*normalised(x, odd)))]

    (result,) = rare(odd, [formula(x, x.constant(exponent_bias(x)))], fixed)
    return result


def _sum(parts: tuple[Lane, Lane]) -> Lane:
    return parts[0] + parts[1]


def _wide(number: Split) -> Lane:
    """The natural logarithm of an f32: no table, no division."""
    f, (long, short) = number.fraction, LN2_SHORT[32]
    squared = f * f
    inner = fma(squared, polynomial(f, table.LOG_WIDE_32, squared), f)
    return fma(number.exponent, long, fma(number.exponent, short, inner))


def _by_binade(x: Lane, bias: Lane | float, name: str, two: tuple[float, ...] | None, e: tuple[float, ...]) -> Lane:
    """The logarithm of an f32 to a base of which two is log 2 (None: 1) and e is log e: x = 2^e m with m in [1, 2)."""
    form, word = x.format, x.bits()
    exponent = (word >> form.fraction | form.word(2.0**form.fraction)).floats() - bias
    m = (word & ((1 << form.fraction) - 1) | form.word(1.0)).floats()
    index = word >> (form.fraction - 4)
    whole, rest = (lookup(index, f"BINADE_{name}_{part}_32") for part in ("HIGH", "LOW"))
    whole = whole + exponent if two is None else fma(exponent, two[0], whole)  # exact
    rest = rest if two is None else fma(exponent, two[1], rest)
    r = fma(m, lookup(index, "BINADE_INVERSE_32"), -1.0)  # exact
    curve = horner(r, getattr(table, f"BINADE_{name}_32"))
    return whole + fma(r, e[0], fma(r, fma(r, curve, e[1]), rest))


def log_parts(number: Piece, base: Base) -> tuple[Lane, Lane]:
    """The logarithm of 2^exponent (1 + r) / c as a sum; the second is some 2^-4 of the first at most."""
    exponent, r = number.exponent, number.r
    suffix = r.format.suffix
    whole = lookup(number.index, f"{base.name}_HIGH_{suffix}")
    rest = lookup(number.index, f"{base.name}_LOW_{suffix}")
    if base.two is None:
        whole = whole + exponent
    else:
        whole, rest = fma(exponent, base.two[0], whole), fma(exponent, base.two[1], rest)
    squared = r * r  # r is 0, or too large for this to underflow
    if base.e is None:
        head = r
    else:
        head = r * base.e[0]
        rest = rest + fma(r, base.e[1], fma(r, base.e[0], -head))
    high = whole + head
    return high, fma(squared, polynomial(r, base.curve, squared), (head - (high - whole)) + rest)
