"""The examples in the docstrings of the package that is installed, module by module."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import tensorjit

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = ["tensorjit", *(m.name for m in pkgutil.walk_packages(tensorjit.__path__, "tensorjit."))]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=FLAGS)
    assert result.failed == 0, "see what doctest printed"
    # doctest passes over what a decorator hides from it, without a word
    assert result.attempted == len(re.findall(r"^\s*>>> ", _source(module), re.MULTILINE))


def _source(module: object) -> str:
    try:
        return inspect.getsource(module)  # type: ignore[arg-type]
    except OSError:  # an empty __init__.py
        return ""
