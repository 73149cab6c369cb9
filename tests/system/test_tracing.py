"""tensorjit.trace from end to end: what is recorded once serves all calls like it, and no call takes the wrong path."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.traced import MAX_PATHS, Traced
from tests.system.harness import BACKENDS, compare, observe

RNG = np.random.default_rng(11)
X = np.arange(1.0, 6.0)
WEIGHTS = np.arange(5.0)
SCALE = 2.0
NUMBERS = itertools.count()


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.TracerWarning)
        yield


@pytest.fixture
def silent() -> Iterator[None]:
    """A TracerWarning is an error: nothing was decided while tracing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", tj.TracerWarning)
        yield


def held(traced: Callable[..., Any], function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """One call does what the plain function does with equal arguments."""
    mine, theirs = copy.deepcopy((args, kwargs)), copy.deepcopy((args, kwargs))
    with np.errstate(all="ignore"):
        text = compare(observe(traced, *mine), observe(function, *theirs), ulp=4)
    assert not text, f"{args!r} {kwargs!r}: {text}"


def axpy(a: Any, x: Any, y: Any = 1.0) -> Any:
    return a * x + y


def gate(x: Any) -> Any:
    if x.sum() > 0:
        return x * 2
    return x - 1


def stencil(x: Any) -> Any:
    n = x.shape[0]
    out = np.zeros(n)
    out[1:-1] = (x[:-2] + x[2:]) / 2
    out[n - 1] = x[-1]
    out += np.arange(n)
    return out, x.reshape(-1, 1) * np.ones((1, 3)), np.full((x.size,), n // 2)


# -- examples --------------------------------------------------------------------------------------------------


def test_examples_are_a_tuple_a_list_or_one_array(silent: None) -> None:
    for examples in ((2.0, X, X), [2.0, X, X]):
        held(tj.trace(axpy, examples), axpy, 3.0, X, X)
    held(tj.trace(np.tanh, X), np.tanh, -X)
    held(tj.trace(lambda: np.ones(3)), lambda: np.ones(3))


def several(x: Any, s: Any, mode: Any = "add", z: Any = None, nest: Any = ((1, 2), [3.0, None])) -> Any:
    y = x * s
    if mode == "add":
        y = y + 1
    if z is not None:
        y = y + z
    (a, b), [c, d] = nest
    return y * a + b * c, mode, d


SEVERAL: list[tuple[Any, ...]] = [
    (X, True),  # first: its guard must not take 2 for True
    (X, 2),
    (X, 2.0, "mul"),
    (X, 2, "add", X),
    (X, np.float32(2), "mul", None, ((1, 2), [3.0, "name"])),
    (X, False),
]


def test_scalars_strings_none_and_nested_tuples(silent: None) -> None:
    for first in SEVERAL:
        traced = tj.trace(several, first)
        for args in SEVERAL * 2:
            held(traced, several, *args)
        assert isinstance(traced, Traced) and traced.paths == len(SEVERAL)


def test_a_kind_of_argument_is_told_from_another_with_equal_values(silent: None) -> None:
    def kinds(x: Any, what: Any) -> Any:
        return type(what) is tuple, isinstance(what, str), x + 1

    traced = tj.trace(kinds, (X, True))
    for what in (True, 1, 1.0, "f8", np.dtype("f8"), b"f8", (X, X), [X, X], np.ones((2, 2)), None, np.float64, np.float64(1)):
        for _ in range(2):
            held(traced, kinds, X, what)


def test_keyword_examples(silent: None) -> None:
    def scaled(x: Any, k: Any = 2, *, m: Any) -> Any:
        return x * k + m

    traced = tj.trace(scaled, (X,), example_kwarg_inputs={"m": 2.0})
    held(traced, scaled, X, m=3.0)
    held(traced, scaled, X, 3, m=3.0)
    held(traced, scaled, m=3.0, k=5, x=X)
    assert traced.paths == 1


# -- sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_hundred_lengths(silent: None, backend: str) -> None:
    traced = tj.trace(stencil, np.ones(5), backend=backend)
    for n in range(3, 103):
        held(traced, stencil, RNG.normal(size=n))
    assert isinstance(traced, Traced)
    assert traced.paths == 1
    assert traced.cache_info().misses <= 3
    if backend == "llvm":
        assert traced.cache_info().hits >= 100


def test_other_dtypes_and_ranks(silent: None) -> None:
    def centred(x: Any) -> Any:
        return x - x.mean(axis=0), x.ndim, np.zeros(x.shape, x.dtype)

    traced = tj.trace(centred, X)
    for shape in ((3,), (3, 2), (0, 4), (2, 3, 2)):
        for dtype in ("f8", "f4", "i8", "c16"):
            if shape[0]:
                held(traced, centred, (10 * RNG.normal(size=shape)).astype(dtype))
    assert traced.paths <= 13


@pytest.mark.parametrize("use", [lambda x: len(x), lambda x: sum(1 for _ in range(x.shape[0])), lambda x: [0] * x.shape[0]])
def test_lengths_that_python_takes_are_guarded(quiet: None, use: Callable[[Any], Any]) -> None:
    def sized(x: Any) -> Any:
        return x + 1, use(x)

    traced = tj.trace(sized, np.ones(3))
    for n in (3, 4, 3, 4, 5, 3):
        held(traced, sized, RNG.normal(size=n))
    assert traced.paths == 3


# -- decisions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_branches_are_kept(quiet: None, backend: str) -> None:
    traced = tj.trace(gate, X, backend=backend)
    assert isinstance(traced, Traced) and traced.paths == 1
    held(traced, gate, -X)
    misses = traced.cache_info().misses
    for k in range(20):
        held(traced, gate, RNG.normal(size=k + 2))
    assert traced.paths == 2
    assert traced.cache_info().misses == misses
    assert traced.code.count("if") == 1


def test_nested_decisions_and_loops(quiet: None) -> None:
    def walk(x: Any, limit: Any) -> Any:
        total = x[0]
        for k in range(3):
            if x[k] > limit:
                total = total + x[k]
                if k == 1:
                    break
            else:
                total = -total
        while total > 4:
            total = total / 2
        return total

    traced = tj.trace(walk, (np.ones(4), 0.5))
    for _ in range(30):
        held(traced, walk, RNG.normal(size=4), 0.0)
    assert 4 <= traced.paths <= 12


def test_numbers_that_python_takes_are_guarded(quiet: None) -> None:
    def numbers(x: Any, n: Any) -> Any:
        return x * float(x[0]) + int(x[1]), {3: "three"}.get(n // 1, "other")

    traced = tj.trace(numbers, (X, 3))
    for x, n in ((X, 3), (X + 0.25, 3), (X, 4), (X * np.nan_to_num(np.nan), 3), (-X, 3), (X * -0.0, 3)):
        held(traced, numbers, x, n)
        held(traced, numbers, x, n)


def test_the_number_of_paths_is_bounded(quiet: None) -> None:
    def by_value(x: Any) -> Any:
        x[0] += 1
        return x * float(x[1])

    traced = tj.trace(by_value, X, backend="reference")
    assert isinstance(traced, Traced)
    for k in range(MAX_PATHS - 1):
        held(traced, by_value, np.full(2, k + 0.5))
    assert traced.paths == MAX_PATHS
    misses = traced.cache_info().misses
    with pytest.warns(tj.FallbackWarning, match="the most that are kept"):
        held_with_warnings(traced, by_value, np.full(2, -1.0))
    for k in range(5):  # warned once
        held(traced, by_value, np.full(2, -2.0 - k))
    held(traced, by_value, np.full(2, 0.5))
    assert (traced.paths, traced.cache_info().misses) == (MAX_PATHS, misses)
    with pytest.raises(tj.GuardError, match="are kept already"):
        traced.graph_for(np.ones(2), 1) if False else traced.explain([X])


def held_with_warnings(traced: Callable[..., Any], function: Callable[..., Any], x: Any) -> None:
    mine, theirs = x.copy(), x.copy()
    np.testing.assert_array_equal(traced(mine), function(theirs))
    np.testing.assert_array_equal(mine, theirs)


def test_a_value_whose_last_bits_differ_ends_in_the_plain_function(quiet: None) -> None:
    def decided(x: Any) -> Any:
        return x * float(np.exp(np.sin(x)).sum())

    traced = tj.trace(decided, X, check_trace=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.FallbackWarning)
        for k in range(4):
            x = RNG.normal(size=100 + k)
            np.testing.assert_allclose(traced(x), decided(x), rtol=1e-13)


# -- writes ----------------------------------------------------------------------------------------------------


def writes(x: Any, y: Any, n: Any) -> Any:
    view = x[1:]
    view[0] += n
    y *= 2
    if x[0] > 5:
        x[1] = 100.0
        if y.sum() > 50:
            x[2] = 7.0
    return view, y.sum()


@pytest.mark.parametrize("backend", BACKENDS)
def test_writes_before_a_guard_are_done_once(quiet: None, backend: str) -> None:
    traced = tj.trace(writes, (np.arange(4.0), np.ones(3), 2), backend=backend)
    for _ in range(2):
        for start, scale in ((0.0, 1.0), (7.0, 1.0), (7.0, 20.0), (0.0, 20.0)):
            held(traced, writes, np.arange(4.0) + start, scale * np.ones(3), 3)
    assert traced.paths == 3


def test_writes_into_nested_arguments_before_a_guard(quiet: None) -> None:
    def nested(pair: Any) -> Any:
        a, (b,) = pair
        b += a
        return b if a[0] > 0 else -b

    traced = tj.trace(nested, ((X, (X,)),))
    for _ in range(2):
        for sign in (1, -1):
            held(traced, nested, (sign * X, (X,)))


def test_overlapping_arguments_are_restored(quiet: None) -> None:
    def both(x: Any, y: Any) -> Any:
        x += 1
        y *= 2
        return x.sum() if y[0] > 5 else y.sum()

    traced = tj.trace(both, (X, X.copy()))
    for _ in range(2):
        for start in (0.0, 30.0):
            mine, theirs = np.arange(6.0) + start, np.arange(6.0) + start
            assert traced(mine[1:], mine[:-1]) == both(theirs[1:], theirs[:-1])
            np.testing.assert_array_equal(mine, theirs)


def test_what_raises_leaves_what_numpy_leaves(quiet: None) -> None:
    def raising(x: Any, y: Any) -> Any:
        x[0] = 7.0
        if x.sum() > 100:
            raise ValueError("too much")
        return x + y[3]

    traced = tj.trace(raising, (X, X))
    for args in ((X + 1000, X), (X, np.ones(2)), (X, X), (X[:0], X)):
        for _ in range(2):
            held(traced, raising, *args)
    assert traced.paths == 1


def test_an_exception_while_tracing_comes_out() -> None:
    def raising(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tj.trace(raising, X)
    assert not tj.is_tracing()


# -- what is captured ------------------------------------------------------------------------------------------


def test_captured_arrays_and_numbers(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.ones(5)

    def uses(x: Any) -> Any:
        return (WEIGHTS + table[0]) * x * SCALE

    traced = tj.trace(uses, X)
    held(traced, uses, X)
    table[0] = 5.0
    held(traced, uses, X)
    table = np.full(5, 3.0)
    held(traced, uses, X)
    monkeypatch.setitem(globals(), "WEIGHTS", np.full(5, 9, np.float32))
    held(traced, uses, X)
    assert traced.paths == 1
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    held(traced, uses, X)
    assert traced.paths == 2


class Dense:
    def __init__(self) -> None:
        self.w = np.ones((5, 2))
        self.layers = 3
        self.name = "relu"

    def __call__(self, x: Any) -> Any:
        y = x @ self.w
        for _ in range(self.layers):
            y = y * 2
        return np.maximum(y, 0) if self.name == "relu" else np.tanh(y)

    def forward(self, x: Any) -> Any:
        return self(x) + 1


def test_attributes_of_the_traced_object(silent: None) -> None:
    dense = Dense()
    for traced in (tj.trace(dense, X), tj.trace(dense.forward, X)):
        plain = traced.__wrapped__
        held(traced, plain, X)
        dense.w[0] = 4.0
        held(traced, plain, X)
        dense.w = np.full((5, 2), 5.0)
        held(traced, plain, X)
        dense.layers -= 1
        held(traced, plain, X)
        dense.name = "tanh"
        held(traced, plain, X)
        assert 3 <= traced.paths <= 4  # layers, and the name on each number of them
        dense.name = "relu"


def test_callables_without_source(silent: None) -> None:
    space: dict[str, Any] = {"np": np}
    exec("def g(x):\n    return np.exp(x) + np.ones(x.shape[0])", space)
    dense = Dense()
    cases: list[tuple[Any, tuple[Any, ...], str]] = [
        (space["g"], (X,), "g"),
        (functools.partial(axpy, 2.0), (X, X), "axpy"),
        (np.hypot, (X, X), "hypot"),
        (lambda *xs: sum(xs), (X, X, X), "<lambda>"),
        (dense, (X,), "Dense"),
        (dense.forward, (X,), "forward"),
    ]
    for function, args, name in cases:
        traced = tj.trace(function, args)
        held(traced, function, *args)
        held(traced, function, *(a * 2 for a in args))
        assert traced.__name__ == name
        assert repr(traced) == f"<tensorjit Traced {name}>"
        assert isinstance(traced, tj.ScriptFunction)
        assert traced.code and traced.explain(*args)


# -- mixing with script ------------------------------------------------------------------------------------------


@tj.script
def script_gate(x: Any) -> Any:
    if x.sum() > 0:
        return x
    return -x


def plain_gate(x: Any) -> Any:
    return x if x.sum() > 0 else -x


def cell(x: Any, h: Any) -> Any:
    h = np.tanh(script_gate(x) + h)
    return h, h


def plain_loop(xs: Any, h: Any) -> Any:
    y = h
    for i in range(xs.shape[0]):
        y = h = np.tanh(plain_gate(xs[i]) + h)
    return y, h


def test_control_flow_of_a_scripted_function_is_kept(silent: None) -> None:
    traced = tj.trace(cell, (np.ones(3), np.zeros(3)))
    for _ in range(10):
        x, h = RNG.normal(size=3), RNG.normal(size=3)
        np.testing.assert_allclose(traced(x, h)[0], np.tanh(plain_gate(x) + h), rtol=1e-14)
    assert traced.paths == 1


def test_three_levels_script_trace_script(silent: None) -> None:
    traced_cell = tj.trace(cell, (np.ones(3), np.zeros(3)))

    @tj.script
    def loop(xs: Any, h: Any) -> Any:
        y = h
        for i in range(xs.shape[0]):
            y, h = traced_cell(xs[i], h)
        return y, h

    for n in (10, 7, 1):
        xs, h = RNG.normal(size=(n, 3)), RNG.normal(size=3)
        np.testing.assert_allclose(loop(xs, h), plain_loop(xs, h), rtol=1e-13)
    assert loop.cache_info().misses == 2  # a length of 1 is another signature

    def whole(xs: Any, h: Any) -> Any:
        return loop(xs * 2, h)[0]

    traced = tj.trace(whole, (RNG.normal(size=(10, 3)), np.zeros(3)))  # traced with 10 steps
    for n in (7, 10, 1):
        xs, h = RNG.normal(size=(n, 3)), RNG.normal(size=3)
        np.testing.assert_allclose(traced(xs, h), plain_loop(xs * 2, h)[0], rtol=1e-12)
    assert traced.paths == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_new_path_of_a_traced_function_within_a_scripted_one(quiet: None, backend: str) -> None:
    traced = tj.trace(gate, X)

    def writing(x: Any, y: Any) -> Any:
        y[0] += 1
        for i in range(x.shape[0]):
            y[1:] += gate(x[i])[1:]
        return y.sum()

    @tj.script(backend=backend)
    def outer(x: Any, y: Any) -> Any:
        y[0] += 1
        for i in range(x.shape[0]):
            y[1:] += traced(x[i])[1:]
        return y.sum()

    rows = np.stack([X, -X, X])
    for x in (rows[:1], rows, -rows, rows[:0]):
        for _ in range(2):
            mine, theirs = np.ones(5), np.ones(5)
            np.testing.assert_allclose(outer(x, mine), writing(x, theirs), rtol=1e-14)
            np.testing.assert_array_equal(mine, theirs)
    assert traced.paths == 2
    assert outer.cache_info().misses <= 3


def test_a_new_path_of_a_traced_function_within_a_traced_one(quiet: None) -> None:
    traced = tj.trace(gate, X)

    def outer(x: Any) -> Any:
        x[0] += 1
        return traced(x) + 1

    def plain(x: Any) -> Any:
        x[0] += 1
        return gate(x) + 1

    both = tj.trace(outer, X)
    for _ in range(2):
        for sign in (1, -1):
            held(both, plain, sign * X)
    assert (both.paths, traced.paths) == (1, 2)


def test_calls_of_a_traced_function_by_keyword_and_with_other_kinds(silent: None) -> None:
    def scaled(x: Any, k: Any = 2, *, m: Any = 1.0) -> Any:
        return (x * k + m, 1) if isinstance(x, np.ndarray) else (x * k - m, 2)

    traced = tj.trace(scaled, X)

    @tj.script
    def calls(x: Any) -> Any:
        return traced(x), traced(x, 3.0), traced(k=5, x=x), traced(x, m=x), traced(x.sum()), traced(2.0)

    def plain(x: Any) -> Any:
        return scaled(x), scaled(x, 3.0), scaled(k=5, x=x), scaled(x, m=x), scaled(x.sum()), scaled(2.0)

    for _ in range(3):
        held(calls, plain, X)
    assert calls.cache_info().misses <= 3


def test_the_limit_of_paths_holds_inside_of_a_scripted_function(quiet: None) -> None:
    traced = tj.trace(lambda x: x * float(x[0]), X, backend="reference")
    for k in range(MAX_PATHS - 1):
        traced(np.full(2, k + 1.5))

    @tj.script(backend="reference")
    def outer(x: Any) -> Any:
        return traced(x) + 1

    with pytest.warns(tj.FallbackWarning):
        assert outer(np.full(2, 0.5)).tolist() == [1.25, 1.25]
    misses = outer.cache_info().misses
    for k in range(3):
        assert outer(np.full(2, -k - 2.0)).tolist() == [(k + 2.0) ** 2 + 1] * 2
    assert outer.cache_info().misses == misses


# -- checks and warnings ---------------------------------------------------------------------------------------


def test_warnings_name_the_place_the_expression_and_the_value() -> None:
    with pytest.warns(tj.TracerWarning) as caught:
        tj.trace(gate, X)
    (warning,) = caught
    line = gate.__code__.co_firstlineno + 1
    assert (warning.filename, warning.lineno) == (__file__, line)
    text = str(warning.message)
    assert text.startswith(f"{__file__}:{line}:8: `x.sum() > 0` needs a Python bool while tracing: True was taken")
    assert "    if x.sum() > 0:" in text


def test_strict_refuses_decisions() -> None:
    with pytest.raises(tj.UnsupportedError, match="strict=True"):
        tj.trace(gate, X, strict=True)
    held(tj.trace(stencil, X, strict=True), stencil, np.ones(8))


def test_check_trace_finds_random_numbers() -> None:
    def noisy(x: Any) -> Any:
        return x + np.random.rand(5)

    with pytest.warns(tj.TracerWarning, match="becomes a constant"), pytest.raises(tj.TracingCheckError):
        tj.trace(noisy, X)
    with pytest.warns(tj.TracerWarning, match="becomes a constant"):
        tj.trace(noisy, X, check_trace=False)


def test_check_inputs_and_tolerance(quiet: None) -> None:
    traced = tj.trace(gate, X, check_inputs=[(-X,), [X], -X])
    assert traced.paths == 2

    def counts(x: Any) -> Any:
        return x + next(NUMBERS)

    with pytest.raises(tj.TracingCheckError):
        tj.trace(counts, X)
    assert tj.trace(np.sin, X, check_tolerance=1e-3)(X).shape == (5,)


def test_is_tracing_and_is_scripting() -> None:
    def asks(x: Any) -> Any:
        if tj.is_scripting():
            return x + 1
        return x * 10 if tj.is_tracing() else x - 1

    assert tj.script(asks)(X)[0] == 2
    assert tj.trace(asks, X, check_trace=False)(X)[0] == 10
    assert asks(X)[0] == 0


# -- seeing, copying, switching off ------------------------------------------------------------------------------


def test_an_identity_returns_the_object(silent: None) -> None:
    traced = tj.trace(lambda x: x, X)
    assert traced(X) is X
    assert traced.code == "def function(x):\n    return x\n"


def test_seeing(quiet: None) -> None:
    traced = tj.trace(gate, X)
    assert traced.code.startswith("def gate(x):\n    if not x.sum() > 0:") or "GuardError" in traced.code
    traced(-X)
    assert "GuardError" not in traced.code and traced.code.count("return") == 2
    assert "x.sum" not in str(traced.graph_for(X))
    assert "multiply" in traced.explain(X)
    lowered = traced.lower(X)
    for stage in ("graph", "lowered", "kernels", "llvm", "asm"):
        assert lowered.as_text(stage)
    assert str(traced.graph).startswith("graph gate(%x: ?)")


def test_code_is_runnable(quiet: None) -> None:
    traced = tj.trace(gate, X)
    traced(-X)
    space: dict[str, Any] = {"np": np}
    exec(traced.code, space)
    for x in (X, -X):
        np.testing.assert_array_equal(space["gate"](x), gate(x))


def test_switched_off() -> None:
    calls: list[type] = []

    def notes(x: Any) -> Any:
        calls.append(type(x))
        return x + 1 if x[0] > 0 else x

    with tj.options(enabled=False), warnings.catch_warnings():
        warnings.simplefilter("error")
        traced = tj.trace(notes, X)
        assert not calls
        held(traced, notes, -X)
    assert set(calls) == {np.ndarray}
    with pytest.warns(tj.TracerWarning):
        held_quietly(traced, notes, X)


def held_quietly(traced: Callable[..., Any], function: Callable[..., Any], x: Any) -> None:
    np.testing.assert_array_equal(traced(x), function(x))


def test_fallback_to_python() -> None:
    with pytest.warns(tj.FallbackWarning, match="tolist"):
        traced = tj.trace(lambda x: x.tolist(), X, fallback="python")
    assert traced(X) == X.tolist()
    with pytest.raises(tj.UnsupportedError, match="tolist"):
        tj.trace(lambda x: x.tolist(), X)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))], ids=["copy", "deep", "pickle"])
def test_copies(quiet: None, make: Callable[[Any], Any]) -> None:
    traced = tj.trace(gate, X)
    traced(-X)
    other = make(traced)
    assert type(other) is Traced and other is not traced
    assert other.paths == (0 if "loads" in str(make.__code__.co_names) else 2)
    held(other, gate, X)
    held(other, gate, -X)
    assert other.paths == 2


def test_a_deep_copy_of_a_traced_object_has_weights_of_its_own(silent: None) -> None:
    traced = tj.trace(Dense(), X)
    other = copy.deepcopy(traced)
    weights: Any = other.__wrapped__
    weights.w[:] = 3.0
    held(other, other.__wrapped__, X)
    held(traced, Dense(), X)


def test_nothing_recorded_yet_is_said(quiet: None) -> None:
    fresh = pickle.loads(pickle.dumps(tj.trace(gate, X)))
    with pytest.raises(tj.CompileError, match="call it once"):
        _ = fresh.code


def test_wrong_calls_raise_what_python_raises(silent: None) -> None:
    traced = tj.trace(lambda x: x + 1, X)
    for args in ((), (X, X)):
        held(traced, lambda x: x + 1, *args) if False else _same_error(traced, args)
    with pytest.raises(TypeError):
        tj.trace(lambda x: x, (X, X))


def _same_error(traced: Any, args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError) as mine:
        traced(*args)
    with pytest.raises(TypeError) as theirs:
        traced.__wrapped__(*args)
    assert str(mine.value) == str(theirs.value)


def test_two_threads(quiet: None) -> None:
    traced = tj.trace(gate, X)
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def run(k: int) -> None:
        try:
            start.wait()
            for n in range(20):
                x = np.full(n + 2, 1.0 if (n + k) % 2 else -1.0, "f8" if k % 2 else "f4")
                np.testing.assert_array_equal(traced(x), gate(x))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert traced.paths == 2
