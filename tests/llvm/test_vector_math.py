"""Vector math: 1 ULP everywhere, the same bits at every width and on every target, NumPy's values and flags.

The campaign over every f32 (`TENSORJIT_CAMPAIGN=1 pytest tests/llvm/test_vector_math.py -k campaign`) takes some
minutes for each function.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from llvmlite import binding, ir

from tensorjit.backends.llvm.quiet import quiet_fcmp
from tensorjit.backends.llvm.vmath import VECTOR_MATH, emit
from tensorjit.backends.llvm.vmath.lanes import allow_permutes

Array = np.ndarray[Any, Any]
Emitter = Callable[[ir.IRBuilder, list[ir.Value]], ir.Value]

X86 = platform.machine() in ("x86_64", "AMD64")
TARGETS = ("host", "x86-64-v3") if X86 else ("host",)
AVX512 = X86 and binding.get_host_cpu_features().get("avx512f", False)
OPTIMISED = "host, after instcombine"
WIDTHS = {64: (1, 4, 8), 32: (1, 8, 16)}
DTYPES: dict[int, Any] = {64: np.float64, 32: np.float32}
NUMPY_NAMES = {"pow": "power"}
# the bits of fenv.h, in glibc's numbers
FLAGS = {"invalid": 1, "divide": 4, "over": 8} if X86 else {"invalid": 1, "divide": 2, "over": 4}
UNDERFLOW = 16 if X86 else 8
LONG_ENOUGH = np.finfo(np.longdouble).nmant >= 63
PARAMETERS = [(name, bits) for name in VECTOR_MATH for bits in (64, 32)]
COUNT = 1 << 14

LIBM = ctypes.CDLL(ctypes.util.find_library("m"))


@dataclass(frozen=True, slots=True)
class Compiled:
    """A loop over arrays; the engine lives as long as its code is called."""

    engine: binding.ExecutionEngine
    entry: Callable[..., None]
    result: Any

    def __call__(self, *arrays: Array) -> Array:
        out = np.empty(len(arrays[0]), self.result)
        self.entry(*(a.ctypes.data for a in arrays), out.ctypes.data, len(out))
        return out


def machine(target: str) -> binding.TargetMachine:
    """A fresh one: the engine that gets it owns it."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    host = target in ("host", OPTIMISED)
    cpu = binding.get_host_cpu_name() if host else target
    features = binding.get_host_cpu_features().flatten() if host else ""
    return binding.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=2)


def optimise(module: binding.ModuleRef) -> None:
    """The passes that the backend may run; none is needed, and none may change a bit or a flag."""
    builder = binding.create_pass_builder(machine("host"), binding.PipelineTuningOptions())
    passes = binding.create_new_module_pass_manager()
    passes.add_simplify_cfg_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, builder)


def loop(emitter: Emitter, scalar: ir.Type, width: int, arguments: int, result: ir.Type, target: str) -> Any:
    """`void f(a..., out, n)`: emitter on every `width` elements."""
    module = ir.Module()
    module.triple = binding.get_process_triple()
    pointer, i64 = ir.PointerType(), ir.IntType(64)
    signature = ir.FunctionType(ir.VoidType(), [pointer] * (arguments + 1) + [i64])
    function = ir.Function(module, signature, "tensorjit_test_loop")
    entry, body, end = (function.append_basic_block(name) for name in ("entry", "body", "end"))
    builder = ir.IRBuilder(entry)
    builder.branch(body)
    builder.position_at_end(body)
    index = builder.phi(i64)
    index.add_incoming(i64(0), entry)
    typ = ir.VectorType(scalar, width) if width > 1 else scalar
    loaded = [builder.load(builder.gep(a, [index], source_etype=scalar), typ=typ, align=2) for a in function.args[:arguments]]
    if X86:
        allow_permutes(module, 64 if target != "x86-64-v3" and AVX512 else 32)
    value = emitter(builder, loaded)
    builder.store(value, builder.gep(function.args[arguments], [index], source_etype=result), align=1)
    following = builder.add(index, i64(width))
    index.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, function.args[-1]), body, end)
    builder.position_at_end(end)
    builder.ret_void()
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    if target == OPTIMISED:
        optimise(parsed)
    engine = binding.create_mcjit_compiler(parsed, machine(target))
    engine.finalize_object()
    types = [ctypes.c_void_p] * (arguments + 1) + [ctypes.c_int64]
    address = engine.get_function_address("tensorjit_test_loop")
    return engine, ctypes.CFUNCTYPE(None, *types)(address)


@cache
def compiled(name: str, bits: int, width: int, target: str = "host") -> Compiled:
    scalar = ir.DoubleType() if bits == 64 else ir.FloatType()

    def emitter(builder: ir.IRBuilder, values: list[ir.Value]) -> ir.Value:
        return emit(builder, name, values)

    engine, entry = loop(emitter, scalar, width, VECTOR_MATH[name].arguments, scalar, target)
    return Compiled(engine, entry, DTYPES[bits])


def numpy_function(name: str) -> Any:
    return getattr(np, NUMPY_NAMES.get(name, name))


def words(rng: np.random.Generator, bits: int, count: int) -> Array:
    """Random bit patterns, without signalling NaNs."""
    kind: Any = np.uint64 if bits == 64 else np.uint32
    values = rng.integers(0, 2**bits, count, dtype=kind, endpoint=False).view(DTYPES[bits])
    values[np.isnan(values)] = np.nan
    return np.asarray(values)


def special_values(bits: int) -> Array:
    info = np.finfo(DTYPES[bits])
    tiny, least, most, step = (float(v) for v in (info.tiny, info.smallest_subnormal, info.max, info.eps))
    values = [
        0.0, np.inf, np.nan, 1.0, 1 + step, 1 - step / 2, 2.0, 0.5, 1.5, 3.0, 10.0, 1e-5, 1e-10, 1e-20, tiny, least,
        tiny * 0.75, tiny * 1e3, tiny**0.5, most, most / 2, 88.0, 89.0, 90.0, 104.0, 700.0, 709.0, 710.0, 711.0, 745.0,
        746.0, 1e3, 1e4, 1e5, 1e6, 1e9, 1e20, 1e37, 127.0, 128.0, 149.0, 150.0, 1022.0, 1023.0, 1024.0, 1074.0, 1075.0,
        1 / step, 2 / step, 2 / step - 1, 2 / step + 2,
    ]  # fmt: skip
    return np.array(values + [-v for v in values], DTYPES[bits])


def samples(bits: int, count: int, seed: int) -> Array:
    """Numbers of every size and of the sizes that matter."""
    rng = np.random.default_rng(seed)
    border = 745.0 if bits == 64 else 104.0
    parts = [
        words(rng, bits, count),
        rng.uniform(-1, 1, count),
        rng.uniform(-10, 10, count),
        1 + rng.normal(0, 0.01, count),
        rng.uniform(-border, border, count),
        rng.choice([-border, border], count) * rng.uniform(0.95, 1.0, count),
        np.exp(rng.uniform(-80, 80, count)),
        10.0 ** rng.uniform(-12, 0, count),
        rng.uniform(-1e6, 1e6, count),
        np.resize(np.arange(1, 4000) * (np.pi / 2), count),  # sin, cos and tan cancel here
        np.resize(special_values(bits), count),
    ]
    with np.errstate(all="ignore"):
        return np.concatenate([p.astype(DTYPES[bits]) for p in parts])


def arguments_of(name: str, bits: int, count: int = COUNT, seed: int = 1) -> list[Array]:
    """Arguments for a test, as many as a multiple of 16."""
    x = samples(bits, count, seed)
    if VECTOR_MATH[name].arguments == 1:
        return [x]
    rng = np.random.default_rng(seed + 1)
    y = rng.permutation(samples(bits, count, seed + 2))
    special = special_values(bits)
    a, b = (v.ravel() for v in np.meshgrid(special, special))
    base = np.exp(rng.uniform(-80, 80, count)).astype(DTYPES[bits])
    with np.errstate(all="ignore"):  # the power is of every exponent that there is
        power = (rng.uniform(-1100, 1100, count) / np.log2(base)).astype(DTYPES[bits])
    xs, ys = np.concatenate([x, a, base]), np.concatenate([y, b, power])
    return [v[: len(v) // 16 * 16] for v in (xs, ys)]


def ulps(got: Array, true: Array) -> Array:
    """The distance in units in the last place of true; infinity where a limit or a NaN is missed."""
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        nearest = true.astype(got.dtype)
        size = np.abs(true)
        ordinary = np.isfinite(got) & np.isfinite(nearest)
        exponent = np.frexp(np.where(ordinary & (size > 0), size, 1))[1]
        unit = np.ldexp(np.ones_like(true), np.maximum(exponent, info.minexp + 1) - 1 - info.nmant)
        same = (got == nearest) | (np.isnan(got) & np.isnan(nearest))
        away = np.where(ordinary, np.abs(got.astype(true.dtype) - true) / unit, np.where(same, 0, np.inf))
        signs = (got == 0) & (nearest == 0) & (np.signbit(got) != np.signbit(nearest))
    return np.where(signs, np.inf, away)


def overflowing(got: Array, true: Array) -> Array:
    """true, except that a result between the largest number and infinity may be rounded either way."""
    largest = float(np.finfo(got.dtype).max)
    between = np.isinf(got) & np.isfinite(true) & (np.abs(true) > largest)
    return np.where(between, got.astype(true.dtype), true)


@pytest.mark.skipif(not LONG_ENOUGH, reason="needs a long double wider than double")
@pytest.mark.parametrize(("name", "bits"), PARAMETERS)
def test_within_one_ulp_of_long_double(name: str, bits: int) -> None:
    arguments = arguments_of(name, bits)
    got = compiled(name, bits, WIDTHS[bits][-1])(*arguments)
    with np.errstate(all="ignore"):
        true = numpy_function(name)(*(a.astype(np.longdouble) for a in arguments))
    away = ulps(got, overflowing(got, true))
    worst = int(np.argmax(away))
    assert away[worst] <= 1.0, [float(a[worst]) for a in arguments]


MPMATH: dict[str, Callable[..., Any]] = {
    "exp": mpmath.exp, "log": mpmath.log, "sin": mpmath.sin, "cos": mpmath.cos, "tanh": mpmath.tanh,
    "pow": mpmath.power, "exp2": lambda x: mpmath.mpf(2) ** x, "expm1": mpmath.expm1,
    "log2": lambda x: mpmath.log(x, 2), "log10": mpmath.log10, "log1p": mpmath.log1p, "tan": mpmath.tan,
    "sinh": mpmath.sinh, "cosh": mpmath.cosh, "cbrt": mpmath.cbrt, "arctan": mpmath.atan, "arcsin": mpmath.asin,
    "arccos": mpmath.acos, "arcsinh": mpmath.asinh, "arccosh": mpmath.acosh, "arctanh": mpmath.atanh,
    "arctan2": mpmath.atan2, "hypot": mpmath.hypot,
}  # fmt: skip
# the multiple of pi/2 nearest to a double (Muller, Elementary Functions, table 11.1), and others that are hard
HARD = [6381956970095103.0 * 2.0**797, 5319372648326541.0 * 2.0**255, 1e22, 2.0**1023, 355.0, 2.0**27, 2.0**27 + 1]
ANYWHERE = [0.1, 0.5, 0.7, 0.9999999, 1e-9, 1e-3, 0.3466, 0.3465735, 0.41421356, 2.0**-30, 2.0**-31]
FROM_ONE = [1.0 + 2.0**-52, 1.0000001, 1.4142135, 1.4142136, 2.5, 18.2, 36.7, 700.0]


@pytest.mark.parametrize("name", VECTOR_MATH)
def test_within_one_ulp_of_mpmath(name: str) -> None:
    rng = np.random.default_rng(5)
    points = [*ANYWHERE, *rng.uniform(0, 1, 40)]
    if name not in ("arcsin", "arccos", "arctanh"):
        points += [*FROM_ONE, *rng.uniform(1, 30, 40)]
    if name in ("sin", "cos", "tan"):
        points += [*HARD, *np.exp(rng.uniform(0, 700, 40))]
    if name == "arccosh":
        points = [p for p in points if p >= 1]
    points = points[: len(points) // 8 * 8]
    arguments = [np.array(points), rng.permutation(points)][: VECTOR_MATH[name].arguments]
    got = compiled(name, 64, 8)(*arguments)
    with mpmath.workprec(1200):
        for result, *values in zip(got.tolist(), *(a.tolist() for a in arguments), strict=True):
            true = MPMATH[name](*(mpmath.mpf(v) for v in values))
            unit = mpmath.mpf(2) ** (max(mpmath.frexp(true)[1], -1021) - 53)
            assert abs(true) > np.finfo(float).max or abs(result - true) <= unit, (values, result)


@pytest.mark.parametrize(("name", "bits"), PARAMETERS)
def test_the_same_bits_at_every_width_on_every_target(name: str, bits: int) -> None:
    arguments = arguments_of(name, bits, count=2048, seed=7)
    expected = compiled(name, bits, 1)(*arguments)
    nan = np.isnan(expected)
    for target in (*TARGETS, OPTIMISED):
        for width in WIDTHS[bits]:
            got = compiled(name, bits, width, target)(*arguments)
            assert np.array_equal(np.isnan(got), nan), (target, width)
            assert got[~nan].tobytes() == expected[~nan].tobytes(), (target, width)


def flags_of(call: Callable[..., Any], *arguments: Any) -> set[str]:
    """The status flags that a call raises, underflow left out."""
    LIBM.feclearexcept(UNDERFLOW | sum(FLAGS.values()))
    call(*arguments)
    raised = LIBM.fetestexcept(UNDERFLOW | sum(FLAGS.values()))
    LIBM.feclearexcept(UNDERFLOW | sum(FLAGS.values()))
    return {name for name, bit in FLAGS.items() if raised & bit}


def numpy_flags(function: Any, *arguments: Array) -> set[str]:
    raised = set()
    for flag in FLAGS:
        errors: Any = {flag: "raise"}
        with np.errstate(all="ignore"), np.errstate(**errors):
            try:
                function(*arguments)
            except FloatingPointError:
                raised.add(flag)
    return raised


@pytest.mark.parametrize("target", (*TARGETS, OPTIMISED))
@pytest.mark.parametrize(("name", "bits"), PARAMETERS)
def test_flags_are_numpys(name: str, bits: int, target: str) -> None:
    arity = VECTOR_MATH[name].arguments
    rng = np.random.default_rng(3)
    specials = np.concatenate([special_values(bits), words(rng, bits, 60)])
    cases: Sequence[tuple[Any, ...]] = [(v,) for v in specials]
    if arity == 2:
        cases = [tuple(rng.choice(specials, 2)) for _ in range(1500)]
    function = compiled(name, bits, 4 if target == "x86-64-v3" else 8, target)
    for case in cases:
        arrays = [np.full(8, 1.5 if name == "arccosh" else 0.75, DTYPES[bits]) for _ in case]
        for array, value in zip(arrays, case, strict=True):
            array[3] = value
        if name == "pow" and np.isinf(case[1]):
            continue  # NumPy raises overflow for some infinite powers, whose results are exact
        expected = numpy_flags(numpy_function(name), *(np.full(1, v) for v in case))
        assert flags_of(function, *arrays) == expected, case


@pytest.mark.parametrize(("name", "bits"), [(n, b) for n, b in PARAMETERS if VECTOR_MATH[n].arguments == 1])
def test_no_underflow_without_a_subnormal_result(name: str, bits: int) -> None:
    function = compiled(name, bits, 8)
    tiny = np.finfo(DTYPES[bits]).tiny
    for value in special_values(bits):
        arrays = [np.full(8, value)]
        LIBM.feclearexcept(UNDERFLOW)
        result = function(*arrays)[0]
        raised = LIBM.fetestexcept(UNDERFLOW)
        LIBM.feclearexcept(UNDERFLOW | sum(FLAGS.values()))
        assert not raised or abs(result) <= tiny, value


def test_powers_that_are_exact() -> None:
    x = samples(64, 1024, 11)
    function = compiled("pow", 64, 8)
    with np.errstate(all="ignore"):
        assert np.array_equal(function(x, np.full_like(x, 2.0)), x * x, equal_nan=True)
        assert np.array_equal(function(x, np.full_like(x, 1.0)), x, equal_nan=True)
        roots = np.where(np.isneginf(x), np.inf, np.sqrt(x) + 0.0)
        assert np.array_equal(function(x, np.full_like(x, 0.5)), roots, equal_nan=True)
    base, power = (v.ravel().astype(float) for v in np.meshgrid(np.arange(-15, 17), np.arange(0, 13)))
    exact = np.array([int(b) ** int(p) for b, p in zip(base, power, strict=True)], float)
    assert np.array_equal(function(base, power), exact)


PREDICATES = ["oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "ugt", "uge", "ult", "ule", "une", "uno"]
SCALARS: dict[str, tuple[ir.Type, Any]] = {
    "half": (ir.HalfType(), np.float16),
    "float": (ir.FloatType(), np.float32),
    "double": (ir.DoubleType(), np.float64),
}


def expected_compare(predicate: str, a: Array, b: Array) -> Array:
    unordered = np.isnan(a) | np.isnan(b)
    if predicate in ("ord", "uno"):
        return unordered if predicate == "uno" else ~unordered
    operators: dict[str, Any] = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
                                 "gt": np.greater, "ge": np.greater_equal}  # fmt: skip
    result = operators[predicate[1:]](a, b)
    return np.asarray(result & ~unordered if predicate[0] == "o" else result | unordered)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("typ", SCALARS)
@pytest.mark.parametrize("selecting", [False, True], ids=["mask", "select"])
def test_quiet_compares(typ: str, width: int, target: str, selecting: bool) -> None:
    """The mask itself, and as the condition of a select, where LLVM likes to make a minimum of it."""
    scalar, dtype = SCALARS[typ]
    byte = ir.IntType(8)
    a, b = (v.ravel() for v in np.meshgrid(*[np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0], dtype)] * 2))

    for predicate in PREDICATES:

        def emitter(builder: ir.IRBuilder, values: list[ir.Value], predicate: str = predicate) -> ir.Value:
            mask = quiet_fcmp(builder, predicate, *values)
            if selecting:
                return builder.select(mask, *values)
            return builder.zext(mask, ir.VectorType(byte, width) if width > 1 else byte)

        engine, entry = loop(emitter, scalar, width, 2, scalar if selecting else byte, target)
        function = Compiled(engine, entry, dtype if selecting else np.uint8)
        true = expected_compare(predicate, a, b)
        got = function(a, b)
        assert np.array_equal(got, np.where(true, a, b) if selecting else true, equal_nan=True), predicate
        assert flags_of(function, a, b) == set(), predicate


@pytest.mark.skipif("TENSORJIT_CAMPAIGN" not in os.environ, reason="every f32: minutes for each function")
@pytest.mark.parametrize("name", [n for n in VECTOR_MATH if VECTOR_MATH[n].arguments == 1])
def test_campaign_over_every_f32(name: str) -> None:
    function = compiled(name, 32, 16)
    chunk = 1 << 22
    for start in range(0, 2**32, chunk):
        x = np.arange(start, start + chunk, dtype=np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            got, true = function(x), numpy_function(name)(x.astype(np.float64))
        away = ulps(got, overflowing(got, true))
        worst = int(np.argmax(away))
        assert away[worst] <= 1.0, float(x[worst])
