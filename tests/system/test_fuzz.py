"""Random programs do what they do without the compiler; what was found is kept as a named test."""

from __future__ import annotations

import os

import pytest

import tensorjit as tj
from tests.system.generate import arguments, program
from tests.system.harness import BACKENDS, compare, function_of, observe

COUNT = int(os.environ.get("TENSORJIT_FUZZ", "0")) or (3000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 32)
FIRST = int(os.environ.get("TENSORJIT_FUZZ_FIRST", "0"))
CALLS = 4


def fails(source: str, seed: int) -> str:
    """What a program does otherwise when compiled; refusals are fine."""
    plain = function_of(source)
    for backend in BACKENDS:
        compiled = None
        for call in range(CALLS):
            wanted = observe(plain, arguments(100 * seed + call))
            if compiled is None:
                compiled = tj.script(plain, backend=backend)
            try:
                found = observe(compiled, arguments(100 * seed + call))
            except tj.CompileError:
                continue
            except tj.TensorJitError as error:
                return f"{backend}, call {call}: {type(error).__name__}: {error}"
            if found.error is OverflowError and "64 bits" in found.message:
                continue  # Python's integers have no bounds, ours do
            if wanted.error is IndexError and found.error is not None and "] " in source:
                continue  # x[k] += v looks at x[k] before v is computed, we after it
            if text := compare(found, wanted, ulp=64, message=wanted.error not in (TypeError, ValueError)):
                return f"{backend}, call {call}: {text}"
    return ""


@pytest.mark.parametrize("part", range(4))
def test_programs(part: int) -> None:
    bad = []
    for seed in range(FIRST + part, FIRST + COUNT, 4):
        if text := fails(program(seed), seed):
            bad.append(f"seed {seed}: {text}\n{program(seed)}")
    assert not bad, f"{len(bad)} programs differ\n" + "\n".join(bad[:5])


def test_most_programs_compile() -> None:
    refused = 0
    for seed in range(20):
        try:
            tj.script(function_of(program(seed)), cache_size=8).graph_for(*arguments(100 * seed))
        except tj.CompileError:
            refused += 1
    assert refused <= 6
