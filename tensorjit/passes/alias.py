"""Who may share memory: a symmetric relation on the array values of a typed graph.

## Roots

Views share their operand's root; a fresh allocation shares with nothing that was there before; parameters share as the signature
says. A block parameter (a loop-carried value, the result of an `if`) shares with what its operands share with; two of them are
disjoint until a `continue` hands on values that are not. So ``prev, cur = cur, new`` keeps its two buffers apart, where a set of
allocation sites united at the loop's head would call both one.

    for(0, n, 1, a, b): params i, prev, cur          prev ~ a, cur ~ b
      new = empty()                                  new ~ nothing of this turn
      continue(cur, new)                             prev ~ a, b; cur ~ b; prev and cur stay disjoint

## Boxes

Two views of one root are told apart, or told to be equal, by their *boxes*: along which axis of the root each of their own axes
walks, from where, by which step. Strides are not known here, and need not be: both views have their root's.

An axis may *stand still*: a broadcast view repeats its source where that has length 1, which is often known at run time only.
Then all its indices are one element, the first. So a box says for each axis how long the source is, if that may happen.

    x: f64[m, n];  r = x[:1]: f64[min(1, m), n];  b = broadcast_to(r): f64[m, n]       b walks as x does, and may stand still

Four questions are asked. The answer "no" is always safe for the last three, "yes" for the first:

* **may_alias**: may a write through one be seen through the other? Not where the roots are apart, nor where along one axis of
  their common root one box ends before the other begins. (An axis that stands still reaches less than its box says.)
* **same_elements**: is it the same element at every index? The boxes must be equal in all they say, also in what may stand still:
  x and b above are not the same, since b reads row 0 at every index, and a loop that writes x has written that after its first turn.
* **is_ahead**: may a loop that goes up along all axes, and reads at each index before it writes there, read one while it writes the
  other? Both walk the same axes by the same steps, neither stands still, and each element is read at an index that is not
  after, along any axis, the one it is written at: x[1:] is ahead of x[:-1].
* **walks_alike**: have two arrays of rank 1 strides that are equal, or of opposite sign, or is the one that is read one element?
  Such can be copied one by one, from the right end; see fuse.py.

What is not a plain view of a root (a reshape, the real part, a step known at run time only, a part of an axis that may stand
still) has no box: it may share with all of its root, and is the same as nothing but itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import final

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.types import ArrayType
from tensorjit.passes.regions import Sizes, may_repeat
from tensorjit.records import dataclass


@final
@dataclass(frozen=True, slots=True)
class Box:
    """The elements of a root that a view reaches: per root axis where it starts, the step and length of the walk (step 0: one
    index); and for each axis of the view the root axis it walks (None: it repeats), its length, and the length of what it
    broadcasts where that may be 1 (None: it cannot stand still)."""

    offset: tuple[Dim, ...]
    step: tuple[int, ...]
    length: tuple[Dim, ...]
    axes: tuple[int | None, ...]
    shape: tuple[Dim, ...]
    stands: tuple[Dim | None, ...]

    def substituted(self, equal: Mapping[str, Dim]) -> Box:
        """The box with sizes rewritten by known equalities."""
        if not equal:
            return self

        def each(sizes: Iterable[Dim]) -> tuple[Dim, ...]:
            return tuple(dims.substitute(d, equal) for d in sizes)

        stands = tuple(None if d is None else dims.substitute(d, equal) for d in self.stands)
        return Box(each(self.offset), self.step, each(self.length), self.axes, each(self.shape), stands)

    @property
    def moves(self) -> bool:
        """Whether no two indices of the view are one element of the root, whatever the sizes are at run time."""
        return all(s is None for s in self.stands) and all(
            a is not None or d == 1 for a, d in zip(self.axes, self.shape, strict=True)
        )


class Aliases:
    """The relation, for all array values of one graph; `find_aliases` makes it."""

    def __init__(self, graph: Graph) -> None:
        self.root: dict[Value, Value] = {}
        self.box: dict[Value, Box | None] = {}
        self.partners: dict[Value, set[Value]] = {}
        self.twins: dict[Value, set[Value]] = {}  # parameters that are the same array
        self._relations = 0
        self._enter_params(graph)
        self._block(graph.block, [])

    def may_alias(self, a: Value, b: Value, equal: Mapping[str, Dim] | None = None) -> bool:
        """Whether a write to one of two arrays may be seen through the other."""
        x, y = self.root.get(a, a), self.root.get(b, b)
        if x is not y:
            return y in self.partners.get(x, ()) or y in self.twins.get(x, ())
        p, q = self.box.get(a), self.box.get(b)
        return p is None or q is None or not _apart(p.substituted(equal or {}), q.substituted(equal or {}))

    def same_elements(self, a: Value, b: Value, equal: Mapping[str, Dim] | None = None) -> bool:
        """Whether two arrays are known to be the same elements, index by index."""
        if a is b:
            return True
        found = self._boxes(a, b, equal)
        if found is None:
            return False
        p, q = found
        return (p.offset, p.step, p.axes, p.shape, p.stands) == (q.offset, q.step, q.axes, q.shape, q.stands)

    def is_ahead(self, read: Value, written: Value, equal: Mapping[str, Dim] | None = None) -> bool:
        """Whether of two overlapping views each element of one is read before it is written through the other, if a loop goes up
        along all axes and reads at every index before it writes there.

            x[:-1] += x[1:]              x[1:] is ahead of x[:-1], and not the other way around
        """
        root = self.root.get(read, read)
        if root is not self.root.get(written, written) or not isinstance(root.type, ArrayType) or root.type.layout == "A":
            return False  # the elements of a root of any strides may overlap each other
        found = self._boxes(read, written, equal)
        if found is None:
            return False
        p, q = found
        if not p.moves or not q.moves or (p.axes, p.step) != (q.axes, q.step):
            return False
        ahead = [
            dims.bounds((a - b) * s)[0] if s in (1, -1) else -(a != b) for a, b, s in zip(p.offset, q.offset, p.step, strict=True)
        ]
        return min(ahead, default=0) >= 0

    def walks_alike(self, read: Value, written: Value) -> bool:
        """Whether two arrays of rank 1 are known to have strides that are equal, or of opposite sign, or 0 for the one that is
        read."""
        found = self._boxes(read, written, None)
        if found is None:
            return False
        p, q = found
        if p.axes == (None,):
            return True
        if not q.moves or p.axes != q.axes:
            return False
        return all(k is None or p.step[k] == q.step[k] or p.step[k] * q.step[k] < 0 for k in q.axes)

    def _boxes(self, a: Value, b: Value, equal: Mapping[str, Dim] | None) -> tuple[Box, Box] | None:
        """The boxes of two views of one array, their sizes rewritten by what is known; None where they are not comparable."""
        x, y = self.root.get(a, a), self.root.get(b, b)
        p, q = self.box.get(a), self.box.get(b)
        if p is None or q is None or (x is not y and y not in self.twins.get(x, ())):
            return None
        return p.substituted(equal or {}), q.substituted(equal or {})

    # -- building ------------------------------------------------------------------------------------------------

    def _enter_params(self, graph: Graph) -> None:
        params = graph.params
        disjoint = {frozenset(pair) for pair in graph.attrs.get("disjoint", ())}
        identical = {frozenset(pair) for pair in graph.attrs.get("identical", ())}
        arrays = [(k, p) for k, p in enumerate(params) if isinstance(p.type, ArrayType)]
        for k, p in arrays:
            self._fresh(p)
            for j, other in arrays:
                if j < k and frozenset((j, k)) in identical:
                    self.twins.setdefault(p, set()).add(other)
                    self.twins.setdefault(other, set()).add(p)
                elif j < k and frozenset((j, k)) not in disjoint:
                    self._relate(p, other)

    def _fresh(self, value: Value) -> None:
        assert isinstance(value.type, ArrayType)
        shape = value.type.shape
        rank = len(shape)
        self.root[value] = value
        self.partners.setdefault(value, set())
        self.box[value] = Box((0,) * rank, (1,) * rank, shape, tuple(range(rank)), shape, (None,) * rank)

    def _relate(self, a: Value, b: Value) -> None:
        if a is b or b in self.partners[a]:
            return
        self.partners[a].add(b)
        self.partners[b].add(a)
        self._relations += 1

    def _reached(self, value: Value) -> set[Value]:
        """The roots that a value may share with, its own included."""
        root = self.root[value]
        return {root} | self.partners[root] | self.twins.get(root, set())

    def _join(self, value: Value, source: Value, known: set[Value] | None = None) -> None:
        """`value` may be what `source` is; only roots in `known` count, if given."""
        for other in self._reached(source):
            if known is None or other in known:
                self._relate(value, other)

    def _block(self, block: Block, exits: list[Op]) -> None:
        """Relate what a block defines; its terminators, and the jumps of the blocks inside it, are appended to `exits`."""
        for op in block.ops:
            if op.is_view:
                self._view(op)
            elif op.is_loop:
                self._loop(op, exits)
            elif op.is_control:
                self._branches(op, exits)
            else:
                self._plain(op)
        if block.ops:
            exits.append(block.terminator)

    def _view(self, op: Op) -> None:
        (source,) = op.operands
        result = op.result
        self.root[result] = self.root[source]
        box = self.box.get(source)
        self.box[result] = None if op.name != "view" or box is None else _compose(box, op)

    def _plain(self, op: Op) -> None:
        for result in op.results:
            if isinstance(result.type, ArrayType):
                self._fresh(result)
                if op.name == "library":  # NumPy may hand an operand through
                    for operand in op.operands:
                        if isinstance(operand.type, ArrayType):
                            self._join(result, operand)

    def _branches(self, op: Op, exits: list[Op]) -> None:
        for result in op.results:
            if isinstance(result.type, ArrayType):
                self._fresh(result)
        inner: list[Op] = []
        for block in op.blocks:
            self._block(block, inner)
        for terminator in inner:
            if terminator.name == "yield" or (terminator.name == "leave" and op.name == "scope"):
                self._hand_over(op.results, terminator.operands)
            else:
                exits.append(terminator)

    def _hand_over(self, to: Sequence[Value], values: Sequence[Value], known: set[Value] | None = None) -> None:
        """Each of `to` may now be the value beside it: relate them to the outside, and to each other."""
        pairs = [(t, v) for t, v in zip(to, values, strict=True) if isinstance(t.type, ArrayType) and isinstance(v.type, ArrayType)]
        for k, (t, v) in enumerate(pairs):
            self._join(t, v, known)
            for other, w in pairs[:k]:
                if self.root[w] in self._reached(v):
                    self._relate(t, other)

    def _loop(self, op: Op, exits: list[Op]) -> None:
        outside = set(self.partners)
        bodies = op.own_blocks
        carried = [b.params[len(b.params) - len(op.results) :] for b in bodies]
        for result in op.results:
            if isinstance(result.type, ArrayType):
                self._fresh(result)
        for params in carried:
            for p in params:
                if isinstance(p.type, ArrayType):
                    self._fresh(p)
            self._hand_over(params, op.carried, outside)
        while True:
            before = self._relations
            inner: list[Op] = []
            for block in bodies:
                self._block(block, inner)
            for terminator in inner:
                if terminator.name == "continue":
                    for params in carried:
                        self._hand_over(params, terminator.operands, outside)
            if self._relations == before:
                break
        self._leave_loop(op, carried[0], inner, exits)

    def _leave_loop(self, op: Op, params: Sequence[Value], inner: Sequence[Op], exits: list[Op]) -> None:
        orelse = op.orelse
        if orelse is not None:
            for p in orelse.params:
                if isinstance(p.type, ArrayType):
                    self._fresh(p)
            self._hand_over(orelse.params, params)
            ends: list[Op] = []
            self._block(orelse, ends)
            for terminator in ends:
                if terminator.name == "yield":
                    self._hand_over(op.results, terminator.operands)
                else:
                    exits.append(terminator)
        self._hand_over(op.results, params)
        for terminator in inner:
            if terminator.name == "break":
                self._hand_over(op.results, terminator.operands)
            elif terminator.name in ("leave", "return", "raise"):
                exits.append(terminator)


def find_aliases(graph: Graph) -> Aliases:
    """The relation of a typed graph."""
    return Aliases(graph)


def _compose(box: Box, op: Op) -> Box | None:
    """The box of a view of a value whose box is known."""
    assert isinstance(op.result.type, ArrayType)
    shape = op.result.type.shape
    axes: Sequence[tuple[int | None, int]] = op.attrs["axes"]
    if not all(isinstance(walk, int) for _, walk in axes):  # a step that is known at run time only
        return None
    offset, step, length = list(box.offset), list(box.step), list(box.length)
    walks = {a: (walk, size) for (a, walk), size in zip(axes, shape, strict=True) if a is not None}
    for source, start in enumerate(op.attrs["offset"]):
        root = box.axes[source]
        if box.stands[source] is not None and (start != 0 or walks.get(source) != (1, box.shape[source])):
            return None  # whether it goes on from `start` or stands still is known at run time only
        if root is None:
            continue
        offset[root] = offset[root] + box.step[root] * start
        if source not in walks:
            step[root], length[root] = 0, 1
    result: list[int | None] = []
    stands: list[Dim | None] = []
    for (source_axis, walk), size in zip(axes, shape, strict=True):
        root = None if source_axis is None else box.axes[source_axis]
        stands.append(None if source_axis is None else _stands(box, source_axis, size, op.attrs["offset"][source_axis], walk))
        if root is None:
            result.append(None)
            continue
        if root in result:
            return None
        step[root], length[root] = box.step[root] * walk, size
        result.append(root)
    return Box(tuple(offset), tuple(step), tuple(length), tuple(result), shape, tuple(stands))


def _stands(box: Box, source: int, size: Dim, start: Dim, walk: int) -> Dim | None:
    """The length of a view's source along an axis, if that may be broadcast."""
    if box.stands[source] is not None:
        return box.stands[source]
    broadcasts = start == 0 and walk == 1 and may_repeat(box.shape[source], size, Sizes())  # slices never are longer
    return box.shape[source] if broadcasts else None


def _apart(a: Box, b: Box) -> bool:
    """Whether two boxes of one root have no element in common, by one axis along which one ends before the other begins."""
    for k in range(len(a.offset)):
        low_a, high_a = _range(a, k)
        low_b, high_b = _range(b, k)
        if dims.bounds(low_b - high_a)[0] > 0 or dims.bounds(low_a - high_b)[0] > 0:
            return True
    return False


def _range(box: Box, axis: int) -> tuple[Dim, Dim]:
    last = box.offset[axis] + box.step[axis] * (box.length[axis] - 1)
    return (box.offset[axis], last) if box.step[axis] >= 0 else (last, box.offset[axis])
