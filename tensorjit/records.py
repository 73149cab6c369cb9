"""The standard library's dataclasses, made in a quarter of the time.

`dataclasses.dataclass` generates and compiles up to six methods of every class: 0.45 ms each on Python 3.11, and the compiler
has more than a hundred of them, so that importing them cost as much as compiling a function. Here one method is generated,
`__init__`, because every value of the IR goes through it; the others are made of `operator.attrgetter`, or shared by all classes.

To a type checker this is `dataclasses.dataclass`, and `fields` and `replace` take its classes as any other. What the package
does not use is not there: inherited fields, other settings of `field` than `default`, `default_factory` and `compare`,
comparisons other than `==` and `<`.

>>> @dataclass(frozen=True, slots=True)
... class Point:
...     x: int
...     y: int = 0
>>> Point(1), Point(1) == Point(1, 0), hash(Point(1)) == hash(Point(1))
(Point(x=1, y=0), True, True)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass"]


def _record(cls: type | None = None, /, *, frozen: bool = False, slots: bool = False, eq: bool = True, order: bool = False) -> Any:
    if cls is None:
        return lambda c: _record(c, frozen=frozen, slots=slots, eq=eq, order=order)
    if cls.__doc__ is None:
        cls.__doc__ = ""  # the standard library would spell out the signature here, at a great cost
    own = vars(cls)
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    fields = tuple(made.__dataclass_fields__.values())
    if any(hasattr(base, "__dataclass_fields__") for base in cls.__bases__):
        raise TypeError(f"{cls.__qualname__}: fields are not inherited here")
    methods: dict[str, Any] = {"__init__": _init(made, fields, frozen=frozen, slots=slots), "__repr__": _repr}
    compared = tuple(f.name for f in fields if f.compare)
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


def _init(cls: type, fields: tuple[Field[Any], ...], *, frozen: bool, slots: bool) -> Callable[..., None]:
    names: dict[str, Any] = {"MISSING": MISSING, "setattr_": object.__setattr__}
    params, lines = ["self"], []
    for f in fields:
        value = f.name
        if f.default_factory is not MISSING:
            names[f"make_{f.name}"] = f.default_factory
            params.append(f"{f.name}=MISSING")
            value = f"make_{f.name}() if {f.name} is MISSING else {f.name}"
        elif f.default is not MISSING:
            names[f"default_{f.name}"] = f.default
            params.append(f"{f.name}=default_{f.name}")
        else:
            params.append(f.name)
        if not frozen:
            lines.append(f"    self.{f.name} = {value}")
        elif slots:
            names[f"set_{f.name}"] = vars(cls)[f.name].__set__
            lines.append(f"    set_{f.name}(self, {value})")
        else:
            lines.append(f"    setattr_(self, {f.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("    self.__post_init__()")
    text = f"def __init__({', '.join(params)}):\n" + ("\n".join(lines) or "    pass")
    exec(text, names)
    init: Callable[..., None] = names["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


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
    fields: Mapping[str, Field[Any]] = self.__dataclass_fields__
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in fields)
    return f"{type(self).__qualname__}({shown})"


def _reduce(self: Any) -> tuple[type, tuple[Any, ...]]:
    return type(self), tuple(getattr(self, name) for name in self.__dataclass_fields__)


def _refuse(self: Any, name: str, *_: object) -> NoReturn:
    raise FrozenInstanceError(f"{type(self).__qualname__}.{name} cannot be changed")
