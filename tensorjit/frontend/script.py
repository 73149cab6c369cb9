"""The scripted frontend: a Python function becomes a generic graph (every value of type `?`), specialised
later.

Beside the core ops, the graph may hold the ops

* ``global {name}``, ``free {name}``: a name of the module (or builtins), or of the closure. In a nested
  function, `free` is one of its ``captures``.
* ``const {value}``, ``tuple {star}``, ``list {star}`` (star: indices of operands to be spliced in), ``dict
  {keys}``, ``slice``, ``format {parts}`` (parts: text, operand index, or (operand index, conversion, spec); a
  spec is text or again parts)
* ``attr {name}``, ``subscript``, ``set_subscript``, ``inplace_subscript {op}``, ``unpack {count, star}``
* ``binary {op}``, ``inplace {op}``, ``unary {op}``, ``compare {op}``, ``truth``
* ``call {keywords, star}``: operands are the function, the arguments, the values of the keywords; star:
  operand indices
* ``list_append(list, x)``, ``dict_insert(dict, key, x)``: a new list or dict value; the old one is not used
  again
* ``import {module}``: the module of that dotted name
* ``function(captured..., defaults...) {graph, captures, defaults}``: a lambda or nested def; captures and
  defaults are names
* ``unbound {name}``: what a variable holds that was not assigned on this path. It flows through joins only;
  ``bound(x) {name}`` stands at every read that may meet it and gives x, or raises UnboundLocalError.

Terminators: `return(value)`, `raise(exception or its class)`, and ``raise {unreachable=True}`` without
operand at the end of a block that control never gets to the end of (after an `if` whose branches both leave).
In the `else` block of a loop, `break` and `continue` are those of the loop around it.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Mapping
from typing import Final, final

from tensorjit.errors import CompileError, Problem, UnsupportedError
from tensorjit.frontend.comprehensions import COMPREHENSIONS
from tensorjit.frontend.expressions import CONDITIONS, EXPRESSIONS
from tensorjit.frontend.lowering import (
    ExpressionHandler,
    Lowering,
    Shared,
    StatementHandler,
    Tables,
)
from tensorjit.frontend.prune import prune
from tensorjit.frontend.same_code import FunctionNode
from tensorjit.frontend.scopes import rebinding_after, scope_of
from tensorjit.frontend.source import TOO_DEEP, TOO_DEEP_HINT, SourceFunction, source_of
from tensorjit.frontend.statements import STATEMENTS, assign
from tensorjit.ir.graph import Block, Graph, Value
from tensorjit.records import dataclass

_NEXT = "use numpy.where, or test the condition before"

REFUSED: Final[Mapping[type[ast.AST], tuple[str, str]]] = {
    ast.Try: ("`try` is not supported: compiled code has no exception handlers", _NEXT),
    ast.TryStar: ("`try` is not supported: compiled code has no exception handlers", _NEXT),
    ast.With: (
        "`with` is not supported in compiled code",
        "enter the context around the call of the compiled function",
    ),
    ast.AsyncWith: ("`async with` is not supported", "write a plain function"),
    ast.AsyncFor: ("`async for` is not supported", "use a plain `for`"),
    ast.AsyncFunctionDef: ("`async def` is not supported", "write a plain function"),
    ast.ClassDef: ("a class inside a compiled function is not supported", "define the class outside"),
    ast.Match: ("`match` is not supported yet", "write `if` and `elif`"),
    ast.Set: ("a set is not supported", "use a tuple"),
    ast.SetComp: ("a set comprehension is not supported", "use a list comprehension"),
    ast.Yield: ("a generator cannot be compiled", "fill an array or a list and return it"),
    ast.YieldFrom: ("a generator cannot be compiled", "fill an array or a list and return it"),
    ast.Await: ("`await` is not supported", "write a plain function"),
}


@final
@dataclass(frozen=True, slots=True)
class ParsedFunction:
    """A function as read: its generic graph, and the names that it takes from outside."""

    graph: Graph
    name: str
    parameters: tuple[tuple[str, str, bool], ...]
    freevars: tuple[str, ...]
    globals_used: tuple[str, ...]
    source: SourceFunction


def parse(function: object) -> ParsedFunction:
    """The generic graph of a plain Python function, or an error with all that stands against it.

    >>> from tensorjit.frontend import script
    >>> parsed = script.parse(script.parameters_of)
    >>> parsed.parameters, [op.name for op in parsed.graph.walk()][-1]
    ((('node', 'positional', False),), 'return')
    """
    source = source_of(function)
    try:
        return _parse(function, source)
    except RecursionError:
        raise CompileError([Problem(TOO_DEEP, source.loc(source.node), TOO_DEEP_HINT)]) from None


def _parse(function: object, source: SourceFunction) -> ParsedFunction:
    freevars = source.code.co_freevars
    own_globals = function.__globals__ if isinstance(function, types.FunctionType) else {}
    shared = Shared(source, TABLES, freevars=frozenset(freevars), own_globals=own_globals)
    graph = lower_function(shared, source.node, None).graph
    flags = source.code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)
    if flags and not shared.problems:  # the yield stands where control never gets
        shared.problems.append(Problem(REFUSED[ast.Yield][0], source.loc(source.node), REFUSED[ast.Yield][1]))
    if shared.problems:
        raise UnsupportedError(shared.problems)
    parameters = parameters_of(source.node)
    return ParsedFunction(graph, source.name, parameters, freevars, tuple(shared.globals_used), source)


@final
@dataclass(frozen=True, slots=True)
class _Lowered:
    graph: Graph
    captures: tuple[str, ...]


def lower_function(shared: Shared, node: FunctionNode, parent: Lowering | None) -> _Lowered:
    """A function, or one nested in `parent`."""
    source = shared.source
    walrus = any(":=" in line for line in source.lines[node.lineno - 1 : node.end_lineno])
    fn = Lowering(shared, scope_of(node, walrus), node, parent)
    if node.args.kwarg is not None:
        fn.problem(f"`**{node.args.kwarg.arg}` is not supported", node.args.kwarg, "name the keyword parameters")
    parameters = parameters_of(node)
    values = tuple(Value(name=name) for name, _, _ in parameters)
    fn.builder.params = values
    fn.env.update(zip((name for name, _, _ in parameters), values, strict=True))
    if isinstance(node, ast.Lambda):
        fn.effect("return", (fn.expr(node.body),), node.body)
    else:
        fn.block(node.body)
        if not fn.builder.terminated:
            fn.effect("return", (fn.constant(None, node.body[-1]),), node.body[-1])
    name = node.name if isinstance(node, ast.FunctionDef) else "<lambda>"
    attrs = types.MappingProxyType({"parameters": parameters, "doc": _doc(node)})
    block = prune(Block(values, tuple(fn.builder.ops)))
    return _Lowered(Graph(name, block, attrs, source.loc(node)), tuple(fn.free_used))


def _doc(node: FunctionNode) -> str | None:
    return ast.get_docstring(node, clean=False) if isinstance(node, ast.FunctionDef) else None


def parameters_of(node: FunctionNode) -> tuple[tuple[str, str, bool], ...]:
    """(name, kind, has a default) of each parameter in the order of the signature."""
    a = node.args
    plain = [(arg.arg, "positional_only") for arg in a.posonlyargs] + [(arg.arg, "positional") for arg in a.args]
    required = len(plain) - len(a.defaults)
    found = [(name, kind, i >= required) for i, (name, kind) in enumerate(plain)]
    if a.vararg is not None:
        found.append((a.vararg.arg, "var_positional", False))
    pairs = zip(a.kwonlyargs, a.kw_defaults, strict=True)
    found += [(arg.arg, "keyword_only", default is not None) for arg, default in pairs]
    return tuple(found)


def _nested_def(fn: Lowering, node: ast.FunctionDef) -> None:
    for decorator in node.decorator_list:
        fn.problem(
            "a decorator on a nested function is not supported",
            decorator,
            "decorate a function of the module",
        )
    assign(fn, ast.copy_location(ast.Name(node.name, ast.Store()), node), _function(fn, node, node.name))


def _lambda(fn: Lowering, node: ast.Lambda, hint: str) -> Value:
    return _function(fn, node, hint)


def _function(fn: Lowering, node: FunctionNode, hint: str) -> Value:
    names, defaults = _defaults(fn, node)
    lowered = lower_function(fn.shared, node, fn)
    captured = [_capture(fn, node, name) for name in lowered.captures]
    attrs = {"graph": lowered.graph, "captures": lowered.captures, "defaults": names}
    return fn.emit("function", (*captured, *defaults), node, attrs, hint)


def _defaults(fn: Lowering, node: FunctionNode) -> tuple[tuple[str, ...], list[Value]]:
    with_default = [p for p in parameters_of(node) if p[2]]
    nodes = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
    return tuple(p[0] for p in with_default), [fn.expr(d) for d in nodes]


def _capture(fn: Lowering, node: FunctionNode, name: str) -> Value:
    """The value that a nested function takes along, or a problem where Python would show it a later one."""
    if not fn.holds(name):
        return fn.read(name, node)
    own = node.name if isinstance(node, ast.FunctionDef) else None
    if name == own:
        return fn.refuse(f"the nested function `{name}` calls itself", node, "write a loop, or define it in the module")
    again = rebinding_after(fn.node, node, (name,))
    if again is not None:
        message = f"the nested function reads `{name}`, which is assigned again while it can still be called"
        return fn.refuse(message, node, f"take the value as a default argument ({name}={name}), or use another name")
    return fn.value_of(fn.key(name), node)


_FUNCTION_EXPRESSIONS: Final[Mapping[type[ast.AST], ExpressionHandler]] = {ast.Lambda: _lambda}
_FUNCTION_STATEMENTS: Final[Mapping[type[ast.AST], StatementHandler]] = {ast.FunctionDef: _nested_def}
TABLES: Final = Tables(
    {**EXPRESSIONS, **COMPREHENSIONS, **_FUNCTION_EXPRESSIONS},
    CONDITIONS,
    {**STATEMENTS, **_FUNCTION_STATEMENTS},
    REFUSED,
)
