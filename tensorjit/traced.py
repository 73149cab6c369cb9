"""The compiled object of `trace`: recorded paths, and the calls that none of them serves."""

from __future__ import annotations

import copy
import functools
import inspect
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from tensorjit import errors
from tensorjit.compiled import Bound, Key, ScriptFunction, note_recording
from tensorjit.compiler import Executable, Source
from tensorjit.config import Options
from tensorjit.errors import CompileError, FallbackWarning, GuardError, TensorJitError, TracingCheckError, depth_told, internal_error
from tensorjit.frontend import trace
from tensorjit.ir.graph import Graph
from tensorjit.passes.specialise import Names
from tensorjit.passes.specialise import Traced as InlinedTrace
from tensorjit.runtime.fpstatus import caller_level
from tensorjit.runtime.locks import Busy

MAX_PATHS = 32  # of one traced function: each new one compiles all of them again
MAX_RETRACES = 4  # of one call
MAX_CAUGHT = 8  # calls in which the function caught an exception that were recorded, to no end


class Traced(ScriptFunction):
    """A callable whose runs were recorded: a path for each way that its decisions went.

    A call that no path serves is recorded and the function compiled anew, up to MAX_PATHS; beyond them, and where the function
    raises, such a call runs as plain Python.
    """

    _takes_records = True

    def __init__(
        self,
        function: Callable[..., Any],
        options: Mapping[str, Any],
        strict: bool = False,
        tree: trace.TraceTree | None = None,
        checked: bool = True,
    ) -> None:
        super().__init__(function, options)
        self.__dict__.setdefault("__name__", _name_of(function))
        self.__dict__.setdefault("__qualname__", self.__name__)
        self._strict = strict
        self._tree = tree
        self._checked = checked  # whether each path is held to the function when it is recorded
        self._traced: Source | None = None
        self._inlined: InlinedTrace | None = None
        self._warned = False
        self._caught = 0
        self._forms = trace.forms_of(function)
        if tree is not None:
            self._signature = trace.signature_of(function, len(tree.parameters))

    @staticmethod
    def _signature_of(function: Callable[..., Any]) -> inspect.Signature:
        return trace.signature_of(function, 0)

    @property
    def paths(self) -> int:
        """How many paths have been recorded."""
        return 0 if self._tree is None else self._tree.paths

    def record(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Run the callable on copies of these arguments and keep the path that it takes; whether that is a new one."""
        return self._record(args, kwargs)[0]

    def _record(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, bool]:
        """Whether the path is a new one, and whether it was kept."""
        with self._lock.held(), depth_told(self.__name__):
            before = self._tree
            with self._lock.foreign():
                recording = trace.record(self.__wrapped__, args, kwargs, before, self._strict)
            if before is None:
                self._signature = trace.signature_of(self.__wrapped__, len(args))
            if recording.tree is not before:
                self._keep(recording.tree)
            return recording.tree is not before, recording.kept

    def _keep(self, tree: trace.TraceTree | None) -> None:
        self._tree, self._traced, self._inlined = tree, None, None
        note_recording()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Within it, a path is recorded, checked and compiled, or else forgotten: all paths are compiled together, so that one which
        cannot be would stand against every later version."""
        with self._lock.held():
            before = self._tree
            try:
                yield
            except BaseException:
                if self._tree is not before:
                    self._keep(before)
                raise

    def record_examples(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The first recording: nothing where the options ask for plain Python; a FallbackWarning where it cannot be done and they
        allow that."""
        options = self._chosen()
        if not options.enabled:
            return
        try:
            self.record(args, kwargs)
        except Exception as error:
            raised = trace.refusal_of(error) if trace.is_of_tracing(error) else error
            if isinstance(raised, CompileError) and options.fallback == "python":
                self._note_failure(raised)
            elif raised is error:
                raise
            else:
                raise raised from error

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any], tolerance: float | None) -> None:
        """Compare a second run, and the compiled function, with the callable."""
        if self._tree is None:
            return  # it runs as plain Python
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace.check_repeat(self.__wrapped__, args, kwargs, self._tree)
        if not self._tree.paths:
            return  # an exception was caught
        trace.check(self.__wrapped__, self, args, kwargs, tolerance, self._captured(), self._tree.changes)

    def _captured(self) -> list[tuple[str, np.ndarray[Any, Any]]]:
        """The captured arrays that can be written."""
        found = ((source.shown, source.find()) for source in self._tree.captures) if self._tree is not None else ()
        return [(name, array) for name, array in found if type(array) is np.ndarray and array.flags.writeable]

    def _record_checked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Record a path; where the function does otherwise when it is run again, TracingCheckError, and the path is not kept."""
        with self._all_or_nothing():
            new, kept = self._record(args, kwargs)
            if not kept:
                self._caught += 1
                raise _NotRecorded(f"{self.__name__} catches an exception on this path")
            if new and self._checked and self._tree is not None:
                with self._lock.foreign(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    trace.check_path(self.__wrapped__, args, kwargs, self._tree, self._captured())

    def _source(self) -> Source:
        if self._traced is None:
            if self._tree is None:
                raise self._nothing_recorded()
            self._traced = self._source_of(self._tree, kinds=False)
        return self._traced

    def _nothing_recorded(self) -> CompileError:
        off = not self._chosen().enabled
        hint = "tensorjit is switched off (enabled=False, or TENSORJIT=0)" if off else "call it once"
        return CompileError(f"nothing has been recorded yet of {self.__name__}: {hint}")

    def _source_of(self, tree: trace.TraceTree, kinds: bool) -> Source:
        names = Names(self.__name__, getattr(self.__wrapped__, "__globals__", {}), arrays=tree.captures)
        parameters = enumerate(self._signature.parameters.values())
        defaults = {k: p.default for k, p in parameters if p.default is not inspect.Parameter.empty}
        return Source(tree.to_graph(self.__name__, kinds=kinds, quiet=True), names, defaults)

    @property
    def graph(self) -> Graph:
        """The generic graph of all paths, but for what is looked at of the functions themselves."""
        self._source()
        assert self._tree is not None
        return self._tree.to_graph(self.__name__)

    def _look_again(self) -> None:
        """A function that was given another code, or other defaults, may have another signature; so may a partial of which the
        keywords were changed."""
        forms = trace.forms_of(self.__wrapped__)
        if len(forms) == len(self._forms) and all(map(operator.is_, forms, self._forms)):
            return
        with self._lock.held():
            self._forms, self._signature = forms, trace.signature_of(self.__wrapped__, 0)
            same = self._tree is not None and self._tree.parameters == trace.parameters_of(self._signature)
            self._keep(self._tree if same else None)

    # -- calls that no path serves -------------------------------------------------------------------------------

    def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return super()._miss(args, kwargs)
        except _NotRecorded as error:
            raised = error.raised
        except Busy:
            raised = None
        result = self.__wrapped__(*args, **kwargs)
        if raised is None:
            return result
        if errors.RAW and not trace.is_of_tracing(raised):
            raise raised
        # tracing itself stands against it
        told = trace.refusal_of(raised) if trace.is_of_tracing(raised) else internal_error(raised, f"traced {self.__name__}")
        if self._chosen().fallback != "python":
            raise told from raised
        self._note_failure(told)
        return result

    def _examined(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Executable:
        try:
            return super()._examined(args, kwargs)
        except _NotRecorded as error:
            raised = error.raised or GuardError(str(error))
        raise raised if not trace.is_of_tracing(raised) else trace.refusal_of(raised)

    def _arguments(self, bound: Bound) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return trace.arguments_of(trace.parameters_of(self._signature), bound.values)

    def _executable(self, bound: Bound, options: Options) -> tuple[Key, Executable]:
        with self._all_or_nothing():
            if self._tree is None or not self._tree.covers(trace.root_of_values(bound.values)):
                self._record_call(bound)
            if (
                self._tree is not None and self._tree.handled and self._tree.writes
            ):  # machine code does not undo what it has written where it raises
                options = replace(options, backend="reference")
            return super()._executable(bound, options)

    def _record_call(self, bound: Bound) -> None:
        """Record the path of a call; its writes and exceptions are left to a run of the plain function."""
        if self.paths >= MAX_PATHS:
            self._warn_plain(f"{self.paths} paths have been recorded, the most that are kept")
            raise _NotRecorded(f"{self.__name__} takes a path that no trace has taken, and {self.paths} are kept already")
        if self._caught >= MAX_CAUGHT:
            raise _NotRecorded(f"{self.__name__} takes a path that no trace has taken, and exceptions are caught on many")
        try:
            self._record_checked(*self._arguments(bound))
        except _NotRecorded as error:
            self._warn_plain(str(error))
            raise
        except TracingCheckError as error:
            if self._chosen().fallback != "python":
                raise
            self._warn_plain(str(error).splitlines()[0])
            raise _NotRecorded(str(error)) from None
        except TensorJitError:
            raise
        except Exception as error:
            raise _NotRecorded(f"{self.__name__} raises while it is traced", error) from None

    def _run(self, executable: Executable, bound: Bound) -> Any:
        try:
            return self._attempt(executable, bound)
        except GuardError:
            pass
        return self._guard_failed(executable, bound)

    def _attempt(self, executable: Executable, bound: Bound) -> Any:
        """Run it op by op. Where operations stand in a `try`, what one raises is a guard that failed, and leaves nothing behind."""
        specialised = executable.specialised
        flat = bound.leaves()
        values = [*(flat[k] for k in specialised.leaves), *(i.source.read() for i in specialised.implicit)]
        if not executable.graph.attrs.get("handled"):
            return executable.run(values)
        saved = [(values[k], values[k].copy()) for k in specialised.written if values[k].flags.writeable]
        try:
            return executable.run(values)
        except Exception as error:
            for array, before in saved:
                array[...] = before
            raise GuardError(f"{type(error).__name__} is raised") from error

    def _guard_failed(self, executable: Executable, bound: Bound) -> Any:
        for _ in range(MAX_RETRACES):
            with self._all_or_nothing():
                if not self._drop_outdated(executable):
                    self._record_call(bound)
                if not self._drop_outdated(executable):
                    self._warn_plain("compiled, a value that decides its path differs in its last bits from NumPy's")
                    raise _NotRecorded(f"{self.__name__} takes a path that its trace does not take")
                executable = self._executable(bound, self._chosen())[1]
            try:
                return self._attempt(executable, bound)
            except GuardError:
                continue
        raise GuardError(f"{self.__name__} takes another path each time it is traced with the same arguments")

    def _warn_plain(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            text = f"calls of {self.__name__} that no recorded path serves run as plain Python: {reason}"
            warnings.warn(f"{text}\n  hint: tensorjit.script keeps control flow", FallbackWarning, stacklevel=caller_level())

    # -- copies and other compiled functions -----------------------------------------------------------------------

    def _remade_with(self) -> tuple[Any, ...]:
        """Not what was recorded: the first call of what is pickled is recorded again."""
        return self._options, self._strict, None, self._checked

    def __copy__(self) -> Traced:
        return type(self)(self.__wrapped__, self._options, self._strict, self._tree, self._checked)

    def __deepcopy__(self, memo: dict[int, Any]) -> Traced:
        function = copy.deepcopy(self.__wrapped__, memo)
        tree = self._tree if function is self.__wrapped__ else None  # the copy of an object has captured arrays of its own
        return type(self)(function, self._options, self._strict, tree, self._checked)

    def __tensorjit_function__(self) -> Any:
        self._look_again()
        if self._tree is None:
            raise self._nothing_recorded()
        if self._tree.handled:
            problem = f"{self.__name__} is a trace with operations in a `try`, which other compiled functions cannot call"
            raise CompileError(problem)
        if self._inlined is None:
            source = self._source_of(self._tree, kinds=True)
            kept = [p for p in self._signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
            self._inlined = InlinedTrace(source.graph, source.names, self._signature.replace(parameters=kept))
        return self._inlined


class _NotRecorded(GuardError):
    """A call of a traced function is to run as plain Python; `raised` is what recording it raised."""

    def __init__(self, message: str, raised: Exception | None = None) -> None:
        super().__init__(message)
        self.raised = raised


def _name_of(function: Any) -> str:
    """The name of a callable that may have none: of what a partial calls, of an object's class."""
    inner = function.func if isinstance(function, functools.partial) else function
    name = getattr(inner, "__name__", None)
    return name if isinstance(name, str) else type(inner).__name__
