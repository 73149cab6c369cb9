"""The recorder: carries out each operation on the values of this run, and notes it down."""

from __future__ import annotations

import builtins
import dis
import numbers
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from types import FrameType, MappingProxyType
from typing import Any, Final, final

import numpy as np

from tensorjit.errors import Loc, Problem, TracerWarning, UnsupportedError
from tensorjit.frontend.tracing.handlers import is_handled
from tensorjit.frontend.tracing.identity import Identity, compared
from tensorjit.frontend.tracing.made import Made, same_values
from tensorjit.frontend.tracing.marks import has_mark, owner
from tensorjit.frontend.tracing.places import expression, find_source, place, user_frame
from tensorjit.frontend.tracing.tracer import ArrayTracer, ScalarTracer, SymbolicInt, Tracer
from tensorjit.frontend.tracing.tree import Guard, Step, Taken, identity
from tensorjit.frontend.tracing.unfit import unfit
from tensorjit.passes.specialise.state import MISSING, Source

BINARY: Final[Mapping[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]]] = MappingProxyType(
    {
        "+": (operator.add, operator.iadd),
        "-": (operator.sub, operator.isub),
        "*": (operator.mul, operator.imul),
        "/": (operator.truediv, operator.itruediv),
        "//": (operator.floordiv, operator.ifloordiv),
        "%": (operator.mod, operator.imod),
        "**": (operator.pow, operator.ipow),
        "@": (operator.matmul, operator.imatmul),
        "&": (operator.and_, operator.iand),
        "|": (operator.or_, operator.ior),
        "^": (operator.xor, operator.ixor),
        "<<": (operator.lshift, operator.ilshift),
        ">>": (operator.rshift, operator.irshift),
    }
)
COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "in": lambda x, array: x in array,
    }
)
UNARY: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType({"-": operator.neg, "+": operator.pos, "~": operator.invert})
# Changing methods and functions: the first operand is written.
WRITING_METHODS: Final = frozenset({"fill", "sort", "partition", "put", "itemset"})
WRITING_FUNCTIONS: Final = frozenset({"copyto", "put", "place", "putmask", "fill_diagonal", "put_along_axis", "at", "nan_to_num"})
# Of an array, what would show the memory or leave NumPy: not traced.
NO_METHODS: Final = frozenset(
    {"tolist", "tobytes", "tofile", "dump", "dumps", "setflags", "resize", "setfield", "getfield", "byteswap"}
)
NO_ATTRIBUTES: Final = frozenset({"strides", "flags", "data", "ctypes", "base", "flat"})
RECORDED_ATTRIBUTES: Final = frozenset({"T", "mT", "real", "imag"})
OUTERMOST: Final = "tensorjit.frontend.trace"  # the module that runs the traced function
# Of a Python number, what Decimal and Fraction ask for, and its like: the number is taken.
NUMBERS_ATTRIBUTES: Final = frozenset(
    {"numerator", "denominator", "as_integer_ratio", "is_integer", "hex", "bit_length", "bit_count", "to_bytes"}
)
MAX_LISTED = 64  # items of a list of numbers given to np.array that are written out; beyond it, the array is kept
MAX_RECORDED = 50_000  # operations of one run
ACTIVE: ContextVar[Recorder | None] = ContextVar("tensorjit_recorder", default=None)


@contextmanager
def paused() -> Iterator[None]:
    """Within it, nothing is recorded: computing the values of this run."""
    token = ACTIVE.set(None)
    try:
        yield
    finally:
        ACTIVE.reset(token)


@final
class Recorder:
    """One run. `captures` come from the tree that the run will be added to, so that the numbers agree."""

    def __init__(self, mark: str, captures: Sequence[Source], strict: bool, identity: bool = False) -> None:
        self.items: list[Step | Taken] = []
        self.count = 0
        self.mark = mark
        self.captures = list(captures)
        self.strict = strict
        self.caught: Loc | None = None
        self.handled = False  # whether an operation stands in a `try`
        self._errstate: Mapping[str, Any] = dict(np.geterr())
        self.changes: dict[tuple[Any, ...], Source] = {}  # places outside of the function that it sets, by their keys
        self.refusal: RefusedError | None = None
        self._numbers = {source.key: k for k, source in enumerate(captures)}
        self._earlier = frozenset(self._numbers)
        self._asked: dict[tuple[Any, ...], list[Source]] = {}  # by the key of the second place: whether it is the same as another
        for source in captures:
            self._note_asked(source)
        self._given: dict[int, np.ndarray[Any, Any]] = {}  # id of an array among the arguments: its copy
        self._copies: dict[tuple[Any, ...], tuple[Any, np.ndarray[Any, Any]]] = {}  # key of a captured array: it and its copy
        self._firsts: dict[int, tuple[Any, Source]] = {}  # id of a captured object: it and where it was first read
        self.made = Made(self)
        self.identity = Identity(self, identity)
        self._traced: dict[tuple[Any, ...], Any] = {}  # key of a captured array: what the function sees of it
        self._roots: dict[int, tuple[str, int]] = {}  # id of the memory's owner: whose it is
        self._written: set[tuple[str, int]] = set()
        self._locs: dict[tuple[int, int], Loc] = {}
        self._keep: list[Any] = []  # whose ids are keys above
        self._guarded: set[tuple[Any, ...]] = set()  # sources
        self._classed: set[int] = set()  # values whose class was asked for
        self._views: dict[int, tuple[int, Any]] = {}  # value: what it is a part of, and by which key

    # -- recording ---------------------------------------------------------------------------------------------

    def loc(self, frame: FrameType | None = None) -> Loc:
        frame = frame or user_frame()
        key = (id(frame.f_code), frame.f_lasti)
        if key not in self._locs:
            self._locs[key] = place(frame)
            self._keep.append(frame.f_code)
        return self._locs[key]

    def emit(self, name: str, operands: Iterable[int] = (), /, *, droppable: bool = False, result: bool = True, **attrs: Any) -> int:
        """Note an op down; the number of its value."""
        if len(self.items) >= MAX_RECORDED:
            raise self.refuse(f"a function of more than {MAX_RECORDED} operations", "tensorjit.script compiles loops as loops")
        self.handled = self.handled or is_handled(OUTERMOST)
        if self._errstate != np.geterr():
            self._errors_elsewhere()
        index = self.count
        self.count += result
        step = Step(name, tuple(operands), tuple(attrs.items()), index if result else None, droppable, self.loc())
        self.items.append(step)
        return index

    def compute(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A value of this run. An exception that the traced function swallows is noted: its handler is no
        path that a guard sees."""
        try:
            with paused():
                return function(*args, **kwargs)
        except Exception:
            self.caught = self.loc()
            raise

    def _errors_elsewhere(self) -> None:
        """np.errstate, or np.seterr, within the function."""
        now: Mapping[str, Any] = dict(np.geterr())
        loud = {kind for name, kind in now.items() if kind != self._errstate[name]} - {"ignore", "warn"}
        if loud:
            raise self.refuse(
                f"an operation under np.errstate(...={min(loud)!r})", "enter the context around the call of the function"
            )
        self.warn(
            "np.errstate is in effect while tracing only: a call of the compiled function warns as its caller asks",
            "enter the context around the call of the function",
        )
        self._errstate = now

    def wrap(self, concrete: Any, index: int) -> Any:
        """What the traced function sees of a recorded value."""
        if isinstance(concrete, (np.ndarray, np.generic)):
            problem = unfit(concrete)
            if problem is not None:
                raise self.refuse(*problem)
            return ArrayTracer(self, index, concrete)
        if type(concrete) is int:
            return SymbolicInt(self, index, concrete)
        if type(concrete) is bool and compared(user_frame().f_code)[1]:
            return self.truth(ScalarTracer(self, index, concrete))  # `is True` would ask the tracer
        if type(concrete) in (bool, float, complex):
            return ScalarTracer(self, index, concrete)
        if isinstance(concrete, (tuple, list)):
            items = [self.wrap(c, self.emit("subscript", (index, self.constant(k)), droppable=True)) for k, c in enumerate(concrete)]
            make = getattr(type(concrete), "_make", type(concrete))
            return make(items)
        if concrete is None or isinstance(concrete, (str, np.dtype, type)):
            return concrete
        raise self.refuse(f"a {type(concrete).__name__} as a result", "keep to arrays, numbers and tuples")

    def constant(self, value: Any) -> int:
        return self.emit("const", droppable=True, value=value)

    def lift(self, x: Any) -> tuple[int, Any]:
        """The number of an operand, and its value in this run."""
        if isinstance(x, Tracer):
            if x._tj_recorder is not self or ACTIVE.get() is not self:
                raise self.refuse(
                    "a value of one trace is used in another, or after its trace has ended", "return it from the function"
                )
            return x._tj_index, x._tj_concrete
        if isinstance(x, np.ndarray):
            problem = unfit(x)
            if problem is not None:
                raise self.refuse(*problem)
            return self.made.lift(x) if self.made.has(x) or self._is_of_new_buffer(x) else self.capture(x)
        if x is None or x is Ellipsis or type(x) in (bool, int, float, complex, str, bytes):
            return self.constant(x), x
        if isinstance(x, (tuple, list)):
            pairs = [self.lift(i) for i in x]
            concrete = [c for _, c in pairs]
            index = self.emit("tuple" if isinstance(x, tuple) else "list", [i for i, _ in pairs], droppable=True, star=())
            return index, tuple.__new__(type(x), concrete) if isinstance(x, tuple) else concrete
        if isinstance(x, slice):
            pairs = [self.lift(i) for i in (x.start, x.stop, x.step)]
            return self.emit("slice", [i for i, _ in pairs], droppable=True), slice(*(c for _, c in pairs))
        x = getattr(x, "_tj_original", x)
        return self._lift_object(x), x

    def _lift_object(self, x: Any) -> int:
        if isinstance(x, np.generic):
            value = x.item()
            if type(value) not in (bool, int, float, complex):
                raise self.refuse(f"a NumPy scalar of class {type(x).__name__}")
            return self._call_op(self.name(f"numpy.{type(x).__name__}"), [self.constant(value)])
        if isinstance(x, np.dtype):
            return self._call_op(self.name("numpy.dtype"), [self.constant(x.str)])
        path = qualified_name(x)
        if path is not None:
            return self.name(path)
        if hasattr(type(x), "__tensorjit_function__") or isinstance(x, Enum):
            return self.captured_object(x)
        raise self.refuse(
            f"a {type(x).__name__} as an operand of a traced operation", "pass arrays, numbers, strings, tuples or lists"
        )

    def name(self, path: str) -> int:
        return self.emit("numpy", droppable=True, name=path)

    def _call_op(self, function: int, args: Sequence[int], keywords: Mapping[str, int] = MappingProxyType({})) -> int:
        return self.emit("call", (function, *args, *keywords.values()), keywords=tuple(keywords), star=())

    def call(
        self,
        callee: int,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        writes: bool = False,
    ) -> tuple[Any, int]:
        """A recorded call: its result in this run, and the number of it."""
        self.made.check_written((kwargs.get("out"), *(args[:1] if writes else ())))
        lifted = [self.lift(a) for a in args]
        named = {k: self.lift(v) for k, v in kwargs.items()}
        result = self.compute(function, *(c for _, c in lifted), **{k: c for k, (_, c) in named.items()})
        if kwargs.get("out") is None:
            self._not_itself(result, (*lifted, *named.values()))
        index = self._call_op(callee, [i for i, _ in lifted], {k: i for k, (i, _) in named.items()})
        if writes:
            self.note_write(lifted[0][1] if lifted else None)
        return result, index

    def _not_itself(self, result: Any, operands: Iterable[tuple[int, Any]]) -> None:
        """Refuse an array that is an operand, in this run, where code compares by identity: in another it may be a copy."""
        if self.identity.watched and isinstance(result, np.ndarray) and any(result is c for _, c in operands):
            raise self.refuse("a result that may be the very array it was made of, or a copy, where arrays are compared by `is`")

    # -- captured objects --------------------------------------------------------------------------------------

    def capture(self, array: np.ndarray[Any, Any], source: Source | None = None) -> tuple[int, Any]:
        """An array that the function did not get as an argument: one more input, read at each call."""
        if source is None:
            source = self._firsts[id(array)][1] if id(array) in self._firsts else self._source_of(array)
        if source.key not in self._copies:
            copy = self._given.get(id(array), array)
            if copy is array:
                copy = array.copy(order="K")
                copy.flags.writeable = array.flags.writeable
            self._copies[source.key] = (array, copy)
            self._firsts.setdefault(id(array), (array, source))
            self._roots.setdefault(id(copy), ("capture", self._number(source)))
        return self._emit_capture(source), self._copies[source.key][1]

    def _emit_capture(self, source: Source) -> int:
        return self.emit("capture", droppable=True, index=self._number(source))

    def captured_array(self, source: Source, value: Any) -> Any:
        """An array or NumPy scalar that the function reads from a known place."""
        if isinstance(value, np.ndarray) or self.identity.watched:
            source = self.captured_before(source, value)
        if source.key not in self._traced:
            index, concrete = self.capture(value, source) if isinstance(value, np.ndarray) else (self._emit_capture(source), value)
            self._traced[source.key] = self.identity.known(value, self.wrap(concrete, index))
        return self._traced[source.key]

    def captured_before(self, source: Source, value: Any) -> Source:
        """Where this run first read an object, and a guard that it is still the same; `source` itself where it is new.

        What earlier runs asked here is asked again, so that the runs part where the answer does."""
        asked = list(self._asked.get(source.key, ()))
        for same in asked:
            found = bool(same.read())
            self.captured(same, found)
            if found and same.container.key in self._known_firsts():
                return same.container  # type: ignore[no-any-return]
        before = [] if id(value) in self._firsts else list(self._firsts.values())
        first = self._firsts.setdefault(id(value), (value, source))[1]
        # an earlier run found an object of its own, and did not ask; where code compares by identity, it would have
        separate = not self.identity.watched and Source("what", source).key in self._earlier and not asked
        if first.key == source.key or separate:
            for other in self.identity.others(before, value):
                self.captured(Source("same", other, source), False)
            return source
        self.captured(Source("same", first, source), True)
        return first

    def same_array(self, a: int, b: int, found: bool) -> None:
        """A guard that two arrays are one object, or are not."""
        self.guard("truth", self.emit("compare", (a, b), op="is"), found)

    def captured_unread(self, source: Source, value: Any) -> None:
        """A guard that an array, which no trace takes, is still the same; what earlier runs asked here is asked again."""
        for same in list(self._asked.get(source.key, ())):
            found = bool(same.read())
            self.captured(same, found)
            if found:
                return
        self.captured(Source("same", Source("constant", value, "an array"), source), True)

    def knows(self, source: Source) -> bool:
        """Whether an earlier run, or this one, asked for the class of what is there."""
        return Source("what", source).key in self._numbers

    def _known_firsts(self) -> set[tuple[Any, ...]]:
        return {source.key for _, source in self._firsts.values()}

    def captured(self, source: Source, found: Any, kind: Any = "equal") -> None:
        """A guard on what a source reads, once."""
        if source.key not in self._guarded:
            self._guarded.add(source.key)
            if kind == "is":
                self._number(Source("constant", found, getattr(found, "__name__", "object")))
            self.guard(kind, self._emit_capture(source), found, quiet=source.is_of_function)

    def _number(self, source: Source) -> int:
        if source.key not in self._numbers:
            self._numbers[source.key] = len(self.captures)
            self.captures.append(source)
            self._note_asked(source)
        return self._numbers[source.key]

    def _note_asked(self, source: Source) -> None:
        if source.kind == "same":
            self._asked.setdefault(source.name.key, []).append(source)

    def constant_copy(self, array: np.ndarray[Any, Any]) -> int:
        """A constant, of which each call has a copy of its own."""
        constant = self._emit_capture(self._constant_array(array))
        return self._call_op(self.name("numpy.copy"), [constant], {"order": self.constant("K")})

    def _is_of_new_buffer(self, array: np.ndarray[Any, Any]) -> bool:
        """Whether an array that the trace has not met shows bytes or another buffer, as np.frombuffer makes them: it may be another
        one in each run."""
        if owner(array).base is None or id(array) in self._firsts:
            return False
        known = (source.find() for source in self.captures)
        if any(isinstance(k, np.ndarray) and _same_memory(k, array) for k in known):
            return False
        return find_source(array, user_frame()) is None

    def _source_of(self, array: np.ndarray[Any, Any]) -> Source:
        for source in self.captures:
            known = source.find()
            if isinstance(known, np.ndarray) and _same_memory(known, array):
                return source
        found = find_source(array, user_frame())
        if found is None:
            self.warn(
                "an array from outside of the function, out of something that the trace does not look into, is followed as the "
                "object that it is now: another one in its place is not seen",
                "keep it in a list, a dict, a tuple or an attribute, or pass it as an argument",
            )
            return Source("constant", array, "array")
        return found

    def _constant_array(self, array: np.ndarray[Any, Any], warn: bool = True) -> Source:
        """An array made in this run by what the trace does not see: a constant, unless nobody wants such."""
        if warn:
            self.warn(
                "an array that was made while tracing, by code that the trace does not see (np.random, a file, "
                "arithmetic on plain arrays), becomes a constant",
                "make it from the arguments, or before the trace",
            )
        for source in self.captures:
            if source.name == _CONSTANT and same_values(source.container, array):
                return source
        return Source("constant", array.copy(), _CONSTANT)

    def captured_object(self, x: Any) -> int:
        """A compiled function, a member of an enumeration, or another object that is known by identity."""
        name = f"{type(x).__name__}.{x.name}" if isinstance(x, Enum) else getattr(x, "__name__", "object")
        return self._emit_capture(Source("constant", x, name))

    def check_captures(self) -> None:
        """Warn where a captured array was changed by plain NumPy while the trace looked on."""
        for array, copy in self._copies.values():
            written = self._roots[id(copy)] in self._written
            if not written and not has_mark(array, self.mark) and not same_values(array, copy):
                self.warn(
                    "an array from outside of the function was changed by an operation without any traced value, "
                    "which is not recorded",
                    "pass the array as an argument",
                )

    @property
    def writes(self) -> bool:
        """Whether it writes into what is not its own."""
        return bool(self._written)

    # -- writes ------------------------------------------------------------------------------------------------

    def own(self, array: np.ndarray[Any, Any], concrete: np.ndarray[Any, Any], k: int) -> None:
        """An argument, which the function may read from outside too, and its copy."""
        self._given[id(array)] = concrete
        self._roots[id(owner(concrete))] = ("param", k)
        self._keep.append(concrete)

    def note_write(self, concrete: Any) -> None:
        if isinstance(concrete, np.ndarray):
            root = self._roots.get(id(owner(concrete)))
            if root is not None:
                self._written.add(root)

    # -- guards ------------------------------------------------------------------------------------------------

    def guard(self, kind: Any, index: int, found: Any, frame: FrameType | None = None, quiet: bool = False) -> None:
        self.items.append(Taken(Guard(kind, index, self.loc(frame), quiet), found))

    def taken(self, what: str, value: Any, hint: str = "") -> None:
        text = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        loc = self.loc()
        message = f"`{expression(loc)}` needs {what} while tracing: {text} was taken"
        self._say(message, "a call where it differs is traced again", hint)

    def changed(self, source: Source) -> None:
        """The function sets what is outside of it."""
        self.changes.setdefault(source.key, source)
        self.warn(
            f"`{source.shown}` is outside of the function, and is changed in the trace only: calls of the compiled function "
            "do not change it",
            "return the new value",
        )

    def warn(self, message: str, hint: str) -> None:
        self._say(message, "", hint)

    def _say(self, message: str, what_follows: str, hint: str) -> None:
        frame = user_frame()
        loc = self.loc(frame)
        if self.strict:
            raise UnsupportedError([Problem(f"{message} (strict=True)", loc, hint)])
        problem = Problem(f"{message}; {what_follows}" if what_follows else message, loc, hint)
        space = getattr(frame.f_globals, "original", frame.f_globals)
        registry = space.setdefault("__warningregistry__", {})
        module = str(frame.f_globals.get("__name__", "<unknown>"))
        warnings.warn_explicit(problem.render(), TracerWarning, loc.filename, loc.lineno, module, registry)

    def refuse(self, message: str, hint: str = "", loc: Loc | None = None) -> Exception:
        """The error for what a trace cannot do; it ends the trace, whoever catches it (NumPy makes other
        errors of it)."""
        error = RefusedError([Problem(f"{message}, which cannot be traced", loc or place(user_frame()), hint)])
        self.refusal = self.refusal or error
        return error

    def truth(self, x: Tracer) -> bool:
        self._no_store()
        index, concrete = self.lift(x)
        found = self.compute(bool, concrete)
        self.taken("a Python bool", found, "np.where records both ways; tensorjit.script keeps the branch")
        self.guard("truth", index, found)
        return bool(found)

    def number(self, x: Tracer, kind: Callable[[Any], Any]) -> Any:
        if kind is not operator.index:
            self._no_store()
        index, concrete = self.lift(x)
        found = self.compute(kind, concrete)
        if type(concrete) is not type(found):
            index = self._call_op(self.name(f"builtins.{type(found).__name__}"), [index])
        self.taken(f"a Python {type(found).__name__}", found, _NUMBER_HINTS[type(found)])
        if isinstance(found, complex):
            for part in ("real", "imag"):  # each may be NaN, or a zero with a sign
                self.guard("equal", self.emit("attr", (index,), droppable=True, name=part), getattr(found, part))
        else:
            self.guard("equal", index, found)
        return found

    def _no_store(self) -> None:
        """A plain array takes a number through __float__ and its like: a store that nothing else shows."""
        frame = user_frame()
        if dis.opname[frame.f_code.co_code[frame.f_lasti]] == "STORE_SUBSCR":
            hint = "make the array in the traced function, with np.zeros for example"
            raise self.refuse("a traced value is stored in a plain array", hint)

    def length(self, x: Tracer, use: str) -> int:
        index, concrete = self.lift(x)
        if not isinstance(concrete, np.ndarray) or not concrete.ndim:
            kind = type(concrete).__name__
            self.caught = self.loc()
            raise TypeError(f"object of type {kind!r} has no len()" if "length" in use else f"cannot loop over a {kind!r}")
        shape = self.emit("attr", (index,), droppable=True, name="shape")
        size = self.emit("subscript", (shape, self.constant(0)), droppable=True)
        self.taken(f"the length of a traced array ({use})", len(concrete), "work on the whole array; or use tensorjit.script")
        self.guard("equal", size, len(concrete))
        return len(concrete)

    # -- what shows the value, or the class -------------------------------------------------------------------

    def item(self, x: Tracer) -> Any:
        """The number or NumPy scalar of this run, with a guard."""
        index, concrete = self.lift(x)
        if isinstance(concrete, np.generic):
            self._fact(index, concrete, "dtype")
            self.number(x, type(concrete.item()))
        else:
            self.number(x, type(concrete))
        return concrete

    def text(self, x: Tracer, make: Callable[[Any], str]) -> str:
        """The text of a value. Whoever only looks on (a debugger, a log) records nothing."""
        concrete = x._tj_concrete
        if ACTIVE.get() is not self or _looks_on(user_frame()):
            return f"<traced {concrete!r}>"
        if not isinstance(concrete, np.ndarray):
            return make(self.item(x))
        self.warn(
            "the text of a traced array is that of this run: a call with other values is not traced again",
            "format it outside of the function, or its numbers one by one",
        )
        with paused():
            return make(concrete)

    def class_of(self, x: Tracer) -> type:
        """The class of a value, with a guard: what the types of the arguments decide."""
        concrete = x._tj_concrete
        if ACTIVE.get() is self and x._tj_index not in self._classed:
            self._classed.add(x._tj_index)
            found = self._call_op(self.name("builtins.type"), [x._tj_index])
            self.guard("is", found, type(concrete))
        return type(concrete)

    def foreign(self, op: str, x: Tracer, other: Any, reflected: bool = False) -> Any:
        """An operation with what is no operand of NumPy's."""
        concrete = x._tj_concrete
        if isinstance(concrete, np.ndarray):
            if op in ("==", "!=") and getattr(type(other), "__array_ufunc__", MISSING) is MISSING:
                hint = "write `is None`" if other is None else "compare with arrays or numbers"
                raise self.refuse(f"{op} of a traced array and a {type(other).__name__}", hint)
        elif isinstance(concrete, np.generic) and op in ("==", "!=") and type(other) in (type(None), str, bytes):
            return self.compute(COMPARE[op], concrete, other)  # known from the types
        elif isinstance(other, numbers.Number):  # Decimal, Fraction
            function = COMPARE[op] if op in COMPARE else BINARY[op][0]
            return function(other, self.item(x)) if reflected else function(self.item(x), other)
        return NotImplemented

    # -- operators ---------------------------------------------------------------------------------------------

    def binary(self, op: str, x: Any, y: Any) -> Any:
        (i, a), (j, b) = self.lift(x), self.lift(y)
        result = self.compute(BINARY[op][0], a, b)
        return self.wrap(result, self.emit("binary", (i, j), op=op))

    def inplace(self, op: str, x: Tracer, y: Any) -> Any:
        (i, a), (j, b) = self.lift(x), self.lift(y)
        result = self.compute(BINARY[op][1], a, b)
        index = self.emit("inplace", (i, j), op=op)
        if result is not a:
            return self.wrap(result, index)
        self.note_write(a)
        return x

    def unary(self, op: str, x: Tracer) -> Any:
        i, a = self.lift(x)
        return self.wrap(self.compute(UNARY[op], a), self.emit("unary", (i,), op=op))

    def compare(self, op: str, x: Any, y: Any) -> Any:
        (i, a), (j, b) = self.lift(x), self.lift(y)
        result = self.compute(COMPARE[op], a, b)
        return self.wrap(result, self.emit("compare", (i, j), op=op))

    def builtin(self, name: str, *args: Any) -> Any:
        """abs, round, divmod."""
        result, index = self.call(self.name(f"builtins.{name}"), getattr(builtins, name), args, {})
        return self.wrap(result, index)

    def subscript(self, x: Tracer, key: Any) -> Any:
        (i, a), (k, c) = self.lift(x), self.lift(key)
        result = self.compute(operator.getitem, a, c)
        index = self.emit("subscript", (i, k))
        if isinstance(result, np.ndarray):
            self._views[index] = (i, _key(key))
        return self.wrap(result, index)

    def set_subscript(self, x: Tracer, key: Any, value: Any) -> None:
        (i, a), (k, c), (v, e) = self.lift(x), self.lift(key), self.lift(value)
        if self._views.get(v) == (i, _key(key)) and _same_memory(e, a[c]):
            return  # the end of x[key] += y: the view was changed where it is
        self.compute(operator.setitem, a, c, e)
        self.emit("set_subscript", (i, k, v), result=False)
        self.note_write(a)

    # -- attributes and methods --------------------------------------------------------------------------------

    def attribute(self, x: Tracer, name: str) -> Any:
        if name.startswith("__"):  # NumPy and Python probe for protocols
            raise AttributeError(name)
        index, concrete = self.lift(x)
        found = getattr(concrete, name)  # raises what NumPy raises
        if name == "shape":
            return self._shape(index, concrete)
        if name in ("ndim", "dtype", "itemsize"):
            return self._fact(index, concrete, name)
        if name in ("size", "nbytes"):
            return self.wrap(int(found), self.emit("attr", (index,), droppable=True, name=name))
        if name in RECORDED_ATTRIBUTES:
            return self.wrap(found, self.emit("attr", (index,), droppable=True, name=name))
        if name in NUMBERS_ATTRIBUTES:
            return getattr(self.item(x), name)
        if not callable(found) or name in NO_ATTRIBUTES or name in NO_METHODS:
            raise self.refuse(f"the attribute {name!r} of a traced value")
        return lambda *args, **kwargs: self.method(x, name, args, kwargs)

    def _shape(self, index: int, concrete: Any) -> tuple[Any, ...]:
        shape = concrete.shape
        self._fact(index, concrete, "ndim")
        number = self.emit("attr", (index,), droppable=True, name="shape")
        return tuple(
            SymbolicInt(self, self.emit("subscript", (number, self.constant(k)), droppable=True), n) for k, n in enumerate(shape)
        )

    def _fact(self, index: int, concrete: Any, name: str) -> Any:
        """What the types of the arguments decide: known while compiling, so that its guard costs nothing and
        warns of nothing."""
        what = "dtype" if name == "itemsize" else name
        self.guard("equal", self.emit("attr", (index,), droppable=True, name=what), getattr(concrete, what))
        return getattr(concrete, name)

    def method(self, x: Tracer, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        index, concrete = self.lift(x)
        attr = self.emit("attr", (index,), droppable=True, name=name)
        out = kwargs.get("out")
        result, number = self.call(attr, getattr(concrete, name), args, kwargs)
        self._not_itself(result, [(index, concrete)])
        if name in WRITING_METHODS:
            self.note_write(concrete)
        return self._returned(out, result, number)

    def _returned(self, out: Any, result: Any, number: int) -> Any:
        if out is None:
            return self.wrap(result, number)
        self.note_write(self.lift(out)[1])
        return out

    # -- NumPy's protocols -------------------------------------------------------------------------------------

    def ufunc(self, function: np.ufunc, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = kwargs.pop("out", (None,))
        if len(out) == 1 and out[0] is not None:
            kwargs["out"] = out[0]
        elif any(o is not None for o in out):
            raise self.refuse(f"{function.__name__} with several outputs given", "leave out= away")
        path = qualified_name(function)
        if path is None:
            raise self.refuse(f"the ufunc {function.__name__!r}, which is not NumPy's own", "call it outside of the traced function")
        called = function if method == "__call__" else getattr(function, method)
        callee = self.name(path if method == "__call__" else f"{path}.{method}")
        result, number = self.call(callee, called, args, kwargs, writes=method == "at")
        return self._returned(kwargs.get("out"), result, number)

    def function(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        special = _SPECIAL.get(function)
        if special is not None and not kwargs and len(args) == 1 and isinstance(args[0], Tracer):
            return special(args[0])
        path = qualified_name(function)
        if path is None:
            name = getattr(function, "__name__", function)
            raise self.refuse(f"{name!r}, which is not NumPy's own", "call it outside of the traced function")
        out = kwargs.get("out")
        writes = function.__name__ in WRITING_FUNCTIONS
        result, number = self.call(self.name(path), function, args, kwargs, writes=writes)
        if function in _FACTS:
            return self._fact_of_types(args, result)
        return self._returned(out[0] if isinstance(out, tuple) and len(out) == 1 else out, result, number)

    def _fact_of_types(self, args: Sequence[Any], result: Any) -> Any:
        for a in args:
            if isinstance(a, Tracer) and isinstance(a._tj_concrete, (np.ndarray, np.generic)):
                self._fact(a._tj_index, a._tj_concrete, "dtype")
        return result

    def creation(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call of np.zeros and its like, with traced sizes or without: fresh memory at each call."""
        if name in ("array", "asarray") and args and isinstance(args[0], (list, tuple)):
            data = args[0]
            if _size(data) > MAX_LISTED and not any(isinstance(i, (Tracer, np.ndarray)) for i in _flat(data)):
                with paused():
                    kept = np.array(data)
                index = self._emit_capture(self._constant_array(kept, warn=False))
                lifted = ArrayTracer(self, index, kept)
                return self.creation("array", function, (lifted, *args[1:]), kwargs)
        plain = name in ("asarray", "asanyarray") and len(args) == 1 and not kwargs
        if plain and self.identity.watched and isinstance(args[0], Tracer) and isinstance(args[0]._tj_concrete, np.ndarray):
            return args[0]
        result, number = self.call(self.name(f"numpy.{name}"), function, args, kwargs)
        if plain and isinstance(args[0], Tracer) and result is args[0]._tj_concrete:
            return args[0]  # as it does for every array; with a dtype or an order it depends
        return self.wrap(result, number)

    # -- compiled functions ------------------------------------------------------------------------------------

    def compiled(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A call of a compiled function: recorded as such, with its control flow. Its plain Python function
        gives this run's values; a traced one its own call, which records the path it takes."""
        plain = type(function).__tensorjit_function__(function)
        if not callable(plain):  # a traced function: it records the path that this call takes, if that is new
            plain = function
        callee = self.captured_object(function)
        lifted = [self.lift(a) for a in args]
        named = {k: self.lift(v) for k, v in kwargs.items()}
        result = self.compute(plain, *(c for _, c in lifted), **{k: c for k, (_, c) in named.items()})
        index = self._call_op(callee, [i for i, _ in lifted], {k: i for k, (i, _) in named.items()})
        for _, c in (*lifted, *named.values()):
            self.note_write(c)  # it may write what it is given
        return self.wrap(result, index)


@final
class RefusedError(UnsupportedError, TypeError):
    """What a trace cannot do; a TypeError too, as from any object that does not convert."""


_CONSTANT = "constant array"
_ONLOOKERS: Final = frozenset({"bdb", "pdb", "code", "logging", "traceback", "IPython", "_pytest", "pytest", "debugpy", "pydevd"})
_NUMBER_HINTS: Final[Mapping[type, str]] = MappingProxyType(
    {
        int: "sizes stay general in arithmetic, reshape, np.zeros and slices; tensorjit.script keeps loops",
        float: "use NumPy's function instead of math's, or x.astype(...)",
        complex: "use x.astype(...)",
        bool: "",
    }
)
_SPECIAL: Final[Mapping[Any, Callable[[Any], Any]]] = MappingProxyType(
    {np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim, np.size: lambda x: x.size}
)
_FACTS: Final = frozenset({np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj, np.min_scalar_type})


def _looks_on(frame: FrameType) -> bool:
    """Whether code is a debugger's, a log's or a test runner's."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _ONLOOKERS


def _same_memory(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a is b or (
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and (a.shape, a.strides, a.dtype) == (b.shape, b.strides, b.dtype)
        and a.size > 0
        and owner(a) is owner(b)
    )


def _key(key: Any) -> Any:
    """What tells one key from another."""
    if isinstance(key, Tracer):
        return ("traced", key._tj_index)
    if isinstance(key, (tuple, list)):
        return (type(key), *map(_key, key))
    if isinstance(key, slice):
        return (slice, _key(key.start), _key(key.stop), _key(key.step))
    return identity(key)


def _flat(data: Any) -> Iterator[Any]:
    for item in data:
        if isinstance(item, (list, tuple)):
            yield from _flat(item)
        else:
            yield item


def _size(data: Any) -> int:
    return sum(1 for _ in _flat(data))


def qualified_name(x: Any) -> str | None:
    """The path by which a function or class of NumPy, a builtin or a function of math is found.

    >>> qualified_name(np.linalg.norm), qualified_name(np.float32), qualified_name(len)
    ('numpy.linalg.norm', 'numpy.float32', 'builtins.len')
    """
    x = getattr(x, "_tj_original", x)
    name: str = getattr(x, "__name__", "")
    module = "numpy"
    if not isinstance(x, np.ufunc):
        module, name = getattr(x, "__module__", None) or "", getattr(x, "__qualname__", None) or name
    if not isinstance(module, str) or module.split(".")[0] not in ("numpy", "builtins", "math") or not name:
        return None
    root = {"numpy": np, "builtins": builtins}.get(module.split(".")[0])
    found: Any = root if root is not None else __import__("math")
    for part in (*module.split(".")[1:], *name.split(".")):
        found = getattr(found, part, None)
    return f"{module}.{name}" if getattr(found, "_tj_original", found) is x else None
