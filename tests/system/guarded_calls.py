"""Calls whose arrays all lie beside a page that may not be touched: every dtype, length, tail and step, body and masked turns.

    python -m tests.system.guarded_calls [DTYPE ...]

What is called is printed before it runs: after a crash, the last line is to blame.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import tensorjit as tj
from tests.system.fuzz_views import function_of, say, unsigned
from tests.system.guard_pages import SIDES, Side, guarded
from tests.system.harness import difference

DTYPES = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c16", "c8")
SAMPLE = ("f4", "i1")

COPIES = ("o[...] = x", "p[::-1] = y", "p[1:] = x[:-1]", "o[:-1] = o[1:]", "o[x == y] = 1")
NUMBERS = ("o[...] = x + y", "np.subtract(x, y, out=p)", "p[1:] -= x[:-1]", "o *= o", "q = np.where(x == y, x, -y)")
ORDERED = ("np.maximum(x, y, out=o)", "q = q * (x > y)")
FLOATS = ("p[...] = np.sqrt(x * x) + np.exp(x * 0)", "q = q / (y * y + 1)")
ROW = ("x.sum()", "(x != y).any()", "x.astype('f4' if x.dtype.kind != 'c' else 'c16')", "x[::-1].copy()", "q")
GRID = (*ROW, "x.sum(0)", "x.sum(1)", "x.T.copy()", "x[:, 1:] + x[:, :-1]", "x + y[0]", "x[:, :1] * y")
LENGTHS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 67, 127, 128, 129, 131, 257)
STEPS = (1, 2, 3, -1, -2)
SHAPES = ((1, 3), (2, 1), (3, 5), (5, 8), (4, 17), (17, 4), (3, 33), (2, 65), (65, 2), (9, 67))
GRIDS: dict[str, Callable[[Any], Any]] = {
    "C": lambda a: a,
    "F": np.asfortranarray,
    "steps": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "turned": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "cut": lambda a: np.pad(a, ((0, 0), (1, 2)))[:, 1:-2],
}


def source(dtype: str, results: Sequence[str]) -> str:
    """A function of what is to be called for a dtype: x, y are read, o, p are written."""
    kind = np.dtype(dtype).kind
    lines = ["q = x.copy()", *COPIES]
    lines += NUMBERS if kind not in "?b" else ()
    lines += ORDERED if kind not in "?bc" else ()
    lines += FLOATS if kind == "f" else ()
    shown = [r for r in results if not (kind == "b" and "*" in r)]
    return "def program(x, y, o, p):\n" + "".join(f"    {line}\n" for line in lines) + f"    return {', '.join(shown)}\n"


def values(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    found = np.random.default_rng(seed).integers(0, 4, shape)
    return (found * (1 + 1j)).astype(dtype) if dtype.startswith("c") else found.astype(dtype)


Calls = tuple[Callable[..., Any], Callable[..., Any]]  # plain, compiled


def held(calls: Calls, arrays: Sequence[Any], side: Side, what: str, place: Callable[[Any, Side], Any] = guarded) -> None:
    """One call, beside guard pages and not."""
    say(what)
    plain, compiled = calls
    expected = [a.copy() for a in arrays]
    given = [place(a, side) for a in arrays]
    with np.errstate(all="ignore"):
        found, wanted = compiled(*given), plain(*expected)
    text = difference(unsigned(found), unsigned(wanted))
    text = text or "; ".join(filter(None, (difference(unsigned(g), unsigned(e)) for g, e in zip(given, expected, strict=True))))
    assert not text, f"{what}: {text}"


def stepped(length: int, dtype: str, step: int, seed: int) -> Any:
    return values((max(length * abs(step) - abs(step) + 1, 0) if length else 0,), dtype, seed)[::step]


def unaligned(a: Any, side: Side) -> Any:
    """A contiguous array one byte off, at the end or the start of its room."""
    raw = guarded(np.zeros(a.nbytes + 1, np.uint8), side)
    out: Any = np.ndarray(a.shape, a.dtype, raw.data, 1 if side == "end" else 0)
    out[...] = a
    return out


def rows(dtype: str) -> Iterator[None]:
    plain = function_of(source(dtype, ROW))
    calls = plain, tj.script(plain)
    for step, side, length in itertools.product(STEPS, SIDES, LENGTHS):
        arrays = [stepped(length, dtype, step, k) for k in range(4)]
        held(calls, arrays, side, f"row {dtype} of {length}, step {step}, {side}")
        yield
    for side, length in itertools.product(SIDES, LENGTHS):
        arrays = [values((length,), dtype, k) for k in range(4)]
        held(calls, arrays, side, f"row {dtype} of {length}, unaligned, {side}", unaligned)
        yield


def grids(dtype: str) -> Iterator[None]:
    plain = function_of(source(dtype, GRID).replace("p[::-1] = y", "p[::-1, ::-1] = y"))
    calls = plain, tj.script(plain)
    for (name, layout), side, shape in itertools.product(GRIDS.items(), SIDES, SHAPES):
        arrays = [layout(values(shape, dtype, k)) for k in range(4)]
        held(calls, arrays, side, f"grid {dtype} of {shape}, {name}, {side}")
        yield


def main(args: Sequence[str]) -> int:
    count = 0
    for dtype in args or DTYPES:
        for _ in itertools.chain(rows(dtype), grids(dtype)):
            count += 1
    say(f"{count} calls beside guard pages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
