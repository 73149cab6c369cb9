"""Every op of the op table against NumPy's own function, at 1, 10^3 and 10^6 elements."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tensorjit
from bench.jobs import Job, Settings, call, check, write_module
from bench.measure import Row, measure

SECTION = "ops"
SIZES = (1, 1_000, 1_000_000)
DTYPES = ("f8", "i8", "?", "c16")  # an op is measured in the first that it takes
TOLERANCE = {"f": 1e-13, "c": 1e-12}
EXTRA = {
    "clip": "0.2, 0.8",
    "expand_dims": "0",
    "swapaxes": "0, 0",
    "moveaxis": "0, 0",
}  # after the first argument
SHIFTED = {"arccosh": 1.0}  # what to add to values from 0.1 to 0.9, to be inside the domain


CREATION = {
    "arange",
    "empty",
    "eye",
    "full",
    "identity",
    "linspace",
    "ones",
    "zeros",
}  # take sizes, not arrays


@dataclass(frozen=True, slots=True)
class Op:
    """One op: the name NumPy has for it, the dtype it is measured in, how many arrays it takes."""

    name: str
    dtype: str
    arity: int

    def arrays(self, size: int) -> list[Any]:
        """Its arguments."""
        return _arrays(self.name, self.dtype, self.arity, size)

    @property
    def expression(self) -> str:
        """How it is called."""
        names = ", ".join("xyz"[: self.arity])
        return f"np.{self.name}({names}{', ' + EXTRA[self.name] if self.name in EXTRA else ''})"


def jobs() -> Iterator[Job]:
    """The cases: everything in the table that works on whole arrays alone."""
    ops = [op for name, arity in table() if (op := _find(name, arity)) is not None]
    lines = ["import numpy as np"]
    for op in ops:
        lines += [f"def {op.name}_op({', '.join('xyz'[: op.arity])}):", f"    return {op.expression}"]
    module = write_module("\n".join(lines), "bench_ops")
    for op in ops:
        for size in SIZES:
            yield Job(SECTION, _case(op, size), partial(_run, op, getattr(module, f"{op.name}_op"), size))


def table() -> Iterator[tuple[str, int]]:
    """The op table, as far as it is needed here: NumPy's names, and how many arrays each takes."""
    from tensorjit.ops import OPS  # noqa: PLC0415  (the one place that knows the table)

    seen: set[str] = set()
    for row in OPS.values():
        for function in row.numpy:
            name = getattr(function, "__name__", "")
            if name not in seen | CREATION and getattr(np, name, None) is function:
                seen.add(name)
                yield name, 3 if name == "where" else row.nin


def _find(name: str, arity: int) -> Op | None:
    """The op in the first dtype that NumPy takes; None where arrays alone do not do (zeros, reshape)."""
    for dtype in DTYPES:
        op = Op(name, dtype, arity)
        try:
            result = eval(op.expression, {"np": np, **dict(zip("xyz", op.arrays(8), strict=False))})
        except (TypeError, ValueError):
            continue
        return op if isinstance(result, np.ndarray | np.generic) else None
    return None


def _run(op: Op, function: Any, size: int, settings: Settings) -> Row:
    args = op.arrays(size)
    expected = function(*args)
    compiled = tensorjit.script(function)
    check(expected, compiled(*args), "tensorjit", TOLERANCE.get(np.asarray(expected).dtype.kind, 0.0))
    contenders = [call("tensorjit", compiled, args), _numpy(op, args)]
    return Row(SECTION, _case(op, size), measure(contenders, rounds=settings.rounds, sample_seconds=1e-3))


def _numpy(op: Op, args: list[Any]) -> Any:
    """NumPy's function itself, not a Python function around it."""
    if op.name not in EXTRA:
        return call("NumPy", getattr(np, op.name), args)
    return call("NumPy", getattr(np, op.name), [*args, *eval(f"[{EXTRA[op.name]}]")])


def _arrays(name: str, dtype: str, arity: int, size: int) -> list[Any]:
    random = np.random.default_rng(0)
    values = [random.uniform(0.1, 0.9, size) + SHIFTED.get(name, 0.0) for _ in range(arity)]
    if dtype == "i8":
        values = [1.0 + np.floor(9.0 * value) for value in values]
    arrays = [value.astype(dtype) for value in values]
    return [arrays[0] > arrays[1], *arrays[1:]] if name == "where" else arrays


def _case(op: Op, size: int) -> str:
    return f"{op.name} {np.dtype(op.dtype).name}, {size:_}"
