"""The public decorators.

`import tensorjit` loads no more than this, the options and the errors. The compiled objects, and with them the compiler, load
when the first function is decorated (`compiled`, below); llvmlite when the first is compiled (`compiler.native`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, overload

from tensorjit.config import changed
from tensorjit.loading import loading

if TYPE_CHECKING:
    from tensorjit.compiled import ScriptFunction

__all__ = ["compiled", "example_arguments", "script", "trace"]


@overload
def script(function: Callable[..., Any], **options: Any) -> ScriptFunction: ...
@overload
def script(function: None = None, **options: Any) -> Callable[[Callable[..., Any]], ScriptFunction]: ...
def script(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a NumPy function from its source.

    The source is parsed now: syntax that the language does not have is refused here, with every problem of the function. Types
    come from the calls; each new signature (dtypes, ranks, layouts; not lengths) is compiled at its first call. `options` are
    those of `tensorjit.options`, for this function. A function that is scripted already is returned as it is.

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
    if isinstance(function, objects.ScriptFunction):
        return function
    if not isinstance(function, FunctionType):
        raise TypeError(f"script takes a Python function, not {type(function).__name__}; tensorjit.trace takes any callable")
    if options:
        return objects.Scripted(function, options)
    known = function.__dict__.get("__tensorjit__")
    if not isinstance(known, objects.Scripted) or known.__wrapped__ is not function:  # functools.wraps copies what a function holds
        known = function.__dict__["__tensorjit__"] = objects.Scripted(function, {})
    return known


def trace(
    function: Callable[..., Any],
    example_inputs: Any = None,
    *,
    check_trace: bool = True,
    check_inputs: Any = None,
    check_tolerance: float | None = None,
    example_kwarg_inputs: Mapping[str, Any] | None = None,
    strict: bool = False,
    **options: Any,
) -> ScriptFunction:
    """Compile a callable from what one run of it does.

    The callable is run with copies of `example_inputs` (a tuple or list of arguments, or one array) and what it asks of NumPy is
    recorded. Sizes stay symbolic. Where Python demands a bool or a number of a value, a TracerWarning says what was taken, and the
    value becomes a guard: a call that it does not hold for is recorded too and kept beside the first (`strict=True` makes it an
    error now). `check_trace` runs the callable again and compares, as it does for each set of arguments in `check_inputs`;
    `check_tolerance` is relative (by default one of the dtype).

    Raises UnsupportedError where something cannot be recorded, TracingCheckError where the compiled function differs.

    >>> import numpy as np
    >>> double = trace(lambda x: 2 * x, np.ones(3))
    >>> double(np.arange(4.0))
    array([0., 2., 4., 6.])
    """
    changed(options)
    with loading():
        from tensorjit.traced import Traced  # noqa: PLC0415

    traced = Traced(function, options, strict=strict, checked=check_trace)
    args, kwargs = example_arguments(example_inputs), dict(example_kwarg_inputs or {})
    traced.record_examples(args, kwargs)
    if check_trace:
        traced.check(args, kwargs, check_tolerance)
    for more in check_inputs or ():
        traced.check(example_arguments(more), {}, check_tolerance)
    return traced


def example_arguments(examples: Any) -> tuple[Any, ...]:
    """Example inputs as arguments: a tuple or list of them, or the only one."""
    if examples is None:
        return ()
    return tuple(examples) if isinstance(examples, (tuple, list)) else (examples,)


def compiled() -> Any:
    """The module of the compiled objects; it loads when it is first needed."""
    with loading():
        from tensorjit import compiled as objects  # noqa: PLC0415

    return objects
