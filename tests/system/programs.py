# The functions are written as users write them: neither typed nor tidy.
# mypy: ignore-errors
# ruff: noqa
"""Small NumPy functions, each with calls to make of it: what the whole compiler is tested on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Make = Callable[[], tuple[Any, ...]]
CASES: list[tuple[Callable[..., Any], tuple[Make, ...], dict[str, Any]]] = []

SCALE = 2.5
COUNT = 3
WEIGHTS = np.array([0.25, 0.5, 0.25])
NAME = "fast"
EPS32 = np.float32(1e-3)
TABLE = (1.5, -2.0, 4.0)


def case(*makes: Make, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((function, makes, options))
        return function

    return add


def r(*shape: int, dtype: Any = np.float64, low: float = -2.0, step: float = 0.5) -> Any:
    return (np.arange(math.prod(shape)).reshape(shape) * step + low).astype(dtype)


def i(*shape: int, dtype: Any = np.int64, low: int = -3) -> Any:
    return (np.arange(math.prod(shape)).reshape(shape) + low).astype(dtype)


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


# -- broadcasting ------------------------------------------------------------------------------------------------


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


# -- reductions --------------------------------------------------------------------------------------------------


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


# -- views -------------------------------------------------------------------------------------------------------


@case(lambda: (r(6),), lambda: (r(1),), lambda: (r(0),), lambda: (r(6, 2),))
def slices(x):
    return x[1:], x[:-1], x[::2], x[::-1], x[-2:], x[5:1:-2], x[10:], x[-10:3]


@case(lambda: (r(3, 4),), lambda: (r(1, 4),), lambda: (r(3, 0),))
def transposed(x):
    return x.T, x.T + 1, x.transpose(1, 0), np.swapaxes(x, 0, 1)


@case(lambda: (r(3, 4),), lambda: (i(2, 6),))
def reshaped(x):
    return x.reshape(-1), x.ravel(), x.reshape(2, 6), x.reshape((x.shape[1], -1))


@case(lambda: (r(3, 4),), lambda: (r(2, 2),))
def rows_and_columns(x):
    return x[0], x[:, 1], x[-1, -1], x[..., 0], x[None], x[1:, ::-1]


@case(lambda: (r(5),), lambda: (r(2, 3),), lambda: (2.0,), lambda: (np.float32(1),), lambda: (None,), lambda: ("s",))
def identity(x):
    return x


@case(lambda: (r(5), r(5)), lambda: (lambda a: (a, a))(r(3)))
def swap_arguments(x, y):
    return y, x


@case(lambda: (r(5),), lambda: (r(2, 3),))
def same_twice(x):
    y = x
    return x, y, (x, [y])


@case(lambda: (r(6),), lambda: (r(2, 3),))
def view_of_view(x):
    y = x[1:]
    z = y[::-1]
    z[0] = 99
    return z


@case(lambda: (r(2, 3, 4),), lambda: (r(1, 1, 1),))
def shape_values(x):
    a, b, c = x.shape
    return a, b * c, x.size, x.ndim, len(x), x.shape


@case(lambda: (r(4),), lambda: (r(1),), lambda: (r(4, 1),))
def squeezing(x):
    return np.expand_dims(x, 0), x[:, None].squeeze(1), np.moveaxis(x[None], 0, -1)


@case(lambda: (r(4), r(4)), lambda: (r(2, 3), r(4, 3)), lambda: (r(2), i(3)), lambda: (r(0), r(2)), lambda: (r(2, 3), r(2, 4)))
def joined(x, y):
    return np.concatenate((x, y))


@case(lambda: (r(4), r(4)), lambda: (i(3), r(3)), lambda: (r(2), r(3)))
def stacked(x, y):
    return np.stack([x, y]), np.stack((x, y), axis=-1)


# -- in place ----------------------------------------------------------------------------------------------------


@case(lambda: (r(6),), lambda: (i(6),), lambda: (r(1),), lambda: (r(0),), lambda: (r(33),))
def overlap_forward(x):
    x[1:] += x[:-1]
    return x


@case(lambda: (r(6),), lambda: (i(7),), lambda: (r(40),))
def overlap_backward(x):
    x[:-1] += x[1:]


@case(lambda: (r(6),), lambda: (r(7),), lambda: (r(33),))
def overlap_reversed(x):
    x[:] = x[::-1]
    x += x[::-1]
    return x


@case(lambda: (r(4, 4),), lambda: (i(5, 5),), lambda: (r(1, 1),))
def overlap_transposed(x):
    x += x.T
    x[:] = x.T


@case(lambda: (r(6),), lambda: (r(9),))
def overlap_scaled(x):
    x[::2] = x[: (len(x) + 1) // 2] * 2
    x[2:] = x[:-2]
    return x


@case(
    lambda: (r(5), r(5)),
    lambda: (lambda a: (a, a))(r(5)),
    lambda: (lambda a: (a[1:], a[:-1]))(r(6)),
    lambda: (lambda a: (a, a[::-1]))(r(6)),
)
def update_first(x, y):
    x += y
    x *= 2
    y -= x
    return x.sum()


@case(lambda: (r(5), r(5)), lambda: (lambda a: (a, a))(r(5)), lambda: (lambda a: (a[2:], a[:-2]))(r(6)))
def copy_into(dst, src):
    dst[:] = src
    dst[0] = 100
    return src[0]


@case(
    lambda: (r(5), 3),
    lambda: (i(5), 2.7),
    lambda: (i(5, dtype="u1", low=0), 300),
    lambda: (i(5), True),
    lambda: (r(5, dtype="f4"), 1e300),
)
def fill_slice(x, v):
    x[1:3] = v
    return x


@case(
    lambda: (r(5), 0, 9),
    lambda: (r(5), -1, 9),
    lambda: (r(5), 5, 9),
    lambda: (r(5), -6, 9),
    lambda: (i(5), 2, 1.5),
    lambda: (i(5), 1, float("nan")),
)
def set_element(x, k, v):
    x[k] = v
    return x[k]


@case(lambda: (r(6),), lambda: (i(6),), lambda: (np.array(3.0),), lambda: (2.5,), lambda: (3,), lambda: (np.float32(1.5),))
def augmented(x):
    x += 1
    x *= 2
    x -= 3
    return x


@case(lambda: (i(5),), lambda: (r(5),))
def inplace_division(x):
    x /= 2
    return x


@case(lambda: (i(5), 1.5), lambda: (i(5, dtype="i4"), 2), lambda: (r(5, dtype="f4"), 0.1), lambda: (i(5, dtype="u1"), -1))
def inplace_cast(x, y):
    x += y
    return x


@case(lambda: (r(3, 4),), lambda: (i(3, 3),))
def swap_rows(x):
    t = x[0].copy()
    x[0] = x[1]
    x[1] = t
    return x


@case(lambda: (r(3, 4),), lambda: (i(3, 3),))
def swap_rows_wrong(x):
    x[0], x[1] = x[1], x[0]
    return x


@case(lambda: (r(6), 2), lambda: (r(6), 0), lambda: (r(6), 5))
def pingpong(x, n):
    a, b = x, x * 0
    for k in range(n):
        b[1:-1] = a[:-2] + a[2:]
        a, b = b, a
    return a, b


@case(lambda: (r(5),), lambda: (i(5),))
def masked_assign(x):
    x[x < 0] = 0
    return x


@case(lambda: (r(4), np.array([3, 0, -1])), lambda: (r(4), np.array([True, False, True, False])), lambda: (r(4), np.array([4])))
def fancy_read(x, k):
    return x[k]


# -- loops -------------------------------------------------------------------------------------------------------


@case(lambda: (i(5),), lambda: (r(5),), lambda: (r(0),), lambda: (i(3, dtype="i1", low=120),), lambda: (r(4, dtype="f4"),))
def accumulate_int(x):
    total = 0
    for k in range(len(x)):
        total += x[k]
    return total


@case(lambda: (i(5),), lambda: (r(5),), lambda: (r(0),), lambda: (r(4, dtype="f4"),))
def accumulate_float(x):
    total = 0.0
    for v in x:
        total += v
    return total


@case(lambda: (r(5),), lambda: (r(4, dtype="f4"),), lambda: (i(4),))
def accumulate_numpy(x):
    total = np.float64(0)
    for v in x:
        total = total + v * v
    return total


@case(lambda: (5,), lambda: (0,), lambda: (20,), lambda: (-1,))
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


@case(lambda: (27,), lambda: (1,), lambda: (97,))
def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


@case(lambda: (r(10), 1.0), lambda: (r(10), 99.0), lambda: (r(0), 0.0))
def find_first(x, t):
    for k in range(x.shape[0]):
        if x[k] > t:
            return k
    return -1


@case(lambda: (r(10), 1.0), lambda: (r(10), 99.0), lambda: (r(0), 0.0))
def find_or_none(x, t):
    for v in x:
        if v > t:
            return v


@case(lambda: (r(10), 1.0), lambda: (r(10), 99.0))
def for_else(x, t):
    for k in range(len(x)):
        if x[k] > t:
            break
    else:
        return "none"
    return k


@case(lambda: (i(10),), lambda: (i(3),))
def skip_odd(x):
    out = 0
    for v in x:
        if v % 2:
            continue
        if v > 4:
            break
        out += v
    return out


@case(lambda: (r(3, 4),), lambda: (r(0, 4),), lambda: (r(3, 0),))
def nested_loops(x):
    out = np.zeros(x.shape[0])
    for a in range(x.shape[0]):
        for b in range(x.shape[1]):
            out[a] += x[a, b] * b
    return out


@case(lambda: (r(3, 4), r(4, 2)), lambda: (i(2, 2), i(2, 2)), lambda: (r(2, 3), r(2, 3)))
def matmul_loops(x, y):
    if x.shape[1] != y.shape[0]:
        raise ValueError("shapes do not fit")
    out = np.zeros((x.shape[0], y.shape[1]))
    for a in range(x.shape[0]):
        for b in range(y.shape[1]):
            s = 0.0
            for c in range(x.shape[1]):
                s += x[a, c] * y[c, b]
            out[a, b] = s
    return out


@case(lambda: (r(3, 4), r(4)), lambda: (r(3, 4), r(4, 2)), lambda: (r(3), r(3)), lambda: (r(3, 4), r(3)), ulp=4)
def matmul(x, y):
    return x @ y


@case(lambda: (r(8), 3), lambda: (r(8), 0), lambda: (r(3), 10))
def diffuse(u, steps):
    u = u.copy()
    for _ in range(steps):
        u[1:-1] = u[1:-1] + 0.25 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


@case(lambda: (r(6),), lambda: (r(0),), lambda: (r(1),))
def grow_type(x):
    s = 0
    for k in range(len(x)):
        if x[k] > 0:
            s += 1
        else:
            s += 0.5
    return s


@case(lambda: (5,), lambda: (0,), lambda: (1,))
def loop_variable_after(n):
    k = -1
    for k in range(n):
        pass
    return k


@case(lambda: (5,), lambda: (0,))
def unbound_after_loop(n):
    for k in range(n):
        y = k * 2
    return y


@case(lambda: (1,), lambda: (-1,))
def unbound_in_branch(n):
    if n > 0:
        y = n
    return y


@case(lambda: (r(5), r(5)), lambda: (r(5), r(3)), lambda: (r(0), r(3)))
def zipped(x, y):
    s = 0.0
    for k, (a, b) in enumerate(zip(x, y)):
        s += k * a * b
    return s


@case(lambda: (r(4),), lambda: (r(0),))
def rev(x):
    out = np.empty_like(x)
    for k in reversed(range(len(x))):
        out[len(x) - 1 - k] = x[k]
    return out


@case(lambda: (10, 2, 3), lambda: (2, 10, 3), lambda: (10, 2, -3), lambda: (0, 0, 1))
def range_three(a, b, c):
    s = 0
    n = 0
    if c > 0:
        for k in range(a, b, 3):
            s += k
            n += 1
    else:
        for k in range(a, b, -3):
            s += k
            n += 1
    return s, n


@case(lambda: (r(5),), lambda: (r(2),))
def while_on_array(x):
    n = 0
    while x.sum() > -20:
        x -= 1
        n += 1
        if n >= 50:
            break
    return n


@case(lambda: (0.3, 0.2), lambda: (2.0, 2.0), lambda: (0, 0))
def mandel(a, b):
    c = complex(a, b)
    z = 0j
    for k in range(30):
        if abs(z) > 2:
            return k
        z = z * z + c
    return -1


@case(lambda: (r(5),), lambda: (r(1),))
def rows_mutated(x):
    y = x[:, None] * np.ones(3)
    for row in y:
        row += 1
        row[0] = -1
    return y


@case(lambda: (r(3, 2),), lambda: (i(2, 2),))
def loop_scopes(x):
    out = []
    best = x[0, 0]
    at = (0, 0)
    for a in range(x.shape[0]):
        for b in range(x.shape[1]):
            if x[a, b] > best:
                best = x[a, b]
                at = (a, b)
    return best, at


# -- paths and types ---------------------------------------------------------------------------------------------


@case(*(lambda n=n: (np.array([-1.0, -2.0, 3.0, 4.0]), n) for n in range(5)))
def type_changes_in_the_last_turn(x, n):
    best = total = 0.0
    k = 0
    while k < n:
        total = total + best
        if x[k] > 0:
            best = x[k]
        k += 1
    return total, best


@case(lambda: (3,), lambda: (-3,), lambda: (0,))
def sign_types(x):
    if x > 0:
        return 1
    elif x < 0:
        return -1.0
    return None


@case(lambda: (r(4), True), lambda: (r(4), False))
def array_or_scalar(x, flag):
    y = x if flag else x.sum()
    return y * 2


@case(lambda: (r(2, 2), True), lambda: (r(2, 2), False))
def rank_by_path(x, flag):
    if flag:
        y = x[0]
    else:
        y = x
    z = y + 1
    return z.sum(), z.ndim


@case(lambda: (r(3), r(3, 3)), lambda: (-r(3) - 5, r(3, 3)))
def founding(w, x):
    if w.sum() > 0:
        return w + x
    else:
        return w


@case(lambda: (2, 1.5), lambda: (-2, 1.5), lambda: (0, 0.0))
def scalar_by_path(n, f):
    x = n if n > 0 else f
    y = x * 2
    return y, x + n


@case(lambda: (r(4), None), lambda: (r(4), r(4)), lambda: (r(4), 2.0))
def optional(x, w=None):
    if w is None:
        w = 1.0
    return x * w


@case(lambda: (r(4),), lambda: (r(4), 3), lambda: (r(4), 3, "half"), lambda: (r(4), 3, "other"))
def modes(x, n=2, mode="full"):
    if mode == "full":
        return x * n
    elif mode == "half":
        return x * n / 2
    raise ValueError(f"unknown mode {mode!r}")


@case(lambda: (1, 2), lambda: (1, 2, 3, 4), lambda: (r(3), 1, r(3)))
def star(x, *rest):
    s = x
    for v in rest:
        s = s + v
    return s, len(rest)


@case(lambda: ((r(3), 2),), lambda: ((r(3), r(3)),), lambda: ([r(3), 1.5],))
def tuple_in(pair):
    a, b = pair
    return a * b, (b, a), len(pair)


@case(lambda: (r(3), 1), lambda: (r(3), 0))
def chained_ternary(x, k):
    return x * (1 if k else 2) + (0 if k > 5 else 1.5 if k > 0 else -1)


@case(lambda: (1, 2), lambda: (0, 2), lambda: (0, 0), lambda: (1.5, 0), lambda: (0, "x"))
def and_or(a, b):
    return a and b, a or b, not a


@case(lambda: (1, 5, 3), lambda: (1, 5, 9), lambda: (1.0, 2, 1))
def chained_compare(a, b, c):
    return a <= c < b, a < b > c


# -- calls -------------------------------------------------------------------------------------------------------


def clamp(x, low, high):
    if x < low:
        return low
    if x > high:
        return high
    return x


@case(lambda: (r(6), -1.0, 0.4), lambda: (i(6), 0, 2), lambda: (r(0), 0, 1))
def inlined_early_return(x, low, high):
    out = np.zeros(len(x))
    for k in range(len(x)):
        out[k] = clamp(x[k], low, high)
    return out


def index_of(x, v):
    for k in range(len(x)):
        if x[k] == v:
            return k
    return -1


@case(lambda: (r(6), 0.5), lambda: (r(6), 77.0), lambda: (i(6), 1))
def inlined_loop_return(x, v):
    a = index_of(x, v)
    b = index_of(x[::-1], v)
    return a, b, a + b


@case(lambda: (r(6),), lambda: (i(4),))
def inlined_in_loop(x):
    hits = 0
    for k in range(len(x)):
        hits += index_of(x, x[k])
    return hits


def norm2(x):
    return (x * x).sum()


@case(lambda: (r(4), r(4)), lambda: (i(4), i(4)))
def helpers(x, y):
    return norm2(x - y) + norm2(y), norm2(x=y)


def scaled(x, *, by=SCALE, plus=0):
    return x * by + plus


@case(lambda: (r(4),), lambda: (i(4),))
def keyword_helper(x):
    return scaled(x), scaled(x, by=2), scaled(x, plus=1, by=3)


def make_scaler(k):
    def scale(x):
        return x * k

    return scale


CASES.append((make_scaler(3), (lambda: (r(4),), lambda: (2,)), {}))
CASES.append((make_scaler(r(4)), (lambda: (r(4),), lambda: (2,)), {}))
triple = make_scaler(3.0)


@case(lambda: (r(4),), lambda: (2,))
def calls_closure(x):
    return triple(x) + 1


@case(lambda: (r(4),), lambda: (i(4),))
def nested_function(x):
    def inner(y):
        return y + x.sum()

    g = lambda y: inner(y) * 2
    return inner(x), g(1)


@case(lambda: (r(5),), lambda: (r(3),), lambda: (i(4),))
def captured_array(x):
    return (x[:3] * WEIGHTS).sum() + COUNT * math.pi


@case(lambda: (2.0,), lambda: (2,), lambda: (-1.0,), ulp=1)
def math_functions(x):
    return math.sqrt(x), math.exp(x), math.floor(x), math.sin(x)


@case(lambda: (r(4),), lambda: (3.7,))
def builtins_used(x):
    return len(TABLE), max(1, 2.5), min(3, 2), round(2.5), int(3.9), float(2), bool(0), sum((1, 2, 3)), x


@case(lambda: (2.7,), lambda: (-2.7,), lambda: (3,), lambda: (float("nan"),), lambda: (float("inf"),))
def to_int(x):
    return int(x)


@case(lambda: (r(4),), lambda: (2,))
def constants_tuple(x):
    s = 0
    for c in TABLE:
        s = s * x + c
    return s


@case(lambda: (3,), lambda: (0,))
def comprehension(n):
    squares = [k * k for k in range(4)]
    return squares, sum(squares) + n


# -- creation ----------------------------------------------------------------------------------------------------


@case(lambda: (3,), lambda: (0,), lambda: (1,), lambda: (-1,))
def created(n):
    return np.zeros(n), np.ones((n, 2)), np.full(n, 7), np.arange(n), np.empty(n).shape


@case(lambda: (r(3),), lambda: (i(2, 2, dtype="i2"),))
def created_like(x):
    return np.zeros_like(x), np.ones_like(x), np.full_like(x, 3), np.zeros(x.shape, x.dtype), np.zeros_like(x, dtype=bool)


@case(lambda: (2, 5), lambda: (0, 0), lambda: (-3, 4))
def ranges(a, b):
    return np.arange(a, b), np.arange(a, b, 2), np.arange(a * 1.0, b), np.linspace(a, b, 5), np.eye(3)


# -- errors ------------------------------------------------------------------------------------------------------


@case(lambda: (2**31, 2**31), lambda: (2**62, 1), lambda: (-(2**62), 1), lambda: (-(2**31), -1), lambda: (3, 4))
def python_ints(a, b):
    return a * b, a + b, a - b, -a, abs(a), ~a


@case(lambda: (1, 0), lambda: (1.0, 0), lambda: (1, 0.0), lambda: (7, 2), lambda: (-7, 2), lambda: (7.5, -2))
def python_division(a, b):
    return a / b, a // b, a % b


@case(lambda: (1, 0), lambda: (7, -2), lambda: (0.0, 0.0), lambda: (5, 0.0))
def python_floor(a, b):
    return a // b


@case(lambda: (1, 0), lambda: (7, -2), lambda: (-7.5, 2), lambda: (5.0, 0))
def python_mod(a, b):
    return a % b


@case(lambda: (2, 3), lambda: (2.0, 0.5), lambda: (0, 3), lambda: (0.0, -1), lambda: (-8.0, 2), ulp=1)
def python_power(a, b):
    return a**b


@case(lambda: (1, 2), lambda: (1, -1), lambda: (-5, 1), lambda: (1, 0))
def python_shift(a, b):
    return a << b, a >> b


@case(lambda: (r(3), 2), lambda: (r(3), 3), lambda: (r(3), -4), lambda: (r(3), -1))
def get_element(x, k):
    return x[k]


@case(lambda: (r(3, 3), 1, 2), lambda: (r(3, 3), 3, 0), lambda: (r(3, 3), 0, -4), lambda: (r(3, 3), np.int32(1), np.uint8(2)))
def get_two(x, a, b):
    return x[a, b]


@case(lambda: (r(4),), lambda: (r(2),))
def index_error_midway(x):
    for k in range(4):
        x[k] = k * 10
    return x


@case(lambda: (3,), lambda: (-3,), lambda: (0,))
def asserts(n):
    assert n != 0
    assert n > 0, "n must be positive"
    return n


@case(lambda: (3,), lambda: (-3,))
def raises(n):
    if n < 0:
        raise ValueError(f"negative: {n}")
    if n > 100:
        raise RuntimeError
    return n


class Odd(Exception):
    pass


@case(lambda: (3,), lambda: (2,))
def user_exception(n):
    if n % 2:
        raise Odd(f"odd {n}")
    return n


@case(lambda: (r(4),), lambda: (r(1),), lambda: (r(0),), lambda: (r(1, 1),))
def ambiguous(x):
    if x > 0:
        return 1
    return 0


@case(lambda: (r(4),), lambda: (r(6),), lambda: (r(2, 3),))
def bad_reshape(x):
    return x.reshape(2, 3)


@case(lambda: (r(3),), lambda: (r(2),), lambda: (r(4),), lambda: ((1, 2, 3),), lambda: ((1, 2),))
def unpack_three(x):
    a, b, c = x
    return a + b + c


@case(lambda: (r(3), "x"), lambda: (r(3), None))
def bad_operand(x, y):
    return x.shape


@case(lambda: (np.int8(100), np.int8(100)), lambda: (np.uint8(3), 5), lambda: (np.float32(1), 2.0), lambda: (np.int64(3), 0))
def numpy_scalars(a, b):
    return a + b, a * b, a - b


@case(lambda: (np.int64(7), np.int64(0)), lambda: (np.float32(1), np.float32(0)), lambda: (np.int32(7), 2))
def numpy_scalar_division(a, b):
    return a / b, a // b, a % b


@case(
    lambda: (np.uint8(3), 300),
    lambda: (i(3, dtype="u1", low=0), 300),
    lambda: (i(3, dtype="i1", low=0), -129),
    lambda: (i(3), 2**62),
)
def weak_out_of_bounds(a, b):
    return a + b


@case(lambda: (np.array(3.0),), lambda: (np.array(3),), lambda: (np.array(True),))
def zero_dim(x):
    return x + 1, x, x[()], x.sum(), x[...], float(x)


@case(lambda: (np.array(3.0),), lambda: (np.array(3),))
def zero_dim_store(x):
    x[()] = 7
    x += 1
    x[...] = x * 2
    return x


@case(lambda: (r(3),), lambda: (i(3),))
def item(x):
    return x[0].item(), x[:1].item(), float(x[1]), int(x[2])


@case(lambda: (r(4),), lambda: (i(4),))
def methods(x):
    y = x.copy()
    y.fill(2)
    return y, x.cumsum(), x.round(), x.tolist() if False else x.dtype == np.float64


@case(lambda: (r(4), 2), lambda: (r(4), 0))
def temporaries_reused(x, n):
    y = x + 1
    z = y * 2
    for k in range(n):
        y = z + y
        z = y - z
    y += z
    return y, z


@case(lambda: (r(4),), lambda: (r(1),))
def order_of_effects(x):
    a = x.sum()
    x += 1
    b = x.sum()
    y = x * 2
    x[0] = 100
    return a, b, y, x.sum()


@case(lambda: (r(5),), lambda: (r(3),))
def lazy_read_before_write(x):
    y = x[1:] * 2
    x[:] = 0
    return y, x


@case(lambda: (r(5), r(5)), lambda: (lambda a: (a, a))(r(5)))
def alias_through_branch(x, y):
    z = x if x[0] < 0 else y
    z += 1
    return x + y


@case(lambda: (r(4, 4),), lambda: (r(2, 2),))
def diagonal_updates(x):
    for k in range(x.shape[0]):
        x[k] -= x[k].mean()
        x[:, k] += 1
    return x


@case(lambda: (np.array([1.0, np.nan, -np.inf, np.inf, -0.0, 0.0]),))
def specials(x):
    return (
        x == x,
        x < 1,
        np.isnan(x),
        np.isfinite(x),
        np.sign(x),
        np.signbit(x),
        np.maximum(x, 0),
        np.fmax(x, 0),
        np.minimum(x, -0.0),
        -x,
        abs(x),
        np.floor(x),
        np.sqrt(abs(x)),
        x * 0,
        np.where(x, 1, 2),
    )


@case(lambda: (r(5),), lambda: (r(5, dtype="f4"),), lambda: (i(5),))
def out_argument(x):
    y = np.zeros(5, np.float64)
    np.add(x, 1, out=y)
    np.multiply(y, y, y)
    return y


@case(lambda: (r(5), r(5)), lambda: (lambda a: (a, a[::-1]))(r(5)))
def out_given(x, y):
    np.add(x, x, out=y)
    return np.subtract(x, y, out=x)


# -- found by testing --------------------------------------------------------------------------------------------


@case(lambda: (r(5),), lambda: (-r(5) - 9,), lambda: (i(5),), lambda: (r(0),), lambda: (-i(5) - 9,))
def sum_of_positive(x):
    s = 0
    for v in x:
        if v > 0:
            s += v
    return s


@case(lambda: (r(5),), lambda: (r(0),), lambda: (i(4),))
def largest(x):
    m = -1e300
    for v in x:
        if v > m:
            m = v
    return m


@case(lambda: (r(2, 3),), lambda: (-r(2, 3) - 5,), lambda: (i(3, 2),), lambda: (r(0, 3),))
def largest_of_rows(x):
    best = -1
    for a in range(x.shape[0]):
        for b in range(x.shape[1]):
            if x[a, b] > best:
                best = x[a, b]
    return best


@case(lambda: (r(6),), lambda: (r(6) + 97,), lambda: (-r(3),))
def largest_while(x):
    m = 0
    k = 0
    while k < len(x):
        if x[k] > m:
            m = x[k]
            if m > 98:
                break
        k += 1
    return m, k


@case(lambda: (r(6),), lambda: (r(0),))
def position_of_largest(x):
    best = None
    for k in range(len(x)):
        if best is None or x[k] > x[best]:
            best = k
    return best


@case(lambda: (r(5), 0.0), lambda: (r(5), 3.0), lambda: (r(5), -9.0))
def else_of_an_inner_loop(x, t):
    out = 0
    for a in range(3):
        for b in range(len(x)):
            if x[b] > t + a:
                break
        else:
            out += 100
            break
        out += b
    else:
        out -= 1
    return out, a, b


@case(lambda: (3,), lambda: (9,))
def else_of_a_while(n):
    k = 0
    while k < n:
        if k == 5:
            break
        k += 1
    else:
        k = -1
    return k


@case(lambda: (20,), lambda: (2,))
def primes(n):
    count = 0
    for p in range(2, n):
        for d in range(2, p):
            if p % d == 0:
                break
        else:
            count += 1
    return count


@case(lambda: (True,), lambda: (False,))
def unbound_on_one_path(c):
    if c:
        z = later + 1
    else:
        z = 3
    return z + 1
    later = 1


@case(lambda: (True, r(3)), lambda: (False, r(3)))
def fails_on_one_path(c, x):
    if c:
        z = x[0, 0, 0]
    else:
        z = 3.0
    return z + 1


@case(lambda: (r(5), 0.0), lambda: (r(5), 3.0), lambda: (r(0), 9.0))
def inner_variable_after_the_loop(x, t):
    out = 0
    for a in range(3):
        for b in range(len(x)):
            if x[b] > t + a:
                break
        out += b
    return out, a, b


@case(lambda: (r(5), 2.0), lambda: (r(1), 0.5))
def method_of_a_python_number(x, t):
    x += 1
    return (t > 1).all()


@case(lambda: (r(1, 9), r(1, 9), 0), lambda: (r(1, 9), r(1, 9), 2))
def store_to_no_rows(x, y, k):
    x[:k] -= y
    return x


@case(lambda: (r(3), 2.0, 1), lambda: (r(3), -2.0, 2))
def sizes_joined_after_a_dead_path(y, t, k):
    if t > 0:
        a = y[-k:]
    else:
        y[:k] *= a
    return np.minimum(a, a[:-1]), a[:-1]
