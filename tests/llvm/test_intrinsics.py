"""Every intrinsic of every dtype has NumPy's results and flags, at any width, on any target."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from tensorjit.ir.dtypes import BOOL, DTYPES, F64, U8, DType
from tensorjit.ir.kernel import COMPARISONS, TESTS, Apply, Const, Expr
from tests.llvm.kernel_runs import ENGINES, Runs, apply, elementwise

Array = np.ndarray[Any, Any]

NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.absolute,
    "div": np.true_divide, "floordiv": np.floor_divide, "mod": np.remainder, "truncrem": np.fmod,
    "min": np.minimum, "max": np.maximum, "fmin": np.fmin, "fmax": np.fmax,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "shl": np.left_shift, "shr": np.right_shift,
    "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint,
    "copysign": np.copysign,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal,
    "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "signbit": np.signbit,
    "popcount": np.bitwise_count, "real": np.real, "imag": np.imag,
}  # fmt: skip

_UNARY = {"neg", "abs", "not", "sqrt", "floor", "ceil", "trunc", "rint", *TESTS, "popcount", "real", "imag"}

_BITS = ["and", "or", "xor", "not"]
_ORDER = ["min", "max", "fmin", "fmax", "eq", "ne", "lt", "le", "gt", "ge"]
_INT = ["add", "sub", "mul", "neg", "abs", "floordiv", "mod", "truncrem", "shl", "shr", "popcount"]
_FLOAT = [
    "add", "sub", "mul", "neg", "abs", "div", "floordiv", "mod", "truncrem", "sqrt", "floor", "ceil", "trunc",
    "rint", "copysign", *TESTS,
]  # fmt: skip
BY_KIND = {
    "b": ["add", "mul", "abs", *_BITS, *_ORDER],
    "i": [*_INT, *_BITS, *_ORDER],
    "u": [*_INT, *_BITS, *_ORDER],
    "f": [*_FLOAT, *_ORDER],
    "c": ["add", "sub", "neg", "abs", "real", "imag", "isnan", "isinf", "isfinite", *_ORDER],
}


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
        info = np.iinfo(kind)
        edges = [info.min, info.max, info.min + 1, info.max - 1, info.max // 2, 0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 65, 100]
        values = np.array([e for e in edges if info.min <= e <= info.max], kind)
        signed = (-np.arange(1, 9)).astype(kind) if dtype.kind == "i" else values[:0]
        return np.concatenate([values, signed, rng.integers(info.min, info.max, 12, kind)])
    if dtype.kind == "f":
        info = np.finfo(kind)  # type: ignore[assignment]
        tiny, top = info.tiny, info.max  # type: ignore[attr-defined]
        sub = info.smallest_subnormal  # type: ignore[attr-defined]
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
    for name in BY_KIND[dtype.kind]:
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
    for name in BY_KIND[dtype.kind]:
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
    for name in BY_KIND[dtype.kind]:
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
