"""The compiled object: a call goes to native entries, and what they do not serve comes here to be compiled.

A miss binds the call, observes its signature, compiles (once, whatever number of threads ask), installs the entry before the
others, and calls again. So a signature is slow once.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from tensorjit import compiler
from tensorjit.compiler import CallForm, Executable, Source
from tensorjit.config import Options, changed, current, is_tracing
from tensorjit.errors import CompileError, FallbackWarning, GuardError, Problem, UnsupportedError, depth_told, internal_errors_told
from tensorjit.frontend.source import carry, found_by_name, texts_to_carry
from tensorjit.ir.graph import Graph
from tensorjit.ir.signature import DefaultSig, ParamSig, ScalarSig, Signature, flat, leaves, observe, of_value
from tensorjit.passes.specialise import Names, NeedsStatic
from tensorjit.passes.specialise.functions import default_places, signature_of
from tensorjit.records import dataclass
from tensorjit.runtime.callable import NativeCallable
from tensorjit.runtime.fpstatus import caller_level
from tensorjit.runtime.locks import Busy, ObjectLock

if TYPE_CHECKING:
    from tensorjit.seeing import Lowered

MAX_LEAVES = 2048  # numbers and arrays in the arguments of a call: the time to compile grows with the square of them


class CacheInfo(NamedTuple):
    """How a compiled function has been served: calls by machine code, versions compiled, versions kept, the most that are kept."""

    hits: int
    misses: int
    currsize: int
    maxsize: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A call, bound to the parameters: a value of each, and which were left to their defaults."""

    values: list[Any]
    defaulted: frozenset[int]
    form: CallForm
    records: bool = False  # whether a namedtuple is the tuple of its fields

    @property
    def given(self) -> list[Any]:
        """The values; None, which is one leaf as DefaultSig is, for what is left to its default."""
        return [None if k in self.defaulted else value for k, value in enumerate(self.values)]

    def leaves(self) -> list[Any]:
        return list(leaves(self.given, self.records))


class WrongCall(TypeError):
    """The arguments do not fit the parameters."""


@final
class _Forwarded:
    """An attribute of the plain function: who sets it here means that function."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else getattr(owner.__wrapped__, self._name)

    def __set__(self, owner: Any, value: Any) -> None:
        setattr(owner.__wrapped__, self._name, value)


MAX_PLAIN = 256  # kinds of calls of one function that are remembered not to compile
Key = tuple[CallForm, Signature, int]  # the number tells versions apart that differ in what was captured
_recordings = itertools.count(1)  # paths and kinds of arguments recorded so far, by whatever traced function
_recorded = 0


def note_recording() -> None:
    """A path was recorded: versions compiled before it may be out of date."""
    global _recorded
    _recorded = next(_recordings)


class ScriptFunction(NativeCallable):
    """What `script` and `trace` return: callable like the function that it was made of, at native speed.

    >>> import tensorjit as tj
    >>> isinstance(tj.script(lambda x: x + 1), tj.ScriptFunction)
    True
    """

    _takes_records = False

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        own = dict(self.__dict__)
        functools.update_wrapper(self, function)
        self.__dict__.update(own)  # a function that wraps a compiled one has the attributes of that, its machine code among them
        self.__wrapped__ = function
        self._options = dict(options)
        self._resolved = (current(), changed(self._options))  # the options around it, and what they are with its own
        self._executables: dict[Key, Executable] = {}
        self._recorded_at: dict[Executable, int] = {}  # how many paths there were when it was compiled
        self._static: set[int] = set()
        self._serial = itertools.count()
        self._misses = 0
        self._retired_hits = 0
        self._failure: CompileError | None = None
        self._plain: set[tuple[Any, ...]] = set()  # kinds of calls that cannot be compiled
        self._lock = ObjectLock()
        self._busy = threading.local()
        self._plain_copy: FunctionType | None = None
        self._signature = self._signature_of(function)

    @staticmethod
    def _signature_of(function: Callable[..., Any]) -> inspect.Signature:
        raise NotImplementedError

    # what a function lets others read and set
    __code__ = _Forwarded("__code__")
    __defaults__ = _Forwarded("__defaults__")
    __kwdefaults__ = _Forwarded("__kwdefaults__")

    # -- what the subclasses say -------------------------------------------------------------------------------

    def _source(self) -> Source:
        """The generic graph and where its names come from."""
        raise NotImplementedError

    # -- calling -----------------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        """Before anything is compiled: the function may have been changed in place."""

    _is_ending = staticmethod(sys.is_finalizing)  # found by way of the object: the names of this module may be gone by then

    def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._is_ending():  # nothing can be imported any more, and nobody waits for speed
            return self.__wrapped__(*args, **kwargs)
        options = self._chosen()
        if not options.enabled:
            return self.__wrapped__(*args, **kwargs)
        self._look_again()
        if is_tracing():
            from tensorjit.frontend.trace import traced_call  # noqa: PLC0415  (loaded: a trace runs)

            recorded = traced_call(self, args, kwargs)
            if recorded is not NotImplemented:
                return recorded
        if self._plain and options.fallback == "python" and self._kinds(args, kwargs) in self._plain:
            return self.__wrapped__(*args, **kwargs)
        try:
            bound = self._bind(args, kwargs)
            with self._lock.outermost():
                key, executable = self._executable(bound, options)
        except (Busy, WrongCall):
            return self.__wrapped__(*args, **kwargs)  # the latter: raises what Python raises for such a call
        except CompileError as error:
            if options.fallback == "python":
                return self._fall_back(error, args, kwargs)
            raise
        if executable.entry is None or getattr(self._busy, "key", None) is key:
            return self._run(executable, bound)
        self._busy.key = key
        try:
            return self._call_native(args, kwargs)
        finally:
            self._busy.key = None

    def _chosen(self) -> Options:
        around = current()
        if self._resolved[0] is not around:
            self._resolved = (around, changed(self._options))
        return self._resolved[1]

    def _runs_natively(self) -> bool:
        chosen = self._chosen()
        return chosen.enabled and chosen.backend == "llvm"

    def _fall_back(self, error: CompileError, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._note_failure(error)
        if len(self._plain) >= MAX_PLAIN:
            self._plain.clear()
        self._plain.add(self._kinds(args, kwargs))
        return self.__wrapped__(*args, **kwargs)

    def _kinds(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """What tells calls that cannot be compiled from others, in about a microsecond. Coarser than a signature: what it confuses
        runs as plain Python too, and right."""
        exact = bool(self._static)
        return (*kwargs, *(_kind(a, exact) for a in (*args, *kwargs.values())))

    def _note_failure(self, error: CompileError) -> None:
        if self._failure is None:
            self._failure = error
            text = f"{self.__name__} runs as plain Python, because it cannot be compiled:\n{error}"
            warnings.warn(text, FallbackWarning, stacklevel=caller_level())

    def _run(self, executable: Executable, bound: Bound) -> Any:
        flat = bound.leaves()
        values = [flat[k] for k in executable.specialised.leaves]
        values += [i.source.read() for i in executable.specialised.implicit]
        try:
            return executable.run(values)
        except GuardError:
            pass
        return self._guard_failed(executable, bound)

    def _guard_failed(self, executable: Executable, bound: Bound) -> Any:
        """A traced function inside takes a path that it has not taken before. As plain Python it is called for itself, and records
        that path; then this version is out of date."""
        args, kwargs = self._arguments(bound)
        try:
            return self.__wrapped__(*args, **kwargs)
        finally:
            self._lock.whenever(functools.partial(self._drop_outdated, executable))

    def _drop_outdated(self, executable: Executable) -> bool:
        """Forget a version that was compiled before the latest path was recorded, by whatever traced function."""
        with self._lock.held():
            outdated = self._recorded_at.get(executable, -1) != _recorded
            for key in [k for k, e in self._executables.items() if e is executable and outdated]:
                self._drop(key)
            return outdated

    def _arguments(self, bound: Bound) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a bound call, to be passed on."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for (name, parameter), value in zip(self._signature.parameters.items(), bound.values, strict=False):  # but for **keywords
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += value
            elif parameter.kind is parameter.KEYWORD_ONLY:
                kwargs[name] = value
            else:
                args.append(value)
        return tuple(args), kwargs

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise WrongCall(str(error)) from None
        values: list[Any] = []
        defaulted: list[int] = []
        by_name: dict[str, int] = {}
        order: list[int] = []
        for k, (name, parameter) in enumerate(self._signature.parameters.items()):
            by_name[name] = k
            if parameter.kind is parameter.VAR_KEYWORD:
                if name in bound.arguments:
                    problem = Problem(f"the keywords of **{name} are not compiled", None, "name the keyword parameters")
                    raise UnsupportedError([problem])
                continue  # the last of all
            if name in bound.arguments:
                values.append(bound.arguments[name])
            elif parameter.kind is parameter.VAR_POSITIONAL:
                values.append(())
            else:
                values.append(parameter.default)
                defaulted.append(k)
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) and len(order) < len(args):
                order.append(k)
            elif parameter.kind is parameter.VAR_POSITIONAL:
                order += [~k] * (len(args) - len(order))
        order += [by_name[name] for name in kwargs]
        return Bound(values, frozenset(defaulted), CallForm(len(args), tuple(kwargs), tuple(order)), self._takes_records)

    # -- compiling ---------------------------------------------------------------------------------------------

    def _observe(self, bound: Bound, options: Options) -> Signature:
        try:
            seen = observe(bound.given, self._static.__contains__, options.dynamic, bound.records)
        except TypeError as error:
            raise UnsupportedError([Problem(f"{self.__name__} was called with {error}")]) from None
        if (count := sum(1 for _ in flat(seen.params))) > MAX_LEAVES:
            hint = "pass an array: each item of a tuple or list is compiled as an argument of its own"
            raise UnsupportedError([Problem(f"{self.__name__} was called with {count} numbers and arrays", None, hint)])
        params = tuple(DefaultSig() if k in bound.defaulted else p for k, p in enumerate(seen.params))
        return Signature(params, seen.equal, seen.disjoint, seen.identical, seen.shapes)

    def _executable(self, bound: Bound, options: Options) -> tuple[Key, Executable]:
        with self._lock.held(), internal_errors_told(self.__name__), depth_told(self.__name__):
            key = (bound.form, self._observe(bound, options))
            for place, found in list(self._executables.items()):  # its check may run code of the user's
                by_numpy = found.entry is None
                if place[:2] == key and by_numpy == (options.backend == "reference") and self._holds(found, bound):
                    self._install_again(found)
                    return place, found
            recorded = _recorded
            executable = self._compile(bound, options)
            self._recorded_at[executable] = recorded
            place = (bound.form, executable.signature, next(self._serial))
            self._make_room(options.cache_size)
            self._executables[place] = executable
            self._misses += 1
            if executable.entry is not None:
                self._install(executable.entry)
            return place, executable

    def _install_again(self, executable: Executable) -> None:
        """Where an interrupt came between noting a version and putting it where calls find it."""
        if executable.entry is not None and not self._has(executable.entry):
            self._install(executable.entry)

    def _compile(self, bound: Bound, options: Options) -> Executable:
        source = self._source()
        try:
            return compiler.compile(source, self._observe(bound, options), bound.form, options)
        except NeedsStatic as error:
            return self._compile_static(source, bound, options, error)

    def _compile_static(self, source: Source, bound: Bound, options: Options, error: NeedsStatic) -> Executable:
        """A value that must be known while compiling is an argument: its value joins the signature."""
        params = self._observe(bound, options).params
        candidates = [k for k, p in enumerate(params) if k not in self._static and _may_be_static(p)]
        for chosen in [*([k] for k in candidates), candidates]:
            self._static.update(chosen)
            try:
                return compiler.compile(source, self._observe(bound, options), bound.form, options)
            except NeedsStatic:
                self._static.difference_update(chosen)
        raise UnsupportedError(error.problems) from None

    def _holds(self, executable: Executable, bound: Bound) -> bool:
        """Whether what was captured is what it was: the objects, the types of the arrays, and what they are as long as."""
        specialised = executable.specialised
        flat = bound.leaves()
        try:
            captured = [i.source.find() for i in specialised.implicit]
            return (
                all(g.holds() for g in specialised.guards)
                and all(i.signature == of_value(value) for i, value in zip(specialised.implicit, captured, strict=True))
                and specialised.lengths_hold([*(flat[k] for k in specialised.leaves), *captured])
            )
        except TypeError:
            return False

    def _drop(self, key: Key) -> None:
        executable = self._executables.pop(key)
        self._recorded_at.pop(executable, None)
        if executable.entry is not None:
            self._retired_hits += executable.entry.hits
            self._evict(executable.entry)

    def _make_room(self, size: int) -> None:
        while len(self._executables) >= size:
            unused = min(self._executables, key=lambda k: _hits(self._executables[k]))
            self._drop(unused)

    # -- seeing ------------------------------------------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        """The generic graph, before any call."""
        return self._source().graph

    @property
    def code(self) -> str:
        """The generic graph as runnable Python."""
        given = {k: p.default for k, p in self._signature.parameters.items() if p.default is not inspect.Parameter.empty}
        graph = self.graph
        with internal_errors_told(self.__name__):
            return _seeing().python_code(graph, given)  # type: ignore[no-any-return]

    def graph_for(self, *args: Any, **kwargs: Any) -> Graph:
        """The typed, simplified graph of a call with these arguments (nothing is run)."""
        return self._examined(args, kwargs).graph

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """What a call with these arguments becomes: kernels, what was fused, what is guarded, what stood against fusion."""
        examined = self._examined(args, kwargs)
        with internal_errors_told(self.__name__):
            return _seeing().explain(self.__name__, examined)  # type: ignore[no-any-return]

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The stages of compiling for these arguments, as text."""
        made: Lowered = _seeing().Lowered(self, self._examined(args, kwargs), self._chosen().target)
        return made

    def _examined(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Executable:
        self._look_again()
        options = self._chosen()
        return self._executable(self._bind(args, kwargs), options)[1]

    def cache_info(self) -> CacheInfo:
        """Calls served by machine code, versions compiled, versions kept, and the most that are kept."""
        hits = self._retired_hits + sum(_hits(e) for e in self._executables.values())
        return CacheInfo(hits, self._misses, len(self._executables), self._chosen().cache_size)

    def cache_clear(self) -> None:
        """Forget and free every compiled version."""
        self._lock.whenever(self._forget)

    def _forget(self) -> None:
        self._executables.clear()  # before their code goes: an interrupt may come between
        self._recorded_at.clear()
        self._evict_all()
        self._misses = self._retired_hits = 0
        self._failure = None
        self._plain.clear()

    def __repr__(self) -> str:
        return f"<tensorjit {type(self).__name__} {self.__name__}>"

    # -- copies and pickles ---------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: object) -> Any:
        """Found by name as functions are, or made again from the function: the pickler decides how that is pickled, which may be by
        value (cloudpickle). Then the texts of what is compiled go along. In `__main__`, which is another module where the pickle is
        read, it is always the pickler who decides."""
        found = self._is_found()
        if found and self.__module__ != "__main__":
            return self.__qualname__
        function: Any = self.__wrapped__
        if not isinstance(function, FunctionType):
            return self.__qualname__ if found else (type(self), (function, *self._remade_with()))
        return _made_again, (type(self), self.__plain__ if found else function, self._remade_with(), self._texts(function))

    def _remade_with(self) -> tuple[Any, ...]:
        """What makes this object again, beside the function."""
        return (self._options,)

    def _texts(self, function: FunctionType) -> Mapping[Any, str]:
        """The texts that compiling needs, of functions that have none where they are not imported."""
        return {}

    @property
    def __plain__(self) -> FunctionType:
        """The plain function by a name of its own, under which picklers find it where this object has its name."""
        function: Any = self.__wrapped__
        known = self._plain_copy
        if known is None or _state_of(known) != _state_of(function):
            known = FunctionType(
                function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
            )
            known.__kwdefaults__, known.__module__ = function.__kwdefaults__, function.__module__
            known.__doc__, known.__qualname__ = function.__doc__, function.__qualname__ + _PLAIN
            self._plain_copy = known
        return known

    def _is_found(self) -> bool:
        """Whether this object stands where its function's name says: it was decorated, and the plain function is not to be found."""
        return found_by_name(self.__module__, self.__qualname__) is self

    def __tensorjit_function__(self) -> Any:
        """What stands for this object inside another compiled function."""
        return self.__wrapped__


_PLAIN = ".__plain__"


def _made_again(kind: Any, function: FunctionType, rest: tuple[Any, ...], texts: Mapping[Any, str]) -> ScriptFunction:
    """A compiled object out of a pickle: the one that the function's name says is here, or one of the function that was pickled."""
    name = function.__qualname__
    if name.endswith(_PLAIN):
        here = found_by_name(function.__module__, name.removesuffix(_PLAIN))
        if isinstance(here, ScriptFunction) and here._plain_copy is function:
            return here
        function.__qualname__ = name.removesuffix(_PLAIN)
    carry(texts)
    made: ScriptFunction = kind(function, *rest)
    return made


def _kind(value: Any, exact: bool) -> Any:
    if type(value) is np.ndarray:
        return value.dtype, value.ndim
    return (type(value), value) if exact and isinstance(value, (int, str, type(None))) else type(value)


def _hits(executable: Executable) -> int:
    return 0 if executable.entry is None else executable.entry.hits


def _may_be_static(param: ParamSig) -> bool:
    return isinstance(param, ScalarSig) and param.type.dtype.kind in "biu"


class Scripted(ScriptFunction):
    """A function whose source was read."""

    def __init__(self, function: FunctionType, options: Mapping[str, Any]) -> None:
        super().__init__(function, options)
        self._seen = _state_of(function)
        self._parsed: tuple[Any, Source] | None = None  # and of which state of the function
        try:
            self._source()
        except CompileError:
            chosen = self._chosen()
            if chosen.enabled and chosen.fallback != "python":
                raise

    @staticmethod
    def _signature_of(function: Any) -> inspect.Signature:
        return signature_of(function)

    def _look_again(self) -> None:
        function: Any = self.__wrapped__
        now = _state_of(function)
        if len(now) == len(self._seen) and all(map(operator.is_, now, self._seen)):
            return
        self._signature = signature_of(function)
        self._static.clear()
        self._plain.clear()
        self._failure = None
        self._seen = now

    def _texts(self, function: FunctionType) -> Mapping[Any, str]:
        return texts_to_carry(function)

    def _source(self) -> Source:
        self._look_again()
        seen, parsed = self._seen, self._parsed
        if parsed is None or parsed[0] is not seen:
            function: Any = self.__wrapped__
            names = Names.of(function)  # before it is parsed: another thread may set its code
            with internal_errors_told(function.__name__):
                graph = compiler.parse(function)
            places = default_places(function)
            defaults = {k: places[name] for k, name in enumerate(self._signature.parameters) if name in places}
            self._parsed = parsed = (seen, Source(graph, names, defaults))
        return parsed[1]


def _state_of(function: Any) -> tuple[Any, ...]:
    """All of a function that can be set in place and that calls depend on."""
    by_name = function.__kwdefaults__ or {}
    return (function.__code__, function.__defaults__, *by_name, *by_name.values())


def _seeing() -> ModuleType:
    """The module that shows what was compiled; it loads when somebody looks."""
    from tensorjit import seeing  # noqa: PLC0415

    return seeing
