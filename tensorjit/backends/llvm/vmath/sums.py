"""Unevaluated sums of two numbers (T. J. Dekker, 1971; D. E. Knuth, TAOCP 2, 4.2.2), with FMA for products."""

from __future__ import annotations

from typing import TypeAlias

from tensorjit.backends.llvm.vmath.lanes import Lane, Operand, fma

Pair: TypeAlias = tuple[Lane, Lane]


def fast_sum(a: Lane, b: Operand) -> Pair:
    """a + b and its rounding error, where |a| >= |b| or a is 0."""
    total = a + b
    return total, b - (total - a)


def full_sum(a: Lane, b: Operand) -> Pair:
    """a + b and its rounding error."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def full_product(a: Lane, b: Operand) -> Pair:
    """a * b and its rounding error."""
    product = a * b
    return product, fma(a, b, -product)


def square_root(w: Lane, w_low: Lane | None = None) -> Pair:
    """sqrt(w + w_low) as a pair."""
    root = w.intrinsic("sqrt")
    rest = fma(-root, root, w)
    return root, (rest if w_low is None else rest + w_low) * _half_inverse(root)


def _half_inverse(x: Lane) -> Lane:
    """1 / 2x to 13 %, for corrections: the negated exponent and a straight line in the fraction, exact at powers of two."""
    form = x.format
    return (x.bits().constant(form.word(0.5) + form.word(1.0)) - x.bits()).floats()


def quotient_parts(above: Pair, below: Pair) -> Pair:
    """A pair divided by a pair, as a pair: the division by the high part, and its remainder."""
    inverse = 1.0 / below[0]
    rough = above[0] * inverse
    remainder = fma(-rough, below[0], above[0]) + fma(-rough, below[1], above[1])
    return rough, remainder * inverse


def quotient(above: Pair, below: Pair) -> Lane:
    """A pair divided by a pair."""
    inverse = 1.0 / below[0]
    rough = above[0] * inverse
    remainder = fma(-rough, below[0], above[0]) + fma(-rough, below[1], above[1])
    return fma(remainder, inverse, rough)
