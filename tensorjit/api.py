"""The public decorators.

`import tensorjit` loads no more than this, the options and the errors. The compiled objects, and with them the compiler, load when the
first function is decorated (`compiled`, below); llvmlite when the first is compiled (`compiler.native`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, overload

from tensorjit.config import changed

if TYPE_CHECKING:
    from tensorjit.compiled import ScriptFunction

__all__ = ["compiled", "script"]


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
    objects = compiled()
    if isinstance(function, objects.Compiled):
        return function
    if not isinstance(function, FunctionType):
        raise TypeError(f"script takes a Python function, not {type(function).__name__}; tensorjit.trace takes any callable")
    if options:
        return objects.ScriptFunction(function, options)
    known = function.__dict__.get("__tensorjit__")
    if not isinstance(known, objects.ScriptFunction):
        known = function.__dict__["__tensorjit__"] = objects.ScriptFunction(function, {})
    return known


def compiled() -> Any:
    """The module of the compiled objects; it loads when it is first needed."""
    from tensorjit import compiled as objects  # noqa: PLC0415

    return objects
