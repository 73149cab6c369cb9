"""A reading of the generic ops, as plain as can be: what a graph from the frontend means, in Python and
NumPy."""

from __future__ import annotations

import builtins
import importlib
import operator
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensorjit.frontend.script import parse
from tensorjit.ir.graph import Block, Graph, Op, Value

UNBOUND = object()
Env = dict[Value, Any]

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "@": operator.matmul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
}
INPLACE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.iadd,
    "-": operator.isub,
    "*": operator.imul,
    "/": operator.itruediv,
    "//": operator.ifloordiv,
    "%": operator.imod,
    "**": operator.ipow,
    "@": operator.imatmul,
    "&": operator.iand,
    "|": operator.ior,
    "^": operator.ixor,
    "<<": operator.ilshift,
    ">>": operator.irshift,
}
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.is_,
    "isnot": operator.is_not,
    "in": lambda a, b: a in b,
    "notin": lambda a, b: a not in b,
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "-": operator.neg,
    "+": operator.pos,
    "~": operator.invert,
    "not": operator.not_,
}


def interpret(function: types.FunctionType) -> Callable[..., Any]:
    """A callable that runs the function's graph."""
    closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    free = {name: cell.cell_contents for name, cell in closure.items()}
    graph = parse(function).graph
    names = {**vars(builtins), **function.__globals__}
    return callable_of(graph, names, free, function.__defaults__ or (), function.__kwdefaults__ or {})


def callable_of(
    graph: Graph,
    names: Mapping[str, Any],
    free: Mapping[str, Any],
    defaults: Sequence[Any],
    kwdefaults: Mapping[str, Any],
    captures: Sequence[Any] = (),
) -> Callable[..., Any]:
    """`captures` has a `find()` for each object that a trace captured."""
    parameters = graph.attrs["parameters"]
    bind = _binder(parameters, defaults, kwdefaults)

    def run(*args: Any, **kwargs: Any) -> Any:
        env: Env = dict(zip(graph.params, bind(*args, **kwargs), strict=True))
        end, values = _Run(names, free, captures).block(graph.block, env)
        assert end == "return", end
        return values[0]

    return run


def _binder(
    parameters: Sequence[tuple[str, str, bool]], defaults: Sequence[Any], kwdefaults: Mapping[str, Any]
) -> Callable[..., Any]:
    """Python itself binds the arguments: a function of the same signature that returns its parameters."""
    parts: list[str] = []
    star = False
    kinds = [kind for _, kind, _ in parameters]
    for i, (name, kind, has_default) in enumerate(parameters):
        if kind == "keyword_only" and not star:
            parts.append("*")
            star = True
        if kind == "var_positional":
            parts.append(f"*{name}")
            star = True
            continue
        parts.append(f"{name}=None" if has_default else name)
        if kind == "positional_only" and "positional_only" not in kinds[i + 1 :]:
            parts.append("/")
    space: dict[str, Any] = {}
    exec(f"def f({', '.join(parts)}): return ({''.join(p[0] + ', ' for p in parameters)})", space)
    function = space["f"]
    function.__defaults__ = tuple(defaults) or None
    function.__kwdefaults__ = dict(kwdefaults) or None
    return function  # type: ignore[no-any-return]


class _Run:
    def __init__(self, names: Mapping[str, Any], free: Mapping[str, Any], captures: Sequence[Any]) -> None:
        self.names = names
        self.free = free
        self.captures = captures

    def block(self, block: Block, env: Env) -> tuple[str, list[Any]]:
        for op in block.ops[:-1]:
            if not op.blocks:
                self.plain(op, env)
                continue
            left = self.control(op, env)
            if left is not None:
                return left
        return self.terminator(block.ops[-1], env)

    def terminator(self, op: Op, env: Env) -> tuple[str, list[Any]]:
        values = [env[v] for v in op.operands]
        if op.name == "raise":
            assert not op.attrs.get("unreachable"), "control got to where it never gets"
            raise values[0]
        if op.name == "return":
            assert values[0] is not UNBOUND
        return op.name, values

    def control(self, op: Op, env: Env) -> tuple[str, list[Any]] | None:
        """A structured op; gives how control leaves the block around it, if it does."""
        if op.name == "if":
            end, values = self.block(op.blocks[0 if env[op.operands[0]] else 1], env)
        elif op.name == "for":
            end, values = self.loop_for(op, env)
        else:
            end, values = self.loop_while(op, env)
        if end != "yield":
            return end, values
        env.update(zip(op.results, values, strict=True))
        return None

    def loop_for(self, op: Op, env: Env) -> tuple[str, list[Any]]:
        carried = [env[v] for v in op.operands[1:]]
        for item in env[op.operands[0]]:
            env.update(zip(op.blocks[0].params, [item, *carried], strict=True))
            end, carried = self.block(op.blocks[0], env)
            if end != "continue":
                return ("yield" if end == "break" else end), carried
        return self.orelse(op, op.blocks[1:], carried, env)

    def loop_while(self, op: Op, env: Env) -> tuple[str, list[Any]]:
        carried = [env[v] for v in op.operands]
        while True:
            env.update(zip(op.blocks[0].params, carried, strict=True))
            _, (condition,) = self.block(op.blocks[0], env)
            if not condition:
                return self.orelse(op, op.blocks[2:], carried, env)
            env.update(zip(op.blocks[1].params, carried, strict=True))
            end, carried = self.block(op.blocks[1], env)
            if end != "continue":
                return ("yield" if end == "break" else end), carried

    def orelse(self, op: Op, blocks: Sequence[Block], carried: list[Any], env: Env) -> tuple[str, list[Any]]:
        if not blocks:
            return "yield", carried
        env.update(zip(blocks[0].params, carried, strict=True))
        return self.block(blocks[0], env)

    def plain(self, op: Op, env: Env) -> None:
        if op.name == "bound":
            if env[op.operands[0]] is UNBOUND:
                raise UnboundLocalError(op.attrs["name"])
            env[op.result] = env[op.operands[0]]
            return
        values = [env[v] for v in op.operands]
        assert not any(v is UNBOUND for v in values) or op.name == "function", op.name
        result = getattr(self, "op_" + op.name)(op, *values)
        if op.name == "unpack":
            env.update(zip(op.results, result, strict=True))
        elif op.results:
            env[op.result] = result

    # One method for each op.

    def op_const(self, op: Op) -> Any:
        return op.attrs["value"]

    def op_unbound(self, op: Op) -> Any:
        return UNBOUND

    def op_global(self, op: Op) -> Any:
        if op.attrs["name"] not in self.names:
            raise NameError(op.attrs["name"])
        return self.names[op.attrs["name"]]

    def op_free(self, op: Op) -> Any:
        return self.free[op.attrs["name"]]

    def op_numpy(self, op: Op) -> Any:
        first, *rest = op.attrs["name"].split(".")
        found: Any = importlib.import_module(first)
        for part in rest:
            found = getattr(found, part)
        return found

    def op_capture(self, op: Op) -> Any:
        return self.captures[op.attrs["index"]].find()

    def op_import(self, op: Op) -> Any:
        return importlib.import_module(op.attrs["module"])

    def op_attr(self, op: Op, x: Any) -> Any:
        return getattr(x, op.attrs["name"])

    def op_subscript(self, op: Op, x: Any, key: Any) -> Any:
        return x[key]

    def op_set_subscript(self, op: Op, x: Any, key: Any, value: Any) -> None:
        x[key] = value

    def op_inplace_subscript(self, op: Op, x: Any, key: Any, old: Any, value: Any) -> None:
        x[key] = INPLACE[op.attrs["op"]](old, value)

    def op_slice(self, op: Op, a: Any, b: Any, c: Any) -> Any:
        return slice(a, b, c)

    def op_tuple(self, op: Op, *values: Any) -> Any:
        return tuple(_spliced(op, values))

    def op_list(self, op: Op, *values: Any) -> Any:
        return _spliced(op, values)

    def op_dict(self, op: Op, *values: Any) -> Any:
        return dict(zip(op.attrs["keys"], values, strict=True))

    def op_unpack(self, op: Op, x: Any) -> Any:
        count, star = op.attrs["count"], op.attrs["star"]
        values = list(x)
        if star is None:
            if len(values) != count:
                raise ValueError("unpack")
            return values
        if len(values) < count - 1:
            raise ValueError("unpack")
        after = len(values) - (count - 1 - star)
        return [*values[:star], values[star:after], *values[after:]]

    def op_binary(self, op: Op, a: Any, b: Any) -> Any:
        return BINARY[op.attrs["op"]](a, b)

    def op_inplace(self, op: Op, a: Any, b: Any) -> Any:
        return INPLACE[op.attrs["op"]](a, b)

    def op_unary(self, op: Op, a: Any) -> Any:
        return UNARY[op.attrs["op"]](a)

    def op_compare(self, op: Op, a: Any, b: Any) -> Any:
        return COMPARE[op.attrs["op"]](a, b)

    def op_truth(self, op: Op, a: Any) -> bool:
        return bool(a)

    def op_call(self, op: Op, function: Any, *values: Any) -> Any:
        names = op.attrs["keywords"]
        split = len(values) - len(names)
        arguments = _spliced(op, values[:split], first=1)
        return function(*arguments, **dict(zip(names, values[split:], strict=True)))

    def op_list_append(self, op: Op, values: Any, x: Any) -> Any:
        return [*values, x]

    def op_dict_insert(self, op: Op, values: Any, key: Any, x: Any) -> Any:
        return {**values, key: x}

    def op_format(self, op: Op, *values: Any) -> str:
        return _format(op.attrs["parts"], values)

    def op_function(self, op: Op, *values: Any) -> Any:
        captures, with_default = op.attrs["captures"], op.attrs["defaults"]
        free = dict(zip(captures, values, strict=False))
        given = dict(zip(with_default, values[len(captures) :], strict=True))
        kinds = {name: kind for name, kind, _ in op.attrs["graph"].attrs["parameters"]}
        keyword = {n: v for n, v in given.items() if kinds[n] == "keyword_only"}
        plain = [v for n, v in given.items() if n not in keyword]
        return callable_of(op.attrs["graph"], self.names, free, plain, keyword, self.captures)


def _spliced(op: Op, values: Sequence[Any], first: int = 0) -> list[Any]:
    out: list[Any] = []
    for i, value in enumerate(values, first):
        out.extend(value if i in op.attrs.get("star", ()) else [value])
    return out


def _format(parts: Sequence[Any], values: Sequence[Any]) -> str:
    out: list[str] = []
    for part in parts:
        if isinstance(part, str):
            out.append(part)
            continue
        index, conversion, spec = (part, "", "") if isinstance(part, int) else part
        convert: dict[str, Callable[[Any], Any]] = {"": lambda v: v, "r": repr, "s": str, "a": ascii}
        value = convert[conversion](values[index])
        out.append(format(value, spec if isinstance(spec, str) else _format(spec, values)))
    return "".join(out)
