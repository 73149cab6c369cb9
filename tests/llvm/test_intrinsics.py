"""Every intrinsic of every dtype has NumPy's results and flags, at any width, on any target."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from tensorjit.backends.llvm.engine import default_engine
from tensorjit.backends.llvm.scalars import eval_expr
from tensorjit.ir.dtypes import BOOL, C64, C128, DTYPES, F16, F32, F64, I8, I32, I64, U8, U64, DType
from tensorjit.ir.kernel import COMPARISONS, MATH, TESTS, Apply, Const, Expr, Kernel, LoopKind, Ref
from tests.llvm.kernel_runs import ENGINES, Runs, apply, elementwise

Array = np.ndarray[Any, Any]

NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.absolute,
    "div": np.true_divide, "floordiv": np.floor_divide, "mod": np.remainder, "truncrem": np.fmod,
    "min": np.minimum, "max": np.maximum, "fmin": np.fmin, "fmax": np.fmax,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "shl": np.left_shift, "shr": np.right_shift,
    "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint,
    "copysign": np.copysign, "nextafter": np.nextafter, "spacing": np.spacing, "gcd": np.gcd, "lcm": np.lcm,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal,
    "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "signbit": np.signbit,
    "popcount": np.bitwise_count, "real": np.real, "imag": np.imag,
}  # fmt: skip

_UNARY = {"neg", "abs", "not", "sqrt", "floor", "ceil", "trunc", "rint", *TESTS, "popcount", "real", "imag", "spacing"}

_BITS = ["and", "or", "xor", "not"]
_ORDER = ["min", "max", "fmin", "fmax", "eq", "ne", "lt", "le", "gt", "ge"]
_INT = ["add", "sub", "mul", "neg", "abs", "floordiv", "mod", "truncrem", "shl", "shr", "popcount", "gcd", "lcm"]
_FLOAT = [
    "add", "sub", "mul", "neg", "abs", "div", "floordiv", "mod", "truncrem", "sqrt", "floor", "ceil", "trunc",
    "rint", "copysign", *TESTS, "nextafter", "spacing",
]  # fmt: skip
BY_KIND = {
    "b": ["add", "mul", "abs", *_BITS, *_ORDER],
    "i": [*_INT, *_BITS, *_ORDER],
    "u": [*_INT, *_BITS, *_ORDER],
    "f": [*_FLOAT, *_ORDER],
    "c": ["add", "sub", "neg", "abs", "real", "imag", "isnan", "isinf", "isfinite", *_ORDER],
}


def names_of(dtype: DType) -> list[str]:
    """The intrinsics of a dtype; neighbours of f16 are left to NumPy."""
    return [n for n in BY_KIND[dtype.kind] if dtype != F16 or n not in ("nextafter", "spacing")]


def result_dtype(name: str, dtype: DType) -> DType:
    if name in COMPARISONS or name in TESTS:
        return BOOL
    if name == "popcount":
        return U8
    return dtype.part if name in ("abs", "real", "imag") else dtype


def specials(dtype: DType) -> Array:
    """The values at the edges of a dtype, and some random ones."""
    rng = np.random.default_rng(7)
    kind = dtype.numpy
    if dtype.kind == "b":
        return np.array([False, True, True, False])
    if dtype.kind in "iu":
        info: Any = np.iinfo(kind)
        edges: list[Any] = [
            info.min,
            info.max,
            info.min + 1,
            info.max - 1,
            info.max // 2,
            0,
            1,
            2,
            3,
            7,
            8,
            31,
            32,
            63,
            64,
            65,
            100,
        ]
        values = np.array([e for e in edges if info.min <= e <= info.max], kind)
        signed = (-np.arange(1, 9)).astype(kind) if dtype.kind == "i" else values[:0]
        return np.concatenate([values, signed, rng.integers(info.min, info.max, 12, kind)])
    if dtype.kind == "f":
        info = np.finfo(kind)
        tiny, top = info.tiny, info.max
        sub = info.smallest_subnormal
        edges = [0.0, np.inf, np.nan, tiny, top, sub, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 1e-3, 123.75, 4096.5]
        with np.errstate(all="ignore"):
            values = np.array([*edges, tiny * kind.type(0.75), top / kind.type(2)], kind)
        return np.concatenate([values, -values, rng.normal(0, 50, 8).astype(kind)])
    part = specials(dtype.part)[[0, 1, 2, 4, 7, 9, 14, 18, 19, 20, 25, 36, 37]]
    re, im = np.meshgrid(part, part)
    out = np.empty(re.size, kind)
    out.real, out.imag = re.ravel(), im.ravel()
    return out


def pairs(dtype: DType) -> tuple[Array, Array]:
    values = specials(dtype)
    if dtype.kind == "c":
        values = values[::3]
    x, y = np.meshgrid(values, values)
    return np.ascontiguousarray(x.ravel()), np.ascontiguousarray(y.ravel())


def with_flags(function: Callable[..., Any], *args: Any) -> tuple[Array, int]:
    """NumPy's result and the flags that it reports."""
    seen = [0]

    def on_error(kind: str, flags: int) -> None:
        seen[0] |= flags

    old = np.seterrcall(on_error)
    try:
        with np.errstate(all="call"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args), seen[0]
    finally:
        np.seterrcall(old)


def different(got: Array, expected: Array) -> Array:
    """Where the bits differ, but for which NaN it is."""
    differs = np.zeros(got.shape, bool)
    for mine, numpys in zip(parts(got), parts(expected), strict=True):
        same = mine.view(f"u{mine.itemsize}") == numpys.view(f"u{mine.itemsize}")
        if mine.dtype.kind == "f":
            same |= np.isnan(mine) & np.isnan(numpys)
        differs |= ~same
    return np.flatnonzero(differs)


def summary(problems: list[Any]) -> str:
    """One line for each kind of problem, with the first examples."""
    groups: dict[Any, list[Any]] = {}
    for *key, example in problems:
        groups.setdefault(tuple(map(str, key)), []).append(example)
    return "\n".join(f"{key} {len(found)} times: {found[:6]}" for key, found in groups.items())


def parts(array: Array) -> list[Array]:
    array = np.ascontiguousarray(array)
    return [array.real.copy(), array.imag.copy()] if array.dtype.kind == "c" else [array]


@cache
def compiled(dtype: DType, target: str) -> Runs:
    kernels = []
    for name in names_of(dtype):
        args = [dtype] * (1 if name in _UNARY else 2)
        result = result_dtype(name, dtype)
        formula = apply(name, result)
        kernels.append(elementwise(f"vector_{name}", formula, args, result, unit=0))
        kernels.append(elementwise(f"serial_{name}", formula, args, result, kind="serial"))
    return Runs(kernels, target)


def operands(name: str, dtype: DType) -> tuple[Array, ...]:
    if name in _UNARY:
        return (specials(dtype),)
    return pairs(dtype)


def run(runs: Runs, name: str, args: tuple[Array, ...], result: DType) -> Array:
    out = np.zeros(len(args[0]) + 1, result.numpy)
    assert runs(name, [*args, out[:-1]], len(args[0])) == 0
    assert not out[-1:].view("u1").any()
    return out[:-1]


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_intrinsic(dtype: DType, target: str) -> None:
    runs = compiled(dtype, target)
    problems = []
    for name in names_of(dtype):
        args, result = operands(name, dtype), result_dtype(name, dtype)
        expected, _ = with_flags(NUMPY[name], *args)
        for kind in ("vector", "serial"):
            got = run(runs, f"{kind}_{name}", args, result)
            if dtype.kind == "c" and name == "abs":
                # NumPy's own results differ by processor and between arrays and scalars
                np.testing.assert_allclose(got, expected, rtol=2 * np.finfo(got.dtype).eps)
                continue
            for k in different(got, expected):
                problems.append((kind, name, "value", [a[k] for a in args] + [got[k], expected[k]]))
    assert not problems, summary(problems)


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_flags(dtype: DType, target: str) -> None:
    runs = compiled(dtype, target)
    problems = []
    for name in names_of(dtype):
        args, result = operands(name, dtype), result_dtype(name, dtype)
        for k in range(0, len(args[0]), 1 if len(args[0]) < 400 else 7):
            one = tuple(a[k : k + 1].repeat(19) for a in args)
            _, flags = with_flags(NUMPY[name], *one)
            if dtype.kind == "c" and name == "abs":
                continue
            for kind in ("vector", "serial"):
                run(runs, f"{kind}_{name}", one, result)
                if runs.flags != flags:
                    problems.append((kind, name, "flags", runs.flags, flags, [a[0] for a in one]))
    assert not problems, summary(problems)


@cache
def compiled_casts(source: DType, target: str) -> Runs:
    kernels = []
    for to in DTYPES:
        if to != source:
            kernels.append(elementwise(f"vector_{to}", apply("cast", to), [source], to, unit=0))
            kernels.append(elementwise(f"serial_{to}", apply("cast", to), [source], to, kind="serial"))
    return Runs(kernels, target)


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_cast(source: DType, target: str) -> None:
    runs = compiled_casts(source, target)
    problems: list[Any] = []
    values = specials(source)
    for to in DTYPES:
        if to == source:
            continue
        for k in range(len(values)):
            one = values[k : k + 1].repeat(19)
            expected, flags = with_flags(lambda x, to=to: x.astype(to.numpy), one)
            for kind in ("vector", "serial"):
                got = run(runs, f"{kind}_{to}", (one,), to)
                if to.name == "u32" and flags:
                    # NumPy's vectors and scalars differ
                    expected = np.where(got == 0, got, expected)
                if different(got, expected).size:
                    problems.append((kind, to, "value", 0, 0, (one[0], got[[0, 8, 18]], expected[[0, 8, 18]])))
                if runs.flags != flags:
                    problems.append((kind, to, "flags", runs.flags, flags, one[0]))
    assert not problems, summary(problems)


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_ldexp(dtype: DType, target: str) -> None:
    """Rounded once, whatever the exponents, with the flags of that rounding."""
    runs = Runs([elementwise(k, apply("ldexp", dtype), [dtype, I32], dtype, kind=k, unit=0) for k in ("vector", "serial")], target)
    edges = [0, 1, -1, 3, 22, 23, 52, 53, 101, 102, 126, 127, 128, 148, 149, 150, 253, 276, 277, 280, 300, 968, 969, 970, 1022, 1023]
    edges += [1024, 1073, 1074, 1075, 1076, 2045, 2097, 2098, 2100, 3000, 2**31 - 1]
    counts = np.array([*edges, *(-n for n in edges), -(2**31)], np.int32)
    x, n = (np.ascontiguousarray(v.ravel()) for v in np.meshgrid(specials(dtype), counts))
    expected, _ = with_flags(np.ldexp, x, n)
    for kind in ("vector", "serial"):
        assert not different(run(runs, kind, (x, n), dtype), expected).size
        for k in range(0, len(x), 5):
            one = (x[k : k + 1].repeat(19), n[k : k + 1].repeat(19))
            _, flags = with_flags(np.ldexp, *one)
            run(runs, kind, one, dtype)
            assert runs.flags == flags, (kind, x[k], n[k])


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.kind in "iu"], ids=str)
def test_divisors_of_random_numbers(dtype: DType, target: str) -> None:
    """Of numbers that have much in common, and of the whole range."""
    runs = Runs([elementwise(n, apply(n, dtype), [dtype, dtype], dtype) for n in ("gcd", "lcm")], target)
    rng, info = np.random.default_rng(8), np.iinfo(dtype.numpy)
    wide = rng.integers(info.min, info.max, (2, 500), dtype.numpy, endpoint=True)
    smooth = np.prod(rng.choice(np.array([1, 2, 3, 4, 5, 7, 30], dtype.numpy), (2, 500, 6)), axis=-1, dtype=dtype.numpy)
    for x, y in (wide, smooth):
        for name in ("gcd", "lcm"):
            np.testing.assert_array_equal(run(runs, name, (x, y), dtype), NUMPY[name](x, y), err_msg=name)


def test_selected_flags() -> None:
    """np.where computes both sides, and so do we: a mask must not hide a division by zero."""

    def formula(x: Expr, y: Expr) -> Expr:
        chosen = Apply("ne", (y, Const(0.0, F64)), BOOL)
        return Apply("select", (chosen, Apply("div", (x, y), F64), Const(0.0, F64)), F64)

    runs = Runs([elementwise("where", formula, [F64, F64], F64, unit=0)])
    x, y = np.ones(40), np.arange(40.0)
    out = run(runs, "where", (x, y), F64)
    assert runs.flags == 1
    np.testing.assert_array_equal(out[1:], x[1:] / y[1:])
    assert out[0] == 0


DOMAINS = {
    "arcsin": (-1, 1), "arccos": (-1, 1), "arctanh": (-0.99, 0.99), "arccosh": (1.01, 50), "log": (0.01, 50),
    "log2": (0.01, 50), "log10": (0.01, 50), "log1p": (-0.9, 50), "pow": (0.1, 4),
}  # fmt: skip


def math_kernels(dtype: DType) -> list[Kernel]:
    kinds: tuple[LoopKind, ...] = ("vector", "serial")
    made = []
    for name, count in MATH.items():
        args = [dtype, I32] if name == "ldexp" else [dtype] * count
        made += [elementwise(f"{k}_{name}", apply(name, dtype), args, dtype, kind=k, unit=0) for k in kinds]
    return made


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", [F16, F32, F64], ids=str)
def test_math(dtype: DType, target: str) -> None:
    """Close to NumPy (whose own vector functions err by up to 4 ULP), and the same in vectors and in scalars."""
    runs = Runs(math_kernels(dtype), target)
    rng = np.random.default_rng(5)
    for name, count in MATH.items():
        low, high = DOMAINS.get(name, (-8, 8))
        args = [rng.uniform(low, high, 43).astype(dtype.numpy) for _ in range(count)]
        if name == "ldexp":
            args[1] = rng.integers(-8, 8, 43, np.int32)
        vector, serial = (run(runs, f"{kind}_{name}", tuple(args), dtype) for kind in ("vector", "serial"))
        np.testing.assert_array_equal(vector, serial, err_msg=name)
        numpys = {"pow": "power"}.get(name, name)
        eps = float(np.finfo(dtype.numpy).eps)
        np.testing.assert_allclose(vector, getattr(np, numpys)(*args), rtol=4 * eps, atol=4 * eps, err_msg=name)


@pytest.mark.parametrize("target", ENGINES)
def test_integer_power(target: str) -> None:
    dtypes = (I8, I32, I64, U8, U64)
    runs = Runs([elementwise(str(d), apply("pow", d), [d, d], d) for d in dtypes], target)
    for dtype in dtypes:
        x = specials(dtype)
        for exponent in (0, 1, 2, 3, 7, 63, 64, 100):
            args = (x, np.full(len(x), exponent, dtype.numpy))
            np.testing.assert_array_equal(run(runs, str(dtype), args, dtype), np.power(*args))


@pytest.mark.parametrize("target", ENGINES)
def test_complex_arithmetic(target: str) -> None:
    dtypes, names = (C64, C128), {"mul": np.multiply, "div": np.divide}
    runs = Runs([elementwise(f"{n}_{d}", apply(n, d), [d, d], d) for d in dtypes for n in names], target)
    rng = np.random.default_rng(6)
    for dtype in dtypes:
        x, y = (rng.normal(size=(2, 99, 2)) @ [1, 1j]).astype(dtype.numpy)
        for name, function in names.items():
            got = run(runs, f"{name}_{dtype}", (x, y), dtype)
            eps = np.finfo(dtype.numpy).eps
            assert (abs(got - function(x, y)) <= 4 * eps * abs(got)).all()
        zero = np.zeros(3, dtype.numpy)
        ones = np.array([1, 1j, 0], dtype.numpy)
        expected, flags = with_flags(np.divide, ones, zero)
        assert not different(run(runs, f"div_{dtype}", (ones, zero), dtype), expected).size
        assert runs.flags == flags


def test_fma_rounds_once() -> None:
    runs = Runs([elementwise("fma", apply("fma", F64), [F64] * 3, F64)])
    x = np.full(9, 1 + 2.0**-30)
    assert (run(runs, "fma", (x, x, -(x * x)), F64) == 2.0**-60).all()


def test_host_expression() -> None:
    """The same intrinsics in host code: no loop, names from the outside."""
    expr: Expr = Ref("x", I32)
    for _ in range(5000):  # deep
        expr = Apply("add", (expr, Const(1, I32)), I32)
    module = ir.Module()
    i32 = ir.IntType(32)
    function = ir.Function(module, ir.FunctionType(i32, [i32]), "tj_host")
    builder = ir.IRBuilder(function.append_basic_block())
    quotient = Apply("floordiv", (expr, Const(-7, I32)), I32)
    builder.ret(eval_expr(builder, quotient, {"x": function.args[0]}))
    engine = default_engine()
    library = engine.link(engine.compile_ir(module), {}, exports=["tj_host"])
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(library.address("tj_host"))
    assert call(10) == 5010 // -7
