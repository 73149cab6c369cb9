"""Text to IR: the inverse of `tensorjit.ir.printer`. The grammar is in docs/ir.md.

The text may come from anywhere (an archive, a network), so it is only ever data: nothing here evaluates,
imports or looks up a name of Python, and what text cannot hold stays an `Opaque`. Blocks, attrs and
expressions are read with a stack of their own and every count has a limit: the worst text is a `FormatError`
with its line and column.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, Literal, NoReturn, final, get_args

import numpy as np

from tensorjit.errors import FormatError, Loc
from tensorjit.ir import dtypes, kernel
from tensorjit.ir.dims import FUNCTIONS, Dim, DimExpr, Symbol
from tensorjit.ir.dims import Apply as DimApply
from tensorjit.ir.dtypes import I64, DType
from tensorjit.ir.graph import NO_ATTRS, Block, Graph, Op, Value
from tensorjit.ir.kernel import Expr, For, If, Kernel, Reduction, Stmt
from tensorjit.ir.printer import (
    BLOCK_LABELS,
    LABELS,
    Opaque,
    constant_dtype,
    default_dtype,
    result_dtype,
)
from tensorjit.ir.types import (
    NP_BOOL,
    PY_BOOL,
    PY_COMPLEX,
    PY_FLOAT,
    PY_INT,
    UNKNOWN,
    ArrayType,
    Loop,
    ScalarType,
    Type,
)
from tensorjit.records import dataclass

MAX_OPS = 100_000
MAX_NESTING = 200
MAX_ATTR_NESTING = 50  # attrs are printed and compared by recursion
MAX_DIM_TERMS = 1000
MAX_DIM_NESTING = 50  # sizes nest by recursion, here and in dims.py
MAX_RANK = 64  # NumPy's
INT64 = range(-(1 << 63), 1 << 63)

_STRING = r'"(?:[ !#-\[\]-~]|\\(?:["\\nt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4}))*"'
_PLAIN = r"[A-Za-z_][A-Za-z0-9_]*"
_NAME = rf"{_PLAIN}(?:\.[A-Za-z0-9_]+)*"
_FLOAT = r"(?:inf|nan(?:\.[0-9a-f]{16})?|[0-9]+(?:\.[0-9]+(?:e[+-]?[0-9]+)?|e[+-]?[0-9]+))"
_FILE = rf"[A-Za-z0-9_./<>+=@~-]+|{_STRING}"
_END = r"(?![A-Za-z0-9_])"
_TOKENS = {
    "loc": r"#[^\n]*",
    "value": rf"%(?:[0-9]+|(?:{_PLAIN}|{_STRING})(?:\.[0-9]+)?)",
    "opaque": rf"@(?:{_NAME}|{_STRING})",
    "bytes": f"b{_STRING}",
    "string": rf"{_STRING}(?:\.[0-9]+)?",
    "complex": rf"-?{_FLOAT}[+-]{_FLOAT}j{_END}",
    "float": rf"-?{_FLOAT}{_END}",
    "int": rf"-?(?:0x[0-9a-f]+|[0-9]+){_END}",
    "name": _NAME,
    "sign": r"\.\.\.|>=|!=|<-|[()\[\]{}<,:=*+?-]",
    "end": r"\Z",
}
_TOKEN = re.compile(r"[ \t\r\n]*(?:" + "|".join(f"(?P<{k}>{v})" for k, v in _TOKENS.items()) + ")")
_COMPLEX = re.compile(rf"(-?{_FLOAT})\+?(-?{_FLOAT})j")
_LOC = re.compile(rf"# ({_FILE}):(-?[0-9]+):(-?[0-9]+)(?:-(-?[0-9]+))?(?: in ({_FILE}))?[ \r]*")
_STRUCTURE = re.compile(rf'{_STRING}|#[^\n]*|[()\[\]{{}}]|[%@"]|{_NAME}')
_ESCAPE = re.compile(r"\\(?:x(..)|u(....)|U(........)|(.))")
_SCALARS: Mapping[str, Type] = {
    "bool": PY_BOOL, "int": PY_INT, "float": PY_FLOAT, "complex": PY_COMPLEX, "bool_": NP_BOOL,
}  # fmt: skip


def parse_graph(text: str) -> Graph:
    """The graph that a text describes; FormatError if it describes none.

    >>> print(parse_graph("graph f(%x: f64[3]) { %y: f64[3] = add(%x, %x) return(%y) }"))
    graph f(%x: f64[3])
    {
      %y: f64[3] = add(%x, %x)
      return(%y)
    }
    """
    first = _parse(text)
    if not isinstance(first, Graph):
        raise FormatError("line 1, column 1: a kernel where a graph is wanted")
    return first


def parse_kernel(text: str) -> Kernel:
    """The kernel that a text describes; FormatError if it describes none.

    >>> parse_kernel("kernel k { view x: f64, rank 0, written x[] = 1.0 }").body[0].expr
    Const(value=1.0, dtype=f64)
    """
    first = _parse(text)
    if not isinstance(first, Kernel):
        raise FormatError("line 1, column 1: a graph where a kernel is wanted")
    return first


def _parse(text: str) -> Graph | Kernel:
    starts = _section_starts(text)
    if not starts or text[: starts[0]].strip(" \t\r\n"):
        starts = [0, *starts]  # so that what comes before the first section is met, and refused
    budget = _Budget()
    sections: dict[str, Graph | Kernel] = {}
    for start, end in reversed([*zip(starts, [*starts[1:], len(text)], strict=True)]):
        section = _section(text, start, end, sections, budget)
    return section


def _section_starts(text: str) -> list[int]:
    """Where the words `graph` and `kernel` stand outside all brackets. Sections are read from the last to the
    first, as each refers to later ones only."""
    starts, depth = [], 0
    for match in _STRUCTURE.finditer(text):
        token = match.group()
        if token in "([{":
            depth += 1
        elif token in ")]}":
            depth -= 1
        elif depth == 0 and token in ("graph", "kernel") and text[match.start() - 1 : match.start()] not in ("%", "@"):
            starts.append(match.start())
        if len(starts) > MAX_OPS:
            _fail(text, match.start(), f"more than {MAX_OPS} sections")
    return starts


def _section(text: str, start: int, end: int, sections: dict[str, Graph | Kernel], budget: _Budget) -> Graph | Kernel:
    tokens = _Tokens(text, start, end)
    at = tokens.start
    word = tokens.name("`graph` or `kernel`")
    if word not in ("graph", "kernel"):
        _fail(text, at, "expected `graph` or `kernel`")
    key_at, key = tokens.start, tokens.key()
    name = _base(key)
    section: Graph | Kernel
    if word == "graph":
        section = _GraphReader(_Values(tokens, sections), budget).graph(name)
    else:
        section = _KernelReader(tokens, budget).read(name)
    if tokens.kind != "end":
        tokens.fail("expected `graph`, `kernel` or the end of the text")
    if key in sections:
        _fail(text, key_at, f"a second section {key}")
    sections[key] = section
    return section


def _fail(text: str, at: int, message: str) -> NoReturn:
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    raise FormatError(f"line {line}, column {column}: {message}")


@final
class _Budget:
    """Counts ops and statements over all sections of a text."""

    def __init__(self) -> None:
        self.left = MAX_OPS

    def take(self, tokens: _Tokens) -> None:
        self.left -= 1
        if self.left < 0:
            tokens.fail(f"more than {MAX_OPS} ops")


# --- tokens -------------------------------------------------------------------------------------------------


@final
class _Tokens:
    """A text as tokens, one ahead: `kind` and `text` of the token to come, and its `start`."""

    def __init__(self, source: str, start: int, end: int) -> None:
        self.source = source
        self.limit = end
        self._read(start)

    def _read(self, at: int) -> None:
        match = _TOKEN.match(self.source, at, self.limit)
        if match is None or match.lastgroup is None:
            while self.source[at] in " \t\r\n":
                at += 1
            _fail(self.source, at, "no token begins here")
        self.kind, self.text = match.lastgroup, match.group(match.lastgroup)
        self.start, self.stop = match.start(match.lastgroup), match.end()

    def take(self) -> str:
        """Passes over the token to come, and gives its text."""
        text = self.text
        self._read(self.stop)
        return text

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        if at is not None:
            _fail(self.source, at, message)
        found = "the end of the text" if self.kind == "end" else self.text[:40]
        _fail(self.source, self.start, f"{message}, found {found}")

    def at(self, text: str) -> bool:
        """Whether the token to come is this sign or bare word."""
        return self.text == text and self.kind in ("sign", "name")

    def skip(self, text: str) -> bool:
        """Passes over this sign or bare word if it is to come."""
        found = self.at(text)
        if found:
            self.take()
        return found

    def expect(self, text: str) -> None:
        if not self.skip(text):
            self.fail(f"expected `{text}`")

    def name(self, what: str) -> str:
        if self.kind != "name":
            self.fail(f"expected {what}")
        return self.take()

    def key(self) -> str:
        """A plain or quoted name with the number that makes it unique, as written."""
        if self.kind not in ("name", "string"):
            self.fail("expected a name")
        return self.take()

    def plain(self, dotted: bool = False) -> str:
        """A plain or quoted name, without a number."""
        at, key = self.start, self.key()
        name = _base(key)
        if not dotted and not key.startswith('"') and name != key:
            self.fail("a name with a dot must be quoted", at)
        if key.startswith('"') and not key.endswith('"'):
            self.fail("no number may follow this name", at)
        return key if dotted and not key.startswith('"') else name

    def string(self) -> str:
        if self.kind != "string" or not self.text.endswith('"'):
            self.fail("expected a string")
        return _unquote(self.take())

    def size(self) -> int:
        """An integer of 64 bits."""
        if self.kind != "int":
            self.fail("expected an integer")
        at, value = self.start, self._integer(self.text)
        self.take()
        if value not in INT64:
            self.fail("an integer beyond 64 bits", at)
        return value

    def count(self) -> int:
        at, value = self.start, self.size()
        if value < 0:
            self.fail("a negative number", at)
        return value

    def _integer(self, text: str) -> int:
        if "x" in text:
            return int(text, 16)
        if len(text) > 20:  # longer ones are written in hexadecimal; int() refuses some and is slow for others
            self.fail("a decimal integer of more than 19 digits")
        return int(text)

    def _float(self, text: str) -> float:
        sign, _, payload = text.partition("nan.")
        if not payload:
            return float(text)
        bits = int(payload, 16) | (1 << 63 if sign else 0)
        (value,) = struct.unpack("<d", struct.pack("<Q", bits))
        if value == value:
            self.fail("these are not the bits of a NaN")
        return float(value)

    def number(self) -> bool | int | float | complex | None:
        """A Python number if one is to come."""
        match self.kind:
            case "int":
                value: bool | int | float | complex = self._integer(self.text)
            case "float":
                value = self._float(self.text)
            case "complex":
                parts = _COMPLEX.fullmatch(self.text)
                assert parts is not None
                value = complex(self._float(parts[1]), self._float(parts[2]))
            case "name" if self.text in ("True", "False"):
                value = self.text == "True"
            case _:
                return None
        self.take()
        return value

    def dtype(self) -> DType:
        at, name = self.start, self.name("a dtype")
        found = dtypes.BY_NAME.get(name)
        if found is None:
            self.fail(f"no dtype {name}", at)
        return found

    def loc(self) -> Loc | None:
        """A location if one is to come."""
        if self.kind != "loc":
            return None
        match = _LOC.fullmatch(self.text)
        if match is None:
            self.fail("expected `# file:line:column`")
        filename, function = (_unquote(t) if t.startswith('"') else t for t in (match[1], match[5] or ""))
        lineno, col, end_col = (self._integer(t) for t in (match[2], match[3], match[4] or "0"))
        self.take()
        return Loc(filename, lineno, col, end_col, function=function)


def _unquote(text: str) -> str:
    return _ESCAPE.sub(_unescape, text[1:-1])


def _unescape(match: re.Match[str]) -> str:
    short = match[4]
    if short is not None:
        return {"n": "\n", "t": "\t"}.get(short, short)
    return chr(int(match[1] or match[2] or match[3], 16))


def _base(key: str) -> str:
    """The name in a key: `x` of ``x.1``, `a b` of ``"a b".1``."""
    if key.startswith('"'):
        return _unquote(key[: key.rindex('"') + 1])
    return key.split(".", 1)[0]


# --- dims, types, attrs -------------------------------------------------------------------------------------


@final
@dataclass(slots=True)
class _Open:
    """A tuple, dict or call in an attr that is not closed yet; a dict's `keys` go with its `items`."""

    kind: Literal["tuple", "dict", "slice"]
    at: int
    items: list[object] = field(default_factory=list)
    keys: list[str] | None = None
    comma: bool = False

    @property
    def closer(self) -> str:
        return "}" if self.kind == "dict" else ")"


@final
class _Values:
    """Reads types, sizes and attrs of one section; `symbols` are the sizes that its header declares."""

    def __init__(self, tokens: _Tokens, sections: Mapping[str, Graph | Kernel]) -> None:
        self.tokens = tokens
        self.sections = sections
        self.symbols: dict[str, Symbol] = {}

    def declare(self) -> None:
        """``(n >= 0, m >= 2 != 1)``"""
        tokens = self.tokens
        tokens.expect("(")
        while True:
            at, name = tokens.start, tokens.plain()
            if name in self.symbols:
                tokens.fail(f"a second symbol {name}", at)
            tokens.expect(">=")
            low = tokens.size()
            not_one = tokens.skip("!=")
            if not_one and tokens.size() != 1:
                tokens.fail("expected `!= 1`", at)
            self.symbols[name] = Symbol(name, low, not_one)
            if not tokens.skip(","):
                break
        tokens.expect(")")

    def dim(self, depth: int = 0) -> Dim:
        """A sum of products. Nothing is simplified but the sum: what was printed was simple."""
        at = self.tokens.start
        if depth > MAX_DIM_NESTING:
            self.tokens.fail(f"sizes nest deeper than {MAX_DIM_NESTING}")
        total: Dim = 0
        for count in range(MAX_DIM_TERMS):
            negative = self.tokens.skip("-")
            if not (count == 0 or negative or self.tokens.skip("+") or self._negative_int()):
                return total
            term = self._term(depth)
            total = total - term if negative else total + term
        self.tokens.fail(f"a size of more than {MAX_DIM_TERMS} terms", at)

    def _negative_int(self) -> bool:
        return self.tokens.kind == "int" and self.tokens.text.startswith("-")

    def _term(self, depth: int) -> Dim:
        factor = 1
        if self.tokens.kind == "int":
            factor = self.tokens.size()
            if not self.tokens.skip("*"):
                return factor
        atoms = [self._atom(depth)]
        while self.tokens.skip("*"):
            atoms.append(self._atom(depth))
            if len(atoms) > MAX_DIM_TERMS:
                self.tokens.fail(f"a size of more than {MAX_DIM_TERMS} factors")
        return DimExpr(((tuple(sorted(atoms, key=str)), factor),)) if factor else 0

    def _atom(self, depth: int) -> Symbol | DimApply:
        tokens = self.tokens
        at, bare = tokens.start, tokens.kind == "name"
        name = tokens.plain()
        if bare and tokens.skip("("):
            if name not in FUNCTIONS:
                tokens.fail(f"no function {name} of sizes", at)
            first = self.dim(depth + 1)
            tokens.expect(",")
            second = self.dim(depth + 1)
            tokens.expect(")")
            if second == 0 and name in ("floordiv", "mod"):
                tokens.fail("a size divided by 0", at)
            return DimApply(name, (first, second))
        if name not in self.symbols:
            tokens.fail(f"no symbol {name} is declared", at)
        return self.symbols[name]

    def read_type(self) -> Type:
        tokens = self.tokens
        if tokens.skip("?"):
            return UNKNOWN
        if tokens.kind == "name" and tokens.text in _SCALARS:
            at, name = tokens.start, tokens.take()
            if not tokens.at("["):
                return _SCALARS[name]
            if name != "bool":
                tokens.fail(f"no dtype {name}", at)
            dtype = dtypes.BOOL
        else:
            dtype = tokens.dtype()
        return self._shape(dtype) if tokens.skip("[") else ScalarType(dtype)

    def _shape(self, dtype: DType) -> ArrayType:
        tokens = self.tokens
        at, shape, size = tokens.start, list[Dim](), dtype.size
        while not tokens.at("]"):
            if shape:
                tokens.expect(",")
            dim = self.dim()
            shape.append(dim)
            if isinstance(dim, int):
                size *= dim or 1
                if dim < 0 or size not in INT64:
                    tokens.fail("no array has this size", at)
        tokens.expect("]")
        if len(shape) > MAX_RANK:
            tokens.fail(f"a rank above {MAX_RANK}", at)
        layout: Literal["C", "F", "A"] = "C"
        if tokens.skip(":"):
            where, word = tokens.start, tokens.name("a layout")
            if word not in ("C", "F", "A"):
                tokens.fail(f"no layout {word}", where)
            layout = word  # type: ignore[assignment]
        return ArrayType(dtype, tuple(shape), layout)

    def attrs(self) -> Mapping[str, Any]:
        if not self.tokens.at("{"):
            return NO_ATTRS
        value = self.value()
        assert isinstance(value, Mapping)
        return value or NO_ATTRS

    def value(self) -> object:
        """An attr's value, without recursion."""
        stack: list[_Open] = []
        while True:
            opened = self._open()
            if opened is not None:
                stack.append(opened)
                if len(stack) > MAX_ATTR_NESTING:
                    self.tokens.fail(f"attrs nest deeper than {MAX_ATTR_NESTING}")
            else:
                done = self._atom_value()
                if not stack:
                    return done
                self._add(stack[-1], done)
            while self.tokens.skip(stack[-1].closer):
                done = self._closed(stack.pop())
                if not stack:
                    return done
                self._add(stack[-1], done)
            self._key(stack[-1])

    def _open(self) -> _Open | None:
        tokens = self.tokens
        at = tokens.start
        if tokens.skip("("):
            return _Open("tuple", at)
        if tokens.skip("{"):
            return _Open("dict", at, keys=[])
        if tokens.skip("slice"):
            tokens.expect("(")
            return _Open("slice", at)
        return None

    def _key(self, container: _Open) -> None:
        """What stands between two items: the comma, which must be there, and the next key of a dict."""
        tokens = self.tokens
        if container.items and not container.comma:
            tokens.fail(f"expected `,` or `{container.closer}`")
        container.comma = False
        if container.keys is not None:
            at, key = tokens.start, tokens.plain()
            if key in container.keys[-1:] or (len(container.keys) and key < container.keys[-1]):
                tokens.fail("keys must be sorted and differ", at)
            container.keys.append(key)
            tokens.expect("=")

    def _add(self, container: _Open, item: object) -> None:
        container.items.append(item)
        container.comma = self.tokens.skip(",")
        if container.comma and self.tokens.at(container.closer) and (
            container.kind != "tuple" or len(container.items) != 1
        ):  # fmt: skip
            self.tokens.fail("expected a value")

    def _closed(self, container: _Open) -> object:
        items = container.items
        if container.kind == "tuple":
            if len(items) == 1 and not container.comma:
                self.tokens.fail("a tuple of one item ends in `,)`", container.at)
            return tuple(items)
        if container.kind == "slice":
            if len(items) != 3:
                self.tokens.fail("a slice has three parts", container.at)
            return slice(*items)
        return MappingProxyType(dict(zip(container.keys or (), items, strict=True)))

    def _atom_value(self) -> object:
        tokens = self.tokens
        number = tokens.number()
        if number is not None:
            return number
        if tokens.kind == "string":
            return tokens.string()
        if tokens.kind == "bytes":
            return self._bytes()
        if tokens.kind == "opaque":
            name = tokens.take()[1:]
            return Opaque(_unquote(name) if name.startswith('"') else name)
        if tokens.skip("..."):
            return Ellipsis
        at, word = tokens.start, tokens.name("a value")
        if word == "None":
            return None
        if word not in _TAGS:
            tokens.fail(f"no value begins with {word[:40]}", at)
        tokens.expect("(")
        value = _TAGS[word](self)
        tokens.expect(")")
        return value

    def _bytes(self) -> bytes:
        at, text = self.tokens.start, _unquote(self.tokens.take()[1:])
        if any(ord(c) > 255 for c in text):
            self.tokens.fail("a byte above 255", at)
        return text.encode("latin-1")

    def numpy_scalar(self) -> np.generic:
        tokens = self.tokens
        dtype = tokens.dtype()
        tokens.expect(",")
        at, number = tokens.start, tokens.number()
        kinds = {"b": bool, "i": int, "u": int, "f": float, "c": complex}
        if number is None or type(number) is not kinds[dtype.kind]:
            tokens.fail(f"no number of dtype {dtype}", at)
        if isinstance(number, int) and dtype.kind in "iu":
            info = np.iinfo(dtype.numpy)
            if not info.min <= number <= info.max:
                tokens.fail(f"a number beyond {dtype}", at)
        with np.errstate(all="ignore"):
            array = np.array([number]).astype(dtype.numpy)
        value: np.generic = array[0]
        return value

    def loop(self) -> Loop:
        at, text = self.tokens.start, self.tokens.string()
        found = Loop.parse(text)
        if found is None:
            self.tokens.fail(f"no loop is {text[:40]}", at)
        return found

    def section(self, kind: type[Graph] | type[Kernel]) -> Graph | Kernel:
        at, key = self.tokens.start, self.tokens.key()
        section = self.sections.get(key)
        if not isinstance(section, kind):
            self.tokens.fail(f"no section {key} follows", at)
        return section

    def dim_value(self) -> DimExpr:
        at, dim = self.tokens.start, self.dim()
        if not isinstance(dim, DimExpr):
            self.tokens.fail("a known size is written as a plain integer", at)
        return dim


_TAGS: Mapping[str, Callable[[_Values], object]] = {
    "dtype": lambda v: v.tokens.dtype(),
    "type": _Values.read_type,
    "dim": _Values.dim_value,
    "numpy": _Values.numpy_scalar,
    "loop": _Values.loop,
    "graph": lambda v: v.section(Graph),
    "kernel": lambda v: v.section(Kernel),
}


# --- graphs -------------------------------------------------------------------------------------------------


@final
@dataclass(slots=True)
class _Head:
    """An op as far as its line says; `results` are (name in the text, position, type)."""

    name: str
    operands: tuple[Value, ...]
    results: list[tuple[str, int, Type]]
    attrs: Mapping[str, Any]
    loc: Loc | None
    blocks: list[Block] = field(default_factory=list)


@final
@dataclass(slots=True)
class _Frame:
    """A block that is not closed yet, and the op that it belongs to."""

    head: _Head | None
    params: tuple[Value, ...]
    ops: list[Op] = field(default_factory=list)


@final
class _GraphReader:
    def __init__(self, values: _Values, budget: _Budget) -> None:
        self.reader = values
        self.tokens = values.tokens
        self.budget = budget
        self.values: dict[str, Value] = {}

    def graph(self, name: str) -> Graph:
        tokens = self.tokens
        params_at = tokens.start
        self._skip_params()
        loc = tokens.loc()
        if tokens.skip("symbols"):
            self.reader.declare()
        resume = tokens.start
        tokens._read(params_at)  # the params' types name the symbols that are declared behind them
        params = self._params()
        tokens._read(resume)
        attrs = self.reader.attrs() if tokens.skip("attrs") else NO_ATTRS
        tokens.expect("{")
        return Graph(name, self._block(params), attrs, loc)

    def _skip_params(self) -> None:
        depth = 0
        while self.tokens.kind != "end":
            token = self.tokens.take()
            depth += (token in ("(", "[")) - (token in (")", "]"))
            if depth == 0:
                return

    def _params(self) -> tuple[Value, ...]:
        tokens = self.tokens
        tokens.expect("(")
        typed = [] if tokens.at(")") else self._typed()
        tokens.expect(")")
        return self._define(typed)

    def _typed(self) -> list[tuple[str, int, Type]]:
        tokens, out = self.tokens, []
        while True:
            if tokens.kind != "value":
                tokens.fail("expected a %name")
            at, name = tokens.start, tokens.take()
            tokens.expect(":")
            out.append((name, at, self.reader.read_type()))
            if not tokens.skip(","):
                return out

    def _define(self, typed: list[tuple[str, int, Type]]) -> tuple[Value, ...]:
        out = []
        for name, at, value_type in typed:
            if name in self.values:
                self.tokens.fail(f"a second definition of {name}", at)
            hint = "" if name[1].isdigit() else _base(name[1:])
            self.values[name] = Value(value_type, hint)
            out.append(self.values[name])
        return tuple(out)

    def _block(self, params: tuple[Value, ...]) -> Block:
        """The rest of a block behind its `{`, with the blocks inside it, without recursion."""
        stack = [_Frame(None, params)]
        while True:
            if self.tokens.skip("}"):
                frame = stack.pop()
                block = Block(frame.params, tuple(frame.ops))
                if frame.head is None:
                    return block
                head = frame.head
                head.blocks.append(block)
            else:
                head = self._head()
            if self.tokens.kind == "name" and self.tokens.text in LABELS:
                stack.append(self._open(head))
                if len(stack) > MAX_NESTING:
                    self.tokens.fail(f"blocks nest deeper than {MAX_NESTING}")
            else:
                stack[-1].ops.append(self._op(head))

    def _open(self, head: _Head) -> _Frame:
        labels, count = BLOCK_LABELS.get(head.name, ()), len(head.blocks)
        label = labels[count] if count < len(labels) else "do"
        self.tokens.expect(label)
        params = self._params() if self.tokens.at("(") else ()
        self.tokens.expect("{")
        return _Frame(head, params)

    def _head(self) -> _Head:
        tokens = self.tokens
        self.budget.take(tokens)
        results = []
        if tokens.kind == "value":
            results = self._typed()
            tokens.expect("=")
        name = tokens.plain(dotted=True)
        tokens.expect("(")
        operands = self._operands()
        attrs = self.reader.attrs()
        return _Head(name, operands, results, attrs, tokens.loc())

    def _operands(self) -> tuple[Value, ...]:
        tokens, out = self.tokens, list[Value]()
        while not tokens.skip(")"):
            if out:
                tokens.expect(",")
            if tokens.kind != "value":
                tokens.fail("expected a %name")
            value = self.values.get(tokens.text)
            if value is None:
                tokens.fail("no such value is defined yet")
            tokens.take()
            out.append(value)
        return tuple(out)

    def _op(self, head: _Head) -> Op:
        results = self._define(head.results)
        return Op(head.name, head.operands, results, head.attrs, tuple(head.blocks), head.loc)


# --- kernels ------------------------------------------------------------------------------------------------

_LOOPS: Mapping[str, kernel.LoopKind] = {"for": "serial", "vector": "vector", "parallel": "parallel"}


@final
@dataclass(slots=True)
class _Nest:
    """A For or If that is not closed yet: its statements so far, of a finished `then`, how to build it."""

    build: Callable[[list[Stmt], list[Stmt] | None], Stmt]
    reductions: tuple[Reduction, ...] = ()
    may_else: bool = False
    body: list[Stmt] = field(default_factory=list)
    then: list[Stmt] | None = None


@final
@dataclass(slots=True)
class _Call:
    """A Load or Apply that is not closed yet."""

    name: str
    closer: str
    dtype: DType | None
    at: int
    args: list[Expr] = field(default_factory=list)


@final
class _KernelReader:
    def __init__(self, tokens: _Tokens, budget: _Budget) -> None:
        self.tokens = tokens
        self.budget = budget
        self.scopes: list[dict[str, DType]] = [{}]
        self.buffers: dict[str, DType] = {}

    def read(self, name: str) -> Kernel:
        tokens = self.tokens
        tokens.expect("{")
        ops = self._op_names() if tokens.skip("ops") else ()
        views = tuple(self._each("view", self._view))
        scalars = tuple(self._each("scalar", self._scalar))
        scratch = tuple(self._each("scratch", self._scratch))
        return Kernel(name, views, scalars, self._statements(), scratch, ops)

    def _each(self, word: str, read: Callable[[], Any]) -> Iterator[Any]:
        while self.tokens.skip(word):
            self.budget.take(self.tokens)
            yield read()

    def _op_names(self) -> tuple[str, ...]:
        self.tokens.expect("(")
        names = [self.tokens.string()]
        while self.tokens.skip(","):
            names.append(self.tokens.string())
        self.tokens.expect(")")
        return tuple(names)

    def _named(self) -> tuple[str, DType]:
        name = self.tokens.plain()
        self.tokens.expect(":")
        return name, self.tokens.dtype()

    def _view(self) -> kernel.ViewParam:
        tokens = self.tokens
        name, dtype = self._named()
        tokens.expect(",")
        tokens.expect("rank")
        at, rank = tokens.start, tokens.count()
        if rank > MAX_RANK:
            tokens.fail(f"a rank above {MAX_RANK}", at)
        words: dict[str, int | None] = {}
        while tokens.skip(","):
            at, word = tokens.start, tokens.name("`unit`, `written` or `unaligned`")
            if word in words or word not in ("unit", "written", "unaligned"):
                tokens.fail("expected `unit`, `written` or `unaligned`, each once", at)
            words[word] = tokens.count() if word == "unit" else None
        self.buffers[name] = dtype
        return kernel.ViewParam(name, dtype, rank, words.get("unit"), "written" in words, "unaligned" not in words)

    def _scalar(self) -> kernel.ScalarParam:
        name, dtype = self._named()
        self.scopes[0][name] = dtype
        return kernel.ScalarParam(name, dtype)

    def _scratch(self) -> kernel.Scratch:
        name, dtype = self._named()
        self.tokens.expect("[")
        extent = self.expr()
        self.tokens.expect("]")
        self.buffers[name] = dtype
        return kernel.Scratch(name, dtype, extent)

    def _statements(self) -> tuple[Stmt, ...]:
        """The rest of a kernel behind its header, without recursion."""
        stack = [_Nest(lambda body, then: body[0])]
        while True:
            nest = stack[-1]
            if self.tokens.skip("}"):
                self.scopes.pop()
                if len(stack) == 1:
                    return tuple(nest.body)
                if nest.may_else and nest.then is None and self.tokens.skip("else"):
                    self.tokens.expect("{")
                    nest.then, nest.body = nest.body, []
                    self.scopes.append({})
                    continue
                stack.pop()
                stack[-1].body.append(nest.build(nest.body, nest.then))
                self.scopes[-1].update((r.name, result_dtype(r)) for r in nest.reductions)
                continue
            self.budget.take(self.tokens)
            inner = self._nest()
            if inner is None:
                nest.body.append(self._simple())
            else:
                stack.append(inner)
                if len(stack) > MAX_NESTING:
                    self.tokens.fail(f"statements nest deeper than {MAX_NESTING}")

    def _nest(self) -> _Nest | None:
        tokens = self.tokens
        if tokens.skip("if"):
            cond = self.expr()
            tokens.expect("{")
            self.scopes.append({})
            return _Nest(lambda body, then: _if(cond, body, then), may_else=True)
        if tokens.kind != "name" or tokens.text not in _LOOPS:
            return None
        kind = _LOOPS[tokens.take()]
        index = tokens.plain()
        tokens.expect("<")
        extent = self.expr()
        reductions = tuple(self._reductions()) if tokens.skip("reduce") else ()
        tokens.expect("{")
        self.scopes.append({index: I64})
        return _Nest(lambda body, then: For(index, extent, tuple(body), kind, reductions), reductions)

    def _reductions(self) -> Iterator[Reduction]:
        tokens = self.tokens
        tokens.expect("(")
        while True:
            name = tokens.plain()
            tokens.expect(":")
            at, op = tokens.start, tokens.name("a reduction's op")
            if op not in get_args(kernel.ReductionOp):
                tokens.fail(f"no reduction {op}", at)
            dtype = tokens.dtype()
            init = self.expr() if tokens.skip("from") else None
            yield Reduction(name, op, dtype, init)  # type: ignore[arg-type]
            if not tokens.skip(","):
                break
        tokens.expect(")")

    def _simple(self) -> Stmt:
        tokens = self.tokens
        if tokens.skip("let"):
            name = tokens.plain()
            tokens.expect("=")
            expr = self.expr()
            self.scopes[-1][name] = expr.dtype
            return kernel.Let(name, expr)
        name = tokens.plain()
        if tokens.skip("<-"):
            expr = self.expr()
            return kernel.Accumulate(name, expr, self.expr() if tokens.skip("at") else None)
        tokens.expect("[")
        indices = list[Expr]()
        while not tokens.skip("]"):
            if indices:
                tokens.expect(",")
            indices.append(self.expr())
        tokens.expect("=")
        return kernel.Store(name, tuple(indices), self.expr())

    def expr(self) -> Expr:
        """An expression, without recursion."""
        stack: list[_Call] = []
        while True:
            done = self._leaf(stack)
            while True:
                if done is not None:
                    if not stack:
                        return done
                    stack[-1].args.append(done)
                    if self.tokens.skip(","):
                        break
                elif not self.tokens.at(stack[-1].closer):
                    break  # the first argument comes
                self.tokens.expect(stack[-1].closer)
                done = self._call(stack.pop())

    def _leaf(self, stack: list[_Call]) -> Expr | None:
        """A constant or name; None if a Load or Apply was opened instead."""
        tokens = self.tokens
        number = tokens.number()
        if number is not None:
            default = constant_dtype(number)
            assert default is not None
            return kernel.Const(number, self._suffix() or default)
        at, name = tokens.start, tokens.plain()
        dtype = self._suffix()
        for sign, closer in (("(", ")"), ("[", "]")):
            # a Load's dtype stands behind its indices
            if (dtype is None or sign == "(") and tokens.skip(sign):
                stack.append(_Call(name, closer, dtype, at))
                if len(stack) > MAX_NESTING:
                    tokens.fail(f"expressions nest deeper than {MAX_NESTING}")
                return None
        known = dtype or next((s[name] for s in reversed(self.scopes) if name in s), None)
        if known is None:
            tokens.fail(f"no scalar {name[:40]} is in scope", at)
        return kernel.Ref(name, known)

    def _suffix(self) -> DType | None:
        return self.tokens.dtype() if self.tokens.skip(":") else None

    def _call(self, call: _Call) -> Expr:
        args = tuple(call.args)
        if call.closer == "]":
            dtype = self._suffix() or self.buffers.get(call.name)
            if dtype is None:
                self.tokens.fail(f"no view {call.name[:40]}", call.at)
            return kernel.Load(call.name, args, dtype)
        dtype = call.dtype or default_dtype(call.name, [a.dtype for a in args])
        if dtype is None:
            self.tokens.fail(f"{call.name[:40]} needs a dtype", call.at)
        return kernel.Apply(call.name, args, dtype)


def _if(cond: Expr, body: list[Stmt], then: list[Stmt] | None) -> If:
    return If(cond, tuple(body)) if then is None else If(cond, tuple(then), tuple(body))
