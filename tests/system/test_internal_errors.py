"""A fault of the compiler is told as one: no raw exception of its own reaches the user, and plain Python runs where that is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit import compiler, errors
from tensorjit.backends.llvm import compile as backend
from tensorjit.frontend import script as frontend
from tensorjit.frontend.tracing.tree import TraceTree
from tensorjit.passes.specialise.basics import HANDLERS
from tests.system.harness import difference

X = np.arange(4.0)
FAULTS = (
    KeyError("OneOf"),
    AssertionError(),
    RuntimeError("LLVM"),
    IndexError("no"),
    RecursionError(),
    errors.VerifyError("%_"),
    TypeError(),
)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "RAW", False)
    monkeypatch.setattr(compiler, "_parsed", {})


def failing(error: BaseException) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


def break_stage(monkeypatch: pytest.MonkeyPatch, stage: str, error: BaseException) -> None:
    fail = failing(error)
    match stage:
        case "read":
            monkeypatch.setattr(frontend, "lower_function", fail)
        case "specialise":
            monkeypatch.setitem(HANDLERS, "binary", fail)
        case "simplify":
            monkeypatch.setattr(compiler, "SIMPLIFY", (("simplify", fail),))
        case "lower":
            monkeypatch.setattr(compiler, "LOWER", (("lower", fail),))
        case "verify":
            monkeypatch.setattr(compiler, "verify_graph", fail)
        case "emit":
            monkeypatch.setattr(backend, "emit", fail)
        case "graph of a trace":
            monkeypatch.setattr(TraceTree, "to_graph", fail)


def two(x: Any, k: Any = 2) -> Any:
    x[0] += 1
    return x * k


STAGES = ["read", "specialise", "simplify", "lower", "verify", "emit"]
TRACE_STAGES = ["graph of a trace", *STAGES[1:]]


def made(front: str, **options: Any) -> Any:
    if front == "script":
        return tj.script(two, cache_size=64, **options)
    return tj.trace(two, X, check_trace=False, **options)


@pytest.mark.parametrize("error", FAULTS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(("front", "stage"), [*(("script", s) for s in STAGES), *(("trace", s) for s in TRACE_STAGES)])
def test_a_fault_of_any_stage_is_told(monkeypatch: pytest.MonkeyPatch, front: str, stage: str, error: Exception) -> None:
    break_stage(monkeypatch, stage, error)
    if isinstance(error, RecursionError):  # of the program, as far as one can tell
        with pytest.raises(tj.CompileError, match="nested too deeply"):
            made(front)(X.copy())
        return
    with pytest.raises(
        tj.InternalError, match=f"an internal error of tensorjit while it compiled two \\({type(error).__name__}"
    ) as caught:
        made(front)(X.copy())
    assert caught.value.__cause__ is error
    assert "please report it" in str(caught.value)
    if stage == "specialise":
        assert "x * k" in str(caught.value) or "x[0] += 1" in str(caught.value)


@pytest.mark.parametrize(("front", "stage"), [*(("script", s) for s in STAGES), *(("trace", s) for s in TRACE_STAGES)])
def test_plain_python_runs_instead(monkeypatch: pytest.MonkeyPatch, front: str, stage: str) -> None:
    break_stage(monkeypatch, stage, KeyError("OneOf"))
    with pytest.warns(tj.FallbackWarning, match="two runs as plain Python.*\n.*internal error of tensorjit") as caught:
        f = made(front, fallback="python")
        for _ in range(3):
            x, y = X.copy(), X.copy()
            assert not difference(f(x), two(y)) and not difference(x, y)
    assert len(caught) == 1


@pytest.mark.parametrize("front", ["script", "trace"])
@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), tj.UnsupportedError("no")], ids=lambda e: type(e).__name__)
def test_what_is_no_fault_of_the_compiler_passes(monkeypatch: pytest.MonkeyPatch, front: str, error: BaseException) -> None:
    break_stage(monkeypatch, "lower", error)
    with pytest.raises(type(error)) as caught:
        made(front)(X.copy())
    assert caught.value is error


def test_a_call_that_cannot_be_bound_runs_plainly_too() -> None:
    def f(x: Any, **more: Any) -> Any:
        return len(more)

    g: Any = tj.script(f, fallback="python")
    with pytest.warns(tj.FallbackWarning):
        assert g(1, a=2) == 1
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        g()


def test_what_only_the_recording_raises_is_told() -> None:
    def f(x: Any) -> Any:
        if tj.is_tracing() and x.dtype == np.int64:
            raise LookupError("only here")
        return x + 1

    whole = np.arange(3)
    with pytest.raises(tj.InternalError, match="while it traced f") as caught:
        tj.trace(f, X, check_trace=False)(whole)
    assert isinstance(caught.value.__cause__, LookupError)
    t = tj.trace(f, X, check_trace=False, fallback="python")
    with pytest.warns(tj.FallbackWarning):
        assert not difference(t(whole), whole + 1)
    assert not difference(t(whole), whole + 1)
    assert not difference(t(X), X + 1)
