"""Small NumPy functions, each with calls to make of it: what the whole compiler is tested on."""

from tests.system.programs import arrays as _arrays
from tests.system.programs import elementwise as _elementwise
from tests.system.programs import errors as _errors
from tests.system.programs import loops as _loops
from tests.system.programs import paths as _paths
from tests.system.programs.cases import CASES

__all__ = ["CASES", "_arrays", "_elementwise", "_errors", "_loops", "_paths"]
