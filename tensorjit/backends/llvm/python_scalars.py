"""Python's own scalars in native code: the fast case in line, every other case by asking Python.

An emitter computes the usual result and says when it holds; where it does not (an int beyond 64 bits, NaN from a
finite argument, a comparison that no double decides), the operands are boxed and Python's own operator is called, so
that results and exceptions are Python's. What has no emitter is always asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from tensorjit.backends.llvm import complexes, division
from tensorjit.backends.llvm.abi import DOUBLE, I32, I64, LAYOUT
from tensorjit.backends.llvm.libm import call_libm
from tensorjit.backends.llvm.quiet import quiet_fcmp
from tensorjit.backends.llvm.registers import Pair, Register, call_intrinsic, map_parts, number
from tensorjit.errors import TypeInferenceError
from tensorjit.ir.dtypes import BOOL, C128, F64, DType
from tensorjit.ir.dtypes import I64 as INT
from tensorjit.ir.graph import Op, Value
from tensorjit.ir.types import ScalarType
from tensorjit.ops.python_scalars import PYTHON

if TYPE_CHECKING:
    from tensorjit.backends.llvm.driver import Driver

__all__ = ["EMITTERS", "FLOAT_ROWS", "emit"]

Emitter = Callable[["Driver", Op], Register]

_LEAST = -(2**63)
_EXACT = 1 << 53  # up to here every int is a double
_MIXED = "a negative number to a fractional power is complex, which is not known when the function is compiled"


def emit(d: Driver, op: Op) -> Register:
    """The result of a `py_*` or `math_*` op."""
    return EMITTERS.get(op.name, ask)(d, op)


# -- asking Python -------------------------------------------------------------------------------------------------


@functools.cache
def _asker(name: str, kind: str) -> Callable[..., Any]:
    """The row's callable, held to its result type."""
    function, wanted = PYTHON[name], {"b": bool, "i": int, "f": float, "c": complex}[kind]

    def ask_python(*args: Any) -> Any:
        result = function(*args)
        if isinstance(result, complex) and kind != "c":
            raise TypeInferenceError(_MIXED)
        if type(result) is not wanted:
            result = wanted(result)
        if kind == "i" and not _LEAST <= result < -_LEAST:
            raise OverflowError(f"Python integer result does not fit 64 bits: {name.split('_', 1)[1]}{args}")
        return result

    return ask_python


ASK_TURNS = 1 << 12  # simple turns that a call of Python takes, more or less


def ask(d: Driver, op: Op) -> Register:
    """Python's result: the operands boxed, the row's callable called, its result unboxed."""
    t, host = op.result.type, d.host
    assert isinstance(t, ScalarType)
    if d.released:  # it stays taken until the loop ends: to wait for it turn by turn would take much longer
        host.acquire_gil()
    if host.in_loop:
        host.charge(I64(ASK_TURNS))
    asker = host.constant(_asker(op.name, t.dtype.kind))
    result = host.call_object(asker, [d.box(v) for v in op.operands])
    if t.dtype.kind == "b":
        return d.emit.icmp_unsigned("==", result, host.python_object("_Py_TrueStruct"))
    if t.dtype.kind == "i":
        return host.call("tj_py_PyLong_AsLongLongAndOverflow", result, host.stack_array(I32, 1))
    if t.dtype.kind == "f":
        return host.load_field(result, LAYOUT.float_value, DOUBLE)
    return Pair(*(host.load_field(result, LAYOUT.complex_value + 8 * k, DOUBLE) for k in (0, 1)))


def settle(d: Driver, op: Op, safe: ir.Value, value: Register) -> Register:
    """`value` where `safe` holds, Python's result otherwise."""
    b, start = d.emit, d.emit.block
    cold, on = d.host.new_block("ask"), d.host.new_block("settled")
    b.cbranch(safe, on, cold).set_weights([1000, 1])
    b.position_at_end(cold)
    asked = ask(d, op)
    end = b.block
    b.branch(on)
    b.position_at_end(on)

    def join(fast: ir.Value, slow: ir.Value) -> ir.Value:
        phi = b.phi(fast.type)
        phi.add_incoming(fast, start)
        phi.add_incoming(slow, end)
        return phi

    return map_parts(join, value, asked)


# -- operands ------------------------------------------------------------------------------------------------------


def _dtype(v: Value) -> DType:
    assert isinstance(v.type, ScalarType)
    return v.type.dtype


def _kind(v: Value) -> str:
    kind = _dtype(v).kind
    return "i" if kind in "bu" else kind


def _as(d: Driver, op: Op, to: DType) -> list[Register]:
    return [d.convert(d.env[v], _dtype(v), to) for v in op.operands]


def _result(op: Op) -> DType:
    return _dtype(op.result)


# -- arithmetic ----------------------------------------------------------------------------------------------------

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "lshift": "<<"}


def _overflow(d: Driver, what: str, good: ir.Value, *numbers: ir.Value) -> None:
    d.raise_unless(good, "OverflowError", f"Python integer result does not fit 64 bits: {what}", numbers)


def _checked(d: Driver, name: str, x: ir.Value, y: ir.Value) -> ir.Value:
    both = getattr(d.emit, f"s{name}_with_overflow")(x, y)
    fits = d.emit.not_(d.emit.extract_value(both, 1))
    _overflow(d, f"{{}} {_SIGNS[name]} {{}}", fits, x, y)
    return d.emit.extract_value(both, 0)


def _arithmetic(name: str) -> Emitter:
    def emitter(d: Driver, op: Op) -> Register:
        kind = _result(op).kind
        if kind == "i":
            return _checked(d, name, *_as(d, op, INT))
        if kind == "f":
            return getattr(d.emit, f"f{name}")(*_as(d, op, F64))
        if any(_kind(v) != "c" for v in op.operands):  # from Python 3.14 on a real operand has no imaginary part
            return ask(d, op)
        x, y = _as(d, op, C128)
        if name != "mul":
            return getattr(complexes, name)(d.emit, x, y)
        return _complex_mul(d, op, x, y)

    return emitter


def _complex_mul(d: Driver, op: Op, x: Pair, y: Pair) -> Register:
    b = d.emit
    re = b.fsub(b.fmul(x.re, y.re), b.fmul(x.im, y.im))
    im = b.fadd(b.fmul(x.re, y.im), b.fmul(x.im, y.re))
    # from Python 3.14 on infinities are recovered from NaN
    return settle(d, op, b.fcmp_ordered("ord", re, im), Pair(re, im))


def _truediv(d: Driver, op: Op) -> Register:
    b = d.emit
    if _result(op).kind == "c":
        return ask(d, op)
    x, y = _as(d, op, F64)
    safe = quiet_fcmp(b, "une", y, number(DOUBLE, 0))
    if all(_kind(v) == "i" for v in op.operands):
        safe = functools.reduce(b.and_, [_is_exact(d, v) for v in op.operands], safe)
    divisor = b.select(safe, y, number(DOUBLE, 1))
    return settle(d, op, safe, b.fdiv(x, divisor))


def _is_exact(d: Driver, v: Value) -> ir.Value:
    """Whether an int is one that a double holds."""
    if _dtype(v).kind == "b":
        return ir.Constant(ir.IntType(1), 1)
    register = d.env[v]
    if isinstance(register, ir.Constant):
        return ir.Constant(ir.IntType(1), int(abs(_signed(register.constant)) <= _EXACT))
    return d.emit.icmp_unsigned("<=", d.emit.add(register, I64(_EXACT)), I64(2 * _EXACT))


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def _division(name: str) -> Emitter:
    def emitter(d: Driver, op: Op) -> Register:
        b = d.emit
        if _result(op).kind == "i":
            return _int_division(d, op, name)
        x, y = _as(d, op, F64)
        safe = quiet_fcmp(b, "une", y, number(DOUBLE, 0))
        divisor = b.select(safe, y, number(DOUBLE, 1))
        function = division.float_floordiv if name == "floordiv" else division.float_mod
        return settle(d, op, safe, function(b, x, divisor))

    return emitter


def _int_division(d: Driver, op: Op, name: str) -> Register:
    b = d.emit
    x, y = _as(d, op, INT)
    # 0 and, for the least int, -1
    known = isinstance(y, ir.Constant) and _signed(y.constant) not in (0, -1)
    safe = b.icmp_unsigned(">", b.add(y, I64(1)), I64(1))
    divisor = y if known else b.select(safe, y, I64(1))
    quotient = b.sdiv(x, divisor)
    rest = b.sub(x, b.mul(quotient, divisor))
    wrong = b.and_(b.icmp_signed("!=", rest, I64(0)), b.icmp_signed("<", b.xor(rest, divisor), I64(0)))
    lower = b.add(quotient, b.sext(wrong, I64))
    value = lower if name == "floordiv" else b.add(rest, b.select(wrong, divisor, I64(0)))
    return value if known else settle(d, op, safe, value)


def _pow(d: Driver, op: Op) -> Register:
    if _result(op).kind != "f":
        return ask(d, op)
    x, y = _as(d, op, F64)
    value = call_libm(d.emit, "pow", [x, y])
    # a zero to a negative power, a negative to a fractional one
    return settle(d, op, _is_finite(d, value), value)


def _is_finite(d: Driver, value: ir.Value) -> ir.Value:
    size = call_intrinsic(d.emit, "fabs", value)
    return quiet_fcmp(d.emit, "olt", size, number(DOUBLE, float("inf")))


# -- bits ----------------------------------------------------------------------------------------------------------


def _logic(name: str) -> Emitter:
    return lambda d, op: getattr(d.emit, name)(*_as(d, op, _result(op)))


def _lshift(d: Driver, op: Op) -> Register:
    b = d.emit
    x, count = _as(d, op, INT)
    small = b.icmp_unsigned("<", count, I64(64))
    shifted = b.shl(x, b.and_(count, I64(63)))
    kept = b.icmp_signed("==", b.ashr(shifted, b.and_(count, I64(63))), x)
    return settle(d, op, b.and_(small, kept), shifted)


def _rshift(d: Driver, op: Op) -> Register:
    b = d.emit
    x, count = _as(d, op, INT)
    near = b.select(b.icmp_unsigned("<", count, I64(63)), count, I64(63))
    return settle(d, op, b.icmp_signed(">=", count, I64(0)), b.ashr(x, near))


def _invert(d: Driver, op: Op) -> Register:
    (v,) = op.operands
    if _dtype(v).kind == "b":  # ~True warns, from Python 3.12 on
        return ask(d, op)
    return d.emit.not_(d.env[v])


# -- signs ---------------------------------------------------------------------------------------------------------


def _neg(d: Driver, op: Op) -> Register:
    (x,) = _as(d, op, _result(op))
    if _result(op).kind == "i":
        _overflow(d, "-({})", d.emit.icmp_signed("!=", x, I64(_LEAST)), x)
        return d.emit.sub(I64(0), x)
    return map_parts(d.emit.fneg, x)


def _pos(d: Driver, op: Op) -> Register:
    return _as(d, op, _result(op))[0]


def _abs(d: Driver, op: Op) -> Register:
    (v,) = op.operands
    b = d.emit
    if _kind(v) == "c":
        value = call_libm(b, "hypot", list(d.env[v]))
        return settle(d, op, _is_finite(d, value), value)
    (x,) = _as(d, op, _result(op))
    if _kind(v) == "f":
        return call_intrinsic(b, "fabs", x)
    _overflow(d, "abs({})", b.icmp_signed("!=", x, I64(_LEAST)), x)
    return call_intrinsic(b, "abs", x, flags=(0,))


# -- truth and order -----------------------------------------------------------------------------------------------


def _truth(d: Driver, v: Value) -> ir.Value:
    return d.convert(d.env[v], _dtype(v), BOOL)


def _not(d: Driver, op: Op) -> Register:
    return d.emit.not_(_truth(d, op.operands[0]))


def _bool(d: Driver, op: Op) -> Register:
    return _truth(d, op.operands[0])


_RELATIONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def _comparison(name: str) -> Emitter:
    def emitter(d: Driver, op: Op) -> Register:
        kinds = "".join(_kind(v) for v in op.operands)
        if kinds == "ii":
            return d.emit.icmp_signed(_RELATIONS[name], *_as(d, op, INT))
        result = _compare_complex(d, op, name) if "c" in kinds else _compare_float(d, name, *_as(d, op, F64))
        if "i" not in kinds:
            return result
        return settle(d, op, _is_exact(d, op.operands[kinds.index("i")]), result)

    return emitter


def _compare_float(d: Driver, name: str, x: ir.Value, y: ir.Value) -> ir.Value:
    return quiet_fcmp(d.emit, "une" if name == "ne" else f"o{name}", x, y)


def _compare_complex(d: Driver, op: Op, name: str) -> ir.Value:
    x, y = _as(d, op, C128)
    parts = (_compare_float(d, name, x.re, y.re), _compare_float(d, name, x.im, y.im))
    return d.emit.and_(*parts) if name == "eq" else d.emit.or_(*parts)


def _extremum(relation: str) -> Emitter:
    """The first, unless the second is strictly beyond it."""

    def emitter(d: Driver, op: Op) -> Register:
        b, (x, y) = d.emit, (d.env[v] for v in op.operands)
        kind = _dtype(op.operands[0]).kind
        if kind == "f":
            return b.select(_compare_float(d, relation, y, x), y, x)
        compare = b.icmp_unsigned if kind in "bu" else b.icmp_signed
        return b.select(compare(_RELATIONS[relation], y, x), y, x)

    return emitter


# -- conversions ---------------------------------------------------------------------------------------------------


def _whole(d: Driver, op: Op, value: ir.Value) -> Register:
    """A whole float as an int."""
    b = d.emit
    size = call_intrinsic(b, "fabs", value)
    safe = quiet_fcmp(b, "olt", size, number(DOUBLE, 2.0**63))
    return settle(d, op, safe, b.fptosi(b.select(safe, value, number(DOUBLE, 0)), I64))


def _int(d: Driver, op: Op) -> Register:
    (v,) = op.operands
    dtype = _dtype(v)
    if dtype.kind == "c":
        return ask(d, op)
    if dtype.kind == "f":
        return _whole(d, op, call_intrinsic(d.emit, "trunc", _as(d, op, F64)[0]))
    (x,) = _as(d, op, INT)
    return settle(d, op, d.emit.icmp_signed(">=", x, I64(0)), x) if dtype.kind == "u" and dtype.size == 8 else x


def _float(d: Driver, op: Op) -> Register:
    (v,) = op.operands
    return ask(d, op) if _kind(v) == "c" else _as(d, op, F64)[0]


def _complex(d: Driver, op: Op) -> Register:
    if any(_kind(v) == "c" for v in op.operands):
        return _as(d, op, C128)[0] if len(op.operands) == 1 else ask(d, op)
    re, *rest = _as(d, op, F64)
    return Pair(re, rest[0] if rest else number(DOUBLE, 0))


def _round(d: Driver, op: Op) -> Register:
    (v, *digits) = op.operands
    if _kind(v) == "f" and not digits:
        return _whole(d, op, call_intrinsic(d.emit, "roundeven", _as(d, op, F64)[0]))
    if _kind(v) == "i" and digits:
        (x, count) = _as(d, op, INT)
        return settle(d, op, d.emit.icmp_signed(">=", count, I64(0)), x)
    return ask(d, op)


# -- the math module -----------------------------------------------------------------------------------------------


def _math(name: str) -> Emitter:
    """The C library's function; what is not finite Python decides."""

    def emitter(d: Driver, op: Op) -> Register:
        value = call_libm(d.emit, name, _as(d, op, F64))
        return settle(d, op, _is_finite(d, value), value)

    return emitter


def _sqrt(d: Driver, op: Op) -> Register:
    value = call_intrinsic(d.emit, "sqrt", _as(d, op, F64)[0])
    return settle(d, op, _is_finite(d, value), value)


def _fmod(d: Driver, op: Op) -> Register:
    value = division.float_truncrem(d.emit, *_as(d, op, F64))
    return settle(d, op, _is_finite(d, value), value)


def _bits(name: str) -> Emitter:
    return lambda d, op: call_intrinsic(d.emit, name, *_as(d, op, F64))


def _angle(factor: float) -> Emitter:
    return lambda d, op: d.emit.fmul(_as(d, op, F64)[0], number(DOUBLE, factor))


def _rounded(name: str) -> Emitter:
    return lambda d, op: _whole(d, op, call_intrinsic(d.emit, name, _as(d, op, F64)[0]))


def _isnan(d: Driver, op: Op) -> Register:
    (x,) = _as(d, op, F64)
    return quiet_fcmp(d.emit, "uno", x, x)


def _isinf(d: Driver, op: Op) -> Register:
    size = call_intrinsic(d.emit, "fabs", _as(d, op, F64)[0])
    return quiet_fcmp(d.emit, "oeq", size, number(DOUBLE, float("inf")))


def _isfinite(d: Driver, op: Op) -> Register:
    return _is_finite(d, _as(d, op, F64)[0])


_BY_LIBM = (
    "exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "asinh", "acosh", "atanh", "atan2", "pow",
)  # fmt: skip

EMITTERS: Mapping[str, Emitter] = {
    **{f"py_{n}": _arithmetic(n) for n in ("add", "sub", "mul")},
    "py_truediv": _truediv, "py_floordiv": _division("floordiv"), "py_mod": _division("mod"), "py_pow": _pow,
    "py_and": _logic("and_"), "py_or": _logic("or_"), "py_xor": _logic("xor"), "py_invert": _invert,
    "py_lshift": _lshift, "py_rshift": _rshift, "py_neg": _neg, "py_pos": _pos, "py_abs": _abs,
    "py_not": _not, "py_bool": _bool, **{f"py_{n}": _comparison(n) for n in _RELATIONS},
    "py_min": _extremum("lt"), "py_max": _extremum("gt"),
    "py_int": _int, "py_float": _float, "py_complex": _complex, "py_round": _round,
    **{f"math_{n}": _math(n) for n in _BY_LIBM},
    "math_sqrt": _sqrt, "math_fmod": _fmod, "math_fabs": _bits("fabs"), "math_copysign": _bits("copysign"),
    "math_degrees": _angle(180.0 / 3.141592653589793), "math_radians": _angle(3.141592653589793 / 180.0),
    "math_isnan": _isnan, "math_isinf": _isinf, "math_isfinite": _isfinite,
    **{f"math_{n}": _rounded(n) for n in ("floor", "ceil", "trunc")},
}  # fmt: skip

FLOAT_ROWS = frozenset(
    {f"py_{n}" for n in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")}
    | {f"math_{n}" for n in (*_BY_LIBM, "sqrt", "fmod", "degrees", "radians")}
)
"""What may raise floating-point flags, which Python does not look at, if floats are among its operands. Rounding to an
int raises none but where Python raises an exception."""
