"""Blocks of a generic graph as statements with expression trees: a value used once goes into its use where no effect would change
places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import final

from tensorjit.ir.core import Form
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.records import dataclass

_MAX_TREE = 40  # ops in one printed expression


@final
@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """An expression: a variable read (`value`), or an op on trees. An `if` has three: condition, then, else."""

    value: Value | None = None
    op: Op | None = None
    args: tuple[Tree, ...] = ()
    form: str = ""  # of an `if`: "and", "or" or "ternary"
    size: int = 1

    def reads(self) -> Iterator[Value]:
        stack = [self]
        while stack:
            top = stack.pop()
            if top.value is not None:
                yield top.value
            stack.extend(top.args)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Stmt:
    """A statement: `kind` is an op's name, or assign, copy; `defs` the variables that it assigns."""

    kind: str
    defs: tuple[Value, ...] = ()
    trees: tuple[Tree, ...] = ()
    blocks: tuple[list[Stmt], ...] = ()
    op: Op | None = None

    @property
    def is_update(self) -> bool:
        return self.op is not None and self.op.row is not None and self.op.row.form == "update"

    def reads(self) -> Iterator[Value]:
        for tree in self.trees:
            yield from tree.reads()


def _form(op: Op) -> Form:
    assert op.row is not None  # a generic op
    return op.row.form


def _is_statement(op: Op) -> bool:
    """Whether a branch with this op in it is more than an expression."""
    return op.is_loop or (op.is_terminator and op.name != "yield") or _form(op) in ("statement", "update")


def _node(op: Op, args: Sequence[Tree], form: str = "") -> Tree:
    return Tree(None, op, tuple(args), form, 1 + sum(a.size for a in args))


@final
@dataclass(slots=True, eq=False)
class _Frame:
    """A block being shaped: the statements so far, and the values that wait, in order, to go into their one
    use."""

    out: list[Stmt] = field(default_factory=list)
    pending: list[Value] = field(default_factory=list)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """Where a block's `yield`, `continue` and `break` put their values."""

    results: tuple[Value, ...] | None = None
    carried: tuple[Value, ...] = ()


@final
class Shaper:
    """Blocks into statements."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.uses: dict[Value, int] = {}
        self.trees: dict[Value, Tree] = {}
        self.home: dict[Value, Value] = {}  # a loop's parameter -> the loop's result, one variable with it
        self.read_by: dict[Value, Sequence[Value]] = {}  # an item that is read to be updated -> its array and key
        self.shortcut: dict[Op, str] = {}  # an `if` that is `and` or `or`
        self.pinned: set[Value] = set()  # variables that nested functions read by name
        self.no_expression: set[Op] = set()
        for op in graph.walk():
            operands = op.operands
            if op.name == "inplace_subscript":  # the second use of its array and key does not count: `x[k] += y`
                self.read_by[operands[2]] = operands[:2]
                operands = operands[2:]
            for value in operands:
                self.uses[value] = self.uses.get(value, 0) + 1
        self._shortcuts(graph.block)
        self.body = self.block(graph.block, _Target())[0]

    def _shortcuts(self, block: Block) -> None:
        """`if truth(a) {... yield b} {yield a}` is `a and b`: the second use of a does not count."""
        stack = [block]
        while stack:
            ops = stack.pop().ops
            for before, op in zip((None, *ops), ops, strict=False):
                stack.extend(op.blocks)
                if op.name != "if" or len(op.results) != 1 or before is None or before.name != "truth":
                    continue
                if op.operands[0] is not before.result or self.uses[before.result] != 1:
                    continue
                tested = before.operands[0]
                for index, form in ((1, "and"), (0, "or")):
                    (*rest, last) = op.blocks[index].ops
                    if not rest and last.name == "yield" and last.operands == (tested,):
                        self.shortcut[op] = form
                        self.uses[tested] -= 1
                        break

    def tree(self, value: Value) -> Tree:
        value = self.home.get(value, value)
        return self.trees.get(value) or Tree(value)

    def block(self, block: Block, target: _Target) -> tuple[list[Stmt], Tree | None]:
        """The statements of a block, and the tree of what it yields where `target` has no place for that."""
        frame = _Frame()
        for op in block.ops[:-1]:
            if _form(op) == "name":
                self._leaf(frame, op)
            elif op.name == "if":
                self._if(frame, op, target)
            elif op.blocks:
                self._loop(frame, op, target)
            else:
                self._plain(frame, op)
        return frame.out, self._end(frame, block.ops[-1], target)

    def _end(self, frame: _Frame, op: Op, target: _Target) -> Tree | None:
        args = self._take(frame, op.operands)
        if op.name == "yield" and target.results is None:
            return args[0]
        self._flush(frame)
        if op.name == "yield":
            self._copy(frame, target.results or (), args)
        elif op.name in ("continue", "break"):
            self._copy(frame, target.carried, args)
            frame.out.append(Stmt(op.name))
        else:
            frame.out.append(Stmt(op.name, (), tuple(args), op=op))
        return None

    def _copy(self, frame: _Frame, defs: Sequence[Value], trees: Sequence[Tree]) -> None:
        pairs = [(d, t) for d, t in zip(defs, trees, strict=True) if t.value is not d]
        if pairs:
            frame.out.append(Stmt("copy", tuple(d for d, _ in pairs), tuple(t for _, t in pairs)))

    def _take(self, frame: _Frame, operands: Sequence[Value]) -> list[Tree]:
        """Trees of the operands, in order of evaluation: what waits may go in if it stands at the end, in
        that order."""
        waiting = [v for v in operands if v in self.trees and v in frame.pending]
        if waiting:
            tail = frame.pending[-len(waiting) :]
            if all(a is b for a, b in zip(tail, waiting, strict=False)) and len(tail) == len(waiting):
                del frame.pending[-len(waiting) :]
            else:
                self._flush(frame)
        return [self.tree(v) for v in operands]

    def _flush(self, frame: _Frame) -> None:
        for value in frame.pending:
            tree = self.trees.pop(value)
            if value in self.read_by:
                tree = self._read_by_variables(frame, value, tree)
            frame.out.append(Stmt("assign", (value,), (tree,)))
        frame.pending.clear()

    def _read_by_variables(self, frame: _Frame, value: Value, tree: Tree) -> Tree:
        """An item read into a variable before it is updated: its array and key are used again, to store it."""
        for part, text in zip(self.read_by[value], tree.args, strict=True):
            if text.op is not None and _form(text.op) != "name":
                self.trees.pop(part, None)
                frame.out.append(Stmt("assign", (part,), (text,)))
        assert tree.op is not None
        return _node(tree.op, [self.tree(part) for part in self.read_by[value]])

    def _leaf(self, frame: _Frame, op: Op) -> None:
        value = op.result
        if value.name and op.name != "unbound":
            self._flush(frame)
            frame.out.append(Stmt("assign", (value,), (_node(op, ()),)))
        elif op.name == "global" and not self.uses.get(value) and op.attrs["name"] not in ("any", "all"):
            self._flush(frame)  # read for nothing, but it may raise NameError
            frame.out.append(Stmt("assign", (), (_node(op, ()),)))
        else:
            self.trees[value] = _node(op, ())

    def _plain(self, frame: _Frame, op: Op) -> None:
        if op.name == "function":
            self._function(frame, op)
            return
        if op.name == "set_subscript":
            value, container, key = self._take(frame, (op.operands[2], op.operands[0], op.operands[1]))
            args = [container, key, value]
        elif op.name == "inplace_subscript":
            args = self._take(frame, op.operands[2:])
            if args[0].value is not None:  # read into a variable, because the value is more than an expression
                args = [*args, *map(self.tree, op.operands[:2])]
        else:
            args = self._take(frame, op.operands)
        if _form(op) == "update" and args[0].op is not None and args[0].op.name == "bound":
            args[0] = args[0].args[0]  # the printed update reads the variable first, too
        if _form(op) in ("statement", "update"):
            self._flush(frame)
            frame.out.append(Stmt(op.name, op.results, tuple(args), op=op))
        else:
            self._value(frame, op.result, _node(op, args), named=bool(op.result.name) and op.name != "bound")

    def _value(self, frame: _Frame, value: Value, tree: Tree, named: bool) -> None:
        """A computed value waits for its use, or gets a variable, or is a statement of its own."""
        uses = self.uses.get(value, 0)
        if uses == 1 and not named and tree.size <= _MAX_TREE:
            self.trees[value] = tree
            frame.pending.append(value)
            return
        self._flush(frame)
        frame.out.append(Stmt("assign", (value,) if uses or named else (), (tree,)))

    def _function(self, frame: _Frame, op: Op) -> None:
        captured = op.operands[: len(op.attrs.get("captures", ()))]
        if any(v in frame.pending for v in captured):
            self._flush(frame)
        args = self._take(frame, op.operands[len(captured) :])
        trees = [self.tree(v) for v in captured]
        self.pinned.update(t.value for t in trees if t.value is not None)
        body = Shaper(op.attrs["graph"]).body
        single = len(body) == 1 and body[0].kind == "return" and op.attrs["graph"].name == "<lambda>"
        tree = _node(op, [*trees, *args])
        if single:
            self._value(frame, op.result, tree, named=bool(op.result.name))
        else:
            self._flush(frame)
            frame.out.append(Stmt("function", (op.result,), (tree,), op=op))

    def _if(self, frame: _Frame, op: Op, target: _Target) -> None:
        (condition,) = self._take(frame, op.operands[:1])
        if any(v in frame.pending for b in op.blocks for o in b.walk() for v in o.operands):
            self._flush(frame)
        form = self.shortcut.get(op, "")
        if len(op.results) == 1 and op not in self.no_expression:
            parts = self._branches_as_trees(op, form)
            if parts is not None:
                tree = _node(op, [condition, *parts], form or "ternary")
                self._value(frame, op.result, tree, named=bool(op.result.name))
                return
            # To try again within each `if` around this one would take exponential time.
            self.no_expression.add(op)
        self._flush(frame)
        if form and condition.args:
            # Tested and given: it needs a variable after all.
            (tested,) = condition.args
            value = self._tested(op)
            if tested.op is not None and _form(tested.op) != "name":
                self.trees.pop(value, None)
                frame.out.append(Stmt("assign", (value,), (tested,)))
                condition = _node(condition.op, [Tree(value)]) if condition.op is not None else condition
        inner = _Target(op.results, target.carried)
        blocks = tuple(self.block(b, inner)[0] for b in op.blocks)
        frame.out.append(Stmt("if", (), (condition,), blocks, op))

    def _tested(self, op: Op) -> Value:
        index = 1 if self.shortcut[op] == "and" else 0
        return op.blocks[index].terminator.operands[0]

    def _branches_as_trees(self, op: Op, form: str) -> list[Tree] | None:
        """What the branches yield, if that is all that they do."""
        parts: list[Tree] = []
        for index, block in enumerate(op.blocks):
            if (form, index) in (("and", 1), ("or", 0)):
                continue
            if any(_is_statement(o) for o in block.walk()):
                return None
            out, tree = self.block(block, _Target())
            if out or tree is None or tree.size > _MAX_TREE:
                return None
            parts.append(tree)
        return parts

    def _loop(self, frame: _Frame, op: Op, target: _Target) -> None:
        if any(v in frame.pending for v in op.carried):
            self._flush(frame)
        args = self._take(frame, op.lead)
        self._flush(frame)
        self._copy(frame, op.results, [self.tree(v) for v in op.carried])
        for block in op.blocks:
            lead = len(block.params) - len(op.results)
            self.home.update(zip(block.params[lead:], op.results, strict=True))
        inside = _Target(None, op.results)
        after = _Target(op.results, target.carried)
        orelse = [] if op.orelse is None else [self.block(op.orelse, after)[0]]
        if op.test is None:
            body, _ = self.block(op.body, inside)
            item = op.body.params[:1]
            frame.out.append(Stmt("for", item, tuple(args), (body, *orelse), op))
            return
        head, condition = self.block(op.test, inside)
        assert condition is not None
        body, _ = self.block(op.body, inside)
        frame.out.append(Stmt("while", (), (condition,), (head, body, *orelse), op))
