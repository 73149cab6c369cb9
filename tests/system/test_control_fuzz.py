"""Random programs whose variables change their types do, compiled, what Python does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest

import tensorjit as tj
from tests.system.generate_control import ARRAYS, arguments, program
from tests.system.harness import BACKENDS, Seen, compare, function_of, observe

# `make fuzz-programs` runs more
COUNT = int(os.environ.get("TENSORJIT_PROGRAMS", "16"))
FIRST = int(os.environ.get("TENSORJIT_PROGRAMS_FIRST", "0"))
MAX_LINES = 20_000


class TooLarge(Exception):
    """A plain program goes where the comparison ends: integers of more than 64 bits, or too many turns."""


def plainly(function: Callable[..., Any], args: tuple[Any, ...]) -> Seen:
    """What the plain function does."""
    left = MAX_LINES

    def look(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or any(type(v) is int and v.bit_length() > 62 for v in frame.f_locals.values()):
            raise TooLarge
        return look

    outer = sys.gettrace()
    sys.settrace(lambda frame, event, arg: look if frame.f_code.co_filename == function.__code__.co_filename else None)
    try:
        return observe(function, args)
    finally:
        sys.settrace(outer)


def fails(seed: int, backends: Sequence[str] = BACKENDS) -> str:
    """What a program does otherwise when compiled; refusals are fine."""
    source = program(seed)
    plain = function_of(source)
    for backend in backends:
        try:
            compiled = tj.script(plain, backend=backend)
        except tj.CompileError:
            return ""
        for call in range(len(ARRAYS)):
            wanted = plainly(plain, arguments(seed, call))
            if wanted.error is TooLarge:
                break
            try:
                found = observe(compiled, arguments(seed, call))
            except tj.CompileError:
                continue
            except tj.TensorJitError as error:
                return f"{backend}, call {call}: {type(error).__name__}: {error}"
            if found.error is OverflowError and "64 bits" in found.message:
                continue  # Python's integers have no bounds, ours do
            if text := compare(found, wanted, ulp=64, message=False):
                return f"{backend}, call {call}, of {arguments(seed, call)}: {text}"
    return ""


@pytest.mark.parametrize("part", range(2))
def test_programs(part: int) -> None:
    bad = []
    for seed in range(FIRST + part, FIRST + COUNT, 2):
        if text := fails(seed):
            bad.append(f"seed {seed}: {text}\n{program(seed)}")
    assert not bad, f"{len(bad)} programs differ\n" + "\n".join(bad[:5])
