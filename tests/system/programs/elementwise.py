# The functions are written as users write them: neither typed nor tidy.
# mypy: ignore-errors
# ruff: noqa
"""Elementwise chains, broadcasting, reductions, creation."""

from __future__ import annotations

import numpy as np

from tests.system.programs.cases import case, i, r

SCALE = 2.5
EPS32 = np.float32(1e-3)


# -- elementwise chains ----------------------------------------------------------------------------------------


@case(lambda: (2.0, r(5), r(5)), lambda: (np.float32(2), r(5, dtype="f4"), r(5, dtype="f4")), lambda: (2, i(4), r(4)))
def axpy(a, x, y):
    return a * x + y


@case(lambda: (r(7), r(7), r(7), r(7)), lambda: (r(3, 4), r(4), r(3, 1), 2.0), lambda: (r(1), r(5), r(1), r(5)))
def chain(a, x, y, w):
    t = a * x
    u = t + y
    return u - w, t


@case(lambda: (r(5),), lambda: (r(5, dtype="f4"),), lambda: (0.3,), lambda: (np.float32(0.3),), ulp=2)
def transcendental(x):
    return np.exp(-x * x) * np.sin(x) + np.cos(x) - np.tanh(x)


@case(lambda: (r(6),), lambda: (i(6),), lambda: (r(2, 3),))
def polynomial(x):
    return ((3 * x - 2) * x + 1) * x - 4


@case(lambda: (i(6, dtype="u1", low=250),), lambda: (i(6, dtype="i1", low=125),), lambda: (i(5),))
def wraps(x):
    return x * 3 + 7


@case(lambda: (r(5),), lambda: (i(5),), lambda: (np.array([True, False]),), lambda: (3,), lambda: (-2.5,))
def absolute(x):
    return abs(x)


@case(lambda: (r(6), 0.0), lambda: (i(6), 1), lambda: (i(6, dtype="i4"), 1.5))
def choose(x, t):
    return np.where(x > t, x, -x)


@case(lambda: (r(8),), lambda: (i(8),))
def clipped(x):
    return np.clip(x, -1, 1), x.clip(0, 2), np.minimum(x, 1), np.maximum(0, x)


@case(lambda: (r(5) > 0, r(5) < 1), lambda: (np.array(True), np.array([False, True])))
def logic(p, q):
    return p & q, p | ~q, p ^ q, np.logical_and(p, q), np.logical_not(p)


@case(lambda: (i(8, dtype="u1", low=0), 2), lambda: (i(8), 3), lambda: (i(8, dtype="i4"), np.int32(1)))
def bits(x, n):
    return x << n, x >> n, x & n, x | n, x ^ n, ~x


@case(lambda: (r(6), 0.75), lambda: (i(6), 2), lambda: (i(6), -2), lambda: (i(6, dtype="f4"), 3))
def divisions(x, y):
    return x / y, x // y, x % y


@case(lambda: (i(6), np.array([0, 1, -1, 2, 0, -3])))
def int_division_by_zero(x, y):
    return x // y, x % y


@case(lambda: (r(5) + 1j * r(5), 2.0), lambda: (r(3) + 1j, 1j), ulp=2)
def complexes(z, w):
    return z + w, z * w, z.real + 0, z.imag * 1, z.conj(), abs(z)


@case(lambda: (r(5),), lambda: (i(5),), lambda: (r(5, dtype="f4"),))
def powers(x):
    return x**2, x**3, (x * x) ** 0.5 if x.dtype.kind == "f" else x**1


@case(lambda: (r(5),), lambda: (r(5, dtype="f4"),))
def casts(x):
    return x.astype(np.float32), x.astype("int32"), np.float32(2) * x, x.astype(bool), x.astype(np.int8)


@case(lambda: (r(5, dtype="f4"),), lambda: (r(5),))
def module_scalar(x):
    return x * EPS32 + SCALE


@case(lambda: (r(5, dtype="f2"),), lambda: (r(3, dtype="f2"),))
def halves(x):
    return x * x + 1, np.sqrt(x + 2)


# -- broadcasting ----------------------------------------------------------------------------------------------


@case(
    lambda: (r(3, 4), r(4)),
    lambda: (r(3, 1), r(1, 4)),
    lambda: (r(3, 4), r(3, 1)),
    lambda: (r(1), r(4)),
    lambda: (r(2, 3, 4), r(3, 1)),
    lambda: (r(3, 4), np.float64(2)),
    lambda: (r(3, 4), np.array(2.0)),
    lambda: (r(0, 4), r(4)),
    lambda: (r(3), r(4)),
    lambda: (r(3, 4), r(3)),
    lambda: (r(3, 0), r(3, 1)),
)
def broadcast_add(x, y):
    return x + y


@case(lambda: (r(5), r(5)), lambda: (r(5), r(1)), lambda: (r(1), r(5)), lambda: (r(5), r(4)), lambda: (r(0), r(1)))
def runtime_ones(x, y):
    n = y.sum()
    u = y[: len(y)]
    return x + u + n


@case(lambda: (r(4),), lambda: (r(1),), lambda: (r(0),))
def outer_sum(x):
    return x[:, None] + x[None, :]


@case(lambda: (r(4), 2), lambda: (r(4), 1), lambda: (r(4), 4), lambda: (r(4), 0), lambda: (r(4), 3))
def slice_broadcast(x, n):
    return x[:n] + x


@case(lambda: (r(3, 4), r(4)), lambda: (r(3, 4), r(3, 1)), lambda: (r(4), r(3, 4)), lambda: (r(3, 4), r(5)))
def inplace_broadcast(x, y):
    x += y
    return x


# -- reductions ------------------------------------------------------------------------------------------------


@case(
    lambda: (i(5),),
    lambda: (i(3, 4),),
    lambda: (r(5),),
    lambda: (i(5, dtype="u1"),),
    lambda: (i(0),),
    lambda: (i(4, dtype="i4"),),
)
def sums(x):
    return x.sum(), np.sum(x), x.prod(), x.any(), x.all(), np.count_nonzero(x)


@case(lambda: (r(3, 4),), lambda: (i(3, 4),), lambda: (r(2, 1),), lambda: (r(0, 4),), lambda: (r(3, 1),))
def axis_sums(x):
    return x.sum(axis=0), x.sum(axis=1), x.sum(axis=-1, keepdims=True), x.sum(axis=(0, 1)), x.sum(axis=())


@case(lambda: (r(3, 4),), lambda: (i(5),), lambda: (r(0),), lambda: (r(3, 0),), lambda: (np.array([1.0, np.nan, 3.0]),))
def extremes(x):
    return x.min(), x.max(), x.argmin(), x.argmax(), np.ptp(x)


@case(lambda: (r(3, 4),), lambda: (r(0, 4),), lambda: (r(4, 0),), lambda: (i(3, 4),))
def extremes_axis(x):
    return x.max(axis=1), x.min(axis=1, keepdims=True), x.argmax(axis=1)


@case(lambda: (r(8),), lambda: (r(4, 4),), lambda: (i(8),), ulp=4)
def moments(x):
    return x.mean(), x.var(), x.std(), x.std(ddof=1)


@case(lambda: (r(4, 8),), lambda: (r(4, 8, dtype="f4"),), lambda: (r(1, 1),), ulp=4)
def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@case(lambda: (r(4, 8),), lambda: (r(8, 4),), ulp=8)
def standardise(x):
    m = x.mean(axis=0)
    return (x - m) / (x.std(axis=0) + 1)


@case(lambda: (r(5), r(5)), lambda: (i(5), i(5)), lambda: (r(0), r(0)))
def dot_like(x, y):
    return (x * y).sum()


@case(lambda: (r(5), 0), lambda: (r(2, 3), 1), lambda: (r(2, 3), -1), lambda: (r(2, 3), 2), lambda: (r(2, 3), None))
def axis_argument(x, axis):
    return x.sum(axis=axis)


@case(lambda: (i(2, 3, dtype="i2"),), lambda: (r(2, 3, dtype="f4"),))
def reduce_options(x):
    return x.sum(dtype=np.float64), x.sum(initial=5), x.max(initial=100), np.sum(x, where=x > 0)


# -- creation --------------------------------------------------------------------------------------------------


@case(lambda: (3,), lambda: (0,), lambda: (1,), lambda: (-1,))
def created(n):
    return np.zeros(n), np.ones((n, 2)), np.full(n, 7), np.arange(n), np.empty(n).shape


@case(lambda: (r(3),), lambda: (i(2, 2, dtype="i2"),))
def created_like(x):
    return np.zeros_like(x), np.ones_like(x), np.full_like(x, 3), np.zeros(x.shape, x.dtype), np.zeros_like(x, dtype=bool)


@case(lambda: (2, 5), lambda: (0, 0), lambda: (-3, 4))
def ranges(a, b):
    return np.arange(a, b), np.arange(a, b, 2), np.arange(a * 1.0, b), np.linspace(a, b, 5), np.eye(3)
