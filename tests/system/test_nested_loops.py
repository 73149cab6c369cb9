"""The variables of nested loops, read after them: each may have no value yet, on a path of its own."""

from __future__ import annotations

from typing import Any

import pytest

import tensorjit as tj
from tests.system.harness import hold
from tests.system.test_like_numpy import module


def nested(depth: int) -> Any:
    """Loops inside loops, as deep as is asked for."""
    names = "ijkmn"[:depth]
    lines = [f"{'    ' * (level + 1)}for {name} in range(r):" for level, name in enumerate(names)]
    body = f"{'    ' * (depth + 1)}s += {' * '.join(names)}"
    return module("\n".join(["def f(r):", "    s = 0", *lines, body, f"    return s, {', '.join(names)}", ""]))["f"]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_variables_of_nested_loops_are_read_after_them(depth: int) -> None:
    hold(nested(depth), lambda: (3,), lambda: (1,), lambda: (0,), message=False)


@pytest.mark.xfail(strict=True, raises=tj.CompileError, reason="a version of each loop for each set of variables without a value")
def test_variables_of_four_nested_loops_are_read_after_them() -> None:
    hold(nested(4), lambda: (3,), lambda: (1,), backends=("reference",))
