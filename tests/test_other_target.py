"""The programs and the op table once more, compiled for a CPU without AVX-512."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(os.environ.get("TENSORJIT_TARGET", "host") != "host", reason="this is the run for another target")
@pytest.mark.parametrize("pattern", ["system/test_programs.py", "ops/test_reductions.py", "llvm/test_driver*.py"])
def test_for_x86_64_v3(pattern: str) -> None:
    """`make test-v3` runs the whole suite so; tests/system/test_corpus_subprocess.py compares the bits."""
    environment = {**os.environ, "TENSORJIT_TARGET": "x86-64-v3"}
    for name in [n for n in environment if n.startswith("PYTEST_")]:
        del environment[name]  # the worker's own settings
    files = [str(f) for f in sorted(ROOT.joinpath("tests").glob(pattern))]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-n0", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
