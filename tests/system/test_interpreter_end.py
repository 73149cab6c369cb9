"""When the interpreter ends, modules are taken apart and nothing can be imported: what is called then runs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS, compare, observe

PROGRAM = """
import sys, weakref
import numpy as np
import tensorjit as tj

def helper(x):
    return x * 2

@tj.script
def first(x):
    return helper(x) + 1

@tj.script
def known(x):
    return x + 1

known(np.ones(2))
traced = tj.trace(lambda x: x - 1, np.ones(2), check_trace=False)

def use(what, known=known, first=first, traced=traced, x=np.ones(2), i=np.ones(2, int), say=print, end=sys.is_finalizing):
    say(what, end(), [f(v).tolist() for f in (known, traced) for v in (x, i)], first.__name__, flush=True)

class Object:
    def __init__(self, name, use=use, first=first, x=np.ones(2)):
        self.name, self.use, self.first, self.x = name, use, first, x

    def __del__(self):
        self.use(self.name)
        if self.name == "global":
            self.use(self.first(self.x).tolist())

made = Object("global")
cycle = Object("cycle")
cycle.me = cycle

class Watched:
    pass

finalized = Watched()
weakref.finalize(finalized, use, "finalize")
"""


def test_first_calls_at_the_end_of_the_interpreter(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(Path(tj.__file__).parents[1])}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and not done.stderr, done.stderr
    results = [[2.0, 2.0], [2, 2], [0.0, 0.0], [0, 0]]
    lines = done.stdout.splitlines()
    for name, ending in (("global", True), ("cycle", True), ("finalize", False)):
        found = [line for line in lines if line.startswith(f"{name} ")]
        assert found == [f"{name} {ending} {results} first"], done.stdout
    assert f"[3.0, 3.0] True {results} first" in lines


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_module_of_a_function_is_gone(tmp_path: Path, backend: Any) -> None:
    path = tmp_path / "gone.py"
    path.write_text(
        "import numpy as np\n"
        "class Far(ValueError): pass\n"
        "class Box:\n    k = 2.0\n    def of(self, x): return helper(x) * self.k\n"
        "def helper(x, k=3):\n    return np.log(x) * k\n"
        "def f(x):\n    if x.shape[0] > 5: raise Far('far')\n    return helper(x) + Box.k\n"
    )
    spec = importlib.util.spec_from_file_location("gone_by_now", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules["gone_by_now"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    f, method = module.f, module.Box().of
    made = tj.script(f, backend=backend)
    traced = tj.trace(method, np.ones(2), check_trace=False, backend=backend)
    del sys.modules["gone_by_now"], module
    late = tj.script(f, backend=backend, cache_size=63)
    for x in (np.ones(3), np.zeros(3), np.ones(7), np.ones(2, np.float32)):
        for compiled, plain in ((made, f), (late, f), (traced, method)):
            text = compare(observe(compiled, (x,)), observe(plain, (x,)))
            assert not text, (compiled, x, text)
    assert made.explain(np.ones(3)) and made.code and traced.code
