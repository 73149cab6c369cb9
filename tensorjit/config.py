"""Options: what a user may choose, scoped by `tensorjit.options` and settable for one function as keywords of `script`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Literal, final

from tensorjit.records import dataclass


@final
@dataclass(frozen=True, slots=True)
class Options:
    """The options and their defaults.

    * ``enabled``: False runs everything as plain Python (so does the environment's ``TENSORJIT=0``)
    * ``backend``: ``"llvm"``, or ``"reference"``: NumPy op by op, for debugging the compiler
    * ``fallback``: ``"error"`` raises what stands against compiling; ``"python"`` warns once and runs the plain function
    * ``dynamic``: False compiles for exact lengths
    * ``target``: ``"host"`` or the name of a CPU, such as ``"x86-64-v3"`` (environment: ``TENSORJIT_TARGET``)
    * ``cache_size``: how many compiled versions of one function are kept

    >>> Options().backend
    'llvm'
    """

    enabled: bool = True
    backend: Literal["llvm", "reference"] = "llvm"
    fallback: Literal["error", "python"] = "error"
    dynamic: bool = True
    target: str = "host"
    cache_size: int = 64

    def __post_init__(self) -> None:
        choices = {"backend": ("llvm", "reference"), "fallback": ("error", "python")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {', '.join(map(repr, allowed))}, not {getattr(self, name)!r}")
        if self.cache_size < 1:
            raise ValueError("cache_size is at least 1")


NAMES = Options.__match_args__


def _from_environment() -> Options:
    enabled = os.environ.get("TENSORJIT", "1") != "0"
    return Options(enabled=enabled, target=os.environ.get("TENSORJIT_TARGET", "host"))


_DEFAULT = _from_environment()


@final
class _Scope:
    """Options in force in some contexts. A context may outlive the `with` block that it was copied in (an asyncio task), so what
    counts is how long this object lives."""

    __slots__ = ("options",)

    def __init__(self, options: Options) -> None:
        self.options = options
        if (options.enabled, options.backend) != (_DEFAULT.enabled, _DEFAULT.backend):
            _overriding.add(id(self))
            _tell()

    def __del__(self) -> None:
        if id(self) in _overriding:
            _overriding.remove(id(self))
            _tell()


_current: ContextVar[_Scope | None] = ContextVar("tensorjit_options", default=None)
_overriding: set[int] = set()  # a set: other threads and the garbage collector may come between any two lines
_watchers: list[Callable[[], None]] = []


def _tell() -> None:
    for watcher in _watchers:
        watcher()


def overridden() -> bool:
    """Whether anywhere in this process options are in force that what is compiled already has to be asked about: `enabled` or
    `backend` differs from the default.

    >>> with options(backend="reference"):
    ...     overridden()
    True
    """
    return bool(_overriding)


def when_overridden(watcher: Callable[[], None]) -> None:
    """Call `watcher()` whenever `overridden()` may have changed."""
    _watchers.append(watcher)


def is_scripting() -> bool:
    """Whether the code at hand is compiled by `script`: True there, a constant that branches fold on; False in Python.

    >>> is_scripting()
    False
    """
    return False


def is_tracing() -> bool:
    """Whether the code at hand is being traced.

    >>> is_tracing()
    False
    """
    recorder = sys.modules.get("tensorjit.frontend.tracing.recorder")  # the compiler may not have been loaded
    return recorder is not None and recorder.ACTIVE.get() is not None


def current() -> Options:
    """The options in force here."""
    scope = _current.get()
    return _DEFAULT if scope is None else scope.options


def changed(changes: dict[str, Any]) -> Options:
    """The options in force with changes; TypeError for a name that is no option."""
    for name in changes:
        if name not in NAMES:
            raise TypeError(f"{name!r} is no option; the options are {', '.join(NAMES)}")
    return replace(current(), **changes) if changes else current()


@contextmanager
def options(**changes: Any) -> Iterator[None]:
    """Options for the code inside a `with` block, in this thread or task.

    >>> with options(enabled=False):
    ...     current().enabled
    False
    """
    token = _current.set(_Scope(changed(changes)))
    try:
        yield
    finally:
        _current.reset(token)
