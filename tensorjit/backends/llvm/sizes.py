"""Symbolic sizes as i64 registers, computed so that none is ever a wrapped number.

An integer that the user passes may be any, and so may a length of an array of stride 0. So each sum and product has the
interval that it may lie in; where that is not within 64 bits, the processor's overflow flag goes with the register.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, final

from llvmlite import ir

from tensorjit.backends.llvm.abi import I1, I64
from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.records import dataclass

if TYPE_CHECKING:
    from tensorjit.backends.llvm.driver import Driver

__all__ = ["ANY", "TOO_LARGE", "Interval", "Size", "at_most", "compute", "interval"]

Interval = tuple[int, int]
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
ANY: Interval = (_LEAST, _MOST)
TOO_LARGE = "Python int too large to convert to a 64-bit integer"


@final
@dataclass(frozen=True, slots=True)
class Size:
    """A size: its register, whether that is right (an i1; None where it must be), and where the number lies."""

    register: ir.Value
    fits: ir.Value | None
    interval: Interval


def _is_inside(interval: Interval) -> bool:
    return interval[0] >= _LEAST and interval[1] <= _MOST


def _clipped(interval: Interval) -> Interval:
    """The interval of a number that was found to be one of 64 bits."""
    return max(interval[0], _LEAST), min(interval[1], _MOST)


def _sum(x: Interval, y: Interval) -> Interval:
    return x[0] + y[0], x[1] + y[1]


def _difference(x: Interval, y: Interval) -> Interval:
    return x[0] - y[1], x[1] - y[0]


def _product(x: Interval, y: Interval) -> Interval:
    corners = [a * b for a in x for b in y]
    return min(corners), max(corners)


_INTERVALS = {"add": _sum, "sub": _difference, "mul": _product}


def _symbol(d: Driver, symbol: dims.Symbol) -> Interval:
    low, high = d.intervals.get(symbol.name, ANY)
    return max(low, symbol.low), high


def compute(d: Driver, dim: Dim) -> Size:
    """A size computed here."""
    if isinstance(dim, int):
        found = _LEAST <= dim <= _MOST
        return Size(I64(dim if found else 0), None if found else I1(0), (dim, dim) if found else ANY)
    known = d.sizes.get(dim)
    if known is not None:
        return Size(known, None, _clipped(interval(d, dim)))
    total: Size | None = None
    for monomial, factor in sorted(dim.terms, key=lambda t: t[1] < 0):  # so that a difference is one subtraction
        term = functools.reduce(functools.partial(_join, d, "mul"), _factors(d, monomial, abs(factor)))
        if total is None:
            total = term if factor > 0 else _join(d, "sub", compute(d, 0), term)
        else:
            total = _join(d, "add" if factor > 0 else "sub", total, term)
    assert total is not None
    return total


def _factors(d: Driver, monomial: dims.Monomial, factor: int) -> list[Size]:
    atoms = [Size(d.symbols[a.name], None, _symbol(d, a)) if isinstance(a, dims.Symbol) else _apply(d, a) for a in monomial]
    return atoms if factor == 1 and atoms else [*atoms, compute(d, factor)]


def interval(d: Driver, dim: Dim) -> Interval:
    """Where a size lies, as far as that is known."""
    if isinstance(dim, int):
        return dim, dim
    total: Interval = (0, 0)
    for monomial, factor in dim.terms:
        term: Interval = (factor, factor)
        for atom in monomial:
            term = _product(term, _symbol(d, atom) if isinstance(atom, dims.Symbol) else _applied(atom, *_args(d, atom)))
        total = _sum(total, term)
    return total


def _args(d: Driver, atom: dims.Apply) -> tuple[Interval, Interval]:
    x, y = (_clipped(interval(d, a)) for a in atom.args)
    return x, y


def _join(d: Driver, what: str, x: Size, y: Size) -> Size:
    """x + y, x - y or x * y."""
    where = _INTERVALS[what](x.interval, y.interval)
    if _is_inside(where):
        return Size(getattr(d.emit, what)(x.register, y.register), _both(d, x.fits, y.fits), where)
    both = getattr(d.emit, f"s{what}_with_overflow")(x.register, y.register)
    kept = d.emit.not_(d.emit.extract_value(both, 1))
    return Size(d.emit.extract_value(both, 0), _both(d, _both(d, x.fits, y.fits), kept), _clipped(where))


def _both(d: Driver, x: ir.Value | None, y: ir.Value | None) -> ir.Value | None:
    if x is None or y is None:
        return y if x is None else x
    return d.emit.and_(x, y)


# -- functions of sizes ----------------------------------------------------------------------------------------------


def _applied(atom: dims.Apply, x: Interval, y: Interval) -> Interval:
    if atom.function == "max":
        return max(x[0], y[0]), max(x[1], y[1])
    if atom.function == "min":
        return min(x[0], y[0]), min(x[1], y[1])
    if y[0] <= 0:
        return ANY
    if atom.function == "mod":
        return 0, y[1] - 1
    corners = [a // b for a in x for b in y]
    return min(corners), max(corners)


def _apply(d: Driver, atom: dims.Apply) -> Size:
    x, y = (compute(d, a) for a in atom.args)
    by = y.register
    if y.fits is not None and atom.function in ("floordiv", "mod"):  # a wrapped divisor may be 0, and end the process
        by = d.emit.select(y.fits, by, I64(1))
    value = _FUNCTIONS[atom.function](d.emit, x.register, by)
    return Size(value, _both(d, x.fits, y.fits), _applied(atom, x.interval, y.interval))


def _extremum(relation: str) -> Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]:
    return lambda b, x, y: b.select(b.icmp_signed(relation, x, y), x, y)


def _floordiv(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    quotient, wrong, _ = _divided(b, x, y)
    return b.select(wrong, b.sub(quotient, I64(1)), quotient)


def _mod(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    _, wrong, remainder = _divided(b, x, y)
    return b.select(wrong, b.add(remainder, y), remainder)


def _divided(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    quotient, remainder = b.sdiv(x, y), b.srem(x, y)  # divisors are positive
    return quotient, b.icmp_signed("<", remainder, I64(0)), remainder


_FUNCTIONS: Mapping[str, Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]] = {
    "max": _extremum(">"), "min": _extremum("<"), "floordiv": _floordiv, "mod": _mod,
}  # fmt: skip


def at_most(d: Driver, dim: Dim) -> ir.Value:
    """A size, or the greatest number where it is more than that: for estimates."""
    size = compute(d, dim)
    return size.register if size.fits is None else d.emit.select(size.fits, size.register, I64(_MOST))
