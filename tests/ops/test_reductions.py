"""Reductions, their keywords, dtypes, empty extents and warnings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorjit.ir.dtypes import DTYPES
from tensorjit.ops.abstract import Static, of

ALL = ["sum", "prod", "min", "max", "any", "all", "argmin", "argmax", "count_nonzero", "mean", "var", "std", "ptp"]


def close(rule: str, numpy: Any, check: Any, x: Any, **keywords: Any) -> None:
    """On values whose sums are exact, every order of summation gives the same bits."""
    abstract = {k: of(v) for k, v in keywords.items()}
    ulps = 4 * (rule == "prod" and np.result_type(x, keywords.get("dtype") or x).kind == "c")  # signs of zero
    check(lambda b, a: b.call(rule, a, **abstract), lambda a: numpy(a, **keywords), x, ulps=ulps)


def array(dtype: Any, shape: tuple[int, ...]) -> Any:
    x = np.arange(int(np.prod(shape))) % 7 - 2
    return (
        np.asarray(x % 2 if np.dtype(dtype).kind == "b" else abs(x) if np.dtype(dtype).kind == "u" else x)
        .astype(dtype)
        .reshape(shape)
    )


@pytest.mark.parametrize("name", ALL)
def test_dtypes(name: str, check: Any) -> None:
    for dtype in DTYPES:
        for shape in ((4,), (2, 4), (1,), ()):
            if shape or name != "count_nonzero":
                close(name, getattr(np, name), check, array(dtype.numpy, shape))
        close(name, getattr(np, name), check, array(dtype.numpy, (3,))[1])


@pytest.mark.parametrize("name", ALL)
def test_axes(name: str, check: Any) -> None:
    x = array(np.float64, (2, 4, 8))
    axes: list[Any] = [None, 0, 1, -1, 2, 3, -4]
    if name not in ("argmin", "argmax"):
        axes += [(0, 1), (1, -1), (0, 1, 2), (), (0, 0)]
    for axis in axes:
        for keepdims in (False, True):
            for y in (x, x[:, ::2], x.T, np.asfortranarray(x)):
                if name in ("argmin", "argmax") and axis is None and keepdims and not y.flags.c_contiguous:
                    continue
                close(name, getattr(np, name), check, y, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("name", ALL)
def test_empty(name: str, check: Any) -> None:
    for shape in ((0,), (0, 3), (3, 0), (0, 0)):
        for axis in (None, 0, 1)[: 1 + len(shape)]:
            with np.errstate(all="ignore"):
                close(name, getattr(np, name), check, np.zeros(shape), axis=axis)


def test_nan_goes_through(check: Any) -> None:
    for bad in (np.nan, np.inf, -np.inf, -0.0):
        x = np.array([[1.0, bad, 2.0], [bad, 0.0, -1.0]])
        with np.errstate(all="ignore"):
            for name in ALL:
                close(name, getattr(np, name), check, x, axis=1)


def test_dtype_keyword(check: Any) -> None:
    for name in ("sum", "prod", "mean", "var", "std"):
        for dtype in (np.float32, np.float64, np.complex128, "f2") + ((np.int8, "u4", np.bool_) if name in ("sum", "prod") else ()):
            close(name, getattr(np, name), check, array(np.int32, (2, 4)), dtype=dtype, axis=1)


def test_initial_and_where(check: Any) -> None:
    x = array(np.float64, (2, 4))
    mask = np.array([[True, False, True, True], [False, True, True, False]])
    for name in ("sum", "prod", "min", "max"):
        close(name, getattr(np, name), check, x, axis=1, initial=3.0)
        masked = lambda b, a, w, name=name: b.call(name, a, axis=Static(0), initial=Static(2.0), where=w)  # noqa: E731
        check(masked, lambda a, w, name=name: getattr(np, name)(a, axis=0, initial=2.0, where=w), x, mask)
    for name in ("min", "max"):
        close(name, getattr(np, name), check, np.zeros((0, 3)), axis=0, initial=1.0)
    for name in ("sum", "prod", "any", "all", "mean", "var", "std"):
        masked = lambda b, a, w, name=name: b.call(name, a, axis=Static(1), where=w)  # noqa: E731
        check(masked, lambda a, w, name=name: getattr(np, name)(a, axis=1, where=w), x, mask)
        check(masked, lambda a, w, name=name: getattr(np, name)(a, axis=1, where=w), x, mask[:1])


def test_out(check: Any) -> None:
    x = array(np.float64, (2, 4))
    for name in ALL:
        if name == "count_nonzero":
            continue
        kind = {"any": np.bool_, "all": np.bool_, "argmin": np.int64, "argmax": np.int64}.get(name, np.float64)
        out: Any = np.zeros(2, kind)
        check(
            lambda b, a, o, name=name: b.call(name, a, axis=Static(1), out=o),
            lambda a, o, name=name: getattr(np, name)(a, axis=1, out=o), x, out,
        )  # fmt: skip
        if name not in ("argmin", "argmax"):
            wrong = lambda b, a, o, name=name: b.call(name, a, axis=Static(1), out=o)  # noqa: E731
            check(wrong, lambda a, o, name=name: getattr(np, name)(a, axis=1, out=o), x, np.zeros(3, kind), message=False)


def test_degrees_of_freedom(check: Any) -> None:
    x = array(np.float64, (2, 4))
    for name in ("var", "std"):
        for ddof in (0, 1, 2, 4, 5, 0.5):
            with np.errstate(all="ignore"):
                close(name, getattr(np, name), check, x, axis=1, ddof=ddof)
                close(name, getattr(np, name), check, x, correction=ddof)
        given = {"axis": Static(1), "keepdims": Static(True)}
        check(
            lambda b, a, name=name, given=given: b.call(name, a, axis=Static(1), mean=b.call("mean", a, **given)),
            lambda a, name=name: getattr(np, name)(a, axis=1, mean=np.mean(a, axis=1, keepdims=True)), x,
        )  # fmt: skip


def test_warnings(backend: Any, build: Any, observe: Any) -> None:
    cases: list[Any] = [
        ("mean", np.zeros(0), {}, "Mean of empty slice"),
        ("var", np.zeros(1), {"ddof": 1}, "Degrees of freedom <= 0 for slice"),
        ("var", np.zeros(0), {}, "Degrees of freedom <= 0 for slice"),
        ("mean", np.ones((2, 2)), {"axis": 0, "where": np.array([True, False])}, "Mean of empty slice"),
        ("mean", np.ones(2), {"where": np.zeros(2, bool)}, "Mean of empty slice"),
        ("std", np.ones(3), {"ddof": 2, "where": np.array([True, True, False])}, "Degrees of freedom <= 0 for slice"),
        ("nanmean", np.array([np.nan, np.nan]), {}, "Mean of empty slice"),
        ("nanmean", np.array([[np.nan, 1.0], [np.nan, np.nan]]), {"axis": 0}, "Mean of empty slice"),
    ]
    for name, x, keywords, text in cases:
        arrays = {k: v for k, v in keywords.items() if isinstance(v, np.ndarray)}
        known = {k: of(v) for k, v in keywords.items() if k not in arrays}

        def rule(b: Any, a: Any, *given: Any, name: str = name, names: Any = tuple(arrays), known: Any = known) -> Any:
            return b.call(name, a, **known, **dict(zip(names, given, strict=True)))

        args = [x, *arrays.values()]
        graph = build(rule, args)
        assert text in observe(lambda graph=graph, args=args: backend(graph, args)).warnings


def test_a_mean_of_some_elements_does_not_warn_where_there_are_some(backend: Any, build: Any, observe: Any) -> None:
    args = [np.array([1.0, np.nan]), np.array([True, False])]
    for name in ("mean", "nanmean", "var"):
        graph = build(lambda b, a, m, name=name: b.call(name, a, where=m), args)
        assert not observe(lambda graph=graph: backend(graph, args)).warnings


def test_sequences(check: Any) -> None:
    check(lambda b, p, q: b.call("sum", of([p, q, 1])), lambda p, q: np.sum([p, q, 1]), 2.5, 3)
    check(lambda b, p, q: b.call("max", of((p, q))), lambda p, q: np.max((p, q)), 2, 3)


def test_nan_left_out(check: Any) -> None:
    x = np.array([[1.0, np.nan, 2.0], [np.nan, np.nan, np.nan]])
    for name in ("nansum", "nanprod"):
        close(name, getattr(np, name), check, x, axis=1)
        close(name, getattr(np, name), check, array(np.int16, (2, 2)))


def test_mean_of_what_is_not_nan(check: Any) -> None:
    for dtype in "efdFD":
        x = np.array([[1.0, np.nan, 2.0], [np.nan, 4.0, 6.0]]).astype(dtype)
        for keywords in ({}, {"axis": 0}, {"axis": 1, "keepdims": True}, {"dtype": "D" if dtype in "FD" else "d"}):
            close("nanmean", np.nanmean, check, x, **keywords)
        check(
            lambda b, a, m: b.call("nanmean", a, axis=Static(0), where=m),
            lambda a, m: np.nanmean(a, axis=0, where=m), x, np.array([[True, True, True], [True, True, False]]),
        )  # fmt: skip
        out = lambda a, o: np.nanmean(a, 0, out=o)  # noqa: E731
        check(lambda b, a, o: b.call("nanmean", a, Static(0), out=o), out, x, np.zeros(3, dtype))
    close("nanmean", np.nanmean, check, array(np.int16, (2, 2)))
    close("nanmean", np.nanmean, check, np.array([1.0, np.nan]), dtype="i4")
