"""A pickle is read where the function's text is not: what compiling needs goes along, and nothing of it is run."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.frontend import source as sources
from tests.frontend.test_source import from_text

PROGRAM = '''
import copy, pickle, sys
import numpy as np
import tensorjit as tj

K = 3.0

def helper(x, n=[1.0]):
    return x * K + n[0]

def further(x):
    return helper(x) + helper(x, [2.0])

@tj.script
def decorated(x):
    return further(x) + 1

class Box:
    @staticmethod
    @tj.script
    def within(x, __step=20):
        return x + __step

    @tj.script
    def method(self, x):
        return x + 5

def make(k):
    w = np.arange(3.0)

    @tj.script(fallback="python")
    def nested(x):
        """A text
that stands at the margin."""
        y = [v * k for v in (1, 2)]
        return x * k + w + y[0]

    return nested

several = [tj.script(f) for f in (lambda x: x + 1, lambda x: x + 2, lambda x: (
    x + K))]
OBJECTS = {
    "decorated": decorated,
    "a static method": Box.within,
    "nested": make(2),
    "a lambda": several[1],
    "a lambda of two lines": several[2],
    "of a plain function": tj.script(further),
    "one that calls others": tj.script(lambda x: decorated(x) + several[0](x) + Box.within(x)),
    "a traced lambda": tj.trace(lambda x: helper(x) - 1, np.ones(3), check_trace=False),
    "a traced function": tj.trace(further, np.ones(3), check_trace=False),
}
X = np.ones(3)
'''
DUMP = """
if __name__ == "__main__":
    import cloudpickle
    wanted = {name: made.__wrapped__(X) for name, made in OBJECTS.items()}
    with open(sys.argv[1], "wb") as file:
        cloudpickle.dump((OBJECTS, wanted, Box), file)
"""
LOAD = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    objects, wanted, box = pickle.load(file)
for name, made in objects.items():
    assert np.array_equal(made(np.ones(3)), wanted[name]), name
    assert made.cache_info().currsize == 1, name
assert box().method(1.0) == 6.0 and "plain" not in box.method.__qualname__
print(len(objects))
"""
PLAIN = """
if __name__ == "__main__":
    wanted = {name: made.__wrapped__(X) for name, made in OBJECTS.items()}
    for name in ("decorated", "a static method", "of a plain function", "a traced function"):
        made = OBJECTS[name]
        for again in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
            assert np.array_equal(again(X), wanted[name]), name
            assert (again is made) == (name in ("decorated", "a static method")), name
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for name in ("decorated", "a static method", "of a plain function"):
            assert np.array_equal(pool.map(OBJECTS[name], [X])[0], wanted[name]), name
    print("done")
"""
PARALLEL = """
if __name__ == "__main__":
    from joblib import Parallel, delayed
    run = Parallel(n_jobs=2, backend="loky")
    for name, result in zip(OBJECTS, run(delayed(made)(X) for made in OBJECTS.values())):
        assert np.array_equal(result, OBJECTS[name].__wrapped__(X)), name
    print("done")
"""


def run(path: Path, text: str, *args: str) -> str:
    path.write_text(text)
    root = str(Path(tj.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, str(path), *args], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cloudpickle_takes_the_texts_along(tmp_path: Path) -> None:
    pytest.importorskip("cloudpickle")
    program, pickled = tmp_path / "program.py", tmp_path / "objects.pickle"
    run(program, PROGRAM + DUMP, str(pickled))
    program.unlink()
    assert run(tmp_path / "load.py", LOAD, str(pickled)) == "9\n"


def test_plain_pickles_and_new_processes_find_by_name(tmp_path: Path) -> None:
    assert run(tmp_path / "program.py", PROGRAM + PLAIN) == "done\n"


def test_joblibs_processes_compile_functions_of_the_main_module(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    assert run(tmp_path / "program.py", PROGRAM + PARALLEL) == "done\n"


def test_what_pickle_itself_refuses_stays_refused() -> None:
    f = tj.script(lambda x: x + 1)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(f)
    assert copy.copy(f)(1) == copy.deepcopy(f)(1) == 2


def test_a_text_that_came_along_is_taken_only_for_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_carried", {})
    ran: list[int] = []
    text = "@ran.append\ndef f(x: ran.append(1)):\n    return x + 1\n"
    f: Any = from_text("def f(x):\n    return x + 1\n", "<somewhere else>", known=False)
    key = (f.__name__, f.__code__.co_code)
    sources.carry({key: "def f(x):\n    return x + 1000\n"})
    with pytest.raises(tj.UnsupportedError, match="Python keeps no text"):
        tj.script(f)
    sources.carry({key: "def f(x:\n"})
    with pytest.raises(tj.UnsupportedError, match="Python keeps no text"):
        tj.script(f)
    sources.carry({key: text})
    assert np.array_equal(tj.script(f)(np.ones(2)), [2, 2]) and not ran
    for k in range(50):
        sources.carry({key: f"def f(x):\n    return x + {k}\n"})
    assert len(sources._carried[key]) == sources.MAX_CARRIED
