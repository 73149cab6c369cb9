"""The traced frontend: one run of a callable becomes a path of a `TraceTree`, and the tree a generic graph.

* `record(function, args)` runs the function once, on tracers that compute with copies of the arguments.
* `tree.to_graph(name)` is the graph of all paths recorded so far; `record(..., tree=tree)` adds one.
* `is_tracing()`, `traced_call(...)`: what a compiled function asks when it is called.
* `check(...)`, `check_repeat(...)`: whether the trace is what the function does.

Recorded are operators, ufuncs, NumPy functions, methods, indexing and the creation functions. Sizes are
symbolic. A value that Python demands as a bool, an int or a float becomes a guard, with a TracerWarning.
What the function reads from outside (globals, its closure, objects, lists, dictionaries) is read again at each
call: arrays are inputs, numbers and all else guards (`tracing.substitute`). What no place shows is not recorded:
random numbers, the time, what a library computes; they are constants of the trace, and `check_repeat` finds those
that change from run to run.

The graph may hold, beside the ops of `tensorjit.frontend.script`:

* ``numpy {name}``: a function or class of NumPy or of the builtins by its path, or GuardError
* ``capture {index, of}``: what `tree.captures[index]` reads: an array (an implicit input), a class or a function that
  a guard looks at, a compiled function; `of` says for people where it is
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType, MappingProxyType, MethodType
from typing import Any, Final, final

import numpy as np

from tensorjit.config import is_tracing
from tensorjit.errors import Loc, Problem, TensorJitError, TracerWarning, UnsupportedError
from tensorjit.frontend.tracing.check import arguments_for, check, compare, preserved, untouched
from tensorjit.frontend.tracing.containers import Dict, List
from tensorjit.frontend.tracing.identity import WatchError
from tensorjit.frontend.tracing.intercept import intercepted
from tensorjit.frontend.tracing.marks import marked, random_states
from tensorjit.frontend.tracing.objects import is_proxy, original
from tensorjit.frontend.tracing.places import place_of_error, place_of_function
from tensorjit.frontend.tracing.recorder import ACTIVE, Recorder, RefusedError
from tensorjit.frontend.tracing.substitute import Substitute
from tensorjit.frontend.tracing.tracer import Tracer
from tensorjit.frontend.tracing.tree import Kind, Parameters, Path, Root, TraceTree
from tensorjit.frontend.tracing.unfit import unfit
from tensorjit.ir.signature import is_record
from tensorjit.records import dataclass

__all__ = [
    "DEFAULT",
    "Recording",
    "TraceTree",
    "Tracer",
    "TracerWarning",
    "arguments_of",
    "check",
    "check_path",
    "check_repeat",
    "compare",
    "forms_of",
    "is_of_tracing",
    "is_tracing",
    "parameters_of",
    "record",
    "refusal_of",
    "root_of",
    "root_of_values",
    "signature_of",
    "traced_call",
]

_KINDS: Final[Mapping[Any, str]] = MappingProxyType(
    {
        inspect.Parameter.POSITIONAL_ONLY: "positional_only",
        inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional",
        inspect.Parameter.VAR_POSITIONAL: "var_positional",
        inspect.Parameter.KEYWORD_ONLY: "keyword_only",
    }
)
_TRACERS = ("ArrayTracer", "ScalarTracer", "SymbolicInt")  # as C code names what it does not take
_REFUSED = (dict, set, bytearray, memoryview)
_CONTAINERS = (*_REFUSED, Iterator)


@final
class _Default:
    """Stands for the default of a parameter that a call leaves to it, where that can change: the function reads it, and each
    call reads it again."""

    def __repr__(self) -> str:
        return "default"

    def __reduce__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = _Default()


@final
@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The tree with this run in it, what the run returned (computed on copies of the arguments), and what it left in the
    arguments. A run in which an exception was caught is not `kept`."""

    tree: TraceTree
    result: Any
    left: tuple[Any, ...] = ()
    kept: bool = True


def record(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    tree: TraceTree | None = None,
    strict: bool = False,
) -> Recording:
    """Run `function` once and record what it does; the arguments are left as they are.

    `tree` holds earlier runs of the same function. With `strict`, what would warn is an UnsupportedError.
    Exceptions of the function come out. One tree must not be added to by two threads at once: the later would
    not hold the earlier's path.

    >>> def scaled(x, y):
    ...     return 2 * x + y.sum()
    >>> tree = record(scaled, [np.ones(3), np.ones(4)]).tree
    >>> [op.name for op in tree.to_graph("scaled").walk()]
    ['const', 'binary', 'attr', 'call', 'binary', 'return']
    """
    parameters, values = _bind(function, tuple(args), dict(kwargs or {}))
    known = tree or TraceTree(parameters)
    try:
        return _record(function, parameters, values, known, strict)
    except WatchError:
        return _record(function, parameters, values, TraceTree(parameters, identity=True), strict)


def _record(function: Callable[..., Any], parameters: Parameters, values: Sequence[Any], known: TraceTree, strict: bool) -> Recording:
    with intercepted(), marked() as mark:
        recorder = Recorder(mark, known.captures, strict, known.identity)
        recorder.count = len(parameters)
        root: Root = tuple(_kind(v) for v in values)
        for static in _statics(root):
            if _by_identity(static):
                recorder.captured_object(static)
        substitute = Substitute(recorder, function)
        copies: dict[int, Any] = {}
        token = ACTIVE.set(recorder)
        try:
            substitute.signature_read(function)
            wrapped = [_wrap(recorder, v, k, k, copies) for k, v in enumerate(values)]
            given = [_static(substitute, w, name) for w, (name, _, _) in zip(wrapped, parameters, strict=True)]
            arguments, keywords = arguments_of(parameters, given)
            lists = [(x, list(x)) for x in _lists(given[:])]
            drawn = random_states()
            returned = substitute.callable(function)(*arguments, **keywords)
            substitute.finish()
            if drawn != random_states() and not recorder.made.told:
                recorder.warn("random numbers were drawn while tracing: they become constants", "draw them outside of the function")
            _check_lists(recorder, lists, returned, place_of_function(function))
            _check_result(recorder, returned, place_of_function(function))
            recorder.made.check_returned(returned)
            result, concrete = recorder.lift(returned)
            recorder.check_captures()
            if recorder.caught is not None:
                _warn_caught(recorder, recorder.caught)
                return Recording(known, concrete, tuple(map(_concrete, given)), kept=False)
        except Exception as error:
            if recorder.refusal is None or error is recorder.refusal:
                raise
            raise recorder.refusal from error
        finally:
            ACTIVE.reset(token)
    if recorder.refusal is not None:
        raise recorder.refusal  # the function caught it
    path = Path(root, tuple(recorder.items), result)
    left = tuple(map(_concrete, given))
    tree = known.add(path, recorder.captures, recorder.changes.values(), recorder.handled, recorder.writes)
    return Recording(tree, concrete, left)


def root_of(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Root:
    """The kinds of the arguments of a call: `tree.covers(root)` says whether such were traced."""
    return tuple(_kind(v) for v in _bind(function, tuple(args), dict(kwargs))[1])


def root_of_values(values: Sequence[Any]) -> Root:
    """The kinds of the values of the parameters."""
    return tuple(_kind(v) for v in values)


def check_repeat(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] | None, tree: TraceTree) -> None:
    """Run the function once more: TracingCheckError where it does something else, or returns something else,
    without a guard."""
    one = record(function, args, kwargs, tree)
    other = record(function, args, kwargs, one.tree)
    compare("the result of a second trace", other.result, one.result)


def check_path(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    tree: TraceTree,
    captured: Sequence[tuple[str, np.ndarray[Any, Any]]] = (),
) -> None:
    """Hold a path of the tree, that these arguments take, to a second trace and to the function."""
    other = record(function, args, kwargs, tree)
    mine, named = arguments_for([list(args), dict(kwargs)], captured)
    with untouched(captured), preserved(tree.changes):
        expected = function(*mine, **named)
        for (name, _, _), left, value in zip(tree.parameters, other.left, _bind(function, mine, named)[1], strict=True):
            compare(f"argument {name} after a trace", left, value)
        compare("the result of a trace", other.result, expected)


def is_of_tracing(error: Exception) -> bool:
    """Whether an exception was raised by something that takes no traced values, as its text says."""
    return not isinstance(error, TensorJitError) and any(name in str(error) for name in _TRACERS)


def refusal_of(error: Exception) -> UnsupportedError:
    """The refusal that an exception means which the function raises only while it is traced."""
    text = f"{type(error).__name__}: {error}"
    for name in _TRACERS:
        text = text.replace(name, "traced value")
    hint = "do that outside of the traced function, or write it with NumPy's functions"
    return RefusedError([Problem(f"this cannot be traced: {text}", place_of_error(error), hint)])


def traced_call(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The call of a compiled function within a trace: recorded as a call of it. NotImplemented where no trace
    runs, or none of the arguments is traced."""
    recorder = ACTIVE.get()
    if recorder is None or not any(_is_traced(a) for a in (*args, *kwargs.values())):
        return NotImplemented
    return recorder.compiled(function, args, kwargs)


def _is_traced(x: Any) -> bool:
    return isinstance(x, Tracer) or (isinstance(x, (tuple, list)) and any(map(_is_traced, x)))


# -- the arguments ---------------------------------------------------------------------------------------------


def _bind(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Parameters, list[Any]]:
    """The parameters of the graph and the value of each."""
    signature = signature_of(function, len(args))
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD and bound.arguments[name]:
            raise _refused(f"the keywords of **{name} are traced", "name the keyword parameters")
    parameters = parameters_of(signature)
    return parameters, [bound.arguments[name] for name, _, _ in parameters]


def parameters_of(signature: inspect.Signature) -> Parameters:
    """The parameters of the graph: of all but **keywords, which must be empty."""
    given = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    return tuple((p.name, _KINDS[p.kind], p.default is not p.empty) for p in given)


def signature_of(function: Callable[..., Any], count: int) -> inspect.Signature:
    """The signature of a callable; a ufunc has its inputs, and a callable that does not know its own has
    `count` parameters. What can change among the defaults is DEFAULT.

    >>> signature_of(np.hypot, 2)
    <Signature (x0, x1, /)>
    """
    ufunc: Any = function
    given = 0
    while type(ufunc) is functools.partial:
        ufunc, given = ufunc.func, given + len(ufunc.args)
    if isinstance(ufunc, np.ufunc):
        count = ufunc.nin - given
    else:
        try:
            found = inspect.signature(function, follow_wrapped=False)
        except (TypeError, ValueError):
            pass
        else:
            return found.replace(parameters=list(_with_defaults(found.parameters.values())))
    names = [f"x{k}" for k in range(count)]
    return inspect.Signature([inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in names])


def _with_defaults(parameters: Iterable[inspect.Parameter]) -> Iterator[inspect.Parameter]:
    left = False  # behind one that has no name to be given by, none can be given
    for p in parameters:
        left = p.default is not p.empty and (_can_change(p.default) or (left and p.kind is p.POSITIONAL_ONLY))
        yield p.replace(default=DEFAULT) if left else p


def _can_change(default: Any) -> bool:
    if isinstance(default, tuple):
        return any(map(_can_change, default))
    return isinstance(default, (np.ndarray, list, *_REFUSED))


def forms_of(function: Any) -> tuple[Any, ...]:
    """What a callable's signature depends on and can be changed in place: compared by identity.

    >>> forms_of(signature_of)[0] is signature_of.__code__
    True
    """
    if isinstance(function, functools.partial):
        return (*forms_of(function.func), *function.keywords, *function.keywords.values())
    if isinstance(function, MethodType):
        return forms_of(function.__func__)
    if isinstance(function, FunctionType):
        return (function.__code__, function.__defaults__, *(function.__kwdefaults__ or {}).values())
    call = inspect.getattr_static(type(function), "__call__", None)
    return forms_of(call) if isinstance(call, FunctionType) else ()


def arguments_of(parameters: Parameters, values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with these values of the parameters, to be passed on."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    left = False  # one is left to its default: those behind it are given by name
    for (name, kind, _), value in zip(parameters, values, strict=True):
        if value is DEFAULT:
            left = True
        elif kind == "keyword_only" or (left and kind == "positional"):
            kwargs[name] = value
        elif kind == "var_positional":
            args += value
        else:
            args.append(value)
    return tuple(args), kwargs


def _kind(value: Any) -> Kind:
    if isinstance(value, Tracer):
        value = value._tj_concrete
    if isinstance(value, (np.ndarray, np.generic)):
        problem = unfit(value)
        if problem is not None:
            raise _refused(f"{problem[0]} as an argument", problem[1])
        return ("leaf", type(value))
    if type(value) in (int, float, complex):
        return ("leaf", type(value))
    if type(value) in (tuple, list):
        return (type(value).__name__, *map(_kind, value))
    if is_record(value):
        return ("record", type(value), *map(_kind, value))
    if isinstance(value, _REFUSED):
        raise _refused(f"a {type(value).__name__} as an argument", "pass a tuple, or the values one by one")
    return ("static", value)


def _wrap(recorder: Recorder, value: Any, index: int, k: int, copies: dict[int, Any]) -> Any:
    """What the function gets for an argument: tracers on copies; the same object twice is one copy."""
    if isinstance(value, Tracer):
        value = value._tj_concrete  # a trace inside a trace begins afresh
    if isinstance(value, np.ndarray):
        if id(value) not in copies:
            copies[id(value)] = value.copy(order="K")
            copies[id(value)].flags.writeable = value.flags.writeable
            recorder.own(value, copies[id(value)], k)
        return recorder.identity.argument(value, recorder.wrap(copies[id(value)], index))
    if type(value) in (tuple, list) or is_record(value):
        items = []
        for j, item in enumerate(value):
            at = recorder.emit("subscript", (index, recorder.constant(j)), droppable=True)
            items.append(_wrap(recorder, item, at, k, copies))
        return items if type(value) is list else tuple.__new__(type(value), items)
    if isinstance(value, np.generic) or type(value) in (int, float, complex):
        return recorder.wrap(value, index)
    return value


def _statics(kinds: Sequence[Kind]) -> list[Any]:
    found: list[Any] = []
    for name, *rest in kinds:
        found += rest if name == "static" else [rest[0], *_statics(rest[1:])] if name == "record" else []
        found += _statics(rest) if name in ("tuple", "list") else []
    return found


def _by_identity(static: Any) -> bool:
    if static is None or static is Ellipsis or isinstance(static, (bool, int, str, bytes, np.dtype)):
        return False
    return not (isinstance(static, type) and static.__module__ in ("numpy", "builtins"))


def _concrete(x: Any) -> Any:
    """A value as it is after the run."""
    if isinstance(x, Tracer):
        return x._tj_concrete
    if isinstance(x, tuple):  # a namedtuple is rebuilt, too
        return tuple.__new__(type(x), map(_concrete, x))
    return [*map(_concrete, x)] if type(x) is list else original(x)


def _lists(x: Any) -> Iterator[list[Any]]:
    """Every list among the items of arguments or of a result, as often as it is there."""
    for item in x:
        if type(item) is list:
            yield item
        if type(item) in (list, tuple):
            yield from _lists(item)


def _check_lists(recorder: Recorder, given: Sequence[tuple[list[Any], list[Any]]], returned: Any, loc: Loc | None) -> None:
    """Refuse what would be done to the lists of this run only."""
    for x, before in given:
        if len(x) != len(before) or any(map(operator.is_not, x, before)):
            raise recorder.refuse("a list among the arguments is changed", "return a new list", loc)
    seen = {id(x) for x, _ in given}
    for x in _lists((returned,)):
        if id(x) in seen:
            message = "a list is returned that is an argument, or is in the result twice: the caller would get others"
            raise recorder.refuse(message, "return list(...) of it", loc)
        seen.add(id(x))


def _check_result(recorder: Recorder, x: Any, loc: Loc | None) -> None:
    """Refuse to return what the caller would get as another object."""
    if issubclass(type(x), Tracer):  # which says that it is an array, and notes who asked
        return
    kind = "list" if isinstance(x, list) else "tuple" if isinstance(x, tuple) else type(original(x)).__name__
    if isinstance(x, (List, Dict)):
        kind = "list" if isinstance(x, List) else "dict"
        message = f"a {kind} from outside of the function is returned: the result would be another {kind}"
        raise recorder.refuse(message, "return its items", loc)
    if is_proxy(x):
        raise recorder.refuse(f"the {kind} from outside of the function is returned", "return arrays and numbers", loc)
    if type(x) in (tuple, list):
        for item in x:
            _check_result(recorder, item, loc)
    elif isinstance(x, (tuple, list)):
        message = f"a {type(x).__name__} is returned: the result would be a plain {kind}"
        raise recorder.refuse(message, f"return {kind}(...) of it", loc)
    elif isinstance(x, _CONTAINERS):
        raise recorder.refuse(f"a {kind} is returned", "return arrays and numbers, or tuples and lists of them", loc)


def _static(substitute: Substitute, value: Any, name: str) -> Any:
    """What stands for an object among the arguments."""
    if isinstance(value, Tracer) or value is DEFAULT:
        return value
    if type(value) is list:
        return [_static(substitute, item, name) for item in value]
    if type(value) is tuple or is_record(value):
        substitute.class_read(type(value))  # methods of a namedtuple run as they are
        return tuple.__new__(type(value), [_static(substitute, item, name) for item in value])
    return substitute.constant(value, name)


def _refused(message: str, hint: str = "") -> RefusedError:
    return RefusedError([Problem(f"{message}, which cannot be traced", None, hint)])


def _warn_caught(recorder: Recorder, loc: Loc) -> None:
    recorder.warn(
        f"the exception of line {loc.lineno} of {loc.filename} was caught by the traced function: calls that take this way run as "
        "plain Python",
        "test the condition before the operation",
    )
