"""Arrays updated in place from shifted views of others: one kernel, no temporary, and NumPy's values where memory overlaps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS


def add(acc: Any, x: Any) -> None:
    acc += x[1:]


def subtract_rows(acc: Any, x: Any) -> None:
    acc -= x[1:-1, 1:-1]


def multiply_blocks(acc: Any, x: Any) -> None:
    acc *= x[1:-1, 1:-1, 1:-1]


def assign_all(acc: Any, x: Any) -> None:
    acc[...] = acc + x[1:]


def by_out(acc: Any, x: Any) -> None:
    np.add(acc, x[1:], out=acc)


def twice(acc: Any, x: Any) -> None:
    acc += x[1:]
    acc *= x[:-1]


def into_zeros(x: Any) -> Any:
    acc = np.zeros(x.shape[0] - 1)
    acc += x[1:]
    acc += x[:-1]
    return acc


def into_zeros_like(image: Any) -> Any:
    acc = np.zeros_like(image[1:-1, 1:-1])
    acc += image[:-2, 1:-1]
    acc += image[2:, 1:-1]
    return acc / 2.0


def into_copy(x: Any) -> Any:
    acc = x[1:].copy()
    acc += x[:-1]
    return acc


def convolve(x: Any, w: Any) -> Any:
    y = np.zeros(x.shape[0] - w.shape[0] + 1)
    for k in range(w.shape[0]):
        y += w[k] * x[k : k + y.shape[0]]
    return y


def blur(image: Any) -> Any:
    out = np.zeros((image.shape[0] - 2, image.shape[1] - 2))
    for i in range(3):
        for j in range(3):
            out += image[i : image.shape[0] - 2 + i, j : image.shape[1] - 2 + j]
    return out / 9.0


def back(x: Any) -> None:
    x[:-1] += x[1:]


def forth(x: Any) -> None:
    x[1:] += x[:-1]


def diffuse(x: Any) -> None:
    x[1:-1] = x[1:-1] + 0.1 * (x[2:] - 2 * x[1:-1] + x[:-2])


def shift_up(x: Any) -> None:
    x[:-1, :-2] = x[1:, 2:] * 0.5 + x[:-1, :-2]


def shift_across(x: Any) -> None:
    x[:-1, 2:] = x[1:, :-2] * 0.5


def shift_and_keep(x: Any) -> Any:
    kept = x[2:] * 3.0
    x[:-2] = x[2:] - x[1:-1]
    return kept


def shift_twice(x: Any) -> None:
    x[:-1] += x[1:]
    x[:-1] += x[1:]
    x[2:] += x[:-2]


def shift_reversed(x: Any) -> None:
    y = x[::-1]
    y[:-1] += y[1:]


def shift_by_steps(x: Any) -> None:
    x[:-1:2] += x[1::2]
    x[::2][:-1] *= x[::2][1:]


def sum_after(x: Any) -> Any:
    x[:-1] += x[1:]
    return x[:-1].sum(), x[:-1] / x[:-1].sum()


def repeat(x: Any, k: Any) -> None:
    x[:-1] += x[k : k + 1]


def random(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).random(shape)


# function, arguments, launches of kernels, arrays allocated
ONE_PASS: list[tuple[Callable[..., Any], tuple[Any, ...], int, int]] = [
    (add, (random(40), random(41)), 1, 0),
    (subtract_rows, (random(5, 9), random(7, 11)), 1, 0),
    (multiply_blocks, (random(3, 4, 9), random(5, 6, 11)), 1, 0),
    (assign_all, (random(40), random(41)), 1, 0),
    (by_out, (random(40), random(41)), 1, 0),
    (twice, (random(40), random(41)), 1, 0),
    (into_zeros, (random(41),), 1, 1),
    (into_zeros_like, (random(7, 11),), 1, 1),
    (into_copy, (random(41),), 1, 1),
    (convolve, (random(41), random(5)), 1, 1),
    (blur, (random(7, 11),), 2, 2),
    (diffuse, (random(41),), 2, 1),
    (back, (random(41),), 1, 0),
    (forth, (random(41),), 2, 1),
    (shift_up, (random(7, 11),), 1, 0),
    (shift_across, (random(7, 11),), 2, 1),
    (shift_and_keep, (random(41),), 1, 1),
]


@pytest.mark.parametrize(("f", "args", "launches", "arrays"), ONE_PASS, ids=lambda x: getattr(x, "__name__", None))
def test_one_pass(f: Callable[..., Any], args: tuple[Any, ...], launches: int, arrays: int) -> None:
    compiled = tj.script(f)
    text = compiled.lower(*args).as_text("lowered")
    assert (text.count(" launch("), text.count("= empty()")) == (launches, arrays)
    same_as_numpy(f, args, "llvm")


def same_as_numpy(f: Callable[..., Any], args: tuple[Any, ...], backend: str) -> None:
    given, expected = copy.deepcopy(args), copy.deepcopy(args)
    assert outcome(tj.script(f, backend=backend), given) == outcome(f, expected)
    for a, b in zip(given, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def outcome(f: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        result = f(*args)
    except ValueError as error:
        return str(error)
    return None if result is None else result.tolist()


LENGTHS = [(0, 1), (1, 2), (2, 3), (5, 6), (5, 2), (5, 1), (1, 6), (0, 2), (0, 6), (5, 4), (40, 41)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_lengths_that_broadcast_or_do_not(lengths: tuple[int, int], backend: str) -> None:
    n, m = lengths
    for f in (add, by_out, assign_all, twice):
        same_as_numpy(f, (random(n), random(m)), backend)


def into_made(n: Any, x: Any) -> Any:
    acc = np.zeros(n - 1)
    acc += x[1:]
    return acc


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_output_is_stretched(backend: str) -> None:
    """A length that is known when it runs may be 1: the target still is not broadcast."""
    f = tj.script(into_made, backend=backend)
    for n in (1, 2, 3, 6):
        for m in (1, 2, 3, 6):
            assert outcome(f, (n, random(m))) == outcome(into_made, (n, random(m)))


def into_window(image: Any, down: Any, right: Any, height: Any, width: Any) -> Any:
    total = np.zeros((height, width))
    total += image[down : down + height, right : right + width]
    return total


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_message_of_two_axes(backend: str) -> None:
    f = tj.script(into_window, backend=backend)
    image = random(20).reshape(4, 5)
    for down, right, height, width in ((0, 0, 4, 5), (1, 2, 3, 3), (2, 0, 3, 5), (3, 4, 2, 2), (0, 0, 1, 1), (4, 5, 1, 1)):
        args = (image, down, right, height, width)
        assert outcome(f, args) == outcome(into_window, args)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "f", [back, forth, diffuse, shift_and_keep, shift_twice, shift_reversed, shift_by_steps], ids=lambda f: f.__name__
)
def test_overlap_within_an_array(f: Callable[..., Any], backend: str) -> None:
    for n in (2, 4, 10, 40, 1000, 5002):
        same_as_numpy(f, (random(n),), backend)
    long = random(3000)
    for x in (long[::2], long[::-1], long[5:]):
        given, expected = x.copy(), x.copy()
        tj.script(f, backend=backend)(given)
        f(expected)
        np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_overlap_of_two_arguments(backend: str) -> None:
    f = tj.script(add, backend=backend)
    for start in (0, 1, 2, 5):
        for step in (1, 2, -1):
            a, b = random(2101), random(2101)
            f(a[start : start + 1000], a[::step][:1001])
            add(b[start : start + 1000], b[::step][:1001])
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_overlap_by_strides(backend: str) -> None:
    f = tj.script(subtract_rows, backend=backend)
    a, b = random(200), random(200)
    for base, call in ((a, f), (b, subtract_rows)):
        windows = np.lib.stride_tricks.as_strided(base, (12, 12), (8, 8))
        target = base[20:120].reshape(10, 10)
        call(target, windows)
    np.testing.assert_array_equal(a, b)


TURNS: list[Callable[[Any], Any]] = [lambda a: a.T, lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a[::2, ::2]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_overlap_in_two_dimensions(backend: str) -> None:
    for f in (shift_up, shift_across):
        for shape in ((3, 4), (9, 70), (70, 9), (40, 1030)):
            x = random(*shape)
            same_as_numpy(f, (x,), backend)
            for turn in TURNS:
                given, expected = x.copy(), x.copy()
                tj.script(f, backend=backend)(turn(given))
                f(turn(expected))
                np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_element_that_repeats_is_read_before_it_is_written(backend: str) -> None:
    """x[k:k+1] is broadcast when it runs: it stands still, and is not ahead of what is written."""
    f = tj.script(repeat, backend=backend)
    for k in (0, 1, 5, 39):
        given, expected = random(40), random(40)
        f(given, k)
        repeat(expected, k)
        np.testing.assert_array_equal(given, expected)


def test_a_sum_after_an_update() -> None:
    given, expected = random(500), random(500)
    found, wanted = tj.script(sum_after)(given), sum_after(expected)
    np.testing.assert_array_equal(given, expected)
    np.testing.assert_allclose(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1])


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float16, np.float32, np.complex64, np.bool_], ids=lambda d: d.__name__)
def test_overlap_of_narrow_elements(dtype: Any) -> None:
    for f in (back, forth, shift_twice):
        for n in (2, 63, 64, 65, 129, 4099):
            x = (random(n) * 8).astype(dtype)
            same_as_numpy(f, (x,), "llvm")
