"""Sizes near what 64 bits hold: right, or an error, but neither a wrapped number nor the end of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to the room that a process is given")
@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes_that_overflow_are_errors(backend: str) -> None:
    program = Path(__file__).with_name("huge_sizes.py")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(program), backend], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stdout[-4000:]}; last: {done.stderr[-300:]}"


def test_a_loop_over_more_turns_than_64_bits_count_is_not_skipped() -> None:
    @tj.script
    def first(n: int) -> int:
        for i in range(-n, n):
            return i
        return 0

    assert first(2**61) == -(2**61)
    with pytest.raises(OverflowError, match="64-bit"):
        first(2**62)
