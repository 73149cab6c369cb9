"""Makes the table of polynomial coefficients of the vector math.

    python tools/minimax.py tensorjit/backends/llvm/vmath/coefficients.py

Each row of `FITS` names a smooth function g, an interval and a weight w; the polynomial P that is written minimises the
largest |w (P - g)| (Remez' exchange, J.-M. Muller, Elementary Functions, 3rd ed., section 3.5). The weights turn the
error of P into the relative error of the function made from it. Coefficients are rounded to the format at the end; the
terms that matter to the last bit are outside the fits (exp is 1 + r + r^2 P(r), and so on).
Needs mpmath. Takes some seconds.
"""

from __future__ import annotations

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
TAN_EIGHTH = 0.41422
ATANH = 0.17160  # s = f/(2 + f) for 1 + f between ROOT and 2 ROOT


def _root(f: Callable[[mpf], mpf]) -> Real:
    """f as a function of z = x^2."""
    return lambda z: f(mpmath.sqrt(z))


FITS = (
    Fit("EXP", "(e^r - 1 - r) / r^2", lambda r: (mpmath.expm1(r) - r) / r**2,
        -HALF_LN2, HALF_LN2, abs, 9, 4),
    Fit("EXPM1", "(e^r - 1 - r) / r^2", lambda r: (mpmath.expm1(r) - r) / r**2,
        -HALF_LN2, HALF_LN2, abs, 10, 5, 6),
    Fit("EXP2", "(2^r - 1 - r ln 2) / r^2", lambda r: (mpmath.expm1(r * mp.ln2) - r * mp.ln2) / r**2,
        -0.5002, 0.5002, abs, 10, 5, 6),
    Fit("LOG", "(2 atanh(s) - 2 s) / s^3 in s^2", _root(lambda s: (2 * mpmath.atanh(s) - 2 * s) / s**3),
        0, ATANH**2, lambda z: z, 6, 2, 3),
    Fit("LOG2_TAIL", "(log2((1+s)/(1-s)) - 2/ln2 (s + s^3/3)) / s^5 in s^2",
        _root(lambda s: (2 * mpmath.atanh(s) - 2 * s - 2 * s**3 / 3) / s**5 / mp.ln2), 0, ATANH**2, lambda z: z**2, 6),
    Fit("LOG2", "log2(1 + f) / f", lambda f: mpmath.log1p(f) / f / mp.ln2,
        ROOT - 1, 2 * ROOT - 1, lambda f: mpf(1), -1, -1, 14),
    Fit("SIN", "(sin r - r) / r^3 in r^2", _root(lambda r: (mpmath.sin(r) - r) / r**3),
        0, QUARTER**2, lambda z: z, 5, 2),
    Fit("COS", "(cos r - 1 + r^2/2) / r^4 in r^2", _root(lambda r: (mpmath.cos(r) - 1 + r**2 / 2) / r**4),
        0, QUARTER**2, lambda z: z**2, 5, 2),
    Fit("ATAN", "(atan r - r) / r^3 in r^2", _root(lambda r: (mpmath.atan(r) - r) / r**3),
        0, TAN_EIGHTH**2, lambda z: z, 11, 4),
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
        ("HALF_PI_64", parts(half_pi, (53, 53, 53))),
        ("HALF_PI_32", parts(half_pi, (24, 24, 24))),
        ("LOG2_E_64", parts(1 / ln2, (53, 53))),
        ("LOG10_E_64", parts(1 / mp.ln(10), (53, 53))),
        ("LOG10_2_64", parts(mp.log10(2), (41, 53))),
        ("LOG2_E_32", parts(1 / ln2, (24, 24))),
        ("LOG10_E_32", parts(1 / mp.ln(10), (24, 24))),
        ("LOG10_2_32", parts(mp.log10(2), (15, 24))),
        ("PI_64", parts(mp.pi, (53, 53))),
        ("PI_32", parts(mp.pi, (24, 24))),
        ("PI_3_4_64", parts(mp.pi * 3 / 4, (53, 53))),
        ("PI_3_4_32", parts(mp.pi * 3 / 4, (24, 24))),
        ("CBRT_2_64", tuple(rounded(mpmath.root(2, 3) ** k, 53) for k in (1, -1))),
        ("CBRT_2_32", tuple(rounded(mpmath.root(2, 3) ** k, 24) for k in (1, -1))),
        ("LOG2_S_64", parts(2 / ln2, (53, 53))),
        ("LOG2_S3_64", parts(2 / ln2 / 3, (53, 53))),
        ("TWO_OVER_PI", parts(1 / half_pi, (53, 53))),
    ]


def table(name: str, values: tuple[float, ...] | list[float]) -> str:
    """One assignment, a value a line."""
    return f"{name} = (\n" + "".join(f"    {v!r},\n" for v in values) + ")\n"


def page() -> str:
    """The text of coefficients.py."""
    lines = ['"""Written by tools/minimax.py: coefficients of least largest error (Remez), constant term first."""\n']
    for name, values in constants():
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
