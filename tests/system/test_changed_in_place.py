"""What a compiled function took from a function, a tuple, a list, a module is looked at again in each call."""

from __future__ import annotations

import builtins
import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS, compare, observe

X = np.arange(1.0, 5.0)
TABLE: Any = ()


@pytest.fixture(params=BACKENDS)
def script(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    backend = request.param
    return lambda function: tj.script(function, backend=backend)


def hold(compiled: Any, *args: Any, **kwargs: Any) -> None:
    """Assert that the compiled function does, twice, what the plain one does now."""
    for turn in range(2):
        wanted = observe(compiled.__wrapped__, args, kwargs)
        text = compare(observe(compiled, args, kwargs), wanted, message=wanted.error is not TypeError)
        assert not text, f"turn {turn}: {text}"


def from_text(text: str, **names: Any) -> Any:
    exec(text, names)
    made = names["f"]
    made.__source__ = text
    return made


# -- code ------------------------------------------------------------------------------------------------------


def one(x: Any, k: Any = 1) -> Any:
    return x + k


def other(x: Any, k: Any = 1) -> Any:
    return x * 100 - k


def further(x: Any, k: Any = 5, more: Any = 7) -> Any:
    return x + k * more


def copy_of(function: Any) -> Any:
    made = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    made.__kwdefaults__ = function.__kwdefaults__ and dict(function.__kwdefaults__)
    return made


def test_the_code_of_the_function_is_set(script: Any) -> None:
    f = script(copy_of(one))
    for code in (one, other, further, other, one, further):
        f.__wrapped__.__code__ = code.__code__
        hold(f, X)
        hold(f, 2, 3)
        hold(f, x=X)
    assert "more" in f.code and f.graph.attrs["parameters"][2][0] == "more"


def test_what_is_set_on_the_compiled_object_is_set_on_the_function(script: Any) -> None:
    f = script(copy_of(one))
    hold(f, X)
    f.__code__ = other.__code__
    f.__defaults__ = (2,)
    hold(f, X)
    assert np.array_equal(f(X), X * 100 - 2)
    assert f.__wrapped__.__code__ is f.__code__ is other.__code__ and f.__wrapped__.__defaults__ == (2,)


def test_the_code_of_a_helper_is_set(script: Any) -> None:
    inner = copy_of(one)

    def middle(x: Any) -> Any:
        return inner(x) + 1

    def f(x: Any) -> Any:
        return middle(x) * 2

    made = script(f)
    for code in (one, other, further, one):
        inner.__code__ = code.__code__
        hold(made, X)


def test_code_that_is_refused_and_then_is_not(script: Any) -> None:
    def refused(x: Any, k: Any = 1) -> Any:
        return {x, k}

    f = script(copy_of(one))
    hold(f, 2.0)
    f.__code__ = refused.__code__
    with pytest.raises(tj.CompileError, match="a set is not supported"):
        f(2.0)
    f.__code__ = other.__code__
    hold(f, 2.0)


def test_plain_runs_of_what_is_refused_end_with_the_code(script: Any) -> None:
    def refused(x: Any, k: Any = 1) -> Any:
        return {x, k}

    f = tj.script(copy_of(refused), fallback="python")
    with pytest.warns(tj.FallbackWarning):
        assert f(2.0) == {1, 2.0}
    f.__code__ = one.__code__
    hold(f, 2.0)
    assert f.cache_info().currsize == 1


# -- defaults --------------------------------------------------------------------------------------------------


def of_itself(function: Any) -> tuple[Any, Any]:
    return function, function


def of_a_helper(function: Any) -> tuple[Any, Any]:
    def caller(x: Any) -> Any:
        return function(x)

    return caller, function


OWNERS = pytest.mark.parametrize("owner", [of_itself, of_a_helper])


@OWNERS
def test_defaults_are_set(script: Any, owner: Any) -> None:
    def f(x: Any, a: Any = 1, b: Any = 2) -> Any:
        return x * a - b

    called, changed = owner(f)
    made = script(called)
    for defaults in (
        (1, 2),
        (3, 2),
        (3, 2.5),
        (2,),
        (1.0, 2),
        (True, 2),
        None,
        (np.float32(3), 4),
        (X, 1),
        (X.astype("f4"), X[:1]),
        (9, 1, 2),
    ):
        changed.__defaults__ = defaults
        hold(made, X)
        hold(made, 3)


@OWNERS
def test_one_default_less_moves_the_others(script: Any, owner: Any) -> None:
    def f(x: Any, a: Any, b: Any = 2) -> Any:
        return x * a - b

    def caller(x: Any, a: Any) -> Any:
        return f(x, a)

    made = script(f if owner is of_itself else caller)
    for defaults in ((2,), (2, 9), (0, 2), (2,)):
        f.__defaults__ = defaults
        hold(made, X, 3)


@OWNERS
def test_keyword_defaults_are_set_and_changed(script: Any, owner: Any) -> None:
    def f(x: Any, *, a: Any = 1, b: Any = 2) -> Any:
        return x * a - b

    called, changed = owner(f)
    made = script(called)
    assert changed.__kwdefaults__ is not None
    hold(made, X)
    for name, value in (("a", 3), ("b", 2.5), ("b", X), ("a", True), ("b", np.int8(4)), ("b", 1)):
        changed.__kwdefaults__[name] = value
        hold(made, X)
    for defaults in ({"a": 5, "b": 6}, {"b": 6}, None, {"b": 1, "a": 1}, {"b": 1, "a": 1, "c": 1}):
        changed.__kwdefaults__ = defaults
        hold(made, X)
    del changed.__kwdefaults__["a"]
    hold(made, X)


@OWNERS
def test_a_list_that_is_a_default_is_changed(script: Any, owner: Any) -> None:
    items: list[Any] = [1, 2.0]

    def f(x: Any, w: Any = items) -> Any:
        total = x * len(w)
        for v in w:
            total = total + v
        return total

    made = script(owner(f)[0])
    hold(made, X)
    changes: tuple[Callable[[], Any], ...] = (
        lambda: items.__setitem__(0, 7),
        lambda: items.__setitem__(0, 7.0),
        lambda: items.append(X),
        lambda: items.reverse(),
        lambda: items.clear(),
        lambda: items.extend([1, X.astype("f4")]),
    )
    for change in changes:
        change()
        hold(made, X)


@OWNERS
def test_an_array_is_a_default(script: Any, owner: Any) -> None:
    weights = np.arange(4.0)

    def f(x: Any, w: Any = weights) -> Any:
        w[0] += 1
        return x @ w, w.shape[0]

    called, changed = owner(f)
    made = script(called)
    wanted = observe(called, (X,)).result
    weights[0] -= 1
    assert made(X) == wanted and weights[0] == 1
    weights[:] = 2
    wanted = observe(called, (X,)).result
    weights[0] -= 1
    assert made(X) == wanted
    changed.__defaults__ = (np.ones(4, np.float32),)
    assert made(X)[0] == 11


def test_a_default_is_returned(script: Any) -> None:
    weights = np.arange(4.0)

    def f(x: Any, w: Any = weights) -> Any:
        return w

    made = script(f)
    assert made(1) is weights is made(1)


def test_a_function_says_itself_how_it_is_called(script: Any) -> None:
    def f(x: Any, k: Any = 3) -> Any:
        return x * k

    f.__signature__ = script.__class__  # type: ignore[attr-defined]  # what inspect believes, and calls do not ask for
    f.__wrapped__ = one  # type: ignore[attr-defined]
    hold(script(f), X)
    hold(script(lambda x: f(x, k=2)), X)


def test_a_wrapper_is_not_what_it_wraps() -> None:
    def f(x: Any) -> Any:
        return x * 2

    plain: Any = f
    for inner in (plain, tj.script(plain)):
        tj.script(plain)

        @functools.wraps(inner)
        def wrapper(x: Any, inner: Any = inner) -> Any:
            return inner(x) + 1

        assert np.array_equal(tj.script(wrapper)(X), X * 2 + 1)
        assert np.array_equal(tj.script(plain)(X), X * 2)
        assert tj.script(wrapper) is tj.script(wrapper) and tj.script(plain) is tj.script(plain)


# -- tuples and lists ------------------------------------------------------------------------------------------


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    return lambda value: monkeypatch.setitem(globals(), "TABLE", value)


def test_a_tuple_of_arrays_is_captured(script: Any, table: Any) -> None:
    def f(x: Any) -> Any:
        a, (b, k) = TABLE
        b[1] = x[0]
        return a * x + b * k, len(TABLE), TABLE[-1][0] is b if k is None else k

    made = script(f)
    a, b = np.arange(4.0), np.ones(4)
    for value in (
        (a, (b, 2)),
        (a, (b, 3)),
        (a, (b, 2.5)),
        (b, (b, 2)),
        (a[::-1], (b, 2)),
        (a.astype("f4"), (b, 2)),
        (a[:1], (b[:2], 2)),
        (a, (X, 2)),
        (a, (b, np.float32(2))),
        (a, (b, 2, 1)),
        (a, (b, 2), 3),
        (a, (b.view(), 2)),
    ):
        table(value)
        for _ in range(2):
            before = [v.copy() for v in (a, b, X)]
            wanted = observe(f, (X.copy(),))
            after = [v.copy() for v in (a, b, X)]
            for v, was in zip((a, b, X), before, strict=True):
                v[:] = was
            found = observe(made, (X.copy(),))
            assert not compare(found, wanted, message=False) or wanted.error, (value, found, wanted)
            assert found.error is wanted.error
            assert all(map(np.array_equal, (a, b, X), after)), value
        a[:], b[:] = np.arange(4.0), 1
        X[:] = np.arange(1.0, 5.0)


def test_a_list_in_a_tuple_is_changed(script: Any, table: Any) -> None:
    inner: list[Any] = [1, [2.0, 3]]
    table((inner, 5))
    f = script(lambda x: x * TABLE[0][0] + TABLE[0][1][0] - TABLE[1] + len(TABLE[0]))
    hold(f, X)
    for change in (
        lambda: inner.__setitem__(0, 2.5),
        lambda: inner[1].__setitem__(0, X),
        lambda: inner[1].__setitem__(0, 4),
        lambda: inner.append(1),
        lambda: inner.__setitem__(1, (X, 1)),
    ):
        change()
        hold(f, X)


def test_a_captured_list_is_read_at_each_call(script: Any, table: Any) -> None:
    items: list[Any] = [X, 2]
    table(items)

    def f(x: Any) -> Any:
        for v in TABLE:
            x = x * v
        return x, TABLE is TABLE, len(TABLE)

    made = script(f)
    hold(made, X)
    changes: tuple[Callable[[], Any], ...] = (
        lambda: items.append(3.0),
        lambda: items.__setitem__(0, X[:1]),
        lambda: items.reverse(),
        lambda: items.clear(),
    )
    for change in changes:
        change()
        hold(made, X)


@pytest.mark.parametrize("text", ["TABLE", "TABLE[0]", "(TABLE, x)", "w", "w[0]"])
def test_a_list_from_outside_is_not_returned_as_another(text: str) -> None:
    items: list[Any] = [[1], 2]
    f = from_text(f"def f(x, w=TABLE): return {text}", TABLE=items)
    with pytest.raises(tj.CompileError, match="a list from outside is returned"):
        tj.script(f)(1)


@pytest.mark.parametrize("text", ["TABLE.append(x)", "TABLE[0] = x", "TABLE += [x]", "w.append(x)", "TABLE[1][0] = x"])
def test_a_list_from_outside_is_not_changed_in_a_copy(text: str) -> None:
    f = from_text(f"def f(x, w=TABLE):\n    global TABLE\n    {text}\n    return x", TABLE=[1, [2]])
    with pytest.raises(tj.CompileError):
        tj.script(f)(1)


def test_whether_two_tuples_are_one_is_not_guessed(script: Any, table: Any) -> None:
    table((1, X))
    hold(script(lambda x: TABLE is TABLE), 1)
    with pytest.raises(tj.CompileError, match="`is` between two tuples"):
        script(lambda x: TABLE is x)((1, 2))
    with pytest.raises(tj.CompileError, match="`is` between two lists"):
        script(lambda x, y: x is y)([1], [1])


def test_long_lists_are_refused(table: Any) -> None:
    for value in (list(range(100)), tuple([[1]] * 100), ([X] * 40, [X] * 40)):
        table(value)
        with pytest.raises(tj.CompileError, match=r"'TABLE.*' is a captured .* of more than 64 items"):
            tj.script(lambda x: TABLE[0])(1)
    table(tuple(range(100)))
    assert tj.script(lambda x: TABLE[99])(1) == 99


# -- modules and builtins --------------------------------------------------------------------------------------


def fake_sin(x: Any) -> Any:
    return x * 1000


def fake_abs(x: Any, real: Any = abs) -> Any:
    return real(x) + 1000 if isinstance(x, np.float64) else real(x)  # others go on to use it, the compiler among them


def test_a_function_of_numpy_is_replaced(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    f = script(lambda x: np.sin(x) + np.pi)
    hold(f, X)
    with monkeypatch.context() as m:
        m.setattr(np, "sin", fake_sin)
        hold(f, X)
        m.setattr(np, "pi", 3)
        hold(f, X)
    hold(f, X)


def test_a_function_of_math_or_of_a_module_of_ones_own_is_replaced(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own: Any = types.ModuleType("own")
    own.scale, own.K, own.W = one, 2, X
    f = script(lambda x: math.sqrt(x) + own.scale(x) * own.K + own.W[0])
    hold(f, 4.0)
    for name, value in (("scale", other), ("K", 2.5), ("K", X), ("W", np.ones(1, int)), ("W", [5])):
        monkeypatch.setattr(own, name, value)
        hold(f, 4.0)
    monkeypatch.setattr(math, "sqrt", fake_sin)
    hold(f, 4.0)
    monkeypatch.delattr(own, "scale")
    hold(f, 4.0)


def test_a_module_computes_its_attributes(script: Any) -> None:
    class Computing(types.ModuleType):
        @property
        def k(self) -> Any:
            return calls[0]

    calls = [1.0]
    lazy: Any = types.ModuleType("lazy")
    lazy.__getattr__ = lambda name: calls[0] * 10
    own: Any = Computing("own")
    f = script(lambda x: x * own.k + lazy.k)
    for value in (1.0, 2, 3.5):
        calls[0] = value
        hold(f, X)
    lazy.k = 5
    hold(f, X)
    del lazy.k
    hold(f, X)


def test_a_builtin_is_replaced(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return len(x) * abs(x[0])

    made = script(f)
    hold(made, X)
    monkeypatch.setattr(builtins, "abs", fake_abs)
    hold(made, X)
    monkeypatch.setitem(globals(), "abs", one)  # a name of the module hides it
    hold(made, X)
    monkeypatch.undo()
    hold(made, X)


def test_builtins_of_a_function_of_its_own(script: Any) -> None:
    own = {"abs": one, "round": round}
    f = from_text("def f(x): return abs(x)", __builtins__=own)
    made = script(f)
    hold(made, 2)
    own["abs"] = other
    hold(made, 2)
    del own["abs"]
    hold(made, 2)


def test_a_module_imported_inside_is_replaced(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        import math as m  # noqa: PLC0415

        return m.sqrt(x)

    made = script(f)
    hold(made, 4.0)
    fake: Any = types.ModuleType("math")
    fake.sqrt = one
    monkeypatch.setitem(__import__("sys").modules, "math", fake)
    hold(made, 4.0)
