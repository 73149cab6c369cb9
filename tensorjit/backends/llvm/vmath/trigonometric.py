"""sin, cos, tan and the reduction of their arguments.

x = n pi/2 + r with |r| <= pi/4 (a little more where the quotient was rounded). Three-part Cody-Waite with FMA: x - n P1 is
exact, since it is a multiple of the last place of P1 and smaller than 1. For small n the second part is so short that the
error of r takes two operations, for larger ones six, in a rare branch. Beyond that, another takes lanes one by one through
`large`, a function of the module that multiplies by 192 bits of 2/pi (M. Payne and R. Hanek, Radian reduction for
trigonometric functions, 1983).
"""

from __future__ import annotations

from llvmlite import ir

from tensorjit.backends.llvm.quiet import declare
from tensorjit.backends.llvm.vmath import coefficients as table
from tensorjit.backends.llvm.vmath.lanes import F64, Lane, fma, polynomial, rare, select
from tensorjit.backends.llvm.vmath.sums import fast_sum, full_product
from tensorjit.records import dataclass

SIN = {64: table.SIN_64, 32: table.SIN_32}
COS = {64: table.COS_64, 32: table.COS_32}
TAN_ABOVE = {64: table.TAN_ABOVE_64, 32: table.TAN_ABOVE_32}
TAN_BELOW = {64: table.TAN_BELOW_64, 32: table.TAN_BELOW_32}
HALF_PI = {64: table.HALF_PI_64, 32: table.HALF_PI_32}
HALF_PI_SHORT = {64: table.HALF_PI_SHORT_64, 32: table.HALF_PI_SHORT_32}
SMALL = {64: 6144.0, 32: 96.0}  # up to here n times the second short part of pi/2 is exact
MODERATE = {64: 2.0**27, 32: 2.0**17}  # up to here the rounding of the quotient stays harmless
LINEAR = {64: 2.0**-30, 32: 2.0**-14}  # sin r = r below this, and r^2 might underflow
LARGE = "tj.vmath.large"
WORDS = "tj.vmath.two_over_pi"
I64, I128, DOUBLE = ir.IntType(64), ir.IntType(128), ir.DoubleType()


@dataclass(frozen=True, slots=True)
class Reduced:
    """x = quadrant pi/2 + r + low; only the last two bits of quadrant mean anything."""

    quadrant: Lane
    r: Lane
    low: Lane


def sin(x: Lane) -> Lane:
    """Sine."""
    number = reduced(x)
    sine, cosine = sin_cos(number, x)
    sign = (number.quadrant & 2) << (x.format.bits - 2)
    return (select(odd(number.quadrant), cosine, sine).bits() ^ sign).floats()


def cos(x: Lane) -> Lane:
    """Cosine."""
    number = reduced(x)
    sine, cosine = sin_cos(number, x)
    sign = (number.quadrant + 1 & 2) << (x.format.bits - 2)
    return (select(odd(number.quadrant), sine, cosine).bits() ^ sign).floats()


def tan(x: Lane) -> Lane:
    """Tangent: r + r^3 / 3 + r^5 P / Q, or minus the inverse of that, with one division for either."""
    number = reduced(x)
    r = number.r
    # -0, for the sum of r = -0 and what follows to be -0
    short = select(_is_linear(x), x.format.sign, r.bits()).floats()
    z, z_low = full_product(short, short)
    above, below = (polynomial(z, part[x.format.bits]) for part in (TAN_ABOVE, TAN_BELOW))
    # by the slopes of tan r, 1 + tan^2 r roughly, and of the cubic term
    tail = fma(short * z_low, 0.31, number.low) * fma(z, 1.5, 1.0)
    cube = short * z
    curve = (cube * z) * above
    product, lost = full_product(r, below)
    whole, rest = fast_sum(product, fma(fma(cube, 1.0 / 3.0, tail), below, curve))
    turned = odd(number.quadrant)
    inverse = 1.0 / select(turned, whole, below)
    rough = below * inverse
    remainder = fma(-rough, rest + lost, fma(-rough, whole, below))
    return select(turned, -fma(remainder, inverse, rough), r + fma(cube, 1.0 / 3.0, fma(curve, inverse, tail)))


def odd(quadrant: Lane) -> Lane:
    """Lanes whose last bit is set."""
    return (quadrant & 1).unsigned("!=", 0)


def _is_linear(x: Lane) -> Lane:
    form = x.format
    return (x.bits() & form.magnitude).signed("<", form.word(LINEAR[form.bits]))


def sin_cos(number: Reduced, x: Lane) -> tuple[Lane, Lane]:
    """sin(r + low) and cos(r + low)."""
    bits = x.format.bits
    r = select(_is_linear(x), 0.0, number.r)
    z = r * r
    half = z * 0.5
    rough = 1.0 - half
    sine_rest = fma(z * r, polynomial(z, SIN[bits]), number.low * rough)
    cosine_rest = fma(z * z, polynomial(z, COS[bits]), -(r * number.low)) + ((1.0 - rough) - half)
    return number.r + sine_rest, rough + cosine_rest


def reduced(x: Lane) -> Reduced:
    """The argument reduced, however large; NaN (and invalid raised) for an infinite one.

    low is -0 for n = 0, since the parts of pi/2 are positive; so adding what is made of it leaves r = -0 as it is.
    """
    form = x.format
    first, second, third = HALF_PI_SHORT[form.bits]
    shifted, n = _nearest(x)
    rest = fma(n, -first, x)
    # either the product is at most half of rest, or the difference is exact
    r = fma(n, -second, rest)
    low = fma(n, -third, -fma(n, second, r - rest))
    beyond = (x.bits() & form.magnitude).signed(">", form.word(SMALL[form.bits]))
    return Reduced(*rare(beyond, [shifted.bits(), r, low], lambda: _beyond(x)))


def _nearest(x: Lane) -> tuple[Lane, Lane]:
    """The integer n next to x 2/pi, with and without the format's magic number."""
    shifted = fma(x, table.TWO_OVER_PI[0], x.format.magic)
    return shifted, shifted - x.format.magic


def _beyond(x: Lane) -> list[Lane]:
    """Quadrant, r and low of larger numbers: three-part Cody-Waite, `large` for what is too large for that."""
    form = x.format
    first, second, third = HALF_PI[form.bits]
    shifted, n = _nearest(x)
    rest = fma(n, -first, x)
    product = n * second
    # either may be the larger one, so the sum's error takes Knuth's six operations
    r = rest - product
    back = r - rest
    low = (rest - (r - back)) - (product + back) - fma(n, second, -product)
    low = fma(n, -third, low)
    size = (x.bits() & form.magnitude).floats()
    far = size.bits().signed(">", form.word(MODERATE[form.bits]))
    return rare(far, [shifted.bits(), r, low], lambda: _with_sign_of(x, _far(size, far)))


def _with_sign_of(x: Lane, number: list[Lane]) -> list[Lane]:
    """What |x| was reduced to, for x."""
    quadrant, sign = number[0], x.bits() & x.format.sign
    return [select(sign.signed("<", 0), 0 - quadrant, quadrant), *((v.bits() ^ sign).floats() for v in number[1:])]


def _far(size: Lane, far: Lane) -> list[Lane]:
    """What `large` makes of the lanes that are far."""
    # the table of `large` has no bits for small numbers
    safe = select(far, size, MODERATE[size.format.bits])
    exact = _each(safe) if size.width else _one(safe)
    not_finite = size.bits().signed(">=", size.format.infinity)
    nan = size - size
    exact[1] = select(not_finite, nan, exact[1])
    return exact


def _one(size: Lane) -> list[Lane]:
    """quadrant, r and low of one number."""
    builder = size.builder
    packed = builder.call(large(builder.module), [size.to(DOUBLE).value])
    quadrant, high, low = (size.of(builder.extract_value(packed, i)) for i in range(3))
    if size.format is F64:
        return [quadrant, high, low]
    r = high.to(ir.FloatType())
    small = (high - r.to(DOUBLE)) + low
    return [size.of(builder.trunc(quadrant.value, ir.IntType(32))), r, small.to(ir.FloatType())]


def _each(size: Lane) -> list[Lane]:
    """quadrant, r and low of every lane, in a loop: unrolled it would be most of the kernel."""
    builder = size.builder
    before, loop = builder.block, builder.append_basic_block("lane")
    after = builder.append_basic_block("lanes")
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(I64)
    types = [size.like(ir.IntType(size.format.bits)), size.value.type, size.value.type]
    vectors = [builder.phi(t) for t in types]
    one = _one(size.of(builder.extract_element(size.value, index)))
    grown = [builder.insert_element(v, new.value, index) for v, new in zip(vectors, one, strict=True)]
    following = builder.add(index, I64(1))
    starts = [I64(0), *(ir.Constant(t, ir.Undefined) for t in types)]
    for phi, start, turn in zip([index, *vectors], starts, [following, *grown], strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(turn, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, I64(size.width)), loop, after)
    builder.position_at_end(after)
    return [size.of(v) for v in grown]


def large(module: ir.Module) -> ir.Function:
    """`{i64 quadrant, double r, double low} large(double size)`, for size >= 2^16 only: it reads a table."""
    if LARGE in module.globals:
        return module.globals[LARGE]
    result = ir.LiteralStructType([I64, DOUBLE, DOUBLE])
    function = ir.Function(module, ir.FunctionType(result, [DOUBLE]), LARGE)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block())
    parts = _payne_hanek(builder, function.args[0])
    packed = ir.Constant(result, ir.Undefined)
    for i, part in enumerate(parts):
        packed = builder.insert_value(packed, part, i)
    builder.ret(packed)
    return function


def _payne_hanek(b: ir.IRBuilder, size: ir.Value) -> list[ir.Value]:
    """size = M 2^E; M times the bits of 2/pi from weight 2^(2-E) on, modulo 4, is in 128 bits of fixed point."""
    word = b.bitcast(size, I64)
    significand = b.or_(b.and_(word, I64((1 << 52) - 1)), I64(1 << 52))
    # bits above weight 2^(2-E) of 2/pi make multiples of 4; the table begins with a word of zeros for E < 2
    start = b.sub(b.lshr(word, I64(52)), I64(1075 + 2 - 64))
    c, d, e = _window(b, start)
    m = b.zext(significand, I128)
    product = b.add(b.shl(b.mul(m, b.zext(c, I128)), I128(64)), b.mul(m, b.zext(d, I128)))
    product = b.add(product, b.lshr(b.mul(m, b.zext(e, I128)), I128(64)))
    nearest = b.lshr(b.add(product, I128(1 << 125)), I128(126))
    fraction = b.sub(product, b.shl(nearest, I128(126)))  # signed, in units of 2^-126
    return [b.trunc(nearest, I64), *_times_half_pi(b, fraction)]


def _window(b: ir.IRBuilder, start: ir.Value) -> list[ir.Value]:
    """Three words of 2/pi from bit `start` of the table on."""
    words = (0, *table.TWO_OVER_PI_WORDS)
    array = ir.ArrayType(I64, len(words))
    stored = ir.GlobalVariable(b.module, array, WORDS)
    stored.initializer = ir.Constant(array, list(words))
    stored.global_constant, stored.linkage = True, "internal"
    first = b.lshr(start, I64(6))
    loaded = [b.load(b.gep(stored, [b.add(first, I64(i))], source_etype=I64), typ=I64) for i in range(4)]
    shift = b.and_(start, I64(63))
    funnel = declare(b.module, "llvm.fshl.i64", I64, [I64] * 3)
    return [b.call(funnel, [loaded[i], loaded[i + 1], shift]) for i in range(3)]


def _times_half_pi(b: ir.IRBuilder, fraction: ir.Value) -> list[ir.Value]:
    """fraction 2^-126 pi/2 as the sum of two doubles."""
    negative = b.icmp_signed("<", fraction, I128(0))
    size = b.select(negative, b.sub(I128(0), fraction), fraction)
    zeros = b.call(declare(b.module, "llvm.ctlz.i128", I128, [I128, ir.IntType(1)]), [size, ir.IntType(1)(0)])
    top = b.trunc(b.lshr(b.shl(size, zeros), I128(64)), I64)
    long, short = b.and_(top, I64(~0x7FF)), b.and_(top, I64(0x7FF))
    exponent = b.sub(I64(1023 - 62), b.trunc(zeros, I64))
    sign = b.select(negative, I64(-(1 << 63)), I64(0))
    scale = Lane(b, b.bitcast(b.or_(b.shl(exponent, I64(52)), sign), DOUBLE))
    high, low = (Lane(b, b.uitofp(part, DOUBLE)) * scale for part in (long, short))
    first, second, _ = table.HALF_PI_64
    head = high * first
    tail = fma(high, first, -head) + fma(high, second, low * first)
    r = head + tail
    return [r.value, (tail - (r - head)).value]
