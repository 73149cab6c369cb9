"""Complex arithmetic, order and products as NumPy's loops define them (numpy/_core/src/umath/loops.c.src)."""

from __future__ import annotations

from llvmlite import ir

from tensorjit.backends.llvm.quiet import quiet_fcmp
from tensorjit.backends.llvm.registers import Pair, call_intrinsic, map_parts, number, select
from tensorjit.backends.llvm.vmath.lanes import Lane, rare

__all__ = ["add", "compare", "div", "fmax", "fmin", "is_nan", "maximum", "minimum", "mul", "neg", "sub"]


def add(b: ir.IRBuilder, x: Pair, y: Pair) -> Pair:
    return Pair(b.fadd(x.re, y.re), b.fadd(x.im, y.im))


def sub(b: ir.IRBuilder, x: Pair, y: Pair) -> Pair:
    return Pair(b.fsub(x.re, y.re), b.fsub(x.im, y.im))


def neg(b: ir.IRBuilder, x: Pair) -> Pair:
    return Pair(b.fneg(x.re), b.fneg(x.im))


def mul(b: ir.IRBuilder, x: Pair, y: Pair) -> Pair:
    re = b.fsub(b.fmul(x.re, y.re), b.fmul(x.im, y.im))
    return Pair(re, b.fadd(b.fmul(x.re, y.im), b.fmul(x.im, y.re)))


def div(b: ir.IRBuilder, x: Pair, y: Pair) -> Pair:
    """Smith's algorithm (CACM 5(8), 1962), with the larger part of the divisor chosen by lane."""
    size_re, size_im = call_intrinsic(b, "fabs", y.re), call_intrinsic(b, "fabs", y.im)
    zero = number(y.re.type, 0.0)
    by_re = quiet_fcmp(b, "oge", size_re, size_im)
    null = b.and_(quiet_fcmp(b, "oeq", size_re, zero), quiet_fcmp(b, "oeq", size_im, zero))
    large = b.select(null, number(zero.type, 1.0), b.select(by_re, y.re, y.im))
    small = b.select(by_re, y.im, y.re)
    ratio = b.fdiv(small, large)
    scale = b.fdiv(number(zero.type, 1.0), b.fadd(large, b.fmul(small, ratio)))
    straight, crossed = b.select(by_re, x.re, x.im), b.select(by_re, x.im, x.re)
    product = b.fmul(straight, ratio)
    re = b.fmul(b.fadd(straight, b.fmul(crossed, ratio)), scale)
    minuend, subtrahend = b.select(by_re, crossed, product), b.select(by_re, product, crossed)
    im = b.fmul(b.fsub(minuend, subtrahend), scale)

    def by_zero() -> list[Lane]:
        divisor = b.select(null, size_re, number(zero.type, 1.0))
        quotient = map_parts(lambda part: b.fdiv(b.select(null, part, zero), divisor), x)
        return [Lane(b, part) for part in select(b, null, quotient, Pair(re, im))]

    return Pair(*(lane.value for lane in rare(Lane(b, null), [Lane(b, re), Lane(b, im)], by_zero)))


def is_nan(b: ir.IRBuilder, x: Pair) -> ir.Value:
    return quiet_fcmp(b, "uno", x.re, x.im)


def compare(b: ir.IRBuilder, relation: str, x: Pair, y: Pair) -> ir.Value:
    """The relation (eq, ne, lt, le, gt, ge) in NumPy's order: by real parts, then by imaginary ones."""
    if relation == "ne":
        return b.or_(quiet_fcmp(b, "une", x.re, y.re), quiet_fcmp(b, "une", x.im, y.im))
    same = quiet_fcmp(b, "oeq", x.re, y.re)
    if relation == "eq":
        return b.and_(same, quiet_fcmp(b, "oeq", x.im, y.im))
    # real parts decide only where no imaginary part is NaN
    strict = quiet_fcmp(b, "o" + relation[0] + "t", x.re, y.re)
    first = b.and_(strict, quiet_fcmp(b, "ord", x.im, y.im))
    return b.or_(first, b.and_(same, quiet_fcmp(b, "o" + relation, x.im, y.im)))


def _chosen(b: ir.IRBuilder, relation: str, x: Pair, y: Pair, *, keep_nan: bool) -> Pair:
    keep = b.or_(compare(b, relation, x, y), is_nan(b, x if keep_nan else y))
    chosen = select(b, keep, x, y)
    assert isinstance(chosen, Pair)
    return chosen


def minimum(b: ir.IRBuilder, x: Pair, y: Pair) -> Pair:
    return _chosen(b, "le", x, y, keep_nan=True)


def maximum(b: ir.IRBuilder, x: Pair, y: Pair) -> Pair:
    return _chosen(b, "ge", x, y, keep_nan=True)


def fmin(b: ir.IRBuilder, x: Pair, y: Pair) -> Pair:
    return _chosen(b, "le", x, y, keep_nan=False)


def fmax(b: ir.IRBuilder, x: Pair, y: Pair) -> Pair:
    return _chosen(b, "ge", x, y, keep_nan=False)
