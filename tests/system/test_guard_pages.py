"""Compiled code touches no byte beside its arrays, whatever their dtype, length and steps."""

from __future__ import annotations

import ctypes
import os
import sys

import numpy as np
import pytest

from tests.system.guard_pages import SIDES, Side, guarded, in_own_process
from tests.system.guarded_calls import DTYPES, SAMPLE

CHOSEN = DTYPES if os.environ.get("TENSORJIT_TESTS") == "full" else SAMPLE


@pytest.mark.parametrize("dtype", CHOSEN)
def test_no_byte_beside_an_array_is_touched(dtype: str) -> None:
    """In a process of its own: a crash is this test's failure, with the call that did it."""
    last = in_own_process("tests.system.guarded_calls", dtype).splitlines()[-1]
    assert last.endswith("calls beside guard pages") and int(last.split()[0]) > 300


ARRAYS = {
    "row": np.arange(7.0),
    "steps": np.arange(20)[::3],
    "backwards": np.arange(20)[::-3],
    "turned": np.arange(12).reshape(3, 4).T,
    "empty": np.zeros((0, 3)),
    "bytes": np.arange(5, dtype=np.int8),
    "number": np.array(3.0),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ARRAYS)
def test_a_guarded_array_is_as_the_one_it_is_made_of(name: str, side: Side) -> None:
    array = ARRAYS[name]
    found = guarded(array, side)
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.strides, found.flags.writeable) == (array.dtype, array.strides, True)


@pytest.mark.parametrize("side", SIDES)
def test_its_neighbour_ends_the_process(side: Side) -> None:
    with pytest.raises(AssertionError, match=r"(?s)ended with -11.*Segmentation fault"):
        in_own_process("tests.system.test_guard_pages", side)


if __name__ == "__main__":
    place = guarded(np.arange(7.0), "end" if sys.argv[1] == "end" else "start").ctypes.data
    ctypes.string_at(place - (sys.argv[1] == "start"), 57)
