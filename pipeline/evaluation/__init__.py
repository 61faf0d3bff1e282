"""Metrics, baselines, pictures and the report."""
