"""Holds a compiled function to the plain one: results, effects on the arguments, exceptions, identity."""

from __future__ import annotations

import itertools
import linecache
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

import tensorjit as tj
from tensorjit.errors import TensorJitError
from tests.system.guard_pages import SIDES, beside_guards

BACKENDS = ("llvm", "reference")
_numbers = itertools.count()
Make = Callable[[], tuple[Any, ...]]


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """What one call did."""

    args: tuple[Any, ...]
    result: Any = None
    error: type[BaseException] | None = None
    message: str = ""
    warnings: tuple[tuple[type[Warning], str], ...] = ()


def public(error: type[BaseException]) -> type[BaseException]:
    """NumPy's private subclasses of TypeError count as it."""
    return next(c for c in error.__mro__ if not c.__module__.endswith("._exceptions"))


def function_of(source: str, name: str = "program") -> Callable[..., Any]:
    """The function of this name of a source text that Python can show."""
    filename = f"<program {next(_numbers)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    names: dict[str, Any] = {"np": np, "__name__": "programs"}
    exec(compile(source, filename, "exec"), names)
    found: Callable[..., Any] = names[name]
    return found


def observe(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Seen:
    """Call a function and note everything."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*args, **(kwargs or {}))
        except TensorJitError:
            raise
        except Exception as error:
            return Seen(args, error=public(type(error)), message=str(error), warnings=_texts(caught))
    return Seen(args, result, warnings=_texts(caught))


def _texts(caught: Sequence[warnings.WarningMessage]) -> tuple[tuple[type[Warning], str], ...]:
    return tuple((w.category, str(w.message)) for w in caught)


def difference(found: Any, wanted: Any, ulp: int = 0) -> str:
    """What differs between two results; nothing where they are equal to the bit (NaNs are alike), or to `ulp` units."""
    if type(found) is not type(wanted):
        return f"a {type(found).__name__} {found!r} where NumPy gives a {type(wanted).__name__} {wanted!r}"
    if isinstance(wanted, tuple | list):
        if len(found) != len(wanted):
            return f"{found!r} is not {wanted!r}"
        parts = [difference(f, w, ulp) for f, w in zip(found, wanted, strict=True)]
        return "; ".join(p for p in parts if p)
    if isinstance(wanted, np.ndarray | np.generic):
        if found.dtype != wanted.dtype or found.shape != wanted.shape:
            return f"{found.dtype}{found.shape} where NumPy gives {wanted.dtype}{wanted.shape}"
        return "" if _alike(np.asarray(found), np.asarray(wanted), ulp) else f"{found!r} is not {wanted!r}"
    if isinstance(wanted, float | complex):
        return "" if _alike(np.asarray(found), np.asarray(wanted), ulp) else f"{found!r} is not {wanted!r}"
    return "" if found == wanted else f"{found!r} is not {wanted!r}"


def _alike(found: Any, wanted: Any, ulp: int) -> bool:
    if wanted.dtype.kind == "c":
        return _alike(found.real, wanted.real, ulp) and _alike(found.imag, wanted.imag, ulp)
    if wanted.dtype.kind != "f":
        return bool((found == wanted).all())
    with np.errstate(all="ignore"):
        same = (found == wanted) & (np.signbit(found) == np.signbit(wanted))
        if ulp:
            same |= np.abs(found - wanted) <= ulp * np.spacing(np.abs(wanted))
    return bool((same | (np.isnan(found) & np.isnan(wanted))).all())


def sharing(value: Any, args: Sequence[Any]) -> Any:
    """For each array of a result: the argument that it is, or the argument whose memory it shows, and whether it is a view."""
    if isinstance(value, tuple | list):
        return [sharing(v, args) for v in value]
    if not isinstance(value, np.ndarray):
        return None
    flat = list(_arrays(args))
    for k, a in enumerate(flat):
        if a is value:
            return ("is", k)
    shared = [k for k, a in enumerate(flat) if value.size and a.size and np.shares_memory(a, value)]
    return ("shows", shared, value.flags.writeable) if shared else "fresh"


def _arrays(values: Sequence[Any]) -> Any:
    for v in values:
        if isinstance(v, tuple | list):
            yield from _arrays(v)
        elif isinstance(v, np.ndarray):
            yield v


def compare(found: Seen, wanted: Seen, ulp: int = 0, message: bool = True) -> str:
    """What differs between two calls."""
    if found.error is not wanted.error:
        return f"{_said(found)} where NumPy: {_said(wanted)}"
    if wanted.error is not None and message and found.message != wanted.message:
        return f"{found.message!r} where NumPy says {wanted.message!r}"
    parts = [difference(found.result, wanted.result, ulp)]
    for k, (one, other) in enumerate(zip(found.args, wanted.args, strict=True)):
        if text := difference(one, other, ulp):
            parts.append(f"argument {k}: {text}")
    shown, expected = sharing(found.result, found.args), sharing(wanted.result, wanted.args)
    if shown != expected:
        parts.append(f"the result is {shown} of the arguments where NumPy's is {expected}")
    return "; ".join(p for p in parts if p)


def _said(seen: Seen) -> str:
    return f"returned {seen.result!r}" if seen.error is None else f"{seen.error.__name__}: {seen.message}"


def hold(
    function: Callable[..., Any],
    *makes: Make,
    ulp: int = 0,
    message: bool = True,
    backends: Sequence[str] = BACKENDS,
    twice: bool = True,
    **options: Any,
) -> None:
    """Assert that each backend does with each call's arguments (made anew each time) what the plain function does. The arrays that
    compiled code gets end at, or begin after, a page that may not be touched."""
    wanted = [observe(function, make()) for make in makes]
    for backend in backends:
        compiled = tj.script(function, backend=backend, **options)
        for turn in range(2 if twice else 1):
            for k, make in enumerate(makes):
                found = observe(compiled, beside_guards(make(), SIDES[(turn + k) % 2]))
                text = compare(found, wanted[k], ulp, message)
                assert not text, f"{backend}, call {k}, turn {turn}, of {make()!r}: {text}"
