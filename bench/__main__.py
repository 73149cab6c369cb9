"""``python -m bench [SECTION ...] [--quick] [--only TEXT] [--json FILE]``."""

import os
import sys

# Everything is compared on one thread; libraries read these when they are first imported.
for _name in ("TENSORJIT", "OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"

from bench.command import main  # noqa: E402  (after the settings above)

if __name__ == "__main__":
    sys.exit(main())
