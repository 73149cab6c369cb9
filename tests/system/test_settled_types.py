"""Loops whose variables change their types give in every turn what Python gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import difference


def a_string_of_the_first_turn(x: Any) -> Any:
    mode, total = "a", 0.0
    for _ in range(x.shape[0]):
        total += 1.0 if mode == "a" else 2.0
        mode = "b"
    return total, mode


def none_in_the_first_turn(x: Any) -> Any:
    last: Any = None
    total = 0.0
    for i in range(x.shape[0]):
        total += 1.0 if last is None else 2.0
        last = x[i]
    return total


def an_item_of_the_first_turn(x: Any) -> Any:
    pair: Any = (0, "a")
    total = 0.0
    for i in range(x.shape[0]):
        total += 1.0 if pair[1] == "a" else 2.0
        pair = (pair[0] + x[i], "b")
    return total, pair


def the_class_of_the_first_turn(x: Any) -> Any:
    total: Any = 0
    count = 0.0
    for i in range(x.shape[0]):
        count += 1.0 if isinstance(total, int) else 2.0
        total += x[i]
    return count, total


PROGRAMS: tuple[Callable[..., Any], ...] = (
    a_string_of_the_first_turn, none_in_the_first_turn, an_item_of_the_first_turn, the_class_of_the_first_turn,
)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_what_holds_in_the_first_turn_alone_is_not_taken_for_all(program: Callable[..., Any], backend: str) -> None:
    compiled = tj.script(program, backend=backend)
    for n in (0, 1, 2, 5):
        x = np.linspace(0.1, 0.9, n)
        assert not difference(compiled(x), program(x)), n
