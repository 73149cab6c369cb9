"""Text to IR: the inverse of `tensorjit.ir.printer`. The grammar is in docs/ir.md.

The text may come from anywhere (an archive, a network), so it is only ever data: nothing here evaluates,
imports or looks up a name of Python, and what text cannot hold stays an `Opaque`. Blocks, attrs and
expressions are read with a stack of their own and every count has a limit: the worst text is a `FormatError`
with its line and column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, final

from tensorjit.errors import FormatError, Loc
from tensorjit.ir.graph import NO_ATTRS, Block, Graph, Op, Value
from tensorjit.ir.kernel import Kernel
from tensorjit.ir.kernel_reader import KernelReader
from tensorjit.ir.printer import block_label
from tensorjit.ir.texts import LABELS
from tensorjit.ir.tokens import MAX_NESTING, MAX_OPS, NAME, STRING, Budget, Tokens, base_name, fail_at
from tensorjit.ir.types import Type
from tensorjit.ir.value_reader import ValueReader
from tensorjit.records import dataclass

_STRUCTURE = re.compile(rf'{STRING}|#[^\n]*|[()\[\]{{}}]|[%@"]|{NAME}')


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
    budget = Budget()
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
            fail_at(text, match.start(), f"more than {MAX_OPS} sections")
    return starts


def _section(text: str, start: int, end: int, sections: dict[str, Graph | Kernel], budget: Budget) -> Graph | Kernel:
    tokens = Tokens(text, start, end)
    at = tokens.start
    word = tokens.name("`graph` or `kernel`")
    if word not in ("graph", "kernel"):
        fail_at(text, at, "expected `graph` or `kernel`")
    key_at, key = tokens.start, tokens.key()
    name = base_name(key)
    section: Graph | Kernel
    if word == "graph":
        section = _GraphReader(ValueReader(tokens, sections), budget).graph(name)
    else:
        section = KernelReader(tokens, budget).read(name)
    if tokens.kind != "end":
        tokens.fail("expected `graph`, `kernel` or the end of the text")
    if key in sections:
        fail_at(text, key_at, f"a second section {key}")
    sections[key] = section
    return section


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
    def __init__(self, values: ValueReader, budget: Budget) -> None:
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
        tokens.go_to(params_at)  # the params' types name the symbols that are declared behind them
        params = self._params()
        tokens.go_to(resume)
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
            hint = "" if name[1].isdigit() else base_name(name[1:])
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
        self.tokens.expect(block_label(head.name, len(head.blocks)))
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
