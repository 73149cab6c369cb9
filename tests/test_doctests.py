"""The examples in the docstrings of the package that is installed, module by module."""

import doctest
import importlib
import pkgutil

import pytest

import tensorjit

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = ["tensorjit", *(m.name for m in pkgutil.walk_packages(tensorjit.__path__, "tensorjit."))]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0
