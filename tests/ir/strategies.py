"""Random graphs and kernels that are well formed, for hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tensorjit.errors import Loc
from tensorjit.ir.core import BINARY, COMPARE, UNARY, Level
from tensorjit.ir.dims import floordiv, maximum, symbol
from tensorjit.ir.dtypes import BOOL, DTYPES, F32, F64, I64
from tensorjit.ir.graph import Block, Builder, Graph, Value
from tensorjit.ir.kernel import (
    Accumulate,
    Apply,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    LoopKind,
    Reduction,
    Ref,
    ScalarParam,
    Scratch,
    Stmt,
    Store,
    ViewParam,
    i64,
)
from tensorjit.ir.texts import Opaque
from tensorjit.ir.types import NP_BOOL, PY_BOOL, PY_FLOAT, UNKNOWN, ArrayType, ScalarType, Type

N, M = symbol("n", 2, True), symbol("odd name", 0)
TYPES: tuple[Type, ...] = (
    PY_FLOAT,
    PY_BOOL,
    NP_BOOL,
    ScalarType(F64),
    ScalarType(I64),
    ArrayType(F64, (N,)),
    ArrayType(F32, (3, maximum(N - 1, 0) * 2 + floordiv(M, 2)), "F"),
    ArrayType(BOOL, (), "A"),
    ArrayType(BOOL, (M,), "A", "readonly"),
    ArrayType(F64, (N,), access="unsure"),
)
NAMES = st.sampled_from(["", "x", "y", "x1", "if", "graph", "\u03b1", 'a"b', "a.1", "nan", "then"]) | st.text(max_size=6)
LOOPS: tuple[LoopKind, ...] = ("serial", "vector", "parallel")
NUMBERS = st.integers() | st.floats() | st.complex_numbers() | st.booleans()
LEAVES = (
    st.none()
    | NUMBERS
    | st.text()
    | st.binary()
    | st.just(...)
    | st.sampled_from([*DTYPES, *TYPES, N, maximum(N - 1, 0), Opaque("numpy.sin"), Opaque("<odd>\n")])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.tuples(inner, inner)
        | st.tuples(inner)
        | st.just(())
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.builds(slice, inner, inner, inner)
    ),
    max_leaves=6,
)
LOCS = st.none() | st.builds(
    Loc,
    st.sampled_from(["f.py", "a b.py", "C:\\x\n.py", "<stdin>"]),
    st.integers(1, 10**6),
    st.integers(0, 200),
    st.integers(0, 200),
    function=st.sampled_from(["", "f", "f.<locals>.g", "\u03b1"]),
)


class _Maker:
    """Draws the blocks of one graph. `visible` are the values in scope; depth bounds the nesting."""

    def __init__(self, draw: st.DrawFn, level: Level) -> None:
        self.draw = draw
        self.level = level
        self.visible: list[Value] = []

    def graph(self, name: str = "f") -> Graph:
        params = [self.value() for _ in range(self.draw(st.integers(0, 3)))]
        block = self.block(params, 0, {"return": self.types(2)})
        attrs = self.draw(st.dictionaries(st.text(max_size=4), VALUES, max_size=2))
        attrs.pop("symbols", None)
        return Graph(name, block, attrs, self.draw(LOCS))

    def type(self) -> Type:
        return UNKNOWN if self.level == "generic" else self.draw(st.sampled_from(TYPES))

    def types(self, most: int) -> list[Type]:
        return [self.type() for _ in range(self.draw(st.integers(0, most)))]

    def value(self, of: Type | None = None) -> Value:
        return Value(self.type() if of is None else of, self.draw(NAMES))

    def use(self, b: Builder, of: Type) -> Value:
        """A value of that type in scope, or a new constant."""
        fitting = [v for v in self.visible if v.type == of]
        reuse = self.draw(st.booleans())
        if fitting and reuse:
            return self.draw(st.sampled_from(fitting))
        return self.add(b, "const", [], of, {"value": self.draw(LEAVES)})

    def add(self, b: Builder, name: str, operands: Sequence[Value], of: Type, attrs: dict[str, Any]) -> Value:
        value = b.add(name, operands, of, attrs, self.draw(NAMES), self.draw(LOCS))
        self.visible.append(value)
        return value

    def block(self, params: Sequence[Value], depth: int, ends: dict[str, list[Type]]) -> Block:
        """A block that ends in one of `ends`: terminators that may stand here, and the types they carry."""
        outside = len(self.visible)
        b = Builder(params)
        self.visible += params
        for _k in range(self.draw(st.integers(0, 3))):
            self.op(b, depth, {k: v for k, v in ends.items() if k != "yield"})
        end = self.draw(st.sampled_from(sorted(ends)))
        operands = [self.use(b, t) for t in ends[end]]
        b.add_multi(end, operands, attrs={"exception": "ValueError"} if end == "raise" else {}, loc=self.draw(LOCS))
        del self.visible[outside:]
        return b.block()

    def op(self, b: Builder, depth: int, ends: dict[str, list[Type]]) -> None:
        kind = self.draw(st.sampled_from(["plain", "if", "for", "while", "scope"] if depth < 3 else ["plain"]))
        if kind == "plain":
            self.plain(b)
            return
        types = self.types(2)
        carried = {"continue": types, "break": types}
        blocks: list[Block] = []
        operands: list[Value] = []
        leads: dict[str, list[Type]] = {"if": [self.condition()], "for": self.bounds()}
        operands = [self.use(b, t) for t in leads.get(kind, [])]
        if kind == "if":
            blocks = [self.block([], depth + 1, {**ends, "yield": types}) for _ in range(2)]
        elif kind == "scope":
            blocks = [self.block([], depth + 1, {**ends, "yield": types, "leave": types})]
        else:
            operands += [self.use(b, t) for t in types]
            inside = {**ends, **carried}
            item = [self.value()] if kind == "for" else []
            if kind == "while":
                blocks.append(self.block(self.fresh(types), depth + 1, {"yield": [self.condition()]}))
            blocks.append(self.block([*item, *self.fresh(types)], depth + 1, inside))
            if self.draw(st.booleans()):
                blocks.append(self.block(self.fresh(types), depth + 1, {**ends, "yield": types}))
        hints = [self.draw(NAMES) for _ in types]
        self.visible += b.add_multi(kind, operands, types, {}, blocks, hints, self.draw(LOCS))

    def fresh(self, types: Sequence[Type]) -> list[Value]:
        return [self.value(t) for t in types]

    def condition(self) -> Type:
        return UNKNOWN if self.level == "generic" else self.draw(st.sampled_from([PY_BOOL, NP_BOOL]))

    def bounds(self) -> list[Type]:
        return [UNKNOWN] if self.level == "generic" else [ScalarType(I64, python=True)] * 3

    def plain(self, b: Builder) -> None:
        of = self.type()
        if self.level == "specialised":
            name = self.draw(st.sampled_from(["add", "fft.fft", "odd op", "then"]))
            attrs = self.draw(st.dictionaries(st.text(max_size=4), VALUES, max_size=2))
            self.add(b, name, [self.use(b, self.type()) for _ in range(2)], of, attrs)
            return
        ops = {"binary": BINARY, "compare": COMPARE, "unary": UNARY}
        name = self.draw(st.sampled_from(["const", "global", "tuple", "call", "attr", *ops]))
        attrs = {"value": self.draw(VALUES)} if name == "const" else {}
        if name in ("global", "attr"):
            attrs = {"name": self.draw(st.text(min_size=1, max_size=4))}
        if name in ops:
            attrs = {"op": self.draw(st.sampled_from(sorted(ops[name])))}
        counts = {"const": 0, "global": 0, "attr": 1, "unary": 1}
        operands = [self.use(b, UNKNOWN) for _ in range(counts.get(name, 2))]
        self.add(b, name, operands, of, attrs)


@st.composite
def graphs(draw: st.DrawFn, level: Level) -> Graph:
    """A well-formed graph of that level."""
    return _Maker(draw, level).graph(draw(NAMES))


@st.composite
def kernels(draw: st.DrawFn) -> Kernel:
    """A well-formed kernel: a loop nest over two views, with a reduction, a branch and a scratch buffer."""
    row, column = Ref("i", I64), Ref("j", I64)

    def expr(depth: int) -> Expr:
        kind = draw(st.sampled_from(["const", "load", "n"] + (["unary", "binary", "select"] if depth < 4 else [])))
        if kind == "const":
            return Const(draw(st.floats()), F64)
        if kind == "load":
            return Load("x", (row, column), F64)
        if kind == "n":
            return Apply("cast", (Ref("n", I64),), F64)
        if kind == "select":
            return Apply("select", (Apply("lt", (expr(depth + 1), expr(4)), BOOL), expr(4), expr(4)), F64)
        name = draw(st.sampled_from(["exp", "neg", "sqrt"] if kind == "unary" else ["add", "mul", "pow"]))
        return Apply(name, tuple(expr(depth + 1) for _ in range(1 if kind == "unary" else 2)), F64)

    name = draw(st.sampled_from(["t", "let", "odd name"]))
    inner: list[Stmt] = [Let(name, expr(0)), Accumulate("s", Ref(name, F64))]
    if draw(st.booleans()):
        inner.append(If(Apply("isnan", (Ref(name, F64),), BOOL), (Accumulate("s", expr(2)),)))
    kind = draw(st.sampled_from(LOOPS[:2]))
    init = draw(st.sampled_from([None, Const(0.0, F64)]))
    loop = For(
        "j",
        Apply("add", (Ref("n", I64), i64(1)), I64),
        tuple(inner),
        kind,
        (Reduction("s", "sum", F64, init, draw(st.booleans())),),
    )
    stores = (
        Store("out", (row,), Apply("cast", (Ref("s", F64),), F32)),
        Store("buffer", (i64(0),), Ref("s", F64)),
    )
    views = (ViewParam("x", F64, 2, unit_axis=1), ViewParam("out", F32, 1, None, True, draw(st.booleans())))
    ops = tuple(draw(st.lists(st.text(max_size=5), max_size=2)))
    body = For("i", Ref("n", I64), (loop, *stores), draw(st.sampled_from(LOOPS[::2])))
    return Kernel(draw(NAMES), views, (ScalarParam("n", I64),), (body,), (Scratch("buffer", F64, i64(4)),), ops)
