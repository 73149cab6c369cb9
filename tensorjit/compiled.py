"""The compiled object: a call goes to native entries, and what they do not serve comes here to be compiled.

A miss binds the call, observes its signature, compiles (once, whatever number of threads ask), installs the entry before the
others, and calls again. So a signature is slow once.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple, final

from tensorjit import compiler
from tensorjit.compiler import CallForm, Executable, Source
from tensorjit.config import Options, changed
from tensorjit.errors import CompileError, FallbackWarning, GuardError, Problem, UnsupportedError
from tensorjit.explain import explain
from tensorjit.frontend import trace
from tensorjit.ir.graph import Graph
from tensorjit.ir.printer import print_graph, print_kernel
from tensorjit.ir.python_code import python_code
from tensorjit.ir.signature import DefaultSig, ParamSig, ScalarSig, Signature, leaves, observe, of_value, same_static
from tensorjit.passes.specialise import Names, NeedsStatic
from tensorjit.passes.specialise import Traced as InlinedTrace
from tensorjit.records import dataclass
from tensorjit.runtime.callable import NativeCallable


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

    def leaves(self) -> list[Any]:
        return list(leaves(self.values))


Key = tuple[CallForm, Signature, int]  # the number tells versions apart that differ in what was captured
MAX_RETRACES = 4  # of one call


class ScriptFunction(NativeCallable):
    """What `script` and `trace` return: callable like the function that it was made of, at native speed.

    >>> import tensorjit as tj
    >>> isinstance(tj.script(lambda x: x + 1), tj.ScriptFunction)
    True
    """

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._options = dict(options)
        self._executables: dict[Key, Executable] = {}
        self._static: set[int] = set()
        self._serial = itertools.count()
        self._misses = 0
        self._retired_hits = 0
        self._failure: CompileError | None = None
        self._lock = threading.RLock()
        self._busy = threading.local()
        self._signature = self._signature_of(function)

    @staticmethod
    def _signature_of(function: Callable[..., Any]) -> inspect.Signature:
        return inspect.signature(function, follow_wrapped=False)

    # -- what the subclasses say -------------------------------------------------------------------------------

    def _source(self) -> Source:
        """The generic graph and where its names come from."""
        raise NotImplementedError

    # -- calling -----------------------------------------------------------------------------------------------

    def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        options = self._chosen()
        if not options.enabled:
            return self.__wrapped__(*args, **kwargs)
        if trace.is_tracing():
            recorded = trace.traced_call(self, args, kwargs)
            if recorded is not NotImplemented:
                return recorded
        try:
            bound = self._bind(args, kwargs)
        except TypeError:
            return self.__wrapped__(*args, **kwargs)  # raises what Python raises for such a call
        try:
            key, executable = self._executable(bound, options)
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
        return changed(self._options)

    def _fall_back(self, error: CompileError, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._failure is None:
            self._failure = error
            text = f"{self.__name__} runs as plain Python, because it cannot be compiled:\n{error}"
            warnings.warn(text, FallbackWarning, stacklevel=4)
        return self.__wrapped__(*args, **kwargs)

    def _run(self, executable: Executable, bound: Bound) -> Any:
        flat = bound.leaves()
        values = [flat[k] for k in executable.specialised.leaves]
        values += [i.source.read() for i in executable.specialised.implicit]
        return executable.run(values)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
        bound = self._signature.bind(*args, **kwargs)
        values: list[Any] = []
        defaulted: list[int] = []
        by_name: dict[str, int] = {}
        order: list[int] = []
        for k, (name, parameter) in enumerate(self._signature.parameters.items()):
            by_name[name] = k
            if parameter.kind is parameter.VAR_KEYWORD:
                raise UnsupportedError([Problem(f"**{name} is not compiled")])
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
        return Bound(values, frozenset(defaulted), CallForm(len(args), tuple(kwargs), tuple(order)))

    # -- compiling ---------------------------------------------------------------------------------------------

    def _observe(self, bound: Bound, options: Options) -> Signature:
        try:
            seen = observe(bound.values, self._static.__contains__, options.dynamic)
        except TypeError as error:
            raise UnsupportedError([Problem(f"{self.__name__} was called with {error}")]) from None
        params = tuple(DefaultSig() if k in bound.defaulted else p for k, p in enumerate(seen.params))
        return Signature(params, seen.equal, seen.disjoint, seen.identical)

    def _executable(self, bound: Bound, options: Options) -> tuple[Key, Executable]:
        with self._lock:
            key = (bound.form, self._observe(bound, options))
            for place, found in self._executables.items():
                if place[:2] == key and self._holds(found):
                    return place, found
            executable = self._compile(bound, options)
            place = (bound.form, executable.signature, next(self._serial))
            self._make_room(options.cache_size)
            self._executables[place] = executable
            self._misses += 1
            if executable.entry is not None:
                self._install(executable.entry)
            return place, executable

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

    def _holds(self, executable: Executable) -> bool:
        """Whether what was captured is what it was: the objects, and the types of the arrays."""
        specialised = executable.specialised
        try:
            return all(same_static(g.source.read(), g.expected) for g in specialised.guards) and all(
                i.signature == of_value(i.source.read()) for i in specialised.implicit
            )
        except (KeyError, ValueError, TypeError):
            return False

    def _drop(self, key: Key) -> None:
        executable = self._executables.pop(key)
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
        return python_code(self.graph)

    def graph_for(self, *args: Any, **kwargs: Any) -> Graph:
        """The typed, simplified graph of a call with these arguments (nothing is run)."""
        return self._examined(args, kwargs).graph

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """What a call with these arguments becomes: kernels, what was fused, what is guarded, what stood against fusion."""
        return explain(self.__name__, self._examined(args, kwargs))

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The stages of compiling for these arguments, as text."""
        return Lowered(self, self._examined(args, kwargs), self._chosen().target)

    def _examined(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Executable:
        options = self._chosen()
        return self._executable(self._bind(args, kwargs), options)[1]

    def cache_info(self) -> CacheInfo:
        """Calls served by machine code, versions compiled, versions kept, and the most that are kept."""
        hits = self._retired_hits + sum(_hits(e) for e in self._executables.values())
        return CacheInfo(hits, self._misses, len(self._executables), self._chosen().cache_size)

    def cache_clear(self) -> None:
        """Forget and free every compiled version."""
        with self._lock:
            self._evict_all()
            self._executables.clear()
            self._misses = self._retired_hits = 0
            self._failure = None

    def __repr__(self) -> str:
        return f"<tensorjit {type(self).__name__} {self.__name__}>"

    # -- copies and pickles: made again from the function --------------------------------------------------------

    def __reduce_ex__(self, protocol: object) -> Any:
        return type(self), (self.__wrapped__, self._options)

    def __tensorjit_function__(self) -> Any:
        """What stands for this object inside another compiled function."""
        return self.__wrapped__


def _hits(executable: Executable) -> int:
    return 0 if executable.entry is None else executable.entry.hits


def _may_be_static(param: ParamSig) -> bool:
    return isinstance(param, ScalarSig) and param.type.python and param.type.dtype.kind in "bi"


class Scripted(ScriptFunction):
    """A function whose source was read."""

    def __init__(self, function: FunctionType, options: Mapping[str, Any]) -> None:
        super().__init__(function, options)
        self._parsed: Source | None = None
        try:
            self._source()
        except CompileError:
            chosen = self._chosen()
            if chosen.enabled and chosen.fallback != "python":
                raise

    def _source(self) -> Source:
        if self._parsed is None:
            function: Any = self.__wrapped__
            graph = compiler.parse(function)
            defaults = {
                k: p.default for k, p in enumerate(self._signature.parameters.values()) if p.default is not inspect.Parameter.empty
            }
            self._parsed = Source(graph, Names.of(function), defaults)
        return self._parsed


class Traced(ScriptFunction):
    """A callable whose runs were recorded: a path for each way that its decisions went."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any], strict: bool = False) -> None:
        super().__init__(function, options)
        self._strict = strict
        self._tree: trace.TraceTree | None = None
        self._traced: Source | None = None

    @staticmethod
    def _signature_of(function: Callable[..., Any]) -> inspect.Signature:
        return trace.signature_of(function, 0)

    @property
    def paths(self) -> int:
        """How many paths have been recorded."""
        return 0 if self._tree is None else self._tree.paths

    def record(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Run the callable on copies of these arguments and keep the path that it takes; whether that is a new one."""
        with self._lock:
            if self._tree is None:
                self._signature = trace.signature_of(self.__wrapped__, len(args))
            before = self._tree
            self._tree = trace.record(self.__wrapped__, args, kwargs, before, self._strict).tree
            if self._tree is not before:
                self._traced = None
            return self._tree is not before

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any], tolerance: float | None) -> None:
        """Compare a second run, and the compiled function, with the callable."""
        assert self._tree is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace.check_repeat(self.__wrapped__, args, kwargs, self._tree)
        trace.check(self.__wrapped__, self, args, kwargs, tolerance)

    def _source(self) -> Source:
        if self._traced is None:
            if self._tree is None:
                raise CompileError("nothing has been recorded yet")
            names = Names(self.__name__, getattr(self.__wrapped__, "__globals__", {}), arrays=self._tree.captures)
            graph = self._tree.to_graph(self.__name__)
            defaults = {
                k: p.default for k, p in enumerate(self._signature.parameters.values()) if p.default is not inspect.Parameter.empty
            }
            self._traced = Source(graph, names, defaults)
        return self._traced

    def _executable(self, bound: Bound, options: Options) -> tuple[Key, Executable]:
        if self._tree is None or not self._tree.covers(trace.root_of_values(bound.values)):
            self.record(*self._arguments(bound))
        return super()._executable(bound, options)

    def _arguments(self, bound: Bound) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a bound call, to be passed on."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for (name, parameter), value in zip(self._signature.parameters.items(), bound.values, strict=True):
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += value
            elif parameter.kind is parameter.KEYWORD_ONLY:
                kwargs[name] = value
            else:
                args.append(value)
        return tuple(args), kwargs

    def _run(self, executable: Executable, bound: Bound) -> Any:
        """What no entry serves: a guard failed there. The path is recorded, and the version compiled anew."""
        try:
            return super()._run(executable, bound)
        except GuardError:
            pass
        for _ in range(MAX_RETRACES):
            self.record(*self._arguments(bound))
            with self._lock:
                self._drop_if_there(executable)
                _key, executable = self._executable(bound, self._chosen())
            try:
                return super()._run(executable, bound)
            except GuardError:
                continue
        raise GuardError(f"{self.__name__} takes another path each time it is traced with the same arguments")

    def _drop_if_there(self, executable: Executable) -> None:
        for key, known in list(self._executables.items()):
            if known is executable:
                self._drop(key)

    def __tensorjit_function__(self) -> Any:
        source = self._source()
        return InlinedTrace(source.graph, source.names)


@final
class Lowered:
    """A signature's program at each stage; `as_text(stage)`, then `compile()`."""

    def __init__(self, owner: ScriptFunction, executable: Executable, target: str) -> None:
        self._owner, self._executable, self._target = owner, executable, target

    def as_text(self, stage: str = "graph") -> str:
        """The program as text: "graph" (typed), "lowered" (kernels launched), "kernels", "llvm" or "asm"."""
        e = self._executable
        if stage == "graph":
            return print_graph(e.graph)
        if e.lowered is None:
            raise ValueError("the reference backend runs the graph itself: there is nothing below it")
        if stage == "lowered":
            return print_graph(e.lowered)
        if stage == "kernels":
            return "\n\n".join(print_kernel(k) for k in kernels_of(e.lowered))
        if stage in ("llvm", "asm"):
            text: str = compiler.native().as_text(e.lowered, e.specialised, e.signature, e.form, self._target, stage)
            return text
        raise ValueError(f"{stage!r} is no stage: graph, lowered, kernels, llvm, asm")

    def compile(self) -> ScriptFunction:
        """The compiled object, with this signature in its cache."""
        return self._owner


def kernels_of(lowered: Graph) -> Iterator[Any]:
    """The kernels of a lowered graph, each once."""
    seen: set[str] = set()
    for op in lowered.walk():
        kernel = op.attrs.get("kernel")
        if kernel is not None and kernel.name not in seen:
            seen.add(kernel.name)
            yield kernel
