"""Floating-point warnings come as NumPy issues them, whatever was fused; no other ones do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import difference

KINDS = {"divide": "divide by zero", "invalid": "invalid value", "over": "overflow", "under": "underflow"}


def kinds(function: Callable[..., Any], *args: Any, **modes: Any) -> set[str]:
    """The kinds of warnings that a call issues."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(**(modes or {"all": "warn"})):
        warnings.simplefilter("always")
        function(*args)
    texts = [str(w.message) for w in caught]
    assert all(w.category is RuntimeWarning for w in caught), texts
    return {kind for kind, words in KINDS.items() if any(words in t for t in texts)}


BIG = np.array([1.0, 1e300, 2.0])
ZERO = np.array([0.0, 1.0, -0.0])
NAN = np.array([np.nan, 1.0, np.inf])
TINY = np.array([1e-300, 1.0, 2.0])
LONG = np.linspace(0.5, 3, 1003)
HALF = np.array([60000, 1], np.float16)


def stored(x: Any) -> Any:
    small = np.zeros(2, "f4")
    small[0] = x[1]
    return small


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "divide": (lambda x: 1 / x, (ZERO,)),
    "zero by zero": (lambda x: x / x, (ZERO,)),
    "overflow": (lambda x: x * x + 1, (BIG,)),
    "underflow": (lambda x: x * x + 1, (TINY,)),
    "quiet nan": (lambda x: x * 2 + 1 - x, (np.array([np.nan, 1.0]),)),
    "inf less inf": (lambda x: x - x, (NAN,)),
    "sqrt": (lambda x: np.sqrt(x - 1) * 2, (ZERO,)),
    "log of zero": (lambda x: np.log(x * 2) + 1, (np.abs(ZERO),)),
    "log of negative": (lambda x: np.log(x - 5), (ZERO,)),
    "exp over": (lambda x: np.exp(x * 10), (np.array([1.0, 100.0]),)),
    "exp under": (lambda x: np.exp(x), (np.array([1.0, -1000.0]),)),
    "sin of inf": (lambda x: np.sin(x), (NAN,)),
    "compare nan": (lambda x: (x < 1) | (x == x), (NAN,)),
    "maximum nan": (lambda x: np.maximum(x, 1) + np.fmin(x, 2), (NAN,)),
    "where saves nothing": (lambda x: np.where(x != 0, 1 / x, 0), (ZERO,)),
    "int division": (lambda x: x // 0, (np.arange(3),)),
    "int remainder": (lambda x: x % 0, (np.arange(3),)),
    "int min": (lambda x: x // -1, (np.array([np.iinfo(np.int64).min]),)),
    "cast nan": (lambda x: x.astype(np.int64), (NAN,)),
    "cast big": (lambda x: x.astype(np.float32), (BIG,)),
    "cast fine": (lambda x: (x * 2).astype(np.int32), (LONG,)),
    "half over": (lambda x: x + x, (HALF,)),
    "power over": (lambda x: x**3.5, (BIG,)),
    "power of negative": (lambda x: (x - 1) ** 0.5, (ZERO,)),
    "power fraction of negative": (lambda x: (x - 2) ** 1.5, (ZERO,)),
    "zero to negative": (lambda x: x**-1.5, (ZERO,)),
    "floor divide": (lambda x: x // 0.0, (ZERO,)),
    "remainder": (lambda x: x % 0.0, (ZERO,)),
    "arcsin": (lambda x: np.arcsin(x), (BIG[:1] + 1,)),
    "sum over": (lambda x: (x * 1e8).sum(), (np.array([1.5e300, 1.5e300]),)),
    "mean of none": (lambda x: x[:0].sum(), (ZERO,)),
    "min of nan": (lambda x: x.min() + x.max(), (NAN,)),
    "long and fine": (lambda x: np.exp(-x) / x + np.log(x) * np.sqrt(x) - np.tanh(x), (LONG,)),
    "long and fine f4": (lambda x: np.exp(-x) / x + np.log(x) * np.sqrt(x), (LONG.astype("f4"),)),
    "odd length": (lambda x: 1 / x + np.log(x) + np.sqrt(x), (LONG[:5],)),
    "one of many": (lambda x: 1 / (x - x[500]), (LONG,)),
    "scalars": (lambda x: np.float64(1) / x[0], (ZERO,)),
    "scalar overflow": (lambda x: x[1] * x[1], (BIG,)),
    "complex": (lambda x: x / (x - x), (np.array([1 + 1j]),)),
    "hypot": (lambda x: np.hypot(x, x) * 0, (BIG,)),
    "stored in an element": (lambda x: stored(x), (BIG,)),
    "softmax": (lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(), (np.array([1.0, 2.0, -5.0]),)),
    "variance of one": (lambda x: x[:1].var(), (LONG,)),
    "subnormals": (lambda x: x * 0.5, (np.array([5e-324, 1.0]),)),
    "floor of nan": (lambda x: np.floor(x) + np.rint(x), (NAN,)),
    "sign": (lambda x: np.sign(x) + np.abs(x), (NAN[:2],)),
    "isnan": (lambda x: np.isnan(x) | np.isfinite(x), (NAN,)),
}


@pytest.mark.parametrize("name", CASES)
def test_kinds(name: str) -> None:
    function, args = CASES[name]
    f = tj.script(function, cache_size=64)
    wanted = kinds(function, *args)
    assert kinds(f, *args) == wanted
    assert kinds(f, *args) == wanted


ONES = np.ones(9)
NONES = np.zeros(9)
LARGE = np.full(9, 1e300)
INFINITIES = np.full(9, np.inf)

# what a select makes safe stays safe: LLVM makes `select(c, x, x / s)` of `x / select(c, 1, s)`
GUARDED: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "divide": (lambda x, s: x / np.where(s == 0, 1, s), (ONES, NONES)),
    "divide the other way": (lambda x, s: x / np.where(s != 0, s, 1.0), (ONES, NONES)),
    "divide of one element": (lambda x, s: x / np.where(s == 0, 1, s), (ONES[:1], NONES[:1])),
    "divide and sum": (lambda x, s: (x / np.where(s == 0, 1, s)).sum(), (ONES, NONES)),
    "maximum": (lambda x, s: x / np.maximum(s, 1), (ONES, NONES)),
    "fmax": (lambda x, s: x / np.fmax(s, 1), (ONES, NONES)),
    "clip": (lambda x, s: x / np.clip(s, 1, None), (ONES, NONES)),
    "multiply": (lambda x, s: x * np.where(s > 1, 1, s), (LARGE, LARGE)),
    "subtract": (lambda x, s: x - np.where(s > 1, 0, s), (INFINITIES, INFINITIES)),
    "add": (lambda x, s: x + np.where(s < 1, -0.0, s), (INFINITIES, -INFINITIES)),
    "square root": (lambda x, s: x + np.sqrt(np.where(s < 0, 0, s)), (ONES, -ONES)),
    "product": (lambda x, s: np.prod(np.where(s > 2, 1, s)) * x, (ONES, LARGE)),
    "complex": (lambda x, s: x * 1j / np.where(s == 0, 1, s), (ONES, NONES)),
    "narrowed": (lambda x, s: x * np.where(s > 1, 1, s).astype("f4"), (ONES, LARGE)),
    "scalars": (lambda x, s: 1.0 / np.where(s[0] == 0, 1.0, s[0]), (ONES, NONES)),
    "scalars by an if": (lambda x, s: x[0] / (s[0] if s[0] != 0 else x[1]), (ONES, NONES)),
    "scalars not chosen": (lambda x, s: np.where(x[0] == x[1], x[0], x[0] / s[0]), (ONES, NONES)),
    "one element not chosen": (lambda x, s: np.where(x > -1, x, x / s) <= 2.0, (ONES[:1], NONES[:1])),
    "compared with infinity": (lambda x, s: np.where(x[0] != np.inf, x[0], 1.0) + s[0], (INFINITIES * np.nan, ONES)),
    "made unsafe": (lambda x, s: np.where(s == 0, 1, s) / np.where(s == 0, s, 1), (ONES, NONES)),
}


@pytest.mark.parametrize("how", ["script", "trace"])
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2"])
@pytest.mark.parametrize("name", GUARDED)
def test_what_a_select_makes_safe_does_not_warn(name: str, dtype: str, how: str) -> None:
    function, args = GUARDED[name]
    largest = 0.9 * np.finfo(dtype).max
    x, s = (np.clip(a, -largest, largest).astype(dtype) if np.isfinite(a).all() else a.astype(dtype) for a in args)
    f = tj.script(function, cache_size=64) if how == "script" else _traced(function, (x, s))
    wanted = kinds(function, x, s)
    assert kinds(f, x, s) == wanted
    assert kinds(f, x, s) == wanted


def _traced(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[..., Any]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", tj.TracerWarning)
        return tj.trace(function, args)


# of masked-out elements nothing is computed
MASKED: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "divide": (lambda x, s: np.divide(x, s, out=np.zeros_like(x), where=s != 0), (ONES, NONES)),
    "divide by a number": (lambda x, s: np.divide(x, 0.0, out=np.zeros_like(x), where=s != 0), (ONES, NONES)),
    "log": (lambda x, s: np.log(s, out=np.zeros_like(x), where=s > 0), (ONES, -ONES)),
    "some of log": (lambda x, s: np.log(x, out=np.zeros_like(x), where=x >= s), (np.arange(-3.0, 6.0), NONES)),
    "sqrt": (lambda x, s: np.sqrt(s, out=np.zeros_like(x), where=s > 0), (ONES, -ONES)),
    "arctanh": (lambda x, s: np.arctanh(x, out=np.zeros_like(x), where=x < s), (ONES, NONES)),
    "multiply": (lambda x, s: np.multiply(x, s, out=x, where=s < 1), (LARGE, LARGE)),
    "subtract": (lambda x, s: np.subtract(x, s, out=x, where=np.isfinite(s)), (INFINITIES, INFINITIES)),
    "power": (lambda x, s: np.power(x, 0.5, out=np.zeros_like(x), where=s > 0), (-ONES, NONES)),
    "floor divide": (lambda x, s: np.floor_divide(x, s, out=np.zeros_like(x), where=s != 0), (ONES, NONES)),
    "rows": (lambda x, s: np.divide(x, s[:, None], out=np.zeros((9, 9), x.dtype), where=s[:, None] != 0), (ONES, NONES)),
    "all": (lambda x, s: np.divide(x, s, out=np.zeros_like(x), where=True), (ONES, NONES)),
    "a flag": (lambda x, s: np.divide(x, s, out=np.zeros_like(x), where=s[0] != 0), (ONES, NONES)),
    "cast": (lambda x, s: np.add(x, s, out=np.zeros(9, "f4"), where=s < 1, casting="same_kind"), (LARGE, LARGE)),
}


@pytest.mark.parametrize("how", ["script", "trace"])
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "c16", "i8", "u1"])
@pytest.mark.parametrize("name", MASKED)
def test_what_where_leaves_out_does_not_warn(name: str, dtype: str, how: str) -> None:
    function, args = MASKED[name]
    with np.errstate(all="ignore"):
        x, s = (
            np.where(np.abs(a) > 10, np.iinfo(dtype).max, a).astype(dtype) if dtype in ("i8", "u1") else a.astype(dtype) for a in args
        )
        try:
            wanted = function(x.copy(), s)
        except TypeError:
            pytest.skip("not of these dtypes")
    f = tj.script(function, cache_size=64) if how == "script" else _traced(function, (x.copy(), s))
    assert kinds(f, x.copy(), s) == kinds(function, x.copy(), s)
    with np.errstate(all="ignore"):
        assert not difference(f(x.copy(), s), wanted)


def divided_where_possible(x: Any, s: Any) -> Any:
    out = np.zeros_like(x)
    for i in range(len(x)):
        if s[i] != 0:
            out[i] = x[i] / s[i]
    return out


def divisors_made_safe(x: Any, s: Any) -> Any:
    out = np.zeros_like(x)
    for i in range(len(x)):
        d = s[i]
        if d == 0:
            d = x[i]
        out[i] = x[i] / d
    return out


def never_the_same_quotient(x: Any, s: Any) -> Any:
    total, top, bottom = x[0], x[1], s[0]
    for i in range(len(x)):
        if i > 100:  # what does not change in the loop is not computed before it
            total += top / bottom
        else:
            total += top * 0
    return total


def clipped_and_squared(x: Any, s: Any) -> Any:
    out = np.zeros_like(x)
    for i in range(len(x)):
        v = x[i]
        if v > 1:
            v = 1.0
        out[i] = v * v
    return out


def differences_of_the_others(x: Any, s: Any) -> Any:
    out = np.zeros_like(x)
    for i in range(len(x)):
        out[i] = x[i] * x[i] if s[i] <= 1 else x[i] - s[0]
    return out


def points_in_polygon(x: Any, y: Any) -> Any:
    out = np.zeros(len(x), np.bool_)
    for k in range(len(x)):
        inside, j = False, len(x) - 1
        for i in range(len(x)):
            if (y[i] > y[k]) != (y[j] > y[k]) and x[k] < (x[j] - x[i]) * (y[k] - y[i]) / (y[j] - y[i]) + x[i]:
                inside = not inside
            j = i
        out[k] = inside
    return out


def cholesky(x: Any, s: Any) -> Any:
    n = 4
    a, lower = np.eye(n, dtype=x.dtype) + x[0] * x[0], np.zeros((n, n), x.dtype)
    for i in range(n):
        for j in range(i + 1):
            rest = a[i, j]
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(rest) if i == j else rest / lower[j, j]
    return lower


def overlapping_boxes(x: Any, s: Any) -> Any:
    keep = np.ones(len(x), np.bool_)
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            inter = min(x[i], x[j]) - max(s[i], s[j])
            union = max(x[i], x[j]) - min(s[i], s[j])
            if union > 0 and inter / union > s[0]:
                keep[j] = False
    return keep


def of_python_floats(x: Any, s: Any) -> Any:
    a, total = float(x[0]), 0.0
    for _ in range(5):
        total = total + a * a
    return total, s[0] * s[1]


LOOPS = [
    divided_where_possible, divisors_made_safe, never_the_same_quotient, clipped_and_squared, differences_of_the_others,
    points_in_polygon, cholesky, overlapping_boxes, of_python_floats,
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2"])
@pytest.mark.parametrize("function", LOOPS, ids=lambda f: f.__name__)
def test_loops_over_elements_warn_as_python_runs_them(function: Callable[..., Any], dtype: str) -> None:
    f = tj.script(function, cache_size=64)
    large = np.full(9, np.finfo(dtype).max * 0.9, dtype)
    values = [large, *(a.astype(dtype) for a in (ONES, NONES, INFINITIES, ONES * np.nan, np.arange(9.0)))]
    for x in values:
        for s in values:
            assert kinds(f, x, s) == kinds(function, x, s), (x[0], s[0])


def add(x: Any, y: Any) -> Any:
    return x + y


def subtract(x: Any, y: Any) -> Any:
    return x - y


def multiply(x: Any, y: Any) -> Any:
    return x * y


def negative(x: Any, y: Any) -> Any:
    return -x


def absolute(x: Any, y: Any) -> Any:
    return abs(x)


def power(x: Any, y: Any) -> Any:
    return x**2


def in_place(x: Any, y: Any) -> Any:
    x += y
    x *= 3
    return x


def by_ufuncs(x: Any, y: Any) -> Any:
    return np.add(x, y), np.multiply(x, y), np.negative(x), np.absolute(x), np.square(x)


INTEGERS = [np.dtype(c) for c in "bhilBHIL"]
OPERATORS = [add, subtract, multiply, negative, absolute, power, in_place, by_ufuncs]


def extremes(dtype: np.dtype[Any]) -> list[int]:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    root = int(high**0.5)
    return sorted({low, low // 2, max(low, -1), 0, 1, 2, 3, root, root + 1, high // 2, high // 2 + 1, high - 1, high})


@pytest.mark.parametrize("backend", ["llvm", "reference"])
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("function", OPERATORS)
def test_integer_scalars_that_wrap(function: Callable[..., Any], dtype: np.dtype[Any], backend: Any) -> None:
    """Operators on NumPy's integer scalars warn of overflow; ufuncs do not."""
    f = tj.script(function, cache_size=64, backend=backend)
    values = [dtype.type(v) for v in extremes(dtype)]
    for x in values:
        for y in values:
            with np.errstate(all="ignore"):
                assert not difference(f(x, y), function(x, y)), (x, y)
            assert kinds(f, x, y) == kinds(function, x, y), (x, y)


INTEGER_CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elements": (lambda x: x[0] * x[0], (np.array([2**40]),)),
    "python int": (lambda x: x[0] + 2**62 + 2**62, (np.array([2**40]),)),
    "python int first": (lambda x: 2**62 - x[0], (np.array([-(2**62)]),)),
    "ranks of zero are arrays": (lambda x: x * x, (np.array(2**40),)),
    "rank zero and scalar": (lambda x: x * x[()], (np.array(2**40),)),
    "arrays": (lambda x: x * x[0], (np.array([2**40]),)),
    "reductions": (lambda x: x.sum() * x.max(), (np.array([2**40, 1]),)),
    "then an array": (lambda x: x * 0 + x.sum() * x.max(), (np.array([2**40, 1]),)),
    "store": (lambda x: store_sum(x), (np.array([2**62, 2**62]),)),
    "bools": (lambda x: x[0] + x[0], (np.array([True]),)),
    "promoted": (lambda x: x[0] + np.int16(100), (np.array([100], "i1"),)),
    "to float": (lambda x: x[0] * 2.0, (np.array([2**62]),)),
    "loop": (lambda x: running(x), (np.array([2**62, 2**62, -(2**62)]),)),
    "branch not taken": (lambda x: x[0] * x[0] if x[0] < 5 else x[0], (np.array([2**40]),)),
    "division": (lambda x: x[0] // -1, (np.array([-(2**63)]),)),
    "remainder": (lambda x: x[0] % x[1], (np.array([5, 0]),)),
}


def store_sum(x: Any) -> Any:
    x[0] += x[1]
    return x


def running(x: Any) -> Any:
    total = np.int64(0)
    for i in range(len(x)):
        total += x[i]
    return total


@pytest.mark.parametrize("backend", ["llvm", "reference"])
@pytest.mark.parametrize("name", INTEGER_CASES)
def test_integer_overflow(name: str, backend: Any) -> None:
    function, args = INTEGER_CASES[name]
    f = tj.script(function, cache_size=64, backend=backend)
    wanted = kinds(function, *map(np.copy, args))
    assert kinds(f, *map(np.copy, args)) == wanted
    assert kinds(f, *map(np.copy, args)) == wanted


def test_integer_overflow_raises_where_asked() -> None:
    f = tj.script(multiply, cache_size=64)
    big = np.int64(2**40)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow encountered in scalar multiply"):
        f(big, big)
    assert kinds(f, big, big, over="ignore") == set()


@pytest.mark.parametrize("name", ["divide", "zero by zero", "overflow", "log of zero", "scalars"])
def test_modes(name: str) -> None:
    function, args = CASES[name]
    f = tj.script(function, cache_size=64)
    assert kinds(f, *args, all="ignore") == set()
    kind = sorted(kinds(function, *args))[0]
    modes: dict[str, Any] = {kind: "raise"}
    with np.errstate(all="ignore", **modes):
        with pytest.raises(FloatingPointError, match=KINDS[kind]):
            function(*args)
        with pytest.raises(FloatingPointError, match=KINDS[kind]):
            f(*args)
    calls: list[tuple[str, int]] = []
    with np.errstate(all="call", call=lambda text, flag: calls.append((text, flag))):
        f(*args)
    assert any(KINDS[kind] in text for text, _ in calls)
    assert not np.geterr()["divide"] == "raise"


def test_warned_once_per_call() -> None:
    f = tj.script(lambda x: 1 / x + 2 / x + 3 / x, cache_size=64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f(np.zeros(100))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_flags_do_not_stay() -> None:
    """What an ignored warning left behind is not the next call's."""
    f = tj.script(lambda x: 1 / x, cache_size=64)
    with np.errstate(all="ignore"):
        f(np.zeros(3))
    assert kinds(f, np.ones(3)) == set()
    assert kinds(lambda: np.ones(3) / 2) == set()


def test_raising_leaves_it_healthy() -> None:
    f = tj.script(lambda x: (1 / x).sum() + np.log(x), cache_size=64)
    with np.errstate(all="raise"):
        for _ in range(100):
            with pytest.raises(FloatingPointError):
                f(np.zeros(1000))
            f(np.ones(10))


DROPPED = [
    lambda z: np.array(z, dtype=float), lambda z: np.array(z[0], dtype=float), lambda z: np.mean(z, dtype=np.float32),
    lambda z: np.full(3, 1j, dtype=float), lambda z: np.full(3, z[0], dtype=float), lambda z: np.full_like(z.real, z[0]),
    lambda z: z.astype("f4"), lambda z: z.sum(dtype=float), lambda z: np.float64(z[0]),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(DROPPED)))
def test_what_drops_imaginary_parts_is_refused(number: int) -> None:
    """NumPy issues a ComplexWarning."""
    with pytest.raises(tj.UnsupportedError, match="imaginary part"):
        tj.script(DROPPED[number], cache_size=64)(np.ones(4) * (1 + 2j))


def test_what_nothing_uses_does_not_warn() -> None:
    """As docs/semantics.md says: it is not computed."""

    def unused(x: Any) -> Any:
        _ = np.sqrt(x)
        return x + 1

    f = tj.script(unused, cache_size=64)
    assert kinds(unused, -ONES) == {"invalid"}
    assert kinds(f, -ONES) == set()
