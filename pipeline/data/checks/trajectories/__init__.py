"""Comparisons of trajectories: leaks, units, times, parameters and splits."""
