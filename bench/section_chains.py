"""`a*x + y*z - w` in float64, from the cache and from memory, single-threaded, against everything else."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import tensorjit
from bench import peers, programs
from bench.jobs import Job, Settings, arrays, call, check
from bench.measure import Contender, Goal, Row, measure

SECTION = "chains"
SIZES = (1_000, 100_000, 10_000_000)
FACTOR = 1.5


def jobs() -> Iterator[Job]:
    """The cases."""
    for size in SIZES:
        yield Job(SECTION, f"into out=, {size:_}", partial(_into, size))
        yield Job(SECTION, f"fresh result, {size:_}", partial(_fresh, size))


def _into(size: int, settings: Settings) -> Row:
    inputs = (FACTOR, *arrays(4, size).values())
    expected, out = programs.chain(*inputs), np.empty(size)
    contenders = [
        call("tensorjit", tensorjit.script(programs.chain_into), (out, *inputs)),
        call("NumPy", programs.chain_into, (out, *inputs)),
    ]
    for name, function in _loops().items():
        contenders.append(call(name, function, (out, *inputs)))
    if ufunc := peers.numba_chain_ufunc():
        contenders.append(Contender("numba vectorize", "f(*args, out=out)", {"f": ufunc, "args": inputs, "out": out}))
    if numexpr := peers.load("numexpr"):
        contenders.append(_numexpr(numexpr, inputs, out))
    if bind := peers.c_chain():
        contenders.append(call("C", bind(out, *inputs), ()))
    for contender in contenders:
        out[:] = 0.0
        exec(contender.statement, dict(contender.names))
        check(expected, out, contender.name, 0.0 if contender.name in ("tensorjit", "NumPy", "C") else 1e-12)
    goals = (Goal("C", 0.9),) if size == max(SIZES) else ()
    note = "C is called through ctypes, which costs some 0.5 us here" if size == min(SIZES) else ""
    return Row(SECTION, f"into out=, {size:_}", measure(contenders, rounds=settings.rounds), goals, note=note)


def _fresh(size: int, settings: Settings) -> Row:
    inputs = (FACTOR, *arrays(4, size).values())
    compiled = tensorjit.script(programs.chain)
    check(programs.chain(*inputs), compiled(*inputs), "tensorjit")
    contenders = [call("tensorjit", compiled, inputs), call("NumPy", programs.chain, inputs)]
    if numba := peers.load("numba"):
        contenders.append(call("numba", numba.njit(programs.chain), inputs))
    if ufunc := peers.numba_chain_ufunc():
        contenders.append(call("numba vectorize", ufunc, inputs))
    if numexpr := peers.load("numexpr"):
        contenders.append(_numexpr(numexpr, inputs, None))
    return Row(SECTION, f"fresh result, {size:_}", measure(contenders, rounds=settings.rounds))


def _loops() -> dict[str, Callable[..., Any]]:
    loop = peers.numba_chain_loop()
    return {} if loop is None else {"numba": loop}


def _numexpr(numexpr: Any, inputs: tuple[Any, ...], out: Any) -> Contender:
    numexpr.set_num_threads(1)
    names = dict(zip("axyzw", inputs, strict=True))
    statement = "evaluate('a*x + y*z - w', local_dict=names, out=out)"
    return Contender("numexpr", statement, {"evaluate": numexpr.evaluate, "names": names, "out": out})
