"""Graphs to text: what `tensorjit.ir.parser` reads back and ``print(f.graph)`` shows. The grammar is in docs/ir.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tensorjit.errors import Loc
from tensorjit.ir.core import CORE
from tensorjit.ir.dims import DimExpr, Symbol, symbols_of
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.kernel import Kernel
from tensorjit.ir.kernel_printer import kernel_text
from tensorjit.ir.rewriter import walk_values
from tensorjit.ir.texts import GRAPH_WORDS, Named, attrs_text, leaves, loc_text, quoted, type_text, unique
from tensorjit.ir.types import ArrayType


def block_label(name: str, index: int) -> str:
    """What a block of an op is called."""
    labels = CORE[name].blocks if name in CORE else ()
    return labels[index] if index < len(labels) else "do"


def print_graph(graph: Graph) -> str:
    """The text of a graph, followed by the graphs and kernels that its attrs hold.

    >>> from tensorjit.ir.graph import Builder
    >>> b = Builder([Value(name="x")])
    >>> two = b.add("const", attrs={"value": 2.0})
    >>> y = b.add("binary", [b.params[0], two], attrs={"op": "*"}, hint="y", loc=Loc("f.py", 2, 4))
    >>> print(print_graph(Graph("double", b.block(("return", [y])))))
    graph double(%x: ?)
    {
      %0: ? = const() {value=2.0}
      %y: ? = binary(%x, %0) {op="*"}  # f.py:2:4
      return(%y)
    }
    """
    sections = _sections(graph)
    names = unique({id(s): s.name for s in sections}, GRAPH_WORDS)
    texts = []
    for section in sections:
        if isinstance(section, Graph):
            texts.append(_GraphPrinter(names).graph(section))
        else:
            texts.append(kernel_text(section, names[id(section)]))
    return "\n\n".join(texts)


def graph_symbols(graph: Graph) -> list[Symbol]:
    """The symbols of a graph's types and attrs, sorted by name."""
    found: set[Symbol] = set()
    for value in walk_values(graph):
        _add_symbols(value.type, found)
    for attrs in (graph.attrs, *(op.attrs for op in graph.walk())):
        for v in attrs.values():
            for leaf in leaves(v):
                _add_symbols(leaf, found)
    return sorted(found)


def _add_symbols(value: object, found: set[Symbol]) -> None:
    dims = value.shape if isinstance(value, ArrayType) else (value,)
    for dim in dims:
        if isinstance(dim, DimExpr):
            found.update(symbols_of(dim))


def _references(section: Graph | Kernel) -> list[Graph | Kernel]:
    if isinstance(section, Kernel):
        return []
    held = [section.attrs, *(op.attrs for op in section.walk())]
    return [v for attrs in held for a in attrs.values() for v in leaves(a) if isinstance(v, Graph | Kernel)]


def _sections(graph: Graph) -> list[Graph | Kernel]:
    """A graph and all that its attrs hold, each before what it refers to: reversed postorder."""
    out: list[Graph | Kernel] = []
    seen = {id(graph)}
    stack: list[tuple[Graph | Kernel, list[Graph | Kernel]]] = [(graph, _references(graph))]
    while stack:
        section, rest = stack[-1]
        if not rest:
            out.append(section)
            stack.pop()
            continue
        held = rest.pop()
        if id(held) not in seen:
            seen.add(id(held))
            stack.append((held, _references(held)))
    return out[::-1]


class _GraphPrinter:
    def __init__(self, sections: Named) -> None:
        self.sections = sections
        self.names: dict[int, str] = {}
        self.lines: list[str] = []

    def graph(self, graph: Graph) -> str:
        values = list(walk_values(graph))
        hinted = unique({id(v): v.name for v in values if v.name})
        free = iter(range(len(values)))
        self.names = {id(v): hinted[id(v)] if v.name else str(next(free)) for v in values}
        header = f"graph {self.sections[id(graph)]}{self._params(graph.params)}"
        self.lines.append(header + _comment(graph.loc))
        symbols = ", ".join(map(_symbol_text, graph_symbols(graph)))
        self.lines += [f"  symbols ({symbols})"] if symbols else []
        self.lines += [f"  attrs {attrs_text(graph.attrs, self.sections)}"] if graph.attrs else []
        self.lines.append("{")
        self._ops(graph.block.ops)
        self.lines.append("}")
        return "\n".join(self.lines)

    def _ops(self, ops: Sequence[Op]) -> None:
        """The lines of a block, without recursion (an elif chain nests deeply)."""
        stack: list[tuple[Iterator[Op | tuple[str, Block]], str]] = [(iter(ops), "")]
        while stack:
            items, closing = stack[-1]
            item = next(items, None)
            indent = "  " * len(stack)
            if item is None:
                stack.pop()
                self.lines += [closing] if closing else []
            elif isinstance(item, Op):
                self.lines.append(indent + self.op(item))
                if item.blocks:
                    stack.append((iter(_labelled(item)), ""))
            else:
                label, block = item
                params = " " + self._params(block.params) if block.params else ""
                self.lines.append(f"{indent}{label}{params} {{")
                stack.append((iter(block.ops), indent + "}"))

    def op(self, op: Op) -> str:
        results = ", ".join(map(self._typed, op.results))
        name = quoted(op.name, GRAPH_WORDS, dotted=True)
        operands = ", ".join(map(self._name, op.operands))
        attrs = f" {attrs_text(op.attrs, self.sections)}" if op.attrs else ""
        return f"{results}{' = ' if results else ''}{name}({operands}){attrs}{_comment(op.loc)}"

    def _params(self, params: Sequence[Value]) -> str:
        return f"({', '.join(map(self._typed, params))})"

    def _typed(self, value: Value) -> str:
        return f"{self._name(value)}: {type_text(value.type)}"

    def _name(self, value: Value) -> str:
        # `%!x` does not parse: the value is defined nowhere, which a dump of broken IR must be able to show
        return "%" + self.names.get(id(value), f"!{quoted(value.name)}")


def _labelled(op: Op) -> list[tuple[str, Block]]:
    return [(block_label(op.name, k), b) for k, b in enumerate(op.blocks)]


def _comment(loc: Loc | None) -> str:
    return "" if loc is None else f"  {loc_text(loc)}"


def _symbol_text(symbol: Symbol) -> str:
    return f"{quoted(symbol.name)} >= {symbol.low}{' != 1' if symbol.not_one else ''}"


def print_op(op: Op) -> str:
    """One op without its blocks, for messages; operands show as their hints."""
    printer = _GraphPrinter({})
    printer.names = {id(v): quoted(v.name) if v.name else "_" for v in (*op.operands, *op.results)}
    return printer.op(op)


# Here and not in graph.py, which is below this module and must not import it.
Graph.__str__ = print_graph  # type: ignore[method-assign, assignment]
Op.__str__ = print_op  # type: ignore[method-assign, assignment]
