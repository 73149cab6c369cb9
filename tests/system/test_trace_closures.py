# The functions are written as users write them: neither typed nor tidy.
# mypy: ignore-errors
# ruff: noqa
"""Closures of every kind, traced: cells are told apart, shared, empty, rebound, of classes, of generators, recursive."""

from __future__ import annotations

import contextlib
import functools
import warnings

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import compare, observe

X = np.arange(1.0, 4.0)


def c1():
    A, b = np.eye(3), np.ones(3)
    return lambda x: A @ x + b


def c2():
    A, b, c = np.eye(3), np.ones(3), 2.0
    return lambda x: A @ x + b * c


def c3():
    A = np.eye(3)
    B = A
    return lambda x: A @ x + B @ x


def c4():
    n = m = 2

    def g(x):
        return x * n + m

    def f(x):
        return g(x) + n + m

    return f


def c6():
    def f(x):
        n = 1

        def inc():
            nonlocal n
            n += 1
            return n

        return x * inc() + inc()

    return f


class Base:
    k = 3

    def __init__(s):
        s.w = np.ones(3)

    def go(s, x):
        return x * s.w + s.k


class Sub(Base):
    def go(s, x):
        return super().go(x) * 2


class Sub2(Sub):
    def __init__(s):
        super().__init__()
        s.v = 2.0

    def go(s, x):
        return super().go(x) * __class__.k


def c7():
    return Sub().go


def c8():
    return Sub2().go


def c9():
    A = np.eye(3)

    class L:
        def __init__(s):
            s.w = A * 2

        def go(s, x):
            return s.w @ x + A @ x

    def f(x):
        return L().go(x)

    return f


def c10():
    A, b = np.eye(3), np.ones(3)

    def g(x):
        yield A @ x
        yield b + x

    def f(x):
        return sum(g(x))

    return f


def c11():
    ws = [np.eye(3), np.ones((3, 3))]
    b = np.ones(3)
    return lambda x: sum([w @ x + b for w in ws])


def c12():
    ws = [np.eye(3), np.ones((3, 3))]
    b = np.ones(3)
    return lambda x: sum(w @ x + b for w in ws)


def c13():
    ws = {"a": np.eye(3)}
    b = np.ones(3)
    return lambda x: {k: w @ x + b for k, w in ws.items()}["a"]


def c14():
    A = np.eye(3)

    def f(x, n=3):
        if n == 0:
            return x
        return f(A @ x + 1, n - 1)

    return f


def c15():
    A, b = np.eye(3), np.ones(3)

    def even(x, n):
        return x if n == 0 else odd(A @ x, n - 1)

    def odd(x, n):
        return -x if n == 0 else even(x + b, n - 1)

    return lambda x: even(x, 4)


def c16():
    # empty cell
    def f(x):
        if x[0] > 100:
            return later + x
        return x

    if False:
        later = 1
    return f


def c17():
    def f(x):
        try:
            return later + x
        except NameError:
            return x

    if False:
        later = 1
    return f


def c18():
    A = np.eye(3)

    def g(k):
        def h(x):
            return A @ x * k

        return h

    hs = [g(1), g(2), g(2)]
    return lambda x: sum(h(x) for h in hs)


def c19():
    A = np.eye(3)
    b = A[0]
    return lambda x: A @ x + b


def c20():
    A = np.eye(3)

    def f(x):
        A2 = A * 2

        def g(y):
            return A2 @ y + A @ y

        return g(x)

    return f


def c21():
    fs = []
    for k in range(3):
        fs.append(lambda x, k=k: x * k)
    return lambda x: fs[0](x) + fs[1](x) + fs[2](x)


def c22():
    fs = []
    for k in range(3):
        fs.append(lambda x: x * k)
    return lambda x: fs[0](x) + fs[1](x) + fs[2](x)


def c24():
    A = np.ones(3)

    def f(x):
        A[0] = x[0]
        return x + A

    return f


def c26():
    t = (np.eye(3), (np.ones(3), 2.0))
    return lambda x: t[0] @ x + t[1][0] * t[1][1]


def c27():
    def deco(fn):
        @functools.wraps(fn)
        def w(*a, **k):
            return fn(*a, **k) + scale

        return w

    scale = np.ones(3)
    off = 2.0

    @deco
    def f(x):
        return x * off

    return f


def c28():
    A = np.eye(3)

    @contextlib.contextmanager
    def cm(s):
        yield A * s

    def f(x):
        with cm(2) as B:
            return B @ x

    return f


def c29():
    A = np.eye(3)

    def f(x):
        return list(map(lambda r: (r * A).sum(), [x, x + 1]))

    return f


def c30():
    acc = []
    A = np.eye(3)

    def f(x):
        r = functools.reduce(lambda a, b: a @ b, [A, A, A])
        return r @ x

    return f


def c31():
    def f(x):
        def g(y):
            return g2(y) + 1

        def g2(y):
            return y * x

        return g(x)

    return f


def c32():
    def f(x):
        class K:
            v = x

            def m(self):
                return self.v + x

        return K().m()

    return f


def c34():
    class N:
        def __init__(s, w):
            s.w = w

        def __call__(s, x):
            return s.w * x

    a, b = N(2.0), N(2.0)
    return lambda x: a(x) + b(x) + a(x)


def c35():
    A, b = np.eye(3), np.ones(3)
    return lambda x: (lambda y: (lambda z: A @ z + b)(y) + b)(x)


def c36():
    def f(x):
        del_me = x * 2

        def g():
            return del_me

        r = g()
        del del_me
        try:
            g()
        except NameError:
            r = r + 1
        return r

    return f


class Meta(type):
    def __call__(cls, *a):
        return super().__call__(*a)


class WithMeta(metaclass=Meta):
    def __init__(s, w):
        s.w = w

    def go(s, x):
        return x * s.w


def c41():
    o = WithMeta(np.ones(3))
    return lambda x: o.go(x)


def c42():
    return lambda x: WithMeta(x).go(x)


def c43():
    A = np.ones(3)

    class P:
        @property
        def w(self):
            return A

        @staticmethod
        def s(y):
            return y + A

        @classmethod
        def c(cls, y):
            return cls.s(y) * A

    p = P()
    return lambda x: p.w + p.s(x) + p.c(x) + P.s(x) + P.c(x)


MAKERS = [made for name, made in sorted(globals().items()) if name[0] == "c" and name[1:].isdigit()]


@pytest.mark.parametrize("make", MAKERS, ids=lambda made: made.__name__)
def test_closures(make):
    function = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.TracerWarning)
        traced = tj.trace(function, X, backend="reference")
        for x in (X, X + 1, X * 0 - 2):
            text = compare(observe(traced, (x,)), observe(function, (x,)), ulp=4)
            assert not text, text


def test_cells_that_are_bound_anew_one_by_one():
    def made(a, b):
        def inner(x):
            return x * a + b

        def function(x):
            return inner(x) + a

        def rebind(k, value):
            nonlocal a, b
            a, b = (value, b) if k == 0 else (a, value)

        return function, rebind

    for first in (1, 1.0, np.ones(3), np.float64(1)):
        function, rebind = made(first, first)
        traced = tj.trace(function, X, backend="reference")
        for k, value in ((0, 2), (1, 2), (0, np.ones(3)), (1, True), (0, first), (1, first)):
            rebind(k, value)
            text = compare(observe(traced, (X,)), observe(function, (X,)), ulp=4)
            assert not text, text
