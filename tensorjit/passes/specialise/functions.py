"""A plain function as it is now: its parameters, and its defaults by the places where they stand.

A function can be changed in place: `__code__` (what reloading tools do), `__defaults__`, `__kwdefaults__`. What a compiled version
took from there is read again at each call. `inspect.signature` is not asked: it believes `__signature__`, which calls do not.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from inspect import Parameter
from types import FunctionType
from typing import Any

from tensorjit.passes.specialise.state import Source


def default_places(function: FunctionType) -> dict[str, Source]:
    """The parameters that have defaults, and where those stand.

    >>> def f(a, b=2, *, c=3, d): ...
    >>> {name: (place.shown, place.read()) for name, place in default_places(f).items()}
    {'b': ('f.__defaults__[0]', 2), 'c': ("f.__kwdefaults__['c']", 3)}
    """
    code, me = function.__code__, Source("constant", function, function.__name__)
    given, by_name = function.__defaults__ or (), function.__kwdefaults__ or {}
    positional, keywords = code.co_varnames[: code.co_argcount], code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
    first = len(positional) - len(given)
    tuple_, dict_ = (Source("of function", me, name) for name in ("__defaults__", "__kwdefaults__"))
    places = {positional[k]: Source("tuple item", tuple_, k - first) for k in range(max(first, 0), len(positional))}
    return places | {name: Source("dict item", dict_, name) for name in keywords if name in by_name}


def signature_of(function: FunctionType) -> inspect.Signature:
    """How a function is called.

    >>> def f(a, /, b=2, *rest, c=3, **more): ...
    >>> signature_of(f)
    <Signature (a, /, b=2, *rest, c=3, **more)>
    """
    places = default_places(function)
    kinds = _kinds(function)
    return inspect.Signature([Parameter(n, kind, default=places[n].read() if n in places else Parameter.empty) for n, kind in kinds])


def _kinds(function: FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    keywords = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
    for k in range(code.co_argcount):
        yield code.co_varnames[k], Parameter.POSITIONAL_ONLY if k < code.co_posonlyargcount else Parameter.POSITIONAL_OR_KEYWORD
    rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount :]
    if code.co_flags & inspect.CO_VARARGS:
        yield rest[0], Parameter.VAR_POSITIONAL
        rest = rest[1:]
    for name in keywords:
        yield name, Parameter.KEYWORD_ONLY
    if code.co_flags & inspect.CO_VARKEYWORDS:
        yield rest[0], Parameter.VAR_KEYWORD
