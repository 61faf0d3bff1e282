"""Checks of a solver's contract, with a sentence for each mistake.

`python -m pipeline.check` runs the checks for a user, and `tests/contracts` for the shipped solvers. A check
yields nothing for a solver that keeps the contract.
"""
