"""Iterators, which are what zip, enumerate and reversed give: gone through once, and never twice.

What the second of two loops over one finds depends on what the first left, turn by turn. So an iterator is refused unless the generic
graph shows that nothing goes through it again: it is used in one place, which is in no loop that it was made before, and which
neither keeps it nor hands it on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tensorjit.ir.graph import Block, Op, Value
from tensorjit.ops.abstract import Abstract, Mapped
from tensorjit.passes.specialise.state import Specialiser

_KEEP: Final = frozenset({"tuple", "list", "dict", "function", "while", "yield", "continue", "break", "list_append", "dict_insert"})
_Loops = tuple[Op, ...]


def check_once(s: Specialiser, value: Value, x: Abstract) -> None:
    """Refuse an iterator that a value of the generic graph stands for, where it may be gone through twice."""
    if not isinstance(x, Mapped):
        return
    while s.entered:
        s.once |= _once(s.entered.pop())
    if value not in s.once:
        hint = f"write {x.kind}(...) in each `for` that goes through it, or make a list of it: list({x.kind}(...))"
        s.b.refuse(f"{x.kind}(...) is kept, or gone through in more than one place: an iterator has its items once", hint)


def _once(block: Block) -> set[Value]:
    """The values of a generic graph that are used at most once."""
    made: dict[Value, _Loops] = {}
    used: dict[Value, list[bool]] = {}
    for inner, loops in _blocks(block, ()):
        made |= dict.fromkeys(inner.params, loops)
        for op in inner.ops:
            made |= dict.fromkeys(op.results, loops)
            for k, v in enumerate(op.operands):
                used.setdefault(v, []).append(made.get(v) == loops and not _keeps(op, k))
    return {v for v in made if used.get(v, [True]) in ([True], [])}


def _blocks(block: Block, loops: _Loops) -> Iterator[tuple[Block, _Loops]]:
    """A block and those inside of it, each with the loops around it; a block comes after what it can see."""
    yield block, loops
    for op in block.ops:
        for inner in op.blocks:
            yield from _blocks(inner, (*loops, op) if op.is_loop else loops)


def _keeps(op: Op, operand: int) -> bool:
    """Whether an op keeps an operand beyond the place where it stands, or hands it on to another turn."""
    if op.name == "for":
        return operand > 0
    return op.name in _KEEP and operand not in op.attrs.get("star", ())
