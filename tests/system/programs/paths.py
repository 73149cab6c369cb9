# The functions are written as users write them: neither typed nor tidy.
# mypy: ignore-errors
# ruff: noqa
"""Branches, types that depend on the path, calls."""

from __future__ import annotations

import math

import numpy as np

from tests.system.programs.cases import case, i, r

SCALE = 2.5
COUNT = 3
WEIGHTS = np.array([0.25, 0.5, 0.25])
TABLE = (1.5, -2.0, 4.0)


# -- paths and types -------------------------------------------------------------------------------------------


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


# -- calls -----------------------------------------------------------------------------------------------------


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


case(lambda: (r(4),), lambda: (2,))(make_scaler(3))
case(lambda: (r(4),), lambda: (2,))(make_scaler(r(4)))
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
