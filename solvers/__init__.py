"""Solvers: equations with their discretisations and domain decompositions."""
