"""Benchmarks of models that are trained on the output of models."""
