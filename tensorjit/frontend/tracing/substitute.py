"""The traced function's view of what it captures.

A plain array that a function reads from a global, its closure or an object reaches no protocol until it meets a
traced value: `W[0]` or `self.w.sum()` would be constants. So the function runs as a copy whose globals and cells
are substitutes, and whatever is reached from there is substituted when it is read:

* an array is a traced value, an input that is read from its place at each call;
* a number or a string is what it is, and guarded;
* an object of the user's is a proxy (`objects`), a list or a dict a copy that reads (`containers`), a tuple is
  rebuilt;
* a function or method of the user's is such a copy again, and guarded by identity, as is all else.

The first guard of every place says what is there (a number itself, of all else the class), so that two runs that
find different things part there. What the function sets (attributes, globals, nonlocals, items) it sets for this run.
"""

from __future__ import annotations

import builtins
import copy
import dis
import enum
import functools
import inspect
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableSequence, MutableSet
from contextvars import ContextVar
from itertools import starmap
from threading import local
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, Protocol, final
from weakref import ref as weakref

import numpy as np

from tensorjit.frontend.tracing.containers import Dict, List
from tensorjit.frontend.tracing.identity import Identity, asks_for_types
from tensorjit.frontend.tracing.intercept import compiled_packages, is_substitute, is_users, substitute_of
from tensorjit.frontend.tracing.objects import BUILTINS, Proxy, State, has_proxies, make_class, tell_all
from tensorjit.frontend.tracing.places import user_frame
from tensorjit.frontend.tracing.unfit import unfit
from tensorjit.passes.specialise.state import MISSING, Source, canonical, is_plain

MAX_TUPLE: Final = 16  # a longer one is guarded by identity
_CACHED: Final[Any] = type(functools.lru_cache(lambda: None))
_CHANGING: Final = (list, dict, set, bytearray, deque)
_UNFOLLOWED: Final = (Mapping, MutableSequence, MutableSet, Iterator, ContextVar, local, weakref)


class Captures(Protocol):
    """What a recorder does with what the function captures."""

    identity: Identity

    def captured(self, source: Source, found: Any, kind: Any = "equal") -> None: ...
    def captured_array(self, source: Source, value: Any) -> Any: ...
    def captured_unread(self, source: Source, value: Any) -> None: ...
    def captured_before(self, source: Source, value: Any) -> Source: ...
    def knows(self, source: Source) -> bool: ...
    def changed(self, source: Source) -> None: ...
    def warn(self, message: str, hint: str) -> None: ...
    def refuse(self, message: str, hint: str = "") -> Exception: ...


@final
class Globals(dict[str, Any]):
    """The globals of a function's copy: reads go to the module (LOAD_GLOBAL asks a subclass of dict through
    `__getitem__`). What the function stores is stored here."""

    __slots__ = ("_before", "_substitute", "original")

    def __init__(self, original: dict[str, Any], substitute: Substitute) -> None:
        super().__init__(original)  # for those who read it as a plain dict: CPython for __builtins__, warnings
        self["__builtins__"] = {**vars(builtins), **BUILTINS, "__import__": substitute.imported}
        self._before = dict(self)
        self.original = original
        self._substitute = substitute

    def __getitem__(self, name: str) -> Any:
        here = self.get(name, MISSING)
        if here is not self._before.get(name, MISSING):
            return dict.__getitem__(self, name)
        hiding = Source("dict item", Source("constant", self.original, "globals()"), name)
        if name in self.original:
            source = hiding if self._substitute.recorder.knows(hiding) else Source("global", self.original, name)
            return self._substitute.value(source, self.original[name])
        if not name.startswith("__"):
            self._substitute.kind(hiding, MISSING)  # a builtin, as long as nothing hides it
        raise KeyError(name)

    def stored(self) -> Iterator[str]:
        """The names that were bound or deleted."""
        for name in {**self._before, **self}:
            if name != "__warningregistry__" and self.get(name, MISSING) is not self._before.get(name, MISSING):
                yield name


@final
class _Module(ModuleType):
    """A module of the user's: its attributes are read as globals are."""

    def __init__(self, original: ModuleType, substitute: Substitute) -> None:
        super().__init__(original.__name__, original.__doc__)
        vars(self).update(_tj_original=original, _tj_substitute=substitute)

    def __getattr__(self, name: str) -> Any:
        original = vars(self)["_tj_original"]
        if name not in vars(original):
            return getattr(original, name)
        source = Source("global", vars(original), name)
        return vars(self)["_tj_substitute"].value(source, source.read())

    def __setattr__(self, name: str, value: Any) -> None:
        source = Source("global", vars(vars(self)["_tj_original"]), name)
        vars(self)[name] = value
        vars(self)["_tj_substitute"].changed(source)


@final
class Substitute:
    """Makes the copies for one run."""

    def __init__(self, recorder: Captures, function: Any) -> None:
        self.recorder = recorder
        self._globals: dict[int, Globals] = {}
        self._compiled = compiled_packages() - _packages(function)  # whoever has a function traced wants it to be looked into
        self._functions: dict[int, tuple[FunctionType, FunctionType]] = {}
        self._cells: dict[int, tuple[str, CellType, CellType, Any]] = {}
        self._kept: dict[tuple[Any, ...], tuple[Any, Any]] = {}  # by source: an object, and what stands for it
        self._classes: dict[type, type | None] = {}
        self._attributes: list[tuple[FunctionType, FunctionType, dict[str, Any]]] = []  # with the copies, and theirs as they were
        self._copies: list[tuple[Source, Any, list[Any]]] = []
        self._scanned: set[int] = set()

    # -- functions ---------------------------------------------------------------------------------------------

    def callable(self, function: Any) -> Callable[..., Any]:
        """What is run instead of the callable that is traced."""
        if isinstance(function, FunctionType):
            return self.copy(function)  # type: ignore[no-any-return]
        if isinstance(function, MethodType) and isinstance(function.__func__, FunctionType):
            return MethodType(self.copy(function.__func__), self.constant(function.__self__, "self"))
        if type(function) is functools.partial:
            return self._partial(Source("constant", function, "partial"), function)  # type: ignore[no-any-return]
        if self._proxied(type(function)):
            return self.constant(function, "self")  # type: ignore[no-any-return]
        call: Any = getattr(type(function), "__call__", None)  # noqa: B004
        if isinstance(call, FunctionType) and not hasattr(type(function), "__tensorjit_function__"):
            return MethodType(self.copy(call), function)
        return function  # type: ignore[no-any-return]

    def signature_read(self, function: Any) -> None:
        """The keywords of a partial are defaults of its parameters: another one there is noticed."""
        if type(function) is not functools.partial:
            return
        keywords = Source("attribute", Source("constant", function, "partial"), "keywords")
        self.keys(Source("keys", keywords), tuple(function.keywords))
        for name, value in function.keywords.items():
            place = Source("dict item", keywords, name)
            if isinstance(value, np.ndarray):
                hint = "give it at each call, or write a function that reads it"
                raise self.refuse(f"a partial whose keyword {name!r} is an array", hint)
            self.kind(place, value)
            if isinstance(value, np.generic):
                self.fact(place, value.item())
            elif not is_plain(value):
                self.same_object(place, value)

    def copy(self, function: Any) -> Any:
        """The copy of a function of the user's; other callables as they are."""
        if not isinstance(function, FunctionType) or is_substitute(function):
            return function
        known = self._functions.get(id(function))
        if known is not None:
            return known[1]
        if isinstance(function.__globals__, Globals) or not self._users(str(function.__globals__.get("__name__", ""))):
            return function
        code, closure = self._code(function), function.__closure__
        self.recorder.identity.require(code)
        fresh = [cell for cell in closure or () if id(cell) not in self._cells]
        for name, cell in zip(code.co_freevars, closure or (), strict=True):
            if id(cell) not in self._cells:  # by identity: cells compare by what they hold
                self._cells[id(cell)] = (name, cell, CellType(), MISSING)
        cells = closure and tuple(self._cells[id(cell)][2] for cell in closure)
        made = FunctionType(code, self._space(function), function.__name__, None, cells)
        self._functions[id(function)] = (function, made)
        for cell in fresh:  # not before: one of them may hold the function
            self._fill(*self._cells[id(cell)])
        made.__defaults__ = tuple(starmap(self.value, self._defaults(function))) or None
        made.__kwdefaults__ = {k: self.value(source, d) for k, source, d in self._kwdefaults(function)} or None
        made.__dict__.update({name: self._of_function(function, name) for name in function.__dict__})
        self._attributes.append((function, made, dict(made.__dict__)))
        made.__qualname__, made.__module__ = function.__qualname__, function.__module__
        return made

    def _code(self, function: FunctionType) -> CodeType:
        """What a function runs now: it can be given another code."""
        code = function.__code__
        self.same_object(_part(function, "__code__"), code)
        return code

    def _defaults(self, function: FunctionType) -> list[tuple[Source, Any]]:
        """The defaults of positional parameters, and where each is read."""
        found, source = function.__defaults__ or (), _part(function, "__defaults__")
        if found:
            self.kind(source, found)
            self.fact(Source("length", source), len(found))  # the last of them is the last parameter's
        return [(Source("tuple item", source, k), d) for k, d in enumerate(found)]

    def _kwdefaults(self, function: FunctionType) -> list[tuple[str, Source, Any]]:
        found, source = function.__kwdefaults__ or {}, _part(function, "__kwdefaults__")
        return [(k, Source("dict item", source, k), d) for k, d in found.items()]

    def _of_function(self, function: FunctionType, name: str) -> Any:
        """An attribute of a function."""
        value = function.__dict__[name]
        place = Source("attribute", Source("constant", function, function.__name__), name)
        return value if name.startswith("__") else self.value(place, value)

    def _users(self, module: str) -> bool:
        return is_users(module, self._compiled)

    def _space(self, function: FunctionType) -> Globals:
        original = function.__globals__
        if id(original) not in self._globals:
            self._globals[id(original)] = Globals(original, self)
        return self._globals[id(original)]

    def _fill(self, name: str, cell: CellType, made: CellType, _: Any) -> None:
        """Put into a cell what stands for the content of another."""
        content = Source("cell", cell, name).find()
        if content is not MISSING:
            made.cell_contents = content if name == "__class__" else self.value(Source("cell", cell, name), content)
            self._cells[id(cell)] = (name, cell, made, made.cell_contents)

    def finish(self) -> None:
        """Warn of what was stored without our seeing it."""
        for name, cell, made, put in self._cells.values():
            if Source("cell", made).find() is not put:
                self.changed(Source("cell", cell, name))
        for space in self._globals.values():
            for name in space.stored():
                self.changed(Source("global", space.original, name))
        for function, copied, attributes in self._attributes:
            for name in {**attributes, **copied.__dict__}:
                if copied.__dict__.get(name, MISSING) is not attributes.get(name, MISSING):
                    self.changed(Source("attribute", Source("constant", function, function.__name__), name))
        for source, made, before in self._copies:
            now = _items(made)
            if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True)):
                self.changed(source)
        for _, made in list(self._kept.values()):
            if isinstance(made, Proxy):
                tell_all(made)

    # -- values ------------------------------------------------------------------------------------------------

    def constant(self, value: Any, name: str) -> Any:
        """An object that was handed over for good: a default, an argument of a partial, the object of a method."""
        if isinstance(value, type):
            self.class_read(value)
        if is_plain(value) or isinstance(value, (type, ModuleType)):
            return value
        return self.value(Source("constant", value, name), value)

    def value(self, source: Source, value: Any) -> Any:
        """What the function reads instead of a captured value."""
        found = substitute_of(value)
        outside = is_substitute(value) or (type(value) is ModuleType and not self._users(value.__name__))
        if source.kind == "global" and _is_itself(source.name, value, outside):
            return value if found is None else found
        self.kind(source, value)
        if outside:
            self.same_object(source, value)
            return value if found is None else found
        if issubclass(type(value), (np.ndarray, np.generic)):  # a value of another trace only says that it is one
            problem = unfit(value)
            return self.recorder.captured_array(source, value) if problem is None else self._unfit(source, value, problem[0])
        if is_plain(value):
            return value
        for kind, make in _MAKERS.items():
            if type(value) is kind:
                return make(self, source, value)
        if isinstance(value, tuple):
            return self._tuple(source, value)
        if self._proxied(type(value)):
            return self._followed(source, value, self._proxy)
        self.same_object(source, value)
        if isinstance(value, type):
            self.class_read(value)
        elif isinstance(value, _CHANGING):
            return self._followed(source, value, self._copied)
        elif isinstance(value, _UNFOLLOWED) or self._librarys(type(value)):
            self.unfollowed(f"`{source.shown}`, a {type(value).__name__},")
        return value if found is None else found

    def _unfit(self, source: Source, value: Any, what: str) -> Any:
        """An array of text or the like, which the function may compare or look things up in by plain NumPy."""
        self.recorder.captured_unread(source, value)
        if not isinstance(value, np.generic):
            self.unfollowed(f"`{source.shown}`, {what},")
        return value

    def _followed(self, source: Source, value: Any, make: Callable[[Source, Any], Any]) -> Any:
        """One thing for one object, by whatever way it is reached."""
        first = self.recorder.captured_before(source, value)
        if first.key not in self._kept:
            self._kept[first.key] = (value, make(first, value))
        return self._kept[first.key][1]

    def _proxied(self, kind: type) -> bool:
        if kind not in self._classes:
            follows = has_proxies(kind, lambda k: self._users(str(getattr(k, "__module__", ""))))
            self._classes[kind] = make_class(kind) if follows else None
        return self._classes[kind] is not None

    def _librarys(self, kind: type) -> bool:
        """Whether objects of a class are a library's, with attributes that may change."""
        top = kind.__module__.partition(".")[0]
        if top in ("numpy", "tensorjit", "builtins") or top in sys.stdlib_module_names:
            return False
        return "__dict__" in dir(kind) and not isinstance(kind, enum.EnumMeta) and not hasattr(kind, "__tensorjit_function__")

    def _proxy(self, source: Source, value: Any) -> Any:
        made: Any = object.__new__(self._classes[type(value)])  # type: ignore[arg-type]
        object.__setattr__(made, "_tj_state", State(self, source, value))
        return made

    def _copied(self, source: Source, value: Any) -> Any:
        """A container that is not followed, so that what is put in it stays in this run."""
        self.unfollowed(f"`{source.shown}`, a {type(value).__name__},")
        made = copy.copy(value)
        self._copies.append((source, made, _items(value)))
        return made

    def _list(self, source: Source, value: Any) -> Any:
        return self._followed(source, value, lambda s, v: List.of(self, s, v))

    def _dict(self, source: Source, value: Any) -> Any:
        return self._followed(source, value, lambda s, v: Dict.of(self, s, v))

    def _tuple(self, source: Source, value: Any) -> Any:
        return self._followed(source, value, self._rebuilt) if self.recorder.identity.watched else self._rebuilt(source, value)

    def _rebuilt(self, source: Source, value: Any) -> Any:
        fields = getattr(value, "_fields", None)
        if type(value) is tuple and len(value) <= MAX_TUPLE:
            self.fact(Source("length", source), len(value))
            return tuple([self.value(Source("tuple item", source, k), v) for k, v in enumerate(value)])
        if type(fields) is tuple and len(fields) == len(value):
            self.class_read(type(value))
            items = [self.value(Source("attribute", source, n), v) for n, v in zip(fields, value, strict=True)]
            return tuple.__new__(type(value), items)
        self.same_object(source, value)
        made = [self.constant(v, f"{source.shown}[{k}]") for k, v in enumerate(value)]
        return value if all(a is b for a, b in zip(made, value, strict=True)) else tuple.__new__(type(value), made)

    def _function(self, source: Source, value: Any) -> Any:
        self.same_object(source, value)
        return self.copy(value)

    def _cached(self, source: Source, value: Any) -> Any:
        self.same_object(source, value)
        return self.copy(value.__wrapped__)  # without the cache, which would keep what is traced

    def imported(self, *args: Any, **kwargs: Any) -> Any:
        """What the copies have for `__import__`."""
        module = builtins.__import__(*args, **kwargs)
        found = substitute_of(module)
        if found is not None or not self._users(module.__name__):
            return module if found is None else found
        return self._kept.setdefault((id(module),), (module, _Module(module, self)))[1]

    def _method(self, source: Source, value: Any) -> Any:
        self.same_object(Source("attribute", source, "__func__"), value.__func__)
        return MethodType(self.copy(value.__func__), self.value(Source("attribute", source, "__self__"), value.__self__))

    def _partial(self, source: Source, value: Any) -> Any:
        function = self.value(Source("attribute", source, "func"), value.func)
        args = self.value(Source("attribute", source, "args"), value.args)
        keywords = self.value(Source("attribute", source, "keywords"), value.keywords)
        return functools.partial(function, *args, **keywords)

    def _module(self, source: Source, value: Any) -> Any:
        self.same_object(source, value)
        return self._kept.setdefault((id(value),), (value, _Module(value, self)))[1]

    # -- what runs as it is ------------------------------------------------------------------------------------

    def class_read(self, kind: type) -> None:
        """A class is a namespace, and its methods are no copies: the numbers that they may read there, and in globals, are
        guarded now."""
        if not self._users(kind.__module__):
            return
        read = _names(user_frame().f_code)
        if id(kind) not in self._scanned:
            self._scanned.add(id(kind))
            members = [found for base in kind.__mro__[:-1] for found in vars(base).values()]
            for function in (getattr(found, "__func__", getattr(found, "fget", found)) for found in members):
                if isinstance(function, FunctionType):
                    self._seen_as_it_is(function, function.__code__)
                    read |= _names(function.__code__)
                    self._scan(function)
        for name in sorted(read):
            found = inspect.getattr_static(kind, name, None)
            if is_plain(found) and found is not None and not name.startswith("__"):
                place = Source("attribute", Source("constant", kind, kind.__name__), name)
                self.kind(place, found)

    def _scan(self, function: FunctionType) -> None:
        space = function.__globals__
        if id(function) in self._scanned or not self._users(str(space.get("__name__", ""))):
            return
        self._scanned.add(id(function))
        code = self._code(function)
        self._seen_as_it_is(function, code)
        for source, found in (*self._defaults(function), *(item[1:] for item in self._kwdefaults(function))):
            if is_plain(found):
                self.kind(source, found)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            source = Source("cell", cell, name)
            found = source.find()
            if is_plain(found):
                self.kind(source, found)
        for name in sorted(_uses(code, "LOAD_GLOBAL")):
            found = space.get(name, MISSING)
            source = Source("global", space, name)
            if is_plain(found) and not name.startswith("__"):
                self.kind(source, found)
            elif isinstance(found, FunctionType) and not is_substitute(found):
                self.kind(source, found)
                self.same_object(source, found)
                self._scan(found)
            elif isinstance(found, type):
                self.class_read(found)

    def _seen_as_it_is(self, function: FunctionType, code: CodeType) -> None:
        """Code that runs without being copied."""
        self.recorder.identity.require(code)
        if id(code) not in self._scanned and self._users(function.__module__ or "") and asks_for_types(code):
            self._scanned.add(id(code))
            self.recorder.warn(
                f"`type` in {function.__qualname__}, which runs as it is, does not see the classes of traced values",
                "use isinstance",
            )

    # -- guards and warnings -----------------------------------------------------------------------------------

    def kind(self, source: Source, value: Any) -> None:
        """The first guard of each place: it holds this number or string, an object of this class, or nothing."""
        plain = value is MISSING or is_plain(value)
        kind = type(value._tj_original if is_substitute(value) else value)
        self.recorder.captured(Source("what", source), canonical(value) if plain else kind, "is")

    def same_object(self, source: Source, value: Any) -> None:
        self.recorder.captured(source, value._tj_original if is_substitute(value) else value, "is")

    def fact(self, source: Source, found: Any) -> None:
        self.recorder.captured(source, found)

    def keys(self, source: Source, found: tuple[Any, ...]) -> None:
        self.recorder.captured(source, canonical(found), "is")

    def changed(self, source: Source) -> None:
        self.recorder.changed(source)

    def unfollowed(self, what: str) -> None:
        self.recorder.warn(
            f"{what} is followed as it is now: what changes in it later is not seen",
            "pass it as an argument, or use a list or a dict",
        )

    def compared(self) -> None:
        """Two objects were told apart by who they are."""
        self.recorder.identity.watch()

    def refuse(self, message: str, hint: str) -> Exception:
        return self.recorder.refuse(message, hint)


_MAKERS: Final[dict[Any, Callable[[Substitute, Source, Any], Any]]] = {
    list: Substitute._list,
    dict: Substitute._dict,
    FunctionType: Substitute._function,
    MethodType: Substitute._method,
    ModuleType: Substitute._module,
    functools.partial: Substitute._partial,
    _CACHED: Substitute._cached,
}


def _packages(function: Any) -> set[str]:
    """The packages that a callable, and the object that it is a method of, are from."""
    if type(function) is functools.partial:
        return _packages(function.func)
    inner = function.__func__ if isinstance(function, MethodType) else function
    modules = [getattr(x, "__module__", None) or "" for x in (inner, type(getattr(function, "__self__", function)))]
    return {str(m).partition(".")[0] for m in modules} - {"numpy", "tensorjit"}


def _part(function: FunctionType, name: str) -> Source:
    return Source("of function", Source("constant", function, function.__name__), name)


def _is_itself(name: str, value: Any, outside: bool) -> bool:
    """Whether a global is what its name says, in every program: NumPy and its functions, modules, the interpreter's names."""
    if name.startswith("__"):
        return True
    value = value._tj_original if is_substitute(value) else value
    if isinstance(value, ModuleType):
        return outside and name in (value.__name__.rpartition(".")[2], "np" if value is np else "")
    module = getattr(value, "__module__", None) if callable(value) and not isinstance(value, FunctionType) else None
    return module in ("numpy", "builtins", "math") and getattr(value, "__name__", None) == name


def _items(container: Any) -> list[Any]:
    return [x for item in container.items() for x in item] if isinstance(container, dict) else list(container)


def _names(code: CodeType) -> set[str]:
    """The names that a code object, or one within it, uses."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _uses(code: CodeType, *operations: str) -> set[Any]:
    """The names that a code object, or one within it, treats so."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in operations}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _uses(constant, *operations)
    return found
