"""What compiling costs: the first call in a warm and in a cold process, and the import."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import tensorjit
from bench import peers
from bench.jobs import Job, Settings, write_module
from bench.measure import Row, rotate

SECTION = "compile"
WARM_LIMIT, COLD_LIMIT, IMPORT_LIMIT = 0.030, 0.100, 0.050

FUNCTION = """
def f{i}(x, y):
    return np.sqrt(x * x + y * y) * {i}.5 + 1.0
"""

COLD = """
import time
import numpy as np
import {package}
{function}
x, y = np.ones(1000), np.ones(1000)
{before}
start = time.perf_counter()
{timed}
print(time.perf_counter() - start)
"""
# The decorator loads the compiler and parses, so the function costs something in a program that never calls it.
COLD_PARTS = {
    "first call, cold process": ("f = {package}.{decorator}(f0)", "f(x, y)"),
    "decorator and first call, cold process": ("", "{package}.{decorator}(f0)(x, y)"),
}

IMPORT = """
import time
import numpy
start = time.perf_counter()
import {package}
print(time.perf_counter() - start)
"""

DECORATORS = {"tensorjit": "script", "numba": "njit"}


def jobs() -> Iterator[Job]:
    """The cases."""
    yield Job(SECTION, "first call, warm process", _warm)
    for case in COLD_PARTS:
        yield Job(SECTION, case, partial(_cold, case))
    yield Job(SECTION, "import, over import numpy", _import)


def _warm(settings: Settings) -> Row:
    """Each round compiles a function that has not been seen: another constant, so another kernel."""
    count = settings.rounds + 1
    source = "import numpy as np\n" + "".join(FUNCTION.format(i=i) for i in range(count))
    compilers: dict[str, Callable[..., Any]] = {"tensorjit": tensorjit.script}
    if numba := peers.load("numba"):
        compilers["numba"] = numba.njit
    modules = {name: write_module(source, f"bench_warm_{name}") for name in compilers}
    x, y = np.ones(1000), np.ones(1000)
    samples: dict[str, list[float]] = {name: [] for name in compilers}
    for turn in range(count):
        for name in rotate(list(compilers), turn):
            function = getattr(modules[name], f"f{turn}")
            start = perf_counter()
            compilers[name](function)(x, y)
            samples[name].append(perf_counter() - start)
    warm = {name: times[1:] for name, times in samples.items()}  # the first loads the compiler itself
    return Row(SECTION, "first call, warm process", warm, limit=WARM_LIMIT)


def _cold(case: str, settings: Settings) -> Row:
    """Up to the first result, in a new process with an empty cache."""
    scripts = {}
    for package, decorator in DECORATORS.items():
        before, timed = (part.format(package=package, decorator=decorator) for part in COLD_PARTS[case])
        scripts[package] = COLD.format(package=package, function=FUNCTION.format(i=0), before=before, timed=timed)
    return Row(SECTION, case, _processes(scripts, settings), limit=COLD_LIMIT)


def _import(settings: Settings) -> Row:
    scripts = {package: IMPORT.format(package=package) for package in (*DECORATORS, "numexpr")}
    return Row(SECTION, "import, over import numpy", _processes(scripts, settings), limit=IMPORT_LIMIT)


def _processes(scripts: Mapping[str, str], settings: Settings) -> dict[str, list[float]]:
    """The seconds that each script prints, a new process per sample, in turns; without missing packages."""
    present = [name for name in scripts if name == "tensorjit" or peers.load(name)]
    samples: dict[str, list[float]] = {name: [] for name in present}
    with tempfile.TemporaryDirectory(prefix="tensorjit-bench-") as folder:
        for name in present:
            Path(folder, f"run_{name}.py").write_text(scripts[name])
        for turn in range(settings.processes + 1):
            for name in rotate(present, turn):
                elapsed = _process(Path(folder), name, turn)
                if turn:  # the first writes byte code and fills the page cache
                    samples[name].append(elapsed)
    return samples


def _process(folder: Path, name: str, turn: int) -> float:
    root = str(Path(tensorjit.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    caches = {
        "TENSORJIT_CACHE_DIR": str(folder / f"cache-{turn}"),
        "NUMBA_CACHE_DIR": str(folder / f"numba-{turn}"),
    }
    command = [sys.executable, str(folder / f"run_{name}.py")]
    environment = {**os.environ, **caches, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed in a new process:\n{done.stderr}")
    return float(done.stdout)
