"""The rows of Python's own scalars: operators, conversions, and the `math` module.

A Python int that leaves 64 bits raises OverflowError, a division by zero ZeroDivisionError: `PYTHON` holds for each row the
callable whose result and exceptions it has. Arithmetic on sizes stays symbolic, so that `x[1 : n - 1]` has a known length.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import BOOL, F64
from tensorjit.ir.graph import Value
from tensorjit.ir.kernel import Apply
from tensorjit.ir.types import PY_BOOL, PY_COMPLEX, PY_FLOAT, PY_INT, ArrayType, ScalarType
from tensorjit.ops.abstract import Abstract, Sequence_, Static, SymInt
from tensorjit.ops.opdef import OpDef, Rule, Scalar

if TYPE_CHECKING:
    from tensorjit.ops.typed import TypedBuilder

_BY_RANK = (PY_BOOL, PY_INT, PY_FLOAT, PY_COMPLEX)
_STRONG = {"b": 0, "i": 1, "f": 2, "c": 3}


def is_python(x: Abstract) -> bool:
    """Whether x is a Python number (not an array, not a NumPy scalar)."""
    if isinstance(x, Value):
        return isinstance(x.type, ScalarType) and x.type.python
    return isinstance(x, SymInt) or (isinstance(x, Static) and type(x.value) in (bool, int, float, complex))


def _type_of(b: TypedBuilder, x: Abstract) -> ScalarType:
    if isinstance(x, Value) and isinstance(x.type, ScalarType):
        return x.type
    if isinstance(x, SymInt):
        return PY_INT
    return b.constant_type(x)


def _kind(b: TypedBuilder, x: Abstract) -> int:
    """0 bool, 1 int, 2 float, 3 complex."""
    kind = _type_of(b, x).dtype.kind
    return _STRONG["i" if kind == "u" else kind]


def _statics(*xs: Abstract) -> bool:
    return all(isinstance(x, Static) and type(x.value) in (bool, int, float, complex) for x in xs)


def _fold(name: str, *xs: Abstract) -> Static | None:
    """The result on known numbers, where it is one that fits and raises nothing."""
    if not _statics(*xs):
        return None
    try:
        result = PYTHON[name](*(x.value for x in xs if isinstance(x, Static)))
    except (ArithmeticError, ValueError, TypeError):
        return None
    if type(result) is int and not -(2**63) <= result < 2**63:
        return None
    return Static(result)


# -- sizes ---------------------------------------------------------------------------------------------------------


def _as_dim(b: TypedBuilder, x: Abstract) -> Dim | None:
    """A Python int that is a size or known, so that arithmetic on it can stay symbolic."""
    if isinstance(x, SymInt):
        return x.dim
    if isinstance(x, Static) and type(x.value) is int:
        return x.value
    return b.sizes.get(x) if isinstance(x, Value) else None


def _stays_small(dim: Dim) -> bool:
    """Whether a size cannot come near 64 bits: sums and single products of lengths; an argument may be any integer."""
    if isinstance(dim, int):
        return -(2**62) < dim < 2**62
    return dims.is_length(dim) and all(len(m) <= 2 and abs(f) < 2**20 for m, f in dim.terms)


def _dim_add(b: TypedBuilder, x: Dim, y: Dim) -> Dim | None:
    return x + y


def _dim_sub(b: TypedBuilder, x: Dim, y: Dim) -> Dim | None:
    return x - y


def _dim_mul(b: TypedBuilder, x: Dim, y: Dim) -> Dim | None:
    return x * y


def _dim_floordiv(b: TypedBuilder, x: Dim, y: Dim) -> Dim | None:
    return dims.floordiv(x, y) if b.at_least(y, 1) else None


def _dim_mod(b: TypedBuilder, x: Dim, y: Dim) -> Dim | None:
    return dims.mod(x, y) if b.at_least(y, 1) else None


def _dim_min(b: TypedBuilder, x: Dim, y: Dim) -> Dim | None:
    return dims.minimum(x, y)


def _dim_max(b: TypedBuilder, x: Dim, y: Dim) -> Dim | None:
    return dims.maximum(x, y)


_ON_SIZES: Mapping[str, Callable[[TypedBuilder, Dim, Dim], Dim | None]] = {
    "py_add": _dim_add, "py_sub": _dim_sub, "py_mul": _dim_mul, "py_floordiv": _dim_floordiv, "py_mod": _dim_mod,
    "py_min": _dim_min, "py_max": _dim_max,
}  # fmt: skip


def _on_sizes(b: TypedBuilder, name: str, x: Abstract, y: Abstract) -> Abstract | None:
    p, q = _as_dim(b, x), _as_dim(b, y)
    if p is None or q is None or not (_stays_small(p) and _stays_small(q)):
        return None
    result = _ON_SIZES[name](b, p, q)
    return None if result is None or not _stays_small(result) else b.int_of(result)


# -- rules ---------------------------------------------------------------------------------------------------------


def _emit(b: TypedBuilder, name: str, result: ScalarType, *xs: Abstract) -> Abstract:
    return b.add(name, [b.value(x) for x in xs], result)


def _refuse_kinds(b: TypedBuilder, symbol: str, *xs: Abstract) -> Abstract:
    """What Python raises for operands that have no such operator."""
    names = [str(_type_of(b, x)) for x in xs]
    if len(names) == 1:
        b.fail("TypeError", f"bad operand type for unary {symbol}: '{names[0]}'")
    else:
        b.fail("TypeError", f"unsupported operand type(s) for {symbol}: '{names[0]}' and '{names[1]}'")
    return Static(0)


def _arithmetic(name: str) -> Rule:
    def rule(b: TypedBuilder, x: Abstract, y: Abstract) -> Abstract:
        known = _fold(name, x, y)
        if known is None and name in _ON_SIZES:
            known = _on_sizes(b, name, x, y)  # type: ignore[assignment]
        if known is not None:
            return known
        return _emit(b, name, _BY_RANK[max(1, _kind(b, x), _kind(b, y))], x, y)

    return rule


def _division(name: str, symbol: str) -> Rule:
    """// and %, which complex numbers do not have."""
    arithmetic = _arithmetic(name)

    def rule(b: TypedBuilder, x: Abstract, y: Abstract) -> Any:
        if max(_kind(b, x), _kind(b, y)) == 3:
            return _refuse_kinds(b, symbol, x, y)
        return arithmetic(b, x, y)

    return rule


def _true_division(b: TypedBuilder, x: Abstract, y: Abstract) -> Abstract:
    known = _fold("py_truediv", x, y)
    return known or _emit(b, "py_truediv", _BY_RANK[max(2, _kind(b, x), _kind(b, y))], x, y)


def _divmod(b: TypedBuilder, x: Abstract, y: Abstract) -> Abstract:
    if max(_kind(b, x), _kind(b, y)) == 3:
        return _refuse_kinds(b, "divmod()", x, y)
    return Sequence_((_arithmetic("py_floordiv")(b, x, y), _arithmetic("py_mod")(b, x, y)))


def _pow(b: TypedBuilder, x: Abstract, y: Abstract) -> Abstract:
    """An int to a negative int is a float in Python, a negative float to a fraction is complex: the type is that of the
    usual case, and the other raises."""
    known = _fold("py_pow", x, y)
    if known is not None:
        return known
    rank = max(1, _kind(b, x), _kind(b, y))
    if rank == 1:
        if isinstance(y, Static) and y.value < 0:
            return _emit(b, "py_pow", PY_FLOAT, x, y)
        exponent = b.dim(y) if _kind(b, y) else 0
        message = "an int to a negative int power is a float, which is not known when the function is compiled"
        b.check("ge", exponent, 0, "tensorjit.errors.TypeInferenceError", f"{message}; write float(x) ** n")
        if isinstance(y, Static) and y.value == 2:
            squared: Abstract = _arithmetic("py_mul")(b, x, x)
            return squared
    return _emit(b, "py_pow", _BY_RANK[rank], x, y)


def _bits(name: str, symbol: str) -> Rule:
    def rule(b: TypedBuilder, x: Abstract, y: Abstract) -> Abstract:
        kinds = (_kind(b, x), _kind(b, y))
        if max(kinds) > 1:
            return _refuse_kinds(b, symbol, x, y)
        logic = name in ("py_and", "py_or", "py_xor")
        return _fold(name, x, y) or _emit(b, name, _BY_RANK[max(kinds) if logic else 1], x, y)

    return rule


def _comparison(name: str, relation: str) -> Rule:
    def rule(b: TypedBuilder, x: Abstract, y: Abstract) -> Abstract:
        ordered = relation not in ("==", "!=")
        if ordered and max(_kind(b, x), _kind(b, y)) == 3:
            names = [str(_type_of(b, v)) for v in (x, y)]
            b.fail("TypeError", f"'{relation}' not supported between instances of '{names[0]}' and '{names[1]}'")
            return Static(False)
        known = _fold(name, x, y)
        if known is None:
            p, q = _as_dim(b, x), _as_dim(b, y)
            known = None if p is None or q is None else _compare_sizes(b, relation, p, q)
        return known or _emit(b, name, PY_BOOL, x, y)

    return rule


def _compare_sizes(b: TypedBuilder, relation: str, x: Dim, y: Dim) -> Static | None:
    """A comparison of sizes, where the bounds decide it."""
    if relation in ("==", "!="):
        if b.same(x, y):
            return Static(relation == "==")
        apart = b.at_least(x, y + 1) or b.at_least(y, x + 1)
        return Static(relation == "!=") if apart else None
    if relation in (">", ">="):
        return _compare_sizes(b, {">": "<", ">=": "<="}[relation], y, x)
    strict = relation == "<"
    if b.at_least(y, x + 1 if strict else x):
        return Static(True)
    return Static(False) if b.at_least(x, y if strict else y + 1) else None


def _unary(name: str, symbol: str) -> Rule:
    def rule(b: TypedBuilder, x: Abstract) -> Abstract:
        kind = _kind(b, x)
        if name == "py_invert" and kind > 1:
            return _refuse_kinds(b, symbol, x)
        known = _fold(name, x)
        dim = _as_dim(b, x)
        if known is None and dim is not None and _stays_small(dim):
            small = {"py_neg": lambda d: -d, "py_pos": lambda d: d}.get(name)
            if small is not None:
                return b.int_of(small(dim))
            if name == "py_abs" and b.at_least(dim, 0):
                return b.int_of(dim)
        result = PY_FLOAT if name == "py_abs" and kind == 3 else _BY_RANK[max(1, kind)]
        return known or _emit(b, name, result, x)

    return rule


def _not(b: TypedBuilder, x: Abstract) -> Abstract:
    return _fold("py_not", x) or _emit(b, "py_not", PY_BOOL, x)


def _only_rank_0() -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            int(np.ones(1))
    except TypeError as error:  # since NumPy 2.4
        return str(error)
    return ""


_ONLY_RANK_0 = _only_rank_0()


def _scalar_argument(b: TypedBuilder, x: Abstract, what: str) -> Abstract:
    """A number given to int(), float() or complex(): the element of an array of rank 0, and where this NumPy says so of one
    with a single element."""
    if not isinstance(x, Value) or not isinstance(x.type, ArrayType):
        return x
    if not x.type.shape:
        return b.load(x)
    if _ONLY_RANK_0:
        b.fail("TypeError", _ONLY_RANK_0)
        return Static(0)
    b.check("eq", dims.product(x.type.shape), 1, "TypeError", "only length-1 arrays can be converted to Python scalars")
    b.refuse(f"{what}() of an array of rank {x.type.rank}", "index the element first")


def _refuse_numpy_complex(b: TypedBuilder, x: Abstract) -> None:
    if not is_python(x):  # NumPy warns and takes the real part
        b.refuse("a complex NumPy scalar made a real number, which drops its imaginary part", "take .real first")


def _to_int(b: TypedBuilder, x: Abstract = Static(0)) -> Abstract:
    x = _scalar_argument(b, x, "int")
    if isinstance(x, SymInt):
        return x
    if isinstance(x, Static) and isinstance(x.value, (int, np.integer)):
        return Static(int(x.value))
    if isinstance(x, Static) and isinstance(x.value, (float, np.floating)) and abs(float(x.value)) < 2.0**63:
        return Static(int(x.value))
    if _kind(b, x) == 3:
        _refuse_numpy_complex(b, x)
        b.fail("TypeError", "int() argument must be a string, a bytes-like object or a real number, not 'complex'")
        return Static(0)
    return x if _type_of(b, x) == PY_INT else _emit(b, "py_int", PY_INT, x)


def _to_float(b: TypedBuilder, x: Abstract = Static(0.0)) -> Abstract:
    x = _scalar_argument(b, x, "float")
    if _kind(b, x) == 3:
        _refuse_numpy_complex(b, x)
        b.fail("TypeError", "float() argument must be a string or a real number, not 'complex'")
        return Static(0.0)
    if isinstance(x, Static):
        return Static(float(x.value))
    return x if _type_of(b, x) == PY_FLOAT else _emit(b, "py_float", PY_FLOAT, x)


def _to_bool(b: TypedBuilder, x: Abstract = Static(False)) -> Abstract:
    if isinstance(x, Static):
        return Static(bool(x.value))
    if isinstance(x, Sequence_):
        return Static(bool(x.items))
    dim = _as_dim(b, x)
    if dim is not None and b.at_least(dim, 1):
        return Static(True)
    return b.truth(x)


def _to_complex(b: TypedBuilder, real: Abstract = Static(0.0), imag: Abstract | None = None) -> Abstract:
    if imag is None:
        x = _scalar_argument(b, real, "complex")
        if isinstance(x, Static):
            return Static(complex(x.value))
        return x if _type_of(b, x) == PY_COMPLEX else _emit(b, "py_complex", PY_COMPLEX, x)
    xs = (_scalar_argument(b, real, "complex"), _scalar_argument(b, imag, "complex"))
    return _fold("py_complex", *xs) or _emit(b, "py_complex", PY_COMPLEX, *xs)


def _round(b: TypedBuilder, number: Abstract, ndigits: Abstract = Static(None)) -> Abstract:
    if not is_python(number):
        dtype = b.strong_dtype(number)
        if b.is_array(number) or dtype.kind in "bc":
            name = "ndarray" if b.is_array(number) else dtype.numpy.type.__name__
            b.fail("TypeError", f"type numpy.{name} doesn't define __round__ method")
            return Static(0)
        rounded: Abstract = number if dtype.kind in "iu" and _is_none(ndigits) else b.call("round", number, *_given(ndigits))
        return _to_int(b, rounded) if _is_none(ndigits) else rounded
    if _is_none(ndigits):
        if _kind(b, number) <= 1:
            return _to_int(b, number)
        return _fold("py_round", number) or _emit(b, "py_round", PY_INT, number)
    kind = _kind(b, number)
    known = _fold("py_round", number, ndigits)
    return known or _emit(b, "py_round", PY_INT if kind <= 1 else PY_FLOAT, number, ndigits)


def _given(x: Abstract) -> tuple[Abstract, ...]:
    return () if _is_none(x) else (x,)


def _is_none(x: Abstract) -> bool:
    return isinstance(x, Static) and x.value is None


def _extremum(name: str) -> Rule:
    def rule(b: TypedBuilder, *args: Abstract) -> Abstract:
        items = args[0].items if len(args) == 1 and isinstance(args[0], Sequence_) else args
        if not items or (len(args) == 1 and not isinstance(args[0], Sequence_)):
            b.refuse(f"{name[3:]}() of one value that is no tuple or list", f"use np.{name[3:]} for an array")
        result = items[0]
        for item in items[1:]:
            result = _pick(b, name, result, item)
        return result

    return rule


def _pick(b: TypedBuilder, name: str, x: Abstract, y: Abstract) -> Abstract:
    """The first of two unless the second is strictly beyond it, as Python's min and max."""
    known = _fold(name, x, y)
    if known is None and is_python(x) and is_python(y):
        known = _on_sizes(b, name, x, y)  # type: ignore[assignment]
    if known is not None:
        return known
    if b.rank(x) or b.rank(y):
        b.refuse(f"{name[3:]}() of arrays: the truth value of an array is ambiguous", f"use np.{name[3:]}imum")
    if _type_of(b, x) != _type_of(b, y):
        b.refuse(
            f"{name[3:]}() of a {_type_of(b, x)} and a {_type_of(b, y)} has the type of whichever it returns",
            "convert them to one type first",
        )
    if is_python(x):
        return _emit(b, name, _type_of(b, x), x, y)
    beyond = b.elementwise("less" if name == "py_min" else "greater", y, x)
    return b.where(beyond, y, x)


# -- the math module -----------------------------------------------------------------------------------------------


def _math_rule(name: str, result: ScalarType, count: int) -> Rule:
    def convert(b: TypedBuilder, xs: tuple[Abstract, ...]) -> Abstract:
        if len(xs) != count:
            b.refuse(f"math.{name[5:]} takes {count} argument(s) here, not {len(xs)}")
        xs = tuple(_to_float(b, x) for x in xs)
        return _fold(name, *xs) or _emit(b, name, result, *xs)

    return lambda b, *xs: convert(b, xs)


def _math_whole(name: str) -> Rule:
    """math.floor and the like: an int stays as it is."""

    def rule(b: TypedBuilder, x: Abstract) -> Abstract:
        if _kind(b, x) <= 1:
            return _to_int(b, x)
        x = _to_float(b, x)
        return _fold(name, x) or _emit(b, name, PY_INT, x)

    return rule


def _math_log(b: TypedBuilder, x: Abstract, base: Abstract | None = None) -> Abstract:
    numerator: Abstract = _math_rule("math_log", PY_FLOAT, 1)(b, x)
    if base is None:
        return numerator
    return _true_division(b, numerator, _math_rule("math_log", PY_FLOAT, 1)(b, base))


def _lowering(intrinsic: str) -> Scalar:
    return lambda args, output: Apply(intrinsic, tuple(args), output)


# name in math -> intrinsic, whose NaN from no NaN is Python's ValueError, and inf from finite its OverflowError
_MATH_FLOAT = {
    "sqrt": "sqrt", "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log2": "log2", "log10": "log10",
    "log1p": "log1p", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "fabs": "abs", "cbrt": "cbrt", "atan2": "arctan2", "pow": "pow", "copysign": "copysign", "fmod": "truncrem",
}  # fmt: skip
_BINARY_MATH = frozenset({"atan2", "pow", "copysign", "fmod", "hypot", "remainder", "nextafter"})
# the rest has no intrinsic with the same bits: degrees multiplies, gamma and erf are Python's own
_MATH_OTHER = ("degrees", "radians", "erf", "erfc", "gamma", "lgamma", "hypot", "remainder", "nextafter")
_MATH_TESTS = {"isnan": "isnan", "isinf": "isinf", "isfinite": "isfinite"}


def _math_rows() -> list[OpDef]:
    rows = []
    for name, intrinsic in {**_MATH_FLOAT, **dict.fromkeys(_MATH_OTHER, "")}.items():
        row, count = f"math_{name}", 2 if name in _BINARY_MATH else 1
        rule = _math_log if name == "log" else _math_rule(row, PY_FLOAT, count)
        scalar = _lowering(intrinsic) if intrinsic else None
        rows.append(OpDef(row, "python", (getattr(math, name),), scalar=scalar, rule=rule, raises=True, doc=f"math.{name}"))
    for name, intrinsic in _MATH_TESTS.items():
        rule = _math_rule(f"math_{name}", PY_BOOL, 1)
        rows.append(OpDef(f"math_{name}", "python", (getattr(math, name),), scalar=_lowering(intrinsic), rule=rule))
    for name in ("floor", "ceil", "trunc"):
        rows.append(OpDef(f"math_{name}", "python", (getattr(math, name),), rule=_math_whole(f"math_{name}"), raises=True))
    return rows


# -- the rows ------------------------------------------------------------------------------------------------------

_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def _float_only(intrinsic: str) -> Scalar:
    """The lowering on floats; integers need Python's overflow check, which a backend does itself."""
    return lambda args, output: Apply(intrinsic, tuple(args), output) if output is F64 else None


def _compare_lowering(relation: str) -> Scalar:
    return lambda args, output: Apply(relation, tuple(args), BOOL) if args[0].dtype is args[1].dtype else None


def _row(name: str, rule: Rule, numpy: tuple[object, ...] = (), scalar: Scalar | None = None, raises: bool = True) -> OpDef:
    return OpDef(name, "python", numpy, scalar=scalar, rule=rule, raises=raises)


ROWS: tuple[OpDef, ...] = (
    _row("py_add", _arithmetic("py_add"), scalar=_float_only("add")),
    _row("py_sub", _arithmetic("py_sub"), scalar=_float_only("sub")),
    _row("py_mul", _arithmetic("py_mul"), scalar=_float_only("mul")),
    _row("py_truediv", _true_division),
    _row("py_floordiv", _division("py_floordiv", "//")),
    _row("py_mod", _division("py_mod", "%")),
    _row("py_pow", _pow),
    _row("py_lshift", _bits("py_lshift", "<<")),
    _row("py_rshift", _bits("py_rshift", ">>")),
    _row("py_and", _bits("py_and", "&"), scalar=_lowering("and"), raises=False),
    _row("py_or", _bits("py_or", "|"), scalar=_lowering("or"), raises=False),
    _row("py_xor", _bits("py_xor", "^"), scalar=_lowering("xor"), raises=False),
    _row("py_neg", _unary("py_neg", "-"), scalar=_float_only("neg")),
    _row("py_pos", _unary("py_pos", "+")),
    _row("py_abs", _unary("py_abs", "abs()"), scalar=_float_only("abs")),
    _row("py_invert", _unary("py_invert", "~")),
    _row("py_not", _not, raises=False),
    *(_row(f"py_{n}", _comparison(f"py_{n}", s), scalar=_compare_lowering(n), raises=False) for n, s in _COMPARISONS.items()),
    _row("py_int", _to_int, (int,)),
    _row("py_float", _to_float, (float,), raises=False),
    _row("py_bool", _to_bool, (bool,)),
    _row("py_complex", _to_complex, (complex,)),
    _row("py_round", _round, (round,)),
    _row("py_min", _extremum("py_min"), (min,)),
    _row("py_max", _extremum("py_max"), (max,)),
    _row("py_divmod", _divmod),
    *_math_rows(),
)

PYTHON: Mapping[str, Callable[..., Any]] = {
    "py_add": operator.add, "py_sub": operator.sub, "py_mul": operator.mul, "py_truediv": operator.truediv,
    "py_floordiv": operator.floordiv, "py_mod": operator.mod, "py_pow": operator.pow, "py_lshift": operator.lshift,
    "py_rshift": operator.rshift, "py_and": operator.and_, "py_or": operator.or_, "py_xor": operator.xor,
    "py_neg": operator.neg, "py_pos": operator.pos, "py_abs": operator.abs, "py_invert": operator.invert,
    "py_not": operator.not_, "py_int": int, "py_float": float, "py_complex": complex, "py_round": round,
    "py_min": min, "py_max": max,
    **{f"py_{n}": getattr(operator, n) for n in _COMPARISONS},
    **{row.name: getattr(math, row.name[5:]) for row in ROWS if row.name.startswith("math_")},
}  # fmt: skip
