"""Random programs with Python around their operations, traced with one state of the world, do in others what Python does."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.generate_traced import FIRST, World, changed, program
from tests.system.harness import difference

# `make fuzz-traces` runs more
COUNT = int(os.environ.get("TENSORJIT_TRACES", "12"))
START = int(os.environ.get("TENSORJIT_TRACES_FIRST", "0"))
CALLS = 10


def outcome(function: Callable[..., Any], *args: Any) -> tuple[type[Exception] | None, Any]:
    try:
        return None, function(*args)
    except tj.TensorJitError:
        raise
    except Exception as error:
        return type(error), None


def who(x: Any, world: World) -> Any:
    """Which of the arrays a result is."""
    if isinstance(x, tuple):
        return tuple(who(item, world) for item in x)
    return next((k for k, array in enumerate(world.arrays) if array is x), None)


def differs(traced: Callable[..., Any], mine: World, plain: World, state: dict[str, Any]) -> str:
    """What one call does otherwise."""
    found, wanted = outcome(traced, *mine.arguments(state)), outcome(plain.module.f, *plain.arguments(state))
    if found[0] is not wanted[0]:
        return f"raised {found[0]}, and {wanted[0]} in Python"
    if text := difference(found[1], wanted[1], ulp=64):
        return text
    if who(found[1], mine) != who(wanted[1], plain):
        return "the result is another object"
    return "; ".join(filter(None, map(difference, mine.arrays, plain.arrays)))


def fails(seed: int) -> str:
    """What a program does otherwise when it is traced; a refusal is fine."""
    rng = random.Random(seed)
    text, start = program(rng), changed(dict(FIRST), rng, rng.randint(0, 2))
    mine, plain = World(text, f"tests_traced_{seed}"), World(text, f"tests_plain_{seed}")
    try:
        with np.errstate(all="ignore"):
            if outcome(plain.module.f, *plain.arguments(start))[0] is not None:
                return ""
            traced = tj.trace(mine.module.f, mine.arguments(start), check_trace=rng.random() < 0.5)
            for _ in range(CALLS):
                state = changed(start, rng, rng.randint(1, 3))
                if found := differs(traced, mine, plain, state):
                    return f"{found}\n{text}\ntraced with {start}\ncalled with {state}"
    except tj.CompileError:
        return ""
    except tj.TensorJitError as error:
        return f"{type(error).__name__}: {error}\n{text}\ntraced with {start}"
    finally:
        mine.close()
        plain.close()
    return ""


@pytest.mark.parametrize("seed", range(START, START + COUNT))
def test_random_traced_programs(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.TracerWarning)
        warnings.simplefilter("ignore", tj.FallbackWarning)
        text = fails(seed)
    assert not text, text
