"""The state of one specialisation: where names come from, what was guarded, what was refused."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import field
from types import CellType, CodeType, FunctionType
from typing import Any, Final, Literal, final

import numpy as np

from tensorjit.errors import Loc, Problem, UnsupportedError
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.signature import ArraySig, ScalarSig, of_value, same_static
from tensorjit.ir.types import ArrayType
from tensorjit.ops.abstract import Abstract, Sequence_, Static, is_constant, of
from tensorjit.ops.opdef import OpDef
from tensorjit.ops.typed import Refusal, TypedBuilder
from tensorjit.passes.specialise.join import Template
from tensorjit.passes.specialise.lengths import KnownLengths
from tensorjit.passes.specialise.versions import Exits
from tensorjit.records import dataclass

SourceKind = Literal[
    "global", "cell", "constant", "attribute", "of function", "list item", "tuple item", "dict item", "what", "length", "keys", "has",
    "same",
]  # fmt: skip


@final
class _Missing:
    """What is found where nothing is."""

    def __repr__(self) -> str:
        return "missing"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@final
@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where a captured object is read at each call.

    ============  ====================================  ==============================================
    kind          container, name                       what is read
    ============  ====================================  ==============================================
    global        a dict, a name                        what the name means there, or among the builtins
    cell          a closure's cell                      its content
    constant      any object, what to call it           the object
    attribute     a source, a name                      that attribute; it runs no code but GetAttr's
    of function   a source of a function, a name        its `__code__`, `__defaults__` or `__kwdefaults__`
    ... item      a source, an index or a key           that item of a list, tuple or dict
    what          a source                              a number, string or dtype that it reads, of all else the class
    length        a source of a list, tuple or dict     its length
    keys          a source of a dict                    a tuple of its keys; one object for equal ones
    has           a source                              whether there is anything to be read
    same          a source, another one                 whether both read the same object
    ============  ====================================  ==============================================
    """

    kind: SourceKind
    container: Any
    name: Any = ""

    def read(self) -> Any:
        """The object now; an exception of its kind (KeyError, AttributeError, ...) where it is gone."""
        return _READ[self.kind](self)

    def find(self) -> Any:
        """The object now, or MISSING."""
        try:
            return self.read()
        except (LookupError, AttributeError, ValueError, TypeError):
            return MISSING

    @property
    def key(self) -> tuple[Any, ...]:
        """What is the same for sources that always read the same."""
        owner = self.container.key if isinstance(self.container, Source) else id(self.container)
        if self.kind in ("cell", "constant"):
            return (self.kind, owner)
        return (self.kind, owner, self.name.key if isinstance(self.name, Source) else self.name)

    @property
    def is_of_function(self) -> bool:
        """Whether it is a part of a function, or found in one."""
        return self.kind == "of function" or (isinstance(self.container, Source) and self.container.is_of_function)

    @property
    def shown(self) -> str:
        """As the user would write it.

        >>> me = Source("constant", object(), "self")
        >>> Source("length", Source("dict item", Source("attribute", me, "params"), "w")).shown
        "len(self.params['w'])"
        """
        owner = self.container.shown if isinstance(self.container, Source) else ""
        name = self.name.shown if isinstance(self.name, Source) else self.name
        return _SHOWN[self.kind].format(owner=owner, name=name)


_SHOWN: Final = {
    "global": "{name}",
    "cell": "{name}",
    "constant": "{name}",
    "attribute": "{owner}.{name}",
    "of function": "{owner}.{name}",
    "list item": "{owner}[{name!r}]",
    "tuple item": "{owner}[{name!r}]",
    "dict item": "{owner}[{name!r}]",
    "what": "what({owner})",
    "length": "len({owner})",
    "keys": "list({owner})",
    "has": "presence of {owner}",
    "same": "{name} is {owner}",
}


def _read_global(source: Source) -> Any:
    if source.name in source.container:
        return source.container[source.name]
    return vars(builtins)[source.name]


def _read_item(source: Source) -> Any:
    owner = source.container.read()
    if type(owner) is not _OWNERS[source.kind]:
        raise TypeError(f"{source.container.shown} is a {type(owner).__name__}")
    return owner[source.name]


def _read_what(source: Source) -> Any:
    found = source.container.find()
    return _known(found) if found is MISSING or is_plain(found) else type(found)


def _read_keys(source: Source) -> Any:
    return _known(tuple(source.container.read()))


def canonical(value: Any) -> Any:
    """One object for all equal numbers, strings and tuples of the same types, so that `is` tells (1, 0.0) from (True, -0.0).
    A guard expects it; what is read is it, if any guard expects that.

    >>> canonical(float("1.5")) is canonical(float("1.5")), canonical(1) is canonical(True)
    (True, False)
    """
    return _canonical.setdefault(_shape(value), value)


def _known(value: Any) -> Any:
    return _canonical.get(_shape(value), value)


def _shape(value: Any) -> Any:
    return tuple(map(_shape, value)) if isinstance(value, tuple) else (type(value), repr(value))


def is_plain(value: Any) -> bool:
    """Whether a value is told by its type and what it prints, not by who it is."""
    return type(value) in PLAIN or isinstance(value, np.dtype)


PLAIN: Final = (bool, int, float, complex, str, bytes, type(None))
_canonical: dict[Any, Any] = {}
_OWNERS: Final[Mapping[str, Any]] = {"list item": list, "tuple item": tuple, "dict item": dict}
_READ: Final[Mapping[str, Callable[[Source], Any]]] = {
    "global": _read_global,
    "cell": lambda source: source.container.cell_contents,
    "constant": lambda source: source.container,
    "attribute": lambda source: getattr(source.container.read(), source.name),
    "of function": lambda source: getattr(source.container.read(), source.name),
    **dict.fromkeys(_OWNERS, _read_item),
    "what": _read_what,
    "length": lambda source: len(source.container.read()),
    "keys": _read_keys,
    "has": lambda source: source.container.find() is not MISSING,
    "same": lambda source: source.container.find() is source.name.find(),
}


@final
@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A captured object that must still be this one."""

    source: Source
    expected: Any

    def holds(self) -> bool:
        """Whether it is."""
        return same_static(self.source.find(), self.expected)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Implicit:
    """A captured array, or NumPy scalar of a trace: one more argument, read at each call."""

    source: Source
    signature: ArraySig | ScalarSig
    value: Value


@final
@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """The names that a function sees beside its own: captured values of a nested function, cells, globals."""

    function: str
    globals: dict[str, Any]
    builtins: Mapping[str, Any] = field(default_factory=lambda: vars(builtins))
    cells: Mapping[str, CellType] = field(default_factory=dict)
    captures: Mapping[str, Abstract] = field(default_factory=dict)
    arrays: tuple[Source, ...] = ()  # captured by a trace
    owner: Any = None  # the plain function whose names they are
    code: CodeType | None = None  # its code then

    @staticmethod
    def of(function: FunctionType) -> Names:
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        known: Any = function  # typeshed has no __builtins__
        return Names(function.__qualname__, function.__globals__, known.__builtins__, cells, owner=function, code=function.__code__)


@final
@dataclass(slots=True, eq=False)
class LoopState:
    """A loop under construction: its carried templates, and what its turns hand on."""

    carried: tuple[Template, ...]
    mark: int
    turns: list[tuple[Abstract, ...]] = field(default_factory=list)
    breaks: list[tuple[Abstract, ...]] = field(default_factory=list)
    exits: Exits | None = None  # into other versions of the loop
    index: Abstract = Static(0)


@final
@dataclass(slots=True, eq=False)
class ScopeState:
    """An inlined call whose returns leave from inside loops."""

    result: Template | None
    mark: int
    returns: list[Abstract] = field(default_factory=list)


@final
@dataclass(slots=True, eq=False)
class Frame:
    """One run of a generic graph: its values so far, and what encloses the block at hand.

    `loop` is the innermost loop of the typed graph that was opened by this frame (None: an unrolled turn or no loop);
    `inline` says that `return` hands a value to a caller; `scope` is set where that return leaves from inside a loop.
    """

    names: Names
    env: dict[Value, Abstract]
    inline: bool = False
    loop: LoopState | None = None
    scope: ScopeState | None = None
    in_loop: bool = False
    depth: int = 0

    def fork(self, **changes: Any) -> Frame:
        """The same place with its own values, for a path that runs apart."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return Frame(**{**fields, "env": dict(self.env), **changes})


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of ops ends: it falls through with what it yields, jumps with values, or has ended (its terminator is built)."""

    kind: Literal["fell", "returned", "continued", "broke", "ended"]
    values: tuple[Abstract, ...] = ()


ENDED = Outcome("ended")


class NeedScope(Exception):
    """An inlined function returns from inside a loop: it must be run again within a scope op."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """What the specialiser knows of NumPy: the op table and how to find rows in it."""

    table: Mapping[str, OpDef]
    find: Callable[[object], OpDef | None]
    methods: Mapping[str, str]
    attributes: Mapping[str, Callable[[TypedBuilder, Abstract], Abstract]]


class Specialiser:
    """Everything that one specialisation shares; the work is in the modules beside this one."""

    def __init__(
        self, library: Library, parse: Callable[[FunctionType], Graph], handlers: Mapping[str, Handler], flow: Mapping[str, Flow]
    ) -> None:
        self.table = library.table
        self.find = library.find
        self.methods = library.methods
        self.attributes = library.attributes
        self.parse = parse
        self.handlers = handlers  # of ops that give values or have effects
        self.flow = flow  # of ops whose paths may go on apart
        self.b = TypedBuilder(library.table)
        self.problems: list[Problem] = []
        self.needs_static = False
        self.guards: dict[tuple[Any, ...], Guard] = {}
        self.implicit: dict[tuple[Any, ...], Implicit] = {}
        self.splits = 0
        self.steps = 0
        self.versions = 0
        self.in_condition = False  # of a while: its block must end in a yield
        self.params: dict[Value, int] = {}  # the leaves of the arguments, then the captured arrays
        self.records: dict[Abstract, type] = {}  # namedtuples among the arguments
        self.lists: set[Abstract] = set()  # lists from outside: objects of the caller
        self.containers: dict[tuple[Any, ...], Abstract] = {}  # captured lists and tuples, by their places
        self.leaves = 0
        self.lengths = KnownLengths()
        self.stack: list[tuple[object, Loc | None]] = []  # functions being inlined, and where they are called
        self.entered: list[Block] = []  # bodies that were not looked at yet for what is used once
        self.once: set[Value] = set()  # values of the generic graphs that nothing uses twice

    def problem(self, refusal: Refusal) -> None:
        """Note a refusal; the same one at the same place once."""
        self.needs_static = self.needs_static or refusal.needs_static
        problem = self._in_users_code(refusal.problem)
        key = (problem.loc, problem.message)
        if all((p.loc, p.message) != key for p in self.problems):
            self.problems.append(problem)

    def _in_users_code(self, problem: Problem) -> Problem:
        """A problem inside a function of NumPy's own, told where the user calls that function."""
        for function, loc in reversed(self.stack):
            own = getattr(function, "__module__", None) == _HELPERS
            if not own and not is_of_numpy(function):
                break
            name = getattr(function, "__name__", "a function")
            shown, hint = (f"Python's {name[:-1]}", f"use np.{name[:-1]}") if own else (f"np.{name}", OUTSIDE)
            problem = Problem(f"{shown} is not compiled for these arguments", loc, hint)
        return problem

    def spend(self, steps: int = 1) -> None:
        """Count what is built, anew too: a program that would be compiled for ever is refused."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            text = "this function is too large to compile: what it calls, its unrolled loops and its types that differ multiply"
            raise UnsupportedError([Problem(text, self.b.loc, TOO_LARGE)])

    def forget(self, problems: int, splits: int) -> None:
        """Go back to so many problems and paths: what was built since is built anew."""
        del self.problems[problems:]
        self.splits = splits

    def captured(self, source: Source, value: Any, named: str = "") -> Abstract:
        """A captured object: an array becomes an implicit argument, a list, and a tuple that is no constant, its items; anything
        else a guard."""
        from_key = source.key
        if isinstance(value, np.ndarray):
            if from_key not in self.implicit:
                self.implicit[from_key] = self._implicit(source, value, named or _identifier(source))
            return self.implicit[from_key].value
        if type(value) is list or (type(value) is tuple and not is_constant(value)):
            if from_key not in self.containers:
                self.containers[from_key] = self._items(source, value, named or source.shown)
            return self.containers[from_key]
        if isinstance(value, (list, dict, set, bytearray)) and not named:
            self.b.refuse(
                f"{source.name!r} is a captured {type(value).__name__}, which may change between calls",
                "pass its items as arguments of their own",
            )
        if type(value) is tuple and count_leaves(value) > MAX_CONSTANTS:
            hint = "make an array of it: np.array(...)"
            self.b.refuse(f"{named or source.shown!r} is a captured tuple of more than {MAX_CONSTANTS} constants", hint)
        self.guards.setdefault(from_key, Guard(source, value))
        return of(value)

    def _items(self, source: Source, value: Any, named: str) -> Abstract:
        """A captured list or tuple, each item read by its place."""
        kind: Any = type(value)
        if count_leaves(value) > MAX_CAPTURED_ITEMS:
            hint = "pass it as an argument, or make it an array"
            self.b.refuse(f"{named!r} is a captured {kind.__name__} of more than {MAX_CAPTURED_ITEMS} items that may change", hint)
        for place, expected in ((Source("what", source), kind), (Source("length", source), len(value))):
            self.guards.setdefault(place.key, Guard(place, expected))
        items: list[Abstract] = []
        for k, item in enumerate(value):
            place = Source("list item" if kind is list else "tuple item", source, k)
            items.append(self.captured(place, item, f"{named}[{k}]"))
        made = Sequence_(tuple(items), kind is list)
        if kind is list:
            self.lists.add(made)
        return made

    def default(self, place: Source, named: str) -> Abstract:
        """What a parameter is that a call leaves to its default."""
        if place.kind == "tuple item":  # which one depends on how many there are
            count = Source("length", place.container)
            self.guards.setdefault(count.key, Guard(count, count.read()))
        return self.captured(place, place.read(), named)

    def unchanged(self, function: FunctionType, code: CodeType | None) -> None:
        """What is compiled is this code, as long as the function has it."""
        place = Source("of function", Source("constant", function, function.__name__), "__code__")
        self.guards.setdefault(place.key, Guard(place, code))

    def uncallable(self, function: FunctionType) -> None:
        """A call does not fit a function, as long as the same parameters have defaults."""
        me = Source("constant", function, function.__name__)
        given, named = Source("of function", me, "__defaults__"), Source("of function", me, "__kwdefaults__")
        self.guards.setdefault(given.key, Guard(given, function.__defaults__))
        if function.__kwdefaults__ is None:
            self.guards.setdefault(named.key, Guard(named, None))
        else:
            keys = Source("keys", named)
            self.guards.setdefault(keys.key, Guard(keys, canonical(tuple(function.__kwdefaults__))))

    def absent(self, source: Source) -> None:
        """A name that means nothing: as long as it does."""
        self.guards.setdefault(source.key, Guard(source, MISSING))

    def read(self, source: Source) -> Abstract:
        """What a trace captured: it has guards of its own on what it made of that, so that anything will do here."""
        value = source.find()
        if type(value) is np.ndarray:
            return self.captured(source, value)
        sig = of_value(value) if isinstance(value, np.generic) else None
        if isinstance(sig, ScalarSig):
            if source.key not in self.implicit:
                self.implicit[source.key] = Implicit(source, sig, self._param(Value(sig.type, _identifier(source))))
            return self.implicit[source.key].value
        self.guards.setdefault(source.key, Guard(source, value))
        return Static(value)

    def _implicit(self, source: Source, value: np.ndarray[Any, Any], named: str) -> Implicit:
        """A captured array as one more parameter."""
        try:
            sig = of_value(value)
        except TypeError as error:
            self.b.refuse(f"{named} is {error}")
        assert isinstance(sig, ArraySig)
        index = self.leaves + len(self.implicit)
        shape = self.lengths.assume(index, value.shape, named)
        param = Value(ArrayType(sig.dtype, shape, sig.layout, sig.access), named)
        return Implicit(source, sig, self._param(param))

    def _param(self, param: Value) -> Value:
        self.params[param] = self.leaves + len(self.implicit)
        self.b.arguments.add(param)
        return param

    def attribute(self, x: Abstract, name: str) -> Abstract | None:
        """An attribute of an array or a number that is a value (`x.shape`); None for a method."""
        row = self.attributes.get(name)
        return None if row is None else row(self.b, x)


MAX_CAPTURED_ITEMS: Final = 64  # each is looked at in every call


def count_leaves(value: Any) -> int:
    """How many items a captured list or tuple has, those of its items included; beyond the most that are read, some number above."""
    if type(value) not in (tuple, list) or len(value) > MAX_CAPTURED_ITEMS:
        return 1 if type(value) not in (tuple, list) else len(value)
    total = 0
    for item in value:
        total += count_leaves(item)
        if total > MAX_CAPTURED_ITEMS:
            break
    return total


def is_of_numpy(function: object) -> bool:
    """Whether a plain function is NumPy's: its source is nothing that the user wrote."""
    return (getattr(function, "__module__", None) or "").split(".")[0] == "numpy"


MAX_CONSTANTS: Final = 2048  # of a captured tuple: each call looks at all of them
MAX_STEPS: Final = 1_000_000
CALL: Final = 50  # steps that an inlined call counts for
TOO_LARGE: Final = "call a helper once and keep its result; loop over arrays; give a variable one type"
_HELPERS: Final = "tensorjit.passes.specialise.in_python"
OUTSIDE: Final = "call it outside; docs/ops.md lists what is compiled"


def _identifier(source: Source) -> str:
    """A name for a captured array."""
    while not (isinstance(source.name, str) and source.name.isidentifier()):
        if not isinstance(source.container, Source):
            return "captured"
        source = source.container
    return source.name


Handler = Callable[[Specialiser, Frame, Any, list[Abstract]], Abstract | tuple[Abstract, ...]]
Rest = Callable[[Outcome, Frame], Outcome]  # what comes after, to the end of the program: its outcome is ENDED
Runner = Callable[[Frame, Rest], Outcome]
Flow = Callable[[Specialiser, Op, Frame, Rest], Outcome]
