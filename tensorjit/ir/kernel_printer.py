"""Kernels to text: what `kernel_reader.py` reads back. The grammar is in docs/ir.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from tensorjit.ir import dtypes
from tensorjit.ir.dtypes import BOOL, C128, F64, I64, DType
from tensorjit.ir.kernel import (
    ARITHMETIC,
    COMPARISONS,
    MATH,
    TESTS,
    Accumulate,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Reduction,
    Ref,
    Stmt,
    Store,
    ViewParam,
)
from tensorjit.ir.texts import GRAPH_WORDS, quoted, scalar_text, string
from tensorjit.records import dataclass

KERNEL_WORDS = frozenset(
    {"ops", "view", "scalar", "scratch", "let", "if", "else", "for", "vector", "parallel", "reduce", "from", "at"}
)


def print_kernel(kernel: Kernel) -> str:
    """The text of a kernel.

    >>> from tensorjit.ir.kernel import i64
    >>> out = ViewParam("out", F64, 1, written=True)
    >>> body = Store("out", (Ref("i", I64),), Const(0.0, F64))
    >>> print(print_kernel(Kernel("clear", (out,), (), (For("i", i64(8), (body,), "vector"),))))
    kernel clear {
      view out: f64, rank 1, written
      vector i < 8 {
        out[i] = 0.0
      }
    }
    """
    return kernel_text(kernel, quoted(kernel.name, GRAPH_WORDS))


def kernel_text(kernel: Kernel, name: str) -> str:
    """The text of a kernel under another name, as it is printed with the graph that holds it."""
    return _KernelPrinter().kernel(kernel, name)


def default_dtype(intrinsic: str, args: Sequence[DType]) -> DType | None:
    """The dtype of an Apply where its arguments decide it; text leaves that one out."""
    if intrinsic in COMPARISONS or intrinsic in TESTS:
        return BOOL
    if not args or intrinsic in ("cast", "bits", "popcount"):
        return None
    if intrinsic == "complex":
        return {"f32": dtypes.C64, "f64": C128}.get(args[0].name)
    if intrinsic in ("real", "imag"):
        return args[0].part
    if intrinsic == "select":
        return args[1] if len(args) > 1 else None
    return args[0] if intrinsic in ARITHMETIC or intrinsic in MATH else None


def result_dtype(reduction: Reduction) -> DType:
    """The dtype of a finished reduction: a position for argmin and argmax."""
    return I64 if reduction.op in ("argmin", "argmax") else reduction.dtype


def constant_dtype(value: object) -> DType | None:
    """The dtype that a constant has when its text names none."""
    return {bool: BOOL, int: I64, float: F64, complex: C128}.get(type(value))


@final
@dataclass(frozen=True, slots=True)
class _End:
    """The end of a nested statement list; `opens` one more (an else)."""

    text: str = "}"
    reductions: tuple[Reduction, ...] = ()
    opens: bool = False


class _KernelPrinter:
    """`scopes` maps the names in scope to their dtypes, so that text need not repeat them with each Ref."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, DType]] = [{}]
        self.buffers: dict[str, DType] = {}
        self.lines: list[str] = []

    def kernel(self, kernel: Kernel, name: str) -> str:
        self.lines.append(f"kernel {name} {{")
        if kernel.ops:
            self.lines.append(f"  ops ({', '.join(map(string, kernel.ops))})")
        for view in kernel.views:
            self.buffers[view.name] = view.dtype
            self.lines.append("  " + _view_text(view))
        for scalar in kernel.scalars:
            self.scopes[0][scalar.name] = scalar.dtype
            self.lines.append(f"  scalar {_kernel_name(scalar.name)}: {scalar.dtype}")
        for buffer in kernel.scratch:
            extent = self.expr(buffer.extent)
            self.lines.append(f"  scratch {_kernel_name(buffer.name)}: {buffer.dtype}[{extent}]")
            self.buffers[buffer.name] = buffer.dtype
        self._statements(kernel.body)
        self.lines.append("}")
        return "\n".join(self.lines)

    def _statements(self, body: Sequence[Stmt]) -> None:
        work: list[Stmt | _End] = list(reversed(body))
        while work:
            item = work.pop()
            indent = "  " * len(self.scopes)
            if isinstance(item, _End):
                self._end(item)
            elif isinstance(item, For):
                self.lines.append(indent + self._for(item))
                self.scopes.append({item.index: I64})
                work += [_End(reductions=item.reductions), *reversed(item.body)]
            elif isinstance(item, If):
                self.lines.append(f"{indent}if {self.expr(item.cond)} {{")
                self.scopes.append({})
                orelse = [*reversed(item.orelse), _End("} else {", opens=True)] if item.orelse else []
                work += [_End(), *orelse, *reversed(item.then)]
            else:
                self.lines.append(indent + self._simple(item))

    def _end(self, end: _End) -> None:
        self.scopes.pop()
        self.lines.append("  " * len(self.scopes) + end.text)
        self.scopes[-1].update((r.name, result_dtype(r)) for r in end.reductions)
        if end.opens:
            self.scopes.append({})

    def _for(self, stmt: For) -> str:
        kind = "for" if stmt.kind == "serial" else stmt.kind
        reductions = ", ".join(map(self._reduction, stmt.reductions))
        reduce = f" reduce({reductions})" if reductions else ""
        return f"{kind} {_kernel_name(stmt.index)} < {self.expr(stmt.extent)}{reduce} {{"

    def _reduction(self, reduction: Reduction) -> str:
        start = "" if reduction.init is None else f" from {self.expr(reduction.init)}"
        order = " ordered" if reduction.ordered else ""
        return f"{_kernel_name(reduction.name)}: {reduction.op} {reduction.dtype}{order}{start}"

    def _simple(self, stmt: Let | Store | Accumulate) -> str:
        value = self.expr(stmt.expr)
        if isinstance(stmt, Let):
            self.scopes[-1][stmt.name] = stmt.expr.dtype
            return f"let {_kernel_name(stmt.name)} = {value}"
        if isinstance(stmt, Store):
            return f"{_kernel_name(stmt.view)}[{', '.join(map(self.expr, stmt.indices))}] = {value}"
        position = "" if stmt.position is None else f" at {self.expr(stmt.position)}"
        return f"{_kernel_name(stmt.name)} <- {value}{position}"

    def expr(self, expr: Expr) -> str:
        """An expression, without recursion (fused chains are deep)."""
        out: list[str] = []
        work: list[Expr | str] = [expr]
        while work:
            item = work.pop()
            if isinstance(item, str):
                out.append(item)
            else:
                work.extend(reversed(self._parts(item)))
        return "".join(out)

    def _parts(self, expr: Expr) -> list[Expr | str]:
        if isinstance(expr, Const):
            value = expr.value.item() if isinstance(expr.value, np.generic) else expr.value
            return [scalar_text(value) + _suffix(expr.dtype, constant_dtype(value))]
        if isinstance(expr, Ref):
            known = next((s[expr.name] for s in reversed(self.scopes) if expr.name in s), None)
            return [_kernel_name(expr.name) + _suffix(expr.dtype, known)]
        if isinstance(expr, Load):
            suffix = _suffix(expr.dtype, self.buffers.get(expr.view))
            return [f"{_kernel_name(expr.view)}[", *_commas(expr.indices), f"]{suffix}"]
        suffix = _suffix(expr.dtype, default_dtype(expr.intrinsic, [a.dtype for a in expr.args]))
        return [f"{_kernel_name(expr.intrinsic)}{suffix}(", *_commas(expr.args), ")"]


def _suffix(dtype: DType, known: DType | None) -> str:
    return "" if dtype == known else f":{dtype}"


def _commas(exprs: Sequence[Expr]) -> list[Expr | str]:
    out: list[Expr | str] = []
    for expr in exprs:
        out += [", ", expr]
    return out[1:]


def _kernel_name(name: str) -> str:
    return quoted(name, KERNEL_WORDS)


def _view_text(view: ViewParam) -> str:
    parts = [f"view {_kernel_name(view.name)}: {view.dtype}", f"rank {view.rank}"]
    parts += [f"unit {view.unit_axis}"] if view.unit_axis is not None else []
    parts += ["written"] if view.written else []
    parts += [] if view.aligned else ["unaligned"]
    return ", ".join(parts)


# Here and not in kernel.py, which is below this module and must not import it.
Kernel.__str__ = print_kernel  # type: ignore[method-assign, assignment]
