# The functions are written as users write them: neither typed nor tidy.
# mypy: ignore-errors
# ruff: noqa
"""Loops, and types that change in them."""

from __future__ import annotations

import numpy as np

from tests.system.programs.cases import case, i, r


# -- loops -----------------------------------------------------------------------------------------------------


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


# -- found by testing ------------------------------------------------------------------------------------------


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
