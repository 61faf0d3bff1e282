"""Metrics, baselines, figures and the report of a trained surrogate."""
