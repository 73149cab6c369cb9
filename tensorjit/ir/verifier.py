"""The invariants of the IR. A violation is a fault of tensorjit (or of a file), never of the user's program.

Both verifiers walk with a stack of their own, and their errors name the op, the rule and the source location.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from itertools import pairwise
from typing import Any, Literal, NoReturn, final

from tensorjit.errors import VerifyError
from tensorjit.ir.dims import Dim, bounds
from tensorjit.ir.dtypes import BOOL, I32, I64, DType
from tensorjit.ir.graph import TERMINATORS, Block, Graph, Op, Value
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
from tensorjit.ir.printer import attr_text, graph_symbols, leaves, print_op, result_dtype, type_text
from tensorjit.ir.types import ArrayType, ScalarType, Type, UnknownType
from tensorjit.records import dataclass

Level = Literal["generic", "specialised"]

BINARY = frozenset({"+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>"})
UNARY = frozenset({"+", "-", "~", "not"})
COMPARE = frozenset({"==", "!=", "<", "<=", ">", ">=", "is", "isnot", "in", "notin"})
CONTROL = frozenset({"if", "for", "while", "scope"})
_MAX_SIZE = (1 << 63) - 1


# --- rows of the generic ops --------------------------------------------------------------------------------

_Check = Callable[[Any], bool]


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(v, str) for v in value)


def _is_indices(value: Any) -> bool:
    return isinstance(value, tuple) and all(_is_count(v) for v in value)


def _any(value: Any) -> bool:
    return True


@final
@dataclass(frozen=True, slots=True)
class _Row:
    """What a generic op looks like: how many operands (None: any; a pair: from, to) and results, attrs."""

    operands: int | tuple[int, int] | None
    results: int | None = 1
    attrs: Mapping[str, _Check] = field(default_factory=dict)
    optional: Mapping[str, _Check] = field(default_factory=dict)


GENERIC_OPS: Mapping[str, _Row] = {
    "const": _Row(0, attrs={"value": _any}),
    "global": _Row(0, attrs={"name": _is_name}),
    "free": _Row(0, attrs={"name": _is_name}),
    "numpy": _Row(0, attrs={"name": _is_name}),
    "capture": _Row(0, attrs={"index": _is_count}, optional={"of": lambda v: isinstance(v, str)}),
    "unbound": _Row(0, attrs={"name": _is_name}),
    "bound": _Row(1, attrs={"name": _is_name}),
    "import": _Row(0, attrs={"module": _is_name}),
    "list_append": _Row(2),
    "dict_insert": _Row(3),
    "attr": _Row(1, attrs={"name": _is_name}),
    "subscript": _Row(2),
    "set_subscript": _Row(3, 0),
    "slice": _Row(3),
    "tuple": _Row(None),
    "list": _Row(None),
    "dict": _Row(None, attrs={"keys": lambda v: isinstance(v, tuple)}),
    "unpack": _Row(1, None, attrs={"count": _is_count}, optional={"star": lambda v: v is None or _is_count(v)}),
    "binary": _Row(2, attrs={"op": BINARY.__contains__}),
    "inplace": _Row(2, attrs={"op": BINARY.__contains__}),
    "inplace_subscript": _Row(4, 0, attrs={"op": BINARY.__contains__}),
    "unary": _Row(1, attrs={"op": UNARY.__contains__}),
    "compare": _Row(2, attrs={"op": COMPARE.__contains__}),
    "truth": _Row(1),
    "call": _Row((1, 1 << 30), optional={"keywords": _is_names, "star": _is_indices}),
    "format": _Row(None, attrs={"parts": lambda v: isinstance(v, tuple)}),
    "function": _Row(None, attrs={"graph": lambda v: isinstance(v, Graph)}, optional={"captures": _is_names}),
}


# --- graphs -------------------------------------------------------------------------------------------------


@final
@dataclass(slots=True)
class _Frame:
    """A block being checked, with the loop and scope that its terminators may leave for."""

    owner: Op | None
    index: int  # which of the owner's blocks
    block: Block
    loop: Op | None = None
    scope: Op | None = None
    position: int = 0
    child: Op | None = None  # the op whose blocks are being checked
    next_block: int = 0

    def inside(self, op: Op, index: int) -> _Frame:
        loop, scope = self.loop, self.scope
        if op.name == "while" and index == 0:
            loop = None  # the condition is no part of a turn: it can neither break nor continue
        elif op.name in ("for", "while") and index == (1 if op.name == "while" else 0):
            loop = op
        elif op.name == "scope":
            scope = op
        return _Frame(op, index, op.blocks[index], loop, scope)


def verify_graph(graph: Graph, level: Level = "generic") -> None:
    """VerifyError unless the graph, and each graph and kernel that its attrs hold, is well formed.

    >>> from tensorjit.ir.parser import parse_graph
    >>> verify_graph(parse_graph("graph f(%x: ?) { return(%x) }"))
    >>> verify_graph(parse_graph("graph f(%x: ?) { break(%x) }"))
    Traceback (most recent call last):
        ...
    tensorjit.errors.VerifyError: graph f: break(%x): `break` outside a loop
    """
    seen = {id(graph)}
    todo: list[Graph | Kernel] = [graph]
    while todo:
        section = todo.pop()
        if isinstance(section, Kernel):
            verify_kernel(section)
            continue
        # functions inside a graph are generic until they are inlined
        _GraphVerifier(section, level if section is graph else "generic").run()
        for attrs in (section.attrs, *(op.attrs for op in section.walk())):
            for leaf in (leaf for value in attrs.values() for leaf in leaves(value)):
                if isinstance(leaf, Graph | Kernel) and id(leaf) not in seen:
                    seen.add(id(leaf))
                    todo.append(leaf)


@final
class _GraphVerifier:
    def __init__(self, graph: Graph, level: Level) -> None:
        self.graph = graph
        self.level = level
        self.defined: set[Value] = set()
        self.visible: set[Value] = set()

    def run(self) -> None:
        names = [s.name for s in graph_symbols(self.graph)]
        for name, following in pairwise(names):
            if name == following:
                self._fail(None, f"two symbols are named {name}")
        stack: list[_Frame] = []
        self._enter(stack, _Frame(None, 0, self.graph.block))
        while stack:
            frame = stack[-1]
            ops = frame.block.ops
            if frame.child is not None:
                self._next_block(stack, frame, frame.child)
            elif frame.position < len(ops):
                op = ops[frame.position]
                frame.position += 1
                self._op(op, frame, last=frame.position == len(ops))
                frame.child, frame.next_block = op, 0
            else:
                self.visible.difference_update(frame.block.params, *(op.results for op in ops))
                stack.pop()

    def _next_block(self, stack: list[_Frame], frame: _Frame, op: Op) -> None:
        if frame.next_block < len(op.blocks):
            frame.next_block += 1
            self._enter(stack, frame.inside(op, frame.next_block - 1))
        else:
            self._define(op.results, op)
            frame.child = None

    def _enter(self, stack: list[_Frame], frame: _Frame) -> None:
        if not frame.block.ops:
            self._fail(frame.owner, "a block is empty: it must end in a terminator")
        self._define(frame.block.params, frame.owner)
        stack.append(frame)

    def _define(self, values: Sequence[Value], op: Op | None) -> None:
        for value in values:
            if value in self.defined:
                self._fail(op, f"the value {value.name or '_'} is defined twice")
            self._type(value.type, op)
        self.defined.update(values)
        self.visible.update(values)

    def _type(self, of: Type, op: Op | None) -> None:
        if isinstance(of, UnknownType):
            if self.level == "specialised":
                self._fail(op, "a specialised graph has a value of type ?")
        elif isinstance(of, ArrayType):
            size = of.dtype.size
            for dim in of.shape:
                size *= (dim or 1) if isinstance(dim, int) else 1
                if (isinstance(dim, int) and dim < 0) or size > _MAX_SIZE:
                    self._fail(op, f"no array has the type {type_text(of)}")

    def _op(self, op: Op, frame: _Frame, last: bool) -> None:
        if last != (op.name in TERMINATORS):
            self._fail(op, "a block must end in a terminator" if last else "a terminator within a block")
        for k, value in enumerate(op.operands):
            if value not in self.visible:
                self._fail(op, f"operand {k} ({value.name or '_'}) is not defined here")
        if op.name in TERMINATORS:
            self._terminator(op, frame)
        elif op.name in CONTROL:
            self._control(op)
        elif self.level == "generic":
            self._generic(op)
        elif op.name == "const":
            self._attrs(op, GENERIC_OPS["const"])

    # --- control flow ---

    def _control(self, op: Op) -> None:
        carried = len(op.results)
        if op.name == "if":
            self._need(op, len(op.operands) >= 1, "an `if` has a condition")
            self._need(op, len(op.blocks) == 2, "an `if` has two blocks")
            self._need(op, not any(b.params for b in op.blocks), "the blocks of an `if` have no parameters")
            self._condition(op, op.operands[0])
        elif op.name == "for":
            lead = 1 if self.level == "generic" else 3
            self._need(op, len(op.blocks) in (1, 2), "a `for` has a body and perhaps an else")
            self._carried(op, op.operands[lead:], "initial values")
            self._need(op, len(op.operands) == lead + carried, f"a `for` has {lead} operands and the carried")
            self._need(op, len(op.blocks[0].params) == 1 + carried, "the body takes the item and the carried")
            self._carried(op, op.blocks[0].params[1:], "parameters of the body")
        elif op.name == "while":
            self._need(op, len(op.blocks) in (2, 3), "a `while` has a test, a body and perhaps an else")
            self._carried(op, op.operands, "initial values")
            for block in op.blocks[:2]:
                self._carried(op, block.params, "parameters")
        else:
            self._need(op, len(op.blocks) == 1, "a `scope` has one block")
            self._need(op, not op.blocks[0].params, "the block of a `scope` has no parameters")
        if op.name in ("for", "while") and len(op.blocks) == (2 if op.name == "for" else 3):
            self._carried(op, op.blocks[-1].params, "parameters of the else")

    def _carried(self, op: Op, values: Sequence[Value], what: str) -> None:
        self._match(op, values, op.results, what)

    def _condition(self, op: Op, value: Value) -> None:
        known = isinstance(value.type, UnknownType)
        boolean = isinstance(value.type, ScalarType) and value.type.dtype == BOOL
        self._need(op, known or boolean, f"a condition of type {type_text(value.type)}")

    def _terminator(self, op: Op, frame: _Frame) -> None:
        self._need(op, not op.results and not op.blocks, "a terminator has neither results nor blocks")
        if op.name == "yield":
            self._yield(op, frame)
        elif op.name in ("continue", "break"):
            if frame.loop is None:
                self._fail(op, f"`{op.name}` outside a loop")
            self._match(op, op.operands, frame.loop.results, "carried values")
        elif op.name == "leave":
            if frame.scope is None:
                self._fail(op, "`leave` outside a scope")
            self._match(op, op.operands, frame.scope.results, "results of the scope")
        elif op.name == "raise" and self.level == "generic":
            self._need(op, len(op.operands) <= 1, "a generic `raise` has at most one operand")
        elif op.name == "raise":
            self._need(op, _is_name(op.attrs.get("exception")), "a specialised `raise` has the attr `exception`")

    def _yield(self, op: Op, frame: _Frame) -> None:
        owner = frame.owner
        if owner is None:
            self._fail(op, "`yield` in the outermost block: a graph ends in `return`")
        if owner.name == "while" and frame.index == 0:
            self._need(op, len(op.operands) == 1, "the test of a `while` yields one condition")
            self._condition(op, op.operands[0])
        elif owner is frame.loop:
            self._fail(op, "`yield` in the body of a loop: a turn ends in `continue`")
        elif owner.name in CONTROL:
            self._match(op, op.operands, owner.results, f"results of the `{owner.name}`")

    def _match(self, op: Op, have: Sequence[Value], want: Sequence[Value], what: str) -> None:
        if len(have) != len(want):
            self._fail(op, f"{len(have)} {what} where {len(want)} are wanted")
        for k, (a, b) in enumerate(zip(have, want, strict=True)):
            if not self._fits(a.type, b.type):
                self._fail(op, f"{what}: number {k} has type {type_text(a.type)}, not {type_text(b.type)}")

    def _fits(self, have: Type, want: Type) -> bool:
        """Whether a value of one type may become one of another where blocks join. Strides may be forgotten.
        Sizes need not be written alike (a `check` op may have made them equal), but not be known to differ.
        """
        if have == want or self.level == "generic":
            return True
        if not isinstance(have, ArrayType) or not isinstance(want, ArrayType):
            return False
        alike = have.dtype == want.dtype and have.rank == want.rank and want.layout in (have.layout, "A")
        return alike and all(map(_may_equal, have.shape, want.shape))

    # --- other ops ---

    def _generic(self, op: Op) -> None:
        row = GENERIC_OPS.get(op.name)
        if row is None:
            self._fail(op, f"`{op.name}` is no generic op")
        low, high = row.operands if isinstance(row.operands, tuple) else (row.operands or 0, row.operands)
        if len(op.operands) < low or (high is not None and len(op.operands) > high):
            self._fail(op, f"`{op.name}` has {high} operands, not {len(op.operands)}")
        if row.results is not None and len(op.results) != row.results:
            self._fail(op, f"`{op.name}` has {row.results} results, not {len(op.results)}")
        self._need(op, not op.blocks, f"`{op.name}` has no blocks")
        self._attrs(op, row)
        if op.name == "unpack":
            self._need(op, len(op.results) == op.attrs["count"], "`unpack` has `count` results")

    def _attrs(self, op: Op, row: _Row) -> None:
        for name, check in row.attrs.items():
            if name not in op.attrs:
                self._fail(op, f"the attr `{name}` is missing")
            if not check(op.attrs[name]):
                self._fail(op, f"the attr `{name}` is {attr_text(op.attrs[name])[:80]}")
        for name, check in row.optional.items():
            if name in op.attrs and not check(op.attrs[name]):
                self._fail(op, f"the attr `{name}` is {attr_text(op.attrs[name])[:80]}")

    def _need(self, op: Op, holds: bool, rule: str) -> None:
        if not holds:
            self._fail(op, rule)

    def _fail(self, op: Op | None, rule: str) -> NoReturn:
        where = f"graph {self.graph.name}" + ("" if op is None else f": {print_op(op)}")
        raise VerifyError(f"{where}: {rule}")


def _may_equal(a: Dim, b: Dim) -> bool:
    low, high = bounds(a - b)
    return low <= 0 <= high


# --- kernels ------------------------------------------------------------------------------------------------


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
