"""Lowered graphs: what launches look like, random programs, and the kernels run natively."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tensorjit.backends import reference
from tensorjit.ir import dims
from tensorjit.ir.graph import Graph, Value
from tensorjit.ir.kernel import For, Kernel
from tensorjit.ir.types import ArrayType, ScalarType
from tensorjit.ops import OPS
from tensorjit.ops.abstract import Static
from tensorjit.ops.typed import Refusal, TypedBuilder
from tensorjit.passes.lower import describe, lower
from tests.llvm.kernel_runs import Runs
from tests.passes.interpret_kernels import Array, Ops, array, build, launches, run_lowered, scalar

M = array("f8", "m", "n")


def test_a_launch_names_its_sizes_and_its_work() -> None:
    def f(b: Any, np_: Any, x: Any, y: Any) -> Any:
        return np_.add(x, y)

    (launch,) = launches(lower(build(f, M, M), OPS))
    assert [str(d) for d in launch.attrs["sizes"]] == ["m*n"] and str(launch.attrs["work"]) == "m*n"
    assert [p.name for p in launch.attrs["kernel"].scalars] == ["n0"]


def test_names_come_from_the_structure() -> None:
    def f(b: Any, np_: Any, x: Any, y: Any) -> Any:
        return np_.add(x, y), np_.exp(np_.multiply(x, 0.0)), np_.exp(np_.multiply(x, -0.0))

    def g(b: Any, np_: Any, u: Any, v: Any) -> Any:
        return np_.add(u, v)

    first, second = lower(build(g, M, M), OPS), lower(build(g, array("f8", "p", "q"), array("f8", "p", "q")), OPS)
    assert launches(first)[0].attrs["kernel"] == launches(second)[0].attrs["kernel"]
    (launch,) = launches(lower(build(f, M, M), OPS))
    assert str(launch.attrs["kernel"]).count("mul(") == 2  # 0.0 is not -0.0


def test_explaining() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        return np_.sum(np_.multiply(x, x), axis=0)

    (line,) = describe(lower(build(f, M), OPS))
    assert line.startswith("multiply, sum -> kernel k_") and "`return`" in line


def test_parallel_rows_and_vector_columns() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        return np_.var(x, axis=b.axis)

    def loops(axis: int, layout: Any) -> tuple[str, ...]:
        def g(b: Any, np_: Any, x: Any) -> Any:
            b.axis = axis
            return f(b, np_, x)

        (launch,) = launches(lower(build(g, array("f8", "m", "n", layout=layout)), OPS))
        (outer,) = (s for s in launch.attrs["kernel"].body if isinstance(s, For))
        return outer.kind, *(s.kind for s in outer.body if isinstance(s, For))

    assert loops(1, "C") == loops(0, "F") == ("parallel", "vector", "vector")
    assert loops(0, "C") == loops(1, "F") == ("vector", "serial", "serial")


def test_slices_keep_their_unit_stride() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        m, n = b.shape_of(x)
        inner = b.view(x, (m - 2, n - 2), [(0, 1), (1, 1)], (1, 1))
        every_other = b.view(x, (m - 2, n - 2), [(0, 1), (1, -1)], (1, n - 1))
        return np_.add(inner, every_other)

    size = dims.symbol("m", 3, True)
    (launch,) = launches(lower(build(f, array("f8", size, size)), OPS))
    assert [v.unit_axis for v in launch.attrs["kernel"].views] == [1, None, 1]


# -- random programs -----------------------------------------------------------------------------------------------------


class _Program:
    """A random program over arrays of integers, so that results are exact in any order."""

    def __init__(self, seed: int, square: bool) -> None:
        self.random = random.Random(seed)
        n = dims.symbol("n", 2, True)
        m = n if square else dims.symbol("m", 2, True)
        order: Any = self.random.choice(["C", "C", "F", "A"])
        self.main = array("i8", m, n, layout=order)
        others = [array("i8", m, n), array("i8", n), array("i8", m, 1), array("i4", m, n)]
        self.types: list[ArrayType | ScalarType] = [self.main, *others, scalar("i8")]

    def __call__(self, b: TypedBuilder, ops: Ops, *params: Value) -> tuple[Any, ...]:
        pool: list[Any] = list(params)
        pick = self.random.choice
        for _ in range(self.random.randint(3, 16)):
            action = pick(
                [self.binary] * 5
                + [self.costly, self.reduction, self.reduction, self.view, self.view, self.store, self.store, self.fresh]
            )
            try:
                new = action(b, ops, pool)
            except Refusal:
                continue
            if isinstance(new, Value):
                pool.append(new)
        count = self.random.randint(1, 4)
        return tuple(self.random.sample([v for v in pool[-8:] if isinstance(v, Value)], k=min(count, len(pool[-8:]))))

    def arrays(self, pool: Sequence[Any]) -> list[Any]:
        return [v for v in pool if isinstance(v.type, ArrayType) and v.type.rank]

    def binary(self, b: Any, ops: Any, pool: list[Any]) -> Any:
        name = self.random.choice(["add", "subtract", "multiply", "maximum", "minimum", "bitwise_xor"])
        x = self.random.choice(pool[-6:])
        fits = [v for v in pool if self.fits(b, x, v)]
        y = self.random.choice([*fits, Static(3), Static(-2)])
        return getattr(ops, name)(x, y)

    def fits(self, b: Any, x: Any, y: Any) -> bool:
        pairs = zip(reversed(b.shape_of(x)), reversed(b.shape_of(y)), strict=False)
        return all(p == 1 or q == 1 or p == q for p, q in pairs)

    def costly(self, b: Any, ops: Any, pool: list[Any]) -> Any:
        x = self.random.choice(self.arrays(pool)[-4:])
        return ops.floor_divide(ops.remainder(ops.floor_divide(ops.remainder(x, 1000), 3), 101), 2)

    def reduction(self, b: Any, ops: Any, pool: list[Any]) -> Any:
        name = self.random.choice(["sum", "max", "min", "argmax", "any"])
        x = self.random.choice(self.arrays(pool)[-5:])
        rank = b.rank(x)
        axis = (
            self.random.choice([None, *range(rank)])
            if name == "argmax"
            else self.random.choice([None, *range(rank), tuple(range(rank))])
        )
        return getattr(ops, name)(x, axis=axis, keepdims=self.random.random() < 0.5)

    def view(self, b: Any, ops: Any, pool: list[Any]) -> Any:
        x = self.random.choice(self.arrays(pool)[-6:])
        shape = b.shape_of(x)
        kind = self.random.choice(["turn", "tail", "head", "back", "new", "first", "squeeze", "spread"])
        axes: list[tuple[int | None, int]] = [(k, 1) for k in range(len(shape))]
        offset: list[dims.Dim] = [0] * len(shape)
        sizes = list(shape)
        if kind == "turn":
            return b.transpose(x, tuple(reversed(range(len(shape)))))
        if kind in ("tail", "head"):
            if shape[-1] == 1:
                return None
            sizes[-1] = dims.maximum(sizes[-1] - 1, 0)
            offset[-1] = dims.minimum(1, shape[-1]) if kind == "tail" else 0
        if kind == "back":
            if shape[0] == 1:
                return None
            axes[0], offset[0] = (0, -1), dims.maximum(shape[0] - 1, 0)
        if kind == "new":
            at = self.random.randint(0, len(shape))
            axes.insert(at, (None, 0))
            sizes.insert(at, 1)
        if kind == "first":
            if dims.bounds(shape[0])[0] < 1:
                return None
            axes, sizes = axes[1:], sizes[1:]
        if kind == "squeeze":
            keep = [k for k, d in enumerate(shape) if d != 1]
            axes, sizes = [axes[k] for k in keep], [shape[k] for k in keep]
        if kind == "spread":
            return b.broadcast_to(x, (self.main.shape[0], *shape)) if len(shape) == 1 else None
        return b.view(x, sizes, axes, offset) if sizes else None

    def store(self, b: Any, ops: Any, pool: list[Any]) -> Any:
        targets = [v for v in self.arrays(pool) if v.type.access == "writable"]
        target = self.random.choice(targets[-6:] + targets[:2])
        values = [v for v in pool if self.fits(b, target, v) and b.rank(v) <= b.rank(target)]
        values = [
            v
            for v in values
            if all(p == q or q == 1 for p, q in zip(reversed(b.shape_of(target)), reversed(b.shape_of(v)), strict=False))
        ]
        b.store(target, self.random.choice([*values, *values[-3:], Static(5)]))
        return None

    def fresh(self, b: Any, ops: Any, pool: list[Any]) -> Any:
        x = self.random.choice(self.arrays(pool))
        kind = self.random.choice(["full", "iota", "copy", "cast"])
        if kind == "full":
            return b.full(b.shape_of(x), Static(self.random.randint(-3, 3)), b.dtype_of(x))
        if kind == "iota":
            return b.iota(b.shape_of(x)[-1], Static(self.random.randint(-3, 3)), Static(2), scalar("i8").dtype)
        return b.copy(x) if kind == "copy" else b.cast(x, scalar(self.random.choice(["i4", "i8", "u2"])).dtype)


def _arguments(program: _Program, seed: int, m: int, n: int) -> list[Any]:
    rng = np.random.default_rng(seed)

    def make(shape: tuple[int, ...], dtype: str = "i8") -> Array:
        return rng.integers(-50, 50, shape).astype(dtype)

    layout = program.main.layout
    first = make((m, n)) if layout == "C" else make((n, m)).T if layout == "F" else make((2 * m, 2 * n))[::2, ::2]
    return [first, make((m, n)), make((n,)), make((m, 1)), make((m, n), "i4"), np.int64(7)]


def _outcome(run: Any, graph: Graph, args: Sequence[Any]) -> Any:
    try:
        return run(graph, args)
    except (ValueError, IndexError, OverflowError, TypeError) as error:
        return type(error), str(error)


def run_random(seed: int, launch: Any = None) -> None:
    square, overlap = seed % 3 == 0, seed % 5 == 0
    program = _Program(seed, square)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    attrs = {} if overlap else {"disjoint": pairs}
    typed = build(program, *program.types, **attrs)
    lowered = lower(typed, OPS)
    m, n = (4, 4) if square else (3, 5)
    mine, theirs = _arguments(program, seed, m, n), _arguments(program, seed, m, n)
    if overlap and program.main.layout == "C":
        mine[1], theirs[1] = mine[0], theirs[0]
    with np.errstate(all="ignore"):
        found = _outcome(run_lowered if launch is None else lambda g, a: run_lowered(g, a, launch), lowered, mine)
        wanted = _outcome(reference.run, typed, theirs)
    assert type(found) is type(wanted), (found, wanted)
    for a, b in zip([*found, *mine], [*wanted, *theirs], strict=True):
        assert type(a) is type(b)
        if isinstance(a, (np.ndarray, np.generic)):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


@pytest.mark.parametrize("block", range(8))
def test_random_programs(block: int) -> None:
    for seed in range(block * 30, block * 30 + 30):
        run_random(seed)


def test_random_programs_natively() -> None:
    compiled: dict[str, Runs] = {}

    def launch(kernel: Kernel, arrays: Sequence[Array], scalars: Sequence[Any]) -> None:
        if kernel.name not in compiled:
            compiled[kernel.name] = Runs([kernel])
        assert compiled[kernel.name](kernel.name, arrays, *scalars) == 0

    for seed in range(60):
        run_random(seed, launch)
