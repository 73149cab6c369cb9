"""Kernels of every shape of loop do what NumPy does, on every layout, length and target."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tensorjit.ir.dtypes import (
    BOOL,
    C64,
    C128,
    DTYPES,
    F16,
    F32,
    F64,
    I8,
    I16,
    I64,
    DType,
)
from tensorjit.ir.kernel import (
    Accumulate,
    Apply,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    LoopKind,
    Reduction,
    ReductionOp,
    Ref,
    ScalarParam,
    Scratch,
    Stmt,
    Store,
    ViewParam,
    i64,
)
from tests.llvm.kernel_runs import ENGINES, I, N, Runs, apply, elementwise, has_avx512, reduction

Array = np.ndarray[Any, Any]
J = Ref("j", I64)
M = Ref("m", I64)
LENGTHS = (*range(18), 31, 32, 33, 47, 63, 64, 65, 66, 67, 129, 300)


def sample(dtype: DType, n: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    kind = dtype.numpy
    if dtype.kind == "b":
        return rng.integers(0, 2, n).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max, n, kind)
    if dtype.kind == "c":
        return (rng.normal(size=n) + 1j * rng.normal(size=n)).astype(kind)
    return rng.normal(size=n).astype(kind)


def layouts(values: Array) -> Iterator[Array]:
    """The same values side by side, apart, backwards, and off the alignment."""
    n, size = len(values), values.itemsize
    yield values.copy()
    for step in (3, -1, -2):
        room = np.zeros(abs(step) * n + 1, values.dtype)
        view = room[: abs(step) * n][::step]
        view[:] = values
        yield view
    bytes_ = np.zeros(n * size + 1, np.uint8)[1:]
    shifted = bytes_.view(values.dtype)
    shifted[:] = values
    yield shifted


def first() -> Expr:
    return Load("x", (I,), F64)


# -- elementwise ------------------------------------------------------------------------------------------


def double(dtype: DType) -> tuple[str, Any]:
    """An operation that every dtype has, and NumPy's."""
    return ("xor", np.bitwise_xor) if dtype.kind == "b" else ("add", np.add)


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts(dtype: DType, target: str) -> None:
    name, function = double(dtype)
    kernels = [
        elementwise(kind, apply(name, dtype), [dtype, dtype], dtype, kind=kind, aligned=False) for kind in ("vector", "serial")
    ]
    runs = Runs(kernels, target)
    for n in LENGTHS:
        x, y = sample(dtype, n, 1), sample(dtype, n, 2)
        expected = function(x, y)
        for kind in ("vector", "serial"):
            for out in layouts(np.zeros(n, dtype.numpy)):
                for a in layouts(x):
                    assert runs(kind, [a, y, out], n) == 0
                    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("target", ENGINES)
def test_neighbours_stay(target: str) -> None:
    """A masked tail stores no element too many."""
    runs = Runs([elementwise("k", apply("add", F64), [F64, F64], F64, unit=0)], target)
    for n in LENGTHS:
        out = np.full(n + 70, -1.0)
        runs("k", [np.ones(n), np.ones(n), out[:n]], n)
        assert (out[:n] == 2).all() and (out[n:] == -1).all()


def placed(values: Array, offset: int) -> Array:
    """The same values, side by side, at `offset` bytes from a multiple of 64."""
    room = np.zeros(values.nbytes + 128, np.uint8)
    start = -room.__array_interface__["data"][0] % 64 + offset
    view = room[start : start + values.nbytes].view(values.dtype)
    view[:] = values
    return view


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", [F64, F32, C128, I16], ids=str)
def test_long_rows_at_every_address(dtype: DType, target: str) -> None:
    """The elements before the first aligned one are handled once, in place too, and no flag is raised for them twice."""
    name, function = double(dtype)
    runs = Runs([elementwise("k", apply(name, dtype), [dtype, dtype], dtype, aligned=False)], target)
    least = 4096 // dtype.size
    for n in (least - 1, least, least + 1, least + 67):
        x, y = sample(dtype, n, 1), sample(dtype, n, 2)
        expected = function(x, y)
        for offset in (0, 1, *range(dtype.size, 64, dtype.size)):
            room = placed(np.zeros(n + 2, dtype.numpy), offset)
            out = room[1:-1]
            assert runs("k", [x, y, out], n) == 0
            np.testing.assert_array_equal(out, expected)
            assert not room[0] and not room[-1]
            in_place = placed(x, offset)
            runs("k", [in_place, y, in_place], n)
            np.testing.assert_array_equal(in_place, expected)


def copy_kernel(dtype: DType) -> Kernel:
    """r[i, j] = x[i, j]"""
    views = (ViewParam("x", dtype, 2), ViewParam("r", dtype, 2, written=True))
    body = (Let("t", Load("x", (I, J), dtype)), Store("r", (I, J), Ref("t", dtype)))
    rows = For("i", N, (For("j", M, body, "vector"),))
    return Kernel("k", views, (ScalarParam("n", I64), ScalarParam("m", I64)), (rows,))


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", [F64, F32, C128, I16, BOOL], ids=str)
def test_copies(dtype: DType, target: str) -> None:
    runs = Runs([copy_kernel(dtype)], target)
    for n, m in ((1, 1), (3, 5), (2, 2000), (5, 0)):
        x = sample(dtype, n * m).reshape(n, m)
        for source in (x, np.asfortranarray(x), x[::-1, ::-1].copy()[::-1, ::-1], np.repeat(x, 2, 0)[::2]):
            for out in (np.zeros((n, m + 1), dtype.numpy)[:, :m], np.zeros((m, n), dtype.numpy).T):
                assert runs("k", [source, out], n, m) == 0
                np.testing.assert_array_equal(out, x)
        runs("k", [x, x], n, m)


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", [BOOL, I8, F64], ids=str)
def test_fills(dtype: DType, target: str) -> None:
    store = Store("r", (I, J), Ref("v", dtype))
    rows = For("i", N, (For("j", M, (store,), "vector"),))
    scalars = (ScalarParam("v", dtype), ScalarParam("n", I64), ScalarParam("m", I64))
    runs = Runs([Kernel("k", (ViewParam("r", dtype, 2, written=True),), scalars, (rows,))], target)
    for value in (1, 0, True) if dtype is BOOL else (-3, 100):
        for out in (np.zeros((3, 801), dtype.numpy)[:, :800], np.zeros((5, 3), dtype.numpy).T, np.zeros((2, 0), dtype.numpy)):
            assert runs("k", [out], value, *out.shape) == 0
            assert (out == dtype.numpy.type(value)).all()
            assert out.base is None or out.base.size == out.size or not out.base[:, 800:].any()


def test_interrupt_of_a_copy() -> None:
    runs = Runs([copy_kernel(I16)])
    n = (1 << 22) + 7
    x, out = np.ones((2, n), np.int16), np.zeros((2, n), np.int16)
    assert runs("k", [x, out], 2, n, budget=1 << 40) == 0 and out.all()
    runs.answer, out[:] = 1, 0
    assert runs("k", [x, out], 2, n, budget=1 << 18) == 1
    assert np.count_nonzero(out) == 1 << 22


@pytest.mark.parametrize("target", ENGINES)
def test_in_place(target: str) -> None:
    runs = Runs([elementwise("k", apply("add", F32), [F32, F32], F32)], target)
    for n in LENGTHS:
        x = sample(F32, n)
        expected = x + x
        runs("k", [x, x, x], n)
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("target", ENGINES)
def test_any_byte_but_zero_is_true(target: str) -> None:
    runs = Runs([elementwise("k", apply("not", BOOL), [BOOL], BOOL)], target)
    x = np.arange(200, dtype=np.uint8).view(bool)
    out = np.zeros(200, bool)
    runs("k", [x, out], 200)
    np.testing.assert_array_equal(out.view("u1"), [1] + [0] * 199)


def gather_kernel() -> Kernel:
    """out[index[i]] = x[index[i], i]: a gather of rows, a scatter of elements."""
    views = (
        ViewParam("x", F64, 2),
        ViewParam("index", I64, 1, 0),
        ViewParam("out", F64, 1, written=True),
    )
    row = Load("index", (I,), I64)
    store = Store("out", (row,), Load("x", (row, I), F64))
    return Kernel("k", views, (ScalarParam("n", I64),), (For("i", N, (store,), "vector"),))


@pytest.mark.parametrize("target", ENGINES)
def test_gather_and_scatter(target: str) -> None:
    runs = Runs([gather_kernel()], target)
    rng = np.random.default_rng(3)
    for n in LENGTHS:
        x, index, out = rng.normal(size=(n, n)), rng.permutation(n), np.zeros(n)
        assert runs("k", [x, index, out], n) == 0
        expected = np.zeros(n)
        expected[index] = x[index, np.arange(n)]
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("target", ENGINES)
def test_index_arithmetic(target: str) -> None:
    """out[n - 1 - i] = i * (x[2 * i + 1] + x[m])."""
    last = Apply("sub", (Apply("sub", (N, i64(1)), I64), I), I64)
    odd = Apply("add", (Apply("mul", (I, i64(2)), I64), i64(1)), I64)
    total = Apply("add", (Load("x", (odd,), F64), Load("x", (M,), F64)), F64)
    value = Apply("mul", (Apply("cast", (I,), F64), total), F64)
    kernel = Kernel(
        "k",
        (ViewParam("x", F64, 1, 0), ViewParam("out", F64, 1, 0, written=True)),
        (ScalarParam("n", I64), ScalarParam("m", I64)),
        (For("i", N, (Store("out", (last,), value),), "vector"),),
    )
    runs = Runs([kernel], target)
    for n in LENGTHS:
        x, out = sample(F64, 2 * n + 1), np.zeros(n)
        runs("k", [x, out], n, 0)
        np.testing.assert_array_equal(out[::-1], np.arange(n) * (x[1::2] + x[0]))


@pytest.mark.parametrize("target", ENGINES)
def test_scalars(target: str) -> None:
    """out[i] = where(flag, z * x[i], -z), for a complex and a half scalar."""
    views = (ViewParam("x", C128, 1, 0), ViewParam("out", C128, 1, 0, written=True))
    z, half = Ref("z", C128), Apply("cast", (Ref("h", F16),), C128)
    product = Apply("mul", (z, Load("x", (I,), C128)), C128)
    value = Apply("select", (Ref("flag", BOOL), product, Apply("neg", (half,), C128)), C128)
    scalars = tuple(ScalarParam(n, d) for n, d in (("n", I64), ("z", C128), ("h", F16), ("flag", BOOL)))
    kernel = Kernel("k", views, scalars, (For("i", N, (Store("out", (I,), value),), "vector"),))
    runs = Runs([kernel], target)
    for n in (0, 1, 7, 8, 30):
        x, out = sample(C128, n), np.zeros(n, complex)
        runs("k", [x, out], n, 2 - 1j, np.float16(0.5), True)
        np.testing.assert_allclose(out, (2 - 1j) * x)
        runs("k", [x, out], n, 2 - 1j, np.float16(0.5), False)
        np.testing.assert_array_equal(out, np.full(n, -0.5))


# -- reductions -------------------------------------------------------------------------------------------

OPS: dict[str, tuple[Any, str]] = {
    "sum": (np.add.reduce, "iuf"),
    "prod": (np.multiply.reduce, "iu"),
    "min": (np.minimum.reduce, "biufc"),
    "max": (np.maximum.reduce, "biufc"),
    "fmin": (np.fmin.reduce, "biufc"),
    "fmax": (np.fmax.reduce, "biufc"),
    "and": (np.bitwise_and.reduce, "biu"),
    "or": (np.bitwise_or.reduce, "biu"),
    "xor": (np.bitwise_xor.reduce, "biu"),
    "argmin": (np.argmin, "biufc"),
    "argmax": (np.argmax, "biufc"),
}


def reduce_ops(dtype: DType) -> list[Any]:
    return [op for op, (_, kinds) in OPS.items() if dtype.kind in kinds]


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reductions(dtype: DType, target: str) -> None:
    kinds: tuple[LoopKind, ...] = ("vector", "serial")
    kernels = [reduction(f"{kind}_{op}", op, dtype, kind=kind) for op in reduce_ops(dtype) for kind in kinds]
    runs = Runs(kernels, target)
    for n in LENGTHS[1:]:
        x = sample(dtype, n, n)
        if dtype.kind == "f":
            x = np.round(x * 8) / 8  # exact sums, and equal elements
        if dtype.kind in "fc" and n % 3 == 0:
            x[[n // 2, n - 1]] = np.nan
        for op in reduce_ops(dtype):
            keep = {"dtype": dtype.numpy} if op in ("sum", "prod") else {}
            expected = OPS[op][0](x, **keep)
            for kind in kinds:
                for a in (x, np.repeat(x, 2)[::2]):
                    out = np.zeros((), np.int64 if op.startswith("arg") else dtype.numpy)
                    assert runs(f"{kind}_{op}", [a, out], n) == 0
                    np.testing.assert_array_equal(out, expected, err_msg=f"{kind} {op} {n}")


@pytest.mark.parametrize("kind", ["vector", "serial"])
@pytest.mark.parametrize("dtype", [F32, F64, C64, C128], ids=str)
def test_sums_are_accurate(dtype: DType, kind: LoopKind) -> None:
    """The error stays within the bound of pairwise summation, whose blocks have 128 elements on 8 accumulators."""
    runs = {t: Runs([reduction("k", "sum", dtype, kind=kind)], t) for t in ENGINES}
    for n in (100, 1000, 4095, 70_001, 1_000_000):
        x = sample(dtype, n) + dtype.numpy.type(1)
        results = []
        for target in ENGINES:
            out = np.zeros((), dtype.numpy)
            assert runs[target]("k", [x, out], n) == 0
            results.append(out[()])
        assert results[0] == results[1]
        depth = 18 + math.ceil(math.log2(n / 128 + 1))
        bound = depth * np.finfo(dtype.numpy).eps / 2 * math.fsum(abs(x))
        exact = complex(math.fsum(x.real), math.fsum(x.imag))
        assert abs(complex(results[0]) - exact) <= bound


def test_sum_does_not_depend_on_layout() -> None:
    runs = Runs([reduction("k", "sum", F64)])
    x = sample(F64, 5003)
    results = set()
    for a in layouts(x):
        out = np.zeros(())
        runs("k", [a, out], len(x))
        results.add(float(out))
    assert len(results) == 1


def in_turn(op: Any, x: Array) -> Any:
    """What one step after the other makes of a row, each rounded to its dtype."""
    step = {"sum": np.add, "prod": np.multiply}[op]
    return functools.reduce(step, x, x.dtype.type(step.identity))


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", [F64, F32, F16, C64], ids=str)
def test_ordered_reductions_go_value_by_value(dtype: DType, target: str) -> None:
    """To the bit, overflow on the way included: in vectors, their rest, scalar loops, strides."""
    rng = np.random.default_rng(3)
    names = [(op, kind) for op in ("sum", "prod") for kind in ("vector", "serial")]
    runs = Runs([reduction(f"{op}_{kind}", op, dtype, kind=kind, ordered=True) for op, kind in names], target)  # type: ignore[arg-type]
    largest = float(np.finfo(dtype.part.numpy).max)
    with np.errstate(all="ignore"):
        for n in (0, 1, 3, 16, 23, 70, 1003):
            for values in (rng.normal(1, 0.1, n), largest * rng.choice([0.4, -0.6, 0.7], n), rng.choice([4e4, 1e-5], n)):
                x = values.astype(dtype.numpy)
                for a in (x, x[::-1], np.repeat(x, 2)[::2]):
                    for op, kind in names:
                        out = np.zeros((), dtype.numpy)
                        assert runs(f"{op}_{kind}", [a, out], n) == 0
                        np.testing.assert_array_equal(out, in_turn(op, a), f"{op} {kind} {n}")


def test_initial_values() -> None:
    views = (ViewParam("x", F64, 1, 0), ViewParam("out", F64, 1, 0, written=True))
    ops: tuple[ReductionOp, ...] = ("sum", "prod", "min", "max")
    reductions = tuple(Reduction(op, op, F64, Const(3.0, F64)) for op in ops)
    feeds = tuple(Accumulate(op, Load("x", (I,), F64)) for op in ops)
    stores = tuple(Store("out", (i64(k),), Ref(op, F64)) for k, op in enumerate(ops))
    loop = For("i", N, feeds, "vector", reductions)
    runs = Runs([Kernel("k", views, (ScalarParam("n", I64),), (loop, *stores))])
    for n in (0, 1, 40):
        x, out = np.arange(1.0, n + 1.0), np.zeros(4)
        assert runs("k", [x, out], n) == 0
        expected = [x.sum() + 3, x.prod() * 3, min([3, *x]), max([3, *x])]
        np.testing.assert_allclose(out, expected, rtol=1e-14)


def rows_kernel(dtype: DType, op: ReductionOp, inner: LoopKind, outer: LoopKind) -> Kernel:
    """out[i] = op of x[i, :] (the vector loop inside) or, with the vector loop outside, of x[:, i]."""
    by_rows = inner == "vector"
    load = Load("x", (I, J) if by_rows else (J, I), dtype)
    result = I64 if op.startswith("arg") else dtype
    body: tuple[Stmt, ...] = (
        For("j", M, (Accumulate("r", load, J if op.startswith("arg") else None),), inner,
            (Reduction("r", op, dtype),)),
        Store("out", (I,), Ref("r", result)),
    )  # fmt: skip
    views = (ViewParam("x", dtype, 2), ViewParam("out", result, 1, written=True))
    scalars = (ScalarParam("n", I64), ScalarParam("m", I64))
    return Kernel(f"{op}_{inner}", views, scalars, (For("i", N, body, outer),))


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", [F64, F32, I16, BOOL, C64], ids=str)
def test_reductions_along_an_axis(dtype: DType, target: str) -> None:
    kinds: tuple[tuple[LoopKind, LoopKind], ...] = (("vector", "serial"), ("serial", "vector"))
    ops: list[Any] = ["min", "argmax", *(["sum"] if dtype.kind in "if" else [])]
    runs = Runs([rows_kernel(dtype, op, *kind) for op in ops for kind in kinds], target)
    for n, m in [(0, 3), (3, 1), (5, 40), (33, 9), (70, 65), (130, 17)]:
        for shape, axis, kind in (((n, m), 1, "vector"), ((m, n), 0, "serial")):
            x = sample(dtype, n * m).reshape(shape)
            for a in (x, np.asfortranarray(x), x[::-1, ::-1]):
                for op in ops:
                    keep = {"dtype": dtype.numpy} if op == "sum" else {}
                    expected = getattr(np, op)(a, axis=axis, **keep)
                    out = np.zeros(n, np.int64 if op == "argmax" else dtype.numpy)
                    assert runs(f"{op}_{kind}", [a, out], n, m) == 0
                    if op == "sum" and dtype.kind == "f":
                        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
                    else:
                        np.testing.assert_array_equal(out, expected.astype(out.dtype))


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("op", ["sum", "max", "argmin"])
def test_reduction_over_two_axes(op: Any, target: str) -> None:
    """The reduction belongs to the outer loop, the lanes to the inner one."""
    position = Apply("add", (Apply("mul", (I, M), I64), J), I64)
    result = I64 if op == "argmin" else F64
    feed = Accumulate("r", Load("x", (I, J), F64), position if op == "argmin" else None)
    outer = For("i", N, (For("j", M, (feed,), "vector"),), "serial", (Reduction("r", op, F64),))
    views = (ViewParam("x", F64, 2), ViewParam("out", result, 0, written=True))
    scalars = (ScalarParam("n", I64), ScalarParam("m", I64))
    runs = Runs([Kernel("k", views, scalars, (outer, Store("out", (), Ref("r", result))))], target)
    for shape in [(1, 1), (3, 5), (40, 70), (700, 3), (2, 5000)]:
        x = np.round(sample(F64, math.prod(shape)) * 64).reshape(shape) / 64
        out = np.zeros((), result.numpy)
        for a in (x, x[:, ::-1]):
            assert runs("k", [a, out], *shape) == 0
            assert out == getattr(np, op)(a)


# -- nests ------------------------------------------------------------------------------------------------


def softmax_like() -> Kernel:
    """Row by row: subtract the row's maximum into a scratch row, sum it, divide."""
    shifted = Apply("sub", (Load("x", (I, J), F64), Ref("top", F64)), F64)
    body: tuple[Stmt, ...] = (
        For("j", M, (Accumulate("top", Load("x", (I, J), F64)),), "vector", (Reduction("top", "max", F64),)),
        For("j", M, (
            Let("d", shifted),
            Accumulate("total", Ref("d", F64)),
            Store("row", (J,), Ref("d", F64)),
        ), "vector", (Reduction("total", "sum", F64),)),
        For("j", M, (
            Store("out", (I, J), Apply("div", (Load("row", (J,), F64), Ref("total", F64)), F64)),
        ), "vector"),
    )  # fmt: skip
    views = (ViewParam("x", F64, 2, 1), ViewParam("out", F64, 2, 1, written=True))
    scalars = (ScalarParam("n", I64), ScalarParam("m", I64))
    return Kernel("k", views, scalars, (For("i", N, body),), (Scratch("row", F64, M),))


@pytest.mark.parametrize("target", ENGINES)
def test_scratch(target: str) -> None:
    runs = Runs([softmax_like()], target)
    for n, m in [(0, 0), (3, 1), (4, 33), (9, 100)]:
        x = np.random.default_rng(n).normal(size=(n, m))
        out = np.zeros_like(x)
        with np.errstate(all="ignore"):
            assert runs("k", [x, out], n, m) == 0
            shifted = x - x.max(axis=1, keepdims=True, initial=-np.inf)
            np.testing.assert_allclose(out, shifted / shifted.sum(axis=1, keepdims=True), rtol=1e-12)


def test_out_of_memory() -> None:
    runs = Runs([softmax_like()])
    assert runs("k", [np.zeros((1, 1)), np.zeros((1, 1))], 1, 1 << 58) == 2


@pytest.mark.parametrize("target", ENGINES)
def test_if(target: str) -> None:
    """Conditions that are the same for all lanes, around loops, in loops, around what is accumulated."""
    odd = Apply("ne", (Apply("and", (I, i64(1)), I64), i64(0)), BOOL)
    feed: tuple[Stmt, ...] = (For("j", M, (Accumulate("r", Load("x", (I, J), F64)),), "vector"),)
    outer = For("i", N, (If(odd, feed, (Store("out", (i64(1),), Load("x", (I, i64(0)), F64)),)),), "serial",
                (Reduction("r", "sum", F64),))  # fmt: skip
    views = (ViewParam("x", F64, 2, 1), ViewParam("out", F64, 1, 0, written=True))
    kernel = Kernel("k", views, (ScalarParam("n", I64), ScalarParam("m", I64)),
                    (outer, Store("out", (i64(0),), Ref("r", F64))))  # fmt: skip
    runs = Runs([kernel], target)
    x, out = np.arange(7.0 * 37).reshape(7, 37), np.zeros(2)
    assert runs("k", [x, out], 7, 37) == 0
    assert out[0] == x[1::2].sum() and out[1] == x[6, 0]


def test_hoisting_does_not_raise_flags_of_loops_that_do_not_turn() -> None:
    """1 / z is the same in every turn; with no turn it must not be computed."""
    quotient = Apply("div", (Const(1.0, F64), Ref("z", F64)), F64)
    views = (ViewParam("out", F64, 1, 0, written=True),)
    scalars = (ScalarParam("n", I64), ScalarParam("z", F64))
    kernel = Kernel("k", views, scalars, (For("i", N, (Store("out", (I,), quotient),), "vector"),))
    runs = Runs([kernel])
    runs("k", [np.zeros(0)], 0, 0.0)
    assert runs.flags == 0
    out = np.zeros(3)
    runs("k", [out], 3, 0.0)
    assert runs.flags == 1 and np.isinf(out).all()


def test_what_a_loop_stores_is_loaded_again() -> None:
    """x[0] is loaded in every turn, and changes in the first."""
    body = Store("x", (I,), Apply("add", (Load("x", (i64(0),), F64), Const(1.0, F64)), F64))
    views = (ViewParam("x", F64, 1, 0, written=True),)
    runs = Runs([Kernel("k", views, (ScalarParam("n", I64),), (For("i", N, (body,)),))])
    x = np.zeros(5)
    runs("k", [x], 5)
    np.testing.assert_array_equal(x, [1, 2, 2, 2, 2])


# -- interrupts and size ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vector", "serial"])
def test_interrupt(kind: LoopKind) -> None:
    runs = Runs([elementwise("k", apply("add", F64), [F64, F64], F64, kind=kind, unit=0)])
    n = 1_000_000
    x, out = np.ones(n), np.zeros(n)
    assert runs("k", [x, x, out], n, budget=1 << 18) == 0
    assert runs.polls >= 1 and out.all()
    runs.answer, out[:] = 1, 0
    assert runs("k", [x, x, out], n, budget=1 << 18) == 1
    assert 0 < np.count_nonzero(out) < n


def test_interrupt_between_rows() -> None:
    runs = Runs([rows_kernel(F64, "sum", "vector", "serial")])
    x, out = np.ones((100_000, 2)), np.zeros(100_000)
    runs.answer = 1
    assert runs("sum_vector", [x, out], 100_000, 2, budget=1 << 10) == 1


def test_long_body() -> None:
    """Thousands of names, a deep expression: no recursion, and code in reasonable time."""
    lets: list[Stmt] = []
    previous: Expr = first()
    for k in range(3000):
        lets.append(Let(f"v{k}", Apply("add", (previous, Const(1.0, F64)), F64)))
        previous = Ref(f"v{k}", F64)
    deep: Expr = Ref("v2999", F64)
    for _ in range(3000):
        deep = Apply("neg", (deep,), F64)
    body: tuple[Stmt, ...] = (*lets, Store("out", (I,), deep))
    views = (ViewParam("x", F64, 1, 0), ViewParam("out", F64, 1, 0, written=True))
    runs = Runs([Kernel("k", views, (ScalarParam("n", I64),), (For("i", N, body, "vector"),))])
    out = np.zeros(21)
    assert runs("k", [np.arange(21.0), out], 21) == 0
    np.testing.assert_array_equal(out, np.arange(21.0) + 3000)


@pytest.mark.skipif(not has_avx512(), reason="looks at AVX-512 code")
@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("dtype", [F64, F32, I8], ids=str)
def test_down_any_number_of_columns(dtype: DType, target: str) -> None:
    """Whole groups of columns, many more under one mask, a few more: each column is added up by itself, in one order."""
    views = (ViewParam("x", dtype, 2, 1), ViewParam("r", dtype, 1, 0, written=True))
    sums = For("i", N, (Accumulate("s", Load("x", (I, J), dtype)),), "serial", (Reduction("s", "sum", dtype),))
    body = (sums, Store("r", (J,), Ref("s", dtype)))
    scalars = (ScalarParam("n", I64), ScalarParam("m", I64))
    runs = Runs([Kernel("k", views, scalars, (For("j", M, body, "vector"),))], target)
    whole = sample(dtype, 37 * 1100).reshape(37, 1100)
    expected = np.zeros(1100, dtype.numpy)
    assert runs("k", [whole, expected], 37, 1100) == 0
    np.testing.assert_allclose(expected, whole.sum(0, dtype=dtype.numpy), rtol=1e-4)
    for m in (*LENGTHS, 150, 200, 255, 400, 1099):
        out = np.full(m + 1, 7, dtype.numpy)
        assert runs("k", [whole[:, :m].copy(), out[:m]], 37, m) == 0
        np.testing.assert_array_equal(out[:m], expected[:m])
        assert out[m] == 7


@pytest.mark.skipif(not has_avx512(), reason="half vectors are of AVX-512")
@pytest.mark.parametrize(("name", "whole"), [("add", False), ("lt", True), ("exp", True), ("truncrem", True)])
def test_light_loops_go_through_half_vectors(name: str, whole: bool) -> None:
    """But not where a function is called with vectors: it would look for them in other registers."""
    out = BOOL if name == "lt" else F64
    runs = Runs([elementwise("k", lambda x: Apply(name, (x,) if name == "exp" else (x, x), out), [F64], out, unit=0)])
    assert ('"min-legal-vector-width"="256"' in str(runs.module)) is not whole
    x, found = np.linspace(0.5, 8.0, 1001), np.zeros(1001, out.numpy)
    runs("k", [x, found], 1001)
    expected = {"add": x + x, "lt": x < x, "exp": np.exp(x), "truncrem": np.fmod(x, x)}[name]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_code_of_a_fused_kernel() -> None:
    def formula(a: Expr, x: Expr, y: Expr, z: Expr, w: Expr) -> Expr:
        products = (Apply("mul", (a, x), F64), Apply("mul", (y, z), F64))
        return Apply("sub", (Apply("add", products, F64), w), F64)

    text = Runs([elementwise("k", formula, [F64] * 5, F64, unit=0)]).assembly()
    assert "%ymm" in text and "{%k1}" in text
    assert "mm" not in "".join(line for line in text.splitlines() if "(%rsp)" in line)
