"""What a call costs, with next to nothing to compute."""

from collections.abc import Iterator

import numpy as np

import tensorjit
from bench import peers, programs
from bench.jobs import Job, Settings, arrays, call, check
from bench.measure import Contender, Goal, Row, measure

SECTION = "calls"


def jobs() -> Iterator[Job]:
    """The cases."""
    yield Job(SECTION, "x + 1.0, one element", _one)
    yield Job(SECTION, "x * y + z, 10 elements", _three)


def _one(settings: Settings) -> Row:
    x = np.ones(1)
    compiled = tensorjit.script(programs.add_one)
    check(x + 1.0, compiled(x), "tensorjit")
    contenders = [call("tensorjit", compiled, (x,)), Contender("NumPy", "x + 1.0", {"x": x})]
    if numba := peers.load("numba"):
        contenders.append(call("numba", numba.njit(programs.add_one), (x,)))
    samples = measure(contenders, rounds=settings.rounds)
    return Row(SECTION, "x + 1.0, one element", samples, (Goal("NumPy", 3.0),))


def _three(settings: Settings) -> Row:
    args = tuple(arrays(3, 10).values())
    compiled = tensorjit.script(programs.fused_three)
    check(programs.fused_three(*args), compiled(*args), "tensorjit")
    names = dict(zip("xyz", args, strict=True))
    contenders = [call("tensorjit", compiled, args), Contender("NumPy", "x * y + z", names)]
    if numba := peers.load("numba"):
        contenders.append(call("numba", numba.njit(programs.fused_three), args))
    samples = measure(contenders, rounds=settings.rounds)
    return Row(SECTION, "x * y + z, 10 elements", samples, (Goal("numba", 2.0), Goal("NumPy", 1.0)))
