"""Reductions and small array functions that once differed from NumPy, each a test named for what went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS, hold
from tests.system.test_like_numpy import module

DTYPES = "?bHqQefdF"


def elements(dtype: str) -> Any:
    x = (np.arange(8) % 5 - (0 if dtype in "?HQ" else 2)).astype(dtype).reshape(4, 2)
    return x * np.float16(15000) if dtype == "e" else x


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "sum", "prod", "min", "max", "any", "mean", "std", "nansum", "nanmean"])
def test_reductions_work_in_the_dtype_of_out(name: str) -> None:
    """np.cumsum of 60000 in float16 into float64 was inf."""
    f = module(f"def f(x, out):\n    return np.{name}(x, 0, out=out)\n")["f"]
    wider = [(x, o) for x in DTYPES for o in DTYPES if x != o and np.can_cast(x, o) and (o != "F" or x in "ef")]
    if name in ("mean", "std", "nanmean"):
        wider = [(x, o) for x, o in wider if o in "efd"]
    shape = (4, 2) if name.startswith("cum") else (2,)
    with np.errstate(all="ignore"):
        for backend, stride in (("reference", 1), ("llvm", 6)):
            makes = [lambda x=x, o=o: (elements(x), np.zeros(shape, o)) for x, o in wider[::stride]]
            hold(f, *makes, backends=(backend,), twice=False, ulp=2 * (name == "std"), cache_size=64)


def test_sums_that_only_the_dtype_of_out_holds() -> None:
    for text in ("np.cumsum(x, out=o)", "np.cumprod(x, out=o)", "np.cumsum(x, axis=0, out=o)"):
        hold(module(f"def f(x, o):\n    return {text}\n")["f"], lambda: (np.full(3, 60000, np.float16), np.zeros(3)))
    for text in ("np.mean(x, axis=0, out=o)", "np.sum(x, axis=0, out=o)"):
        hold(module(f"def f(x, o):\n    return {text}\n")["f"], lambda: (np.full((3, 1), 3e38, np.float32), np.zeros(1)))
    for text in ("np.var(x, axis=0, out=o)", "np.std(x, axis=0, out=o)"):
        # squared deviations that are exact in float32, and whose sum is not
        hold(
            module(f"def f(x, o):\n    return {text}\n")["f"],
            lambda: (np.tile(np.array([[0], [4095]], np.float32), (51, 2)), np.zeros(2)),
        )


def test_the_count_of_a_mask_is_another_in_each_turn_of_a_loop() -> None:
    """The reference backend held the second to the first."""
    text = """
def f(X, lab, out):
    for k in range(3):
        m = lab == k
        if m.any():
            out[k] = X[m].mean()
    return out
"""
    hold(module(text)["f"], lambda: (np.arange(7.0), np.array([0, 1, 1, 0, 2, 2, 2]), np.zeros(3)))


def test_positions_are_not_stored_where_numpy_refuses() -> None:
    f = module("def f(x, out):\n    return np.argmax(x, 0, out=out)\n")["f"]
    hold(f, *(lambda o=o: (np.arange(8.0).reshape(4, 2), np.zeros(2, o)) for o in "?bHqQfF"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_extremum_of_integers_in_a_narrower_out_is_refused(backend: Any) -> None:
    """NumPy compares what it has stored there, which may have wrapped, from time to time."""
    f = tj.script(module("def f(x, out):\n    return np.max(x, 0, out=out)\n")["f"], backend=backend)
    with pytest.raises(tj.CompileError, match="use a wider out"):
        f(np.array([[300], [40]]), np.zeros(1, np.int8))


@pytest.mark.parametrize("decimals", [0, 1, -1])
def test_rounding_goes_on_in_the_dtype_of_out(decimals: int) -> None:
    f = module(f"def f(x, out):\n    return np.round(x, {decimals}, out=out)\n")["f"]
    x = np.random.default_rng(2).random(20) * 100
    hold(f, *(lambda s=s, o=o: (x.astype(s), np.zeros(20, o)) for s, o in ("fd", "df", "ed", "fe", "fF")))


SMALL = [
    "np.clip(x, x[0], x[1])", "np.clip(x, True, False)", "x.clip(y[0], y[2])", "np.clip(x[1], x[0], x[2])", "np.clip(x, y, None)",
    "np.round(x, 1)", "np.round(x, -1)", "np.round(x[0], 1)", "np.round(x)",
    "x[[]]", "x[[],]", "x[[[]]]", "x.reshape(3, 1)[[]]", "x[[0, 2]]", "x[[1.0]]", "x[np.zeros(0)]",
    "np.broadcast_arrays(x, y)",
    "(np.copyto(x, 0, where=y), x)", "(np.copyto(x, 0), x)", "(np.copyto(x, True), x)", "(np.copyto(x, 2.5), x)",
    "(np.copyto(x, y), x)", "(np.copyto(x, y[0]), x)", "(np.copyto(x, 3, 'safe'), x)", "(np.copyto(x, 1, 'no'), x)",
    "(np.copyto(x, 2.5, 'unsafe'), x)", "(np.copyto(x, [1, 0, 2]), x)", "(np.copyto(x, np.int64(2)), x)", "(np.copyto(x, 300), x)",
]  # fmt: skip


@pytest.mark.parametrize("text", SMALL)
def test_small_functions_of_bools_and_others(text: str) -> None:
    """Some refused what NumPy takes (clip of bools, x[[]]), some took what NumPy refuses (round and copyto of bools)."""
    f = module(f"def f(x, y):\n    return {text}\n")["f"]
    mask = np.array([True, False, True])
    hold(f, lambda: (mask.copy(), mask[::-1].copy()), lambda: (np.arange(3.0), mask.copy()), lambda: (mask.copy(), np.ones(3)))


class NeedsArguments(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(f"because of {reason}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_are_of_numpys_classes_and_pythons_texts(backend: Any) -> None:
    """UFuncTypeError was a TypeError; a class that wants arguments, raised without, gave a TypeError without a text."""

    def outputs(x: Any, y: Any) -> Any:
        return np.add(x, y, out=y)

    def wants(x: Any) -> Any:
        raise NeedsArguments  # type: ignore[call-arg]

    for function, args in ((outputs, (np.ones(2), np.ones(2, int))), (wants, (np.ones(2),))):
        with pytest.raises(TypeError) as wanted:
            function(*args)
        with pytest.raises(wanted.type) as found:
            tj.script(function, backend=backend)(*args)
        assert (type(found.value).__name__, str(found.value)) == (wanted.type.__name__, str(wanted.value))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_mean_warns_where_it_is_called(backend: Any) -> None:
    f = tj.script(module("def f(x):\n    return x.mean()\n")["f"], backend=backend)
    for _ in range(2):
        with pytest.warns(RuntimeWarning) as seen:
            f(np.zeros(0))
        assert [w.filename for w in seen if "Mean" in str(w.message)] == [__file__]


def test_any_and_all_find_what_is_anywhere() -> None:
    """They leave when the answer is known, after some thousand elements."""
    f = module("def f(x):\n    return x.any(), (~x).all(), np.any(x[::2]), (x > 0).any(), x.reshape(2, -1).any(1)\n")["f"]
    n = 20000

    def hit(k: int) -> Any:
        x = np.zeros(n, bool)
        x[k : k + 1] = True
        return x

    hold(f, *(lambda k=k: (hit(k),) for k in (0, 1, 4095, 4096, 8191, 8200, n - 65, n - 64, n - 1, n)), twice=False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_flags_of_elements_after_the_answer_are_told(backend: Any) -> None:
    def f(x: Any) -> Any:
        return (np.log(x) > 1).any()

    x = np.full(20000, 3.0)
    x[-1] = -1
    with pytest.warns(RuntimeWarning, match="invalid value"):
        tj.script(f, backend=backend)(x)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("text", [
    "x.imag", "np.imag(x)", "np.broadcast_to(x, x.shape)", "np.broadcast_to(x, (3,))[1:]", "np.broadcast_to(x, (2, 3))[0]",
    "np.broadcast_to(x, x.shape).reshape(3, 1)", "(x.imag + 1, x.real, x[1:])", "(x, np.broadcast_to(x, x.shape).T, x.T)",
])  # fmt: skip
def test_what_numpy_hands_out_read_only_is(text: str, backend: Any) -> None:
    f = module(f"def f(x):\n    return {text}\n")["f"]

    def writable(found: Any) -> list[bool]:
        return [a.flags.writeable for a in (found if isinstance(found, tuple) else (found,))]

    for x in (np.arange(3.0), np.arange(3) + 1j):
        for _ in range(2):
            assert writable(tj.script(f, backend=backend)(x)) == writable(f(x))
        assert x.flags.writeable


def test_one_value_goes_to_elements_apart() -> None:
    """They went by way of the stack, 64 at a time; values of every kind, in whole turns and in a rest."""
    f = module("def f(x, y):\n    x[::2] = 1\n    x[1::3] = x[0] + y[0]\n    y[:, 1] = 2\n    y[::-2, 0] = True\n    return x\n")["f"]
    hold(
        f,
        *(lambda n=n, t=t: (np.arange(n).astype(t), np.arange(2 * n).reshape(n, 2).astype(t)) for n in (3, 130) for t in "dFeb?"),
        message=False,
    )


def places(dtype: str, n: int) -> list[Any]:
    """Arrays whose extremum is anywhere: among equals, in the last element, in none, behind a NaN."""
    rng, last = np.random.default_rng(n), np.zeros(n, dtype)
    last[-1] = 1
    kind = np.dtype(dtype).kind
    least = -np.inf if kind == "f" else np.iinfo(dtype).min if kind in "iu" else 0
    found = [rng.integers(0, 2 if dtype == "?" else 100, n).astype(dtype), last, np.full(n, least, dtype)]
    if kind == "f":
        found.append(np.where(np.arange(n) % 1000 == 700, np.nan, found[0]).astype(dtype))
    return found


@pytest.mark.parametrize("dtype", "?bHiefdQ")
def test_positions_in_long_rows(dtype: str) -> None:
    """Turns are counted, and become positions at the end of a strip of 65536 elements."""
    f = module("def f(x):\n    return x.argmax(), x.argmin(), x[::3].argmax()\n")["f"]
    sizes = (1, 64, 255, 256, 257, 1000, 65535, 65536, 65537, 140001)
    hold(f, *(lambda x=x: (x.copy(),) for n in sizes for x in places(dtype, n)), twice=False, cache_size=64)
    rows = module("def f(x):\n    return x.argmax(1), x.argmin(0), x[:, ::2].argmin(-1)\n")["f"]
    hold(rows, *(lambda n=n: (places(dtype, 7 * n)[0].reshape(7, n),) for n in (3, 300, 1031)), twice=False)


def first_difference(x: Any, edge: Any) -> Any:
    return np.diff(x, prepend=edge), np.diff(x, n=2, append=edge), np.diff(x, n=0, append=edge)


def rows_with_edges(x: Any, edge: Any) -> Any:
    return np.diff(x, axis=0, prepend=edge, append=edge)


def test_diff_takes_what_comes_before_and_after() -> None:
    arrays = [np.arange(5.0) ** 2, np.arange(5), np.arange(5, dtype="f4"), np.ones((2, 3)), np.zeros(0), np.array([True, False])]
    for function in (first_difference, rows_with_edges):
        hold(function, *[lambda x=x, e=e: (x.copy(), e) for x in arrays for e in (0, 1.5, np.float32(2), True)])
    hold(first_difference, lambda: (np.arange(5.0), np.arange(2.0)), lambda: (np.arange(5.0), np.ones((1, 2))))


def transposed(x: Any) -> Any:
    return np.transpose(x), np.transpose(x) * 2


def test_numpy_scalars_stay_scalars_when_transposed() -> None:
    hold(transposed, *[lambda x=x: (x,) for x in (np.float32(3), np.int8(2), np.array(2.5), 2.5, np.ones((2, 3)))])


def broadcast(x: Any, y: Any) -> Any:
    first, second = np.broadcast_arrays(x, y)
    return second, first + 0


def test_what_needs_no_stretching_is_not_read_only() -> None:
    hold(broadcast, lambda: (np.ones(3), np.ones((2, 3))), lambda: (np.ones(3), np.ones(3)), lambda: (np.float64(2), np.ones(4)))
