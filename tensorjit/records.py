"""The standard library's dataclasses, made in a tenth of the time.

`dataclasses.dataclass` generates and compiles up to six methods of every class: 0.45 ms each on Python 3.11, and the compiler
has more than a hundred and forty of them, so that importing them cost as much as compiling a function. Here nothing is
compiled for a class: its `__init__` is a compiled template (there is one for each number of fields) with the names of its
parameters and attributes put in, and the other methods are made of `operator.attrgetter`, or shared by all classes.

To a type checker this is `dataclasses.dataclass`, and `fields` and `replace` take its classes as any other. What the package
does not use is not there: inherited fields, other settings of `field` than `default`, `default_factory` and `compare`,
comparisons other than `==` and `<`, frozen classes without slots.

>>> @dataclass(frozen=True, slots=True)
... class Point:
...     x: int
...     y: int = 0
>>> Point(1), Point(1) == Point(1, 0), hash(Point(1)) == hash(Point(1))
(Point(x=1, y=0), True, True)
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass"]


def _record(cls: type | None = None, /, *, frozen: bool = False, slots: bool = False, eq: bool = True, order: bool = False) -> Any:
    if cls is None:
        return lambda c: _record(c, frozen=frozen, slots=slots, eq=eq, order=order)
    if any(hasattr(base, "__dataclass_fields__") for base in cls.__bases__):
        raise TypeError(f"{cls.__qualname__}: fields are not inherited here")
    if frozen and not slots:
        raise TypeError(f"{cls.__qualname__}: frozen records have slots here")
    own = vars(cls)
    names = tuple(cls.__annotations__)
    defaults = {name: own[name] for name in names if name in own}
    settings = {name: d for name, d in defaults.items() if isinstance(d, Field)}
    made = _with_slots(cls, names) if slots else cls
    methods: dict[str, Any] = {
        "__init__": _init(made, names, defaults, frozen=frozen),
        "__repr__": _repr,
        "__match_args__": names,
        "__dataclass_fields__": _Fields(names, defaults),
    }
    compared = tuple(name for name in names if name not in settings or settings[name].compare)
    if eq:
        methods["__eq__"], methods["__hash__"] = _comparing(compared, frozen=frozen)
    if order:
        methods["__lt__"] = _less(compared)
    if frozen:
        methods |= {"__setattr__": _refuse, "__delattr__": _refuse, "__reduce__": _reduce}
    for name, method in methods.items():
        if name not in own or (name == "__hash__" and own[name] is None):
            setattr(made, name, method)
    return made


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _record


def _with_slots(cls: type, names: tuple[str, ...]) -> type:
    """The class once more, with a slot for each field: slots can not be added to one that exists."""
    space = {name: value for name, value in vars(cls).items() if name not in (*names, "__dict__", "__weakref__")}
    return type(cls)(cls.__name__, cls.__bases__, {**space, "__slots__": names})


class _Fields:
    """`__dataclass_fields__`, which the standard library's functions ask for: made by it when they first do."""

    def __init__(self, names: tuple[str, ...], defaults: Mapping[str, Any]) -> None:
        self.names, self.defaults = names, defaults

    def __get__(self, instance: object, owner: type) -> dict[str, Field[Any]]:
        # with no doc it would spell out the signature: milliseconds
        space = {"__annotations__": owner.__annotations__, "__module__": owner.__module__, "__doc__": "-", **self.defaults}
        shadow: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(type(owner.__name__, (), space))
        found: dict[str, Field[Any]] = shadow.__dataclass_fields__
        type.__setattr__(owner, "__dataclass_fields__", found)
        return found


# -- __init__ --------------------------------------------------------------------------------------------------------


def _init(cls: type, names: tuple[str, ...], defaults: Mapping[str, Any], *, frozen: bool) -> Callable[..., None]:
    space: dict[str, Any] = {"MISSING": MISSING}
    given: list[Any] = []
    factories: list[int] = []
    for k, name in enumerate(names):
        default: Any = defaults.get(name, MISSING)
        factory: Any = MISSING
        if isinstance(default, Field):
            default, factory = default.default, default.default_factory
        if factory is not MISSING:
            space[f"make{k}"] = factory
            factories.append(k)
        if default is not MISSING or factory is not MISSING:
            given.append(default)
        elif given:
            raise TypeError(f"{cls.__qualname__}: the field {name!r} has no default, but the one before it has")
        if frozen:
            space[f"set{k}"] = vars(cls)[name].__set__
    template = _template(len(names), tuple(factories), frozen, hasattr(cls, "__post_init__"))
    attributes = {f"attr{k}": name for k, name in enumerate(names)}
    code = template.replace(
        co_varnames=("self", *names),
        co_names=tuple(attributes.get(name, name) for name in template.co_names),
        co_filename=__file__,
    )
    init = FunctionType(code, space, "__init__", tuple(given))
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


@functools.cache
def _template(count: int, factories: tuple[int, ...], frozen: bool, post: bool) -> CodeType:
    """An `__init__` of `count` fields; those numbered in `factories` have a default that is made anew."""
    lines = [f"def __init__({', '.join(['self', *(f'p{k}' for k in range(count))])}):"]
    for k in range(count):
        value = f"make{k}() if p{k} is MISSING else p{k}" if k in factories else f"p{k}"
        lines.append(f"    set{k}(self, {value})" if frozen else f"    self.attr{k} = {value}")
    lines.append("    self.__post_init__()" if post else "    return")
    space: dict[str, Any] = {}
    exec("\n".join(lines), space)
    code: CodeType = space["__init__"].__code__
    return code


# -- the other methods -----------------------------------------------------------------------------------------------


def _values(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """The attributes of an object, as a tuple also where there is one or none."""
    if len(names) > 1:
        return attrgetter(*names)
    if names:
        get = attrgetter(*names)
        return lambda self: (get(self),)
    return lambda self: ()


def _comparing(names: tuple[str, ...], *, frozen: bool) -> tuple[Callable[..., Any], Callable[..., int] | None]:
    values = _values(names)

    def equal(self: Any, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    return equal, hashed if frozen else None


def _less(names: tuple[str, ...]) -> Callable[..., Any]:
    values = _values(names)

    def less(self: Any, other: object) -> Any:
        return values(self) < values(other) if other.__class__ is self.__class__ else NotImplemented

    return less


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self).__match_args__)
    return f"{type(self).__qualname__}({shown})"


def _reduce(self: Any) -> tuple[type, tuple[Any, ...]]:
    return type(self), tuple(getattr(self, name) for name in self.__match_args__)


def _refuse(self: Any, name: str, *_: object) -> NoReturn:
    raise FrozenInstanceError(f"{type(self).__qualname__}.{name} cannot be changed")
