"""Tracing: what one run shows becomes a graph for all runs like it, and nothing is fixed without a word."""

from __future__ import annotations

import copy
import functools
import math
import queue
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy import zeros as fresh

from tensorjit.errors import GuardError, TracerWarning, TracingCheckError, UnsupportedError
from tensorjit.frontend import trace
from tensorjit.frontend.trace import TraceTree, check, check_repeat, is_tracing, record, root_of, traced_call
from tensorjit.ir.graph import Graph
from tensorjit.ir.parser import parse_graph
from tensorjit.ir.printer import print_graph
from tensorjit.ir.python_code import python_code
from tensorjit.ir.verifier import verify_graph
from tests.frontend.interpret import callable_of

WEIGHTS = np.arange(4.0)
SCALE = 2.0
LAYERS = 3
RNG = np.random.default_rng(7)


def graph_of(tree: TraceTree, name: str = "f") -> Graph:
    graph = tree.to_graph(name)
    verify_graph(graph, "generic")
    return graph


def code_of(tree: TraceTree) -> str:
    return python_code(graph_of(tree))


def replay(tree: TraceTree, function: Callable[..., Any]) -> Callable[..., Any]:
    """What the graph does, with the defaults of the function."""
    defaults = getattr(function, "__defaults__", None) or ()
    return callable_of(graph_of(tree), {}, {}, defaults, getattr(function, "__kwdefaults__", None) or {}, tree.captures)


class Live:
    """What the public object does: trace where nothing fits, else run the graph."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.tree: TraceTree | None = None
        self.traces = 0
        self.patience = 4

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.tree is None or not self.tree.covers(root_of(self.function, args, kwargs)):
            self.trace(args, kwargs)
        assert self.tree is not None
        for _ in range(self.patience):
            try:
                mine, named = copy.deepcopy((args, kwargs))
                return self.run(*mine, **named)
            except GuardError:
                self.trace(args, kwargs)
        raise AssertionError("the trace of a call does not serve it")

    def trace(self, args: Any, kwargs: Any) -> None:
        self.traces += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)
            self.tree = record(self.function, args, kwargs, self.tree).tree
        self.run = replay(self.tree, self.function)


def quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> trace.Recording:
    """A recording; in these tests a warning is an error."""
    return record(function, args, kwargs)


# -- general in sizes, and in values ---------------------------------------------------------------------------


def axpy(a: Any, x: Any, y: Any) -> Any:
    return a * x + y


def centred(x: Any) -> Any:
    return (x - x.mean(axis=0)) / x.std(axis=0, keepdims=True)


def stencil(x: Any) -> Any:
    n = x.shape[0]
    out = np.zeros(n)
    out[1:-1] = (x[:-2] + x[2:]) / 2
    out[n - 1] = x[-1]
    out[0] += len(x.shape) * x.ndim
    return out


def by_shape(x: Any) -> Any:
    acc = np.zeros(x.shape, dtype=x.dtype)
    acc += x.reshape(-1, 1).T.reshape(x.shape)
    return acc, np.arange(x.shape[0]), np.full((x.size,), x.shape[0] // 2 + 1)


def imported(x: Any) -> Any:
    total = fresh(x.shape[0] + 1)
    total[1:] = np.cumsum(x)
    return total


def ufuncs(x: Any) -> Any:
    y = np.where(x > 0, np.sqrt(np.abs(x)), -x)
    np.add(y, 1, out=y)
    np.multiply(y, y, y)
    return np.maximum(y, 0.5), np.concatenate([x, y]), divmod(x, 2.0), abs(-x), np.round(x, 1), x @ y, 2**x, ~(x > 1)


def pieces(x: Any) -> Any:
    a, b = x[None, ::2], x[..., -1]
    return [a, (b, None, "name", 3)], x[x > 0], x[np.array([0, 1])], np.stack((x, x))[1, ::-1]


def helper_made(x: Any) -> Any:
    return _made_elsewhere(x.shape[0]) + x


def _made_elsewhere(n: Any) -> Any:
    out = np.ones(n)
    out[::2] = 0.0
    return out


def copies(x: Any) -> Any:
    y = np.array(x)
    y[0] = 9.0
    z = x.copy()
    z.fill(3)
    return y, z, np.asarray(x) is x, np.array([x[0], 2.0, x.sum()]), np.array([[1, 2], [3, 4]])


ONE_ARRAY = [centred, stencil, by_shape, imported, ufuncs, pieces, helper_made, copies]


@pytest.mark.parametrize("function", ONE_ARRAY, ids=lambda f: str(f.__name__))
def test_hundred_lengths_are_one_trace(function: Callable[..., Any]) -> None:
    live = Live(function)
    for n in range(3, 103):
        check(function, live, [RNG.normal(size=n)])
    assert live.traces == 1


def test_scalars_are_arguments() -> None:
    tree = quietly(axpy, 2.0, np.ones(3), np.ones(3)).tree
    assert code_of(tree) == "def f(a, x, y):\n    return a * x + y\n"
    check(axpy, replay(tree, axpy), [7.5, np.arange(5.0), np.ones(5)])
    live = Live(axpy)
    for a in (1.0, 2, np.float32(3), 1j, np.arange(3)):  # each kind of scalar is recorded once
        check(axpy, live, [a, np.arange(3, dtype=np.float32), np.ones(3, np.float32)])


def test_identity_returns_its_argument() -> None:
    tree = quietly(lambda x: x, np.ones(3)).tree
    assert code_of(tree) == "def f(x):\n    return x\n"
    x = np.ones(7)
    assert replay(tree, lambda x: x)(x) is x


def test_other_dtypes_and_ranks() -> None:
    live = Live(by_shape)
    for x in (np.ones(3), np.ones(3, np.float32), np.ones((3, 2)), np.ones((2, 2), int), np.ones((4, 5), np.float32)):
        check(by_shape, live, [x])
    assert live.traces == 5  # each pair of dtype and rank, because the function asks for both
    live = Live(centred)
    for shape, dtype in (((3,), "f8"), ((3, 2), "f4"), ((4, 2, 2), "i8")):
        check(centred, live, [(10 * RNG.normal(size=shape)).astype(dtype)])
    assert live.traces == 1


# -- guards ----------------------------------------------------------------------------------------------------


def gate(x: Any, w: Any) -> Any:
    if x.sum() > 0:
        return w @ x
    return w + x


def clipped(x: Any, limit: Any = 3) -> Any:
    n = x.shape[0]
    if n > limit:
        x = x[:limit]
    total = 0.0
    for i in range(min(n, 4)):
        if x[i % x.shape[0]] > 0:
            total = total + x[i % x.shape[0]]
        else:
            total = total - 1
    return total


def test_branches_are_kept_side_by_side() -> None:
    live = Live(gate)
    w = RNG.normal(size=(4, 4))
    for _ in range(50):
        check(gate, live, [RNG.normal(size=4), w])
    assert live.traces == 2 and live.tree is not None and live.tree.paths == 2
    assert code_of(live.tree) == ("def f(x, w):\n    if x.sum() > 0:\n        return w @ x\n    else:\n        return w + x\n")


def test_never_the_wrong_path() -> None:
    live = Live(clipped)
    live.patience = 20  # one guard after the other
    for _ in range(80):
        n = int(RNG.integers(1, 6))
        check(clipped, live, [RNG.normal(size=n)] + ([int(RNG.integers(2, 4))] if n % 2 else []))
    assert live.tree is not None and 20 < live.tree.paths < 80


def test_one_sided_guard_fails_loudly() -> None:
    with pytest.warns(TracerWarning):
        tree = quietly(gate, np.ones(3), np.ones((3, 3))).tree
    with pytest.raises(GuardError):
        replay(tree, gate)(-np.ones(3), np.ones((3, 3)))


def numbers(x: Any) -> Any:
    a = math.sqrt(x[0])
    b = int(x[1])
    c = complex(x[2])
    d = {3: "three"}.get(x.shape[0], "other")
    return x * a + b + c, d, f"{x.shape[0]:03d}", [0] * x.shape[0]


def test_numbers_are_guarded_by_value() -> None:
    live = Live(numbers)
    for x in ([1.0, 2.0, 3.0], [0.0, 2.5, 3.0], [-0.0, 2.7, 3.0], [4.0, 2.0, np.nan], [4.0, 2.0, np.nan], [1.0, 2.0, 3.0, 4.0]):
        check(numbers, live, [np.array(x)])
    assert live.traces == 5  # one call came twice


def loop(xs: Any) -> Any:
    total = np.zeros(xs.shape[1])
    for row in xs:
        total += row
    return total, len(xs)


def test_loops_over_rows_guard_the_length() -> None:
    live = Live(loop)
    for shape in ((3, 4), (3, 5), (2, 4), (3, 9), (2, 2)):
        check(loop, live, [RNG.normal(size=shape)])
    assert live.traces == 2


def test_strict_refuses() -> None:
    with pytest.raises(UnsupportedError, match="strict=True"):
        record(gate, [np.ones(3), np.ones((3, 3))], strict=True)


def _warned(x: Any, n: Any) -> Any:
    if x.sum() > 0:
        x = x + 1
    for _ in range(x.shape[0]):
        pass
    y = float(x[0]) + int(n / 2)
    a, b = x
    np.random.rand(2) + x
    return y + len(x) + a + b


def test_warnings_say_where_and_what(golden: Callable[[str, str], None]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record(_warned, [np.ones(2), 4])
    texts = [str(w.message) for w in caught]
    assert all(w.category is TracerWarning and w.filename == __file__ for w in caught)
    first = _warned.__code__.co_firstlineno
    assert [w.lineno - first for w in caught][:2] == [1, 3]
    relative = [_relative(text, first) for text in texts]
    golden("trace/warnings.txt", "\n\n".join(relative))


def _relative(text: str, first: int) -> str:
    """Without the directory, and with line numbers that count from the function."""
    name = Path(__file__).name
    place, rest = text.replace(__file__, name).split(":", 2)[1:]
    return f"{name}:+{int(place) - first}:{rest}"


@pytest.mark.parametrize(
    "use",
    [
        lambda x: _plain()[x > 0],
        lambda x: np.float32(x),
        lambda x: np.random.default_rng(0).normal(x),
        lambda x: x.tolist(),
        lambda x: x.strides,
        lambda x: setattr(x, "shape", (3, 1)),
        lambda x: {"a": x},
        lambda x: memoryview(x),
    ],
)
def test_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        record(use, [np.ones(3)])
    assert_restored()


def _plain() -> Any:
    return np.random.default_rng(0).normal(size=3)


def test_plain_array_takes_no_tracer() -> None:
    def stores(x: Any) -> Any:
        buffer = _plain()
        buffer[0] = x[0]
        return x

    with pytest.raises(TypeError, match="stored in a plain array"):
        record(stores, [np.ones(3)])


def test_arrays_from_nowhere_warn() -> None:
    def noisy(x: Any) -> Any:
        return x + np.random.rand(3)

    with pytest.warns(TracerWarning, match="becomes a constant"):
        tree = record(noisy, [np.ones(3)]).tree
    with pytest.warns(TracerWarning), pytest.raises(TracingCheckError, match="did not do the same twice"):
        check_repeat(noisy, [np.ones(3)], {}, tree)


def test_swallowed_exceptions_warn() -> None:
    def tries(x: Any) -> Any:
        try:
            return x[5]
        except IndexError:
            return x

    with pytest.warns(TracerWarning, match="was caught"):
        record(tries, [np.ones(3)])


# -- what is captured ------------------------------------------------------------------------------------------


def test_captured_arrays_are_inputs() -> None:
    global WEIGHTS
    table = np.ones(4)

    def uses(x: Any) -> Any:
        return (WEIGHTS * 2 + table[0]) * x + WEIGHTS[1], table

    tree = quietly(uses, np.ones(4)).tree
    compiled = replay(tree, uses)
    try:
        for change in (lambda: WEIGHTS.__iadd__(1), lambda: table.__setitem__(0, 5.0)):
            change()
            check(uses, compiled, [np.arange(4.0)])
        WEIGHTS = np.full(4, 9.0)
        table = np.full(4, 3.0)
        check(uses, compiled, [np.arange(4.0)])
        assert compiled(np.ones(4))[1] is table
    finally:
        WEIGHTS = np.arange(4.0)


def test_captured_numbers_are_guarded() -> None:
    global LAYERS

    def deep(x: Any) -> Any:
        for _ in range(LAYERS):
            x = x * SCALE
        return x if LAYERS > 2 else -x

    live = Live(deep)
    try:
        check(deep, live, [np.ones(3)])
        LAYERS = 2
        check(deep, live, [np.ones(3)])
        assert live.traces == 2
        quietly(deep, np.ones(3))  # decisions on constants do not warn
    finally:
        LAYERS = 3


def test_writes_to_captured_arrays_are_recorded_and_not_done() -> None:
    state = np.zeros(3)

    def counts(x: Any) -> Any:
        state[0] += x[0]
        return np.add(state, x, out=state)

    tree = quietly(counts, np.ones(3)).tree
    assert not state.any()
    replay(tree, counts)(np.ones(3))
    assert state.tolist() == [2.0, 1.0, 1.0]


def test_arguments_are_left_alone() -> None:
    x = np.ones(3)

    def twice(a: Any, b: Any) -> Any:
        a += 1
        b *= 2
        return a

    recording = quietly(twice, x, x)
    assert x.tolist() == [1.0] * 3
    assert recording.result.tolist() == [4.0] * 3
    mine = np.ones(3)
    assert replay(recording.tree, twice)(mine, mine) is mine


# -- static arguments, structures, kinds of callables ------------------------------------------------------------


def moded(x: Any, mode: Any = "sum", bias: Any = None, flag: Any = True) -> Any:
    y = x.sum() if mode == "sum" else x.mean()
    if bias is not None:
        y = y + bias
    return y if flag else -y


def test_static_arguments_choose_a_root() -> None:
    live = Live(moded)
    x = np.arange(3.0)
    calls: list[tuple[Any, ...]] = [
        (x,), (x, "mean"), (x, "mean", x), (x, "sum", None, False), (x, "sum", 2.0), (x, "mean"), (x, "sum", x, False),
    ]  # fmt: skip
    for args in calls:
        check(moded, live, args)
    assert live.traces == 6
    assert live.tree is not None
    for args in calls:
        check(moded, replay(live.tree, moded), args)
    with pytest.raises(GuardError):
        replay(live.tree, moded)(x, "other")


def test_nested_arguments() -> None:
    def nested(pair: Any, *rest: Any, scale: Any = 1.0) -> Any:
        (a, [b, c]) = pair
        return (a + b * scale, [c, *rest])

    live = Live(nested)
    x = np.arange(3.0)
    check(nested, live, [(x, [x, 2]), x, x])
    check(nested, live, [(x, [x * 2, 3]), x, x], {"scale": 3.0})
    assert live.traces == 1
    check(nested, live, [(x, [x, x])])
    check(nested, live, [(x, [x, x])])
    assert live.traces == 2


class Dense:
    def __init__(self) -> None:
        self.w = np.ones((3, 2))

    def __call__(self, x: Any) -> Any:
        return x @ self.w

    def forward(self, x: Any) -> Any:
        return self(x) + 1


def test_callables_without_source() -> None:
    space: dict[str, Any] = {"np": np}
    exec("def g(x):\n    return np.exp(x) + np.ones(x.shape[0])", space)
    x = np.arange(3.0)
    dense = Dense()
    cases: list[tuple[Any, list[Any]]] = [
        (space["g"], [x]),
        (functools.partial(axpy, 2.0), [x, x]),
        (np.hypot, [x, x]),
        (np.linalg.norm, [x]),
        (dense, [x]),
        (dense.forward, [x]),
        (lambda *xs: sum(xs), [x, x, x]),
    ]
    for function, args in cases:
        tree = quietly(function, *args).tree
        check(function, replay(tree, None or (lambda: None)), args)
    tree = quietly(dense, x).tree
    dense.w = np.full((3, 2), 5.0)  # rebound, as training does
    check(dense, replay(tree, lambda: None), [x])


class Scripted:
    """As a compiled function behaves: called with traced values, it asks to be recorded."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__ = function

    def __tensorjit_function__(self) -> Any:
        return self.__wrapped__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = traced_call(self, args, kwargs)
        return self.__wrapped__(*args, **kwargs) if found is NotImplemented else found


def test_compiled_functions_are_calls() -> None:
    script_gate = Scripted(gate)

    def outer(x: Any, w: Any) -> Any:
        return script_gate(x * 2, w=w) + 1

    tree = quietly(outer, np.ones(3), np.ones((3, 3))).tree  # no warning: the branch is not ours
    for sign in (1, -1):
        check(outer, replay(tree, outer), [sign * np.ones(3), np.ones((3, 3))])
    assert "(x * 2, w=w) + 1" in code_of(tree)


def test_a_call_is_not_what_it_returned_this_time() -> None:
    magnitude = Scripted(lambda x: x if x[0] > 0 else -x)
    f = Live(lambda x: (magnitude(x), np.ascontiguousarray(x), np.asarray(x, np.float64)))
    for x in (np.ones(3), -np.ones(3), -np.ones(3, np.float32), np.ones(6)[::2]):
        check(f.function, f, [x])
    assert f.traces == 1


# -- traces beside and within traces; nothing is left behind ---------------------------------------------------


def assert_restored() -> None:
    assert np is sys.modules["numpy"]
    assert fresh is np.zeros and not hasattr(fresh, "_tj_original")
    assert not is_tracing()


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    assert_restored()


def test_an_exception_leaves_nothing_behind() -> None:
    def fails(x: Any) -> Any:
        np.zeros(x.shape[0])
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        record(fails, [np.ones(3)])


def test_two_threads_trace_at_once() -> None:
    barrier = threading.Barrier(3)
    trees: dict[int, TraceTree] = {}
    plain: list[Any] = []

    def run(k: int) -> None:
        def traced(x: Any) -> Any:
            barrier.wait()
            out = np.zeros(x.shape[0])
            barrier.wait()
            out += x * k
            return out

        trees[k] = record(traced, [np.ones(2 + k)]).tree

    def beside() -> None:
        barrier.wait()
        plain.append(np.zeros(3))
        barrier.wait()

    threads = [threading.Thread(target=run, args=(k,)) for k in (1, 2)] + [threading.Thread(target=beside)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert type(plain[0]) is np.ndarray
    for k, tree in trees.items():
        assert replay(tree, lambda: None)(np.ones(7)).tolist() == [float(k)] * 7


def test_a_trace_inside_a_trace() -> None:
    inner: queue.SimpleQueue[TraceTree] = queue.SimpleQueue()

    def outer(x: Any) -> Any:
        inner.put(record(centred, [x]).tree)
        assert is_tracing()
        return np.zeros(x.shape[0]) + x

    tree = quietly(outer, np.arange(3.0)).tree
    check(centred, replay(inner.get(), centred), [np.arange(5.0)])
    check(lambda x: np.zeros(x.shape[0]) + x, replay(tree, outer), [np.arange(5.0)])


def test_values_do_not_outlive_their_trace() -> None:
    kept: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def leaks(x: Any) -> Any:
        kept.put(x + 1)
        return x

    quietly(leaks, np.ones(3))
    value = kept.get()
    with pytest.raises(TypeError, match="after its trace has ended"):
        quietly(lambda x: x + value, np.ones(3))
    with pytest.raises(TypeError, match="after its trace has ended"):
        value + 1


def test_isinstance_says_what_it_says_untraced() -> None:
    def asks(x: Any, a: Any) -> Any:
        seen = [isinstance(x, np.ndarray), isinstance(x.shape[0], int), isinstance(a, float), isinstance(x.sum(), np.float64)]
        return [*seen, type(x.shape[0]) is int or issubclass(type(x.shape[0]), int)]

    assert quietly(asks, np.ones(3), 2.0).result == [True] * 5


def test_modules_that_imported_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("tests_tracing_helper")
    exec("from numpy import arange, full\ndef ramp(n):\n    return arange(n) + full(n, 2)", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def ramped(x: Any) -> Any:
        return x * module.ramp(x.shape[0])

    tree = quietly(ramped, np.ones(3)).tree
    check(ramped, replay(tree, ramped), [np.ones(9)])


# -- the text, and the checks ------------------------------------------------------------------------------------


def test_graphs_print_and_parse() -> None:
    live = Live(gate)
    for sign in (1, -1):
        live(sign * np.ones(3), np.ones((3, 3)))
    assert live.tree is not None
    text = print_graph(graph_of(live.tree))
    assert print_graph(parse_graph(text)) == text


def test_repeating_is_no_new_path() -> None:
    one = quietly(stencil, np.ones(5)).tree
    assert record(stencil, [np.ones(9)], {}, one).tree is one
    check_repeat(stencil, [np.ones(5)], {}, one)


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        (np.ones(3), np.ones(3, np.float32), "float64, and float32"),
        (np.ones(3), np.ones(4), r"shape \(3,\), and \(4,\)"),
        (np.ones(3), np.array([1, 2.0, 1]), r"the result\[1\] is .*1.0.*, and .*2.0.* \(1 of 3 elements differ\)"),
        ((1, 2.0), (1, 2), r"result\[1\] is a float, and a int"),
        ([1], [1, 2], "1 items, and 2"),
        (np.float64(1), np.array(1.0), "is a float64, and a ndarray"),
    ],
)
def test_checks_name_the_difference(found: Any, expected: Any, message: str) -> None:
    with pytest.raises(TracingCheckError, match=message):
        check(lambda: expected, lambda: found, [])


def test_check_sees_changed_arguments() -> None:
    with pytest.raises(TracingCheckError, match="argument 0 after the call"):
        check(lambda x: x.fill(2), lambda x: None, [np.ones(2)])
