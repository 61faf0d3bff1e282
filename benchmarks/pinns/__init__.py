"""Benchmarks of networks that learn from the residual of an equation, and of exact constraints."""
