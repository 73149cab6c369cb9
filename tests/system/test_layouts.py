"""Arrays of every layout, rank and overlap do what they do in NumPy, or are refused clearly."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import difference, hold


def base(*shape: int, dtype: str = "f8") -> Any:
    return (np.arange(int(np.prod(shape))) - 3).astype(dtype).reshape(shape)


def unaligned(n: int, dtype: str = "f8") -> Any:
    size = np.dtype(dtype).itemsize
    raw = np.zeros(n * size + 1, np.uint8)
    x = raw[1:].view(dtype)
    x[:] = np.arange(n)
    return x


def frozen(x: Any) -> Any:
    x.flags.writeable = False
    return x


def padded(n: int, dtype: str = "f8") -> Any:
    record = np.zeros(n, np.dtype([("a", "i1"), ("x", dtype)]))
    record["x"] = np.arange(n) - 2
    return record["x"]


ONE_D: dict[str, Callable[[], Any]] = {
    "plain": lambda: base(6),
    "strided": lambda: base(12)[::2],
    "reversed": lambda: base(6)[::-1],
    "strided reversed": lambda: base(18)[::-3],
    "empty": lambda: base(0),
    "one": lambda: base(1),
    "stride 0": lambda: np.broadcast_to(np.array([2.5]), 6),
    "unaligned": lambda: unaligned(6),
    "in a record": lambda: padded(6),
    "read-only": lambda: frozen(base(6)),
    "column": lambda: base(6, 3)[:, 1],
    "f4": lambda: base(6, dtype="f4"),
    "unaligned f4": lambda: unaligned(6, "f4"),
    "huge stride": lambda: np.lib.stride_tricks.as_strided(np.zeros(1 << 20), (6,), (160_000 * 8,)),
    "diagonal": lambda: base(6, 6).diagonal(),
}
TWO_D: dict[str, Callable[[], Any]] = {
    "C": lambda: base(3, 4),
    "F": lambda: np.asfortranarray(base(3, 4)),
    "transposed": lambda: base(4, 3).T,
    "reversed rows": lambda: base(3, 4)[::-1],
    "reversed columns": lambda: base(3, 4)[:, ::-1],
    "strided": lambda: base(6, 8)[::2, ::2],
    "row broadcast": lambda: np.broadcast_to(base(4), (3, 4)),
    "column broadcast": lambda: np.broadcast_to(base(3, 1), (3, 4)),
    "row": lambda: base(1, 4),
    "column": lambda: base(3, 1),
    "cell": lambda: base(1, 1),
    "no rows": lambda: base(0, 4),
    "no columns": lambda: base(3, 0),
    "inner of 3": lambda: base(3, 4, 5)[:, :, 2],
    "swapped": lambda: base(3, 2, 4).swapaxes(0, 1)[1],
}


def mixed(x: Any) -> Any:
    y = x * 2 + 1
    return y, x.sum(), (x > 0).any(), y - x, x[...], x.T, -x


def written(x: Any) -> Any:
    x += 1
    x[...] = x * 2
    return x


def by_axis(x: Any) -> Any:
    return x.sum(axis=0), x.max(axis=-1, initial=-9), x - x.sum(axis=0), (x * x).sum(axis=1, keepdims=True), x[1:, ::-1] * 2


def element_loop(x: Any) -> Any:
    s = 0.0
    for k in range(len(x)):
        s = s + x[k] * k
    return s


@pytest.mark.parametrize("name", ONE_D)
def test_one_dimension(name: str) -> None:
    make = ONE_D[name]
    hold(mixed, lambda: (make(),))
    hold(element_loop, lambda: (make(),))
    hold(written, lambda: (make(),))


@pytest.mark.parametrize("name", TWO_D)
def test_two_dimensions(name: str) -> None:
    make = TWO_D[name]
    hold(mixed, lambda: (make(),))
    hold(by_axis, lambda: (make(),))
    hold(written, lambda: (make(),))


def binary(x: Any, y: Any) -> Any:
    z = x + y * 2
    return z, z.sum(), x < y


@pytest.mark.parametrize("layouts", [TWO_D, ONE_D], ids=["2", "1"])
def test_pairs_of_layouts(layouts: dict[str, Callable[[], Any]]) -> None:
    """One compiled object, called with every pair."""
    f = tj.script(binary, cache_size=400)
    for k, ((m, make_x), (n, make_y)) in enumerate(itertools.product(layouts.items(), layouts.items())):
        if k % 3 == 0 or m == n:  # a third of them: each pair compiles
            x, y = make_x(), make_y()
            try:
                wanted = binary(x, y)
            except ValueError as error:
                with pytest.raises(ValueError, match="could not be broadcast together") as caught:
                    f(x, y)
                assert str(caught.value) == str(error)
                continue
            text = difference(f(x, y), wanted)
            assert not text, f"{m}, {n}: {text}"


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4, 5, 10])
def test_ranks(rank: int) -> None:
    shape = (2, 3, 1, 2, 2, 1, 2, 1, 2, 2)[:rank]

    def add(x: Any, y: Any) -> Any:
        return x * 2 + y, (x + y).sum(), x.T

    hold(add, lambda: (base(*shape), base(*shape)), lambda: (base(*shape).T, base(*shape).T), lambda: (base(*shape), 1.5))
    if rank:
        hold(lambda x: (x.sum(axis=0), x.max(axis=-1)), lambda: (base(*shape),))


def shifted(x: Any, y: Any) -> Any:
    x[1:] += y[:-1]
    x *= 2
    return x.sum(), y[0]


OVERLAPS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "same": lambda: (lambda a: (a, a))(base(8)),
    "same view": lambda: (lambda a: (a[:], a[:]))(base(8)),
    "ahead": lambda: (lambda a: (a[1:], a[:-1]))(base(9)),
    "behind": lambda: (lambda a: (a[:-1], a[1:]))(base(9)),
    "far ahead": lambda: (lambda a: (a[3:], a[:-3]))(base(40)),
    "reversed": lambda: (lambda a: (a, a[::-1]))(base(8)),
    "interleaved": lambda: (lambda a: (a[::2], a[1::2]))(base(16)),
    "halves": lambda: (lambda a: (a[:8], a[8:]))(base(16)),
    "every other of": lambda: (lambda a: (a[:8], a[::2]))(base(16)),
    "apart": lambda: (base(8), base(8)),
    "stretched": lambda: (lambda a: (a, a[2:3]))(base(8)),
    "a cell": lambda: (lambda a: (a[2:3], a))(base(8)),
    "bytes apart": lambda: (lambda raw: (raw[:64].view("f8"), raw[4:68].view("f8")))(np.arange(72, dtype=np.uint8)),
}


def accumulate(x: Any, y: Any) -> Any:
    x += y
    y += x
    x[:] = y[::-1] + x


def cross(x: Any, y: Any) -> Any:
    for k in range(min(len(x), len(y))):
        x[k] = y[k] + 1
        y[-1 - k] = x[k] * 2


@pytest.mark.parametrize("name", OVERLAPS)
@pytest.mark.parametrize("function", [shifted, accumulate, cross])
def test_overlaps(function: Callable[..., Any], name: str) -> None:
    hold(function, OVERLAPS[name])


def test_overlaps_share_one_object() -> None:
    """What was compiled for one kind of overlap is not used for another."""
    for function in (shifted, accumulate, cross):
        f = tj.script(function, cache_size=64)
        for name in [*OVERLAPS, *reversed(OVERLAPS)]:
            ours, theirs = OVERLAPS[name](), OVERLAPS[name]()
            try:
                wanted = function(*theirs)
            except ValueError:
                with pytest.raises(ValueError, match="broadcast"):
                    f(*ours)
                continue
            assert not difference(f(*ours), wanted), name
            assert not difference(list(ours), list(theirs)), name


def test_overlap_in_two_dimensions() -> None:
    def transpose_in_place(x: Any, y: Any) -> Any:
        x += y
        x[:] = y
        y[1:] = x[:-1]

    for make in (
        lambda: (lambda a: (a, a.T))(base(5, 5)),
        lambda: (lambda a: (a[:-1], a[1:]))(base(6, 5)),
        lambda: (lambda a: (a[:, 1:], a[:, :-1]))(base(5, 6)),
        lambda: (lambda a: (a[1:, 1:], a[:-1, :-1]))(base(6, 6)),
        lambda: (lambda a: (a[::-1], a[:, ::-1]))(base(5, 5)),
    ):
        hold(transpose_in_place, make)


def test_the_same_array_as_three_arguments() -> None:
    def three(a: Any, b: Any, c: Any) -> Any:
        a += b
        c *= a
        return a, b, c

    hold(three, lambda: (lambda x: (x, x, x))(base(5)), lambda: (lambda x, y: (x, y, x))(base(5), base(5)))


def test_read_only_is_not_written() -> None:
    def write(x: Any, k: int) -> Any:
        if k:
            x[0] = 1
        return x.sum()

    hold(write, lambda: (frozen(base(3)), 1), lambda: (frozen(base(3)), 0), lambda: (base(3), 1))
    hold(written, lambda: (np.broadcast_to(base(1), (3,)),))


def test_swapped_bytes_are_refused() -> None:
    f = tj.script(lambda x: x + 1, cache_size=64)
    with pytest.raises(tj.CompileError, match="bytes are swapped"):
        f(np.arange(3.0).astype(">f8"))
    assert not difference(f(np.ones(2)), np.full(2, 2.0))


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array([1.0]),
        np.zeros(1).view(np.recarray),
        np.array(["a"]),
        np.array([None]),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, "f4,f8"),
    ],
    ids=["masked", "recarray", "text", "object", "date", "record"],
)
def test_other_arrays_are_refused(value: Any) -> None:
    f = tj.script(lambda x: x + 1, cache_size=64)
    with pytest.raises(tj.CompileError, match=r"dtype|subclass"):
        f(value)


def test_long_doubles_are_refused() -> None:
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("long double is double here")
    with pytest.raises(tj.CompileError):
        tj.script(lambda x: x + 1, cache_size=64)(np.ones(2, np.longdouble))


def test_more_elements_than_32_bits_count() -> None:
    x = np.broadcast_to(np.int8(1), (1 << 27,))
    f = tj.script(lambda x: (x.sum(), (x * 2).max()), cache_size=64)
    assert f(x) == (1 << 27, 2)


def test_offsets_beyond_32_bits() -> None:
    x = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), ((1 << 31) + 5, 3), (0, 0))
    f = tj.script(lambda x: (x.shape, x[-5:].sum(), x[(1 << 31) + 1, 2]), cache_size=64)
    assert not difference(f(x), ((2**31 + 5, 3), np.float32(0), np.float32(0)))


def test_returned_views_keep_their_base() -> None:
    def views(x: Any) -> Any:
        return x, x[1:], x[::-1], x.T, x[None], x[0]

    f = tj.script(views, cache_size=64)
    whole = np.zeros((3, 4))
    for x in (whole, whole[1:], np.broadcast_to(whole, (2, 3, 4))):
        same, *ours = f(x)
        assert same is x
        assert all(v.base is w.base for v, w in zip(ours, views(x)[1:], strict=True))


def test_flags_of_results() -> None:
    f = tj.script(lambda x: (x + 1, x.T + 1, x.sum(axis=0)), cache_size=64)
    for name in ("C", "F", "transposed", "row", "no rows"):
        x = TWO_D[name]()
        for ours, theirs in zip(f(x), (x + 1, x.T + 1, x.sum(axis=0)), strict=True):
            assert ours.flags.owndata
            assert ours.flags.aligned
            assert ours.flags.writeable
            assert ours.strides == theirs.strides, name
