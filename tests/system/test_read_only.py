"""An array that cannot be written raises where NumPy raises, whichever way it comes to the write, and its memory stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import hold, public

FROZEN = b"\0\1\2\3"
CAPTURED = np.frombuffer(FROZEN, np.uint8)


def fixed() -> Any:
    """An array over a bytes object: a write to it would change what Python takes for constant."""
    return np.frombuffer(FROZEN, np.uint8)


def free() -> Any:
    return np.arange(10, 14, dtype=np.uint8)


def broadcast() -> Any:
    return np.broadcast_to(np.array([7], np.uint8), (4,))


def repeated() -> Any:
    return np.lib.stride_tricks.as_strided(np.array([7], np.uint8), (4,), (0,))


# -- single writes ---------------------------------------------------------------------------------------------


def past_the_end(x: Any, y: Any, n: int) -> Any:
    x[10] = 1


def too_many_indices(x: Any, y: Any, n: int) -> Any:
    x[1:9, 0] = 1


def wrong_shape(x: Any, y: Any, n: int) -> Any:
    x[1:3] = y


def too_great(x: Any, y: Any, n: int) -> Any:
    x[...] = 300


def wrong_dtype(x: Any, y: Any, n: int) -> Any:
    x += 1.5


def no_loop(x: Any, y: Any, n: int) -> Any:
    x <<= 1.5


def sorted_in_place(x: Any, y: Any, n: int) -> Any:
    x.sort()


def squared(x: Any, y: Any, n: int) -> Any:
    x **= 2


def multiplied(x: Any, y: Any, n: int) -> Any:
    x @= y


def summed_into(x: Any, y: Any, n: int) -> Any:
    y.sum(out=x[:1].reshape(()))


def cumulated_into(x: Any, y: Any, n: int) -> Any:
    np.cumsum(y, out=x)


def clipped_into(x: Any, y: Any, n: int) -> Any:
    np.clip(y, 0, 1, out=x)


def nothing_into_nothing(x: Any, y: Any, n: int) -> Any:
    x[5:5] = 3


def parts(x: Any, y: Any, n: int) -> Any:
    z = x.reshape(2, 2)
    for row in z:
        row[0] = 1


def viewed_as_array(x: Any, y: Any, n: int) -> Any:
    np.ascontiguousarray(x.T)[0] = 1


# -- programs --------------------------------------------------------------------------------------------------


def in_a_loop(x: Any, y: Any, n: int) -> Any:
    for _ in range(n):
        x += 1
    return x


def in_a_while(x: Any, y: Any, n: int) -> Any:
    while n > 0:
        x += 1
        n -= 1
    return x


def on_a_branch(x: Any, y: Any, n: int) -> Any:
    z = x if n else x.copy()
    z += 1
    return z


def one_of_two(x: Any, y: Any, n: int) -> Any:
    z = x if n > 1 else y
    z[1:] = 5
    return z


def out_of_two(x: Any, y: Any, n: int) -> Any:
    z = x if n > 1 else y
    np.add(x, y, out=z)
    return z


def filled(x: Any, y: Any, n: int) -> Any:
    z = x if n > 1 else y
    z[::2].fill(3)
    return z


def masked(x: Any, y: Any, n: int) -> Any:
    z = x if n > 1 else y
    z[z == 1] = 9
    return z


def reshaped(x: Any, y: Any, n: int) -> Any:
    z = x if n > 1 else y
    z.reshape(2, 2)[1, 1] = 9
    return z


def double_buffer(u: Any, v: Any, n: int) -> Any:
    for _ in range(n):
        v[1:-1] = u[1:-1] + 1
        u, v = v, u
    return u


def swapped_inside(u: Any, v: Any, n: int) -> Any:
    for i in range(n):
        for _ in range(3):
            u, v = v, u
        u[i] = 9
    return u


def view_before(x: Any, y: Any, n: int) -> Any:
    v = x[1:]
    for _ in range(n):
        v += 1
        v = v[::-1]
    return v


def element_of_a_view(x: Any, y: Any, n: int) -> Any:
    for i in range(n):
        x = x[::-1]
        x[i] = 5
    return x


def _add(x: Any) -> Any:
    x += 1
    return x


def through_a_helper(x: Any, y: Any, n: int) -> Any:
    for _ in range(n):
        x = _add(x)
    return x


def _pick(x: Any, y: Any, n: int) -> Any:
    for i in range(n):
        if i > 1:
            return x
    return y


def left_from_a_loop(x: Any, y: Any, n: int) -> Any:
    z = _pick(x, y, n)
    z[0] = 5
    return z


def captured(x: Any, y: Any, n: int) -> Any:
    z = x
    if n:
        z = CAPTURED
    z[0] = 1
    return z


def items_of_a_tuple(x: Any, y: Any, n: int) -> Any:
    pair = (x, y)
    for _ in range(n):
        pair[0][1] += 1
        pair = (pair[1], pair[0])
    return pair[0]


def copied_on_the_way(x: Any, y: Any, n: int) -> Any:
    for i in range(n):
        if i == 1:
            x = x.copy()
        if i > 1:
            x[0] += 1
    return x


def written_too_early(x: Any, y: Any, n: int) -> Any:
    for i in range(n):
        if i == 1:
            x = x.copy()
        if i > 0 or n == 2:
            x[0] += 1
    return x


def new_in_every_turn(x: Any, y: Any, n: int) -> Any:
    for _ in range(n):
        x = x * 2
    x[0] = 1
    return x


def types_that_change(x: Any, y: Any, n: int) -> Any:
    total: Any = 0
    for i in range(n):
        if x[i] > 1:
            total += x[i]
        else:
            total += 0.5
        if i == 1:
            x = x.copy()
    x[0] = 3
    return x, total


def loop_else(x: Any, y: Any, n: int) -> Any:
    for i in range(n):
        if i == 1:
            break
        x = x.copy()
    else:
        x[0] = 1
    return x


def what_came_before(x: Any, y: Any, n: int) -> Any:
    z = y
    for _ in range(n):
        z[0] += 1
        z = x
    return z


def broadcast_on_a_branch(x: Any, y: Any, n: int) -> Any:
    z = y if n else np.broadcast_to(x, (2, 4))[0]
    z[0] = 1
    return z


def handed_on(x: Any, y: Any, n: int) -> Any:
    z = x if n else y
    return z[1:]


def broadcast_or_not(x: Any, y: Any, n: int) -> Any:
    z = x if n else np.broadcast_to(x[:1], x.shape)
    return z


def broadcast_in_a_loop(x: Any, y: Any, n: int) -> Any:
    for _ in range(n):
        x = np.broadcast_to(x[:1], x.shape)
    return x


def broadcast_to_itself(x: Any, y: Any, n: int) -> Any:
    return np.broadcast_to(x, x.shape)[1:]


def imaginary_or_not(x: Any, y: Any, n: int) -> Any:
    return (x if n else x.copy()).imag


PROGRAMS: tuple[Callable[..., Any], ...] = (
    in_a_loop, in_a_while, on_a_branch, one_of_two, out_of_two, filled, masked, reshaped, double_buffer, swapped_inside, view_before,
    element_of_a_view, through_a_helper, left_from_a_loop, captured, items_of_a_tuple, copied_on_the_way, written_too_early,
    new_in_every_turn, types_that_change, loop_else, what_came_before, broadcast_on_a_branch, handed_on, broadcast_or_not,
    broadcast_in_a_loop, broadcast_to_itself, imaginary_or_not,
)  # fmt: skip
WRITES: tuple[Callable[..., Any], ...] = (
    past_the_end, too_many_indices, wrong_shape, too_great, wrong_dtype, no_loop, sorted_in_place, squared, multiplied, summed_into,
    cumulated_into, clipped_into, nothing_into_nothing, parts, viewed_as_array,
)  # fmt: skip
ARGUMENTS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "read-only, writable": (fixed, free),
    "writable, read-only": (free, fixed),
    "both read-only": (fixed, fixed),
    "both writable": (free, free),
    "stride 0": (broadcast, free),
}


def seen(function: Callable[..., Any], x: Any, y: Any, n: int) -> Any:
    """What a call gives or raises, and what the arguments hold after it."""

    def told(r: Any) -> Any:
        if isinstance(r, np.ndarray):
            return r.dtype, r.tolist(), r.flags.writeable, r is x, r is y, r is CAPTURED
        return tuple(map(told, r)) if isinstance(r, tuple) else (type(r), r)

    try:
        found = told(function(x, y, n))
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        found = public(type(error)), str(error)
    return found, x.tolist(), y.tolist()


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_read_only_arrays_raise_as_in_numpy(program: Callable[..., Any], arguments: str, backend: str) -> None:
    compiled = tj.script(program, backend=backend)
    x, y = ARGUMENTS[arguments]
    if (program, arguments) == (reshaped, "stride 0"):
        pytest.skip("refused: of which strides NumPy's reshape gives a view")
    for n in (0, 1, 2, 4):
        assert seen(compiled, x(), y(), n) == seen(program, x(), y(), n), n
    assert FROZEN == b"\0\1\2\3"


@pytest.mark.parametrize("write", WRITES, ids=lambda w: w.__name__)
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_that_an_array_is_read_only_is_said_before_what_else_is_wrong(write: Callable[..., Any], backend: str) -> None:
    compiled = tj.script(write, backend=backend)
    for x in (fixed, free):
        assert seen(compiled, x(), free(), 0) == seen(write, x(), free(), 0)
    assert FROZEN == b"\0\1\2\3"


@pytest.mark.parametrize("program", [in_a_loop, in_a_while, double_buffer, swapped_inside], ids=lambda p: p.__name__)
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_what_overlaps_itself_is_written_as_in_numpy_after_a_merge(program: Callable[..., Any], backend: str) -> None:
    compiled = tj.script(program, backend=backend)
    for n in (0, 1, 3):
        assert seen(compiled, repeated(), free(), n) == seen(program, repeated(), free(), n)
        assert seen(compiled, free(), repeated(), n) == seen(program, free(), repeated(), n)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_a_size_is_known_where_only_a_check_looks_at_what_was_merged(backend: str) -> None:
    @tj.script(backend=backend)
    def f(a: Any, b: Any, c: Any) -> Any:
        o = a if c else b[1:]
        o[3]
        return 1

    assert f(np.zeros(5), np.zeros(4), True) == f(np.zeros(5), np.zeros(5), False) == 1
    with pytest.raises(IndexError, match="index 3 is out of bounds for axis 0 with size 2"):
        f(np.zeros(5), np.zeros(3), False)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_a_copy_that_numpy_might_not_make_is_not_written_in_a_loop(backend: str) -> None:
    @tj.script(backend=backend)
    def f(x: Any, n: int) -> Any:
        r = x.reshape(-1)
        for _ in range(n):
            r += 1
        return x

    with pytest.raises(tj.UnsupportedError, match="NumPy gives a view or a copy"):
        f(np.zeros((4, 4, 2))[:, :, 0], 2)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_a_copy_that_numpy_might_not_make_does_not_miss_a_write_in_a_loop(backend: str) -> None:
    @tj.script(backend=backend)
    def f(x: Any, n: int) -> Any:
        r = x.reshape(-1)
        w = x
        for _ in range(n):
            w += 1
            w = w[::-1]
        return r.sum()

    with pytest.raises(tj.UnsupportedError, match="NumPy gives a view or a copy"):
        f(np.zeros((4, 4, 2))[:, :, 0], 2)


# -- whole arrays of any rank, read by kernels that walk them as rows ------------------------------------------


READS: tuple[Callable[[Any], Any], ...] = (
    lambda x: x + 1,
    lambda x: x.T * 2 + 1,
    lambda x: (x * x).sum(),
    lambda x: x.sum(axis=0) + x.max(axis=-1).sum(),
    lambda x: np.where(x > 3, x, -x),
    lambda x: np.sqrt(x[::-1]) + x,
)


@pytest.mark.parametrize("order", ["C", "F", "A"])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (1, 4), (4, 1, 2), (0, 4), (2, 2, 3, 2)], ids=str)
def test_a_read_only_array_of_any_rank_is_read(order: Any, shape: tuple[int, ...]) -> None:
    x = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape, order="F" if order == "F" else "C")
    x = np.repeat(x, 2, axis=0)[::2] if order == "A" else x
    x.flags.writeable = False
    for read in READS:
        if not x.size and read is READS[3]:
            continue  # NumPy has no maximum of nothing
        hold(read, lambda: (x,), ulp=1, message=False)
    hold(lambda a, b, n: (a if n else b) + 1, lambda: (x, x.copy(), 0), lambda: (x, x.copy(), 1))
