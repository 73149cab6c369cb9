"""The corpus in processes of its own: the same bits for the host's CPU and for a plainer one; an abort of LLVM ends only them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def digests(target: str) -> list[str]:
    """What the corpus does when it is compiled for a target."""
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    env = {**os.environ, "TENSORJIT_TARGET": target, "PYTHONPATH": path}
    command = [sys.executable, "-m", "tests.system.digests"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    last = done.stderr.strip().splitlines()[-1:]
    assert done.returncode == 0, f"target {target} ended with {done.returncode} at {last}:\n{done.stderr[-2000:]}"
    return done.stdout.splitlines()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the targets are x86-64's")
def test_same_bits_on_every_target() -> None:
    host, plain = digests("host"), digests("x86-64-v3")
    assert len(host) > 100
    assert [h for h, p in zip(host, plain, strict=True) if h != p] == []
