"""Every ufunc on every dtype: type rule, result type, and the scalar lowering evaluated with NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tensorjit.ir.dtypes import BOOL, DTYPES, DType
from tensorjit.ir.kernel import Apply, Const, Expr, Ref
from tensorjit.ops import OPS, find
from tensorjit.ops.abstract import Static
from tensorjit.ops.opdef import Loop, OpDef
from tensorjit.ops.typed import lowers

UFUNCS = [row for row in OPS.values() if row.ufunc is not None]
BINARY = [row for row in UFUNCS if row.nin == 2]


def values(dtype: DType) -> np.ndarray[Any, Any]:
    """Special and ordinary values of a dtype."""
    numpy = dtype.numpy
    if dtype is BOOL:
        return np.array([True, False, True])
    if dtype.kind in "iu":
        info = np.iinfo(numpy)
        return np.array([0, 1, 2, 3, 7, 100, info.min, info.max, info.max - 1, info.min + 1], numpy)
    real = np.dtype(dtype.part.char)
    info_f = np.finfo(real)
    reals = np.array(
        [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, 1e-3, np.pi, np.inf, -np.inf, np.nan, info_f.max, info_f.tiny,
         info_f.smallest_subnormal, -info_f.max],
        real,
    )  # fmt: skip
    if dtype.kind == "f":
        return reals
    out = np.empty(reals.size * 3, numpy)
    out.real, out.imag = np.tile(reals, 3), np.concatenate([reals, np.roll(reals, 3), np.roll(reals, 7)])
    return out


# generated functions are within 1 ulp of the true value, NumPy's within 4
ULPS = dict.fromkeys(
    ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2",
     "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "hypot", "cbrt", "power", "float_power", "logaddexp",
     "logaddexp2"], 4,
)  # fmt: skip
ULPS |= dict.fromkeys(["maximum", "minimum", "fmax", "fmin"], 1)  # NumPy gives either of 0.0 and -0.0
COMPLEX = dict.fromkeys(["multiply", "divide", "absolute", "square", "reciprocal"], 4)


def grid(dtypes: tuple[DType, ...]) -> list[np.ndarray[Any, Any]]:
    if len(dtypes) == 1:
        return [values(dtypes[0])]
    x, y = np.meshgrid(values(dtypes[0]), values(dtypes[1]))
    return [x.ravel(), y.ravel()]


# -- type rules ----------------------------------------------------------------------------------------------------


def test_every_numeric_ufunc_has_a_row() -> None:
    missing = {"isnat", "matvec", "vecmat"}
    ufuncs = {v for v in vars(np).values() if isinstance(v, np.ufunc)}
    assert {u.__name__ for u in ufuncs if find(u) is None} <= missing


@pytest.mark.parametrize("row", UFUNCS, ids=lambda r: r.name)
def test_dtypes(row: OpDef, check: Any) -> None:
    """Each ufunc on arrays of each dtype."""
    rule = lambda b, *xs: b.elementwise(row.name, *xs)  # noqa: E731
    for dtype in DTYPES:
        with np.errstate(all="ignore"):
            for args in (grid((dtype,) * row.nin), [values(dtype)[2]] * row.nin, [np.asarray(values(dtype)[2])] * row.nin):
                check(rule, row.ufunc, *args, ulps=ULPS.get(row.name, COMPLEX.get(row.name, 0) * (dtype.kind == "c")))


@pytest.mark.parametrize("row", BINARY, ids=lambda r: r.name)
def test_promotion(row: OpDef, check: Any) -> None:
    """All pairs of dtypes, and each dtype with each Python scalar on either side."""
    rule = lambda b, *xs: b.elementwise(row.name, *xs)  # noqa: E731
    with np.errstate(all="ignore"):
        for x in DTYPES:
            a = values(x)[1:3]
            for y in [values(d)[2:4] for d in DTYPES] + [True, 2, 2.5, 1.5 + 2j]:
                mixed = np.result_type(a, y).kind == "c" if row.name in COMPLEX else False
                ulps = ULPS.get(row.name, 4 * mixed)
                check(rule, row.ufunc, a, y, ulps=ulps)
                if not isinstance(y, np.ndarray):
                    check(rule, row.ufunc, y, a, ulps=ulps)


@pytest.mark.parametrize("number", [-1, 300, 70000, 2**31, 2**40, 2**62])
def test_python_ints_out_of_range(number: int, check: Any) -> None:
    """uint8 + 300 raises; uint8 < 300 is compared by value. As an argument and as a constant."""
    for x in DTYPES:
        if x.kind not in "iu":
            continue
        a = values(x)
        for row in ("add", "maximum", "less", "greater_equal", "equal", "not_equal"):
            ufunc = OPS[row].ufunc
            with np.errstate(all="ignore"):
                check(lambda b, p, q, row=row: b.elementwise(row, p, q), ufunc, a, number)
                constant = lambda b, p, row=row: b.elementwise(row, p, Static(number))  # noqa: E731
                check(constant, lambda p, ufunc=ufunc: ufunc(p, number), a)


# -- lowerings -----------------------------------------------------------------------------------------------------

_FUNCTIONS: Mapping[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.absolute,
    "floordiv": np.floor_divide, "mod": np.remainder, "truncrem": np.fmod, "min": np.minimum, "max": np.maximum,
    "fmin": np.fmin, "fmax": np.fmax, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "not": np.invert, "shl": np.left_shift, "shr": np.right_shift, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil,
    "trunc": np.trunc, "rint": np.rint, "copysign": np.copysign, "pow": np.power, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "select": np.where, "real": np.real,
    "imag": np.imag, "ldexp": np.ldexp,
}  # fmt: skip


def evaluate(expr: Expr, env: Mapping[str, Any]) -> Any:
    """A kernel expression over arrays, each intrinsic by NumPy."""
    if isinstance(expr, Const):
        return expr.dtype.numpy.type(expr.value)
    if isinstance(expr, Ref):
        return env[expr.name]
    assert isinstance(expr, Apply)
    args = [evaluate(a, env) for a in expr.args]
    if expr.intrinsic == "cast":
        return args[0].astype(expr.dtype.numpy)
    if expr.intrinsic == "complex":
        out = np.empty(np.broadcast_shapes(*(np.shape(a) for a in args)), expr.dtype.numpy)
        out.real, out.imag = args
        return out
    if expr.intrinsic == "popcount":
        return np.bitwise_count(args[0].view(f"u{args[0].itemsize}")).astype(expr.dtype.numpy)
    function = _FUNCTIONS.get(expr.intrinsic) or getattr(np, expr.intrinsic)
    result = function(*args)
    assert result.dtype == expr.dtype.numpy, f"{expr.intrinsic}: {result.dtype}, not {expr.dtype}"
    return result


def exact(row: OpDef, loop: Loop) -> bool:
    """Whether the lowering must give NumPy's bits: all but complex products, and functions of several steps."""
    inexact = {"logaddexp", "logaddexp2", "hypot", "float_power"}
    return loop.inputs[0].kind != "c" and row.name not in inexact


@pytest.mark.parametrize("row", UFUNCS, ids=lambda r: r.name)
def test_lowering(row: OpDef) -> None:
    """The scalar lowering over special values is the ufunc."""
    assert row.ufunc is not None
    for dtype in DTYPES:
        try:
            found = row.ufunc.resolve_dtypes((dtype.numpy,) * row.nin + (None,))
        except TypeError:
            continue
        by_numpy = {d.numpy: d for d in DTYPES}
        loop = Loop(tuple(by_numpy[d] for d in found[: row.nin]), by_numpy[found[-1]])
        if not lowers(row, loop):
            continue
        args = grid(loop.inputs)
        expr = row.lower([Ref(f"x{k}", d) for k, d in enumerate(loop.inputs)], loop.output)
        assert expr is not None
        assert expr.dtype is loop.output
        with np.errstate(all="ignore"):
            got = np.broadcast_to(evaluate(expr, {f"x{k}": a for k, a in enumerate(args)}), args[0].shape)
            want = row.ufunc(*args)
        if exact(row, loop):
            ok = (got == want) | ((got != got) & (want != want))
            if want.dtype.kind == "f":
                zero = (want == 0) & (row.name not in ("maximum", "minimum", "fmax", "fmin"))
                ok &= ~zero | (np.signbit(got) == np.signbit(want)) | (want != want)
        else:
            ok = np.isclose(got, want, rtol=1e-3 if loop.output.size < 4 else 1e-5, atol=1e-44, equal_nan=True)
            ok |= ~np.isfinite(want)
        bad = np.flatnonzero(~ok)[:3]
        assert not bad.size, f"{row.name} {loop}: {[a[bad] for a in args]} -> {got[bad]}, not {want[bad]}"


@pytest.mark.parametrize("row", ["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"])
def test_comparison_of_mixed_integers(row: str) -> None:
    """i64 with u64, and what a Python int out of range needs, are compared exactly."""
    integers = [d for d in DTYPES if d.kind in "iu"]
    ufunc: Any = OPS[row].ufunc
    for x in integers:
        for y in integers:
            a, c = grid((x, y))
            expr = OPS[row].lower([Ref("x0", x), Ref("x1", y)], BOOL)
            assert expr is not None
            got = evaluate(expr, {"x0": a, "x1": c})
            assert (got == ufunc(a.astype(object), c.astype(object)).astype(bool)).all(), (row, x, y)


# -- layouts -------------------------------------------------------------------------------------------------------


def layouts() -> list[tuple[Any, ...]]:
    x = np.arange(12.0).reshape(3, 4)
    return [
        (x, x), (x, x[0]), (x, x[:, :1]), (x[:, ::2], x[:, :2]), (x[::-1], x), (x.T, x.T), (x.T, x.T[:, :1]),
        (np.asfortranarray(x), x), (x[:0], x[:1]), (np.zeros((0, 4)), x[:1]), (np.array(2.0), x), (x, np.array(2.0)),
        (x[:, None, :], x[None, :, :]), (x, x[:2]), (x, x[:, :3]), (np.zeros((2, 0)), np.zeros((3, 1))),
        (np.broadcast_to(x[0], (3, 4)), x), (x[1:2], x[:, :1]), (np.float32(2), x), (x, 3), (2.5, x),
    ]  # fmt: skip


def test_layouts(check: Any) -> None:
    for x, y in layouts():
        for row in ("add", "less", "gcd") if np.asarray(x).dtype.kind == "i" else ("add", "less", "arctan2"):
            check(lambda b, p, q, row=row: b.elementwise(row, p, q), OPS[row].ufunc, x, y, ulps=ULPS.get(row, 0))


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2"])
def test_power_with_one_exponent(check: Any, dtype: str) -> None:
    """NumPy's loop has short cuts, which differ from pow for -inf and -0.0; that of float16 has none."""
    x = np.array([-np.inf, -0.0, 0.0, 4.0, 2.5, np.nan], dtype)
    power = lambda b, p, q: b.elementwise("power", p, q)  # noqa: E731
    with np.errstate(all="ignore"):
        for exponent in (0.5, 2.0, -1.0, 0.0, 1.0, 3.0, 2, -1, np.float64(0.5)):
            check(power, np.power, x, exponent)
            check(lambda b, p, e=exponent: b.elementwise("power", p, Static(e)), lambda p, e=exponent: np.power(p, e), x)
        check(power, np.power, np.arange(5), 2)
        check(power, np.power, np.arange(5), -1)
        check(power, np.power, np.arange(5, dtype="i1"), np.arange(5, dtype="u1"))
