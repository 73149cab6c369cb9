"""From a function object to the syntax tree of its source, with its place in the file.

The text comes from ``function.__source__`` where somebody left it there, else from ``linecache``, which knows
files, notebook cells, doctests and whatever else registers its text: as it was read before, else as it is now. What
is parsed is the code of the very object that was passed: a ``functools.wraps`` wrapper is never looked through, and
the decorators above a function that reached us undecorated are not run again. A text that does not compile to that
code (`same_code`) is not its source.
"""

from __future__ import annotations

import ast
import linecache
import re
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeVar, final

from tensorjit.errors import CompileError, Loc, Problem, UnsupportedError
from tensorjit.frontend.same_code import FunctionNode, all_names, compiles_to, first_line, with_private_names
from tensorjit.records import dataclass

T = TypeVar("T")

TRACE_HINT = "use tensorjit.trace, which runs the function and needs no source"
TOO_DEEP = "the source is nested too deeply"
TOO_DEEP_HINT = "split the function into smaller ones"


@final
@dataclass(frozen=True, slots=True, eq=False)
class SourceFunction:
    """The syntax tree of a function. Line numbers in `node` count in `lines`; `offset` leads from there to
    lines of the file."""

    node: FunctionNode
    filename: str
    lines: tuple[str, ...]
    offset: int
    name: str
    code: types.CodeType

    def loc(self, node: ast.expr | ast.stmt | ast.excepthandler | ast.arg | ast.keyword | ast.alias) -> Loc:
        """The place of a node, with columns in characters (the syntax tree counts bytes)."""
        lineno = node.lineno
        line = self.lines[lineno - 1] if lineno <= len(self.lines) else ""
        col, end = node.col_offset, node.end_col_offset or 0
        one_line = node.end_lineno == lineno
        if not line.isascii():
            data = line.encode()
            col, end = len(data[:col].decode()), len(data[:end].decode())
        if not one_line:
            end = len(line)
        return Loc(self.filename, lineno + self.offset, col, end, line, self.name)


def source_of(function: object) -> SourceFunction:
    """The source of a plain Python function.

    >>> source_of(len)
    Traceback (most recent call last):
        ...
    tensorjit.errors.UnsupportedError: the source of len cannot be read: it is a builtin_...
    """
    if not isinstance(function, types.FunctionType):
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        problem = f"it is a {type(function).__name__}, not a Python function"
        raise UnsupportedError([Problem(f"the source of {name} cannot be read: {problem}", None, TRACE_HINT)])
    code = function.__code__
    text = getattr(function, "__source__", None)
    try:
        if isinstance(text, str):
            found = _in_text(code, text)
            with suppress(UnsupportedError):
                return _check(found)
            raise _no_source(code, "its __source__ is the text of another function")
        with suppress(UnsupportedError, SyntaxError):
            return _in_file(code, function.__globals__)
        for text in _carried.get(_key_of(code), ()):
            with suppress(UnsupportedError, SyntaxError):
                return _check(_in_text(code, text))
        linecache.checkcache(code.co_filename)  # what was read before may be older than the function
        return _in_file(code, function.__globals__)
    except SyntaxError as error:
        if "too many nested" in str(error):
            raise _too_deep(code) from None
        raise _no_source(code, f"its text does not parse ({error.msg})") from None
    except (RecursionError, MemoryError):
        # CPython's parser gives up with these long before the text is unreasonable for its compiler.
        raise _too_deep(code) from None


# -- texts that travel with a pickle -----------------------------------------------------------------------------

Key = tuple[str, bytes]  # not the file and the line: picklers change them
_carried: dict[Key, list[str]] = {}
MAX_CARRIED: Final = 16  # of functions that differ in names or constants only


def _key_of(code: types.CodeType) -> Key:
    return code.co_name, code.co_code


def texts_to_carry(function: types.FunctionType) -> Mapping[Key, str]:
    """The texts of a function and of the helpers that it names, as far as they are not imported by name where a pickle is read.

    >>> texts_to_carry(texts_to_carry)
    {}
    >>> list(texts_to_carry(lambda x: x + 1).values())
    ['(lambda x: x + 1)']
    """
    texts: dict[Key, str] = {}
    for helper in _helpers(function, {}).values():
        code = helper.__code__
        known = (code, code.co_filename)
        with suppress(CompileError):  # what calls it says so when it is compiled
            if known not in _alone:
                _alone[known] = _text_alone(source_of(helper))
            texts[_key_of(code)] = _alone[known]
    if len(_alone) > MAX_ALONE:
        _alone.clear()
    return texts


_alone: dict[tuple[types.CodeType, str], str] = {}  # texts of functions that were pickled: some are for every task of a pool
MAX_ALONE: Final = 512


def _helpers(function: types.FunctionType, found: dict[int, types.FunctionType]) -> dict[int, types.FunctionType]:
    if id(function) in found or (function.__module__ != "__main__" and _is_importable(function)):
        return found
    found[id(function)] = function
    named: list[object] = [function.__globals__.get(name) for name in all_names(function.__code__)]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # it may hold nothing yet
            named.append(cell.cell_contents)
    for value in named:
        if isinstance(value, types.FunctionType):
            _helpers(value, found)
    return found


def _is_importable(function: types.FunctionType) -> bool:
    """Whether its name leads to it, or to what a decorator made of it."""
    found = found_by_name(function.__module__, function.__qualname__)
    return found is function or getattr(found, "__wrapped__", None) is function


def found_by_name(module: str, qualname: str) -> Any:
    """What a name says in a module; None where it says nothing.

    >>> found_by_name("ast", "NodeVisitor.visit") is ast.NodeVisitor.visit
    True
    """
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _text_alone(source: SourceFunction) -> str:
    node, lines = source.node, source.lines
    if isinstance(node, ast.Lambda):
        return f"({ast.get_source_segment(chr(10).join(lines), node)})"
    block = lines[first_line(node) - 1 : node.end_lineno]
    return "\n".join(["if 1:", *block] if block[0][:1] in " \t" else block)


def carry(texts: Mapping[Key, str]) -> None:
    """Texts of functions that came with a pickle, for those that have none here. They are parsed where they fit, and never run."""
    for key, text in texts.items():
        known = _carried.setdefault(key, [])
        if text not in known:
            known[MAX_CARRIED - 1 :] = []
            known.insert(0, text)


# -- texts of files --------------------------------------------------------------------------------------------


def _in_file(code: types.CodeType, module: dict[str, object]) -> SourceFunction:
    lines = _lines_of(code, module)
    return _check(_lambda_in(code, lines) if code.co_name == "<lambda>" else _def_in(code, lines))


def _lines_of(code: types.CodeType, module: dict[str, object]) -> Sequence[str]:
    lines = linecache.getlines(code.co_filename, module)
    if not lines:
        raise _no_source(code, f"Python keeps no text for {code.co_filename}")
    if code.co_firstlineno > len(lines):
        raise _stale(code)
    return lines


def _def_in(code: types.CodeType, lines: Sequence[str]) -> SourceFunction:
    """The `def` at the code's first line: its end is found by indentation, so that only its own lines are
    parsed."""
    start = code.co_firstlineno - 1
    indented = lines[start][:1] in " \t"
    head = ["if 1:\n"] if indented else []
    error: SyntaxError | None = None
    for stop in _stops(lines, start, _last_line(code)):
        block = [*head, *lines[start:stop]]
        try:
            tree = _quietly("".join(block), ast.parse)
        except SyntaxError as e:
            if "too many nested" in str(e):
                raise
            error = error or e  # a string or bracket may reach across lines that look like its end
            continue
        if not tree.body:
            raise _stale(code)
        first = tree.body[0]
        if isinstance(first, ast.If) and indented:
            first = first.body[0]
        if not isinstance(first, ast.FunctionDef):
            raise _not_a_def(code, first)
        texts = tuple(line.rstrip("\r\n") for line in block)
        return SourceFunction(first, code.co_filename, texts, start - len(head), code.co_name, code)
    raise error or _stale(code)


def _stops(lines: Sequence[str], start: int, last: int) -> Iterator[int]:
    """Where the block that begins at `start` may end: at a line that is indented no further, or at the
    end."""
    indent = _indent(lines[start])
    for stop in range(max(last, start + 1), len(lines)):
        text = lines[stop].strip()
        if text and not text.startswith("#") and _indent(lines[stop]) <= indent:
            yield stop
    yield len(lines)


def _indent(line: str) -> int:
    expanded = line.expandtabs()
    return len(expanded) - len(expanded.lstrip())


def _last_line(code: types.CodeType) -> int:
    last = max((line for _, _, line in code.co_lines() if line is not None), default=code.co_firstlineno)
    return max([last, *(_last_line(c) for c in code.co_consts if isinstance(c, types.CodeType))])


@lru_cache(maxsize=8)
def _parse(text: str) -> ast.Module:
    return _quietly(text, ast.parse)


_WARNED_OF: Final = re.compile(r"\\|\bis\s+(not\s+)?[\d\"'(\[{-]|\bassert\s*\(")
_warnings_lock = threading.RLock()  # a finaliser that compiles may come within it


def _quietly(text: str, read: Callable[[str], T]) -> T:
    """`read(text)`, without the warnings that Python gave when it read the text itself. Filters of warnings belong to the whole
    process, so they are touched only where there may be something to warn of."""
    if not _WARNED_OF.search(text):
        return read(text)
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read(text)


def _lambda_in(code: types.CodeType, lines: Sequence[str]) -> SourceFunction:
    """The lambda that `code` was compiled from: the statement around it may begin on any line, so the whole
    text is parsed."""
    tree = _parse("".join(lines))
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda) and _may_be(n, code)]
    near = [n for n in found if n.lineno <= code.co_firstlineno <= (n.end_lineno or n.lineno)]
    node = _choose(code, near)
    texts = tuple(line.rstrip("\r\n") for line in lines)
    return SourceFunction(node, code.co_filename, texts, 0, code.co_name, code)


def _choose(code: types.CodeType, candidates: Sequence[ast.Lambda]) -> ast.Lambda:
    """The innermost lambda whose body holds all positions of the code; without positions, one that compiles to it."""
    spots = [p for p in code.co_positions() if p[0] is not None and p[2] is not None and (p[2], p[3]) != (0, 0)]
    if spots:
        low, high = min((p[0], p[2]) for p in spots), max((p[1], p[3]) for p in spots)
        within = [n for n in candidates if _start(n.body) <= low and high <= _end(n.body)]
        within.sort(key=lambda n: (_start(n.body), tuple(-x for x in _end(n.body))))
        if within:
            return within[-1]
    same = [n for n in candidates if compiles_to(n, code)]
    if not same:
        raise _stale(code)
    return same[0]


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or node.col_offset


def _in_text(code: types.CodeType, text: str) -> SourceFunction:
    """The function of `code` in a text that came along with it: by line where that fits, else by its name and
    parameters."""
    lines = text.splitlines(keepends=True)
    tree = _parse(text)
    kind = ast.Lambda if code.co_name == "<lambda>" else ast.FunctionDef
    found: list[FunctionNode] = []
    for node in ast.walk(tree):
        if isinstance(node, kind) and isinstance(node, FunctionNode) and _may_be(node, code):
            if isinstance(node, ast.FunctionDef) and node.name != code.co_name:
                continue
            found.append(node)
    exact = [n for n in found if first_line(n) == code.co_firstlineno]
    chosen = exact or found
    if len(chosen) > 1:
        chosen = [n for n in chosen if compiles_to(n, code)]
    if not chosen:
        raise _no_source(code, "its __source__ does not hold it")
    texts = tuple(line.rstrip("\r\n") for line in lines)
    offset = code.co_firstlineno - first_line(chosen[0])
    return SourceFunction(chosen[0], code.co_filename, texts, offset, code.co_name, code)


def _signature(node: FunctionNode) -> tuple[str, ...]:
    a = node.args
    stars = [s for s in (a.vararg, a.kwarg) if s is not None]
    return tuple(arg.arg for arg in [*a.posonlyargs, *a.args, *a.kwonlyargs, *stars])


def _parameters(code: types.CodeType) -> tuple[str, ...]:
    stars = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)  # CO_VARARGS, CO_VARKEYWORDS
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + stars]


def _may_be(node: FunctionNode, code: types.CodeType) -> bool:
    """Whether the parameters are the same, but for private names that Python has mangled."""
    names, real = _signature(node), _parameters(code)
    return len(names) == len(real) and all(r == n or r.endswith(n) for n, r in zip(names, real, strict=True))


def _check(source: SourceFunction) -> SourceFunction:
    """The text must be the one that the function was compiled from: files are edited while programs run."""
    node = source.node
    text = "\n".join(source.lines[node.lineno - 1 : node.end_lineno])
    if not _quietly(text, lambda _: compiles_to(node, source.code)):
        raise _stale(source.code)
    node = with_private_names(node, source.code)
    return source if node is source.node else replace(source, node=node)


def _not_a_def(code: types.CodeType, node: ast.stmt) -> UnsupportedError:
    if isinstance(node, ast.AsyncFunctionDef):
        problem = Problem("`async def` is not supported", _place(code), "write a plain function")
        return UnsupportedError([problem])
    return _stale(code)


def _place(code: types.CodeType) -> Loc:
    line = linecache.getline(code.co_filename, code.co_firstlineno).rstrip("\r\n")
    start = len(line) - len(line.lstrip())
    return Loc(code.co_filename, code.co_firstlineno, start, len(line), line, code.co_name)


def _no_source(code: types.CodeType, why: str) -> UnsupportedError:
    name = code.co_name
    return UnsupportedError([Problem(f"the source of {name} cannot be read: {why}", None, TRACE_HINT)])


def _stale(code: types.CodeType) -> UnsupportedError:
    why = f"the text at {code.co_filename}:{code.co_firstlineno} is not what it was compiled from"
    hint = "the file was edited after it was imported, or a tool changed the function: import it again, as it is written"
    return UnsupportedError([Problem(f"the source of {code.co_name} cannot be read: {why}", None, hint)])


def _too_deep(code: types.CodeType) -> CompileError:
    return CompileError([Problem(TOO_DEEP, _place(code), TOO_DEEP_HINT)])
