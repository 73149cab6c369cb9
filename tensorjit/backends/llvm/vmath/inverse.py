"""Inverse functions: arcs, areas, the cube root, and hypot, which is made like them."""

from __future__ import annotations

from tensorjit.backends.llvm.vmath import coefficients as table
from tensorjit.backends.llvm.vmath.exponential import scaled_in_steps
from tensorjit.backends.llvm.vmath.lanes import (
    Format,
    Lane,
    clamped,
    clamped_index,
    fma,
    lookup,
    nan_of,
    polynomial,
    positive_finite,
    rare,
    select,
    square,
    strictly,
)
from tensorjit.backends.llvm.vmath.logarithm import (
    at_the_edge,
    exponent_bias,
    log_of_normal_sum,
    log_of_sum,
    normalised,
    not_positive_normal,
    split,
)
from tensorjit.backends.llvm.vmath.sums import (
    fast_sum,
    full_product,
    full_sum,
    quotient_parts,
    square_root,
)

ARC = {64: table.ARC_64, 32: table.ARC_32}
ARCTAN_START = 0.0625  # of the first half binade of the tables, which is taken for all that is below
ARCTAN2_STEPS = 8  # half binades from there to 1
ASIN = {64: table.ASIN_64, 32: table.ASIN_32}
CBRT = {64: table.CBRT_64, 32: table.CBRT_32}
CBRT_2 = {64: table.CBRT_2_64, 32: table.CBRT_2_32}
PI = {64: table.PI_64, 32: table.PI_32}
LINEAR = {64: 2.0**-30, 32: 2.0**-14}  # f(x) = x below this, for odd f
RIGHT_ANGLE = {64: 2.0**60, 32: 2.0**30}  # arctan x is pi/2 from here on
MODERATE = {
    64: 2.0**400,
    32: 2.0**50,
}  # squares and quotients of numbers between this and its inverse are normal
STEEP = {64: 2.0**40, 32: 2.0**20}  # x^2 + 1 is x^2 from here on, with something to spare


def _size(x: Lane) -> Lane:
    """|x|."""
    return (x.bits() & x.format.magnitude).floats()


def _signed(magnitude: Lane, x: Lane) -> Lane:
    """magnitude with the sign of x."""
    return (magnitude.bits() | x.bits() & x.format.sign).floats()


def _is_linear(size: Lane) -> Lane:
    form = size.format
    return size.bits().signed("<", form.word(LINEAR[form.bits]))


def arctan(x: Lane) -> Lane:
    """Inverse tangent, from -pi/2 to pi/2: arctan c from a table, and the series of (x - c) / (1 + x c).

    c is in the middle of one of 16 intervals, two to the binade; 0 for what is smaller, infinite for what is larger.
    """
    form = x.format
    size = _size(x)
    limit = RIGHT_ANGLE[form.bits]
    held = select(size.compared("ogt", limit), limit, size)
    first = form.word(ARCTAN_START) >> (form.fraction - 1)
    index = clamped_index((held.bits() >> (form.fraction - 1)) - first, 15)
    a, b = lookup(index, f"ARCTAN_A_{form.suffix}"), lookup(index, f"ARCTAN_B_{form.suffix}")
    r = fma(held, a, -b) / fma(held, b, a)
    squared = square(r)
    curve = fma(r, squared * polynomial(squared, ARC[form.bits], squared * squared), lookup(index, f"ARCTAN_LOW_{form.suffix}"))
    result = lookup(index, f"ARCTAN_HIGH_{form.suffix}") + (r + curve)
    return _signed(select(_is_linear(size), size, result), x)


def arctan2(y: Lane, x: Lane) -> Lane:
    """The angle of the point (x, y)."""
    form = y.format
    up, across = _size(y), _size(x)
    behind = x.bits().signed("<", 0)
    least, most = form.word(1.0 / MODERATE[form.bits]), form.word(MODERATE[form.bits])
    extreme = (up.bits() - least).unsigned(">", most - least) | (across.bits() - least).unsigned(">", most - least)
    above, below = rare(extreme, [up, across], lambda: _comparable(up, across, behind))
    result = _angle(above, below, x)
    nan = up.bits().signed(">", form.infinity) | across.bits().signed(">", form.infinity)
    (result,) = rare(extreme, [result], lambda: [select(nan, nan_of(x, y, nan), result)])
    return _signed(result, y)


def _comparable(up: Lane, across: Lane, behind: Lane) -> list[Lane]:
    """Two numbers of the same ratio, scaled such that nothing but the quotient can underflow."""
    form = up.format
    infinite = [v.bits().unsigned("==", form.infinity) for v in (up, across)]
    either = infinite[0] | infinite[1]
    nan = up.bits().signed(">", form.infinity) | across.bits().signed(">", form.infinity)
    pair = []
    for v, endless in zip((up, across), infinite, strict=True):
        pair.append(select(nan, 1.0, select(either, select(endless, v.constant(1.0), 0.0), v)))
    greater = pair[1].bits().signed(">", pair[0].bits())
    large = select(greater, pair[1], pair[0])
    small = select(greater, pair[0], pair[1])
    # 1 / large and 3 large must be normal numbers, and large too large for the remainder to underflow
    steps = form.bias // 2
    lifting = large.bits().signed("<", form.word(2.0 ** (steps - 4)))
    factor = select(lifting, large.constant(2.0**steps), 2.0**-4)
    large, small = strictly("fmul", large, factor), _scaled_quietly(small, factor)
    # where the angle is not small itself, a ratio that is lost in it need not underflow
    floor = large.bits() - (2 * form.fraction << form.fraction)
    lost = small.bits().signed("<", floor) & (behind | ~greater)
    small = select(lost, floor.floats(), small)
    both_zero = large.bits().unsigned("==", 0)
    above, below = select(greater, small, large), select(greater, large, small)
    return [above, select(both_zero, 1.0, below)]


def _scaled_quietly(small: Lane, factor: Lane) -> Lane:
    """small * factor; zero, without a flag, where that is no normal number and the quotient is settled."""
    form = small.format
    lost = factor.bits().signed("<", form.word(1.0)) & small.bits().signed("<", form.word(form.least * 2.0**4))
    return strictly("fmul", select(lost, 0.0, small), factor)


def _angle(above: Lane, below: Lane, x: Lane) -> Lane:
    """The angle whose tangent is above / below, both positive; pi less that where x is negative.

    As `arctan`, by the tables of whole half turns. The difference of words is that of logarithms, near enough: half a binade of it
    is [1, 3/2] or [4/3, 2] of the quotient.
    """
    form = above.format
    step = form.fraction - 1
    distance = above.bits() - below.bits() + (ARCTAN2_STEPS << step)
    index = clamped(distance, 0, (16 << step) - 1) >> step
    a, b = lookup(index, f"ARCTAN_A_{form.suffix}"), lookup(index, f"ARCTAN2_B_{form.suffix}")
    bottom, top = fma(above, b, below * a), fma(-below, b, above * a)
    inverse = 1.0 / bottom
    r = top * inverse
    r_low = fma(-r, bottom, top) * inverse
    short = select(_is_linear(_size(r)), 0.0, r)
    squared = short * short
    curve = fma(short, squared * polynomial(squared, ARC[form.bits], squared * squared), r_low)
    turn = index | (x.bits() >> (form.bits - 5)) & 16
    high, low = (lookup(turn, f"ARCTAN2_{part}_{form.suffix}") for part in ("HIGH", "LOW"))
    flip = x.bits() & form.sign
    return high + ((r.bits() ^ flip).floats() + ((curve.bits() ^ flip).floats() + low))


def arcsin(x: Lane) -> Lane:
    """Inverse sine: the series up to 1/2, pi/2 - 2 arcsin sqrt((1 - x)/2) beyond."""
    size = _size(x)
    form = x.format
    pi, pi_low = PI[form.bits]
    linear = _is_linear(size)
    beyond, root, root_low, curve = _arc(size, linear)
    near = size + curve
    high, lost = fast_sum(size.constant(pi / 2), root * -2.0)
    far = high + (lost + fma(root_low + curve, -2.0, pi_low / 2))
    return _signed(select(linear, size, select(beyond, far, near)), x)


def arccos(x: Lane) -> Lane:
    """Inverse cosine, from 0 to pi."""
    size = _size(x)
    form = x.format
    pi, pi_low = PI[form.bits]
    negative = x.bits().signed("<", 0)
    beyond, root, root_low, curve = _arc(size, _is_linear(size))
    # pi/2 - (x + curve); 2 (root + curve); pi - 2 (root + curve)
    flip = x.bits() & form.sign
    turn = select(beyond, flip, flip ^ form.sign)
    part = (select(beyond, root + root, size).bits() ^ turn ^ select(beyond, flip.constant(0), 0)).floats()
    rest = select(beyond, (root_low + curve) * 2.0, curve)
    rest = (rest.bits() ^ turn).floats()
    base = select(beyond, select(negative, x.constant(pi), 0.0), pi / 2)
    base_low = select(beyond, select(negative, x.constant(pi_low), 0.0), pi_low / 2)
    high, lost = fast_sum(base, part)
    return high + (lost + (rest + base_low))


def _arc(size: Lane, linear: Lane) -> tuple[Lane, Lane, Lane, Lane]:
    """Lanes beyond 1/2; sqrt((1 - size)/2) and its error; arcsin v - v for v = size, or for the root beyond."""
    form = size.format
    beyond = size.bits().signed(">", form.word(0.5))
    half = fma(size, -0.5, 0.5)
    root, root_low = square_root(half)
    v = select(beyond, root, select(linear, 0.0, size))
    z = v * v  # and not half: that is finite where v is NaN
    return beyond, root, root_low, (z * v) * polynomial(z, ASIN[form.bits])


def arcsinh(x: Lane) -> Lane:
    """Inverse hyperbolic sine, log(x + sqrt(x^2 + 1))."""
    size = _size(x)
    linear = _is_linear(size)
    steep = size.bits().signed(">", x.format.word(STEEP[x.format.bits]))
    a = select(linear | steep, 1.0, size)
    squared, squared_low = full_product(a, a)
    w, w_low = full_sum(squared, 1.0)
    root, root_low = square_root(w, w_low + squared_low)
    high, low = fast_sum(root, a)
    result = log_of_normal_sum(high, low + root_low, exponent_bias(high))
    # a zero in another lane would divide by zero
    (result,) = rare(steep, [select(linear, size, result)], lambda: [_log_of_twice(select(steep, size, 1.0))])
    return _signed(result, x)


def arccosh(x: Lane) -> Lane:
    """Inverse hyperbolic cosine, log(x + sqrt(x^2 - 1)), the root being that of (x - 1) (x + 1)."""
    form = x.format
    one = form.word(1.0)
    unusual = (x.bits() - one).unsigned(">", form.word(STEEP[form.bits]) - one)
    a = select(unusual, 1.0, x)
    less, more = a - 1.0, a + 1.0  # the first is exact
    w, w_low = full_product(less, more)
    root, root_low = square_root(w, fma(less, 1.0 - (more - a), w_low))
    high, low = fast_sum(a, root)
    result = log_of_normal_sum(high, low + root_low, exponent_bias(high))
    # the logarithm of -1 is NaN and raises what the argument deserves
    return rare(unusual, [result], lambda: [_log_of_twice(select(x.compared("olt", 1.0), -1.0, x))])[0]


def _log_of_twice(x: Lane) -> Lane:
    return log_of_sum(x, x.constant(0.0), x.bits().signed(">", 0))


def arctanh(x: Lane) -> Lane:
    """Inverse hyperbolic tangent, log((1 + x)/(1 - x)) / 2."""
    form = x.format
    size = _size(x)
    linear = _is_linear(size)
    outside = size.bits().signed(">=", form.word(1.0))
    a = select(linear | outside, 0.5, size)
    one = a.constant(1.0)
    u, u_low = quotient_parts(fast_sum(one, a), fast_sum(one, -a))
    half = log_of_normal_sum(u, u_low, exponent_bias(u)) * 0.5
    result = select(linear, size, half)
    (result,) = rare(outside, [result], lambda: [_past_one(size, outside, result)])
    return _signed(result, x)


def _past_one(size: Lane, outside: Lane, result: Lane) -> Lane:
    """result; beyond 1 what -log(1 - size) would be, with its flags."""
    nan = size.bits().signed(">", size.format.infinity)
    held = select(size.bits().signed(">=", size.format.infinity), 2.0, size)
    edge = at_the_edge(select(outside & ~nan, 1.0 - held, 1.0), result)
    return select(nan, size, (edge.bits() & size.format.magnitude).floats())


def cbrt(x: Lane) -> Lane:
    """Cube root: m^(-1/3) from a polynomial, and one step of Newton's for m^(1/3), with the cube's error known."""
    form = x.format
    size = _size(x)
    odd = not_positive_normal(size)
    y, bias = rare(odd, [size, size.constant(exponent_bias(size))], lambda: normalised(size, odd))
    number = split(y, bias)
    shifted = fma(number.exponent, 1.0 / 3.0, form.magic)
    j = fma(shifted - form.magic, -3.0, number.exponent)  # -1, 0 or 1
    m = number.fraction + 1.0
    up, down = CBRT_2[form.bits]
    rough = polynomial(m, CBRT[form.bits])  # see the fit: in m itself
    positive, negative = j.compared("oeq", 1.0), j.compared("oeq", -1.0)
    inverse = rough * select(positive, m.constant(down), select(negative, m.constant(up), 1.0))
    m = m * select(positive, m.constant(2.0), select(negative, m.constant(0.5), 1.0))
    root = m * (inverse * inverse)
    square, square_low = full_product(root, root)
    excess = fma(square, root, -m) + square_low * root
    result = fma(excess * (inverse * inverse), -1.0 / 3.0, root)
    result = (result.bits() + (shifted.bits() << form.fraction)).floats()
    (result,) = rare(odd, [result], lambda: [_as_it_is(size, result)])
    return _signed(result, x)


def _as_it_is(size: Lane, result: Lane) -> Lane:
    """size itself where it is zero, infinite or NaN."""
    form = size.format
    fixed = size.bits().signed(">=", form.infinity) | size.bits().unsigned("==", 0)
    return select(fixed, size, result)


def hypot(x: Lane, y: Lane) -> Lane:
    """sqrt(x^2 + y^2)."""
    form = x.format
    a, b = _size(x), _size(y)
    greater = b.bits().signed(">", a.bits())
    large, small = select(greater, b, a), select(greater, a, b)
    least, most = form.word(1.0 / MODERATE[form.bits]), form.word(MODERATE[form.bits])
    extreme = large.bits().signed(">", most) | small.bits().signed("<", least)
    p, q, shifted = rare(extreme, [large, small, large.constant(form.magic)], lambda: _near_one(large, small, form))
    squared, squared_low = full_product(p, p)
    other, other_low = full_product(q, q)
    w, w_low = fast_sum(squared, other)
    root, root_low = square_root(w, w_low + (squared_low + other_low))
    result = root + root_low

    def finish() -> list[Lane]:
        scaled = scaled_in_steps(result, shifted)
        infinite = a.bits().unsigned("==", form.infinity) | b.bits().unsigned("==", form.infinity)
        nan = a.bits().signed(">", form.infinity) | b.bits().signed(">", form.infinity)
        scaled = select(nan, nan_of(x, y, nan), scaled)
        return [select(infinite, float("inf"), scaled)]

    (result,) = rare(extreme, [result], finish)
    return result


def _near_one(large: Lane, small: Lane, form: Format) -> list[Lane]:
    """Both times 2^-n such that large is about 1, or zero; small is zero where it would be lost; and n + magic."""
    usable = positive_finite(large.bits())
    p, q = select(usable, large, 1.0), select(usable, small, 0.0)
    lift = form.fraction + 2
    tiny = p.bits().signed("<", form.word(form.least * 2.0**lift))
    # the inverse of the largest numbers' power of two is no normal number: halve them first
    factor = select(tiny, p.constant(2.0**lift), 0.5)
    q = select(q.bits().signed("<", form.word(form.least * 2)) & ~tiny, 0.0, q)
    p, q = strictly("fmul", p, factor), strictly("fmul", q, factor)
    exponent = p.bits() >> form.fraction
    inverse = ((exponent.constant(2 * form.bias) - exponent) << form.fraction).floats()
    lost = q.bits().signed("<", p.bits() - ((form.fraction + 8) << form.fraction))
    shift = select(tiny, exponent.constant(form.bias + lift), form.bias - 1)
    shifted = (exponent - shift + form.word(form.magic)).floats()
    return [select(large.bits().unsigned("==", 0), 0.0, p * inverse), strictly("fmul", select(lost, 0.0, q), inverse), shifted]
