"""Baselines: predictions that a surrogate has to beat."""
