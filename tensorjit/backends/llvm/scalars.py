"""The intrinsics of the kernel IR as LLVM instructions, at any width: vector loops and host code share these very lines.

    emit_intrinsic(builder, name, args, dtypes, dtype)   one intrinsic of register values
    eval_expr(builder, expr, env)                        a scalar expression, for host code

Every result is defined for every input, and the flags raised are NumPy's. Tables by kind of the first argument's dtype
say what is done; float16 computes in float and rounds after each operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from llvmlite import ir

from tensorjit.backends.llvm import complexes, division, neighbours, vmath
from tensorjit.backends.llvm.casts import cast
from tensorjit.backends.llvm.divisors import int_gcd, int_lcm
from tensorjit.backends.llvm.libm import C_NAMES, call_libm
from tensorjit.backends.llvm.quiet import declare, quiet_fcmp, strict_fcmp, suffix, to_half
from tensorjit.backends.llvm.registers import (
    Pair,
    Register,
    any_lane,
    call_intrinsic,
    constant,
    fence,
    map_parts,
    number,
    scalar_type,
    select,
    vector_type,
    width_of,
)
from tensorjit.ir.dtypes import F32, U8, U16, U32, U64, DType
from tensorjit.ir.kernel import COMPARISONS, MATH, TESTS, Apply, Const, Expr, Load, Ref

__all__ = ["emit_intrinsic", "eval_expr", "fold"]

Emit = Callable[..., Register]
"""(builder, dtype of the first argument, *args) -> result."""


def emit_intrinsic(builder: ir.IRBuilder, name: str, args: Sequence[Register], dtypes: Sequence[DType], dtype: DType) -> Register:
    """The intrinsic `name` of args, all of one width, of `dtypes`; the result's dtype is `dtype`."""
    special = _SPECIAL.get(name)
    if special is not None:
        return special(builder, list(args), list(dtypes), dtype)
    operand = dtypes[0]
    if name in COMPARISONS or name in TESTS:
        emit = _PREDICATES[operand.kind][name]
        return emit(builder, operand, *args)
    if operand.name == "f16" and name not in _ON_HALF:
        return _by_float(builder, name, args, dtypes)
    table = _ON_HALF if operand.name == "f16" else _ARITHMETIC[operand.kind]
    if name not in table:
        raise NotImplementedError(f"{name} of {operand}")
    return table[name](builder, operand, *args)


def _by_float(builder: ir.IRBuilder, name: str, args: Sequence[Register], dtypes: Sequence[DType]) -> Register:
    wide = [cast(builder, a, d, F32) if d.name == "f16" else a for a, d in zip(args, dtypes, strict=True)]
    wide_dtypes = [F32 if d.name == "f16" else d for d in dtypes]
    result = emit_intrinsic(builder, name, wide, wide_dtypes, F32)
    return to_half(builder, result)


# -- expressions ------------------------------------------------------------------------------------------

T = TypeVar("T")


def fold(expr: Expr, visit: Callable[[Expr, list[T]], T]) -> T:
    """visit(node, values of its operands) from the leaves up: without recursion, since fused chains are deep, and once
    for an object that occurs several times."""
    done: dict[int, T] = {}
    stack: list[Expr] = [expr]
    while stack:
        node = stack[-1]
        if id(node) in done:
            stack.pop()
            continue
        operands = node.args if isinstance(node, Apply) else node.indices if isinstance(node, Load) else ()
        missing = [o for o in operands if id(o) not in done]
        if missing:
            stack.extend(reversed(missing))
            continue
        done[id(node)] = visit(node, [done[id(o)] for o in operands])
        stack.pop()
    return done[id(expr)]


def eval_expr(builder: ir.IRBuilder, expr: Expr, env: Mapping[str, Register]) -> Register:
    """A scalar expression without loads; `env` has the registers of its names."""

    def visit(node: Expr, operands: list[Register]) -> Register:
        match node:
            case Const(value, dtype):
                return constant(dtype, value)
            case Ref(name, _):
                return env[name]
            case Apply(intrinsic, args, dtype):
                return emit_intrinsic(builder, intrinsic, operands, [a.dtype for a in args], dtype)
        raise NotImplementedError("a load in a scalar expression")

    return fold(expr, visit)


# -- small pieces ------------------------------------------------------------------------------------------


def _method(name: str) -> Emit:
    def emit(b: ir.IRBuilder, dtype: DType, *args: ir.Value) -> ir.Value:
        return getattr(b, name)(*args)

    return emit


def _llvm(name: str, *flags: int) -> Emit:
    def emit(b: ir.IRBuilder, dtype: DType, *args: ir.Value) -> ir.Value:
        return call_intrinsic(b, name, *args, flags=flags)

    return emit


def _same(b: ir.IRBuilder, dtype: DType, x: Register) -> Register:
    return x


def _icmp(relation: str) -> Emit:
    def emit(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
        compare = b.icmp_signed if dtype.kind == "i" else b.icmp_unsigned
        return compare(relation, x, y)

    return emit


def _fcmp(predicate: str) -> Emit:
    def emit(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
        return quiet_fcmp(b, predicate, x, y)

    return emit


def _complex_compare(relation: str) -> Emit:
    def emit(b: ir.IRBuilder, dtype: DType, x: Pair, y: Pair) -> ir.Value:
        if relation not in ("eq", "ne"):  # NumPy's are C's, which are not quiet
            same = quiet_fcmp(b, "oeq", x.re, y.re)
            unordered = b.and_(same, quiet_fcmp(b, "uno", x.im, y.im))
            division.raise_flag(b, "invalid", b.or_(unordered, quiet_fcmp(b, "uno", x.re, y.re)))
        return complexes.compare(b, relation, x, y)

    return emit


def _on_pairs(function: Callable[..., Register]) -> Emit:
    def emit(b: ir.IRBuilder, dtype: DType, *args: Register) -> Register:
        return function(b, *args)

    return emit


def _false(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    return number(_mask_type(x), 0)


def _true(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    return number(_mask_type(x), 1)


def _mask_type(x: ir.Value) -> ir.Type:
    return vector_type(ir.IntType(1), width_of(x))


# -- integers ------------------------------------------------------------------------------------------


def _int_neg(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    return b.sub(number(x.type, 0), x)


def _int_abs(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    return call_intrinsic(b, "abs", x, flags=(0,)) if dtype.kind == "i" else x


def _int_min(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
    return call_intrinsic(b, "smin" if dtype.kind == "i" else "umin", x, y)


def _int_max(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
    return call_intrinsic(b, "smax" if dtype.kind == "i" else "umax", x, y)


def _shl(b: ir.IRBuilder, dtype: DType, x: ir.Value, count: ir.Value) -> ir.Value:
    inside, safe = _safe_count(b, dtype, count)
    return b.select(inside, b.shl(x, safe), number(x.type, 0))


def _shr(b: ir.IRBuilder, dtype: DType, x: ir.Value, count: ir.Value) -> ir.Value:
    inside, safe = _safe_count(b, dtype, count)
    if dtype.kind == "u":
        return b.select(inside, b.lshr(x, safe), number(x.type, 0))
    return b.ashr(x, b.select(inside, safe, number(x.type, 8 * dtype.size - 1)))


def _safe_count(b: ir.IRBuilder, dtype: DType, count: ir.Value) -> tuple[ir.Value, ir.Value]:
    inside = b.icmp_unsigned("<", count, number(count.type, 8 * dtype.size))
    return inside, b.and_(count, number(count.type, 8 * dtype.size - 1))


def _int_fma(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    return b.add(b.mul(x, y), z)


def _int_pow(b: ir.IRBuilder, dtype: DType, x: ir.Value, exponent: ir.Value) -> ir.Value:
    """By squaring, until no lane has bits of its exponent left; a negative exponent (an error in NumPy) counts unsigned."""
    before, body, after = b.block, b.append_basic_block("pow"), b.append_basic_block("pow.end")
    b.branch(body)
    b.position_at_end(body)
    result, power, left = (b.phi(x.type) for _ in range(3))
    odd = b.trunc(left, _mask_type(x))
    new_result = b.select(odd, b.mul(result, power), result)
    new_power = b.mul(power, power)
    new_left = b.lshr(left, number(x.type, 1))
    starts = (number(x.type, 1), x, exponent)
    for phi, start, new in zip((result, power, left), starts, (new_result, new_power, new_left), strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(new, body)
    more = b.icmp_unsigned("!=", new_left, number(x.type, 0))
    b.cbranch(any_lane(b, more), body, after)
    b.position_at_end(after)
    return new_result


# -- floats ------------------------------------------------------------------------------------------


def _keeps(strict: str, keep_nan: bool) -> Emit:
    """x where `x strict y` or, for keep_nan, x is NaN; otherwise, and where they are equal, y."""

    def emit(b: ir.IRBuilder, dtype: DType, x: ir.Value, y: ir.Value) -> ir.Value:
        nan = quiet_fcmp(b, "uno", x, x) if keep_nan else quiet_fcmp(b, "uno", y, y)
        return fence(b, b.select(b.or_(quiet_fcmp(b, strict, x, y), nan), x, y))

    return emit


_FLOAT_ORDER: dict[str, Emit] = {
    "min": _keeps("olt", True), "max": _keeps("ogt", True),
    "fmin": _keeps("olt", False), "fmax": _keeps("ogt", False),
}  # fmt: skip


def _float_bits(change: Callable[..., ir.Value]) -> Emit:
    """Of a float's bits, since arithmetic would touch a NaN."""

    def emit(b: ir.IRBuilder, dtype: DType, *args: ir.Value) -> ir.Value:
        typ = vector_type(ir.IntType(8 * dtype.size), width_of(args[0]))
        sign = 1 << (8 * dtype.size - 1)
        words = [b.bitcast(a, typ) for a in args]
        return b.bitcast(change(b, number(typ, sign), number(typ, sign - 1), *words), args[0].type)

    return emit


def _signbit(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    if dtype.kind == "f":
        x = b.bitcast(x, vector_type(ir.IntType(8 * dtype.size), width_of(x)))
    return b.icmp_signed("<", x, number(x.type, 0))


def _magnitude_test(relation: str) -> Emit:
    """Of |x| against infinity, by bits."""

    def emit(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
        bits = 8 * dtype.size
        typ = vector_type(ir.IntType(bits), width_of(x))
        infinity = {16: 0x7C00, 32: 0x7F800000, 64: 0x7FF0000000000000}[bits]
        size = b.and_(b.bitcast(x, typ), number(typ, (1 << (bits - 1)) - 1))
        return b.icmp_signed(relation, size, number(typ, infinity))

    return emit


def _math(name: str) -> Emit:
    def emit(b: ir.IRBuilder, dtype: DType, *args: ir.Value) -> ir.Value:
        if name in vmath.VECTOR_MATH:
            return vmath.emit(b, name, args)
        return call_libm(b, C_NAMES.get(name, name), args)

    return emit


def _on_floats(function: Callable[..., ir.Value]) -> Emit:
    def emit(b: ir.IRBuilder, dtype: DType, *args: ir.Value) -> ir.Value:
        return function(b, *args)

    return emit


# -- complex ------------------------------------------------------------------------------------------


def _complex_abs(b: ir.IRBuilder, dtype: DType, x: Pair) -> ir.Value:
    return call_libm(b, "hypot", list(x))


def _either(test: Emit, joined: str) -> Emit:
    def emit(b: ir.IRBuilder, dtype: DType, x: Pair) -> ir.Value:
        return getattr(b, joined)(*(test(b, dtype.part, part) for part in x))

    return emit


# -- the tables ------------------------------------------------------------------------------------------

_INT: dict[str, Emit] = {
    "add": _method("add"), "sub": _method("sub"), "mul": _method("mul"), "neg": _int_neg, "abs": _int_abs,
    "floordiv": division.int_floordiv, "mod": division.int_mod, "truncrem": division.int_truncrem,
    "min": _int_min, "max": _int_max, "fmin": _int_min, "fmax": _int_max,
    "and": _method("and_"), "or": _method("or_"), "xor": _method("xor"), "not": _method("not_"),
    "shl": _shl, "shr": _shr, "fma": _int_fma, "pow": _int_pow, "gcd": int_gcd, "lcm": int_lcm,
    "floor": _same, "ceil": _same, "trunc": _same, "rint": _same,
}  # fmt: skip

_BOOL: dict[str, Emit] = {
    "add": _method("or_"), "mul": _method("and_"), "abs": _same,
    "min": _method("and_"), "max": _method("or_"), "fmin": _method("and_"), "fmax": _method("or_"),
    "and": _method("and_"), "or": _method("or_"), "xor": _method("xor"), "not": _method("not_"),
    "floor": _same, "ceil": _same, "trunc": _same, "rint": _same,
}  # fmt: skip

_FLOAT: dict[str, Emit] = {
    "add": _method("fadd"), "sub": _method("fsub"), "mul": _method("fmul"), "div": _method("fdiv"),
    "neg": _method("fneg"), "abs": _llvm("fabs"), "copysign": _llvm("copysign"),
    "floordiv": _on_floats(division.float_floordiv), "mod": _on_floats(division.float_mod),
    "truncrem": _on_floats(division.float_truncrem),
    **_FLOAT_ORDER,
    "sqrt": _llvm("sqrt"), "floor": _llvm("floor"), "ceil": _llvm("ceil"), "trunc": _llvm("trunc"),
    "rint": _llvm("roundeven"), "fma": _llvm("fma"),
    **{name: _math(name) for name in MATH},
    "nextafter": _on_floats(neighbours.nextafter), "spacing": _on_floats(neighbours.spacing),
    "ldexp": _on_floats(neighbours.ldexp),
}  # fmt: skip

_ON_HALF: dict[str, Emit] = {
    "neg": _float_bits(lambda b, sign, rest, x: b.xor(x, sign)),
    "abs": _float_bits(lambda b, sign, rest, x: b.and_(x, rest)),
    "copysign": _float_bits(lambda b, sign, rest, x, y: b.or_(b.and_(x, rest), b.and_(y, sign))),
    # of equals the first, unlike the wider floats
    "min": _keeps("ole", True), "max": _keeps("oge", True),
    "fmin": _keeps("ole", False), "fmax": _keeps("oge", False),
}  # fmt: skip

_COMPLEX: dict[str, Emit] = {
    "add": _on_pairs(complexes.add), "sub": _on_pairs(complexes.sub), "neg": _on_pairs(complexes.neg),
    "mul": _on_pairs(complexes.mul), "div": _on_pairs(complexes.div), "abs": _complex_abs,
    "min": _on_pairs(complexes.minimum), "max": _on_pairs(complexes.maximum),
    "fmin": _on_pairs(complexes.fmin), "fmax": _on_pairs(complexes.fmax),
}  # fmt: skip

_ARITHMETIC: dict[str, dict[str, Emit]] = {"b": _BOOL, "i": _INT, "u": _INT, "f": _FLOAT, "c": _COMPLEX}

_RELATIONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_FLOAT_TESTS: dict[str, Emit] = {
    "isnan": _magnitude_test(">"), "isinf": _magnitude_test("=="), "isfinite": _magnitude_test("<"),
    "signbit": _signbit,
}  # fmt: skip
_INT_PREDICATES: dict[str, Emit] = {
    **{name: _icmp(sign) for name, sign in _RELATIONS.items()},
    "isnan": _false, "isinf": _false, "isfinite": _true,
}  # fmt: skip
_PREDICATES: dict[str, dict[str, Emit]] = {
    "b": {**_INT_PREDICATES, "signbit": _false},
    "i": {**_INT_PREDICATES, "signbit": _signbit},
    "u": {**_INT_PREDICATES, "signbit": _false},
    "f": {**{n: _fcmp("une" if n == "ne" else "o" + n) for n in _RELATIONS}, **_FLOAT_TESTS},
    "c": {
        **{name: _complex_compare(name) for name in _RELATIONS},
        **{n: _either(t, "and_" if n == "isfinite" else "or_") for n, t in _FLOAT_TESTS.items()},
    },
}

# -- intrinsics that mix dtypes ------------------------------------------------------------------------------------------


def _select(b: ir.IRBuilder, args: list[Register], dtypes: list[DType], dtype: DType) -> Register:
    chosen = select(b, args[0], *(map_parts(lambda part: _computed(b, part), a) for a in args[1:]))
    return map_parts(lambda part: fence(b, part), chosen)


def _computed(b: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """An operand of a select, with its flags whichever is chosen."""
    fenced = fence(b, value)
    if fenced is not value and width_of(value) == 1:
        # a select of scalars can become a branch, into which LLVM would move what is for one side, but not from before this
        strict_fcmp(b, "uno", fenced, fenced)
    return fenced


def _cast(b: ir.IRBuilder, args: list[Register], dtypes: list[DType], dtype: DType) -> Register:
    return cast(b, args[0], dtypes[0], dtype)


def _bits(b: ir.IRBuilder, args: list[Register], dtypes: list[DType], dtype: DType) -> Register:
    (x,) = args
    if dtypes[0].kind == "b" or dtype.kind == "b":
        return cast(b, x, dtypes[0], dtype)
    return map_parts(lambda part: b.bitcast(part, vector_type(scalar_type(dtype), width_of(part))), x)


def _complex(b: ir.IRBuilder, args: list[Register], dtypes: list[DType], dtype: DType) -> Register:
    return Pair(args[0], args[1])


def _real(b: ir.IRBuilder, args: list[Register], dtypes: list[DType], dtype: DType) -> Register:
    return args[0].re if isinstance(args[0], Pair) else args[0]


def _imag(b: ir.IRBuilder, args: list[Register], dtypes: list[DType], dtype: DType) -> Register:
    return args[0].im if isinstance(args[0], Pair) else number(args[0].type, 0)


def _popcount(b: ir.IRBuilder, args: list[Register], dtypes: list[DType], dtype: DType) -> Register:
    size = _int_abs(b, dtypes[0], args[0])
    bits = declare(b.module, f"llvm.ctpop.{suffix(size.type)}", size.type, [size.type])
    unsigned = dtypes[0] if dtypes[0].kind == "u" else _UNSIGNED[dtypes[0].size]
    return cast(b, b.call(bits, [size]), unsigned, dtype)


_UNSIGNED = {d.size: d for d in (U8, U16, U32, U64)}

_SPECIAL: dict[str, Callable[[ir.IRBuilder, list[Register], list[DType], DType], Register]] = {
    "select": _select, "cast": _cast, "bits": _bits, "complex": _complex, "real": _real, "imag": _imag,
    "popcount": _popcount,
}  # fmt: skip
