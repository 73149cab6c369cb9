# The functions are written as users write them: neither typed nor tidy.
# mypy: ignore-errors
# ruff: noqa
"""What is raised, and what was done before."""

from __future__ import annotations

import numpy as np

from tests.system.programs.cases import case, i, r


# -- errors ----------------------------------------------------------------------------------------------------


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
