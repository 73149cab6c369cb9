"""Plain NumPy programs on real data, with NumPy and with tensorjit: ``python -m tensorjit demo``."""
