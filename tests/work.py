"""How much something does, counted: times depend on what else the machine is doing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def python_calls(action: Callable[[], Any]) -> int:
    """The calls of Python functions while `action` runs.

    >>> python_calls(lambda: [ascii(k) for k in range(9)]) < python_calls(lambda: [(lambda: k)() for k in range(9)])
    True
    """
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count
