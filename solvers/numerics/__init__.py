"""Numerical building blocks of several solvers."""
