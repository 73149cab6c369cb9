"""Small whole programs, as one writes them with NumPy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tensorjit
from bench import peers, programs
from bench.jobs import Job, Settings, arrays, call, check
from bench.measure import Goal, Row, measure

SECTION = "programs"


@dataclass(frozen=True, slots=True)
class Case:
    """A function, what makes its arguments, how far it may be from NumPy, and how fast it should be."""

    name: str
    function: Callable[..., Any]
    args: Callable[[], tuple[Any, ...]]
    tolerance: float = 1e-12
    goal: float = 1.0


def _options() -> tuple[Any, ...]:
    random = np.random.default_rng(0)
    size = 1_000_000
    spot, strike = random.uniform(50.0, 150.0, size), random.uniform(50.0, 150.0, size)
    return spot, strike, 0.5, 0.03, random.uniform(0.1, 0.5, size)


def _rows() -> tuple[Any, ...]:
    return (np.random.default_rng(0).standard_normal((4096, 1024), dtype=np.float32),)


def _layer() -> tuple[Any, ...]:
    return (*_rows(), np.full(1024, 1.5, np.float32), np.full(1024, 0.5, np.float32))


def _columns() -> tuple[Any, ...]:
    return (np.random.default_rng(0).standard_normal((100_000, 32)),)


CASES = (
    Case("Black-Scholes, 1e6 f64", programs.black_scholes, _options, 1e-11, goal=8.0),
    Case("softmax over rows, (4096, 1024) f32", programs.softmax, _rows, 1e-5, goal=3.0),
    Case("layer norm, (4096, 1024) f32", programs.layer_norm, _layer, 1e-4),
    Case("standardise columns, (1e5, 32) f64", programs.standardise, _columns),
    Case("root mean square, 1e6 f64", programs.rms, lambda: (arrays(1, 1_000_000)["x"],)),
    Case("jacobi, (1000, 1000) f64, 10 steps", programs.jacobi, lambda: (arrays(1, (1000, 1000))["x"], 10), 0.0),
)


def jobs() -> Iterator[Job]:
    """The cases."""
    for case in CASES:
        yield Job(SECTION, case.name, partial(_run, case))


def _run(case: Case, settings: Settings) -> Row:
    args = case.args()
    expected = case.function(*args)
    compiled = tensorjit.script(case.function)
    check(expected, compiled(*args), "tensorjit", case.tolerance)
    contenders = [call("tensorjit", compiled, args), call("NumPy", case.function, args)]
    note = ""
    if numba := peers.load("numba"):
        unchanged = numba.njit(case.function)
        try:
            unchanged(*args)
            contenders.append(call("numba", unchanged, args))
        except Exception as error:  # numba has many classes for it; what matters is that it refuses
            note = f"numba does not take the function as it is written ({type(error).__name__})"
    samples = measure(contenders, rounds=settings.rounds)
    return Row(SECTION, case.name, samples, (Goal("NumPy", case.goal),), note=note)
