"""What a section is made of: jobs, each of which measures one case."""

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bench.measure import ROUNDS, Contender


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        """Rounds of a case."""
        return 5 if self.quick else ROUNDS

    @property
    def processes(self) -> int:
        """Rounds of a case that starts a process each time."""
        return 3 if self.quick else 9


@dataclass(frozen=True, slots=True)
class Job:
    """One case of a section; `run` gives the samples by contender, ours first."""

    section: str
    case: str
    run: Callable[[Settings], Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that could not be measured, and why."""

    section: str
    case: str
    problem: str


def call(name: str, function: Callable[..., Any], args: Sequence[Any]) -> Contender:
    """A contender that calls `function` with `args`, with nothing in between.

    >>> call("plus", max, (1, 2)).statement
    'f(a0, a1)'
    """
    names = {f"a{i}": arg for i, arg in enumerate(args)}
    return Contender(name, f"f({', '.join(names)})", {"f": function, **names})


def check(expected: Any, found: Any, name: str, tolerance: float = 0.0) -> None:
    """Raise where a contender computes something else: a wrong result has no speed."""
    a, b = np.asarray(expected), np.asarray(found)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        raise AssertionError(f"{name} gives {b.dtype}{list(b.shape)}, NumPy {a.dtype}{list(a.shape)}")
    np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance, err_msg=name)


def write_module(source: str, name: str) -> ModuleType:
    """Import `source` from a file of its own: what compiles functions wants to read them."""
    path = Path(tempfile.mkdtemp(prefix="tensorjit-bench-"), f"{name}.py")
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def arrays(count: int, shape: tuple[int, ...] | int, dtype: str = "f8") -> Mapping[str, Any]:
    """Arrays of values from 0.1 to 0.9, by the names x, y, z, w.

    >>> list(arrays(2, 3))
    ['x', 'y']
    """
    random = np.random.default_rng(0)
    return {name: random.uniform(0.1, 0.9, shape).astype(dtype) for name in "xyzw"[:count]}
