"""The public decorators."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, overload

from tensorjit.compiled import Compiled, ScriptFunction
from tensorjit.config import changed

__all__ = ["script"]


@overload
def script(function: Callable[..., Any], **options: Any) -> ScriptFunction: ...
@overload
def script(function: None = None, **options: Any) -> Callable[[Callable[..., Any]], ScriptFunction]: ...
def script(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a NumPy function from its source.

    The source is parsed now: syntax that the language does not have is refused here, with every problem of the function. Types come
    from the calls; each new signature (dtypes, ranks, layouts; not lengths) is compiled at its first call. `options` are those of
    `tensorjit.options`, for this function. A function that is scripted already is returned as it is.

    Raises UnsupportedError (a CompileError) where the function cannot be compiled.

    >>> import numpy as np
    >>> @script
    ... def axpy(a, x, y):
    ...     return a * x + y
    >>> axpy(2.0, np.arange(3.0), np.ones(3))
    array([1., 3., 5.])
    """
    changed(options)
    if function is None:
        return lambda f: script(f, **options)
    if isinstance(function, Compiled):
        return function
    if not isinstance(function, FunctionType):
        raise TypeError(f"script takes a Python function, not {type(function).__name__}; tensorjit.trace takes any callable")
    if options:
        return ScriptFunction(function, options)
    known = function.__dict__.get("__tensorjit__")
    if not isinstance(known, ScriptFunction):
        known = function.__dict__["__tensorjit__"] = ScriptFunction(function, {})
    return known
