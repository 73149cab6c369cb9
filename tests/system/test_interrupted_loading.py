"""Ctrl-C in the first call of a process, while the compiler is being loaded: the next call starts again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import gc, signal, sys
import numpy as np
import tensorjit as tj

at, made = int(sys.argv[1]), sys.argv[2]
assert "tensorjit.compiled" not in sys.modules
count = 0

def hook(event, args):  # twice, which is once within the cleanup after the first
    global count
    if event == "import" and str(args[0]).partition(".")[0] in ("tensorjit", "llvmlite", "importlib", "ctypes"):
        count += 1
        if at <= count < at + 2:
            signal.raise_signal(signal.SIGINT)

def first_call():
    if made == "trace":
        return tj.trace(np.negative, (np.ones(3),))(np.ones(3))
    return tj.script(FUNCTION)(np.ones(3))

sys.addaudithook(hook)
try:
    first_call()
except KeyboardInterrupt:
    print("interrupted")
assert count > at, count
assert gc.isenabled()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
for name, module in sys.modules.items():
    assert not name.startswith("tensorjit") or not module.__spec__._initializing, name
assert (first_call() == -1).all()
"""


@pytest.mark.parametrize(("at", "made"), [(1, "script"), (40, "script"), (120, "script"), (20, "trace"), (90, "trace")])
def test_an_interrupt_while_the_compiler_is_loaded(at: int, made: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("sys.addaudithook(hook)", "FUNCTION = lambda x: -x\nsys.addaudithook(hook)"))
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(program), str(at), made],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted\n"
