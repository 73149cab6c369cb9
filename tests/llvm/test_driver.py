"""Typed graphs as native code do what the reference does."""

from __future__ import annotations

import math
import signal
import sys
import threading
import tracemalloc
import warnings

import numpy as np
import pytest

from tensorjit.ir.dims import DimExpr, symbol
from tensorjit.ir.dtypes import BOOL, F64
from tensorjit.ir.graph import Graph, Value
from tensorjit.ir.types import PY_BOOL, PY_FLOAT, PY_INT, ArrayType, ScalarType, Type
from tests.llvm.graphs import NP_F64, VECTOR, G, N, agree, compiled, no_leak, shown

# -- control flow ------------------------------------------------------------------------------------


X = np.array([3.0, -1.0, 4.0, -1.5, 9.0])


def py_sum(limit: float | None = None) -> Graph:
    """s = 0.0; for i in range(n): s += x[i]; stops at an element above `limit`."""
    g = G(VECTOR)
    (x,) = g.params

    def body(i: DimExpr, s: Value) -> None:
        e = g.load(x, i)
        if limit is not None:
            above = g.math("greater", e, g.const(np.float64(limit)), type=ScalarType(BOOL))
            test = g.op("truth", above, type=PY_BOOL)
            g.when(test, [], lambda: g.do("break", s), lambda: g.do("yield"))
        g.do("continue", g.math("add", s, e))

    (s,) = g.count(g.dim(N), [g.const(np.float64(0))], body)
    return g.ret(s)


@pytest.mark.parametrize("limit", [None, 3.5, 100.0])
def test_a_loop_with_a_sum(limit: float | None) -> None:
    for x in (X, np.zeros(0), np.arange(10_000.0), X[::-1].copy()):
        agree(py_sum(limit), x)


@pytest.mark.parametrize(("start", "stop", "step"), [(0, 7, 1), (3, -4, -2), (-5, 5, 3), (5, 5, 1), (2, 9000, 1), (9000, 0, -1)])
def test_ranges(start: int, stop: int, step: int) -> None:
    g = G(symbols={})
    (total,) = g.count(
        g.const(stop), [g.const(0)],
        lambda i, t: g.do("continue", g.op("py_add", g.op("py_mul", t, g.const(3), type=PY_INT), g.dim(i), type=PY_INT))
        if abs(stop - start) < 20
        else g.do("continue", g.op("py_add", t, g.dim(i), type=PY_INT)),
        start=start, step=step,
    )  # fmt: skip
    agree(g.ret(total))


def test_an_error_in_a_loop() -> None:
    g = G(VECTOR, PY_INT)
    x, k = g.params

    def body(i: DimExpr, s: Value) -> None:
        index = g.op("index_check", g.op("py_add", g.dim(i), k, type=PY_INT), type=PY_INT, size=N, axis=0)
        g.do("bind", index, symbol="j")
        g.do("continue", g.math("add", s, g.load(x, symbol("j"))))

    (s,) = g.count(g.dim(N), [g.const(np.float64(0))], body)
    graph = g.ret(s)
    agree(graph, X, 0)
    agree(graph, X, -2)
    agree(graph, X, 2)
    agree(graph, X, -9)
    no_leak(compiled(graph), X, 2)


def swapping(turns: int = 7, early: bool = False) -> Graph:
    """a, b = copies; each turn swaps them and adds to one; with `early` the loop is left by a break."""
    g = G(VECTOR)
    (x,) = g.params
    a, b = (g.op("empty", type=VECTOR) for _ in range(2))
    g.each(a, lambda i: g.load(x, i), name="p")
    g.each(b, lambda i: g.const(np.float64(10)), name="q")

    def body(i: DimExpr, a: Value, b: Value) -> None:
        g.set(a, g.math("add", g.load(a, 0), g.load(b, 1)), 0)
        fresh = g.op("empty", type=VECTOR)
        g.each(fresh, lambda k: g.math("multiply", g.load(b, k), g.const(np.float64(2))))
        if early:
            late = g.op("py_gt", g.dim(i), g.const(3), type=PY_BOOL)
            g.when(late, [], lambda: g.do("break", fresh, fresh), lambda: g.do("yield"))
        g.do("continue", fresh, a)

    a, b = g.count(g.const(turns), [a, b], body)
    return g.ret(a, b, structure=("tuple", "value", "value"))


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 7])
def test_carried_arrays(turns: int, early: bool) -> None:
    graph = swapping(turns, early)
    agree(graph, X)
    no_leak(compiled(graph), X, calls=500)


def test_a_while_loop_with_an_else() -> None:
    g = G(PY_INT, symbols={})
    (n,) = g.params
    c, p = Value(PY_INT), Value(PY_INT)
    with g.block(c) as condition:
        g.do("yield", g.op("py_lt", c, n, type=PY_BOOL))
    with g.block(p) as body:
        odd = g.op("py_eq", g.op("py_mod", p, g.const(11), type=PY_INT), g.const(10), type=PY_BOOL)
        g.when(odd, [], lambda: g.do("break", p), lambda: g.do("yield"))
        g.do("continue", g.op("py_add", p, g.const(3), type=PY_INT))
    e = Value(PY_INT)
    with g.block(e) as orelse:
        g.do("yield", g.op("py_neg", e, type=PY_INT))
    (r,) = g.structured("while", [g.const(0)], [PY_INT], [condition, body, orelse])
    graph = g.ret(r)
    for n_value in (0, 5, 20, 22, 1000):
        agree(graph, n_value)


def test_scopes_and_ifs() -> None:
    g = G(VECTOR, PY_INT)
    x, k = g.params

    def inner() -> None:
        g.do("leave", g.op("view", x, type=ArrayType(F64, (N,), "A"), axes=((0, -1),), offset=(N - 1,)), k)

    def outer() -> None:
        big = g.op("py_gt", k, g.const(5), type=PY_BOOL)
        g.when(big, [], inner, lambda: g.do("yield"))
        g.do("yield")

    with g.block() as scope:
        positive = g.op("py_gt", k, g.const(0), type=PY_BOOL)
        g.when(positive, [], outer, lambda: g.do("yield"))
        whole = g.op("view", x, type=ArrayType(F64, (N,), "A"), axes=((0, 1),), offset=(0,))
        g.do("leave", whole, g.op("py_neg", k, type=PY_INT))
    view, number = g.structured("scope", [], [ArrayType(F64, (N,), "A"), PY_INT], [scope])
    graph = g.ret(view, number, structure=("tuple", "value", ("list", "value", ("param", 0)), ("const", "end")))
    function = compiled(graph)
    for value in (9, 3, -2):
        view_object, (n, param), end = function(X, value)
        assert (n, end) == (value if value > 5 else -value, "end") and param is X
        np.testing.assert_array_equal(view_object, X[::-1] if value > 5 else X)
        assert view_object.base is X
        no_leak(function, X, value)


def test_results_of_branches() -> None:
    """An `if` gives the argument, a view of it, or a fresh array: boxed as what it is."""
    g = G(VECTOR, PY_INT)
    x, k = g.params
    strided = ArrayType(F64, (N,), "A")

    def fresh() -> None:
        made = g.op("empty", type=VECTOR)
        g.each(made, lambda i: g.const(np.float64(1)))
        g.do("yield", made)

    def other() -> None:
        negative = g.op("py_lt", k, g.const(0), type=PY_BOOL)
        (y,) = g.when(
            negative, [strided], lambda: g.do("yield", x),
            lambda: g.do("yield", g.op("view", x, type=strided, axes=((0, -1),), offset=(N - 1,))),
        )  # fmt: skip
        g.do("yield", y)

    (r,) = g.when(g.op("py_gt", k, g.const(0), type=PY_BOOL), [strided], fresh, other)
    graph = g.ret(r)
    function = compiled(graph)
    assert function(X, -1) is X
    assert function(X, 0).base is X
    assert function(X, 1).base is None
    for value in (-1, 0, 1):
        agree(graph, X, value)
        no_leak(function, X, value)


def test_sizes_that_a_branch_knows() -> None:
    g = G(VECTOR, PY_INT)
    x, k = g.params
    s, kept = symbol("s"), symbol("kept")

    def shorter() -> None:
        g.do("check", relation="ge", left=s, right=0, exception="ValueError", message="{} of {}", args=(s, N))
        g.do("yield", g.op("view", x, type=ArrayType(F64, (s,)), axes=((0, 1),), offset=(0,)))

    g.do("bind", k, symbol="s")
    small = g.op("py_lt", k, g.dim(N), type=PY_BOOL)
    (y,) = g.when(small, [ArrayType(F64, (kept,))], shorter, lambda: g.do("yield", x))
    graph = g.ret(y, g.dim(kept * 2 + 1), structure=("tuple", "value", "value"))
    function = compiled(graph)
    for value in (0, 1, 3, 5, 100):
        result = function(X, value)
        assert shown(result) == shown((X[:value], 2 * min(value, len(X)) + 1))
    with pytest.raises(ValueError, match="-3 of 5"):
        function(X, -3)
    no_leak(function, X, 2)


# -- library calls, messages, alignment --------------------------------------------------------------


def test_library_calls() -> None:
    g = G(VECTOR)
    (x,) = g.params
    u = symbol("u")
    ordered = g.op("library", x, type=VECTOR, function="numpy.sort", keywords={})
    unique = g.op("library", ordered, type=ArrayType(F64, (u,)), function="numpy.unique", keywords={})
    norm = g.op("library", ordered, type=NP_F64, function="numpy.linalg.norm", keywords={})
    graph = g.ret(unique, g.dim(u), norm, structure=("tuple", "value", "value", "value"))
    agree(graph, X)
    agree(graph, np.zeros(4))
    no_leak(compiled(graph), X)


def test_several_results_of_a_library_call() -> None:
    g = G(VECTOR)
    fraction, whole = g.b.add_multi("library", g.params, (VECTOR, VECTOR), {"function": "numpy.modf"})
    graph = g.ret(fraction, whole, structure=("tuple", "value", "value"))
    agree(graph, X)
    no_leak(compiled(graph), X)


@pytest.mark.parametrize(
    ("function", "given", "result"),
    [
        ("numpy.asarray", NP_F64, NP_F64),  # an array of rank 0
        ("builtins.float", NP_F64, NP_F64),  # Python's
        ("numpy.float64", NP_F64, ArrayType(F64, ())),  # a scalar where an array of rank 0 is foreseen
        ("numpy.ma.masked_array", VECTOR, VECTOR),  # a subclass
    ],
)
def test_a_library_result_in_another_form_is_converted(function: str, given: Type, result: Type) -> None:
    g = G(given)
    graph = g.ret(g.op("library", *g.params, type=result, function=function))
    arg = X if given is VECTOR else np.float64(1.5)
    found = compiled(graph)(arg)
    assert type(found) is (np.float64 if result is NP_F64 else np.ndarray)
    np.testing.assert_array_equal(found, arg)
    no_leak(compiled(graph), arg)


def test_a_scalar_of_a_library_is_not_made_twice() -> None:
    g = G(VECTOR)
    total = g.op("library", *g.params, type=NP_F64, function="numpy.sum")
    same = g.op("library", total, type=NP_F64, function="numpy.positive")
    function = compiled(g.ret(total, total, same, structure=("tuple", "value", "value", "value")))
    first, second, third = function(X)
    assert first is second and first == third == X.sum() and type(third) is np.float64
    no_leak(function, X)


def test_a_library_result_with_other_strides_is_copied() -> None:
    n, m = (symbol(c) for c in "nm")
    g = G(ArrayType(F64, (n, m)), symbols={"n": (0, 0), "m": (0, 1)})
    graph = g.ret(g.op("library", *g.params, type=ArrayType(F64, (m, n), "C"), function="numpy.transpose"))
    arg = np.arange(6.0).reshape(2, 3)
    found = compiled(graph)(arg)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, arg.T)


def test_library_results_in_a_list_are_unpacked() -> None:
    g = G(VECTOR)
    first, second = g.b.add_multi("library", g.params, (NP_F64, NP_F64), {"function": "builtins.list"})
    function = compiled(g.ret(second, first, structure=("tuple", "value", "value")))
    assert function(np.array([1.0, 2.0])) == (2.0, 1.0)
    with pytest.raises(RuntimeError, match="gave 3 results, not 2"):
        function(np.ones(3))
    no_leak(function, np.ones(3))


def test_a_library_call_for_its_effect() -> None:
    g = G(VECTOR)
    g.b.add_multi("library", g.params, (), {"function": "numpy.ndarray.sort", "keywords": {"kind": "stable"}})
    arg = np.array([3.0, 1.0, 2.0])
    compiled(g.ret(*g.params))(arg)
    np.testing.assert_array_equal(arg, [1.0, 2.0, 3.0])


def test_a_library_that_gives_something_else() -> None:
    g = G(VECTOR)
    function = compiled(g.ret(g.op("library", *g.params, type=VECTOR, function="numpy.sum")))
    with pytest.raises(RuntimeError, match="a library call gave"):
        function(X)
    no_leak(function, X)


def test_long_messages() -> None:
    kinds = [ArrayType(F64, tuple(symbol(f"{c}{k}") for k in range(3))) for c in "ab"]
    names = {f"{c}{k}": (j, k) for j, c in enumerate("ab") for k in range(3)}
    g = G(*kinds, symbols=names)
    args = tuple(symbol(n) for n in names)
    text = "shapes ({},{},{}) ({},{},{})"
    g.do("check", relation="eq", left=symbol("a0"), right=symbol("b0"), exception="ValueError", message=text, args=args)
    function = compiled(g.ret(structure=("const", None)))
    assert function(np.zeros((1, 2, 3)), np.zeros((1, 5, 6))) is None
    with pytest.raises(ValueError, match=r"shapes \(1,2,3\) \(4,5,6\)"):
        function(np.zeros((1, 2, 3)), np.zeros((4, 5, 6)))


def test_unaligned_elements() -> None:
    x = np.frombuffer(bytearray(8 * 9 + 1), np.uint8)[1:].view("f8")
    x[:] = np.arange(9.0)
    assert not x.flags.aligned
    assert compiled(py_sum(), aligned=False)(x) == 36.0


def test_exceptions_with_values() -> None:
    g = G(VECTOR, PY_INT)
    g.do("raise", g.params[1], exception="tensorjit.errors.TypeInferenceError", message="got {}")
    graph = Graph("test", g.b.block(), g.attrs)
    with pytest.raises(Exception, match="got 7"):
        compiled(graph)(X, 7)


# -- floating-point flags ----------------------------------------------------------------------------


def test_only_numpy_warns() -> None:
    g = G(NP_F64, NP_F64, PY_FLOAT, symbols={})
    p, q, f = g.params
    first = g.op("py_mul", f, f, type=PY_FLOAT)
    quotient = g.math("divide", p, q)
    last = g.op("py_mul", first, first, type=PY_FLOAT)
    function = compiled(g.ret(first, quotient, last, structure=("tuple", "value", "value", "value")))
    one, zero = np.float64(1), np.float64(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function(one, one, 1e200) == (math.inf, 1.0, math.inf)
    for f_value in (1.0, 1e200):
        with pytest.warns(RuntimeWarning, match="divide by zero") as seen:
            function(one, zero, f_value)
        assert len(seen) == 1


def test_the_path_not_taken_does_not_warn() -> None:
    """out[i] = x[i] / y[i] if y[i] != 0 else 0.0, which LLVM would like to compute as a select."""
    g = G(VECTOR, VECTOR, VECTOR, disjoint=((0, 1), (0, 2), (1, 2)))
    x, y, out = g.params

    def body(i: DimExpr) -> None:
        e = g.load(y, i)
        test = g.op("truth", g.math("not_equal", e, g.const(np.float64(0)), type=ScalarType(BOOL)), type=PY_BOOL)
        (r,) = g.when(
            test, [NP_F64], lambda: g.do("yield", g.math("divide", g.load(x, i), e)),
            lambda: g.do("yield", g.const(np.float64(0))),
        )  # fmt: skip
        g.set(out, r, i)
        g.do("continue")

    g.count(g.dim(N), [], body)
    function = compiled(g.ret(structure=("const", None)))
    a = np.arange(1000.0)
    b, out_array = a % 3, np.empty(1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(a, b, out_array)
    np.testing.assert_array_equal(out_array, np.divide(a, b, out=np.zeros(1000), where=b != 0))


# -- long loops --------------------------------------------------------------------------------------


def test_buffers_of_a_loop_are_used_again() -> None:
    """u = 2 * u, a thousand times: two buffers and the result."""
    g = G(VECTOR)
    (x,) = g.params

    def body(i: DimExpr, u: Value) -> None:
        fresh = g.op("empty", type=VECTOR)
        g.each(fresh, lambda k: g.math("add", g.load(u, k), g.load(x, k)))
        g.do("continue", fresh)

    (u,) = g.count(g.const(1000), [x], body)
    function = compiled(g.ret(u))
    big = np.arange(1e5)
    tracemalloc.start()
    try:
        result = function(big)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(result, 1001 * big)
    assert peak < 2.5 * big.nbytes
    no_leak(function, X, calls=200)
    first, second = function(X), function(X)
    assert first is not second and sys.getrefcount(first) == 2


def endless() -> Graph:
    """Many turns over few elements."""
    g = G(VECTOR, PY_INT)
    x, n = g.params

    def body(i: DimExpr) -> None:
        g.set(x, g.math("add", g.load(x, 0), g.load(x, 1)), 0)
        g.do("continue")

    g.count(n, [], body)
    return g.ret(structure=("const", None))


def test_long_loops_can_be_interrupted() -> None:
    function = compiled(endless())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            function(X.copy(), 10**14)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_long_loops_release_the_gil() -> None:
    function = compiled(endless())
    seen = threading.Event()
    thread = threading.Thread(target=seen.set)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100.0)
    try:
        done = threading.Thread(target=function, args=(X.copy(), 10**8))
        done.start()
        thread.start()
        assert seen.wait(5) and done.is_alive()
        done.join()
    finally:
        sys.setswitchinterval(interval)
