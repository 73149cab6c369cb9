"""The tensor-level IR: Graph / Block / Op / Value, immutable, with structured control flow.

A block ends in a terminator, which carries values; there are no variables and no flags:

* ``yield``     the results of the enclosing `if` / `scope` body's op (falls out of the block)
* ``continue``  the next turn of the innermost loop, with its carried values
* ``break``     leaves the innermost loop, with its carried values
* ``leave``     leaves the innermost `scope` (an inlined call) with its results
* ``return``    leaves the graph; attr ``structure`` says how the flat values make up the Python result
* ``raise``     ends in an exception; attrs ``exception`` (class name) and ``message``
* ``unreachable``  follows an op that never falls through (an `if` whose branches both leave)

Control-flow ops hold blocks:

* ``if(cond, ...)`` two blocks without params; results are what the branches that end in ``yield`` yield
* ``for(start, stop, step, *carried)`` (specialised) / ``for(iterable, *carried)`` (generic): one body block with params
  (item, *carried), ending in ``continue``; results = carried values after the last turn or at a ``break``; an optional second
  block with params (*carried) is the loop's ``else``, run when no ``break`` left it, ending in ``yield`` of the carried values
* ``while(*carried)`` two blocks: condition (params *carried, ends in ``yield cond``), body (params *carried), optional ``else``
* ``scope()`` one block; results are carried by ``leave`` (or the final ``yield``)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Any, final

from tensorjit.errors import Loc
from tensorjit.ir.core import CORE, CoreOp
from tensorjit.ir.types import UNKNOWN, Type
from tensorjit.records import dataclass

NO_ATTRS: Mapping[str, Any] = MappingProxyType({})


@final
@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One result or block parameter; identity is what counts, `name` is a hint for printing (a variable's name)."""

    type: Type = UNKNOWN
    name: str = ""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One operation: `name` (a row of the op table, or a core op), operands, results, attrs, blocks, and where it came from."""

    name: str
    operands: tuple[Value, ...] = ()
    results: tuple[Value, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=lambda: NO_ATTRS)
    blocks: tuple[Block, ...] = ()
    loc: Loc | None = None

    @property
    def result(self) -> Value:
        (value,) = self.results
        return value

    @property
    def row(self) -> CoreOp | None:
        """What is known of a core op; None for a row of the op table."""
        return CORE.get(self.name)

    @property
    def is_terminator(self) -> bool:
        row = self.row
        return row is not None and row.role == "terminator"

    @property
    def is_loop(self) -> bool:
        row = self.row
        return row is not None and row.role == "loop"

    @property
    def is_control(self) -> bool:
        """Whether its blocks decide what is done next, and end in terminators that hand on its results."""
        row = self.row
        return row is not None and row.role in ("branch", "loop")

    @property
    def is_view(self) -> bool:
        """Whether its result is memory of its operand."""
        row = self.row
        return row is not None and row.role == "view"

    @property
    def is_fill(self) -> bool:
        """Whether its result is an array whose elements are computed from numbers: no memory is read."""
        row = self.row
        return row is not None and row.role == "fill"

    # -- the parts of a loop: what its turns carry stands last among its operands and the params of its blocks --

    @property
    def carried(self) -> tuple[Value, ...]:
        """What the first turn of a loop starts with."""
        return self.operands[len(self.operands) - len(self.results) :]

    @property
    def lead(self) -> tuple[Value, ...]:
        """The operands of a loop before the carried ones: what it runs over."""
        return self.operands[: len(self.operands) - len(self.results)]

    @property
    def own_blocks(self) -> tuple[Block, ...]:
        """The blocks of a loop that take part in its turns: a test, the body."""
        return self.blocks[: self.row.own] if self.row is not None else ()

    @property
    def body(self) -> Block:
        """The block of a loop that is a turn."""
        return self.own_blocks[-1]

    @property
    def test(self) -> Block | None:
        """The block of a `while` that says whether there is another turn."""
        return self.blocks[0] if len(self.own_blocks) > 1 else None

    @property
    def orelse(self) -> Block | None:
        """The block of a loop that runs unless a `break` left it."""
        return self.blocks[-1] if len(self.blocks) > len(self.own_blocks) else None


@final
@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Ordered ops with parameters; the last op is a terminator."""

    params: tuple[Value, ...]
    ops: tuple[Op, ...]

    @property
    def terminator(self) -> Op:
        return self.ops[-1]

    def walk(self) -> Iterator[Op]:
        """Every op, outer before inner, in program order."""
        stack: list[Iterator[Op]] = [iter(self.ops)]
        while stack:
            op = next(stack[-1], None)
            if op is None:
                stack.pop()
                continue
            yield op
            if op.blocks:
                stack.append(iter([o for b in op.blocks for o in b.ops]))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A named tensor-level function. `attrs` of a generic graph hold the signature (`parameters`), of a specialised one
    `symbols` (symbol name -> (param index, axis))."""

    name: str
    block: Block
    attrs: Mapping[str, Any] = field(default_factory=lambda: NO_ATTRS)
    loc: Loc | None = None

    @property
    def params(self) -> tuple[Value, ...]:
        return self.block.params

    def walk(self) -> Iterator[Op]:
        """Every op of the block and of those inside it."""
        return self.block.walk()


class Builder:
    """Appends ops to a block under construction.

    >>> b = Builder()
    >>> one = b.add("const", attrs={"value": 1})
    >>> b.block(terminator=("return", [one])).terminator.name
    'return'
    """

    def __init__(self, params: Sequence[Value] = ()) -> None:
        self.params = tuple(params)
        self.ops: list[Op] = []
        self.loc: Loc | None = None

    def add(
        self,
        name: str,
        operands: Sequence[Value] = (),
        type: Type = UNKNOWN,
        attrs: Mapping[str, Any] = NO_ATTRS,
        hint: str = "",
        loc: Loc | None = None,
    ) -> Value:
        """Append an op with one result."""
        return self.add_multi(name, operands, (type,), attrs, hints=(hint,), loc=loc)[0]

    def add_multi(
        self,
        name: str,
        operands: Sequence[Value] = (),
        types: Sequence[Type] = (),
        attrs: Mapping[str, Any] = NO_ATTRS,
        blocks: Sequence[Block] = (),
        hints: Sequence[str] = (),
        loc: Loc | None = None,
    ) -> tuple[Value, ...]:
        """Append an op with any number of results."""
        names = tuple(hints) + ("",) * (len(types) - len(hints))
        results = tuple(Value(t, n) for t, n in zip(types, names, strict=True))
        frozen = MappingProxyType(dict(attrs)) if attrs else NO_ATTRS
        self.ops.append(Op(name, tuple(operands), results, frozen, tuple(blocks), loc or self.loc))
        return results

    @property
    def terminated(self) -> bool:
        return bool(self.ops) and self.ops[-1].is_terminator

    def block(self, terminator: tuple[str, Sequence[Value]] | None = None) -> Block:
        """The finished block, closed with `terminator` unless it already ends in one."""
        if terminator is not None and not self.terminated:
            self.add_multi(terminator[0], terminator[1])
        return Block(self.params, tuple(self.ops))
