"""Updates of an array by a part of itself that is broadcast, and copies between rows and columns that cross."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.fuzz_views import function_of
from tests.system.harness import BACKENDS, hold

ALL = os.environ.get("TENSORJIT_TESTS") == "full"

# {x}: the target, {p}: the part of it that is broadcast
STATEMENTS = (
    "{x} -= {p}",
    "{x}[...] = {x} / {p}",
    "np.subtract({x}, {p}, out={x})",
    "np.multiply({p}, {x}, out={x})",
    "y = {x} - {p}; {x}[...] = y",
    "v = {x}[...]; v += v * {p}",
    "{x}[1:] -= {x}[1:][{k}]",
    "{x}[:-1] /= {x}[:-1][{k}]",
    "np.maximum({x}, {p}, out={x})",
    "{x}[...] = {p} + ({x} - {p}) * 2",
    "{x}[...] = {p}",
    "{x}[::-1] -= {p}",
    "{x} -= np.broadcast_to({p}, {x}.shape)",
    "{x} *= {p}.copy(); {x} += {p}",
)
PARTS: dict[int, tuple[str, ...]] = {
    1: (":1", "-1:", "k:k+1", "1:2", "0, None", "k, ..."),
    2: (":1", "-1:", "k:k+1", "1:2", ":, :1", ":, -1:", ":, k:k+1", "k", ":, k, None", ":1, :1", "None, 0"),
    3: (":1", ":, :1", "..., :1", "..., k:k+1", "k", ":, k, None", "..., 1, None", ":1, :, :1", "-1:, :1, :1", "0, :1"),
}
REDUCED = ("sum(0, keepdims=True)", "max(-1, keepdims=True)", "min()", "mean(0)", "max(axis=0)")
SHAPES = {1: ((3,), (17,), (130,)), 2: ((3, 17), (9, 9), (5, 40), (40, 3)), 3: ((3, 3, 17), (4, 5, 6), (3, 3, 3))}
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda a: a.copy(),
    "F": lambda a: np.asfortranarray(a.copy()),
    "steps": lambda a: np.repeat(a.copy(), 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
}
TOGETHER = 8  # statements of one function, each on arrays of its own


def texts(rank: int) -> list[str]:
    parts = [s.format(x="{x}", p=f"{{x}}[{k}]", k=k) for s, k in itertools.product(STATEMENTS, PARTS[rank])]
    return [*parts, *(f"{{x}} -= {{x}}.{r}" for r in REDUCED), *(f"{{x}}[1:] = {{x}}[1:] - {{x}}[1:].{r}" for r in REDUCED)]


def function(lines: Sequence[str]) -> Callable[..., Any]:
    names = [f"x{n}" for n in range(len(lines))]
    body = "".join(f"    {line.format(x=name)}\n" for name, line in zip(names, lines, strict=True))
    return function_of(f"def program({', '.join(names)}, k):\n{body}")


def held(lines: Sequence[str], layout: str, shapes: Sequence[tuple[int, ...]], backend: str) -> None:
    plain = function(lines)
    compiled = tj.script(plain, backend=backend)
    for shape in shapes:
        values = np.random.default_rng(len(lines)).integers(1, 9, shape).astype(float)
        given, expected = ([LAYOUTS[layout](values) for _ in lines] for _ in range(2))
        compiled(*given, 1)
        plain(*expected, 1)
        for line, found, wanted in zip(lines, given, expected, strict=True):
            np.testing.assert_array_equal(found, wanted, f"{line} of {shape}")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rank", PARTS)
def test_a_part_of_the_target_that_is_broadcast(rank: int, layout: str) -> None:
    """From the second row on, such an update read what it had written."""
    found = texts(rank)
    every = 1 if ALL else len(found) // 16  # TENSORJIT_TESTS=full tries all
    lines = found[list(LAYOUTS).index(layout) % every :: every]
    for k in range(0, len(lines), TOGETHER):
        held(lines[k : k + TOGETHER], layout, SHAPES[rank], "llvm")
    held(lines[:TOGETHER], layout, SHAPES[rank], "reference")


ISSUED = [
    "{x} -= {x}[:1]",
    "{x} /= {x}[:, :1]",
    "{x}[:] = {x} - {x}[:, 0:1]",
    "np.subtract({x}, {x}[:1], out={x})",
    "y = {x} - {x}[:1]; {x}[:] = y",
    "{x}[1:] -= {x}[1:2]",
    "b = np.broadcast_to({x}[:1], {x}.shape); {x} -= b[1:2]",
    "b = np.broadcast_to({x}[:1], {x}.shape); {x}[1:] -= b[1:]",
    "b = np.broadcast_to({x}[:1], {x}.shape); {x}[:1] += 1; {x}[2] += b[2]",
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_ones_and_twos(layout: str, backend: str) -> None:
    held(ISSUED, layout, [(3, 17), (40, 3)], backend)


def part_of_another(a: Any, b: Any) -> None:
    a -= b[:1]
    a *= b[:, :1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_part_belongs_to_another_argument(backend: str) -> None:
    """The same array twice, and arrays that overlap."""
    f = tj.script(part_of_another, backend=backend)
    for first in (0, 1, 17, 18, 40):
        given, expected = (np.arange(1.0, 500.0) % 11 + 1 for _ in range(2))
        for buffer, call in ((given, f), (expected, part_of_another)):
            target = buffer[17:187].reshape(10, 17)
            call(target, target if first == 17 else buffer[first : first + 170].reshape(10, 17))
        np.testing.assert_array_equal(given, expected, str(first))


CROSSING = (
    "x[2] = x[:, 3]",
    "x[:, k] = x[k]",
    "np.copyto(x[1], x[:, k])",
    "x[k, :n // 2] = x[::2, 1]",
    "x.ravel()[::n + 1][:n] = x[k]",
    "x[k, n // 4 : n // 4 + n // 2] = x[k, ::2]",
    "x[:, 0], x[0] = x[0], x[:, 0]",
    "x[k, ::2] = x[k, n // 2 :]",
    "x[1] = np.flip(x[:, 2])",
    "x.T[1] = x[2]",
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_from_a_column(backend: str) -> None:
    """NumPy copies one by one, from the end that is right where strides are equal; so it is done here."""
    lines = "".join(f"    {line.replace('x', f'x{number}')}\n" for number, line in enumerate(CROSSING))
    names = [f"x{number}" for number in range(len(CROSSING))]
    plain = function_of(f"def program({', '.join(names)}, k, n):\n{lines.replace('npx', 'np')}")
    compiled = tj.script(plain, backend=backend)
    for n in (4, 6, 16, 40):
        given, expected = ([np.arange(n * n, dtype=float).reshape(n, n) for _ in CROSSING] for _ in range(2))
        compiled(*given, 3, n)
        plain(*expected, 3, n)
        for line, found, wanted in zip(CROSSING, given, expected, strict=True):
            np.testing.assert_array_equal(found, wanted, f"{line} of {n}")


def last_row(a: Any, b: Any) -> None:
    a[0] = b[-1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_of_an_argument_from_a_column_of_another(backend: str) -> None:
    f = tj.script(last_row, backend=backend)
    for n in (4, 5, 33):
        given, expected = (np.arange(n * n, dtype=float).reshape(n, n) for _ in range(2))
        f(given, given.T)
        last_row(expected, expected.T)
        np.testing.assert_array_equal(given, expected)


def test_a_cast_on_the_way_warns_once() -> None:
    def convert(a: Any, b: Any) -> Any:
        a[:] = b
        return 1.0 / b

    f = tj.script(convert)
    for call in (convert, f):
        buffer = np.full(40, np.nan)
        with pytest.warns(RuntimeWarning, match="invalid value encountered in cast") as caught:
            call(buffer.view("i4")[8:28:2], buffer[3:13])
        assert len(caught) == 1


def mask_of_itself(x: Any) -> None:
    x[x] = False


def mask_reversed(x: Any) -> None:
    x[x[::-1]] = False


def mask_given(x: Any, mask: Any) -> None:
    x[mask] = True


def masked_by_steps(x: Any) -> None:
    np.copyto(x[:5], x[::2], where=x[:5] > 3)


def masked_by_one(x: Any) -> None:
    np.copyto(x[1:], x[:-1], where=x[1:] > 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_masks_that_are_overwritten(backend: str) -> None:
    """NumPy looks at the mask while it writes: that is refused, unless each element decides about itself."""
    bits = np.random.default_rng(1).random(10) < 0.5
    for f, args in ((mask_of_itself, (bits,)), (mask_given, (bits, ~bits)), (masked_by_one, (np.arange(10.0),))):
        given, expected = [a.copy() for a in args], [a.copy() for a in args]
        tj.script(f, backend=backend)(*given)
        f(*expected)
        np.testing.assert_array_equal(given[0], expected[0])
    for f, args in ((mask_reversed, (bits,)), (mask_given, (bits, bits[::-1])), (masked_by_steps, (np.arange(10.0),))):
        with pytest.raises(tj.CompileError, match="copy it first"):
            tj.script(f, backend=backend)(*args)


PIECES = (
    "np.concatenate((x[2:], x[:2]), out=x)",
    "np.concatenate((x[1:3], x[:2]), out=x[::-1])",
    "np.concatenate((x[0, :2], x[:2, 0]), out=x[0])",
    "np.concatenate((x[:2].T, x[2:].T), axis=1, out=x)",
    "np.stack((x[0], x[1], x[:, 0], x[:, 1]), out=x)",
    "np.stack((x[:, 3], x[2], x[1], x[0]), axis=1, out=x)",
    "np.ptp(x, axis=0, out=x[1])",
    "np.ptp(x, axis=1, out=x[0])",
    "np.ptp(x.T, axis=1, out=x[:, 0])",
    "np.sum(x, axis=0, out=x[1])",
    "np.mean(x, axis=1, out=x[:, 2])",
    "np.var(x, axis=0, out=x[1])",
    "np.cumsum(x, axis=0, out=x[::-1])",
    "np.matmul(x, x.T, out=x)",
    "np.clip(x, x[1:2], x.T, out=x)",
    "np.add(x, x.T, out=x, where=x > 3)",
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_made_in_several_steps_of_what_it_is_written_to(backend: str) -> None:
    """NumPy writes the pieces of a join one by one, and the maximum before it looks for the minimum."""
    names = [f"x{number}" for number in range(len(PIECES))]
    lines = [re.sub(r"\bx\b", name, line) for name, line in zip(names, PIECES, strict=True)]
    plain = function_of(f"def program({', '.join(names)}):\n" + "".join(f"    {line}\n" for line in lines))
    given, expected = ([np.random.default_rng(3).integers(1, 9, (4, 4)).astype(float) for _ in PIECES] for _ in range(2))
    tj.script(plain, backend=backend)(*given)
    plain(*expected)
    for line, found, wanted in zip(PIECES, given, expected, strict=True):
        np.testing.assert_allclose(found, wanted, 1e-12, err_msg=line)


def join_into(out: Any, a: Any, b: Any) -> Any:
    return np.concatenate((a, b), out=out)


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_of_joins(backend: str) -> None:
    frozen = np.zeros(4)
    frozen.flags.writeable = False
    outputs = (np.zeros(4), np.zeros(5), np.zeros((4, 1)), np.zeros(4, np.float32), frozen)
    hold(join_into, *[(lambda out=out: (out.copy() if out.flags.writeable else out, np.ones(2), np.full(2, 2.0))) for out in outputs],
         backends=(backend,))  # fmt: skip
