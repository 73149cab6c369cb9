"""IR to text: what `tensorjit.ir.parser` reads back and ``print(f.graph)`` shows. The grammar is in
docs/ir.md.

Text is ASCII whatever the names are: a name that is no plain identifier is quoted and escaped, as a string
is."""

from __future__ import annotations

import re
import struct
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np

from tensorjit.errors import Loc
from tensorjit.ir import dtypes
from tensorjit.ir.dims import Apply as DimApply
from tensorjit.ir.dims import Dim, DimExpr, Symbol, symbols_of
from tensorjit.ir.dtypes import BOOL, C128, F64, I64, DType
from tensorjit.ir.graph import Block, Graph, Op, Value
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
from tensorjit.ir.rewriter import walk_values
from tensorjit.ir.types import ArrayType, Loop, ScalarType, Type, UnknownType
from tensorjit.records import dataclass

BLOCK_LABELS: Mapping[str, tuple[str, ...]] = {
    "if": ("then", "else"),
    "for": ("do", "else"),
    "while": ("test", "do", "else"),
}
LABELS = frozenset({"then", "else", "do", "test"})
GRAPH_WORDS = frozenset({"graph", "kernel", "symbols", "attrs", *LABELS})
KERNEL_WORDS = frozenset(
    {
        "ops",
        "view",
        "scalar",
        "scratch",
        "let",
        "if",
        "else",
        "for",
        "vector",
        "parallel",
        "reduce",
        "from",
        "at",
    }
)
NUMBER_WORDS = frozenset({"inf", "nan", "True", "False", "None"})

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_FILENAME = re.compile(r"[A-Za-z0-9_./<>+=@~-]+")
_ESCAPED = re.compile(r"[^ !#-\[\]-~]")
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_PYTHON_SCALARS = {"b": "bool", "i": "int", "f": "float", "c": "complex"}
_DEFAULT_NAN = 0x7FF8000000000000
_SIGN = 1 << 63


@final
@dataclass(frozen=True, slots=True)
class Opaque:
    """What the parser makes of ``@name``: text has the name alone of a Python object (a function, a
    class)."""

    name: str


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
    names = _unique({id(s): s.name for s in sections}, GRAPH_WORDS)
    texts = []
    for section in sections:
        if isinstance(section, Graph):
            texts.append(_GraphPrinter(names).graph(section))
        else:
            texts.append(_KernelPrinter().kernel(section, names[id(section)]))
    return "\n\n".join(texts)


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
    return _KernelPrinter().kernel(kernel, quoted(kernel.name, GRAPH_WORDS))


# --- names and constants ------------------------------------------------------------------------------------


def string(text: str) -> str:
    r"""A string literal in ASCII.

    >>> print(string('a"b\n'), string("\u03b1"))
    "a\"b\n" "\u03b1"
    """
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(name: str, reserved: frozenset[str] = frozenset(), dotted: bool = False) -> str:
    """A name as it is if it is a plain identifier and no reserved word, else as a string."""
    plain = (_DOTTED if dotted else _PLAIN).fullmatch(name)
    return name if plain and name not in reserved and name not in NUMBER_WORDS else string(name)


def _unique(hints: Mapping[int, str], reserved: frozenset[str] = frozenset()) -> dict[int, str]:
    """id -> text of its name: the hint, with a number from the second one of the same hint on."""
    counts: dict[str, int] = {}
    out: dict[int, str] = {}
    for key, hint in hints.items():
        count = counts.get(hint, 0)
        counts[hint] = count + 1
        out[key] = quoted(hint, reserved) + (f".{count}" if count else "")
    return out


def scalar_text(value: bool | int | float | complex) -> str:
    """A Python number, exactly: also the sign of a zero, an infinity, and the bits of a NaN.

    >>> scalar_text(-0.0), scalar_text(complex(1.0, float("inf"))), scalar_text(float("nan"))
    ('-0.0', '1.0+infj', 'nan')
    """
    if isinstance(value, complex):
        imag = _float_text(value.imag)
        return _float_text(value.real) + ("" if imag.startswith("-") else "+") + imag + "j"
    if isinstance(value, float):
        return _float_text(value)
    # str() of an int beyond 4300 digits raises; hexadecimal has no such limit
    return str(value) if isinstance(value, bool) or abs(value) < _SIGN else hex(value)


def _float_text(value: float) -> str:
    if value == value:
        return repr(float(value))
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    sign = "-" if bits & _SIGN else ""
    payload = bits & ~_SIGN
    return f"{sign}nan" if payload == _DEFAULT_NAN else f"{sign}nan.{payload:016x}"


# --- dims, types, attrs -------------------------------------------------------------------------------------


def dim_text(dim: Dim) -> str:
    """A size: ``3``, ``2*n-1``, ``max(n-1, 0)``."""
    if not isinstance(dim, DimExpr):
        return str(dim)
    out = ""
    for monomial, factor in dim.terms:
        atoms = [_atom_text(a) for a in monomial]
        size = abs(factor)
        sign = "-" if factor < 0 else ("+" if out else "")
        out += sign + "*".join(([str(size)] if size != 1 or not atoms else []) + atoms)
    return out


def _atom_text(atom: Symbol | DimApply) -> str:
    if isinstance(atom, Symbol):
        return quoted(atom.name)
    return f"{atom.function}({', '.join(map(dim_text, atom.args))})"


def type_text(of: Type) -> str:
    """A type. Python's bool and NumPy's are two types: `bool` and `bool_`."""
    if isinstance(of, UnknownType):
        return "?"
    if isinstance(of, ArrayType):
        layout = "" if of.layout == "C" else f":{of.layout}"
        return f"{of.dtype}[{', '.join(map(dim_text, of.shape))}]{layout}"
    if of.python:
        return _PYTHON_SCALARS.get(of.dtype.kind, "int")
    return "bool_" if of.dtype == BOOL else of.dtype.name


def loc_text(loc: Loc) -> str:
    """A location as the comment that ends an op's line: ``# file.py:12:4-9 in function``."""
    name = loc.filename if _FILENAME.fullmatch(loc.filename) else string(loc.filename)
    end = f"-{loc.end_col}" if loc.end_col else ""
    function = ""
    if loc.function:
        plain = _FILENAME.fullmatch(loc.function)
        function = f" in {loc.function if plain else string(loc.function)}"
    return f"# {name}:{loc.lineno}:{loc.col}{end}{function}"


def opaque_name(value: object) -> str:
    """How text names a Python object: by its qualified name, or its class's if it has none."""
    if isinstance(value, Opaque):
        return value.name
    if isinstance(value, np.ufunc):
        return f"numpy.{value.__name__}"
    if isinstance(value, types.ModuleType):
        return value.__name__
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return f"{module}.{name}" if isinstance(module, str) else name
    return f"{type(value).__module__}.{type(value).__qualname__}"


_Named = Mapping[int, str]


def attr_text(value: object, sections: _Named = types.MappingProxyType({})) -> str:
    """An attr's value.

    >>> attr_text((None, 1, "a", slice(0, None), {"k": DType("f64", "f", 8, "d")}, np.sin))
    '(None, 1, "a", slice(0, None, None), {k=dtype(f64)}, @numpy.sin)'
    """
    show = _ATTRS.get(type(value))
    if show is not None:
        return show(value)
    if isinstance(value, tuple):
        items = [attr_text(v, sections) for v in value]
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if isinstance(value, Mapping) and all(type(k) is str for k in value):
        return attrs_text(value, sections)
    if isinstance(value, slice):
        parts = ", ".join(attr_text(v, sections) for v in (value.start, value.stop, value.step))
        return f"slice({parts})"
    if isinstance(value, Graph | Kernel):
        section = "graph" if isinstance(value, Graph) else "kernel"
        return f"{section}({sections.get(id(value), string(value.name))})"
    if isinstance(value, np.generic):
        dtype = dtypes.from_numpy(value.dtype)
        if dtype is not None:
            return f"numpy({dtype}, {scalar_text(value.item())})"
    name = opaque_name(value)
    return "@" + (name if _DOTTED.fullmatch(name) else string(name))


def attrs_text(attrs: Mapping[str, object], sections: _Named = types.MappingProxyType({})) -> str:
    items = (f"{quoted(k)}={attr_text(attrs[k], sections)}" for k in sorted(attrs))
    return "{" + ", ".join(items) + "}"


_ATTRS: Mapping[type, Callable[[Any], str]] = {
    Loop: lambda v: f"loop({string(str(v))})",
    type(None): str,
    bool: str,
    int: scalar_text,
    float: scalar_text,
    complex: scalar_text,
    str: string,
    bytes: lambda v: "b" + string(v.decode("latin-1")),
    type(Ellipsis): lambda v: "...",
    DType: lambda v: f"dtype({v})",
    ArrayType: lambda v: f"type({type_text(v)})",
    ScalarType: lambda v: f"type({type_text(v)})",
    UnknownType: lambda v: f"type({type_text(v)})",
    DimExpr: lambda v: f"dim({dim_text(v)})",
}


def leaves(value: object) -> Iterator[object]:
    """The parts of an attr's value that are neither tuple, dict nor slice."""
    stack = [value]
    while stack:
        v = stack.pop()
        if isinstance(v, tuple):
            stack.extend(reversed(v))
        elif isinstance(v, Mapping):
            stack.extend(v[k] for k in sorted(v, key=str, reverse=True))
        elif isinstance(v, slice):
            stack.extend((v.step, v.stop, v.start))
        else:
            yield v


# --- graphs -------------------------------------------------------------------------------------------------


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
    def __init__(self, sections: _Named) -> None:
        self.sections = sections
        self.names: dict[int, str] = {}
        self.lines: list[str] = []

    def graph(self, graph: Graph) -> str:
        values = list(walk_values(graph))
        hinted = _unique({id(v): v.name for v in values if v.name})
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
    labels = BLOCK_LABELS.get(op.name, ())
    return [(labels[k] if k < len(labels) else "do", b) for k, b in enumerate(op.blocks)]


def _comment(loc: Loc | None) -> str:
    return "" if loc is None else f"  {loc_text(loc)}"


def _symbol_text(symbol: Symbol) -> str:
    return f"{quoted(symbol.name)} >= {symbol.low}{' != 1' if symbol.not_one else ''}"


def print_op(op: Op) -> str:
    """One op without its blocks, for messages; operands show as their hints."""
    printer = _GraphPrinter({})
    printer.names = {id(v): quoted(v.name) if v.name else "_" for v in (*op.operands, *op.results)}
    return printer.op(op)


# --- kernels ------------------------------------------------------------------------------------------------


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
        return f"{_kernel_name(reduction.name)}: {reduction.op} {reduction.dtype}{start}"

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


# Here and not in graph.py and kernel.py, which are below this module and must not import it.
Graph.__str__ = print_graph  # type: ignore[method-assign, assignment]
Kernel.__str__ = print_kernel  # type: ignore[method-assign, assignment]
Op.__str__ = print_op  # type: ignore[method-assign, assignment]
