"""The invariants of the IR. A violation is a fault of tensorjit (or of a file), never of the user's program.

Both verifiers walk with a stack of their own, and their errors name the op, the rule and the source location.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn, final

from tensorjit.errors import VerifyError
from tensorjit.ir.core import CoreOp, Level, is_name
from tensorjit.ir.dims import Dim, bounds
from tensorjit.ir.dtypes import BOOL
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.kernel import Kernel
from tensorjit.ir.kernel_verifier import verify_kernel
from tensorjit.ir.printer import graph_symbols, print_op
from tensorjit.ir.texts import attr_text, leaves, type_text
from tensorjit.ir.types import Access, ArrayType, ScalarType, Type, UnknownType
from tensorjit.records import dataclass

_MAX_SIZE = (1 << 63) - 1
_ACCESS = ("writable", "readonly", "either", "unsure")  # where blocks join, each may become a later one


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
        block, loop, scope = op.blocks[index], self.loop, self.scope
        if op.is_loop and block is op.test:
            loop = None  # the condition is no part of a turn: it can neither break nor continue
        elif op.is_loop and block is op.body:
            loop = op
        elif op.name == "scope":
            scope = op
        return _Frame(op, index, block, loop, scope)


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
        row = op.row
        if last != op.is_terminator:
            self._fail(op, "a block must end in a terminator" if last else "a terminator within a block")
        for k, value in enumerate(op.operands):
            if value not in self.visible:
                self._fail(op, f"operand {k} ({value.name or '_'}) is not defined here")
        if row is None:
            self._need(op, self.level == "specialised", f"`{op.name}` is no generic op")
        elif self.level not in row.levels:
            self._fail(op, f"`{op.name}` is no {self.level} op")
        elif op.is_terminator:
            self._terminator(op, row, frame)
        elif op.is_control:
            self._control(op)
        else:
            self._plain(op, row)

    # --- control flow ---

    def _control(self, op: Op) -> None:
        if op.is_loop:
            self._loop(op)
        elif op.name == "if":
            self._need(op, len(op.operands) >= 1, "an `if` has a condition")
            self._need(op, len(op.blocks) == 2, "an `if` has two blocks")
            self._need(op, not any(b.params for b in op.blocks), "the blocks of an `if` have no parameters")
            self._condition(op, op.operands[0])
        else:
            self._need(op, len(op.blocks) == 1, "a `scope` has one block")
            self._need(op, not op.blocks[0].params, "the block of a `scope` has no parameters")

    def _loop(self, op: Op) -> None:
        carried, own = len(op.results), len(op.own_blocks)
        if op.name == "for":
            lead = 1 if self.level == "generic" else 3
            self._need(op, len(op.blocks) in (1, 2), "a `for` has a body and perhaps an else")
            self._carried(op, op.operands[lead:], "initial values")
            self._need(op, len(op.operands) == lead + carried, f"a `for` has {lead} operands and the carried")
            self._need(op, len(op.blocks[0].params) == 1 + carried, "the body takes the item and the carried")
            self._carried(op, op.blocks[0].params[1:], "parameters of the body")
        else:
            self._need(op, len(op.blocks) in (2, 3), "a `while` has a test, a body and perhaps an else")
            self._carried(op, op.operands, "initial values")
            for block in op.blocks[:own]:
                self._carried(op, block.params, "parameters")
        if op.orelse is not None:
            self._carried(op, op.orelse.params, "parameters of the else")

    def _carried(self, op: Op, values: Sequence[Value], what: str) -> None:
        self._match(op, values, op.results, what)

    def _condition(self, op: Op, value: Value) -> None:
        known = isinstance(value.type, UnknownType)
        boolean = isinstance(value.type, ScalarType) and value.type.dtype == BOOL
        self._need(op, known or boolean, f"a condition of type {type_text(value.type)}")

    def _terminator(self, op: Op, row: CoreOp, frame: _Frame) -> None:
        self._need(op, not op.results and not op.blocks, "a terminator has neither results nor blocks")
        if row.aims == "owner":
            self._yield(op, frame)
        elif row.aims == "loop":
            if frame.loop is None:
                self._fail(op, f"`{op.name}` outside a loop")
            self._match(op, op.operands, frame.loop.results, "carried values")
        elif row.aims == "scope":
            if frame.scope is None:
                self._fail(op, "`leave` outside a scope")
            self._match(op, op.operands, frame.scope.results, "results of the scope")
        elif op.name == "raise" and self.level == "generic":
            self._need(op, len(op.operands) <= 1, "a generic `raise` has at most one operand")
        elif op.name == "raise":
            self._need(op, is_name(op.attrs.get("exception")), "a specialised `raise` has the attr `exception`")

    def _yield(self, op: Op, frame: _Frame) -> None:
        owner = frame.owner
        if owner is None:
            self._fail(op, "`yield` in the outermost block: a graph ends in `return`")
        if owner.is_loop and frame.block is owner.test:
            self._need(op, len(op.operands) == 1, "the test of a `while` yields one condition")
            self._condition(op, op.operands[0])
        elif owner is frame.loop:
            self._fail(op, "`yield` in the body of a loop: a turn ends in `continue`")
        elif owner.is_control:
            self._match(op, op.operands, owner.results, f"results of the `{owner.name}`")

    def _match(self, op: Op, have: Sequence[Value], want: Sequence[Value], what: str) -> None:
        if len(have) != len(want):
            self._fail(op, f"{len(have)} {what} where {len(want)} are wanted")
        for k, (a, b) in enumerate(zip(have, want, strict=True)):
            if not self._fits(a.type, b.type):
                self._fail(op, f"{what}: number {k} has type {type_text(a.type)}, not {type_text(b.type)}")

    def _fits(self, have: Type, want: Type) -> bool:
        """Whether a value of one type may become one of another where blocks join. Strides may be forgotten, and that it can be
        written, but not that it cannot. Sizes need not be written alike (a `check` op may have made them equal), but not be known
        to differ.
        """
        if have == want or self.level == "generic":
            return True
        if not isinstance(have, ArrayType) or not isinstance(want, ArrayType):
            return False
        alike = have.dtype == want.dtype and have.rank == want.rank and want.layout in (have.layout, "A")
        alike = alike and _ACCESS.index(have.access) <= _ACCESS.index(want.access)
        return alike and all(map(_may_equal, have.shape, want.shape))

    # --- other ops ---

    def _plain(self, op: Op, row: CoreOp) -> None:
        low, high = row.operands if isinstance(row.operands, tuple) else (row.operands or 0, row.operands)
        if len(op.operands) < low or (high is not None and len(op.operands) > high):
            self._fail(op, f"`{op.name}` has {high} operands, not {len(op.operands)}")
        if row.results is not None and len(op.results) != row.results:
            self._fail(op, f"`{op.name}` has {row.results} results, not {len(op.results)}")
        self._need(op, bool(row.blocks) or not op.blocks, f"`{op.name}` has no blocks")
        self._attrs(op, row)
        if op.name == "unpack":
            self._need(op, len(op.results) == op.attrs["count"], "`unpack` has `count` results")
        elif op.is_view:
            loses = _access(op.operands[0]) != "writable" and _access(op.result) == "writable"
            self._need(op, not loses, "a view that can be written of an array that cannot")
        elif op.name == "store":
            self._need(op, _access(op.operands[0]) != "readonly", "a store to a read-only array")

    def _attrs(self, op: Op, row: CoreOp) -> None:
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


def _access(value: Value) -> Access:
    return value.type.access if isinstance(value.type, ArrayType) else "writable"


def _may_equal(a: Dim, b: Dim) -> bool:
    low, high = bounds(a - b)
    return low <= 0 <= high
