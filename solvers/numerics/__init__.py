"""Numerical building blocks that solvers share."""
