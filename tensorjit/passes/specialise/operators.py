"""Operators: which row of the op table a Python operator means for the values at hand."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import BOOL, F64
from tensorjit.ir.graph import Value
from tensorjit.ir.types import PY_BOOL, ArrayType, ScalarType
from tensorjit.ops.abstract import (
    Abstract,
    Poison,
    Raised,
    Sequence_,
    Static,
    SymInt,
    Unbound,
    is_numpy_scalar,
    is_static,
    static_value,
)
from tensorjit.ops.opdef import Loop
from tensorjit.ops.typed import TypedBuilder
from tensorjit.ops.words import describe
from tensorjit.passes.specialise.own_classes import equals_no_number, plain_numbers

# Python's operator: (its function, the ufunc row, the Python-scalar row)
BINARY: Mapping[str, tuple[Callable[[Any, Any], Any], str, str]] = {
    "+": (operator.add, "add", "py_add"),
    "-": (operator.sub, "subtract", "py_sub"),
    "*": (operator.mul, "multiply", "py_mul"),
    "/": (operator.truediv, "divide", "py_truediv"),
    "//": (operator.floordiv, "floor_divide", "py_floordiv"),
    "%": (operator.mod, "remainder", "py_mod"),
    "**": (operator.pow, "power", "py_pow"),
    "@": (operator.matmul, "matmul", ""),
    "&": (operator.and_, "bitwise_and", "py_and"),
    "|": (operator.or_, "bitwise_or", "py_or"),
    "^": (operator.xor, "bitwise_xor", "py_xor"),
    "<<": (operator.lshift, "left_shift", "py_lshift"),
    ">>": (operator.rshift, "right_shift", "py_rshift"),
}
COMPARE: Mapping[str, tuple[Callable[[Any, Any], Any], str, str]] = {
    "==": (operator.eq, "equal", "py_eq"),
    "!=": (operator.ne, "not_equal", "py_ne"),
    "<": (operator.lt, "less", "py_lt"),
    "<=": (operator.le, "less_equal", "py_le"),
    ">": (operator.gt, "greater", "py_gt"),
    ">=": (operator.ge, "greater_equal", "py_ge"),
}
UNARY: Mapping[str, tuple[Callable[[Any], Any], str, str]] = {
    "-": (operator.neg, "negative", "py_neg"),
    "+": (operator.pos, "positive", "py_pos"),
    "~": (operator.invert, "invert", "py_invert"),
}
# operators that warn where a NumPy scalar wraps (numpy/_core/src/umath/scalarmath.c.src); their ufuncs, and arrays, do not
_CHECKED = frozenset({"add", "subtract", "multiply", "negative"})
_NO_SCALARS = frozenset({"@", "//", "%"})  # not among NumPy's scalars, or not among complex ones
_NUMBERS = (bool, int, float, complex)
_SMALL = 1 << 20


def is_numpy(x: Abstract) -> bool:
    """Whether NumPy's rules, not Python's, govern an operation on x."""
    if isinstance(x, Value):
        return isinstance(x.type, ArrayType) or (isinstance(x.type, ScalarType) and not x.type.python)
    return isinstance(x, Static) and is_numpy_scalar(x.value)


def is_number(x: Abstract) -> bool:
    """A Python number, known or not."""
    if isinstance(x, Static):
        return type(x.value) in _NUMBERS
    return isinstance(x, SymInt) or (isinstance(x, Value) and isinstance(x.type, ScalarType) and x.type.python)


def _as_complex_takes(b: TypedBuilder, x: Abstract, y: Abstract) -> Abstract:
    """y, or where Python's complex takes it for the float that it is a subclass of, that float: 2j + np.float64(3) is a complex."""
    if not is_number(x) or b.is_array(y) or not is_numpy(y) or b.dtype_of(x) is not complex or b.dtype_of(y) is not F64:
        return y
    number: Abstract = b.call("py_float", y)
    return number


def binary(b: TypedBuilder, op: str, x: Abstract, y: Abstract) -> Abstract:
    """x op y."""
    if isinstance(x, Poison) or isinstance(y, Poison):
        return Poison()
    use(b, x)
    use(b, y)
    function, ufunc_row, python_row = BINARY[op]
    if not (is_static(x) and is_static(y)) or is_numpy(x) or is_numpy(y):
        x, y = plain_numbers(b, function, x, y, is_numpy(x) or is_numpy(y))
    y = _as_complex_takes(b, x, y)
    if is_numpy(x) or is_numpy(y):
        return _numpy(b, op, ufunc_row, x, y)
    if is_static(x) and is_static(y):
        return fold(b, function, x, y)
    if is_number(x) and is_number(y):
        size = _size(b, op, x, y)
        return size if size is not None else python_op(b, python_row, op, x, y)
    if isinstance(x, Sequence_) and isinstance(y, Sequence_) and op == "+" and x.is_list == y.is_list:
        return Sequence_(x.items + y.items, x.is_list)
    for one, other in ((x, y), (y, x)):
        if op == "*" and isinstance(one, Sequence_) and isinstance(other, Static) and type(other.value) is int:
            return Sequence_(one.items * other.value, one.is_list)
    b.refuse(f"operator {op} of {describe(x)} and {describe(y)}")


def _numpy(b: TypedBuilder, op: str, row: str, x: Abstract, y: Abstract) -> Abstract:
    for side in (x, y):
        if isinstance(side, Sequence_):
            b.refuse(f"operator {op} of an array and {describe(side)}", "make an array of it with np.array first")
    if op in _NO_SCALARS and not (b.is_array(x) or b.is_array(y)):
        kinds = [b.strong_dtype(v).kind for v in (x, y)]
        if op == "@" or "c" in kinds:
            names = " and ".join(f"'{_class_name(b, v)}'" for v in (x, y))
            b.fail("TypeError", f"unsupported operand type(s) for {op}: {names}")
            return Poison()
    if op == "@":
        found = b.table[row].rule
        assert found is not None
        result: Abstract = found(b, x, y)
        return result
    if op == "**" and isinstance(y, Static) and b.is_array(x):
        fast = _fast_power(b, x, y.value)
        if fast is not None:
            return fast
    if op == "**" and not (b.is_array(x) or b.is_array(y)):
        return b.scalar_power(x, y)
    # np.bool has no arithmetic of its own: on its right stands a ufunc
    checked = row in _CHECKED and not (b.is_array(x) or b.is_array(y)) and (is_number(x) or b.dtype_of(x) is not BOOL)
    return b.elementwise(row, x, y, checked=checked)


def _class_name(b: TypedBuilder, x: Abstract) -> str:
    if is_number(x):
        return type(x.value).__name__ if isinstance(x, Static) else str(b.value(x).type)
    return f"numpy.{b.strong_dtype(x).numpy.type.__name__}"


def absolute(b: TypedBuilder, x: Abstract) -> Abstract:
    """abs(x) of NumPy's."""
    return b.elementwise("absolute", x, checked=not b.is_array(x))


def _fast_power(b: TypedBuilder, x: Abstract, exponent: Any) -> Abstract | None:
    """ndarray.__pow__'s own short cuts for Python scalars: squares and such, which are exact where power need not be."""
    dtype = b.strong_dtype(x)
    if type(exponent) not in (int, float) or dtype.kind not in "fc":
        squares = type(exponent) is int and exponent == 2 and dtype.kind in "iub"
        return b.elementwise("square", x) if squares else None
    row = {1.0: "positive", -1.0: "reciprocal", 0.0: None, 0.5: "sqrt", 2.0: "square"}.get(float(exponent))
    return None if row is None else b.elementwise(row, x)


def python_op(b: TypedBuilder, row: str, op: str, *args: Abstract) -> Abstract:
    """A Python-scalar row applied."""
    found = b.table.get(row)
    if found is None or found.rule is None:
        b.refuse(f"operator {op} of {' and '.join(describe(a) for a in args)}")
    result: Abstract = found.rule(b, *args)
    return result


def fold(b: TypedBuilder, function: Callable[..., Any], *args: Abstract) -> Abstract:
    """A function of known values, computed now; what it raises is raised when the program gets here."""
    values = [static_value(a) for a in args]
    if function is operator.pow and all(type(v) is int for v in values) and abs(values[1]) * abs(values[0]).bit_length() > 4096:
        b.refuse("a power of integers that does not fit 64 bits")
    if function is operator.lshift and type(values[1]) is int and values[1] > 4096:
        b.refuse("a shift of integers that does not fit 64 bits")
    if (
        function is operator.mul
        and any(isinstance(v, (str, tuple, list)) for v in values)
        and any(v for v in values if type(v) is int and v > _SMALL)
    ):
        b.refuse("a sequence repeated so often")
    try:
        result = function(*values)
    except ArithmeticError as error:
        b.fail(type(error).__name__, str(error).replace("{", "{{").replace("}", "}}"))
        return Poison()
    except TypeError as error:
        b.refuse(str(error))
    if isinstance(result, np.ndarray):
        b.refuse("an array that is made of constants alone here", "pass it as an argument")
    return Sequence_(tuple(Static(v) for v in result), type(result) is list) if type(result) in (tuple, list) else Static(result)


def _size(b: TypedBuilder, op: str, x: Abstract, y: Abstract) -> Abstract | None:
    """Arithmetic on sizes stays symbolic where it cannot leave 64 bits: linear, with small factors."""
    if not (isinstance(x, SymInt) or isinstance(y, SymInt)) or op not in ("+", "-", "*", "//", "%"):
        return None
    parts: list[Dim] = []
    for side in (x, y):
        if isinstance(side, SymInt):
            parts.append(side.dim)
        elif isinstance(side, Static) and type(side.value) is int and abs(side.value) < _SMALL:
            parts.append(side.value)
        else:
            return None
    one, other = parts
    if op in ("//", "%"):
        if not (isinstance(other, int) and other > 0):
            return None
        result = dims.floordiv(one, other) if op == "//" else dims.mod(one, other)
    elif op == "*" and not (isinstance(one, int) or isinstance(other, int)):
        result = one * other  # lengths of arrays in memory: their products fit
        if any(len(m) > 2 for m, _ in getattr(result, "terms", ())):
            return None
    else:
        result = one + other if op == "+" else one - other if op == "-" else one * other
    if isinstance(result, int):
        return Static(result)
    return SymInt(result) if all(abs(f) < _SMALL for _, f in result.terms) else None


def compare(b: TypedBuilder, op: str, x: Abstract, y: Abstract) -> Abstract:
    """x op y for a comparison, an identity or a membership test."""
    if isinstance(x, Poison) or isinstance(y, Poison):
        return Poison()
    use(b, x)
    use(b, y)
    if op in ("is", "isnot"):
        if x is not y and _is_argument(b, x) and _is_argument(b, y):
            found: Abstract = b.add("same_object", (x, y), PY_BOOL)  # type: ignore[arg-type]
            return found if op == "is" else negate(b, found)
        return Static(_identical(b, x, y) == (op == "is"))
    if op in ("in", "notin"):
        return _contains(b, x, y, op == "notin")
    function, ufunc_row, python_row = COMPARE[op]
    if not (is_static(x) and is_static(y)) or is_numpy(x) or is_numpy(y):
        x, y = plain_numbers(b, function, x, y, is_numpy(x) or is_numpy(y))
    if op in ("==", "!="):  # complex leaves the order to NumPy
        y = _as_complex_takes(b, x, y)
    if is_numpy(x) or is_numpy(y):
        if any(isinstance(s, Static) and s.value is None for s in (x, y)) and op in ("==", "!="):
            b.refuse(f"an array compared to None with {op}", "write `is None`")
        return b.elementwise(ufunc_row, x, y)
    if is_static(x) and is_static(y):
        return fold(b, function, x, y)
    if is_number(x) and is_number(y):
        known = _compare_sizes(b, op, x, y)
        return Static(known) if known is not None else python_op(b, python_row, op, x, y)
    if isinstance(x, Sequence_) and isinstance(y, Sequence_) and op in ("==", "!="):
        return _compare_items(b, op, x, y)
    statics = [v for v in (x, y) if isinstance(v, Static)]
    if op in ("==", "!=") and statics and all(is_static(v) and equals_no_number(v) for v in statics):
        return Static(op == "!=")
    b.refuse(f"comparison {op} of {describe(x)} and {describe(y)}")


def _compare_items(b: TypedBuilder, op: str, x: Sequence_, y: Sequence_) -> Abstract:
    """Tuples: equal where all items are."""
    if x.is_list != y.is_list or len(x.items) != len(y.items):
        return Static(op == "!=")
    result: Abstract = Static(True)
    for i, j in zip(x.items, y.items, strict=True):
        if i is j:  # an object equals itself there, NaN too
            continue
        one = compare(b, "==", i, j)
        if isinstance(one, Static):
            if not one.value:
                return Static(op == "!=")
        elif isinstance(one, Value) and one.type == PY_BOOL:
            result = one if isinstance(result, Static) else python_op(b, "py_and", "and", result, one)
        else:
            b.refuse("tuples with arrays compared", "compare them item by item")
    return result if op == "==" else negate(b, result)


def _compare_sizes(b: TypedBuilder, op: str, x: Abstract, y: Abstract) -> bool | None:
    """A comparison of sizes that is known for every size."""
    try:
        one, other = (s.dim if isinstance(s, SymInt) else s.value for s in (x, y))  # type: ignore[union-attr]
    except AttributeError:
        return None
    if any(isinstance(s, (float, complex, bool)) for s in (one, other)):
        return None
    difference = b.canon(one - other)
    low, high = dims.bounds(difference)
    if not dims.can_be_one(difference + 1) and low <= 0 <= high:  # known not to be 0, as a length is known not to be 1
        pass
    table = {
        "==": (low == high == 0, low > 0 or high < 0),
        "!=": (low > 0 or high < 0, low == high == 0),
        "<": (high < 0, low >= 0),
        "<=": (high <= 0, low > 0),
        ">": (low > 0, high <= 0),
        ">=": (low >= 0, high < 0),
    }
    yes, no = table[op]
    return True if yes else False if no else None


def _is_argument(b: TypedBuilder, x: Abstract) -> bool:
    """Whether a value is an array that the caller holds: there may be another name of it."""
    return isinstance(x, Value) and x in b.arguments and isinstance(x.type, ArrayType)


def _identical(b: TypedBuilder, x: Abstract, y: Abstract) -> bool:
    if x is y:
        return True
    if isinstance(x, Static) and isinstance(y, Static):
        return x.value is y.value
    if any(isinstance(s, Static) and not isinstance(s.value, (*_NUMBERS, np.generic)) for s in (x, y)):
        return False  # what is no number is not one
    if isinstance(x, Value) and isinstance(y, Value) and isinstance(x.type, ArrayType) and isinstance(y.type, ArrayType):
        b.refuse("`is` between two arrays", "compare what they hold")
    if is_number(x) or is_number(y):
        b.refuse("`is` between numbers", "write ==")
    if isinstance(x, Sequence_) and isinstance(y, Sequence_) and x.is_list == y.is_list:
        b.refuse(f"`is` between two {'lists' if x.is_list else 'tuples'}", "write ==")
    return False


def _contains(b: TypedBuilder, x: Abstract, container: Abstract, inverted: bool) -> Abstract:
    if is_static(x) and is_static(container):
        found = fold(b, operator.contains, container, x)
        return Static(not found.value) if inverted and isinstance(found, Static) else found
    if isinstance(container, Sequence_):
        result: Abstract = Static(False)
        for item in container.items:
            one = Static(True) if x is item else truth(b, compare(b, "==", x, item))
            if isinstance(one, Static):
                if one.value:
                    return Static(not inverted)
            else:
                result = one if isinstance(result, Static) else python_op(b, "py_or", "or", result, one)
        return negate(b, result) if inverted else result
    if b.is_array(container) and (is_number(x) or is_numpy(x) or is_static(x)):
        found = truth(b, b.call("any", compare(b, "==", container, x)))
        return negate(b, found) if inverted else found
    b.refuse(f"`in` {describe(container)}")


def unary(b: TypedBuilder, op: str, x: Abstract) -> Abstract:
    """op x."""
    if isinstance(x, Poison):
        return x
    use(b, x)
    if op == "not":
        return negate(b, truth(b, x))
    function, ufunc_row, python_row = UNARY[op]
    if is_numpy(x):
        return b.elementwise(ufunc_row, x, checked=ufunc_row in _CHECKED and not b.is_array(x))
    if is_static(x):
        return fold(b, function, x)
    if isinstance(x, SymInt):
        return x if op == "+" else b.int_of(-x.dim if op == "-" else -x.dim - 1)
    if is_number(x):
        return python_op(b, python_row, op, x)
    b.refuse(f"operator {op} of {describe(x)}")


def negate(b: TypedBuilder, condition: Abstract) -> Abstract:
    """not condition, for a bool."""
    if isinstance(condition, Static):
        return Static(not condition.value)
    return python_op(b, "py_not", "not", condition)


def truth(b: TypedBuilder, x: Abstract) -> Abstract:
    """bool(x): Static, or a Python bool of the graph."""
    use(b, x)
    if isinstance(x, Sequence_):
        return Static(bool(x.items))
    if isinstance(x, SymInt):
        known = _compare_sizes(b, "!=", x, Static(0))
        return Static(known) if known is not None else python_op(b, "py_ne", "!=", x, Static(0))
    if isinstance(x, Value):
        return _truth_of_value(b, x)
    if isinstance(x, Static) and is_static(x):
        try:
            return Static(bool(x.value))
        except Exception as error:
            b.refuse(f"the truth value of {describe(x)}: {error}")
    if isinstance(x, Poison):
        return x
    b.refuse(f"the truth value of {describe(x)}")


def _truth_of_value(b: TypedBuilder, x: Value) -> Abstract:
    if isinstance(x.type, ArrayType):
        for axis, size in enumerate(x.type.shape):
            if size == 1:
                continue
            if len(x.type.shape) == 1 or axis == len(x.type.shape) - 1 or isinstance(size, int):
                message = "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
                count = dims.product(x.type.shape)
                empty = "The truth value of an empty array is ambiguous. Use `array.size > 0` to check that an array is not empty."
                b.check("gt", count, 0, "ValueError", empty)
                b.check("eq", count, 1, "ValueError", message)
                break
        x = b.load(b.view(x, (), (), (0,) * x.type.rank) if x.type.shape else x)
    if x.type == PY_BOOL:
        return x
    assert isinstance(x.type, ScalarType)
    return b.add("truth", (x,), PY_BOOL, loop=Loop((x.type.dtype,), x.type.dtype))


def use(b: TypedBuilder, x: Abstract) -> None:
    """Refuse what is no value: a variable that no path has assigned raises UnboundLocalError when the program gets here."""
    if isinstance(x, Unbound):
        b.fail(
            "UnboundLocalError",
            f"cannot access local variable '{x.name}' where it is not associated with a value",
        )
    if isinstance(x, Raised):
        b.refuse("an exception used as a value")
