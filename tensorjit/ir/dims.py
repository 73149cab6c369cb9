"""Symbolic sizes: integer polynomials over named symbols, kept in one normal form so that equal sizes compare equal.

A *dim* is an `int` or a :class:`DimExpr`. Argument dimensions are symbols that are never 1 (a length of 1 broadcasts, so it is
part of the signature); everything else is derived: ``x[1:]`` of length ``n`` has ``max(n - 1, 0)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Union, final

from tensorjit.records import dataclass

Dim = Union[int, "DimExpr"]
_WIDE = 1 << 31
INF = 1 << 63  # no Python int of a graph is beyond: symbols that stand for one have -INF as their bound


@final
@dataclass(frozen=True, slots=True, order=True)
class Symbol:
    """A size that is known at run time only: `low <= value`, and never 1 if `not_one`."""

    name: str
    low: int = 0
    not_one: bool = False

    def __str__(self) -> str:
        return self.name


@final
@dataclass(frozen=True, slots=True)
class Apply:
    """A function of sizes that is no polynomial: floordiv, mod, max or min."""

    function: str
    args: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.args))})"


Atom = Symbol | Apply
Monomial = tuple[Atom, ...]


@final
@dataclass(frozen=True, slots=True)
class DimExpr:
    """A sum of products of atoms with integer factors, sorted by text."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Dim) -> Dim:
        return _sum(_terms(self), _terms(other))

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + (other * -1)

    def __rsub__(self, other: int) -> Dim:
        return (self * -1) + other

    def __mul__(self, other: Dim) -> Dim:
        products: dict[Monomial, int] = {}
        for a, x in self.terms:
            for b, y in _terms(other):
                key = tuple(sorted(a + b, key=str))
                products[key] = products.get(key, 0) + x * y
        return _normal(products)

    __rmul__ = __mul__

    def __str__(self) -> str:
        out = ""
        for monomial, factor in self.terms:
            text = "*".join(map(str, monomial))
            number = "" if abs(factor) == 1 and monomial else str(abs(factor)) + ("*" if monomial else "")
            sign = "-" if factor < 0 else ("+" if out else "")
            out += sign + number + text
        return out

    __repr__ = __str__


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dim, DimExpr):
        return dim.terms
    return (((), dim),) if dim else ()


def _normal(terms: Mapping[Monomial, int]) -> Dim:
    kept = sorted(((m, f) for m, f in terms.items() if f), key=lambda t: (t[0] == (), [str(a) for a in t[0]]))
    if not kept:
        return 0
    if len(kept) == 1 and kept[0][0] == ():
        return kept[0][1]
    return DimExpr(tuple(kept))


def _sum(*parts: Iterable[tuple[Monomial, int]]) -> Dim:
    total: dict[Monomial, int] = {}
    for part in parts:
        for monomial, factor in part:
            total[monomial] = total.get(monomial, 0) + factor
    return _normal(total)


def symbol(name: str, low: int = 0, not_one: bool = False) -> DimExpr:
    """A new symbol as a dim.

    >>> n = symbol("n")
    >>> n + 1 - n, 2 * n - n, n * n + 3
    (1, n, n*n+3)
    """
    return DimExpr((((Symbol(name, low, not_one),), 1),))


def only_symbol(dim: Dim) -> Symbol | None:
    """The symbol that a dim is, if it is nothing else.

    >>> n = symbol("n")
    >>> only_symbol(n), only_symbol(n + 1)
    (Symbol(name='n', low=0, not_one=False), None)
    """
    if isinstance(dim, int) or len(dim.terms) != 1:
        return None
    monomial, factor = dim.terms[0]
    atom = monomial[0]
    return atom if factor == 1 and len(monomial) == 1 and isinstance(atom, Symbol) else None


def bounds(dim: Dim) -> tuple[int, int]:
    """Integers (low, high) with low <= dim <= high, as far as they are known.

    >>> bounds(symbol("n") + 3)[0], bounds(2 - symbol("n"))[1]
    (3, 2)
    """
    if isinstance(dim, int):
        return dim, dim
    low, high = 0, 0
    for monomial, factor in dim.terms:
        lo, hi = 1, 1
        for atom in monomial:
            a, b = _atom_bounds(atom)
            corners = (lo * a, lo * b, hi * a, hi * b)
            lo, hi = min(corners), max(corners)
        corners2 = (lo * factor, hi * factor)
        low, high = low + min(corners2), high + max(corners2)
    return low, high  # as they are: clipped bounds would say too much of what is computed from them


def _atom_bounds(atom: Atom) -> tuple[int, int]:
    if isinstance(atom, Symbol):
        return atom.low, INF
    each = [bounds(a) for a in atom.args]
    if atom.function == "max":
        return max(lo for lo, _ in each), max(hi for _, hi in each)
    if atom.function == "min":
        return min(lo for lo, _ in each), min(hi for _, hi in each)
    divisor = each[1][0]
    if atom.function == "mod" and divisor > 0:
        return 0, each[1][1] - 1
    if atom.function == "floordiv" and divisor > 0 and each[0][0] >= 0:
        return 0, each[0][1] // divisor
    return -INF, INF


def can_be_one(dim: Dim) -> bool:
    """Whether a size may be 1 at run time, so that it may broadcast."""
    if isinstance(dim, int):
        return dim == 1
    alone = only_symbol(dim)
    if alone is not None and alone.not_one:
        return False
    low, high = bounds(dim)
    return low <= 1 <= high


def maximum(a: Dim, b: Dim) -> Dim:
    """max(a, b), simplified by what is known of the bounds.

    >>> n = symbol("n")
    >>> maximum(n, 0), maximum(n - 1, 0)
    (n, max(n-1, 0))
    """
    difference = a - b
    low, high = bounds(difference)
    if low >= 0:
        return a
    if high <= 0:
        return b
    return _atom(Apply("max", (a, b)))


def minimum(a: Dim, b: Dim) -> Dim:
    """min(a, b), simplified by what is known of the bounds."""
    low, high = bounds(a - b)
    if high <= 0:
        return a
    if low >= 0:
        return b
    return _atom(Apply("min", (a, b)))


def floordiv(a: Dim, b: Dim) -> Dim:
    """a // b for b != 0 (the caller checks), simplified where it divides exactly.

    >>> n = symbol("n")
    >>> floordiv(4 * n + 8, 4), floordiv(n, 2)
    (n+2, floordiv(n, 2))
    """
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if isinstance(b, int) and all(f % b == 0 for _, f in _terms(a)):
        return _normal({m: f // b for m, f in _terms(a)})
    if a == b and bounds(a)[0] > 0:
        return 1
    quotient = exact_quotient(a, b) if bounds(b)[0] > 0 else None
    return _atom(Apply("floordiv", (a, b))) if quotient is None else quotient


def exact_quotient(a: Dim, b: Dim) -> Dim | None:
    """a / b for b > 0 (the caller checks) where b is one product that divides every term of a."""
    if isinstance(b, int) or len(b.terms) != 1:
        return None
    divisor, factor = b.terms[0]
    out: dict[Monomial, int] = {}
    for monomial, f in _terms(a):
        rest = list(monomial)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if f % factor:
            return None
        out[tuple(rest)] = f // factor
    return _normal(out)


def mod(a: Dim, b: Dim) -> Dim:
    """a % b for b != 0, with Python's sign."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if isinstance(b, int) and all(f % b == 0 for _, f in _terms(a)):
        return 0
    return _atom(Apply("mod", (a, b)))


def _atom(atom: Atom) -> DimExpr:
    return DimExpr((((atom,), 1),))


FUNCTIONS: Mapping[str, Callable[[Dim, Dim], Dim]] = {
    "max": maximum, "min": minimum, "floordiv": floordiv, "mod": mod,
}  # fmt: skip


def product(dims: Iterable[Dim]) -> Dim:
    """The number of elements of a shape."""
    out: Dim = 1
    for dim in dims:
        out = out * dim
    return out


def slice_length(start: Dim, stop: Dim, step: int) -> Dim:
    """The length of range(start, stop, step) for step != 0 and start, stop already clipped as a slice clips them.

    >>> n = symbol("n")
    >>> slice_length(1, n, 1), slice_length(n - 1, -1, -1), slice_length(0, n, 2)
    (max(n-1, 0), n, floordiv(n+1, 2))
    """
    distance, width = (stop - start, step) if step > 0 else (start - stop, -step)
    return maximum(ceildiv(distance, width), 0)


def ceildiv(distance: Dim, width: int) -> Dim:
    """distance / width rounded up, for width > 0.

    >>> ceildiv(symbol("n"), 2), ceildiv(symbol("n"), 1 << 40)
    (floordiv(n+1, 2), floordiv(n-1, 1099511627776)+1)
    """
    if width > _WIDE or (width > 1 and not is_length(distance)):  # the sum below might leave 64 bits
        return floordiv(distance - 1, width) + 1
    return floordiv(distance + (width - 1), width)


def is_length(dim: Dim) -> bool:
    """Whether a size is made of lengths of arrays, and not of integers that the user passes, which may be any."""
    return all(s.low > -INF for s in symbols_of(dim))


def symbols_of(dim: Dim) -> Iterable[Symbol]:
    """The symbols that a dim depends on."""
    if isinstance(dim, int):
        return
    for monomial, _ in dim.terms:
        for atom in monomial:
            if isinstance(atom, Symbol):
                yield atom
            else:
                for arg in atom.args:
                    yield from symbols_of(arg)


def substitute(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """A dim with symbols replaced by dims.

    >>> n = symbol("n")
    >>> substitute(maximum(n - 1, 0) * n, {"n": 5})
    20
    """
    return _substitute(dim, values, {})


def _substitute(dim: Dim, values: Mapping[str, Dim], known: dict[Apply, Dim]) -> Dim:
    """`known` are the functions met so far: the bounds of a slice hold the same ones many times over."""
    if isinstance(dim, int):
        return dim
    alone = only_symbol(dim)
    if alone is not None:  # most dims are: a product and a sum of it would take ten times as long
        return values.get(alone.name, dim)
    if all(s.name not in values for s in symbols_of(dim)):
        return dim
    total: Dim = 0
    for monomial, factor in dim.terms:
        term: Dim = factor
        for atom in monomial:
            if isinstance(atom, Symbol):
                term = term * values.get(atom.name, _atom(atom))
                continue
            if atom not in known:
                left, right = (_substitute(a, values, known) for a in atom.args)
                known[atom] = FUNCTIONS[atom.function](left, right)
            term = term * known[atom]
        total = total + term
    return total
