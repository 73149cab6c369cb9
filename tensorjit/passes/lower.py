"""lower: from a typed graph to one whose array work is done by launches of kernels."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, final

from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.kernel import Kernel
from tensorjit.ir.types import ArrayType, ScalarType
from tensorjit.ops.opdef import OpDef
from tensorjit.passes.alias import Aliases, find_aliases
from tensorjit.passes.fuse import fuse
from tensorjit.passes.loops import Operand, write_kernel
from tensorjit.passes.nest import Region
from tensorjit.passes.regions import Sizes, array_type, is_array, unit_axis


def lower(graph: Graph, table: Mapping[str, OpDef]) -> Graph:
    """Fuse array ops, and make each region a kernel.

    before:                         after:
      t = multiply(a, x)              s = empty() {space="heap"}
      s = add(t, y)                   launch(a, x, y, s) {kernel=k_..., sizes=(n,), work=n, reason=...}
      return s                        return s
    """
    aliases = find_aliases(graph)
    return lower_regions(fuse(graph, table, aliases), table, aliases)


def lower_regions(graph: Graph, table: Mapping[str, OpDef], aliases: Aliases | None = None) -> Graph:
    """Make each `fused` op the allocation of its results and the launch of a kernel."""
    lowerer = _Lowerer(table, aliases or find_aliases(graph), graph)
    return Graph(graph.name, lowerer.block(graph.block, Sizes()), graph.attrs, graph.loc)


def describe(graph: Graph) -> list[str]:
    """What was fused into which kernel and why fusion stopped there, one line for each launch of a lowered graph.

    `line 3: multiply, add -> kernel k_…: `return` comes between`
    """
    lines = []
    for op in graph.walk():
        if op.name == "launch":
            kernel: Kernel = op.attrs["kernel"]
            where = "" if op.loc is None else f"line {op.loc.lineno}: "
            names = ", ".join(kernel.ops) or "copy"
            lines.append(f"{where}{names} -> kernel {kernel.name}: {op.attrs['reason']}")
    return lines


@final
class _Lowerer:
    def __init__(self, table: Mapping[str, OpDef], aliases: Aliases, graph: Graph) -> None:
        self.table = table
        self.aliases = aliases
        self.defs: dict[Value, Op] = {}
        self.unaligned = {graph.params[k] for k in graph.attrs.get("unaligned", ())}

    def block(self, block: Block, sizes: Sizes) -> Block:
        out: list[Op] = []
        for op in block.ops:
            for result in op.results:
                self.defs[result] = op
            if op.name == "fused" and _is_zeros(op):
                out += [Op("empty", (), (r,), _frozen(space="heap", zeros=True), (), op.loc) for r in op.results]
            elif op.name == "fused":
                out += self._launch(op, sizes)
            elif op.blocks:
                blocks = tuple(self.block(b, sizes.inside()) for b in op.blocks)
                out.append(Op(op.name, op.operands, op.results, op.attrs, blocks, op.loc))
            else:
                sizes.learn(op)
                out.append(op)
        return Block(block.params, tuple(out))

    def _launch(self, op: Op, sizes: Sizes) -> list[Op]:
        (inner,) = op.blocks
        outer = dict(zip(inner.params, op.operands, strict=True))
        units = {p: unit_axis(v, self.defs, sizes) for p, v in outer.items() if is_array(p)}
        region = Region(op, self.table, sizes, units)
        unaligned = frozenset(p for p, v in outer.items() if is_array(p) and self._is_unaligned(v))
        written = write_kernel(region, unaligned)
        ops: list[Op] = []
        loads: list[Op] = []
        arrays: list[Value] = []
        for operand in written.operands:
            memory = operand.memory
            if memory.source is not None:
                array = outer[memory.source]
            elif memory.result is None:
                array = Value(ArrayType(memory.dtype, memory.shape, "F" if memory.layout == "F" else "C"))
                ops.append(Op("empty", (), (array,), _frozen(space="heap"), (), op.loc))
            elif isinstance(memory.result.type, ScalarType):
                array = Value(ArrayType(memory.dtype, ()))
                ops.append(Op("empty", (), (array,), _frozen(space="stack"), (), op.loc))
                loads.append(Op("load", (array,), (memory.result,), loc=op.loc))
            else:
                array = memory.result
                ops.append(Op("empty", (), (array,), _frozen(space="heap"), (), op.loc))
            arrays.append(self._shaped(array, operand, ops, op))
        scalars = tuple(outer[v] for v in written.scalars)
        attrs = _frozen(kernel=written.kernel, sizes=written.sizes, work=region.work(), reason=op.attrs["reason"], space=region.space)
        ops.append(Op("launch", (*arrays, *scalars), (), attrs, (), op.loc))
        return [*ops, *loads]

    def _is_unaligned(self, value: Value) -> bool:
        if not self.unaligned:
            return False
        root = self.aliases.root.get(value, value)
        return bool(self.unaligned & {root, *self.aliases.partners.get(root, ())})

    def _shaped(self, array: Value, operand: Operand, ops: list[Op], op: Op) -> Value:
        """The array with the axes that the kernel walks; only its strides and sizes differ."""
        if operand.shape is None:
            return array
        kind = array_type(array)
        if operand.backwards:
            rank = kind.rank
            axes = tuple((k, 1) for k in reversed(range(rank)))
            turned = Value(ArrayType(kind.dtype, kind.shape[::-1], "C", kind.access))
            ops.append(Op("view", (array,), (turned,), _frozen(axes=axes, offset=(0,) * rank), (), op.loc))
            array = turned
        shaped = Value(ArrayType(kind.dtype, operand.shape, "C", kind.access))
        if array_type(array).shape == operand.shape:
            return array
        ops.append(Op("reshape", (array,), (shaped,), loc=op.loc))
        return shaped


def _is_zeros(op: Op) -> bool:
    """Whether a region does nothing but fill arrays with zeros: memory that the system hands out is zero already."""
    ops = op.blocks[0].ops
    if any(o.name not in ("const", "full", "yield") for o in ops) or not all(map(is_array, op.results)):
        return False
    constants = [o.attrs["value"] for o in ops if o.name == "const"]
    filled = {o.result for o in ops if o.name == "full"}
    return (
        bool(constants)
        and all(repr(c) in ("0", "0.0", "False", "0j") for c in constants)
        and all(array_type(v).shape and v in filled for v in ops[-1].operands)
    )


def _frozen(**attrs: Any) -> Mapping[str, Any]:
    return MappingProxyType(attrs)
