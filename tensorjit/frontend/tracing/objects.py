"""Objects of the user's classes, as the traced function sees them.

A `Proxy` stands for one object. What is read of it is found as Python finds it, on the object itself, and comes
back with the place that it was read from; methods and properties run as copies, on the proxy. What is set on it
stays in the proxy's own `__dict__`: the rest of the run sees it, the object does not.

`isinstance` and `super` go by `__class__`, which is the object's own; `type` and `super` are substituted in the
copies, because the builtins look at the proxy.
"""

from __future__ import annotations

import builtins
import enum
import functools
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType
from typing import Any, Final, Protocol, final

from tensorjit.frontend.tracing.containers import Dict, List
from tensorjit.frontend.tracing.recorder import ACTIVE
from tensorjit.frontend.tracing.tracer import Tracer
from tensorjit.passes.specialise.state import MISSING, Source

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
_OWN: Final = frozenset(  # special methods that a proxy has itself, or that make objects
    {
        "__new__", "__init__", "__del__", "__init_subclass__", "__class_getitem__", "__getattribute__", "__getattr__",
        "__setattr__", "__delattr__", "__class__", "__dict__", "__dir__", "__reduce__", "__reduce_ex__", "__getstate__",
        "__setstate__", "__getnewargs__", "__getnewargs_ex__", "__copy__", "__deepcopy__", "__set_name__", "__post_init__",
        "__annotate__", "__annotate_func__", "__doc__",
    }
)  # fmt: skip


_NOT_FOLLOWED: Final = frozenset({"__getattribute__", "__tensorjit_function__"})  # what a class with these reads is its own affair

_NAMESPACES: Final = frozenset({("types", "SimpleNamespace"), ("argparse", "Namespace")})  # the standard library's that are followed


class Run(Protocol):
    """What proxies ask of the run that they belong to."""

    def value(self, source: Source, value: Any) -> Any: ...
    def copy(self, function: Any) -> Any: ...
    def same_object(self, source: Source, value: Any) -> None: ...
    def kind(self, source: Source, value: Any) -> None: ...
    def fact(self, source: Source, found: Any) -> None: ...
    def keys(self, source: Source, found: tuple[Any, ...]) -> None: ...
    def changed(self, source: Source) -> None: ...
    def unfollowed(self, what: str) -> None: ...
    def class_read(self, kind: type) -> None: ...
    def compared(self) -> None: ...
    def refuse(self, message: str, hint: str) -> Exception: ...


@final
class State:
    """What a proxy knows."""

    __slots__ = ("attributes", "deleted", "original", "run", "seen", "source", "told")

    def __init__(self, run: Run, source: Source, original: Any) -> None:
        self.run, self.source, self.original = run, source, original
        self.seen: dict[str, Any] = {}  # attributes that were read
        self.deleted: set[str] = set()
        self.told: set[str] = set()  # attributes that were set, with a warning
        self.attributes: Dict | None = None  # its __dict__


class _Kind(type):
    """The class of a proxy's class: what it lacks, the original class has."""

    def __getattr__(cls, name: str) -> Any:
        return getattr(type.__getattribute__(cls, "_tj_class"), name)


def state_of(proxy: Any) -> State:
    """What is behind a proxy."""
    return object.__getattribute__(proxy, "_tj_state")  # type: ignore[no-any-return]


def is_proxy(x: Any) -> bool:
    """Whether an object is a proxy.

    >>> is_proxy(object())
    False
    """
    return type(type(x)) is _Kind


def original(x: Any) -> Any:
    """The object behind a proxy; anything else as it is."""
    return state_of(x).original if is_proxy(x) else x


class Proxy(metaclass=_Kind):
    """Stands for an object of the user's."""

    __slots__ = ("__dict__", "__weakref__", "_tj_state")

    _tj_state: State

    def __getattribute__(self, name: str) -> Any:
        return attribute(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        set_attribute(self, name, value)

    def __delattr__(self, name: str) -> None:
        state = state_of(self)
        attribute(self, name)
        object.__getattribute__(self, "__dict__").pop(name, None)
        state.deleted.add(name)
        _tell(state, name)

    def __eq__(self, other: object) -> Any:
        if original(self) is original(other):
            return True
        if is_proxy(other):  # it may come to be the same
            state_of(self).run.compared()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(original(self))

    def __repr__(self) -> str:
        return repr(original(self))

    def __dir__(self) -> Any:
        return dir(original(self))

    def __copy__(self) -> Any:
        made = object.__new__(type(original(self)))
        for name, value in dict(attribute(self, "__dict__")).items():
            object.__setattr__(made, name, value)
        return made

    def __reduce_ex__(self, protocol: object) -> Any:
        kind = type(original(self)).__name__
        raise state_of(self).run.refuse(f"a {kind} from outside of the function is copied or pickled", "make it in the function")


Proxy._tj_class = object  # type: ignore[attr-defined]


def has_proxies(kind: type, is_users: Callable[[type], bool]) -> bool:
    """Whether objects of a class can be followed: the user's own, made by a class statement, and nothing that C code
    looks into."""
    if (kind.__module__, kind.__qualname__) in _NAMESPACES:
        return True
    if isinstance(kind, (_Kind, enum.EnumMeta)) or not is_users(kind) or _names(kind) & _NOT_FOLLOWED:
        return False
    return all(base.__flags__ & _HEAP_TYPE for base in kind.__mro__[:-1])


def _names(kind: type) -> set[str]:
    """What a class and its bases define, but for object."""
    return {name for base in kind.__mro__[:-1] for name in vars(base)}


def make_class(kind: type) -> type:
    """The class of the proxies of a class: with its special methods, which Python looks up there."""
    space: dict[str, Any] = {"_tj_class": kind, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    for base in reversed(kind.__mro__[:-1]):
        for name, found in vars(base).items() if base.__flags__ & _HEAP_TYPE else ():
            if name.startswith("__") and name.endswith("__") and name not in _OWN:
                if callable(found):
                    space[name] = _special(name)
                elif found is None:  # __hash__ of a class with __eq__
                    space[name] = None
            elif _lookup(kind.__mro__, name) is found and _sets(found):
                space[name] = _Setter(name)
    return _Kind(kind.__name__, (Proxy,), space)


def _sets(raw: Any) -> bool:
    """Whether setting an attribute runs code of the class."""
    return isinstance(raw, property) or isinstance(getattr(type(raw), "__set__", None), FunctionType)


@final
class _Setter:
    """Where `object.__setattr__` finds that an attribute is set by code."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, x: Any, kind: Any = None) -> Any:
        raise AttributeError(self.name)

    def __set__(self, x: Any, value: Any) -> None:
        _set_plainly(x, self.name, value)


def _special(name: str) -> Any:
    def special(self: Any, *args: Any, **kwargs: Any) -> Any:
        return bound(self, name)(*args, **kwargs)

    return special


def bound(self: Any, name: str, after: type | None = None) -> Any:
    """A method of the class, on the proxy."""
    mro = type(original(self)).__mro__
    where = mro[mro.index(after) + 1 :] if after is not None else mro
    return _of_class(self, _lookup(where, name), name, where)


# -- reading -------------------------------------------------------------------------------------------------------


def attribute(self: Any, name: str) -> Any:
    """`self.name`, as Python finds it."""
    state = state_of(self)
    own = object.__getattribute__(self, "__dict__")
    if name in own:
        return own[name]
    kind = type(state.original)
    if name == "__class__":
        state.run.class_read(kind)
        return kind
    if name == "__dict__":
        return _attributes(self, state)
    raw = _lookup(kind.__mro__, name)
    if _is_data(raw) and not isinstance(raw, MemberDescriptorType):
        return _of_class(self, raw, name, kind.__mro__)
    if raw is MISSING or isinstance(raw, MemberDescriptorType) or not hasattr(type(raw), "__get__"):
        found = MISSING if name in state.deleted else _of_object(state, raw, name)
        if found is MISSING and raw is not MISSING and not isinstance(raw, MemberDescriptorType):
            found = state.run.value(Source("attribute", Source("constant", kind, kind.__name__), name), raw)
    elif name in _dict_of(state.original) and name not in state.deleted:
        found = _of_dict(state, name)
    else:
        if hasattr(state.original, "__dict__") and name not in state.deleted and not name.startswith("__"):
            state.run.kind(_in_dict(state, name), MISSING)  # the object may come to have one of its own
        return _of_class(self, raw, name, kind.__mro__)
    if found is MISSING:
        return _missing(self, kind, name)
    state.seen[name] = found
    return found


def _of_object(state: State, raw: Any, name: str) -> Any:
    """An attribute that is a plain value: of the object, or else of its class."""
    if name.startswith("__") and name not in _dict_of(state.original):
        return raw  # what libraries probe for
    dynamic = _lookup(type(state.original).__mro__, "__getattr__") is not MISSING
    if dynamic and not isinstance(raw, MemberDescriptorType):  # reading the attribute would call that where there is none
        if name in _dict_of(state.original):
            return _of_dict(state, name)
        if raw is MISSING:
            if hasattr(state.original, "__dict__"):
                state.run.kind(_in_dict(state, name), MISSING)
            return MISSING
    source = Source("attribute", state.source, name)
    try:
        value = object.__getattribute__(state.original, name)
    except AttributeError:
        state.run.kind(source, MISSING)
        return MISSING
    return state.run.value(source, value)


def _of_dict(state: State, name: str) -> Any:
    return state.run.value(_in_dict(state, name), _dict_of(state.original)[name])


def _in_dict(state: State, name: str) -> Source:
    return Source("dict item", Source("attribute", state.source, "__dict__"), name)


def _dict_of(x: Any) -> dict[str, Any]:
    try:
        return object.__getattribute__(x, "__dict__")  # type: ignore[no-any-return]
    except AttributeError:  # it has slots only
        return {}


def _missing(self: Any, kind: type, name: str) -> Any:
    raw = _lookup(kind.__mro__, "__getattr__")
    if raw is not MISSING and not name.startswith("__"):
        return _of_class(self, raw, "__getattr__", kind.__mro__)(name)
    raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}", name=name, obj=self)


def _attributes(self: Any, state: State) -> Dict:
    if state.attributes is None:
        held = object.__getattribute__(state.original, "__dict__")  # AttributeError where it has slots only
        own = object.__getattribute__(self, "__dict__")

        def changed(values: Mapping[str, Any]) -> None:
            own.update(values)
            state.deleted.update(k for k in held if not dict.__contains__(made, k))
            state.told.update(own)

        made = Dict.of(state.run, Source("attribute", state.source, "__dict__"), held)
        for name in own:
            made[name] = own[name]
        for name in state.deleted & set(made):
            del made[name]
        made._tj_owner = changed
        state.attributes = made
    return state.attributes


def _of_class(self: Any, raw: Any, name: str, mro: tuple[type, ...]) -> Any:
    """What a descriptor of the class gives for the object."""
    state = state_of(self)
    kind = type(state.original)
    owner = next((c for c in mro if name in vars(c)), object)
    if owner is object:  # of every object: it works on the proxy
        return functools.partial(_set_plainly, self) if name == "__setattr__" else raw.__get__(self, kind)
    asked = kind if mro[0] is kind else owner  # a class below may come to define the name
    place = Source("attribute", Source("constant", asked, asked.__name__), name)
    if isinstance(raw, FunctionType):
        state.run.same_object(place, raw)
        return MethodType(state.run.copy(raw), self)
    if isinstance(raw, staticmethod):
        return state.run.value(place, raw.__func__)
    if isinstance(raw, classmethod):
        state.run.same_object(Source("attribute", place, "__func__"), raw.__func__)
        state.run.class_read(kind)
        return MethodType(state.run.copy(raw.__func__), kind)
    if isinstance(raw, _CACHED):  # its cache would keep what is traced
        return MethodType(state.run.copy(raw.__wrapped__), self)
    if isinstance(raw, property):
        state.run.same_object(place, raw)
        if raw.fget is None:
            raise AttributeError(f"property {name!r} of {kind.__name__!r} object has no getter")
        return state.run.copy(raw.fget)(self)
    if isinstance(raw, functools.cached_property):
        state.run.kind(_in_dict(state, name), MISSING)
        found = state.run.copy(raw.func)(self)
        object.__getattribute__(self, "__dict__")[name] = found  # once in a run; a call of the compiled function computes it
        state.told.add(name)
        return found
    if isinstance(raw, (GetSetDescriptorType, MemberDescriptorType)):
        return getattr(state.original, name)
    get = getattr(type(raw), "__get__", None)
    if isinstance(get, FunctionType):  # a descriptor of the user's
        return state.run.copy(get)(raw, self, kind)
    if get is not None and get(raw, None, kind) is raw:
        state.run.same_object(place, raw)
    return raw if get is None else raw.__get__(self if callable(raw) else state.original, kind)


_CACHED: Final[Any] = type(functools.lru_cache(lambda: None))


def _lookup(mro: tuple[type, ...], name: str) -> Any:
    for kind in mro:
        if name in vars(kind):
            return vars(kind)[name]
    return MISSING


def _is_data(raw: Any) -> bool:
    return raw is not MISSING and (hasattr(type(raw), "__set__") or hasattr(type(raw), "__delete__"))


# -- setting -------------------------------------------------------------------------------------------------------


def set_attribute(self: Any, name: str, value: Any) -> None:
    """`self.name = value`, for this run."""
    state = state_of(self)
    kind = type(state.original)
    raw = _lookup(kind.__mro__, "__setattr__")
    if isinstance(raw, FunctionType):
        _of_class(self, raw, "__setattr__", kind.__mro__)(name, value)
    else:
        _set_plainly(self, name, value)


def _set_plainly(self: Any, name: str, value: Any) -> None:
    """As `object.__setattr__` does."""
    state = state_of(self)
    kind = type(state.original)
    raw = _lookup(kind.__mro__, name)
    if isinstance(raw, property):
        if raw.fset is None:
            raise AttributeError(f"property {name!r} of {kind.__name__!r} object has no setter")
        state.run.copy(raw.fset)(self, value)
    elif isinstance(getattr(type(raw), "__set__", None), FunctionType):
        state.run.copy(type(raw).__set__)(raw, self, value)
    elif name not in state.seen or state.seen[name] is not value:  # else the end of self.x += y, which changed an array in place
        object.__setattr__(self, name, value)
        state.deleted.discard(name)
        _tell(state, name)


def _tell(state: State, name: str) -> None:
    state.told.add(name)
    state.run.changed(Source("attribute", state.source, name))


def tell_all(proxy: Any) -> None:
    """Warn of what was set behind our back, by `object.__setattr__`."""
    state = state_of(proxy)
    for name in set(object.__getattribute__(proxy, "__dict__")) - state.told:
        _tell(state, name)


# -- builtins that look at the proxy -------------------------------------------------------------------------------


@final
class _Super:
    """`super()` of a proxy."""

    def __init__(self, kind: type, proxy: Any) -> None:
        object.__setattr__(self, "_tj_place", (kind, proxy))

    def __getattribute__(self, name: str) -> Any:
        kind, proxy = object.__getattribute__(self, "_tj_place")
        mro = type(original(proxy)).__mro__
        after = mro[mro.index(kind) + 1 :]
        raw = _lookup(after, name)
        if raw is MISSING:
            raise AttributeError(f"'super' object has no attribute {name!r}")
        if hasattr(type(raw), "__get__"):
            return _of_class(proxy, raw, name, after)
        owner = next(c for c in after if name in vars(c))
        return state_of(proxy).run.value(Source("attribute", Source("constant", owner, owner.__name__), name), raw)


def super_(*args: Any) -> Any:
    """What the copies have for `super`."""
    if not args:
        frame = sys._getframe(1)
        args = (frame.f_locals["__class__"], frame.f_locals[frame.f_code.co_varnames[0]])
    return _Super(*args) if len(args) == 2 and is_proxy(args[1]) else builtins.super(*args)


class _TypeKind(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs:
            if is_proxy(args[0]):
                return args[0].__class__
            if isinstance(args[0], Tracer):
                return args[0]._tj_recorder.class_of(args[0])
            return _STANDS_FOR.get(type(args[0]), type(args[0]))
        return type(*args, **kwargs)

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, type)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, type)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is type

    def __hash__(cls) -> int:
        return hash(type)


@final
class Type(metaclass=_TypeKind):
    """What the copies have for `type`."""

    _tj_original = type


def print_(*args: Any, **kwargs: Any) -> None:
    """What the copies have for `print`: the values of this run, which a call of the compiled function does not print."""
    recorder: Any = ACTIVE.get()
    if recorder is not None:
        recorder.warn("`print` prints while tracing only", "print outside of the function")
        args = tuple(f"<traced {a._tj_concrete!r}>" if isinstance(a, Tracer) else a for a in args)
    builtins.print(*args, **kwargs)  # noqa: T201  (it is the user who prints)


_STANDS_FOR: Final[Mapping[type, type]] = {List: list, Dict: dict}
BUILTINS: Final[Mapping[str, Any]] = {"super": super_, "type": Type, "print": print_}
