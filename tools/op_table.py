"""Writes docs/ops.md from the op table: `python tools/op_table.py [FILE]`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tensorjit.ir.dtypes import DTYPES, from_numpy
from tensorjit.ops import ATTRIBUTES, OPS
from tensorjit.ops.opdef import Loop, OpDef
from tensorjit.ops.typed import lowers

TARGET = Path(__file__).parent.parent / "docs" / "ops.md"
HEAD = """\
# The op table

Generated from the table by `python tools/op_table.py`; a test holds it to the table. A keyword that is not listed is
refused, and so are `np.roll` over several axes at once and `retstep` of `np.linspace` with a number of samples that is
known at run time only. *compiled* are the dtypes that are computed in generated code, *NumPy* those for which NumPy's own
loop is called.
"""


def page() -> str:
    """The whole page as Markdown."""
    rows = list(OPS.values())
    named = [r for r in rows if r.numpy or r.methods]
    parts = [
        HEAD,
        "## Elementwise\n",
        *_table(("function", "compiled", "NumPy"), _elementwise(rows)),
        "\n## Reductions\n",
        *_table(("function", "method", "arguments"), _functions(r for r in named if r.kind == "reduction")),
        "\n## Functions\n",
        *_table(("function", "method", "arguments"), _functions(r for r in named if r.kind == "function")),
        "\n## Python's numbers\n",
        *_table(("function",), ((f"`{_names(r)}`",) for r in named if r.kind == "python")),
        "\n## Attributes of arrays and NumPy scalars\n",
        ", ".join(f"`{name}`" for name in ATTRIBUTES),
    ]
    return "\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _elementwise(rows: Sequence[OpDef]) -> Iterator[Sequence[str]]:
    for row in rows:
        if row.ufunc is None:
            continue
        compiled: list[str] = []
        called: list[str] = []
        for dtype in DTYPES:
            loop = _loop(row, dtype.numpy)
            if loop is not None and loop.inputs[0] is dtype:
                (compiled if lowers(row, loop) else called).append(dtype.name)
        yield f"`np.{row.ufunc.__name__}`", " ".join(compiled), " ".join(called)


def _loop(row: OpDef, dtype: np.dtype[np.generic]) -> Loop | None:
    """The loop for operands of one dtype, where there is one."""
    assert row.ufunc is not None
    try:
        found = row.ufunc.resolve_dtypes((dtype,) * row.nin + (None,))
    except TypeError:
        return None
    known = [d for d in map(from_numpy, found) if d is not None]
    return Loop(tuple(known[: row.nin]), known[row.nin])


def _functions(rows: Iterator[OpDef]) -> Iterator[Sequence[str]]:
    for row in rows:
        names = f"`{_names(row)}`" if row.numpy else ""
        methods = ", ".join(f"`x.{m}`" for m in row.methods)
        assert row.rule is not None
        arguments = [str(p).split(":")[0] for p in inspect.signature(row.rule).parameters.values()][1:]
        yield names, methods, " ".join(a.rstrip("_") for a in arguments)


def _names(row: OpDef) -> str:
    unique = {getattr(f, "__name__", ""): _module(f) for f in row.numpy}
    return ", ".join(f"{module}{name}" for name, module in unique.items())


def _module(function: object) -> str:
    module = str(getattr(function, "__module__", None) or "numpy").split(".")[0]
    return {"numpy": "np.", "math": "math.", "builtins": ""}.get(module, "np.")


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET).write_text(page(), encoding="utf-8")
