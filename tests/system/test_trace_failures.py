"""A recording that fails, wherever it fails, leaves the traced object and the user's modules as they were."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit import compiler
from tensorjit.frontend import trace as frontend
from tensorjit.frontend.tracing import marks, recorder, substitute, tree
from tests.system.harness import BACKENDS, compare, observe

X = np.arange(1.0, 7.0).reshape(3, 2)

pytestmark = pytest.mark.filterwarnings("ignore::tensorjit.errors.TracerWarning")


def held(traced: Callable[..., Any], function: Callable[..., Any], *args: Any) -> None:
    text = compare(observe(traced, args), observe(function, args), ulp=4)
    assert not text, text


def negated_mean(x: Any, k: Any) -> Any:
    if k > 0:
        x = -x
    return x.sum() / x.shape[0]


def sizes(x: Any, k: Any) -> Any:
    y = x
    if k > 0:
        y = y * 2
    if k > 1:
        y = y.T
    if k > 2:
        y = np.zeros(y.shape[1]) + y
    return y.sum(axis=0) / y.shape[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", [negated_mean, sizes])
def test_sizes_that_one_path_needs_and_another_does_not(function: Any, backend: str) -> None:
    square = X @ X.T
    for first in (0, 1, 2, 3):
        traced = tj.trace(function, (square, first), backend=backend)
        for k in (3, 1, 0, 2, 1, 3):
            held(traced, function, square, k)


class Stopped(BaseException):
    """What nobody catches."""


class Internal(RuntimeError):
    """An error of the tracer or the compiler itself."""


def raises(x: Any, k: Any) -> Any:
    if k > 0:
        raise KeyError("mine")
    return x + 1


def stops(x: Any, k: Any) -> Any:
    if k > 0:
        raise Stopped
    return x + 1


def leaves(x: Any, k: Any) -> Any:
    return sys.exit(3) if k > 0 else x + 1


def is_refused(x: Any, k: Any) -> Any:
    return x.tolist() if k > 0 else x + 1


def returns_a_dict(x: Any, k: Any) -> Any:
    return {"x": x} if k > 0 else x + 1


def does_not_compile(x: Any, k: Any) -> Any:
    return np.linalg.svd(x)[0] if k > 0 else x + 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", [raises, stops, leaves, is_refused, returns_a_dict, does_not_compile])
def test_a_path_that_cannot_be_recorded_or_compiled_is_forgotten(function: Any, backend: str) -> None:
    traced = tj.trace(function, (X, 0), backend=backend)
    tree = traced._tree
    for _ in range(2):
        with pytest.raises((KeyError, Stopped, SystemExit, tj.CompileError)):
            traced(X, 1)
        assert traced._tree is tree
        assert traced.cache_info().currsize <= 2
        held(traced, function, X, 0)
        held(traced, function, X.astype(np.float32), 0)  # another version, of the paths that there are
        traced.cache_clear()


def gate(x: Any, k: Any) -> Any:
    if k > 0:
        return np.zeros(x.shape[0]) + x.sum()
    return x + 1


STAGES = [
    (frontend, "_bind"), (frontend, "_wrap"), (frontend, "arguments_of"), (frontend, "_check_result"), (frontend.TraceTree, "add"),
    (substitute.Substitute, "callable"), (substitute.Substitute, "finish"), (substitute.Substitute, "value"),
    (recorder.Recorder, "wrap"), (recorder.Recorder, "lift"), (recorder.Recorder, "guard"), (recorder.Recorder, "check_captures"),
    (marks, "_functions"), (tree.TraceTree, "to_graph"), (compiler, "specialise"), (compiler, "run_passes"), (compiler, "native"),
]  # fmt: skip


@pytest.mark.parametrize("error", [Internal("inside"), KeyboardInterrupt(), MemoryError()], ids=lambda e: type(e).__name__)
def test_whatever_stage_fails_the_object_goes_on(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise error

    traced = tj.trace(gate, (X, 0))
    before = {name: value for name, value in globals().items() if not name.startswith("__")}
    tree = traced._tree
    for where, name in STAGES:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, fails)
            with pytest.raises((type(error), tj.CompileError)):
                traced(X, 1)
        assert traced._tree is tree, name
        assert {name: value for name, value in globals().items() if not name.startswith("__")} == before
        assert not frontend.is_tracing()
    for x in (X, X.astype(np.float32)):
        for k in (0, 1, 0):
            held(traced, gate, x, k)


def test_a_first_call_that_fails_can_be_made_again() -> None:
    fail = [True]

    def function(x: Any) -> Any:
        if fail[0]:
            raise ValueError("not yet")
        return x * 2

    with pytest.raises(ValueError, match="not yet"):
        tj.trace(function, (X,))
    with tj.options(enabled=False):
        traced = tj.trace(function, (X,), check_trace=False)
    with pytest.raises(ValueError, match="not yet"):
        traced(X)
    fail[0] = False
    held(traced, function, X)
    assert traced.paths == 1
