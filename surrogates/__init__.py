"""Trainable stand-ins for solvers."""
