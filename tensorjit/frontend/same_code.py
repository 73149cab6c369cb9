"""Whether a syntax tree is what a code object was compiled from.

Files are edited while programs run, so a text that has the right name and parameters at the right line may be another
function. The tree is compiled again, alone, in surroundings that give its names the meaning that they have there
(free variables, the class whose private names are mangled, the `__future__` flags), and the two code objects are
compared: instructions, names and constants, nested functions likewise; not lines or file names.
"""

from __future__ import annotations
import __future__

import ast
import copy
import dis
import inspect
import keyword
import sys
import types
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

FunctionNode = ast.FunctionDef | ast.Lambda

_FUTURE: Final = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})
_KINDS: Final = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_FIELDS: Final = (
    "co_name",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_code",  # as compiled: without what the interpreter, tracers and monitors have put there since
    "co_exceptiontable",
    "co_names",
    "co_varnames",
    "co_cellvars",
    "co_freevars",
)
_HERE, _NO_ASSERTS, _NO_DOCSTRINGS, _ALL = -1, 1, 2, 0  # levels of optimisation


def compiles_to(node: FunctionNode, code: types.CodeType) -> bool:
    """Whether compiling `node` gives `code`.

    >>> node = ast.parse("def f(x): return x + 1").body[0]
    >>> one, other = (eval(compile(f"lambda x: x + {n}", "", "eval")).__code__ for n in (1, 2))
    >>> compiles_to(node, one.replace(co_name="f")), compiles_to(node, other.replace(co_name="f"))
    (True, False)
    """
    if _by_pytest(code):
        return _asserts_rewritten(node, code)
    return any(same_code(_compiled(node, code, level), code) for level in (_HERE, _ALL, _NO_ASSERTS, _NO_DOCSTRINGS))


def same_code(a: types.CodeType | None, b: types.CodeType) -> bool:
    """Whether two code objects do the same."""
    return (
        a is not None
        and all(getattr(a, name) == getattr(b, name) for name in _FIELDS)
        and not (a.co_flags ^ b.co_flags) & _KINDS
        and _same_constant(_constants(a), _constants(b))
    )


def _constants(code: types.CodeType) -> tuple[Any, ...]:
    """The constants of a code object, without the full name of a class: it says where the class stands."""
    if "__qualname__" not in code.co_names:
        return code.co_consts
    return tuple(c for c in code.co_consts if not (isinstance(c, str) and c.endswith(f".{code.co_name}")))


def _same_constant(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    match a:
        case types.CodeType():
            return same_code(a, b)
        case tuple():
            return len(a) == len(b) and all(map(_same_constant, a, b))
        case frozenset():
            return {(type(x), repr(x)) for x in a} == {(type(x), repr(x)) for x in b}
        case slice():
            return all(map(_same_constant, (a.start, a.stop, a.step), (b.start, b.stop, b.step)))
        case float() | complex():
            return repr(a) == repr(b)  # -0.0 is not 0.0
    return bool(a == b)


def _compiled(node: FunctionNode, code: types.CodeType, level: int) -> types.CodeType | None:
    """The code of a function, compiled where `code` is; None where it cannot be."""
    place: dict[str, Any] = {"lineno": node.lineno, "col_offset": 0, "end_lineno": node.lineno, "end_col_offset": 0}
    empty: dict[str, Any] = {"decorator_list": [], "type_params": [], **place}
    args = _plain_arguments(node.args)
    inner: ast.stmt
    if isinstance(node, ast.Lambda):
        inner = ast.Expr(ast.Lambda(args=args, body=node.body, **place), **place)
    else:
        inner = ast.FunctionDef(name=node.name, args=args, body=node.body, **empty)
    kind = _class_around(code)
    if kind is not None or "__class__" in code.co_freevars:
        inner = ast.ClassDef(name=kind or "_", bases=[], keywords=[], body=[inner], **empty)
    name = getattr(inner, "name", None)  # what the function itself calls so is no variable of the outer one
    outside = [ast.Global(names=[name], **place)] if name is not None and name not in code.co_freevars else []
    free = [ast.arg(arg=name, **place) for name in code.co_freevars]
    outer = ast.FunctionDef(
        name="_",
        args=ast.arguments(posonlyargs=[], args=free, kwonlyargs=[], kw_defaults=[], defaults=[]),
        body=[*outside, inner],
        **empty,
    )
    try:
        imported = ast.Import([ast.alias("_", name, **place) for name in sorted(_perhaps_imported(code))], **place)
        body: list[ast.stmt] = [imported, outer] if imported.names else [outer]
        module = compile(ast.Module(body, []), code.co_filename, "exec", code.co_flags & _FUTURE, True, level)
    except (SyntaxError, ValueError):
        return None
    found: types.CodeType | None = module
    for _ in range(3 if isinstance(inner, ast.ClassDef) else 2):
        found = next(_inner_codes(found), None) if found is not None else None
    return found


def _perhaps_imported(code: types.CodeType) -> set[str]:
    """The names of a function that its module may have imported: `name.f()` has an instruction of its own where it has not."""
    names = (*code.co_names, *_variables(code))
    found = {name for name in names if name.isidentifier() and not keyword.iskeyword(name)}
    for inner in _inner_codes(code):
        found |= _perhaps_imported(inner)
    return found - {"super", *_owners_of_methods(code)}


def _owners_of_methods(code: types.CodeType) -> Iterator[str]:
    """The names `x` of what is compiled as a call of a method, `x.f()`, in a code object and those inside."""
    for inner in _inner_codes(code):
        yield from _owners_of_methods(inner)
    before, argument, data = "", 0, code.co_code
    extended = 0
    for k in range(0, len(data), 2):
        opname, arg = dis.opname[data[k]], data[k + 1] | extended
        extended = arg << 8 if opname == "EXTENDED_ARG" else 0
        if opname in ("CACHE", "EXTENDED_ARG"):
            continue
        if opname == "LOAD_METHOD" or (opname == "LOAD_ATTR" and arg & 1 and sys.version_info >= (3, 12)):
            if before == "LOAD_GLOBAL":
                yield code.co_names[argument >> 1]
            elif before.endswith("_LOAD_FAST") or before.count("LOAD_FAST") == 2:  # two variables at once
                yield code.co_varnames[argument & 15]
            elif before.startswith(("LOAD_FAST", "LOAD_DEREF")):
                yield _variables(code)[argument]
        before, argument = opname, arg


def _variables(code: types.CodeType) -> tuple[str, ...]:
    """The variables of a function, as its instructions number them."""
    return (*code.co_varnames, *(name for name in code.co_cellvars if name not in code.co_varnames), *code.co_freevars)


def _inner_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    return (c for c in code.co_consts if isinstance(c, types.CodeType))


def _plain_arguments(args: ast.arguments) -> ast.arguments:
    """Parameters without defaults and annotations, which are no part of a function's code."""
    return ast.arguments(
        posonlyargs=[_plain(a) for a in args.posonlyargs],
        args=[_plain(a) for a in args.args],
        vararg=args.vararg and _plain(args.vararg),
        kwonlyargs=[_plain(a) for a in args.kwonlyargs],
        kw_defaults=[None] * len(args.kwonlyargs),
        kwarg=args.kwarg and _plain(args.kwarg),
        defaults=[],
    )


def _plain(arg: ast.arg) -> ast.arg:
    return ast.copy_location(ast.arg(arg=arg.arg), arg)


def _class_around(code: types.CodeType) -> str | None:
    """The class whose private names are mangled in a function.

    >>> class Row:
    ...     def method(self):
    ...         return lambda: 0
    >>> _class_around(Row.method.__code__), _class_around(Row().method().__code__)
    ('Row', 'Row')
    """
    parts = code.co_qualname.split(".")
    names = [name for name, after in zip(parts, [*parts[1:], ""], strict=True) if name != "<locals>" and after != "<locals>"]
    return names[-2] if len(names) > 1 else None


def with_private_names(node: FunctionNode, code: types.CodeType) -> FunctionNode:
    """The tree with its private names as Python mangles them in a class; itself where there are none."""
    prefix = f"_{(_class_around(code) or '').lstrip('_')}"
    if prefix == "_" or not any(name.startswith(f"{prefix}__") for name in all_names(code)):
        return node
    made = copy.deepcopy(node)
    for part in ast.walk(made):
        for field in _NAMING.get(type(part), ("id", "attr", "arg", "asname")):
            name = getattr(part, field, None)
            if isinstance(name, str) and name.startswith("__") and not name.endswith("__") and part is not made:
                setattr(part, field, prefix + name)
    return made


_NAMING: Final[Mapping[type[ast.AST], tuple[str, ...]]] = {ast.FunctionDef: ("name",), ast.ExceptHandler: ("name",)}


def all_names(code: types.CodeType) -> Iterator[str]:
    """All names that a code object and those inside it use."""
    yield from (*code.co_names, *_variables(code))
    for inner in _inner_codes(code):
        yield from all_names(inner)


# -- pytest ----------------------------------------------------------------------------------------------------

Step = tuple[str, Any]


def _by_pytest(code: types.CodeType) -> bool:
    """Whether pytest has rewritten an `assert` of a function, or of one inside: it then has names that no Python text has."""
    return any(name.startswith("@py") for name in (*code.co_names, *code.co_varnames)) or any(map(_by_pytest, _inner_codes(code)))


def _asserts_rewritten(node: FunctionNode, code: types.CodeType) -> bool:
    """Whether `code` is `node` with its asserts rewritten: the other lines do the same, and no assert asks for what it has not."""
    rest, whole = _compiled(node, code, _NO_ASSERTS), _compiled(node, code, _ALL)
    if rest is None or whole is None:
        return False
    asserts = [a for a in ast.walk(node) if isinstance(a, ast.Assert)]
    lines = {line for a in asserts for line in range(a.lineno, (a.end_lineno or a.lineno) + 1)}
    shift = code.co_firstlineno - first_line(node)
    same = _same_steps(_steps(rest, lines), _steps(code, {line + shift for line in lines}))
    there = _flat(_steps(code, set()))
    missing = Counter(_flat(_steps(whole, set()))) - Counter(there)
    # pytest computes `-1` when it runs: then the 1 is there
    leaves = {repr(c.value) for a in asserts for c in ast.walk(a) if isinstance(c, ast.Constant)}
    known = {value for kind, value in there if kind == "LOAD_CONST"}
    return same and all(kind == "LOAD_CONST" for kind, _ in missing) and (not missing or leaves <= known)


def first_line(node: FunctionNode) -> int:
    """Where the code of a function begins: at its decorators."""
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return min([node.lineno, *(d.lineno for d in decorators)])


def _same_steps(a: Sequence[Step], b: Sequence[Step]) -> bool:
    return len(a) == len(b) and all(map(_is_same_step, a, b))


def _is_same_step(a: Step, b: Step) -> bool:
    inner = isinstance(a[1], list) and isinstance(b[1], list)
    return a[0] == b[0] and (_same_steps(a[1], b[1]) if inner else _same_constant(a[1], b[1]))


def _flat(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """The steps, those of functions inside among them; constant tuples with their items."""
    out: list[tuple[str, str]] = []
    for kind, value in steps:
        if isinstance(value, list):
            out += _flat(value)
        else:
            out.append((kind, repr(value)))
        if kind == "LOAD_CONST" and isinstance(value, (tuple, frozenset)):
            out += _flat([(kind, item) for item in value])
    return out


_UNTOLD: Final = (
    *("CACHE", "NOP", "RESUME", "EXTENDED_ARG", "POP_TOP", "COPY", "SWAP", "PUSH_NULL", "PRECALL", "RETURN"),
    *("LOAD_ASSERTION_ERROR", "LOAD_COMMON_CONSTANT", "RAISE_VARARGS", "TO_BOOL", "NOT_TAKEN", "MAKE_CELL"),
)


_JUMPS: Final = frozenset((*dis.hasjrel, *dis.hasjabs))


def _steps(code: types.CodeType, without: Collection[int]) -> list[Step]:
    """What the instructions of a code object read, write and compute, on all lines but some."""
    out: list[Step] = []
    line: int | None = None
    for i in dis.get_instructions(code):
        line = i.positions.lineno if i.positions is not None else line
        if line in without or i.opname.startswith(_UNTOLD) or "JUMP" in i.opname:
            continue
        if isinstance(i.argval, types.CodeType):
            out.append((i.argval.co_name, _steps(i.argval, without)))
            continue
        words = i.opname.split("_")
        kinds = [w for w in words if w in ("LOAD", "STORE")] if "FAST" in words else []
        if len(kinds) == 2:  # two variables at once
            out += zip((f"{kind}_FAST" for kind in kinds), i.argval, strict=True)
        elif kinds:
            out.append((f"{kinds[0]}_FAST", i.argval))
        else:  # where it jumps to is no matter, nor whether a method is looked up to be called at once
            kind = "LOAD_ATTR" if i.opname == "LOAD_METHOD" else i.opname
            out.append((kind, None if i.opcode in _JUMPS else i.argval))
    while out and out[-1] == ("LOAD_CONST", None):  # the end of the function, whichever line that is told to be on
        out.pop()
    return out
