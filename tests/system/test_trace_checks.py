"""Every path is held to the function when it is recorded, and a check leaves what it finds."""

from __future__ import annotations

import collections
import functools
import itertools
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj

X = np.arange(1.0, 5.0)
TOTAL = 0
LOG: list[Any] = []

pytestmark = pytest.mark.filterwarnings("ignore::tensorjit.errors.TracerWarning")


# -- paths that come later -------------------------------------------------------------------------------------


def rare_noise(x: Any, k: int) -> Any:
    return x + random.random() if k > 0 else x * 2


def rare_count(x: Any, k: int, numbers: Any = itertools.count()) -> Any:
    return x + next(numbers) if k > 0 else x * 2


def rare_draw(x: Any, k: int) -> Any:
    return x + np.random.rand(4) if k > 0 else x * 2


def rare_look(x: Any, k: int) -> Any:
    return x + (1 if tj.is_tracing() else 2) if k > 0 else x * 2


@pytest.mark.parametrize("function", [rare_noise, rare_count, rare_draw, rare_look])
def test_a_later_path_that_varies_is_refused(function: Callable[..., Any]) -> None:
    traced = tj.trace(function, (X, 0))
    for _ in range(2):
        with pytest.raises(tj.TracingCheckError):
            traced(X, 1)
    assert traced.paths == 1
    assert np.array_equal(traced(X, 0), X * 2)
    if function is not rare_look:  # which does the same in every trace, and the user said not to check
        with warnings.catch_warnings(record=True):
            unchecked = tj.trace(function, (X, 0), check_trace=False)
            assert np.array_equal(unchecked(X, 1), unchecked(X, 1))


def test_a_later_path_that_varies_runs_plainly_where_that_is_allowed() -> None:
    traced = tj.trace(rare_noise, (X, 0), fallback="python")
    with pytest.warns(tj.FallbackWarning, match="did not do the same twice"):
        first = traced(X, 1)
    assert not np.array_equal(first, traced(X, 1))
    assert traced.paths == 1


def test_a_later_path_of_other_arguments_is_checked() -> None:
    def function(x: Any) -> Any:
        return x + random.random() if x.ndim == 2 else x

    traced = tj.trace(function, X)
    with pytest.raises(tj.TracingCheckError):
        traced(np.ones((2, 2)))
    assert traced.paths == 1 and traced(X) is X


def test_later_paths_that_write_are_kept() -> None:
    held = np.zeros(4)

    def function(x: Any, k: int) -> Any:
        if k > 0:
            x[0] += k
            held[1] += 1
        return x.sum()

    traced = tj.trace(function, (X, 0))
    x = X.copy()
    assert traced(x, 3) == 13 and x[0] == 4 and list(held) == [0, 1, 0, 0]
    assert traced(x, 3) == 16 and list(held) == [0, 2, 0, 0] and traced.paths == 2


def test_drawing_random_numbers_warns() -> None:
    sources: list[Callable[[], float]] = [random.random, np.random.rand]
    for draw in sources:
        with pytest.warns(tj.TracerWarning, match="random numbers were drawn"):
            tj.trace(lambda x, draw=draw: x if draw() < 2 else -x, (X,))
    with warnings.catch_warnings():
        warnings.simplefilter("error", tj.TracerWarning)
        tj.trace(lambda x: x * 2, X)


# -- what a check leaves ---------------------------------------------------------------------------------------


class Slotted:
    __slots__ = ("last", "n")
    last: Any

    def __init__(self) -> None:
        self.n = 0


class Everything:
    shared = 1

    def __init__(self) -> None:
        self.n = 0
        self.gone: Any = "here"
        self.history: list[Any] = []
        self.stats: dict[str, Any] = {"calls": 0, "deep": {"n": 0}}
        self.seen = {1}
        self.queue = collections.deque([1])
        self.raw = bytearray(b"a")
        self.slotted = Slotted()
        self.w = np.ones(4)

    def __call__(self, x: Any) -> Any:
        self.n += 1
        self.shared += 1
        self.fresh = x
        self.w = self.w + 1
        self.history.append(1)
        self.stats["calls"] += 1
        self.stats["deep"]["n"] += 1
        self.stats["new"] = 1
        vars(self)["direct"] = 2
        self.seen.add(2)
        self.queue.append(2)
        self.raw.append(3)
        self.slotted.n += 1
        self.slotted.last = x
        del self.gone
        return x * 2


def state_of(thing: Everything) -> Any:
    kept = {name: str(value) for name, value in vars(thing).items() if name != "slotted"}
    return kept, thing.slotted.n, hasattr(thing.slotted, "last"), thing.history, thing.w


def test_a_check_leaves_objects_as_they_were() -> None:
    thing = Everything()
    before, held = state_of(thing), (thing.history, thing.stats, thing.w)
    traced = tj.trace(thing, X, check_inputs=[X + 1])
    assert state_of(thing)[:3] == before[:3]
    assert all(a is b for a, b in zip(held, (thing.history, thing.stats, thing.w), strict=True))
    traced(X)
    assert state_of(thing)[:3] == before[:3]


def test_a_check_leaves_globals_cells_and_functions_as_they_were() -> None:
    cell = 0

    def helper(x: Any) -> Any:
        helper.calls += 1  # type: ignore[attr-defined]
        return x

    helper.calls = 0  # type: ignore[attr-defined]

    def function(x: Any) -> Any:
        nonlocal cell
        global TOTAL, ADDED  # noqa: PLW0603
        TOTAL += 1
        ADDED = 1  # type: ignore[name-defined]
        cell += 1
        LOG.append(1)
        return helper(x) * 2

    tj.trace(function, X)
    assert (TOTAL, cell, LOG, helper.calls) == (0, 0, [], 0)  # type: ignore[attr-defined]
    assert "ADDED" not in globals()


def test_a_failed_check_leaves_objects_as_they_were() -> None:
    thing = Everything()

    def function(x: Any) -> Any:
        thing.n += 1
        return x + random.random()

    with pytest.raises(tj.TracingCheckError):
        tj.trace(function, X)
    assert thing.n == 0


def test_a_check_gives_the_function_the_very_objects() -> None:
    class Given:
        w = np.ones(4)

    given = Given()
    seen: list[Any] = []

    def function(x: Any, y: Any, given: Any) -> Any:
        seen.append((x is y, given is not None))
        return x * given.w

    traced = tj.trace(function, (X, X, given))
    assert traced.paths == 1 and np.array_equal(traced(X, X, given), X)


# -- partials --------------------------------------------------------------------------------------------------


def test_keywords_of_a_partial_that_change_are_noticed() -> None:
    def scaled(x: Any, k: Any = 1.0, j: Any = 2.0) -> Any:
        return x * k + j

    part = functools.partial(scaled, k=2.0)
    traced = tj.trace(part, (X,))
    for name, value in (("k", 3.0), ("j", 5.0), ("k", 2.0), ("j", 7), ("k", np.float32(2)), ("k", np.float32(3)), ("k", 2.0)):
        part.keywords[name] = value
        for _ in range(2):
            assert np.array_equal(traced(X), part(X)), (name, value)
            assert traced(X).dtype == part(X).dtype
            assert np.array_equal(traced(X, k=9.0), part(X, k=9.0))
    del part.keywords["k"]
    assert np.array_equal(traced(X), part(X))


def test_a_partial_with_a_switch_that_changes_is_noticed() -> None:
    def switched(x: Any, mode: Any, act: Any) -> Any:
        return act(x) if mode == "act" else x

    part = functools.partial(switched, mode="act", act=np.tanh)
    traced = tj.trace(part, (X,))
    for name, value in (("mode", "off"), ("mode", "act"), ("act", np.sin)):
        part.keywords[name] = value
        assert np.allclose(traced(X), part(X)), (name, value)


def test_a_partial_of_another_function_is_noticed() -> None:
    part = functools.partial(lambda s, x: x * s, 2.0)
    traced = tj.trace(part, (X,))
    part.__setstate__((part.func, (3.0,), {}, {}))  # type: ignore[attr-defined]
    assert np.array_equal(traced(X), X * 3)
    part.__setstate__((lambda s, x: x - s, (3.0,), {}, {}))  # type: ignore[attr-defined]
    assert np.array_equal(traced(X), X - 3)


def test_a_partial_with_an_array_as_keyword_is_refused() -> None:
    with pytest.raises(tj.UnsupportedError, match="a partial whose keyword 'k' is an array"):
        tj.trace(functools.partial(lambda x, k: x * k, k=X), (X,))


def test_partials_of_ufuncs() -> None:
    assert np.array_equal(tj.trace(functools.partial(np.add, 2.0), (X,))(X), X + 2)
    assert np.array_equal(tj.trace(functools.partial(functools.partial(np.hypot), 3.0), (X,))(X), np.hypot(3.0, X))


def test_what_is_switched_off_says_so() -> None:
    with tj.options(enabled=False):
        traced = tj.trace(lambda x: x, (X,))
        with pytest.raises(tj.CompileError, match="switched off"):
            traced.graph  # noqa: B018
