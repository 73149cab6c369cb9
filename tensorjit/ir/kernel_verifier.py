"""What must hold of a kernel. A violation is a fault of tensorjit (or of a file), never of the user's program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, final

from tensorjit.errors import VerifyError
from tensorjit.ir.dtypes import BOOL, I32, I64, DType
from tensorjit.ir.kernel import (
    ARITHMETIC,
    COMPARISONS,
    INTRINSICS,
    MATH,
    TESTS,
    Accumulate,
    Apply,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Reduction,
    Ref,
    Scratch,
    Stmt,
    Store,
    ViewParam,
    subexpressions,
)
from tensorjit.ir.kernel_printer import result_dtype
from tensorjit.records import dataclass


@final
@dataclass(frozen=True, slots=True)
class _Name:
    """A scalar in scope; `varying` with the index of the vector loop around it."""

    dtype: DType
    varying: bool = False


@final
@dataclass(frozen=True, slots=True)
class _End:
    """The end of a nested statement list: what the loop finishes, whether it was the vector loop, whether an
    else opens."""

    reductions: tuple[Reduction, ...] = ()
    vector: bool = False
    opens: bool = False


def verify_kernel(kernel: Kernel) -> None:
    """VerifyError unless the kernel is well formed.

    >>> from tensorjit.ir.parser import parse_kernel
    >>> verify_kernel(parse_kernel("kernel k { view x: f64, rank 1, written x[0] = 1.0 }"))
    >>> verify_kernel(parse_kernel("kernel k { view x: f64, rank 1 x[0] = 1.0 }"))
    Traceback (most recent call last):
        ...
    tensorjit.errors.VerifyError: kernel k: store to x: the view is not marked as written
    """
    _KernelVerifier(kernel).run()


@final
class _KernelVerifier:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.where = "header"
        self.buffers: dict[str, ViewParam | Scratch] = {}
        self.scopes: list[dict[str, _Name]] = [{}]
        self.open: dict[str, Reduction] = {}
        self.vector = False

    def run(self) -> None:
        for scalar in self.kernel.scalars:
            self._name(scalar.name, _Name(scalar.dtype))
        for view in self.kernel.views:
            self.where = f"view {view.name}"
            axis = view.unit_axis
            self._need(view.rank >= 0, "a negative rank")
            self._need(axis is None or 0 <= axis < view.rank, "the unit axis is none of its axes")
            self._buffer(view)
        for scratch in self.kernel.scratch:
            self.where = f"scratch {scratch.name}"
            self._index(scratch.extent, "an extent")
            self._buffer(scratch)
        work: list[Stmt | _End] = list(reversed(self.kernel.body))
        while work:
            item = work.pop()
            if isinstance(item, _End):
                self._end(item)
            elif isinstance(item, For):
                work += [self._for(item), *reversed(item.body)]
            elif isinstance(item, If):
                self.where = "if"
                self._need(self._expr(item.cond) == BOOL, "a condition must be bool")
                self.scopes.append({})
                work += [_End(), *reversed(item.orelse), _End(opens=True), *reversed(item.then)]
            else:
                self._simple(item)

    def _buffer(self, buffer: ViewParam | Scratch) -> None:
        self._need(self._known(buffer.name) is None, "the name is taken")
        self.buffers[buffer.name] = buffer

    def _end(self, end: _End) -> None:
        self.scopes.pop()
        for reduction in end.reductions:
            del self.open[reduction.name]
            self._name(reduction.name, _Name(result_dtype(reduction), self.vector and not end.vector))
        self.vector = self.vector and not end.vector
        if end.opens:
            self.scopes.append({})

    def _for(self, stmt: For) -> _End:
        self.where = f"for {stmt.index}"
        self._index(stmt.extent, "an extent")
        if self.vector:
            self._need(stmt.kind == "serial", "only serial loops go inside a vector loop")
            self._need(not self._varying(stmt.extent), "its extent depends on the vector loop around it")
        started = []
        for reduction in stmt.reductions:
            if reduction.init is not None:
                self._need(self._expr(reduction.init) == reduction.dtype, "a reduction and its start differ in dtype")
            self._need(not reduction.ordered or reduction.op in ("sum", "prod"), "sums and products alone are ordered")
            if reduction.name not in self.open:
                self._need(not self._known(reduction.name), f"the name {reduction.name} is taken")
                started.append(reduction)
            elif self.open[reduction.name] != reduction:
                self._fail(f"the reduction {reduction.name} differs from that of the loop around it")
        self.open.update((r.name, r) for r in started)
        self.scopes.append({})
        self.vector = self.vector or stmt.kind == "vector"
        self._name(stmt.index, _Name(I64, self.vector))
        return _End(tuple(started), stmt.kind == "vector")

    def _simple(self, stmt: Let | Store | Accumulate) -> None:
        if isinstance(stmt, Let):
            self.where = f"let {stmt.name}"
            self._name(stmt.name, _Name(self._expr(stmt.expr), self.vector and self._varying(stmt.expr)))
        elif isinstance(stmt, Store):
            self.where = f"store to {stmt.view}"
            dtype = self._access(stmt.view, stmt.indices)
            buffer = self.buffers[stmt.view]
            self._need(isinstance(buffer, Scratch) or buffer.written, "the view is not marked as written")
            self._need(self._expr(stmt.expr) == dtype, f"a {stmt.expr.dtype} is stored in a view of {dtype}")
        else:
            self._accumulate(stmt)

    def _accumulate(self, stmt: Accumulate) -> None:
        self.where = f"accumulate {stmt.name}"
        if stmt.name not in self.open:
            self._fail("no loop around it lists this reduction")
        reduction = self.open[stmt.name]
        self._need(self._expr(stmt.expr) == reduction.dtype, f"a {stmt.expr.dtype} is fed to {reduction.dtype}")
        positional = reduction.op in ("argmin", "argmax")
        self._need((stmt.position is not None) == positional, "argmin and argmax, and they alone, take a position")
        if stmt.position is not None:
            self._index(stmt.position, "a position")

    def _index(self, expr: Expr, what: str) -> None:
        self._need(self._expr(expr) == I64, f"{what} must be i64, not {expr.dtype}")

    def _access(self, name: str, indices: Sequence[Expr]) -> DType:
        buffer = self.buffers.get(name)
        if buffer is None:
            self._fail(f"there is no view {name}")
        rank = 1 if isinstance(buffer, Scratch) else buffer.rank
        self._need(len(indices) == rank, f"{len(indices)} indices into {name} of rank {rank}")
        for index in indices:
            self._index(index, "an index")
        return buffer.dtype

    def _expr(self, expr: Expr) -> DType:
        """Checks an expression and all below it; its dtype."""
        for e in subexpressions(expr):
            if isinstance(e, Const):
                self._need(_constant_fits(e), f"no {e.dtype} is {e.value!r}")
            elif isinstance(e, Ref):
                found = self._known(e.name)
                if not isinstance(found, _Name):
                    self._fail(f"no scalar {e.name} is defined here")
                self._need(found.dtype == e.dtype, f"{e.name} is {found.dtype}, not {e.dtype}")
            elif isinstance(e, Load):
                buffer = self.buffers.get(e.view)
                if buffer is None:
                    self._fail(f"there is no view {e.view}")
                rank = 1 if isinstance(buffer, Scratch) else buffer.rank
                self._need(len(e.indices) == rank, f"{len(e.indices)} indices into {e.view} of rank {rank}")
                self._need(all(i.dtype == I64 for i in e.indices), "an index must be i64")
                self._need(buffer.dtype == e.dtype, f"{e.view} holds {buffer.dtype}, not {e.dtype}")
            else:
                self._apply(e)
        return expr.dtype

    def _apply(self, e: Apply) -> None:
        count = INTRINSICS.get(e.intrinsic)
        if count is None:
            self._fail(f"there is no intrinsic {e.intrinsic}")
        self._need(len(e.args) == count, f"{e.intrinsic} takes {count} arguments, not {len(e.args)}")
        dtypes = [a.dtype for a in e.args]
        if not _dtypes_fit(e.intrinsic, dtypes, e.dtype):
            self._fail(f"{e.intrinsic} of ({', '.join(map(str, dtypes))}) does not give {e.dtype}")

    def _varying(self, expr: Expr) -> bool:
        """Whether a value may differ between the lanes of the vector loop around."""
        names = (self._known(e.name) for e in subexpressions(expr) if isinstance(e, Ref))
        return any(isinstance(n, _Name) and n.varying for n in names)

    def _known(self, name: str) -> _Name | ViewParam | Scratch | None:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return self.buffers.get(name)

    def _name(self, name: str, what: _Name) -> None:
        self._need(self._known(name) is None and name not in self.open, f"the name {name} is taken")
        self.scopes[-1][name] = what

    def _need(self, holds: bool, rule: str) -> None:
        if not holds:
            self._fail(rule)

    def _fail(self, rule: str) -> NoReturn:
        raise VerifyError(f"kernel {self.kernel.name}: {self.where}: {rule}")


def _constant_fits(const: Const) -> bool:
    kind, value = const.dtype.kind, const.value
    if kind == "b" or isinstance(value, bool):
        return kind == "b" and isinstance(value, bool)
    if kind in "iu":
        bits = 8 * const.dtype.size
        low, high = (0, 1 << bits) if kind == "u" else (-(1 << bits - 1), 1 << bits - 1)
        return isinstance(value, int) and low <= value < high
    return kind == "c" or not isinstance(value, complex)


def _dtypes_fit(intrinsic: str, args: Sequence[DType], result: DType) -> bool:
    """Whether an intrinsic takes arguments of these dtypes to that result: the groups of kernel.py."""
    kinds = _KINDS.get(intrinsic)
    if kinds is not None and args[0].kind not in kinds:
        return False
    if intrinsic == "ldexp":
        return args[1] == I32 and args[0] == result
    if intrinsic in ARITHMETIC or intrinsic in MATH:
        return all(a == result for a in args)
    if intrinsic in COMPARISONS or intrinsic in TESTS:
        return result == BOOL and all(a == args[0] for a in args)
    if intrinsic == "select":
        return args[0] == BOOL and args[1] == args[2] == result
    if intrinsic == "bits":
        return args[0].size == result.size
    if intrinsic == "complex":
        return args[0] == args[1] == result.part and result.kind == "c"
    if intrinsic in ("real", "imag"):
        return result == args[0].part
    return intrinsic != "popcount" or result.kind in "iu"


# the kinds of the first argument, where not all will do
_KINDS: Mapping[str, str] = {
    "div": "fc",
    "and": "biu", "or": "biu", "xor": "biu", "not": "biu", "shl": "iu", "shr": "iu", "popcount": "iu", "gcd": "iu", "lcm": "iu",
    "copysign": "f", "nextafter": "f", "spacing": "f", "ldexp": "f", "hypot": "f", "arctan2": "f", "complex": "f",
    "real": "c", "imag": "c",
}  # fmt: skip
