# The functions are written as users write them: neither typed nor tidy.
# mypy: ignore-errors
# ruff: noqa
"""Small functions that together use all of the language, each with arguments to call it with: what the
frontend is tested on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Case = tuple[Callable[..., Any], Sequence[tuple[Any, ...]]]
CASES: list[Case] = []
SCALE = 3
TABLE = (1.5, 2.5)
INF = 1e999


def case(*calls: tuple[Any, ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((function, calls))
        return function

    return add


def ramp(*shape: int) -> Any:
    return np.arange(math.prod(shape), dtype=np.float64).reshape(shape) - 2.0


def helper(x: Any, n: int = 2) -> Any:
    return x * n


@case((2.0, 3.0), (ramp(4), 1.0))
def affine(x, y):
    """A docstring."""
    return 2 * x + y


@case((3,), (-3,), (0,))
def sign_chain(x):
    if x > 0:
        r = 1
    elif x < 0:
        r = -1.0
    else:
        r = 0j
    return r


@case((3,), (-3,))
def early_return(x):
    if x > 0:
        return x
    y = x * 2
    return y


@case((3,), (-3,))
def both_return(x):
    if x > 0:
        return 1
    else:
        return 2.5


@case((1,), (0,))
def ternary(c):
    return (1 if c else 2.5) + (10 if not c else 20)


@case((5,), (0,))
def while_sum(n):
    s = 0
    while n > 0:
        s += n
        n -= 1
    return s


@case((12,), (13,), (1,))
def while_else(n):
    d = 2
    while d * d <= n:
        if n % d == 0:
            kind = "composite"
            break
        d += 1
    else:
        kind = "prime"
    return kind, d


@case((4,), (0,))
def loop_variable(n):
    i = -1
    for i in range(n):
        pass
    return i


@case((4,), (0,))
def loop_variable_unbound(n):
    for i in range(n):
        t = i * i
    return i + t


@case((ramp(3, 2),), ([1, 2, 3],), ((),))
def rows(x):
    s = 0
    for row in x:
        s = s + row
    return s


@case((10, 3), (2, 5))
def continue_break(n, stop):
    s = 0
    for i in range(n):
        if i % 2:
            continue
        if i > stop:
            break
        s += i
    else:
        s = -s
    return s


@case((3, 4), (4, 3), (0, 0))
def nested_break(n, m):
    found = None
    for i in range(n):
        for j in range(m):
            if i * j == 6:
                found = (i, j)
                break
        else:
            continue
        break
    return found


@case((3,), (9,))
def return_in_loop(n):
    for i in range(n):
        for j in range(i):
            if i * j > 10:
                return i, j
    return None


@case((2,), (-2,))
def one_branch_only(x):
    if x > 0:
        y = x
    return y


@case((1,))
def changes_type(x):
    y = 1
    y = 2.5 + x
    y = (y, y)
    return y


@case((10,), (0,))
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


@case(((1, (2, 3), 4, 5),))
def unpacking(t):
    a, (b, c), *d = t
    [first, *rest, last] = d + [a]
    return a, b, c, d, first, rest, last


@case((ramp(3, 4),))
def shape_unpack(x):
    n, m = x.shape
    return n * 10 + m


@case((7, 3), (7.5, 2.0))
def augmented(a, b):
    a += b
    a -= 1
    a *= b
    a /= 2
    a **= 2
    a //= b
    a %= 5
    return a


@case((12, 5))
def augmented_bits(a, b):
    a &= 13
    a |= b
    a ^= 3
    a <<= 2
    a >>= 1
    return ~a


@case((ramp(3, 3),))
def augmented_matmul(a):
    b = a.copy()
    b @= a
    return b


@case((ramp(4),))
def inplace_aliases(x):
    y = x
    y += 1
    x = x * 2
    return x, y


@case((ramp(5),))
def subscripts(x):
    x[0] = 9.0
    x[1:3] += 1
    x[-1] **= 2
    x[::2] //= 2
    return x[1:-1], x[::-1], x[...], x[None, 2:], x[x > 1]


@case((ramp(2, 3, 4),))
def slices(x):
    return x[:, 1:, 0], x[..., -1], x[0, :, np.newaxis, ::2], x[[0, 1], 1]


@case((1, 2, 3), (3, 2, 1), (1, 1, 1))
def chained(a, b, c):
    return a < b < c, a == b == c != 4, a < b > c


@case((0, 2), (3, 0), ("", 1))
def operands(a, b):
    return a and b, a or b, not a, (a or b) and 7, a and b or 5


@case((2, (1, 2)), (5, [1]))
def memberships(a, b):
    return a in b, a not in b, a is None, b is not None


@case((3,))
def keywords(x):
    t = (1, 2)
    return helper(x, n=4) + helper(*t) + helper(*t[:1], n=x), max(*t, 7), [*t, x], (*t, *t)


@case((2.0,))
def uses_globals(x):
    return x * SCALE + TABLE[1] + math.sqrt(x) + np.sin(x) + INF


@case((ramp(4),))
def lambdas(x):
    double = lambda v, k=2: v * k
    return double(x) + double(x, k=3) + (lambda: x)()


@case((ramp(4), 3))
def nested_defs(x, n):
    def scaled(v, *, by=n):
        def inner(w):
            return w * by + n

        return inner(v)

    return scaled(x) + scaled(x, by=10)


@case((ramp(5),), (np.array([]),))
def walrus(x):
    if (n := len(x)) > 3:
        n += 1
    y = (m := n * 2) if n else (k := 5)
    return n, y, (m if n else k)


@case((10,))
def walrus_while(n):
    s = 0
    while (h := n // 2) > 0:
        s += h
        n = h
    return s, h


@case((3.25, "ab"))
def f_strings(x, s):
    w = 8
    return f"{x:.1f}|{s!r}|{x:{w}.3f}|{{}}|{s}" + f"{x=}" + f"{s!s:>5}" + "q'\"\n"


@case((1,), (-1,))
def asserts(x):
    assert x > 0, f"got {x}"
    assert x
    return x


@case((1,), (-1,), (0,))
def raises(x):
    if x < 0:
        raise ValueError(f"negative: {x}")
    if x == 0:
        raise ZeroDivisionError
    return x


@case((1,), (0,))
def deletes(x):
    y = x + 1
    if x:
        del y
    return y


@case((3,))
def annotated(x: int) -> float:
    y: float = x * 2.0
    z: int
    z = 3
    return y + z


@case(([1, 2, 3, 4],), ([],))
def comprehensions(xs):
    i = 100
    a = [i * i for i in xs]
    b = [i + j for i in xs if i % 2 if i > 1 for j in range(i) if j]
    c = {k: v for k, v in zip(xs, a)}
    return a, b, c, i, [[y * x for y in xs] for x in xs]


@case(([1, 2, 3, 4],), ([0, 5],), ([],))
def generators(xs):
    return (
        sum(x * x for x in xs),
        tuple(x for x in xs if x > 2),
        any(10 // x > 4 for x in xs if x),
        all(x < y for x in xs for y in (3, 9)),
        max((x for x in [*xs, 1]), default=3),
    )


@case(([0, 5],), ([1, 0],), ([0],))
def short_circuit(xs):
    return any(x == 1 or 1 // x > 0 for x in xs), all(1 // x for x in xs)


@case((0.5,))
def imports(x):
    import math as m

    import numpy
    import numpy.linalg as la
    from math import cos
    from math import sin as s

    return m.exp(x) + s(x) * cos(x) + numpy.sqrt(x) + la.norm([x, x])


@case((1, 2, 3), (1,), (1, 2, 3, 4))
def star_args(first, *rest):
    s = first
    for r in rest:
        s += r
    return s, len(rest)


@case((1,), (1, 2))
def keyword_only(a, b=10, /, *, c=100):
    return a + b + c


@case((3,), (0,))
def swaps(n):
    a = [1, 2, 3]
    i = 0
    i, a[i] = 1, n
    a[0], a[1] = a[1], a[0]
    x = y = n
    x += 1
    return a, i, x, y


@case((6,), (27,))
def collatz(n):
    steps = 0
    while True:
        if n == 1:
            return steps
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1


@case((5,), (1,))
def while_true_break(n):
    while True:
        last = n
        n -= 1
        if n < 2:
            break
    return last, n


@case((2, 3))
def copies(x, y):
    old = x
    x = x + 1
    t = y
    y = x
    x = t
    return old, x, y, t


@case((4,))
def lost_copy(n):
    x = 0
    y = 0
    for i in range(n):
        y = x
        x = x + i
    return x, y


@case((ramp(3), 2), (ramp(3), 0))
def rebinds_in_branches(x, n):
    y = x
    for i in range(n):
        if i % 2 == 0:
            y = y * 2
            x = y + x
        else:
            x, y = y, x
    return x, y


@case((np.array([1.0, -2.0, 3.0]),))
def methods(x):
    return (
        x.sum(axis=0),
        x.T.mean(),
        (-x).max(),
        -((x**2) ** 0.5),
        (-1) ** 2,
        2**-1,
        x.astype("f4").dtype.name,
    )


@case((3, 4))
def precedence(a, b):
    p = (a + b) * (a - b) - (a - (b - a)), a - b - a, a / (b / a), (a**b) ** 2, a ** (b**1)
    q = -(a**2), (-a) ** 2, not a == b, (not a) == b, (a < b) < 2, a < (b < 2), ~a & b | a ^ b << 1, (1).real
    return p, q, (a if b else 1) if a else 2, a if (b if a else 0) else 3, (a and b) + 1, not (a and b)


@case((0,), (1,), (2,), (7,))
def modes(k):
    mode = "add" if k == 0 else "mul" if k == 1 else "none"
    if mode == "add" and (k or not k):
        r = k + 2
    elif mode == "mul" or k == 2:
        r = k * 2
    else:
        r = None
    return mode, r


@case((ramp(6), 2))
def diffusion(u, steps):
    u = u.copy()
    for _ in range(steps):
        left = u[:-2]
        right = u[2:]
        u[1:-1] += 0.1 * (left - 2 * u[1:-1] + right)
        u[0] = u[1]
    return u


@case((ramp(2, 3),), (-1 - ramp(2, 3) ** 2,))
def gate(x):
    if x.sum() > 0:
        return x @ x.T
    else:
        return x + 1


@case((1e-3, 50), (2.0, 3))
def mandelbrot(c, limit):
    z = 0j
    n = 0
    while abs(z) <= 2 and n < limit:
        z, n = z * z + c, n + 1
    return n, z


@case(([3, 1, 2],), ([],))
def zips(xs):
    out = []
    for i, (x, y) in enumerate(zip(xs, reversed(xs))):
        out.append((i, x - y))
    out += [i for i, _ in out]
    return sorted(out, key=str), {"a": xs, "b": out}


@case(([1, 2, 3], 10))
def lambda_in_loop(xs, k):
    s = 0
    for x in xs:
        add = lambda v: v + x * k
        s = add(s) + sum(map(lambda w: w * x, xs))
    return s


@case((5,), (0,))
def dead_code(n):
    for i in range(n):
        if i == 3:
            x = i
            break
        else:
            continue
    else:
        return "none"
    return x


@case((3,))
def unused(x):
    y = x + 1
    x * 2
    z = helper(x)
    return None


@case((2,))
def no_return(x):
    x = x + 1


def _closures() -> None:
    offset = 4
    table = [1, 2]

    @case((3,))
    def closes(x):
        f = lambda v: v + offset
        return f(x) * table[1] + offset

    CASES.append((lambda x: x + offset if x else None, [(3,), (0,)]))


_closures()
