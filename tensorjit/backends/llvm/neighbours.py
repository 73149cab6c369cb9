"""nextafter, spacing and ldexp by the bits of floats, at any width, with NumPy's values and flags.

NumPy's are the C library's nextafter and ldexp, and `npy_spacing` (`numpy/_core/src/npymath/ieee754.c.src`).
"""

from __future__ import annotations

from llvmlite import ir

from tensorjit.backends.llvm.vmath.lanes import Lane, clamped, nan_of, rare, select, strictly

__all__ = ["ldexp", "nextafter", "spacing"]


def nextafter(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    start, goal = Lane(b, x), Lane(b, y)
    form, word = start.format, start.bits()
    same, nan = start.compared("oeq", goal), start.compared("uno", goal)
    grows = start.compared("olt", goal) ^ word.signed("<", 0)
    moved = word + select(grows, word.constant(1), -1)
    moved = select((word & form.magnitude).unsigned("==", 0), (goal.bits() & form.sign) | 1, moved)
    size, least = moved & form.magnitude, form.word(form.least)
    settled = same | nan
    unusual = settled | (size - least).unsigned(">=", form.infinity - least)

    def finish() -> list[Lane]:
        _raise_by_size(select(settled, size.constant(form.word(1.0)), size))
        return [select(nan, nan_of(start, goal, nan), select(same, goal, moved.floats()))]

    return rare(unusual, [moved.floats()], finish)[0].value


def spacing(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The distance to the next number away from zero, with the sign of x (but not of a zero)."""
    given = Lane(b, x)
    form, word = given.format, given.bits()
    size = word & form.magnitude
    endless = size.signed(">=", form.infinity - 1)  # the largest number's neighbour is infinite
    safe = select(endless, form.word(1.0), size)
    gap = (safe + 1).floats() - safe.floats()  # exact
    sign = select(size.unsigned("==", 0), 0, word & form.sign)
    result = (gap.bits() | sign).floats()
    least = form.word(form.least)
    unusual = (size - least).unsigned(">=", form.infinity - 1 - least)

    def finish() -> list[Lane]:
        largest, infinite = size.unsigned("==", form.infinity - 1), size.unsigned("==", form.infinity)
        zero_or_endless = size.unsigned("==", 0) | size.signed(">=", form.infinity)
        _raise_by_size(select(largest, form.infinity, select(zero_or_endless, form.word(1.0), size)))
        nan = size.signed(">", form.infinity)
        limit = select(infinite, given.constant(float("nan")), (sign | form.infinity).floats())
        return [select(nan, nan_of(given, given, nan), select(endless, limit, result))]

    return rare(unusual, [result], finish)[0].value


def _raise_by_size(size: Lane) -> None:
    """Raise overflow for the words of infinities, underflow for those of zeros and subnormals."""
    form = size.format
    small = select(size.signed("<", form.word(form.least)), size.floats().constant(form.least), 1.0)
    factor = select(size.unsigned("==", form.infinity), small.constant(2.0**form.bias), small)
    strictly("fmul", factor, factor)


def ldexp(b: ir.IRBuilder, x: ir.Value, count: ir.Value) -> ir.Value:
    """x * 2^count rounded once; count has 32 bits."""
    given, n = Lane(b, x), Lane(b, count)
    form, word = given.format, given.bits()
    if form.bits == 64:
        n = given.of(b.sext(count, word.value.type))
    most = 2 * form.bias + form.fraction + 4  # from the largest number to nothing
    n = clamped(n, -most, most)
    exponent = (word >> form.fraction) & (2 * form.bias + 1)
    normal = (exponent - 1).unsigned("<", 2 * form.bias) & (exponent + n - 1).unsigned("<", 2 * form.bias)
    quick = (word + (n << form.fraction)).floats()
    return rare(~normal, [quick], lambda: [_in_steps(select(normal, 1.0, given), select(normal, 0, n))])[0].value


def _in_steps(x: Lane, n: Lane) -> Lane:
    """x * 2^n by three products, of which one may round: after a step down that did, what is left takes all away."""
    form = x.format
    lowest, down = 1 - form.bias, 2 + form.fraction - form.bias
    for _ in range(2):
        step = select(n.signed("<", lowest), down, clamped(n, lowest, form.bias))
        x, n = strictly("fmul", x, _power_of_two(step)), n - step
    return strictly("fmul", x, _power_of_two(n))


def _power_of_two(n: Lane) -> Lane:
    return ((n + n.format.bias) << n.format.fraction).floats()
