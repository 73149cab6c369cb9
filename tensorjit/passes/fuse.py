"""fuse: gather array ops into regions, each of which becomes one kernel.

A region is a `fused` op: its block holds the gathered ops, its operands are the arrays read and written and the scalars from
outside, its results are the values that something outside the region uses. Nothing else of it touches memory.

Ops are read in program order. A region is *open* while nothing outside it depends on it: an op that consumes its values joins,
if it fits the region's space, and everything else that needs them closes it. So open regions never depend on each other, any two
of them may be merged, and a region can be placed where it is closed, behind all it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, final

from tensorjit.ir.dims import Dim
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.kernel import Ref
from tensorjit.ir.types import ArrayType, ScalarType, UnknownType
from tensorjit.ops.opdef import Loop, OpDef
from tensorjit.passes.alias import Aliases, find_aliases
from tensorjit.passes.regions import (
    Axes,
    Sizes,
    array_type,
    is_array,
    is_numpy_scalar,
    operand_axes,
    place,
    rearranged,
    reduced_axes,
    through,
    whole,
)
from tensorjit.passes.seal import Region, finish, frozen

MAX_OPS = 256  # ops of one region: compile time of a kernel grows with its length
MAX_ARRAYS = 24  # arrays of one region: more streams than this fight over the cache
MAX_OPEN = 8  # open regions at one time: bounds the search for conflicts


def fuse(graph: Graph, table: Mapping[str, OpDef], aliases: Aliases | None = None) -> Graph:
    """Gather array ops into `fused` ops.

    before:                                   after:
      t = multiply(a, x)                        s = fused(a, x, y) {space=(n), reduced=()}
      s = add(t, y)                               params p, q, r
      return s                                    t = multiply(p, q); s = add(t, r); yield s
                                                return s
    """
    fuser = _Fuser(table, aliases or find_aliases(graph))
    return Graph(graph.name, fuser.block(graph.block, Sizes()), graph.attrs, graph.loc)


@final
class _Fuser:
    def __init__(self, table: Mapping[str, OpDef], aliases: Aliases) -> None:
        self.table = table
        self.aliases = aliases
        self.defs: dict[Value, Op] = {}
        self.lowered: dict[tuple[str, Loop], bool] = {}

    def block(self, block: Block, sizes: Sizes) -> Block:
        return _BlockFuser(self, block, sizes).run()

    def has_kernel(self, op: Op) -> bool:
        """Whether an elementwise or reduction op has a lowering for its dtypes."""
        row = self.table.get(op.name)
        if row is None or row.kind == "python":
            return False
        if row.reduction is not None:
            return True
        loop: Loop = op.attrs["loop"]
        known = self.lowered.get((op.name, loop))
        if known is None:
            args = [Ref(f"a{k}", d) for k, d in enumerate(loop.inputs)]
            known = self.lowered[op.name, loop] = row.lower(args, loop.output) is not None
        return known

    def is_elementwise(self, op: Op) -> bool:
        row = self.table.get(op.name)
        return op.name == "cast" or (row is not None and row.kind == "elementwise" and row.reduction is None)

    def is_reduction(self, op: Op) -> bool:
        row = self.table.get(op.name)
        return row is not None and row.reduction is not None and "axes" in op.attrs


@final
class _BlockFuser:
    """The walk over one block; see the module's docstring."""

    def __init__(self, fuser: _Fuser, block: Block, sizes: Sizes) -> None:
        self.fuser = fuser
        self.aliases = fuser.aliases
        self.source = block
        self.sizes = sizes
        self.schedule: list[Op | Region] = []
        self.opened: list[Region] = []
        self.owner: dict[Value, Region] = {}
        self.leaves: dict[Value, Op] = {}
        self.count = 0

    def run(self) -> Block:
        for op in self.source.ops:
            self.visit(op)
        return finish(self.source, self.schedule, self.fuser.defs)

    def visit(self, op: Op) -> None:
        self.count += 1
        for result in op.results:
            self.fuser.defs[result] = op
        name = op.name
        if op.blocks or op.is_terminator:
            self._control(op)
        elif name == "store":
            self._store(op)
        elif name in ("full", "copy", "cast") and is_array(op.result) and not op.result.type.shape:  # type: ignore[union-attr]
            self._scalar_memory(op)
        elif op.is_fill:
            self.leaves[op.result] = op
        elif name == "view":
            self._view(op)
        elif name == "copy":
            self._elementwise(op)
        elif self.fuser.is_reduction(op):
            self._reduction(op)
        elif self.fuser.is_elementwise(op):
            self._computed(op)
        else:
            self._plain(op)
            self.sizes.learn(op)

    # -- ops outside regions -----------------------------------------------------------------------------------

    def _plain(self, op: Op) -> None:
        for v in op.operands:
            self._demand(v, op)
        if not self._is_quiet(op):
            self._close_where(lambda r: bool(r.targets), lambda: f"{_named(op)} may raise, and writes never cross that")
        if op.name in ("load", "library"):
            for v in filter(is_array, op.operands):
                self._before_reading(v, op)
        if not op.results and op.name == "library":
            self._close_where(lambda r: True, lambda: f"{_named(op)} may write")
        self.schedule.append(op)

    def _is_quiet(self, op: Op) -> bool:
        """Whether pending stores may move behind an op: it raises nothing and writes nothing."""
        row = op.row
        return self.fuser.is_elementwise(op) or (row is not None and not (row.raises or row.writes))

    def _before_reading(self, value: Value, op: Op) -> None:
        self._close_where(lambda r: self._writes(r, value), lambda: f"{_word(value)} is read by {_named(op)}")

    def _control(self, op: Op) -> None:
        blocks: list[Block] = []
        for v in op.operands:
            self._demand(v, op)
        self._close_where(lambda r: True, lambda: f"{_named(op)} comes between")
        for v in dict.fromkeys(v for b in op.blocks for o in b.walk() for v in o.operands):
            if v in self.leaves:
                self._demand(v, op)
        for block in op.blocks:
            blocks.append(self.fuser.block(block, self.sizes.inside()))
        self.schedule.append(Op(op.name, op.operands, op.results, op.attrs, tuple(blocks), op.loc) if blocks else op)

    def _scalar_memory(self, op: Op) -> None:
        """An array of rank 0 is made by the driver: empty, and a store of its one element."""
        dtype = array_type(op.result).dtype
        (value,) = op.operands
        if is_array(value):
            loaded = Value(ScalarType(array_type(value).dtype))
            self._plain(Op("load", (value,), (loaded,), loc=op.loc))
            value = loaded
        if isinstance(value.type, ScalarType) and value.type.dtype is not dtype:
            converted = Value(ScalarType(dtype))
            self._plain(Op("cast", (value,), (converted,), frozen(loop=Loop((value.type.dtype,), dtype)), loc=op.loc))
            value = converted
        self._plain(Op("empty", (), op.results, loc=op.loc))
        self._plain(Op("store", (op.result, value), (), loc=op.loc))

    def _demand(self, value: Value, op: Op) -> None:
        """Something outside all regions needs a value in memory."""
        if value in self.leaves:
            self._materialise(value, op)
        region = self._region(value)
        if region is not None:
            self._close(region, f"{_word(value)} is used by {_named(op)}")

    def _materialise(self, value: Value, user: Op) -> None:
        """Give a leaf memory, and let its views look at that."""
        root = self.aliases.root[value]
        region = self._open(self.sizes.shape(root))
        self._append(region, self.leaves.pop(root), whole(region.space))
        self._close(region, f"{_word(value)} is used by {_named(user)}")
        for view in [v for v in self.leaves if self.aliases.root[v] is root]:
            self.schedule.append(self.leaves.pop(view))

    def _view(self, op: Op) -> None:
        (source,) = op.operands
        outer = rearranged(op, self.sizes)
        region = self._region(source)
        if source in self.leaves and outer is not None:
            self.leaves[op.result] = op
        elif region is not None and outer is not None and source not in region.content:
            region.viewed |= {source, op.result}
            self._append(region, op, through(region.axes[source], outer))
        else:
            self._plain(op)

    # -- regions -----------------------------------------------------------------------------------------------

    def _region(self, value: Value) -> Region | None:
        """The open region that computes a value."""
        region = self.owner.get(value)
        while region is not None and region.merged is not None:
            region = region.merged
        return region if region is not None and region.open else None

    def _open(self, space: tuple[Dim, ...], reduced: tuple[int, ...] | None = None) -> Region:
        if len(self.opened) >= MAX_OPEN:
            self._close(self.opened[0], "too many regions were open")
        region = Region(space, reduced)
        self.opened.append(region)
        return region

    def _close(self, region: Region, reason: str) -> None:
        region.open = False
        region.reason = reason
        self.opened.remove(region)
        self.schedule.append(region)

    def _close_where(self, test: Callable[[Region], bool], reason: Callable[[], str]) -> None:
        for region in list(self.opened):
            if test(region):
                self._close(region, reason())

    def _writes(self, region: Region, value: Value) -> bool:
        return any(self.aliases.may_alias(t, value, self.sizes.equal) for t in region.targets)

    def _same(self, a: Value, b: Value) -> bool:
        return self.aliases.same_elements(a, b, self.sizes.equal)

    def _current(self, value: Value) -> tuple[Region | None, Value]:
        """Where an operand comes from: an open region and the value in it, or (None, value) from outside."""
        region = self._region(value)
        if region is not None:
            return region, region.content.get(value, value)
        if is_array(value) and value not in self.leaves:
            for region in list(self.opened):
                for target in region.targets:
                    if self._same(target, value):
                        return region, region.content[target]
                if self._writes(region, value):
                    self._close(region, f"{_word(value)} may overlap what it writes")
        return None, value

    def _currents(self, op: Op) -> list[tuple[Region | None, Value]]:
        """`_current` of each operand; asking may close regions, so ask until none is closed."""
        while True:
            found = [self._current(v) for v in op.operands]
            if all(r is None or (r.open and r.merged is None) for r, _ in found):
                return found

    def _append(self, region: Region, op: Op, axes: Axes) -> None:
        """Add an op; its operands are replaced by what is current in the region, leaves are computed in place."""
        operands = tuple(self._inside(region, v, op, axes) for v in op.operands)
        region.members.append((self.count, Op(op.name, operands, op.results, op.attrs, (), op.loc)))
        region.axes[op.result] = axes
        self.owner[op.result] = region

    def _inside(self, region: Region, value: Value, op: Op, axes: Axes) -> Value:
        if value in self.leaves:
            return self._clone_leaf(region, value)
        found, current = self._current(value)
        if found is None and is_array(value):
            seen = whole(region.space) if "axes" in op.attrs else operand_axes(self.sizes.shape(value), axes)
            region.reads.setdefault(value, set()).add(seen)
        return current

    def _clone_leaf(self, region: Region, value: Value) -> Value:
        op = self.leaves[value]
        operands = tuple(self._clone_leaf(region, v) if v in self.leaves else v for v in op.operands)
        copy = Value(value.type, value.name)
        region.members.append((self.count, Op(op.name, operands, (copy,), op.attrs, (), op.loc)))
        return copy

    def _merge(self, regions: Sequence[Region], shape: tuple[Dim, ...]) -> Region | None:
        """One region out of the open ones that an op draws on; those that do not fit are closed."""
        if not regions:
            return None
        first = max(regions, key=lambda r: (r.space == shape, len(r.members)))
        for other in regions:
            if other is first:
                continue
            agree = other.reduced is None or first.reduced is None or other.reduced == first.reduced
            size = len(first.members) + len(other.members)
            arrays = len(first.reads) + len(first.targets) + len(other.reads) + len(other.targets)
            if other.space == first.space and agree and size < MAX_OPS and arrays < MAX_ARRAYS:
                self._absorb(first, other)
            else:
                self._close(other, "it computes over another space than the op that uses it")
        return first

    def _absorb(self, into: Region, other: Region) -> None:
        into.members += other.members
        into.reduced = into.reduced if into.reduced is not None else other.reduced
        into.axes |= other.axes
        into.viewed |= other.viewed
        for v, seen in other.reads.items():
            into.reads.setdefault(v, set()).update(seen)
        into.content |= other.content
        into.targets |= other.targets
        other.merged = into
        other.members = []
        self.opened.remove(other)

    def _sibling(self, op: Op, space: tuple[Dim, ...], reduced: tuple[int, ...] | None) -> Region | None:
        """An open region over the same space that reads one of the op's operands, so that one sweep serves both."""
        arrays = [v for v in op.operands if is_array(v) and v not in self.leaves]
        for region in reversed(self.opened):
            fits = region.space == space and len(region.members) < MAX_OPS and len(region.reads) < MAX_ARRAYS
            agree = reduced is None or region.reduced is None or region.reduced == reduced
            if fits and agree and any(v in region.reads for v in arrays):
                return region
        return None

    # -- ops that join -----------------------------------------------------------------------------------------

    def _computed(self, op: Op) -> None:
        """An elementwise row or a cast, of arrays or scalars."""
        if is_array(op.result):
            if op.name == "cast" or self.fuser.has_kernel(op):
                self._elementwise(op)
            else:
                self._library(op)
        elif (
            is_numpy_scalar(op.result)
            and not op.attrs.get("checked")
            and any(self._region(v) is not None for v in op.operands)
            and (op.name == "cast" or self.fuser.has_kernel(op))
        ):
            self._elementwise(op)
        else:
            self._plain(op)

    def _elementwise(self, op: Op, allowed: Callable[[Region, Axes], bool] = lambda region, axes: True) -> Region | None:
        """Put an elementwise op into the region of its operands, a sibling's, or a new one.

        A scalar op that no region takes stays outside.
        """
        shape = self.sizes.shape(op.result)
        found = self._currents(op)
        region = self._merge(list(dict.fromkeys(r for r, _ in found if r is not None)), shape)
        if region is not None:
            axes = self._axes(region, op, shape)
            if axes is not None and allowed(region, axes):
                self._append(region, op, axes)
                return region
            self._close(region, f"{_operand_words(op)} does not meet {_named(op)} element by element")
        if not is_array(op.result):
            self._plain(op)
            return None
        sibling = self._sibling(op, shape, None)
        region = sibling if sibling is not None and allowed(sibling, whole(shape)) else self._open(shape)
        self._append(region, op, whole(shape))
        return region

    def _axes(self, region: Region, op: Op, shape: tuple[Dim, ...]) -> Axes | None:
        """The axes that the op's result would have in the region, if it can join."""
        if len(region.members) >= MAX_OPS or len(region.reads) >= MAX_ARRAYS:
            return None
        operands: list[tuple[tuple[Dim, ...], Axes | None]] = []
        for v in op.operands:
            found, current = self._current(v)
            operands.append((self.sizes.shape(v), region.axes[current] if found is region else None))
        return place(shape, operands, region.space)

    def _reduction(self, op: Op) -> None:
        (value,) = op.operands
        axes: tuple[int, ...] = tuple(op.attrs["axes"])
        if not axes:
            self._identity(op)
            return
        space = self.sizes.shape(value)
        region, current = self._current(value)
        fits = region is not None and region.space == space and region.reduced in (None, axes)
        if region is not None and (not fits or region.axes[current] != whole(space) or len(region.members) >= MAX_OPS):
            self._close(region, f"{_named(op)} reduces over other axes than {_word(value)} is computed by")
            region = None
        if region is None:
            region = self._sibling(op, space, axes) or self._open(space)
        region.reduced = axes
        self._append(region, op, reduced_axes(whole(space), axes, bool(op.attrs["keepdims"])))

    def _identity(self, op: Op) -> None:
        """A reduction over no axes: the elements, converted."""
        loop: Loop = op.attrs["loop"]
        attrs = frozen(loop=Loop(loop.inputs[:1], loop.output))
        (value,) = op.operands
        if not is_array(op.result):
            loaded = Value(ScalarType(array_type(value).dtype)) if is_array(value) else value
            if is_array(value):
                self._plain(Op("load", (value,), (loaded,), loc=op.loc))
            self._plain(Op("cast", (loaded,), op.results, attrs, loc=op.loc))
        else:
            self._elementwise(Op("cast", (value,), op.results, attrs, loc=op.loc))

    def _library(self, op: Op) -> None:
        """An elementwise op that no kernel computes: NumPy's own function, on operands of the loop's dtypes."""
        row = self.fuser.table[op.name]
        operands: list[Value] = []
        for v, dtype in zip(op.operands, op.attrs["loop"].inputs, strict=True):
            kind = v.type
            assert not isinstance(kind, UnknownType)
            if kind.dtype is not dtype:
                to = ArrayType(dtype, kind.shape) if isinstance(kind, ArrayType) else ScalarType(dtype)
                cast = Op("cast", (v,), (Value(to, v.name),), frozen(loop=Loop((kind.dtype,), dtype)), loc=op.loc)
                self.fuser.defs[cast.result] = cast
                if isinstance(kind, ArrayType):
                    self._elementwise(cast)
                else:
                    self._plain(cast)
                v = cast.result
            operands.append(v)
        name = op.name if row.ufunc is None else row.ufunc.__name__
        attrs = frozen(function=f"numpy.{name}", keywords=MappingProxyType({}))
        self._plain(Op("library", tuple(operands), op.results, attrs, loc=op.loc))

    # -- stores ------------------------------------------------------------------------------------------------

    def _store(self, op: Op) -> None:
        target, _ = op.operands
        if not array_type(target).shape:
            self._close_where(lambda r: self._touches(r, target), lambda: f"`store`{_at(op)} writes what it reads")
            self._plain(op)
            return
        if target in self.leaves:
            self._own_leaf(target, op)
        region = self._region(target)
        if region is not None and target in region.viewed:
            self._close(region, f"a view of {_word(target)} is taken before {_named(op)}")
        converted = self._converted(op)
        if not self._update(target, converted):
            self._write(target, converted, op)

    def _converted(self, op: Op) -> Op:
        """The elements that a store writes: cast to the target's dtype, in its shape."""
        target, value = op.operands
        kind = array_type(target)
        source = value.type
        assert not isinstance(source, UnknownType)
        result = Value(ArrayType(kind.dtype, kind.shape, kind.layout), value.name)
        return Op("cast", (value,), (result,), frozen(loop=Loop((source.dtype,), kind.dtype), store=True), loc=op.loc)

    def _own_leaf(self, target: Value, op: Op) -> None:
        """A leaf that is overwritten becomes an op of a region; one that views look at has to be in memory."""
        root = self.aliases.root[target]
        if sum(self.aliases.root[v] is root for v in self.leaves) > 1:
            self._materialise(target, op)
            return
        leaf = self.leaves.pop(target)
        space = self.sizes.shape(target)
        self._append(self._open(space), leaf, whole(space))

    def _update(self, target: Value, converted: Op) -> bool:
        """A store to all of an array that its region has not yet written to memory: only the elements' name changes."""
        shape = self.sizes.shape(target)
        found = [self._region(target), *(r for r, _ in self._currents(converted))]
        self._merge(list(dict.fromkeys(r for r in found if r is not None)), shape)
        region = self._region(target)
        if region is None:
            return False
        axes = region.axes[target]
        if self._axes(region, converted, shape) != axes:
            self._close(region, f"{_word(target)} is overwritten by what does not meet it element by element")
            return False
        self._append(region, converted, axes)
        region.content[target] = converted.result
        return True

    def _write(self, target: Value, converted: Op, op: Op) -> None:
        """A store to memory: in the region that computes the value if all it reads of the target are the same elements."""
        equal = self.sizes.equal
        (value,) = converted.operands
        home, _ = self._current(value)
        if home is not None:
            axes = self._axes(home, converted, self.sizes.shape(target))
            if axes is None or self._conflicts(home, target, axes):
                self._close(home, f"`store`{_at(op)} writes what it reads elsewhere")
        # only now is it known whether the value comes from memory
        outside = is_array(value) and value not in self.leaves and self._current(value)[0] is None
        if outside and not self._in_step(value, target) and self.aliases.may_alias(value, target, equal):
            if array_type(target).rank == 1 and not self.aliases.walks_alike(value, target):
                self._copied_by_numpy(value, target, op)
                return
            value = self._copied(value, op)
            converted = Op("cast", (value,), converted.results, converted.attrs, loc=op.loc)
        home, _ = self._current(value)
        for region in list(self.opened):
            if region is not home and self._touches(region, target):
                self._close(region, f"`store`{_at(op)} writes what it reads")

        def allowed(into: Region, axes: Axes) -> bool:
            return not self._conflicts(into, target, axes)

        into = self._elementwise(converted, allowed)
        assert into is not None
        for other in [t for t in into.targets if self._same(t, target)]:
            del into.targets[other]
            del into.content[other]
        into.targets[target] = None
        into.content[target] = converted.result

    def _touches(self, region: Region, target: Value) -> bool:
        equal = self.sizes.equal
        return self._writes(region, target) or any(self.aliases.may_alias(v, target, equal) for v in region.reads)

    def _conflicts(self, region: Region, target: Value, axes: Axes) -> bool:
        """Whether writing the target from within the region may change what the region still reads, or writes."""
        equal = self.sizes.equal
        for v, seen in region.reads.items():
            if self.aliases.may_alias(v, target, equal) and not (self._in_step(v, target) and seen == {axes}):
                return True
        for t in region.targets:
            if self.aliases.may_alias(t, target, equal) and not (self._same(t, target) and region.axes[region.content[t]] == axes):
                return True
        return False

    def _in_step(self, read: Value, target: Value) -> bool:
        """Whether a kernel that reads and writes at the same indices reads each element before it writes it."""
        return self._same(read, target) or self.aliases.is_ahead(read, target, self.sizes.equal)

    def _copied_by_numpy(self, value: Value, target: Value, op: Op) -> None:
        """A row from a row that may share elements with it, in other steps. NumPy copies these one by one, from the end that is
        right where strides are equal, and so reads what it has written: only NumPy itself does just that."""
        keywords = MappingProxyType({"casting": "unsafe"})
        self._plain(Op("library", (target, value), (), frozen(function="numpy.copyto", keywords=keywords), loc=op.loc))

    def _copied(self, value: Value, op: Op) -> Value:
        """The elements of an array, in memory of their own."""
        kind = array_type(value)
        copy = Op("copy", (value,), (Value(ArrayType(kind.dtype, kind.shape), value.name),), loc=op.loc)
        self.fuser.defs[copy.result] = copy
        self._elementwise(copy)
        region = self._region(copy.result)
        assert region is not None
        self._close(region, f"{_word(value)} may overlap the target of {_named(op)}")
        return copy.result


# what the ops that have no name in the source are to its author
_IN_WORDS: Final[Mapping[str, str]] = {
    "yield": "the end of a branch or turn",
    "continue": "the end of a turn",
    "truth": "a condition",
    "view": "a view",
    "load": "an element that is read",
    "store": "an assignment",
    "library": "a call of NumPy",
    "check": "a check",
    "index_check": "a check of an index",
    "broadcast_dim": "a check of lengths",
}


def _named(op: Op) -> str:
    """An op and its place, for the reader of a report."""
    return f"{_IN_WORDS.get(op.name) or f'`{op.name}`'}{_at(op)}"


def _word(value: Value) -> str:
    return f"`{value.name}`" if value.name else "its result"


def _operand_words(op: Op) -> str:
    named = [f"`{v.name}`" for v in op.operands if v.name]
    return ", ".join(named) or "its result"


def _at(op: Op) -> str:
    return "" if op.loc is None else f" at line {op.loc.lineno}"
