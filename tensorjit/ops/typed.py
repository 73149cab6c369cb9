"""Builds typed ops: what the rules of the op table are written in.

A rule gets a :class:`TypedBuilder` and abstract values, and returns an abstract value. What NumPy checks when it runs is
either known here, or becomes a `check` op that raises the same exception class with the same message.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn, final

import numpy as np

from tensorjit.errors import Loc, Problem
from tensorjit.ir import dims
from tensorjit.ir.dims import Dim, DimExpr
from tensorjit.ir.dtypes import BOOL, F64, I64, U64, DType, from_numpy
from tensorjit.ir.graph import Builder, Op, Value
from tensorjit.ir.kernel import Ref
from tensorjit.ir.types import PY_BOOL, PY_COMPLEX, PY_FLOAT, PY_INT, Access, ArrayType, Layout, ScalarType, Type
from tensorjit.ops.abstract import Abstract, Sequence_, Static, SymInt, is_numpy_scalar, is_static, of, static_value
from tensorjit.ops.opdef import Loop, OpDef
from tensorjit.ops.words import describe, plain_number
from tensorjit.records import dataclass

_WEAK: Mapping[str, type] = {"i": int, "f": float, "c": complex}
_PY_TYPES: Mapping[type, ScalarType] = {bool: PY_BOOL, int: PY_INT, float: PY_FLOAT, complex: PY_COMPLEX}


_TOO_BIG = "array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size."
CASTING_RULES = ("no", "equiv", "safe", "same_kind", "unsafe")
MAX_RANK = 64
_COMPARISONS = frozenset({"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"})


def _where_fits() -> bool:
    try:
        np.where(True, np.int8(0), 300)
    except OverflowError:
        return True
    return False


_WHERE_FITS = _where_fits()  # since NumPy 2.5 a Python int must fit; before, it wraps


class Refusal(Exception):
    """A construct that cannot be typed; the specialiser collects these as problems."""

    def __init__(self, problem: Problem, needs_static: bool = False) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.needs_static = needs_static  # the value would do if it were known while compiling


@final
@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A place in the program and what is known there."""

    ops: tuple[Op, ...]
    equal: dict[str, Dim]
    upper: dict[str, Dim]
    sizes: dict[Value, DimExpr]
    natural: tuple[Dim, ...]
    fitting: frozenset[tuple[Dim, Dim]]


class TypedBuilder:
    """Appends typed ops to the current block; see the module's docstring."""

    def __init__(self, table: Mapping[str, OpDef], builder: Builder | None = None) -> None:
        self.table = table
        self.builder = builder or Builder()
        self.equal: dict[str, Dim] = {}
        self.upper: dict[str, Dim] = {}
        self.natural: tuple[Dim, ...] = ()  # sums of sizes that were checked not to be negative
        self.fitting: frozenset[tuple[Dim, Dim]] = frozenset()  # (size, one that was checked to be that or 1)
        self.flags: dict[Value, Value] = {}  # beside each array of access "either", an int: 1 where it can be written
        self.sizes: dict[Value, DimExpr] = {}  # Python ints that stand for sizes
        self.arguments: set[Value] = set()  # arrays that are objects of the caller: the params of the graph
        self.choices = False  # whether numbers of different types join, to one whose type depends on the path
        self.birth: dict[str, int] = {}  # the order in which symbols were made
        self.output: tuple[tuple[Dim, ...], ...] = ()  # the shape of the `out=` of the ufunc at hand
        self.dead: Builder | None = None  # the block in which nothing more is reached
        self._alive = 0  # how many of its ops are
        self._count = 0

    # -- places ------------------------------------------------------------------------------------------------

    @property
    def loc(self) -> Loc | None:
        return self.builder.loc

    def refuse(self, message: str, hint: str = "") -> NoReturn:
        """Refuse the construct at the current source location."""
        raise Refusal(Problem(message, self.loc, hint))

    @contextmanager
    def block(self, params: Sequence[Value] = ()) -> Iterator[Builder]:
        """Build into a new block; what is learned of sizes inside is forgotten after it."""
        outer, equal, upper, sizes = self.builder, self.equal, self.upper, self.sizes
        natural, fitting = self.natural, self.fitting
        self.builder = Builder(params)
        self.builder.loc = outer.loc
        self.equal, self.upper, self.sizes = dict(equal), dict(upper), dict(sizes)  # a bind in here is not seen after it
        try:
            yield self.builder
        finally:
            self.builder, self.equal, self.upper, self.sizes = outer, equal, upper, sizes
            self.natural, self.fitting = natural, fitting

    def mark(self) -> Mark:
        """This place in the program, to go back to."""
        return Mark(tuple(self.builder.ops), dict(self.equal), dict(self.upper), dict(self.sizes), self.natural, self.fitting)

    def go_back(self, mark: Mark) -> None:
        """Forget what was built in this block since the mark."""
        self.builder.ops[:] = mark.ops
        self.equal, self.upper, self.sizes, self.dead = dict(mark.equal), dict(mark.upper), dict(mark.sizes), None
        self.natural, self.fitting = mark.natural, mark.fitting

    def add(self, name: str, operands: Sequence[Value], type: Type, **attrs: Any) -> Value:
        """Append an op with one result."""
        if isinstance(type, ArrayType) and type.rank > MAX_RANK:
            self.refuse(f"an array of {type.rank} dimensions: NumPy has {MAX_RANK} at most")
        return self.builder.add(name, operands, type, attrs)

    def effect(self, name: str, operands: Sequence[Value] = (), **attrs: Any) -> None:
        """Append an op without results."""
        self.builder.add_multi(name, operands, (), attrs)

    # -- sizes -------------------------------------------------------------------------------------------------

    def symbol(self, prefix: str, low: int = 0, not_one: bool = False) -> DimExpr:
        """A new symbol."""
        self._count += 1
        name = f"{prefix}{self._count}"
        self.birth[name] = self._count
        return dims.symbol(name, low, not_one)

    @property
    def now(self) -> int:
        """A mark: symbols made later have a greater birth."""
        return self._count

    def canon(self, dim: Dim) -> Dim:
        """A dim rewritten by the equalities known here."""
        return dims.substitute(dim, self.equal) if self.equal else dim

    def same(self, a: Dim, b: Dim) -> bool:
        """Whether two sizes are known to be equal."""
        return a == b or self.canon(a) == self.canon(b)

    def at_least(self, a: Dim, b: Dim) -> bool:
        """Whether a >= b is known, from the bounds of symbols (a loop's index is below its stop) and earlier checks."""
        difference = self.canon(a - b)
        for _ in range(4):
            if any(dims.bounds(difference - self.canon(known))[0] >= 0 for known in (0, *self.natural)):
                return True
            if isinstance(difference, int):
                return False
            for monomial, factor in difference.terms:
                atom = monomial[0] if len(monomial) == 1 else None
                if isinstance(atom, dims.Symbol) and factor < 0 and atom.name in self.upper:
                    difference = self.canon(dims.substitute(difference, {atom.name: self.upper[atom.name]}))
                    break
            else:
                return False
        return False

    def check(self, relation: str, a: Dim, b: Dim, exception: str, message: str, args: Sequence[Dim] = ()) -> None:
        """Raise `exception` at run time unless `a relation b` (eq, ge, gt); nothing where it is known to hold.

        `message` is a format string over `args`, sizes.
        """
        difference = self.canon(a - b)
        if isinstance(difference, int):
            if not {"eq": difference == 0, "ge": difference >= 0, "gt": difference > 0}[relation]:
                self.fail(exception, message, args)
            return
        elif relation != "eq" and self.at_least(a, b if relation == "ge" else b + 1):
            return
        self.effect(
            "check",
            (),
            relation=relation,
            left=a,
            right=b,
            exception=exception,
            message=message,
            args=tuple(args),
        )
        if relation == "eq":
            self._learn(self.canon(a), self.canon(b))
        elif dims.bounds(least := a - b if relation == "ge" else a - b - 1)[1] >= 0:  # else it always fails, and says nothing
            self.natural += (least,)

    def _learn(self, a: Dim, b: Dim) -> None:
        for one, other in ((a, b), (b, a)):
            if isinstance(one, DimExpr) and len(one.terms) == 1 and one.terms[0][1] == 1:
                monomial = one.terms[0][0]
                if len(monomial) == 1 and isinstance(monomial[0], dims.Symbol):
                    name = monomial[0].name
                    if all(s.name != name for s in dims.symbols_of(other)):
                        self.equal = {k: dims.substitute(v, {name: other}) for k, v in self.equal.items()}
                        self.equal[name] = other
                        return

    def fail(self, exception: str, message: str, args: Sequence[Dim] = ()) -> None:
        """Raise at run time, where the program gets here."""
        self.effect(
            "check",
            (),
            relation="eq",
            left=0,
            right=1,
            exception=exception,
            message=message,
            args=tuple(args),
        )
        if self.dead is not self.builder:
            self.dead, self._alive = self.builder, len(self.builder.ops)

    @property
    def is_dead(self) -> bool:
        """Whether what is built now is never reached: after a failure, a rule goes on with stand-ins that fit nothing."""
        return self.dead is self.builder

    def bury(self) -> None:
        """Drop what was built in this block after a failure."""
        if self.is_dead:
            del self.builder.ops[self._alive :]

    # -- values ------------------------------------------------------------------------------------------------

    def value(self, x: Abstract) -> Value:
        """The value of an abstract number or array in the graph."""
        if isinstance(x, Value):
            return x
        if isinstance(x, SymInt):
            result = self.add("dim", (), PY_INT, dim=x.dim)
            self.sizes[result] = x.dim
            return result
        if isinstance(x, Static):
            return self.constant(x.value)
        self.refuse(f"{describe(x)} cannot be used as a number or an array")

    def constant(self, value: Any) -> Value:
        """A Python or NumPy number as a `const` op."""
        if type(value) in _PY_TYPES:
            if type(value) is int and not -(2**63) <= value < 2**63:
                self.refuse(f"the integer {value} does not fit 64 bits")
            return self.add("const", (), _PY_TYPES[type(value)], value=value)
        if is_numpy_scalar(value):
            dtype = from_numpy(value.dtype)
            if dtype is not None:
                return self.add("const", (), ScalarType(dtype), value=value.item())
        self.refuse(f"{value!r} cannot be used as a number", plain_number(value))

    def constant_type(self, x: Abstract) -> ScalarType:
        """The type that a known number has as a `const` op."""
        if isinstance(x, Static):
            if type(x.value) in _PY_TYPES:
                return _PY_TYPES[type(x.value)]
            dtype = from_numpy(x.value.dtype) if is_numpy_scalar(x.value) else None
            if dtype is not None:
                return ScalarType(dtype)
        self.refuse(f"{describe(x)} is not a number", plain_number(x))

    def truth(self, x: Abstract) -> Value:
        """bool(x) of a scalar, as a Python bool."""
        value = self.value(x)
        if isinstance(value.type, ArrayType):
            if value.type.shape:
                self.refuse("the truth value of an array", "use x.any() or x.all()")
            value = self.load(value)
        return value if value.type == PY_BOOL else self.add("truth", (value,), PY_BOOL)

    def dtype_of(self, x: Abstract) -> DType | type:
        """The dtype of an array or NumPy scalar; int, float or complex for a (weak) Python number."""
        if isinstance(x, SymInt):
            return int
        if isinstance(x, Value):
            t = x.type
            if isinstance(t, ScalarType) and t.python and t.dtype is not BOOL:
                return _WEAK[t.dtype.kind]
            if isinstance(t, (ScalarType, ArrayType)):
                return t.dtype
        if isinstance(x, Static):
            if type(x.value) in (int, float, complex):
                return type(x.value)
            if type(x.value) is bool:
                return BOOL
            if is_numpy_scalar(x.value):
                dtype = from_numpy(x.value.dtype)
                if dtype is not None:
                    return dtype
        self.refuse(f"{describe(x)} is not an array or a number", plain_number(x))

    def strong_dtype(self, x: Abstract) -> DType:
        """The dtype of `np.asarray(x)`."""
        dtype = self.dtype_of(x)
        if isinstance(dtype, DType):
            return dtype
        if dtype is int and isinstance(x, Static) and not _holds(I64, x.value):
            if not _holds(U64, x.value):
                self.refuse(f"the integer {x.value} does not fit 64 bits")
            return U64
        return {int: I64, float: PY_FLOAT.dtype, complex: PY_COMPLEX.dtype}[dtype]

    def shape_of(self, x: Abstract) -> tuple[Dim, ...]:
        """The shape of `np.asarray(x)`."""
        return x.type.shape if isinstance(x, Value) and isinstance(x.type, ArrayType) else ()

    def is_array(self, x: Abstract) -> bool:
        return isinstance(x, Value) and isinstance(x.type, ArrayType)

    def rank(self, x: Abstract) -> int:
        return len(self.shape_of(x))

    def dim(self, x: Abstract) -> Dim:
        """A Python int as a size: known, symbolic, or bound to a new symbol at run time."""
        if isinstance(x, Static) and isinstance(x.value, (int, np.integer)) and not isinstance(x.value, bool):
            return int(x.value)
        if isinstance(x, SymInt):
            return x.dim
        if isinstance(x, Value) and isinstance(x.type, ArrayType) and not x.type.shape and x.type.dtype.kind in "iu":
            x = self.load(x)
        if isinstance(x, Value):
            if x in self.sizes:
                return self.sizes[x]
            if isinstance(x.type, ScalarType) and x.type.dtype.kind in "iu":
                self.sizes[x] = new = self.bind(self.python_int(x), "s", low=-dims.INF)
                return new
        self.refuse(f"{describe(x)} cannot be used as an integer")

    def python_int(self, x: Value) -> Value:
        """An integer scalar as a Python int; OverflowError for one of uint64 that is none of 64 bits."""
        assert isinstance(x.type, ScalarType)
        if x.type.dtype.kind == "u" and x.type.dtype.size == 8:
            return self.value(self.call("py_int", x))
        return x if x.type.dtype is I64 else self.cast_scalar(x, PY_INT)

    def bind(self, value: Value, prefix: str, low: int, upper: Dim | None = None) -> DimExpr:
        """A new symbol that stands for a Python int of the graph; `low` and `upper` are known to bound it."""
        new = self.symbol(prefix, low=low)
        self.effect("bind", (value,), symbol=str(new))
        self.sizes[value] = new
        if upper is not None:
            self.upper[str(new)] = upper
        return new

    def int_of(self, dim: Dim) -> Abstract:
        """A size as a Python int."""
        return Static(dim) if isinstance(dim, int) else SymInt(dim)

    def shape_argument(self, x: Abstract) -> tuple[Dim, ...]:
        """A shape as NumPy's functions take it: an int or a tuple of ints."""
        items = x.items if isinstance(x, Sequence_) else (x,)
        return tuple(self.dim(i) for i in items)

    def static(self, x: Abstract, what: str) -> Any:
        """A value that must be known while compiling (an axis, a flag, a dtype)."""
        if not is_static(of(x)):
            text = f"{what} must be known when the function is compiled, not computed"
            raise Refusal(Problem(text, self.loc, "pass a constant"), needs_static=True)
        return static_value(of(x))

    def integer(self, x: Abstract, what: str) -> int:
        """An integer that must be known while compiling; TypeError at run time for what is none."""
        value = self.static(x, what)
        if isinstance(value, (int, np.integer)):
            return int(value)
        self.fail("TypeError", f"'{type(value).__name__}' object cannot be interpreted as an integer")
        return 0

    def dtype_argument(self, x: Abstract) -> DType | None:
        """A `dtype=` argument; None stands for None."""
        value = self.static(x, "dtype")
        if value is None:
            return None
        found = from_numpy(np.dtype(value))
        if found is None or not np.dtype(value).isnative:
            self.refuse(f"arrays of dtype {np.dtype(value)} are not compiled")
        return found

    def axes_argument(self, axis: Abstract, rank: int) -> tuple[int, ...]:
        """An `axis=` argument (None, an int or a tuple) as sorted non-negative axes; AxisError at run time where out of range."""
        value = self.static(axis, "axis")
        if value is None:
            return tuple(range(rank))
        chosen = []
        for a in value if isinstance(value, tuple) else (value,):
            if not isinstance(a, (int, np.integer)) or isinstance(a, bool):
                self.fail("TypeError", f"'{type(a).__name__}' object cannot be interpreted as an integer")
                continue
            a = int(a)  # of a class that compares otherwise, too
            if not -rank <= a < rank:
                self.fail("numpy.exceptions.AxisError", f"axis {a} is out of bounds for array of dimension {rank}")
                continue
            chosen.append(a % rank)
        if len(set(chosen)) != len(chosen):
            self.fail("ValueError", "duplicate value in 'axis'")
        return tuple(sorted(set(chosen)))

    # -- elementwise -------------------------------------------------------------------------------------------

    def resolve(
        self, ufunc: np.ufunc, args: Sequence[Abstract], dtype: DType | None = None, casting: str = "same_kind"
    ) -> Loop | None:
        """The loop that NumPy takes (its own promotion, NEP 50); TypeError at run time where it has none."""
        given: list[Any] = []
        for a in args:
            d = self.dtype_of(a)
            given.append(d.numpy if isinstance(d, DType) else d)
        if dtype is None and not any(isinstance(g, np.dtype) for g in given):  # Python numbers alone: what np.asarray makes of them
            given = [self.strong_dtype(a).numpy for a in args]
        keywords: dict[str, Any] = {} if dtype is None else {"signature": (None,) * ufunc.nin + (dtype.numpy,) * ufunc.nout}
        if casting == "equiv":  # NumPy's resolve_dtypes ends the process for Python's numbers
            self.refuse("casting='equiv'", "use 'no' or 'safe'")
        if casting != "same_kind":
            keywords["casting"] = casting
        try:
            found = ufunc.resolve_dtypes(tuple(given) + (None,) * ufunc.nout, **keywords)
        except (TypeError, ValueError) as error:
            self.fail(
                type(error).__name__ if type(error).__module__ == "builtins" else "TypeError",
                _escape(str(error)),
            )
            return None
        loops = [from_numpy(d) for d in found]
        if any(d is None for d in loops):
            self.refuse(f"{ufunc.__name__} of {', '.join(str(g) for g in given)} computes in a dtype that is not compiled")
        known = [d for d in loops if d is not None]
        for a, d in zip(args, known, strict=False):
            if self.dtype_of(a) is not int:  # which may be beyond any dtype
                self._keeps_parts(self.strong_dtype(a), d)
        return Loop(tuple(known[: ufunc.nin]), known[ufunc.nin])

    def elementwise(
        self, name: str, *args: Abstract, dtype: DType | None = None, checked: bool = False, casting: str = "same_kind"
    ) -> Abstract:
        """Apply the ufunc row `name` with NumPy's promotion and broadcasting.

        A NumPy scalar where every operand is a scalar or of rank 0, else a fresh array. `checked`: an integer result that
        wraps is told of, as operators on NumPy scalars do and ufuncs do not.
        """
        row = self.table[name]
        assert row.ufunc is not None
        loop = self.resolve(row.ufunc, args, dtype, casting)
        if loop is None:
            return Static(np.float64(0))
        if name in _COMPARISONS:
            operands, loop = self._exact(args, loop)
            return self.loop(name, operands, loop, checked)
        return self.loop(name, args, loop, checked)

    def loop(self, name: str, args: Sequence[Abstract], loop: Loop, checked: bool = False) -> Abstract:
        """What a loop of a ufunc computes: `apply`, but for the short cuts that NumPy's loop of power has."""
        return self._power(args, loop) if name == "power" else self.apply(name, args, loop, checked)

    def scalar_power(self, x: Abstract, y: Abstract) -> Abstract:
        """x ** y of NumPy's scalars: pow, which the ufunc is not."""
        loop = self.resolve(np.power, (x, y))
        return Static(np.float64(0)) if loop is None else self.apply("power", (x, y), loop)

    def _power(self, args: Sequence[Abstract], loop: Loop) -> Abstract:
        """NumPy's loop has short cuts for one exponent of all bases: they differ from pow at -inf and -0.0. Not of float16."""
        base, exponent = args
        dtype = loop.output
        cuts = dtype.kind == "f" and dtype.size > 2
        shape = self.shape_of(base)
        ones = self.is_array(exponent) and set(self.shape_of(exponent)) == {1}
        if ones and any(not dims.can_be_one(d) for d in shape):  # one exponent all the same
            exponent = self.load(self.view(self.value(exponent), (), (), (0,) * self.rank(exponent)))
        if self.rank(exponent):
            return self.apply("power", args, loop)
        if isinstance(exponent, Static):
            known = exponent.value
            if known == 2 or (cuts and known in (-1.0, 0.5)):
                row = {2.0: "square", -1.0: "reciprocal", 0.5: "sqrt"}[float(known)]
                return self.apply(row, (base,), Loop((dtype,), dtype))
            return self.apply("power", args, loop)
        power = self.apply("power", args, loop)
        if not cuts:
            return power
        scalar = self.as_dtype(self.load(self.value(exponent)) if self.is_array(exponent) else exponent, dtype)
        loop2, pick = Loop((dtype, dtype), BOOL), Loop((BOOL, dtype, dtype), dtype)
        half = self.apply("equal", (scalar, Static(dtype.numpy.type(0.5))), loop2)
        rooted = self.apply("select", (half, base, Static(dtype.numpy.type(1))), pick)
        return self.apply("select", (half, self.apply("sqrt", (rooted,), Loop((dtype,), dtype)), power), pick)

    def _exact(self, args: Sequence[Abstract], loop: Loop) -> tuple[Sequence[Abstract], Loop]:
        """The operands and the loop of a comparison, where a Python int that its dtype may not hold is compared by value, as in
        NumPy; one beyond 64 bits as an infinity."""
        inputs, operands = list(loop.inputs), list(args)
        for k, x in enumerate(args):
            if not (inputs[k].kind in "iu" and self.dtype_of(x) is int):
                continue
            if not isinstance(x, Static) or _holds(I64, x.value):
                inputs[k] = inputs[k] if isinstance(x, Static) and _holds(inputs[k], x.value) else I64
            elif BOOL in (self.dtype_of(a) for a in args):
                self.fail("OverflowError", "Python int too large to convert to C long")
                operands[k] = Static(0)
            elif not _holds(inputs[k], x.value):
                operands[k] = Static(np.inf if x.value > 0 else -np.inf)
                inputs = [F64, F64]
                break
        return operands, Loop(tuple(inputs), loop.output)

    def call(self, name: str, *args: Abstract, **keywords: Abstract) -> Any:
        """Apply the rule of a row."""
        rule = self.table[name].rule
        return self.elementwise(name, *args) if rule is None else rule(self, *args, **keywords)

    def where(self, cond: Abstract, x: Abstract, y: Abstract) -> Abstract:
        """x where cond (cast to bool), else y; Python numbers give way, and are converted as the installed np.where does."""
        dtype = self.common_dtype((x, y))
        fitted = _WHERE_FITS and dtype.kind in "iu"
        picked = [self.in_range(v, dtype) if fitted and self.dtype_of(v) is int else self.as_dtype(v, dtype) for v in (x, y)]
        return self.apply("select", (cond, *picked), Loop((BOOL, dtype, dtype), dtype))

    def common_dtype(self, args: Sequence[Abstract]) -> DType:
        """np.result_type of arrays and numbers, Python numbers being weak."""
        given = [d.numpy if isinstance(d, DType) else d(0) for d in map(self.dtype_of, args)]
        found = from_numpy(np.result_type(*given))
        if found is None:
            self.refuse(f"the common dtype of {', '.join(map(describe, args))} is not compiled")
        return found

    def strong_common_dtype(self, args: Sequence[Abstract]) -> DType:
        """The dtype of an array made of these numbers: Python's count as int64, float64 and so on."""
        found = from_numpy(np.result_type(*(self.strong_dtype(a).numpy for a in args)))
        if found is None:
            self.refuse(f"the common dtype of {', '.join(map(describe, args))} is not compiled")
        return found

    def as_dtype(self, x: Abstract, dtype: DType) -> Abstract:
        """x itself where it is an array or of that dtype already; else the scalar converted without a check."""
        if self.is_array(x):
            return x
        if isinstance(x, Static):
            self._keeps_parts(self.strong_dtype(x), dtype)
            with np.errstate(all="ignore"):
                return Static(np.asarray(x.value).astype(dtype.numpy)[()])
        return self.cast_scalar(self.value(x), ScalarType(dtype))

    def warn(self, relation: str, a: Dim, b: Dim, category: str, message: str) -> None:
        """Warn at run time unless `a relation b`; otherwise like `check`, but the program goes on."""
        if relation != "eq" and self.at_least(a, b if relation == "ge" else b + 1):
            return
        self.effect("warn", (), relation=relation, left=a, right=b, category=category, message=message)

    def apply(self, name: str, args: Sequence[Abstract], loop: Loop, checked: bool = False) -> Abstract:
        """Apply an elementwise row with given loop dtypes, broadcasting the operands.

        Where the row has no lowering for the loop, NumPy's own ufunc is called instead.
        """
        row = self.table[name]
        operands = [self.in_range(a, d) for a, d in zip(args, loop.inputs, strict=True)]
        arrays = [o for o in operands if self.rank(o)]
        operands = [self.load(o) if self.is_array(o) and not self.rank(o) else o for o in operands]
        if not lowers(row, loop):
            return self._apply_library(row, operands, arrays, loop)
        if not arrays:
            attrs = {"checked": True} if checked and loop.output.kind in "iu" else {}
            return self.add(name, operands, ScalarType(loop.output), loop=loop, **attrs)
        shape = self.broadcast_shapes([self.shape_of(o) for o in operands])
        operands = [self._fit(o, shape) for o in operands]
        return self.add(name, operands, ArrayType(loop.output, shape, self._order(arrays, len(shape))), loop=loop)

    def _apply_library(self, row: OpDef, operands: Sequence[Value], arrays: Sequence[Value], loop: Loop) -> Value:
        """NumPy's ufunc called with operands of its loop's dtypes."""
        assert row.ufunc is not None
        function = f"numpy.{row.ufunc.__name__}"
        given = [self._as_dtype(o, d) for o, d in zip(operands, loop.inputs, strict=True)]
        if not arrays:
            return self.library(function, given, ScalarType(loop.output))
        shape = self.broadcast_shapes([self.shape_of(o) for o in given])
        dense = all(isinstance(a.type, ArrayType) and a.type.layout == "C" for a in arrays)
        layout: Layout = "C" if dense or len(shape) == 1 else "A"
        return self.library(function, given, ArrayType(loop.output, shape, layout))

    def _as_dtype(self, x: Value, dtype: DType) -> Value:
        """An array or scalar as one of a dtype; itself where it is one."""
        if isinstance(x.type, ScalarType):
            return self.cast_scalar(x, ScalarType(dtype))
        assert isinstance(x.type, ArrayType)
        if x.type.dtype is dtype:
            return x
        return self.add("cast", (x,), ArrayType(dtype, x.type.shape), loop=Loop((x.type.dtype,), dtype))

    def in_range(self, x: Abstract, dtype: DType) -> Value:
        """A number as an operand of a loop; a Python integer that its loop's dtype cannot hold raises OverflowError, as in NumPy."""
        if isinstance(x, Static) and type(x.value) is int and dtype.kind in "fc" and not _holds(I64, x.value):
            return self.constant(self._as_float(x.value))
        if self.dtype_of(x) is int and dtype.kind in "iu":
            low, high = (0, 1 << (8 * dtype.size)) if dtype.kind == "u" else _signed(dtype)
            if isinstance(x, Static):
                if not low <= x.value < high:
                    message = f"Python integer {x.value} out of bounds for {dtype.numpy.name}"
                    self.fail("OverflowError", message)
                    return self.constant(np.zeros((), dtype.numpy)[()])
                return self.constant(dtype.numpy.type(x.value))
            if dtype is not I64:
                value = self.value(x)
                return self.add("fit_int", (value,), ScalarType(dtype), low=low, high=high - 1)
        return self.value(x)

    def _as_float(self, value: int) -> float:
        try:
            return float(value)
        except OverflowError as error:
            self.fail("OverflowError", str(error))
            return 0.0

    def _fit(self, x: Value, shape: tuple[Dim, ...]) -> Value:
        """x itself where implicit broadcasting (a static 1, or a missing axis) does; else an explicit view."""
        own = self.shape_of(x)
        for d, s in zip(reversed(own), reversed(shape), strict=False):
            if d != 1 and not self.same(d, s):
                return self.broadcast_to(x, shape)
        return x

    def _order(self, arrays: Sequence[Value], rank: int) -> Layout:
        layouts = {t.layout for a in arrays if isinstance(t := a.type, ArrayType) and t.rank == rank and rank > 1}
        return "F" if layouts == {"F"} else "C"

    def broadcast_shapes(self, shapes: Sequence[tuple[Dim, ...]]) -> tuple[Dim, ...]:
        """The common shape, checked at run time where it is not known; ValueError as NumPy's where there is none.

        What goes into an `out=` has its sizes, since that is never stretched: so it is computed where it belongs.
        """
        shown = [*shapes, *self.output]
        rank = max((len(s) for s in shapes), default=0)
        out: list[Dim] = []
        targets: list[Dim] = []
        for axis in range(-rank, 0):
            sizes = [s[axis] for s in shapes if len(s) >= -axis]
            into = [s[axis] for s in self.output if len(s) >= -axis and any(d != 1 for d in sizes)]
            out.append(self._broadcast([*into, *sizes], shown))
            targets += into if into and into != [1] else out[-1:]
        differ = [(d, t) for d, t in zip(out, targets, strict=True) if not self.same(d, t)]
        if differ:
            text = "non-broadcastable output operand with shape {} doesn't match the broadcast shape {}"
            text = text.format(*(_shape_text(s) for s in (*self.output, out)))
            for d, t in differ:
                self.check("eq", d, t, "ValueError", text, [x for s in (*self.output, out) for x in s])
        return tuple(targets)

    def _broadcast(self, sizes: Sequence[Dim], shapes: Sequence[tuple[Dim, ...]]) -> Dim:
        result: Dim = 1
        message, args = _shapes_message(shapes)
        for d in sizes:
            if d == 1 or self.same(d, result):
                continue
            if result == 1:
                result = d
            elif not dims.can_be_one(d) and not dims.can_be_one(result):
                self.check("eq", result, d, "ValueError", message, args)
                if isinstance(d, int):
                    result = d
            elif not dims.can_be_one(result):
                self.fits(d, result, message, args)
            elif not dims.can_be_one(d):
                self.fits(result, d, message, args)
                result = d
            else:
                new = self.symbol("b")
                self.effect("broadcast_dim", (), left=result, right=d, symbol=str(new), message=message, args=args)
                result = new
        return result

    def fits(self, d: Dim, target: Dim, message: str, args: Sequence[Dim]) -> None:
        """ValueError at run time unless a size is the target's, or 1; once for two sizes."""
        pair = (self.canon(target), self.canon(d))
        if pair not in self.fitting:
            symbol = str(self.symbol("b"))
            self.effect("broadcast_dim", (), left=target, right=d, symbol=symbol, message=message, args=args, store=True)
            self.fitting |= {pair}

    def cast(self, x: Abstract, dtype: DType) -> Abstract:
        """`np.asarray(x).astype(dtype)` for an array; the scalar converted for a scalar. Always a new value."""
        source, value = self.strong_dtype(x), self.value(x)
        self._keeps_parts(source, dtype)
        if isinstance(value.type, ArrayType):
            shape = value.type.shape
            layout: Layout = "F" if value.type.layout == "F" else "C"
            return self.add("cast", (value,), ArrayType(dtype, shape, layout), loop=Loop((source,), dtype))
        return self.cast_scalar(value, ScalarType(dtype))

    def may_cast(self, source: Any, to: Any, rule: Any) -> bool:
        """Whether a casting rule allows a cast between NumPy dtypes; ValueError at run time for what is no rule."""
        if rule not in CASTING_RULES:
            self.fail("ValueError", f"casting must be one of {', '.join(map(repr, CASTING_RULES))} (got {rule!r})")
            return True
        return np.can_cast(source, to, rule)

    def cast_scalar(self, x: Value, to: ScalarType) -> Value:
        """A scalar converted to another scalar type, as `astype` does."""
        assert isinstance(x.type, ScalarType)
        if x.type == to:
            return x
        self._keeps_parts(x.type.dtype, to.dtype)
        return self.add("cast", (x,), to, loop=Loop((x.type.dtype,), to.dtype))

    def _keeps_parts(self, source: DType, to: DType) -> None:
        """Refuse a cast of which NumPy gives a ComplexWarning."""
        if source.kind == "c" and to.kind not in "cb":
            self.refuse("a complex value cast to a real dtype, which drops its imaginary part", "take .real first")

    # -- views -------------------------------------------------------------------------------------------------

    def view(
        self,
        x: Value,
        shape: Sequence[Dim],
        axes: Sequence[tuple[int | None, Dim]],
        offset: Sequence[Dim] | None = None,
        access: Access | None = None,
    ) -> Value:
        """A strided view: result axis k walks source axis `axes[k][0]` (None: stride 0) by `axes[k][1]`, from `offset`
        (one for each source axis)."""
        assert isinstance(x.type, ArrayType)
        start = tuple(offset) if offset is not None else (0,) * x.type.rank
        layout = _view_layout(x.type, tuple(shape), tuple(axes), start)
        sizes = x.type.shape
        if offset is None and any(a is not None and not self.same(sizes[a], d) for (a, _), d in zip(axes, shape, strict=True)):
            layout = "A"  # a broadcast at run time: the stride may be 0
        return self.share("view", x, x.type.dtype, shape, layout, access, axes=tuple(axes), offset=start)

    def share(
        self, name: str, x: Value, dtype: DType, shape: Sequence[Dim], layout: Layout, access: Access | None = None, **attrs: Any
    ) -> Value:
        """An op whose result may be memory of an array, and can be written as that can (or as `access` says)."""
        assert isinstance(x.type, ArrayType)
        result = self.add(name, (x,), ArrayType(dtype, tuple(shape), layout, access or x.type.access), **attrs)
        if x in self.flags:
            self.flags[result] = self.flags[x]
        return result

    def flag(self, x: Value) -> Value:
        """1 where an array can be written, 0 where it cannot."""
        assert isinstance(x.type, ArrayType)
        return self.flags[x] if x.type.access == "either" else self.constant(int(x.type.access == "writable"))

    def writable(self, x: Value, what: str = "assignment destination") -> bool:
        """Whether an array may be written from here on; ValueError where it is read-only, at run time where that depends."""
        message = f"{what} is read-only"
        assert isinstance(x.type, ArrayType)
        if x.type.access == "unsure":
            self.refuse(
                "a write to the reshape of an array whose layout is not contiguous: NumPy gives a view or a copy",
                "copy first",
            )
        if x.type.access == "readonly":
            self.fail("ValueError", message)
        elif x.type.access == "either":
            self.check("eq", self.dim(self.flag(x)), 1, "ValueError", message)
        return x.type.access != "readonly"

    def transpose(self, x: Value, axes: Sequence[int]) -> Value:
        """The axes permuted, as np.transpose(x, axes)."""
        shape = self.shape_of(x)
        return self.view(x, [shape[a] for a in axes], [(a, 1) for a in axes])

    def broadcast_to(self, x: Value, shape: Sequence[Dim]) -> Value:
        """A read-only view of the given shape; sizes that differ were checked to be 1 (at run time the stride becomes 0)."""
        own = self.shape_of(x)
        axes: list[tuple[int | None, int]] = []
        for k, s in enumerate(shape):
            source = k - (len(shape) - len(own))
            axes.append((None, 0) if source < 0 or (own[source] == 1 and s != 1) else (source, 1))
        return self.view(x, shape, axes, access="readonly")

    def reshape(self, x: Value, shape: Sequence[Dim], order: str = "C") -> Value:
        """x with a new shape of the same size (the caller has checked): a view where x is contiguous, else a copy."""
        assert isinstance(x.type, ArrayType)
        if order == "F":
            reverse = list(reversed(range(x.type.rank)))
            flipped = self.reshape(self.transpose(x, reverse), list(reversed(shape)))
            return self.transpose(flipped, list(reversed(range(len(shape)))))
        if x.type.layout == "C":
            return self.share("reshape", x, x.type.dtype, shape, "C")
        return self.share("reshape", self.copy(x, "C"), x.type.dtype, shape, "C", "unsure")

    def copy(self, x: Value, layout: Layout = "C") -> Value:
        """A fresh array with the same elements."""
        assert isinstance(x.type, ArrayType)
        return self.add("copy", (x,), ArrayType(x.type.dtype, x.type.shape, layout))

    def load(self, x: Value) -> Value:
        """The element of an array of rank 0, as a NumPy scalar."""
        assert isinstance(x.type, ArrayType) and not x.type.shape
        return self.add("load", (x,), ScalarType(x.type.dtype))

    def array(self, x: Abstract) -> Value:
        """np.asarray of an array, a number, or a (nested) sequence of them."""
        return self.value(self.call("array", x)) if isinstance(x, Sequence_) else self.as_array(x)

    def as_array(self, x: Abstract) -> Value:
        """np.asarray of an array or a number."""
        value = self.value(x)
        if isinstance(value.type, ArrayType):
            return value
        return self.full((), x, self.strong_dtype(x))

    # -- fresh arrays ------------------------------------------------------------------------------------------

    def empty(self, shape: Sequence[Dim], dtype: DType, layout: Layout = "C") -> Value:
        """A fresh array, its elements not set; ValueError at run time for a negative size."""
        return self.add("empty", (), ArrayType(dtype, self.lengths(shape, dtype), layout))

    def lengths(self, shape: Sequence[Dim], dtype: DType, negative: str = "negative dimensions are not allowed") -> tuple[Dim, ...]:
        """The sizes of a new array, checked not to be negative and not to be too large; 0 where they are known to be so."""
        for d in shape:
            self.check("ge", d, 0, "ValueError", negative)
        sizes = tuple(max(d, 0) if isinstance(d, int) else d for d in shape)
        if math.prod(d for d in sizes if isinstance(d, int) and d) * dtype.size >= 2**63:  # beside a size of 0, too
            self.fail("ValueError", _TOO_BIG)
            return tuple(0 for _ in sizes)
        self.check_size(sizes, dtype)
        return sizes

    def check_size(self, shape: Sequence[Dim], dtype: DType) -> None:
        """ValueError where an array of a shape that integers of the user's make would be more than can be addressed: also where
        it is never made, since what goes through its elements would not end."""
        if all(map(dims.is_length, shape)) and not all(isinstance(d, int) for d in shape):
            return
        most = (2**63 - 1) // dtype.size
        self.check("ge", most, dims.product(shape), "ValueError", _TOO_BIG)

    def full(self, shape: Sequence[Dim], fill: Abstract, dtype: DType, layout: Layout = "C") -> Value:
        """A fresh array of one value (a scalar), converted as assignment converts it."""
        lengths = self.lengths(shape, dtype)
        scalar = self.in_range(fill, dtype)
        if isinstance(scalar.type, ArrayType):
            scalar = self.load(scalar)
        return self.add("full", (self.cast_scalar(scalar, ScalarType(dtype)),), ArrayType(dtype, lengths, layout))

    def iota(self, length: Dim, start: Abstract, step: Abstract, dtype: DType) -> Value:
        """start + k * step for k in range(length), computed in `dtype` (f16 in f32); start and step are scalars."""
        (length,) = self.lengths((length,), dtype)
        scalars = [self.cast_scalar(self.value(s), ScalarType(dtype)) for s in (start, step)]
        return self.add("iota", scalars, ArrayType(dtype, (length,)))

    # -- reductions --------------------------------------------------------------------------------------------

    def reduce(self, name: str, x: Value, axes: Sequence[int], keepdims: bool, loop: Loop) -> Abstract:
        """Reduce over `axes` (sorted) with row `name`; a NumPy scalar where no axis is left.

        `loop`: elements are cast to its input dtype; the accumulator and result have its output dtype.
        """
        shape = self.shape_of(x)
        kept: list[Dim] = [1 if k in axes else d for k, d in enumerate(shape) if keepdims or k not in axes]
        result: Type = ArrayType(loop.output, tuple(kept)) if kept else ScalarType(loop.output)
        return self.add(name, (x,), result, axes=tuple(axes), keepdims=keepdims, loop=loop)

    # -- effects -----------------------------------------------------------------------------------------------

    def store(self, target: Value, value: Abstract, what: str = "assignment destination", *, masked: bool = False) -> None:
        """target[...] = value: broadcast, cast and written; what overlaps is read before it is overwritten (but see fuse.py of
        arrays of rank 1). `what` is what NumPy calls the target where it is read-only; `masked` says that the value is
        where(mask, x, target), and that NumPy would look at mask and x as it writes."""
        assert isinstance(target.type, ArrayType)
        if not self.writable(target, what):
            return
        dtype = target.type.dtype
        if self.strong_dtype(value).kind == "c" and dtype.kind != "c":
            self.refuse(
                "a complex value is stored into a real array, which drops its imaginary part",
                "store value.real",
            )
        source = self.in_range(value, dtype)
        shape = self.shape_of(source)
        while len(shape) > target.type.rank and shape and shape[0] == 1:  # NumPy drops leading ones
            source = self.view(source, shape[1:], [(k, 1) for k in range(1, len(shape))])
            shape = shape[1:]
        source = self.load(source) if self.is_array(source) and not shape else source
        message, args = _store_message(shape, target.type.shape)
        if len(shape) > target.type.rank:
            self.fail("ValueError", message, args)
            return
        for d, t in zip(reversed(shape), reversed(target.type.shape), strict=False):
            if d == 1 or self.same(d, t):
                continue
            if dims.can_be_one(d):
                self.fits(d, t, message, args)
            else:
                self.check("eq", d, t, "ValueError", message, args)
        self.effect("store", (target, self._fit(source, target.type.shape)), **({"masked": True} if masked else {}))

    def library(self, function: str, args: Sequence[Value], type: Type, **keywords: Any) -> Value:
        """A call of NumPy's own function (a qualified name); that the result's dtype, rank and sizes are as `type` says is
        checked when it returns."""
        return self.add("library", args, type, function=function, keywords=keywords)


@cache
def lowers(row: OpDef, loop: Loop) -> bool:
    """Whether an elementwise row has kernel expressions for a loop."""
    args = [Ref(f"x{k}", d) for k, d in enumerate(loop.inputs)]
    return row.lower(args, loop.output) is not None


def _holds(dtype: DType, value: int) -> bool:
    low, high = (0, 1 << (8 * dtype.size)) if dtype.kind == "u" else _signed(dtype)
    return low <= value < high


def _signed(dtype: DType) -> tuple[int, int]:
    half = 1 << (8 * dtype.size - 1)
    return -half, half


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _shape_text(shape: Sequence[Dim]) -> str:
    return "(" + ",".join("{}" for _ in shape) + ("," if len(shape) == 1 else "") + ")"


def _shapes_message(shapes: Sequence[tuple[Dim, ...]]) -> tuple[str, tuple[Dim, ...]]:
    text = " ".join(_shape_text(s) for s in shapes)
    return f"operands could not be broadcast together with shapes {text} ", tuple(d for s in shapes for d in s)


def _store_message(source: Sequence[Dim], target: Sequence[Dim]) -> tuple[str, tuple[Dim, ...]]:
    text = f"could not broadcast input array from shape {_shape_text(source)} into shape {_shape_text(target)}"
    return text, (*source, *target)


def _view_layout(
    source: ArrayType,
    shape: tuple[Dim, ...],
    axes: tuple[tuple[int | None, Dim], ...],
    offset: tuple[Dim, ...],
) -> Layout:
    """The layout of a view, as far as it is known without looking at sizes."""
    walked = [(a, s, d) for (a, s), d in zip(axes, shape, strict=True) if d != 1]
    if not walked:
        return "C"
    order = [a for a, _, _ in walked]
    if any(a is None or s != 1 for a, s, _ in walked) or (source.layout == "A" and source.rank > 0):
        return "A"
    left = [k for k in range(source.rank) if source.shape[k] != 1]
    if source.layout == "F":
        left, order = left[::-1], order[::-1]
    sizes = {a: d for a, _, d in walked}
    # every source axis right of the first walked one must be walked whole, in order
    tail = left[left.index(order[0]) :] if order[0] in left else left
    if order == tail and all(sizes[a] == source.shape[a] for a in order[1:] if a is not None):
        return source.layout if len(shape) > 1 else "C"
    reverse = order[::-1]
    tail = left[left.index(reverse[0]) :] if reverse[0] in left else left
    if len(order) > 1 and reverse == tail and all(sizes[a] == source.shape[a] for a in reverse[1:] if a is not None):
        return "F" if source.layout == "C" else "C"
    return "A"
