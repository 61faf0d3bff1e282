"""Benchmarks of the solvers."""
