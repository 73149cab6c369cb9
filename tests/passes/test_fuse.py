"""What is fused, into how many kernels, with how many arrays in memory between them; and that it computes what NumPy does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tensorjit.backends import reference
from tensorjit.ir.dims import symbol
from tensorjit.ir.graph import Graph, Value
from tensorjit.ir.types import PY_BOOL, PY_INT
from tensorjit.ops import OPS
from tensorjit.ops.abstract import Static, SymInt
from tensorjit.ops.typed import TypedBuilder
from tensorjit.passes.lower import describe, lower
from tests.passes.interpret_kernels import (
    Array,
    array,
    build,
    launches,
    run_lowered,
    scalar,
    temporaries,
)


def check(
    function: Callable[..., Any],
    types: Sequence[Any],
    args: Sequence[Any],
    kernels: int | None = None,
    temps: int | None = None,
    **attrs: Any,
) -> Graph:
    """Lower, count, run, and compare with the typed graph run op by op: results, and arguments that were written to."""
    typed = build(function, *types, **attrs)
    lowered = lower(typed, OPS)
    mine, theirs = [_copied(a) for a in args], [_copied(a) for a in args]
    with np.errstate(all="ignore"):
        found, wanted = run_lowered(lowered, mine), reference.run(typed, theirs)
    for a, b in ((found, wanted), (mine, theirs)):
        _same(a, b)
    if kernels is not None:
        assert len(launches(lowered)) == kernels, describe(lowered)
    if temps is not None:
        assert len(temporaries(lowered)) == temps, describe(lowered)
    return lowered


def _copied(a: Any) -> Any:
    return a.copy(order="K") if isinstance(a, np.ndarray) else a


def _same(a: Any, b: Any) -> None:
    if isinstance(a, (tuple, list)):
        for x, y in zip(a, b, strict=True):
            _same(x, y)
        return
    assert type(a) is type(b)
    if not isinstance(a, (np.ndarray, np.generic)):
        assert a == b
    else:
        assert a.dtype == b.dtype and a.shape == b.shape
        if a.dtype.kind in "fc":
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-3 if a.dtype.itemsize == 2 else 1e-6, atol=1e-12)
        else:
            np.testing.assert_array_equal(a, b)


def data(*shape: int, dtype: str = "f8", order: Any = "C") -> Array:
    rng = np.random.default_rng(7)
    values = rng.uniform(-2, 2, shape) if np.dtype(dtype).kind in "fc" else rng.integers(0, 9, shape)
    return np.array(values, dtype, order=order)


V = array("f8", "n")
M = array("f8", "m", "n")


# -- elementwise -------------------------------------------------------------------------------------------------------


def test_a_chain_is_one_flat_loop() -> None:
    def f(b: Any, np_: Any, a: Any, x: Any, y: Any, z: Any, w: Any) -> Any:
        return np_.subtract(np_.add(np_.multiply(a, x), np_.multiply(y, z)), w)

    args = [np.float64(3), *(data(3, 5) for _ in range(4))]
    lowered = check(f, [scalar("f8"), M, M, M, M], args, kernels=1, temps=0)
    (launch,) = launches(lowered)
    (loop,) = [s for s in launch.attrs["kernel"].body if type(s).__name__ == "For"]
    assert loop.kind == "vector" and all(v.rank == 1 and v.unit_axis == 0 for v in launch.attrs["kernel"].views)
    assert launch.attrs["kernel"].ops == ("multiply", "multiply", "add", "subtract")


@pytest.mark.parametrize("order", ["C", "F", "A"])
def test_layouts(order: str) -> None:
    x = data(4, 5, order="F" if order == "F" else "C")
    x = data(8, 10)[::2, ::2] if order == "A" else x
    t = array("f8", "m", "n", layout=order)  # type: ignore[arg-type]

    def f(b: Any, np_: Any, x: Any, y: Any) -> Any:
        return np_.exp(np_.add(x, y)), np_.multiply(x, 2)

    check(f, [t, t], [x, x[:]], kernels=1, temps=0)


def test_broadcasting() -> None:
    def f(b: Any, np_: Any, x: Any, row: Any, column: Any) -> Any:
        return np_.add(np_.multiply(x, row), np_.exp(column))

    n, m = symbol("n", 0, True), symbol("m", 0, True)
    types = [M, array("f8", n), array("f8", m, 1)]
    check(f, types, [data(3, 4), data(4), data(3, 1)], kernels=2)


def test_sizes_that_a_check_made_equal_are_one_space() -> None:
    def f(b: Any, np_: Any, x: Any, y: Any, z: Any) -> Any:
        return np_.multiply(np_.add(x, y), np_.add(z, y))

    check(f, [array("f8", "a"), array("f8", "b"), array("f8", "c")], [data(6)] * 3, kernels=1, temps=0)


def test_dtypes_round_at_every_op() -> None:
    def f(b: Any, np_: Any, x: Any, y: Any) -> Any:
        return np_.multiply(np_.add(x, y), 3), np_.add(x, 1.5), np_.less(x, y), np_.add(np_.less(x, y), 2)

    types = [array("f2", "n"), array("i1", "n")]
    check(f, types, [data(9, dtype="f2"), data(9, dtype="i1")], kernels=1)


def test_creation_reads_no_memory() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        n = SymInt(b.shape_of(x)[0])
        return np_.add(np_.multiply(np_.arange(n), x), b.full((n.dim,), Static(2.0), b.dtype_of(x)))

    check(f, [V], [data(7)], kernels=1, temps=0)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "u1", "c16"])
def test_arange(dtype: str) -> None:
    def f(b: Any, np_: Any) -> Any:
        return b.iota(7, Static(3), Static(2), scalar(dtype).dtype)

    check(f, [], [], kernels=1, temps=0)


def test_a_mesh_of_two_ranges() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        m, n = (SymInt(d) for d in b.shape_of(x))
        rows = b.view(np_.arange(m), (m.dim, 1), [(0, 1), (None, 0)])
        return np_.add(x, np_.multiply(rows, np_.arange(n)))

    check(f, [M], [data(3, 4)])


def test_a_value_that_a_view_looks_at_is_in_memory() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        y = np_.multiply(x, 2)
        n = b.shape_of(y)[0]
        left, right = (b.view(y, (n - 1,), [(0, 1)], (k,)) for k in (0, 1))
        return np_.add(left, right)

    n = symbol("n", 2, True)
    lowered = check(f, [array("f8", n)], [data(7)], kernels=2, temps=1)
    assert "a view" in describe(lowered)[0]


def test_results_over_one_space_share_a_kernel() -> None:
    def f(b: Any, np_: Any, x: Any, y: Any) -> Any:
        return np_.add(x, y), np_.subtract(x, y), np_.multiply(np_.add(x, y), 2)

    check(f, [V, V], [data(5), data(5)], kernels=1, temps=0)


def test_a_long_chain_is_cut() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        for _ in range(5000):
            x = np_.add(x, 1.0)
        return x

    lowered = lower(build(f, V), OPS)
    assert 5000 // 256 <= len(launches(lowered)) <= 5000 // 256 + 2
    names = {launch.attrs["kernel"].name for launch in launches(lowered)}
    assert len(names) == 2  # equal kernels have one name


def test_the_unused_is_dropped() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        np_.exp(x)
        return np_.add(x, 1)

    lowered = check(f, [V], [data(4)], kernels=1)
    assert launches(lowered)[0].attrs["kernel"].ops == ("add",)


# -- reductions --------------------------------------------------------------------------------------------------------


def softmax(axis: Any) -> Callable[..., Any]:
    def f(b: Any, np_: Any, x: Any) -> Any:
        e = np_.exp(np_.subtract(x, np_.max(x, axis=axis, keepdims=True)))
        return np_.divide(e, np_.sum(e, axis=axis, keepdims=True))

    return f


@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_softmax(axis: Any, order: Any) -> None:
    t = array("f8", "m", "n", layout=order)
    lowered = check(softmax(axis), [t], [data(4, 6, order=order)], kernels=1, temps=0)
    assert not launches(lowered)[0].attrs["kernel"].scratch


def test_log_sum_exp_keeps_no_row() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        top = np_.max(x, axis=1)
        e = np_.exp(np_.subtract(x, np_.expand_dims(top, 1)))
        return np_.add(np_.log(np_.sum(e, axis=1)), top)

    lowered = check(f, [M], [data(4, 6)], kernels=1, temps=0)
    assert not launches(lowered)[0].attrs["kernel"].scratch


def test_a_costly_value_is_kept_in_a_row() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        e = np_.exp(x)
        return np_.sum(np_.square(np_.subtract(e, np_.mean(e, axis=1, keepdims=True))), axis=1)

    lowered = check(f, [M], [data(4, 6)], kernels=1, temps=0)
    assert len(launches(lowered)[0].attrs["kernel"].scratch) == 1


@pytest.mark.parametrize("axis", [0, 1])
def test_standardising(axis: int) -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        mean, std = (getattr(np_, name)(x, axis=axis, keepdims=axis == 1) for name in ("mean", "std"))
        return np_.divide(np_.subtract(x, mean), std)

    check(f, [M], [data(5, 4)], kernels=1, temps=0)


def test_standardising_a_vector() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        return np_.divide(np_.subtract(x, np_.mean(x)), np_.std(x))

    check(f, [V], [data(9)], kernels=1, temps=0)
    check(f, [M], [data(3, 4)], kernels=1, temps=0)


def test_layer_norm() -> None:
    def f(b: Any, np_: Any, x: Any, gain: Any, bias: Any) -> Any:
        mean, var = np_.mean(x, axis=-1, keepdims=True), np_.var(x, axis=-1, keepdims=True)
        normal = np_.divide(np_.subtract(x, mean), np_.sqrt(np_.add(var, 1e-5)))
        return np_.add(np_.multiply(normal, gain), bias)

    n = symbol("n", 0, True)
    t = array("f4", "b", "m", n)
    args = [data(2, 3, 8, dtype="f4"), data(8, dtype="f4"), data(8, dtype="f4")]
    check(f, [t, array("f4", n), array("f4", n)], args, kernels=1, temps=0)


def test_reductions_side_by_side() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        return np_.min(x), np_.max(x), np_.sum(np_.multiply(x, x)), np_.argmax(x), np_.any(np_.less(x, 0))

    check(f, [M], [data(5, 4)], kernels=1, temps=0)


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 2), (1, 2), (0, 1), None])
@pytest.mark.parametrize("name", ["sum", "max", "mean", "var", "argmin"])
def test_axes(axis: Any, name: str) -> None:
    if name == "argmin" and isinstance(axis, tuple):
        pytest.skip("argmin takes one axis")

    def f(b: Any, np_: Any, x: Any) -> Any:
        return getattr(np_, name)(np_.multiply(x, x), axis=axis)

    for order in ("C", "F"):
        check(f, [array("f4", "a", "b", "c", layout=order)], [data(3, 4, 2, dtype="f4", order=order)], kernels=1, temps=0)


def test_two_axes_are_two_kernels() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        y = np_.multiply(x, 2)
        return np_.sum(y, axis=0), np_.sum(y, axis=1)

    check(f, [array("f8", "n", "n")], [data(4, 4)], kernels=2, temps=1)


def test_a_row_value_broadcast_along_the_other_axis_is_in_memory() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        return np_.divide(x, np_.sum(x, axis=1))  # along the last axis, not the first

    check(f, [array("f8", "n", "n")], [data(4, 4)], kernels=2, temps=1)


def test_sizes_of_one() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        return np_.sum(x, axis=1), np_.subtract(x, np_.mean(x, axis=1, keepdims=True)), np_.sum(x, axis=0)

    check(f, [array("f8", "n", 1)], [data(4, 1)])
    check(f, [array("f8", 1, 1)], [data(1, 1)])
    check(f, [array("f8", 1, "n")], [data(1, 4)])


def test_empty() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        return np_.sum(x, axis=0), np_.add(x, 1), np_.sum(x)

    check(f, [M], [data(0, 3)])
    check(f, [M], [data(3, 0)])


def test_distances() -> None:
    def f(b: Any, np_: Any, points: Any, centres: Any) -> Any:
        p, c = np_.expand_dims(points, 1), np_.expand_dims(centres, 0)
        return np_.argmin(np_.sum(np_.square(np_.subtract(p, c)), axis=2), axis=1)

    d = symbol("d", 0, True)
    check(f, [array("f8", "n", d), array("f8", "k", d)], [data(5, 3), data(4, 3)], kernels=2, temps=1)


# -- stores ------------------------------------------------------------------------------------------------------------


def shifted(b: Any, x: Any, start: int, end: int) -> Any:
    n = b.shape_of(x)[0]
    return b.view(x, (n - (start + end),), [(0, 1)], (start,))


N = symbol("n", 2, True)


def test_in_place_is_in_place() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        b.store(x, np_.add(x, 1))
        b.store(x, np_.multiply(x, x))

    lowered = check(f, [V], [data(5)], kernels=1, temps=0)
    assert len(launches(lowered)[0].attrs["kernel"].views) == 1


def test_an_overlapping_source_is_read_first() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        target = shifted(b, x, 1, 0)
        b.store(target, np_.add(target, shifted(b, x, 0, 1)))

    check(f, [array("f8", N)], [data(8)], kernels=2, temps=1)


def test_a_value_just_written_and_written_back_reversed() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        n = b.shape_of(x)[0]
        back = b.view(x, (n,), [(0, -1)], (n - 1,))
        b.store(x, back)
        b.store(back, x)

    check(f, [array("f8", N)], [data(5)])


def test_an_overlapping_copy() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        b.store(shifted(b, x, 1, 0), shifted(b, x, 0, 1))

    check(f, [array("f8", N)], [data(8)], kernels=2, temps=1)


def test_a_stencil_writes_to_its_target() -> None:
    def f(b: Any, np_: Any, x: Any, out: Any) -> Any:
        value = np_.multiply(np_.add(shifted(b, x, 0, 2), shifted(b, x, 2, 0)), 0.5)
        b.store(shifted(b, out, 1, 1), value)

    t = array("f8", N)
    check(f, [t, t], [data(8), data(8)], kernels=1, temps=0, disjoint=[(0, 1)])
    check(f, [t, t], [data(8), data(8)], kernels=2, temps=1)
    x = data(8)
    typed = build(f, t, t)
    overlapping = lower(typed, OPS)
    y, z = x.copy(), x.copy()
    run_lowered(overlapping, [y, y])
    reference.run(typed, [z, z])
    np.testing.assert_array_equal(y, z)


def test_out_is_written_to() -> None:
    def f(b: Any, np_: Any, x: Any, y: Any, out: Any) -> Any:
        b.store(out, np_.add(np_.multiply(x, 2), y))
        return out

    check(f, [V, V, V], [data(5), data(5), data(5)], kernels=1, temps=0, disjoint=[(0, 2), (1, 2)])


def test_fresh_arrays_are_filled_where_they_lie() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        y = b.full(b.shape_of(x), Static(0.0), b.dtype_of(x))
        b.store(y, np_.add(y, x))
        b.store(y, np_.multiply(y, 3))
        return y

    check(f, [M], [data(3, 4)], kernels=1, temps=0)


def test_a_part_of_a_fresh_array() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        y = b.full(b.shape_of(x), Static(1.0), b.dtype_of(x))
        b.store(shifted(b, y, 1, 1), np_.multiply(shifted(b, x, 1, 1), 2))
        return np_.add(y, x)

    check(f, [array("f8", N)], [data(6)], kernels=3, temps=1)


def test_writes_do_not_cross_a_raise() -> None:
    def f(b: Any, np_: Any, x: Any, y: Any, out: Any) -> Any:
        b.store(out, np_.multiply(x, 2))
        return np_.add(x, y)

    typed = build(f, array("f8", "a"), array("f8", "b"), array("f8", "a"), disjoint=[(0, 2), (1, 2)])
    lowered = lower(typed, OPS)
    names = [op.name for op in lowered.block.ops if op.name in ("launch", "check")]
    assert names == ["launch", "check", "launch"]


def test_reads_see_what_was_written_before() -> None:
    def f(b: Any, np_: Any, x: Any, y: Any) -> Any:
        before = np_.add(y, 1)
        b.store(x, np_.multiply(x, 2))
        after = np_.add(y, 1)
        return before, after

    t = array("f8", "n")
    typed = build(f, t, t)
    lowered = lower(typed, OPS)
    a, c = data(5), data(5)
    with np.errstate(all="ignore"):
        _same(run_lowered(lowered, [a, a]), reference.run(typed, [c, c]))
    _same(a, c)


def test_a_row_is_stored_in_the_array_it_is_of() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        m, _ = b.shape_of(x)
        b.store(b.view(x, (m,), [(0, 1)], (0, 0)), np_.sum(x, axis=1))

    check(f, [array("f8", "m", symbol("n", 2, True))], [data(3, 4)], temps=1)


def test_normalising_in_place() -> None:
    def f(b: Any, np_: Any, x: Any) -> Any:
        b.store(x, np_.subtract(x, np_.mean(x, axis=0)))
        b.store(x, np_.divide(x, np_.std(x, axis=0)))

    check(f, [M], [data(4, 3)], temps=0)


# -- control flow ------------------------------------------------------------------------------------------------------


def test_two_buffers_in_turn_are_written_in_place() -> None:
    """for _ in range(3): cur[1:-1] = (prev[:-2] + prev[2:]) / 2; prev, cur = cur, prev"""

    def f(b: TypedBuilder, np_: Any, x: Any, y: Any) -> Any:
        t = x.type
        item, prev, cur = Value(PY_INT, "i"), Value(t, "prev"), Value(t, "cur")
        zero, three, one = (b.constant(k) for k in (0, 3, 1))
        with b.block([item, prev, cur]) as body:
            value = np_.multiply(np_.add(shifted(b, prev, 0, 2), shifted(b, prev, 2, 0)), 0.5)
            b.store(shifted(b, cur, 1, 1), value)
            b.effect("continue", [cur, prev])
        attrs = {"symbol": "i"}
        return b.builder.add_multi("for", (zero, three, one, x, y), (t, t), attrs, (body.block(),))

    t = array("f8", N)
    lowered = check(f, [t, t], [data(8), data(8)], kernels=1, temps=0, disjoint=[(0, 1)])
    check(f, [t, t], [data(8), data(8)], kernels=2, temps=1)
    assert launches(lowered)[0].attrs["kernel"].ops == ("add", "multiply")


def test_a_value_used_in_a_branch_is_computed_before_it() -> None:
    def f(b: TypedBuilder, np_: Any, x: Any, c: Any) -> Any:
        y = np_.multiply(x, 2)
        arms = []
        for k in range(2):
            with b.block() as arm:
                b.effect("yield", [np_.add(y, x) if k else y])
            arms.append(arm.block())
        return b.builder.add_multi("if", (c,), (x.type,), {}, arms)[0]

    check(f, [V, PY_BOOL], [data(4), True], kernels=2)
    check(f, [V, PY_BOOL], [data(4), False], kernels=2)


def test_a_row_without_a_kernel_is_left_to_numpy() -> None:
    table = {**OPS, "exp": replace(OPS["exp"], scalar=None)}

    def f(b: Any, np_: Any, x: Any) -> Any:
        return np_.add(np_.exp(np_.multiply(x, 2)), 1)

    typed = build(f, array("i4", "n"))
    lowered = lower(typed, table)
    names = [op.name for op in lowered.block.ops if op.name in ("launch", "library")]
    assert names == ["launch", "library", "launch"]
    args = [data(4, dtype="i4")]
    _same(run_lowered(lowered, args), reference.run(typed, args))


def test_what_does_not_depend_on_an_array_does_not_read_it() -> None:
    lowered = check(lambda b, np_, x: np_.isnan(x), [array("i4", "n")], [data(4, dtype="i4")], kernels=1)
    (launch,) = launches(lowered)
    assert "Load(" not in repr(launch.attrs["kernel"].body)
