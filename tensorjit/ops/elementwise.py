"""The elementwise rows: every numeric ufunc of NumPy with one output.

A row's type rule is the ufunc's own. Its `scalar` computes one element with the intrinsics of the kernel IR, the way that NumPy's
loop does (`numpy/_core/src/umath/loops*.src`, `npymath/npy_math_internal.h.src`), so that exact operations give NumPy's bits and
its floating-point flags. Where a row has no lowering for a dtype, `scalar` is None or returns None, and NumPy's loop is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorjit.ir.dtypes import BOOL, F16, F32, F64, I32, I64, U8, U64, DType
from tensorjit.ir.kernel import Apply, Const, Expr
from tensorjit.ops.opdef import OpDef, Scalar

Args = Sequence[Expr]


# -- small expressions ---------------------------------------------------------------------------------------------


def call(intrinsic: str, *args: Expr, dtype: DType | None = None) -> Apply:
    """An intrinsic whose result has the first argument's dtype, or the given one."""
    return Apply(intrinsic, args, dtype or args[0].dtype)


def const(value: bool | int | float, dtype: DType) -> Const:
    """A constant of a dtype, rounded to it."""
    return Const(dtype.numpy.type(value).item(), dtype)


def compare(relation: str, x: Expr, y: Expr) -> Apply:
    return Apply(relation, (x, y), BOOL)


def select(cond: Expr, x: Expr, y: Expr) -> Apply:
    return Apply("select", (cond, x, y), x.dtype)


def cast(x: Expr, dtype: DType) -> Expr:
    return x if x.dtype is dtype else Apply("cast", (x,), dtype)


def both(x: Expr, y: Expr) -> Apply:
    return Apply("and", (x, y), BOOL)


def either(x: Expr, y: Expr) -> Apply:
    return Apply("or", (x, y), BOOL)


def negate(x: Expr) -> Apply:
    return Apply("not", (x,), BOOL)


def test(name: str, x: Expr) -> Apply:
    return Apply(name, (x,), BOOL)


def is_zero(x: Expr) -> Apply:
    return compare("eq", x, const(0, x.dtype))


def parts(z: Expr) -> tuple[Expr, Expr]:
    """The real and imaginary part of a complex expression."""
    part = z.dtype.part
    return Apply("real", (z,), part), Apply("imag", (z,), part)


def join(re: Expr, im: Expr, dtype: DType) -> Apply:
    return Apply("complex", (re, im), dtype)


def nonzero(x: Expr) -> Expr:
    """Truth as NumPy has it: NaN is true."""
    if x.dtype is BOOL:
        return x
    if x.dtype.kind == "c":
        re, im = parts(x)
        return either(nonzero(re), nonzero(im))
    return compare("ne", x, const(0, x.dtype))


def telling(unordered: Expr, x: Expr) -> Expr:
    """x, but where a condition holds NaN, by 0 / 0, which raises `invalid`."""
    zero, one = const(0, x.dtype), const(1, x.dtype)
    return select(unordered, call("div", zero, select(unordered, zero, one)), x)


# -- shapes of rows ------------------------------------------------------------------------------------------------


def _in_float(scalar: Scalar) -> Scalar:
    """f16 computed in f32 and rounded, as all of NumPy's half loops do."""

    def widened(args: Args, output: DType) -> Expr | None:
        if all(a.dtype is not F16 for a in args):
            return scalar(args, output)
        wide = [cast(a, F32) if a.dtype is F16 else a for a in args]
        result = scalar(wide, F32 if output is F16 else output)
        return None if result is None else cast(result, output)

    return widened


def _real(intrinsic: str) -> Scalar:
    """One intrinsic on real floats; complex loops are NumPy's own."""

    def scalar(args: Args, output: DType) -> Expr | None:
        return None if args[0].dtype.kind == "c" else Apply(intrinsic, tuple(args), output)

    return _in_float(scalar)


def _plain(intrinsic: str) -> Scalar:
    """One intrinsic whatever the dtype, f16 included."""
    return lambda args, output: Apply(intrinsic, tuple(args), output)


def _not_half(intrinsic: str) -> Scalar:
    """One intrinsic on f32 and f64; what NumPy does to the bits of f16 is its own."""
    return lambda args, output: None if output is F16 else Apply(intrinsic, tuple(args), output)


def _bool_or(on_bool: str, otherwise: Scalar) -> Scalar:
    """A bit intrinsic on bool, where the arithmetic ufuncs mean logic."""

    def scalar(args: Args, output: DType) -> Expr | None:
        return Apply(on_bool, tuple(args), BOOL) if args[0].dtype is BOOL else otherwise(args, output)

    return scalar


def _complex_or(on_complex: Callable[..., Expr], intrinsic: str) -> Scalar:
    """`on_complex(*args, output)` on complex, one intrinsic otherwise."""

    def scalar(args: Args, output: DType) -> Expr | None:
        return on_complex(*args, output) if args[0].dtype.kind == "c" else Apply(intrinsic, tuple(args), output)

    return _in_float(scalar)


# -- arithmetic ----------------------------------------------------------------------------------------------------


def _complex_add(x: Expr, y: Expr, output: DType) -> Expr:
    (a, b), (c, d) = parts(x), parts(y)
    return join(call("add", a, c), call("add", b, d), output)


def _complex_sub(x: Expr, y: Expr, output: DType) -> Expr:
    (a, b), (c, d) = parts(x), parts(y)
    return join(call("sub", a, c), call("sub", b, d), output)


def _complex_mul(x: Expr, y: Expr, output: DType) -> Expr:
    (a, b), (c, d) = parts(x), parts(y)
    re = call("sub", call("mul", a, c), call("mul", b, d))
    return join(re, call("add", call("mul", a, d), call("mul", b, c)), output)


def _complex_div(x: Expr, y: Expr, output: DType) -> Expr:
    """Smith's algorithm (R. L. Smith, CACM 5:435, 1962), as NumPy's loop; 0/0 parts divide on their own."""
    (a, b), (c, d) = parts(x), parts(y)
    one, zero = const(1, c.dtype), const(0, c.dtype)
    wide = compare("ge", call("abs", c), call("abs", d))
    null = both(is_zero(c), is_zero(d))
    unordered = either(test("isnan", c), test("isnan", d))  # of which NumPy's comparison tells
    top, side = select(null, zero, a), select(null, zero, b)  # an infinity times 0 would be told of, too
    big = select(null, one, select(wide, c, d))
    small = select(wide, d, c)
    ratio = call("div", small, big)
    scale = call("div", one, call("add", big, call("mul", small, ratio)))
    re = select(wide, call("add", top, call("mul", side, ratio)), call("add", call("mul", top, ratio), side))
    im = select(wide, call("sub", side, call("mul", top, ratio)), call("sub", call("mul", side, ratio), top))
    divisor = select(null, zero, one)
    return join(
        select(null, call("div", a, divisor), telling(unordered, call("mul", re, scale))),
        select(null, call("div", b, divisor), call("mul", im, scale)),
        output,
    )


def _complex_reciprocal(z: Expr, output: DType) -> Expr:
    re, im = parts(z)
    wide = compare("ge", call("abs", re), call("abs", im))
    big, small = select(wide, re, im), select(wide, im, re)
    ratio = call("div", small, big)
    divisor = call("add", big, call("mul", small, ratio))
    inverse, rest = call("div", const(1, re.dtype), divisor), call("div", ratio, divisor)
    unordered = either(test("isnan", re), test("isnan", im))  # of which NumPy's comparison tells
    return join(telling(unordered, select(wide, inverse, rest)), call("neg", select(wide, rest, inverse)), output)


def _square(args: Args, output: DType) -> Expr:
    (x,) = args
    return _complex_mul(x, x, output) if x.dtype.kind == "c" else call("mul", x, x)


def _reciprocal(args: Args, output: DType) -> Expr:
    (x,) = args
    if x.dtype.kind == "c":
        return _complex_reciprocal(x, output)
    if x.dtype.kind == "f":
        return call("div", const(1, x.dtype), x)
    return cast(call("div", const(1, F64), cast(x, F64)), output)  # NumPy's loop is (type)(1.0 / x)


def _negative(args: Args, output: DType) -> Expr:
    (x,) = args
    if x.dtype.kind == "c":
        re, im = parts(x)
        return join(call("neg", re), call("neg", im), output)
    return call("neg", x)


def _absolute(args: Args, output: DType) -> Expr:
    (x,) = args
    if x.dtype.kind in "bu":
        return x
    if x.dtype.kind == "c":
        return call("hypot", *parts(x), dtype=output)
    return call("abs", x)


def _sign(args: Args, output: DType) -> Expr | None:
    (x,) = args
    if x.dtype.kind == "c":
        return None
    zero, one = const(0, x.dtype), const(1, x.dtype)
    if x.dtype.kind == "u":
        return select(compare("gt", x, zero), one, zero)
    rest = zero if x.dtype.kind == "i" else select(compare("eq", x, zero), zero, x)  # NaN stays
    return select(compare("gt", x, zero), one, select(compare("lt", x, zero), const(-1, x.dtype), rest))


def _heaviside(args: Args, output: DType) -> Expr:
    x, at_zero = args
    step = select(compare("lt", x, const(0, x.dtype)), const(0, x.dtype), const(1, x.dtype))
    return select(test("isnan", x), const(math.nan, x.dtype), select(is_zero(x), at_zero, step))


def _power(args: Args, output: DType) -> Expr | None:
    """Real floats only: an integer power raises for a negative exponent, which NumPy's loop does."""
    return Apply("pow", tuple(args), output) if output.kind == "f" else None


def _conjugate(args: Args, output: DType) -> Expr:
    (x,) = args
    if x.dtype.kind != "c":
        return x
    re, im = parts(x)
    return join(re, call("neg", im), output)


def _by_part(intrinsic: str) -> Scalar:
    """A rounding intrinsic; integers are whole already, complex numbers go part by part."""

    def scalar(args: Args, output: DType) -> Expr | None:
        (x,) = args
        if x.dtype.kind in "biu":
            return x
        if x.dtype.kind == "c":
            re, im = parts(x)
            return join(call(intrinsic, re), call(intrinsic, im), output)
        return call(intrinsic, x)

    return _in_float(scalar)


def _scaled(numerator: float, denominator: float) -> Scalar:
    """x times a quotient that is rounded in x's own dtype."""

    def scalar(args: Args, output: DType) -> Expr:
        real = output.numpy.type
        return call("mul", args[0], const(real(real(numerator) / real(denominator)), output))

    return _in_float(scalar)


def _logaddexp(args: Args, output: DType) -> Expr:
    return _log_sum("exp", const(math.log(2), output), None, args)


def _logaddexp2(args: Args, output: DType) -> Expr:
    return _log_sum("exp2", const(1, output), const(math.log2(math.e), output), args)


def _log_sum(exponential: str, at_equal: Expr, factor: Expr | None, args: Args) -> Expr:
    """npy_logaddexp: equal arguments apart, which covers infinities of one sign; no flag from the path not taken. NumPy compares
    the difference in a way that raises `invalid` for NaN, which 0 / 0 does here."""
    x, y = args
    equal = compare("eq", x, y)
    zero = const(0, x.dtype)
    difference = call("sub", select(equal, zero, x), select(equal, zero, y))
    tail: Expr = call("log1p", call(exponential, call("neg", call("abs", difference))))
    if factor is not None:
        tail = call("mul", factor, tail)
    larger = select(compare("gt", difference, zero), x, y)
    ordered = telling(test("isnan", difference), call("add", larger, tail))
    return select(equal, call("add", x, at_equal), ordered)


def _ldexp(args: Args, output: DType) -> Expr:
    x, exponent = args
    if exponent.dtype is I64:
        top, bottom = const(2**31 - 1, I64), const(-(2**31), I64)
        exponent = cast(call("min", call("max", exponent, bottom), top), I32)
    return Apply("ldexp", (x, exponent), output)


def _bitwise_count(args: Args, output: DType) -> Expr:
    (x,) = args
    magnitude = x if x.dtype.kind == "u" else call("abs", x)  # NumPy counts the bits of |x|
    return cast(call("popcount", magnitude), U8)


# -- comparisons, logic, tests -------------------------------------------------------------------------------------

_SWAPPED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def _comparison(relation: str) -> Scalar:
    def scalar(args: Args, output: DType) -> Expr:
        x, y = args
        if x.dtype.kind == "c":
            return _signalling_compare(relation, x, y)
        if x.dtype is y.dtype:
            return compare(relation, x, y)
        if x.dtype is U64:
            return _compare_signs(_SWAPPED[relation], y, x)
        if y.dtype is U64:
            return _compare_signs(relation, x, y)
        return compare(relation, cast(x, I64), cast(y, I64))

    return _in_float(scalar)


def _compare_signs(relation: str, x: Expr, y: Expr) -> Expr:
    """A signed x with a u64 y, exactly: any negative x is smaller."""
    negative = compare("lt", x, const(0, x.dtype))
    return select(negative, Const(relation in ("ne", "lt", "le"), BOOL), compare(relation, cast(x, U64), y))


def _signalling_compare(relation: str, x: Expr, y: Expr) -> Expr:
    """NumPy's loops compare the order of parts as C does, which raises `invalid` for NaN."""
    known = _complex_compare(relation, x, y)
    if relation in ("eq", "ne"):
        return known
    (a, b), (c, d) = parts(x), parts(y)
    in_real, in_imag = either(test("isnan", a), test("isnan", c)), either(test("isnan", b), test("isnan", d))
    unordered = either(in_real, both(compare("eq", a, c), in_imag))
    # 0 / 0 where it is unordered, and else 0, which is equal to 0; what is unordered is False
    zero = const(0, a.dtype)
    return both(known, is_zero(call("div", zero, select(unordered, zero, const(1, a.dtype)))))


def _complex_compare(relation: str, x: Expr, y: Expr) -> Expr:
    """Lexicographic, as NumPy's CLT and the like; a NaN anywhere is unordered."""
    (a, b), (c, d) = parts(x), parts(y)
    if relation == "eq":
        return both(compare("eq", a, c), compare("eq", b, d))
    if relation == "ne":
        return either(compare("ne", a, c), compare("ne", b, d))
    strict = {"le": "lt", "ge": "gt"}.get(relation, relation)
    known = negate(either(test("isnan", b), test("isnan", d)))
    first = both(compare(strict, a, c), known)
    return either(first, both(compare("eq", a, c), compare(relation, b, d)))


def _extremum(intrinsic: str, relation: str, on_bool: str, nan_wins: bool) -> Scalar:
    def scalar(args: Args, output: DType) -> Expr:
        x, y = args
        if x.dtype is BOOL:
            return call(on_bool, x, y)
        if x.dtype.kind == "c":
            re, im = parts(x if nan_wins else y)
            return select(either(_complex_compare(relation, x, y), either(test("isnan", re), test("isnan", im))), x, y)
        return Apply(intrinsic if x.dtype.kind == "f" or nan_wins else intrinsic[1:], (x, y), output)

    return scalar  # f16 not widened: of equals its loop keeps the first, those of f32 and f64 the second


def _logical(intrinsic: str) -> Scalar:
    return lambda args, output: Apply(intrinsic, tuple(nonzero(a) for a in args), BOOL)


def _test(name: str, on_parts: str, on_integer: bool) -> Scalar:
    """isnan and the like: integers are all finite; complex numbers go by their parts."""

    def scalar(args: Args, output: DType) -> Expr:
        (x,) = args
        if x.dtype.kind in "biu":
            return Const(on_integer, BOOL)
        if x.dtype.kind == "c":
            re, im = parts(x)
            return Apply(on_parts, (test(name, re), test(name, im)), BOOL)
        return test(name, x)

    return scalar


def _select(args: Args, output: DType) -> Expr:
    return Apply("select", tuple(args), output)


def _part(name: str) -> Scalar:
    def scalar(args: Args, output: DType) -> Expr:
        (x,) = args
        if x.dtype.kind == "c":
            return Apply(name, (x,), output)
        return x if name == "real" else const(0, output)

    return scalar


# -- the rows ------------------------------------------------------------------------------------------------------


def _row(ufunc: np.ufunc, scalar: Scalar | None, commutative: bool = False, **more: Any) -> OpDef:
    return OpDef(ufunc.__name__, "elementwise", numpy=(ufunc,), ufunc=ufunc, scalar=scalar, commutative=commutative, **more)


_ARITHMETIC = (
    _row(np.add, _bool_or("or", _complex_or(_complex_add, "add")), commutative=True),
    _row(np.subtract, _complex_or(_complex_sub, "sub")),
    _row(np.multiply, _bool_or("and", _complex_or(_complex_mul, "mul")), commutative=True),
    _row(np.divide, _complex_or(_complex_div, "div")),
    _row(np.floor_divide, _real("floordiv")),
    _row(np.remainder, _real("mod")),
    _row(np.fmod, _real("truncrem")),
    _row(np.power, _in_float(_power)),
    _row(np.float_power, _power),
    _row(np.negative, _negative),
    _row(np.positive, lambda args, output: args[0]),
    _row(np.absolute, _absolute),
    _row(np.fabs, _plain("abs")),
    _row(np.sign, _in_float(_sign)),
    _row(np.heaviside, _in_float(_heaviside)),
    _row(np.square, _in_float(_square)),
    _row(np.sqrt, _real("sqrt")),
    _row(np.cbrt, _real("cbrt")),
    _row(np.reciprocal, _in_float(_reciprocal)),
    _row(np.conjugate, _conjugate),
    _row(np.gcd, _plain("gcd"), commutative=True),
    _row(np.lcm, _plain("lcm"), commutative=True),
)
_FUNCTIONS = (
    *(
        _row(ufunc, _real(ufunc.__name__))
        for ufunc in (
            np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.sin, np.cos, np.tan, np.arcsin,
            np.arccos, np.arctan, np.arctan2, np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh,
        )
    ),
    _row(np.arctanh, _real("arctanh"), harmless=0.0),
    _row(np.hypot, _real("hypot")),
    _row(np.logaddexp, _in_float(_logaddexp)),
    _row(np.logaddexp2, _in_float(_logaddexp2)),
    _row(np.deg2rad, _scaled(math.pi, 180)),
    _row(np.radians, _scaled(math.pi, 180)),
    _row(np.rad2deg, _scaled(180, math.pi)),
    _row(np.degrees, _scaled(180, math.pi)),
)  # fmt: skip
_BITS = (
    _row(np.bitwise_and, _plain("and"), commutative=True),
    _row(np.bitwise_or, _plain("or"), commutative=True),
    _row(np.bitwise_xor, _plain("xor"), commutative=True),
    _row(np.invert, _plain("not")),
    _row(np.left_shift, _plain("shl")),
    _row(np.right_shift, _plain("shr")),
    _row(np.bitwise_count, _bitwise_count),
)
_LOGIC = (
    _row(np.equal, _comparison("eq"), commutative=True),
    _row(np.not_equal, _comparison("ne"), commutative=True),
    _row(np.less, _comparison("lt")),
    _row(np.less_equal, _comparison("le")),
    _row(np.greater, _comparison("gt")),
    _row(np.greater_equal, _comparison("ge")),
    _row(np.logical_and, _logical("and"), commutative=True),
    _row(np.logical_or, _logical("or"), commutative=True),
    _row(np.logical_xor, _logical("xor"), commutative=True),
    _row(np.logical_not, _logical("not")),
    _row(np.maximum, _extremum("max", "ge", "or", nan_wins=True)),
    _row(np.minimum, _extremum("min", "le", "and", nan_wins=True)),
    _row(np.fmax, _extremum("fmax", "ge", "or", nan_wins=False)),
    _row(np.fmin, _extremum("fmin", "le", "and", nan_wins=False)),
    _row(np.isfinite, _test("isfinite", "and", True)),
    _row(np.isinf, _test("isinf", "or", False)),
    _row(np.isnan, _test("isnan", "or", False)),
)
_FLOATING = (
    _row(np.signbit, _plain("signbit")),
    _row(np.copysign, _plain("copysign")),
    _row(np.nextafter, _not_half("nextafter")),
    _row(np.spacing, _not_half("spacing")),
    _row(np.ldexp, _in_float(_ldexp)),
    _row(np.floor, _by_part("floor")),
    _row(np.ceil, _by_part("ceil")),
    _row(np.trunc, _by_part("trunc")),
    _row(np.rint, _by_part("rint")),
)
_WITHOUT_UFUNC = (
    OpDef("select", "elementwise", scalar=_select, doc="select(bool, x, y): one element of np.where"),
    OpDef("real", "elementwise", scalar=_part("real"), doc="the real part"),
    OpDef("imag", "elementwise", scalar=_part("imag"), doc="the imaginary part"),
    OpDef("complex", "elementwise", scalar=_plain("complex"), doc="a complex number from its parts"),
)

ROWS: tuple[OpDef, ...] = (*_ARITHMETIC, *_FUNCTIONS, *_BITS, *_LOGIC, *_FLOATING, *_WITHOUT_UFUNC)
