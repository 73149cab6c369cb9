"""Makes the polynomial coefficients and the tables of the vector math.

    python tools/minimax.py tensorjit/backends/llvm/vmath/coefficients.py

Each row of `FITS` names a smooth function g, an interval and a weight w; the polynomial P that is written minimises the
largest |w (P - g)| (Remez' exchange, J.-M. Muller, Elementary Functions, 3rd ed., section 3.5). The weights turn the
error of P into the relative error of the function made from it. Coefficients are rounded to the format at the end; the
terms that matter to the last bit are outside the fits (exp is 1 + r + r^2 P(r), and so on).
Needs mpmath. Takes some seconds.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath
from mpmath import mp, mpf

Real = Callable[[mpf], mpf]


@dataclass(frozen=True, slots=True)
class Fit:
    """One polynomial: g over [low, high] under a weight, its degree in f64, in f32 (-1: not wanted)."""

    name: str
    what: str
    g: Real
    low: float
    high: float
    weight: Real
    degree64: int
    degree32: int = -1
    from_f32: int = -1  # degree where f32 arguments are computed in f64


QUARTER = math.pi / 4 + 0.0125  # the quotient n of a reduction is rounded: r may lie outside, most in f32
HALF_LN2 = math.log(2) / 2 * 1.0005
ROOT = math.sqrt(0.5)
INNER = 0.0345  # m c - 1 for c of `log_tables`


def _root(f: Callable[[mpf], mpf]) -> Real:
    """f as a function of z = x^2."""
    return lambda z: f(mpmath.sqrt(z))


FITS = (
    Fit("EXP", "(e^r - 1 - r) / r^2", lambda r: (mpmath.expm1(r) - r) / r**2,
        -HALF_LN2, HALF_LN2, abs, 9, 4),
    Fit("SINH", "(sinh r - r) / r^3 in r^2", _root(lambda r: (mpmath.sinh(r) - r) / r**3),
        0, HALF_LN2**2, lambda z: z, 4, 2),
    Fit("COSH", "(cosh r - 1) / r^2 in r^2", _root(lambda r: (mpmath.cosh(r) - 1) / r**2),
        0, HALF_LN2**2, lambda z: z, 5, 2),
    Fit("EXPM1", "(e^r - 1 - r) / r^2", lambda r: (mpmath.expm1(r) - r) / r**2,
        -HALF_LN2, HALF_LN2, abs, 10, 5),
    Fit("EXP2", "(2^r - 1 - r ln 2) / r^2", lambda r: (mpmath.expm1(r * mp.ln2) - r * mp.ln2) / r**2,
        -0.5002, 0.5002, abs, 10),
    Fit("EXP2_SHORT", "(2^r - 1) / r", lambda r: mpmath.expm1(r * mp.ln2) / r, -0.5002, 0.5002, abs, -1, 5),
    Fit("LOG", "(log(1 + r) - r) / r^2", lambda r: (mpmath.log1p(r) - r) / r**2, -INNER, INNER, abs, 7, 3),
    Fit("LOG2", "(log2(1 + r) - r / ln 2) / r^2", lambda r: (mpmath.log1p(r) - r) / r**2 / mp.ln2,
        -INNER, INNER, abs, 7),
    Fit("LOG10", "(log10(1 + r) - r / ln 10) / r^2", lambda r: (mpmath.log1p(r) - r) / r**2 / mp.ln(10),
        -INNER, INNER, abs, 7),
    Fit("LOG_TAIL", "(log(1 + r) - r + r^2/2) / r^3", lambda r: (mpmath.log1p(r) - r + r**2 / 2) / r**3,
        -INNER, INNER, lambda r: r**2, 8, 3),
    Fit("LOG_WIDE", "(log(1 + f) - f) / f^2", lambda f: (mpmath.log1p(f) - f) / f**2, ROOT - 1, 2 * ROOT - 1, abs, -1, 9),
    Fit("BINADE_LOG2", "(log2(1 + r) - r / ln 2) / r^2", lambda r: (mpmath.log1p(r) - r) / r**2 / mp.ln2,
        -0.0415, 0.0625, abs, -1, 3),
    Fit("BINADE_LOG10", "(log10(1 + r) - r / ln 10) / r^2", lambda r: (mpmath.log1p(r) - r) / r**2 / mp.ln(10),
        -0.0415, 0.0625, abs, -1, 3),
    Fit("SIN", "(sin r - r) / r^3 in r^2", _root(lambda r: (mpmath.sin(r) - r) / r**3),
        0, QUARTER**2, lambda z: z, 5, 2),
    Fit("COS", "(cos r - 1 + r^2/2) / r^4 in r^2", _root(lambda r: (mpmath.cos(r) - 1 + r**2 / 2) / r**4),
        0, QUARTER**2, lambda z: z**2, 5, 2),
    Fit("ARC", "(atan r - r) / r^3 in r^2", _root(lambda r: (mpmath.atan(r) - r) / r**3),
        0, 0.0995**2, lambda z: z, 5, 1),
    Fit("ASIN", "(asin r - r) / r^3 in r^2", _root(lambda r: (mpmath.asin(r) - r) / r**3),
        0, 0.2505, lambda z: z, 13, 5),
    Fit("CBRT", "m^(-1/3)", lambda m: mpmath.root(m, 3) ** -1, ROOT, 2 * ROOT, lambda m: mpf(1), 10, 4),
)  # fmt: skip


def remez(fit: Fit, degree: int) -> tuple[list[mpf], mpf]:
    """The coefficients (constant term first) and the largest weighted error."""
    low, high = mpf(fit.low), mpf(fit.high)
    middle, half = (low + high) / 2, (high - low) / 2
    grid = [middle - half * mpmath.cos(mp.pi * k / (16 * degree + 33)) for k in range(16 * degree + 34)]
    grid = [x if abs(x) > mpf(2) ** -40 else mpf(2) ** -40 for x in grid]
    exact = [(x, fit.g(x), fit.weight(x)) for x in grid]
    chosen = [round(k * (len(grid) - 1) / (degree + 1)) for k in range(degree + 2)]
    for _ in range(12):
        rows = [[exact[i][0] ** p for p in range(degree + 1)] + [(-1) ** k / exact[i][2]]
                for k, i in enumerate(chosen)]  # fmt: skip
        solved = mpmath.lu_solve(mp.matrix(rows), mp.matrix([exact[i][1] for i in chosen]))
        coefficients = list(solved[: degree + 1])
        errors = [w * (mpmath.polyval(coefficients[::-1], x) - g) for x, g, w in exact]
        peaks = _alternation(errors, degree + 2)
        if peaks is None or peaks == chosen:
            break
        chosen = peaks
    return coefficients, max(abs(e) for e in errors)


def _alternation(errors: list[mpf], wanted: int) -> list[int] | None:
    """The indices of the largest error of each run of one sign, the weakest ends dropped."""
    peaks: list[int] = []
    for i, error in enumerate(errors):
        if peaks and (errors[peaks[-1]] > 0) == (error > 0):
            if abs(error) > abs(errors[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > wanted:
        peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
    return peaks if len(peaks) == wanted else None


def rational(g: Real, high: float, above: int, below: int) -> tuple[list[mpf], list[mpf]]:
    """P / Q of these degrees that is g at Chebyshev's points of [0, high]; Q begins with 1."""
    count = above + below + 1
    places = [mpf(high) / 2 * (1 - mpmath.cos(mp.pi * (2 * k + 1) / (2 * count))) for k in range(count)]
    rows = [[x**p for p in range(above + 1)] + [-g(x) * x**p for p in range(1, below + 1)] for x in places]
    solved = list(mpmath.lu_solve(mp.matrix(rows), mp.matrix([g(x) for x in places])))
    return solved[: above + 1], [mpf(1), *solved[above + 1 :]]


def tangents() -> list[tuple[str, tuple[float, ...]]]:
    """(tan r - r - r^3/3) / r^5 in r^2; errors of tan 2^-61.1 and 2^-27.6."""
    rows = []
    for size, precision, above, below in ((64, 53, 2, 3), (32, 24, 1, 1)):
        third = mpf(1) / 3
        rest = _root(lambda r, third=third: (mpmath.tan(r) - r - third * r**3) / r**5)
        for name, part in zip(("ABOVE", "BELOW"), rational(rest, QUARTER**2, above, below), strict=True):
            rows.append((f"TAN_{name}_{size}", tuple(rounded(c, precision) for c in part)))
    return rows


def rounded(value: mpf, bits: int) -> float:
    """value to the nearest number of `bits` bits."""
    with mp.workprec(bits):
        return float(+value)


def parts(value: mpf, widths: tuple[int, ...]) -> tuple[float, ...]:
    """value as an unevaluated sum of numbers of so many bits."""
    found = []
    for width in widths:
        found.append(rounded(value, width))
        value -= mpf(found[-1])
    return tuple(found)


def positive_parts(value: mpf, widths: tuple[int, ...]) -> tuple[float, ...]:
    """The same of positive numbers alone: 0 times any of them is +0."""
    found = []
    for width in widths:
        scale = mpf(2) ** (width - 1 - int(mpmath.floor(mpmath.log(value, 2))))
        found.append(float(mpmath.floor(value * scale) / scale))
        value -= mpf(found[-1])
    return tuple(found)


def half_pi_short(bits: int, small: int) -> tuple[float, ...]:
    """Three parts of pi/2 for n < 2^small: see `trigonometric.reduced` for what must be exact."""
    first = mpmath.floor(mp.pi / 2 * mpf(2) ** (bits - 1 - small)) / mpf(2) ** (bits - 1 - small)
    last = 2 * (bits - 1 - small) - 1
    second = mpmath.floor((mp.pi / 2 - first) * mpf(2) ** last) / mpf(2) ** last
    return float(first), float(second), rounded(mp.pi / 2 - first - second, bits)


def two_over_pi_words(count: int) -> tuple[int, ...]:
    """2/pi = sum of words[i] * 2^(-64 (i+1))."""
    with mp.workprec(64 * count + 64):
        scaled = int(mpmath.floor(2 / mp.pi * mpf(2) ** (64 * count)))
    return tuple(scaled >> (64 * (count - 1 - i)) & (2**64 - 1) for i in range(count))


def constants() -> list[tuple[str, tuple[float, ...]]]:
    """Splittings of irrational numbers."""
    ln2, half_pi = mp.ln(2), mp.pi / 2
    return [
        ("LN2_64", parts(ln2, (53, 53))),
        ("LN2_SHORT_64", parts(ln2, (41, 53))),
        ("LN2_32", parts(ln2, (24, 24))),
        ("LN2_SHORT_32", parts(ln2, (15, 24))),
        ("HALF_PI_64", positive_parts(half_pi, (53, 53, 53))),
        ("HALF_PI_32", positive_parts(half_pi, (24, 24, 24))),
        ("HALF_PI_SHORT_64", half_pi_short(53, 12)),
        ("HALF_PI_SHORT_32", half_pi_short(24, 6)),
        ("LOG2_E_64", parts(1 / ln2, (53, 53))),
        ("LOG10_E_64", parts(1 / mp.ln(10), (53, 53))),
        ("LOG10_2_64", parts(mp.log10(2), (41, 53))),
        ("LOG2_E_32", parts(1 / ln2, (24, 24))),
        ("LOG10_E_32", parts(1 / mp.ln(10), (24, 24))),
        ("LOG10_2_32", parts(mp.log10(2), (15, 24))),
        ("PI_64", parts(mp.pi, (53, 53))),
        ("PI_32", parts(mp.pi, (24, 24))),
        ("CBRT_2_64", tuple(rounded(mpmath.root(2, 3) ** k, 53) for k in (1, -1))),
        ("CBRT_2_32", tuple(rounded(mpmath.root(2, 3) ** k, 24) for k in (1, -1))),
        ("TWO_OVER_PI", parts(1 / half_pi, (53, 53))),
    ]


def log_tables() -> list[tuple[str, tuple[float, ...]]]:
    """Of each sixteenth of the binade from 47/64 on: c near its inverse, and -log c in each base, a sum of two.

    c is so short that m c - 1 is exact, and 1 around 1, where the logarithm must be precise relative to itself.
    """
    edges = [mpf(47 + 2 * k) / 64 for k in range(9)] + [1 + mpf(2 * k + 1) / 32 for k in range(8)]
    inverses = [_inverse(edges[k], edges[k + 1], last=53 if k < 8 else 52) for k in range(16)]
    rows = []
    for size, first, second in ((64, 42, 53), (32, 16, 24)):
        rows.append((f"INVERSE_{size}", tuple(map(float, inverses))))
        for name, base in (("LOG", mp.e), ("LOG2", mpf(2)), ("LOG10", mpf(10)))[: 3 if size == 64 else 1]:
            logs = [-mpmath.log(c) / mpmath.log(base) for c in inverses]
            high = [mpmath.nint(v * 2**first) / 2**first for v in logs]
            rows.append((f"{name}_HIGH_{size}", tuple(map(float, high))))
            rows.append((f"{name}_LOW_{size}", tuple(rounded(v - h, second) for v, h in zip(logs, high, strict=True))))
    return rows


def binade_tables() -> list[tuple[str, tuple[float, ...]]]:
    """For f32, of each sixteenth of [1, 2): c near its inverse, and -log c as a sum of two; 1 and a half at the ends, for numbers
    next to powers of two."""
    edges = [1 + mpf(k) / 16 for k in range(17)]
    inverses = [mpf(1), *(_inverse(*edges[k : k + 2], last=52) for k in range(1, 15)), mpf(1) / 2]
    rows = [("BINADE_INVERSE_32", tuple(map(float, inverses)))]
    for name, base in (("LOG2", 2), ("LOG10", 10)):
        logs = [-mpmath.log(c, base) for c in inverses]
        high = [mpmath.nint(v * 2**16) / 2**16 for v in logs]
        rows.append((f"BINADE_{name}_HIGH_32", tuple(map(float, high))))
        rows.append((f"BINADE_{name}_LOW_32", tuple(rounded(v - h, 24) for v, h in zip(logs, high, strict=True))))
    return rows


def tanh_pieces() -> list[tuple[str, tuple[float, ...]]]:
    """Of each quarter binade from 1/8 on: a place c, and tanh(c + d) as a polynomial in d whose first term needs no rounding.

    The first is for all that is smaller: tanh d - d there, with even terms that only keep products from underflowing.
    """
    fit = Fit("TANH", "", lambda z: (mpmath.tanh(mpmath.sqrt(z)) - mpmath.sqrt(z)) / mpmath.sqrt(z) ** 3,
              0, 0.126**2, lambda z: z, 1)  # fmt: skip
    third, fifth = remez(fit, 1)[0]
    rows = [[mpf(0), mpf(0), mpf(2) ** -60, mpf(2) ** -100, third, mpf(2) ** -60, fifth]]
    edges = [mpf(2) ** (j // 4) * (1 + mpf(j % 4) / 4) for j in range(-12, 14)]
    rows += [_tanh_piece(low, high, _roundest_tanh(low, high)) for low, high in itertools.pairwise(edges[:-1])]
    # tanh 10 is 1 in f32: what is held there has to be 1, not something that rounds to the number before
    rows.append(_tanh_piece(edges[-2], edges[-1], edges[-1]))
    rows += [rows[-1]] * (32 - len(rows))
    names = ("TANH_PLACE_32", *(f"TANH_{i}_32" for i in range(6)))
    return [(name, tuple(rounded(row[i], 24) for row in rows)) for i, name in enumerate(names)]


def _roundest_tanh(low: mpf, high: mpf) -> mpf:
    """Of some hundred numbers near the middle, that of the roundest tanh."""
    middle = mpf(rounded((low + high) / 2, 24))
    step = mpf(2) ** (int(mpmath.floor(mpmath.log(middle, 2))) - 23)

    def lost(c: mpf) -> mpf:
        value = mpmath.tanh(c)
        return abs(value - mpf(rounded(value, 24)))

    return min((middle + k * step for k in range(-100, 101)), key=lost)


def _tanh_piece(low: mpf, high: mpf, c: mpf) -> list[mpf]:
    """c, tanh c and the coefficients."""
    last = high - c or -(mpf(2) ** -20)  # at d = 0 the quotient is none
    fit = Fit("TANH", "", lambda d: (mpmath.tanh(c + d) - mpmath.tanh(c)) / d, low - c, last, abs, 4)
    return [c, mpmath.tanh(c), *remez(fit, 4)[0]]


def arctan_tables() -> list[tuple[str, tuple[float, ...]]]:
    """b / a in the middle of half a binade, from 3/32 to 12, and its arctan as a sum of two; 0 and infinity at the ends.

    The last part of arctan 0 keeps products from underflowing, and is lost in what is not tiny.
    """
    edges = [mpf(2) ** (j // 2) * (1 + mpf(j % 2) / 2) for j in range(-7, 8)]
    angles = [(mpmath.atan(x) + mpmath.atan(y)) / 2 for x, y in itertools.pairwise(edges)]
    middles = [rounded(mpmath.tan(angle), 24) for angle in angles]
    sines, cosines = (0.0, *middles, 1.0), (1.0, *(1.0 for _ in middles), 0.0)
    rows = []
    for size, precision, least in ((64, 53, 2.0**-300), (32, 24, 2.0**-100)):
        sums = [parts(mpmath.atan(c), (precision, precision)) for c in middles]
        sums = [(0.0, least), *sums, parts(mp.pi / 2, (precision, precision))]
        rows += [(f"ARCTAN_A_{size}", cosines), (f"ARCTAN_B_{size}", sines)]
        rows += [(f"ARCTAN_{part}_{size}", tuple(s[i] for s in sums)) for i, part in enumerate(("HIGH", "LOW"))]
    return rows


def arctan2_tables() -> list[tuple[str, tuple[float, ...]]]:
    """The same for quotients whose interval is known by their words' difference, and, from 16 on, what it lacks to pi."""
    edges = [(mpf(2) ** (j // 2) * (1 if j % 2 == 0 else mpf(4) / 3), mpf(2) ** (j // 2) * (mpf(3) / 2 if j % 2 == 0 else 2))
             for j in range(-7, 7)]  # fmt: skip
    rows = []
    # for f32 a bit less than it has: 1 + c is exact, and so is, but for one rounding, the angle of the diagonal
    for size, precision, last in ((64, 53, 24), (32, 24, 23)):
        middles = [rounded(mpmath.tan((mpmath.atan(low) + mpmath.atan(high)) / 2), last) for low, high in edges]
        angles = [mpf(0), *map(mpmath.atan, middles), mp.pi / 2]
        sums = [parts(v, (precision, precision)) for v in (*angles, *(mp.pi - v for v in angles))]
        rows.append((f"ARCTAN2_B_{size}", (0.0, *middles, 1.0)))
        rows += [(f"ARCTAN2_{part}_{size}", tuple(s[i] for s in sums)) for i, part in enumerate(("HIGH", "LOW"))]
    return rows


def _inverse(low: mpf, high: mpf, last: int) -> mpf:
    """The c of least largest |m c - 1| between low and high, of numbers whose last bit is 2^-last, that is exact."""
    choices = [mpf(j) / 2**bits for bits in (5, 6) for j in range(2 ** (bits - 1), 2 ** (bits + 1))]
    if low < 1 < high:
        return mpf(1)
    worst = {c: max(abs(low * c - 1), abs(high * c - 1)) for c in choices}
    exact = [c for c in choices if worst[c] <= mpf(2) ** (53 - last - (5 if (c * 32) % 1 == 0 else 6))]
    return min(exact, key=lambda c: worst[c])


def table(name: str, values: tuple[float, ...] | list[float]) -> str:
    """One assignment, a value a line."""
    return f"{name} = (\n" + "".join(f"    {v!r},\n" for v in values) + ")\n"


def page() -> str:
    """The text of coefficients.py."""
    lines = ['"""Written by tools/minimax.py: coefficients of least largest error (Remez), constant term first."""\n']
    for name, values in [
        *constants(),
        *log_tables(),
        *binade_tables(),
        *arctan_tables(),
        *arctan2_tables(),
        *tanh_pieces(),
        *tangents(),
    ]:
        lines.append(table(name, values))
    words = "".join(f"    0x{w:016X},\n" for w in two_over_pi_words(20))
    lines.append(f"# 2/pi = sum of words[i] * 2^(-64 (i + 1))\nTWO_OVER_PI_WORDS = (\n{words})\n")
    for fit in FITS:
        for suffix, degree, bits in (
            ("64", fit.degree64, 53),
            ("32", fit.degree32, 24),
            ("MID", fit.from_f32, 53),
        ):
            if degree < 0:
                continue
            coefficients, error = remez(fit, degree)
            lines.append(f"# {fit.what} over [{fit.low:.6g}, {fit.high:.6g}], error 2^{float(mpmath.log(error, 2)):.1f}")
            lines.append(table(f"{fit.name}_{suffix}", [rounded(c, bits) for c in coefficients]))
    return "\n".join(lines)


def main() -> None:
    """Writes the page to the file named on the command line."""
    mp.prec = 220
    Path(sys.argv[1]).write_text(page(), encoding="ascii")


if __name__ == "__main__":
    main()
