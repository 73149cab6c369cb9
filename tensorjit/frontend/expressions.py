"""Expressions, one handler for each kind of syntax, operands evaluated in Python's order."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tensorjit.frontend.control import branches
from tensorjit.frontend.lowering import ExpressionHandler, Lowering
from tensorjit.frontend.scopes import walrus_names
from tensorjit.ir.graph import Value

BINARY: Final[Mapping[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
UNARY: Final[Mapping[type[ast.unaryop], str]] = {
    ast.USub: "-",
    ast.UAdd: "+",
    ast.Invert: "~",
    ast.Not: "not",
}
COMPARE: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "isnot",
    ast.In: "in",
    ast.NotIn: "notin",
}
CONVERSIONS: Final[Mapping[int, str]] = {-1: "", ord("s"): "s", ord("r"): "r", ord("a"): "a"}


def _constant(fn: Lowering, node: ast.Constant, hint: str) -> Value:
    return fn.constant(node.value, node, hint)


def _name(fn: Lowering, node: ast.Name, hint: str) -> Value:
    return fn.read(node.id, node, hint)


def _attribute(fn: Lowering, node: ast.Attribute, hint: str) -> Value:
    return fn.emit("attr", (fn.expr(node.value),), node, {"name": mangled(fn, node.attr)}, hint)


def mangled(fn: Lowering, name: str) -> str:
    """`__x` inside a class is `_Class__x`: the function's code has the name as it is."""
    if not name.startswith("__") or name.endswith("__"):
        return name
    known = [n for n in fn.shared.source.code.co_names if n.endswith(name) and n.startswith("_") and n != name]
    return known[0] if known else name


def _subscript(fn: Lowering, node: ast.Subscript, hint: str) -> Value:
    return fn.emit("subscript", (fn.expr(node.value), fn.expr(node.slice)), node, hint=hint)


def _slice(fn: Lowering, node: ast.Slice, hint: str) -> Value:
    parts = [fn.constant(None, node) if p is None else fn.expr(p) for p in (node.lower, node.upper, node.step)]
    return fn.emit("slice", parts, node, hint=hint)


def _tuple(fn: Lowering, node: ast.Tuple, hint: str) -> Value:
    return _sequence(fn, "tuple", node, hint)


def _list(fn: Lowering, node: ast.List, hint: str) -> Value:
    return _sequence(fn, "list", node, hint)


def _sequence(fn: Lowering, op: str, node: ast.Tuple | ast.List, hint: str) -> Value:
    values, star = _starred(fn, node.elts)
    return fn.emit(op, values, node, {"star": star} if star else {}, hint)


def _starred(fn: Lowering, nodes: Sequence[ast.expr], first: int = 0) -> tuple[list[Value], tuple[int, ...]]:
    """Values of the nodes, and the operand indices of those with a star (counted from `first`)."""
    star = tuple(i for i, n in enumerate(nodes, first) if isinstance(n, ast.Starred))
    return [fn.expr(n.value if isinstance(n, ast.Starred) else n) for n in nodes], star


def _dict(fn: Lowering, node: ast.Dict, hint: str) -> Value:
    keys: list[object] = []
    for key in node.keys:
        if key is None:
            return fn.refuse("`**` in a dict display is not supported", node, "write out the keys")
        if not isinstance(key, ast.Constant):
            return fn.refuse("a dict key must be a literal", key, "use strings or numbers written in the source as keys")
        keys.append(key.value)
    return fn.emit("dict", [fn.expr(v) for v in node.values], node, {"keys": tuple(keys)}, hint)


def _binary(fn: Lowering, node: ast.BinOp, hint: str) -> Value:
    """A long sum leans to the left: its spine is walked in a loop, not by recursion."""
    spine = [node]
    while isinstance(spine[-1].left, ast.BinOp):
        spine.append(spine[-1].left)
    value = fn.expr(spine[-1].left)
    for link in reversed(spine):
        attrs = {"op": BINARY[type(link.op)]}
        value = fn.emit("binary", (value, fn.expr(link.right)), link, attrs, hint if link is node else "")
    return value


def _unary(fn: Lowering, node: ast.UnaryOp, hint: str) -> Value:
    operand = node.operand
    if isinstance(node.op, ast.USub) and isinstance(operand, ast.Constant) and type(operand.value) in (int, float):
        return fn.constant(-operand.value, node, hint)  # type: ignore[operator]
    return fn.emit("unary", (fn.expr(operand),), node, {"op": UNARY[type(node.op)]}, hint)


def _compare(fn: Lowering, node: ast.Compare, hint: str) -> Value:
    return _chain(fn, node, fn.expr(node.left), 0, hint)


def _compare_truth(fn: Lowering, node: ast.Compare, hint: str) -> Value:
    return _chain(fn, node, fn.expr(node.left), 0, hint, as_truth=True)


def _chain(fn: Lowering, node: ast.Compare, left: Value, index: int, hint: str, as_truth: bool = False) -> Value:
    """`a < b < c` is `a < b and b < c` with b evaluated once."""
    right = fn.expr(node.comparators[index])
    last = index == len(node.comparators) - 1
    value = fn.emit("compare", (left, right), node, {"op": COMPARE[type(node.ops[index])]}, hint if last else "")
    if last:
        return fn.emit("truth", (value,), node) if as_truth else value
    condition = fn.emit("truth", (value,), node)
    if as_truth:
        value = condition
    keys = _rebound(fn, node.comparators[index + 1 :])
    bodies = (lambda: _chain(fn, node, right, index + 1, "", as_truth), lambda: value)
    return _valued(branches(fn, condition, keys, bodies, node, hint))


def _bool_op(fn: Lowering, node: ast.BoolOp, hint: str) -> Value:
    return _and_or(fn, node, 0, hint)


def _bool_truth(fn: Lowering, node: ast.BoolOp, hint: str) -> Value:
    return _and_or(fn, node, 0, hint, as_truth=True)


def _and_or(fn: Lowering, node: ast.BoolOp, index: int, hint: str, as_truth: bool = False) -> Value:
    """`a and b` gives a or b themselves, as Python does; their truth where only that counts."""
    read = fn.truth if as_truth else fn.expr
    if index == len(node.values) - 1:
        return read(node.values[index])
    value = read(node.values[index])
    condition = value if as_truth else fn.emit("truth", (value,), node.values[index])
    keys = _rebound(fn, node.values[index + 1 :])

    def rest() -> Value:
        return _and_or(fn, node, index + 1, "", as_truth)

    def first() -> Value:
        return value

    bodies = (rest, first) if isinstance(node.op, ast.And) else (first, rest)
    return _valued(branches(fn, condition, keys, bodies, node, hint))


def _ternary(fn: Lowering, node: ast.IfExp, hint: str) -> Value:
    condition = fn.truth(node.test)
    keys = _rebound(fn, (node.body, node.orelse))
    bodies = (lambda: fn.expr(node.body), lambda: fn.expr(node.orelse))
    return _valued(branches(fn, condition, keys, bodies, node, hint))


def _rebound(fn: Lowering, nodes: Sequence[ast.expr]) -> list[str]:
    if not fn.scope.walrus:
        return []
    return list(dict.fromkeys(fn.key(name) for node in nodes for name in walrus_names(node)))


def _valued(value: Value | None) -> Value:
    assert value is not None
    return value


def _walrus(fn: Lowering, node: ast.NamedExpr, hint: str) -> Value:
    value = fn.expr(node.value, node.target.id)
    # Not `bind`: within a comprehension, the name is the function's.
    fn.env[node.target.id] = value
    return value


def lower_call(fn: Lowering, node: ast.Call, hint: str = "") -> Value:
    """A call, its operands the function, the arguments, and the values of the keywords."""
    for keyword in node.keywords:
        if keyword.arg is None:
            return fn.refuse("`**` in a call is not supported", keyword, "write out the keyword arguments")
    function = fn.expr(node.func)
    values, star = _starred(fn, node.args, first=1)
    values += [fn.expr(k.value) for k in node.keywords]
    names = tuple(k.arg for k in node.keywords)
    return fn.emit("call", (function, *values), node, {"keywords": names, "star": star}, hint)


def _f_string(fn: Lowering, node: ast.JoinedStr, hint: str) -> Value:
    operands: list[Value] = []
    parts = _format_parts(fn, node, operands)
    return fn.emit("format", operands, node, {"parts": parts}, hint)


def _format_parts(fn: Lowering, node: ast.JoinedStr, operands: list[Value]) -> tuple[Any, ...]:
    parts: list[Any] = []
    for piece in node.values:
        if isinstance(piece, ast.Constant):
            parts.append(piece.value)
        elif isinstance(piece, ast.FormattedValue):
            index = len(operands)
            operands.append(fn.expr(piece.value))
            parts.append(_replacement(fn, piece, index, operands))
    return tuple(parts)


def _replacement(fn: Lowering, piece: ast.FormattedValue, index: int, operands: list[Value]) -> Any:
    spec: Any = ""
    if isinstance(piece.format_spec, ast.JoinedStr):
        inner = _format_parts(fn, piece.format_spec, operands)
        spec = "".join(inner) if all(isinstance(p, str) for p in inner) else inner
    conversion = CONVERSIONS[piece.conversion]
    return index if not spec and not conversion else (index, conversion, spec)


def _lone_star(fn: Lowering, node: ast.Starred, hint: str) -> Value:
    return fn.refuse("a star is not supported here", node, "unpack into names first")


CONDITIONS: Final[Mapping[type[ast.AST], ExpressionHandler]] = {ast.BoolOp: _bool_truth, ast.Compare: _compare_truth}

EXPRESSIONS: Final[Mapping[type[ast.AST], ExpressionHandler]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.Slice: _slice,
    ast.Tuple: _tuple,
    ast.List: _list,
    ast.Dict: _dict,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.BoolOp: _bool_op,
    ast.IfExp: _ternary,
    ast.NamedExpr: _walrus,
    ast.Call: lower_call,
    ast.JoinedStr: _f_string,
    ast.Starred: _lone_star,
}
