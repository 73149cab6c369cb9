"""Every op of the op table against NumPy's own function.

In the first dtype that it takes at 1, 10^3 and 10^6 elements; in float32 and int32 at 10^5; reductions along either axis of a
square and of a tall narrow array.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tensorjit
from bench.jobs import Job, Settings, call, check, write_module
from bench.measure import Contender, Row, measure

SECTION = "ops"
SIZES = (1, 1_000, 1_000_000)
DTYPES = ("f8", "i8", "?", "c16")  # an op is measured in the first that it takes
SAMPLED, SAMPLED_SIZE = ("f4", "i4"), 100_000
AXES = (((1_000, 1_000), 0), ((1_000, 1_000), 1), ((100_000, 10), 0), ((100_000, 10), 1))
TOLERANCE = {"f8": 1e-12, "c16": 1e-12, "f4": 1e-4}  # of results by their dtype; NumPy adds up columns one by one
ARGUMENTS = {
    "clip": "x, 0.2, 0.8", "expand_dims": "x, 0", "swapaxes": "x, 0, 0", "moveaxis": "x, 0, 0", "rollaxis": "x, 0",
    "roll": "x, 3", "repeat": "x, 2", "tile": "x, 2", "full_like": "x, 0.5", "astype": "x, np.float32", "where": "x, y, z",
    "concatenate": "(x, y)", "stack": "(x, y)", "vstack": "(x, y)", "hstack": "(x, y)", "column_stack": "(x, y)",
    "divmod": "x, y", "dot": "x, y", "inner": "x, y", "vecdot": "x, y", "matmul": "x, y",
}  # fmt: skip
"""How an op is called that does not take as many arrays as it has operands."""
SHIFTED = {"arccosh": 1.0}  # what to add to values from 0.1 to 0.9, to be inside the domain
UNSET = {"empty_like"}  # what it gives has no values
LEFT_OUT = {
    "arange", "empty", "eye", "full", "identity", "linspace", "ones", "zeros",  # take sizes, not arrays
    "amin", "amax", "around",  # other names of the same
    "outer", "copyto", "broadcast_to", "broadcast_arrays", "reshape", "shape", "ndim", "size",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Op:
    """One case: the name NumPy has for an op, how it is called, and on what."""

    name: str
    arguments: str
    dtype: str
    shape: tuple[int, ...] = (8,)

    @property
    def params(self) -> list[str]:
        """The arrays it takes."""
        return [p for p in "xyz" if p in self.arguments.replace("axis", "")]

    @property
    def case(self) -> str:
        """Its name in the report."""
        size = " x ".join(f"{n:_}" for n in self.shape)
        axis = self.arguments.partition("axis=")[2]
        return f"{self.name} {np.dtype(self.dtype).name}, {size}{', axis ' + axis if axis else ''}"

    def arrays(self) -> list[Any]:
        """Its arguments."""
        random = np.random.default_rng(0)
        values = [random.uniform(0.1, 0.9, self.shape) + SHIFTED.get(self.name, 0.0) for _ in self.params]
        if np.dtype(self.dtype).kind in "iu":
            values = [1.0 + np.floor(9.0 * value) for value in values]
        arrays = [value.astype(self.dtype) for value in values]
        return [arrays[0] > arrays[1], *arrays[1:]] if self.name == "where" else arrays

    def is_taken(self) -> bool:
        """Whether NumPy computes arrays of it."""
        try:
            result = eval(f"np.{self.name}({self.arguments})", {"np": np, **dict(zip(self.params, self.arrays(), strict=True))})
        except (TypeError, ValueError):
            return False
        return isinstance(result, np.ndarray | np.generic | tuple)


def jobs() -> Iterator[Job]:
    """The cases: everything in the table that works on whole arrays alone."""
    ops = list(cases())
    texts = dict.fromkeys((op.name, op.arguments, ", ".join(op.params)) for op in ops)
    lines = ["import numpy as np"]
    for number, (name, arguments, params) in enumerate(texts):
        lines += [f"def {name}_{number}({params}):", f"    return np.{name}({arguments})"]
    module = write_module("\n".join(lines), "bench_ops")
    functions = {text: getattr(module, f"{text[0]}_{number}") for number, text in enumerate(texts)}
    for op in ops:
        yield Job(SECTION, op.case, partial(_run, op, functions[op.name, op.arguments, ", ".join(op.params)]))


def cases() -> Iterator[Op]:
    """The ops of the table, by dtype and shape."""
    for name, arguments, over_axes in table():
        taken = [dtype for dtype in (*DTYPES, *SAMPLED) if Op(name, arguments, dtype).is_taken()]
        if not taken:
            continue
        yield from (Op(name, arguments, taken[0], (size,)) for size in SIZES)
        yield from (Op(name, arguments, dtype, (SAMPLED_SIZE,)) for dtype in SAMPLED if dtype in taken[1:])
        if over_axes:
            yield from (Op(name, f"{arguments}, axis={axis}", taken[0], shape) for shape, axis in AXES)


def table() -> Iterator[tuple[str, str, bool]]:
    """The op table, as far as it is needed here: NumPy's names, how they are called, and whether along an axis."""
    from tensorjit.ops import OPS  # noqa: PLC0415  (the one place that knows the table)

    seen: set[str] = set()
    for row in OPS.values():
        for function in row.numpy:
            name = getattr(function, "__name__", "")
            if name not in seen | LEFT_OUT and getattr(np, name, None) is function:
                seen.add(name)
                keywords = inspect.signature(row.rule).parameters if row.rule else {}
                reduces = row.kind == "reduction" or {"axis", "keepdims"} <= set(keywords)
                yield name, ARGUMENTS.get(name, ", ".join("xyz"[: row.nin])), reduces


def _run(op: Op, function: Any, settings: Settings) -> Row:
    args = op.arrays()
    compiled = tensorjit.script(function)
    _compare(op, function(*args), compiled(*args))
    # NumPy's function itself, not a Python function around it
    names = {"np": np, "f": getattr(np, op.name), **dict(zip(op.params, args, strict=True))}
    contenders = [call("tensorjit", compiled, args), Contender("NumPy", f"f({op.arguments})", names)]
    return Row(SECTION, op.case, measure(contenders, rounds=settings.rounds, sample_seconds=1e-3))


def _compare(op: Op, expected: Any, found: Any) -> None:
    pairs = zip(expected, found, strict=True) if isinstance(expected, tuple) else [(expected, found)]
    for a, b in pairs:
        if op.name in UNSET:
            a, b = np.zeros_like(a), np.zeros_like(b)
        check(a, b, "tensorjit", TOLERANCE.get(np.asarray(a).dtype.str[1:], 0.0))
