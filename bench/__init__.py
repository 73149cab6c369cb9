"""Benchmarks: ``python -m bench`` runs them all, side by side, and prints the losses first."""
