"""Bugs found by comparing with NumPy and Python, each a test named for what went wrong."""

from __future__ import annotations

import contextlib
import copy
import linecache
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS, hold

SCALARS = [np.float64(3), np.float64(-0.0), np.float64("nan"), np.float32(3), np.int8(3), np.bool_(1), np.complex64(1), np.array(3.0)]


def complex_first(z: Any, x: Any) -> Any:
    return 2j + x, 2j - x, 2j * x, 2j / (x + 5), 2j ** abs(x), 2j == x, 2j != x, z + x, z * x, z == x, x + z, x * 2j


@pytest.mark.parametrize("x", SCALARS, ids=repr)
def test_complex_takes_float64_for_a_float(x: Any) -> None:
    hold(complex_first, lambda: (1 + 2j, x), ulp=4)


def complex_below(z: Any, x: Any) -> Any:
    return z < x, z >= x, x > z


@pytest.mark.parametrize("x", SCALARS, ids=repr)
def test_complex_leaves_the_order_to_numpy(x: Any) -> None:
    hold(complex_below, lambda: (1 + 2j, x))


def bump(x: Any) -> int:
    x[0] = 100
    return 5


def update_by_call(x: Any, k: Any) -> Any:
    x[k] += bump(x)
    return x


def update_by_walrus(x: Any, k: Any) -> Any:
    x[k] += (k := k + 1)
    return x, k


def update_by_division(x: Any, k: Any) -> Any:
    x[k + 2] += 1 // k
    return x


def update_slice(x: Any, k: Any) -> Any:
    x[k:] += bump(x) + x[0]
    return x


@pytest.mark.parametrize("function", [update_by_call, update_by_walrus, update_by_division, update_slice])
def test_augmented_items_are_read_before_the_value(function: Any) -> None:
    makes = [lambda k=k, t=t: (np.arange(3, dtype=t), k) for k in (0, 1, -1, 3) for t in ("i8", "f8")]
    hold(function, *makes)
    for make in makes:
        space = {"bump": bump}
        exec(tj.script(function).code, space)
        hold_plain(space[function.__name__], function, make)


def hold_plain(found: Any, wanted: Any, make: Any) -> None:
    """Plain functions do the same."""
    outcomes = []
    for function in (found, wanted):
        args = make()
        try:
            outcomes.append((repr(function(*args)), repr(args)))
        except Exception as error:
            outcomes.append((repr(error), repr(args)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_updates_through_index_arrays_are_not_lost(backend: str) -> None:
    """They were: the copy that x[i] is was changed, and not stored."""

    def update(x: Any, i: Any) -> Any:
        x[i] += 1
        return x

    for index in (np.array([0, 2]), np.array([True, False, True])):
        with pytest.raises(tj.CompileError, match="through a mask or an index array"):
            tj.script(update, backend=backend)(np.arange(3), index)


def module(text: str, **names: Any) -> dict[str, Any]:
    """A namespace of its own with what `text` defines."""
    space: dict[str, Any] = {"np": np, **names}
    name = f"<{text}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), space)
    return space


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_name_that_comes_to_hide_a_builtin_is_noticed(backend: Any) -> None:
    space = module("def f(x):\n    return abs(x) + len(x)\n")
    f = tj.script(space["f"], backend=backend)
    x = np.array([-1.0, 2.0])
    for _ in range(2):
        assert f(x).tolist() == [3.0, 4.0]
    space["abs"] = np.negative
    for _ in range(2):
        assert f(x).tolist() == [3.0, 0.0]
    del space["abs"]
    misses = f.cache_info().misses
    assert f(x).tolist() == [3.0, 4.0]
    assert f.cache_info().misses == misses == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_name_that_is_defined_after_a_call_is_noticed(backend: Any) -> None:
    space = module("def f(x):\n    return x + LATER if x[0] > 0 else helper(x)\n")
    f = tj.script(space["f"], backend=backend)
    x = np.array([1.0, 2.0])
    for _ in range(2):
        with pytest.raises(NameError, match="name 'LATER' is not defined"):
            f(x)
    space["LATER"] = 2
    assert f(x).tolist() == [3.0, 4.0]
    with pytest.raises(NameError, match="name 'helper' is not defined"):
        f(-x)
    space["helper"] = np.square
    assert f(-x).tolist() == [1.0, 4.0]


def test_a_variable_that_is_bound_after_a_call_is_noticed() -> None:
    def outer() -> Any:
        def inner(x: Any) -> Any:
            return x + later

        f = tj.script(inner)
        with pytest.raises(NameError, match="free variable 'later'"):
            f(np.ones(2))
        later = 3
        return f(np.ones(2))

    assert outer().tolist() == [4.0, 4.0]


def many_updates(count: int) -> Any:
    """A function of 2 * count arrays that writes to the first half of them."""
    names = [f"a{k}" for k in range(2 * count)]
    lines = [f"    a{k}[:] = a{k} + a{k + count}\n" for k in range(count)]
    return module(f"def f({', '.join(names)}):\n{''.join(lines)}    return a0\n")["f"]


@pytest.mark.parametrize("count", [1, 3, 4, 12])
def test_many_written_arrays(count: int) -> None:
    """Each pair of them may overlap, which more than a few check by a table."""
    f = many_updates(count)

    def apart() -> Any:
        return tuple(np.arange(5) + k for k in range(2 * count))

    def same() -> Any:
        return (np.arange(5),) * (2 * count)

    def some() -> Any:
        whole = np.arange(20)
        return (whole[2:7], *apart()[2:], whole[4:9])

    def backwards() -> Any:
        arrays = apart()
        return (*arrays[:-1], arrays[0][::-1])

    def side_by_side() -> Any:
        return tuple(np.arange(10 * count).reshape(-1, 5))

    def empty() -> Any:
        return tuple(np.arange(10 * count)[k:k] for k in range(2 * count))

    hold(f, apart, same, some, backwards, side_by_side, empty)


def test_the_code_of_many_written_arrays_grows_linearly() -> None:
    """By a table: 20 took 9 s where each pair was checked in line."""
    ten, twenty = (
        len(tj.script(many_updates(count)).lower(*(np.ones(3) for _ in range(2 * count))).as_text("llvm")) for count in (10, 20)
    )
    assert twenty < 2.3 * ten


NUMBERS: list[Any] = [
    3,
    0,
    True,
    2.5,
    float("nan"),
    1 + 2j,
    np.float64(-0.0),
    np.float32(3),
    np.float16(3),
    np.int8(-128),
    np.int64(3),
]
NUMBERS += [np.uint64(3), np.bool_(1), np.complex64(1), np.array(3.0), np.array(3, "i1"), np.array(True), np.array([3.5])]
NUMBERS += [np.array([True, False]), np.ones((2, 3)), np.array([2j])]
EXPRESSIONS = [
    "round(x)", "round(x, 1)", "round(x, None)",  # of NumPy's scalars an int; arrays have no __round__
    "np.array([x, 2])", "np.asarray((x, 1.0))",  # a Python number in an array is an int64 or a float64
    "x**2", "pow(x, 2)",
    "x.conj()", "x.conjugate()",  # of what is real itself
    "x[()]", "x[...]", "x[None]", "x[..., None]", "x.flatten()", "x.squeeze()", "np.squeeze(x)",
    "x @ x", "x // 2", "2 % x",
    "(x, x) == (x, x)", "x in (x,)", "x in (1,)", "x in (1, x)",
    "np.bool_(1) + x", "x - np.bool_(1)",
]  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_numbers_of_all_kinds(text: str) -> None:
    f = module(f"def f(x):\n    return {text}\n")["f"]
    hold_or_refuse(f, [(x,) for x in NUMBERS])


CONVERSIONS = ["int(x)", "float(x)", "complex(x)", "np.int64(x)", "np.uint8(x)", "np.float32(x)", "np.bool_(x)", "np.arange(x)"]


@pytest.mark.parametrize("text", CONVERSIONS)
def test_conversions_of_all_kinds(text: str) -> None:
    """Where NumPy would warn of an imaginary part that is dropped, they are refused."""
    f = module(f"def f(x):\n    return {text}\n")["f"]
    hold_or_refuse(f, [(x,) for x in [*NUMBERS, np.complex128(2j), np.float64(1e18), np.int8(5), 300, -1]])


def hold_or_refuse(function: Any, calls: Any) -> None:
    """Each call does what the plain function does, or is refused."""
    for args in calls:

        def make(args: Any = args) -> Any:
            return copy.deepcopy(args)

        with np.errstate(all="ignore"), contextlib.suppress(tj.CompileError):
            hold(function, make, twice=False)


def test_an_int_stays_an_int_where_it_is_a_size() -> None:
    """int() of a NumPy integer gave it back, after it had been the length of something."""
    f = module("def f(x):\n    k = x[0]\n    return int(k), np.zeros(k), type(int(k)) is int\n")["f"]
    hold(f, lambda: (np.array([2]),), lambda: (np.array([2], "i1"),))


@pytest.mark.parametrize("text", ["x <= y", "y - x[0]", "x[1] * y", "y % x", "np.maximum(x, y)"])
def test_one_float16_raises_no_flags_of_others(text: str) -> None:
    """The processor converts four at a time; of one, the others were what stood in the register."""
    f = tj.script(module(f"def f(x, y):\n    return {text}\n")["f"])
    x = np.array([-4, -1, 2, 5], "f2")
    with np.errstate(all="raise"):
        for y in (3, -2, np.int8(-3), np.uint8(200), True, np.float32(2), np.float64(3), np.int64(-5)):
            for _ in range(3):
                f(x, y)


@pytest.mark.parametrize("text", ["np.mean(x, axis=0)", "np.var(x, axis=-1)", "np.std(x, axis=0)", "np.sum(x, axis=0)"])
def test_a_number_has_no_axis_to_take_a_mean_over(text: str) -> None:
    f = module(f"def f(x):\n    return {text}\n")["f"]
    hold(f, lambda: (np.array(3.5),), lambda: (np.float32(2),), lambda: (3.5,), lambda: (np.ones(3),))


def test_std_in_an_integer_dtype() -> None:
    """An array of roots is written over the variances, which are integers."""
    f = module("def f(x):\n    return x.std(dtype=np.int64)\n")["f"]
    g = module("def f(x):\n    return x.std(axis=0, dtype=np.int64)\n")["f"]
    for function in (f, g):
        hold(function, lambda: (np.arange(12).reshape(3, 4),))


@pytest.mark.parametrize("text", ["np.sum(x, dtype='f4')", "np.mean(x, dtype='f8')", "np.float32(x)", "np.array(x, dtype=float)"])
def test_imaginary_parts_are_not_dropped_silently(text: str) -> None:
    f = module(f"def f(x):\n    return {text}\n")["f"]
    with pytest.raises(tj.CompileError, match=r"drops (its|their) imaginary"):
        tj.script(f)(np.array([1j, 2]))


FILLINGS = [-1, 300, 5, 2.5, float("nan"), True, 1j, np.int64(300), np.float64(300.5), np.int8(-1), 2**40]


@pytest.mark.parametrize("dtype", ["u1", "i1", "i8", "u8", "f4", "?", "c8"])
def test_numbers_stored_through_a_mask(dtype: str) -> None:
    """x[mask] = -1 into unsigned integers wrapped."""
    f = module("def f(x, y):\n    x[x > 0] = y\n    return x\n")["f"]
    hold(f, *(lambda y=y: (np.array([0, 1, 2]).astype(dtype), y) for y in FILLINGS), message=False, twice=False)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_min_and_max_of_an_array_pass_over_nan(dtype: str) -> None:
    """Python's compare one by one."""
    f = module("def f(x):\n    return min(x), max(x)\n")["f"]
    nan, inf = float("nan"), float("inf")
    lists = [[1, nan, 0], [nan, 1, 2], [0.0, -0.0], [-0.0, 0.0], [3], [2, 1, 3], [inf, nan, -inf], [inf, nan], [nan, nan], []]
    hold(f, *(lambda v=v: (np.array(v, dtype),) for v in lists))


def test_a_list_has_no_shape() -> None:
    f = module("def f(x):\n    y = [x, x]\n    return y.shape\n")["f"]
    hold(f, lambda: (1.0,))


@pytest.mark.parametrize("text", ["np.cumsum(x, dtype='f4')", "x.cumsum(dtype=np.int64)", "np.cumprod(x, dtype='f4', axis=0)"])
def test_cumulative_sums_in_a_given_dtype(text: str) -> None:
    f = module(f"def f(x):\n    return {text}\n")["f"]
    hold(f, lambda: (np.arange(6.0).reshape(2, 3),), lambda: (np.arange(6, dtype="i1"),))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("body", ["return x[k]", "x[k] = 9\n    return x", "return np.zeros(k)"])
def test_unsigned_indices_do_not_wrap(body: str, backend: Any) -> None:
    """x[np.uint64(2**64 - 1)] was x[-1]."""
    f = tj.script(module(f"def f(x, k):\n    {body}\n")["f"], backend=backend)
    for k in (2, 4, 2):
        f(np.arange(5.0), np.uint64(k))
    with pytest.raises((OverflowError, ValueError)):
        f(np.arange(5.0), np.uint64(2**64 - 1))


def test_bools_are_ints_in_ranges_and_slices() -> None:
    f = module("def f(x, k):\n    s = 0\n    for i in range(k):\n        s += 1\n    return s, x[k:], x[:k]\n")["f"]
    hold(f, lambda: (np.arange(3), True), lambda: (np.arange(3), False))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_size_of_minus_one_that_is_not_known(backend: Any) -> None:
    f = tj.script(module("def f(x, k):\n    return x.reshape(k, 1)\n")["f"], backend=backend)
    assert f(np.arange(3), np.int8(3)).shape == (3, 1)
    for size in (-1, -2):  # any negative size is what is left over, to NumPy
        assert np.arange(3).reshape(size, 1).shape == (3, 1)
        with pytest.raises(tj.TypeInferenceError, match="write -1 there"):
            f(np.arange(3), np.int8(size))


MUTABLE: list[Any] = [{"a": 1}, {1}, bytearray(b"ab"), {}, type("Anything", (), {})()]
QUESTIONS = ["len(d)", "1 if d else 2", "'b' in d", "d == 1", "d and 1", "not d", "d[0]", "d + d", "f'{d}'"]


@pytest.mark.parametrize("text", QUESTIONS)
def test_what_a_mutable_argument_says_of_itself_is_not_kept(text: str) -> None:
    """The answer of the first call was the answer of every later one, for the same object."""
    f = module(f"def f(x, d):\n    return {text}\n")["f"]
    for d in MUTABLE:
        with pytest.raises(tj.CompileError):
            tj.script(f)(np.ones(2), d)


def test_mutable_arguments_are_handed_on() -> None:
    f = tj.script(module("def f(x, d):\n    return d, d is None, x + 1\n")["f"])
    for d in MUTABLE:
        for _ in range(2):
            assert f(np.ones(2), d)[0] is d


class Settings:
    rate: Any = 2


def scaled_by_settings(x: Any) -> Any:
    return x * Settings.rate


@pytest.mark.parametrize("backend", BACKENDS)
def test_changed_attributes_of_classes_are_noticed(backend: Any) -> None:
    f = tj.script(scaled_by_settings, backend=backend, cache_size=64)
    x = np.arange(3.0)
    try:
        for rate in (2, 3, 0.5, 2):
            Settings.rate = rate
            for _ in range(2):
                assert f(x).tolist() == (x * rate).tolist()
    finally:
        Settings.rate = 2


def sum_of_three(x: Any, y: Any, z: Any) -> Any:
    return sum((x, y, z)), sum([0.1] * 10), sum((x, y))


def test_sums_of_floats_are_pythons() -> None:
    """Since Python 3.12 they are compensated: the same bits, or refused."""
    hold_or_refuse(sum_of_three, [(0.1, 0.2, 0.3), (1, 2, 3), (np.float64(0.1), 0.2, 0.3)])


def powers(x: Any, e: Any) -> Any:
    return np.power(x, e), x**e, np.power(x, 0.5), np.power(x, -1.0)


def powers_into(x: Any, e: Any) -> Any:
    a, b = np.empty_like(x), np.zeros_like(x)
    np.power(x, e, out=a)
    np.power(x, e, out=b, where=x == x)
    x **= e
    return a, b, x


BASES = [-np.inf, -0.0, 0.0, 2.0, np.inf, np.nan]


@pytest.mark.parametrize("e", [0.5, np.float64(0.5), np.array(0.5), np.array([0.5]), np.array([[0.5]]), -1.0, 2], ids=repr)
def test_the_ufunc_power_has_short_cuts_where_the_operator_of_scalars_has_none(e: Any) -> None:
    """np.power(-inf, 0.5) is nan, and np.float64(-inf) ** 0.5 is inf."""
    for t in (np.float64, np.float32, np.array):
        hold(powers, *[lambda v=v, t=t: (t(v), e) for v in BASES])
    hold(powers, lambda: (np.array(BASES), e), lambda: (np.array([BASES, BASES]), e))
    if np.ndim(e) < 2:
        hold(powers_into, lambda: (np.array(BASES), e), lambda: (np.array(BASES * 5)[::2], e))
