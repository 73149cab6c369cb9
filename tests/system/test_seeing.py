"""What a compiled object shows of itself: `.code` runs and gives the same, every graph prints, parses and verifies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.errors import UnsupportedError
from tensorjit.ir.kernel_printer import print_kernel
from tensorjit.ir.kernel_verifier import verify_kernel
from tensorjit.ir.parser import parse_graph, parse_kernel
from tensorjit.ir.printer import print_graph
from tensorjit.ir.verifier import verify_graph
from tests.system.harness import difference, observe
from tests.system.programs import CASES

IDS = [f"{n}-{function.__name__}" for n, (function, _, _) in enumerate(CASES)]


def closure_of(function: Callable[..., Any]) -> dict[str, Any]:
    cells = function.__closure__ or ()
    return {name: cell.cell_contents for name, cell in zip(function.__code__.co_freevars, cells, strict=True)}


@pytest.mark.parametrize(("function", "makes", "options"), CASES, ids=IDS)
def test_code_runs_and_gives_the_same(function: Any, makes: Any, options: dict[str, Any]) -> None:
    namespace = {**function.__globals__, **closure_of(function), "np": np, "numpy": np}
    exec(compile(tj.script(function).code, "<code>", "exec"), namespace)
    again = namespace[function.__name__]
    again.__defaults__, again.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    for make in makes:
        wanted, found = observe(function, make(), options.get("kwargs")), observe(again, make(), options.get("kwargs"))
        assert found.error is wanted.error
        assert not difference(found.result, wanted.result)
        assert not difference(found.args, wanted.args)


@pytest.mark.parametrize(("function", "makes", "options"), CASES, ids=IDS)
def test_every_stage_prints_parses_and_verifies(function: Any, makes: Any, options: dict[str, Any]) -> None:
    compiled = tj.script(function)
    generic = compiled.graph
    verify_graph(generic, "generic")
    assert print_graph(parse_graph(print_graph(generic))) == print_graph(generic)
    try:
        lowered = compiled.lower(*makes[0](), **(options.get("kwargs") or {}))
    except UnsupportedError:
        return
    executable = lowered._executable
    verify_graph(executable.graph, "specialised")
    for stage in ("graph", "lowered"):
        text = lowered.as_text(stage)
        assert print_graph(parse_graph(text)) == text
    for op in executable.lowered.walk():
        kernel = op.attrs.get("kernel")
        if kernel is not None:
            verify_kernel(kernel)
            assert print_kernel(parse_kernel(print_kernel(kernel))) == print_kernel(kernel)


def poly(x: Any, y: Any) -> Any:
    return 2.0 * x * x + y


def test_stages_of_a_small_function() -> None:
    f = tj.script(poly)
    x = np.arange(5.0)
    lowered = f.lower(x, x)
    assert "multiply" in lowered.as_text("graph")
    assert "launch" in lowered.as_text("lowered")
    assert lowered.as_text("kernels").startswith("kernel k_")
    assert "define" in lowered.as_text("llvm")
    assert "tj_entry" in lowered.as_text("asm")
    assert lowered.compile() is f
    with pytest.raises(ValueError, match="stage"):
        lowered.as_text("nonsense")
    report = f.explain(x, x)
    assert "1 kernel" in report
    assert "multiply, multiply, add" in report
    f.cache_clear()
    assert f.cache_info().currsize == 0
    assert "return 2.0 * x * x + y" in f.code


def test_lower_compiles_before_any_call() -> None:
    f = tj.script(poly)
    f.cache_clear()
    x = np.arange(3.0)
    f.lower(x, x).compile()
    misses = f.cache_info().misses
    f(x, x)
    assert f.cache_info().misses == misses


def with_defaults(x: Any, times: int = 3, *, shift: float = 0.5) -> Any:
    return x * times + shift


def test_code_has_the_defaults() -> None:
    space: dict[str, Any] = {}
    exec(tj.script(with_defaults).code, space)
    assert space["with_defaults"](2) == with_defaults(2) == 6.5
