# The functions are written as users write them: neither typed nor tidy.
# mypy: ignore-errors
# ruff: noqa
"""Views, and arrays changed in place."""

from __future__ import annotations

import numpy as np

from tests.system.programs.cases import case, i, r


# -- views -----------------------------------------------------------------------------------------------------


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


# -- in place --------------------------------------------------------------------------------------------------


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
