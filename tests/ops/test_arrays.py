"""Creation, shapes, joining, indexing, methods: each rule against NumPy's function of the same arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorjit.ops import ATTRIBUTES, METHODS, OPS, find
from tensorjit.ops.abstract import Sequence_, Slice, Static, of
from tensorjit.ops.typed import Refusal

DTYPES = "?bhilBHILefdFD"
X = np.arange(24.0).reshape(2, 3, 4)
M = np.arange(12.0).reshape(3, 4)


def use(check: Any, numpy: Any, *args: Any, name: str = "", message: bool = True, **keywords: Any) -> None:
    """A function of NumPy, arrays being parameters and everything else known; then numbers as parameters too."""
    row = OPS[name] if name else find(numpy)
    assert row is not None, numpy
    arrays = [a for a in args if isinstance(a, np.ndarray)]

    def rule(b: Any, *xs: Any) -> Any:
        given = iter(xs)
        return b.call(row.name, *(next(given) if isinstance(a, np.ndarray) else of(a) for a in args), **abstract)

    def call(*xs: Any) -> Any:
        given = iter(xs)
        return numpy(*(next(given) if isinstance(a, np.ndarray) else a for a in args), **keywords)

    abstract = {k: of(v) for k, v in keywords.items()}
    check(rule, call, *arrays, message=message)


# -- creation ------------------------------------------------------------------------------------------------------


def test_filled(check: Any) -> None:
    for dtype in DTYPES:
        for shape in (3, (2, 3), (), (0, 2)):
            use(check, np.zeros, shape, dtype)
            use(check, np.ones, shape, dtype=dtype, order="F")
            use(check, np.full, shape, 2, dtype=dtype)
    use(check, np.zeros, 3)
    use(check, np.full, (2, 2), 2.5)
    use(check, np.full, 3, 7)
    use(check, np.full, (2, 4), M[0])
    use(check, np.full, 2, 300, np.uint8)
    use(check, np.zeros, -1)
    use(check, np.zeros_like, M)
    use(check, np.ones_like, M.T, dtype="i4")
    use(check, np.full_like, M.astype("i1"), 3)
    use(check, np.zeros_like, M, shape=(5,))
    check(lambda b, n: b.call("zeros", n), np.zeros, 4)
    check(lambda b, n, m: b.call("ones", Sequence_((n, m))), lambda n, m: np.ones((n, m)), 4, 2)
    check(lambda b, n: b.call("zeros", n), np.zeros, -4)
    check(lambda b, n, v: b.call("full_array", n, v), np.full, 4, 2.5)


def test_arange(check: Any) -> None:
    for args in ((5,), (2, 9), (9, 2), (0, 10, 3), (10, 0, -3), (0, 0), (5.5,), (0.0, 1.0, 0.1), (1, 2, 0.25), (3, 0.5, -0.5)):
        use(check, np.arange, *args)
        check(lambda b, *xs: b.call("arange", *xs), np.arange, *args)
    for dtype in "bhilBHILefd":
        use(check, np.arange, 10, dtype=dtype)
        use(check, np.arange, 3, 20, 4, dtype=dtype)
        check(lambda b, n, d=dtype: b.call("arange", n, dtype=Static(d)), lambda n, d=dtype: np.arange(n, dtype=d), 10)


def test_linspace(check: Any) -> None:
    for args in ((0.0, 1.0), (0, 10, 5), (2.0, -3.0, 7), (1, 2, 1), (0, 1, 0), (0.1, 0.9, 11)):
        use(check, np.linspace, *args)
        use(check, np.linspace, *args, endpoint=False)
        check(lambda b, *xs: b.call("linspace", *xs), np.linspace, *args)
    use(check, np.linspace, 0, 10, 5, dtype=int)
    use(check, np.linspace, 0, 1, 5, dtype=np.float32)
    use(check, np.linspace, 0, 1, 5, retstep=True)
    use(check, np.linspace, 0, 1, -5)


def test_eye(check: Any) -> None:
    for k in (-1, 0, 2):
        use(check, np.eye, 3, 4, k)
    use(check, np.eye, 3, dtype=int)
    use(check, np.identity, 2)
    check(lambda b, n: b.call("eye", n), np.eye, 3)


def test_array(check: Any) -> None:
    use(check, np.array, [1, 2, 3])
    use(check, np.array, [[1, 2.5], [3, 4]])
    use(check, np.array, (1, 2), dtype="f4")
    use(check, np.array, 3)
    use(check, np.array, [])
    for function in (np.array, np.asarray, np.copy, np.ascontiguousarray, np.asfortranarray):
        use(check, function, M)
        use(check, function, M[0])
    use(check, np.array, M, dtype="i4", ndmin=3)
    use(check, np.asarray, M, np.float32)
    use(check, np.array, M.T, order="C")
    check(lambda b, x, y: b.call("array", of([x, y])), lambda x, y: np.array([x, y]), 1.5, 2)
    check(lambda b, x, y: b.call("array", of([x, y])), lambda x, y: np.array([x, y]), M[0], M[1])


def test_astype(check: Any) -> None:
    for source in "?bhilBHILefd":
        for target in "?bhilBHILefdFD":
            x = np.array([0, 1, 2, 100]).astype(source)
            check(lambda b, a, t=target: b.call("astype", a, Static(t)), lambda a, t=target: a.astype(t), x)
            check(lambda b, a, t=target: b.call("astype", a, Static(t)), lambda a, t=target: a.astype(t), x[1])
    check(lambda b, a: b.call("astype", a, Static("i4"), casting=Static("safe")), lambda a: a.astype("i4", casting="safe"), M)


# -- shapes --------------------------------------------------------------------------------------------------------


def test_reshape(check: Any) -> None:
    for shape in ((6, 4), -1, (4, -1), (2, 1, 3, 4), (24,), (5, 5), (7, -1), (-1, -1), (2, 3, 4, 1), (0, -1)):
        use(check, np.reshape, X, shape)
        use(check, np.reshape, X, shape, order="F")
    for array in (X[:, ::2], X.T, np.asfortranarray(X), X[:1], X[:0]):
        use(check, np.reshape, array, -1)
        use(check, np.ravel, array)
        use(check, np.ravel, array, order="F")
        check(lambda b, a: b.call("flatten", a), lambda a: a.flatten(), array)
    check(lambda b, a, n: b.call("reshape_method", a, n, Static(-1)), lambda a, n: a.reshape(n, -1), X, 6)
    check(lambda b, a: b.call("reshape_method", a, b.int_of(b.shape_of(a)[0]), Static(-1)), lambda a: a.reshape(len(a), -1), X)


def test_axes(check: Any) -> None:
    use(check, np.transpose, X)
    for axes in ((1, 0, 2), (2, 0, 1), (0, -1, 1), (0, 1), (0, 0, 1), (0, 1, 5)):
        use(check, np.transpose, X, axes)
    use(check, np.swapaxes, X, 0, -1)
    for source, target in ((0, -1), (2, 0), ((0, 1), (-1, -2)), (3, 0), ((0, 0), (1, 2)), ((0, 1), (2,))):
        use(check, np.moveaxis, X, source, target, message=False)
    for axis in (0, 1, -1):
        use(check, np.rollaxis, X, axis)
        use(check, np.expand_dims, X, axis)
    use(check, np.rollaxis, X, 0, 3)
    use(check, np.expand_dims, X, (0, 2))
    use(check, np.squeeze, X[:, :1])
    use(check, np.squeeze, X[:, :1], axis=1)
    use(check, np.squeeze, X, axis=0)
    for value in (X, M[0], np.array(3.0)):
        use(check, np.atleast_1d, value)
        use(check, np.atleast_2d, value)
    use(check, np.atleast_1d, 3)


def test_broadcast(check: Any) -> None:
    for shape in ((3, 4), (2, 3, 4), (4,), (3, 5), 4, (2, 1, 4)):
        use(check, np.broadcast_to, M[0], shape, message=False)
        use(check, np.broadcast_to, M[:1], shape, message=False)
    use(check, np.broadcast_arrays, M, M[0], M[:, :1], message=False)


def test_joining(check: Any) -> None:
    for axis in (0, 1, -1, None, 2):
        check(
            lambda b, p, q, a=axis: b.call("concatenate", Sequence_((p, q)), Static(a)),
            lambda p, q, a=axis: np.concatenate((p, q), a),
            M,
            M * 2,
        )
        check(
            lambda b, p, q, a=axis: b.call("stack", Sequence_((p, q)), Static(a)),
            lambda p, q, a=axis: np.stack((p, q), a),
            M,
            M * 2,
        )
    pairs = ((M, M[:1]), (M[0], M[1]), (M, M[0]), (M[:, :1], M), (M, M.astype("f4")), (M, M.astype("i8")))
    for name in ("vstack", "hstack", "column_stack", "concatenate", "stack"):
        for p, q in pairs:
            check(
                lambda b, p, q, n=name: b.call(n, Sequence_((p, q))),
                lambda p, q, n=name: getattr(np, n)((p, q)), p, q, message=name == "concatenate",
            )  # fmt: skip
    use(check, np.concatenate, [])
    check(
        lambda b, p, o: b.call("concatenate", Sequence_((p, p)), out=o),
        lambda p, o: np.concatenate((p, p), out=o),
        M,
        np.zeros((6, 4)),
    )


def test_flips(check: Any) -> None:
    for axis in (None, 0, (0, 2), -1):
        use(check, np.flip, X, axis)
    use(check, np.flipud, X)
    use(check, np.fliplr, X[:, :0])
    for shift in (0, 1, -2, 7):
        for axis in (None, 0, 1):
            use(check, np.roll, M, shift, axis)
        check(lambda b, a, n: b.call("roll", a, n), np.roll, M[0], shift)
    use(check, np.roll, M[:, :0], 1, 1)
    use(check, np.repeat, M, 2)
    use(check, np.repeat, M, 3, 1)
    use(check, np.tile, M[0], 3)
    use(check, np.tile, M, (2, 2))
    for n in (0, 1, 2, 5):
        for axis in (0, 1, -1):
            use(check, np.diff, M, n, axis)
    use(check, np.diff, np.array([True, False, False]))


# -- choosing ------------------------------------------------------------------------------------------------------


def test_where(check: Any) -> None:
    for x in (M, 2, 2.5, np.float32(3), M.astype("i1")):
        for y in (M * 2, 300, 0.5, M[0]):
            check(lambda b, c, p, q: b.call("where", c, p, q), np.where, M > 5, x, y)
    check(lambda b, c, p: b.call("where", c, p, Static(300)), lambda c, p: np.where(c, p, 300), M > 5, M.astype("u1"))
    check(lambda b, c: b.call("where", c, Static(1), Static(2)), lambda c: np.where(c, 1, 2), np.float64(2))


def test_clip(check: Any) -> None:
    for dtype in "bhilBHILefd":
        x = np.array([0, 1, 5, 100]).astype(dtype)
        for low, high in ((1, 50), (None, 3), (2, None), (-1, 300), (0, 2), (-1000, 3)):
            if x.dtype.kind == "u" and low is not None and low < 0 and high is None:
                continue
            use(check, np.clip, x, low, high)
        use(check, np.clip, x, 0.5, 2.5)
        use(check, np.clip, x, x[1:2], x[2:3])
    use(check, np.clip, M, min=2, max=4)
    use(check, np.clip, M, 2, 4, out=None)


def test_round(check: Any) -> None:
    for dtype in "?bhilBHILefd":
        x = np.array([0, 1, 15, 100.25, 0.125, 2.5]).astype(dtype)
        for decimals in (0, 1, 2, -1):
            if dtype != "?":
                use(check, np.round, x, decimals)
                use(check, np.round, x[3:4].reshape(()), decimals)
    use(check, np.round, np.array([1.5 + 2.5j]))


def test_pairs(check: Any) -> None:
    x = np.array([0.0, -0.0, 2.5, -2.5, np.inf, -np.inf, np.nan])
    with np.errstate(all="ignore"):
        for dtype in "efd":
            use(check, np.modf, x.astype(dtype))
            use(check, np.frexp, x[:4].astype(dtype))
            use(check, np.divmod, x.astype(dtype), x[2:3].astype(dtype))
        use(check, np.divmod, np.arange(-4, 4), np.array([3]))
        use(check, np.modf, np.array(2.5))
        use(check, np.frexp, np.array(2.5))
        use(check, np.angle, x)
        use(check, np.angle, x[:3] + 1j, deg=True)
        use(check, np.real, x + 1j)
        use(check, np.imag, x[:4])


# -- products and sorting ------------------------------------------------------------------------------------------


def test_products(check: Any) -> None:
    shapes = (
        ((3, 4), (4, 2)),
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((3,), (3, 2)),
        ((3, 4), (3, 4)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
    )
    for p, q in shapes:
        a, c = np.ones(p), np.ones(q)
        for function in (np.matmul, np.dot, np.inner):
            use(check, function, a, c, message=False)
    use(check, np.matmul, np.ones((2, 2), "f4"), np.ones((2, 2), "i2"))
    use(check, np.matmul, np.array(1.0), np.ones(2))
    use(check, np.dot, np.array(2.0), np.ones(2))
    use(check, np.outer, np.arange(3), M[0])
    if hasattr(np, "vecdot"):
        use(check, np.vecdot, M, M[0])


@pytest.mark.parametrize("function", [np.ascontiguousarray, np.asfortranarray])
def test_an_array_that_is_contiguous_already_is_given_back(function: Any, backend: Any, build: Any) -> None:
    for x in (np.arange(6.0), np.arange(12.0)[::2], X, X.T, X[:, ::2], np.arange(3.0).reshape(1, 3)):
        row = find(function)
        assert row is not None
        found = backend(build(lambda b, a, row=row: b.call(row.name, a), [x]), [x])
        assert (found is x) == (function(x) is x)
        assert found.strides == function(x).strides
        np.testing.assert_array_equal(found, x)


def test_frexp_of_any_dtype(check: Any) -> None:
    for dtype in "?bhilBHefd":
        use(check, np.frexp, np.array([[3, 1, 2], [1, 1, 0]]).astype(dtype))
        use(check, np.frexp, np.array(3).astype(dtype))
    use(check, np.frexp, 3)
    use(check, np.frexp, 0.3)


def test_repeat_of_the_last_axis(check: Any) -> None:
    for dtype in "?hdD":
        x = np.array([[3, 1, 2], [1, 1, 0]]).astype(dtype)
        for count in (0, 1, 3):
            for axis in (None, 0, 1, -1):
                use(check, np.repeat, x, count, axis)
            use(check, np.repeat, x[0, ::2], count)
    check(lambda b, a, n: b.call("repeat", a, n), np.repeat, M[0], 3)
    check(lambda b, a, n: b.call("repeat", a, n), np.repeat, M[0], -3)


def test_library(check: Any) -> None:
    for dtype in "?bhLefdD":
        x = np.array([[3, 1, 2], [1, 1, 0]]).astype(dtype)
        for axis in (None, 0, 1, -1):
            use(check, np.cumsum, x, axis)
            use(check, np.cumprod, x, axis)
            use(check, np.sort, x, axis)
            use(check, np.argsort, x, axis, kind="stable")
    use(check, np.cumsum, M, 0, dtype="f4")
    check(lambda b, a: b.call("sort_method", a), lambda a: a.sort(), np.array([3.0, 1.0, 2.0]))


# -- indexing ------------------------------------------------------------------------------------------------------

S = slice
KEYS: list[Any] = [
    0, -1, 1, 5, -4, (0, 1), (0, -1, 2), (0, 1, 2, 3), (), Ellipsis, (Ellipsis, 0), (0, Ellipsis, 0), (Ellipsis, 0, 0, 0), None,
    (None, 0, None), S(None), S(1, None), S(None, -1), S(None, None, -1), S(5, None), S(-100, 100), S(1, 0), S(None, None, 2),
    (S(None), S(1, 3), S(None, None, -2)), (0, S(None), 1), (S(None), 0), (Ellipsis, S(2, None)), (Ellipsis, None),
    (S(2, 0, -1), 0), S(None, -9, -1), S(-1, None, -1), (Ellipsis, Ellipsis), S(0, 1, 0), 1.5, "x", np.int8(1),
    (S(3, 1), S(None)),
]  # fmt: skip


def test_reading(check: Any) -> None:
    for x in (X, X.T, X[::-1, ::2], X[:0], X[:1]):
        for key in KEYS:
            check(lambda b, a, key=key: b.call("getitem", a, of(key)), lambda a, key=key: a[key], x)
    check(lambda b, a: b.call("getitem", a, Sequence_(())), lambda a: a[()], np.array(2.0))


def test_run_time_keys(check: Any) -> None:
    x = M[0]
    for i in (*range(-6, 7), 2**62, -(2**62)):
        check(lambda b, a, i: b.call("getitem", a, i), lambda a, i: a[i], x, i)
        check(lambda b, a, i: b.call("getitem", a, Sequence_((Static(1), i))), lambda a, i: a[1, i], M, i)
        for j in (-5, -1, 0, 2, 9):
            for step in (None, 1, 2, -1, -3):
                check(
                    lambda b, a, i, j, s=step: b.call("getitem", a, Slice(i, j, Static(s))),
                    lambda a, i, j, s=step: a[i:j:s], x, i, j,
                )  # fmt: skip
    for kind in (np.int8, np.uint8, np.int32, np.uint64):
        check(lambda b, a, i: b.call("getitem", a, i), lambda a, i: a[i], x, kind(2))
    check(lambda b, a, i: b.call("getitem", a, i), lambda a, i: a[i], x, 1.5)


def test_writing(check: Any) -> None:
    for key in KEYS:
        for value in (5.0, 7, np.float32(2), M[0], M, M[:, :1], np.array(3.0), X[:1, :1, :1]):
            check(
                lambda b, a, v, key=key: b.call("setitem", a, of(key), v),
                lambda a, v, key=key: a.__setitem__(key, v),
                X.copy(),
                value,
                message=False,
            )


def test_writing_converts(check: Any) -> None:
    for target in "?bhilBHILefd":
        for value in (
            3,
            300,
            -1,
            2.75,
            np.nan,
            np.inf,
            True,
            np.float32(3.5),
            np.int64(300),
            np.float64(np.nan),
            M[0],
            M[0].astype("i2"),
        ):
            with np.errstate(all="ignore"):
                x = np.zeros(4, target)
                check(
                    lambda b, a, v: b.call("setitem", a, of(slice(None)), v),
                    lambda a, v: a.__setitem__(slice(None), v),
                    x,
                    value,
                    message=False,
                )
                if not isinstance(value, np.ndarray):
                    known = lambda b, a, v=value: b.call("setitem", a, Static(1), Static(v))  # noqa: E731
                    check(known, lambda a, v=value: a.__setitem__(1, v), x, message=False)


def test_overlap(check: Any) -> None:
    def shift(b: Any, a: Any) -> None:
        source = b.call("getitem", a, of(slice(None, -1)))
        b.call("setitem", a, of(slice(1, None)), source)
        return Static(None)  # type: ignore[return-value]

    check(shift, lambda a: a.__setitem__(slice(1, None), a[:-1]), np.arange(6.0))


def test_advanced(check: Any) -> None:
    getitem = lambda b, a, k: b.call("getitem", a, k)  # noqa: E731
    for key in (
        np.array([0, 2, -1]),
        np.array([[0], [1]]),
        np.array([5]),
        M > 4,
        np.array([True, False, True]),
        np.array([True]),
    ):
        check(getitem, lambda a, k: a[k], M, key)
    check(lambda b, a: b.call("getitem", a, of([0, 2])), lambda a: a[[0, 2]], M)
    check(lambda b, a, k: b.call("setitem", a, k, Static(9)), lambda a, k: a.__setitem__(k, 9), M.copy(), M > 4)


def test_read_only(check: Any) -> None:
    x = np.arange(4.0)
    x.flags.writeable = False
    check(lambda b, a: b.call("setitem", a, Static(0), Static(1)), lambda a: a.__setitem__(0, 1), x)


# -- attributes and methods ----------------------------------------------------------------------------------------


def test_attributes(check: Any) -> None:
    for name, attribute in ATTRIBUTES.items():
        for x in (M, X.T, M[0].astype("F"), np.array(2, "i2"), np.float32(2), np.complex64(2j)):
            if name != "dtype":
                check(lambda b, a, f=attribute: f(b, a), lambda a, n=name: getattr(a, n), x)
        for number in (True, 3, 2.5, 1 + 2j):
            if name in ("real", "imag"):
                check(lambda b, a, f=attribute: f(b, a), lambda a, n=name: getattr(a, n), number)


def test_methods(check: Any) -> None:
    """Each method without arguments."""
    needs = {"reshape", "astype", "swapaxes", "fill", "dot", "repeat", "clip", "sort"}
    x = np.array([[3.0, 1.0], [2.0, 5.0]])
    for name, row in METHODS.items():
        if name not in needs:
            check(row, lambda a, n=name: getattr(a, n)(), x, message=name != "item")
            if name not in ("flatten", "item", "dot"):
                check(row, lambda a, n=name: getattr(a, n)(), x.T)
    check(lambda b, a: b.call("fill", a, Static(3)), lambda a: a.fill(3), x.copy())
    check("item", lambda a: a.item(), x[:1, :1])
    for dtype in DTYPES:
        check("item", lambda a: a.item(), np.ones((), dtype))
        check("item", lambda a: a.item(), np.ones((), dtype)[()])
    check(lambda b, a: b.call("item", a, Static(0), Static(1)), lambda a: a.item(0, 1), x)


def test_what_is_not_honoured_is_refused(build: Any) -> None:
    cases: list[Any] = [
        ("array", {"like": M}), ("where", {}), ("zeros_like", {"device": "gpu"}),
        ("reshape_array", {"shape": 3, "copy": False}), ("roll", {"shift": (1, 2), "axis": (0, 1)}),
    ]  # fmt: skip
    for name, keywords in cases:
        with pytest.raises(Refusal):
            build(lambda b, a, n=name, k=keywords: b.call(n, a, **{key: of(v) for key, v in k.items()}), [M])
    with pytest.raises(TypeError):  # the specialiser binds the signature first, and refuses
        build(lambda b, a: b.call("sum", a, wrong=Static(1)), [M])
